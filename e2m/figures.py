"""One function a figure. Regimes keep their colour throughout, taken from their own files; human salience is grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from e2m import plugins
from e2m.images import upsample

MAP_COLOURS = "viridis"
"""Colour-blind safe, and even in grey: bright is salient."""

_OTHERS = {
    "human": ("human (simulated)", "#4D4D4D"),
    "ceiling": ("ceiling of coarse maps", "#4D4D4D"),
    "fixed": ("mean human map, the same for all images", "#4D4D4D"),
}
_MARKERS = "osD^vP"

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


def learning_curves(curves: pd.DataFrame, regime: str) -> Figure:
    """Training loss and validation accuracy of every run by epoch; a dot marks the epoch whose weights are kept.

    Args:
        curves: run, epoch, loss, validation_accuracy, kept.
        regime: whose colour is used.
    """
    _, colour, _ = regime_style([regime])[regime]
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for place, column, label in zip(
        axes, ("loss", "validation_accuracy"), ("training loss", "validation accuracy"), strict=True
    ):
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
    for row in axes:
        row[0].set_ylabel(ylabel)
    for place in set(axes.flat) - set(places):
        place.remove()
    _legend(figure, axes[0, 0])
    return figure


def _points(place: plt.Axes, table: pd.DataFrame, x: str, style: Mapping) -> None:
    order = list(dict.fromkeys(table[x]))
    step = 0.5 / max(1, len(style))
    for number, (regime, (label, colour, marker)) in enumerate(style.items()):
        own = table[table["regime"] == regime].set_index(x).reindex(order)
        at = np.arange(len(order)) + (number - (len(style) - 1) / 2) * step
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


def interval_table(table: pd.DataFrame, rows: Sequence[str], columns: str | Sequence[str] = "regime", digits: int = 3):
    """A summary table for reading: "mean [low, high]" in a column a regime, and how many values were missing.

    Args:
        table: mean, low, high, missing and the columns named.
        rows: columns that name a row.
        columns: column or columns whose values become columns.
        digits: after the point.
    """
    rows, columns = list(rows), [columns] if isinstance(columns, str) else list(columns)
    cells = [_cell(*parts, digits) for parts in table[["mean", "low", "high"]].to_numpy()]
    wide = table.assign(cell=cells).pivot(index=rows, columns=columns, values="cell")
    order = (
        pd.MultiIndex.from_frame(table[rows].drop_duplicates())
        if len(rows) > 1
        else list(dict.fromkeys(table[rows[0]]))
    )
    wide = wide.loc[order, list(dict.fromkeys(table[columns[0]])) if len(columns) == 1 else slice(None)]
    wide["missing"] = table.groupby(rows, sort=False)["missing"].sum().reindex(wide.index)
    return wide.fillna("").rename_axis(columns=None).reset_index().style.hide(axis="index")


def difference_table(differences: pd.DataFrame, digits: int = 3):
    """What ``statistics.compare`` found, for reading."""
    found = (
        "difference",
        "low",
        "high",
        "probability_greater",
        "p",
        "p_holm",
        "p_smallest",
        "runs",
        "images",
        "missing",
    )
    names = [name for name in differences.columns[: differences.columns.get_loc("difference")] if name != "detector"]
    cells = [_cell(*parts, digits) for parts in differences[["difference", "low", "high"]].to_numpy()]
    kept = differences[[*names, *found[3:]]].rename(columns={"probability_greater": "P"})
    kept.insert(len(names), "difference", cells)
    shown = kept.style.hide(axis="index").format(precision=3, na_rep="–")
    return shown.format(precision=2, subset=["P"], na_rep="–")


def in_words(difference: pd.Series, digits: int = 2) -> str:
    """One row of ``statistics.compare`` as text: the difference with its interval, or why there is none."""
    low, high = difference["low"], difference["high"]
    interval = f"[{low:+.{digits}f}, {high:+.{digits}f}]" if np.isfinite(low) else f"({difference['note']})"
    return f"{difference['difference']:+.{digits}f} {interval}"


def in_brackets(row: pd.Series, digits: int = 2) -> str:
    """One row of a summary table as text: the mean with its interval."""
    return _cell(row["mean"], row["low"], row["high"], digits)


def regime_label(regime: str) -> str:
    """What figures call a regime."""
    return regime_style([regime])[regime][0]


def _cell(mean: float, low: float, high: float, digits: int) -> str:
    if np.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" + ("" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")


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
