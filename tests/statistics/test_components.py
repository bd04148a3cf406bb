"""How many images are enough: components against a known truth, against intervals, and against literal loops."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from e2m.statistics import auc_difference_interval, difference_interval
from e2m.statistics.components import Components, Draw, Part, of_auc_difference, of_difference, of_rows
from e2m.statistics.intervals import interval, sums_of
from e2m.types import InputError

PART = Part(cluster=0.0, image=1.0, residual_cluster=0.0, residual_image=2.0)
ALONE = Draw.of(np.arange(10_000))


def tables(seed, runs=3, images=200, deviations=(0.3, 0.4, 0.5, 1.0), clusters=None):
    """Two tables: runs, clusters and images of each regime, and residuals."""
    generator = np.random.default_rng(seed)
    run, cluster, image, residual = deviations
    labels = np.arange(images) if clusters is None else clusters
    return [
        run * generator.normal(size=(runs, 1))
        + cluster * generator.normal(size=labels.max() + 1)[labels]
        + image * generator.normal(size=images)
        + residual * generator.normal(size=(runs, images))
        for _ in range(2)
    ]


@pytest.mark.parametrize("labels", [[3, 3, 1, 2, 1, 3], [0, 1, 2], [5], ["a", "b", "a"]])
def test_a_draw_is_what_a_loop_says(labels):
    draw = Draw.of(labels)
    for number in range(1, len(labels) + 1):
        _, counts = np.unique(labels[:number], return_counts=True)
        assert draw.concentration[number - 1] == pytest.approx((counts**2).sum() / number**2)
        assert draw.clusters[number - 1] == len(counts)
    assert draw.images == len(labels)


def test_variances_are_those_that_were_drawn():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 5))
    found = [of_difference(*tables(seed, clusters=labels), labels) for seed in range(150)]
    part = [np.mean([getattr(one.parts[0], name) for one in found]) for name in Part.__annotations__]
    assert np.mean([one.runs for one in found]) == pytest.approx(0.09, rel=0.15)
    assert part == pytest.approx([2 * 0.16, 2 * 0.25, 0.0, 2.0], rel=0.06, abs=0.03)


def test_independent_images_have_no_variance_of_clusters():
    (part,) = of_difference(*tables(0, deviations=(0.3, 0.0, 0.5, 1.0))).parts
    assert part.cluster == part.residual_cluster == 0
    assert part.image > 0


@pytest.mark.parametrize("clustered", [False, True])
def test_the_pilots_own_interval_is_foretold(clustered):
    labels = np.arange(200) // 5 if clustered else np.arange(200)
    ratios = []
    for seed in range(20):
        first, second = tables(seed, clusters=labels)
        first[0, :20] = np.nan
        ours = difference_interval(first, second, labels, resamples=400)
        found, draw = of_difference(first, second, labels), Draw.of(labels)
        ratios.append(found.half_width(3, [200], [draw]) / ((ours.high - ours.low) / 2))
    assert np.median(ratios) == pytest.approx(1, abs=0.05)


def test_the_interval_over_pairs_is_foretold():
    pairs, ratios = list(combinations(range(4), 2)), []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        of_runs = 0.3 * generator.normal(size=(2, 4))
        stacks = [
            np.array([run[i] + run[j] for i, j in pairs])[:, None]
            + 0.5 * generator.normal(size=100)
            + 0.3 * generator.normal(size=(6, 100))
            for run in of_runs
        ]
        ours = interval(stacks, sums_of, None, 400, 0, 0.95, pairs=[np.array(pairs)] * 2)
        found = of_difference(*stacks, paired=True)
        ratios.append(found.half_width(4, [100], [Draw.of(np.arange(100))]) / ((ours.high - ours.low) / 2))
    assert np.median(ratios) == pytest.approx(1, abs=0.03)


def test_the_interval_of_an_auc_is_foretold():
    synthetic, draw, ratios = np.arange(200) % 2 == 0, Draw.of(np.arange(100)), []
    for seed in range(20):
        stacks = [table + 1.5 * synthetic for table in tables(seed, 4, deviations=(0.0, 0.0, 0.7, 0.5))]
        stacks = [table + 0.3 * np.random.default_rng(seed).normal(size=(4, 1)) * synthetic for table in stacks]
        ours = auc_difference_interval(*stacks, synthetic, resamples=400)
        found = of_auc_difference(*stacks, synthetic)
        ratios.append(found.half_width(4, [100, 100], [draw, draw]) / ((ours.high - ours.low) / 2))
    assert np.median(ratios) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("run", [0.001, 0.02, 1.0])
@pytest.mark.parametrize("classes", [1, 2])
def test_enough_images_are_as_good_as_all_up_to_the_share(run, share, classes):
    found = Components((run, run), (PART,) * classes)
    counts = found.images(10, [ALONE] * classes, share)
    whole = found.error(10, [ALONE.images] * classes, [ALONE] * classes)[0]

    def spared(images):
        return 1 - whole / found.error(10, images, [ALONE] * classes)[0]

    assert spared(counts) <= share + 1e-12
    if counts[0] > 20:  # the fewest that are planned
        assert spared([count - 1 for count in counts]) > share - 1e-3
    if run == 1.0:
        assert counts[0] <= 300
    if run == 0.001:
        assert counts[0] > 4000
    # With many more images than that, images bring no more than the share.
    if counts[0] < 200:
        assert found.error(10, counts, [ALONE] * classes)[1] < share + 0.01


def test_more_images_of_the_same_people_are_not_taken():
    people = Draw.of(np.tile(np.arange(10), 1000))
    found = Components((0.01, 0.01), (Part(cluster=1.0, image=0.1, residual_cluster=0.0, residual_image=0.1),))
    assert found.images(10, [people], 0.1)[0] < 100
    assert found.error(10, [10_000], [people])[1] > 0.9


def test_a_half_width_says_how_many_runs_or_images_reach_it():
    found = Components((0.02, 0.02), (PART,))
    wide = found.half_width(10, [ALONE.images], [ALONE])
    assert found.images_for(0.9 * wide, 10, [ALONE], [20]) is None
    counts = found.images_for(1.1 * wide, 10, [ALONE], [20])
    assert found.half_width(10, counts, [ALONE]) <= 1.1 * wide
    runs = found.runs_for(0.5 * wide, [ALONE])
    assert found.half_width(runs, [ALONE.images], [ALONE]) <= 0.5 * wide
    assert found.half_width(runs - 1, [ALONE.images], [ALONE]) > 0.5 * wide
    assert found.runs_for(1e-9, [ALONE]) is None


@pytest.mark.parametrize("where", ["runs", "pairs", "images", "people"])
def test_a_pilot_that_is_too_small_gives_no_number(where):
    first, second = tables(0, runs=2 if where == "runs" else 3)
    labels = np.zeros(200, int) if where == "people" else None
    if where == "images":
        second[:, 19:] = np.nan
    lines = {
        "runs": "2 runs of a group with values arrived; 3 or more fit",
        "pairs": "2 runs of a group",
        "images": "19 images of 19 clusters with values in both groups arrived; 20 images of 2 clusters",
        "people": "200 images of 1 clusters",
    }
    with pytest.raises(InputError, match=lines[where]):
        of_difference(first[:1] if where == "pairs" else first, second, labels, paired=where == "pairs")


def test_no_live_value_is_an_error_of_its_group_alone():
    first, second = tables(0, images=30, deviations=(0.3, 0.0, 0.5, 1.0))
    rows = [
        {"regime": regime, "source": source, "run": run, "image": f"{source}{image}", "value": value}
        for regime, table in (("a", first), ("b", second))
        for source in ("one", "two")
        for run, of_run in enumerate(table)
        for image, value in enumerate(of_run)
    ]
    rows = pd.DataFrame(rows)
    rows.loc[rows["source"] == "two", "value"] = np.nan
    found = dict(of_rows(rows, ["source"], first="a", second="b"))
    assert isinstance(found["two",], InputError)
    assert found["one",].runs == pytest.approx(of_difference(first, second).runs)
