"""Masks of the masker trained for the detector (Phang, Park and Geras 2020, arXiv 2010.09750)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from e2m.methods import ForwardPass
from e2m.methods import Method as Base
from e2m.types import Detector, InputError

if TYPE_CHECKING:
    from torch import Tensor


class Method(Base):
    """The masker that the detector was loaded with; its mask is the same for every class unless it is conditioned."""

    def __init__(self, detector: Detector, name: str) -> None:
        from e2m.networks.masker import Hidden, load

        super().__init__(detector, name)
        self.masker = load(detector)
        self.hidden, self.hooks = Hidden(detector.model, list(self.masker.stages)), ExitStack()

    def listen(self, on: bool) -> None:
        """Keep the hidden activations of this pass."""
        if on:
            self.hooks.enter_context(self.hidden)
        else:
            self.hooks.close()

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> Tensor:
        """Masks (n, side, side) in [0, 1], before they are enlarged to the image; a collapsed mask is 0 everywhere.

        Raises:
            InputError: the masker was trained on stages of another size.
        """
        import torch

        from e2m.networks.masker import collapsed, listed

        shapes = {name: tuple(output.shape[1:3]) for name, output in self.hidden.kept.items()}
        if shapes != self.masker.stages:
            where = f"{self.detector.masker}: reads {listed(self.masker.stages)}"
            raise InputError(f"{where}; {self.detector.name!r} has {listed(shapes)} there")
        with torch.no_grad():
            masks = self.masker.masks(self.hidden(), classes)
        return masks.masked_fill(collapsed(masks)[:, None, None], 0)
