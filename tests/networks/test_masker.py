"""The masker's network, the stages that it reads, and its masks as a salience method."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from e2m import plugins
from e2m.detectors import load_detector
from e2m.networks.checkpoints import MASKER_FORMAT, weights_hash
from e2m.networks.inputs import as_input
from e2m.networks.masker import (
    Hidden,
    Masker,
    chosen_stages,
    collapsed,
    enlarge,
    load,
    on_image,
    side_of,
    stages,
)
from e2m.salience.engine import Explainer, explain
from e2m.training.detector import parameters
from e2m.types import Detector, InputError

CHANNELS = 8


TORCHCAM = plugins.load("method", "GradCAM").NAMES


@pytest.fixture
def images(random):
    return random.integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture
def with_masker(tmp_path):
    """Write a masker of random weights for a detector, and return the detector with it."""

    def build(detector, /, seed=0, conditioned=False, scale=1.0, binary=False, hard=True, **changed):
        torch.manual_seed(seed)
        side = side_of(detector)
        masker = Masker(changed.get("stages") or chosen_stages(detector), side, CHANNELS, conditioned)
        with torch.no_grad():
            masker.draw.weight.mul_(scale)
        state = {
            "format": MASKER_FORMAT,
            "detector": detector.name,
            "classifier": weights_hash(detector.model),
            "stages": masker.stages,
            "side": side,
            "settings": {"channels": CHANNELS, "conditioned": conditioned, "binary": binary, "hard": hard},
            "weights": masker.state_dict(),
        }
        path = tmp_path / f"{seed}.masker.pt"
        torch.save({name: value for name, value in (state | changed).items() if value is not None}, path)
        return replace(detector, masker=path)

    return build


# The network


def test_the_published_size(named_detector):
    detector = named_detector("resnet50")
    assert chosen_stages(detector) == {"layer3": (1024, 14), "layer4": (2048, 7)}
    masker = Masker(chosen_stages(detector), side_of(detector))
    assert masker.side == 56
    assert masker.draw.in_channels == 128
    assert parameters(masker) == 1024 * 64 + 2048 * 64 + 2 * 2 * 64 + 128 * 9 + 1 == 198_017


def test_logits_against_a_literal_version():
    torch.manual_seed(0)
    masker = Masker({"a": (3, 4), "b": (2, 2)}, 8, channels=2).eval()
    for read in masker.read:
        read[1].running_mean.normal_()
        read[1].running_var.uniform_(0.5, 2)
        nn.init.normal_(read[1].bias)
    hidden = [torch.randn(2, 3, 4, 4), torch.randn(2, 2, 2, 2)]
    joined = np.zeros((2, 4, 8, 8))
    for stage, (read, activations) in enumerate(zip(masker.read, hidden, strict=True)):
        weights, norm = read[0].weight.detach().numpy()[:, :, 0, 0], read[1]
        for image in range(2):
            for channel in range(2):
                mean = norm.running_mean[channel].item()
                values = np.tensordot(weights[channel], activations[image].numpy(), 1) - mean
                values = values / np.sqrt(norm.running_var[channel].item() + norm.eps) + norm.bias[channel].item()
                joined[image, 2 * stage + channel] = larger(values.clip(0), 8)
    weights, padded = masker.draw.weight.detach().numpy()[0], np.pad(joined, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.empty((2, 8, 8))
    for image, row, column in np.ndindex(expected.shape):
        expected[image, row, column] = (padded[image, :, row : row + 3, column : column + 3] * weights).sum()
    expected += masker.draw.bias.item()
    np.testing.assert_allclose(masker(hidden).detach(), expected, atol=1e-5)
    np.testing.assert_allclose(masker.masks(hidden).detach(), 1 / (1 + np.exp(-expected)), atol=1e-5)
    masker.binary = True
    np.testing.assert_array_equal(masker.masks(hidden).detach(), expected > 0)


def larger(small, side):
    """Bilinear, cell by cell: the centre of each new cell lies between the centres of four old ones."""
    result = np.empty((side, side))
    for cell in np.ndindex(result.shape):
        centres = [(index + 0.5) * len(small) / side - 0.5 for index in cell]
        low = [int(np.floor(centre)) for centre in centres]
        result[cell] = sum(
            np.prod([1 - abs(centre - at) for centre, at in zip(centres, corner, strict=True)])
            * small[tuple(np.clip(corner, 0, len(small) - 1))]
            for corner in ((low[0] + down, low[1] + across) for down in (0, 1) for across in (0, 1))
        )
    return result


def test_enlarging():
    small = torch.arange(4.0).view(1, 1, 2, 2)
    np.testing.assert_allclose(enlarge(small, 4)[0, 0], larger(small[0, 0].numpy(), 4))
    assert enlarge(small, 2) is small


def test_a_mask_is_a_quarter_of_the_image_and_each_value_fills_a_square(toy):
    assert [side_of(replace(toy(), size=size)) for size in (224, 112, 299)] == [56, 28, 74]
    masks = torch.rand(2, 7, 7)
    np.testing.assert_array_equal(on_image(masks, 28)[:, 0], masks.numpy().repeat(4, axis=1).repeat(4, axis=2))


def test_published_initial_weights():
    """Standard deviations of the convolutions 1x1 to 64 channels, and 3x3 to one."""
    torch.manual_seed(0)
    masker = Masker({"a": (1024, 14), "b": (2048, 7)}, 56)
    for read in masker.read:
        assert read[0].weight.std().item() == pytest.approx(np.sqrt(2 / 64), rel=0.02)
    assert masker.draw.weight.std().item() == pytest.approx(np.sqrt(2 / 9), rel=0.1)


def test_a_class_changes_the_mask_of_a_conditioned_masker_only():
    hidden, classes = [torch.randn(3, 4, 6, 6)], torch.tensor([0, 1, 0])
    for conditioned in (False, True):
        masker = Masker({"a": (4, 6)}, 6, CHANNELS, conditioned).eval()
        same, other = masker(hidden, classes), masker(hidden, 1 - classes)
        assert torch.equal(same, masker(hidden, classes))
        assert torch.equal(same, other) != conditioned


def test_collapsed_masks():
    spot = torch.zeros(4, 4)
    spot[1, 2] = 1
    masks = torch.stack([torch.zeros(4, 4), torch.ones(4, 4), torch.full((4, 4), 0.5), 0.01 * spot, spot, 0.1 * spot])
    assert collapsed(masks).tolist() == [True, True, True, True, False, False]


# Stages


@pytest.mark.parametrize("name", plugins.names("detector"))
def test_stages_of_every_detector(named_detector, name):
    detector = named_detector(name)
    result = stages(detector)
    sides = [side for _, side in result.values()]
    assert sides == sorted(set(sides), reverse=True)
    assert len(sides) >= 4
    assert sides[-1] == chosen_stages(detector, [detector.layer])[detector.layer][1]
    assert list(chosen_stages(detector).items()) == list(result.items())[-2:]


def test_stages_by_name(named_detector, toy):
    demo = named_detector("demo_cnn")
    sides = {"features.0": (24, 56), "features.2": (48, 28), "features.4": (96, 14), "features.5": (192, 7)}
    assert stages(demo) == sides
    assert chosen_stages(demo, ["features.1", "features.5"]) == {"features.1": (48, 28), "features.5": (192, 7)}
    assert stages(toy()) == {"features.2": (6, 16), "features.3": (8, 8)}
    with pytest.raises(
        InputError,
        match=r"'toy' has no stage named 'layer4'; its stages are features.2 \(6 channels, 16x16\), features.3",
    ):
        chosen_stages(toy(), ["features.2", "layer4"])


class Nested(nn.Module):
    """A body of another class, as in networks of other people."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"first": nn.Conv2d(3, 4, 3, 2, 1), "second": nn.Conv2d(4, 5, 3, 2, 1)})
        self.head = nn.Linear(5, 2)

    def forward(self, images):
        return self.head(self.body["second"](self.body["first"](images)).mean((2, 3)))


def test_stages_inside_a_body():
    detector = Detector("nested", Nested(), "body.second", 16)
    assert stages(detector) == {"body.first": (4, 8), "body.second": (5, 4)}


def test_a_network_without_square_maps():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    with pytest.raises(InputError, match="'flat' has no module that returns square maps"):
        stages(Detector("flat", model, "0", 8))


def test_looking_for_stages_leaves_the_network_as_it_was(toy):
    detector = toy()
    detector.model.train()
    detector.model.features[1].eval()
    before = [module.training for module in detector.model.modules()]
    statistics = detector.model.features[1].running_mean.clone()
    stages(detector)
    assert [module.training for module in detector.model.modules()] == before
    assert torch.equal(detector.model.features[1].running_mean, statistics)
    assert not any(module._forward_hooks for module in detector.model.modules())


def test_activations_are_kept_as_they_were_and_without_graph():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True))
    batch = torch.randn(3, 1, 4, 4)
    with Hidden(model, ["0", "1"]) as hidden:
        model(batch)
        first, second = hidden()
    assert torch.equal(first, model[0](batch))
    assert torch.equal(second, first.clamp_min(0))
    assert first.min() < 0
    assert not first.requires_grad
    assert not any(module._forward_hooks for module in model)


# As a salience method


def test_maps_are_the_stretched_masks_of_one_forward_pass(toy, with_masker, images):
    detector = with_masker(toy())
    passes = []
    with Explainer(detector, ("CAM", "GradCAM", "masker")) as explainer:
        detector.model.register_forward_pre_hook(lambda *_: passes.append(1))
        explanations = explainer(images)
    assert len(passes) == 1
    masker = load(detector)
    with Hidden(detector.model, list(masker.stages)) as hidden, torch.no_grad():
        detector.model(as_input(images, detector))
        masks = masker(hidden()).sigmoid().numpy()
    low, high = masks.min((1, 2), keepdims=True), masks.max((1, 2), keepdims=True)
    assert explanations["masker"].maps.shape == (5, 8, 8)
    np.testing.assert_allclose(explanations["masker"].maps, (masks - low) / (high - low), atol=1e-5)
    for method in ("CAM", "GradCAM"):
        np.testing.assert_array_equal(explanations[method].maps, explain(detector, images, method).maps)


def test_other_methods_do_not_disturb_it(toy, with_masker, images):
    detector = with_masker(toy())
    expected = explain(detector, images, "masker")
    for order in ((*TORCHCAM, "masker"), ("masker", *TORCHCAM)):
        with Explainer(detector, order) as explainer:
            for _ in range(2):
                np.testing.assert_array_equal(explainer(images)["masker"].maps, expected.maps)
    for size in (1, 3):
        np.testing.assert_allclose(explain(detector, images, "masker", batch_size=size).maps, expected.maps, atol=1e-5)


def test_targets(toy, with_masker, images):
    """The mask is that of the decision; only a conditioned masker reads the class."""
    for conditioned in (False, True):
        detector = with_masker(toy(), seed=int(conditioned), conditioned=conditioned)
        maps = [explain(detector, images, "masker", target).maps for target in ("authentic", "synthetic")]
        assert np.array_equal(*maps) != conditioned
        mixed = explain(detector, images, "masker", [0, 1, 0, 1, 1]).maps
        expected = np.where(np.array([0, 1, 0, 1, 1])[:, None, None], maps[1], maps[0])
        np.testing.assert_allclose(mixed, expected, atol=1e-6)


def test_collapsed_masks_are_dead(toy, with_masker, images):
    alive, faint = (explain(with_masker(toy(), scale=scale), images, "masker") for scale in (1, 1e-3))
    assert not alive.dead.any()
    assert faint.dead.all()
    assert np.isnan(faint.maps).all()
    np.testing.assert_array_equal(alive.scores, faint.scores)


def test_binary_masks_are_binary_unless_soft_ones_are_asked_for(toy, with_masker, images):
    soft, hard = (explain(with_masker(toy(), binary=True, hard=hard), images, "masker") for hard in (False, True))
    np.testing.assert_array_equal(soft.maps, explain(with_masker(toy()), images, "masker").maps)
    alive = ~hard.dead
    assert alive.any()
    assert set(np.unique(hard.maps[alive])) == {0, 1}
    for low, high in zip(soft.maps[alive], hard.maps[alive], strict=True):
        assert low[high == 1].min() > low[high == 0].max()


def test_the_network_is_as_it_was(toy, with_masker, images):
    detector = with_masker(toy())
    weights = {name: tensor.clone() for name, tensor in detector.model.state_dict().items()}
    explain(detector, images, "masker")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in detector.model.state_dict().items())
    assert not any(module._forward_hooks for module in detector.model.modules())
    assert all(weight.requires_grad for weight in detector.model.parameters())


def test_a_real_architecture(named_detector, with_masker):
    detector = with_masker(named_detector("densenet121"))
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    assert explain(detector, images, "masker").maps.shape == (2, 56, 56)


# What does not fit


def test_a_detector_without_masker_says_how_to_train_one(toy, images):
    with pytest.raises(InputError, match=r"'toy' has none; train one with `e2m run train_masker`.*masker=PATH"):
        explain(toy(), images, "masker")
    with pytest.raises(InputError, match=r"choose from CAM, .*, masker, "):
        explain(toy(), images, "mask")


def test_a_masker_belongs_to_the_weights_that_it_was_trained_on(named_detector, with_masker, tmp_path):
    path = with_masker(named_detector("demo_cnn")).masker
    assert load_detector("demo_cnn", masker=str(path)).masker == path
    with pytest.raises(InputError, match=r"0.masker.pt: trained on weights [0-9a-f]{16}, but this detector has"):
        load_detector("demo_cnn", seed=1, masker=path)
    with pytest.raises(InputError, match="a masker of 'demo_cnn', but 'resnet50' was asked for"):
        load_detector("resnet50", masker=path)
    with pytest.raises(InputError, match=r"no\.pt: no checkpoint there; .*`e2m run train_masker`"):
        load_detector("demo_cnn", masker=tmp_path / "no.pt")
    torch.save({"format": "e2m-checkpoint-1"}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="not a masker; give a file that `e2m run train_masker` wrote"):
        load_detector("demo_cnn", masker=tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"detector": "demo_cnn"}, "a masker of 'demo_cnn', but the detector is 'toy'"),
        ({"stages": {"features.9": (6, 16)}}, "reads 'features.9', which 'toy' does not have"),
        ({"side": None}, "0.masker.pt: a masker of an earlier version; train it again with"),
        (
            {"stages": {"features.3": (9, 8)}},
            r"reads features.3 \(9 channels, 8x8\); 'toy' has features.3 \(8 channels",
        ),
    ],
)
def test_a_masker_of_another_network(toy, with_masker, images, changed, words):
    with pytest.raises(InputError, match=words):
        explain(with_masker(toy(), **changed), images, "masker")
