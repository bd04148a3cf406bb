"""Training of a toy detector: it learns, it keeps its best epoch, and an interruption changes nothing."""

import resource
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torchvision.ops import Permute

from e2m import plugins
from e2m.arrays.images import read_images
from e2m.networks.checkpoints import load_weights, read_checkpoint
from e2m.networks.inputs import as_input
from e2m.networks.layers import channels_last
from e2m.regimes import cross_entropy as traditional
from e2m.regimes import cyborg
from e2m.salience.engine import explain
from e2m.training.detector import Batch, DetectorTrainer, fit, guided_features, parameters
from e2m.training.settings import Settings
from e2m.types import LABELS, InputError

QUICK = Settings(epochs=3, batch_size=4, learning_rate=0.05)
EVERYTHING = Settings(
    **{"epochs": 4, "batch_size": 4, "learning_rate": 0.05, "schedule": "one_cycle", "seed": 5},
    **{"flip": True, "shift_px": 3, "copies": 3, "turns": True, "noise": 0.2},
)


@pytest.fixture
def train(tmp_path, toy, faces):
    """``train(loss, ...)``: trains a toy on twelve images and gives its curves and its weights."""
    samples = {guided: faces(name=f"faces{guided}") for guided in (True, False)}

    def run(
        regime=traditional,
        loss=None,
        detector=None,
        settings=QUICK,
        name="a.pt",
        data=None,
        guided=None,
        replace_targets=None,
    ):
        detector = toy(seed=1) if detector is None else detector
        guided = regime.GUIDED if guided is None else guided
        data = samples[True] if data is None else data
        replace_targets = replace_targets or getattr(regime, "replace_targets", None)
        about = {
            "regime": regime.__name__.split(".")[-1],
            "run": 0,
            "guided": guided,
            "replace_targets": replace_targets,
            "progress": False,
        }
        curves = fit(detector, data, samples[True], loss or regime.loss, tmp_path / name, settings, **about)
        return curves, detector.model.state_dict()

    return run


def identical(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_what_brightness_tells(train, tmp_path):
    curves, weights = train()
    names = ["epoch", "loss", "train_accuracy", "validation_accuracy", "validation_cross_entropy", "kept"]
    assert list(curves) == names
    assert curves["epoch"].tolist() == [0, 1, 2]
    assert curves["loss"].iloc[-1] < 0.5 * curves["loss"].iloc[0]
    assert curves.loc[curves["kept"], "validation_accuracy"].tolist() == [1]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.pt"]
    state = read_checkpoint(tmp_path / "a.pt")
    assert (state["detector"], state["regime"], state["run"]) == ("toy", "cross_entropy", 0)
    assert state["settings"] == vars(QUICK)
    assert identical(state["weights"], weights)


def test_the_best_epoch_is_kept(train, toy, tmp_path, monkeypatch):
    accuracies, entropies, passed = iter([0.5, 0.9, 0.9, 0.9, 0.8]), iter([0.1, 0.5, 0.3, 0.4, 0.2]), []

    def validate(trainer):
        passed.append({name: tensor.clone() for name, tensor in trainer.network.state_dict().items()})
        return {"validation_accuracy": next(accuracies), "validation_cross_entropy": next(entropies)}

    monkeypatch.setattr(DetectorTrainer, "validate", validate)
    curves, weights = train(settings=Settings(epochs=5, batch_size=4))
    # Of three equally accurate epochs, the last, although another has a lower cross-entropy: CYBORG's rule.
    assert curves["kept"].tolist() == [False, False, False, True, False]
    assert identical(weights, passed[3])
    assert not identical(weights, passed[4])
    loaded = toy(seed=9)
    load_weights(loaded, tmp_path / "a.pt")
    assert identical(loaded.model.state_dict(), passed[3])
    assert read_checkpoint(tmp_path / "a.pt")["epoch"] == 3


def test_curves_say_what_the_kept_weights_do(train, toy, faces):
    detector, data = toy(seed=1), faces()
    curves, _ = train(detector=detector, data=data, settings=Settings(epochs=1, batch_size=4, learning_rate=0.001))
    with torch.no_grad():
        logits = detector.model(as_input(next(read_images(data)), detector))
    classes = torch.tensor([LABELS.index(label) for label in data["label"]])
    assert not detector.model.training
    assert curves["validation_cross_entropy"][0] == pytest.approx(cross_entropy(logits, classes).item(), abs=1e-5)
    assert curves["validation_accuracy"][0] == pytest.approx((logits.argmax(1) == classes).float().mean().item())


class BrokenOffError(Exception):
    pass


def breaking(loss, calls):
    """A loss that breaks off after so many batches."""
    left = iter(range(calls))

    def broken(seen):
        if next(left, None) is None:
            raise BrokenOffError
        return loss(seen)

    return broken


@pytest.mark.parametrize("settings", [QUICK, EVERYTHING])
@pytest.mark.parametrize("name", plugins.names("regime"))
def test_an_interruption_changes_nothing(train, toy, tmp_path, name, settings):
    regime = plugins.load("regime", name)
    new = partial(toy, seed=1, dropout=0.5)
    curves, weights = train(regime, detector=new(), settings=settings, name="whole.pt")
    again, repeated = train(regime, detector=new(), settings=settings, name="again.pt")
    with pytest.raises(BrokenOffError):
        train(regime, breaking(regime.loss, calls=8), new(), settings, name="broken.pt")
    assert (tmp_path / "broken.resume").is_file()
    assert not (tmp_path / "broken.pt").exists()
    torch.manual_seed(123)  # another process has another stream
    torch.rand(7)
    calls = []
    result, resumed = train(
        regime, lambda seen: calls.append(1) or regime.loss(seen), new(), settings, name="broken.pt"
    )
    pd.testing.assert_frame_equal(result, curves, check_exact=True)
    pd.testing.assert_frame_equal(again, curves, check_exact=True)
    assert identical(resumed, weights)
    assert identical(repeated, weights)
    assert len(calls) == 3 * (settings.epochs - 2)
    assert not (tmp_path / "broken.resume").exists()
    assert len({(tmp_path / name).read_bytes() for name in ("whole.pt", "again.pt", "broken.pt")}) == 1


def test_what_is_finished_is_not_trained_again(train):
    curves, weights = train()
    result, loaded = train(loss=breaking(None, calls=0))
    pd.testing.assert_frame_equal(result, curves, check_exact=True)
    assert identical(loaded, weights)
    for changed in ({"settings": Settings(epochs=2, batch_size=4)}, {"regime": cyborg}):
        with pytest.raises(BrokenOffError):
            train(**{"loss": breaking(None, calls=0), **changed})


def test_the_state_of_other_settings_is_not_taken_up(train):
    with pytest.raises(BrokenOffError):
        train(loss=breaking(traditional.loss, calls=4))
    other = Settings(epochs=2, batch_size=4, learning_rate=0.01)
    curves, weights = train(settings=other)
    expected, fresh = train(settings=other, name="b.pt")
    pd.testing.assert_frame_equal(curves, expected, check_exact=True)
    assert identical(weights, fresh)


def test_regimes_share_everything_but_the_loss(train):
    _, plain = train(traditional, settings=EVERYTHING, name="a.pt")
    _, guided = train(cyborg, partial(cyborg.loss, alpha=1.0), settings=EVERYTHING, name="b.pt")
    assert identical(plain, guided)
    _, half = train(cyborg, settings=EVERYTHING, name="c.pt")
    assert not identical(plain, half)


def test_seeds_decide_and_the_global_stream_is_left_alone(train):
    state = torch.get_rng_state()
    _, one = train(settings=EVERYTHING, name="a.pt")
    assert torch.equal(torch.get_rng_state(), state)
    _, other = train(settings=Settings(**(vars(EVERYTHING) | {"seed": 6})), name="b.pt")
    assert not identical(one, other)


# What a loss sees


def captured(train, **arguments):
    batches = []

    def loss(seen):
        batches.append(seen)
        return cross_entropy(seen.logits, seen.classes)

    train(loss=loss, **arguments)
    return batches


def test_human_maps_follow_their_images(train, faces, tmp_path):
    data = faces()
    for label, path in zip(data["label"], data["salience"], strict=True):
        np.save(path, np.full((8, 8), 0.25 + 0.5 * LABELS.index(label)))
    for seen in captured(train, data=data, settings=EVERYTHING, guided=True):
        assert seen.human_maps.shape == (len(seen.classes), 32, 32)
        expected = (0.25 + 0.5 * seen.classes)[:, None, None].expand_as(seen.human_maps)
        torch.testing.assert_close(seen.human_maps, expected)
    assert captured(train, guided=False, name="b.pt")[0].human_maps is None


def test_replaced_targets_reach_training_and_not_validation(train):
    settings = Settings(epochs=6, batch_size=4, learning_rate=0.05)
    curves, _ = train(replace_targets=lambda classes, human, _: (1 - classes, human), settings=settings)
    assert curves["train_accuracy"].iloc[-1] > 0.9
    assert curves["validation_accuracy"].iloc[-1] < 0.1


def test_targets_replaced_by_the_truth_change_no_draw(train):
    def truth(classes, human, random):
        random.random(7)
        return classes, human

    plain, replaced = (
        captured(train, guided=True, settings=EVERYTHING, replace_targets=one, name=f"{one}.pt")
        for one in (None, truth)
    )
    for one, other in zip(plain, replaced, strict=True):
        for name in ("logits", "classes", "human_maps"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_the_run_seeds_replaced_targets(train):
    drawn = []
    for seed in (1, 1, 2):
        replaced = lambda classes, human, random: drawn.append(random.random()) or (classes, human)  # noqa: E731
        train(replace_targets=replaced, settings=Settings(epochs=1, batch_size=4, seed=seed), name=f"{len(drawn)}.pt")
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_epoch_has_an_order_of_its_own(train):
    batches = captured(train)
    orders = [torch.cat([seen.classes for seen in batches[start : start + 3]]).tolist() for start in (0, 3, 6)]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [sum(order) for order in orders] == [6, 6, 6]


def test_logits_and_head_are_in_e2ms_order(train, toy):
    pair, twin, single = toy(seed=1), toy(seed=1, synthetic=0), toy(seed=1, logits=1)
    with torch.no_grad():
        for tensor in twin.model.classifier.parameters():
            tensor.copy_(tensor.flip(0))
    seen, other = (captured(train, detector=detector, name=f"{i}.pt")[0] for i, detector in enumerate((pair, twin)))
    for name in ("logits", "classes", "features", "weights", "cam"):
        torch.testing.assert_close(getattr(other, name), getattr(seen, name), msg=name)
    head = single.model.classifier.weight.detach().clone()
    (half, *_) = captured(train, detector=single, name="c.pt")
    assert torch.equal(half.weights, torch.cat([-head, head]))
    assert torch.equal(half.logits[:, 0], -half.logits[:, 1])


def test_the_guided_layer_is_what_is_read(train, toy):
    seen = captured(train, detector=toy(guided_layer="features.0"), guided=False)[0]
    assert seen.features.shape == (4, 6, 16, 16)


def test_the_cam_of_training_is_the_cam_of_salience(toy, random):
    detector, images = toy(), random.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        features = detector.model.features(as_input(images, detector))
        logits = detector.model.classifier(detector.model.pool(features))
    seen = Batch(logits, logits.argmax(1), features, detector.model.classifier.weight)
    np.testing.assert_allclose(seen.cam.detach(), explain(detector, images, "CAM").maps, atol=1e-5)


def test_a_detector_without_head_learns_from_labels_alone(train, toy):
    curves, _ = train(detector=toy(seed=1, head=None))
    assert curves["loss"].iloc[-1] < curves["loss"].iloc[0]
    with pytest.raises(InputError, match="names no head"):
        train(cyborg, detector=toy(head=None), name="b.pt")


def test_bfloat16_is_used_where_there_is_some(train):
    curves, _ = train(settings=Settings(epochs=2, batch_size=4, learning_rate=0.05, mixed_precision=True))
    assert curves["loss"].iloc[-1] < curves["loss"].iloc[0]


def test_weights_are_counted(toy):
    detector = toy()
    convolutions, norm, head = 6 * 3 * 9 + 8 * 6 * 9 + 8, 2 * 6, 8 * 2 + 2
    assert parameters(detector.model) == convolutions + norm + head
    detector.model.features[0].weight.requires_grad_(False)
    assert parameters(detector.model) == convolutions + norm + head - 6 * 3 * 9


# What cannot be trained


@pytest.mark.parametrize("label", LABELS)
def test_both_classes_are_needed(train, faces, label):
    data = faces()
    with pytest.raises(InputError, match=f"no {label} images to train on"):
        train(data=data[data["label"] != label])


def test_something_must_be_left_to_train(train, toy):
    with pytest.raises(InputError, match="'toy' freezes all of its weights; leave some to train"):
        train(detector=toy(frozen=("features", "pool", "classifier")))


def test_one_image_of_each_class_is_enough(train, faces):
    """In batches of one, too: the last batch of an epoch can be that small."""
    one = faces(n=1, name="one")
    settings = Settings(epochs=2, batch_size=2, learning_rate=0.01, flip=True, shift_px=2, copies=3, images_per_epoch=2)
    curves, weights = train(data=one, settings=settings)
    assert np.isfinite(curves["loss"]).all()
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_guidance_needs_human_salience(train, faces):
    data = faces()
    data.loc[[2, 5], "salience"] = ""
    with pytest.raises(InputError, match=r"2 of 12 training images have no human salience \(first: 2\.png\)"):
        train(cyborg, data=data)
    train(traditional, data=data)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_the_training(train, tmp_path, value):
    def loss(seen):
        return seen.logits.sum() * float(value)

    with pytest.raises(InputError, match=r"the loss became -?(nan|inf) in epoch 0; lower learning_rate"):
        train(loss=loss)
    assert not list(tmp_path.glob("*.*"))


def test_a_full_disk_is_named(train, toy, tmp_path):
    detector = toy()
    detector.model.register_buffer("ballast", torch.zeros(100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"a\.resume: not written \(File too large\)"):
            train(detector=detector)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_guidance_reads_a_layer_whose_channels_come_last(train, toy):
    """A twin that says the same, but whose layer gives (n, h, w, channels), learns the same."""
    plain, twin = toy(seed=1), toy(seed=1, reshape=channels_last)
    twin.model.features.append(Permute([0, 2, 3, 1]))
    twin.model.pool.insert(0, Permute([0, 3, 1, 2]))
    for name, detector in (("plain.pt", plain), ("twin.pt", twin)):
        train(regime=cyborg, detector=detector, name=name, settings=QUICK)
    for one, other in zip(plain.model.parameters(), twin.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_finished_checkpoint_belongs_to_its_images_labels_and_human_maps(train, faces, tmp_path):
    """Whoever starts the training: nothing that it learns from has to be named by the caller."""
    data, path = faces(name="known"), tmp_path / "a.pt"

    def trained(samples, regime=cyborg):
        train(regime, data=samples)
        return read_checkpoint(path)["origin"], path.stat().st_mtime_ns

    before = trained(data)
    assert trained(data) == before
    other_maps = data.assign(salience=data["salience"][::-1].to_numpy())
    changed = {
        "labels": data.assign(label=data["label"][::-1].to_numpy()),
        "sources": data.assign(source="another"),
        "human maps": other_maps,
        "fewer images": data.iloc[2:],
        "another order": data.iloc[::-1],
    }
    origins = {name: trained(samples)[0] for name, samples in changed.items()}
    assert len({before[0], *origins.values()}) == 1 + len(changed)
    Image.open(data["path"][0]).rotate(90).save(data["path"][0])
    assert trained(data)[0] not in {before[0], *origins.values()}
    unguided = trained(data, traditional)
    assert trained(other_maps, traditional) == unguided


@pytest.mark.parametrize("guided", [False, True])
def test_gradients_reach_the_guided_layer_in_the_layout_of_its_features_and_are_those_of_plain_torch(toy, guided):
    class Probe(torch.autograd.Function):
        @staticmethod
        def forward(_, features):
            return features.view_as(features)

        @staticmethod
        def backward(_, gradient):
            layouts.append(gradient.is_contiguous(memory_format=torch.channels_last))
            return gradient

    layouts, detector = [], toy(seed=1)
    detector.model.features.append(torch.nn.Identity()).register_forward_hook(lambda *about: Probe.apply(about[-1]))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    weights = list(detector.model.parameters())

    def gradients(output, features):
        loss = output.square().sum() + (features.flatten(1) ** 3).sum() * guided
        return torch.autograd.grad(loss, weights)

    found = gradients(*guided_features(detector, images))
    assert layouts == [True]
    features = detector.model.features(images)
    plain = gradients(detector.model.classifier(detector.model.pool(features)), features)
    assert layouts[1:] == [False]
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
