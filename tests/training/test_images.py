"""Training images: their order in an epoch, and augmentation, by literal oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from e2m.training.images import as_share, augment, draw
from e2m.training.settings import Settings


@hypothesis_settings(deadline=None)
@given(n=st.integers(1, 30), share=st.floats(0.1, 0.9), batch=st.integers(2, 8), seed=st.integers(0, 9))
def test_every_image_is_shown_once(n, share, batch, seed):
    classes = (np.arange(n) < share * n).astype(int)
    batches = list(draw(classes, Settings(batch_size=batch), np.random.default_rng(seed)))
    rows = np.concatenate([np.zeros(0, int), *batches])
    assert all(2 <= len(one) <= batch for one in batches)
    assert len(set(rows)) == len(rows)
    assert n - len(rows) == (n % batch == 1)


def test_draws_hold_half_of_each_class_and_repeat_only_when_all_were_shown(random):
    classes = np.array([0] * 3 + [1] * 20)
    batches = list(draw(classes, Settings(batch_size=4, images_per_epoch=16), random))
    counts = np.bincount(np.concatenate(batches), minlength=23)
    assert (sum(counts[:3]), sum(counts[3:])) == (8, 8)
    assert set(counts[:3]) == {2, 3}
    assert set(counts[3:]) == {0, 1}


def test_image_and_human_map_move_together(random):
    """A marked pixel of each image lies where the marked pixel of its map lies, in another place each time."""
    images, human = np.zeros((40, 9, 9, 3), np.uint8), np.zeros((40, 9, 9), np.float32)
    images[:, 4, 3], human[:, 4, 3] = 255, 1
    moved, maps = augment(images, human, Settings(flip=True, shift_px=2), random)
    pixels = np.argwhere(maps == 1)
    np.testing.assert_array_equal(pixels, np.argwhere(moved[..., 1] == 255))
    assert pixels[:, 0].tolist() == list(range(40))
    rows, columns = pixels[:, 1], pixels[:, 2]
    assert set(rows) == set(range(2, 7))  # 4, and two up or down
    assert set(columns) == set(range(1, 8))  # 3 or, mirrored, 5, and two left or right


def test_borders_are_replicated_and_nothing_moves_unasked(random):
    images = random.integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
    still, none = augment(images, None, Settings(), random)
    np.testing.assert_array_equal(still, images)
    assert none is None
    moved, _ = augment(images, None, Settings(shift_px=3), random)
    for before, after in zip(images, moved, strict=True):
        padded = np.pad(before, ((3, 3), (3, 3), (0, 0)), mode="edge")
        windows = [padded[top : top + 6, left : left + 6] for top in range(7) for left in range(7)]
        assert any(np.array_equal(after, window) for window in windows)


def test_settings_that_are_off_draw_nothing(random):
    """Batches of settings without turns and noise, as they were before there were any."""
    images = random.integers(0, 256, (9, 6, 6, 3), dtype=np.uint8)
    for settings in (Settings(), Settings(flip=True, shift_px=2)):
        ours, plain = np.random.default_rng(3), np.random.default_rng(3)
        augmented, _ = augment(images, None, settings, ours)
        flips = plain.random(9) < 0.5 if settings.flip else np.zeros(9, bool)
        reach = settings.shift_px
        for image, moved, flip, (down, right) in zip(
            images, augmented, flips, plain.integers(-reach, reach + 1, (9, 2)), strict=True
        ):
            wide = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
            window = wide[reach - down :, reach - right :][:6, :6]
            np.testing.assert_array_equal(moved, window[:, ::-1] if flip else window)
        assert ours.random() == plain.random()


def test_image_and_human_map_turn_together(random):
    images = random.integers(0, 256, (40, 5, 5, 3), dtype=np.uint8)
    turned, maps = augment(images, images[..., 0], Settings(turns=True), random)
    np.testing.assert_array_equal(turned[..., 0], maps)
    kinds = [
        [np.array_equal(one, np.rot90(image, k)) for k in range(4)] for image, one in zip(images, turned, strict=True)
    ]
    assert [sum(kind) for kind in kinds] == [1] * 40
    assert np.any(kinds, axis=0).all()


def test_noise_is_salt_and_pepper_on_some_values_of_half_of_the_images(random):
    images = np.full((400, 12, 12, 3), 100, np.uint8)
    noisy, maps = augment(images, images[..., 0], Settings(noise=0.3), random)
    assert set(np.unique(noisy)) == {0, 100, 255}
    assert (maps == 100).all()
    shares = (noisy != 100).mean(axis=(1, 2, 3))
    assert 0.4 < np.mean(shares == 0) < 0.6
    assert 0.25 < shares.max() < 0.36
    assert shares.mean() == pytest.approx(0.3 / 4, abs=0.015)
    assert np.sum(noisy == 0) == pytest.approx(np.sum(noisy == 255), rel=0.1)


def test_maps_become_shares():
    assert as_share(np.array([[[0, 51, 255]]], np.uint8), torch.device("cpu")).tolist() == [
        [[0, pytest.approx(0.2), 1]]
    ]
    assert as_share(np.array([[[0.5]]], np.float32), torch.device("cpu")).tolist() == [[[0.5]]]
