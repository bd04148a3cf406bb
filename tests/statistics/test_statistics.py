from dataclasses import asdict
from itertools import combinations, product
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, permutation_test, t, ttest_ind

from e2m import statistics
from e2m.statistics import (
    Interval,
    auc,
    auc_difference_interval,
    auc_interval,
    cliffs_delta,
    compare,
    contrast_interval,
    difference_interval,
    equivalent,
    holm,
    mean_interval,
    pairs_interval,
    probability_greater,
    summarise,
)
from e2m.types import InputError


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def tidy(table, names="run image", **columns):
    """Rows of a table {(run, image): value}, or of an array (R, N)."""
    if not isinstance(table, dict):
        table = {(run, f"i{image:02}"): value for (run, image), value in np.ndenumerate(table)}
    rows = pd.DataFrame(table.keys(), columns=names.split())
    return rows.assign(value=list(table.values()), **columns)


def paired(table, pairs, **columns):
    cells = {(*pairs[row], f"i{image:02}"): value for (row, image), value in np.ndenumerate(table)}
    return tidy(cells, "run run_other image", **columns)


# By hand.


def test_two_runs_of_two_images_by_enumeration():
    values = np.array([[0.0, 1.0], [4.0, 5.0]])
    # Two draws of two things: (2, 0), (1, 1), (1, 1), (0, 2); the means move by 4 / 2 for runs and 1 / 2 for images.
    runs = np.array([values[list(drawn)].mean() for drawn in product(range(2), repeat=2)])
    images = np.array([values[:, list(drawn)].mean() for drawn in product(range(2), repeat=2)])
    v_run, v_image = 2 * runs.var(), 2 * images.var()
    assert (v_run, v_image) == (4.0, 0.25)
    freedom = (v_run + v_image) ** 2 / (v_run**2 + v_image**2)
    reach = t.ppf(0.975, freedom) * np.sqrt(v_run + v_image)
    found = mean_interval(values, resamples=40_000)
    assert (found.mean, found.runs, found.images, found.missing, found.note) == (2.5, 2, 2, 0, "few runs (2)")
    assert np.allclose([found.low, found.high], [2.5 - reach, 2.5 + reach], rtol=0.02)


def test_missing_values_are_left_out_and_counted():
    found = mean_interval([[1.0, 2.0, np.nan, np.nan], [3.0, np.nan, 6.0, np.inf], [np.nan] * 4])
    assert (found.mean, found.runs, found.images, found.missing) == (3.0, 2, 3, 8)
    # The third image has no live value in one regime: 1, 2 against 5, 5.
    difference = difference_interval([[1.0, 2.0, 9.0]] * 2, [[5.0, 5.0, np.nan]] * 2)
    assert (difference.mean, difference.images, difference.missing) == (-3.5, 2, 4)


def test_three_pairs_by_hand():
    # Without one run a single pair remains: 1, 2 or 6, whose variance is 14 / 3; the jackknife takes it 2 times.
    values = np.array([[0.0, 2.0], [1.0, 3.0], [5.0, 7.0]])
    found = pairs_interval(values, [("a", "b"), ("c", "a"), ("b", "c")], resamples=40_000)
    v_run, v_image = 2 * 14 / 3, 1.0
    reach = t.ppf(0.975, (v_run + v_image) ** 2 / (v_run**2 / 2 + v_image**2)) * np.sqrt(v_run + v_image)
    assert (found.mean, found.runs, found.images, found.missing, found.note) == (3.0, 3, 2, 0, "few runs (3)")
    assert np.allclose([found.low, found.high], [3 - reach, 3 + reach], rtol=0.02)


def test_contrast_by_hand():
    second = np.array([True, False, False, True])
    # Run by run 6 - 2 and 1 - 3: the third run has no live value of the first class, the gap costs its run no weight.
    found = contrast_interval([[5.0, 1, 3, 7], [1.0, np.nan, 3, np.nan], [1.0, np.nan, np.nan, 1]], second)
    assert (found.mean, found.runs, found.images, found.missing) == (1.0, 2, 4, 6)


def test_rows_become_tables_by_hand():
    cells = {(1, "b"): 4.0, (0, "a"): 1.0, (0, "b"): np.nan, (1, "c"): 1.0}
    found = summarise(tidy(cells, measure="noise"), ["measure"])
    assert [*found] == ["measure", "mean", "low", "high", "runs", "images", "missing", "note", "kind"]
    # One value is NaN; run 0 on c and run 1 on a have no row.
    assert found[["measure", "mean", "runs", "images", "missing"]].to_numpy().tolist() == [["noise", 2.0, 2, 3, 3]]
    # Pairs (0, 1), (0, 2), (1, 2) on two images are six cells; four have a row, one of them dead.
    cells = {(1, 0, "a"): 1.0, (0, 1, "b"): 2.0, (2, 1, "a"): 6.0, (1, 2, "b"): np.inf}
    found = summarise(tidy(cells, "run run_other image", measure="stability"), ["measure"])
    assert found[["mean", "runs", "images", "missing"]].to_numpy().tolist() == [[3.0, 3, 2, 3]]


def test_comparison_by_hand():
    rows = pd.concat(
        [
            tidy(np.arange(6.0, 11)[:, None] + [0, 1], regime="cyborg", measure="far"),
            tidy(np.arange(1.0, 6)[:, None] + [0, 1], regime="cross_entropy", measure="far"),
            tidy(np.array([[0.3], [0.1]]), regime="cyborg", measure="near"),
            tidy(np.array([[0.1], [0.3]]), regime="cross_entropy", measure="near"),
            tidy(np.array([[99.0], [99.0]]), regime="other", measure="near"),
        ]
    )
    far, near = compare(rows, ["measure"]).to_dict("records")
    assert (far["measure"], far["difference"], far["probability_greater"], far["cliffs_delta"]) == ("far", 5, 1, 1)
    assert (far["p"], far["p_smallest"], far["p_holm"]) == (2 / 252, 2 / 252, 4 / 252)
    assert (far["runs"], far["images"], far["missing"], far["note"]) == (5, 2, 0, "few runs (5)")
    assert (near["difference"], near["p"], near["p_holm"], near["cliffs_delta"]) == (0, 1, 1, 0)
    assert near["note"] == "1 image: no interval over images"


def test_auc_by_hand():
    assert auc([0.1, 0.4], [0.3, 0.9]) == 0.75
    assert auc([0.5, 0.5], [0.5]) == 0.5
    assert auc([0.1, np.nan], [0.3]) == 1.0


def test_chances_by_hand():
    found = probability_greater([3.0, 1.0], [0.0, 2.0, 3.0])
    assert found.mean == (1 + 1 + 0.5 + 1 + 0 + 0) / 6
    assert cliffs_delta([3.0, 1.0], [0.0, 2.0, 3.0]).mean == pytest.approx(2 * found.mean - 1)
    # Newcombe's equation at the ends: |found - end| = 1.96 sqrt(V(end)).
    for end in (found.low, found.high):
        factor = 1 + 1.5 * ((1 - end) / (2 - end) + end / (1 + end))
        assert abs(found.mean - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / 6 * factor), abs=1e-6)
    # All above: the lower end still says that there are only three runs each.
    apart = probability_greater([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    assert apart.mean == apart.high == 1.0
    assert 0.4 < apart.low < 0.7
    assert probability_greater([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]).high == pytest.approx(1 - apart.low, abs=1e-6)


def test_permutation_by_hand():
    apart = statistics.permutation_test([6.0, 7, 8, 9, 10], [1.0, 2, 3, 4, 5])
    assert (apart.difference, apart.p, apart.smallest, apart.splits, apart.exact) == (5, 2 / 252, 2 / 252, 252, True)
    # Differences of the splits of 1, 2, 4: 1 - 3, 2 - 2.5, 4 - 1.5.
    uneven = statistics.permutation_test([1.0], [2.0, 4.0])
    assert (uneven.difference, uneven.p, uneven.smallest) == (-2.0, 2 / 3, 1 / 3)
    assert statistics.permutation_test([0.1, 0.3], [0.3, 0.1]).p == 1.0
    assert statistics.permutation_test([0.7] * 4, [0.7] * 4).smallest == 1.0


def test_holm_by_hand():
    assert np.allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert np.allclose(holm([0.5, np.nan, 0.9]), [1.0, np.nan, 1.0], equal_nan=True)
    assert holm([]).shape == (0,)


# Against slow, literal transcriptions, and SciPy.


def slow_draws(tables, clusters, value, resamples, seed):
    """Draws of runs of each table, then of clusters, made of repeated rows and columns instead of weights."""
    drawn = []
    kinds = np.unique(clusters)

    def counts(factor, size):
        return statistics._counts(np.random.default_rng([seed, factor]), resamples, size).astype(int)

    for number, table in enumerate(tables):
        values = []
        for count in counts(1 + number, len(table)):
            changed = [np.repeat(table, count, axis=0) if other is table else other for other in tables]
            values.append(value(changed, np.arange(table.shape[1])))
        drawn.append(np.array(values))
    values = []
    for count in counts(0, len(kinds)):
        columns = [
            n
            for kind, times in zip(kinds, count, strict=True)
            for _ in range(times)
            for n in np.flatnonzero(clusters == kind)
        ]
        values.append(value(tables, np.array(columns)))
    return [*drawn, np.array(values)]


def slow_spread(tables, clusters, value, resamples, seed, level):
    draws = slow_draws(tables, clusters, value, resamples, seed)
    sizes = [*(len(table) for table in tables), len(np.unique(clusters))]
    parts = [size / (size - 1) * np.nanvar(drawn) for drawn, size in zip(draws, sizes, strict=True)]
    freedom = sum(parts) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    return t.ppf((1 + level) / 2, freedom) * np.sqrt(sum(parts))


def slow_auc(scores, synthetic):
    wins = [(s > a) + (s == a) / 2 for s in scores[synthetic] for a in scores[~synthetic]]
    return np.nan if not wins else np.mean(wins)


def slow_means(tables, columns):
    found = [np.nanmean(table[:, columns]) for table in tables]
    return found[0] - found[1] if len(found) == 2 else found[0]


CLUSTERS = np.array(["c", "a", "b", "a", "d", "e", "f", "g", "f", "c"])


def test_mean_and_difference_against_repeated_rows():
    guided, traditional = normal(4, 10), normal(3, 10, seed=1)
    guided[0, 3] = traditional[1, 8] = np.nan
    found = mean_interval(guided, CLUSTERS, resamples=60, seed=3)
    assert found.high - found.mean == pytest.approx(slow_spread([guided], CLUSTERS, slow_means, 60, 3, 0.95))
    found = difference_interval(guided, traditional, CLUSTERS, resamples=60, seed=3, level=0.9)
    assert found.mean == pytest.approx(np.nanmean(guided) - np.nanmean(traditional))
    assert found.mean - found.low == pytest.approx(slow_spread([guided, traditional], CLUSTERS, slow_means, 60, 3, 0.9))


def test_auc_intervals_against_repeated_rows():
    synthetic = np.array([True, False] * 5)
    # Rounded, so that scores tie.
    guided, traditional = normal(4, 10).round(0) + synthetic, normal(3, 10, seed=1).round(0)

    def slow_aucs(tables, columns):
        found = [np.mean([slow_auc(row[columns], synthetic[columns]) for row in table]) for table in tables]
        return found[0] - found[1] if len(found) == 2 else found[0]

    found = auc_interval(guided, synthetic, CLUSTERS, resamples=60, seed=5)
    assert found.mean == pytest.approx(slow_aucs([guided], np.arange(10)))
    reach = slow_spread([guided], CLUSTERS, slow_aucs, 60, 5, 0.95) / (found.mean * (1 - found.mean))
    odds = np.log([found.low / (1 - found.low), found.high / (1 - found.high)])
    assert np.allclose(odds, np.log(found.mean / (1 - found.mean)) + np.array([-reach, reach]))

    found = auc_difference_interval(guided, traditional, synthetic, CLUSTERS, resamples=60, seed=5, level=0.5)
    assert found.mean == pytest.approx(slow_aucs([guided, traditional], np.arange(10)))
    assert found.high - found.mean == pytest.approx(slow_spread([guided, traditional], CLUSTERS, slow_aucs, 60, 5, 0.5))


def test_pairs_against_loops():
    pairs = [pair for pair in combinations("vwxyz", 2) if pair != ("w", "z")]
    values = normal(9, 10)
    values[2, 4] = values[5, 1] = np.nan
    found = pairs_interval(values, pairs, CLUSTERS, resamples=60, seed=3)
    without = [np.nanmean(values[[run not in pair for pair in pairs]]) for run in "vwxyz"]
    v_run = 4 / 5 * sum((value - np.mean(without)) ** 2 for value in without)
    v_image = 7 / 6 * slow_draws([values], CLUSTERS, slow_means, 60, 3)[-1].var()
    freedom = (v_run + v_image) ** 2 / (v_run**2 / 4 + v_image**2 / 6)
    assert (found.mean, found.runs) == (pytest.approx(np.nanmean(values)), 5)
    assert found.high - found.mean == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(v_run + v_image))


def test_contrast_against_repeated_rows():
    values, second = normal(4, 10), np.arange(10) < 5
    values[1, 3] = values[2, 7] = np.nan
    labels = np.array(list("aabbcabcde"))  # a to c have images of both classes

    def contrast(after, before):
        return np.nanmean(after, axis=1) - np.nanmean(before, axis=1)

    def resampled(own, other, names):
        kinds = np.unique(names)
        for count in statistics._counts(generator, 60, len(kinds)).astype(int):
            columns = [n for kind in np.repeat(kinds, count) for n in np.flatnonzero(names == kind)]
            yield contrast(own[:, columns], other).mean()

    found = contrast_interval(values, second, labels, resamples=60, seed=3)
    apart = contrast(values[:, second], values[:, ~second])
    draws = statistics._counts(np.random.default_rng([3, 1]), 60, 4)
    generator = np.random.default_rng([3, 0])
    parts = [4 / 3 * (draws @ apart / 4).var()]
    for mine in (~second, second):
        size = len(np.unique(labels[mine]))
        parts.append(size / (size - 1) * np.var(list(resampled(values[:, mine], values[:, ~mine], labels[mine]))))
    freedom = sum(parts) ** 2 / sum(part**2 / df for part, df in zip(parts, (3, 4, 2), strict=True))
    assert found.mean == pytest.approx(apart.mean())
    assert found.high - found.mean == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(sum(parts)))


def test_groups_are_what_the_functions_say_of_their_tables():
    guided, traditional = normal(4, 10), normal(3, 10, seed=1)
    guided[0, 3] = traditional[1, 8] = np.nan
    subjects = {f"i{image:02}": label for image, label in enumerate(CLUSTERS)}
    pairs, alike = list(combinations(range(4), 2)), normal(6, 10, seed=2)
    rows = pd.concat(
        [
            tidy(guided, regime="cyborg", measure="noise"),
            tidy(traditional, regime="cross_entropy", measure="noise"),
            paired(alike, pairs, regime="cyborg", measure="stability"),
            paired(alike[:3], list(combinations(range(3), 2)), regime="cross_entropy", measure="stability"),
        ]
    )
    means = [
        mean_interval(guided, CLUSTERS, 50, 3),
        mean_interval(traditional, CLUSTERS, 50, 3),
        pairs_interval(alike, pairs, CLUSTERS, 50, 3),
        pairs_interval(alike[:3], list(combinations(range(3), 2)), CLUSTERS, 50, 3),
    ]
    found = summarise(rows, ["measure", "regime"], subjects, resamples=50, seed=3)
    assert found.drop(columns=["measure", "regime"]).to_dict("records") == [asdict(interval) for interval in means]
    assert found["regime"].tolist() == ["cyborg", "cross_entropy"] * 2
    kinds = dict.fromkeys(("measure", "regime", "image"), "category")
    shuffled = rows.sample(frac=1, random_state=0).astype(kinds).sort_values("measure", kind="stable")
    again = summarise(shuffled, ["measure", "regime"], pd.Series(subjects), resamples=50, seed=3)
    pd.testing.assert_frame_equal(
        *(table.sort_values(["measure", "regime"], ignore_index=True) for table in (found, again))
    )

    noise, stability = compare(rows, ["measure"], clusters=subjects, resamples=50, seed=3).to_dict("records")
    apart = difference_interval(guided, traditional, CLUSTERS, 50, 3)
    levels = np.nanmean(guided, axis=1), np.nanmean(traditional, axis=1)
    chance, test = probability_greater(*levels), statistics.permutation_test(*levels)
    assert [noise[name] for name in ("difference", "low", "high")] == [apart.mean, apart.low, apart.high]
    assert [noise[name] for name in ("runs", "images", "missing", "note")] == [3, 10, 2, apart.note]
    delta = cliffs_delta(*levels)
    assert [noise[f"cliffs_{end}"] for end in ("delta", "low", "high")] == [delta.mean, delta.low, delta.high]
    assert (noise["kind"], stability["kind"]) == ("difference", "pairs")
    assert [noise["probability_low"], noise["probability_high"]] == [chance.low, chance.high]
    assert (noise["p"], noise["p_smallest"], noise["p_holm"]) == (test.p, test.smallest, test.p)

    # Runs of the regimes are left out apart, images drawn together.
    parts = [7 / 6 * slow_draws([alike, alike[:3]], CLUSTERS, slow_means, 50, 3)[-1].var()]
    for table, members in ((alike, pairs), (alike[:3], list(combinations(range(3), 2)))):
        size = len(np.unique(members))
        without = [table[[run not in pair for pair in members]].mean() for run in range(size)]
        parts.append((size - 1) * np.var(without))
    freedom = sum(parts) ** 2 / sum(part**2 / df for part, df in zip(parts, (6, 3, 2), strict=True))
    assert stability["difference"] == pytest.approx(alike.mean() - alike[:3].mean())
    assert stability["high"] - stability["difference"] == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(sum(parts)))
    assert (stability["runs"], stability["note"]) == (3, "few runs (3); pairs: no exact test")
    assert np.isnan([stability[name] for name in ("p", "p_holm", "probability_greater", "cliffs_delta")]).all()


def test_permutation_against_scipy():
    a, b = normal(5), normal(4, seed=1) + 0.8
    peer = permutation_test((a, b), lambda x, y: abs(x.mean() - y.mean()), alternative="greater", n_resamples=np.inf)
    assert statistics.permutation_test(a, b).p == pytest.approx(peer.pvalue)


def test_drawn_splits_come_close_to_all(monkeypatch):
    a, b = normal(8), normal(8, seed=1) + 0.8
    exact = statistics.permutation_test(a, b)
    assert exact.splits == comb(16, 8)
    monkeypatch.setattr(statistics, "MAX_SPLITS", 10_000)
    drawn = statistics.permutation_test(a, b)
    assert drawn == statistics.permutation_test(a, b)
    assert not drawn.exact
    assert (drawn.splits, drawn.smallest) == (10_000, 1 / 10_001)
    assert drawn.note == "10000 of 12870 splits, drawn"
    assert drawn.p == pytest.approx(exact.p, abs=0.02)


def test_equivalence_against_two_t_tests():
    a, b = 0.8 + 0.01 * normal(6), 0.8 + 0.02 * normal(5, seed=1)
    lower = ttest_ind(a + 0.05, b, equal_var=False, alternative="greater")
    upper = ttest_ind(a - 0.05, b, equal_var=False, alternative="less")
    found = equivalent(a, b, margin=0.05)
    assert found.p == pytest.approx(max(lower.pvalue, upper.pvalue))
    assert np.allclose([found.low, found.high], ttest_ind(a, b, equal_var=False).confidence_interval(0.9))
    assert (found.margin, found.equivalent, found.note) == (0.05, True, "few runs (5)")
    assert not equivalent(a, b, margin=0.005).equivalent
    assert not equivalent(a, b + 0.1, margin=0.05).equivalent


def test_equivalence_needs_the_given_interval_inside_as_well():
    a, b = 0.8 + 0.01 * normal(6), 0.8 + 0.01 * normal(6, seed=1)
    wide = Interval(0.0, -0.06, 0.04, 6, 100, 0, "few runs (6)")
    found = equivalent(a, b, 0.05, interval=wide)
    assert found.p < 0.05
    assert (found.low, found.high, found.equivalent, found.note) == (-0.06, 0.04, False, "few runs (6)")
    unknown = Interval(0.0, np.nan, np.nan, 6, 1, 0, "1 image: no interval over images")
    assert not equivalent(a, b, 0.05, interval=unknown).equivalent


# Properties.

scores_of_both = st.tuples(*[st.lists(st.integers(-3, 3), min_size=1, max_size=12)] * 2)


@given(scores_of_both)
def test_auc_is_the_double_loop_and_mann_whitneys_u(scores):
    authentic, synthetic = np.array(scores[0], float), np.array(scores[1], float)
    found = auc(authentic, synthetic)
    both = np.concatenate([authentic, synthetic])
    assert found == pytest.approx(slow_auc(both, np.arange(both.size) >= authentic.size))
    assert found == pytest.approx(mannwhitneyu(synthetic, authentic).statistic / (authentic.size * synthetic.size))
    assert found == pytest.approx(1 - auc(synthetic, authentic))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(2, 12), st.integers(0, 99))
def test_interval_properties(runs, images, seed):
    values = normal(runs, images, seed=seed)
    found = mean_interval(values, resamples=100)
    assert found == mean_interval(values, resamples=100)
    assert found.low < found.mean < found.high
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    moved = mean_interval(3 * values + 7, resamples=100)
    assert np.allclose([moved.low, moved.high], [3 * found.low + 7, 3 * found.high + 7])
    wider = mean_interval(values, resamples=100, level=0.99)
    assert wider.low < found.low < found.high < wider.high


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


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_no_smaller(p_values):
    p, adjusted = np.array(p_values), holm(p_values)
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(adjusted[order]) >= 0)
    assert np.all((adjusted >= p) & (adjusted <= np.minimum(1, p * p.size)))


def test_difference_cancels_what_images_do_to_both():
    images = 100 * normal(1, 50)
    guided, traditional = images + normal(5, 50), images + normal(5, 50, seed=1)
    found = difference_interval(guided, traditional)
    assert found.high - found.low < 2 < 20 < mean_interval(guided).high - mean_interval(guided).low


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
    monkeypatch.setattr(statistics, "WEIGHTS_AT_ONCE", 170)
    after = mean_interval(values), auc_interval(values, synthetic)
    for found, other in zip(before, after, strict=True):
        assert np.allclose([found.low, found.high], [other.low, other.high], rtol=1e-12)


# What cannot be estimated, and what does not fit.

HALVES = np.array([True, True, False, False])


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (lambda: mean_interval(normal(1, 9)), "1 run: no interval over runs"),
        (lambda: mean_interval(normal(9, 1)), "1 image: no interval over images"),
        (lambda: mean_interval(normal(9, 5), np.zeros(5)), "1 cluster: no interval over clusters"),
        (lambda: mean_interval([[0.3]]), "1 run: no interval over runs; 1 image: no interval over images"),
        (lambda: mean_interval(np.full((5, 9), 0.1)), "no spread: no interval"),
        (lambda: difference_interval(normal(5, 9), normal(1, 9)), "1 run: no interval over runs"),
        (lambda: pairs_interval(normal(1, 9), ["ab"]), "2 runs: one pair, no interval"),
        (lambda: pairs_interval([[0.1], [0.2], [0.3]], ["ab", "bc", "ca"]), "1 image: no interval over images"),
        (lambda: pairs_interval(normal(3, 9), ["ab", "ac", "ad"]), "all pairs share a run: no interval"),
        (lambda: pairs_interval(np.full((3, 9), 0.1), ["ab", "bc", "ca"]), "no spread: no interval"),
        (lambda: contrast_interval(normal(1, 4), HALVES), "1 run: no interval over runs"),
        (lambda: contrast_interval(normal(5, 3), HALVES[1:]), "1 image of a class: no interval over images"),
        (
            lambda: contrast_interval(normal(5, 4), HALVES, [0, 1, 2, 2]),
            "1 cluster of a class: no interval over clusters",
        ),
        (lambda: contrast_interval(np.full((5, 4), 0.1), HALVES), "no spread: no interval"),
        (lambda: probability_greater([1.0], [2.0, 3.0]), "1 run: no interval over runs"),
        # All runs separate the classes: the spread of such an AUC is unknown, not 0.
        (lambda: auc_interval(normal(5, 8) + 99 * (np.arange(8) < 4), np.arange(8) < 4), "no spread: no interval"),
    ],
)
def test_no_interval_and_why(found, note):
    found = found()
    assert np.isfinite(found.mean)
    assert np.isnan([found.low, found.high]).all()
    assert found.note == note


def test_a_single_run_has_no_spread_over_runs():
    rows = pd.concat([tidy(normal(1, 9), regime=regime, measure="m") for regime in ("cyborg", "cross_entropy")])
    found = compare(rows, ["measure"])
    (row,) = found.to_dict("records")
    unknown = ["low", "high", "probability_low", "probability_high", "cliffs_low", "cliffs_high", "p", "p_smallest"]
    assert np.isnan([row[name] for name in unknown]).all()
    assert row["note"] == "1 run: no interval over runs; 1 run each: no test"
    assert equivalent([0.8], [0.8], margin=0.1).note == "1 run: no test"


def test_a_single_image_has_no_spread_over_images(score_rows):
    found = summarise(tidy(normal(5, 1), measure="m"), ["measure"])
    assert found.loc[0, ["low", "high"]].isna().all()
    assert found.loc[0, "note"] == "1 image: no interval over images"
    first = score_rows["image"].isin(["orl/0", "swap/0", "morph/0"])
    aucs = statistics.summarise_auc(score_rows[first], ["regime"], "orl")
    assert aucs[["low", "high"]].isna().all(axis=None)
    assert (aucs["note"].str.startswith("too few images of a class")).all()


def test_a_source_of_one_class_has_no_auc(score_rows):
    with pytest.raises(InputError, match="AUC of dcgan: no authentic images"):
        auc_interval(normal(3, 4), np.ones(4, bool), source="dcgan")
    with pytest.raises(InputError, match="AUC of dcgan: no synthetic scores"):
        auc([0.1, 0.2], [np.nan], source="dcgan")
    # Scores that are all missing are no class either.
    gone = score_rows.assign(value=score_rows["value"].where(score_rows["source"] != "swap"))
    swap, morph = statistics.summarise_auc(gone, ["regime"], "orl", resamples=50).head(2).to_dict("records")
    assert np.isnan([swap["mean"], swap["low"], swap["high"]]).all()
    assert (swap["note"], swap["runs"]) == ("no live value", 0)
    assert np.isfinite(morph["mean"])


def test_runs_of_unequal_image_sets_are_counted_or_refused():
    ragged = {(0, "a"): 1.0, (0, "b"): 2.0, (1, "a"): 3.0}
    found = summarise(tidy(ragged, measure="m"), ["measure"])
    assert found[["mean", "runs", "images", "missing"]].to_numpy().tolist() == [[2.0, 2, 2, 1]]
    # Regimes that share no image cannot be compared.
    apart = pd.concat(
        [
            tidy({(0, "a"): 1.0, (1, "a"): 2.0}, regime="cyborg", measure="m"),
            tidy({(0, "b"): 1.0, (1, "b"): 2.0}, regime="cross_entropy", measure="m"),
        ]
    )
    (row,) = compare(apart, ["measure"]).to_dict("records")
    assert np.isnan([row["difference"], row["low"], row["p"]]).all()
    assert (row["images"], row["missing"], row["note"]) == (0, 8, "no live value")
    with pytest.raises(InputError, match="runs of 2, 1 values arrived; every run needs the same images"):
        mean_interval([[1.0, 2.0], [3.0]])


def test_dead_maps_alone_have_no_number():
    rows = pd.concat([tidy(np.full((3, 4), np.nan), regime=name, measure="m") for name in ("cyborg", "cross_entropy")])
    means, (difference,) = summarise(rows, ["regime"]), compare(rows, ["measure"]).to_dict("records")
    assert means[["mean", "low", "high"]].isna().all(axis=None)
    assert means["missing"].tolist() == [12, 12]
    numbers = ("difference", "low", "high", "probability_greater", "cliffs_delta", "p", "p_smallest", "p_holm")
    assert np.isnan([difference[name] for name in numbers]).all()
    assert (difference["missing"], difference["note"]) == (24, "no live value")


def test_too_few_images_to_resample_both_classes():
    # Four draws from two images a class are all of one class with a chance of 2 / 16.
    found = auc_interval([[0.1, 0.3, 0.2, 0.4], [0.1, 0.5, 0.2, 0.3]], np.array([False, False, True, True]))
    assert found.mean == 0.625
    assert np.isnan([found.low, found.high]).all()
    assert found.note in {f"too few images of a class: {share}% of resamples have none" for share in (11, 12, 13, 14)}


def test_nothing_alive_yields_no_number():
    dead, synthetic = np.full((3, 4), np.nan), np.array([True, True, False, False])
    one_class = np.where(synthetic, 0.5, dead)
    for found in (
        mean_interval(dead),
        difference_interval(dead, np.ones((3, 4))),
        auc_interval(dead, synthetic),
        auc_interval(one_class, synthetic),
        pairs_interval(dead, ["ab", "bc", "ca"]),
        contrast_interval(one_class, synthetic),
        probability_greater([np.nan], [1.0]),
    ):
        assert np.isnan([found.mean, found.low, found.high]).all()
        assert found.runs == 0
        assert found.missing >= 1
        assert found.note.startswith("no live ")
    nothing = statistics.permutation_test([np.nan], [1.0])
    assert np.isnan([nothing.p, nothing.smallest]).all()


def test_a_dead_pair_may_cost_the_interval():
    values = normal(3, 9)
    values[1] = np.nan
    found = pairs_interval(values, ["ab", "bc", "ca"])
    assert (found.runs, found.missing, found.note) == (3, 9, "all pairs share a run: no interval")
    values[2] = np.nan
    assert pairs_interval(values, ["ab", "bc", "ca"]).note == "2 runs: one pair, no interval"


def test_groups_without_an_estimate_keep_their_row():
    rows = pd.concat(
        [
            tidy(normal(2, 3), regime="cyborg", measure="alone", salience=None),
            tidy(np.full((2, 3), np.nan), regime="cyborg", measure="dead", salience="CAM"),
            tidy(normal(2, 3), regime="cross_entropy", measure="dead", salience="CAM"),
            paired(normal(1, 3), [(0, 1)], regime="cyborg", measure="pairs", salience="CAM"),
            paired(normal(1, 3), [(0, 1)], regime="cross_entropy", measure="pairs", salience="CAM"),
        ]
    )
    found = compare(rows, ["measure", "salience"])
    assert found["salience"].tolist() == ["", "CAM", "CAM"]
    assert found["note"].tolist() == [
        "no rows of cross_entropy; no live value",
        "no live value",
        "2 runs: one pair, no interval; pairs: no exact test",
    ]
    assert found["difference"].isna().tolist() == [True, True, False]
    assert found[["low", "high", "probability_low", "cliffs_delta", "p", "p_smallest", "p_holm"]].isna().all(axis=None)
    assert summarise(rows, ["measure", "regime"])["missing"].tolist() == [0, 6, 0, 0, 0]


def test_a_run_without_scores_of_one_class_is_left_out():
    synthetic = np.array([True, True, False, False])
    found = auc_interval([[0.9, 0.8, np.nan, np.nan], [0.9, 0.1, 0.5, 0.6]], synthetic)
    assert (found.mean, found.runs, found.missing) == (0.5, 1, 4)


@pytest.mark.parametrize(("a", "note"), [([0.8], "1 run: no test"), ([], "0 runs: no test")])
def test_equivalence_that_cannot_be_tested(a, note):
    found = equivalent(a, [0.8, 0.9], margin=0.05)
    assert np.isnan(found.p)
    assert not found.equivalent
    assert found.note == note
    assert equivalent([0.1] * 3, [0.1] * 3, 0.05).note == "no spread between runs: no test"


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
        (lambda: holm([0.1, 1.2]), "from 0.1 to 1.2"),
        (lambda: equivalent([1.0, 2.0], [1.0, 2.0], margin=0), "margin 0"),
    ],
)
def test_errors_say_what_arrived(call, message):
    with pytest.raises(InputError, match=message):
        call()


ROWS = tidy(normal(2, 3), regime="cyborg", measure="noise", level="0.1")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: summarise(pd.concat([ROWS, ROWS.assign(level="0.2")]), ["measure"]),
            "'i00' in a group; add level to by",
        ),
        (lambda: summarise(pd.concat([ROWS, ROWS.assign(regime="other")]), ["measure"]), "add regime to by"),
        (lambda: summarise(pd.concat([ROWS, ROWS]), ["measure"]), "one row"),
        (lambda: summarise(ROWS, "measure"), "give a list"),
        (lambda: summarise(ROWS, ["run"]), "by names run"),
        (lambda: summarise(ROWS, ["source"]), "no column source; their columns are run, image, value"),
        (lambda: summarise(ROWS[:0], ["measure"]), "no rows"),
        (lambda: summarise(ROWS.assign(run=None), ["measure"]), "without a run"),
        (lambda: summarise(ROWS, ["measure"], {"i00": "a", "i01": "a"}), "1 of 3 images have no cluster, 'i02'"),
        (lambda: summarise(ROWS, ["measure"], pd.Series(["a", "b"], ["i00", "i00"])), "'i00' is in clusters more"),
        (lambda: summarise(ROWS.assign(run_other=[1, 1, 1, None, None, None]), ["measure"]), "single runs arrived"),
        (lambda: summarise(ROWS.assign(run_other=1), ["measure"]), "run 1 is paired with itself"),
        (
            lambda: compare(ROWS, ["measure"]),
            "no rows of regime 'cross_entropy' arrived; the regimes there are: cyborg",
        ),
        (lambda: compare(ROWS, ["measure", "regime"]), "by names regime"),
        (lambda: compare(ROWS, ["measure"], "cyborg", "cyborg"), "two different"),
    ],
)
def test_errors_say_which_rows_do_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call()


# Scores: decisions, flips and AUC by source


@pytest.fixture
def score_rows():
    """Scores of three runs of two regimes on eight images of each source."""
    random = np.random.default_rng(0)
    images = [("orl", "authentic", f"orl/{n}") for n in range(8)]
    images += [(source, "synthetic", f"{source}/{n}") for source in ("swap", "morph") for n in range(8)]
    rows = [
        (regime, run, source, label, image, "score", random.random(), bool(random.random() < 0.5))
        for regime in ("cross_entropy", "cyborg")
        for run in range(3)
        for source, label, image in images
    ]
    columns = ["regime", "run", "source", "label", "image", "variant", "value", "correct"]
    return pd.DataFrame(rows, columns=columns)


def test_mean_over_levels_by_hand():
    rows = pd.DataFrame(
        {"run": 0, "image": list("aab"), "level": list("xyx"), "value": [1.0, 2.0, np.nan], "target": None}
    )
    found = statistics.over_levels(rows)
    assert found.columns.tolist() == ["run", "image", "value"]
    np.testing.assert_array_equal(found["value"], [1.5, np.nan])


def test_all_images_and_those_classified_rightly():
    rows = tidy(np.array([[1.0, 2.0, 3.0]] * 2), measure="m", correct=[True, False, True, True, False, False])
    found = summarise(statistics.by_decision(rows), ["measure", "decision"])
    assert found[["decision", "mean", "images", "missing"]].to_numpy().tolist() == [
        ["all", 2.0, 3, 0],
        ["right", 5 / 3, 2, 1],
    ]


def test_accuracies_by_hand(score_rows):
    rows = score_rows.head(3).assign(value=[0.4, 0.5, np.nan], label=["authentic", "synthetic", "synthetic"])
    found = statistics.accuracies(rows.assign(variant="score_salient"))
    assert found["variant"].tolist() == ["accuracy_salient"] * 3
    np.testing.assert_array_equal(found["value"], [1, 1, np.nan])


def test_flips_by_hand(score_rows):
    rows = score_rows.head(4).assign(
        value=[0.9, 0.9, 0.1, 0.1], label=["synthetic"] * 4, correct=[True, False, True, False]
    )
    assert statistics.flips(rows)["value"].tolist() == [0, 1, 1, 0]


def test_flips_of_maps_by_hand(score_rows):
    """One image under two levels, of which one flips the decision; blur is guided by a map, and has a region."""
    row = {"detector": "d", "regime": "cyborg", "run": 0, "image": "a", "label": "synthetic", "correct": True}
    cases = [  # level, salience, variant, value, flipped
        ("low", "", "score", 0.9, False),
        ("low", "", "score_sigmoid", 0.1, False),
        ("low", "CAM", "ssim", 0.5, False),
        ("high", "", "score", 0.1, True),
        ("high", "CAM", "ssim", 0.5, True),
        ("high", "CAM", "ssim_valid", np.nan, True),
        ("high", "CAM", "score_salient", 0.9, False),
        ("high", "CAM", "ssim_salient", 0.5, False),
        ("high", "GradCAM", "score_salient", 0.1, True),
        ("high", "GradCAM", "ssim_salient", 0.5, True),
        ("high", "GradCAM", "ssim_background", 0.5, False),
    ]
    rows = pd.DataFrame(cases, columns=["level", "salience", "variant", "value", "expected"]).assign(**row)
    expected = rows.pop("expected").tolist()
    for kind in (str, "category"):
        found = statistics.with_flips(rows.astype({"variant": kind, "salience": kind, "level": kind}))
        assert found["flipped"].tolist() == expected
    pooled = statistics.over_levels(found[found["variant"] == "ssim"])
    assert pooled[["value", "flipped"]].to_numpy().tolist() == [[0.5, 1]]
    table = summarise(found, ["variant", "salience", "level"])
    assert table["flipped"].tolist() == expected
    assert summarise(pooled.assign(value=1, flipped=3), ["variant"])["flipped"].tolist() == [3]
    maps = rows[rows["variant"].str.startswith("ssim")]
    assert statistics.with_flips(maps) is maps


def test_other_rows_are_no_scores(score_rows):
    others = pd.concat([score_rows.assign(variant=name) for name in ("ssim", "score_sigmoid", "score_sigmoid_salient")])
    assert statistics.softmax_scores(others).empty
    assert len(statistics.softmax_scores(pd.concat([others, score_rows]))) == len(score_rows)


def test_auc_of_every_source_is_that_of_each_run(score_rows):
    found = statistics.summarise_auc(score_rows, ["regime"], "orl", resamples=50)
    assert found[["regime", "source"]].to_numpy().tolist() == [
        [regime, source] for regime in ("cross_entropy", "cyborg") for source in ("swap", "morph")
    ]
    for _, row in found.iterrows():
        own = score_rows[score_rows["regime"] == row["regime"]]
        runs = [
            auc(run.loc[run["source"] == "orl", "value"], run.loc[run["source"] == row["source"], "value"])
            for _, run in own.groupby("run")
        ]
        assert row["mean"] == pytest.approx(np.mean(runs))


def test_differences_of_auc_and_their_tests(score_rows):
    found = statistics.compare_auc(score_rows, ["variant"], "orl", resamples=50)
    means = statistics.summarise_auc(score_rows, ["regime"], "orl", resamples=50).pivot(
        index="source", columns="regime", values="mean"
    )
    expected = (means["cyborg"] - means["cross_entropy"])[found["source"]]
    np.testing.assert_allclose(found["difference"], expected)
    np.testing.assert_allclose(found["p_holm"], holm(found["p"]))
    assert (found["p_smallest"] >= 2 / 20).all()
    assert [len(runs) for runs in found["runs_guided"]] == [3, 3]
    assert ((found["low"] <= found["low_90"]) & (found["high_90"] <= found["high"])).all()
    for _, row in found.iterrows():
        delta = cliffs_delta(row["runs_guided"], row["runs_traditional"])
        assert [row["cliffs_delta"], row["cliffs_low"], row["cliffs_high"]] == [delta.mean, delta.low, delta.high]


def test_auc_needs_both_classes(score_rows):
    with pytest.raises(InputError, match=r"'nobody'.*there are"):
        statistics.summarise_auc(score_rows, ["regime"], "nobody")
    with pytest.raises(InputError, match="synthetic source"):
        statistics.summarise_auc(score_rows[score_rows["source"] == "orl"], ["regime"], "orl")


def test_shares_stay_between_0_and_1():
    rows = pd.DataFrame(
        [(run, f"{image}", float(run == 0 and image == 0)) for run in range(3) for image in range(4)],
        columns=["run", "image", "value"],
    ).assign(variant="flipped")
    (found,) = summarise(rows, ["variant"], resamples=50).itertuples()
    assert 0 < found.low < found.mean < found.high < 1
    assert found.kind == "share"
    # Beside other groups as by itself.
    others = rows.assign(variant="ssim", value=rows["value"] + np.arange(len(rows)))
    both = summarise(pd.concat([rows, others]), ["variant"], resamples=50)
    assert both["low"][0] == found.low
    assert both["kind"].tolist() == ["share", "mean"]
