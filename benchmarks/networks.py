"""The networks that people use, and how many images of each a round takes."""

from e2m import load_detector
from e2m.types import Detector

VIT = "timm:vit_small_patch16_224"

IMAGES = {"mobilenet_v2": 64, "resnet50": 16, "densenet121": 8, "inception_v3": 8, VIT: 16, "xception": 8}
"""Network -> images of a round, so that one contestant takes about a second."""


def load(name: str, device: str | None = "cpu") -> Detector:
    """A network with random weights: the cost of a map does not depend on them."""
    return load_detector(name, seed=0, device=device)
