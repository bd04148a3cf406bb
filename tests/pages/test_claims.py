"""Verdicts on made-up tables: none is written down, each follows from an interval."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2m import statistics
from e2m.experiment.results import Experiment
from e2m.pages import claims
from e2m.pages.claims import Claim
from e2m.statistics import needed
from e2m.types import InputError

NAN = float("nan")


def row(difference, low, high, margin=NAN, **changed):
    about = {"test": "b", "variant": "published", "salience": "GradCAM", "row": "(b)", "detector": "d", "level": 0.95}
    about |= {"difference": difference, "low": low, "high": high, "margin": margin, "note": "1 run", "regimes": 2}
    return about | {"runs": 5, "images": 60, "clusters": 12, "run_variance": 0.01, "image_variance": 0.001} | changed


@pytest.mark.parametrize(
    ("expected", "low", "high", "result"),
    [
        ("higher", 0.1, 0.3, ("supported", "")),
        ("lower", -0.3, -0.1, ("supported", "")),
        ("different", -0.3, -0.1, ("supported", "")),
        ("different", 0.1, 0.3, ("supported", "")),
        ("higher", -0.3, -0.1, ("contradicted", "lower instead")),
        ("lower", 0.1, 0.3, ("contradicted", "higher instead")),
        ("higher", -0.1, 0.3, ("inconclusive", "the interval includes 0")),
        ("different", -0.1, 0.3, ("inconclusive", "the interval includes 0")),
        ("lower", 0.0, 0.0, ("inconclusive", "the interval includes 0")),
        ("higher", NAN, NAN, ("untestable", "1 run")),
        ("equal", NAN, NAN, ("untestable", "1 run")),
        # With a margin of .05:
        ("equal", -0.04, 0.04, ("supported", "equal up to 0.05")),
        ("equal", 0.01, 0.04, ("supported", "equal up to 0.05")),
        ("equal", 0.06, 0.2, ("contradicted", "different by more than 0.05")),
        ("equal", -0.2, -0.06, ("contradicted", "different by more than 0.05")),
        ("equal", 0.01, 0.06, ("inconclusive", "the interval includes ±0.05")),
        ("equal", -0.2, 0.2, ("inconclusive", "the interval includes ±0.05")),
    ],
)
def test_a_verdict_follows_from_the_interval(expected, low, high, result):
    assert claims.verdict(expected, pd.Series(row(0, low, high, margin=0.05))) == result


def test_equality_needs_the_tests_over_runs_where_there_are_any():
    inside = row(0, -0.04, 0.04, margin=0.05)
    assert claims.verdict("equal", pd.Series(inside | {"p": 0.01}))[0] == "supported"
    assert claims.verdict("equal", pd.Series(inside | {"p": NAN}))[0] == "supported"
    said, why = claims.verdict("equal", pd.Series(inside | {"p": 0.06}))
    assert (said, why) == ("inconclusive", "tests over runs alone do not agree")


@settings(max_examples=200, deadline=None)
@given(st.floats(-1, 1), st.floats(0.001, 1), st.sampled_from(["higher", "lower", "different"]))
def test_no_interval_that_includes_0_speaks_against_a_claim(middle, half, expected):
    said, _ = claims.verdict(expected, pd.Series(row(middle, middle - half, middle + half)))
    includes = middle - half <= 0 <= middle + half
    assert (said == "inconclusive") == includes


def test_what_would_decide_is_planned_from_the_variances():
    plan = needed(0.1, 0.01, 0.001, 5, 12)
    assert plan.images is None
    said = claims.decides("higher", pd.Series(row(0.1, -0.1, 0.3)))
    assert said == f"{plan.runs} runs (5 now); more images alone cannot decide it"
    both = needed(0.2, 0.001, 0.004, 5, 12)
    said = claims.decides("lower", pd.Series(row(-0.2, -0.1, 0.3, run_variance=0.001, image_variance=0.004)))
    assert said == f"{both.runs} runs (5 now), or {np.ceil(both.images * 60):.0f} images (60 now)"
    said = claims.decides("lower", pd.Series(row(-0.1, -0.1, 0.3, run_variance=0.0001, image_variance=0.01)))
    assert said.endswith("images (60 now); more runs alone cannot decide it")
    said = claims.decides("lower", pd.Series(row(0.02, -0.1, 0.3, run_variance=0.001, image_variance=0.001)))
    plan = needed(0.02, 0.001, 0.001, 5, 12)
    assert (plan.runs, plan.images) == (None, None)
    assert said == f"{plan.both} runs and {12 * plan.both} images together; neither is enough alone"
    assert "too close to what it has to exclude" in claims.decides("lower", pd.Series(row(0.0, -0.1, 0.3)))
    # The distance of an equality is that to its margin, from inside and from outside.
    for difference in (0.03, 0.07, -0.03, -0.07):
        wanted = needed(0.02, 0.0001, 0.00001, 5, 12, regimes=1, level=0.9)
        changed = {"run_variance": 0.0001, "image_variance": 0.00001, "regimes": 1, "level": 0.9}
        said = claims.decides("equal", pd.Series(row(difference, -0.1, 0.1, 0.05, **changed)))
        assert said.startswith(f"{wanted.runs} runs")


LISTED = [
    Claim("noise", "the paper", "us", "higher", "b"),
    Claim("same", "CYBORG", "them", "equal", "equal AUC", figures=".6"),
    Claim("seven times the data", "CYBORG", "them", reason="no data", needs="photographs"),
]
TESTS = pd.DataFrame(
    [
        row(0.2, 0.1, 0.3),
        row(0.2, -0.1, 0.5, salience="masker", runs=3),
        row(-0.2, -0.3, -0.1, variant="corrected"),
        row(0.2, 0.1, 0.3, variant="corrected", salience="masker"),
        row(0.01, -0.02, 0.04, 0.05, test="equal AUC", variant="", salience="", level=0.9),
    ]
)


def test_every_claim_beside_every_difference_that_tests_it():
    result = claims.judged(LISTED, TESTS)
    assert result["claim"].tolist() == ["noise"] * 4 + ["same", "seven times the data"]
    verdicts = ["supported", "inconclusive", "contradicted", "supported", "supported", "untestable"]
    assert result["verdict"].tolist() == verdicts
    assert result["why"].tolist()[-2:] == ["equal up to 0.05", "no data"]
    assert (result["decides"] != "").tolist() == [said in ("inconclusive", "untestable") for said in verdicts]
    assert result["decides"].iloc[-1] == "photographs"
    assert result["runs"].tolist()[:4] == [5, 3, 5, 5]
    without = claims.judged(LISTED[:1], TESTS.assign(low=NAN))
    assert set(without["decides"]) == {"more runs or images, for an interval"}


def test_where_all_runs_and_images_agree_the_interval_is_what_they_agree_on():
    none = {"run_variance": NAN, "image_variance": NAN, "status": "no spread"}
    agreed = [row(value, NAN, NAN, 0.05, test=f"blur {value}", **none) for value in (0.0, -0.2)]
    listed = [
        Claim(f"{expected} {value}", "the paper", "us", expected, f"blur {value}")
        for expected in ("equal", "lower")
        for value in (0.0, -0.2)
    ]
    result = claims.judged(listed, pd.DataFrame(agreed))
    assert result["verdict"].tolist() == ["supported", "contradicted", "inconclusive", "supported"]
    assert result["low"].tolist() == [0, -0.2, 0, -0.2]


def test_what_is_published_is_judged_as_published():
    table = claims.as_published(claims.judged(LISTED, TESTS), "masker")
    assert table["claim"].tolist() == ["noise", "same", "seven times the data"]
    assert table["verdict"].tolist() == ["inconclusive", "supported", "untestable"]


def test_a_method_without_verdicts_is_refused():
    with pytest.raises(InputError, match="no claim is judged by the method 'CAMM'; choose from GradCAM, masker"):
        claims.as_published(claims.judged(LISTED, TESTS), "CAMM")


def test_where_training_saw_all_sources_nothing_tests_unseen_ones():
    listed = claims.of(Experiment.load("demo", sources=["orl", "swap"]))
    unseen = [claim for claim in listed if "training did not see" in claim.claim]
    assert [(claim.expected, claim.reason) for claim in unseen] == [("", "training saw all sources")]


def test_the_matrix_has_a_cell_for_each_variant_and_method():
    result = claims.matrix(claims.judged(LISTED, TESTS))
    assert result.index.tolist() == ["noise", "same", "seven times the data"]
    assert result.columns.tolist() == [*product(("published", "corrected"), ("GradCAM", "masker"))]
    assert result.loc["noise"].tolist() == ["supported", "inconclusive", "contradicted", "supported"]
    assert set(result.loc["same"]) == {"supported"}  # no map enters
    assert set(result.loc["seven times the data"]) == {"untestable"}
    alone = claims.matrix(claims.judged(LISTED, TESTS[(TESTS["variant"] != "corrected")]))
    assert alone.loc["noise"].tolist() == ["supported", "inconclusive", "", ""]  # nothing to correct


def test_a_claim_needs_its_test():
    with pytest.raises(
        InputError, match=r"0 rows of the test 'c' \(c\); one a detector, variant .* of 'b', 'equal AUC'"
    ):
        claims.judged([Claim("c", "the paper", "us", "higher", "c")], TESTS)
    with pytest.raises(InputError, match="8 rows of the test 'b'"):
        claims.judged(LISTED, pd.concat([TESTS, TESTS]))


def test_every_claim_is_tested_or_says_why_not_and_whose_it_is():
    listed = claims.of(Experiment.load("demo"))
    for claim in listed:
        assert (claim.expected in ("lower", "higher", "equal", "different") and claim.test) or (
            claim.reason and claim.needs
        )
        assert claim.group in claims.GROUPS
        assert claim.by
        # Only expectations of a direction are this book's; no public text of the paper has one for (a) to (d).
        assert not (claim.group == claims.PAPER and claim.test in [*"abcd"] and claim.expected != "different")
    tested = {claim.test for claim in listed if claim.expected}
    blurs = {
        f"blur {region}, {regime}" for region in ("salient", "background") for regime in ("cyborg", "cross_entropy")
    }
    assert (
        tested == {"a", "b", "c", "d", "equal AUC", "AUC, unseen", "AUC, morph", "AUC, eigenface", "AUC, dcgan"} | blurs
    )


def test_tests_are_named_by_measure_variant_and_method(monkeypatch):
    """Headlines of both methods, the AUC of each source once, and equality within its margin, ready to be judged."""
    about = {
        "detector": "d",
        "difference": 0.1,
        "low": -0.1,
        "high": 0.3,
        "p": 0.2,
        "note": "",
        "runs": 5,
        "images": 60,
    }
    about |= {"clusters": 12, "run_variance": 0.01, "image_variance": 0.001}
    quantities = [("(a) grey, as published ↓", "a", True), ("(a) spatial ↓", "a", False), ("AUC, gan ↑", "", False)]
    quantities += [("accuracy ↑", "", False), ("(l) energy ↑", "l", False)]
    apart = pd.DataFrame(
        [
            {"row": name, "letter": letter, "published": published, "salience": method, **about}
            for method in ("GradCAM", "CAM")
            for name, letter, published in quantities
        ]
    )
    ends = {"AUC difference": 0.1, "90 % low": -0.01, "90 % high": 0.04}
    whole = {**about, **ends, "verdict": "equal", "margin": 0.05}
    equal = pd.DataFrame([whole | {"source": source} for source in ("swap", "gan")])
    blur = pd.DataFrame([row(-0.1, -0.2, 0, test="blur salient, cyborg")]).drop(columns=["margin", "regimes", "level"])
    monkeypatch.setattr(claims, "blur_changes", lambda experiment, method, sigma: blur.assign(salience=method))
    monkeypatch.setattr(claims, "unseen_contrast", lambda experiment: pd.DataFrame([about | {"test": "AUC, unseen"}]))
    monkeypatch.setattr(Experiment, "synthetic", "swap")
    experiment = Experiment.load("demo", methods=["GradCAM", "CAM"], masker=None)
    table = claims.tests(experiment, apart, equal.drop(columns=["difference", "low", "high"]), 10.0, 0.02)
    found = list(
        table[["test", "variant", "salience", "level", "margin", "regimes"]].itertuples(index=False, name=None)
    )
    expected = [
        ("a", variant, method, 0.95, NAN, 2) for method in ("GradCAM", "CAM") for variant in ("published", "corrected")
    ]
    expected += [("AUC, gan", "", "", 0.95, NAN, 2), ("equal AUC", "", "", 0.9, 0.05, 2)]
    expected += [("blur salient, cyborg", "published", method, 0.95, 0.02, 1) for method in ("GradCAM", "CAM")]
    expected += [("AUC, unseen", "", "", 0.95, NAN, 2)]
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected))
    listed = [Claim("same", "the paper", "us", "equal", "equal AUC"), Claim("a", "the paper", "us", "lower", "a")]
    result = claims.judged(listed, table)
    # The test over runs, p .2, does not agree that the AUCs are equal.
    assert result["verdict"].tolist() == ["inconclusive"] * 5
    assert result["why"].tolist()[0] == "tests over runs alone do not agree"


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
    assert (result["test"], result["difference"]) == ("AUC, unseen", pytest.approx(expected[0] - expected[1]))
    seen = Experiment.load("demo", in_set=["orl", "swap", "morph", "eigenface", "dcgan"])
    assert claims.unseen_contrast(seen).empty


def test_blur_changes_by_hand(monkeypatch):
    """Two runs of two images, all right before: each change is of the same image, and counts lost decisions."""
    cases = [  # run, image, score with salient, background, and random areas blurred
        (0, "a", 0.1, 0.9, 0.9),
        (0, "b", 0.1, 0.9, 0.1),
        (1, "a", 0.1, 0.9, 0.9),
        (1, "b", 0.9, 0.9, 0.9),
        (1, "c", 0.9, np.nan, np.nan),
    ]
    regions = ("salient", "background", "random")
    rows = pd.DataFrame(
        [
            {"run": run, "image": image, "variant": "score", "region": region, "value": value, "level": level}
            for run, image, *values in cases
            for region, value in zip(regions, values, strict=True)
            for level in ("5", "10")
        ]
    ).assign(detector="d", regime="cyborg", source="swap", label="synthetic", salience="GradCAM", correct=True)
    rows["value"] = rows["value"].where(rows["level"] == "10", 0.9)
    experiment = Experiment.load("demo", resamples=50)
    monkeypatch.setattr(Experiment, "rows", lambda self, measure, **kept: rows)
    monkeypatch.setattr(Experiment, "subjects", None)
    result = claims.blur_changes(experiment, "GradCAM", max_sigma=10.0)
    assert result["test"].tolist() == ["blur salient, cyborg", "blur background, cyborg", "blur salient, cyborg"]
    assert result["variant"].tolist() == ["published", "published", "corrected"]
    # Salient: -1 -1 -1 0 0 of five; background: nothing; against random areas: -1 0 -1 0 of four.
    assert result["difference"].tolist() == pytest.approx([-0.6, 0, -0.5])
    assert result["images"].tolist() == [3, 2, 2]
    unchanged = claims.blur_changes(experiment, "GradCAM", max_sigma=5.0)
    assert set(unchanged["difference"]) == {0}
    monkeypatch.setattr(Experiment, "rows", lambda self, measure, **kept: rows[rows["region"] != "random"])
    assert set(claims.blur_changes(experiment, "GradCAM", max_sigma=10.0)["variant"]) == {"published"}
