"""Rates of detection of an experiment: which scores count, and at which thresholds."""

import numpy as np
import pandas as pd
import pytest

from e2m.experiment.results import Experiment
from e2m.pages import detection
from e2m.statistics.detection import detection_rate, equal_error_threshold


@pytest.fixture
def experiment(monkeypatch):
    loaded = Experiment.load("smoke", resamples=50)
    monkeypatch.setattr(Experiment, "by_label", {"authentic": "orl", "synthetic": "swap"})
    monkeypatch.setattr(Experiment, "resampling", {"clusters": None, "resamples": 50})
    return loaded


@pytest.fixture
def scores(score_rows):
    return score_rows.assign(detector="d", salience="")


@pytest.fixture
def score_rows():
    random = np.random.default_rng(0)
    rows = [
        (regime, run, source, label, f"{source}/{n}", "score", random.random() + 0.2 * (source != "orl"))
        for regime in ("cross_entropy", "cyborg")
        for run in range(3)
        for source, label in (("orl", "authentic"), ("swap", "synthetic"), ("morph", "synthetic"))
        for n in range(20)
    ]
    return pd.DataFrame(rows, columns=["regime", "run", "source", "label", "image", "variant", "value"])


def values(rows, regime, run, source):
    return rows.query("regime == @regime and run == @run and source == @source")["value"].to_numpy()


def test_tdr_is_the_mean_over_runs(experiment, scores):
    table = detection.at_fixed_fdr(experiment, scores, (0.1,)).set_index(["regime", "source"])
    assert set(table["rate"]) == {"TDR at FDR 0.1"}
    for regime, source in table.index:
        rates = [
            detection_rate(values(scores, regime, run, "orl"), values(scores, regime, run, source), 0.1)
            for run in range(3)
        ]
        assert table.loc[(regime, source), "mean"] == pytest.approx(np.mean(rates))


def test_errors_at_one_half_and_at_the_in_set_threshold_of_each_run(experiment, scores):
    table = detection.errors(experiment, scores).set_index(["threshold", "regime", "source", "rate"])["mean"]
    limits = detection.thresholds(experiment, scores).set_index(["regime", "run"])["threshold"]
    for regime in ("cross_entropy", "cyborg"):
        for name, at in ((detection.HALF, [0.5] * 3), (detection.IN_SET, [limits[regime, run] for run in range(3)])):
            missed = [np.mean(values(scores, regime, run, "morph") < at[run]) for run in range(3)]
            flagged = [np.mean(values(scores, regime, run, "orl") >= at[run]) for run in range(3)]
            assert table[name, regime, "morph", "APCER"] == pytest.approx(np.mean(missed))
            assert table[name, regime, "morph", "BPCER"] == pytest.approx(np.mean(flagged))
            assert table[name, regime, "morph", "ACER"] == pytest.approx((np.mean(missed) + np.mean(flagged)) / 2)
        alone = values(scores, regime, 1, "orl"), values(scores, regime, 1, "swap")
        assert limits[regime, 1] == equal_error_threshold(*alone)


def test_an_image_without_a_score_is_missing_and_not_unflagged(experiment, scores):
    gap = scores["image"] == "morph/3"
    table = detection.errors(experiment, scores.assign(value=scores["value"].mask(gap)))
    rows = table[(table["source"] == "morph") & (table["rate"] == "APCER")]
    assert (rows["missing"] == 3).all()
    assert (rows["images"] == 19).all()


def test_curves_have_the_runs_mean_and_spread(experiment, scores):
    table = detection.curves(experiment, scores, points=5)
    curve = table.query("regime == 'cyborg' and source == 'swap'").set_index("fdr")
    assert curve.index.tolist() == [0, 0.25, 0.5, 0.75, 1]
    at = [
        detection_rate(values(scores, "cyborg", run, "orl"), values(scores, "cyborg", run, "swap"), 0.5)
        for run in range(3)
    ]
    reach = 4.302653 * np.std(at, ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert curve.loc[0.5, "mean"] == pytest.approx(np.mean(at))
    assert curve.loc[0.5, "low"] == pytest.approx(max(0, np.mean(at) - reach), abs=1e-5)
    assert curve.loc[0.5, "high"] == pytest.approx(min(1, np.mean(at) + reach), abs=1e-5)
    assert curve.loc[1.0, ["mean", "low", "high"]].tolist() == [1, 1, 1]
    single = detection.curves(experiment, scores[scores["run"] == 0], points=3)
    assert single["low"].isna().all()
    assert single["mean"].notna().all()
