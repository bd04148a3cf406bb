"""Measure (h): does the detector look where people looked?"""

from __future__ import annotations

import math

import numpy as np

from e2m.arrays.correlation import correlation
from e2m.arrays.maps import checked, dead, quantise, relative
from e2m.arrays.ssim import ssim
from e2m.types import Headline, InputError

TITLE = "Human alignment"
LETTER = "h"
QUESTION = "Does the detector look where people looked?"
BLIND_SPOT = (
    "People can be wrong, or mark what does not matter; and a map that covers the middle of every face agrees with "
    "people without reading the image."
)
BETTER = {"ssim": "higher", "correlation": "higher", "divergence": "lower", "energy": "higher"}
RANGE = {"ssim": (-1, 1), "correlation": (-1, 1), "divergence": (0, math.inf), "energy": (0, 1)}
PAPER_EXACT = ()
AXIS = "agreement with human salience"
HEADLINES = (Headline("correlation with human maps", "correlation", forest=False),)

_LEVEL = 1 / 255  # one grey level, added before maps are read as distributions, so that no cell is zero


def with_human(maps: np.ndarray, human: np.ndarray) -> dict[str, np.ndarray]:
    """Every variant of the measure: its name -> (N,) values; NaN where a map or its human map is dead.

    Each map is divided by its maximum first: densities, counts and shares of the same annotation give the same values.

    Args:
        maps: (N, h, w) float in [0, 1] or uint8.
        human: (N, h, w), human salience of the same images at the same size.

    Raises:
        InputError: stacks of different shape, values outside [0, 1].
    """
    maps, human = checked(maps), checked(human)
    if maps.shape != human.shape:
        raise InputError(
            f"maps of shape {maps.shape}, human maps of shape {human.shape}; reduce both to one size first"
        )
    functions = {"ssim": similarity, "correlation": correlation, "divergence": divergence, "energy": energy}
    is_dead = dead(maps) | dead(human)
    alive = relative(_shares(maps[~is_dead])), relative(_shares(human[~is_dead]))
    return {name: _filled(function(*alive), is_dead) for name, function in functions.items()}


def similarity(maps: np.ndarray, human: np.ndarray) -> np.ndarray:
    """SSIM of the 8-bit maps, scikit-image's defaults: (N,) in [-1, 1]; NaN where one of both is constant."""
    grey, of_people = quantise(maps), quantise(human)
    return np.where(dead(grey) | dead(of_people), np.nan, ssim(grey, of_people, data_range=255))


def divergence(maps: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of the map from human salience, in bits: (N,), 0 where they are the same.

    With p human and q the detector's salience, each plus one grey level and divided by its sum,
    the divergence is ``sum p log2(p / q)``: the extra bits it costs to predict where people look from the map.
    """
    q, p = (_flat(stack) + _LEVEL for stack in (maps, human))
    q, p = q / q.sum(axis=1, keepdims=True), p / p.sum(axis=1, keepdims=True)
    return np.maximum(0, (p * np.log2(p / q)).sum(axis=1))


def energy(maps: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Share of the map's salience where human salience is at least half its maximum: (N,) in [0, 1].

    After the energy-based pointing game (Wang et al. 2020, Score-CAM, arXiv 1910.01279).
    """
    region = human >= human.max(axis=(1, 2), keepdims=True, initial=0) / 2
    return (maps * region).sum(axis=(1, 2)) / maps.sum(axis=(1, 2))


def _flat(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(len(maps), maps.shape[1] * maps.shape[2])


def _shares(maps: np.ndarray) -> np.ndarray:
    return maps.astype(np.float64) / (255 if maps.dtype == np.uint8 else 1)


def _filled(values: np.ndarray, is_dead: np.ndarray) -> np.ndarray:
    out = np.full(len(is_dead), np.nan)
    out[~is_dead] = values
    return out
