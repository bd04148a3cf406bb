"""Controls: salience whose answer is known beforehand, and what every measure says of it.

``e2m.experiment.controls`` makes their maps and rows. In tables, the regime is the control's name, and the salience of
a map that comes from no network is called "known".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from e2m import plugins, statistics
from e2m.experiment.controls import KNOWN, by_control, cascade_files, known_family, untrained_family
from e2m.experiment.results import Experiment
from e2m.pages import selection
from e2m.store import disk

LABELS = {
    "oracle": "true region",
    "centre": "centre",
    "random": "random maps",
    "fixed": "one fixed map",
    "edges": "edges",
    "random_weights": "random weights",
    "shuffled_labels": "shuffled labels",
}
"""The controls, and what pages call them. ``shuffled_labels`` is a regime, trained like any other."""


def table(experiment: Experiment) -> pd.DataFrame:
    """Every measure's value for every control, and for the trained regimes beside them, on the in-set sources.

    Maps are those of the predicted class. Intervals of trained regimes are over runs and images. A control has one
    run, and its interval is over images alone: it says nothing of other trainings or other random weights.

    Returns:
        control, detector, salience, source, measure, variant, region, level, and the attributes of ``Interval``. Beside
        the measures' variants stand "accuracy", "auc" and "change" of the scores, the last against the clean image, and
        level "all", the mean over all transformations. ``note`` says why there is no value or no interval.
    """
    trained = replace(experiment, sources=experiment.in_set)
    families = [known_family(experiment), untrained_family(experiment)]
    if any(one.regime == "shuffled_labels" for one in experiment.controlled):
        families.append(replace(trained, regimes=["shuffled_labels"], runs=1))
    cases = ((family, rows) for family in families for rows in _rows(replace(family, runs=1), family))
    found = [part for case in cases for part in _over_images(*case)]
    found += [part for rows in _rows(trained, trained) for part in _summaries(trained, rows)]
    whole = pd.concat(found, ignore_index=True).rename(columns={"regime": "control"})
    whole["note"] = np.where(whole["mean"].isna(), whole.apply(_reason, axis=1), whole["note"])
    return whole[["control", *whole.columns.drop("control")]]


def headlines(table: pd.DataFrame, method: str, source: str, levels: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Of ``table``, the headlines of every measure on one source: known maps and those of one salience method.

    Args:
        table: of ``table``.
        method, source: of the rows wanted.
        levels: measure -> level of its headlines, where another is wanted: ``{"noise": 0.25}``.

    Returns:
        The rows of ``table`` in the order of measures, with the quantity's name as ``row``.
    """
    modules = {name: plugins.load("measure", name) for name in set(table["measure"]) & set(plugins.names("measure"))}
    wanted = []
    for name, module in sorted(modules.items(), key=lambda item: item[1].LETTER):
        for headline in module.HEADLINES:
            level = selection.chosen_level(headline, name, levels)
            title = f"({module.LETTER}) {headline.title.format(level=level)}"
            at = level if isinstance(level, str) else f"{level:g}"
            if headline.controls:
                wanted.append((name, headline.variant, headline.region, at, title))
    keys = ["measure", "variant", "region", "level"]
    wanted = pd.DataFrame(wanted, columns=[*keys, "row"])
    return wanted.merge(table[table["salience"].isin([KNOWN, method]) & (table["source"] == source)], on=keys)


def extremes(shown: pd.DataFrame, regimes: Sequence[str]) -> pd.DataFrame:
    """The controls with the least and the largest value of every quantity of ``headlines``, all that come as close.

    Returns:
        detector, quantity, floor and ceiling as text, and the value of every trained regime.
    """
    found = []
    for (detector, row), own in shown.groupby(["detector", "row"], sort=False):
        means = own.set_index("control")["mean"]
        trained = {label(regime): means.get(regime) for regime in regimes}
        means = means.drop(regimes, errors="ignore").dropna()
        ends = {"floor": means.min(), "ceiling": means.max()}
        told = {name: f"{end:z.2f}: {_close(means, end)}" for name, end in ends.items()} if len(means) else {}
        found.append({"detector": detector, "quantity": row, **told, **trained})
    return pd.DataFrame(found)


def _close(means: pd.Series, value: float) -> str:
    return ", ".join(label(name) for name in means.index[np.abs(means - value) < 0.005])


def label(control: str) -> str:
    """What pages call a control, or a regime beside it."""
    return LABELS.get(control) or plugins.load("regime", control).LABEL


def cascade(experiment: Experiment) -> pd.DataFrame:
    """What randomising run 0 of every regime from the top does to its maps: means, with intervals over images alone.

    Returns:
        The columns of ``table``, with the trained regime as ``regime``; ``level`` counts randomised layers.
    """
    files = [path for detector in experiment.detectors for path in cascade_files(experiment, detector)]
    return pd.concat(_over_images(experiment, disk.read_rows(files)), ignore_index=True)


def layers(experiment: Experiment, detector: str) -> list[str]:
    """The layers that the cascade randomises, from the top."""
    return disk.settings_of(cascade_files(experiment, detector)[0])["layers"]


def marks(
    table: pd.DataFrame, measure: str, names: Sequence[str], column: str | None = None, **kept: str
) -> pd.DataFrame:
    """What controls reach in a measure, mean over the in-set sources: reference lines for ``figures.intervals``.

    Args:
        table: of ``table``.
        measure: its name.
        names: of the controls.
        column: what panels go by, where each panel has lines of its own.
        kept: values of other columns, for example ``variant="ssim"``.

    Returns:
        detector, ``column``, label, value.
    """
    own = table[(table["measure"] == measure) & table["control"].isin(names)]
    for name, value in kept.items():
        own = own[own[name] == value]
    by = ["detector", *([column] if column else []), "control"]
    means = own.groupby(by, sort=False)["mean"].mean().rename("value").dropna().reset_index()
    return means.assign(label=means.pop("control").map(LABELS))


_BY = ["detector", "regime", "salience", "source", "measure", "variant", "region", "level"]


def _rows(once: Experiment, paired: Experiment) -> Iterator[pd.DataFrame]:
    """Tidy rows of one measure after the other; pairs of runs from ``paired``, everything else from ``once``."""
    known = once.regimes == [KNOWN]
    shown = partial(by_control, methods=once.methods) if known else lambda rows: rows
    if not known:  # the scores beside known maps are another detector's
        scores = once.scores().assign(salience="", level="")
        yield scores
        yield statistics.accuracies(scores)
    for name in plugins.names("measure"):
        module = plugins.load("measure", name)
        if name in once.measures:
            yield from _changed(once, name, shown)
        elif hasattr(module, name):
            yield shown(_pairs(paired, name)).assign(level="")
        elif once.has_rows(name):
            yield shown(once.rows(name)).assign(level="")


def _changed(experiment: Experiment, measure: str, shown: Callable) -> Iterator[pd.DataFrame]:
    """Similarity of maps at every level, and what scores say, level "0" clean; of transformations also the mean."""
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
    """Scores of changed images minus those of the same images clean, level "0"."""
    keys = ["detector", "regime", "run", "image", "salience", "region"]
    rows = scores.astype(dict.fromkeys(set(keys) - {"run"}, str))
    clean = rows.loc[rows["level"] == "0", [*keys, "value"]]
    both = rows[rows["level"] != "0"].merge(clean, on=keys, suffixes=("", "_clean"))
    value = both["value"] - both.pop("value_clean")
    return both.assign(value=value, variant="change")


def _pairs(experiment: Experiment, measure: str) -> pd.DataFrame:
    """Rows of pairs of runs; of a single run one empty value, so that a table can say why there is none."""
    if experiment.runs > 1:
        return experiment.pairs(measure)
    rows = experiment.rows("entropy").query("variant == 'spatial'")
    return rows.assign(measure=measure, variant="ssim", value=np.nan)


def _over_images(experiment: Experiment, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Summaries of one run, live or not, with intervals over images alone; a pair of runs counts as one, too."""
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
