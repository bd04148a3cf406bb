"""The losses of the regimes, by hand; every regime's file is tested by the first tests without a new line here."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import cross_entropy

from e2m import plugins
from e2m.datasets import SPLITS
from e2m.experiment import data, train
from e2m.experiment.results import Experiment, ModelKey
from e2m.measures import entropy
from e2m.regimes import cross_entropy as traditional
from e2m.regimes import cyborg, fixed_map, focused, shuffled_labels, shuffled_maps
from e2m.training.detector import Batch, min_max
from e2m.training.settings import Settings
from e2m.types import InputError

NAMES = plugins.names("regime")
REPLACING = [name for name in NAMES if hasattr(plugins.load("regime", name), "replace_targets")]


def seen(n=4, side=5, human_side=20, seed=0, **changed):
    random = torch.Generator().manual_seed(seed)
    parts = {
        "logits": torch.randn(n, 2, generator=random, requires_grad=True),
        "classes": torch.arange(n) % 2,
        "features": torch.randn(n, 3, side, side, generator=random, requires_grad=True),
        "weights": torch.randn(2, 3, generator=random, requires_grad=True),
        "human_maps": torch.rand(n, human_side, human_side, generator=random),
    }
    return Batch(**(parts | changed))


@pytest.mark.parametrize("name", NAMES)
def test_a_regimes_loss_is_a_finite_number_that_teaches(name):
    regime = plugins.load("regime", name)
    batch = seen() if regime.GUIDED else seen(human_maps=None)
    loss = regime.loss(batch)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    assert batch.logits.grad.abs().max() > 0


def test_regimes_look_different_in_figures():
    regimes = [plugins.load("regime", name) for name in NAMES]
    assert {type(regime.GUIDED) for regime in regimes} == {bool}
    assert len({regime.LABEL for regime in regimes}) == len(NAMES)
    assert len({regime.COLOUR for regime in regimes}) == len(NAMES)
    assert all(re.fullmatch("#[0-9A-F]{6}", regime.COLOUR) for regime in regimes)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_regime_replaces_are_training_settings(name):
    replaced = getattr(plugins.load("regime", name), "SETTINGS", {})
    assert set(replaced) <= {field.name for field in fields(Settings)} - {"seed"}


def worked_by_hand():
    """One authentic image, taken for synthetic; a 2x2 CAM and a human map of the same size.

    CAM of class 1: 1 * [[0, 1], [2, 3]] + 2 * [[1, 0], [1, 0]] = [[2, 1], [4, 3]], stretched [[1/3, 0], [1, 2/3]].
    """
    return Batch(
        logits=torch.tensor([[0.0, np.log(3)]]),
        classes=torch.tensor([0]),
        features=torch.tensor([[[[0.0, 1], [2, 3]], [[1, 0], [1, 0]]]]),
        weights=torch.tensor([[5.0, 5], [1, 2]]),
        human_maps=torch.tensor([[[0.2, 0.2], [0.8, 0.5]]]),
    )


def test_losses_worked_by_hand():
    batch = worked_by_hand()
    torch.testing.assert_close(batch.cam[0], torch.tensor([[1 / 3, 0], [1, 2 / 3]]))
    torch.testing.assert_close(batch.human[0], torch.tensor([[0, 0], [1, 0.5]]))
    entropy = np.log(4)  # softmax gives the true class 1 / (1 + 3)
    error = ((1 / 3) ** 2 + (1 / 6) ** 2) / 4
    assert traditional.loss(batch).item() == pytest.approx(entropy)
    assert cyborg.loss(batch).item() == pytest.approx(0.5 * entropy + 0.5 * error)
    assert cyborg.loss(batch, alpha=0.9).item() == pytest.approx(0.9 * entropy + 0.1 * error)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 5), side=st.integers(2, 6), seed=st.integers(0, 99))
def test_the_cam_is_its_equation(n, side, seed):
    batch = seen(n, side, seed=seed)
    logits, features, weights = (part.detach().numpy() for part in (batch.logits, batch.features, batch.weights))
    for number in range(n):
        cam = np.zeros((side, side))
        for channel in range(3):
            cam += weights[logits[number].argmax(), channel] * features[number, channel]
        cam = (cam - cam.min()) / (cam.max() - cam.min())
        np.testing.assert_allclose(batch.cam[number].detach(), cam, atol=1e-5)


@pytest.mark.parametrize("human_side", [5, 20, 23])
def test_human_maps_are_resized_as_pil_does_and_stretched(human_side):
    batch = seen(side=5, human_side=human_side)
    for number, human in enumerate(batch.human_maps.numpy()):
        resized = np.asarray(Image.fromarray(human).resize((5, 5), Image.Resampling.BILINEAR))
        expected = (resized - resized.min()) / np.ptp(resized)
        np.testing.assert_allclose(batch.human[number], expected, atol=1e-5)


def test_cyborg_lies_between_its_two_parts():
    batch = seen()
    assert torch.equal(cyborg.loss(batch, alpha=1.0), cross_entropy(batch.logits, batch.classes))
    agreeing = seen(human_maps=batch.cam.detach() * 0.6 + 0.3)
    assert cyborg.loss(agreeing, alpha=0.0).item() == pytest.approx(0, abs=1e-10)
    assert 0 < cyborg.loss(batch, alpha=0.0) <= 1


def test_guidance_reaches_the_head_and_the_features():
    batch = seen()
    cyborg.loss(batch, alpha=0.0).backward()
    assert batch.weights.grad.abs().max() > 0
    assert batch.features.grad.abs().max() > 0
    assert batch.logits.grad.abs().max() == 0


def test_a_constant_map_is_zeros_and_its_gradient_bounded():
    maps = torch.stack([torch.full((3, 3), 7.0), torch.arange(9.0).view(3, 3)]).requires_grad_()
    result = min_max(maps)
    assert result[0].abs().max() == 0
    torch.testing.assert_close(result[1], torch.arange(9.0).view(3, 3) / 8)
    (result * torch.rand(2, 3, 3)).sum().backward()
    assert maps.grad.abs().max() < 10


def test_a_cam_takes_a_head():
    with pytest.raises(InputError, match="this detector names no head"):
        cyborg.loss(seen(weights=None))


# Focus


def test_focus_by_hand():
    batch = worked_by_hand()
    p = np.array([1 / 3, 1, 2 / 3]) / 2  # the CAM's cells but one, which is 0
    spread = -(p * np.log(p)).sum() / np.log(4)
    assert focused.spatial_entropy(batch.cam).item() == pytest.approx(spread, abs=1e-6)
    assert focused.loss(batch).item() == pytest.approx(cyborg.loss(batch).item() + 0.1 * spread, abs=1e-6)
    assert focused.loss(batch, weight=0).item() == cyborg.loss(batch).item()


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 4), height=st.integers(1, 8), width=st.integers(2, 8), seed=st.integers(0, 99))
def test_the_entropy_that_is_paid_for_is_the_entropy_that_is_measured(n, height, width, seed):
    maps = np.random.default_rng(seed).random((n, height, width)) ** 3
    maps[:, 0, 0] = 0
    result = focused.spatial_entropy(torch.from_numpy(maps))
    np.testing.assert_allclose(result, entropy.spatial_entropy(maps), atol=1e-7)


def test_the_ends_of_focus_and_their_slopes():
    spot, dead = torch.zeros(3, 3), torch.zeros(3, 3)
    spot[1, 2] = 1
    maps = torch.stack([spot, torch.ones(3, 3), dead]).requires_grad_()
    result = focused.spatial_entropy(maps)
    torch.testing.assert_close(result, torch.tensor([0.0, 1, 0]))
    result.sum().backward()
    assert torch.isfinite(maps.grad).all()
    assert maps.grad.abs().max() < 100
    assert maps.grad[0].argmin() == 5  # more of the spot, and of nothing else, lowers it


# Regimes that replace the targets


@pytest.mark.parametrize("name", REPLACING)
def test_replaced_targets_keep_their_shape_and_leave_the_truth_alone(name):
    random = np.random.default_rng(0)
    classes, human = random.integers(0, 2, 30), random.integers(0, 256, (30, 4, 4), np.uint8)
    before = classes.copy(), human.copy()
    replace_targets = plugins.load("regime", name).replace_targets
    result = replace_targets(classes, human, np.random.default_rng(1))
    assert [part.shape for part in result] == [classes.shape, human.shape]
    np.testing.assert_array_equal(classes, before[0])
    np.testing.assert_array_equal(human, before[1])
    for part, same in zip(result, replace_targets(classes, human, np.random.default_rng(1)), strict=True):
        np.testing.assert_array_equal(part, same)


def test_labels_are_shuffled_by_the_seed():
    classes, human = np.arange(200) % 5 // 4, object()
    first, same = shuffled_labels.replace_targets(classes, human, np.random.default_rng(1))
    other, _ = shuffled_labels.replace_targets(classes, human, np.random.default_rng(2))
    assert same is human
    assert first.sum() == other.sum() == classes.sum()
    assert (first != classes).any()
    assert (first != other).any()


def test_maps_are_shuffled_whole():
    human = np.random.default_rng(0).random((40, 3, 3)).astype(np.float32)
    classes = np.arange(40) % 2
    same, shuffled = shuffled_maps.replace_targets(classes, human, np.random.default_rng(1))
    assert same is classes
    indices = [int(np.flatnonzero((human == image).all(axis=(1, 2)))[0]) for image in shuffled]
    assert sorted(indices) == list(range(40))
    assert np.mean(np.array(indices) == np.arange(40)) < 0.2
    assert 0.2 < np.mean(classes[indices] == classes) < 0.8  # maps of either class


@pytest.mark.parametrize("scale", [1, 255])
def test_the_fixed_map_is_the_mean(scale):
    human = np.array([[[0, 51], [102, 255]], [[0, 153], [0, 255]]]) / 255 * scale
    human = human.astype(np.uint8 if scale == 255 else np.float32)
    classes, result = fixed_map.replace_targets(np.array([0, 1]), human, np.random.default_rng(0))
    assert classes.tolist() == [0, 1]
    np.testing.assert_allclose(result, [[[0, 0.4], [0.2, 1]]] * 2, atol=1e-6)


def test_a_checkpoint_of_other_code_is_not_used(monkeypatch, faces):
    """The origin of a checkpoint, and of a state to resume, holds a hash of the code that trained it."""
    origins, data = [], faces()
    monkeypatch.setattr(train, "load_dataset", lambda *_, **__: data)
    monkeypatch.setattr(train, "training_samples", lambda *_: data)
    monkeypatch.setattr(train, "fit", lambda *_, **named: origins.append(named["origin"]))
    lines, asked = ["e2m/regimes/cyborg.py 1"], []
    monkeypatch.setattr(train, "code", lambda *modules, **names: asked.append(names) or lines)
    experiment, key = Experiment.load("smoke"), ModelKey("demo_cnn", "cyborg", 0)
    train.train(experiment, key)
    train.train(experiment, key)
    lines[0] = "e2m/regimes/cyborg.py 2"
    train.train(experiment, key)
    assert origins[0] == origins[1] != origins[2]
    assert asked[0] == {"dataset": ["demo"], "detector": ["demo_cnn"], "regime": ["cyborg"]}


def test_segmentation_masks_are_read_in_place_of_human_maps(monkeypatch, faces):
    read = {}
    monkeypatch.setattr(train, "fit", lambda _, samples, *arguments, **named: read.update({named["regime"]: samples}))
    masked = faces().assign(segmentation=lambda samples: samples["path"])  # a picture that is no human map
    monkeypatch.setattr(data, "load_dataset", lambda *_, split="train", **__: masked.assign(split=split))
    monkeypatch.setattr(train, "load_dataset", lambda *_, **__: masked)
    monkeypatch.setattr(train, "check_images", lambda *_: None)
    for name in ("cyborg", "segmentation"):
        train.train(Experiment.load("smoke"), ModelKey("demo_cnn", name, 0))
    assert read["cyborg"]["salience"].tolist() == masked["salience"].tolist()
    assert read["segmentation"]["salience"].tolist() == masked["segmentation"].tolist()
    assert set(masked["salience"]) & set(masked["segmentation"]) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_regimes_images_and_maps_are_named_as_data_sets_name_them(name):
    regime = plugins.load("regime", name)
    assert getattr(regime, "SPLIT", "train") in SPLITS
    assert getattr(regime, "MAPS", "salience") in ("salience", "segmentation")
    assert regime.GUIDED or not hasattr(regime, "MAPS")


@pytest.mark.parametrize("name", NAMES)
def test_a_job_trains_by_the_regimes_file(name, monkeypatch, faces):
    given = {}
    data = faces()
    monkeypatch.setattr(train, "load_dataset", lambda *_, **__: data)
    monkeypatch.setattr(train, "training_samples", lambda *_: data)
    monkeypatch.setattr(
        train, "fit", lambda *arguments, **named: given.update(named, loss=arguments[3], to=arguments[5])
    )
    experiment = Experiment.load("smoke")
    train.train(experiment, ModelKey("demo_cnn", name, 1))
    regime = plugins.load("regime", name)
    expected = Settings(**{**experiment.training, **getattr(regime, "SETTINGS", {})}, seed=1)
    expected = replace(expected, epochs=experiment.training["epochs"] * getattr(regime, "EPOCHS_FACTOR", 1))
    assert (given["loss"], given["replace_targets"], given["guided"]) == (
        regime.loss,
        getattr(regime, "replace_targets", None),
        regime.GUIDED,
    )
    assert given["to"] == expected
