"""Statistics over all images: similarity of all pairs of runs, and the crossed bootstrap."""

from collections.abc import Iterator
from math import comb

import numpy as np

from benchmarks import literal, peers
from benchmarks.timing import compared, interleave
from e2m.measures.stability import stability
from e2m.statistics import mean_interval

RUNS, IMAGES, RESAMPLES = 10, 10_000, 2_000
SECONDS = 10.0
"""The time limit of each."""


def rows(quick: bool = False) -> Iterator[dict]:
    images, resamples, rounds = (100, 50, 1) if quick else (IMAGES, RESAMPLES, 3)
    yield from _within(_stability(images, rounds), _bootstrap(images, resamples, rounds))


def _stability(images: int, rounds: int) -> dict:
    maps = np.random.default_rng(0).integers(0, 256, (RUNS, images, 7, 7), np.uint8)
    pairs, timed = comb(RUNS, 2), min(images, 500)
    contestants = {
        "ours": lambda: stability(maps),
        "theirs": lambda: peers.skimage_ssim(maps[0, :timed], maps[1, :timed]),
    }
    both = stability(maps[:2])["value"].to_numpy()[:timed] - contestants["theirs"]()
    seconds = interleave(contestants, rounds)
    return compared(
        "statistics",
        f"SSIM of {pairs} pairs of runs on {images:,} 7x7 maps",
        "scikit-image, pair by pair",
        seconds["ours"],
        seconds["theirs"] * pairs * images / timed,
        images=images,
        value=float(np.abs(both).max()),
        unit="largest difference of SSIM",
        note=f"scikit-image timed on {timed} pairs of maps and multiplied",
    )


def _bootstrap(images: int, resamples: int, rounds: int) -> dict:
    values = np.random.default_rng(0).normal(size=(RUNS, images))
    timed = min(resamples, 100)
    contestants = {
        "ours": lambda: mean_interval(values, resamples=resamples),
        "theirs": lambda: literal.crossed_bootstrap(values, timed),
    }
    seconds = interleave(contestants, rounds)
    return compared(
        "statistics",
        f"crossed bootstrap, {resamples:,} resamples of {RUNS} runs x {images:,} images",
        "a resample at a time",
        seconds["ours"],
        seconds["theirs"] * resamples / timed,
        images=images,
        note=f"the other timed on {timed} resamples and multiplied; ours resamples each factor alone, as well",
    )


def _within(*timed: dict) -> Iterator[dict]:
    """Each row, and a row that compares its seconds with the limit."""
    for row in timed:
        yield row
        limit = np.full(row["repeats"], SECONDS)
        seconds = np.full(row["repeats"], row["ours_seconds"])
        promised = compared("statistics", row["what"], f"{SECONDS:g} seconds", seconds, limit, "cost", 1.0)
        yield {**promised, "images": row["images"], "note": "median of all rounds"}
