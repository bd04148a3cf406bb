"""Networks in TorchScript and ONNX: their scores, and the salience of black boxes."""

import numpy as np
import pytest
import torch

from e2m import InputError, explain, load_detector
from e2m.networks import opaque


@pytest.fixture
def images(random):
    return random.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def script(toy, tmp_path):
    torch.jit.save(torch.jit.trace(toy(seed=3).model, torch.zeros(1, 3, 32, 32)), tmp_path / "a.pt")
    return tmp_path / "a.pt"


@pytest.mark.parametrize("method", ["occlusion", "RISE"])
def test_torchscript_as_weights(toy, script, images, method):
    from dataclasses import replace

    loaded, whole = load_weights_into(toy(seed=0), script), toy(seed=3)
    assert (loaded.layer, loaded.head) == ("", None)
    expected, result = (explain(one, images, method) for one in (replace(whole, layer="", head=None), loaded))
    np.testing.assert_allclose(result.logits, expected.logits, atol=1e-6)
    np.testing.assert_allclose(result.maps, expected.maps, atol=1e-4)
    assert result.maps.shape == (3, 7, 7)


def load_weights_into(detector, path):
    from e2m.networks.checkpoints import load_weights

    return load_weights(detector, path)


def test_torchscript_as_a_detector(toy, script, images, capsys):
    detector = load_detector(str(script), size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert "occlusion and RISE alone" in capsys.readouterr().err
    expected = explain(toy(seed=3, mean=(0.5,) * 3, std=(0.5,) * 3), images).logits
    np.testing.assert_allclose(explain(detector, images, "occlusion").logits, expected, atol=1e-6)
    again = explain(
        load_detector(torch.jit.load(script), size=32, mean=(0.5,) * 3, std=(0.5,) * 3), images, "occlusion"
    )
    np.testing.assert_allclose(again.logits, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["GradCAM", "CAM", "ScoreCAM", "GradCAMpp"])
def test_methods_that_look_inside_are_refused(toy, script, images, method):
    with pytest.raises(InputError, match=r"shows its scores only; use occlusion or RISE|CAM needs"):
        explain(load_weights_into(toy(), script), images, method)


def test_a_file_of_weights_is_no_network(toy, tmp_path):
    torch.save(toy().model.state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: holds no network by itself; name the network, and give this file as"):
        load_detector(str(tmp_path / "a.pt"))


def test_torchscript_with_a_layer_is_refused(script, images):
    from e2m.types import Detector

    with pytest.raises(InputError, match='its network shows its scores only; give layer=""'):
        explain(Detector("a", opaque.read(script), layer="features", size=32), images)


def test_onnx_without_onnxruntime_says_how(toy, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07")
    with pytest.raises(InputError, match=r"a\.onnx: reading ONNX takes the package onnxruntime; pip install"):
        load_weights_into(toy(), tmp_path / "a.onnx")


class Session:
    """What onnxruntime gives for a network of one logit a channel's mean, with a fixed batch or channels last."""

    def __init__(self, shape, kind="tensor(float)", returned="tensor(float)"):
        self.shape, self.kind, self.returned, self.batches = shape, kind, returned, []

    def get_inputs(self):
        from types import SimpleNamespace

        return [SimpleNamespace(name="x", shape=self.shape, type=self.kind)]

    def get_outputs(self):
        from types import SimpleNamespace

        names = {"logits": self.returned, "features": self.returned, "words": "seq(map(string,tensor(float)))"}
        return [SimpleNamespace(name=name, type=kind) for name, kind in names.items()]

    def run(self, names, inputs):
        assert names == ["logits", "features"]
        (values,) = inputs.values()
        types = {"float16": "tensor(float16)", "float32": "tensor(float)", "float64": "tensor(double)"}
        assert types[str(values.dtype)] == self.kind
        for side, wanted in zip(values.shape, self.shape, strict=True):
            assert side == wanted or isinstance(wanted, str)
        self.batches.append(len(values))
        axes = (1, 2) if values.shape[3] == 3 else (2, 3)
        return [values.mean(axes)[:, :2], values]


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        (["n", 3, 32, 32], [3]),
        (["n", 32, 32, 3], [3]),
        ([1, 3, 32, 32], [1, 1, 1]),
        ([2, 32, 32, 3], [2, 2]),
    ],
)
def test_onnx_of_any_layout_and_batch(tmp_path, shape, parts):
    (tmp_path / "a.onnx").write_bytes(b"\x08")
    session = Session(shape)
    network = opaque._session(session, tmp_path / "a.onnx")
    pixels = torch.rand(3, 3, 32, 32)
    answers = network(pixels)
    assert session.batches == parts
    torch.testing.assert_close(answers["logits"], pixels.mean((2, 3))[:, :2])
    assert (network.input_shape, network.input_channels) == ((32, 32), 3)
    detector = load_detector(network)
    assert (detector.size, detector.layer) == (32, "")
    with pytest.raises(InputError, match="IntegratedGradients takes gradients, which 'Opaque' does not give"):
        explain(detector, np.zeros((1, 32, 32, 3), np.uint8), "IntegratedGradients")


@pytest.mark.parametrize("kind", ["tensor(float16)", "tensor(double)"])
def test_onnx_of_another_precision_gets_images_in_it(tmp_path, kind):
    (tmp_path / "a.onnx").write_bytes(b"\x08")
    network = opaque._session(Session([2, 3, 32, 32], kind, kind), tmp_path / "a.onnx")
    pixels = torch.rand(3, 3, 32, 32)
    answers = network(pixels)["logits"]
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers, pixels.mean((2, 3))[:, :2], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (Session([2, 3, 32, 32], "tensor(uint8)"), r"a\.onnx: takes numbers of type tensor\(uint8\); .* fit: export"),
        (Session([2, 3, 32, 32], returned="tensor(int64)"), r"a\.onnx: returns logits tensor\(int64\), .*; an image"),
        (Session([2, 32]), r"a\.onnx: its input has the shape \(2, 32\); \(images, channels, h, w\) fits"),
    ],
)
def test_onnx_of_other_numbers_is_refused(tmp_path, session, words):
    with pytest.raises(InputError, match=words):
        opaque._session(session, tmp_path / "a.onnx")


def test_onnx_gives_the_scores_of_the_network(toy, tmp_path, images):
    torch.onnx.export(toy(seed=3).model, (torch.zeros(1, 3, 32, 32),), tmp_path / "a.onnx", external_data=False)
    expected = explain(toy(seed=3), images).logits
    detector = load_weights_into(toy(), tmp_path / "a.onnx")
    np.testing.assert_allclose(explain(detector, images, "occlusion").logits, expected, atol=1e-5)
