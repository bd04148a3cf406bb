"""A small network for 112 px faces: six convolutions, global average pooling, one linear layer; 7x7 maps."""

from collections import OrderedDict

from torch import nn

from e2m.types import Detector

CHANNELS = (24, 48, 48, 96, 96, 192)
STRIDES = (2, 2, 1, 2, 1, 2)


def build(pretrained: bool = False) -> Detector:
    """The network with fresh weights; there are no pretrained ones, so ``pretrained`` changes nothing."""
    blocks = [
        nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        )
        for before, after, stride in zip((3, *CHANNELS), CHANNELS, STRIDES, strict=False)
    ]
    model = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*blocks),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            classifier=nn.Linear(CHANNELS[-1], 2),
        )
    )
    grey = (0.5, 0.5, 0.5)
    return Detector("demo_cnn", model, layer="features", head="classifier", size=112, mean=grey, std=(0.25, 0.25, 0.25))
