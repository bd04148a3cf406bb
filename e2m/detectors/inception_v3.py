"""Inception-v3 (Szegedy et al. 2016), 299 px, 8x8 maps."""

from torch import nn
from torchvision.models import Inception_V3_Weights, inception_v3

from e2m.types import Detector


def build(pretrained: bool = False) -> Detector:
    """The network with a two-class head and without its auxiliary head, from ImageNet weights if ``pretrained``."""
    if pretrained:
        model = inception_v3(weights=Inception_V3_Weights.IMAGENET1K_V1)
        # The detector normalises, as for every other network: to (x - 0.5) / 0.5, on which these weights were trained.
        model.transform_input = False
    else:
        model = inception_v3(weights=None, aux_logits=False, init_weights=False)
    model.aux_logits, model.AuxLogits = False, None
    model.fc = nn.Linear(model.fc.in_features, 2)
    half = (0.5, 0.5, 0.5)
    return Detector("inception_v3", model, layer="Mixed_7c", head="fc", size=299, mean=half, std=half)
