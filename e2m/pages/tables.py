"""Tables for reading: means with their intervals, differences, claims, and any other frame.

One class writes all of them. Names of columns and values are words, and everything that stands in a cell is text: what
a list, a file or a person called something never becomes HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from math import floor, log10

import numpy as np
import pandas as pd

from e2m import plugins
from e2m.pages import coverage, figures

_HEADINGS = {
    "salience": "salience method",
    "row": "quantity",
    "against": "compared with",
    "P": "P(first > second)",
    "p_holm": "p (Holm)",
    "p_smallest": "smallest p there can be",
}
"""Columns whose name alone does not say what they hold."""

_NAMES = {"source", "detector", "layer", "image", "file", "path", "network", "weights"}
"""Columns of names that somebody gave: they stay as they are."""

_COUNTS = ("runs", "images", "missing", "flipped")

_LONG = 10
"""Rows from which a table can be sorted."""

_CHANCES = {"p", "p_holm", "p_smallest"}
"""Columns of p-values."""

_EMPTY = {"", "nan", "None", "<NA>"}

_WITH_INTERVAL = re.compile(r"^([-+]?[\d.]+) (\[[-+\d., ]+\]†?)")


@dataclass
class Table:
    """A table as a notebook shows it.

    A column with one value in all rows is said once, in a note below. If rows come in blocks of one first name, that
    name is a line above its block. The book's style and script sort long tables and lay them out on a phone.

    Attributes:
        data: the cells, a row a line: text, numbers, truth values, or a list of lines of text.
        names: the columns that name a row; they come first.
        notes: sentences below the table, as HTML.
        formats: column -> format ("{:.0%}") or function of its numbers.
        digits: of other numbers, after the point.
        details: columns that stand in a line of their own below their row, with their headings.
        kept: columns that are shown even if all their values are equal.
    """

    data: pd.DataFrame
    names: Sequence[str] = ()
    notes: Sequence[str] = ()
    formats: Mapping[str, str | Callable] = field(default_factory=dict)
    digits: int = 3
    details: Sequence[str] = ()
    kept: Sequence[str] = ()

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """The table and its notes as HTML, the same for the same data."""
        constant = self._constant()
        shown = [name for name in self.data if name not in constant]
        columns = [name for name in shown if name not in self.details]
        block = self._block([name for name in columns if name in self.names])
        columns = [name for name in columns if name != block]
        kind = "e2m sortable" if len(self.data) > _LONG else "e2m"
        head = "".join(f'<th scope="col">{_escaped(heading(name))}</th>' for name in columns)
        rows = self.data.to_dict("records")
        blocks = groupby(rows, key=lambda row: row[block]) if block else [("", rows)]
        bodies = "".join(self._body(title, list(lines), block, columns) for title, lines in blocks)
        table = f'<table class="{kind}"><thead><tr>{head}</tr></thead>{bodies}</table>'
        notes = [*self._said(constant), *self.notes]
        below = f'<p class="notes">{" ".join(notes)}</p>' if notes else ""
        return f'<div class="e2m-table"><div class="scrolls">{table}</div>{below}</div>'

    def _body(self, title: object, rows: list, block: str, columns: list[str]) -> str:
        above = f'<tr class="block"><th scope="rowgroup" colspan="{len(columns)}">{self._cell(title, block)}</th></tr>'
        return f"<tbody>{above * bool(block)}{''.join(self._line(row, columns) for row in rows)}</tbody>"

    def _line(self, row: Mapping, columns: list[str]) -> str:
        first, *others = columns
        cells = f'<th scope="row">{self._cell(row[first], first)}</th>'
        cells += "".join(f"<td>{self._cell(row[name], name)}</td>" for name in others)
        said = [(name, self._cell(row[name], name)) for name in self.details]
        parts = [f"<b>{_escaped(heading(name))}</b> {text}" for name, text in said if text not in ("", "–")]
        # A sentence ends by itself.
        more = " ".join(part if part.endswith(".") or part is parts[-1] else f"{part};" for part in parts)
        below = f'<tr class="details"><td colspan="{len(columns)}"><div>{more}</div></td></tr>' if more else ""
        return f"<tr>{cells}</tr>{below}"

    def _cell(self, value: object, column: str) -> str:
        if isinstance(value, list | tuple):
            return "<br>".join(_escaped(line) for line in value)
        if (shape := self.formats.get(column)) is not None and pd.notna(value):
            return _escaped(shape.format(value) if isinstance(shape, str) else shape(value))
        text = _escaped(_text(value, column, self.digits))
        # On a phone, the interval stands below its mean.
        return _WITH_INTERVAL.sub(r'\1 <span class="interval">\2</span>', text)

    def _constant(self) -> list[str]:
        """The columns that say the same in every row, and those that say nothing."""
        values = {name: {str(value) for value in self.data[name]} for name in self.data}
        empty = [name for name in values if values[name] <= _EMPTY and name not in self.kept]
        if len(self.data) < 2:
            return empty
        same = [name for name in values if len(values[name]) == 1 and name not in {*self.kept, *self.details, *empty}]
        # A row keeps a name, and the table a column.
        keep = next((name for name in self.data if name not in same), next(iter(self.data), None))
        return empty + [name for name in same if name != keep]

    def _said(self, constant: list[str]) -> list[str]:
        if not len(self.data):
            return ["No rows."]
        first = self.data.iloc[0]
        same = [name for name in constant if str(first[name]) not in _EMPTY]
        parts = [f"{_escaped(heading(name))} {self._cell(first[name], name)}" for name in same]
        return [f"In all rows: {'; '.join(parts)}."] if parts else []

    def _block(self, names: list[str]) -> str:
        """The first name, if rows come in blocks of it; "" otherwise."""
        if len(names) < 2:
            return ""
        runs = [value for value, _ in groupby(self.data[names[0]])]
        return names[0] if len(set(runs)) == len(runs) <= len(self.data) / 2 and len(runs) > 1 else ""


def heading(name: object) -> str:
    """A column in words: a regime by its label, ``p_holm`` as "p (Holm)"."""
    return _HEADINGS.get(name) or str(_word(name))


def plain(
    data: pd.DataFrame,
    formats: Mapping[str, str | Callable] | None = None,
    digits: int = 3,
    names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Table:
    """Any frame for reading; its index is left out, and a ``note`` stands below its row.

    Args:
        data: a line a row; cells are text, numbers, truth values, or lists of lines.
        formats: column -> format ("{:.0%}") or function of its values.
        digits: of other numbers, after the point.
        names: the columns that name a row.
        notes: sentences below the table, as text.
    """
    below = [name for name in data if name == "note"]
    return Table(data.reset_index(drop=True), names, [*map(_escaped, notes)], formats or {}, digits, below)


def interval_table(table: pd.DataFrame, rows: Sequence[str], columns: str = "regime", digits: int = 3) -> Table:
    """A summary table for reading: one column "mean [low, high]" for each regime.

    Means and intervals have the decimals that give two significant digits to the interval's length. Notes below the
    table count what entered, and say why an interval is missing and which kinds of interval fall short.

    Args:
        table: mean, low, high and the columns named; optionally runs, images (entered), missing, flipped (predictions),
            note and kind.
        rows: columns that name a row.
        columns: the column whose values become columns.
        digits: after the point, of means without an interval.
    """
    rows = list(rows)
    cells = _cells(table, "mean", "low", "high", digits)
    wide = table.assign(cell=cells).pivot(index=rows, columns=columns, values="cell")
    order = table[rows].drop_duplicates()
    order = pd.MultiIndex.from_frame(order) if len(rows) > 1 else list(order[rows[0]])
    values = list(dict.fromkeys(table[columns]))
    wide = wide.loc[order, values].fillna("").rename_axis(columns=None)
    if columns == "regime":
        wide = wide.rename(columns={name: label for name, (label, _) in figures.OTHERS.items()})
    return Table(wide.reset_index(), rows, [*_counted(table, rows), *_remarks(table)], kept=list(wide))


def difference_table(differences: pd.DataFrame) -> Table:
    """The result of ``statistics.compare`` for reading, the difference first; notes below as in ``interval_table``."""
    hidden = ("detector", "letter", "published", "better")
    names = [name for name in differences.columns[: differences.columns.get_loc("difference")] if name not in hidden]
    chances = differences.assign(kind="P(a > b)")
    cells = {
        "difference": _cells(differences, "difference", "low", "high", 3),
        "P": _cells(chances, "probability_greater", "probability_low", "probability_high", 2),
        "Cliff's delta": _cells(chances, "cliffs_delta", "cliffs_low", "cliffs_high", 2),
    }
    tests, said = differences[["p", "p_holm", "p_smallest"]], []
    if len(set(smallest := tests["p_smallest"].dropna())) == 1:
        tests = tests.drop(columns="p_smallest")
        said = [_escaped(f"Smallest p that so many runs can give: {_chance(smallest.iloc[0])}.")]
    kept = pd.concat([differences[names], pd.DataFrame(cells, differences.index), tests], axis=1)
    low = chances["probability_low"].where(chances["low"].notna())
    both = pd.concat([differences, chances.assign(low=low, note="")], ignore_index=True)
    notes = [*_counted(differences, names), *said, *_remarks(both)]
    return Table(kept.reset_index(drop=True), names, notes, kept=[*cells, "p", "p_holm"])


def claims_table(table: pd.DataFrame) -> Table:
    """Rows of ``claims.judged`` for reading: the verdict first, and below each row what it rests on.

    The column "ours" is the difference with its 95 % interval, or with another that then says so. Variant, salience
    method and detector are shown if the table has several of them.
    """
    several = [name for name in ("variant", "salience", "detector") if len(set(table[name].fillna("")) - {""}) > 1]
    # The answer first: a phone shows the first columns.
    texts = {
        "claim": "claim",
        "verdict": "verdict",
        "ours": "ours",
        "row": "quantity",
        **{name: name for name in several},
    }
    below = {"expected": "expected", "why": "why", "decides": "what would decide", "figures": "published", "by": "by"}
    ours = table.assign(ours=[_ours(row) for _, row in table.iterrows()])
    kept = ours[[*texts, *below]].rename(columns=texts | below).replace("", np.nan).reset_index(drop=True)
    names = ["claim", "quantity", *several]
    notes = [*_counted(table, ["claim", "row", *several]), *_remarks(table)]
    return Table(kept, names, notes, details=list(below.values()), kept=["claim", "verdict", "ours"])


def in_words(difference: pd.Series, digits: int = 2) -> str:
    """One row of ``statistics.compare`` as text: the difference with its interval, or why there is none."""
    low, high = difference["low"], difference["high"]
    if not np.isfinite(low):
        return f"{difference['difference']:+.{digits}f}, without an interval: {difference['note']}"
    places = _decimals(low, high)
    return f"{difference['difference']:+.{places}f} [{low:+.{places}f}, {high:+.{places}f}]" + _mark(difference)


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
        has = np.isfinite(row[low]) and np.isfinite(row[high])
        places = _decimals(row[low], row[high]) if has else digits
        interval = f" [{row[low]:z.{places}f}, {row[high]:z.{places}f}]{_mark(row)}" if has else ""
        cells.append(f"{row[mean]:z.{places}f}{interval}" if np.isfinite(row[mean]) else "–")
    return cells


def _decimals(low: float, high: float) -> int:
    """Decimals that give an interval's length two significant digits, at most five."""
    # Three digits of it, so that 0.3 - 0.2 is 0.1 and not a little less.
    length = float(f"{high - low:.3g}")
    return 2 if length <= 0 else min(5, max(0, 1 - floor(log10(length))))


def _chance(p: float) -> str:
    """A p-value, never rounded to 0."""
    return "<\u00a00.001" if p < 0.001 else f"{p:.3f}"


def _text(value: object, column: str, digits: int) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or (np.isscalar(value) and pd.isna(value)):
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{heading(name)} {_text(part, column, digits)}" for name, part in value.items())
    if isinstance(value, float | np.floating) and column in _CHANCES:
        return _chance(value)
    if isinstance(value, float | np.floating):
        return f"{value:z.{digits}f}".removesuffix("." + "0" * digits)
    return str(value) if column in _NAMES else figures.whole(str(_word(value)))


@cache
def _word(value: object) -> object:
    """A regime by its label, and a method, variant or level as a reader knows it."""
    return figures.regime_label(value) if value in plugins.names("regime") else figures.spelled(value)


def _escaped(text: object) -> str:
    return html.escape(str(text))


def _mark(row: pd.Series) -> str:
    return coverage.mark(row.get("kind", ""), row.get("runs", np.nan))


def _counted(table: pd.DataFrame, rows: Sequence[str]) -> list[str]:
    """How many runs and images entered, and what is missing, in a sentence; a range where rows differ."""
    there = [name for name in _COUNTS if name in table and table[name].notna().any()]
    if not there or not len(table):
        return []
    parts = [_plural(table[name]) for name in there if name in ("runs", "images")]
    groups = table.groupby(list(rows), sort=False, dropna=False)
    for name, what in (("missing", "missing values"), ("flipped", "flipped predictions")):
        if name in there:
            sums = groups[name].sum()
            parts.append(f"{_span(sums)} {what} a row" if sums.max() else f"no {what}")
    return [f"{', '.join(parts)}.".capitalize()]


def _plural(counts: pd.Series) -> str:
    """ "1 run", or "118 to 120 images"; the column is named in the plural."""
    name = counts.name if counts.max() != 1 else counts.name.removesuffix("s")
    return f"{_span(counts)} {name}"


def _span(counts: pd.Series) -> str:
    """One number, or "118 to 120" where rows differ."""
    low, high = counts.min(), counts.max()
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _remarks(table: pd.DataFrame) -> list[str]:
    """Notes of a table without repetition, and the coverage of marked intervals, as HTML."""
    notes = "; ".join(table["note"].fillna("")).split("; ") if "note" in table else []
    remarks = [f"{_escaped(note[:1].upper() + note[1:])}." for note in dict.fromkeys(filter(None, notes))]
    if footnote := coverage.footnote(table):
        remarks.append(f'{_escaped(footnote)} See <a href="coverage.html">How far the intervals can be trusted</a>.')
    return remarks
