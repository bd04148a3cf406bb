"""Verdicts on made-up tables: none is written down, each follows from an interval."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from e2m import statistics
from e2m.experiment.results import Experiment
from e2m.pages import claims
from e2m.pages.claims import Claim
from e2m.types import InputError

NAN = float("nan")


def differences(*rows):
    columns = ["row", "detector", "difference", "low", "high", "note"]
    return pd.DataFrame(rows, columns=columns).assign(p_holm=0.1, kind="difference", status="estimated", runs=5)


def equal(verdict="equal", p=0.01):
    row = {"detector": "d", "source": "swap", "verdict": verdict, "p": p, "margin": 0.05, "note": "1 run: no test"}
    return pd.DataFrame([{**row, "AUC difference": 0.01, "90 % low": -0.02, "90 % high": 0.04}])


@pytest.mark.parametrize(
    ("expected", "low", "high", "result"),
    [
        ("higher", 0.1, 0.3, ("reproduced", "")),
        ("lower", -0.3, -0.1, ("reproduced", "")),
        ("higher", -0.3, -0.1, ("not reproduced", "the opposite was found")),
        ("lower", 0.1, 0.3, ("not reproduced", "the opposite was found")),
        ("higher", -0.1, 0.3, ("not reproduced", "the interval includes 0")),
        ("lower", 0.0, 0.0, ("not reproduced", "the interval includes 0")),
        ("higher", NAN, NAN, ("not testable", "1 run")),
    ],
)
def test_a_verdict_follows_from_the_interval(expected, low, high, result):
    assert claims.verdict(expected, pd.Series({"low": low, "high": high, "note": "1 run"})) == result


@pytest.mark.parametrize(
    ("verdict", "p", "result"),
    [
        ("equal", 0.01, ("reproduced", "equal up to 0.05")),
        ("different", 0.9, ("not reproduced", "AUCs differ")),
        ("undecided", 0.2, ("not reproduced", "neither shown to differ nor to be equal up to 0.05")),
        ("undecided", NAN, ("not testable", "1 run: no test")),
    ],
)
def test_equality_is_tested_not_assumed(verdict, p, result):
    assert claims.equality(equal(verdict, p).iloc[0]) == result


def test_a_table_of_claims():
    rows = differences(
        ("(b) SSIM, noise 0.1 ↑", "d", 0.2, 0.1, 0.3, "few runs (5)"),
        ("(b) SSIM, noise 0.1 ↑", "other", 0.2, -0.1, 0.5, "few runs (5)"),
        ("AUC, gan ↑", "d", -0.2, -0.3, -0.1, ""),
        ("AUC, gan2 ↑", "d", 0.2, 0.1, 0.3, ""),
    )
    listed = [
        Claim("noise", "us", "higher", "(b) SSIM"),
        Claim("same", "us", "equal", "swap"),
        Claim("gan", "us", "higher", "AUC, gan", published=".6"),
        Claim("seven times the data", "us", reason="no data"),
    ]
    result = claims.table(listed, rows, equal())
    assert result["claim"].tolist() == ["noise", "noise", "same", "gan", "seven times the data"]
    assert result["detector"].tolist()[:4] == ["d", "other", "d", "d"]
    assert result["verdict"].tolist() == [
        *("reproduced", "not reproduced", "reproduced", "not reproduced", "not testable")
    ]
    assert result["why"].tolist()[-1] == "no data"
    numbers = ["difference", "low", "high", "level"]
    np.testing.assert_array_equal(
        result[numbers],
        [(0.2, 0.1, 0.3, 0.95), (0.2, -0.1, 0.5, 0.95), (0.01, -0.02, 0.04, 0.9), (-0.2, -0.3, -0.1, 0.95), [NAN] * 4],
    )
    assert [*result] == [
        *("claim", "by", "expected", "published", *numbers, "p_holm", "verdict", "why", "detector"),
        *("kind", "status", "runs", "note"),
    ]
    assert result["p_holm"].fillna(-1).tolist() == [0.1, 0.1, -1, 0.1, -1]


def test_a_claim_needs_its_row():
    with pytest.raises(InputError, match=r"0 rows named '\(c\) SSIM' \(c\); .* of '\(b\) SSIM ↑'"):
        claims.table([Claim("c", "us", "higher", "(c) SSIM")], differences(("(b) SSIM ↑", "d", 0, 0, 0, "")), equal())
    twice = differences(*[("(c) SSIM ↑", "d", 0, 0, 0, "")] * 2)
    with pytest.raises(InputError, match=r"2 rows named '\(c\) SSIM'"):
        claims.table([Claim("c", "us", "higher", "(c) SSIM")], twice, equal())


def test_every_claim_is_tested_or_says_why_not():
    listed = claims.of(Experiment.load("demo"))
    for claim in listed:
        assert (claim.expected in ("lower", "higher", "equal") and claim.row) or claim.reason
    tested = {claim.row for claim in listed}
    assert {
        "unseen",
        "AUC, morph",
        "AUC, eigenface",
        "AUC, dcgan",
        "blur, cyborg",
        "blur, cross_entropy",
        "swap",
    } <= tested
    assert "AUC, swap" not in tested


def test_unseen_sources_count_alike(monkeypatch):
    """The difference is that of the mean AUC over sources."""
    random = np.random.default_rng(0)
    labels = {"orl": "authentic", "swap": "synthetic", "morph": "synthetic", "dcgan": "synthetic"}
    rows = [
        (regime, run, source, labels[source], f"{source}/{image}", random.random())
        for regime in ("cross_entropy", "cyborg")
        for run in range(3)
        for source in labels
        for image in range(6)
    ]
    scores = pd.DataFrame(rows, columns=["regime", "run", "source", "label", "image", "value"])
    scores = scores.assign(detector="d", variant="score", measure="score", salience="")
    monkeypatch.setattr(Experiment, "scores", lambda self: scores)
    monkeypatch.setattr(Experiment, "subjects", None)
    experiment = Experiment.load("demo", resamples=50, regimes=["cross_entropy", "cyborg"])
    (result,) = claims.unseen_contrast(experiment).to_dict("records")
    means = statistics.summarise_auc(scores, ["regime"], "orl", resamples=50).set_index(["regime", "source"])["mean"]
    expected = [means[regime][["morph", "dcgan"]].mean() for regime in ("cyborg", "cross_entropy")]
    assert (result["row"], result["difference"]) == ("unseen", pytest.approx(expected[0] - expected[1]))
    seen = Experiment.load("demo", in_set=["orl", "swap", "morph", "eigenface", "dcgan"])
    assert claims.unseen_contrast(seen).empty


def test_blur_contrast_by_hand(monkeypatch):
    """Two runs of two images; where salient places are blurred, run 0 errs on both, run 1 on one."""
    cases = [  # run, image, score with salient, with background blurred
        (0, "a", 0.1, 0.9),
        (0, "b", 0.1, 0.9),
        (1, "a", 0.1, 0.9),
        (1, "b", 0.9, 0.9),
        (1, "c", 0.9, np.nan),
    ]
    rows = pd.DataFrame(
        [
            {"run": run, "image": image, "variant": "score", "region": region, "value": value, "level": level}
            for run, image, *values in cases
            for region, value in zip(("salient", "background"), values, strict=True)
            for level in ("5", "10")
        ]
    ).assign(detector="d", regime="cyborg", source="swap", label="synthetic", salience="CAM", correct=True)
    rows["value"] = rows["value"].where(rows["level"] == "10", 0.9)
    experiment = replace(Experiment.load("demo", resamples=50), regimes=["cyborg"])
    monkeypatch.setattr(Experiment, "rows", lambda self, measure, **kept: rows)
    monkeypatch.setattr(Experiment, "subjects", None)
    (result,) = claims.blur_contrast(experiment, "CAM", max_sigma=9.0).to_dict("records")
    assert (result["row"], result["difference"], result["runs"], result["images"]) == ("blur, cyborg", -0.75, 2, 2)
    assert result["missing"] == 2  # image c of run 1, and of run 0, which has no row
    (none,) = claims.blur_contrast(experiment, "CAM", max_sigma=5.0).to_dict("records")
    assert none["difference"] == 0
