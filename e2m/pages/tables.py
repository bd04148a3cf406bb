"""Tables for reading: means with their intervals, differences, claims."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from e2m.pages import coverage, figures


def interval_table(table: pd.DataFrame, rows: Sequence[str], columns: str | Sequence[str] = "regime", digits: int = 3):
    """A summary table for reading: one column "mean [low, high]" for each regime, and the counts of values.

    Remarks below the table say why an interval is missing and which kinds of interval fall short.

    Args:
        table: mean, low, high, missing and the columns named; optionally images (entered), flipped (predictions),
            note, kind and runs, which are shown where rows have different numbers of them.
        rows: columns that name a row.
        columns: column or columns whose values become columns.
        digits: after the decimal point.
    """
    rows, columns = list(rows), [columns] if isinstance(columns, str) else list(columns)
    cells = _cells(table, "mean", "low", "high", digits)
    wide = table.assign(cell=cells).pivot(index=rows, columns=columns, values="cell")
    order = (
        pd.MultiIndex.from_frame(table[rows].drop_duplicates())
        if len(rows) > 1
        else list(dict.fromkeys(table[rows[0]]))
    )
    wide = wide.loc[order, list(dict.fromkeys(table[columns[0]])) if len(columns) == 1 else slice(None)]
    groups = table.groupby(rows, sort=False)
    counts = {"images": _span, "missing": "sum", "flipped": "sum"}
    counts = ({"runs": _span} if "runs" in table and len(set(table["runs"].dropna())) > 1 else {}) | counts
    for name, count in counts.items():
        if name in table:
            wide[name] = groups[name].agg(count).reindex(wide.index)
    wide = wide.fillna("").rename_axis(columns=None).reset_index()
    shown = _spelled(wide.style.hide(axis="index").format(precision=0, escape="html"), rows)
    if columns == ["regime"]:
        labels = {name: label for name, (label, *_) in figures.regime_style(list(set(table["regime"]))).items()}
        shown = shown.format_index(lambda name: html.escape(labels.get(name, name)), axis="columns")
    return _with_remarks(shown, table)


def difference_table(differences: pd.DataFrame, digits: int = 3):
    """The result of ``statistics.compare`` for reading; remarks below as in ``interval_table``."""
    counts = ["p", "p_holm", "p_smallest", "runs", "images", "missing"]
    hidden = ("detector", "letter", "published", "better")
    names = [name for name in differences.columns[: differences.columns.get_loc("difference")] if name not in hidden]
    chances = differences.assign(kind="P(a > b)")
    cells = {
        "difference": _cells(differences, "difference", "low", "high", digits),
        "P": _cells(chances, "probability_greater", "probability_low", "probability_high", 2),
        "Cliff's delta": _cells(chances, "cliffs_delta", "cliffs_low", "cliffs_high", 2),
    }
    kept = pd.concat([differences[names], pd.DataFrame(cells, differences.index), differences[counts]], axis=1)
    shown = kept.style.hide(axis="index").format(precision=3, na_rep="–", escape="html")
    shown = shown.format(_chance, subset=["p", "p_holm", "p_smallest"], na_rep="–")
    shown = _spelled(shown, names)
    low = chances["probability_low"].where(chances["low"].notna())
    return _with_remarks(shown, pd.concat([differences, chances.assign(low=low, note="")], ignore_index=True))


def claims_table(table: pd.DataFrame):
    """Rows of ``claims.judged`` for reading: text wraps, verdicts are bold, remarks below.

    The column "ours" is the difference with its 95 % interval, or with another that then says so. Variant, salience
    method and detector are shown if the table has several of them.
    """
    several = [name for name in ("variant", "salience", "detector") if len(set(table[name].fillna("")) - {""}) > 1]
    texts = {
        "claim": "claim",
        "verdict": "verdict",
        **{name: name for name in several},
        "row": "quantity",
        "ours": "ours",
    }
    texts |= {"expected": "expected", "why": "why", "decides": "what would decide", "figures": "published", "by": "by"}
    texts |= {"runs": "runs", "images": "images"}
    kept = table.assign(ours=[_ours(row) for _, row in table.iterrows()])[[*texts]].rename(columns=texts)
    shown = kept.replace("", np.nan).style.hide(axis="index").format(precision=0, na_rep="–")
    shown = _spelled(shown, [name for name in ("variant", "salience") if name in several])
    wide = {"claim": "13rem", "quantity": "9rem", "what would decide": "11rem", "published": "12rem", "by": "9rem"}
    for name, width in wide.items():
        shown = shown.set_properties(subset=[name], **{"white-space": "normal", "min-width": width})
    return _with_remarks(shown.set_properties(subset=["verdict"], **{"font-weight": "bold"}), table)


def in_words(difference: pd.Series, digits: int = 2) -> str:
    """One row of ``statistics.compare`` as text: the difference with its interval, or why there is none."""
    low, high = difference["low"], difference["high"]
    if not np.isfinite(low):
        return f"{difference['difference']:+.{digits}f} ({difference['note']})"
    return f"{difference['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]" + _mark(difference)


def _ours(claim: pd.Series) -> str:
    """The difference behind a row of ``claims.judged``, "" where there is none."""
    if pd.isna(claim["level"]):
        return ""
    level = "" if claim["level"] == 0.95 else f" ({100 * claim['level']:.0f} %)"
    return in_words(claim, digits=3) + level


def in_brackets(row: pd.Series, digits: int = 2) -> str:
    """One row of a summary table as text: the mean with its interval."""
    return _cells(row.to_frame().T, "mean", "low", "high", digits)[0]


def _cells(table: pd.DataFrame, mean: str, low: str, high: str, digits: int) -> list[str]:
    """Every row as "mean [low, high]", marked where such intervals fall short."""
    cells = []
    for _, row in table.iterrows():
        interval = f" [{row[low]:z.{digits}f}, {row[high]:z.{digits}f}]{_mark(row)}" if np.isfinite(row[low]) else ""
        cells.append(f"{row[mean]:z.{digits}f}{interval}" if np.isfinite(row[mean]) else "–")
    return cells


def _chance(p: float) -> str:
    """A p-value, never rounded to 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _spelled(shown: Styler, names: Sequence[str]) -> Styler:
    """Show the values of these columns in words; names of sources, detectors and layers stay as they are."""
    kept = ("source", "detector", "layer")
    subset = [name for name in names if name not in kept and shown.data[name].dtype.kind not in "fi"]
    return shown.format(figures.spelled, subset=subset, na_rep="–", escape="html") if subset else shown


def _mark(row: pd.Series) -> str:
    return coverage.mark(row.get("kind", ""), row.get("runs", np.nan))


def _span(counts: pd.Series) -> str:
    """One number, or "118 to 120" where regimes differ."""
    low, high = counts.min(), counts.max()
    return "" if pd.isna(low) else f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _with_remarks(shown: Styler, table: pd.DataFrame) -> Styler:
    """Add remarks below the table: its notes without repetition, and the coverage of marked intervals."""
    notes = "; ".join(table["note"].fillna("")).split("; ") if "note" in table else []
    remarks = [f"{html.escape(note)}." for note in dict.fromkeys(filter(None, notes))]
    if footnote := coverage.footnote(table):
        remarks.append(f'{footnote} See <a href="coverage.html">How far the intervals can be trusted</a>.')
    if not remarks:
        return shown
    below = {"selector": "caption", "props": "caption-side: bottom; text-align: left; white-space: normal;"}
    # As wide as the text column or the phone, whatever the width of the table.
    text = f'<span style="display: inline-block; max-width: min(38rem, 85vw)">{" ".join(remarks)}</span>'
    return shown.set_caption(text).set_table_styles([below], overwrite=False)
