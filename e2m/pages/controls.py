"""Controls: maps and networks whose right answer is known beforehand, measured beside the trained regimes.

``e2m.experiment.controls`` writes their maps and rows. Known maps come from the salience methods of
``e2m.methods.known``, which ask no network. Their files have the regime "known" and the method's name; the tables here
turn this round: the regime is the control's name, and the salience is "known".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from e2m import plugins, statistics
from e2m.experiment.families import KNOWN, by_control, cascade_files, known_family, untrained_family
from e2m.experiment.inputs import replace
from e2m.experiment.results import Experiment, compares_runs
from e2m.pages import selection
from e2m.store import disk

LABELS = {
    "oracle": "true region",
    "centre": "centre",
    "random": "random maps",
    "fixed": "one arbitrary map",
    "edges": "edges",
    "random_weights": "random weights",
    "shuffled_labels": "shuffled labels",
}
"""Control -> its name on pages. ``shuffled_labels`` is a regime, trained like any other."""


def table(experiment: Experiment) -> pd.DataFrame:
    """The value of every measure for every control and every trained regime, on the in-set sources.

    Maps explain the predicted class. Intervals of trained regimes are over runs and images. A control has one run, and
    its interval is over images alone: it does not cover other trainings or other random weights.

    Returns:
        control, detector, salience, source, measure, variant, region, level, and the attributes of ``Interval``. Scores
        add the variants "accuracy", "auc" and "change" (score minus that of the clean image). Transformations add the
        level "all", the mean over all of them. ``note`` says why there is no value or no interval.
    """
    trained = replace(experiment, sources=experiment.in_set)
    families = [known_family(experiment), untrained_family(experiment)]
    if any(key.regime == "shuffled_labels" for key in experiment.controlled):
        families.append(replace(trained, regimes=["shuffled_labels"], runs=1))
    cases = ((family, rows) for family in families for rows in _rows(replace(family, runs=1), family))
    parts = [part for case in cases for part in _over_images(*case)]
    parts += [part for rows in _rows(trained, trained) for part in _summaries(trained, rows)]
    whole = pd.concat(parts, ignore_index=True).rename(columns={"regime": "control"})
    whole["note"] = np.where(whole["mean"].isna(), whole.apply(_reason, axis=1), whole["note"])
    return whole[["control", *whole.columns.drop("control")]]


def headlines(table: pd.DataFrame, method: str, source: str, levels: Mapping[str, float] | None = None) -> pd.DataFrame:
    """The headlines of every measure on one source, for known maps and for the maps of one salience method.

    Args:
        table: the result of ``table``.
        method, source: salience method and source of the rows.
        levels: measure -> level that replaces the one of its headlines: ``{"noise": 0.25}``.

    Returns:
        The matching rows of ``table``, measure by measure. The quantity's name as ``row`` has the source, because the
        same quantity on other images is another number.
    """
    for column, value in (("salience", method), ("source", source)):
        selection.existing(table, column, value)
    modules = {name: plugins.load("measure", name) for name in set(table["measure"]) & set(plugins.names("measure"))}
    wanted = []
    for name, module in sorted(modules.items(), key=lambda item: item[1].LETTER):
        for headline in module.HEADLINES:
            of_variant = table[(table["measure"] == name) & (table["variant"] == headline.variant)]
            if of_variant.empty or not headline.controls:
                continue
            level = selection.chosen_level(headline, name, levels, of_variant[of_variant["level"] != "0"])
            title = f"({module.LETTER}) {headline.title.format(level=level)}, {source}"
            at = level if isinstance(level, str) else f"{level:g}"
            wanted.append((name, headline.variant, headline.region, at, title))
    keys = ["measure", "variant", "region", "level"]
    wanted = pd.DataFrame(wanted, columns=[*keys, "row"])
    return wanted.merge(table[table["salience"].isin([KNOWN, method]) & (table["source"] == source)], on=keys)


def extremes(shown: pd.DataFrame, regimes: Sequence[str]) -> pd.DataFrame:
    """The controls with the smallest and the largest value of every quantity of ``headlines``, ties included.

    Returns:
        detector, quantity, floor and ceiling as text, and the value of every trained regime.
    """
    lines = []
    for (detector, row), subset in shown.groupby(["detector", "row"], sort=False):
        means = subset.set_index("control")["mean"]
        trained = {label(regime): means.get(regime) for regime in regimes}
        means = means.drop(regimes, errors="ignore").dropna()
        ends = {"floor": means.min(), "ceiling": means.max()}
        texts = {name: f"{end:z.2f}: {_close(means, end)}" for name, end in ends.items()} if len(means) else {}
        lines.append({"detector": detector, "quantity": row, **texts, **trained})
    return pd.DataFrame(lines)


def _close(means: pd.Series, value: float) -> str:
    return ", ".join(label(name) for name in means.index[np.abs(means - value) < 0.005])


def label(control: str) -> str:
    """The name of a control or a regime on pages."""
    return LABELS.get(control) or plugins.load("regime", control).LABEL


def cascade(experiment: Experiment) -> pd.DataFrame:
    """How similar maps stay while layers of run 0 are randomised from the top: means, with intervals over images alone.

    Returns:
        The columns of ``table``, with the trained regime as ``regime``; ``level`` counts randomised layers.
    """
    files = {
        path: case for detector in experiment.detectors for path, case in cascade_files(experiment, detector).items()
    }
    for path, case in files.items():
        experiment.check_file(path, disk.made_of(path), *case, measure="cascade")
    rows = statistics.ranged(disk.read_rows(files), {"ssim": (-1, 1), "rank_correlation": (-1, 1)})
    return pd.concat(_over_images(experiment, rows), ignore_index=True)


def layers(experiment: Experiment, detector: str) -> list[str]:
    """The layers that the cascade randomises, from the top."""
    return disk.settings_of(next(iter(cascade_files(experiment, detector))))["layers"]


def in_words(value: float, sign: str = "") -> str:
    """A value in prose, or why there is none; with the sign "+", both signs are written."""
    return f"{value:{sign}z.2f}" if np.isfinite(value) else "no value (dead maps)"


def marks(
    table: pd.DataFrame, measure: str, names: Sequence[str], column: str | None = None, **kept: str
) -> pd.DataFrame:
    """Values of controls in a measure, averaged over the in-set sources: reference lines for ``figures.intervals``.

    Args:
        table: the result of ``table``.
        measure: name of the measure.
        names: names of the controls.
        column: the column that splits the figure into panels, if every panel has separate lines.
        kept: values that other columns must have, for example ``variant="ssim"``.

    Returns:
        detector, ``column``, label, value.
    """
    subset = table[(table["measure"] == measure) & table["control"].isin(names)]
    for name, value in kept.items():
        subset = subset[subset[name] == value]
    by = ["detector", *([column] if column else []), "control"]
    means = subset.groupby(by, sort=False)["mean"].mean().rename("value").dropna().reset_index()
    return means.assign(label=means.pop("control").map(LABELS))


_BY = ["detector", "regime", "salience", "source", "measure", "variant", "region", "level"]


def _rows(once: Experiment, paired: Experiment) -> Iterator[pd.DataFrame]:
    """Tidy rows, measure by measure: pairs of runs come from ``paired``, everything else from ``once``."""
    known = once.regimes == [KNOWN]
    shown = partial(by_control, methods=once.methods) if known else lambda rows: rows
    if not known:  # scores stored beside known maps are those of the trained detector
        scores = once.scores().assign(salience="", level="")
        yield scores
        yield statistics.accuracies(scores)
    for name in plugins.names("measure"):
        if name in once.measures:
            yield from _changed(once, name, shown)
        elif compares_runs(name):
            yield shown(_pairs(paired, name)).assign(level="")
        elif once.has_rows(name):
            yield shown(once.rows(name)).assign(level="")


def _changed(experiment: Experiment, measure: str, shown: Callable) -> Iterator[pd.DataFrame]:
    """Similarity of maps at every level, and scores with their changes (level "0" is clean).

    Transformations have the mean similarity over all of them instead of scores.
    """
    measured = experiment.rows(measure)
    rows = shown(measured)
    similar = rows[(rows["target"] == "predicted") & rows["variant"].isin(["ssim", "ssim_valid"])]
    yield similar
    scores = statistics.softmax_scores(rows)
    if measure == "transformations":
        yield statistics.over_levels(similar).assign(level="all")
    elif len(scores):
        clean = shown(experiment.clean_scores(measured)).assign(measure=measure)
        scores = pd.concat([clean, scores.astype({"level": str})], ignore_index=True)
        yield scores
        yield statistics.accuracies(scores)
        yield _score_changes(scores)


def _score_changes(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of changed images minus the scores of the same clean images (level "0")."""
    keys = ["detector", "regime", "run", "image", "salience", "region"]
    rows = scores.astype(dict.fromkeys(set(keys) - {"run"}, str))
    clean = rows.loc[rows["level"] == "0", [*keys, "value"]]
    both = rows[rows["level"] != "0"].merge(clean, on=keys, suffixes=("", "_clean"))
    value = both["value"] - both.pop("value_clean")
    return statistics.ranged(both.assign(value=value, variant="change"), {"change": (-1, 1)})


def _pairs(experiment: Experiment, measure: str) -> pd.DataFrame:
    """Rows of pairs of runs. A single run gives NaN for every image, so that a table can say why there is no value."""
    if experiment.runs > 1:
        return experiment.pairs(measure)
    rows = experiment.rows("entropy").query("variant == 'spatial'")
    return rows.assign(measure=measure, variant="ssim", value=np.nan)


def _over_images(experiment: Experiment, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Summaries of one run, or of one pair of runs, with intervals over images alone."""
    alone = rows.drop(columns="run_other", errors="ignore")
    return (part.assign(runs=1) for part in _summaries(experiment, alone, over="images"))


def _summaries(experiment: Experiment, rows: pd.DataFrame, over: str = "runs and images") -> Iterator[pd.DataFrame]:
    """Means with intervals, and AUCs where the rows are scores of both classes."""
    settings = {**experiment.resampling, "over": over}
    yield statistics.summarise(rows, _BY, **settings)
    scores = statistics.softmax_scores(rows)
    if len(scores) and experiment.authentic in set(scores["source"]):
        by = [name for name in _BY if name != "source"]
        aucs = statistics.summarise_auc(scores, by, experiment.authentic, **settings).assign(variant="auc")
        yield aucs[[*_BY, *aucs.columns.drop(_BY)]]


def _reason(row: pd.Series) -> str:
    if row["measure"] == "stability" and row["images"] == 0 and row["control"] != "oracle":
        return "1 run: nothing to compare it with"
    return "no true region is known" if row["control"] == "oracle" else row["note"]
