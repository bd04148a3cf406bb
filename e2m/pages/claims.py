"""Published claims about guided detectors, and whether the tables of an experiment reproduce them.

Directions and figures are the published ones; every verdict is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from e2m import statistics
from e2m.experiment.results import Experiment
from e2m.pages import figures
from e2m.pages.selection import at_level
from e2m.types import InputError

REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE = "reproduced", "not reproduced", "not testable"


@dataclass(frozen=True)
class Claim:
    """A published claim about guided detectors, compared with traditional ones.

    Attributes:
        claim: the claim in words.
        by: the publication that makes it.
        expected: value of guided detectors beside traditional ones: "lower", "higher" or "equal"; "" if nothing here
            tests the claim.
        row: the row of the differences that tests the claim, up to a comma; or the source of an equality of AUCs.
        published: the published figure; "" if this project knows the direction only.
        reason: why nothing here tests the claim.
    """

    claim: str
    by: str
    expected: str = ""
    row: str = ""
    published: str = ""
    reason: str = ""


PAPER, CYBORG, CORRECTED = "Crum et al. 2023", "Boyd et al. 2023", "Crum et al. 2023, corrected measure"

SALIENCE = [
    Claim("(a) Salience is more concentrated: lower entropy of grey levels", PAPER, "lower", "(a) grey-level entropy"),
    Claim("(a) Salience is more concentrated: lower spatial entropy", CORRECTED, "lower", "(a) spatial entropy"),
    Claim("(b) Salience is more robust to noise", PAPER, "higher", "(b) SSIM"),
    Claim("(c) Salience follows transformations more closely", PAPER, "higher", "(c) SSIM"),
    Claim("(d) Salience is more alike between training runs", PAPER, "higher", "(d) SSIM between runs"),
]
BLUR = "(e) Blur of salient places costs {regime} detectors more accuracy than blur of the background"
UNTESTABLE = [
    Claim(
        "Guidance does more than seven times the training data",
        CYBORG,
        published="AUC .612 (CYBORG) against .585 (seven times the data), ResNet-50, 10 runs",
        reason="there are no seven times as many photographs to train on",
    ),
    Claim(
        "It is because people looked there that guidance helps",
        CYBORG,
        reason="annotations are simulated: that of a composite is its true region",
    ),
]


def of(experiment: Experiment) -> list[Claim]:
    """All claims, with one for every source that training did not see."""
    in_set = experiment.synthetic
    same = "Accuracy does not tell the detectors apart"
    better = "The same for images of {} alone"
    synthetic = experiment.samples.loc[experiment.samples["label"] == "synthetic", "source"].unique()
    figure = "AUC .612 (CYBORG) against .537 (classical), ResNet-50, mean over test sets, 10 runs"
    overall = "Guided detectors generalise better: AUC, mean over the sources that training did not see"
    return [
        Claim(f"{same} (AUC, {in_set})", PAPER, "equal", in_set),
        *SALIENCE,
        *(
            Claim(BLUR.format(regime=figures.regime_label(regime)), PAPER, "lower", f"blur, {regime}")
            for regime in experiment.roles.values()
        ),
        Claim(overall, CYBORG, "higher", "unseen", figure),
        *(
            Claim(better.format(source), CYBORG, "higher", f"AUC, {source}")
            for source in synthetic
            if source not in experiment.in_set
        ),
        *UNTESTABLE,
    ]


def table(claims: Sequence[Claim], differences: pd.DataFrame, equal: pd.DataFrame) -> pd.DataFrame:
    """Every claim beside the difference that tests it and the verdict: one row a claim and detector.

    Args:
        claims: the claims to judge.
        differences: ``selection.differences`` of one salience method, ``blur_contrast`` and ``unseen_contrast``.
        equal: ``selection.equal_accuracy``.

    Returns:
        claim, by, expected, published; difference (guided minus traditional); low, high and level of its interval
        (0.95, or 0.9 for an equality); p_holm, verdict, why, detector; kind, status, runs and note of the interval.
        Numbers are NaN where nothing here tests the claim.

    Raises:
        InputError: a claim that no row tests, or more than one row a detector.
    """
    judged = [
        {"claim": claim.claim, "by": claim.by, "expected": claim.expected, "published": claim.published, **row}
        for claim in claims
        for row in _judge(claim, differences, equal)
    ]
    return pd.DataFrame(judged)


def verdict(expected: str, difference: pd.Series) -> tuple[str, str]:
    """Verdict, and reason, on a difference expected to be "lower" or "higher", from its 95 % interval."""
    low, high = difference["low"], difference["high"]
    if not np.isfinite(low):
        return NOT_TESTABLE, difference["note"]
    if low <= 0 <= high:
        return NOT_REPRODUCED, "the interval includes 0"
    if (low > 0) == (expected == "higher"):
        return REPRODUCED, ""
    return NOT_REPRODUCED, "the opposite was found"


def equality(row: pd.Series) -> tuple[str, str]:
    """Verdict, and reason, on the equality of two AUCs, from a row of ``selection.equal_accuracy``."""
    if not np.isfinite(row["p"]):
        return NOT_TESTABLE, row["note"]
    verdicts = {
        "equal": (REPRODUCED, f"equal up to {row['margin']:g}"),
        "different": (NOT_REPRODUCED, "AUCs differ"),
        "undecided": (NOT_REPRODUCED, f"neither shown to differ nor to be equal up to {row['margin']:g}"),
    }
    return verdicts[row["verdict"]]


def blur_contrast(experiment: Experiment, method: str, max_sigma: float) -> pd.DataFrame:
    """Accuracy with salient areas blurred minus accuracy with the background blurred, for every regime.

    Args:
        experiment: the experiment whose results are read.
        method: salience method that guides the blur.
        max_sigma: largest blur, in pixels at 224.

    Returns:
        Rows like those of ``selection.differences``: row ("blur, REGIME"), detector, difference, and the attributes of
        ``Interval``.
    """
    right = at_level(statistics.accuracies(experiment.rows("degradation", salience=method)), max_sigma)
    right = right[right["source"].isin(experiment.in_set)].astype(dict.fromkeys(("detector", "regime", "image"), str))
    keys = ["detector", "regime", "run", "image"]
    salient, background = (
        right[right["region"] == region].set_index(keys)["value"] for region in ("salient", "background")
    )
    apart = (salient - background).rename("value").reset_index()
    table = statistics.summarise(apart, ["detector", "regime"], **experiment.resampling)
    return table.assign(row="blur, " + table["regime"]).rename(columns={"mean": "difference"})


def unseen_contrast(experiment: Experiment) -> pd.DataFrame:
    """The AUC of all synthetic sources that training did not see, taken together: guided minus traditional.

    If every source has the same number of images, this is the difference of the mean AUC over these sources.

    Returns:
        One row a detector, called "unseen", like those of ``selection.differences``; no rows if training saw all
        sources.
    """
    scores = experiment.scores()
    new = (scores["label"] == "synthetic") & ~scores["source"].isin(experiment.in_set)
    if not new.any():
        return pd.DataFrame()
    scores = scores[new | (scores["source"] == experiment.authentic)].assign(
        source=lambda rows: rows["source"].where(rows["label"] == "authentic", "unseen")
    )
    settings = {**experiment.roles, **experiment.resampling}
    table = statistics.compare_auc(scores, ["detector"], experiment.authentic, **settings)
    return table.rename(columns={"source": "row"}).drop(columns="p_holm")


def _judge(claim: Claim, differences: pd.DataFrame, equal: pd.DataFrame) -> list[dict]:
    if not claim.expected:
        return [_judged(NOT_TESTABLE, claim.reason, pd.Series())]
    if claim.expected == "equal":
        rows = _rows(claim, equal, equal["source"] == claim.row)
        rows = rows.rename(columns={"AUC difference": "difference", "90 % low": "low", "90 % high": "high"})
        return [_judged(*equality(row), row, 0.9) for _, row in rows.iterrows()]
    names = differences["row"].str.rstrip(" ↑↓")
    rows = _rows(claim, differences, (names == claim.row) | names.str.startswith(f"{claim.row},"))
    return [_judged(*verdict(claim.expected, row), row, 0.95) for _, row in rows.iterrows()]


def _rows(claim: Claim, table: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    """The rows that test a claim, one a detector."""
    rows = table[chosen]
    if rows.empty or rows["detector"].duplicated().any():
        there = ", ".join(map(repr, dict.fromkeys(table["row" if "row" in table else "source"])))
        raise InputError(f"{len(rows)} rows named {claim.row!r} ({claim.claim}); one a detector is needed of {there}")
    return rows


def _judged(verdict: str, why: str, row: pd.Series, level: float = np.nan) -> dict:
    """Columns of the table: the verdict, and the numbers of the row that decided it."""
    numbers = {name: row.get(name, np.nan) for name in ("difference", "low", "high")}
    about = {name: row.get(name) for name in ("detector", "kind", "status", "runs", "note")}
    return {**numbers, "level": level, "p_holm": row.get("p_holm", np.nan), "verdict": verdict, "why": why, **about}
