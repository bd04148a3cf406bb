"""The coverage study: one simulation of each kind, and where its table goes."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from e2m.pages import coverage
from e2m.store import studies
from e2m.store.paths import CHECKOUT


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT))
    return import_module("studies.coverage")


def test_every_kind_is_simulated_with_every_number_of_runs(study):
    kinds = {statistic: set() for statistic in coverage.KINDS}
    for statistic, _, _, runs in study._studies():
        kinds[statistic].add(runs)
    assert set(map(frozenset, kinds.values())) == {frozenset({3, 5, 10, 20})}


@pytest.mark.parametrize(
    "kind", ["mean", "share", "bounded mean", "difference", "contrast", "pairs", "AUC", "AUC difference", "P(a > b)"]
)
def test_a_simulation_has_a_truth_and_intervals_of_ours_and_others(study, kind):
    _, simulate, setting, runs = next(entry for entry in study._studies() if entry[0] == kind)
    truth, intervals = simulate(np.random.default_rng(0), setting, runs)
    assert np.isfinite(truth)
    assert coverage.OURS in intervals
    for low, high in intervals.values():
        assert low < high
    if kind == "mean":
        assert {"BCa", "percentile"} < set(intervals)


def test_the_truth_of_bounded_values_is_their_mean(study):
    for setting in study.CENTRES:
        drawn = np.random.default_rng(0).normal(size=(4, 400_000)) * np.array(study.BOUNDED_DEVIATIONS)[:, None]
        values = 1 / (1 + np.exp(-study.CENTRES[setting] - drawn.sum(axis=0)))
        assert study._bounded_truth(setting) == pytest.approx(values.mean(), abs=1e-3)
        low, high = study.bounded_mean(np.random.default_rng(0), setting, 5)[1]["ours"]
        assert 0 < low < high < 1


def test_coverage_is_the_share_of_intervals_that_hold_the_truth(study):
    ends = iter([(0, 2), (2, 3), (1, 5), (0, 0.5)])
    rows = study._rows(4, 0, "mean", lambda *_: (1.0, {"ours": next(ends)}), "calm", 3)
    assert rows == [("mean", "calm", 3, "ours", 4, 0.5, (2 + 1 + 4 + 0.5) / 4)]


def test_the_same_seed_gives_the_same_rows_in_any_process(study):
    rows = study.coverage(replications=2)
    first = next(study._studies())
    assert list(rows.iloc[0]) == list(study._rows(2, 0, *first)[0])
    assert set(rows["statistic"]) == set(coverage.KINDS)


def test_the_table_goes_to_the_studies_or_to_the_given_path(study, monkeypatch, tmp_path, capsys):
    rows = pd.DataFrame([("mean", "calm", 3, "ours", 4, 0.5, 1.0)], columns=[
        *("statistic", "setting", "runs", "method", "replications", "coverage", "width")
    ])  # fmt: skip
    saved = {}
    monkeypatch.setattr(study, "coverage", lambda replications, workers: rows.assign(replications=replications))
    monkeypatch.setattr(studies, "save", lambda name, table, **about: saved.update({name: table, **about}))
    study.main(["--out", str(tmp_path / "out.parquet"), "--replications", "7"])
    assert pd.read_parquet(tmp_path / "out.parquet")["replications"].tolist() == [7]
    assert not saved
    study.main([])
    assert saved["coverage"]["replications"].tolist() == [1000]
    assert saved["command"] == "python -m studies.coverage"
    assert "calm" in capsys.readouterr().out


def test_the_study_at_hand_is_complete():
    rows, about = studies.load("coverage")
    assert set(rows["statistic"]) == set(coverage.KINDS)
    assert set(rows["runs"]) == {3, 5, 10, 20}
    assert about["replications"] == "1000"
    # What decided between methods: with few runs, ours keep closer to 95 % than BCa and percentiles.
    few = rows[(rows["statistic"] == "mean") & (rows["runs"] <= 5)]
    worst = few.groupby("method")["coverage"].min()
    assert worst["ours"] > coverage.BAND[0] > worst[["BCa", "percentile"]].max()
