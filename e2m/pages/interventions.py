"""Judge interventions whose effect on a measure is known beforehand."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from e2m.statistics import Status
from e2m.types import InputError

RELATIONS: dict[str, Callable] = {
    "below": lambda low, high, number: high < number,
    "above": lambda low, high, number: low > number,
    "around": lambda low, high, number: (low <= number) & (number <= high),
    "exactly": lambda low, high, number: (low == number) & (high == number),
}
"""Relation -> whether an interval has it to a number. NaN satisfies no relation."""


def judge(
    summary: pd.DataFrame, intervention: str, measure: str, expected: str, relation: str, number: float
) -> pd.DataFrame:
    """Whether intervals have the relation to a number that was expected before training.

    Args:
        summary: rows of ``statistics.summarise`` (column mean) or ``statistics.compare`` (column difference): detector,
            low, high, runs, images, missing, note, status.
        intervention: what was done to the training or to the images.
        measure: what was observed.
        expected: the expectation in words.
        relation: the expectation as a rule: the whole interval is "below" or "above" the number, the interval
            contains the number ("around"), or both ends equal the number ("exactly").
        number: the number that the interval is compared with.

    Returns:
        One row for each row of ``summary``: intervention, measure, expected, relation, number, detector, observed, low,
        high, passed, runs, images, missing, note. An interval that cannot be estimated has not passed. If it cannot be
        estimated because all runs and images agree, both ends are the value that they agree on.

    Raises:
        InputError: an unknown relation.
    """
    if relation not in RELATIONS:
        raise InputError(f"no relation named {relation!r}; choose from {', '.join(RELATIONS)}")
    table = summary.rename(columns={"difference": "observed", "mean": "observed"})
    agreed = table["status"] == Status.NO_SPREAD
    table = table.assign(
        note=table["note"].mask(agreed, "all runs and images agree"),
        low=table["low"].mask(agreed, table["observed"]),
        high=table["high"].mask(agreed, table["observed"]),
    )
    table = table.assign(intervention=intervention, measure=measure, expected=expected, relation=relation)
    table = table.assign(number=number, passed=RELATIONS[relation](table["low"], table["high"], number))
    columns = ["intervention", "measure", "expected", "relation", "number", "detector", "observed", "low", "high"]
    return table[[*columns, "passed", "runs", "images", "missing", "note"]].reset_index(drop=True)
