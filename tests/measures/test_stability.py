"""Measure (d)."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from e2m.measures import stability as module
from e2m.measures.stability import stability
from e2m.types import InputError

REFERENCE = np.load("tests/data/reference.npz")


def maps_of(seed, runs=3, count=4, side=7):
    return np.random.default_rng(seed).random((runs, count, side, side))


def test_published_pairs():
    result = stability(REFERENCE["maps7"][:, None])  # five maps as five runs of one image
    pairs = np.sort(REFERENCE["pairs"], axis=1)
    values = result.set_index(["run", "run_other"])["value"]
    assert len(result) == 10
    assert np.abs([values[i, j] for i, j in pairs] - REFERENCE["ssim_maps7"]).max() < 1e-9


@pytest.mark.parametrize("side", [7, 8, 12])
def test_oracle(side):
    maps = maps_of(0, side=side)
    full = maps / maps.max(axis=(2, 3), keepdims=True)
    grey = (full.astype(np.float32) * np.float32(255)).astype(np.uint8)
    rows = [
        (a, b, n, structural_similarity(grey[a, n], grey[b, n])) for a, b in combinations(range(3), 2) for n in range(4)
    ]
    result = stability(maps)
    assert result.columns.tolist() == ["run", "run_other", "image", "value"]
    assert np.abs(result.to_numpy() - rows).max() < 1e-9
    assert stability(grey).equals(result)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 6), st.integers(7, 10))
def test_images_and_runs_in_any_order(seed, runs, count, side):
    maps = maps_of(seed, runs, count, side)
    values = stability(maps)["value"].to_numpy().reshape(-1, count)
    order = np.random.default_rng(seed).permutation(count)
    assert (stability(maps[:, order])["value"].to_numpy().reshape(-1, count) == values[:, order]).all()
    assert (stability(maps[:, :1])["value"].to_numpy() == values[:, 0]).all()
    assert np.sort(stability(maps[::-1])["value"]) == pytest.approx(np.sort(values, axis=None), abs=1e-12)
    assert stability(np.repeat(maps[:1], 2, axis=0))["value"].to_numpy() == pytest.approx(1, abs=1e-9)


def test_chunks_change_nothing(monkeypatch):
    maps = maps_of(0, count=20)
    whole = stability(maps)
    monkeypatch.setattr(module, "_CHUNK", 3 * 49 * 7)
    assert stability(maps).equals(whole)


def test_dead_maps():
    maps = maps_of(0)
    maps[0, 1], maps[1, 2], maps[2, 3, 0, 0] = 0.5, np.nan, np.nan
    result = stability(maps)
    missing = result[result["value"].isna()].sort_values(["run", "run_other", "image"])
    assert missing[["run", "run_other", "image"]].to_numpy().tolist() == [
        [0, 1, 1],
        [0, 1, 2],
        [0, 2, 1],
        [0, 2, 3],
        [1, 2, 2],
        [1, 2, 3],
    ]
    assert len(stability(maps[:, :0])) == 0


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (maps_of(0, runs=1), "needs two runs"),
        (maps_of(0)[0], r"\(R, N, h, w\)"),
        (maps_of(0, side=6), "at least 7 x 7"),
        (maps_of(0) * 255, r"scale to \[0, 1\]"),
    ],
)
def test_input_that_does_not_fit(maps, message):
    with pytest.raises(InputError, match=message):
        stability(maps)
