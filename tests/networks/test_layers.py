"""The layer of networks that nobody described: found, reshaped to a grid, and explained."""

import numpy as np
import pytest
import torch
from torch import nn

from e2m import explain, load_detector
from e2m.networks import layers
from e2m.networks.inputs import as_input
from e2m.types import Detector, InputError

FAMILIES = [
    # name, layer, cells, leading tokens, whether CAM fits
    ("resnet18", "layer4", (7, 7), 0, True),
    ("densenet121", "features", (7, 7), 0, True),
    ("test_efficientnet", "bn2", (5, 5), 0, True),
    ("convnext_atto", "norm_pre", (7, 7), 0, False),  # normalises between pooling and head
    ("vit_tiny_patch16_224", "blocks.11.norm1", (14, 14), 1, False),
    ("deit_tiny_distilled_patch16_224", "blocks.11.norm1", (14, 14), 2, False),
    ("eva02_tiny_patch14_224", "norm", (16, 16), 1, False),
    ("swin_tiny_patch4_window7_224", "norm", (7, 7), 0, True),
    ("maxvit_rmlp_pico_rw_256", "norm", (8, 8), 0, True),
    ("mixer_s32_224", "norm", (7, 7), 0, True),
]


@pytest.mark.parametrize(("name", "layer", "grid", "prefix", "cam"), FAMILIES)
def test_families_of_timm(one_thread, capsys, name, layer, grid, prefix, cam):
    detector = load_detector(f"timm:{name}", seed=0)
    said = capsys.readouterr().err
    assert f"salience is read from {layer} ({grid[0]}x{grid[1]} cells of " in said
    assert (f"{prefix} leading token" in said) == (prefix > 0)
    assert (detector.layer, detector.head is not None) == (layer, cam)
    images = np.random.default_rng(0).integers(0, 256, (2, detector.size, detector.size, 3), np.uint8)
    result = explain(detector, images, "LayerCAM")
    assert result.maps.shape == (2, *grid)
    if name != "mixer_s32_224":  # whose fresh head is all zeros
        assert not result.dead.any()


def test_tokens_by_hand():
    output = torch.arange(2 * 7 * 1.0).reshape(2, 7, 1)  # one class token, then two rows of three cells
    grid = layers.tokens(output, prefix=1, grid=(2, 3))
    assert grid.shape == (2, 1, 2, 3)
    assert grid[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert layers.channels_last(torch.zeros(1, 2, 3, 4)).shape == (1, 4, 2, 3)


class Transformer(nn.Module):
    """Class token and cells mixed once; the head reads the class token, or the mean of all cells."""

    def __init__(self, pooled):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.last = nn.LayerNorm(8), nn.LayerNorm(8)
        self.head, self.pooled = nn.Linear(8, 2), pooled

    def forward(self, images):
        cells = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.token.expand(len(cells), -1, -1), cells], 1))
        mixed = self.last(tokens + self.mix(tokens, tokens, tokens, need_weights=False)[0])
        return self.head(mixed[:, 1:].mean(1) if self.pooled else mixed[:, 0])


@pytest.mark.parametrize(("pooled", "layer"), [(False, "norm"), (True, "last")])
def test_a_layer_whose_cells_change_nothing_is_passed_over(pooled, layer):
    torch.manual_seed(0)
    detector = Detector("toy", Transformer(pooled).eval(), layer="", size=16)
    result = layers.find(detector, [8])
    assert (result.name, result.grid, result.prefix) == (layer, (4, 4), 1)
    assert str(result) == f"{layer} (4x4 cells of 8 channels, 1 leading token dropped)"


def test_the_maps_of_tokens_are_those_of_the_formula():
    torch.manual_seed(0)
    detector = Detector("toy", Transformer(True).eval(), layer="", size=16)
    layer = layers.find(detector, [8])
    detector = Detector("toy", detector.model, layer.name, 16, reshape=layer.reshape)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    # Behind the layer come the mean over cells and the head: the gradient is the head's row over the number of cells.
    kept = []
    hook = detector.model.last.register_forward_hook(lambda *about: kept.append(about[2]))
    detector.model(as_input(images, detector))
    hook.remove()
    cells = kept[0][:, 1:].unflatten(1, (4, 4)).detach()
    raw = (cells @ detector.model.head.weight[1]).relu().detach().numpy()
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    result = explain(detector, images, "GradCAM", target="synthetic").maps
    np.testing.assert_allclose(result, (raw - low) / (high - low), atol=1e-5)


def test_a_network_without_a_grid_is_refused_with_its_outputs(toy):
    with pytest.raises(
        InputError, match=r"no layer with a grid of 7 features a cell; the last outputs are .*classifier"
    ):
        layers.find(toy(), [7])


def test_the_network_is_as_it_was(toy):
    detector = toy()
    detector.model.train()
    with torch.no_grad():
        detector.model.classifier.weight.zero_()
    layers.find(detector, [8])
    assert detector.model.training
    assert not detector.model.classifier.weight.any()
    assert not any(module._forward_hooks for module in detector.model.modules())
