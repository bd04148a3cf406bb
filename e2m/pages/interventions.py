"""Judge interventions whose effect on a measure is known beforehand, and claims about guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from e2m import plugins
from e2m.statistics import Status
from e2m.types import InputError

RELATIONS: dict[str, Callable] = {
    "below": lambda low, high, number: high < number,
    "above": lambda low, high, number: low > number,
    "around": lambda low, high, number: (low <= number) & (number <= high),
    "exactly": lambda low, high, number: (low == number) & (high == number),
}
"""Relation -> whether an interval has it to a number. NaN satisfies no relation."""

_WORDS = {1: "higher", -1: "lower"}


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


def claims(differences: pd.DataFrame, *, unguided: str, controls: Sequence[str]) -> pd.DataFrame:
    """Whether guidance or regularisation explains the difference in every measure, as a verdict in words.

    An effect of human guidance is claimed only where guided detectors differ, in one direction, from unguided ones and
    from those of every control. Controls are trained with maps that say nothing about their image.

    Args:
        differences: guided minus another regime, as ``statistics.compare`` returns it: row (the measure), detector,
            salience, against (the other regime), low, high.
        unguided: the regime trained without maps.
        controls: regimes trained with maps that do not belong to the image.

    Returns:
        One row a detector, salience method and measure: detector, salience, row, claimed (bool), verdict.

    Raises:
        InputError: a measure without a difference to one of the regimes.
    """
    verdicts = []
    for names, group in differences.groupby(["detector", "salience", "row"], sort=False):
        against = group.set_index("against")
        if absent := sorted({unguided, *controls} - set(against.index)):
            raise InputError(f"{names[-1]}: no difference to {', '.join(absent)}; compare guided detectors with it too")
        signs = {regime: _sign(*against.loc[regime, ["low", "high"]]) for regime in (unguided, *controls)}
        verdicts.append((*names, *_claim(signs, unguided, controls)))
    return pd.DataFrame(verdicts, columns=["detector", "salience", "row", "claimed", "verdict"])


def _sign(low: float, high: float) -> float:
    """1 if an interval lies above 0, -1 if below, 0 if it contains 0, NaN if there is no interval."""
    return np.nan if np.isnan(low + high) else float((low > 0) - (high < 0))


def _claim(signs: Mapping[str, float], unguided: str, controls: Sequence[str]) -> tuple[bool, str]:
    if unknown := [_label(regime) for regime, sign in signs.items() if np.isnan(sign)]:
        return False, f"nothing can be said: no interval against {' and '.join(unknown)}"
    sign = signs[unguided]
    beyond = [signs[regime] for regime in controls]
    if sign and all(other == sign for other in beyond):
        return True, f"an effect of guidance: {_WORDS[sign]} than without maps, and than with either kind of wrong map"
    if sign:
        alike = ", ".join(_label(regime) for regime in controls if signs[regime] != sign)
        return False, f"regularisation may be all: {_WORDS[sign]} than without maps, but not than with: {alike}"
    if beyond[0] and all(other == beyond[0] for other in beyond):
        return (
            False,
            f"no effect: {_WORDS[beyond[0]]} than with wrong maps, but not told apart from training without maps",
        )
    return False, "no effect: not told apart from training without maps"


def _label(regime: str) -> str:
    return plugins.load("regime", regime).LABEL
