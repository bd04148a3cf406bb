"""Two shards of a salience job at once, and one after the other."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import jobs
from benchmarks.pipeline import BLUR
from benchmarks.timing import compared, interleave

IMAGES = 240  # of each shard
MEASURES = {"noise": {}, "transformations": {}, "degradation": {**BLUR, "regions": list(BLUR["regions"])}}
SPEED_UP = 1.8


def rows(quick: bool = False) -> Iterator[dict]:
    count, rounds = (8, 1) if quick else (IMAGES, 3)
    sources = ["first", "second"]
    with tempfile.TemporaryDirectory() as folder:
        profile = jobs.project(Path(folder), dict.fromkeys(sources, count), MEASURES)
        contestants = {
            "at once": lambda: jobs.run(profile, sources, at_once=True),
            "one by one": lambda: jobs.run(profile, sources),
        }
        # Each starts new processes: nothing is warm, nothing needs to be.
        seconds = interleave(contestants, rounds, warm=True)
    yield compared(
        "workers",
        "two shards at once",
        "one after the other",
        seconds["at once"],
        seconds["one by one"],
        target=SPEED_UP,
        detector=jobs.DETECTOR,
        images=2 * count,
        note="`e2m salience --source`, all measures, one thread each, start included",
    )
