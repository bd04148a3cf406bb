"""How many runs or images decide: by hand, by a slow search, and by simulated studies of that size."""

import numpy as np
import pytest
from scipy import stats

from e2m.pages import power as tables
from e2m.statistics import difference_interval, needed, power
from e2m.statistics.planning import MOST


def slow(gap, run_variance, image_variance, runs, clusters, regimes=2, level=0.95, power=0.8):
    """One more at a time, equation by equation."""

    def decides(many_runs, many_clusters):
        v_r, v_c = run_variance * runs / many_runs, image_variance * clusters / many_clusters
        freedom = (v_r + v_c) ** 2 / (v_r**2 / (regimes * (many_runs - 1)) + v_c**2 / (many_clusters - 1))
        t = stats.t.ppf((1 + level) / 2, freedom) + stats.t.ppf(power, freedom)
        return t * (v_r + v_c) ** 0.5 <= gap

    more = next((many for many in range(runs, MOST + 1) if decides(many, clusters)), None)
    images = next((many / clusters for many in range(clusters, MOST * clusters + 1) if decides(runs, many)), None)
    steps = range(runs, MOST + 1)
    return more, images, next((many for many in steps if decides(many, round(clusters * many / runs))), None)


@pytest.mark.parametrize(
    "case",
    [
        (0.1, 0.002, 0.001, 5, 12),
        (0.1, 0.002, 0.0, 5, 12, 1),
        (0.1, 0.0, 0.003, 5, 12, 2, 0.9),
        (0.2, 0.01, 0.002, 3, 6, 2, 0.95, 0.5),
        (1.0, 0.002, 0.001, 5, 12),
        (0.02, 0.001, 0.001, 5, 12),
    ],
)
def test_numbers_are_those_of_a_search_one_by_one(case):
    plan = needed(*case)
    assert (plan.runs, plan.images, plan.both) == slow(*case)


def test_where_runs_vary_too_much_more_images_cannot_decide():
    """Five runs whose own error is half the gap: t of 95 % and 80 % with 8 degrees is 2.31 + 0.89, more than 2."""
    plan = needed(0.1, 0.05**2, 0.0, runs=5, clusters=12)
    assert plan.images is None
    assert plan.runs == 11  # 20 degrees of freedom: (2.086 + 0.860) * 0.05 * sqrt(5 / 11) = 0.0993; 10 give 0.1048
    assert needed(0.1, 0.0, 0.05**2, runs=5, clusters=12).runs is None
    assert needed(0.0, 0.1, 0.1, runs=5, clusters=12) == needed(1e-9, 0.1, 0.1, runs=5, clusters=12)
    assert needed(0.0, 0.1, 0.1, runs=5, clusters=12).runs is None


@pytest.mark.parametrize(("run", "image"), [(0.10, 0.05), (0.03, 0.20)], ids=["runs vary", "images vary"])
def test_studies_of_that_size_decide_as_often_as_promised(run, image):
    """Regimes that truly differ by the gap: 8 of 10 studies of that size have an interval on one side of 0."""
    gap, runs, images, replications = 0.1, 4, 30, 150
    random = np.random.default_rng(0)

    def decided(many_runs, many_images):
        def regime():
            of_runs, of_images = random.normal(0, run, (many_runs, 1)), random.normal(0, image, many_images)
            return of_runs + of_images + random.normal(0, 0.01, (many_runs, many_images))

        seeds = range(replications)
        return np.mean([difference_interval(regime() + gap, regime(), None, 100, seed).low > 0 for seed in seeds])

    # The true parts of the squared error: those of both regimes.
    plan = needed(gap, 2 * run**2 / runs, 2 * image**2 / images, runs, images)
    if run < image:
        assert plan.runs is None
        share, fewer = decided(runs, round(plan.images * images)), decided(runs, images)
    else:
        assert plan.images is None
        share, fewer = decided(plan.runs, images), decided(runs, images)
    assert 0.7 < share < 0.95
    assert fewer < share - 0.2


def test_without_any_variance_the_numbers_at_hand_decide_all_but_no_gap():
    plan = needed(0.1, 0.0, 0.0, 5, 12)
    assert (plan.runs, plan.images, plan.both) == (5, 1, 5)
    assert needed(0.0, 0.0, 0.0, 5, 12).runs is None


@pytest.mark.parametrize(("gap", "runs"), [(0.0, 3), (1.0, 3), (1.0, 10), (2.0, 4), (2.0, 5)])
def test_power_of_runs_alone_is_that_of_the_two_sample_t_test(gap, runs):
    """Means of runs are compared by t with 2 (R - 1) degrees of freedom: simulated studies, literally."""
    random, replications = np.random.default_rng(runs), 20000
    groups = random.normal(size=(2, replications, runs)) + np.array([gap, 0])[:, None, None]
    found = stats.ttest_ind(*groups, axis=1).pvalue < 0.05
    chance = power(gap, 2 / runs, 0.0, runs, 100)
    assert chance == pytest.approx(found.mean(), abs=3 * (0.25 / replications) ** 0.5)


def test_power_agrees_with_the_numbers_that_are_needed():
    for gap, image_variance in ((1.0, 0.0), (2.0, 0.09)):
        plan = needed(gap, 2 / 2, image_variance, 2, 100)
        few, enough = (power(gap, 2 / runs, image_variance, runs, 100) for runs in (plan.runs - 1, plan.runs))
        assert few < 0.81
        assert enough > 0.79


def test_the_tables_of_the_page():
    table = tables.table(differences=[1.0, 3.0], runs=[3, 10])
    assert table["3 runs"].to_list() == pytest.approx([power(gap, 2 / 3, 0, 3, 100) for gap in (1, 3)])
    assert (table["10 runs"] > table["3 runs"]).all()
    many, few = (table[f"runs for 80 %, {words} images"] for words in ("many", "few"))
    assert (many <= few.fillna(1000)).all()
    assert (
        tables.table().drop(columns=["runs for 80 %, many images", "runs for 80 %, few images"]).notna().all(axis=None)
    )
    assert power(30.0, 2 / 20, 0.0, 20, 100) == 1
    assert tables.smallest_p([3, 4])["smallest p"].to_list() == pytest.approx([2 / 20, 2 / 70])
