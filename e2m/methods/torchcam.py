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
        if not detector.layer:
            raise InputError(
                f"{name} reads a layer, and {detector.name!r} shows its scores only; use occlusion or RISE"
            )
        layer, options = detector.layer, {}
        if name == "CAM":
            layer, options = _pooled(detector), {"fc_layer": detector.head}
        shape = (detector.channels, *detector.shape)
        self.extractor = getattr(methods, name)(
            detector.model, layer, input_shape=shape, reshape_transform=detector.reshape, **options
        )
        self.extractor.disable_hooks()
        self._listening, self._calls = False, 0
        # TorchCAM keeps the last call that it hears.
        self._counter = detector.model.get_submodule(layer).register_forward_pre_hook(self._count)

    def listen(self, on: bool) -> None:
        """Read the layer's output in this pass only: Score-CAM also runs the network on masked images."""
        self._listening, self._calls = on, 0
        self.extractor.enable_hooks() if on else self.extractor.disable_hooks()

    def _count(self, *_: object) -> None:
        chosen = self.detector.call
        if self._listening and chosen is not None:
            self.extractor.enable_hooks() if self._calls == chosen else self.extractor.disable_hooks()
            self._calls += 1

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> Tensor:
        """TorchCAM's maps (n, h, w) before it normalises them."""
        if self.name == "CAM":
            return self._class_activation(classes)
        # Several targets are explained from one forward pass.
        options = {"retain_graph": True} if self.name in GRADIENTS else {}
        return self.extractor(classes.tolist(), logits, normalized=False, **options)[0]

    def _class_activation(self, classes: Tensor) -> Tensor:
        """CAM from the head's rows, in the network's class order; a single logit has one row."""
        import torch

        from e2m.networks.inputs import logits_of, network_class

        rows = network_class(self.detector, classes)
        if logits_of(self.detector) == 2:
            return self.extractor(rows.tolist(), normalized=False)[0]
        raw = self.extractor(torch.zeros_like(rows).tolist(), normalized=False)[0]
        return torch.where((rows == 1)[:, None, None], raw, -raw)

    def close(self) -> None:
        """Remove TorchCAM's hooks."""
        self._counter.remove()
        self.extractor.remove_hooks()


def _pooled(detector: Detector) -> str:
    """The layer that CAM reads.

    Raises:
        InputError: the logits are not the head, applied to the means of a layer.
    """
    from e2m.networks import layers

    if detector.head is None:
        raise InputError(f"CAM needs pooling and one linear layer, and {detector.name!r} names no head; use GradCAM")
    layer = layers.pooled(detector)
    if layer is None:
        raise InputError(
            f"CAM needs logits that are the head, applied to the mean over the cells of the layer; in "
            f"{detector.name!r}, something else lies between {detector.layer!r}, {detector.head!r} and the logits: "
            "use GradCAM"
        )
    return layer
