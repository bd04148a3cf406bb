"""Class activation maps of TorchCAM, without its methods that draw random numbers from an unseeded stream.

Its Grad-CAM++ is left out too: see ``gradcampp``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2m.methods import ForwardPass
from e2m.methods import Method as Base
from e2m.types import Detector, InputError

if TYPE_CHECKING:
    from torch import Tensor

GRADIENTS = ("GradCAM", "LayerCAM", "XGradCAM")
"""Methods that weight features by gradients of the logit."""

NAMES = ("CAM", *GRADIENTS, "ISCAM", "ScoreCAM")


class Method(Base):
    """A TorchCAM extractor. CAM is not rectified, so that low values mark evidence against the class."""

    def __init__(self, detector: Detector, name: str) -> None:
        from torchcam import methods

        super().__init__(detector, name)
        self.needs = "layer" if name in GRADIENTS else ""
        if name == "CAM" and detector.head is None:
            raise InputError(
                f"CAM needs pooling and one linear layer, and {detector.name!r} names no head; use GradCAM"
            )
        options = {"fc_layer": detector.head} if name == "CAM" else {}
        shape = (3, detector.size, detector.size)
        self.extractor = getattr(methods, name)(
            detector.model, detector.layer, input_shape=shape, reshape_transform=detector.reshape, **options
        )
        self.extractor.disable_hooks()

    def listen(self, on: bool) -> None:
        """Read the layer's output in this pass only: Score-CAM also runs the network on masked images."""
        self.extractor.enable_hooks() if on else self.extractor.disable_hooks()

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> Tensor:
        """TorchCAM's maps (n, h, w) before it normalises them."""
        if self.name == "CAM":
            return self._class_activation(classes)
        # Several targets are explained from one forward pass.
        options = {"retain_graph": True} if self.name in GRADIENTS else {}
        return self.extractor(classes.tolist(), logits, normalized=False, **options)[0]

    def _class_activation(self, classes: Tensor) -> Tensor:
        """CAM from the head's rows, in the network's class order; a single logit has one row, for "synthetic"."""
        import torch

        from e2m.networks.inputs import logits_of, network_class

        single = logits_of(self.detector) == 1
        rows = torch.zeros_like(classes) if single else network_class(self.detector, classes)
        raw = self.extractor(rows.tolist(), normalized=False)[0]
        return torch.where((classes == 1)[:, None, None], raw, -raw) if single else raw

    def close(self) -> None:
        """Remove TorchCAM's hooks."""
        self.extractor.remove_hooks()
