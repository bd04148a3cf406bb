"""Verdicts on small tables made by hand: what passes, what is claimed, and what is not."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from e2m import statistics
from e2m.experiment.results import Experiment, ModelKey
from e2m.pages.interventions import claims, judge
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


HIGHER, NONE, LOWER = (0.1, 0.3), (-0.1, 0.2), (-0.4, -0.2)
REGIMES = ("cross_entropy", "shuffled_maps", "fixed_map")
NAMES = {"unguided": REGIMES[0], "controls": REGIMES[1:]}


def differences(*ends, row="(d) SSIM"):
    table = pd.DataFrame(ends, columns=["low", "high"]).assign(against=REGIMES[: len(ends)], row=row)
    return table.assign(detector="toy", salience="CAM")


@pytest.mark.parametrize(
    ("ends", "claimed", "words"),
    [
        ((HIGHER, HIGHER, HIGHER), True, "an effect of guidance: higher than without maps"),
        ((LOWER, LOWER, LOWER), True, "an effect of guidance: lower than without maps"),
        (
            (HIGHER, HIGHER, NONE),
            False,
            "regularisation may be all: higher than without maps, but not than with: fixed map",
        ),
        ((HIGHER, NONE, NONE), False, "with: shuffled maps, fixed map"),
        ((HIGHER, LOWER, HIGHER), False, "with: shuffled maps"),
        ((LOWER, HIGHER, HIGHER), False, "with: shuffled maps, fixed map"),
        ((NONE, HIGHER, HIGHER), False, "no effect: higher than with wrong maps, but not told apart"),
        ((NONE, LOWER, NONE), False, "no effect: not told apart from training without maps"),
        ((NONE, HIGHER, LOWER), False, "no effect: not told apart from training without maps"),
        ((NONE, NONE, NONE), False, "no effect: not told apart from training without maps"),
        ((HIGHER, HIGHER, (np.nan, np.nan)), False, "nothing can be said: no interval against fixed map"),
    ],
)
def test_guidance_is_claimed_only_beyond_every_control(ends, claimed, words):
    (row,) = claims(differences(*ends), **NAMES).to_dict("records")
    assert row["claimed"] is claimed
    assert words in row["verdict"]


def test_measures_are_judged_one_by_one_in_their_order():
    table = pd.concat([differences(HIGHER, HIGHER, HIGHER, row=row) for row in ("(e)", "(a)", "(d)")])
    assert claims(table, **NAMES)["row"].tolist() == ["(e)", "(a)", "(d)"]
    with pytest.raises(InputError, match=r"\(b\): no difference to fixed_map"):
        claims(pd.concat([table, differences(HIGHER, HIGHER, row="(b)")]), **NAMES)


# The script that asks


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)
    return import_module("studies.guidance")


def test_regimes_are_compared_on_the_runs_that_all_have(study):
    experiment = Experiment.load("demo")
    pair = study.among(experiment, "cross_entropy", "shuffled_labels")
    assert (pair.regimes, pair.runs) == (["cross_entropy", "shuffled_labels"], 3)
    assert {one.run for one in pair.trained} == {0, 1, 2}
    assert study.runs_of(experiment)["focused"] == 5


def test_what_the_study_reads_is_what_it_trains(study):
    experiment = Experiment.load("demo")
    trained = {*experiment.trained, *experiment.studied}
    for regime, runs in study.runs_of(experiment).items():
        assert {ModelKey("demo_cnn", regime, run) for run in range(runs)} <= trained
    assert {study.GUIDED, *study.CONTROLS, "focused", "noise_augmented", "pose_augmented"} <= set(
        study.runs_of(experiment)
    )
    assert set(experiment.controlled) <= trained


def test_two_runs_that_must_not_differ(study):
    one = ModelKey("toy", "cross_entropy", 0)
    same = judge(study.extremes(one, [1.0, np.nan, 1.0]), "again", "(d)", "exactly 1", "exactly", 1).iloc[0]
    assert (same["passed"], same["images"], same["missing"]) == (True, 2, 1)
    assert not judge(study.extremes(one, [1.0, 0.999999]), "again", "(d)", "exactly 1", "exactly", 1)["passed"][0]
