"""Stretching maps to [0, 1], by their range or by their maximum."""

import numpy as np
import pytest

from e2m.arrays.maps import min_max, relative
from e2m.measures.alignment import with_human
from e2m.measures.entropy import grey_level_entropy, spatial_entropy
from e2m.measures.noise import distance_to_mean
from e2m.measures.stability import stability


def test_constant_maps_are_dead():
    raw = np.stack([np.full((2, 2), 0.3), np.array([[1.0, 2], [3, 5]])])
    np.testing.assert_array_equal(min_max(raw), [np.full((2, 2), np.nan), [[0, 0.25], [0.5, 1]]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_dead(value):
    raw = np.arange(8.0).reshape(2, 2, 2)
    raw[0, 1, 1] = value
    stretched = min_max(raw)
    assert np.isnan(stretched[0]).all()
    np.testing.assert_allclose(stretched[1], [[0, 1 / 3], [2 / 3, 1]], atol=1e-7)


def test_rounding_is_no_salience():
    nearly = np.full((1, 3, 3), 1000.0)
    nearly[0, 1, 1] += 1e-4  # a ten-millionth of the value
    assert np.isnan(min_max(nearly)).all()
    nearly[0, 1, 1] += 1
    assert min_max(nearly)[0, 1, 1] == 1


def test_relative_by_hand():
    maps = np.array([[[0.0, 0.1], [0.05, 0.2]], [[0, 0], [0, 0]], [[1, 0.5], [0, 0]], [[np.nan, 0.5], [0, 0]]])
    expected = maps.copy()
    expected[0] *= 5
    np.testing.assert_allclose(relative(maps), expected)
    grey = np.array([[[0, 60], [100, 3]], [[255, 1], [0, 0]]], np.uint8)
    assert relative(grey).tolist() == [[[0, 153], [255, 8]], [[255, 1], [0, 0]]]
    assert relative(grey).dtype == np.uint8
    full = np.random.default_rng(0).random((3, 7, 7))
    full[:, 0, 0] = 1
    assert relative(full) is full


@pytest.mark.parametrize("scale", [2**-20, 2**-7, 0.5])
def test_the_unit_of_a_map_changes_no_comparison(random, scale):
    """A maximum below 1 leaves fewer grey levels, and SSIM's constants weigh more."""
    maps = random.random((3, 4, 8, 8))
    maps[..., 0, 0] = 1
    human = random.random((4, 8, 8))
    small, person = maps * scale, human * scale
    np.testing.assert_allclose(stability(small)["value"], stability(maps)["value"], atol=1e-9)
    for ours, same in ((maps[0], small[0]), (maps[0].astype(np.float32), small[0].astype(np.float32))):
        np.testing.assert_allclose(grey_level_entropy(same), grey_level_entropy(ours), atol=1e-9)
        np.testing.assert_allclose(spatial_entropy(same), spatial_entropy(ours), atol=1e-6)
        np.testing.assert_allclose(distance_to_mean(same, small[1]), distance_to_mean(ours, maps[1]), atol=1e-9)
        expected = with_human(ours, human)
        for variant, values in with_human(same, person).items():
            np.testing.assert_allclose(values, expected[variant], atol=1e-6, err_msg=variant)
