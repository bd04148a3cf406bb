"""Salience methods, one file each. The file is named as the parameter value; ``NAMES`` lists several values of a file.

A file holds a class ``Method``, a subclass of the one here. ``e2m.salience.engine`` opens it on a detector, passes it
every batch that went through the network, and scales its maps to [0, 1]. Files import torch, and libraries that import
torch, inside functions, so that a profile is checked without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from e2m.arrays.keyed import seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from e2m.types import Detector


CELLS = (7, 7)
"""Cells of maps that follow no layer: as many as occlusion has positions."""


@dataclass(frozen=True)
class ForwardPass:
    """A batch that went through the network, as salience methods read it.

    Attributes:
        images: (n, H, W, 3) uint8, the images as given.
        pixels: (n, channels, height, width), the network's input: the images resized and normalised, channels last in
            memory.
        features: (n, channels, h, w), the output of the detector's layer; see ``gradient``. None if it names no layer.
        regions: (n, H, W) bool, true regions; None if the caller knows none.
        seed: seed of methods that draw random numbers; see ``ForwardPass.random``.
        output, reshape: the layer's output in the graph of the logits, and the function that makes it ``features``.
    """

    images: np.ndarray
    pixels: Tensor
    features: Tensor | None
    regions: np.ndarray | None = None
    seed: int = 0
    output: Tensor | None = None
    reshape: Callable[[Tensor], Tensor] | None = None

    def gradient(self, score: Tensor) -> Tensor:
        """(n, channels, h, w), the gradient of a scalar by the features, for methods that need the "layer"."""
        import torch

        (gradient,) = torch.autograd.grad(score, self.output, retain_graph=True)
        return gradient if self.reshape is None else self.reshape(gradient)

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w), the cells of the detector's layer; 7x7 for a network that shows its scores only."""
        return CELLS if self.features is None else tuple(self.features.shape[2:])

    def random(self) -> list[np.random.Generator]:
        """One generator an image, keyed by the seed and the image's bytes, so that batch and order change no draw."""
        return [np.random.default_rng(seed_of(image, self.seed)) for image in self.images]


class Method(ABC):
    """A salience method opened on a detector.

    Attributes:
        needs: what ``maps`` differentiates. "layer": logits by the layer's output; the engine then cuts the graph
            there, and a map costs hardly more than a forward pass. "input": logits by ``pixels``. "": nothing.
        needs_regions: whether ``maps`` reads true regions.

    Args:
        detector: a detector with its network in evaluation mode and its weights frozen. The network returns logits
            (n, 2), authentic and synthetic, whatever its head is; a method may run it again.
        name: the parameter value, for files with several.

    Raises:
        InputError: the detector lacks something that the method reads.
    """

    needs = ""
    needs_regions = False

    def __init__(self, detector: Detector, name: str) -> None:
        self.detector, self.name = detector, name

    def listen(self, on: bool) -> None:  # noqa: B027
        """Switch the method's hooks on before each forward pass of the engine, and off after it."""

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
        """Remove the hooks from the network."""
