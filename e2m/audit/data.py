"""What a report says, as data: the content of ``audit.json``, which the page shows too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pandas as pd

from e2m import plugins
from e2m.pages.answer import SIGNIFICANT

if TYPE_CHECKING:
    from e2m.audit.report import Report, Verdict

_COUNTS = ("runs", "images", "missing", "subjects", "files", "dead", "unreadable", "wrong")
"""Columns of whole numbers, which pandas keeps as floating-point numbers where one is missing."""

_OPTIONAL = ("p_interval", "p_corrected", "note", "runs", "images")
"""Columns that may be null without a reason: the schema says when they are."""

NO_REASON = "there is no finite value"
"""Stands in for a number that is missing where the table does not say why."""

LEVELS = ("stop", "warning", "note")
"""Levels of findings, the most serious first."""

EFFECTS = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"), (np.inf, "large"))
"""Cliff's delta, without its sign, is below the number; Romano et al. 2006."""

_OF_INTERVAL = ("low", "high", "runs", "images", "missing", "note")
_ABOUT = ("row", "letter", "better")
_DELTA = ("cliffs_delta", "cliffs_low", "cliffs_high")
COLUMNS = {
    "equal_accuracy": (
        *("group", "against", "source", "verdict", "difference", "low_90", "high_90", "margin", "p", "runs", "images"),
        *("p_interval", "p_corrected", "note"),
    ),
    "means": (*_ABOUT, "group", "mean", *_OF_INTERVAL),
    "differences": (
        *(*_ABOUT, "group", "against", "difference", *_OF_INTERVAL[:-1]),
        *("probability_greater", *_DELTA, "p", "p_holm", "p_smallest", "p_interval", "p_corrected", "note"),
    ),
    "other_methods": ("method", *_ABOUT, "group", "mean", *_OF_INTERVAL),
    "controls": ("row", "group", "control", "mean", "low", "high", "note"),
    "found": ("source", "label", "images", "subjects"),
    "left_out": ("what", "files", "why"),
    "counts": ("group", "run", "source", "images", "dead", "missing", "unreadable"),
    "images": (
        *("image", "label", "source", "subject", "group", "score", "least", "most", "runs", "wrong", "dead"),
        *("flipped", "rotated", "alike", "note"),
    ),
}
"""Table -> its columns in ``audit.json``; images have flipped, rotated and alike only if they were measured."""


def as_data(report: Report, schema: str) -> dict[str, Any]:
    """The report as JSON can hold it: numbers that are missing are null, and a note says why."""
    tables = {name: getattr(report, "equal" if name == "equal_accuracy" else name) for name in COLUMNS}
    data = {name: records(table, COLUMNS[name]) for name, table in tables.items()}
    for row in data["equal_accuracy"] + data["differences"]:
        row |= {name: row.get(name) for name in ("p_interval", "p_corrected")}
    for row in data["equal_accuracy"]:
        row["verdict"] = "undecided" if row["verdict"] == "different" and not counts(row) else row["verdict"]
    for row in data["differences"]:
        # Without an interval, from one run of each, it is 1 or -1 whatever the runs are.
        delta = None if row["cliffs_low"] is None else row["cliffs_delta"]
        row |= {"effect": effect(delta), "favours": favours(row), "words": in_words(row)}
    names = [group.name for group in report.groups]
    return {
        "schema": schema,
        "title": report.title,
        "method": report.method,
        "verdict": {"headline": headline(report.verdict, names), **_plain(asdict(report.verdict))},
        "groups": [_plain(asdict(group)) for group in report.groups],
        **data,
        "findings": [
            {"level": finding.level, "about": finding.about, "text": finding.text}
            for finding in sorted(report.findings, key=lambda finding: LEVELS.index(finding.level))
        ],
        "galleries": [
            {
                "title": gallery.title,
                "about": gallery.about,
                "images": [
                    {"image": image, "note": note} for image, note in zip(gallery.images, gallery.notes, strict=True)
                ],
            }
            for gallery in report.galleries
        ],
        "limits": limits({row["letter"] for row in data["means"]}),
        "provenance": {name: str(value) for name, value in report.provenance.items()},
    }


def check(data: dict[str, Any]) -> None:
    """Compare data with ``schema.json``.

    Raises:
        ValueError: they differ: a mistake of the code that made them, named with the path inside the data.
    """
    error = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if error is not None:
        raise ValueError(f"audit.json would not follow its schema: {error.json_path}: {error.message[:300]}")


@cache
def _validator() -> jsonschema.protocols.Validator:
    schema = json.loads(resources.files("e2m.audit").joinpath("schema.json").read_text("utf-8"))
    return jsonschema.Draft202012Validator(schema)


def headline(verdict: Verdict, groups: Sequence[str]) -> str:
    """The verdict in a few words."""
    if len(groups) == 1:
        return f"Report card of {groups[0]}"
    if verdict.preferred is not None:
        return f"Prefer {verdict.preferred}"
    return f"No reason to prefer {'either' if len(groups) == 2 else 'any'}"


def favours(row: dict[str, Any]) -> str | None:
    """The group that a difference favours: its interval excludes 0, one direction is better, and where it is one of the
    comparisons that decide, it still differs after the correction for their number."""
    side = direction(row)
    if not side or not row["better"] or not counts(row):
        return None
    return row["group"] if (side > 0) == (row["better"] == "higher") else row["against"]


def counts(row: dict[str, Any]) -> bool:
    """False for a comparison that does not differ any more after the correction for the number of comparisons."""
    p = row.get("p_corrected")
    return p is None or p <= SIGNIFICANT


def direction(row: dict[str, Any]) -> int:
    """1 if the interval of a difference lies above 0, -1 if below, 0 if it contains 0 or there is none."""
    if row["low"] is None or row["high"] is None:
        return 0
    return int(row["low"] > 0) - int(row["high"] < 0)


def in_words(row: dict[str, Any]) -> str:
    """The direction of a difference in words."""
    group, against, side = row["group"], row["against"], direction(row)
    if row["low"] is None:
        return f"{group} and {against} cannot be compared: {row['note']}"
    if not side:
        return f"{group} and {against} are not told apart"
    apart = f"{group} is {'higher' if side > 0 else 'lower'} than {against}"
    if not row["better"]:
        return f"{apart}: neither direction is better"
    if not counts(row):
        return f"{apart}, but no longer after correction for the number of comparisons"
    return f"{apart}: better for {favours(row)}"


def effect(delta: float | None) -> str | None:
    """The size of an effect in words, by Cliff's delta."""
    return None if delta is None else next(word for limit, word in EFFECTS if abs(delta) < limit)


def limits(letters: set[str]) -> list[dict[str, str]]:
    """What each measure asks and cannot see, of the measures with these letters, in their order."""
    modules = {name: plugins.load("measure", name) for name in plugins.names("measure")}
    return [
        {
            "measure": name,
            "letter": module.LETTER,
            "title": module.TITLE,
            "question": module.QUESTION,
            "blind_spot": module.BLIND_SPOT,
        }
        for name, module in sorted(modules.items(), key=lambda item: item[1].LETTER)
        if module.LETTER in letters
    ]


def records(table: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table; a number that is not finite is null, and the row's note then says why."""
    there = [name for name in columns if name in table]
    table = table.assign(**{name: table[name].astype("Int64") for name in there if name in _COUNTS})
    rows = []
    for values in table[there].itertuples(index=False, name=None):
        row = {name: _value(value) for name, value in zip(there, values, strict=True)}
        if "note" in columns:
            absent = [name for name, value in row.items() if value is None and name not in _OPTIONAL]
            row["note"] = row.get("note") or (NO_REASON if absent else "")
        rows.append(row)
    return rows


def _value(value: object) -> object:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """A dataclass's content with lists for tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}
