"""Salience methods by hand, and one of a reader's own: 20 lines in a folder of theirs."""

import numpy as np
import pytest
import torch
from torch import nn

from e2m import explain, plugins
from e2m.arrays.maps import min_max
from e2m.methods import occlusion
from e2m.networks.inputs import as_input
from e2m.types import Detector, InputError
from tests.made import METHOD


@pytest.fixture
def linear():
    """A detector whose synthetic logit is a weighted sum of the pixels: every gradient is known."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    return Detector("linear", model.eval(), layer="0", size=16, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("method", ["IntegratedGradients", "GradientShap"])
def test_attributions_of_a_linear_network_are_weight_times_pixel(linear, images, method):
    weights = linear.model[2].weight.detach().numpy().reshape(2, 3, 16, 16)
    pixels = as_input(images, linear).numpy()
    for label, row in (("authentic", 0), ("synthetic", 1)):
        expected = np.abs((pixels * weights[row]).sum(axis=1))
        result = explain(linear, images, method, target=label)
        np.testing.assert_allclose(result.maps, min_max(expected), atol=1e-4)


def test_occlusion_by_hand(linear, images):
    with torch.no_grad():
        pixels = as_input(images, linear)
        clean = linear.model(pixels).softmax(1)[:, 1]
        raw = np.empty((3, 7, 7))
        for row in range(7):
            for column in range(7):
                hidden = pixels.clone()
                hidden[:, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] = 0
                raw[:, row, column] = clean - linear.model(hidden).softmax(1)[:, 1]
    assert (occlusion.PATCH * 16, occlusion.STRIDE * 16) == (4, 2)
    np.testing.assert_allclose(explain(linear, images, "occlusion", target=1).maps, min_max(raw), atol=1e-3)


@pytest.mark.parametrize("method", ["RISE", "GradientShap", "random"])
def test_random_methods_are_keyed_by_seed_and_image(toy, method):
    images, detector = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8), toy()
    # Without a bias, gradients are the same at every point on the way from 0 to an image.
    nn.init.constant_(detector.model.features[1].bias, -0.1)
    torch.manual_seed(3)
    first = explain(detector, images, method, target=1)
    torch.manual_seed(4)
    np.testing.assert_array_equal(explain(detector, images, method, target=1).maps, first.maps)
    turned = explain(detector, images[::-1].copy(), method, target=1, batch_size=1)
    np.testing.assert_allclose(turned.maps[::-1], first.maps, atol=2e-3)
    assert (explain(detector, images, method, target=1, seed=1).maps != first.maps).any(axis=(1, 2)).all()


MINE = METHOD.replace(".abs()", ".abs()[:, : forward.pixels.shape[2] // 2]")
"""Gradient times input, on the upper half of the image."""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder of plug-ins of a reader's own, with one salience method: half_gradient."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "half_gradient.py").write_text(MINE)
    monkeypatch.setenv("E2M_PLUGINS", str(tmp_path))
    import e2m.methods

    monkeypatch.setattr(e2m.methods, "__path__", list(e2m.methods.__path__))
    return tmp_path


def test_a_method_of_ones_own_is_found_by_name_and_may_be_rectangular(mine, linear, images):
    assert "half_gradient" in plugins.names("method")
    weights = linear.model[2].weight.detach().numpy().reshape(2, 3, 16, 16)
    expected = np.abs((as_input(images, linear).numpy() * weights[1]).sum(axis=1))[:, :8]
    result = explain(linear, images, "half_gradient", target="synthetic")
    assert result.maps.shape == (3, 8, 16)
    np.testing.assert_allclose(result.maps, min_max(expected), atol=1e-4)


def test_layer_and_input_methods_share_a_pass(mine, toy):
    from e2m.salience.engine import Explainer

    images, detector = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8), toy()
    with Explainer(detector, ["GradCAM", "half_gradient", "CAM"]) as explainer:
        together = explainer(images)
    for name, explanation in together.items():
        np.testing.assert_allclose(explanation.maps, explain(detector, images, name).maps, atol=1e-5)


def test_maps_of_another_shape_are_refused(mine, linear, images):
    code = MINE.replace(".abs()[:, : forward.pixels.shape[2] // 2]", ".abs()[0]")
    (mine / "methods" / "wrong_shape.py").write_text(code)
    with pytest.raises(InputError, match=r"'wrong_shape' gave maps of shape \(16, 16\) for 3 images"):
        explain(linear, images, "wrong_shape")


def test_profiles_are_checked_without_torch():
    """Names of methods are found by importing their files."""
    import subprocess
    import sys

    code = "from e2m import plugins\nplugins.names('method')\nimport sys\nprint('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


PATCH = (slice(8, 16), slice(16, 24))


class PatchReader(nn.Module):
    """Synthetic where one patch of 32 px images is bright."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([-1.0, 1.0]))
        self.cells = nn.AvgPool2d(4)

    def forward(self, images):
        self.cells(images)
        return images[:, :, *PATCH].mean((1, 2, 3))[:, None] * self.gain


@pytest.fixture
def reader(one_thread):
    half = (0.5,) * 3
    return Detector("reader", PatchReader().eval(), "cells", 32, mean=half, std=(0.25,) * 3)


@pytest.fixture
def patched(random):
    """One image whose patch is bright, one whose patch is dark."""
    images = random.integers(100, 156, (2, 32, 32, 3), np.uint8)
    images[0][PATCH], images[1][PATCH] = 250, 10
    return images


def test_rise_finds_what_the_decision_rests_on(reader, patched):
    result = explain(reader, patched, "RISE", np.array([1, 0])).maps
    assert result.shape == (2, 8, 8)
    assert (result[:, 2:4, 4:6].mean((1, 2)) > 2 * result.mean((1, 2))).all()
    np.testing.assert_array_equal(result, explain(reader, patched, "RISE", np.array([1, 0])).maps)


LAYERED = '''
"""Grad-CAM without TorchCAM."""

from e2m.methods import Method as Base


class Method(Base):
    """``relu(sum of mean gradient times feature)``."""

    needs = "layer"

    def maps(self, forward, classes, logits):
        gradient = forward.gradient(logits.gather(1, classes[:, None]).sum())
        return (gradient.mean((2, 3), keepdim=True) * forward.features).sum(1).relu()
'''


@pytest.mark.parametrize("name", ["toy", "timm:vit_tiny_patch16_224"])
def test_a_method_that_needs_the_layer_reads_its_gradient(mine, toy, name):
    from e2m import load_detector

    (mine / "methods" / "layered.py").write_text(LAYERED)
    detector = toy() if name == "toy" else load_detector(name, seed=0)
    images = np.random.default_rng(1).integers(0, 256, (3, detector.size, detector.size, 3), np.uint8)
    for target in ("synthetic", "authentic"):
        expected = explain(detector, images, "GradCAM", target)
        np.testing.assert_allclose(explain(detector, images, "layered", target).maps, expected.maps, atol=1e-4)


def test_what_a_method_needs_is_checked(mine, toy):
    (mine / "methods" / "misspelt.py").write_text(LAYERED.replace('"layer"', '"layr"'))
    images = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(InputError, match=r"'misspelt' needs 'layr'; \"layer\", \"input\" or \"\" for nothing fits"):
        explain(toy(), images, "misspelt")


def test_regions_are_counted(toy):
    images = np.zeros((2, 32, 32, 3), np.uint8)
    with pytest.raises(InputError, match="3 regions for 2 images"):
        explain(toy(), images, "oracle", regions=np.zeros((3, 32, 32), bool))
