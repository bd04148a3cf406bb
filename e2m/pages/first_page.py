"""The first page: one face in several runs, the answer in short, and differences with their verdicts."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from e2m.experiment.inputs import replace
from e2m.experiment.results import Experiment, extremes
from e2m.pages import figures, tables

FIXED = "fixed_map"
"""The regime that trains with one fixed map, the mean human map."""

NAME = 34
"""Letters of a quantity's name in a line of the plot."""

PICTURES = 3
"""Runs that a card shows at most."""


@dataclass(frozen=True)
class Card:
    """The runs of one regime on one face.

    Attributes:
        regime: name of the regime.
        runs: number of trained runs; 0 if the profile does not train the regime.
        maps: (n, h, w) of the first ``PICTURES`` runs, n = 0 without any.
        line: the similarity of the maps of two runs over all in-set images, a row of ``selection.means``; None with
            fewer than two runs.
    """

    regime: str
    runs: int
    maps: np.ndarray
    line: pd.Series | None

    @property
    def value(self) -> str:
        """The stability with its interval, or why there is none."""
        if self.line is not None:
            return tables.in_brackets(self.line)
        return "needs two runs" if self.runs else "not trained in this profile"

    @property
    def meaning(self) -> str:
        """What the number says, in a sentence."""
        if self.line is None:
            return "Stability compares runs, so nothing can be said."
        mean = self.line["mean"]
        words = ("elsewhere", "partly elsewhere", "at nearly the same cells")[int(np.digitize(mean, [0.5, 0.8]))]
        return f"Train again, and the detector looks {words}."


def cards(experiment: Experiment, means: pd.DataFrame, method: str) -> tuple[str, dict[str, Card]]:
    """One face, and its maps in the traditional, the guided and the fixed-map regime.

    The face is the in-set composite whose similarity between traditional runs is the median: neither the best nor the
    worst example.

    Args:
        experiment: the experiment whose results are read; its first network is shown.
        means: ``selection.means`` of it.
        method: salience method.

    Returns:
        The name of the image, and "traditional", "guided", "fixed" -> its card.
    """
    network, regimes = experiment.detectors[0], {**experiment.roles, "fixed": FIXED}
    alone = {"regimes": [experiment.traditional], "methods": [method], "sources": [experiment.synthetic]}
    face = extremes(replace(experiment, detectors=[network], **alone).rows("stability"))["median"]
    published = means[means["published"] & (means["letter"] == "d") & (means["detector"] == network)]
    lines = published[published["salience"] == method].set_index("regime")
    runs = experiment.controls | dict.fromkeys(experiment.regimes, experiment.runs)
    made = {}
    for role, regime in regimes.items():
        count = runs.get(regime, 0)
        maps = [experiment.salience([face], network, regime, method, run)[0] for run in range(min(count, PICTURES))]
        made[role] = Card(regime, count, np.array(maps), lines.loc[regime] if regime in lines.index else None)
    return face, made


def tiles(image: np.ndarray, card: Card) -> Figure:
    """The face and its maps in several runs, two by two, framed in the regime's colour.

    Args:
        image: (H, W, 3) uint8.
        card: as ``cards`` gives it.
    """
    _, colour, _ = figures.regime_style([card.regime])[card.regime]
    figure, axes = plt.subplots(2, 2, figsize=(3.6, 3.9), layout="constrained")
    shown = [("the face", image), *((f"run {run}", figures.overlay(image, one)) for run, one in enumerate(card.maps))]
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.set_frame_on(False)
    for ax, (title, picture) in zip(axes.flat, shown, strict=False):
        ax.imshow(picture)
        ax.set_title(title, fontsize=13)
        if title != "the face":
            ax.set_frame_on(True)
            plt.setp(ax.spines.values(), visible=True, color=colour, linewidth=4)
    return figure


# The differences


def judged(differences: pd.DataFrame, traditional: str, source: str) -> pd.DataFrame:
    """Every quantity that decides, and the in-set AUC: how much better guided detectors are, and what that shows.

    Args:
        differences: ``selection.differences`` of one salience method and one network.
        traditional: the regime without maps.
        source: the synthetic in-set source.

    Returns:
        One row a quantity and group that guided detectors are compared with: detector, row, letter, against (the
        group); mean, low, high (above 0, guided detectors are better: signs are turned where lower is better); sign (1,
        -1, 0 if the interval covers 0, NaN without one); verdict.
    """
    decides = (differences["letter"] != "") & (differences["better"] != "")
    kept = differences[decides | (differences["row"] == f"AUC, {source} ↑")].copy()
    turned = kept["better"] == "lower"
    kept["mean"] = kept["difference"].where(~turned, -kept["difference"])
    low, high = kept["low"].where(~turned, -kept["high"]), kept["high"].where(~turned, -kept["low"])
    kept = kept.assign(low=low, high=high, sign=np.select([low > 0, high < 0, low.isna()], [1.0, -1.0, np.nan], 0.0))
    verdicts = {row: _verdict(lines.set_index("against")["sign"], traditional) for row, lines in kept.groupby("row")}
    kept["verdict"] = kept["row"].map(verdicts)
    return kept[["detector", "row", "letter", "against", "mean", "low", "high", "sign", "verdict"]]


def _verdict(signs: pd.Series, traditional: str) -> str:
    first, controls = signs[traditional], signs.drop(traditional)
    if signs.isna().any():
        return "cannot be said"
    if first and len(controls) and (controls == first).all():
        return "guidance helps" if first > 0 else "guidance harms"
    says = {1: "better; any pull may do it", -1: "worse; any pull may do it", 0: "no difference shown"}[int(first)]
    ahead = [figures.regime_label(regime) for regime in controls.index[controls < 0]] if first >= 0 else []
    return "; ".join([says, *(f"beaten by {label}" for label in ahead)])


def in_short(table: pd.DataFrame, traditional: str, otherwise: str) -> str:
    """What the measures say, in one sentence: how much differs, how much of it beyond wrong maps, and what those do.

    Args:
        table: the result of ``judged``.
        traditional: the regime without maps.
        otherwise: the sentence where a comparison is missing.
    """
    lines = table[table["letter"] != ""]
    if FIXED not in set(lines["against"]) or lines["sign"].isna().any():
        return otherwise
    by_row = lines.pivot(index="row", columns="against", values="sign")
    differ, worse = int((by_row[traditional] != 0).sum()), int((by_row[FIXED] < 0).sum())
    beyond = int(lines.drop_duplicates("row")["verdict"].str.startswith("guidance").sum())
    return (
        f"They differ on {differ or 'none'} of {len(by_row)} quantities, and on {beyond or 'none'} of them "
        f"beyond both wrong-map controls; one fixed map is shown to do better than guidance on {worse or 'none'}."
    )


def stability_alone(cards: Mapping[str, Card], table: pd.DataFrame) -> str:
    """What the cards show together: whether guided detectors are more stable than those with one fixed map."""
    lines = table[(table["letter"] == "d") & (table["against"] == FIXED)]
    if cards["fixed"].line is None or lines["sign"].isna().any() or lines.empty:
        return "Whether stability comes from the human maps cannot be said: it takes several runs with one fixed map."
    if (lines["sign"] > 0).all():
        return "Guided detectors are more stable than those trained with one fixed map."
    return (
        "Detectors trained with one fixed map for all images are not shown to be less stable than guided ones: "
        "stability alone is no reason for trust."
    )


def plot(table: pd.DataFrame, guided: str, narrow: bool = False) -> Figure:
    """How much better guided detectors are than each group, with a line at 0 and a verdict for each quantity.

    Args:
        table: the result of ``judged``, of one network.
        guided: the regime whose advantage is shown.
        narrow: for a phone: names and verdicts stand above the intervals.
    """
    rows = list(dict.fromkeys(table["row"]))
    style = figures.regime_style(list(dict.fromkeys(table["against"])))
    height = figures.row_height([textwrap.fill(row, NAME) for row in rows], 0.46)
    size = (4.0, 0.86 * len(rows) + 1.5) if narrow else (8.4, height * len(rows) + 1.3)
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    for number, (regime, (label, colour, marker)) in enumerate(style.items()):
        subset = table[table["against"] == regime].set_index("row").reindex(rows)
        at = (
            np.arange(len(rows)) + (number - (len(style) - 1) / 2) * (0.16 if narrow else 0.2) + (0.23 if narrow else 0)
        )
        reach = np.nan_to_num(np.abs(subset[["low", "high"]].sub(subset["mean"], axis=0)).to_numpy().T)
        ax.errorbar(subset["mean"], at, xerr=reach, fmt=marker, ms=5, color=colour, label=f"minus {label}", capsize=2)
    _names(ax, table.drop_duplicates("row"), narrow)
    ax.axvline(0, color="0.2", linewidth=1.2, zorder=1)
    for words, side, gap in (("← {} worse", "right", -6), ("{} better →", "left", 6)):
        style = {"ha": side, "fontsize": 10, "xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        ax.annotate(words.format(figures.regime_label(guided)), (0, 1), (gap, 4), **style)
    ax.set_xlabel("difference, with its 95 % interval", fontsize=10)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.tick_params(labelsize=9)
    for line in range(1, len(rows)):
        ax.axhline(line - 0.5, color="0.9", linewidth=0.8)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=1 if narrow else 3, frameon=False)
    return figure


def _names(ax: plt.Axes, lines: pd.DataFrame, narrow: bool) -> None:
    """The name of every quantity and its verdict, beside the intervals or above them."""
    names = [row.rstrip(" ↑↓") for row in lines["row"]]
    if not narrow:
        ax.set_yticks(range(len(names)), [textwrap.fill(name, NAME) for name in names], fontsize=10)
        for at, verdict in enumerate(lines["verdict"]):
            words = verdict.replace("; beaten", ";\nbeaten")
            ax.text(1.02, at, words, fontsize=9, va="center", transform=ax.get_yaxis_transform())
        return
    ax.set_yticks([])
    for at, (name, verdict) in enumerate(zip(names, lines["verdict"], strict=True)):
        about = {"fontsize": 8, "va": "center", "transform": ax.get_yaxis_transform(), "in_layout": False}
        ax.text(0.01, at - 0.37, name, weight="bold", **about)
        ax.text(0.01, at - 0.18, verdict, **about)
