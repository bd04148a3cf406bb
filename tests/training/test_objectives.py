"""Objectives of maskers by hand, and in-fills by their definitions."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from e2m.training import settings
from e2m.training.objectives import INFILLS, mask_in_loss, mask_out_loss, shown, total_variation


def masks(*means):
    return torch.stack([torch.full((1, 4, 4), mean) for mean in means])


def test_mask_in_by_hand():
    """Two images, the first recognised in what is shown; the mask of the first is small, that of the second is not."""
    logits, classes = torch.tensor([[0.0, np.log(3)], [0.0, np.log(3)]]), torch.tensor([1, 0])
    entropy = -(np.log(0.75) + np.log(0.25)) / 2
    assert mask_in_loss(logits, classes, masks(0.2, 0.9), 0).item() == pytest.approx(entropy)
    small = 2 * (1 - 0.2) / 2
    assert mask_in_loss(logits, classes, masks(0.2, 0.9), 2).item() == pytest.approx(entropy - small, abs=1e-6)


def test_mask_out_by_hand():
    """Correct and then fooled, correct and still so, wrong and then fooled, correct and fooled by a full mask."""
    correct, classes = torch.tensor([True, True, False, True]), torch.tensor([1, 1, 1, 1])
    logits = torch.tensor([[np.log(3), 0.0], [0.0, np.log(3)], [np.log(3), 0.0], [np.log(3), 0.0]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    mask = masks(0.4, 0.1, 0.1, 1.0)
    assert mask_out_loss(logits, classes, correct, mask, 0).item() == pytest.approx(-3 * entropy / 4)
    assert mask_out_loss(logits, classes, correct, mask, 10).item() == pytest.approx(-3 * entropy / 4 - 10 * 0.6 / 4)


def test_total_variation_by_hand():
    mask = torch.tensor([[[[0.0, 1.0], [0.5, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    steps = 0.5**2 + 1 + 1 + 0.5**2  # down left, down right, across top, across bottom
    edges = 1 + 0.5**2 + 0.5**2 + 1  # top, bottom, left, right
    assert total_variation(mask).item() == pytest.approx((steps + 0.3 * edges) / (2 * 2))


# In-fills


def test_settings_name_every_infill():
    assert list(INFILLS) == settings.INFILLS


@pytest.mark.parametrize("name", INFILLS)
def test_what_is_shown_is_the_image_and_the_rest_is_not(name):
    images = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(shown(images, torch.ones(2, 1, 28, 28), name), images)
    share = torch.zeros(2, 1, 28, 28)
    share[..., :14] = 1
    half = shown(images, share, name)
    assert torch.equal(half[..., :14], images[..., :14])
    assert not torch.isclose(half[..., 14:], images[..., 14:]).any(dim=(0, 1, 2)).all()


def test_infills_by_their_definitions():
    images, share = torch.randn(2, 3, 56, 56) + torch.tensor([0.0, 5, -5])[:, None, None], torch.rand(2, 1, 56, 56)
    assert INFILLS["zeros"](images, share).abs().max() == 0
    expected = images.numpy().mean((2, 3), keepdims=True)
    np.testing.assert_allclose(INFILLS["mean"](images, share), expected, atol=1e-5)
    blurred = gaussian_filter(images.double().numpy(), (0, 0, 5, 5), mode="mirror", truncate=3)
    np.testing.assert_allclose(INFILLS["blur"](images, share), blurred, atol=1e-4)
    torch.manual_seed(0)
    noise = INFILLS["noise"](images, share)
    np.testing.assert_allclose(noise.mean((2, 3)), images.mean((2, 3)), atol=0.1)
    np.testing.assert_allclose(noise.std((2, 3)), images.std((2, 3)), atol=0.1)
