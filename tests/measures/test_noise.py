"""Measure (b)."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from e2m.measures.noise import AMOUNTS, distance_to_mean, perturbations, salt_and_pepper
from e2m.types import InputError


def random_images(seed, count=3, side=24):
    return np.random.default_rng(seed).integers(1, 255, (count, side, side, 3), np.uint8)  # neither 0 nor 255


@pytest.mark.parametrize("amount", AMOUNTS)
def test_half_salt_and_half_pepper_in_every_channel(amount):
    images = random_images(0, side=100)
    noisy = salt_and_pepper(images, amount, seed=1)
    for value in (0, 255):
        shares = (noisy == value).mean(axis=(1, 2))  # of 10,000 values: standard deviation at most 0.005
        assert np.abs(shares - amount / 2).max() < 0.03
    kept = (noisy != 0) & (noisy != 255)
    assert (noisy[kept] == images[kept]).all()
    assert kept.all() == (amount == 0)


def test_channels_differ():
    grey = np.full((1, 50, 50, 3), 128, np.uint8)
    noisy = salt_and_pepper(grey, 0.5, seed=0)[0]
    assert (noisy[..., 0] != noisy[..., 1]).mean() > 0.3


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 6), st.floats(0, 1))
def test_noise_belongs_to_the_image(seed, count, amount):
    images = random_images(seed, count, side=8)
    before = images.copy()
    noisy = salt_and_pepper(images, amount, seed)
    order = np.random.default_rng(seed).permutation(count)
    assert (salt_and_pepper(images[order], amount, seed) == noisy[order]).all()
    assert (salt_and_pepper(images[:1], amount, seed) == noisy[:1]).all()
    assert (images == before).all()


def test_another_seed_amount_or_image_gives_other_noise():
    images = random_images(0, 1)
    noise = salt_and_pepper(images, 0.5, 0) != images
    other = images.copy()
    other[0, 0, 0, 0] ^= 1
    assert ((salt_and_pepper(images, 0.5, 1) != images) != noise).any()
    assert ((salt_and_pepper(other, 0.5, 0) != other) != noise).mean() > 0.3
    smaller = salt_and_pepper(images, 0.25, 0) != images
    assert (smaller & ~noise).any()


def test_the_type_of_an_amount_changes_no_pixel(monkeypatch):
    """A draw that equals the amount in single precision, but not in double precision."""
    images = random_images(0)
    draws = SimpleNamespace(random=lambda shape, kind: np.full(shape, np.float32(0.7), kind))
    monkeypatch.setattr(np.random, "default_rng", lambda seed: draws)
    assert (salt_and_pepper(images, np.float64(0.7), 0) == salt_and_pepper(images, 0.7, 0)).all()


def test_changes_leave_out_the_clean_image():
    images = random_images(0)
    results = list(perturbations(images, {}, seed=3))
    assert [float(change.level) for change in results] == list(AMOUNTS[1:])
    for change in results:
        assert (change.guide, change.region, change.valid) == ("", "", None)
        assert (change.images == salt_and_pepper(images, float(change.level), 3)).all()


def test_distance_to_the_mean_map():
    maps, known = (np.random.default_rng(seed).random((4, 7, 7)) for seed in (0, 1))
    known[2] = np.nan
    maps[3] = 0.5
    maps, known = (stack / stack.max(axis=(1, 2), keepdims=True) for stack in (maps, known))
    eight_bits = (known[[0, 1, 3]].astype(np.float32) * np.float32(255)).astype(np.uint8)
    mean = np.floor(eight_bits.sum(axis=0, dtype=int) / 3).astype(np.uint8)
    results = distance_to_mean(maps, known)
    expected = [
        1 - structural_similarity((m.astype(np.float32) * np.float32(255)).astype(np.uint8), mean) for m in maps[:3]
    ]
    assert np.abs(results[:3] - expected).max() < 1e-9
    assert np.isnan(results[3])
    assert (distance_to_mean(maps[:1], known[::-1]) == results[:1]).all()
    assert distance_to_mean(eight_bits[:1], eight_bits[:1])[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("amount", [-0.1, 1.5, np.nan])
def test_amounts_are_shares(amount):
    with pytest.raises(InputError, match="from 0 to 1"):
        salt_and_pepper(random_images(0), amount, 0)
    with pytest.raises(InputError, match="from 0 to 1"):
        list(perturbations(random_images(0), {}, (amount,)))


def test_input_that_does_not_fit():
    with pytest.raises(InputError, match="uint8"):
        salt_and_pepper(random_images(0) / 255, 0.1, 0)
    with pytest.raises(InputError, match=r"\(N, H, W, 3\)"):
        salt_and_pepper(random_images(0)[0], 0.1, 0)
    with pytest.raises(InputError, match="none of the 2"):
        distance_to_mean(np.random.default_rng(0).random((1, 7, 7)), np.zeros((2, 7, 7)))
    with pytest.raises(InputError, match="7 x 7 and 8 x 8"):
        distance_to_mean(np.eye(8)[None], np.eye(7)[None])
