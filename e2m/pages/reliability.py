"""The page "What was tried to break it": the counts of ``studies/reliability.py``, by kind and by promise."""

from __future__ import annotations

import pandas as pd

KEPT, BROKEN, NOT_TRIED = "kept", "broken", "not tried"
"""What happened to a promise in a case."""


def counts(cases: pd.DataFrame, *names: str) -> pd.DataFrame:
    """How many cases were tried, and in how many of them the promise was kept.

    Args:
        cases: rows of the study "reliability".
        names: the columns whose values become rows: "kind", "promise".

    Returns:
        The columns named, in the order of the cases, and tried, kept, broken, not tried.
    """
    weighted = cases.assign(**{name: cases["tried"] * (cases["outcome"] == name) for name in (KEPT, BROKEN, NOT_TRIED)})
    summed = weighted.groupby(list(names), sort=False)[[KEPT, BROKEN, NOT_TRIED]].sum().reset_index()
    summed.insert(len(names), "tried", summed[KEPT] + summed[BROKEN])
    return summed


def sentence(cases: pd.DataFrame) -> str:
    """What happened altogether, in words."""
    total = counts(cases.assign(all=""), "all").iloc[0]
    said = f"{total['tried']:,} cases were tried; promises were kept in {total[KEPT]:,} and broken in {total[BROKEN]:,}"
    return said + (f"; {total[NOT_TRIED]:,} could not be tried" if total[NOT_TRIED] else "")
