"""Measure (e): what happens when the salient region, or the rest of the image, is blurred?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress, product
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval, MinLen
from scipy.ndimage import gaussian_filter

from e2m.arrays.keyed import seed_of
from e2m.arrays.maps import checked, dead, pixels, quantise, relative, upsample
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
LEVEL = "largest blur (px)"
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

LEAST_SIGMA = 0.5
"""Blur in pixels of an image of 224 px that counts as blur: less hardly changes an 8-bit image."""

LARGEST_SIGMA = 100.0
"""Largest blur in pixels of an image of 224 px: it leaves one colour. Time and memory grow with the blur."""

LEAST_SHARE = 0.005
"""Share of the image that a map must blur, or its blur cannot tell anything: a quarter of a cell of a 7 x 7 map."""

_ORDER = 4  # exponent of the fall from the largest blur to none
_CUT_OFF = 4.0  # of the filters, in sigma: SciPy's default
_SMOOTHING = 5.0  # sigma of the map's own smoothing, in pixels
_BLOBS = 16.0  # sigma of the random field's smoothing, in pixels: half a cell of a 7 x 7 map
_STEPS = 10  # sharpness is rounded to tenths


def degrade(
    images: np.ndarray, maps: np.ndarray, region: str = "salient", max_sigma: float = 10.0, seed: int = 0
) -> np.ndarray:
    """Images whose local blur follows a map.

    With M = max_sigma, G5 a Gaussian smoothing by 5 px, and map the 8-bit map ("background") or 255 - map ("salient"),
    sharpness is s = M * G5(map) / max(G5(map)), rounded to 0.1, and each pixel is taken from the image blurred by
    sigma = (M - s)^4 / M^3 px (the release of Crum et al. 2023). Both are SciPy's Gaussian filter of each channel,
    with reflected borders, cut off at four sigma. On 8-bit images it truncates after each axis: blur darkens an image
    by about a grey level. At a height of 224 px or more, this is what the release computes, value for value. Lengths
    in smaller images are shortened to height / 224: see ``e2m.arrays.maps.pixels``.

    Args:
        images: (N, H, W, 3) uint8.
        maps: (N, h, w) float in [0, 1] or uint8, of the images' aspect ratio; divided by their maximum unless they are
            8-bit, quantised, then upsampled.
        region: what is blurred: "salient"; "background", which keeps the salient region; or a reference region, which
            reassigns the blur levels of "salient" to smooth "random" blobs or to the "centre".
        max_sigma: M, the largest blur, at most ``LARGEST_SIGMA``; 0 returns the images.
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

    Warns:
        UserWarning: maps too fine to blur anything, see ``blurred_share``.

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
    too_fine = np.zeros(len(images), bool)
    for n, image in enumerate(images):
        levels = [sharpness(maps[n : n + 1], region, max_sigma, seed)[0] for maps, region in fitted]
        too_fine[n] = min(_blurred_shares(plane[None], max_sigma, len(image))[0] for plane in levels) < LEAST_SHARE
        for changed, picked in zip(out, _picked(image, levels, max_sigma), strict=True):
            changed[n] = picked
    if too_fine.any():
        warnings.warn(
            f"degradation: {too_fine.sum()} of {len(images)} images have a map so fine that its blur leaves all but "
            f"{LEAST_SHARE:.1%} of the image sharp; that they change nothing says nothing about the detector",
            stacklevel=2,
        )
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
    smooth = np.stack([gaussian_filter(plane, pixels(_SMOOTHING, height)) for plane in wanted])
    # A map of nothing but a few dark specks is smoothed to 0 everywhere, and all of its image is blurred.
    largest = np.maximum(smooth.max(axis=(1, 2), keepdims=True), 1)
    # Divided in this order, so that ties round as in the release.
    levels = np.rint(np.around(smooth / (largest / max_sigma), 1) * _STEPS).astype(np.uint16)
    if region == "random":
        orders = (_random_order(seed_of(map_, int(seed)), map_.shape) for map_ in maps)
        return np.stack([_dealt(plane, order) for plane, order in zip(levels, orders, strict=True)])
    if region == "centre":
        return np.stack([_dealt(plane, _central_order(height, width)) for plane in levels])
    return levels


def blurred_share(
    maps: np.ndarray, shape: tuple[int, int], region: str = "salient", max_sigma: float = 10.0
) -> np.ndarray:
    """Share of the image that the map blurs by ``LEAST_SIGMA`` or more (by a twentieth of ``max_sigma``, if less).

    Fine maps, such as those of pixel gradients, may be smoothed to nothing before they guide the blur. Then the image
    stays as it was, and an unchanged decision says nothing about the salient region: see ``LEAST_SHARE``.

    Args:
        maps: (N, h, w) float in [0, 1] or uint8, as in ``degrade``.
        shape: (H, W) of the images.
        region, max_sigma: as in ``degrade``; "random" and "centre" blur as much as "salient".

    Returns:
        (N,) in [0, 1]; NaN for dead maps.
    """
    maps = checked(maps)
    alive = ~(dead(maps) | dead(quantise(relative(maps))))
    out = np.full(len(maps), np.nan)
    for n in np.flatnonzero(alive):
        large = upsample(_as_guide(maps[n : n + 1]), *shape)
        out[n] = (
            _blurred_shares(sharpness(large, _region(region), max_sigma), max_sigma, shape[0])[0] if max_sigma else 0.0
        )
    return out


def perturbations(
    images: np.ndarray,
    maps: dict[str, np.ndarray],
    max_sigmas: Annotated[Sequence[Annotated[float, Interval(ge=0, le=LARGEST_SIGMA)]], MinLen(1)] = (10.0,),
    regions: Annotated[Sequence[Literal[*REGIONS]], MinLen(1)] = REGIONS,
    seed: int = 0,
) -> Iterator[Perturbation]:
    """The images blurred with every ``max_sigma`` (``level``), in every ``region``, guided by each map.

    All maps and regions of one level share the blurred copies of each image. An image whose map is dead comes back
    unchanged: there is no salience to compare, and its values are NaN. A warning says where maps are too fine to blur
    anything (``blurred_share``).

    Raises:
        InputError: an unknown region, or a negative sigma.
    """
    if not maps:
        return
    alive = np.stack([~dead(stack) for stack in maps.values()], axis=1)
    for max_sigma in max_sigmas:
        blurred = {key: images.copy() for key in product(maps, regions)}
        # Images with the same live maps together, so that each image is blurred once for all of its maps.
        for living in np.unique(alive, axis=0):
            where = (alive == living).all(axis=1)
            wanted = list(product(compress(maps, living), regions))
            requests = [(maps[method][where], region) for method, region in wanted]
            changed = degrade_many(images[where], requests, max_sigma, seed) if wanted else []
            for key, stack in zip(wanted, changed, strict=True):
                blurred[key][where] = stack
        for method, region in product(maps, regions):
            yield Perturbation(blurred[method, region], level=f"{max_sigma:g}", guide=method, region=region)


def _picked(image: np.ndarray, levels: list[np.ndarray], max_sigma: float) -> list[np.ndarray]:
    """For each (H, W) array of levels, the image with every pixel taken from the copy blurred for its level."""
    used = np.flatnonzero(np.bincount(np.concatenate([plane.ravel() for plane in levels])))
    grey = (image[..., :1] == image).all()
    planes = image[..., :1] if grey else image
    copies = np.stack([_blurred(planes, _sigma(level, max_sigma, len(image))) for level in used])
    position = np.zeros(used[-1] + 1, np.intp)
    position[used] = np.arange(len(used))
    rows, columns = np.indices(image.shape[:2], sparse=True)
    return [np.broadcast_to(copies[position[plane], rows, columns], image.shape) for plane in levels]


def _blurred(planes: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W, C) uint8, each channel blurred; the image itself if the filter, cut off at four sigma, is one pixel."""
    return gaussian_filter(planes, sigma, truncate=_CUT_OFF, axes=(0, 1)) if int(_CUT_OFF * sigma + 0.5) else planes


def _sigma(level: int, max_sigma: float, height: int) -> float:
    """The blur of a level of sharpness, in pixels of an image of this height."""
    distance = max(0.0, round(max_sigma - level / _STEPS, 1))
    # Multiplied in the release's order: truncation turns the last bit of sigma into whole grey levels.
    return pixels(1 / max_sigma ** (_ORDER - 1) * distance**_ORDER, height)


def _dealt(levels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same levels reassigned: the lowest, most blurred, at the pixel that comes first in the order."""
    out = np.empty_like(levels)
    out.reshape(-1)[order] = np.sort(levels, axis=None, kind="stable")
    return out


@lru_cache(maxsize=256)  # every level of blur asks for it again; that is 100 KB for a map of 112 px
def _random_order(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Pixels sorted by a smooth random field."""
    draw = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return np.argsort(gaussian_filter(draw, pixels(_BLOBS, shape[0])), axis=None, kind="stable")


@lru_cache(maxsize=4)
def _central_order(height: int, width: int) -> np.ndarray:
    """Pixels sorted by distance from the centre."""
    rows, columns = np.indices((height, width), sparse=True)
    squares = (2 * rows - height + 1) ** 2 + (2 * columns - width + 1) ** 2
    return np.argsort(squares, axis=None, kind="stable")


def _fitted(maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Live maps as 8-bit images at the size of the images."""
    maps = _as_guide(checked(maps))
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


def _as_guide(maps: np.ndarray) -> np.ndarray:
    """Maps as the formula reads them; 8-bit maps may be enlarged already, and stay as the release has them."""
    return maps if maps.dtype == np.uint8 else relative(maps)


def _blurred_shares(levels: np.ndarray, max_sigma: float, height: int) -> np.ndarray:
    """(N,) shares of the pixels that are blurred; levels: (N, H, W) of ``sharpness``."""
    sigmas = np.array([_sigma(level, max_sigma, height) for level in range(int(levels.max(initial=0)) + 1)])
    # A small dose is small on purpose.
    least = pixels(min(LEAST_SIGMA, max_sigma / 20), height)
    return (sigmas >= least)[levels].mean(axis=(1, 2))


def _region(region: str) -> str:
    if region not in REGIONS:
        raise InputError(f"no region named {region!r}; choose from {', '.join(REGIONS)}")
    return region


def _check_sigma(max_sigma: float) -> None:
    if not 0 <= max_sigma <= LARGEST_SIGMA:
        raise InputError(f"max_sigma is {max_sigma}; give a blur in pixels, from 0 to {LARGEST_SIGMA:g}")
