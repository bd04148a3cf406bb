"""The map-guided blur beside its definition."""

from collections.abc import Iterator

import numpy as np

from benchmarks import literal
from benchmarks.pictures import maps, pictures
from benchmarks.timing import compared, interleave
from e2m.arrays.maps import upsample
from e2m.measures.degradation import degrade, degrade_many

SPEED_UP = 20.0
SIDE = 224
REGIONS = ("salient", "background")
RUNS = 10


def rows(quick: bool = False) -> Iterator[dict]:
    """One region of one map by itself; and, as the maps of ten runs share an image's blurred copies, all of them."""
    count, rounds = (1, 1) if quick else (4, 5)
    images = pictures(count, SIDE)
    own = [maps(count, 7, seed) for seed in range(RUNS)]
    large = upsample(own[0], SIDE, SIDE)
    requests = [(each, region) for each in own for region in REGIONS]

    def by_definition() -> np.ndarray:
        pairs = zip(images, large, strict=True)
        return np.stack([literal.blurred(image, map_, "salient") for image, map_ in pairs])

    contestants = {
        "definition": by_definition,
        "alone": lambda: degrade(images, own[0], "salient"),
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
