import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr
from scipy.stats import pearsonr
from skimage.metrics import structural_similarity

from e2m.arrays.maps import quantise
from e2m.measures.alignment import BETTER, divergence, energy, with_human
from e2m.types import InputError

STACKS = arrays(np.float64, (3, 7, 7), elements=st.floats(0, 1, width=16))


def stack(seed, n=4):
    return np.random.default_rng(seed).random((n, 7, 7))


def test_energy_by_hand():
    human = np.zeros((1, 2, 2))
    human[0, 0] = 1, 0.5
    maps = np.array([[[0.5, 0.25], [0.25, 0]]])
    assert energy(maps, human) == pytest.approx([0.75])


def test_divergence_by_hand():
    human, maps = np.zeros((1, 1, 2)), np.zeros((1, 1, 2))
    human[0, 0], maps[0, 0] = (1, 0), (0, 1)
    level = 1 / 255
    p, q = np.array([1 + level, level]) / (1 + 2 * level), np.array([level, 1 + level]) / (1 + 2 * level)
    assert divergence(maps, human) == pytest.approx([p[0] * np.log2(p[0] / q[0]) + p[1] * np.log2(p[1] / q[1])])


def test_against_other_libraries():
    maps, human = stack(0), stack(1)
    result = with_human(maps, human)
    assert set(result) == set(BETTER)
    full = (stack / stack.max(axis=(1, 2), keepdims=True) for stack in (maps, human))
    for n, (map_, person) in enumerate(zip(*full, strict=True)):
        assert result["correlation"][n] == pytest.approx(pearsonr(map_.ravel(), person.ravel()).statistic)
        q, p = map_ + 1 / 255, person + 1 / 255
        assert result["divergence"][n] == pytest.approx(rel_entr(p / p.sum(), q / q.sum()).sum() / np.log(2))
        assert result["ssim"][n] == pytest.approx(structural_similarity(quantise(map_), quantise(person)), abs=1e-9)


@given(STACKS)
def test_a_map_agrees_with_itself(maps):
    result = with_human(maps, maps)
    constant = np.ptp(maps, axis=(1, 2)) == 0
    for name, best in (("correlation", 1), ("divergence", 0), ("ssim", 1)):
        assert np.isnan(result[name][constant]).all()
        np.testing.assert_allclose(result[name][~constant], best, atol=1e-9)


@given(STACKS, STACKS)
def test_ranges_and_order(maps, human):
    result, reverse = with_human(maps, human), with_human(maps[::-1], human[::-1])
    for name, values in result.items():
        np.testing.assert_array_equal(values, reverse[name][::-1])
        alive = values[np.isfinite(values)]
        assert (alive >= (-1 - 1e-9 if name in ("ssim", "correlation") else 0)).all()
        assert name == "divergence" or (alive <= 1 + 1e-9).all()


def test_dead_maps_have_no_number():
    maps, human = stack(0), stack(1)
    maps[0], human[1], maps[2, 0, 0] = 0.5, 0, np.nan
    for values in with_human(maps, human).values():
        assert np.isnan(values).tolist() == [True, True, True, False]


def test_maps_that_are_constant_in_eight_bits_have_no_similarity():
    """As in the other measures that compare maps; the correlation of such maps is known all the same."""
    maps, human = stack(0), stack(1)
    maps[0] = 1
    maps[0, 0, 0] -= 1e-9
    result = with_human(maps, human)
    assert np.isnan(result["ssim"]).tolist() == [True, False, False, False]
    assert np.isfinite(result["correlation"]).all()


def test_eight_bit_maps_are_those_in_0_to_1():
    maps, human = quantise(stack(0)), quantise(stack(1))
    result, expected = with_human(maps, human), with_human(maps / 255, human / 255)
    for name in ("correlation", "divergence", "energy"):
        np.testing.assert_allclose(result[name], expected[name])


def test_maps_of_another_size():
    with pytest.raises(InputError, match=r"\(4, 7, 7\).*\(4, 8, 8\)"):
        with_human(stack(0), np.zeros((4, 8, 8)))
