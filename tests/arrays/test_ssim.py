"""Structural similarity against scikit-image, and the checks of maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from e2m.arrays.maps import checked, dead
from e2m.arrays.ssim import local_moments, ssim
from e2m.types import InputError

REFERENCE = np.load("tests/data/reference.npz")


def stack(seed, shape, dtype=np.uint8):
    draw = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return draw if dtype == np.uint8 else (draw / 255).astype(dtype)


def oracle(a, b, data_range, valid=None):
    """The equation, window by window."""
    height, width = a.shape
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for y in range(height - 6):
        for x in range(width - 6):
            if valid is not None and not valid[y : y + 7, x : x + 7].all():
                continue
            p, q = (m[y : y + 7, x : x + 7].astype(float).ravel() for m in (a, b))
            (v, c), (_, w) = np.cov(p, q, ddof=1)
            m, n = p.mean(), q.mean()
            values.append((2 * m * n + c1) * (2 * c + c2) / ((m * m + n * n + c1) * (v + w + c2)))
    return np.mean(values)


def test_one_window_worked_by_hand():
    a, b = np.zeros((2, 7, 7))
    a[0, 0] = b[6, 6] = 49  # means 1, sums of squares 49^2, sum of products 0
    variance, covariance = (49**2 - 49) / 48, (0 - 49) / 48
    c1, c2 = 0.01**2, 0.03**2
    by_hand = (2 + c1) * (2 * covariance + c2) / ((2 + c1) * (2 * variance + c2))
    assert ssim(a[None], b[None], data_range=1) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("size", ["7", "224"])
def test_published_pairs(size):
    a, b = (REFERENCE[f"maps{size}"][column] for column in REFERENCE["pairs"].T)
    assert np.abs(ssim(a, b, data_range=255) - REFERENCE[f"ssim_maps{size}"]).max() < 1e-9


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((9, 7, 7), np.uint8),
        ((9, 8, 8), np.uint8),
        ((5, 10, 10), float),
        ((3, 224, 224), np.uint8),
        ((4, 7, 12), np.float32),
        ((2, 31, 9), float),
    ],
)
def test_equals_scikit_image(shape, dtype):
    a, b = stack(0, shape, dtype), stack(1, shape, dtype)
    b[::2] = (0.8 * a[::2] + 0.2 * b[::2]).astype(dtype)
    data_range = 255 if dtype == np.uint8 else 1
    expected = [
        structural_similarity(p.astype(float), q.astype(float), data_range=data_range)
        for p, q in zip(a, b, strict=True)
    ]
    assert np.abs(ssim(a, b, data_range=data_range) - expected).max() < 1e-9


def test_equation_on_a_valid_region():
    a, b = stack(0, (2, 13, 11)), stack(1, (2, 13, 11))
    regions = np.ones((2, 13, 11), bool)
    regions[0, :, :3] = False
    regions[1, 5, 0] = False
    both = ssim(a, b, data_range=255, valid=regions)
    assert both.shape == (2, 2)
    for region, values in zip(regions, both, strict=True):
        expected = [oracle(p, q, 255, region) for p, q in zip(a, b, strict=True)]
        assert np.abs(values - expected).max() < 1e-12
        assert (ssim(a, b, data_range=255, valid=region) == values).all()
    everywhere = ssim(a, b, data_range=255, valid=np.ones((13, 11), bool))
    assert np.abs(everywhere - ssim(a, b, data_range=255)).max() < 1e-12


def test_leading_axes_broadcast():
    runs, one = stack(0, (3, 5, 9, 9)), stack(1, (5, 9, 9))
    assert (ssim(one, runs, data_range=255) == [ssim(one, run, data_range=255) for run in runs]).all()
    assert (ssim(one[:1], one, data_range=255) == [ssim(one[0], row, data_range=255) for row in one]).all()
    assert ssim(one[:0], one[:0], data_range=255).shape == (0,)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_moments_computed_once_change_nothing(dtype):
    a, b = stack(0, (6, 16, 12), dtype), stack(1, (6, 16, 12))
    expected = ssim(a, b, data_range=255)
    assert (ssim(local_moments(a), b, data_range=255) == expected).all()
    assert (ssim(local_moments(a), local_moments(b), data_range=255) == expected).all()
    assert (ssim(local_moments(a[:1]), b, data_range=255) == ssim(a[:1], b, data_range=255)).all()


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**32),
    st.integers(7, 20),
    st.integers(7, 20),
    st.integers(1, 12),
    st.sampled_from([np.uint8, float]),
)
def test_symmetric_bounded_one_with_itself_and_alone_in_its_batch(seed, height, width, count, dtype):
    a, b = stack(seed, (count, height, width), dtype), stack(seed + 1, (count, height, width), dtype)
    data_range = 255 if dtype == np.uint8 else 1
    values = ssim(a, b, data_range=data_range)
    order = np.random.default_rng(seed).permutation(count)
    assert np.abs(values).max() <= 1
    assert np.abs(ssim(a, a, data_range=data_range) - 1).max() < 1e-9
    assert np.abs(ssim(b, a, data_range=data_range) - values).max() < 1e-12
    assert (ssim(a[order], b[order], data_range=data_range) == values[order]).all()
    assert [float(ssim(p, q, data_range=data_range)) for p, q in zip(a, b, strict=True)] == values.tolist()


def test_chunks_change_nothing(monkeypatch):
    a, b = stack(0, (11, 30, 30)), stack(1, (11, 30, 30))
    whole = ssim(a, b, data_range=255)
    monkeypatch.setattr("e2m.arrays.ssim._CHUNK", 3 * 900)
    assert (ssim(a, b, data_range=255) == whole).all()
    assert (ssim(local_moments(a), b, data_range=255) == whole).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_changes_only_its_value(bad):
    a, b = stack(0, (5, 9, 9), float), stack(1, (5, 9, 9), float)
    broken = a.copy()
    broken[2, 0, 8] = bad
    region = np.ones((9, 9), bool)
    region[:, 7:] = False  # the pixel lies outside, and yet the map is not to be trusted
    for valid in (None, region):
        values, expected = (ssim(x, b, data_range=1, valid=valid) for x in (broken, a))
        assert np.isnan(values).tolist() == [False, False, True, False, False]
        assert (values == expected)[[0, 1, 3, 4]].all()


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "options", "message"),
    [
        ((2, 7, 7), (2, 7, 7), {}, "data_range is None"),
        ((2, 7, 7), (2, 7, 7), {"data_range": 0}, "data_range is 0"),
        ((2, 6, 9), (2, 6, 9), {"data_range": 255}, "at least 7 x 7"),
        ((2, 7, 7), (2, 8, 8), {"data_range": 255}, "7 x 7 and 8 x 8"),
        ((2, 7, 7), (3, 7, 7), {"data_range": 255}, "do not pair up"),
        ((7,), (7,), {"data_range": 255}, "shape"),
        ((2, 7, 7), (2, 7, 7), {"data_range": 255, "valid": np.ones((8, 8), bool)}, "valid is bool of shape"),
        ((2, 7, 7), (2, 7, 7), {"data_range": 255, "valid": np.ones((7, 7))}, "valid is float64"),
        ((2, 7, 7), (2, 7, 7), {"data_range": 255, "valid": np.eye(7) > 0}, "no window"),
    ],
)
def test_input_that_does_not_fit(shape_a, shape_b, options, message):
    with pytest.raises(InputError, match=message):
        ssim(np.zeros(shape_a, np.uint8), np.zeros(shape_b, np.uint8), **options)


def test_dead_maps():
    maps = stack(0, (5, 4, 4), float)
    maps[1] = 0.5
    maps[2, 3, 3] = np.nan
    maps[3, 0, 0] = np.inf
    assert dead(maps).tolist() == [False, True, True, True, False]
    assert dead(np.zeros((2, 3, 4, 4), np.uint8)).all(axis=(0, 1))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((7, 7)), r"\(N, h, w\)"),
        (np.zeros((1, 0, 7)), r"\(N, h, w\)"),
        (np.full((1, 7, 7), 1.5), "from 1.5 to 1.5"),
        (np.full((1, 7, 7), -0.1), "scale to"),
        (np.full((1, 7, 7), "a"), "type"),
    ],
)
def test_maps_that_measures_refuse(maps, message):
    with pytest.raises(InputError, match=message):
        checked(maps)
