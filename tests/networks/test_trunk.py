"""The trunk: looked up or computed, it changes no answer; a network that it does not fit runs as a whole."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from e2m import load_detector, plugins
from e2m.methods import torchcam
from e2m.networks.inputs import as_input
from e2m.networks.trunk import Trunk
from e2m.regimes import cyborg
from e2m.salience.engine import Explainer, explain
from e2m.store import seals
from e2m.training.detector import fit
from e2m.training.images import Images
from e2m.training.settings import Settings
from e2m.types import Detector, InputError

METHODS = ("GradCAM", "CAM")


class Network(nn.Module):
    """Two convolutions, of which the first is frozen; ``skip`` adds the input to the features once more."""

    def __init__(self, skip=False):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.second = nn.Conv2d(3, 4, 3, padding=1)
        self.head, self.skip = nn.Linear(4, 2), skip

    def forward(self, pixels):
        hidden = self.first(pixels)
        return self.head(self.second(hidden + pixels if self.skip else hidden).mean((2, 3)))


@pytest.fixture
def detector():
    torch.manual_seed(0)
    network = Network().eval()
    network.first[1].running_mean.uniform_()
    network.first[1].weight.data.uniform_(0.5, 2)
    return Detector("network", network, layer="second", size=12, head="head", frozen=("first",))


@pytest.fixture
def images(random):
    return random.integers(0, 256, (9, 12, 12, 3), dtype=np.uint8)


def test_trunk_and_rest_are_the_network(detector, images):
    pixels = as_input(images, detector)
    trunk = Trunk(detector)
    assert trunk.shape == (3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(trunk(images, pixels), detector.model.first(pixels))
        whole = detector.model(pixels)
        with trunk.skipped():
            rest = detector.model(trunk(images, pixels))
        torch.testing.assert_close(rest, whole)
        assert torch.equal(detector.model(pixels), whole)  # after the block, the network is as it was


def test_stored_outputs_are_looked_up(detector, images, tmp_path, monkeypatch):
    path = tmp_path / "a.outputs"
    Trunk(detector).write(path, [images[:4], images[2:6]])
    size = path.stat().st_size - len(seals.SEAL)
    assert size == 6 * (16 + 4 * 3 * 12 * 12)  # two images come twice and are stored once
    trunk, pixels = Trunk(detector, path), as_input(images, detector)
    wanted, computed = trunk._outputs(pixels), []
    monkeypatch.setattr(trunk, "_outputs", lambda some: computed.append(len(some)) or Trunk(detector)._outputs(some))
    torch.testing.assert_close(trunk(images[:6], pixels[:6]), wanted[:6])
    assert computed == []
    torch.testing.assert_close(trunk(images[::-1].copy(), pixels.flip(0)), wanted.flip(0))
    assert computed == [3]


def test_outputs_of_other_weights_or_inputs_are_never_looked_up(detector, images, tmp_path):
    Trunk(detector).write(tmp_path / "a.outputs", [images])
    pixels = as_input(images, detector)
    with torch.no_grad():
        detector.model.first[0].bias += 1
    changed = Trunk(detector, tmp_path / "a.outputs")
    torch.testing.assert_close(changed(images, pixels), detector.model.first(pixels).detach())


def test_a_detector_that_freezes_nothing_has_no_trunk(toy, images):
    trunk, pixels = Trunk(toy()), as_input(images, toy())
    assert trunk.shape is None
    assert trunk(images, pixels) is pixels
    assert not trunk.observed


def test_frozen_modules_that_are_not_the_beginning_are_no_trunk(detector, images, tmp_path):
    """A network that reads its input a second time, and one whose frozen module comes last."""
    twice = Detector("twice", Network(skip=True).eval(), layer="second", size=12, head="head", frozen=("first",))
    late = Detector("late", detector.model, layer="second", size=12, head="head", frozen=("second",))
    for other in (twice, late):
        assert Trunk(other).shape is None
        with Explainer(other, METHODS) as explainer:
            assert explainer(images)["CAM"].maps.shape == (9, 12, 12)
        Trunk(other).write(tmp_path / "a.outputs", [images])
        assert (tmp_path / "a.outputs").stat().st_size == len(seals.SEAL)
        assert Trunk(other, tmp_path / "a.outputs").shape is None


@pytest.mark.parametrize(
    "frozen",
    [
        ("features.3",),
        ("classifier",),
        ("pool",),
        ("features.1", "features.0"),
        ("features", "features.0"),
        ("features.0", "features.0"),
    ],
)
def test_frozen_modules_that_do_not_take_the_image_one_after_another_are_no_trunk(toy, random, frozen):
    detector, images = toy(frozen=frozen), random.integers(0, 256, (2, 32, 32, 3), np.uint8)
    pixels = as_input(images, detector)
    assert Trunk(detector)(images, pixels) is pixels


@pytest.mark.parametrize("content", [b"", b"x", b"x" * (16 + 4 * 3 * 12 * 12 + 1)])
def test_a_damaged_file_is_named(detector, tmp_path, content):
    (tmp_path / "a.outputs").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.outputs: damaged, or of another detector"):
        Trunk(detector, tmp_path / "a.outputs")
    with pytest.raises(InputError, match=r"absent: no such file; `e2m frozen`"):
        Trunk(detector, tmp_path / "absent")


def test_explanations_do_not_depend_on_the_trunk(one_thread, tmp_path, random):
    """MobileNetV2: with outputs looked up, computed, and with the network as a whole."""
    images = random.integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    detector = load_detector("mobilenet_v2", pretrained=True, seed=3)
    Trunk(detector).write(tmp_path / "a.outputs", [images[:3]])
    whole = load_detector("mobilenet_v2", pretrained=True, seed=3)
    whole = Detector(**{**vars(whole), "frozen": ()})
    with Explainer(detector, METHODS, stored=tmp_path / "a.outputs") as explainer:
        shared = explainer(images)
    for method in METHODS:
        for other in (explain(detector, images, method), explain(whole, images, method)):
            np.testing.assert_allclose(shared[method].maps, other.maps, atol=1e-5)
            np.testing.assert_allclose(shared[method].scores, other.scores, atol=1e-5)


@pytest.mark.parametrize("method", sorted(set(plugins.names("method")) - {"masker", "oracle"}))
def test_no_method_notices_the_trunk(detector, images, method):
    """Score-CAM, for one, runs the network again on the input that it heard."""
    whole = Detector(**{**vars(detector), "frozen": ()})
    with Explainer(detector, (method,)) as one, Explainer(whole, (method,)) as other:
        shared, alone = one(images[:3])[method], other(images[:3])[method]
    np.testing.assert_allclose(shared.maps, alone.maps, atol=1e-5)
    np.testing.assert_allclose(shared.scores, alone.scores, atol=1e-5)


def test_a_method_that_reads_inside_the_trunk_runs_the_whole_network(detector, images, monkeypatch):
    """A hook inside the trunk sees the output of its module, not that of the trunk."""
    kept = []

    class Listening(torchcam.Method):
        def listen(self, on):
            super().listen(on)
            if on:
                self.handle = self.detector.model.first[0].register_forward_hook(lambda *call: kept.append(call[2]))
            else:
                self.handle.remove()

    monkeypatch.setattr(torchcam, "Method", Listening)
    with Explainer(detector, ("CAM",)) as explainer:
        explainer(images)
    torch.testing.assert_close(torch.cat(kept), detector.model.first[0](as_input(images, detector)))


def test_trainings_do_not_depend_on_the_file(one_thread, faces, tmp_path):
    samples = faces(n=4, size=112)
    settings = Settings(epochs=2, batch_size=4, learning_rate=0.01, flip=True, shift_px=2, copies=2)
    about = {"regime": "cyborg", "run": 0, "guided": True, "progress": False}
    curves, weights = {}, {}
    for name in ("computed", "stored"):
        detector = load_detector("mobilenet_v2", pretrained=True, seed=3)
        stored = None
        if name == "stored":
            stored, images = tmp_path / "a.outputs", Images(samples, detector)
            Trunk(detector).write(stored, [images.images, *images.copies(settings)])
        curves[name] = fit(
            detector, samples, samples, cyborg.loss, tmp_path / f"{name}.pt", settings, **about, stored=stored
        )
        weights[name] = detector.model.state_dict()
    pd.testing.assert_frame_equal(curves["computed"], curves["stored"], atol=1e-4)
    for name, tensor in weights["computed"].items():
        torch.testing.assert_close(tensor, weights["stored"][name], atol=1e-4, rtol=1e-4)
