"""Measure (a)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import shannon_entropy

from e2m.measures import entropy
from e2m.measures.entropy import entropy_bits, grey_level_entropy, spatial_entropy
from e2m.types import InputError

REFERENCE = np.load("tests/data/reference.npz")
SEEDS = st.integers(0, 2**32)


def maps_of(seed, count=4, side=7):
    return np.random.default_rng(seed).random((count, side, side))


def test_grey_levels_worked_by_hand():
    levels = np.repeat(np.arange(21), [25, 4, 2, *[1] * 18]).astype(np.uint8)  # 49 pixels: 25, 4, 2 and 18 times 1
    counts = np.array([25, 4, 2, *[1] * 18]) / 49
    by_hand = -sum(p * np.log2(p) for p in counts)
    map_ = levels.reshape(1, 7, 7)
    assert entropy_bits(map_)[0] == pytest.approx(by_hand, abs=1e-12) == pytest.approx(3.0413, abs=1e-4)
    assert grey_level_entropy(map_)[0] == pytest.approx(0.542, abs=5e-4)


def test_spatial_worked_by_hand():
    map_ = np.zeros((1, 4, 4))
    map_[0, 0, :3] = 0.5, 0.25, 0.25  # 1.5 bits of 4
    assert spatial_entropy(map_)[0] == pytest.approx(1.5 / 4)


def test_published_bits():
    maps = REFERENCE["maps7"]
    assert np.abs(entropy_bits(maps) - REFERENCE["entropy_bits"]).max() < 1e-6
    assert np.abs(grey_level_entropy(maps) - REFERENCE["entropy_bits"] / np.log2(49)).max() < 1e-6


@pytest.mark.parametrize("shape", [(6, 7, 7), (6, 8, 8), (3, 24, 20)])
def test_oracles(shape):
    maps = np.random.default_rng(0).random(shape) ** 3
    full = maps / maps.max(axis=(1, 2), keepdims=True)
    grey = (full.astype(np.float32) * np.float32(255)).astype(np.uint8)
    assert np.abs(entropy_bits(maps) - [shannon_entropy(map_) for map_ in grey]).max() < 1e-9
    assert (entropy_bits(grey) == entropy_bits(maps)).all()
    for map_, value in zip(maps, spatial_entropy(maps), strict=True):
        p = map_.ravel() / map_.sum()
        assert value == pytest.approx(-sum(x * np.log2(x) for x in p) / np.log2(p.size), abs=1e-12)


@pytest.mark.parametrize("side", [7, 10, 16, 32])
def test_one_when_levels_are_used_as_evenly_as_can_be(side):
    levels = (np.arange(side * side) % 256).astype(np.uint8).reshape(1, side, side)
    assert grey_level_entropy(levels)[0] == pytest.approx(1, abs=1e-12)


def test_spatial_grows_as_mass_spreads():
    single = np.zeros((7, 7))
    single[2, 3] = 1
    spread = [single * (1 - share) + share / 2 for share in (0, 0.01, 0.1, 0.3, 0.6, 0.9)]
    values = spatial_entropy(np.stack(spread))
    assert values[0] == 0
    assert (np.diff(values) > 0).all()
    assert values[-1] < 1


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 6), st.integers(2, 20))
def test_bounds_batches_and_shuffles(seed, count, side):
    maps = maps_of(seed, count, side)
    shuffled = np.random.default_rng(seed).permuted(maps.reshape(count, -1), axis=1).reshape(maps.shape)
    assert (grey_level_entropy(shuffled) == grey_level_entropy(maps)).all()
    for variant, values in entropy.measure(maps).items():
        assert (values >= 0).all(), variant
        assert (values <= 1).all(), variant
        assert (entropy.measure(maps[::-1])[variant] == values[::-1]).all()
        alone = [float(entropy.measure(map_[None])[variant][0]) for map_ in maps]
        assert alone == values.tolist()


def test_chunks_change_nothing(monkeypatch):
    maps = maps_of(0, count=50)
    whole = entropy.measure(maps)
    monkeypatch.setattr(entropy, "_CHUNK", 7 * 256)
    assert all((entropy.measure(maps)[variant] == whole[variant]).all() for variant in whole)


def test_dead_maps_have_no_entropy():
    maps = maps_of(0, count=6)
    maps[1], maps[2], maps[4] = 0, 0.5, np.nan
    maps[5, 0, 0] = np.nan
    for values in entropy.measure(maps).values():
        assert np.isnan(values).tolist() == [False, True, True, False, True, True]
    nearly = np.ones((1, 7, 7))
    nearly[0, 0, 0] -= 1e-9  # constant as an 8-bit image
    assert np.isnan(grey_level_entropy(nearly)).all()
    faint = np.zeros((1, 7, 7))
    faint[0, 0, 0] = 0.003
    assert grey_level_entropy(faint) == grey_level_entropy(faint > 0)
    assert spatial_entropy(faint) == 0
    assert np.isnan(entropy.measure(np.ones((1, 1, 1)))["spatial"]).all()
    assert entropy.measure(maps[:0])["grey_level"].shape == (0,)


@pytest.mark.parametrize("function", [entropy_bits, grey_level_entropy, spatial_entropy])
@pytest.mark.parametrize("maps", [np.zeros((7, 7)), np.full((1, 7, 7), 2.0), np.full((1, 7, 7), -1.0)])
def test_input_that_does_not_fit(function, maps):
    with pytest.raises(InputError, match="maps"):
        function(maps)
