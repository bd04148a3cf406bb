"""Model selection: accuracy, AUC and the five measures of every detector and regime, side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from e2m import statistics
from e2m.experiment.results import Experiment


def headlines(
    experiment: Experiment, scores: pd.DataFrame, method: str, noise: float, max_sigma: float
) -> pd.DataFrame:
    """One row a quantity, detector and regime, with intervals: what the forest plot shows.

    Args:
        experiment: whose results are read.
        scores: ``experiment.scores()``.
        method: salience method of the measures.
        noise: share of noise of measure (b).
        max_sigma: largest blur of measure (e).

    Returns:
        row (the quantity, with an arrow towards better), detector, regime and the attributes of ``Interval``.
    """
    rows = selected(experiment, scores, method, noise, max_sigma)
    means = statistics.summarise(rows, ["row", "detector", "regime"], **experiment.resampling)
    aucs = statistics.summarise_auc(scores, ["detector", "regime"], experiment.authentic, **experiment.resampling)
    return _in_order(pd.concat([means, _named(aucs)], ignore_index=True))


def differences(
    experiment: Experiment, scores: pd.DataFrame, method: str, noise: float, max_sigma: float
) -> pd.DataFrame:
    """Guided minus traditional for every row of ``headlines``; p values are corrected over all of them together."""
    rows = selected(experiment, scores, method, noise, max_sigma)
    settings = {**experiment.roles, **experiment.resampling}
    means = statistics.compare(rows, ["row", "detector"], **settings)
    aucs = _named(statistics.compare_auc(scores, ["detector"], experiment.authentic, **settings))
    both = pd.concat([means, aucs[list(means.columns)]], ignore_index=True)
    return _in_order(both.assign(p_holm=statistics.holm(both["p"])))


def selected(experiment: Experiment, scores: pd.DataFrame, method: str, noise: float, max_sigma: float) -> pd.DataFrame:
    """Tidy rows of the quantities of the forest plot on the in-set sources, told apart by the column ``row``."""
    changed = {name: experiment.rows(name) for name in ("noise", "transformations", "degradation")}
    entropy = experiment.rows("entropy")
    moved = changed["transformations"].query("variant == 'ssim_valid' and target == 'predicted'")
    blurred = statistics.accuracies(changed["degradation"])
    parts = {
        "accuracy ↑": statistics.accuracies(scores),
        "(a) grey-level entropy ↓": entropy[entropy["variant"] == "grey_level"],
        "(a) spatial entropy ↓": entropy[entropy["variant"] == "spatial"],
        f"(b) SSIM, noise {noise:g} ↑": at_level(
            changed["noise"].query("variant == 'ssim' and target == 'clean'"), noise
        ),
        "(c) SSIM, moved back ↑": statistics.over_levels(moved),
        "(d) SSIM between runs ↑": experiment.pairs("stability"),
        "(e) accuracy, background blurred ↑": at_level(blurred[blurred["region"] == "background"], max_sigma),
        "(e) accuracy, salient blurred ↓": at_level(blurred[blurred["region"] == "salient"], max_sigma),
    }
    columns = ["row", "detector", "regime", "source", "run", "run_other", "image", "value"]
    chosen = [
        rows[rows["source"].isin(experiment.in_set) & rows["salience"].isin([method, ""])]
        .assign(row=name)
        .reindex(columns=columns)
        .astype({"detector": str, "regime": str, "source": str, "image": str})
        for name, rows in parts.items()
    ]
    return pd.concat(chosen, ignore_index=True)


def equal_accuracy(experiment: Experiment, scores: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Do the AUCs of both regimes differ by less than ``margin``? ``statistics.equal_auc`` of each detector."""
    settings = {**experiment.roles, **experiment.resampling}
    table = statistics.equal_auc(scores, ["detector"], experiment.authentic, margin, **settings)
    return table.rename(columns={"difference": "AUC difference", "low_90": "90 % low", "high_90": "90 % high"})


def glue_summary(glue: Callable, headlines: pd.DataFrame, differences: pd.DataFrame, synthetic: str) -> None:
    """Hand the numbers that the introduction quotes to the book: means, intervals and verdicts of the first detector.

    Args:
        glue: ``myst_nb.glue``.
        headlines, differences: of this module.
        synthetic: the synthetic in-set source, whose AUC is quoted.
    """
    rows = {
        "spatial_entropy": "(a) spatial entropy ↓",
        "stability": "(d) SSIM between runs ↑",
        "auc": f"AUC, {synthetic} ↑",
    }
    first = headlines["detector"].iloc[0]
    for key, row in rows.items():
        own = headlines[(headlines["row"] == row) & (headlines["detector"] == first)]
        for _, found in own.iterrows():
            glue(f"{key}_{found['regime']}", float(found["mean"]))
            glue(f"{key}_{found['regime']}_low", float(found["low"]))
            glue(f"{key}_{found['regime']}_high", float(found["high"]))
        apart = differences[(differences["row"] == row) & (differences["detector"] == first)].iloc[0]
        glue("verdict_" + key.removeprefix("spatial_"), verdict(apart))
    glue("runs", int(headlines["runs"].max()))


def verdict(difference: pd.Series, digits: int = 2) -> str:
    """One row of ``statistics.compare`` as half a sentence."""
    low, high = difference["low"], difference["high"]
    found = f"difference {difference['difference']:+.{digits}f}"
    if not np.isfinite(low):
        return f"not comparable ({found}; {difference['note']})"
    word = "higher" if low > 0 else "lower" if high < 0 else "not clearly different"
    return f"{word} ({found}, 95 % interval {low:+.{digits}f} to {high:+.{digits}f})"


def at_level(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Rows of the level nearest to a number."""
    levels = rows["level"].astype(float)
    return rows[levels == min(levels.unique(), key=lambda found: abs(found - level))]


def _named(aucs: pd.DataFrame) -> pd.DataFrame:
    return aucs.assign(row=[f"AUC, {source} ↑" for source in aucs["source"]])


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy first, then AUCs, then the measures by letter."""
    rank = table["row"].map(lambda row: 0 if row.startswith("accuracy") else 1 if row.startswith("AUC") else 2)
    return table.assign(rank=rank).sort_values("rank", kind="stable", ignore_index=True).drop(columns="rank")
