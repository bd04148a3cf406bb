from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test as scipys_test
from scipy.stats import ttest_ind

from e2m.statistics import (
    Interval,
    Status,
    cliffs_delta,
    equivalent,
    holm,
    permutation_test,
    probability_greater,
    runs,
)
from e2m.types import InputError
from tests.statistics.made import normal

# By hand


def test_chances_by_hand():
    result = probability_greater([3.0, 1.0], [0.0, 2.0, 3.0])
    assert result.mean == (1 + 1 + 0.5 + 1 + 0 + 0) / 6
    assert cliffs_delta([3.0, 1.0], [0.0, 2.0, 3.0]).mean == pytest.approx(2 * result.mean - 1)
    # Newcombe's equation at the ends: |found - end| = 1.96 sqrt(V(end)).
    for end in (result.low, result.high):
        factor = 1 + 1.5 * ((1 - end) / (2 - end) + end / (1 + end))
        assert abs(result.mean - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / 6 * factor), abs=1e-6)
    # All above: the lower end still says that there are only three runs each.
    apart = probability_greater([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    assert apart.mean == apart.high == 1.0
    assert 0.4 < apart.low < 0.7
    assert probability_greater([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]).high == pytest.approx(1 - apart.low, abs=1e-6)


def test_permutation_by_hand():
    apart = permutation_test([6.0, 7, 8, 9, 10], [1.0, 2, 3, 4, 5])
    assert (apart.difference, apart.p, apart.smallest, apart.splits, apart.exact) == (5, 2 / 252, 2 / 252, 252, True)
    # Differences of the splits of 1, 2, 4: 1 - 3, 2 - 2.5, 4 - 1.5.
    uneven = permutation_test([1.0], [2.0, 4.0])
    assert (uneven.difference, uneven.p, uneven.smallest) == (-2.0, 2 / 3, 1 / 3)
    assert permutation_test([0.1, 0.3], [0.3, 0.1]).p == 1.0
    assert permutation_test([0.7] * 4, [0.7] * 4).smallest == 1.0


def test_holm_by_hand():
    assert np.allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert np.allclose(holm([0.5, np.nan, 0.9]), [1.0, np.nan, 1.0], equal_nan=True)
    assert holm([]).shape == (0,)


# Against SciPy


def test_permutation_against_scipy():
    a, b = normal(5), normal(4, seed=1) + 0.8
    peer = scipys_test((a, b), lambda x, y: abs(x.mean() - y.mean()), alternative="greater", n_resamples=np.inf)
    assert permutation_test(a, b).p == pytest.approx(peer.pvalue)


def test_drawn_splits_come_close_to_all(monkeypatch):
    a, b = normal(8), normal(8, seed=1) + 0.8
    exact = permutation_test(a, b)
    assert exact.splits == comb(16, 8)
    monkeypatch.setattr(runs, "MAX_SPLITS", 10_000)
    drawn = permutation_test(a, b)
    assert drawn == permutation_test(a, b)
    assert not drawn.exact
    assert (drawn.splits, drawn.smallest) == (10_000, 1 / 10_001)
    assert drawn.note == "10000 of 12870 splits, drawn"
    assert drawn.p == pytest.approx(exact.p, abs=0.02)


def test_equivalence_against_two_t_tests():
    a, b = 0.8 + 0.01 * normal(6), 0.8 + 0.02 * normal(5, seed=1)
    lower = ttest_ind(a + 0.05, b, equal_var=False, alternative="greater")
    upper = ttest_ind(a - 0.05, b, equal_var=False, alternative="less")
    result = equivalent(a, b, margin=0.05)
    assert result.p == pytest.approx(max(lower.pvalue, upper.pvalue))
    assert np.allclose([result.low, result.high], ttest_ind(a, b, equal_var=False).confidence_interval(0.9))
    assert (result.margin, result.equivalent, result.note) == (0.05, True, "few runs (5)")
    assert not equivalent(a, b, margin=0.005).equivalent
    assert not equivalent(a, b + 0.1, margin=0.05).equivalent


def test_equivalence_needs_the_given_interval_inside_as_well():
    a, b = 0.8 + 0.01 * normal(6), 0.8 + 0.01 * normal(6, seed=1)
    wide = Interval(0.0, -0.06, 0.04, 6, 100, 0, "few runs (6)")
    result = equivalent(a, b, 0.05, interval=wide)
    assert result.p < 0.05
    assert (result.low, result.high, result.equivalent, result.note) == (-0.06, 0.04, False, "few runs (6)")
    unknown = Interval(0.0, np.nan, np.nan, 6, 1, 0, "1 image: no interval over images")
    assert not equivalent(a, b, 0.05, interval=unknown).equivalent


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_no_smaller(p_values):
    p, adjusted = np.array(p_values), holm(p_values)
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(adjusted[order]) >= 0)
    assert np.all((adjusted >= p) & (adjusted <= np.minimum(1, p * p.size)))


@pytest.mark.parametrize(("a", "note"), [([0.8], "1 run: no test"), ([], "0 runs: no test")])
def test_equivalence_that_cannot_be_tested(a, note):
    result = equivalent(a, [0.8, 0.9], margin=0.05)
    assert np.isnan(result.p)
    assert not result.equivalent
    assert result.note == note
    assert equivalent([0.1] * 3, [0.1] * 3, 0.05).note == "no spread between runs: no test"


def test_a_single_run_has_no_spread():
    result = probability_greater([1.0], [2.0, 3.0])
    assert np.isfinite(result.mean)
    assert np.isnan([result.low, result.high]).all()
    assert (result.status, result.note) == (Status.ONE_RUN, "1 run: no interval over runs")
    assert equivalent([0.8], [0.8], margin=0.1).note == "1 run: no test"


def test_nothing_alive_yields_no_number():
    result = probability_greater([np.nan], [1.0])
    assert np.isnan([result.mean, result.low, result.high]).all()
    assert (result.runs, result.missing, result.note) == (0, 1, "no live run")
    assert result.status == Status.NO_LIVE_VALUE
    nothing = permutation_test([np.nan], [1.0])
    assert np.isnan([nothing.p, nothing.smallest]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: holm([0.1, 1.2]), "from 0.1 to 1.2"),
        (lambda: equivalent([1.0, 2.0], [1.0, 2.0], margin=0), "margin 0"),
        (lambda: permutation_test([[1.0]], [1.0]), r"shape \(1, 1\)"),
    ],
)
def test_errors_say_what_arrived(call, message):
    with pytest.raises(InputError, match=message):
        call()
