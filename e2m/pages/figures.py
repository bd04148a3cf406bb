"""Functions that draw figures. Every regime has one colour throughout, set in its file; human salience is grey.

``show`` displays a figure with its caption and its description; plots become SVG, pictures of faces PNG.
"""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from e2m import plugins
from e2m.arrays.maps import upsample
from e2m.pages.coverage import BAND

if TYPE_CHECKING:
    from e2m.pages.average import Averages

MAP_COLOURS = "viridis"
"""Safe for colour-blind readers and readable in grey: bright is salient."""

OTHERS = {
    "human": ("human (simulated)", "#4D4D4D"),
    "ceiling": ("ceiling of coarse maps", "#4D4D4D"),
    "fixed": ("mean human map, the same for all images", "#4D4D4D"),
    "annotator": ("another annotator (simulated)", "#9A9A9A"),
    "control": ("controls", "#4D4D4D"),
}
"""Groups that are no regime: label and colour."""
_LINES = {"fixed": ":", "annotator": "--"}
"""Drawn as reference lines, not as marks."""

_PALETTE = sns.color_palette("colorblind").as_hex()

_MARKERS = "osD^vPX*<>hp8d"

_NETWORKS = ("#117733", "#CC6677", "#DDCC77", "#88CCEE", "#44AA99", "#AA4499", "#6F6F6F", "#004D40")
"""Colours of networks, safe for colour-blind readers (most from Paul Tol's "muted"); no regime has one of them."""

SMALLEST = 9
"""Points of the smallest text. The book shows a figure at three quarters of its size or more: 9 px on the page."""

WIDEST = 9.2
"""Inches of the widest figure: at three quarters, it fits beside the book's contents."""

SLANTED = 6
"""Names below an axis that can be slanted; more would lie on each other, and stand upright."""

PIXELS = 192
"""Pixels of a picture per inch, twice as many as a page shows."""

plt.rcdefaults()  # not what a matplotlibrc says
sns.set_theme(context="notebook", style="whitegrid", rc={"figure.dpi": 110, "savefig.bbox": "tight"})
# Names of groups and sources are text, whatever they contain. Equal figures have equal bytes.
plt.rcParams.update({"text.parse_math": False, "svg.hashsalt": "e2m"})


def show(figure: Figure, alt: str, caption: str = "", name: str = "") -> None:
    """Display a figure of a notebook, with the text that goes with it.

    Args:
        figure: drawn by a function of this module.
        alt: what the figure shows, for those who do not see it; the figure adds its own finding (``ranges``).
        caption: what a reader needs to understand the figure alone, as plain text; ``alt`` if empty.
        name: of the figure in the book, for ``{numref}``; by default ``fig-PAGE-NUMBER``.
    """
    from IPython.display import display

    kind = _kind(figure)
    said = {"alt": alt, "caption": caption or alt, "name": name, "finding": figure.get_label()}
    about = {key: value for key, value in said.items() if value}
    display({kind: _drawn(kind, figure), "text/plain": alt}, raw=True, metadata={"e2m": about})
    plt.close(figure)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG or PNG, by the name of its file; equal figures give equal bytes."""
    figure.savefig(path, **_HOW[Path(path).suffix])


_HOW = {
    ".svg": {"format": "svg", "transparent": True, "metadata": {"Date": None, "Creator": None}},
    ".png": {"format": "png", "dpi": PIXELS, "metadata": {"Software": None}},
}


def _kind(figure: Figure) -> str:
    """MIME type: plots are SVG, and figures with pictures PNG."""
    return "image/png" if any(ax.images for ax in figure.axes) else "image/svg+xml"


def _drawn(kind: str, figure: Figure) -> str | None:
    """A figure as a notebook stores it, None if it is of another kind."""
    if kind != _kind(figure):
        return None
    buffer = BytesIO()
    figure.savefig(buffer, **_HOW[".png" if kind == "image/png" else ".svg"])
    return b64encode(buffer.getvalue()).decode() if kind == "image/png" else buffer.getvalue().decode()


def _described(kind: str, figure: Figure) -> tuple[str, dict] | None:
    """``_drawn``, and the finding that the figure carries as its label, as IPython takes both."""
    drawn = _drawn(kind, figure)
    return drawn and (drawn, {"finding": figure.get_label()} if figure.get_label() else {})


def _in_notebooks() -> None:
    """Let notebooks draw figures in these two kinds, with ``show`` and without it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        # Sets formats of its own when it is imported.
        importlib.import_module("matplotlib_inline.backend_inline")
        for kind in ("image/svg+xml", "image/png"):
            shell.display_formatter.formatters[kind].for_type(Figure, partial(_described, kind))


_in_notebooks()


def network_colour(name: str) -> str:
    """The colour of a network, the same on all pages."""
    known = plugins.names("detector")
    return _NETWORKS[(known.index(name) if name in known else crc32(name.encode())) % len(_NETWORKS)]


def regime_style(regimes: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Label, colour and marker of each regime; "human", "ceiling" and "fixed" are styled like regimes.

    Other groups of detectors are labelled with their names.
    """
    known = plugins.names("regime")
    modules = {name: plugins.load("regime", name) for name in regimes if name in known}
    others = [name for name in regimes if name not in known]
    # Matplotlib leaves labels that start with "_" out of legends.
    looks = {name: (f"\u200b{name}", colour) for name, colour in zip(others, cycle(_PALETTE), strict=False)}
    looks |= {name: (module.LABEL, module.COLOUR) for name, module in modules.items()} | OTHERS
    return {name: (*looks[name], _MARKERS[index % len(_MARKERS)]) for index, name in enumerate(regimes)}


_SPELLED = {"GradCAM": "Grad-CAM", "GradCAMpp": "Grad-CAM++", "ScoreCAM": "Score-CAM", "XGradCAM": "XGrad-CAM"}
_SPELLED |= {"grey_level": "grey-level", "ssim": "SSIM", "ssim_valid": "SSIM, valid region", "auc": "AUC"}


def spelled(name: object) -> object:
    """A salience method, variant or level as a reader knows it: "Grad-CAM" for "GradCAM"; others as they are."""
    if not isinstance(name, str) or " " in name:
        return name
    return _SPELLED.get(name, name.replace("_", " "))


def ranges(table: pd.DataFrame, by: str | None = None, names: Mapping[str, str] | None = None) -> str:
    """The smallest and the largest mean of every regime in words: "CYBORG 0.70 to 0.92; cross-entropy 0.10 to 0.61".

    Args:
        table: regime and mean, as figures take it.
        by: a column whose values have scales of their own; each gets its ranges.
        names: of these values, in words.
    """
    looks = regime_style(list(dict.fromkeys(table["regime"])))

    def of(rows: pd.DataFrame) -> str:
        means = rows.dropna(subset="mean").groupby("regime", sort=False, observed=True)["mean"]
        return "; ".join(f"{looks[name][0]} {_span(values)}" for name, values in means)

    if by is None:
        return of(table)
    groups = table.groupby(by, sort=False, observed=True)
    return " ".join(f"{(names or {}).get(value, spelled(value))}: {of(rows)}." for value, rows in groups)


def _span(values: pd.Series) -> str:
    """The smallest and the largest value in words; one number if they agree."""
    return " to ".join(dict.fromkeys(f"{value:z.2f}" for value in (values.min(), values.max())))


def contact_sheet(images: Mapping[str, np.ndarray], columns: int = 8) -> Figure:
    """Some images of every source, one row for each source.

    Args:
        images: source -> (N, H, W, 3) uint8.
        columns: images shown of each source.
    """
    figure, axes = _tiles(len(images), columns, 1.15)
    for row, (source, stack) in zip(axes, images.items(), strict=True):
        for ax, image in zip(row, stack, strict=False):
            ax.imshow(image)
        _row_title(row[0], source)
    return figure


def salience_grid(
    images: np.ndarray, columns: Mapping[str, np.ndarray], titles: Sequence[str], first: str = "image"
) -> Figure:
    """Images with salience laid over them: one row for each image, one column for each source of salience.

    Args:
        images: (N, H, W, 3) uint8, shown in the first column.
        columns: title -> (N, h, w) maps in [0, 1] or uint8, laid over the images; or (N, H, W, 3) uint8, shown as
            they are.
        titles: N, of the rows.
        first: title of the first column.
    """
    figure, axes = _tiles(len(images), 1 + len(columns), 1.7)
    for ax, title in zip(axes[0], [first, *columns], strict=True):
        ax.set_title(textwrap.fill(title, int(11 * figure.get_figwidth() / (len(columns) + 2))), fontsize=10)
    for n, row in enumerate(axes):
        _row_title(row[0], titles[n])
        row[0].imshow(images[n])
        for ax, stack in zip(row[1:], columns.values(), strict=True):
            ax.imshow(stack[n] if stack.ndim == 4 else overlay(images[n], stack[n]))
    if shapes := [stack.shape[1:] for stack in columns.values() if stack.ndim == 3]:
        salience_bar(figure, axes, shapes)
    return figure


def salience_bar(figure: Figure, axes: np.ndarray, shapes: Sequence[tuple[int, int]]) -> None:
    """The colours of salience below its maps, with a note on their scale and their resolution (h, w)."""
    sizes = dict.fromkeys(f"{height} × {width}" for height, width in shapes)
    colours = ScalarMappable(cmap=MAP_COLOURS)
    bar = figure.colorbar(colours, ax=axes, location="bottom", shrink=0.4, aspect=40, pad=0.03, ticks=[0, 1])
    bar.set_label(f"salience, scaled for each map; maps of {', '.join(sizes)} cells, enlarged", fontsize=9)
    bar.ax.set_xticklabels(["least", "most"], fontsize=9)


def overlay(image: np.ndarray, salience: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 with a map (h, w) laid over it in colour; a dead map turns the image grey."""
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2) / 255
    if not np.isfinite(salience).all():
        return grey
    large = upsample(salience[None], *image.shape[:2])[0]
    coloured = plt.get_cmap(MAP_COLOURS)(large)[..., :3]
    return (1 - 0.55) * grey + 0.55 * coloured


def average_maps(rows: Sequence[Averages]) -> Figure:
    """Average maps: one row a regime, one map a run, then the mean over runs and the average human map.

    Regimes of one run share rows. All maps share one colour scale. The number below a map is its correlation with the
    average human map.

    Args:
        rows: as ``e2m.pages.average.averages`` gives them.
    """
    repeated, single = ([row for row in rows if (len(row.runs) > 1) == several] for several in (True, False))
    most = max([len(row.runs) for row in repeated] + [min(4, len(single))])
    parts = [single[start : start + most] for start in range(0, len(single), most)]
    figure, axes = _tiles(len(repeated) + len(parts), most + 2, max(0.78, min(1.2, 9 / (most + 2))), above=0.45)
    every = np.concatenate([[*row.runs, row.human] for row in rows])
    scale = {"cmap": MAP_COLOURS, "vmin": np.nanmin(every), "vmax": np.nanmax(every)}

    def show(ax: plt.Axes, row: Averages, salience: np.ndarray, title: str) -> None:
        ax.imshow(salience, **scale)
        ax.set_title(textwrap.fill(title, 13), fontsize=9)
        if salience is not row.human:
            ax.set_xlabel(f"{row.agreement(salience[None])[0]:.2f}", fontsize=9, labelpad=2)

    for line, row in zip(axes, repeated, strict=False):
        _row_title(line[0], textwrap.fill(row.title, 14))
        for run, salience in enumerate(row.runs):
            show(line[run], row, salience, f"run {run}")
        show(line[-2], row, row.mean, "mean")
        show(line[-1], row, row.human, "human")
    for line, part in zip(axes[len(repeated) :], parts, strict=True):
        _row_title(line[0], "one run each")
        for ax, row in zip(line, part, strict=False):
            show(ax, row, row.runs[0], row.title)
        show(line[-1], part[0], part[0].human, "human")
    figure.colorbar(axes[0, -1].images[0], ax=axes, label="mean salience", fraction=0.02, pad=0.01)
    return figure


LEARNED = {"loss": "training loss", "validation_accuracy": "validation accuracy"}
"""The columns that the learning curves of a detector show."""


def learning_curves(curves: pd.DataFrame, regime: str, columns: Mapping[str, str] = LEARNED) -> Figure:
    """Training loss and validation accuracy of every run by epoch; a dot marks the epoch with the stored weights.

    Args:
        curves: run, epoch, kept and the columns named.
        regime: the regime whose colour is used.
        columns: column -> label of its panel; panels are laid out in two columns.
    """
    _, colour, _ = regime_style([regime])[regime]
    down = -(-len(columns) // 2)
    figure, axes = plt.subplots(down, 2, figsize=(8, 0.4 + 2.8 * down), layout="constrained")
    for ax, (column, label) in zip(axes.flat, columns.items(), strict=True):
        for _, run in curves.groupby("run"):
            ax.plot(run["epoch"] + 1, run[column], color=colour, alpha=0.6)
            kept = run[run["kept"]]
            ax.plot(kept["epoch"] + 1, kept[column], "o", color=colour, markeredgecolor="white")
        ax.set(xlabel="epoch", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    kept = curves[curves["kept"]]
    spans = (f"{label} {_span(kept[column])}" for column, label in columns.items())
    figure.set_label(f"At the epoch kept: {'; '.join(spans)}." if len(kept) else "")
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
        table: regime, mean, low, high and the columns named; each detector gets a row of panels.
        x: column along the axis, in order of appearance; with ``numeric`` its values are numbers.
        ylabel, xlabel: axis labels, with units.
        column: one panel for each value of this column.
        titles: titles of the panels, by value.
        numeric: draw lines with bands.
        share_y: one scale for all panels.
        reference: a value marked with a dashed line, such as chance.
        wide: width of a panel in inches; at most three panels stand side by side.
        marks: label and value of thin reference lines, such as floor and ceiling. If it has the columns ``detector``
            or ``column``, a line appears in the panels of its value, or in all panels if the value is null.
    """
    panels = [None] if column is None else list(dict.fromkeys(table[column]))
    detectors = list(dict.fromkeys(table["detector"])) if "detector" in table else [None]
    shown = [(detector, panel) for detector in detectors for panel in panels]
    across = 2 if len(panels) in (2, 4) else min(3, len(panels))
    down = len(detectors) * -(-len(panels) // across)
    # Names of many values stand upright below the panels.
    names = [] if numeric else list(dict.fromkeys(table[x]))
    below = 0.06 * max(map(len, map(str, names))) if len(names) > SLANTED else 0
    size = (min(WIDEST, wide * across + 0.6), (3.0 + below) * down + 0.5)
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharey=share_y, layout="constrained")
    style = regime_style(list(dict.fromkeys(table["regime"])))
    used = axes.reshape(len(detectors), -1)[:, : len(panels)].ravel()
    for ax, (detector, panel) in zip(used, shown, strict=True):
        subset = table if column is None else table[table[column] == panel]
        subset = subset if detector is None else subset[subset["detector"] == detector]
        (_lines if numeric else _points)(ax, subset, x, style)
        if reference is not None:
            ax.axhline(reference, color="0.4", linestyle="--", linewidth=1, zorder=1)
        title = "" if panel is None else (titles or {}).get(panel, panel if column == "source" else spelled(panel))
        title = title if len(detectors) == 1 else f"{detector}: {title}".strip(": ")
        ax.set_title(textwrap.fill(title, int(8.5 * size[0] / across)), fontsize=11)
        ax.set_xlabel(xlabel)
    if marks is not None:
        subset = [_of_panel(marks, {"detector": detector, column: panel}) for detector, panel in shown]
        lines = [tuple(lines[["label", "value"]].itertuples(index=False, name=None)) for lines in subset]
        # Panels that share their lines need the names once a row.
        last = {number for number in range(len(used)) if (number + 1) % across == 0 or number == len(used) - 1}
        named = last if share_y and len(set(lines)) == 1 else range(len(used))
        shown_beside = set(used)
        free = {ax for row in axes for ax, right in pairwise(row) if right not in shown_beside}
        _draw_marks(dict(zip(used, subset, strict=True)), [used[number] for number in named], free)
    for row in axes:
        row[0].set_ylabel(ylabel)
    for ax in set(axes.flat) - set(used):
        ax.remove()
    _legend(figure, axes[0, 0])
    figure.set_label(f"{ranges(table)}." if share_y else ranges(table, column, titles))
    return figure


def _of_panel(marks: pd.DataFrame, panel: Mapping) -> pd.DataFrame:
    for column, value in panel.items():
        if column in marks and value is not None:
            marks = marks[(marks[column] == value) | marks[column].isna()]
    return marks.dropna(subset="value").sort_values("value", kind="stable")


def _draw_marks(
    marks: Mapping[plt.Axes, pd.DataFrame], named: Collection[plt.Axes], free: Collection[plt.Axes]
) -> None:
    """Dashed lines across panels; some have the names at their right edge, moved apart if lines are close.

    Panels with nothing at their right (``free``) need no room for the names.
    """
    for ax, lines in marks.items():
        for value in lines["value"]:
            ax.axhline(value, color="0.45", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    # The lines can change the limits of the axis that the panels share.
    for ax in named:
        lines = marks[ax]
        bottom, top = ax.get_ylim()
        heights = ((lines["value"] - bottom) / (top - bottom)).to_numpy()
        for label, height in zip(lines["label"], _apart(heights, 0.075), strict=True):
            text = ax.text(1.015, height, label, fontsize=9, color="0.3", va="center", transform=ax.transAxes)
            text.set_in_layout(ax not in free)


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """Ascending heights, moved just enough that each lies ``gap`` above the one below and none above 1."""
    heights = np.minimum(heights, 1 - gap * np.arange(len(heights))[::-1])
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + gap)
    return heights


def _points(ax: plt.Axes, table: pd.DataFrame, x: str, style: Mapping) -> None:
    order = list(dict.fromkeys(table[x]))
    marked = [regime for regime in style if regime not in _LINES]
    step = 0.5 / max(1, len(marked))
    for regime, (label, colour, marker) in style.items():
        subset = table[table["regime"] == regime].set_index(x).reindex(order)
        if regime in _LINES:
            ends = np.arange(len(order)) - 0.35, np.arange(len(order)) + 0.35
            ax.hlines(subset["mean"], *ends, colors=colour, linestyles=_LINES[regime], label=label)
            continue
        at = np.arange(len(order)) + (marked.index(regime) - (len(marked) - 1) / 2) * step
        reach = np.abs(subset[["low", "high"]].sub(subset["mean"], axis=0)).to_numpy().T
        ax.errorbar(at, subset["mean"], np.nan_to_num(reach), fmt=marker, color=colour, label=label, capsize=2)
    slanted = max(map(len, map(str, order))) > 5 and 4 < len(order) <= SLANTED
    rotation = 40 if slanted else 90 if len(order) > SLANTED else 0
    names = order if x == "source" else list(map(spelled, order))
    ax.set_xticks(range(len(order)), names, rotation=rotation, ha="right" if slanted else "center")
    ax.grid(axis="x", visible=False)


def _lines(ax: plt.Axes, table: pd.DataFrame, x: str, style: Mapping) -> None:
    for regime, (label, colour, marker) in style.items():
        subset = table[table["regime"] == regime]
        subset = subset.assign(**{x: subset[x].astype(float)}).sort_values(x)
        ax.plot(subset[x], subset["mean"], color=colour, marker=marker, label=label)
        ax.fill_between(subset[x], subset["low"], subset["high"], color=colour, alpha=0.2, linewidth=0)


def roc(table: pd.DataFrame) -> Figure:
    """ROC curves: one panel for each synthetic source, one line and band for each regime; each detector gets a row.

    Args:
        table: detector, regime, source, fdr, mean, low and high, as ``e2m.pages.detection.curves`` gives them.
    """
    panels = list(table[["detector", "source"]].drop_duplicates().itertuples(index=False, name=None))
    style = regime_style(list(dict.fromkeys(table["regime"])))
    several = len(set(table["detector"])) > 1
    down = -(-len(panels) // 2)
    size = (3.4 * 2 + 0.6, 3.2 * down + 0.5)
    options = {"figsize": size, "squeeze": False, "sharex": True, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(down, 2, **options)
    for ax, (detector, source) in zip(axes.flat, panels, strict=False):
        subset = table[(table["detector"] == detector) & (table["source"] == source)]
        ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="chance")
        for regime, (label, colour, _) in style.items():
            curve = subset[subset["regime"] == regime]
            ax.step(curve["fdr"], curve["mean"], where="post", color=colour, label=label)
            ax.fill_between(curve["fdr"], curve["low"], curve["high"], step="post", color=colour, alpha=0.2, lw=0)
        ax.set_title(f"{detector}: {source}" if several else source, fontsize=11)
        ax.set_aspect("equal")
    curves = table.groupby(["source", "regime"], sort=False, observed=True)
    areas = [(*names, np.trapezoid(curve["mean"], curve["fdr"])) for names, curve in curves] if not several else []
    finding = ranges(pd.DataFrame(areas, columns=["source", "regime", "mean"]), "source")
    figure.set_label(f"Areas under the curves: {finding}" if finding else "")
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    figure.supxlabel("FDR: share of authentic images flagged", fontsize=11)
    figure.supylabel("TDR: share of synthetic images flagged", fontsize=11)
    _legend(figure, axes[0, 0])
    return figure


def run_matrix(pairs: pd.DataFrame, label: str) -> Figure:
    """Mean similarity of every pair of runs, one panel for each regime.

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
    for ax, regime in zip(axes[0], regimes, strict=True):
        subset = pairs[pairs["regime"] == regime]
        both = pd.concat([subset, subset.rename(columns={"run": "run_other", "run_other": "run"})])
        square = (
            both.pivot_table(index="run", columns="run_other", values="value").rename(int, axis=0).rename(int, axis=1)
        )
        last = ax is axes[0, -1]
        sns.heatmap(
            square, vmin=low, vmax=1, cmap=MAP_COLOURS, annot=len(square) <= 6, fmt=".2f", square=True, ax=ax,
            cbar=last, cbar_kws={"label": label},
        )  # fmt: skip
        ax.set(title=style[regime][0], xlabel="run", ylabel="run")
    figure.set_label(f"{ranges(means.rename('mean').reset_index())}.")
    return figure


def forest(table: pd.DataFrame, xlabel: str = "value (95 % interval)", zero: bool = False) -> Figure:
    """All measures at once: one line for each measure, one mark for each regime.

    Args:
        table: row (the quantity), regime, mean, low, high; each detector gets a panel.
        xlabel: label of the common axis.
        zero: whether the table holds differences, with a line at 0.
    """
    names = list(dict.fromkeys(table["row"]))
    detectors = list(dict.fromkeys(table["detector"]))
    style = regime_style(list(dict.fromkeys(table["regime"])))
    # Names in two lines leave room for the marks on a phone.
    labels = [textwrap.fill(whole(name), 34) for name in names]
    size = (3.2 * len(detectors) + 2, row_height(labels, 0.44) * len(names) + 1.2)
    figure, axes = plt.subplots(1, len(detectors), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for ax, detector in zip(axes[0], detectors, strict=True):
        for number, (regime, (label, colour, marker)) in enumerate(style.items()):
            chosen = (table["regime"] == regime) & (table["detector"] == detector)
            subset = table[chosen].set_index("row").reindex(names)
            at = np.arange(len(names)) + (number - (len(style) - 1) / 2) * 0.26
            reach = np.nan_to_num(np.abs(subset[["low", "high"]].sub(subset["mean"], axis=0)).to_numpy().T)
            ax.errorbar(subset["mean"], at, xerr=reach, fmt=marker, color=colour, label=label, capsize=2)
        ax.set(xlabel=xlabel, title=detector if len(detectors) > 1 else "")
        ax.set_yticks(range(len(names)), labels, fontsize=SMALLEST)
        ax.locator_params(axis="x", nbins=6)
        ax.grid(axis="y", visible=False)
        for line in range(1, len(names)):
            ax.axhline(line - 0.5, color="0.9", linewidth=0.8)
        if zero:
            ax.axvline(0, color="0.3", linewidth=1, zorder=1)
    axes[0, 0].invert_yaxis()
    _legend(figure, axes[0, 0])
    figure.set_label(ranges(table.assign(row=table["row"].str.rstrip(" ↑↓")), "row"))
    return figure


def whole(name: str) -> str:
    """The name of a quantity, whose arrow never stands alone in a line."""
    return re.sub(r" (?=[↑↓])", "\u00a0", name)


def row_height(labels: Sequence[str], least: float) -> float:
    """Inches of a row in which the label of most lines fits beside those of its neighbours."""
    return max([least, *(0.17 * (label.count("\n") + 1) + 0.05 for label in labels)])


def dots(
    table: pd.DataFrame,
    row: str,
    column: str,
    titles: Mapping[str, str] | None = None,
    hue: str | None = None,
    reference: str | None = None,
    zero: bool = False,
    across: int = 2,
) -> Figure:
    """Means with their intervals: one line for each row, one panel with its own scale for each value of ``column``.

    Args:
        table: mean, low, high and the columns named.
        row, column: columns whose values become lines and panels, in order of appearance.
        titles: titles of the panels, by value; only these panels are shown.
        hue: column whose values get one colour each: "regime", or any other.
        reference: the row whose mean is marked across all lines.
        zero: whether the table holds differences, with a line at 0.
        across: panels side by side.
    """
    panels = list(titles or dict.fromkeys(table[column]))
    names = list(dict.fromkeys(table[row]))
    values = list(dict.fromkeys(table[hue])) if hue else [None]
    colours = sns.color_palette("colorblind", len(values)) if hue else ["0.2"]
    style = {
        value: (spelled(value), colour, mark) for value, colour, mark in zip(values, colours, _MARKERS, strict=False)
    }
    style = regime_style(values) if hue == "regime" else style
    down = -(-len(panels) // across)
    size = (8.6, down * (0.9 + 0.3 * len(names)) + 0.4)
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharey=True, layout="constrained")
    for ax, panel in zip(axes.flat, panels, strict=False):
        for number, (value, (label, colour, marker)) in enumerate(style.items()):
            subset = table[(table[column] == panel) & ((table[hue] == value) if hue else True)]
            subset = subset.set_index(row).reindex(names)
            at = np.arange(len(names)) + (number - (len(style) - 1) / 2) * 0.24
            reach = np.nan_to_num(np.abs(subset[["low", "high"]].sub(subset["mean"], axis=0)).to_numpy().T)
            ax.errorbar(subset["mean"], at, xerr=reach, fmt=marker, ms=5, color=colour, label=label, capsize=2)
            if reference is not None:
                ax.axvline(subset.loc[reference, "mean"], color=colour, linestyle=":", linewidth=1.2, zorder=1)
        if zero:
            ax.axvline(0, color="0.3", linewidth=1, zorder=1)
        title = textwrap.fill((titles or {}).get(panel, panel), 80 // across)
        ax.set(xlabel=title, ylim=(len(names) - 0.5, -0.5))
        ax.locator_params(axis="x", nbins=12 // across)
        ax.set_yticks(range(len(names)), [_SPELLED.get(name, name) for name in names])
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    shown = table[table[column].isin(panels)].dropna(subset="mean")
    spans = ((value, _span(rows["mean"])) for value, rows in shown.groupby(column, sort=False, observed=True))
    figure.set_label(" ".join(f"{(titles or {}).get(value, value)}: {span}." for value, span in spans))
    if hue:
        _legend(figure, axes[0, 0])
    return figure


def coverage(table: pd.DataFrame, column: str, line: str, low: float = 0.84) -> Figure:
    """How often intervals held the truth, by number of runs; the band that 95 % intervals should reach is shaded.

    Args:
        table: runs, coverage in [0, 1] and the columns named.
        column: one panel for each value of this column.
        line: one line for each value of this column.
        low: lower end of the axis.
    """
    panels = list(dict.fromkeys(table[column]))
    down = -(-len(panels) // 2)
    figure, axes = plt.subplots(down, 2, figsize=(8.4, 2.9 * down), squeeze=False, layout="constrained")
    for ax, panel in zip(axes.flat, panels, strict=False):
        subset = table[table[column] == panel]
        ax.axhspan(*BAND, color="0.88", zorder=0)
        looks = {"hue": line, "style": line, "markers": True, "dashes": False, "palette": "colorblind"}
        sns.lineplot(subset, x="runs", y="coverage", ax=ax, **looks)
        runs = subset["runs"].unique()
        ax.set(xscale="log", xlabel="runs", ylabel="coverage", ylim=(low, 1.005), title=panel)
        ax.set_xticks(runs, runs)
        ax.minorticks_off()
        ax.legend(title="", fontsize=9, loc="best")
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    spans = (f"{name}: {_span(rows['coverage'])}." for name, rows in table.groupby(column, sort=False))
    figure.set_label(" ".join(spans))
    return figure


def ratios(table: pd.DataFrame, kind: str, label: str, by: str = "alternative") -> Figure:
    """Ratios of measured times on a logarithmic axis, with the smallest and largest of all rounds; targets are bars.

    Args:
        table: rows of the study "speed".
        kind: "speed-up", how many times faster we are than others, or "cost", how many times slower.
        label: of the axis.
        by: column of the names beside the axis; each detector gets a colour.
    """
    subset = table[(table["kind"] == kind) & table["ratio"].notna()]
    detectors = list(dict.fromkeys(subset["detector"]))
    colours = {name: network_colour(name) if name else "0.35" for name in detectors}
    names = [textwrap.fill(name, 34) for name in dict.fromkeys(subset[by])]
    figure, ax = plt.subplots(figsize=(7.6, 1.3 + 0.5 * len(names)), layout="constrained")
    for position, (_, rows) in enumerate(subset.groupby(by, sort=False)):
        heights = position + 0.13 * (np.arange(len(rows)) - (len(rows) - 1) / 2)
        for height, row in zip(heights, rows.itertuples(), strict=True):
            reach = [[row.ratio - row.ratio_low], [row.ratio_high - row.ratio]]
            ax.errorbar(row.ratio, height, xerr=reach, fmt="o", ms=5, color=colours[row.detector])
            if pd.notna(row.target):
                ax.plot([row.target] * 2, [height - 0.3, height + 0.3], color="black", lw=2.5)
    ax.axvline(1, color="0.5", lw=1)
    ax.set(xscale="log", xlabel=label, ylim=(len(names) - 0.5, -0.5))
    ax.set_yticks(range(len(names)), names, fontsize=9)
    narrow = subset["ratio_high"].max() < 8 * subset["ratio_low"].min()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5, 7) if narrow else (1, 3)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    marks = [plt.Line2D([], [], marker="o", ls="", color=colours[name], label=name) for name in detectors if name]
    target = [plt.Line2D([], [], color="black", lw=2.5, label="target")] if subset["target"].notna().any() else []
    figure.legend(handles=marks + target, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def lanes(table: pd.DataFrame) -> Figure:
    """What ran when: one bar a job, side by side in lanes.

    Args:
        table: kind, start and end (seconds) and lane (a number from 0), as ``e2m.pages.timeline.jobs`` gives them.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    count = table["lane"].max() + 1 if len(table) else 1
    figure, ax = plt.subplots(figsize=(WIDEST, 1.2 + 0.5 * count), layout="constrained")
    for kind, colour in zip(kinds, cycle(plt.get_cmap("Dark2").colors), strict=False):
        some = table[table["kind"] == kind]
        spans = (some["end"] - some["start"]) / 60
        ax.barh(some["lane"], spans, 0.8, some["start"] / 60, color=colour, linewidth=0.4, label=kind)
    ax.set(xlabel="minutes since the first job began", ylabel="lane", ylim=(count - 0.5, -0.5), xlim=(0, None))
    ax.set_yticks(range(count), range(1, count + 1))
    ax.grid(axis="y", visible=False)
    if kinds:
        _legend(figure, ax)
    return figure


def memory(table: pd.DataFrame) -> Figure:
    """Peak memory and time of a job against the number of its images.

    Args:
        table: images, value (MiB) and ours_seconds.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3), layout="constrained")
    for ax, column, label in zip(axes, ("value", "ours_seconds"), ("peak memory (MiB)", "time (s)"), strict=True):
        ax.plot(table["images"].astype(float), table[column], "o-", color="0.2")
        ax.set(xscale="log", xlabel="images", ylabel=label)
        ax.set_xticks(table["images"].astype(float), [f"{number:,}" for number in table["images"]])
        ax.minorticks_off()
    axes[0].set_ylim(0, 1.15 * table["value"].max())
    axes[1].set(yscale="log")
    return figure


VERDICTS = {
    "supported": ("#0072B2", "white", "✓"),
    "contradicted": ("#D55E00", "white", "✗"),
    "inconclusive": ("#DDDDDD", "black", "?"),
    "untestable": ("white", "0.35", "–"),
    "": ("white", "0.35", "as published"),
}
"""Verdict -> colour of its cell, colour and symbol of its text: blue, orange and grey, which colour-blind readers tell
apart; the word stands beside them."""


def verdicts(matrix: pd.DataFrame) -> Figure:
    """Verdicts as coloured cells: a line a claim, a column a variant and salience method, in blocks of one variant.

    Args:
        matrix: the result of ``claims.matrix``: texts of ``VERDICTS`` by claim, and by variant and method.
    """
    rows, columns = matrix.shape
    names = [textwrap.fill(name, 44) for name in matrix.index]
    figure, ax = plt.subplots(figsize=(min(WIDEST, 3.4 + 1.15 * columns), 1.0 + 0.52 * rows), layout="constrained")
    for y, line in enumerate(matrix.to_numpy()):
        for x, said in enumerate(line):
            colour, ink, symbol = VERDICTS[said]
            ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="0.7", linewidth=0.8))
            ax.text(x + 0.5, y + 0.5, f"{symbol} {said}".strip(), color=ink, ha="center", va="center", fontsize=9)
    groups = matrix.columns.get_level_values(0)
    for edge in [index for index in range(1, columns) if groups[index] != groups[index - 1]]:
        ax.axvline(edge, color="black", linewidth=2)
    ax.set(xlim=(0, columns), ylim=(rows, 0))
    ax.set_xticks(np.arange(columns) + 0.5, ["\n".join(map(spelled, pair)) for pair in matrix.columns], fontsize=9)
    ax.set_yticks(np.arange(rows) + 0.5, names, fontsize=9)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    counts = ((", ".join(map(spelled, pair)), matrix[pair].value_counts()) for pair in matrix.columns[:1])
    totals = (f"{name}: {', '.join(f'{n} {said}' for said, n in of.items() if said)}." for name, of in counts)
    figure.set_label(" ".join(totals))
    return figure


def regime_label(regime: str) -> str:
    """The label of a regime in figures."""
    return regime_style([regime])[regime][0]


def _tiles(rows: int, columns: int, inches: float, above: float = 0):
    """Axes without frames, at most so many inches each, with room for text above and below."""
    inches = min(inches, (WIDEST - 0.9) / columns)
    size = (inches * columns + 0.9, (inches + above) * rows + 0.3)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.set_frame_on(False)
    return figure, axes


def _row_title(ax: plt.Axes, title: str) -> None:
    ax.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=10)


def _legend(figure: Figure, ax: plt.Axes) -> None:
    """A legend above all panels, in as many columns as the figure is wide enough for."""
    handles, names = ax.get_legend_handles_labels()
    fit = int(figure.get_figwidth() / (0.65 + 0.085 * max(map(len, names), default=0)))
    figure.legend(handles, names, loc="outside upper center", ncols=max(1, min(len(names), fit)), frameon=False)
