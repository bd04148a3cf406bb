"""Salience methods: one file each, named as the parameter value; a file that serves several lists them in ``NAMES``.

A file holds a class ``Method``, a subclass of the one here. ``e2m.salience.engine`` opens it on a detector, hands it
every forward pass that it makes, and stretches what it returns to [0, 1]. Torch, and libraries that import it, are
imported inside functions: a profile is checked without them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from e2m.types import Detector


@dataclass(frozen=True)
class ForwardPass:
    """What a method may read of a batch that went through the network.

    Attributes:
        images: (n, H, W, 3) uint8, as they arrived.
        pixels: (n, 3, size, size), the same as the network's input: normalised, channels last in memory.
        features: (n, channels, h, w), the output of the detector's layer.
        regions: (n, H, W) bool, true regions; None where the caller knows none.
        seed: of methods that draw random numbers; see ``ForwardPass.random``.
    """

    images: np.ndarray
    pixels: Tensor
    features: Tensor
    regions: np.ndarray | None = None
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w), the cells of the detector's layer."""
        return tuple(self.features.shape[2:])

    def random(self) -> list[np.random.Generator]:
        """A generator an image, keyed by (seed, the image's bytes): neither batch nor order changes what it draws."""
        keys = (
            hashlib.blake2b(f"{self.seed} ".encode() + np.ascontiguousarray(image).tobytes(), digest_size=16)
            for image in self.images
        )
        return [np.random.default_rng(int.from_bytes(key.digest(), "little")) for key in keys]


class Method(ABC):
    """A salience method opened on a detector.

    Attributes:
        needs: what ``maps`` differentiates: "layer" (logits by the layer's output; the engine then cuts the graph
            there, and a map costs hardly more than a forward pass), "input" (logits by ``pixels``), or "" for nothing.
        needs_regions: whether ``maps`` reads true regions.

    Args:
        detector: with its network in evaluation mode and its weights frozen. Its network returns logits (n, 2),
            authentic and synthetic, whatever its head is; a method may run it again.
        name: the parameter value, for files that serve several.

    Raises:
        InputError: the detector lacks what the method reads.
    """

    needs = ""
    needs_regions = False

    def __init__(self, detector: Detector, name: str) -> None:
        self.detector, self.name = detector, name

    def listen(self, on: bool) -> None:  # noqa: B027
        """Heard around every forward pass of the engine: hooks of the method are on for that pass only."""

    @abstractmethod
    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> Tensor | np.ndarray:
        """Raw maps (n, h, w) of the given classes, of any size, sign and scale.

        Args:
            forward: the batch.
            classes: (n,) class numbers that the maps explain, 0 authentic and 1 synthetic.
            logits: (n, 2), authentic and synthetic.

        Returns:
            One finite map an image; a constant or not finite map counts as dead.
        """

    def close(self) -> None:  # noqa: B027
        """Take the hooks off the network."""
