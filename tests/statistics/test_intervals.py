from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, t

from e2m.statistics import (
    Status,
    auc,
    auc_difference_interval,
    auc_interval,
    cliffs_delta,
    contrast_interval,
    difference_interval,
    intervals,
    mean_interval,
    pairs_interval,
    probability_greater,
)
from e2m.types import InputError
from tests.statistics.made import CLUSTERS, normal, slow_auc, slow_draws, slow_means

# By hand


def test_two_runs_of_two_images_by_enumeration():
    values = np.array([[0.0, 1.0], [4.0, 5.0]])
    # Two draws of two things: (2, 0), (1, 1), (1, 1), (0, 2); the means move by 4 / 2 for runs and 1 / 2 for images.
    runs = np.array([values[list(drawn)].mean() for drawn in product(range(2), repeat=2)])
    images = np.array([values[:, list(drawn)].mean() for drawn in product(range(2), repeat=2)])
    v_run, v_image = 2 * runs.var(), 2 * images.var()
    assert (v_run, v_image) == (4.0, 0.25)
    freedom = (v_run + v_image) ** 2 / (v_run**2 + v_image**2)
    reach = t.ppf(0.975, freedom) * np.sqrt(v_run + v_image)
    result = mean_interval(values, resamples=40_000)
    assert (result.mean, result.runs, result.images, result.missing, result.note) == (2.5, 2, 2, 0, "few runs (2)")
    assert np.allclose([result.low, result.high], [2.5 - reach, 2.5 + reach], rtol=0.02)


def test_missing_values_are_left_out_and_counted():
    result = mean_interval([[1.0, 2.0, np.nan, np.nan], [3.0, np.nan, 6.0, np.inf], [np.nan] * 4])
    assert (result.mean, result.runs, result.images, result.missing) == (3.0, 2, 3, 8)
    # The third image has no live value in one regime: 1, 2 against 5, 5.
    difference = difference_interval([[1.0, 2.0, 9.0]] * 2, [[5.0, 5.0, np.nan]] * 2)
    assert (difference.mean, difference.images, difference.missing) == (-3.5, 2, 4)


def test_three_pairs_by_hand():
    # Without one run a single pair remains: 1, 2 or 6, whose variance is 14 / 3; the jackknife takes it 2 times.
    values = np.array([[0.0, 2.0], [1.0, 3.0], [5.0, 7.0]])
    result = pairs_interval(values, [("a", "b"), ("c", "a"), ("b", "c")], resamples=40_000)
    v_run, v_image = 2 * 14 / 3, 1.0
    reach = t.ppf(0.975, (v_run + v_image) ** 2 / (v_run**2 / 2 + v_image**2)) * np.sqrt(v_run + v_image)
    assert (result.mean, result.runs, result.images, result.missing, result.note) == (3.0, 3, 2, 0, "few runs (3)")
    assert np.allclose([result.low, result.high], [3 - reach, 3 + reach], rtol=0.02)


def test_contrast_by_hand():
    second = np.array([True, False, False, True])
    # Run by run 6 - 2 and 1 - 3: the third run has no live value of the first class, the gap costs its run no weight.
    result = contrast_interval([[5.0, 1, 3, 7], [1.0, np.nan, 3, np.nan], [1.0, np.nan, np.nan, 1]], second)
    assert (result.mean, result.runs, result.images, result.missing) == (1.0, 2, 4, 6)


def test_auc_by_hand():
    assert auc([0.1, 0.4], [0.3, 0.9]) == 0.75
    assert auc([0.5, 0.5], [0.5]) == 0.5
    assert auc([0.1, np.nan], [0.3]) == 1.0


# Against slow, literal transcriptions


def slow_spread(tables, clusters, value, resamples, seed, level):
    draws = slow_draws(tables, clusters, value, resamples, seed)
    sizes = [*(len(table) for table in tables), len(np.unique(clusters))]
    parts = [size / (size - 1) * np.nanvar(drawn) for drawn, size in zip(draws, sizes, strict=True)]
    freedom = sum(parts) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    return t.ppf((1 + level) / 2, freedom) * np.sqrt(sum(parts))


def test_mean_and_difference_against_repeated_rows():
    guided, traditional = normal(4, 10), normal(3, 10, seed=1)
    guided[0, 3] = traditional[1, 8] = np.nan
    result = mean_interval(guided, CLUSTERS, resamples=60, seed=3)
    assert result.high - result.mean == pytest.approx(slow_spread([guided], CLUSTERS, slow_means, 60, 3, 0.95))
    result = difference_interval(guided, traditional, CLUSTERS, resamples=60, seed=3, level=0.9)
    assert result.mean == pytest.approx(np.nanmean(guided) - np.nanmean(traditional))
    assert result.mean - result.low == pytest.approx(
        slow_spread([guided, traditional], CLUSTERS, slow_means, 60, 3, 0.9)
    )


def test_auc_intervals_against_repeated_rows():
    synthetic = np.array([True, False] * 5)
    # Rounded, so that scores tie.
    guided, traditional = normal(4, 10).round(0) + synthetic, normal(3, 10, seed=1).round(0)

    def slow_aucs(tables, columns):
        result = [np.mean([slow_auc(row[columns], synthetic[columns]) for row in table]) for table in tables]
        return result[0] - result[1] if len(result) == 2 else result[0]

    result = auc_interval(guided, synthetic, CLUSTERS, resamples=60, seed=5)
    assert result.mean == pytest.approx(slow_aucs([guided], np.arange(10)))
    reach = slow_spread([guided], CLUSTERS, slow_aucs, 60, 5, 0.95) / (result.mean * (1 - result.mean))
    odds = np.log([result.low / (1 - result.low), result.high / (1 - result.high)])
    assert np.allclose(odds, np.log(result.mean / (1 - result.mean)) + np.array([-reach, reach]))

    result = auc_difference_interval(guided, traditional, synthetic, CLUSTERS, resamples=60, seed=5, level=0.5)
    assert result.mean == pytest.approx(slow_aucs([guided, traditional], np.arange(10)))
    assert result.high - result.mean == pytest.approx(
        slow_spread([guided, traditional], CLUSTERS, slow_aucs, 60, 5, 0.5)
    )


def test_pairs_against_loops():
    pairs = [pair for pair in combinations("vwxyz", 2) if pair != ("w", "z")]
    values = normal(9, 10)
    values[2, 4] = values[5, 1] = np.nan
    result = pairs_interval(values, pairs, CLUSTERS, resamples=60, seed=3)
    without = [np.nanmean(values[[run not in pair for pair in pairs]]) for run in "vwxyz"]
    v_run = 4 / 5 * sum((value - np.mean(without)) ** 2 for value in without)
    v_image = 7 / 6 * slow_draws([values], CLUSTERS, slow_means, 60, 3)[-1].var()
    freedom = (v_run + v_image) ** 2 / (v_run**2 / 4 + v_image**2 / 6)
    assert (result.mean, result.runs) == (pytest.approx(np.nanmean(values)), 5)
    assert result.high - result.mean == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(v_run + v_image))


def test_contrast_against_repeated_rows():
    values, second = normal(4, 10), np.arange(10) < 5
    values[1, 3] = values[2, 7] = np.nan
    labels = np.array(list("aabbcabcde"))  # a to c have images of both classes

    def contrast(after, before):
        return np.nanmean(after, axis=1) - np.nanmean(before, axis=1)

    def resampled(first, other, names):
        kinds = np.unique(names)
        for count in intervals._counts(generator, 60, len(kinds)).astype(int):
            columns = [n for kind in np.repeat(kinds, count) for n in np.flatnonzero(names == kind)]
            yield contrast(first[:, columns], other).mean()

    result = contrast_interval(values, second, labels, resamples=60, seed=3)
    apart = contrast(values[:, second], values[:, ~second])
    draws = intervals._counts(np.random.default_rng([3, 1]), 60, 4)
    generator = np.random.default_rng([3, 0])
    parts = [4 / 3 * (draws @ apart / 4).var()]
    for mine in (~second, second):
        size = len(np.unique(labels[mine]))
        parts.append(size / (size - 1) * np.var(list(resampled(values[:, mine], values[:, ~mine], labels[mine]))))
    freedom = sum(parts) ** 2 / sum(part**2 / df for part, df in zip(parts, (3, 4, 2), strict=True))
    assert result.mean == pytest.approx(apart.mean())
    assert result.high - result.mean == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(sum(parts)))


def doubled(rows):
    """Each run twice: between equal runs there is no spread, so that only images make the interval long."""
    return np.repeat(np.asarray(rows, float), 2, axis=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(0, 99), st.sampled_from(["mean", "share", "few clusters", "gaps"]))
def test_over_images_alone_is_what_a_doubled_run_has(images, seed, kind):
    """To the byte: two equal runs are the slow way to leave the runs' variance out."""
    values = normal(1, images, seed=seed)
    if kind == "share":
        values = (values > 0).astype(float)
    if kind == "gaps":
        values[:, ::3] = np.nan
    clusters = np.arange(images) // 2 if kind == "few clusters" else None
    fast = mean_interval(values, clusters, resamples=50, seed=seed, over="images")
    slow = mean_interval(doubled(values), clusters, resamples=50, seed=seed)
    same_numbers(fast, slow)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(0, 99))
def test_aucs_over_images_alone_are_those_of_a_doubled_run(images, seed):
    scores, synthetic = normal(1, images, seed=seed).round(1), np.arange(images) % 2 > 0
    scores[0, -1] = np.nan
    fast = auc_interval(scores, synthetic, resamples=50, seed=seed, over="images")
    same_numbers(fast, auc_interval(doubled(scores), synthetic, resamples=50, seed=seed))


def same_numbers(fast, slow):
    assert np.array_equal([fast.mean, fast.low, fast.high], [slow.mean, slow.low, slow.high], equal_nan=True)
    assert (fast.images, fast.missing, fast.status) == (slow.images, slow.missing // 2, slow.status)
    assert (fast.runs, slow.runs, fast.kind) == (1, 2, "")
    notes = {"few runs (2)": "1 run: interval over images alone"}
    assert fast.note == notes.get(slow.note, slow.note)


def test_over_images_alone_runs_do_not_lengthen_the_interval():
    values = 100 * normal(5, 1) + normal(5, 30, seed=1)
    result, alone = (
        mean_interval(values, over="images"),
        mean_interval(values.mean(axis=0, keepdims=True), over="images"),
    )
    assert result.mean == pytest.approx(values.mean())
    assert [result.low, result.high] == pytest.approx([alone.low, alone.high])
    assert (result.runs, result.note) == (5, "5 runs: interval over images alone")
    assert mean_interval(values).high - result.mean > 20 * (result.high - result.mean)


# Properties


LIMITS = {(0, 1): 1, (-1, 1): 2, (-3, 9): 12}
"""Limits -> the largest difference between two values within them."""


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([*LIMITS]),
    st.integers(2, 5),
    st.integers(2, 9),
    st.integers(0, 99),
    st.floats(0.001, 0.999),
    st.sampled_from([0.3, 3.0, 30.0]),
)
def test_no_interval_leaves_the_range_of_its_quantity(limits, runs, images, seed, centre, spread):
    """Means, differences, pairs and contrasts of values anywhere between their limits, far from normal too."""
    least, most = limits
    odds = np.log(centre / (1 - centre)) + spread * normal(runs, images, seed=seed)
    values = least + (most - least) / (1 + np.exp(-odds))
    other = least + most - values[::-1]
    pairs = [*combinations(range(runs), 2)]
    second = np.arange(images) % 2 > 0
    means = [mean_interval(values, resamples=40, limits=limits)]
    means += [pairs_interval(values[[i for i, _ in pairs]], pairs, resamples=40, limits=limits)]
    apart = [difference_interval(values, other, resamples=40, limits=limits)]
    apart += [contrast_interval(values, second, resamples=40, limits=limits)]
    furthest = LIMITS[limits]
    for result, low, high in [(mean, least, most) for mean in means] + [(one, -furthest, furthest) for one in apart]:
        if result.status == Status.ESTIMATED:
            assert low <= result.low <= result.mean <= result.high <= high
        assert low <= result.mean <= high


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(4, 12), st.integers(0, 99), st.floats(-9, 9))
def test_no_interval_of_an_auc_or_a_chance_leaves_its_range(runs, images, seed, shift):
    synthetic = np.arange(images) % 2 > 0
    scores, other = (normal(runs, images, seed=seed + part) for part in (0, 100))
    scores = scores + shift * synthetic
    limited = [
        (auc_interval(scores, synthetic, resamples=40), 0, 1),
        (auc_difference_interval(scores, other, synthetic, resamples=40), -1, 1),
        (probability_greater(scores.mean(axis=1) + shift, other.mean(axis=1)), 0, 1),
        (cliffs_delta(scores.mean(axis=1) + shift, other.mean(axis=1)), -1, 1),
    ]
    for result, low, high in limited:
        assert not result.low < low
        assert not result.high > high


def test_ends_within_limits_by_hand():
    """Halfway between the limits the slope of the log odds is 4 / span; one limit alone is a logarithm."""
    reach = 0.3
    low, high = intervals.within(0.5, reach, (0, 1))
    assert (low, high) == pytest.approx([1 / (1 + np.exp(4 * reach)), 1 / (1 + np.exp(-4 * reach))])
    assert intervals.within(0.0, 2 * reach, (-1, 1)) == pytest.approx([2 * low - 1, 2 * high - 1])
    assert intervals.within(5, 2, (1, np.inf)) == pytest.approx([1 + 4 * np.exp(-0.5), 1 + 4 * np.exp(0.5)])
    assert intervals.within(-5, 2, (-np.inf, -1)) == pytest.approx([-1 - 4 * np.exp(0.5), -1 - 4 * np.exp(-0.5)])
    assert intervals.within(5, 2, intervals.UNLIMITED) == (3, 7)
    # Far from its limits a mean has the ends that it has without them.
    assert intervals.within(5, 0.01, (-1000, 1000)) == pytest.approx([4.99, 5.01], abs=1e-6)
    assert intervals.apart(0.9, 0.3, (0, 1)) == (pytest.approx(0.6), 1)
    assert intervals.apart(-1.8, 0.3, (-1, 1)) == (-2, pytest.approx(-1.5))


def test_changes_that_happen_to_be_0_or_1_keep_the_limits_of_changes():
    """No decision was lost here, but others may lose some: the interval of a change may hold 0, that of a share not."""
    won = np.zeros((4, 10))
    won[0, 3] = 1
    change, share = mean_interval(won, limits=(-1, 1)), mean_interval(won)
    assert (change.kind, share.kind) == ("bounded mean", "share")
    assert change.low < 0 < share.low
    assert (mean_interval(won, limits=(0, 1)), change.mean) == (share, share.mean)


def test_limits_leave_the_estimate_and_its_error_alone():
    values = 0.5 + normal(4, 10) / 50
    free, kept = mean_interval(values), mean_interval(values, limits=(0, 1))
    assert (kept.mean, kept.run_variance, kept.image_variance) == (free.mean, free.run_variance, free.image_variance)
    assert [kept.low, kept.high] == pytest.approx([free.low, free.high], abs=1e-3)
    assert mean_interval(values + 1e-9, limits=(0, values.max())).mean <= values.max()
    with pytest.raises(InputError, match=r"2 values outside 0 to 0\.5 arrived, 0\.7 first"):
        mean_interval([[0.2, 0.7], [0.1, 0.9]], limits=(0, 0.5))


def test_an_interval_says_what_its_error_comes_from():
    """By hand, from the enumeration above: 4 from two runs, 0.25 from two images."""
    result = mean_interval([[0.0, 1.0], [4.0, 5.0]], resamples=40_000)
    assert result.clusters == 2
    assert [result.run_variance, result.image_variance] == pytest.approx([4, 0.25], rel=0.02)
    apart = difference_interval([[0.0, 1.0], [4.0, 5.0]], [[0.0, 0.0], [1.0, 1.0]], [0, 0], resamples=10)
    assert apart.clusters == 1
    assert np.isnan([apart.run_variance, apart.image_variance]).all()
    alone = mean_interval([[0.0, 1.0], [4.0, 5.0]], over="images")
    assert (alone.run_variance, alone.image_variance > 0) == (0, True)


scores_of_both = st.tuples(*[st.lists(st.integers(-3, 3), min_size=1, max_size=12)] * 2)


@given(scores_of_both)
def test_auc_is_the_double_loop_and_mann_whitneys_u(scores):
    authentic, synthetic = np.array(scores[0], float), np.array(scores[1], float)
    result = auc(authentic, synthetic)
    both = np.concatenate([authentic, synthetic])
    assert result == pytest.approx(slow_auc(both, np.arange(both.size) >= authentic.size))
    assert result == pytest.approx(mannwhitneyu(synthetic, authentic).statistic / (authentic.size * synthetic.size))
    assert result == pytest.approx(1 - auc(synthetic, authentic))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(2, 12), st.integers(0, 99))
def test_interval_properties(runs, images, seed):
    values = normal(runs, images, seed=seed)
    result = mean_interval(values, resamples=100)
    assert result == mean_interval(values, resamples=100)
    assert result.low < result.mean < result.high
    assert result.mean - result.low == pytest.approx(result.high - result.mean)
    moved = mean_interval(3 * values + 7, resamples=100)
    assert np.allclose([moved.low, moved.high], [3 * result.low + 7, 3 * result.high + 7])
    wider = mean_interval(values, resamples=100, level=0.99)
    assert wider.low < result.low < result.high < wider.high


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(10)), st.permutations(range(4)))
def test_order_of_images_with_their_clusters_changes_nothing(images, runs):
    values, synthetic = normal(4, 10), np.array([True, False] * 5)
    for interval in (
        lambda columns: mean_interval(values[:, columns], CLUSTERS[columns], resamples=50),
        lambda columns: auc_interval(values[:, columns], synthetic[columns], CLUSTERS[columns], resamples=50),
    ):
        before, after = interval(list(range(10))), interval(images)
        assert np.allclose([before.mean, before.low, before.high], [after.mean, after.low, after.high])
    assert mean_interval(values[runs]).mean == pytest.approx(values.mean())


def test_difference_cancels_what_images_do_to_both():
    images = 100 * normal(1, 50)
    guided, traditional = images + normal(5, 50), images + normal(5, 50, seed=1)
    result = difference_interval(guided, traditional)
    assert result.high - result.low < 2 < 20 < mean_interval(guided).high - mean_interval(guided).low


def test_clusters_and_runs_make_intervals_longer_than_their_values_would():
    runs, subjects = normal(5, 1), np.repeat(normal(1, 10, seed=1), 20, axis=1)
    by_image, by_subject = (
        mean_interval(subjects + 0.01 * normal(20, 200), labels) for labels in (None, np.arange(200) // 20)
    )
    assert by_subject.high - by_subject.low > 3 * (by_image.high - by_image.low)
    # A hundred times the images bring no new run.
    few, many = (mean_interval(runs + normal(5, images)) for images in (20, 2000))
    assert many.high - many.low > 0.5 * (few.high - few.low)


def test_memory_bound_changes_nothing(monkeypatch):
    values, synthetic = normal(3, 10), np.array([True, False] * 5)
    before = mean_interval(values), auc_interval(values, synthetic)
    monkeypatch.setattr(intervals, "WEIGHTS_AT_ONCE", 170)
    after = mean_interval(values), auc_interval(values, synthetic)
    for result, other in zip(before, after, strict=True):
        assert np.allclose([result.low, result.high], [other.low, other.high], rtol=1e-12)


# What cannot be estimated, and what does not fit


HALVES = np.array([True, True, False, False])


@pytest.mark.parametrize(
    ("call", "status", "note"),
    [
        (lambda: mean_interval(normal(1, 9)), "one run", "1 run: no interval over runs"),
        (lambda: mean_interval(normal(9, 1)), "one image or cluster", "1 image: no interval over images"),
        (
            lambda: mean_interval(normal(9, 5), np.zeros(5)),
            "one image or cluster",
            "1 cluster: no interval over clusters",
        ),
        (lambda: mean_interval([[0.3]]), "one run", "1 run: no interval over runs; 1 image: no interval over images"),
        (lambda: mean_interval([[0.3]], over="images"), "one image or cluster", "1 image: no interval over images"),
        (lambda: mean_interval(np.full((5, 9), 0.1)), "no spread", "no spread: no interval"),
        (lambda: mean_interval(np.full((1, 9), 0.1), over="images"), "no spread", "no spread: no interval"),
        (lambda: difference_interval(normal(5, 9), normal(1, 9)), "one run", "1 run: no interval over runs"),
        (lambda: pairs_interval(normal(1, 9), ["ab"]), "one pair of runs", "2 runs: one pair, no interval"),
        (
            lambda: pairs_interval([[0.1], [0.2], [0.3]], ["ab", "bc", "ca"]),
            "one image or cluster",
            "1 image: no interval over images",
        ),
        (
            lambda: pairs_interval(normal(3, 9), ["ab", "ac", "ad"]),
            "pairs share a run",
            "all pairs share a run: no interval",
        ),
        (lambda: pairs_interval(np.full((3, 9), 0.1), ["ab", "bc", "ca"]), "no spread", "no spread: no interval"),
        (lambda: contrast_interval(normal(1, 4), HALVES), "one run", "1 run: no interval over runs"),
        (
            lambda: contrast_interval(normal(5, 3), HALVES[1:]),
            "one image or cluster",
            "1 image of a class: no interval over images",
        ),
        (
            lambda: contrast_interval(normal(5, 4), HALVES, [0, 1, 2, 2]),
            "one image or cluster",
            "1 cluster of a class: no interval over clusters",
        ),
        (lambda: contrast_interval(np.full((5, 4), 0.1), HALVES), "no spread", "no spread: no interval"),
        # All runs separate the classes: the spread of such an AUC is unknown, not 0.
        (
            lambda: auc_interval(normal(5, 8) + 99 * (np.arange(8) < 4), np.arange(8) < 4),
            "no spread",
            "no spread: no interval",
        ),
    ],
)
def test_no_interval_and_why(call, status, note):
    result = call()
    assert np.isfinite(result.mean)
    assert np.isnan([result.low, result.high]).all()
    assert (result.status, result.note) == (Status(status), note)
    assert type(result.as_row()["status"]) is str


def test_an_interval_that_was_estimated_says_so():
    assert mean_interval(normal(5, 9)).status == Status.ESTIMATED == "estimated"


def test_too_few_images_to_resample_both_classes():
    # Four draws from two images a class are all of one class with a chance of 2 / 16.
    result = auc_interval([[0.1, 0.3, 0.2, 0.4], [0.1, 0.5, 0.2, 0.3]], np.array([False, False, True, True]))
    assert result.mean == 0.625
    assert np.isnan([result.low, result.high]).all()
    assert result.note in {f"too few images of a class: {share}% of resamples have none" for share in (11, 12, 13, 14)}
    assert result.status == Status.FEW_OF_A_CLASS


def test_nothing_alive_yields_no_number():
    dead, synthetic = np.full((3, 4), np.nan), np.array([True, True, False, False])
    one_class = np.where(synthetic, 0.5, dead)
    for result in (
        mean_interval(dead),
        difference_interval(dead, np.ones((3, 4))),
        auc_interval(dead, synthetic),
        auc_interval(one_class, synthetic),
        pairs_interval(dead, ["ab", "bc", "ca"]),
        contrast_interval(one_class, synthetic),
        mean_interval(dead, over="images"),
    ):
        assert np.isnan([result.mean, result.low, result.high]).all()
        assert result.runs == 0
        assert result.missing >= 1
        assert (result.note, result.status) == ("no live value", Status.NO_LIVE_VALUE)


def test_regimes_that_share_no_class_have_no_live_scores():
    """Each image is alive in both regimes, but one class is only in images that the other regime lacks."""
    synthetic = np.array([True, True, False, False])
    guided = [[0.9, np.nan, 0.1, np.nan]] * 2
    traditional = [[0.9, 0.8, np.nan, 0.2]] * 2
    result = auc_difference_interval(guided, traditional, synthetic)
    assert np.isnan([result.mean, result.low]).all()
    assert (result.status, result.note) == (Status.NO_LIVE_CLASS, "a class without live scores")


def test_a_dead_pair_may_cost_the_interval():
    values = normal(3, 9)
    values[1] = np.nan
    result = pairs_interval(values, ["ab", "bc", "ca"])
    assert (result.runs, result.missing, result.note) == (3, 9, "all pairs share a run: no interval")
    values[2] = np.nan
    assert pairs_interval(values, ["ab", "bc", "ca"]).note == "2 runs: one pair, no interval"


def test_a_run_without_scores_of_one_class_is_left_out():
    synthetic = np.array([True, True, False, False])
    result = auc_interval([[0.9, 0.8, np.nan, np.nan], [0.9, 0.1, 0.5, 0.6]], synthetic)
    assert (result.mean, result.runs, result.missing) == (0.5, 1, 4)


def test_a_source_of_one_class_has_no_auc():
    with pytest.raises(InputError, match="AUC of dcgan: no authentic images"):
        auc_interval(normal(3, 4), np.ones(4, bool), source="dcgan")
    with pytest.raises(InputError, match="AUC of dcgan: no synthetic scores"):
        auc([0.1, 0.2], [np.nan], source="dcgan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([[1.0, 2.0], [1.0]]), "runs of 2, 1 values"),
        (lambda: mean_interval([np.ones(3), np.ones(2)]), "runs of 3, 2 values"),
        (lambda: mean_interval([1.0, 2.0]), r"shape \(2,\)"),
        (lambda: mean_interval(np.ones((2, 3)), [1, 2]), "one label an image"),
        (lambda: mean_interval(np.ones((2, 3)), ["a", None, "b"]), "1 of 3 clusters have no label"),
        (lambda: difference_interval(np.ones((2, 3)), np.ones((2, 4))), "tables of 3 and 4 images"),
        (lambda: auc([], [1.0], source="dcgan"), "AUC of dcgan: no authentic scores"),
        (lambda: auc([1.0], [np.nan], source="dcgan"), "AUC of dcgan: no synthetic scores"),
        (lambda: auc([[1.0]], [1.0]), r"shape \(1, 1\)"),
        (lambda: auc_interval(np.ones((2, 3)), [True] * 3, source="dcgan"), "AUC of dcgan: no authentic images"),
        (lambda: auc_interval(np.ones((2, 3)), [0, 1, 1]), "True for synthetic"),
        (lambda: auc_interval(np.ones((2, 3)), [False, True]), "values of 3 images arrived with 2 classes"),
        (lambda: pairs_interval(np.ones((2, 3)), ["ab"]), "1 pairs arrived for 2 rows"),
        (lambda: pairs_interval(np.ones((2, 3)), ["ab", "aa"]), "two different runs"),
        (lambda: pairs_interval(np.ones((2, 3)), ["ab", "ba"]), "arrived twice"),
        (lambda: contrast_interval(np.ones((2, 3)), [0, 1, 1]), "contrast: classes int64"),
        (lambda: contrast_interval(np.ones((2, 3)), [False] * 3), "contrast: no second images"),
        (lambda: contrast_interval(np.ones((2, 3)), [False, True]), "values of 3 images arrived with 2 classes"),
        (lambda: contrast_interval(np.ones((2, 4)), HALVES, [1, 2]), "one label an image"),
        (
            lambda: mean_interval(np.ones((2, 3)), over="runs"),
            "over 'runs' arrived; choose from 'runs and images', 'images'",
        ),
    ],
)
def test_errors_say_what_arrived(call, message):
    with pytest.raises(InputError, match=message):
        call()
