"""The map-guided blur beside its definition."""

from collections.abc import Iterator

import numpy as np

from benchmarks import literal
from benchmarks.images import random_images, random_maps
from benchmarks.timing import compared, interleave
from e2m.arrays.maps import upsample
from e2m.measures.degradation import degrade, degrade_many

SPEED_UP = 10.0
SIDE = 224
REGIONS = ("salient", "background")
RUNS = 10


def rows(quick: bool = False) -> Iterator[dict]:
    """One region of one map alone; and the maps of ten runs together, which share the blurred copies of an image."""
    count, rounds = (1, 1) if quick else (4, 5)
    images = random_images(count, SIDE)
    of_runs = [random_maps(count, 7, seed) for seed in range(RUNS)]
    large = upsample(of_runs[0], SIDE, SIDE)
    requests = [(each, region) for each in of_runs for region in REGIONS]

    def by_definition() -> np.ndarray:
        pairs = zip(images, large, strict=True)
        return np.stack([literal.blurred(image, map_, "salient") for image, map_ in pairs])

    contestants = {
        "definition": by_definition,
        "alone": lambda: degrade(images, of_runs[0], "salient"),
        "together": lambda: degrade_many(images, requests),
    }
    apart = np.abs(contestants["alone"]().astype(int) - by_definition())
    seconds = interleave(contestants, rounds)
    pieces = {"alone": count, "together": count * len(requests)}
    what = {
        "alone": "blur of one region of one map",
        "together": f"blur of one region, {RUNS} runs and {len(REGIONS)} regions together",
    }
    for name, target in (("alone", None), ("together", SPEED_UP)):
        yield compared(
            "blur",
            what[name],
            "the definition in scipy",
            seconds[name] / pieces[name],
            seconds["definition"] / count,
            target=target,
            images=count,
            value=float(np.percentile(apart, 99)),
            unit="99th percentile of differences, in grey levels",
            note=f"colour images of {SIDE} px, M = 10",
        )
