"""Captum's gradient methods that attribute the logit of a class to the input.

Each gives every channel of every pixel a signed value. The map is the absolute value of the sum over channels, so that
evidence for the class and evidence against it both count as salient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from e2m.methods import ForwardPass
from e2m.methods import Method as Base
from e2m.types import Detector, InputError

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("IntegratedGradients", "GradientShap")

STEPS = 32
"""Points on the line from the baseline to the image at which IntegratedGradients takes gradients."""

SAMPLES = 16
"""Random points on that line at which GradientShap takes gradients."""


class Method(Base):
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) or GradientShap (Lundberg and Lee 2017, arXiv
    1705.07874); the baseline is the mean colour, which is 0 after normalisation.

    Captum runs the network itself, so the engine's forward pass is not differentiated.
    """

    def __init__(self, detector: Detector, name: str) -> None:
        from captum import attr

        super().__init__(detector, name)
        if not getattr(detector.model, "differentiable", True):
            raise InputError(f"{name} takes gradients, which {detector.name!r} does not give; use occlusion or RISE")
        self.attribution = getattr(attr, name)(detector.model)

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> Tensor:
        """(n, height, width), nonnegative."""
        import torch

        pixels = forward.pixels.detach()
        with torch.enable_grad():
            attribute = self._integrated if self.name == "IntegratedGradients" else self._sampled
            return attribute(pixels, classes, forward).sum(1).abs()

    def _integrated(self, pixels: Tensor, classes: Tensor, forward: ForwardPass) -> Tensor:
        return self.attribution.attribute(pixels, target=classes, n_steps=STEPS, internal_batch_size=len(pixels))

    def _sampled(self, pixels: Tensor, classes: Tensor, forward: ForwardPass) -> Tensor:
        import torch

        parts = []
        for index, generator in enumerate(forward.random()):
            image = pixels[index : index + 1]
            with _numpy_seeded(int(generator.integers(2**32))), torch.random.fork_rng():
                options = {"target": classes[index : index + 1], "n_samples": SAMPLES}
                parts.append(self.attribution.attribute(image, baselines=torch.zeros_like(image), **options))
        return torch.cat(parts)


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global stream, from which Captum draws, and restore its state at the end."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
