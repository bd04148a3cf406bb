"""Networks of every family are described, explained and checked without an error, with random weights."""

import numpy as np
import pytest
import timm
import torch

from e2m import explain, load_detector
from e2m.audit.check import check
from e2m.types import LABELS

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}

FAMILIES = {
    # name in timm: options, whether CAM holds, cells at 64 px
    "resnet10t": ({}, True, (2, 2)),
    "test_efficientnet": ({}, True, (2, 2)),
    "test_convnext": ({}, False, (2, 2)),
    "edgenext_xx_small": ({}, False, (2, 2)),
    "mobilevit_xxs": ({}, True, (2, 2)),
    "mobilenetv3_small_050": ({}, False, (2, 2)),
    "hrnet_w18_small": ({}, True, (2, 2)),
    "vit_tiny_patch16_224": ({"img_size": 64, "patch_size": 8, **SMALL}, False, (8, 8)),
    "deit_tiny_distilled_patch16_224": ({"img_size": 64, "patch_size": 8, **SMALL}, False, (8, 8)),
    "swin_tiny_patch4_window7_224": (
        {"img_size": 64, "window_size": 2, "embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
        True,
        (2, 2),
    ),
}


@pytest.fixture
def images(random):
    return random.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_end_well(one_thread, images, name):
    options, cam, cells = FAMILIES[name]
    torch.manual_seed(0)
    detector = load_detector(timm.create_model(name, num_classes=2, **options), size=64)
    assert (detector.head is not None) == cam
    result = explain(detector, images)
    assert result.maps.shape == (6, *cells)
    assert np.isfinite(result.logits).all()
    if cam:
        assert explain(detector, images, "CAM").maps.shape == (6, *cells)
    findings = check(detector, images, np.array(LABELS * 3), "GradCAM")
    assert all("\n" not in finding.text for finding in findings)
    small = [finding.text for finding in findings if "too small to compare" in finding.text]
    assert bool(small) == (min(cells) < 7)
    # A layer with maps that are large enough is named, and it works.
    for text in small:
        layer = text.split("layer='")[1].split("'")[0]
        finer = load_detector(timm.create_model(name, num_classes=2, **options), size=64, layer=layer)
        assert min(explain(finer, images).maps.shape[1:]) >= 7
