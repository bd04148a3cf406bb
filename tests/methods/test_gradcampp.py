"""Grad-CAM++ by hand, and against its equations written cell by cell in double precision."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from e2m.methods import ForwardPass, gradcampp
from e2m.networks.inputs import as_input
from e2m.salience.engine import explain
from e2m.types import Detector


def literal(detector, images, classes):
    """(N, h, w): the paper's equations, one image, channel and cell at a time."""
    model, maps = copy.deepcopy(detector.model).double(), []
    kept = {}
    model.get_submodule(detector.layer).register_forward_hook(lambda _m, _i, output: kept.update(features=output))
    for image, number in zip(images, classes, strict=True):
        logit = model(as_input(image[None], detector).double())[0, number]
        (gradient,) = torch.autograd.grad(logit, kept["features"])
        features, gradient = kept["features"][0].detach().numpy(), gradient[0].numpy()
        channels, height, width = features.shape
        salience = np.zeros((height, width))
        for k in range(channels):
            weight, total = 0.0, features[k].sum()
            for i in range(height):
                for j in range(width):
                    g = gradient[k, i, j]
                    denominator = 2 * g**2 + total * g**3
                    alpha = g**2 / denominator if denominator else 0.0
                    weight += alpha * max(g, 0.0)
            salience += weight * features[k]
        maps.append(np.maximum(salience, 0))
    stack = np.stack(maps)
    low, high = stack.min((1, 2), keepdims=True), stack.max((1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.where(high > low, (stack - low) / (high - low), np.nan)


def test_two_channels_of_two_cells_by_hand():
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]], requires_grad=True)
    # Gradients (0.5, -1) and (2, 0): sums of the channels are 4 and 2.
    logits = torch.stack([(features * torch.tensor([[[0.5, -1.0]], [[2.0, 0.0]]])).sum(), torch.tensor(0.0)])[None]
    forward = ForwardPass(None, None, features.detach(), output=features)
    method = gradcampp.Method.__new__(gradcampp.Method)
    # alpha relu(g) = 0.5 / (2 + 0.5 * 4) = 1/8; -1 counts 0; 2 / (2 + 2 * 2) = 1/3; 0 counts 0.
    expected = np.array([1.0, 3.0]) / 8 + np.array([2.0, 0.0]) / 3
    np.testing.assert_allclose(method.maps(forward, torch.tensor([0]), logits)[0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("layer", ["features", "features.0"])  # "features.0" is no last layer: gradients differ by cell
def test_maps_are_those_of_the_paper(toy, random, layer):
    detector = toy(seed=3)
    detector = Detector("toy", detector.model, layer=layer, size=32)
    images = random.integers(0, 256, (4, 32, 32, 3), np.uint8)
    for classes in (np.zeros(4, int), np.array([0, 1, 1, 0])):
        expected = literal(detector, images, classes)
        result = explain(detector, images, "GradCAMpp", classes)
        np.testing.assert_array_equal(result.dead, np.isnan(expected).any((1, 2)))
        np.testing.assert_allclose(result.maps, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["demo_cnn", "mobilenet_v2"])
def test_maps_of_our_networks_are_those_of_the_paper(named_detector, photographs, name):
    detector = named_detector(name)
    expected = literal(detector, photographs[:2], [0, 1])
    result = explain(detector, photographs[:2], "GradCAMpp", np.array([0, 1]))
    assert not result.dead.any()
    np.testing.assert_allclose(result.maps, expected, atol=1e-4)


def test_tiny_gradients_do_not_vanish(random):
    """Normalised maps do not depend on the scale of the logits where all gradients are small."""
    images, head, maps = random.integers(0, 256, (2, 16, 16, 3), np.uint8), torch.rand(2, 4), []
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    for scale in (1e-6, 1e-12):
        model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
        model[3].weight.data = head * scale
        maps.append(explain(Detector("net", model, layer="0", size=16), images, "GradCAMpp", target="synthetic").maps)
    assert np.isfinite(maps[0]).all()
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)
