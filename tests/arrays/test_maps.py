"""Stretching maps to [0, 1]."""

import numpy as np
import pytest

from e2m.arrays.maps import min_max


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
