"""Verdicts on small tables made by hand: what passes, what is claimed, and what is not."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from e2m import statistics
from e2m.experiment.results import Experiment, ModelKey
from e2m.pages.interventions import judge
from e2m.store.paths import CHECKOUT
from e2m.types import InputError


def summary(low, high, **changed):
    about = {"detector": "toy", "mean": (low + high) / 2, "low": low, "high": high}
    return pd.DataFrame([{**about, "runs": 5, "images": 9, "missing": 0, "note": "", "status": "estimated", **changed}])


def passed(low, high, relation, number):
    (row,) = judge(summary(low, high), "blur", "accuracy", "falls", relation, number).to_dict("records")
    return row["passed"]


@pytest.mark.parametrize(
    ("relation", "number", "inside", "outside"),
    [
        ("below", 0, [(-0.2, -0.1)], [(-0.2, 0.0), (-0.1, 0.1), (0.1, 0.2)]),
        ("above", -0.1, [(-0.09, 0.3), (0.1, 0.2)], [(-0.1, 0.3), (-0.2, 0.3), (-0.3, -0.2)]),
        ("around", 0.5, [(0.4, 0.6), (0.5, 0.6)], [(0.51, 0.6), (0.3, 0.49)]),
        ("exactly", 1, [(1, 1)], [(0.999, 1), (1, 1.001), (0.5, 0.5)]),
    ],
)
def test_an_interval_passes_only_where_it_must_lie(relation, number, inside, outside):
    assert [passed(*ends, relation, number) for ends in inside] == [True] * len(inside)
    assert [passed(*ends, relation, number) for ends in outside] == [False] * len(outside)
    assert not passed(np.nan, np.nan, relation, number)


def test_a_row_says_what_was_expected_and_what_was_seen():
    result = judge(
        summary(-0.9, -0.7, note="few runs"), "the patch blurred", "(e) accuracy", "collapses", "below", -0.5
    )
    (row,) = result.to_dict("records")
    assert (row["intervention"], row["measure"], row["expected"]) == ("the patch blurred", "(e) accuracy", "collapses")
    assert (row["observed"], row["low"], row["high"]) == (pytest.approx(-0.8), -0.9, -0.7)
    assert (row["passed"], row["runs"], row["images"], row["missing"], row["note"]) == (True, 5, 9, 0, "few runs")
    failed = judge(summary(-0.9, -0.3), "the patch blurred", "(e) accuracy", "collapses", "below", -0.5)
    assert len(failed) == 1  # and stays


def test_where_all_agree_the_interval_is_what_they_agree_on():
    rows = pd.DataFrame({"detector": "toy", "run": [0, 0, 1, 1], "image": list("abab"), "value": -1.0})
    (row,) = judge(statistics.summarise(rows, ["detector"]), "blur", "accuracy", "falls", "below", -0.5).to_dict(
        "records"
    )
    assert (row["low"], row["high"], row["passed"]) == (-1, -1, True)
    assert row["note"] == "all runs and images agree"
    alone = statistics.summarise(rows[rows["run"] == 0], ["detector"])
    (row,) = judge(alone, "blur", "accuracy", "falls", "below", -0.5).to_dict("records")
    assert not row["passed"]
    assert np.isnan(row["low"])
    assert "1 run" in row["note"]


def test_differences_are_judged_too():
    row = judge(summary(0.1, 0.2).rename(columns={"mean": "difference"}), "noise", "(b)", "higher", "above", 0).iloc[0]
    assert row["passed"]
    assert row["observed"] == pytest.approx(0.15)


def test_an_unknown_relation():
    with pytest.raises(InputError, match="no relation named 'beside'; choose from below, above, around, exactly"):
        passed(0, 1, "beside", 0)


# The script that asks


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)
    return import_module("studies.guidance")


def test_every_regime_enters_with_all_its_runs(study):
    experiment = Experiment.load("demo")
    alone = study.of_regime(experiment, "shuffled_labels")
    assert (alone.regimes, alone.runs) == (["shuffled_labels"], 3)
    more = experiment.study["shuffled_maps"]
    assert study.of_regime(experiment, "shuffled_maps").runs == more > experiment.controls["shuffled_maps"]
    assert study.of_regime(experiment, "cyborg").runs == experiment.runs


def test_what_the_study_reads_is_what_is_trained(study):
    experiment = Experiment.load("demo")
    trained = {*experiment.trained, *experiment.controlled, *experiment.studied}
    (detector,) = experiment.detectors
    for regime, runs in experiment.counts.items():
        assert {ModelKey(detector, regime, run) for run in range(runs)} <= trained
    compared = {"cyborg", *experiment.comparators, "focused", "noise_augmented", "pose_augmented", "shuffled_labels"}
    assert compared <= set(experiment.counts)


def test_two_runs_that_must_not_differ(study):
    one = ModelKey("toy", "cross_entropy", 0)
    same = judge(study.extremes(one, [1.0, np.nan, 1.0]), "again", "(d)", "exactly 1", "exactly", 1).iloc[0]
    assert (same["passed"], same["images"], same["missing"]) == (True, 2, 1)
    assert not judge(study.extremes(one, [1.0, 0.999999]), "again", "(d)", "exactly 1", "exactly", 1)["passed"][0]
