import numpy as np
import pandas as pd
import pytest

from e2m.pages import coverage
from e2m.statistics import cliffs_delta, compare, mean_interval, pairs_interval
from e2m.store.paths import CHECKOUT

STUDY = pd.DataFrame(
    [
        ("mean", "calm", 3, "ours", 0.94),
        ("mean", "wild", 3, "ours", 0.99),
        ("mean", "wild", 3, "BCa", 0.80),
        ("pairs", "calm", 3, "ours", 0.95),
        ("pairs", "wild", 3, "ours", 0.90),
        ("pairs", "calm", 10, "ours", 0.95),
        ("pairs", "wild", 10, "ours", 0.93),
    ],
    columns=["statistic", "setting", "runs", "method", "coverage"],
)


@pytest.fixture(autouse=True)
def study(monkeypatch):
    monkeypatch.setattr(coverage.studies, "load", lambda name: (STUDY, {}))
    coverage._study.cache_clear()
    yield
    coverage._study.cache_clear()


@pytest.mark.parametrize(
    ("kind", "runs", "expected"),
    [
        ("mean", 3, (0.94, 0.99)),
        ("pairs", 3, (0.90, 0.95)),
        # The study's next smaller number of runs.
        ("pairs", 9, (0.90, 0.95)),
        ("pairs", 10, (0.93, 0.95)),
        ("pairs", 400, (0.93, 0.95)),
        ("pairs", 2, (np.nan, np.nan)),
        ("contrast", 3, (np.nan, np.nan)),
        ("mean", np.nan, (np.nan, np.nan)),
    ],
)
def test_coverage_of_a_kind_of_interval(kind, runs, expected):
    np.testing.assert_array_equal(coverage.held(kind, runs), expected)


def test_only_what_falls_short_is_marked():
    assert [coverage.mark("pairs", runs) for runs in (2, 5, 10)] == ["†", "†", ""]
    assert coverage.mark("mean", 5) == coverage.mark("", 5) == ""


def table(*rows):
    return pd.DataFrame(rows, columns=["kind", "runs", "low"])


def test_the_footnote_of_a_table():
    assert coverage.footnote(table(("mean", 5, 0.1), ("pairs", 10, 0.1))) == ""
    # A row without an interval needs no remark on it.
    assert coverage.footnote(table(("pairs", 5, np.nan))) == coverage.footnote(pd.DataFrame({"mean": [1.0]})) == ""
    said = coverage.footnote(table(("mean", 5, 0.1), ("pairs", 5, 0.1), ("pairs", 5, 0.2)))
    assert said == (
        "† 95 % intervals that held the truth less often in simulations: "
        "of means over pairs of runs from 5 runs, in 90.0 % at worst."
    )
    few = coverage.footnote(table(("mean", 2, 0.1), ("mean", 3, 0.1)))
    assert few.endswith("simulations: of means from 2 runs, never simulated.")
    assert coverage.sentence(table(("mean", 5, 0.1), ("contrast", 5, 0.1))) == (
        "In simulations, such 95 % intervals held the truth in 94 to 99 % of cases, depending on the kind and the "
        "setting. The lowest share is that of means from 5 runs."
    )


def test_kinds_that_were_never_simulated():
    assert coverage.sentence(table(("pairs", 2, 0.1))).endswith("was never simulated.")


def test_a_verdict_for_each_kind_at_a_number_of_runs():
    result = coverage.at_hand(5).set_index("95 % intervals of")
    assert result.loc["means"].tolist() == [0.94, 0.99, "longer than necessary in the best setting"]
    assert result.loc["means over pairs of runs"].tolist() == [0.90, 0.95, "too short in the worst setting"]
    assert result.loc["AUCs", "verdict"] == "never simulated with so few"
    many = coverage.at_hand(10).set_index("95 % intervals of")["verdict"]
    assert many["means over pairs of runs"] == "as promised"
    assert coverage.shortfalls(STUDY) == "Means over pairs of runs, 3 runs, wild: 90.0 %"
    assert coverage.shortfalls(STUDY[STUDY["runs"] > 3]) == "None"


def test_without_a_study_nothing_is_marked(monkeypatch):
    def absent(name):
        raise coverage.InputError("never run")

    monkeypatch.setattr(coverage.studies, "load", absent)
    assert coverage.mark("pairs", 3) == ""
    assert coverage.footnote(table(("pairs", 3, 0.1))) == ""


def test_every_kind_of_interval_has_a_name():
    values = np.random.default_rng(0).normal(size=(3, 9))
    pair = pairs_interval(values, ["ab", "bc", "ca"])
    assert {mean_interval(values).kind, pair.kind, cliffs_delta([1.0], [2.0]).kind} <= set(coverage.KINDS)
    rows = pd.DataFrame(
        [
            (regime, run, f"{image}", "m", values[run, image])
            for regime in "ab"
            for run in range(3)
            for image in range(9)
        ],
        columns=["regime", "run", "image", "measure", "value"],
    )
    assert set(compare(rows, ["measure"], first="a", second="b")["kind"]) <= set(coverage.KINDS)


def test_the_study_knows_every_kind():
    source = (CHECKOUT / "studies" / "coverage.py").read_text()
    for kind in coverage.KINDS:
        assert f'("{kind}", ' in source
