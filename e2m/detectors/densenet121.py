"""DenseNet-121 (Huang et al. 2017), 224 px, 7x7 maps."""

from torch import nn
from torchvision.models import DenseNet121_Weights, densenet121

from e2m.types import Detector


def build(pretrained: bool = False) -> Detector:
    """The network with a two-class head, from ImageNet weights if ``pretrained``."""
    model = densenet121(weights=DenseNet121_Weights.IMAGENET1K_V1 if pretrained else None)
    model.classifier = nn.Linear(model.classifier.in_features, 2)
    return Detector("densenet121", model, layer="features", head="classifier", size=224)
