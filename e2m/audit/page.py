"""The page ``audit.html``: what the template needs beside the data, and the figures' geometry."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup

from e2m.audit import pictures

if TYPE_CHECKING:
    from e2m.audit.report import Report, Shown

LISTED = 2000
"""Largest number of images in the table of a page."""

EMBEDDED_BYTES = 5_000_000
"""About the largest size of all images with their maps on a page; the others are not embedded."""

TILE_BYTES = 180
"""About the size of what surrounds the picture of a map on the page."""

FIRST = 2
"""Images of a gallery that are shown before the others are asked for."""

PAGES = {"localisation": "train_masker"}
"""Measure -> the notebook whose page of the book explains it, where the names differ."""

MARKERS = (
    "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0",
    "M-4,-4H4V4H-4Z",
    "M0,-5.5L5,4H-5Z",
    "M0,-5.8L5.8,0L0,5.8L-5.8,0Z",
)
COLOURS = 6
"""Number of colours in the style sheet; groups take colours and markers in turn."""

SAME = 0.0005
"""Values of controls that are closer than this count as equal."""

WIDTH, PAD, LINE = 300, 14, 18
"""Width of a figure, its margin and the height of a line, in units of its view box."""


def render(data: dict[str, Any], report: Report, book: str) -> Iterator[str]:
    """The page, in parts.

    Args:
        data: the report as ``data.as_data`` gives it.
        report: shows the images.
        book: address of the book, or "".
    """
    styles = {group["name"]: style(index) for index, group in enumerate(data["groups"])}
    order, rows = by_surprise(data["images"]), _by_image(data["images"])
    wanted = dict.fromkeys([row["image"] for gallery in data["galleries"] for row in gallery["images"]] + order)
    shown = {one["image"]: one for one in embedded(report, list(wanted), rows)}
    # The page's policy allows this script by its hash, and no other.
    script = resources.files("e2m.audit").joinpath("report.js").read_text("utf-8")
    return (
        _environment()
        .get_template("report.html.j2")
        .generate(
            data=data,
            styles=styles,
            sections=sections(data, list(styles)),
            equal=equalities(data["equal_accuracy"]),
            glance=glance(data),
            counts=counted(data["counts"]),
            shown=shown,
            numbers={name: number for number, name in enumerate(rows)},
            listed=_listed(rows, order[:LISTED]),
            images=len(order),
            columns=_columns(data["images"]),
            bar=pictures.colour_bar(),
            link=lambda measure: _link(book, measure),
            book=book,
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            width=WIDTH,
            first=FIRST,
        )
    )


_COLUMNS = {
    "score": ("P(synthetic)", "mean of the runs, with the smallest and the largest"),
    "wrong": ("wrong runs", "runs that decide wrongly"),
    "flipped": ("flips", "share of runs whose decision noise flips"),
    "rotated": ("rotated", "SSIM of the maps of both quarter turns, moved back, with the map"),
    "alike": ("alike", "mean SSIM between the maps of two runs"),
    "dead": ("dead", "dead maps"),
}
"""Column of the table of images -> its title and its meaning, in every group."""


def style(index: int) -> dict[str, Any]:
    """Colour class and marker of a group."""
    return {"colour": f"g{index % COLOURS}", "marker": MARKERS[index % len(MARKERS)]}


def _columns(images: list[dict]) -> list[tuple[str, str, str]]:
    """Name, title and meaning of the columns of the table of images; dead maps only if there are some."""
    measured = {name for row in images for name in row if name != "dead" or row["dead"]}
    return [(name, *words) for name, words in _COLUMNS.items() if name in measured]


def by_surprise(images: Iterable[dict]) -> list[str]:
    """Names of images: those first that a group takes for the other class with the highest mean score."""
    surprise: dict[str, float] = {}
    for row in images:
        score = row["score"]
        wrong = -1.0 if score is None else score if row["label"] == "authentic" else 1 - score
        surprise[row["image"]] = max(wrong, surprise.get(row["image"], -1.0))
    return sorted(surprise, key=lambda name: (-surprise[name], name))


# Figures


def sections(data: dict[str, Any], groups: list[str]) -> list[dict[str, Any]]:
    """Quantities with their figures, in three sections. All differences of a section share one axis."""
    titles = (
        ("accuracy", "Accuracy", "Accuracy", lambda letter: letter == ""),
        ("measures", "The five measures", "Measures", lambda letter: letter in tuple("abcde")),
        (
            "truth",
            "Localisation and agreement with people",
            "Truth and people",
            lambda letter: letter not in tuple("abcde") and letter != "",
        ),
    )
    return [
        {"id": name, "title": title, "short": short, "quantities": _quantities(data, groups, fits)}
        for name, title, short, fits in titles
    ]


def _quantities(data: dict[str, Any], groups: list[str], fits: Callable[[str], bool]) -> list[dict[str, Any]]:
    rows = dict.fromkeys(row["row"] for row in data["means"] if fits(row["letter"]))
    return [quantity(data, row, groups) for row in rows]


def quantity(data: dict[str, Any], row: str, groups: list[str]) -> dict[str, Any]:
    """One quantity: its means, its controls and its differences, with both figures.

    Differences of one measure share a scale.
    """
    means = sorted((one for one in data["means"] if one["row"] == row), key=lambda one: groups.index(one["group"]))
    controls = _of_controls([one for one in data["controls"] if one["row"] == row and one["mean"] is not None])
    differences = [one for one in data["differences"] if one["row"] == row]
    alike = [one for one in data["differences"] if one["letter"] == means[0]["letter"]]
    numbers = [abs(one[name]) for one in alike for name in ("difference", "low", "high") if one[name] is not None]
    reach = 1.05 * max(numbers, default=0) or 1.0
    ends = _ends(controls)
    return {
        "row": row,
        "better": means[0]["better"],
        "means": means,
        "ends": ends,
        "controls": controls,
        "notes": list(dict.fromkeys(one["note"] for one in means if one["note"])),
        "differences": differences,
        "values": _values(means, controls, ends),
        "apart": _marks(differences, "difference", -reach, reach),
    }


def _of_controls(rows: list[dict]) -> list[dict[str, Any]]:
    """Controls with their values; where groups have maps of different sizes, a control is named with the group."""
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        values.setdefault(row["control"], {})[row["group"]] = row["mean"]
    return [
        {"control": control if alike else f"{control}, {group}", "mean": mean}
        for control, means in values.items()
        for alike in [max(means.values()) - min(means.values()) < SAME]
        for group, mean in list(means.items())[: 1 if alike else None]
    ]


def _ends(controls: list[dict]) -> list[dict[str, Any]]:
    """Floor and ceiling: the smallest and the largest value of controls, with the names of those that have it."""
    if not controls:
        return []
    values = [control["mean"] for control in controls]
    return [
        {
            "name": name,
            "value": value,
            "controls": [one["control"] for one in controls if abs(one["mean"] - value) < SAME],
        }
        for name, value in (("floor", min(values)), ("ceiling", max(values)))
    ]


def _values(means: list[dict], controls: list[dict], ends: list[dict]) -> dict[str, Any]:
    numbers = [one[name] for one in means for name in ("mean", "low", "high")] + [one["mean"] for one in controls]
    there = [number for number in numbers if number is not None]
    low, high = (min(there), max(there)) if there else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    drawn = _marks(means, "mean", low, high)
    drawn["controls"] = [_x(one["mean"], low, high) for one in controls]
    drawn["ends"] = [_x(end["value"], low, high) for end in ends]
    return drawn


def _marks(rows: list[dict], column: str, low: float, high: float) -> dict[str, Any]:
    """Positions of estimates and their intervals on an axis from ``low`` to ``high``, a line each."""
    marks = [
        {
            "y": 12 + LINE * index,
            "x": None if row[column] is None else _x(row[column], low, high),
            "from": None if row["low"] is None else _x(row["low"], low, high),
            "to": None if row["high"] is None else _x(row["high"], low, high),
            "row": row,
        }
        for index, row in enumerate(rows)
    ]
    bottom = 12 + LINE * max(1, len(rows)) - 4
    return {"marks": marks, "low": low, "high": high, "bottom": bottom, "height": bottom + 17, "zero": _x(0, low, high)}


def _x(value: float, low: float, high: float) -> float:
    return round(PAD + (WIDTH - 2 * PAD) * (value - low) / (high - low), 1)


def equalities(rows: list[dict]) -> list[dict[str, Any]]:
    """The tests of equal accuracy with their figures: the 90 % interval, and the margin as a band."""
    numbers = [abs(row[name]) for row in rows for name in ("difference", "low_90", "high_90") if row[name] is not None]
    reach = 1.15 * max([row["margin"] for row in rows] + numbers, default=1.0)
    shown = []
    for row in rows:
        drawn = _marks([{**row, "low": row["low_90"], "high": row["high_90"]}], "difference", -reach, reach)
        drawn["band"] = [_x(side * row["margin"], -reach, reach) for side in (-1, 1)]
        shown.append({**row, "drawn": drawn})
    return shown


# Numbers


def glance(data: dict[str, Any]) -> dict[str, Any]:
    """What stands beside the verdict: equal accuracy, what the measures favour, and how much was seen."""
    said = {row["verdict"] for row in data["equal_accuracy"]}
    measured = [row for row in data["differences"] if row["letter"] and row["better"]]
    # Where comparisons are corrected, those without a corrected p do not decide.
    measured = [row for row in measured if row["p_corrected"] is not None] or measured
    favoured = {group["name"]: sum(row["favours"] == group["name"] for row in measured) for group in data["groups"]}
    return {
        "equal": said.pop() if len(said) == 1 else "mixed" if said else None,
        "favoured": favoured,
        "undecided": sum(row["favours"] is None for row in measured),
        "images": sum(row["images"] or 0 for row in data["found"]),
        "warnings": sum(finding["level"] in ("stop", "warning") for finding in data["findings"]),
        "dead": sum(row["dead"] or 0 for row in data["counts"]),
        "missing": sum(row["missing"] or 0 for row in data["counts"]),
        "unreadable": sum({row["source"]: row["unreadable"] or 0 for row in data["counts"]}.values()),
    }


def counted(rows: list[dict]) -> list[dict[str, Any]]:
    """Counts of maps by group and source, summed over runs."""
    table: dict[tuple, dict] = {}
    for row in rows:
        empty = dict.fromkeys(("runs", "images", "dead", "missing", "unreadable"), 0)
        named = {"group": row["group"], "source": row["source"]}
        line = table.setdefault(tuple(named.values()), named | empty)
        line["runs"] += 1
        for name in ("images", "unreadable"):
            line[name] = max(line[name], row[name] or 0)
        for name in ("dead", "missing"):
            line[name] += row[name] or 0
    return list(table.values())


# Images


def embedded(report: Report, names: list[str], rows: dict[str, dict[str, dict]]) -> Iterator[dict[str, Any]]:
    """Images with the pictures of their maps, until the page is large enough."""
    runs = {group.name: list(group.runs) for group in report.groups}
    size = 0
    for one in report.look(names):
        drawn = _drawn(one, runs, rows[one.image])
        size += drawn["size"]
        if size > EMBEDDED_BYTES:
            return
        yield drawn


def _drawn(shown: Shown, runs: dict[str, list[str]], rows: dict[str, dict]) -> dict[str, Any]:
    first = next(iter(rows.values()))
    groups = [
        {**rows[group], "tiles": _tiles(shown.maps[group], shown.scores[group], names, first["label"])}
        for group, names in runs.items()
        if group in rows
    ]
    references = [{"name": name, "picture": pictures.salience(values)} for name, values in shown.references.items()]
    photo = pictures.photo(shown.picture)
    pieces = [
        photo,
        *(one["picture"] for one in references),
        *(tile["picture"] for one in groups for tile in one["tiles"]),
    ]
    about = {name: first[name] for name in ("image", "label", "source", "subject")}
    return {
        **about,
        "photo": photo,
        "ratio": "{1} / {0}".format(*shown.picture.shape),
        "references": references,
        "groups": groups,
        "size": sum(TILE_BYTES + len(piece or "") for piece in pieces),
    }


def _tiles(maps: np.ndarray, scores: np.ndarray, runs: list[str], label: str) -> list[dict[str, Any]]:
    tiles = []
    for values, score, run in zip(maps, scores, runs, strict=True):
        picture = pictures.salience(values)
        where = f"highest at the {pictures.highest(values)}" if picture else "dead or missing"
        known = bool(np.isfinite(score))
        tiles.append(
            {
                "run": run,
                "picture": picture,
                "alt": f"Map of {run}: {where}",
                "score": float(score) if known else None,
                "wrong": known and (score > 0.5) != (label == "synthetic"),
            }
        )
    return tiles


def _listed(rows: dict[str, dict[str, dict]], order: list[str]) -> list[dict[str, Any]]:
    """Images of the table, in this order, with one row a group."""
    return [
        {
            "about": next(iter(groups.values())),
            "groups": groups,
            "wrong": any(row["wrong"] for row in groups.values()),
            "dead": any(row["dead"] for row in groups.values()),
        }
        for groups in map(rows.__getitem__, order)
    ]


def _by_image(images: list[dict]) -> dict[str, dict[str, dict]]:
    """Image -> group -> its row, in the order of the rows."""
    table: dict[str, dict[str, dict]] = {}
    for row in images:
        table.setdefault(row["image"], {})[row["group"]] = row
    return table


def _link(book: str, measure: str) -> str:
    return f"{book.rstrip('/')}/executed/{PAGES.get(measure, measure)}.html" if book else ""


# The template


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("e2m.audit", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    formats = {"number": number, "signed": signed, "interval": interval, "chance": chance, "minus": minus}
    environment.filters |= formats
    environment.globals |= formats
    return environment


def number(value: float | None, digits: int = 3) -> str:
    """A number as text, with a true minus; "–" where there is none."""
    return "–" if value is None else f"{value:z.{digits}f}".replace("-", "−")


def minus(sentence: str) -> str:
    """A sentence whose numbers have a true minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", sentence)


def signed(value: float | None, digits: int = 3) -> str:
    """A difference as text, with its sign."""
    return "–" if value is None else f"{value:+z.{digits}f}".replace("-", "−")


def interval(row: dict[str, Any], column: str = "mean", low: str = "low", high: str = "high") -> str:
    """An estimate with its interval as text: "0.812 [0.790, 0.833]"."""
    show = number if column == "mean" else signed
    return show(row[column]) + ("" if row[low] is None else f" [{show(row[low])}, {show(row[high])}]")


def chance(p: float | None) -> str:
    """A p value, never rounded to 0."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
