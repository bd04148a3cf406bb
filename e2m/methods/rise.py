"""RISE (Petsiuk, Das and Saenko 2018, arXiv 1806.07421): random masks weighted by the probability of the class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from e2m.methods import ForwardPass
from e2m.methods import Method as Base

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("RISE",)

MASKS = 200
"""Number of masks an image; the paper uses thousands."""

CELLS = 7
"""Side of the random grid; half of its cells are shown."""


class Method(Base):
    """``map = sum P(class | image * mask) mask / sum mask``: each cell is divided by how often it was shown.

    Masks are coarse random grids, enlarged (bilinear) and shifted. Every image has different masks, keyed by the seed
    and the image's bytes.
    """

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> np.ndarray:
        """(n, h, w), the mean probability of the class when a cell is shown, at the size of the detector's layer."""
        import torch
        from torch.nn.functional import interpolate

        (height, width), pixels = self.detector.shape, forward.pixels.detach()
        cell = [-(-side // CELLS) for side in (height, width)]
        total, shown = np.zeros((2, len(pixels), *forward.shape))
        generators = forward.random()
        with torch.no_grad():
            for _ in range(MASKS):
                grids = np.stack([generator.random((CELLS + 1, CELLS + 1)) < 0.5 for generator in generators])
                large = interpolate(
                    torch.from_numpy(grids[:, None]).float(), [(CELLS + 1) * side for side in cell], mode="bilinear"
                )
                corners = [generator.integers(0, cell, 2) for generator in generators]
                masks = torch.stack(
                    [
                        mask[:, top : top + height, left : left + width]
                        for mask, (top, left) in zip(large, corners, strict=True)
                    ]
                ).to(pixels.device)
                scores = self.detector.model(pixels * masks).double().softmax(1).gather(1, classes[:, None])
                small = interpolate(masks, forward.shape, mode="area")[:, 0].cpu().numpy()
                total += scores.cpu().numpy()[:, :, None] * small
                shown += small
        return total / shown
