"""Training images: their order in an epoch, and augmentation, by literal oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop

from e2m.training.images import Images, as_share, augment, draw
from e2m.training.settings import Settings


@hypothesis_settings(deadline=None)
@given(n=st.integers(1, 30), share=st.floats(0.1, 0.9), batch=st.integers(2, 8), seed=st.integers(0, 9))
def test_every_image_is_shown_once(n, share, batch, seed):
    classes = (np.arange(n) < share * n).astype(int)
    batches = list(draw(classes, Settings(batch_size=batch), np.random.default_rng(seed)))
    rows = np.concatenate([np.zeros(0, int), *batches])
    # A last batch of one image is kept: CYBORG's 1,821 images in batches of 20 are 92 batches.
    assert [len(one) for one in batches] == [batch] * (n // batch) + [n % batch] * (n % batch > 0)
    assert sorted(rows) == list(range(n))


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


def test_batches_are_drawn_from_the_copies(toy, faces, random):
    """With two copies of each image, every image of a batch is one of its two, and each is drawn; so are human maps."""
    settings = Settings(flip=True, shift_px=3, copies=2)
    detector, data = toy(), faces()
    images = Images(data, detector, human_shape=(detector.size, detector.size))
    copies = np.stack(list(images.copies(settings)), axis=1)
    assert copies.shape == (len(data), 2, detector.size, detector.size, 3)
    assert not np.array_equal(copies[:, 0], copies[:, 1])
    # The map of an image is the image's own first channel, so that a map moves like its image.
    images.human = images.images[..., 0]
    drawn = set()
    device = torch.device("cpu")
    for _ in range(8):
        rows = random.permutation(len(data))
        batch, classes, human = images.batch(rows, settings, random, device)
        assert classes.tolist() == images.classes[rows].tolist()
        for row, pixels, map_ in zip(rows, batch, human, strict=True):
            matches = [torch.equal(pixels, images.as_input(copies[row, k : k + 1], device)[0]) for k in range(2)]
            assert any(matches)
            drawn |= {(row, k) for k in range(2) if matches[k]}
            assert any(torch.equal(map_, as_share(copies[row, k, ..., 0], device)) for k in np.flatnonzero(matches))
    assert len(drawn) == 2 * len(data)


def test_copies_are_those_of_every_run(toy, faces):
    settings = Settings(flip=True, shift_px=3, copies=3)
    data = faces()
    one, other = (Images(data, toy(seed=seed), seed=seed) for seed in (1, 2))
    for first, second in zip(
        one.copies(settings), other.copies(Settings(**{**vars(settings), "seed": 9})), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_human_maps_go_straight_to_the_size_of_the_features(toy, faces):
    """Without augmentation that moves them, maps are resized once, by PIL's bilinear filter, as in CYBORG."""
    data = faces()
    data["salience"] = data["path"].str.replace("png", "map.png")
    for path in data["salience"]:
        Image.fromarray(np.random.default_rng(len(path)).integers(0, 256, (40, 40), np.uint8)).save(path)
    images = Images(data, toy(), human_shape=(7, 7))
    for map_, path in zip(images.human, data["salience"], strict=True):
        with Image.open(path) as file:
            np.testing.assert_array_equal(map_, np.asarray(file.resize((7, 7), Image.Resampling.BILINEAR)))


def test_image_and_human_map_are_cropped_together(random):
    """A gradient of both directions names the window that each image shows; the map shows the same one."""
    rows, columns = np.mgrid[0:240:40j, 0:240:40j]
    images = np.repeat(np.stack([rows, columns, rows], -1).astype(np.uint8)[None], 60, 0)
    torch.manual_seed(0)
    cropped, maps = augment(images, images[..., 1].astype(np.float32), Settings(crop_min_share=0.25), random)
    assert cropped.shape == images.shape
    np.testing.assert_allclose(maps, cropped[..., 1], atol=1.5)
    spans = cropped.reshape(60, -1, 3).max(1).astype(float) - cropped.reshape(60, -1, 3).min(1)
    high, wide = (spans[:, channel] / 240 for channel in (0, 1))
    areas, ratios = high * wide, wide / high
    assert 0.2 < areas.min() < 0.4
    assert 0.85 < areas.max() <= 1
    assert 0.68 < ratios.min() < 0.9
    assert 1.1 < ratios.max() < 1.45


def test_a_crop_is_torchvisions(random):
    """The same window and the same pixels as ``RandomResizedCrop`` on the picture."""

    images = random.integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    torch.manual_seed(7)
    cropped, _ = augment(images, None, Settings(crop_min_share=0.08), random)
    torch.manual_seed(7)
    theirs = RandomResizedCrop(24, interpolation=InterpolationMode.BILINEAR)
    for image, ours in zip(images, cropped, strict=True):
        np.testing.assert_array_equal(ours, np.asarray(theirs(Image.fromarray(image))))
