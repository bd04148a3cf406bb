"""One function a figure. Regimes keep their colour throughout, taken from their own files; human salience is grey."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from e2m import plugins
from e2m.arrays.maps import upsample

MAP_COLOURS = "viridis"
"""Colour-blind safe, and even in grey: bright is salient."""

_OTHERS = {
    "human": ("human (simulated)", "#4D4D4D"),
    "ceiling": ("ceiling of coarse maps", "#4D4D4D"),
    "fixed": ("mean human map, the same for all images", "#4D4D4D"),
    "annotator": ("another annotator (simulated)", "#9A9A9A"),
    "control": ("controls", "#4D4D4D"),
}
_LINES = {"fixed": ":", "annotator": "--"}
"""Drawn as lines to compare with, not as marks."""

_MARKERS = "osD^vPX*<>"

sns.set_theme(context="notebook", style="whitegrid", rc={"figure.dpi": 110, "savefig.bbox": "tight"})


def regime_style(regimes: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Label, colour and marker of each regime; "human", "ceiling" and "fixed" count as regimes here."""
    known = plugins.names("regime")
    own = {name: plugins.load("regime", name) for name in regimes if name in known}
    looks = {name: (module.LABEL, module.COLOUR) for name, module in own.items()} | _OTHERS
    return {name: (*looks[name], _MARKERS[place % len(_MARKERS)]) for place, name in enumerate(regimes)}


def contact_sheet(images: Mapping[str, np.ndarray], columns: int = 8) -> Figure:
    """Some images of every source, a row a source.

    Args:
        images: source -> (N, H, W, 3) uint8.
        columns: images shown of each.
    """
    figure, axes = _tiles(len(images), columns, 1.15)
    for row, (source, stack) in zip(axes, images.items(), strict=True):
        for place, image in zip(row, stack, strict=False):
            place.imshow(image)
        _row_title(row[0], source)
    return figure


def salience_grid(
    images: np.ndarray, columns: Mapping[str, np.ndarray], titles: Sequence[str], first: str = "image"
) -> Figure:
    """Images with salience laid over them: a row an image, a column a source of salience.

    Args:
        images: (N, H, W, 3) uint8, shown in the first column.
        columns: title -> (N, h, w) maps in [0, 1] or uint8, laid over the images; or (N, H, W, 3) uint8, shown as
            they are.
        titles: N, of the rows.
        first: title of the first column.
    """
    figure, axes = _tiles(len(images), 1 + len(columns), 1.7)
    for place, title in zip(axes[0], [first, *columns], strict=True):
        place.set_title(title, fontsize=10)
    for n, row in enumerate(axes):
        _row_title(row[0], titles[n])
        row[0].imshow(images[n])
        for place, stack in zip(row[1:], columns.values(), strict=True):
            place.imshow(stack[n] if stack.ndim == 4 else overlay(images[n], stack[n]))
    return figure


def overlay(image: np.ndarray, salience: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """An image (H, W, 3) uint8 with a map (h, w) laid over it in colour; a dead map turns the image grey."""
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2) / 255
    if not np.isfinite(salience).all():
        return grey
    large = upsample(salience[None], *image.shape[:2])[0]
    coloured = plt.get_cmap(MAP_COLOURS)(large)[..., :3]
    return (1 - strength) * grey + strength * coloured


LEARNED = {"loss": "training loss", "validation_accuracy": "validation accuracy"}
"""What the learning curves of a detector show."""


def learning_curves(curves: pd.DataFrame, regime: str, columns: Mapping[str, str] = LEARNED) -> Figure:
    """Training loss and validation accuracy of every run by epoch; a dot marks the epoch whose weights are kept.

    Args:
        curves: run, epoch, kept and the columns named.
        regime: whose colour is used.
        columns: column -> label of its panel; two panels stand beside each other.
    """
    _, colour, _ = regime_style([regime])[regime]
    down = -(-len(columns) // 2)
    figure, axes = plt.subplots(down, 2, figsize=(8, 0.4 + 2.8 * down), layout="constrained")
    for place, (column, label) in zip(axes.flat, columns.items(), strict=True):
        for _, run in curves.groupby("run"):
            place.plot(run["epoch"] + 1, run[column], color=colour, alpha=0.6)
            kept = run[run["kept"]]
            place.plot(kept["epoch"] + 1, kept[column], "o", color=colour, markeredgecolor="white")
        place.set(xlabel="epoch", ylabel=label)
    return figure


def intervals(
    table: pd.DataFrame,
    x: str,
    ylabel: str,
    xlabel: str = "",
    column: str | None = None,
    titles: Mapping[str, str] | None = None,
    numeric: bool = False,
    share_y: bool = True,
    reference: float | None = None,
    wide: float = 3.6,
    marks: pd.DataFrame | None = None,
) -> Figure:
    """Means with their intervals: regimes side by side over sources, or as lines over a number.

    Args:
        table: regime, mean, low, high and the columns named; rows of more than one detector get a row of panels each.
        x: column along the axis, in order of appearance; with ``numeric`` its values are numbers.
        ylabel, xlabel: axis labels, with units.
        column: a panel for each of its values.
        titles: what the panels are called, by value.
        numeric: draw lines with bands.
        share_y: one scale for all panels.
        reference: a value to mark by a dashed line, such as chance.
        wide: width of a panel in inches; there are no more than three beside each other.
        marks: label and value of thin lines to compare with, such as floor and ceiling; where it has the columns
            ``detector`` or ``column``, a line is drawn in the panels of its value, or in all where that is null.
    """
    panels = [None] if column is None else list(dict.fromkeys(table[column]))
    detectors = list(dict.fromkeys(table["detector"])) if "detector" in table else [None]
    shown = [(detector, panel) for detector in detectors for panel in panels]
    across = 2 if len(panels) in (2, 4) else min(3, len(panels))
    down = len(detectors) * -(-len(panels) // across)
    size = (wide * across + 0.6, 3.0 * down + 0.5)
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharey=share_y, layout="constrained")
    style = regime_style(list(dict.fromkeys(table["regime"])))
    places = axes.reshape(len(detectors), -1)[:, : len(panels)].ravel()
    for place, (detector, panel) in zip(places, shown, strict=True):
        own = table if column is None else table[table[column] == panel]
        own = own if detector is None else own[own["detector"] == detector]
        (_lines if numeric else _points)(place, own, x, style)
        if reference is not None:
            place.axhline(reference, color="0.4", linestyle="--", linewidth=1, zorder=1)
        title = "" if panel is None else (titles or {}).get(panel, panel)
        place.set_title(title if len(detectors) == 1 else f"{detector}: {title}".strip(": "), fontsize=11)
        place.set_xlabel(xlabel)
    if marks is not None:
        own = [_of_panel(marks, {"detector": detector, column: panel}) for detector, panel in shown]
        _draw_marks(dict(zip(places, own, strict=True)))
    for row in axes:
        row[0].set_ylabel(ylabel)
    for place in set(axes.flat) - set(places):
        place.remove()
    _legend(figure, axes[0, 0])
    return figure


def _of_panel(marks: pd.DataFrame, panel: Mapping) -> pd.DataFrame:
    for column, value in panel.items():
        if column in marks and value is not None:
            marks = marks[(marks[column] == value) | marks[column].isna()]
    return marks.dropna(subset="value").sort_values("value", kind="stable")


def _draw_marks(marks: Mapping[plt.Axes, pd.DataFrame]) -> None:
    """Dashed lines across panels, their names beside the right edge, one above the other where lines are close."""
    for place, own in marks.items():
        for value in own["value"]:
            place.axhline(value, color="0.45", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    # Lines can move the ends of the axis, which panels share.
    for place, own in marks.items():
        bottom, top = place.get_ylim()
        heights = ((own["value"] - bottom) / (top - bottom)).to_numpy()
        for label, height in zip(own["label"], _apart(heights, 0.075), strict=True):
            place.text(1.015, height, label, fontsize=8, color="0.3", va="center", transform=place.transAxes)


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """Ascending heights moved as little as need be until each lies ``gap`` above the one below, the highest by 1."""
    heights = np.minimum(heights, 1 - gap * np.arange(len(heights))[::-1])
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + gap)
    return heights


def _points(place: plt.Axes, table: pd.DataFrame, x: str, style: Mapping) -> None:
    order = list(dict.fromkeys(table[x]))
    marked = [regime for regime in style if regime not in _LINES]
    step = 0.5 / max(1, len(marked))
    for regime, (label, colour, marker) in style.items():
        own = table[table["regime"] == regime].set_index(x).reindex(order)
        if regime in _LINES:
            ends = np.arange(len(order)) - 0.35, np.arange(len(order)) + 0.35
            place.hlines(own["mean"], *ends, colors=colour, linestyles=_LINES[regime], label=label)
            continue
        at = np.arange(len(order)) + (marked.index(regime) - (len(marked) - 1) / 2) * step
        reach = np.abs(own[["low", "high"]].sub(own["mean"], axis=0)).to_numpy().T
        place.errorbar(at, own["mean"], np.nan_to_num(reach), fmt=marker, color=colour, label=label, capsize=2)
    turned = max(map(len, map(str, order))) > 5 and len(order) > 4
    place.set_xticks(range(len(order)), order, rotation=40 if turned else 0, ha="right" if turned else "center")
    place.grid(axis="x", visible=False)


def _lines(place: plt.Axes, table: pd.DataFrame, x: str, style: Mapping) -> None:
    for regime, (label, colour, marker) in style.items():
        own = table[table["regime"] == regime]
        own = own.assign(**{x: own[x].astype(float)}).sort_values(x)
        place.plot(own[x], own["mean"], color=colour, marker=marker, label=label)
        place.fill_between(own[x], own["low"], own["high"], color=colour, alpha=0.2, linewidth=0)


def run_matrix(pairs: pd.DataFrame, label: str) -> Figure:
    """Mean similarity of every pair of runs, a panel a regime.

    Args:
        pairs: regime, run, run_other, value.
        label: of the colour scale.
    """
    regimes = list(dict.fromkeys(pairs["regime"]))
    style = regime_style(regimes)
    figure, axes = plt.subplots(
        1, len(regimes), figsize=(3.4 * len(regimes) + 0.8, 3.2), squeeze=False, layout="constrained"
    )
    means = pairs.groupby(["regime", "run", "run_other"])["value"].mean()
    low = min(0.0, means.min())
    for place, regime in zip(axes[0], regimes, strict=True):
        own = pairs[pairs["regime"] == regime]
        both = pd.concat([own, own.rename(columns={"run": "run_other", "run_other": "run"})])
        square = (
            both.pivot_table(index="run", columns="run_other", values="value").rename(int, axis=0).rename(int, axis=1)
        )
        last = place is axes[0, -1]
        sns.heatmap(
            square, vmin=low, vmax=1, cmap=MAP_COLOURS, annot=len(square) <= 6, fmt=".2f", square=True, ax=place,
            cbar=last, cbar_kws={"label": label},
        )  # fmt: skip
        place.set(title=style[regime][0], xlabel="run", ylabel="run")
    return figure


def forest(table: pd.DataFrame, xlabel: str = "value (95 % interval)") -> Figure:
    """All measures at once: a line a measure, a mark a regime.

    Args:
        table: row (what is measured), regime, mean, low, high; detectors get a panel each.
        xlabel: label of the common axis.
    """
    names = list(dict.fromkeys(table["row"]))
    detectors = list(dict.fromkeys(table["detector"]))
    style = regime_style(list(dict.fromkeys(table["regime"])))
    size = (4.6 * len(detectors) + 2.2, 0.42 * len(names) + 1.2)
    figure, axes = plt.subplots(1, len(detectors), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for place, detector in zip(axes[0], detectors, strict=True):
        for number, (regime, (label, colour, marker)) in enumerate(style.items()):
            chosen = (table["regime"] == regime) & (table["detector"] == detector)
            own = table[chosen].set_index("row").reindex(names)
            at = np.arange(len(names)) + (number - (len(style) - 1) / 2) * 0.26
            reach = np.nan_to_num(np.abs(own[["low", "high"]].sub(own["mean"], axis=0)).to_numpy().T)
            place.errorbar(own["mean"], at, xerr=reach, fmt=marker, color=colour, label=label, capsize=2)
        place.set(xlabel=xlabel, title=detector if len(detectors) > 1 else "")
        place.set_yticks(range(len(names)), names)
        place.grid(axis="y", visible=False)
        for line in range(1, len(names)):
            place.axhline(line - 0.5, color="0.9", linewidth=0.8)
    axes[0, 0].invert_yaxis()
    _legend(figure, axes[0, 0])
    return figure


def dots(
    table: pd.DataFrame,
    row: str,
    column: str,
    titles: Mapping[str, str] | None = None,
    hue: str | None = None,
    reference: str | None = None,
) -> Figure:
    """Means with their intervals: a line a row, a panel a value of ``column``, each with a scale of its own.

    Args:
        table: mean, low, high and the columns named.
        row, column: columns whose values become lines and panels, in order of appearance.
        titles: what the panels are called, by value; only these are shown.
        hue: column whose values get a colour each: "regime", or any other.
        reference: the row whose mean is marked through all lines.
    """
    panels = list(titles or dict.fromkeys(table[column]))
    names = list(dict.fromkeys(table[row]))
    values = list(dict.fromkeys(table[hue])) if hue else [None]
    colours = sns.color_palette("colorblind", len(values)) if hue else ["0.2"]
    style = {value: (value, colour, mark) for value, colour, mark in zip(values, colours, _MARKERS, strict=False)}
    style = regime_style(values) if hue == "regime" else style
    down = -(-len(panels) // 2)
    size = (8.6, down * (0.9 + 0.3 * len(names)) + 0.4)
    figure, axes = plt.subplots(down, 2, figsize=size, squeeze=False, sharey=True, layout="constrained")
    for place, panel in zip(axes.flat, panels, strict=False):
        for number, (value, (label, colour, marker)) in enumerate(style.items()):
            own = table[(table[column] == panel) & ((table[hue] == value) if hue else True)]
            own = own.set_index(row).reindex(names)
            at = np.arange(len(names)) + (number - (len(style) - 1) / 2) * 0.24
            reach = np.nan_to_num(np.abs(own[["low", "high"]].sub(own["mean"], axis=0)).to_numpy().T)
            place.errorbar(own["mean"], at, xerr=reach, fmt=marker, ms=5, color=colour, label=label, capsize=2)
            if reference is not None:
                place.axvline(own.loc[reference, "mean"], color=colour, linestyle=":", linewidth=1.2, zorder=1)
        place.set(xlabel=(titles or {}).get(panel, panel), ylim=(len(names) - 0.5, -0.5))
        place.set_yticks(range(len(names)), names)
    for place in axes.flat[len(panels) :]:
        place.remove()
    if hue:
        _legend(figure, axes[0, 0])
    return figure


def coverage(table: pd.DataFrame, column: str, line: str, low: float = 0.84) -> Figure:
    """How often intervals held the truth by number of runs; the band that 95 % intervals should reach is shaded.

    Args:
        table: runs, coverage in [0, 1] and the columns named.
        column: a panel for each of its values.
        line: a line for each of its values.
        low: lower end of the axis.
    """
    panels = list(dict.fromkeys(table[column]))
    down = -(-len(panels) // 2)
    figure, axes = plt.subplots(down, 2, figsize=(8.4, 2.9 * down), squeeze=False, layout="constrained")
    for place, panel in zip(axes.flat, panels, strict=False):
        own = table[table[column] == panel]
        place.axhspan(*coverage.BAND, color="0.88", zorder=0)
        looks = {"hue": line, "style": line, "markers": True, "dashes": False, "palette": "colorblind"}
        sns.lineplot(own, x="runs", y="coverage", ax=place, **looks)
        runs = own["runs"].unique()
        place.set(xscale="log", xlabel="runs", ylabel="coverage", ylim=(low, 1.005), title=panel)
        place.set_xticks(runs, runs)
        place.minorticks_off()
        place.legend(title="", fontsize=8, loc="best")
    for place in axes.flat[len(panels) :]:
        place.remove()
    return figure


def ratios(table: pd.DataFrame, kind: str, label: str, by: str = "alternative") -> Figure:
    """Ratios of measured times on a logarithmic axis, with the least and the largest of all rounds; targets are bars.

    Args:
        table: rows of the study "speed".
        kind: "speed-up", how many times faster we are than others, or "cost", how many times slower.
        label: of the axis.
        by: column of the names beside the axis; detectors get a colour each.
    """
    own = table[(table["kind"] == kind) & table["ratio"].notna()]
    detectors = list(dict.fromkeys(own["detector"]))
    colours = dict(zip(detectors, sns.color_palette("colorblind", len(detectors)), strict=True))
    names = [textwrap.fill(name, 34) for name in dict.fromkeys(own[by])]
    figure, place = plt.subplots(figsize=(7.6, 1.3 + 0.5 * len(names)), layout="constrained")
    for position, (_, rows) in enumerate(own.groupby(by, sort=False)):
        heights = position + 0.13 * (np.arange(len(rows)) - (len(rows) - 1) / 2)
        for height, row in zip(heights, rows.itertuples(), strict=True):
            reach = [[row.ratio - row.ratio_low], [row.ratio_high - row.ratio]]
            place.errorbar(row.ratio, height, xerr=reach, fmt="o", ms=5, color=colours[row.detector])
            if pd.notna(row.target):
                place.plot([row.target] * 2, [height - 0.3, height + 0.3], color="black", lw=2.5)
    place.axvline(1, color="0.5", lw=1)
    place.set(xscale="log", xlabel=label, ylim=(len(names) - 0.5, -0.5))
    place.set_yticks(range(len(names)), names, fontsize=9)
    narrow = own["ratio_high"].max() < 8 * own["ratio_low"].min()
    place.xaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5, 7) if narrow else (1, 3)))
    place.xaxis.set_major_formatter("{x:g}")
    place.xaxis.set_minor_locator(NullLocator())
    marks = [plt.Line2D([], [], marker="o", ls="", color=colours[name], label=name) for name in detectors if name]
    target = [plt.Line2D([], [], color="black", lw=2.5, label="target")] if own["target"].notna().any() else []
    figure.legend(handles=marks + target, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def memory(table: pd.DataFrame) -> Figure:
    """Peak memory and time of a job against the number of its images.

    Args:
        table: images, value (MiB) and ours_seconds.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3), layout="constrained")
    for place, column, label in zip(axes, ("value", "ours_seconds"), ("peak memory (MiB)", "time (s)"), strict=True):
        place.plot(table["images"].astype(float), table[column], "o-", color="0.2")
        place.set(xscale="log", xlabel="images", ylabel=label)
        place.set_xticks(table["images"].astype(float), [f"{number:,}" for number in table["images"]])
        place.minorticks_off()
    axes[0].set_ylim(0, 1.15 * table["value"].max())
    axes[1].set(yscale="log")
    return figure


def regime_label(regime: str) -> str:
    """What figures call a regime."""
    return regime_style([regime])[regime][0]


def _tiles(rows: int, columns: int, inches: float):
    size = (inches * columns + 0.9, inches * rows + 0.3)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for place in axes.flat:
        place.set(xticks=[], yticks=[])
        place.set_frame_on(False)
    return figure, axes


def _row_title(place: plt.Axes, title: str) -> None:
    place.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=10)


def _legend(figure: Figure, place: plt.Axes) -> None:
    handles, names = place.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
