from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from e2m import statistics
from e2m.statistics import (
    auc,
    cliffs_delta,
    compare,
    difference_interval,
    equivalent,
    holm,
    mean_interval,
    pairs_interval,
    probability_greater,
    summarise,
)
from e2m.types import InputError
from tests.statistics.made import CLUSTERS, normal, paired, slow_draws, slow_means, tidy

ROLES = {"first": "cyborg", "second": "cross_entropy"}


# By hand


def test_rows_become_tables_by_hand():
    cells = {(1, "b"): 4.0, (0, "a"): 1.0, (0, "b"): np.nan, (1, "c"): 1.0}
    result = summarise(tidy(cells, measure="noise"), ["measure"])
    assert [*result] == [
        *("measure", "mean", "low", "high", "runs", "images", "missing", "note", "kind", "status"),
        *("clusters", "run_variance", "image_variance", "freedom"),
    ]
    # One value is NaN; run 0 on c and run 1 on a have no row.
    assert result[["measure", "mean", "runs", "images", "missing"]].to_numpy().tolist() == [["noise", 2.0, 2, 3, 3]]
    # Pairs (0, 1), (0, 2), (1, 2) on two images are six cells; four have a row, one of them dead.
    cells = {(1, 0, "a"): 1.0, (0, 1, "b"): 2.0, (2, 1, "a"): 6.0, (1, 2, "b"): np.inf}
    result = summarise(tidy(cells, "run run_other image", measure="stability"), ["measure"])
    assert result[["mean", "runs", "images", "missing"]].to_numpy().tolist() == [[3.0, 3, 2, 3]]


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
    far, near = compare(rows, ["measure"], **ROLES).to_dict("records")
    assert (far["measure"], far["difference"], far["probability_greater"], far["cliffs_delta"]) == ("far", 5, 1, 1)
    assert (far["p"], far["p_smallest"], far["p_holm"]) == (2 / 252, 2 / 252, 4 / 252)
    assert (far["runs"], far["images"], far["missing"], far["note"]) == (5, 2, 0, "few runs (5)")
    assert (near["difference"], near["p"], near["p_holm"], near["cliffs_delta"]) == (0, 1, 1, 0)
    assert near["note"] == "1 image: no interval over images"
    assert (far["status"], near["status"]) == ("estimated", "one image or cluster")


def test_rows_carry_the_range_that_their_intervals_keep():
    """SSIM near 1, entropy near 0, and a quantity without limits, in one table."""
    values = {"ssim": 1 - np.exp(normal(3, 6)) / 99, "entropy": np.exp(normal(3, 6)) / 99, "bits": normal(3, 6)}
    rows = pd.concat([tidy(table, variant=name) for name, table in values.items()])
    ranges = {"ssim": (-1, 1), "entropy": (0, 1)}
    ranged = statistics.ranged(rows, ranges)
    result = summarise(ranged, ["variant"], resamples=50).set_index("variant")
    for name, limits in {**ranges, "bits": (-np.inf, np.inf)}.items():
        alone = mean_interval(values[name], resamples=50, limits=limits)
        assert [*result.loc[name, ["mean", "low", "high", "kind"]]] == [alone.mean, alone.low, alone.high, alone.kind]
    assert result.loc[["ssim", "entropy"], "kind"].tolist() == ["bounded mean"] * 2
    apart = pd.concat([ranged.assign(regime="cyborg"), ranged.assign(regime="cross_entropy", value=0.0)])
    differences = compare(apart, ["variant"], **ROLES, resamples=50).set_index("variant")
    assert differences.loc["entropy", "high"] <= 1
    # Rows without a range, beside rows that have one, have no limits.
    mixed = summarise(pd.concat([ranged, tidy(99 + normal(3, 6), variant="new")]), ["variant"], resamples=50)
    assert mixed["kind"].tolist() == ["bounded mean", "bounded mean", "mean", "mean"]
    with pytest.raises(InputError, match=r"values outside 0 to 1 arrived, .* first; give the limits of what was"):
        summarise(statistics.ranged(rows, {"bits": (0, 1)}), ["variant"])


def test_pairs_keep_their_range():
    similar = paired(1 - np.exp(normal(3, 6)) / 99, [(0, 1), (0, 2), (1, 2)], variant="ssim")
    free, kept = (
        summarise(rows, ["variant"]).iloc[0] for rows in (similar, statistics.ranged(similar, {"ssim": (-1, 1)}))
    )
    assert free["high"] > kept["high"] > kept["mean"] == free["mean"]
    assert kept["kind"] == "pairs"


def test_accuracy_changes_are_won_and_lost_decisions():
    rows = pd.DataFrame(
        [(0.9, "synthetic", True), (0.9, "synthetic", False), (0.1, "synthetic", True), (np.nan, "authentic", True)],
        columns=["value", "label", "correct"],
    ).assign(variant="score")
    changes = statistics.accuracy_changes(pd.concat([rows, rows.assign(variant="ssim")]))
    np.testing.assert_array_equal(changes["value"], [0, 1, -1, np.nan])
    assert changes[["variant", "least", "most"]].drop_duplicates().to_numpy().tolist() == [["accuracy change", -1, 1]]


def test_shares_stay_between_0_and_1():
    rows = pd.DataFrame(
        [(run, f"{image}", float(run == 0 and image == 0)) for run in range(3) for image in range(4)],
        columns=["run", "image", "value"],
    ).assign(variant="flipped")
    (result,) = summarise(rows, ["variant"], resamples=50).itertuples()
    assert 0 < result.low < result.mean < result.high < 1
    assert result.kind == "share"
    # Beside other groups as by itself.
    others = rows.assign(variant="ssim", value=rows["value"] + np.arange(len(rows)))
    both = summarise(pd.concat([rows, others]), ["variant"], resamples=50)
    assert both["low"][0] == result.low
    assert both["kind"].tolist() == ["share", "mean"]


# Against the functions of tables


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
    result = summarise(rows, ["measure", "regime"], subjects, resamples=50, seed=3)
    assert result.drop(columns=["measure", "regime"]).to_dict("records") == [interval.as_row() for interval in means]
    assert result["regime"].tolist() == ["cyborg", "cross_entropy"] * 2
    kinds = dict.fromkeys(("measure", "regime", "image"), "category")
    shuffled = rows.sample(frac=1, random_state=0).astype(kinds).sort_values("measure", kind="stable")
    again = summarise(shuffled, ["measure", "regime"], pd.Series(subjects), resamples=50, seed=3)
    pd.testing.assert_frame_equal(
        *(table.sort_values(["measure", "regime"], ignore_index=True) for table in (result, again))
    )

    noise, stability = compare(rows, ["measure"], **ROLES, clusters=subjects, resamples=50, seed=3).to_dict("records")
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


def test_auc_of_every_source_is_that_of_each_run(score_rows):
    result = statistics.summarise_auc(score_rows, ["regime"], "orl", resamples=50)
    assert result[["regime", "source"]].to_numpy().tolist() == [
        [regime, source] for regime in ("cross_entropy", "cyborg") for source in ("swap", "morph")
    ]
    for _, row in result.iterrows():
        subset = score_rows[score_rows["regime"] == row["regime"]]
        runs = [
            auc(run.loc[run["source"] == "orl", "value"], run.loc[run["source"] == row["source"], "value"])
            for _, run in subset.groupby("run")
        ]
        assert row["mean"] == pytest.approx(np.mean(runs))


def test_differences_of_auc_and_their_tests(score_rows):
    result = statistics.compare_auc(score_rows, ["variant"], "orl", **ROLES, resamples=50)
    means = statistics.summarise_auc(score_rows, ["regime"], "orl", resamples=50).pivot(
        index="source", columns="regime", values="mean"
    )
    expected = (means["cyborg"] - means["cross_entropy"])[result["source"]]
    np.testing.assert_allclose(result["difference"], expected)
    np.testing.assert_allclose(result["p_holm"], holm(result["p"]))
    assert (result["p_smallest"] >= 2 / 20).all()
    runs = run_aucs(score_rows)
    for _, row in result.iterrows():
        delta = cliffs_delta(runs["cyborg", row["source"]], runs["cross_entropy", row["source"]])
        assert [row["cliffs_delta"], row["cliffs_low"], row["cliffs_high"]] == [delta.mean, delta.low, delta.high]
    assert [*result.columns[-8:]] == [
        *("note", "kind", "status", "clusters", "run_variance", "image_variance", "freedom", "p_interval")
    ]
    assert not any(isinstance(cell, list) for cell in result.to_numpy().ravel())


def run_aucs(rows):
    """The AUC of every run against orl: {(regime, source): [AUC, ...]}, by loops."""
    result = {}
    for (regime, _), run in rows.groupby(["regime", "run"]):
        authentic = run.loc[run["source"] == "orl", "value"]
        for source in ("swap", "morph"):
            result.setdefault((regime, source), []).append(auc(authentic, run.loc[run["source"] == source, "value"]))
    return result


def test_every_synthetic_source_may_have_an_authentic_source_of_its_own(score_rows):
    second = score_rows[score_rows["source"] == "orl"].assign(source="other", value=lambda rows: rows["value"] ** 3)
    second["image"] = "other/" + second["image"].astype(str)
    rows = pd.concat([score_rows, second], ignore_index=True).assign(detector="d")
    against = {"swap": "orl", "morph": "other"}
    settings = {**ROLES, "resamples": 50}
    together = statistics.compare_auc(rows, ["detector"], against, **settings).set_index("source")
    for source, authentic in against.items():
        alone = statistics.compare_auc(rows, ["detector"], authentic, **settings).set_index("source")
        pd.testing.assert_series_equal(together.loc[source].drop("p_holm"), alone.loc[source].drop("p_holm"))
    assert together.loc["morph", "difference"] != pytest.approx(
        statistics.compare_auc(rows, ["detector"], "orl", **settings).set_index("source").loc["morph", "difference"]
    )
    with pytest.raises(InputError, match="AUC needs scores of 'ffhq' and of a synthetic source; there are"):
        statistics.compare_auc(rows, ["detector"], against | {"swap": "ffhq"}, **settings)
    with pytest.raises(InputError, match="AUC against 'swap' arrived, which has synthetic images; an authentic source"):
        statistics.compare_auc(rows, ["detector"], against | {"morph": "swap"}, **settings)
    with pytest.raises(InputError, match="no scores of regime 'focused' arrived; there are"):
        statistics.equal_auc(rows, ["detector"], against, 0.05, **settings | {"first": "focused"})


@pytest.mark.parametrize(
    ("margin", "shift", "verdict"), [(0.9, 0, "equal"), (0.05, 0, "undecided"), (0.05, 0.8, "different")]
)
def test_equality_of_auc_is_that_of_runs_within_the_interval(score_rows, margin, shift, verdict):
    """The tests are those on the runs' AUCs, the interval is that of the difference over runs and images."""
    lifted = (score_rows["regime"] == "cyborg") & (score_rows["source"] == "swap")
    rows = score_rows.assign(value=score_rows["value"] + shift * lifted, detector="d")
    settings = {**ROLES, "resamples": 50}
    result = statistics.equal_auc(rows, ["detector"], "orl", margin, **settings)
    columns = ["detector", "source", "verdict", "difference", "low_90", "high_90", "margin", "p", "note"]
    assert [*result] == [*columns, "runs", "images", "clusters", "run_variance", "image_variance", "p_interval"]
    runs, compared = run_aucs(rows), statistics.compare_auc(rows, ["detector"], "orl", **settings)
    for (_, row), (_, apart) in zip(result.iterrows(), compared.iterrows(), strict=True):
        test = equivalent(runs["cyborg", row["source"]], runs["cross_entropy", row["source"]], margin)
        assert (row["difference"], row["p"], row["margin"]) == (test.difference, test.p, margin)
        assert apart["low"] <= row["low_90"] <= row["difference"] <= row["high_90"] <= apart["high"]
        assert row["note"] == "few runs (3)"
    assert result.loc[result["source"] == "swap", "verdict"].item() == verdict


def test_an_interval_excludes_0_where_its_p_is_small(score_rows):
    """The p of the interval is that of its t: the interval at 1 - p ends at 0."""
    tables = normal(4, 12) + 0.6, normal(3, 12, seed=1)
    apart = difference_interval(*tables, resamples=200)
    assert 0 < apart.p < 0.5
    edge = difference_interval(*tables, resamples=200, level=1 - apart.p)
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-9)
    rows = pd.concat(
        [tidy(tables[0], regime="cyborg", measure="m"), tidy(tables[1], regime="cross_entropy", measure="m")]
    )
    (row,) = compare(rows, ["measure"], **ROLES, resamples=200).to_dict("records")
    assert (row["p_interval"], row["freedom"]) == (apart.p, apart.freedom)
    assert np.isnan(difference_interval(tables[0][:1], tables[1]).p)
    apart = statistics.compare_auc(score_rows, ["variant"], "orl", **ROLES, resamples=50)
    equal = statistics.equal_auc(score_rows, ["variant"], "orl", 0.1, **ROLES, resamples=50)
    assert apart["p_interval"].tolist() == equal["p_interval"].tolist()
    assert ((apart["p_interval"] < 0.05) == ((apart["low"] > 0) | (apart["high"] < 0))).all()


def test_any_column_may_name_what_is_compared(score_rows):
    rows = score_rows.rename(columns={"regime": "group"})
    for function, options in ((statistics.compare_auc, ()), (statistics.equal_auc, (0.05,))):
        of_groups = function(rows, ["variant"], "orl", *options, **ROLES, column="group", resamples=50)
        expected = function(score_rows, ["variant"], "orl", *options, **ROLES, resamples=50)
        pd.testing.assert_frame_equal(of_groups, expected)
    of_groups = compare(rows, ["source"], **ROLES, column="group", resamples=50)
    pd.testing.assert_frame_equal(of_groups, compare(score_rows, ["source"], **ROLES, resamples=50))
    with pytest.raises(InputError, match="no rows of group 'A' arrived; the groups there are: cross_entropy, cyborg"):
        compare(rows, ["source"], first="A", second="cyborg", column="group")


def test_one_run_of_each_is_compared_over_images_alone(score_rows):
    rows = score_rows[score_rows["run"] == score_rows["run"].min()]
    settings = {**ROLES, "resamples": 200, "over": "images"}
    (row,) = compare(rows[rows["source"] == "orl"], ["source"], **settings).to_dict("records")
    wide = rows[rows["source"] == "orl"].pivot(index="regime", columns="image", values="value")
    apart = wide.loc["cyborg"] - wide.loc["cross_entropy"]
    assert row["difference"] == pytest.approx(apart.mean())
    assert row["run_variance"] == 0
    # The variance of a mean of n independent differences.
    assert row["image_variance"] == pytest.approx(apart.var() / len(apart), rel=0.35)
    assert "1 run: interval over images alone" in row["note"]
    assert statistics.compare_auc(rows, ["variant"], "orl", **settings)["low"].notna().all()
    verdicts = {
        margin: statistics.equal_auc(rows, ["variant"], "orl", margin, **settings)["verdict"].tolist()
        for margin in (1.5, 1e-6)
    }
    assert verdicts[1.5] == ["equal", "equal"]
    assert "equal" not in verdicts[1e-6]


def test_several_authentic_sources_are_one_set_of_negatives(score_rows):
    half = (score_rows["source"] == "orl") & (score_rows["image"].str.endswith(("0", "2", "4")))
    rows = score_rows.assign(source=score_rows["source"].astype(str).mask(half, "other"))
    settings = {**ROLES, "resamples": 50}
    expected = statistics.compare_auc(score_rows, ["variant"], "orl", **settings).sort_values("source")
    for authentic in (["orl", "other"], dict.fromkeys(("swap", "morph"), ("orl", "other"))):
        found = statistics.compare_auc(rows, ["variant"], authentic, **settings).sort_values("source")
        np.testing.assert_allclose(found["difference"], expected["difference"])


@pytest.mark.parametrize("unreadable", [0, 40])
@pytest.mark.parametrize(("images", "verdict"), [(20, "undecided"), (59, "equal")])
def test_perfect_detectors_are_as_equal_as_their_images_can_show(images, verdict, unreadable):
    """No run errs on n images of a class: the AUC is above .05 ** (1 / n), which is .95 from 59 images on."""
    rows = [
        (regime, run, source, label, f"{source}/{image}", "score", float(label == "synthetic"))
        for regime in ROLES.values()
        for run in range(3)
        for source, label in (("orl", "authentic"), ("swap", "synthetic"))
        for image in range(images + unreadable)
    ]
    rows = pd.DataFrame(rows, columns=["regime", "run", "source", "label", "image", "variant", "value"])
    rows["value"] = rows["value"].where(rows["image"].str.split("/").str[1].astype(int) < images)
    for over in ("runs and images", "images"):
        (row,) = statistics.equal_auc(rows, ["variant"], "orl", 0.05, **ROLES, resamples=50, over=over).to_dict(
            "records"
        )
        assert (row["verdict"], row["difference"]) == (verdict, 0)
        assert row["high_90"] == -row["low_90"] == pytest.approx(1 - 0.05 ** (1 / images))
        assert f"every AUC is 1: as far as {images} images of a class can tell" in row["note"]


# What cannot be estimated, and what does not fit


def test_a_single_run_has_no_spread_over_runs():
    rows = pd.concat([tidy(normal(1, 9), regime=regime, measure="m") for regime in ("cyborg", "cross_entropy")])
    result = compare(rows, ["measure"], **ROLES)
    (row,) = result.to_dict("records")
    unknown = ["low", "high", "probability_low", "probability_high", "cliffs_low", "cliffs_high", "p", "p_smallest"]
    assert np.isnan([row[name] for name in unknown]).all()
    assert row["note"] == "1 run: no interval over runs; 1 run each: no test"
    assert row["status"] == "one run"


def test_a_single_image_has_no_spread_over_images(score_rows):
    result = summarise(tidy(normal(5, 1), measure="m"), ["measure"])
    assert result.loc[0, ["low", "high"]].isna().all()
    assert result.loc[0, "note"] == "1 image: no interval over images"
    first = score_rows["image"].isin(["orl/0", "swap/0", "morph/0"])
    aucs = statistics.summarise_auc(score_rows[first], ["regime"], "orl")
    assert aucs[["low", "high"]].isna().all(axis=None)
    assert (aucs["note"].str.startswith("too few images of a class")).all()


def test_runs_of_unequal_image_sets_are_counted_or_refused():
    ragged = {(0, "a"): 1.0, (0, "b"): 2.0, (1, "a"): 3.0}
    result = summarise(tidy(ragged, measure="m"), ["measure"])
    assert result[["mean", "runs", "images", "missing"]].to_numpy().tolist() == [[2.0, 2, 2, 1]]
    # Regimes that share no image cannot be compared.
    apart = pd.concat(
        [
            tidy({(0, "a"): 1.0, (1, "a"): 2.0}, regime="cyborg", measure="m"),
            tidy({(0, "b"): 1.0, (1, "b"): 2.0}, regime="cross_entropy", measure="m"),
        ]
    )
    (row,) = compare(apart, ["measure"], **ROLES).to_dict("records")
    assert np.isnan([row["difference"], row["low"], row["p"]]).all()
    assert (row["images"], row["missing"], row["note"]) == (0, 8, "no live value")
    with pytest.raises(InputError, match="runs of 2, 1 values arrived; every run needs the same images"):
        mean_interval([[1.0, 2.0], [3.0]])


def test_dead_maps_alone_have_no_number():
    rows = pd.concat([tidy(np.full((3, 4), np.nan), regime=name, measure="m") for name in ("cyborg", "cross_entropy")])
    means, (difference,) = summarise(rows, ["regime"]), compare(rows, ["measure"], **ROLES).to_dict("records")
    assert means[["mean", "low", "high"]].isna().all(axis=None)
    assert means["missing"].tolist() == [12, 12]
    numbers = ("difference", "low", "high", "probability_greater", "cliffs_delta", "p", "p_smallest", "p_holm")
    assert np.isnan([difference[name] for name in numbers]).all()
    assert (difference["missing"], difference["note"]) == (24, "no live value")


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
    result = compare(rows, ["measure", "salience"], **ROLES)
    assert result["salience"].tolist() == ["", "CAM", "CAM"]
    assert result["note"].tolist() == [
        "no rows of cross_entropy; no live value",
        "no live value",
        "2 runs: one pair, no interval; pairs: no exact test",
    ]
    assert result["difference"].isna().tolist() == [True, True, False]
    assert result[["low", "high", "probability_low", "cliffs_delta", "p", "p_smallest", "p_holm"]].isna().all(axis=None)
    assert summarise(rows, ["measure", "regime"])["missing"].tolist() == [0, 6, 0, 0, 0]


def test_scores_that_are_all_missing_are_no_class(score_rows):
    dead = score_rows.assign(value=score_rows["value"].where(score_rows["source"] != "swap"))
    swap, morph = statistics.summarise_auc(dead, ["regime"], "orl", resamples=50).head(2).to_dict("records")
    assert np.isnan([swap["mean"], swap["low"], swap["high"]]).all()
    assert (swap["note"], swap["status"], swap["runs"]) == ("no live value", "no live value", 0)
    assert np.isfinite(morph["mean"])


def test_tables_over_images_alone_are_those_of_a_doubled_run(score_rows):
    """To the byte, one run by itself against the same run twice, whose counts are halved."""
    once = score_rows[score_rows["run"] == 0].assign(flipped=np.arange(16 * 3) % 5 == 0)
    twice = pd.concat([once.assign(run=run) for run in range(2)])
    columns = ["mean", "low", "high", "images", "missing"]
    for summary, by in (
        (lambda rows, **over: summarise(rows, ["regime", "source"], resamples=50, **over), "flipped"),
        (lambda rows, **over: statistics.summarise_auc(rows, ["regime"], "orl", resamples=50, **over), "missing"),
    ):
        fast, slow = summary(once, over="images"), summary(twice)
        pd.testing.assert_frame_equal(fast[columns], slow[columns], check_exact=True)
        assert fast[by].tolist() == (slow[by] // 2).tolist()
        assert set(fast["note"]) == {"1 run: interval over images alone"}
        assert fast["runs"].tolist() == [1] * len(fast)


def test_pairs_over_images_alone_are_a_mean_over_images():
    values = normal(3, 9)
    rows = paired(values, [(0, 1), (0, 2), (1, 2)], measure="stability")
    (row,) = summarise(rows, ["measure"], resamples=50, over="images").to_dict("records")
    alone = mean_interval(values, resamples=50, over="images")
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([alone.mean, alone.low, alone.high])
    assert (row["run_variance"], row["note"]) == (0, "3 runs: interval over images alone")


def test_auc_needs_both_classes(score_rows):
    with pytest.raises(InputError, match=r"'nobody'.*there are"):
        statistics.summarise_auc(score_rows, ["regime"], "nobody")
    with pytest.raises(InputError, match="synthetic source"):
        statistics.summarise_auc(score_rows[score_rows["source"] == "orl"], ["regime"], "orl")
    with pytest.raises(InputError, match="AUC needs scores of 'orl' and of a synthetic source"):
        statistics.summarise_auc(score_rows.assign(variant="ssim"), ["regime"], "orl")


def test_the_order_of_rows_changes_no_auc(score_rows):
    shuffled, settings = score_rows.sample(frac=1, random_state=0), {**ROLES, "resamples": 50}
    for table in (
        lambda rows: statistics.summarise_auc(rows, ["regime"], "orl", resamples=50),
        lambda rows: statistics.compare_auc(rows, ["variant"], "orl", **settings),
        lambda rows: statistics.equal_auc(rows, ["variant"], "orl", 0.1, **settings),
    ):
        keys = ["source", *table(score_rows).columns.intersection(["regime"])]
        first, second = (table(rows).sort_values(keys, ignore_index=True) for rows in (score_rows, shuffled))
        pd.testing.assert_frame_equal(first, second)


def test_runs_and_images_that_the_interval_leaves_out_are_in_no_test(score_rows):
    """A run without scores of one class, and an image without a score in one regime."""
    guided = score_rows["regime"] == "cyborg"
    dead = guided & (score_rows["run"] == 2) & (score_rows["source"] == "orl")
    dead |= guided & (score_rows["image"] == "swap/3")
    rows = score_rows.assign(value=score_rows["value"].mask(dead))
    kept = rows[~(guided & (rows["run"] == 2)) & (rows["image"] != "swap/3")]
    settings = {**ROLES, "resamples": 50}
    apart = statistics.compare_auc(rows, ["variant"], "orl", **settings).set_index("source").loc["swap"]
    equal = statistics.equal_auc(rows, ["variant"], "orl", 0.1, **settings).set_index("source").loc["swap"]
    expected = statistics.compare_auc(kept, ["variant"], "orl", **settings).set_index("source").loc["swap"]
    names = ["difference", "cliffs_delta", "p", "runs", "images"]
    assert apart[names].tolist() == pytest.approx(expected[names].tolist())
    assert equal["difference"] == pytest.approx(apart["difference"])


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
            lambda: compare(ROWS, ["measure"], **ROLES),
            "no rows of regime 'cross_entropy' arrived; the regimes there are: cyborg",
        ),
        (lambda: compare(ROWS, ["measure", "regime"], **ROLES), "by names regime"),
        (lambda: compare(ROWS, ["measure"], first="cyborg", second="cyborg"), "two different"),
    ],
)
def test_errors_say_which_rows_do_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "add salience to by"),
        ({"clusters": {"orl/0": "a"}}, "15 of 16 images have no cluster, 'orl/1' first"),
        ({"by": "regime"}, "give a list"),
        ({"by": ["image"]}, "by names image"),
        ({"drop": "source"}, "rows have no column source; their columns are"),
        ({"drop": "variant"}, "rows have no column variant; their columns are"),
    ],
)
def test_errors_say_which_scores_do_not_fit(score_rows, change, message):
    twice = [score_rows.assign(salience=name) for name in ("CAM", "GradCAM")]
    rows = score_rows if change else pd.concat(twice)
    options = {"by": ["regime"], "authentic": "orl"} | {key: change[key] for key in change if key != "drop"}
    with pytest.raises(InputError, match=message):
        statistics.summarise_auc(rows.drop(columns=change.get("drop", [])), **options)
