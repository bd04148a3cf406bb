"""Known maps: controls whose right answer is known, because they do not depend on the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from e2m.methods import ForwardPass
from e2m.methods import Method as Base
from e2m.types import Detector

if TYPE_CHECKING:
    from torch import Tensor


def oracle(forward: ForwardPass) -> np.ndarray:
    """The true region: the share of each cell that it covers; 0 everywhere if an image has none."""
    regions = np.zeros(forward.images.shape[:3]) if forward.regions is None else forward.regions
    return _reduced((regions > 0).astype(np.float32), forward.shape)


def centre(forward: ForwardPass) -> np.ndarray:
    """A Gaussian in the middle of the map, the same for all images; its deviation is a quarter of each side."""
    down, across = (np.exp(-0.5 * ((np.arange(side) + 0.5) / side - 0.5) ** 2 / 0.25**2) for side in forward.shape)
    return np.broadcast_to(np.outer(down, across), (len(forward.images), *forward.shape))


def random(forward: ForwardPass) -> np.ndarray:
    """Uniform random cells, drawn separately for every image and seed."""
    return np.stack([generator.random(forward.shape) for generator in forward.random()])


def fixed(forward: ForwardPass) -> np.ndarray:
    """One map of uniform random cells, the same for all images and seeds."""
    return np.broadcast_to(np.random.default_rng(0).random(forward.shape), (len(forward.images), *forward.shape))


def edges(forward: ForwardPass) -> np.ndarray:
    """The Sobel magnitude of the grey image, averaged over the area of each cell."""
    from skimage.filters import sobel

    strength = np.stack([sobel(image.mean(axis=2)) for image in forward.images])
    return _reduced(strength, forward.shape)


def _reduced(stack: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(n, H, W) reduced to (n, h, w) by area."""
    # Not at the top: every job that looks up a method imports this file, and skimage takes most of a second.
    from skimage.transform import resize_local_mean

    return resize_local_mean(stack, shape, channel_axis=0)


CONTROLS = {"oracle": oracle, "centre": centre, "random": random, "fixed": fixed, "edges": edges}

NAMES = tuple(CONTROLS)


class Method(Base):
    """A known map at the size of the detector's layer, the same for every class."""

    def __init__(self, detector: Detector, name: str) -> None:
        super().__init__(detector, name)
        self.needs_regions = name == "oracle"

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> np.ndarray:
        """(n, h, w) float64, nonnegative."""
        return CONTROLS[self.name](forward)
