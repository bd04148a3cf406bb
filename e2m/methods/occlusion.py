"""Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901): the loss in probability when a patch hides part of the image."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from e2m.methods import ForwardPass
from e2m.methods import Method as Base

if TYPE_CHECKING:
    from torch import Tensor

PATCH, STRIDE = 1 / 4, 1 / 8
"""Side of the patch and distance between its positions, as shares of the input's side: 7 x 7 positions."""


class Method(Base):
    """``map = P(class | image) - P(class | image with the patch filled with the mean colour)``, one cell a position."""

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> Tensor:
        """(n, h, w), the probability lost; negative where hiding raises the probability."""
        import torch

        patch = [max(1, round(PATCH * side)) for side in self.detector.shape]
        down, across = (
            range(0, side - long + 1, max(1, round(STRIDE * side)))
            for side, long in zip(self.detector.shape, patch, strict=True)
        )
        lost = logits.new_empty((len(logits), len(down), len(across)), dtype=torch.float64)
        with torch.no_grad():
            clean = _probability(logits, classes)
            for (row, top), (column, left) in product(enumerate(down), enumerate(across)):
                hidden = forward.pixels.detach().clone()
                hidden[:, :, top : top + patch[0], left : left + patch[1]] = 0
                lost[:, row, column] = clean - _probability(self.detector.model(hidden), classes)
        return lost


def _probability(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.double().softmax(1).gather(1, classes[:, None])[:, 0]
