"""Salience maps as plain arrays: 8-bit copies, enlargement, and which maps are dead."""

from __future__ import annotations

import numpy as np
from PIL import Image

from e2m.types import InputError


def quantise(maps: np.ndarray) -> np.ndarray:
    """Maps in [0, 1] as 8-bit images, truncated as torchvision's ``to_pil_image`` does; NaN becomes 0.

    Args:
        maps: (..., h, w) float in [0, 1]; uint8 maps come back unchanged.

    Returns:
        (..., h, w) uint8.
    """
    if maps.dtype == np.uint8:
        return maps
    return (np.nan_to_num(np.asarray(maps, np.float32), nan=0.0) * np.float32(255)).astype(np.uint8)


def upsample(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """8-bit maps enlarged with PIL's bicubic filter, as the published code enlarges them.

    Args:
        maps: (N, h, w) uint8, or float in [0, 1], which is quantised first.
        height, width: of the result, in pixels.

    Returns:
        (N, height, width) uint8.
    """
    small = quantise(maps)
    if small.shape[1:] == (height, width):
        return small
    out = np.empty((len(small), height, width), np.uint8)
    for row, image in zip(out, small, strict=True):
        row[:] = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return out


def pixels(length: float, side: int) -> float:
    """A length of the published measures in an image of this side: as it is from 224 px up, shortened below.

    The published networks read 224 and 299 px, and lengths are the same pixels for both. A smaller image shows the same
    face in fewer pixels, so its lengths are multiplied by side / 224.
    """
    return length * min(1.0, side / 224)


def checked(maps: np.ndarray, ndim: int = 3) -> np.ndarray:
    """Maps that a measure can read: uint8, or numbers in [0, 1] (NaN stays, for ``dead`` to find).

    Args:
        maps: any array-like.
        ndim: number of axes expected: 3 for (N, h, w), 4 for (R, N, h, w).

    Raises:
        InputError: another number of axes, no pixels, not numbers, or values outside [0, 1].
    """
    maps = np.asarray(maps)
    axes = {3: "(N, h, w)", 4: "(R, N, h, w)"}[ndim]
    if maps.ndim != ndim or 0 in maps.shape[-2:]:
        raise InputError(f"maps of shape {maps.shape}; give a stack {axes}")
    if maps.dtype == np.uint8:
        return maps
    if maps.dtype.kind not in "fiub":
        raise InputError(f"maps of type {maps.dtype}; give uint8, or floats in [0, 1]")
    # The extremes are enough for valid maps; a NaN hides them, and then every value is compared.
    within = maps.size == 0 or (maps.min() >= 0 and maps.max() <= 1)
    if not within and ((maps < 0).any() or (maps > 1).any()):
        raise InputError(
            f"maps hold values from {np.nanmin(maps)} to {np.nanmax(maps)}; give uint8, or scale to [0, 1]"
        )
    return maps


def relative(maps: np.ndarray) -> np.ndarray:
    """Maps divided by their own maximum, so that the unit in which a map is written changes no comparison.

    Eight bits and the constants of SSIM are parts of the range from 0 to 1: a map that reaches 0.01 would become three
    grey levels, and two such maps would count as similar whatever they show.

    Args:
        maps: (..., h, w) float in [0, 1] or uint8.

    Returns:
        (..., h, w) of the same type; the maximum of each map is 1, or 255 (8-bit values are rounded). Maps that reach
        it already, are 0 everywhere or hold a NaN come back unchanged.
    """
    largest = maps.max(axis=(-2, -1), keepdims=True, initial=0)
    full = 255 if maps.dtype == np.uint8 else 1
    short = (largest > 0) & (largest < full)
    if not short.any():
        return maps
    largest = np.where(short, largest, full)
    return np.rint(maps * (full / largest)).astype(np.uint8) if full == 255 else maps / largest.astype(maps.dtype)


def dead(maps: np.ndarray) -> np.ndarray:
    """Which maps are dead: those that are constant, or hold a NaN or an infinity.

    Args:
        maps: (..., h, w).

    Returns:
        (...) bool.
    """
    *leading, height, width = np.shape(maps)
    flat = np.asarray(maps).reshape(*leading, height * width)
    constant = (flat == flat[..., :1]).all(axis=-1)
    return constant if flat.dtype.kind != "f" else constant | ~np.isfinite(flat).all(axis=-1)


def min_max(raw: np.ndarray) -> np.ndarray:
    """Maps stretched to [0, 1] each: ``(map - min) / (max - min)``.

    A map is constant where max - min is at most a millionth of its largest magnitude: single precision leaves such a
    map a little uneven, and stretched to [0, 1], that would look like salience.

    Args:
        raw: (N, h, w), any numeric type.

    Returns:
        (N, h, w) float32; NaN in all of a map that is constant, or holds a NaN or an infinity.
    """
    raw = np.asarray(raw, np.float64)
    low, high = raw.min(axis=(1, 2), keepdims=True), raw.max(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        alive = np.isfinite(raw).all(axis=(1, 2), keepdims=True)
        alive &= high - low > 1e-6 * np.maximum(np.abs(low), np.abs(high))
        return ((raw - low) / np.where(alive, high - low, np.nan)).astype(np.float32)
