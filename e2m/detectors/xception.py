"""Xception (Chollet 2017) from timm, 299 px, 10x10 maps, images scaled to [-1, 1]."""

import timm

from e2m.types import Detector


def build(pretrained: bool = False) -> Detector:
    """The network with a two-class head, from ImageNet weights if ``pretrained``."""
    model = timm.create_model("legacy_xception", pretrained=pretrained, num_classes=2)
    half = (0.5, 0.5, 0.5)
    return Detector("xception", model, layer="conv4", head="fc", size=299, mean=half, std=half)
