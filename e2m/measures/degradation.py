"""Measure (e): what happens when the salient region, or the rest of the image, is blurred?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen
from scipy.ndimage import gaussian_filter1d

from e2m.arrays.maps import checked, dead, quantise, upsample
from e2m.checks import NotNegative
from e2m.types import Headline, InputError, Perturbation

TITLE = "Degradation"
LETTER = "e"
QUESTION = "How do decision and salience change when the salient region, or the rest of the image, is blurred?"
BLIND_SPOT = (
    "Blur is itself a trace of manipulation, and a small salient area means a small change: only reference regions "
    "with the same amount of blur tell whether the salient region mattered."
)
BETTER = {"ssim": "higher", "score": "closer to clean", "score_sigmoid": "closer to clean"}
RANGE = {"ssim": (-1, 1), "score": (0, 1), "score_sigmoid": (0, 1)}
PAPER_EXACT = ("score_sigmoid", "ssim")
AXIS = "score P(synthetic)"
HEADLINES = (
    *(
        Headline(
            f"change of accuracy, {region} blurred",
            "accuracy change",
            region,
            level=10.0,
            better=better,
            published=True,
            controls=False,
        )
        for region, better in (("background", "higher"), ("salient", "lower"))
    ),
    Headline("change of score, salient blurred", "change", "salient", level=10.0, forest=False),
    Headline("change of score, background blurred", "change", "background", level=10.0, forest=False),
)

REGIONS = ("salient", "background", "random", "centre")
"""What is blurred most. The first two are the paper's; "random" and "centre" are reference regions, with exactly the
blur of "salient" elsewhere."""

_ORDER = 4  # exponent of the fall from the largest blur to none
_SMOOTHING = 5 / 224  # sigma of the map's own smoothing, as a share of the height
_BLOBS = 16 / 224  # sigma of the random field's smoothing: half a cell of a 7 x 7 map
_STEPS = 10  # sharpness is rounded to tenths
_BLOCK = 32  # rows blurred by one matrix product


def degrade(
    images: np.ndarray, maps: np.ndarray, region: str = "salient", max_sigma: float = 10.0, seed: int = 0
) -> np.ndarray:
    """Images whose local blur follows a map.

    With M = max_sigma, G5 a Gaussian smoothing by 5 px, and map the 8-bit map ("background") or 255 - map ("salient"),
    sharpness is s = M * G5(map) / max(G5(map)), rounded to 0.1, and each pixel is taken from the image blurred by
    sigma = (M - s)^4 / M^3 px (Crum et al. 2023). Lengths are at 224 px and scale with the height of the image. Blur
    is a Gaussian filter of each channel with reflected borders, cut off at four sigma, rounded to 8 bits.

    Args:
        images: (N, H, W, 3) uint8.
        maps: (N, h, w) float in [0, 1] or uint8, of the images' aspect ratio; quantised, then upsampled.
        region: what is blurred: "salient"; "background", which keeps the salient region; or a reference region, which
            reassigns the blur levels of "salient" to smooth "random" blobs or to the "centre".
        max_sigma: M, the largest blur; 0 returns the images.
        seed: of the random blobs, which are keyed by (seed, map): batch and order never matter.

    Returns:
        (N, H, W, 3) uint8.

    Raises:
        InputError: dead maps. A constant map has no salient region; the formula would keep all of the image sharp,
            which looks like a detector that blur does not harm. Also: a shape, region or sigma that does not fit.
    """
    return degrade_many(images, [(maps, region)], max_sigma, seed)[0]


def degrade_many(
    images: np.ndarray, requests: Sequence[tuple[np.ndarray, str]], max_sigma: float = 10.0, seed: int = 0
) -> list[np.ndarray]:
    """``degrade`` for several maps and regions of the same images, which share the blurred copies of each image.

    A blurred copy costs far more than picking pixels from it, so give the maps of all runs and methods, and all
    regions, of one ``max_sigma`` together. The result equals that of separate calls. One image is processed at a time:
    memory holds at most ten copies for each unit of ``max_sigma``.

    Args:
        images, max_sigma, seed: as in ``degrade``.
        requests: pairs of maps (N, h, w) and a region.

    Returns:
        One (N, H, W, 3) uint8 array for each request, in order.

    Raises:
        InputError: as ``degrade``.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8:
        raise InputError(f"images are {images.dtype} of shape {images.shape}; give uint8 of shape (N, H, W, 3)")
    _check_sigma(max_sigma)
    fitted = [(_fitted(maps, images), _region(region)) for maps, region in requests]
    if max_sigma == 0:
        return [images] * len(fitted)
    out = [np.empty_like(images) for _ in fitted]
    for n, image in enumerate(images):
        levels = [sharpness(maps[n : n + 1], region, max_sigma, seed)[0] for maps, region in fitted]
        for changed, picked in zip(out, _picked(image, levels, max_sigma), strict=True):
            changed[n] = picked
    return out


def sharpness(maps: np.ndarray, region: str = "salient", max_sigma: float = 10.0, seed: int = 0) -> np.ndarray:
    """Sharpness s of each pixel, in tenths: 0 is blurred by ``max_sigma``, 10 * max_sigma not at all.

    The regions "random" and "centre" hold exactly the levels of "salient", in the order of another field.

    Args:
        maps: (N, H, W) uint8, not constant, at the size of the images.
        region, max_sigma, seed: as in ``degrade``.

    Returns:
        (N, H, W) uint16.
    """
    height, width = maps.shape[1:]
    wanted = maps if region == "background" else 255 - maps
    smooth = np.stack([_smoothed(plane, _SMOOTHING * height) for plane in wanted])
    share = smooth / smooth.max(axis=(1, 2), keepdims=True)
    levels = np.rint(share * np.float32(max_sigma * _STEPS)).astype(np.uint16)
    if region == "random":
        return np.stack([_dealt(plane, _random_order(map_, seed)) for plane, map_ in zip(levels, maps, strict=True)])
    if region == "centre":
        return np.stack([_dealt(plane, _central_order(height, width)) for plane in levels])
    return levels


def perturbations(
    images: np.ndarray,
    maps: dict[str, np.ndarray],
    max_sigmas: Annotated[Sequence[NotNegative], MinLen(1)] = (10.0,),
    regions: Annotated[Sequence[Literal[*REGIONS]], MinLen(1)] = REGIONS,
    seed: int = 0,
) -> Iterator[Perturbation]:
    """The images blurred with every ``max_sigma`` (``level``), in every ``region``, guided by each map.

    All maps and regions of one level share the blurred copies of each image. An image whose map is dead comes back
    unchanged: there is no salience to compare, and its values are NaN.

    Raises:
        InputError: an unknown region, or a negative sigma.
    """
    alive = {method: ~dead(stack) for method, stack in maps.items()}
    for max_sigma in max_sigmas:
        blurred = {}
        for where in np.unique(list(alive.values()), axis=0):
            methods = [method for method in maps if np.array_equal(alive[method], where)]
            wanted = [(method, region) for method in methods for region in regions]
            requests = [(maps[method][where], region) for method, region in wanted]
            for key, changed in zip(wanted, degrade_many(images[where], requests, max_sigma, seed), strict=True):
                blurred[key] = images.copy()
                blurred[key][where] = changed
        for method, region in product(maps, regions):
            yield Perturbation(blurred[method, region], level=f"{max_sigma:g}", guide=method, region=region)


def _picked(image: np.ndarray, levels: list[np.ndarray], max_sigma: float) -> list[np.ndarray]:
    """For each (H, W) array of levels, the image with every pixel taken from the copy blurred for its level."""
    used = np.flatnonzero(np.bincount(np.concatenate([plane.ravel() for plane in levels])))
    grey = (image[..., :1] == image).all()
    planes = np.ascontiguousarray((image[..., :1] if grey else image).transpose(0, 2, 1))
    copies = np.stack([_blurred(planes, _sigma(level, max_sigma, len(image))) for level in used])
    position = np.zeros(used[-1] + 1, np.intp)
    position[used] = np.arange(len(used))
    rows, columns = np.indices(image.shape[:2], sparse=True)
    return [np.broadcast_to(copies[position[plane], rows, :, columns], image.shape) for plane in levels]


def _sigma(level: int, max_sigma: float, height: int) -> float:
    """The blur of a level of sharpness, in pixels of an image of this height."""
    return max(0.0, max_sigma - level / _STEPS) ** _ORDER / max_sigma ** (_ORDER - 1) * height / 224


def _blurred(planes: np.ndarray, sigma: float) -> np.ndarray:
    """(H, C, W) uint8 planes, blurred and rounded to 8 bits."""
    if _radius(sigma) == 0:
        return planes
    down = _down(planes.reshape(len(planes), -1).astype(np.float32), sigma)
    along = _down(down.reshape(-1, planes.shape[2]).T, sigma).T
    return np.rint(along, out=along).astype(np.uint8).reshape(planes.shape)


def _down(columns: np.ndarray, sigma: float) -> np.ndarray:
    """(size, n) float32 columns under a Gaussian filter: each block of rows times its band of the matrix."""
    matrix, reach = _gaussian(len(columns), sigma), _radius(sigma)
    out = np.empty_like(columns)
    for start in range(0, len(columns), _BLOCK):
        rows = slice(start, start + _BLOCK)
        band = slice(max(0, start - reach), start + _BLOCK + reach)
        np.matmul(matrix[rows, band], columns[band], out=out[rows])
    return out


def _smoothed(plane: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W) map under a Gaussian filter, float32."""
    return _down(_down(plane.astype(np.float32), sigma).T, sigma).T


@lru_cache(maxsize=256)
def _gaussian(size: int, sigma: float) -> np.ndarray:
    """The (size, size) matrix that blurs a column of pixels, reflected borders included: the filtered unit matrix."""
    matrix = gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect", truncate=4.0).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def _radius(sigma: float) -> int:
    """Pixels that the filter reaches to each side; 0 leaves the image as it is."""
    return int(4.0 * sigma + 0.5)


def _dealt(levels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same levels reassigned: the lowest, most blurred, at the pixel that comes first in the order."""
    out = np.empty_like(levels)
    out.reshape(-1)[order] = np.sort(levels, axis=None, kind="stable")
    return out


def _random_order(map_: np.ndarray, seed: int) -> np.ndarray:
    """Pixels sorted by a smooth random field, keyed by the map."""
    key = hashlib.blake2b(f"{int(seed)} ".encode() + map_.tobytes(), digest_size=16)
    draw = np.random.default_rng(int.from_bytes(key.digest(), "little")).standard_normal(map_.shape, np.float32)
    return np.argsort(_smoothed(draw, _BLOBS * len(map_)), axis=None, kind="stable")


@lru_cache(maxsize=4)
def _central_order(height: int, width: int) -> np.ndarray:
    """Pixels sorted by distance from the centre."""
    rows, columns = np.indices((height, width), sparse=True)
    squares = (2 * rows - height + 1) ** 2 + (2 * columns - width + 1) ** 2
    return np.argsort(squares, axis=None, kind="stable")


def _fitted(maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Live maps as 8-bit images at the size of the images."""
    maps = checked(maps)
    height, width = images.shape[1:3]
    if len(maps) != len(images) or maps.shape[1] * width != maps.shape[2] * height:
        raise InputError(
            f"maps of shape {maps.shape} for images of shape {images.shape}; "
            "give one map for each image, of its aspect ratio"
        )
    count = int((dead(maps) | dead(quantise(maps))).sum())
    if count:
        raise InputError(
            f"{count} of {len(maps)} maps are dead (constant or NaN) and cannot guide blur; drop them first"
        )
    return upsample(maps, height, width)


def _region(region: str) -> str:
    if region not in REGIONS:
        raise InputError(f"no region named {region!r}; choose from {', '.join(REGIONS)}")
    return region


def _check_sigma(max_sigma: float) -> None:
    if not 0 <= max_sigma < np.inf:
        raise InputError(f"max_sigma is {max_sigma}; give a blur in pixels at 224, 0 or more")
