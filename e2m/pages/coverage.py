"""How far the intervals of each kind can be trusted: how often they held the truth in the coverage study.

``studies/coverage.py`` draws data of known truth and writes the study; the page "How far the intervals can be
trusted" shows it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from e2m.store import studies
from e2m.types import InputError

BAND = (0.93, 0.97)
"""Coverage that counts as kept for a 95 % interval."""

MARK = "†"

OURS = "ours"
"""The study's name for the intervals of ``e2m.statistics``."""

KINDS = {
    "mean": "means",
    "share": "shares of images",
    "bounded mean": "means of values within limits",
    "difference": "differences of means",
    "contrast": "differences between groups of images",
    "pairs": "means over pairs of runs",
    "AUC": "AUCs",
    "AUC difference": "differences of AUCs",
    "P(a > b)": "P and Cliff's delta",
}
"""The kinds of intervals, as in the study and ``Interval.kind``, and in words."""


def held(kind: str, runs: float) -> tuple[float, float]:
    """Smallest and largest coverage of an interval over all simulated settings.

    Args:
        kind: a key of ``KINDS``.
        runs: number of runs; the study's largest number up to it counts.

    Returns:
        Shares in [0, 1]; NaN if that kind was never simulated, or not with so few runs.
    """
    study = _study()
    subset = study[(study["statistic"] == kind) & (study["runs"] <= runs)]
    subset = subset[subset["runs"] == subset["runs"].max()]["coverage"]
    return float(subset.min()), float(subset.max())


def mark(kind: str, runs: float) -> str:
    """The mark of an interval that falls short in some setting, or was never simulated; "" for others."""
    short = kind in KINDS and not held(kind, runs)[0] >= BAND[0]
    return MARK if short and len(_study()) else ""


def short(coverage: float) -> str:
    """A coverage as text, marked where it is below ``BAND``."""
    return f"{coverage:.3f}" + MARK * (coverage < BAND[0])


def footnote(table: pd.DataFrame) -> str:
    """The meaning of the mark for a table with the columns ``kind`` and ``runs``; "" if no row has one."""
    cases = []
    for kind, runs in _cases(table):
        least = held(kind, runs)[0]
        finding = f"in {100 * least:.1f} % at worst" if np.isfinite(least) else "never simulated"
        if mark(kind, runs):
            cases.append(f"of {KINDS[kind]} from {runs:g} runs, {finding}")
    return f"{MARK} 95 % intervals that held the truth less often in simulations: {'; '.join(cases)}." if cases else ""


def sentence(table: pd.DataFrame) -> str:
    """How often intervals like those of a table with the columns ``kind`` and ``runs`` held the truth, in words."""
    cases = []
    for kind, runs in _cases(table):
        least, most = held(kind, runs)
        if np.isfinite(least):
            cases.append((least, most, f"{KINDS[kind]} from {runs:g} runs"))
    if not cases:
        return "How often such intervals hold the truth with so few runs was never simulated."
    lowest, highest, worst = min(cases)[0], max(most for _, most, _ in cases), min(cases)[2]
    share = f"{_share(lowest, highest)} of cases, depending on the kind and the setting"
    return f"In simulations, such 95 % intervals held the truth in {share}. The lowest share is that of {worst}."


def _share(least: float, most: float) -> str:
    return " to ".join(dict.fromkeys(f"{100 * share:.0f}" for share in (least, most))) + " %"


def at_hand(runs: int) -> pd.DataFrame:
    """Every kind of interval with so many runs: its smallest and largest coverage, and a verdict."""
    rows = []
    for kind, words in KINDS.items():
        least, most = held(kind, runs)
        short = "too short in the worst setting" if least < BAND[0] else ""
        long = "longer than necessary in the best setting" if most > BAND[1] else ""
        verdict = "; ".join(filter(None, [short, long])) or "as promised"
        rows.append((words, least, most, verdict if np.isfinite(least) else "never simulated with so few"))
    return pd.DataFrame(rows, columns=["95 % intervals of", "least", "most", "verdict"])


def shortfalls(rows: pd.DataFrame) -> str:
    """The settings of a coverage study in which our intervals fall short, a sentence each."""
    short = rows[(rows["method"] == OURS) & (rows["coverage"] < BAND[0])]
    cases = (
        f"{KINDS[row.statistic]}, {row.runs} runs, {row.setting}: {100 * row.coverage:.1f} %"
        for row in short.itertuples()
    )
    return ". ".join(f"{case[0].upper()}{case[1:]}" for case in cases) or "None"


def _cases(table: pd.DataFrame) -> list[tuple[str, float]]:
    """Kinds of intervals and numbers of runs, in order of appearance."""
    if not {"kind", "runs", "low"} <= set(table):
        return []
    there = table[np.isfinite(table["low"]) & table["kind"].isin(list(KINDS))]
    return list(there[["kind", "runs"]].drop_duplicates().itertuples(index=False, name=None))


@cache
def _study() -> pd.DataFrame:
    """Coverage of our intervals; no rows if there is no study."""
    try:
        rows, _ = studies.load("coverage")
    except InputError:
        return pd.DataFrame(columns=["statistic", "runs", "method", "coverage"])
    return rows[rows["method"] == OURS]
