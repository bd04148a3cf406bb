"""The rule for groups nobody planned: what it prefers, and how often it prefers one of two that do not differ."""

import numpy as np
import pandas as pd
import pytest

from e2m import statistics
from e2m.pages import answer

FIRST, SECOND = "A", "B"


def row(name, difference, p, better="higher", letter="d"):
    about = {"regime": FIRST, "against": SECOND, "row": name, "letter": letter, "better": better}
    return about | {"difference": difference, "p_interval": p}


def equal(verdict="equal", difference=0.01, p=0.5):
    ends = {"low_90": difference - 0.02, "high_90": difference + 0.02, "margin": 0.05, "note": ""}
    about = {"regime": FIRST, "against": SECOND, "verdict": verdict, "difference": difference, "p_interval": p}
    return pd.DataFrame([about | ends])


def said(tested, *rows, but=()):
    return answer.between(tested, pd.DataFrame(rows), but)[FIRST, SECOND]


@pytest.mark.parametrize(
    ("tested", "rows", "preferred", "words"),
    [
        (equal(), [row("(d)", 0.2, 0.001)], FIRST, "A is preferred: as accurate, and better"),
        (equal(), [row("(d)", -0.2, 0.001)], SECOND, "B is preferred: as accurate"),
        (equal(), [row("(a)", -0.2, 0.001, "lower", "a")], FIRST, "A is preferred"),
        # Two comparisons: .03 is not enough, and neither is .02 beside another.
        (equal(), [row("(d)", 0.2, 0.03)], None, "they are equally accurate, and no measure tells them apart"),
        (equal(), [row("(d)", 0.2, 0.02), row("(c)", 0, 0.9)], None, "no measure tells them apart"),
        # What is no measure, has no better direction or is left out, neither decides nor is counted.
        (equal(), [row("(d)", 0.2, 0.02), row("(f)", 0, 0.9, "")], FIRST, ""),
        (equal(), [row("accuracy", 0.2, 1e-6, letter="")], None, "no measure"),
        (equal(), [row("(d)", 0.2, np.nan)], None, "no measure"),
        (equal(), [row("(d)", 0.2, 1e-3), row("(b)", -0.2, 1e-3)], None, "point in both directions"),
        # Accuracy comes first.
        (equal("different", 0.2, 0.01), [row("(d)", -0.2, 1e-5)], FIRST, "because it is more accurate"),
        (equal("different", -0.2, 0.01), [row("(d)", 0.2, 1e-5)], SECOND, "because it is more accurate"),
        (equal("different", 0.2, 0.04), [row("(d)", -0.2, 0.9)], None, "equal accuracy was not shown"),
        (equal("undecided", 0.04), [row("(d)", 0.2, 1e-5)], None, "equal accuracy was not shown"),
        (equal().iloc[:0], [row("(d)", 0.2, 1e-5)], None, "their accuracy cannot be compared"),
    ],
)
def test_the_rule(tested, rows, preferred, words):
    result = said(tested, *rows)
    assert (result.preferred, words in result.verdict) == (preferred, True)
    assert ("There is no reason to prefer either" in result.verdict) == (preferred is None)
    assert result.by_measures == (preferred is not None and "more accurate" not in result.verdict)


def test_a_quantity_may_be_left_out():
    assert said(equal(), row("(d)", 0.2, 1e-3), but=["(d)"]).preferred is None


def test_all_pairs_are_one_family():
    rows = [row("(d)", 0.2, 0.02), row("(d)", 0, 0.9) | {"regime": "C"}]
    alone, both = (
        answer.between(pd.concat([equal(), equal().assign(regime="C")][:n]), pd.DataFrame(rows[:n])) for n in (1, 2)
    )
    assert (alone[FIRST, SECOND].preferred, both[FIRST, SECOND].preferred) == (FIRST, None)
    adjusted = answer.corrected(pd.concat([equal(), equal().assign(regime="C")]), pd.DataFrame(rows))
    np.testing.assert_allclose(np.concatenate(adjusted), statistics.holm([0.5, 0.5, 0.02, 0.9]))


def test_what_counts_is_named():
    measures = said(equal(), row("(d) SSIM ↑", 0.2, 1e-3), row("(a) entropy ↓", 0.1, 0.9, "lower", "a")).measures
    assert measures == ("Of 2 comparisons of measures between A and B, 1 differs. Better with A: (d) SSIM.")


# How often one of two halves of one regime is preferred


def rows_of_ten_runs(random, images, quantities, run=1.0, image=1.0, residual=0.5):
    """Values (quantity, run, image) of ten runs of one kind, with effects of runs that quantities share in part."""
    shared = random.standard_t(5, (1, 10, 1))
    return (
        run * (shared + random.standard_t(5, (quantities, 10, 1))) / 2
        + image * random.normal(size=(quantities, 1, images))
        + residual * random.normal(size=(quantities, 10, images))
    )


def halves(values, members):
    """The differences of the first half of the runs minus the other, as ``selection.between`` gives them."""
    lines = []
    for number, table in enumerate(values):
        apart = statistics.difference_interval(table[members], table[~members], resamples=150)
        lines.append(row(f"(d) {number}", apart.mean, apart.p))
    return pd.DataFrame(lines)


def test_halves_of_one_regime_are_preferred_in_at_most_one_of_twenty():
    """Ten runs halved 200 times, with effects of runs that are heavy-tailed and shared between quantities."""
    random, preferred = np.random.default_rng(0), 0
    for _ in range(20):
        values = rows_of_ten_runs(random, 20, 6)
        for _ in range(10):
            members = np.isin(np.arange(10), random.permutation(10)[:5])
            preferred += said(equal(), *halves(values, members).to_dict("records")).preferred is not None
    assert preferred <= 10


def test_groups_that_differ_are_told_apart():
    """The same rule prefers the better of two groups that differ by as much as runs do."""
    random, right = np.random.default_rng(1), 0
    for _ in range(10):
        values = rows_of_ten_runs(random, 20, 6)
        members = np.arange(10) < 5
        values[:, members] += 3
        right += said(equal(), *halves(values, members).to_dict("records")).preferred == FIRST
    assert right >= 8
