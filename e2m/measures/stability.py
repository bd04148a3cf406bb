"""Measure (d): do detectors trained again in the same way look at the same regions?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from e2m.arrays.maps import checked, dead, quantise, relative
from e2m.arrays.ssim import local_moments, ssim
from e2m.types import Headline, InputError

TITLE = "Stability"
LETTER = "d"
QUESTION = "Do detectors that differ only in their training run look at the same regions of an image?"
BLIND_SPOT = (
    "Runs can agree on a wrong or fixed region, and the pairs share runs: 45 pairs of ten runs are not 45 "
    "independent observations."
)
BETTER = {"ssim": "higher"}
RANGE = {"ssim": (-1, 1)}
PAPER_EXACT = ("ssim",)
AXIS = "SSIM between two runs"
HEADLINES = (
    Headline("SSIM between runs", "ssim", better="higher", published=True),
    Headline("SSIM between runs, both right", "ssim", better="higher", right=True, controls=False),
)

_CHUNK = 1 << 22  # pixels of all runs held at once


def stability(maps: np.ndarray) -> pd.DataFrame:
    """Structural similarity of the native 8-bit maps of every pair of runs, image by image.

    On 7 x 7 maps the window covers the whole map (Crum et al. 2023 average over images and pairs). Each map is divided
    by its maximum first, so that its unit does not matter. Resample runs, not pairs, for an interval.

    Args:
        maps: (R, N, h, w) float in [0, 1], quantised first, or uint8: the maps of R runs on the same N images.

    Returns:
        One row for each pair and image: run, run_other (numbers, 0 to R - 1), image (index, 0 to N - 1), value in
        [-1, 1]; NaN where either map is dead, that is, not finite, or constant as an 8-bit image.

    Raises:
        InputError: one run, maps smaller than 7 x 7 pixels, or values outside [0, 1].
    """
    maps = checked(maps, ndim=4)
    count, images = maps.shape[:2]
    if count < 2:
        raise InputError(f"stability compares runs and needs two runs or more; the maps hold {count}")
    pairs = list(combinations(range(count), 2))
    step = max(1, _CHUNK // maps[:, 0].size) if images else 1
    chunks = [_of_pairs(maps[:, start : start + step], pairs) for start in range(0, images, step)]
    values = np.concatenate(chunks, axis=1) if chunks else np.empty((len(pairs), 0))
    return pd.DataFrame(
        {
            "run": np.repeat([i for i, _ in pairs], images),
            "run_other": np.repeat([j for _, j in pairs], images),
            "image": np.tile(np.arange(images), len(pairs)),
            "value": values.ravel(),
        }
    )


def _of_pairs(maps: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """(P, N) similarity of the runs of each pair; maps: (R, N, h, w). Moments of a run are computed once."""
    grey = quantise(relative(maps))
    is_dead = dead(maps) | dead(grey)
    moments = [local_moments(of_run) for of_run in grey]
    values = np.stack([ssim(moments[i], moments[j], data_range=255) for i, j in pairs])
    values[np.stack([is_dead[i] | is_dead[j] for i, j in pairs])] = np.nan
    return values
