"""The networks that people use, and how many images of each a round takes."""

from e2m import load_detector
from e2m.networks.inputs import device_of, has_bfloat16
from e2m.types import Detector, Precision

VIT = "timm:vit_small_patch16_224"

IMAGES = {"mobilenet_v2": 64, "resnet50": 16, "densenet121": 8, "inception_v3": 8, VIT: 16, "xception": 8}
"""Network -> images of a round, so that one contestant takes about a second."""


def load(name: str, device: str | None = "cpu") -> Detector:
    """A network with random weights: the cost of a map does not depend on them."""
    return load_detector(name, seed=0, device=device)


def precisions(detector: Detector) -> list[Precision]:
    """The precisions that the device of a detector has in hardware."""
    return ["float32", *(["bfloat16"] if has_bfloat16(device_of(detector.model)) else [])]
