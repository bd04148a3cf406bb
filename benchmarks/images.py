"""Random images and maps for timing: seeded noise, as smooth as a photograph or as a map."""

import numpy as np
from scipy.ndimage import gaussian_filter

from e2m.arrays.maps import quantise


def random_images(count: int, side: int, seed: int = 0) -> np.ndarray:
    """(count, side, side, 3) uint8, in colour: the blur treats grey images faster."""
    channels = quantise(_smooth(3 * count, side, side / 16, seed))
    return channels.reshape(count, 3, side, side).transpose(0, 2, 3, 1).copy()


def random_maps(count: int, side: int, seed: int = 0) -> np.ndarray:
    """(count, side, side) float32 in [0, 1]."""
    return _smooth(count, side, side / 8, seed)


def _smooth(count: int, side: int, sigma: float, seed: int) -> np.ndarray:
    fields = np.random.default_rng(seed).standard_normal((count, side, side), np.float32)
    fields = gaussian_filter(fields, (0, sigma, sigma))
    low, high = fields.min(axis=(1, 2), keepdims=True), fields.max(axis=(1, 2), keepdims=True)
    return (fields - low) / (high - low)
