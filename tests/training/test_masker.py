"""Training of maskers: gradients on a classifier that reads one patch, variants, and interruptions."""

import itertools
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy

from e2m.networks.checkpoints import CHECKPOINT_FORMAT, MASKER_FORMAT, load_weights, read_checkpoint, weights_hash
from e2m.networks.masker import load
from e2m.salience.engine import explain
from e2m.training import masker
from e2m.training.images import Images
from e2m.training.masker import Alongside, MaskerTrainer, alongside_of, fit
from e2m.training.objectives import mask_in_loss, mask_out_loss, shown, total_variation
from e2m.training.settings import MaskerSettings
from e2m.types import LABELS, Detector, InputError

QUICK = MaskerSettings(
    epochs=3,
    batch_size=4,
    learning_rate=0.01,
    channels=8,
    flip=False,
    crop_min_share=1.0,
)
ALONGSIDE = replace(QUICK, alongside=True)
EVERYTHING = replace(
    QUICK,
    schedule="one_cycle",
    flip=True,
    shift_px=2,
    crop_min_share=0.5,
    copies=2,
    infill="noise",
    binary=True,
    conditioned=True,
)
PATCH = (slice(8, 16), slice(16, 24))


class PatchReader(nn.Module):
    """Tells synthetic from authentic by the brightness of one patch of 32 px images, in cells of 4 px."""

    def __init__(self, gain=4.0, bias=0.0):
        super().__init__()
        self.features = nn.Sequential(OrderedDict(first=nn.Conv2d(3, 4, 2, 2), second=nn.Conv2d(4, 4, 2, 2)))
        self.classifier = nn.Linear(4, 2)
        with torch.no_grad():
            for convolution in self.features:
                convolution.bias.zero_()
                convolution.weight[0].fill_(1 / convolution.weight[0].numel())
            self.features.second.weight[0].zero_()
            self.features.second.weight[0, 0].fill_(0.25)
            self.classifier.weight.zero_()
            self.classifier.weight[:, 0] = torch.tensor([-gain, gain])
            self.classifier.bias.copy_(torch.tensor([-bias, bias]))

    def forward(self, images):
        return self.classifier(self.features(images)[:, :, 2:4, 4:6].mean((2, 3)))


def reader(**about):
    torch.manual_seed(0)
    half = (0.5,) * 3
    return Detector("reader", PatchReader(**about).eval(), "features", 32, mean=half, std=(0.25,) * 3)


@pytest.fixture
def patches(tmp_path):
    """Twelve images a class of noise, whose patch is bright where they are synthetic and dark where they are not."""
    random, rows = np.random.default_rng(0), []
    for number in range(24):
        pixels = random.integers(0, 256, (32, 32, 3))
        pixels[PATCH] = 40 + 170 * (number % 2)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        rows.append((path.name, str(path), LABELS[number % 2], ""))
    return pd.DataFrame(rows, columns=["image", "path", "label", "salience"])


@pytest.fixture
def train(tmp_path, patches):
    """``train(settings, ...)``: trains a masker for the reader of patches; gives curves and the file's content."""

    def run(settings=QUICK, name="run-0.masker.pt", detector=None, data=None):
        detector = detector or reader()
        data = patches if data is None else data
        about = {"regime": "toy", "run": 0, "origin": "here", "progress": False}
        curves = fit(detector, data, patches, tmp_path / "maskers" / name, settings, **about)
        return curves, read_checkpoint(tmp_path / "maskers" / name, MASKER_FORMAT)

    return run


def trainer_of(patches, settings):
    detector = reader()
    images = Images(patches, detector)
    return MaskerTrainer(detector, images, images, settings)


def identical(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("mask_in", "mask_out"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("variation", [0.0, 0.1])
def test_each_objective_can_be_left_out(patches, mask_in, mask_out, variation):
    settings = replace(QUICK, mask_in=mask_in, mask_out=mask_out, variation=variation, size_out=3.0)
    trainer = trainer_of(patches, settings)
    model = trainer.detector.model
    batch, classes, correct = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 1, 0]), torch.tensor([True] * 3 + [False])
    mask = torch.rand(4, 1, 32, 32)
    loss, entropies = trainer.objective(model, batch, classes, correct, mask)
    inside, outside = model(batch * mask), model(batch * (1 - mask))
    expected = (mask_in + mask_out) * variation * total_variation(mask)
    expected = expected + mask_in * mask_in_loss(inside, classes, mask, 1.0)
    expected = expected + mask_out * mask_out_loss(outside, classes, correct, mask, 3.0)
    torch.testing.assert_close(loss, expected)
    parts = mask_in * cross_entropy(inside, classes) + mask_out * cross_entropy(outside, classes)
    torch.testing.assert_close(entropies, parts)


# Gradients: where each objective moves a mask, on a classifier that reads one patch


def pushed(objective, bias=0.0, level=0.5):
    """How descending on an objective moves two even masks, (2, 32, 32): above 0 they grow."""
    model = PatchReader(bias=bias).eval()
    images = torch.full((2, 3, 32, 32), 0.3)
    images[1] *= -1
    images[:, :, *PATCH] = torch.tensor([1.0, -1.0])[:, None, None, None]
    classes = torch.tensor([1, 0])
    mask = torch.full((2, 1, 32, 32), level, requires_grad=True)
    correct = model(images).argmax(1) == classes
    assert correct.all()
    objective(model, images, classes, correct, mask).backward()
    return -mask.grad[:, 0]


def inside_and_outside(values):
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[PATCH] = False
    return values[:, *PATCH], values[:, outside]


def test_mask_in_grows_the_mask_where_evidence_lies():
    def keep(model, images, classes, correct, mask):
        return mask_in_loss(model(shown(images, mask)), classes, mask, 0)

    inside, outside = inside_and_outside(pushed(keep))
    assert (inside > 0).all()
    assert (outside == 0).all()


def test_a_small_mask_is_asked_for_where_the_masked_in_image_is_right():
    def keep(model, images, classes, correct, mask):
        return mask_in_loss(model(shown(images, mask)), classes, mask, 1)

    inside, outside = inside_and_outside(pushed(keep))
    assert (inside > 0).all()
    assert (outside < 0).all()


def test_mask_out_grows_the_mask_where_evidence_lies_and_shrinks_it_elsewhere():
    def leave(size):
        def objective(model, images, classes, correct, mask):
            return mask_out_loss(model(shown(images, 1 - mask)), classes, correct, mask, size)

        return objective

    inside, outside = inside_and_outside(pushed(leave(0)))
    assert (inside > 0).all()
    assert (outside == 0).all()
    # With a fifth of its patch left, the dark image is taken for bright: its mask may then be smaller.
    inside, outside = inside_and_outside(pushed(leave(1), bias=1.0, level=0.8))
    assert (inside[0] > 0).all()
    assert (outside[0] == 0).all()
    assert (outside[1] < 0).all()


def test_total_variation_levels_the_mask():
    mask = torch.zeros(1, 1, 8, 8)
    mask[0, 0, 3, 4] = 1
    mask.requires_grad_()
    total_variation(mask).backward()
    assert mask.grad[0, 0, 3, 4] > 0
    assert (mask.grad[0, 0, [2, 4, 3, 3], [4, 4, 3, 5]] < 0).all()


# Training


def test_it_finds_the_patch(train, patches, tmp_path):
    detector = reader()
    settings = replace(QUICK, epochs=12, learning_rate=0.05, size_out=2.0)
    curves, state = train(settings, detector=detector)
    assert list(curves) == [
        "epoch",
        "loss",
        "against_zoo",
        "accuracy",
        "masked_in_accuracy",
        "masked_out_accuracy",
        "mask_mean",
        "collapsed",
        "never_predicted",
    ]
    last = curves.iloc[-1]
    assert last["loss"] < curves["loss"].iloc[0]
    assert (last["accuracy"], last["masked_in_accuracy"], last["collapsed"], last["never_predicted"]) == (1, 1, 0, "")
    assert (curves["against_zoo"] == 0).all()
    assert [path.name for path in (tmp_path / "maskers").iterdir()] == ["run-0.masker.pt"]
    images = np.stack([np.asarray(Image.open(path)) for path in patches["path"]])
    masker = replace(detector, masker=tmp_path / "maskers" / "run-0.masker.pt")
    maps = explain(masker, images, "masker").maps
    assert maps.shape == (24, 8, 8)
    assert maps[:, 2:4, 4:6].mean() > 2 * maps.mean()
    assert state["stages"] == {"features.first": (4, 16), "features.second": (4, 8)}
    assert state["side"] == 8


def test_a_fixed_classifier_is_left_untouched(train):
    detector = reader()
    detector.model.train()
    before = {name: tensor.clone() for name, tensor in detector.model.state_dict().items()}
    _, state = train(detector=detector)
    assert identical(detector.model.state_dict(), before)
    assert detector.model.training
    assert all(weight.requires_grad for weight in detector.model.parameters())
    assert not any(module._forward_hooks for module in detector.model.modules())
    assert state["classifier"] == weights_hash(detector.model)


def test_a_classifier_trained_alongside_becomes_a_checkpoint_of_its_own(train, tmp_path):
    detector = reader()
    before = weights_hash(detector.model)
    curves, state = train(ALONGSIDE, detector=detector)
    assert weights_hash(detector.model) == before
    path = alongside_of(tmp_path / "maskers" / "run-0.masker.pt")
    assert path.name == "run-0.alongside.pt"
    assert read_checkpoint(path)["format"] == CHECKPOINT_FORMAT
    load_weights(detector, path)
    assert weights_hash(detector.model) == state["classifier"] != before
    assert 0 < curves["against_zoo"].mean() < 1


def test_the_zoo_is_used(train, monkeypatch):
    """Every earlier state that judges masks is one that the zoo kept, and most are not the present one."""
    monkeypatch.setattr(masker, "ZOO", 3)
    monkeypatch.setattr(masker, "ZOO_EVERY", 2)
    judge, seen = Alongside.judge, []

    def watched(self, random):
        model, is_present = judge(self, random)
        seen.append((is_present, weights_hash(model), weights_hash(self.classifier), len(self.zoo)))
        return model, is_present

    monkeypatch.setattr(Alongside, "judge", watched)
    curves, _ = train(replace(ALONGSIDE, classifier_rate=0.05))
    earlier = [(judging, present) for is_present, judging, present, _ in seen if not is_present]
    assert all(judging == present for is_present, judging, present, _ in seen if is_present)
    assert len(earlier) / len(seen) == pytest.approx(curves["against_zoo"].mean())
    assert len({judging for judging, _ in earlier}) > 2
    assert sum(judging != present for judging, present in earlier) > len(earlier) / 2
    presents = {present for *_, present, _ in seen}
    assert {judging for judging, _ in earlier} <= presents | {seen[0][2]}
    assert max(size for *_, size in seen) == 3


def test_without_the_zoo_the_present_classifier_judges_all_masks(train, monkeypatch):
    """As in published code: it learns from the masked images of half of the batches."""
    judge, seen = Alongside.judge, []

    def watched(self, random):
        judging, learns = judge(self, random)
        seen.append((judging is self.classifier, learns))
        return judging, learns

    monkeypatch.setattr(Alongside, "judge", watched)
    curves, without = train(replace(ALONGSIDE, zoo=False), name="without.masker.pt")
    assert (curves["against_zoo"] == 0).all()
    assert all(present for present, _ in seen)
    learning = [learns for _, learns in seen]
    assert 0.2 < np.mean(learning) < 0.8
    seen.clear()
    _, with_zoo = train(ALONGSIDE, name="with.masker.pt")
    assert [learns for _, learns in seen] == learning
    assert [present for present, _ in seen] == learning
    assert not identical(without["weights"], with_zoo["weights"])


def test_both_learning_rates_decay(patches):
    """A tenth every second epoch, of the masker and of the classifier trained alongside."""
    settings = replace(ALONGSIDE, epochs=4, decay_every=2, learning_rate=0.01, classifier_rate=0.003)
    trainer, rates = trainer_of(patches, settings), []
    for epoch in range(4):
        trainer.epoch(epoch)
        rates.append(trainer.alongside.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.003, 0.003, 0.0003, 0.0003])
    assert trainer.optimiser.param_groups[0]["lr"] == pytest.approx(0.0001)


def test_frozen_modules_of_a_classifier_trained_alongside_stay_as_they_are(patches):
    detector = reader()
    detector.model.features.add_module("normal", nn.BatchNorm2d(4))
    detector = replace(detector, frozen=("features.first", "features.normal"))
    images = Images(patches, detector)
    trainer = MaskerTrainer(detector, images, images, replace(ALONGSIDE, stages=["features.second"]))
    before = {name: tensor.clone() for name, tensor in trainer.classifier.state_dict().items()}
    trainer.epoch(0)
    moved = {name for name, tensor in trainer.classifier.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in moved} <= {
        "features.second",
        "classifier.weight",
        "classifier.bias",
    }


def test_what_the_classifier_learns_from_masked_images(train, monkeypatch):
    """Against an earlier state it learns from clean images alone."""
    detectors = []
    for is_present in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(
                Alongside,
                "judge",
                lambda self, random, is_present=is_present: (
                    self.classifier if is_present else self.earlier.eval(),
                    is_present,
                ),
            )
            _, state = train(ALONGSIDE, name=f"{is_present}.masker.pt")
            detectors.append(state["classifier"])
    assert detectors[0] != detectors[1]


class BrokenOffError(Exception):
    pass


@pytest.fixture
def breaking(monkeypatch):
    """``breaking(steps)``: training breaks off after so many batches."""
    step = MaskerTrainer.step

    def after(steps):
        left = itertools.count()

        def broken(self, *arguments):
            if next(left) >= steps:
                raise BrokenOffError
            return step(self, *arguments)

        monkeypatch.setattr(MaskerTrainer, "step", broken)

    return after


@pytest.mark.parametrize("settings", [QUICK, ALONGSIDE, EVERYTHING, replace(EVERYTHING, alongside=True)])
def test_an_interruption_changes_nothing(train, breaking, tmp_path, monkeypatch, settings):
    monkeypatch.setattr(masker, "ZOO", 2)
    monkeypatch.setattr(masker, "ZOO_EVERY", 3)
    curves, state = train(settings, name="whole.masker.pt")
    breaking(14)  # in the third epoch of six batches each
    with pytest.raises(BrokenOffError):
        train(settings, name="broken.masker.pt")
    assert (tmp_path / "maskers" / "broken.masker.resume").is_file()
    assert not (tmp_path / "maskers" / "broken.masker.pt").exists()
    torch.manual_seed(123)
    breaking(10**9)
    result, again = train(settings, name="broken.masker.pt")
    pd.testing.assert_frame_equal(result, curves, check_exact=True)
    assert identical(again["weights"], state["weights"])
    for kind in (".masker.pt", ".alongside.pt") if settings.alongside else (".masker.pt",):
        whole, broken = ((tmp_path / "maskers" / f"{name}{kind}").read_bytes() for name in ("whole", "broken"))
        assert whole == broken
    assert not list((tmp_path / "maskers").glob("*.resume"))


def test_what_is_finished_is_not_trained_again(train, breaking):
    curves, _ = train()
    breaking(0)
    pd.testing.assert_frame_equal(train()[0], curves, check_exact=True)
    for changed in ({"settings": replace(QUICK, variation=0.0)}, {"detector": reader(gain=5.0)}):
        with pytest.raises(BrokenOffError):
            train(**changed)


def test_seeds_decide_and_the_global_stream_is_left_alone(train):
    state = torch.get_rng_state()
    result = [train(replace(QUICK, seed=seed), name=f"{number}.pt")[1] for number, seed in enumerate((0, 1, 0))]
    assert torch.equal(torch.get_rng_state(), state)
    assert identical(result[0]["weights"], result[2]["weights"])
    assert not identical(result[0]["weights"], result[1]["weights"])


@pytest.mark.parametrize(
    "changed",
    [
        {"binary": True, "temperature": 0.5},
        {"conditioned": True},
        {"infill": "blur"},
        {"stages": ["features.first"]},
        {"crop_min_share": 0.08},
    ],
)
def test_variants_train_and_explain(train, patches, tmp_path, changed):
    detector = reader()
    train(replace(QUICK, epochs=1, **changed), detector=detector)
    detector = replace(detector, masker=tmp_path / "maskers" / "run-0.masker.pt")
    assert (load(detector).classes is not None) == bool(changed.get("conditioned"))
    images = np.stack([np.asarray(Image.open(path)) for path in patches["path"][:3]])
    assert explain(detector, images, "masker").maps.shape == (3, 8, 8)


def test_gumbel_masks_are_binary_and_teach(patches):
    trainer = trainer_of(patches, replace(QUICK, binary=True, temperature=0.5))
    logits = torch.tensor([[2.0, -2.0, 0.0]]).repeat(2000, 1).requires_grad_()
    torch.manual_seed(0)
    drawn = trainer.drawn(logits)
    assert set(drawn.detach().round(decimals=5).unique().tolist()) == {0, 1}
    np.testing.assert_allclose(drawn.detach().mean(0), logits[0].detach().sigmoid(), atol=0.04)
    drawn.sum().backward()
    assert (logits.grad >= 0).all()
    assert logits.grad.mean() > 0.05


# What does not fit, and what says nothing


def test_masks_that_collapse_are_counted(train, patches, tmp_path):
    detector = reader()
    curves, _ = train(replace(QUICK, epochs=20, learning_rate=0.1, variation=1e4), detector=detector)
    assert curves["collapsed"].iloc[-1] == 1
    images = np.stack([np.asarray(Image.open(path)) for path in patches["path"][:3]])
    assert explain(replace(detector, masker=tmp_path / "maskers" / "run-0.masker.pt"), images, "masker").dead.all()


@pytest.mark.parametrize(("bias", "named"), [(-50.0, "synthetic"), (50.0, "authentic")])
def test_a_class_that_is_never_predicted_is_named(train, bias, named):
    curves, _ = train(replace(QUICK, epochs=1), detector=reader(bias=bias))
    assert curves["never_predicted"].tolist() == [named]
    assert curves["accuracy"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"stages": ["layer4"]},
            r"no stage named 'layer4'; its stages are features.first \(4 channels, 16x16",
        ),
        ({"variation": 1e39}, r"the loss became inf in epoch 0; lower learning_rate"),
    ],
)
def test_settings_that_cannot_train(train, tmp_path, changed, words):
    with pytest.raises(InputError, match=words):
        train(replace(QUICK, **changed))
    assert not list((tmp_path / "maskers").glob("*")) if (tmp_path / "maskers").exists() else True


def test_a_classifier_trained_alongside_needs_both_classes(train, patches):
    one = patches[patches["label"] == "authentic"].reset_index(drop=True)
    with pytest.raises(InputError, match="no synthetic images to train on"):
        train(ALONGSIDE, data=one)
    with pytest.raises(InputError, match="no authentic images to train on"):
        train(data=one.head(0))
    curves, _ = train(replace(QUICK, epochs=1, images_per_epoch=6), data=one)
    assert np.isfinite(curves["loss"]).all()
