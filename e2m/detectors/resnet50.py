"""ResNet-50 (He et al. 2016), 224 px, 7x7 maps; guided before normalisation and residual sum, as in the release."""

from torch import nn
from torchvision.models import ResNet50_Weights, resnet50

from e2m.types import Detector


def build(pretrained: bool = False) -> Detector:
    """The network with a two-class head, from ImageNet weights if ``pretrained``."""
    model = resnet50(weights=ResNet50_Weights.IMAGENET1K_V1 if pretrained else None)
    model.fc = nn.Linear(model.fc.in_features, 2)
    return Detector("resnet50", model, layer="layer4", head="fc", guided_layer="layer4.2.conv3", size=224)
