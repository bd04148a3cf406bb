"""Comparisons of regimes: each with all its runs, on the quantities that measures declare."""

from dataclasses import replace
from zlib import crc32

import numpy as np
import pandas as pd
import pytest

from e2m import plugins, statistics
from e2m.experiment.results import Experiment, bounded
from e2m.pages import selection
from e2m.types import Headline, InputError

RUNS = {"cross_entropy": 4, "cyborg": 4, "shuffled_maps": 3, "fixed_map": 2}
SOURCES = {"real": "authentic", "fake": "synthetic"}


@pytest.fixture
def experiment(monkeypatch):
    """An experiment whose scores and entropies are drawn, of three measures; its controls have fewer runs."""

    def drawn(self, variant, least=0.0):
        rows = [
            (regime, run, source, label, f"{source}/{image}", variant)
            for regime in self.regimes
            for run in range(self.runs)
            for source, label in SOURCES.items()
            for image in range(6)
        ]
        table = pd.DataFrame(rows, columns=["regime", "run", "source", "label", "image", "variant"])
        keys = [
            crc32(repr((*key, variant)).encode()) for key in table[["regime", "run", "image"]].itertuples(index=False)
        ]
        values = [least + (1 - least) * np.random.default_rng(key).random() for key in keys]
        return table.assign(value=values, detector="demo_cnn", salience="", target="", region="", correct=True)

    def rows(self, measure, **kept):
        variants = [drawn(self, headline.variant) for headline in plugins.load("measure", measure).HEADLINES]
        return bounded(pd.concat(variants, ignore_index=True), measure)

    monkeypatch.setattr(Experiment, "scores", lambda self: drawn(self, "score"))
    monkeypatch.setattr(Experiment, "rows", rows)
    monkeypatch.setattr(Experiment, "has_rows", lambda self, measure: measure == "entropy")
    monkeypatch.setattr(Experiment, "against", {"fake": "real"})
    monkeypatch.setattr(Experiment, "subjects", None)
    controls = {"shuffled_maps": 3, "fixed_map": 2, "focused": 1}
    loaded = Experiment.load("smoke", controls=controls, resamples=50, in_set=["orl", "swap"])
    return replace(loaded, in_set=["real", "fake"], runs=4)


def test_guided_detectors_are_compared_with_every_comparator_and_all_its_runs(experiment):
    table = selection.differences(experiment, "CAM")
    assert list(dict.fromkeys(table["against"])) == ["cross_entropy", "shuffled_maps", "fixed_map"]
    runs = table.drop_duplicates("against").set_index("against")["runs"]
    assert runs.to_dict() == {"cross_entropy": 4, "shuffled_maps": 3, "fixed_map": 2}
    quantities = ["accuracy ↑", "AUC, fake ↑", "(a) grey-level entropy, as published ↓", "(a) spatial entropy ↓"]
    for _, part in table.groupby("against", sort=False):
        assert part["row"].tolist() == quantities
        np.testing.assert_allclose(part["p_holm"], statistics.holm(part["p"]))
    named = table.drop_duplicates("row").set_index("row")
    assert named["published"].tolist() == [False, False, True, False]
    assert named["letter"].tolist() == ["", "", "a", "a"]
    assert named["better"].tolist() == ["higher", "higher", "lower", "lower"]
    assert set(table["salience"]) == {"CAM"}
    # The difference to one regime is that of its rows alone.
    alone = [replace(experiment, regimes=[regime], runs=RUNS[regime]) for regime in ("cyborg", "fixed_map")]
    rows = pd.concat([one.rows("entropy") for one in alone])
    expected = statistics.compare(rows, ["variant"], first="cyborg", second="fixed_map", resamples=50).set_index(
        "variant"
    )
    found = table[(table["against"] == "fixed_map") & table["published"]].iloc[0]
    assert (
        found[["difference", "low", "high"]].tolist()
        == expected.loc["grey_level", ["difference", "low", "high"]].tolist()
    )


def test_headlines_name_the_quantity(experiment):
    table = selection.headlines(experiment, experiment.scores(), "CAM")
    assert [*table.columns[:6]] == [*selection.ABOUT, "detector", "regime"]
    assert table.groupby("regime")["row"].apply(list).tolist()[0] == [
        *("accuracy ↑", "AUC, fake ↑", "(a) grey-level entropy, as published ↓", "(a) spatial entropy ↓")
    ]
    ends = table[["low", "high"]].to_numpy()
    assert ((ends >= 0) & (ends <= 1) | np.isnan(ends)).all()
    assert np.isfinite(ends).any()


def test_means_of_every_method_and_of_all_regimes_that_are_compared(experiment):
    table = selection.means(experiment)
    assert list(dict.fromkeys(table["salience"])) == selection.methods(experiment)
    regimes = table.groupby("salience")["regime"].unique().map(set)
    assert regimes["masker"] == {"cross_entropy", "cyborg"}
    assert all(regimes[method] == set(RUNS) for method in experiment.methods)
    of_method = table[table["salience"] == "CAM"]
    assert of_method.drop_duplicates("regime").set_index("regime")["runs"].to_dict() == RUNS
    headlines = selection.headlines(experiment, experiment.scores(), "CAM")
    both = of_method[of_method["regime"].isin(experiment.regimes)].drop(columns="salience").reset_index(drop=True)
    pd.testing.assert_frame_equal(both, headlines)


def test_the_masker_is_compared_where_both_groups_have_one(experiment):
    assert selection.methods(experiment) == [*experiment.methods, "masker"]
    masked = selection.with_method(experiment, "masker")
    assert (masked.methods, set(masked.regimes)) == (["masker"], {"cross_entropy", "cyborg"})
    fewer = selection.with_method(replace(experiment, masker={**experiment.masker, "runs": 1}), "masker")
    assert (masked.runs, fewer.runs) == (min(4, experiment.masker["runs"]), 1)
    one = replace(experiment, masker={**experiment.masker, "regimes": ["cyborg"]})
    assert selection.methods(one) == selection.methods(replace(experiment, masker=None)) == experiment.methods
    for name in ("masker", "GradCamm"):
        with pytest.raises(InputError, match=f"the method '{name}' arrived, of which there are no maps; choose from"):
            selection.with_method(one, name)
        with pytest.raises(InputError, match=f"the method '{name}' arrived"):
            selection.headlines(one, one.scores(), name)
    # No control has a masker.
    table = selection.differences(experiment, "masker")
    assert set(table["against"]) == {"cross_entropy"}


def test_only_right_decisions_count_where_a_headline_says_so():
    rows = pd.DataFrame(
        {"variant": ["ssim"] * 3 + ["other"], "correct": [True, False, True, True], "value": [1, 2, 3, 4]}
    )
    every, right = (Headline("t", "ssim", right=right) for right in (False, True))
    assert selection._rows_of(every, rows, "")["value"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(selection._rows_of(right, rows, "")["value"], [1, np.nan, 3])


LEVELS = pd.DataFrame(
    {
        "measure": "noise",
        "level": pd.Categorical(["0.1", "0.25", "0.5", "0.1", None, ""]),
        "salience": ["CAM", "CAM", "GradCAM", "GradCAM", "", ""],
    }
)


@pytest.mark.parametrize(("wanted", "found"), [(0.25, "0.25"), (0.5, "0.5"), (0.1, "0.1"), ("0.1", "0.1")])
def test_a_level_that_there_is(wanted, found):
    assert selection.existing(LEVELS, "level", wanted) == found


@pytest.mark.parametrize("wanted", [0.3, 0.2, 0, 1, "0.3", "", float("nan")])
def test_a_level_that_there_is_not_is_refused_with_those_that_there_are(wanted):
    words = r"^noise: the results hold no level .*; choose from 0\.1, 0\.25, 0\.5, or add it to the profile$"
    with pytest.raises(InputError, match=words):
        selection.existing(LEVELS, "level", wanted)


@pytest.mark.parametrize("wanted", ["GradCamm", "masker", ""])
def test_a_method_that_there_is_not(wanted):
    with pytest.raises(InputError, match=f"no salience method {wanted}; choose from CAM, GradCAM, or add it"):
        selection.existing(LEVELS, "salience", wanted)


def test_rows_and_headlines_of_a_level_that_there_is_not():
    assert selection.at_level(LEVELS.iloc[:4], 0.1).index.tolist() == [0, 3]
    headline = Headline("noise {level:g}", "ssim", level=0.1)
    assert selection.chosen_level(headline, "noise", None, LEVELS) == 0.1
    assert selection.chosen_level(headline, "noise", {"noise": 0.5}, LEVELS) == 0.5
    assert selection.chosen_level(Headline("t", "ssim", level="all"), "noise", {"noise": 9}, LEVELS) == "all"
    for call in (
        lambda: selection.at_level(LEVELS, 0.3),
        lambda: selection.chosen_level(headline, "noise", {"noise": 0.3}, LEVELS),
        lambda: selection.chosen_level(Headline("t", "ssim", level=0.3), "noise", {}, LEVELS),
    ):
        with pytest.raises(InputError, match=r"no level 0\.3; choose from"):
            call()
