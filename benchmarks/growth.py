"""How a salience job grows: time and memory with the number of images, and time with the number of jobs at once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from benchmarks import jobs
from benchmarks.timing import compared, cores

NUMBERS = (100, 1_000, 3_000, 10_000, 30_000)
FEW, MANY = 1_000, 30_000
MEMORY = 1.05
"""Peak memory with ``MANY`` images / with ``FEW``, at most."""

AT_ONCE = (1, 2, 4, 8)
SPEED_UP = 1.8
"""Of two jobs at once, against one after the other."""


def rows(quick: bool = False) -> Iterator[dict]:
    yield from _images((10, 20, 40) if quick else NUMBERS)
    yield from _jobs(AT_ONCE[:2] if quick else AT_ONCE, 4 if quick else 48, 1 if quick else 2)


def _images(numbers: tuple[int, ...]) -> Iterator[dict]:
    """One row for each number of images, and one that compares the peaks of two."""
    about = {
        "row": "memory",
        "detector": "demo_cnn",
        "note": "one thread; from files to results, noise on every tenth image; a small network, since memory for "
        "images does not depend on it",
    }
    peaks = {}
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            measures = {"noise": {"amounts": [0.1], "seed": 0}}
            profile = jobs.project(Path(folder), {"faces": number}, measures, "demo_cnn", changed=max(1, number // 10))
            (job,) = jobs.run(profile, ["faces"])
        peaks[number] = job.mebibytes
        yield {
            **about,
            "what": f"salience job of {number:,} images",
            "images": number,
            "ours_seconds": job.seconds,
            "repeats": 1,
            "value": job.mebibytes,
            "unit": "MiB at the peak",
        }
    few, many = (FEW, MANY) if MANY in peaks else numbers[-2:]
    peak = {number: np.array([peaks[number]]) for number in (few, many)}
    row = compared("memory", f"peak memory, {many:,} images", "", peak[many], peak[few], "cost", MEMORY)
    del row["ours_seconds"], row["theirs_seconds"]
    yield {**row, **about, "alternative": f"peak memory, {few:,} images", "images": many}


def _jobs(at_once: tuple[int, ...], count: int, rounds: int) -> Iterator[dict]:
    """Equal jobs at once beside the same jobs one after the other: these take the time of one, times their number."""
    # Letters: folders that differ by a number, with numbered images, are read as videos.
    sources = list(ascii_lowercase[: max(at_once)])
    measures = {"noise": {}, "transformations": {}, "degradation": {"max_sigmas": [10.0]}}
    with tempfile.TemporaryDirectory() as folder:
        profile = jobs.project(Path(folder), dict.fromkeys(sources, count), measures)
        seconds = {number: np.empty(rounds) for number in at_once}
        # Each starts new processes: nothing is warm, nothing needs to be.
        for turn in range(rounds):
            for number in at_once:
                done = jobs.run(profile, sources[:number], at_once=True)
                seconds[number][turn] = max(job.seconds for job in done)
    for number in at_once[1:]:
        yield compared(
            "workers",
            f"{number} jobs at once",
            "one after the other",
            seconds[number],
            number * seconds[1],
            target=SPEED_UP if number == 2 else None,
            detector="mobilenet_v2",
            images=count,
            note=f"`e2m salience --source` on {cores()} cores: all measures, one thread each, start included",
        )
