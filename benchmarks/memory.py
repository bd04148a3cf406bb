"""Peak memory and time of a salience job against the number of its images."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import jobs

NUMBERS = (100, 1_000, 10_000)
MEASURES = {"noise": {"amounts": [0.1], "seed": 0}}
AT_MOST = 1.05


def rows(quick: bool = False) -> Iterator[dict]:
    """One row for each number of images, and one that compares the peaks of the largest two."""
    numbers = (10, 20, 40) if quick else NUMBERS
    finished = {number: [] for number in numbers}
    for _ in range(1 if quick else 2):
        for number in numbers:
            finished[number] += _job(number)
    peaks = {}
    about = {
        "row": "memory",
        "detector": jobs.DETECTOR,
        "note": "one thread; from files to results, noise at one amount",
    }
    for number, runs in finished.items():
        peaks[number] = float(np.median([run.mebibytes for run in runs]))
        yield {
            **about,
            "what": f"salience job of {number:,} images",
            "images": number,
            "ours_seconds": float(np.median([run.seconds for run in runs])),
            "repeats": len(runs),
            "value": peaks[number],
            "unit": "MiB at the peak",
        }
    few, many = numbers[-2:]
    ratio = peaks[many] / peaks[few]
    yield {
        **about,
        "what": f"peak memory, {many:,} images",
        "alternative": f"peak memory, {few:,} images",
        "images": many,
        "kind": "cost",
        "ratio": ratio,
        "ratio_low": ratio,
        "ratio_high": ratio,
        "target": AT_MOST,
        "met": ratio <= AT_MOST,
        "repeats": len(finished[many]),
    }


def _job(number: int) -> list[jobs.Finished]:
    with tempfile.TemporaryDirectory() as folder:
        return jobs.run(jobs.project(Path(folder), {"faces": number}, MEASURES), ["faces"])
