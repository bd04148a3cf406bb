"""A bare network is described by trying it: what it takes, what it returns, where salience is read."""

import math
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from torch import nn

from e2m import explain, load_detector
from e2m.networks import layers
from e2m.networks.inputs import as_input, two_logits
from e2m.types import Detector, InputError


class Network(nn.Module):
    """Two convolutions, pooling, one linear layer; ``pack`` makes the output what somebody's network returns."""

    def __init__(self, pack=lambda logits, features: logits, channels=3, logits=2, fixed=None):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1)
        )
        self.fc = nn.Linear(8, logits)
        self.pack, self.fixed = pack, fixed

    def forward(self, images):
        if self.fixed is not None and images.shape[2:] != self.fixed:
            raise ValueError(f"{self.fixed} fits")
        features = self.body(images)
        return self.pack(self.fc(features.mean((2, 3))), features)


@pytest.fixture
def images(random):
    return random.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_everything_is_found_and_said(images, capsys):
    detector = load_detector(Network())
    assert (detector.name, detector.layer, detector.head, detector.size) == ("Network", "body", "fc", 224)
    said = capsys.readouterr().err
    assert "Network: salience is read from body (56x56 cells of 8 channels); CAM reads fc" in said
    assert "input: 224 x 224 pixels (for granted: the network takes them" in said
    assert "normalisation ImageNet's, for granted" in said
    assert explain(Network(), images).maps.shape == (3, 56, 56)


def test_what_is_known_is_taken(images):
    detector = load_detector(Network(), size=32, mean=(0.5,) * 3, std=(0.5,) * 3, synthetic=0, layer="body.0")
    assert (detector.layer, detector.size, detector.mean, detector.synthetic) == ("body.0", 32, (0.5,) * 3, 0)
    assert explain(detector, images).maps.shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"size": None}, "size is None; a number of pixels or"),
        ({"size": True}, "size is True; a number of pixels or"),
        ({"size": 224.0}, "size is 224.0; a number of pixels or"),
        ({"size": (0, 224)}, r"size is \(0, 224\); a number of pixels or"),
        ({"mean": (0.5,), "std": (0.5,) * 3}, "mean is .*; one value each or three fit"),
        ({"mean": 0.5, "std": 0.5}, "mean is 0.5 and std 0.5; one value each or three fit"),
        ({"mean": ("a",), "std": (1,)}, "mean is .*; one value each or three fit"),
        ({"mean": (math.nan,) * 3}, "mean is .*nan.*; numbers fit"),
        ({"std": (1, 1, math.inf)}, "std is .*inf.*; numbers above 0 fit"),
        ({"std": (1, 1, -1)}, "std is .*; numbers above 0 fit"),
        ({"synthetic": 5}, "synthetic is 5; 0 or 1"),
        ({"synthetic": True}, "synthetic is True; 0 or 1"),
        ({"synthetic": "1"}, "synthetic is 1; 0 or 1"),
        ({"synthetic": None}, "synthetic is None; 0 or 1"),
        ({"call": 0.5}, "call is 0.5; a whole number from 0"),
    ],
)
def test_a_detector_that_cannot_be_is_not_made(known, words):
    with pytest.raises(InputError, match=f"detector 'mine': .*{words}"):
        Detector("mine", Network(), layer="", **{"size": 8} | known)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"sise": 3}, "a detector has no 'sise'; choose from layer, size, mean"),
        ({"size": 0}, r"'Network': size is 0; a number of pixels|takes no images of 0 pixels"),
        ({"size": (1, 2, 3)}, "size"),
        ({"mean": (0.5,)}, "one value each or three fit"),
        ({"std": (0, 0, 0)}, "numbers above 0 fit"),
        ({"synthetic": 2}, "synthetic is 2; 0 or 1"),
        ({"call": -1}, "call is -1; a whole number from 0"),
        ({"layer": "absent"}, "has no layer named 'absent'"),
        ({"head": "absent"}, "has no head named 'absent'"),
        ({"head": "body"}, "head 'body' is a Sequential; CAM needs a Linear layer"),
        ({"head": "absent", "layer": "body"}, "has no head named 'absent'"),
    ],
)
def test_what_is_known_wrongly_is_refused(known, words):
    with pytest.raises(InputError, match=words):
        load_detector(Network(), **known)


PACKS = {
    "tuple": lambda logits, features: (logits, features),
    "list": lambda logits, features: [features, logits],
    "dict": lambda logits, features: {"cls": logits, "prob": logits.softmax(1)[:, 1], "feat": features},
    "named": lambda logits, features: namedtuple("Out", "features scores")(features, logits),
    "object": lambda logits, features: SimpleNamespace(logits=logits, loss=None, attentions=None, aux=logits),
    "nested": lambda logits, features: {"out": (features, {"scores": logits})},
    "cells": lambda logits, features: logits[:, :, None, None],
}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("method", ["GradCAM", "CAM", "occlusion"])
def test_logits_are_found_in_any_output(images, pack, method):
    plain = explain(load_detector(Network(), size=32), images, method)
    packed = explain(load_detector(Network(PACKS[pack]), size=32), images, method)
    np.testing.assert_array_equal(packed.logits, plain.logits)
    np.testing.assert_array_equal(packed.maps, plain.maps)
    # One image alone, too.
    np.testing.assert_allclose(
        explain(load_detector(Network(PACKS[pack]), size=32), images[:1]).scores, plain.scores[:1]
    )


def test_of_several_logits_one_is_named(images):
    network = Network(lambda logits, features: {"main": logits, "auxiliary": -logits})
    with pytest.raises(InputError, match=r"main, auxiliary could all be the logits: give the detector output="):
        load_detector(network, size=32)
    main, auxiliary = (
        explain(load_detector(network, size=32, output=name), images).logits for name in ("main", "auxiliary")
    )
    np.testing.assert_array_equal(main, -auxiliary)
    with pytest.raises(InputError, match=r"has no output 'other'; choose from main, auxiliary"):
        load_detector(network, size=32, output="other")


@pytest.mark.parametrize("squeeze", [lambda z, _: z, lambda z, _: z.squeeze(1), lambda z, _: z.squeeze()])
@pytest.mark.parametrize("synthetic", [0, 1])
def test_a_single_logit_means_either_class(images, squeeze, synthetic):
    detector = load_detector(Network(squeeze, logits=1), size=32, synthetic=synthetic)
    z = detector.model.fc(detector.model.body(as_input(images, detector)).mean((2, 3)))[:, 0]
    expected = z.sigmoid() if synthetic else 1 - z.sigmoid()
    for method in ("GradCAM", "CAM"):
        whole = explain(detector, images, method, target="synthetic")
        np.testing.assert_allclose(whole.scores, expected.detach(), atol=1e-6)
        one = explain(detector, images[:1], method, target="synthetic")
        np.testing.assert_allclose(one.maps, whole.maps[:1], atol=1e-5)
    # CAM is unrectified: the maps of the classes mirror each other.
    other = explain(detector, images, "CAM", target="authentic")
    np.testing.assert_allclose(other.maps, 1 - whole.maps, atol=1e-5)
    weights, features = detector.model.fc.weight[0], detector.model.body(as_input(images, detector))
    raw = torch.einsum("c,nchw->nhw", weights if synthetic else -weights, features).detach().numpy()
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    np.testing.assert_allclose(whole.maps, (raw - low) / (high - low), atol=1e-5)


def test_a_stack_of_logits_of_another_batch_is_refused(toy):
    with pytest.raises(InputError, match=r"shape \(1, 2\) for 2 images"):
        two_logits(toy(), torch.zeros(1, 2), 2)


@pytest.mark.parametrize("wrap", ["parallel", "compiled", "compiled in place", "half", "bfloat16", "double"])
def test_wrapped_and_other_precisions(images, wrap):
    plain, network = Network().eval(), Network().eval()
    wrapped = {
        "parallel": nn.DataParallel,
        "compiled": torch.compile,
        "compiled in place": lambda m: m.compile() or m,
        "half": lambda m: m.half(),
        "bfloat16": lambda m: m.bfloat16(),
        "double": lambda m: m.double(),
    }[wrap](network)
    expected, result = (explain(load_detector(one, size=32), images) for one in (plain, wrapped))
    np.testing.assert_allclose(result.logits, expected.logits, atol=0.01 if "f" in wrap else 1e-6)
    assert result.maps.shape == (3, 8, 8)


def test_one_channel(images):
    detector = load_detector(Network(channels=1), size=32)
    assert (detector.channels, len(detector.mean)) == (1, 1)
    grey = as_input(images, detector)
    assert grey.shape == (3, 1, 32, 32)
    from PIL import Image

    expected = np.stack([np.asarray(Image.fromarray(image).convert("L"), float) for image in images]) / 255
    expected = (expected - detector.mean[0]) / detector.std[0]
    np.testing.assert_allclose(grey[:, 0], expected, atol=0.5 / 255 / detector.std[0] + 1e-6)
    for method in ("GradCAM", "CAM", "occlusion", "RISE", "IntegratedGradients"):
        assert not explain(detector, images, method).dead.any(), method


def test_inputs_that_are_not_square(images, random):
    detector = load_detector(Network(fixed=(48, 32)), size=(48, 32))
    wide = random.integers(0, 256, (2, 48, 32, 3), dtype=np.uint8)
    shapes = {"GradCAM": (12, 8), "CAM": (12, 8), "occlusion": (7, 7), "RISE": (12, 8), "GradientShap": (48, 32)}
    for method, shape in shapes.items():
        result = explain(detector, wide, method)
        assert result.maps.shape == (2, *shape)
        assert not result.dead.any()
    assert explain(detector, images).maps.shape == (3, 12, 8)  # resized
    with pytest.raises(InputError, match=r"takes no images of any usual size with one or three channels \(ValueError"):
        load_detector(Network(fixed=(48, 32)))


def test_the_size_that_a_network_takes_is_found():
    assert load_detector(Network(fixed=(96, 96))).size == 96
    detector = load_detector(timm.create_model("test_vit", img_size=64, num_classes=2))
    assert detector.size == 64
    assert any("64 x 64 pixels (as the network states)" in note for note in detector.notes)


class Normalise(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
        self.register_buffer("std", torch.full((1, 3, 1, 1), 0.25))

    def forward(self, images):
        return (images - self.mean) / self.std


def test_a_network_that_normalises_itself_gets_images_from_0_to_1(images):
    inside = load_detector(nn.Sequential(OrderedDict(normalise=Normalise(), network=Network())), size=32)
    assert (inside.mean, inside.std) == ((0, 0, 0), (1, 1, 1))
    outside = load_detector(Network(), size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    np.testing.assert_allclose(explain(inside, images).logits, explain(outside, images).logits, atol=1e-5)


def test_the_network_is_left_as_it_was(images):
    network = Network().train()
    explain(network, images)
    assert network.training
    assert network.body[1].training
    assert all(weight.requires_grad for weight in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert not network.body[1].num_batches_tracked


def test_a_head_with_hidden_layers_has_a_layer_but_no_cam():
    network = Network()
    network.fc = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    detector = load_detector(network, size=32)
    assert (detector.layer, detector.head) == ("body", None)


# Layers called several times, and CAM


class TwoStreams(nn.Module):
    """The same body sees an image twice: as it is, and at half its brightness or size."""

    def __init__(self, shrink=False):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc = nn.Conv2d(3, 8, 3, 4, 1), nn.Linear(16, 2)
        self.shrink = shrink

    def forward(self, images):
        second = images[:, :, ::2, ::2] if self.shrink else images.flip(3)
        return self.fc(torch.cat([self.body(one).relu().mean((2, 3)) for one in (images, second)], 1))


def test_any_call_of_a_layer_can_be_explained(images):
    described = Detector("two", TwoStreams().eval(), layer="body", size=32)
    assert layers.calls_of(described) == 2
    network = described.model
    for call, part in ((0, slice(0, 8)), (1, slice(8, 16)), (None, slice(8, 16))):
        detector = Detector("two", network, layer="body", size=32, call=call)
        for method in ("GradCAM", "LayerCAM", "GradCAMpp"):
            result = explain(detector, images, method, target="synthetic")
            pixels = as_input(images, detector)
            features = network.body(pixels if part.start == 0 else pixels.flip(3)).detach()
            assert result.maps.shape == (3, 8, 8)
            if method == "GradCAM":
                gradient = (network.fc.weight[1, part, None, None] * (features > 0)).mean((2, 3))
                raw = torch.einsum("nc,nchw->nhw", gradient, features).relu().detach().numpy()
                low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
                np.testing.assert_allclose(result.maps, (raw - low) / (high - low), atol=1e-5)
    with pytest.raises(InputError, match=r"calls its layer 'body' 2 times; call=2 fits no call"):
        explain(Detector("two", network, layer="body", size=32, call=2), images)


def test_a_layer_that_is_not_called_is_refused(images):
    network = Network().eval()
    network.spare = nn.Conv2d(3, 8, 1)
    with pytest.raises(InputError, match="does not call its layer 'spare'"):
        explain(Detector("spare", network, layer="spare", size=32), images)


class Normed(nn.Module):
    """Something lies between the layer and pooling, or between pooling and the head, or after the head."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.act = nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(inplace=True)
        self.norm, self.fc, self.last, self.kind = nn.LayerNorm(8), nn.Linear(8, 2), nn.Linear(2, 2), kind

    def forward(self, images):
        features = self.body(images)
        features = features.sigmoid() if self.kind == "function" else features
        features = self.act(features) if self.kind == "module" else features
        means = features.mean((2, 3))
        means = self.norm(means) if self.kind == "norm" else means
        logits = self.fc(means)
        return self.last(logits) if self.kind == "last" else logits


@pytest.mark.parametrize(
    ("kind", "layer"), [("", "body"), ("module", "body"), ("norm", None), ("last", None), ("function", None)]
)
def test_cam_is_exact_or_refused(images, kind, layer):
    detector = Detector("normed", Normed(kind).eval(), layer="body", head="fc", size=32)
    assert layers.pooled(detector) == layer
    if layer is None:
        with pytest.raises(InputError, match=r"CAM needs logits that are the head, applied to the mean over the cells"):
            explain(detector, images, "CAM")
        explain(detector, images, "GradCAM")
        return
    result = explain(detector, images, "CAM", target="synthetic")
    features = detector.model.body(as_input(images, detector))
    features = features.relu() if kind == "module" else features
    raw = torch.einsum("c,nchw->nhw", detector.model.fc.weight[1], features).detach().numpy()
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    np.testing.assert_allclose(result.maps, (raw - low) / (high - low), atol=1e-5)
