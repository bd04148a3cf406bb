"""Measure (b): what happens to salience under noise, and on samples from unseen sources?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from e2m.arrays.keyed import seed_of
from e2m.arrays.maps import checked, dead, quantise, relative
from e2m.arrays.ssim import ssim
from e2m.checks import Share
from e2m.types import Headline, InputError, Perturbation

TITLE = "Noise and unseen sources"
LETTER = "b"
QUESTION = "Does the detector still look at the same regions when noise covers the image or its source is new?"
BLIND_SPOT = (
    "A detector whose map never depends on the image passes perfectly; and the predicted class, whose map is "
    "compared, can flip under noise."
)
BETTER = {"ssim": "higher", "score": "closer to clean", "score_sigmoid": "closer to clean", "distance_to_mean": "lower"}
RANGE = {"ssim": (-1, 1), "score": (0, 1), "score_sigmoid": (0, 1), "distance_to_mean": (0, 2)}
PAPER_EXACT = ("score_sigmoid", "ssim")
AXIS = "SSIM with the clean map"
LEVEL = "share of noise"
HEADLINES = (
    Headline("SSIM, noise {level:g}", "ssim", target="predicted", level=0.1, better="higher", published=True),
    Headline("SSIM, noise {level:g}, clean class", "ssim", target="clean", level=0.1, better="higher", controls=False),
)

AMOUNTS = (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 1.0)
"""Shares of channel values that noise replaces, as in the paper; 0 is the clean image."""


def salt_and_pepper(images: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Images with a share of their channel values replaced, half by 0 and half by 255.

    Every value is replaced with probability ``amount``, independently in each channel. The noise of an image is drawn
    from a generator keyed by (seed, amount, the image's bytes), so batch and order never matter.

    Args:
        images: (N, H, W, 3) uint8.
        amount: in [0, 1]; 0 returns the images.
        seed: whole number; another seed gives other noise.

    Returns:
        (N, H, W, 3) uint8.

    Raises:
        InputError: an amount outside [0, 1], or images of another shape or type.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8:
        raise InputError(f"images are {images.dtype} of shape {images.shape}; give uint8 of shape (N, H, W, 3)")
    # A Python number, whose type does not decide how it is compared with draws in single precision.
    amount = _share(amount)
    if amount == 0:
        return images
    noisy = images.copy()
    for image, changed in zip(images, noisy, strict=True):
        draw = np.random.default_rng(seed_of(image, int(seed), amount)).random(image.shape, np.float32)
        changed[draw < amount] = 255
        changed[draw < amount / 2] = 0
    return noisy


def distance_to_mean(maps: np.ndarray, reference_maps: np.ndarray) -> np.ndarray:
    """How far each map of an unseen source is from the mean map of a known one: 1 - SSIM, on native 8-bit maps.

    Each map is divided by its maximum first, so that its unit does not matter. The mean is taken over the 8-bit maps
    that are not dead, and truncated to 8 bits: sums of whole numbers do not depend on the order of the maps.

    Args:
        maps: (N, h, w) float in [0, 1] or uint8, of any source.
        reference_maps: (M, h, w), of the in-set source.

    Returns:
        (N,) in [0, 2]; NaN for dead maps.

    Raises:
        InputError: maps of another size, values outside [0, 1], or no live reference map.
    """
    maps, reference_maps = relative(checked(maps)), relative(checked(reference_maps))
    known = quantise(reference_maps)[~_dead(reference_maps)]
    if len(known) == 0:
        raise InputError(f"none of the {len(reference_maps)} reference maps is alive; a mean needs at least one")
    mean = known.mean(axis=0, dtype=np.float64).astype(np.uint8)
    return np.where(_dead(maps), np.nan, 1 - ssim(mean[None], quantise(maps), data_range=255))


def perturbations(
    images: np.ndarray,
    maps: dict[str, np.ndarray],
    amounts: Annotated[Sequence[Share], MinLen(1)] = AMOUNTS,
    seed: int = 0,
) -> Iterator[Perturbation]:
    """The images under every amount of noise but 0, which is the clean image itself; ``level`` is the amount.

    Raises:
        InputError: an amount outside [0, 1].
    """
    for amount in map(_share, amounts):
        if amount:
            yield Perturbation(salt_and_pepper(images, amount, seed), level=f"{amount:g}")


def _share(amount: float) -> float:
    if not 0 <= amount <= 1:
        raise InputError(f"amount of noise is {amount}; give a share from 0 to 1")
    return float(amount)


def _dead(maps: np.ndarray) -> np.ndarray:
    return dead(maps) | dead(quantise(maps))
