"""Rates of detection: by hand, by counting at every threshold, and their intervals by slow resampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from e2m import statistics
from e2m.statistics.detection import (
    acer_interval,
    apcer_interval,
    bpcer_interval,
    detection_rate,
    detection_rate_interval,
    equal_error_threshold,
)
from e2m.types import InputError
from tests.statistics.made import CLUSTERS, normal, slow_draws

SYNTHETIC = np.array([False] * 5 + [True] * 5)


def test_tdr_at_an_fdr_by_hand():
    authentic, synthetic = [0.1, 0.2, 0.3, 0.9], [0.25, 0.3, 0.8, 0.95]
    # No authentic image may be flagged: 0.95 alone lies above 0.9. One of four may: 0.8 does too; 0.3 ties with 0.3.
    rates = {fdr: detection_rate(authentic, synthetic, fdr) for fdr in (0, 0.24, 0.25, 0.5, 0.75, 1)}
    assert rates == {0: 0.25, 0.24: 0.25, 0.25: 0.5, 0.5: 1.0, 0.75: 1.0, 1: 1.0}
    assert detection_rate([*authentic, np.nan], [*synthetic, np.inf], 0.25) == 0.5


def slow_rate(authentic, synthetic, fdr):
    """The largest TDR of all thresholds whose FDR is small enough."""
    limits = [*authentic, *synthetic, np.inf]
    allowed = [limit for limit in limits if np.mean(authentic >= limit) <= fdr + 1e-9]
    return max(np.mean(synthetic >= limit) for limit in allowed)


scores = st.lists(st.integers(0, 6), min_size=1, max_size=12).map(lambda values: np.array(values) / 7)


@settings(deadline=None, max_examples=200)
@given(authentic=scores, synthetic=scores, tenths=st.integers(0, 10))
def test_tdr_is_the_best_of_all_thresholds(authentic, synthetic, tenths):
    assert detection_rate(authentic, synthetic, tenths / 10) == pytest.approx(
        slow_rate(authentic, synthetic, tenths / 10)
    )


@settings(deadline=None, max_examples=50)
@given(authentic=scores, synthetic=scores)
def test_a_roc_curve_is_its_points_and_its_steps_hold_the_pairs_that_are_won(authentic, synthetic):
    grid = np.arange(len(authentic) + 1) / len(authentic)
    curve = detection_rate(authentic, synthetic, grid)
    assert curve.tolist() == [detection_rate(authentic, synthetic, fdr) for fdr in grid]
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1
    # The step function below the curve counts the pairs that are won, not the ties.
    won = np.mean([[fake > real for fake in synthetic] for real in authentic])
    assert curve[:-1].mean() == pytest.approx(won)


def test_a_tenth_of_120_images_is_twelve():
    authentic = np.arange(120.0)
    assert detection_rate(authentic, [107.5, 106.5], 0.1) == 0.5


@pytest.mark.parametrize("fdr", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("clusters", [None, CLUSTERS])
def test_the_interval_is_that_of_slow_resampling(fdr, clusters):
    table = np.round(normal(4, 10), 1) + SYNTHETIC  # ties
    table[1, 3] = table[2, 7] = np.nan
    result = detection_rate_interval(table, SYNTHETIC, clusters, resamples=400, seed=3, fdr=fdr)

    def value(tables, columns):
        rates = []
        for row in tables[0]:
            kept, classes = row[columns], SYNTHETIC[columns]
            real, fake = (kept[chosen & np.isfinite(kept)] for chosen in (~classes, classes))
            rates.append(slow_rate(real, fake, fdr) if len(real) and len(fake) else np.nan)
        return np.nan if np.isnan(rates).all() else np.mean(rates)

    labels = np.arange(10) if clusters is None else clusters
    draws = slow_draws([table], labels, value, 400, 3)
    sizes = np.array([4, len(np.unique(labels))])
    variances = np.array([np.nanvar(drawn) for drawn in draws]) * sizes / (sizes - 1)
    freedom = variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum()
    estimate = value([table], np.arange(10))
    reach = t.ppf(0.975, freedom) * np.sqrt(variances.sum()) / (estimate * (1 - estimate))
    odds = np.log(estimate / (1 - estimate)) + np.array([-reach, reach])
    assert result.mean == pytest.approx(estimate)
    assert [result.low, result.high] == pytest.approx(1 / (1 + np.exp(-odds)))


def test_a_rate_of_one_has_an_end_at_one():
    authentic = np.arange(10) / 10
    table = np.array([[*authentic, *np.full(10, 0.85)], [*authentic, *np.full(10, 0.86)]])
    # One authentic image of ten may be flagged; where it is drawn twice, 0.85 lies below the threshold.
    result = detection_rate_interval(table, np.arange(20) >= 10, fdr=0.1)
    assert result.mean == 1
    assert result.high == 1
    assert 0 <= result.low < 1


def test_runs_without_a_class_are_left_out():
    table = np.where(SYNTHETIC, 1.0, 0.0) + normal(3, 10)
    table[2, SYNTHETIC] = np.nan
    result = detection_rate_interval(table, SYNTHETIC, fdr=0.2)
    assert result.runs == 2
    assert result.mean == detection_rate_interval(table[:2], SYNTHETIC, fdr=0.2).mean


@pytest.mark.parametrize("fdr", [-0.1, 1.1, np.nan])
def test_an_fdr_is_a_share(fdr):
    with pytest.raises(InputError, match="give a share of the authentic images, from 0 to 1"):
        detection_rate([0], [1], fdr)
    with pytest.raises(InputError, match="give a share of the authentic images, from 0 to 1"):
        detection_rate_interval([[0, 1]], [False, True], fdr=fdr)


def test_both_classes_are_needed():
    with pytest.raises(InputError, match="TDR of gan: no synthetic scores arrived"):
        detection_rate([0.5], [np.nan], 0.1, "gan")


# Error rates at a threshold


def test_error_rates_by_hand():
    # Two runs; authentic: 1 of 5 and 2 of 4 flagged; synthetic: 4 of 5 and 5 of 5 flagged.
    flagged = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 1, 0], [1, 1, 0, 0, np.nan, 1, 1, 1, 1, 1]])
    apcer, bpcer, acer = (rate(flagged, SYNTHETIC) for rate in (apcer_interval, bpcer_interval, acer_interval))
    assert apcer.mean == pytest.approx(1 / 10)
    assert bpcer.mean == pytest.approx(3 / 9)
    # Run by run: (1/5 + 1/5) / 2 and (0 + 1/2) / 2.
    assert acer.mean == pytest.approx((0.2 + 0.25) / 2)
    assert (apcer.missing, bpcer.missing, acer.missing) == (0, 1, 1)
    assert (apcer.images, bpcer.images, acer.images) == (5, 5, 10)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), share=st.floats(0.05, 0.95))
def test_no_interval_of_a_rate_leaves_its_range(seed, share):
    flagged = (np.random.default_rng(seed).random((3, 10)) < share).astype(float)
    for rate in (apcer_interval, bpcer_interval, acer_interval):
        result = rate(flagged, SYNTHETIC, CLUSTERS, 200)
        assert 0 <= result.mean <= 1
        assert np.isnan(result.low) or 0 <= result.low <= result.mean <= result.high <= 1


def test_acer_is_its_contrast():
    flagged = (normal(5, 10) + SYNTHETIC > 0.5).astype(float)
    apart = statistics.contrast_interval(flagged, SYNTHETIC)
    acer = acer_interval(flagged, SYNTHETIC)
    assert [acer.mean, acer.low, acer.high] == pytest.approx(
        [(1 - end) / 2 for end in (apart.mean, apart.high, apart.low)]
    )


def test_an_equal_error_threshold_by_hand():
    # At 0.55 one of four of each class is on the wrong side.
    assert equal_error_threshold([0.1, 0.2, 0.3, 0.6], [0.5, 0.7, 0.8, 0.9]) == pytest.approx(0.55)
    assert equal_error_threshold([0.1, 0.2], [0.7, 0.9, np.nan]) == pytest.approx(0.45)
    assert equal_error_threshold([0.5, 0.5], [0.5]) == 0.5  # APCER 0 and BPCER 1; and just above, the other way round


@pytest.mark.parametrize(
    ("authentic", "synthetic", "label"), [([np.nan], [0.5], "authentic"), ([0.5], [], "synthetic")]
)
def test_an_equal_error_threshold_needs_both_classes(authentic, synthetic, label):
    with pytest.raises(InputError, match=f"the threshold of equal errors: no {label} scores arrived"):
        equal_error_threshold(authentic, synthetic)


@settings(deadline=None, max_examples=100)
@given(authentic=scores, synthetic=scores)
def test_no_threshold_has_more_equal_errors(authentic, synthetic):
    def gap(limit):
        return abs(np.mean(synthetic < limit) - np.mean(authentic >= limit))

    threshold = equal_error_threshold(authentic, synthetic)
    assert gap(threshold) <= min(map(gap, [*authentic, *synthetic, 2.0])) + 1e-12


# Tables


def test_a_row_for_each_group_source_and_rate(score_rows):
    rates = {"miss": apcer_interval, "acer": acer_interval}
    flagged = score_rows.assign(value=(score_rows["value"] > 0.5).astype(float))
    table = statistics.summarise_rates(flagged, ["regime"], "orl", rates, resamples=50)
    assert list(table[["regime", "source", "rate"]].itertuples(index=False, name=None)) == [
        (regime, source, rate)
        for regime in ("cross_entropy", "cyborg")
        for source in ("swap", "morph")
        for rate in rates
    ]
    one = flagged.query("regime == 'cyborg' and source == 'morph'")
    assert table["mean"][6] == pytest.approx(1 - one["value"].mean())
    authentic = flagged.query("regime == 'cyborg' and source == 'orl'")
    assert table["mean"][7] == pytest.approx((1 - one["value"].mean() + authentic["value"].mean()) / 2)
