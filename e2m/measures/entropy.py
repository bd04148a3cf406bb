"""Measure (a): how concentrated is salience?"""

from __future__ import annotations

import numpy as np

from e2m.arrays.maps import checked, dead, quantise, relative
from e2m.types import Headline

TITLE = "Entropy"
LETTER = "a"
QUESTION = "Does the detector look at a small region, or everywhere at once?"
BLIND_SPOT = (
    "Neither entropy sees where salience lies: shuffling the cells of a map changes neither, "
    "so neither says whether the region is the right one."
)
BETTER = {"grey_level": "lower", "spatial": "lower"}
RANGE = {"grey_level": (0, 1), "spatial": (0, 1)}
PAPER_EXACT = ("grey_level",)
AXIS = "normalised entropy (1 = spread evenly)"
HEADLINES = (
    Headline("grey-level entropy", "grey_level", better="lower", published=True),
    Headline("spatial entropy", "spatial", better="lower"),
)

_LEVELS = 256
_CHUNK = 1 << 16  # pixels, or grey levels where those are more, at a time: they then stay in the CPU's cache


def grey_level_entropy(maps: np.ndarray) -> np.ndarray:
    """Shannon entropy of the grey-level histogram of the 8-bit map, divided by its largest possible value.

    ``entropy_bits(map) / log2(min(h * w, 256))``: Crum et al. 2023, who write 5.614 for 7 x 7 maps, where
    log2(49) = 5.6147.

    Args:
        maps: (N, h, w) float in [0, 1], divided by its maximum and quantised first, or uint8.

    Returns:
        (N,) in [0, 1]; NaN for dead maps: not finite, or constant as 8-bit images.

    Raises:
        InputError: another shape, or values outside [0, 1].
    """
    bits = entropy_bits(maps)
    height, width = np.shape(maps)[1:]
    return np.clip(bits / np.log2(max(2, min(height * width, _LEVELS))), 0, 1)


def spatial_entropy(maps: np.ndarray) -> np.ndarray:
    """Shannon entropy of salience read as a distribution over pixels, divided by its largest possible value.

    With p = map / sum(map), ``H = -sum p log2 p / log2(h * w)``: 0 where one pixel holds everything, towards 1 as
    salience spreads evenly.

    Args:
        maps: (N, h, w) float in [0, 1], or uint8.

    Returns:
        (N,) in [0, 1]; NaN for dead maps, constant or not finite.

    Raises:
        InputError: another shape, or values outside [0, 1].
    """
    maps = checked(maps)
    pixels = maps.shape[1] * maps.shape[2]
    out = np.full(len(maps), np.nan)
    step = max(1, _CHUNK // pixels)
    for start in range(0, len(maps), step):
        chunk = slice(start, start + step)
        alive = ~dead(maps[chunk])
        bits = _bits_of_shares(maps[chunk][alive].reshape(-1, pixels))
        out[chunk][alive] = np.clip(bits / np.log2(max(2, pixels)), 0, 1)
    return out


def entropy_bits(maps: np.ndarray) -> np.ndarray:
    """Shannon entropy of the grey-level histogram of the 8-bit map, in bits.

    With n_k of the n pixels at level k, H = -sum n_k/n log2(n_k/n) = log2(n) - sum n_k log2(n_k) / n; the second form
    needs only a table of whole numbers.

    Args:
        maps: (N, h, w) float in [0, 1], divided by its maximum and quantised first, or uint8.

    Returns:
        (N,) in [0, log2(min(h * w, 256))]; NaN for dead maps.

    Raises:
        InputError: another shape, or values outside [0, 1].
    """
    maps = checked(maps)
    pixels = maps.shape[1] * maps.shape[2]
    grey = quantise(relative(maps))
    counts = np.arange(pixels + 1.0)
    terms = counts * np.log2(np.maximum(counts, 1))
    sums = np.empty(len(maps))
    step = max(1, _CHUNK // max(pixels, _LEVELS))
    for start in range(0, len(maps), step):
        chunk = slice(start, start + step)
        sums[chunk] = terms[_histograms(grey[chunk])].sum(axis=1)
    bits = np.maximum(np.log2(pixels) - sums / pixels, 0.0)
    return np.where(dead(maps) | dead(grey), np.nan, bits)


def measure(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Every variant of the measure: its name -> (N,) values."""
    return {"grey_level": grey_level_entropy(maps), "spatial": spatial_entropy(maps)}


def _bits_of_shares(mass: np.ndarray) -> np.ndarray:
    """(N,) bits of p = mass / S, S its sum, as log2 S - sum mass log2 mass / S; mass: (N, pixels)."""
    mass = mass.astype(np.float64)
    logs = np.log2(np.maximum(mass, np.finfo(np.float64).tiny))
    total = mass.sum(axis=1)
    return np.log2(total) - np.multiply(mass, logs, out=logs).sum(axis=1) / total


def _histograms(grey: np.ndarray) -> np.ndarray:
    """(N, 256) counts: one ``bincount`` for all maps, each with its own bins."""
    n = len(grey)
    bins = grey.reshape(n, -1) + _LEVELS * np.arange(n)[:, None]
    return np.bincount(bins.ravel(), minlength=_LEVELS * n).reshape(n, _LEVELS)
