"""Model selection: accuracy, AUC and the five measures of every detector and regime, side by side.

Groups of detectors are compared. Regimes are one way to make groups; ``e2m.audit`` has another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import ModuleType

import numpy as np
import pandas as pd

from e2m import plugins, statistics
from e2m.experiment.inputs import replace
from e2m.experiment.results import Experiment
from e2m.types import MASKER, Headline, InputError

ARROWS = {"higher": "↑", "lower": "↓", "": ""}

OF_SCORES = ("accuracy", "accuracy change", "change")
"""Variants of headlines that compare scores, not maps."""

ABOUT = ("row", "letter", "published", "better")
"""The columns that name a quantity: in words, by its measure's letter, and as its headline says."""


def headlines(
    experiment: Experiment,
    scores: pd.DataFrame,
    method: str,
    levels: Mapping[str, float] | None = None,
    also: Collection[str] = (),
) -> pd.DataFrame:
    """Means and intervals of the forest plot: one row a quantity, detector and regime.

    Args:
        experiment: the experiment whose results are read.
        scores: ``experiment.scores()``.
        method: salience method of the measures.
        levels: measure -> level that replaces the one of its headlines: ``{"noise": 0.25}``.
        also: measures whose headlines are taken although no forest plot shows them.

    Returns:
        row (the quantity, with an arrow towards better), letter (of its measure), published (``Headline``), better,
        detector, regime and the attributes of ``Interval``.
    """
    rows = selected(experiment, scores, method, levels, also)
    means = statistics.summarise(rows, [*ABOUT, "detector", "regime"], **experiment.resampling)
    if not (against := experiment.against):
        return _in_order(means)
    aucs = statistics.summarise_auc(scores, ["detector", "regime"], against, **experiment.resampling)
    return _in_order(pd.concat([means, _named(aucs)], ignore_index=True)[means.columns])


def means(experiment: Experiment, levels: Mapping[str, float] | None = None) -> pd.DataFrame:
    """``headlines`` with every salience method: of both groups, and of all regimes that guided detectors are beside.

    Args:
        experiment, levels: as in ``headlines``.

    Returns:
        The columns of ``headlines``, and salience. No regime of the controls has maskers.
    """
    parts = []
    for method in methods(experiment):
        family = with_method(experiment, method)
        others = experiment.comparators if method in experiment.methods else {}
        alone = [
            replace(family, regimes=[name], runs=runs) for name, runs in others.items() if name not in family.regimes
        ]
        parts += [headlines(one, one.scores(), method, levels).assign(salience=method) for one in (family, *alone)]
    return pd.concat(parts, ignore_index=True)


def differences(experiment: Experiment, method: str, levels: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Guided minus every regime that it is compared with, for every row of ``headlines``.

    These regimes are the traditional one and, beside it, those trained with wrong maps (``Profile.comparators``); each
    enters with all its runs. With the masker, they are those that have maskers.

    Args:
        experiment, method, levels: as in ``headlines``.

    Returns:
        As ``between``, without the column ``regime``.
    """
    family = with_method(experiment, method)
    runs = {family.roles["guided"]: family.runs}
    runs |= {regime: family.runs for regime in family.regimes if regime == family.traditional}
    if method in experiment.methods:
        runs |= experiment.comparators
    guided, *others = runs
    pairs = [(guided, other) for other in others]
    return between(family, method, runs, pairs, levels).drop(columns="regime")


def between(
    experiment: Experiment,
    method: str,
    runs: Mapping[str, int],
    pairs: Sequence[tuple[str, str]],
    levels: Mapping[str, float] | None = None,
    also: Collection[str] = (),
) -> pd.DataFrame:
    """The first group of every pair minus the second, for every row of ``headlines``.

    Args:
        experiment, method, levels, also: as in ``headlines``.
        runs: group -> its number of runs.
        pairs: names of the groups that are compared; a group is a regime of the experiment.

    Returns:
        regime and against (the first and the second group), the columns of ``headlines`` that name a quantity,
        detector, salience, and those of ``statistics.compare``. p values are corrected over all quantities of a pair.
    """
    alone = [replace(experiment, regimes=[regime], runs=count) for regime, count in runs.items()]
    scores = [one.scores() for one in alone]
    rows = [selected(one, of_one, method, levels, also) for one, of_one in zip(alone, scores, strict=True)]
    joined = pd.concat(rows, ignore_index=True), pd.concat(scores, ignore_index=True)
    parts = [_apart(experiment, *joined, *pair).assign(regime=pair[0], against=pair[1]) for pair in pairs]
    table = pd.concat(parts, ignore_index=True).assign(salience=method)
    return table[["regime", "against", *table.columns.drop(["regime", "against"])]]


def methods(experiment: Experiment) -> list[str]:
    """The salience methods of a comparison: those of the profile, and the masker where both groups have maskers."""
    roles = set(experiment.roles.values())
    masked = roles <= set((experiment.masker or {}).get("regimes", ())) and MASKER not in experiment.methods
    return [*experiment.methods, MASKER] if masked else experiment.methods


def with_method(experiment: Experiment, method: str) -> Experiment:
    """The experiment with one salience method; with the masker, restricted to regimes and runs that have one.

    Raises:
        InputError: a method that the experiment lacks.
    """
    check_method(method, methods(experiment))
    regimes = experiment.regimes_of(method)
    runs = max(len(experiment.runs_of(regime, method)) for regime in regimes)
    return replace(experiment, methods=[method], regimes=regimes, runs=runs)


def _apart(experiment: Experiment, rows: pd.DataFrame, scores: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    settings = {"first": first, "second": second, **experiment.resampling}
    both = statistics.compare(rows, [*ABOUT, "detector"], **settings)
    if against := experiment.against:
        aucs = _named(statistics.compare_auc(scores, ["detector"], against, **settings))
        both = pd.concat([both, aucs[list(both.columns)]], ignore_index=True)
    return _in_order(both.assign(p_holm=statistics.holm(both["p"])))


def selected(
    experiment: Experiment,
    scores: pd.DataFrame,
    method: str | Sequence[str],
    levels: Mapping[str, float] | None = None,
    also: Collection[str] = (),
) -> pd.DataFrame:
    """Tidy rows of the forest plot's quantities on the in-set sources; the columns ``ABOUT`` name the quantity.

    The quantities are the accuracy and the headlines that every measure declares (``e2m.types.Headline``). Arguments as
    in ``headlines``; ``method`` may be several. Their column is ``salience``, "" where no map enters.

    Raises:
        InputError: a method that the experiment lacks.
    """
    wanted = [method] if isinstance(method, str) else list(method)
    for name in wanted:
        check_method(name, experiment.methods)
    parts = [(("accuracy ↑", "", False, "higher"), statistics.accuracies(scores))]
    in_set = replace(experiment, sources=experiment.in_set)
    for name, module in measures(experiment):
        shown = [headline for headline in module.HEADLINES if headline.forest or name in also]
        rows = in_set.rows(name) if shown else None
        for headline in shown:
            level = chosen_level(headline, name, levels, rows)
            about = (_title(module.LETTER, headline, level), module.LETTER, headline.published, headline.better)
            parts.append((about, _rows_of(headline, rows, level)))
    texts = ("detector", "regime", "salience", "source", "image")
    columns = [*ABOUT, *texts, "run", "run_other", "value", "least", "most"]
    chosen = [
        rows[rows["source"].isin(in_set.sources) & rows["salience"].isin([*wanted, ""])]
        .assign(**dict(zip(ABOUT, about, strict=True)))
        .reindex(columns=columns)
        .astype(dict.fromkeys(texts, str))
        for about, rows in parts
    ]
    return pd.concat(chosen, ignore_index=True)


def check_method(method: str, known: Collection[str]) -> None:
    """Raise ``InputError`` for a salience method that is none of the known ones."""
    if method not in known:
        raise InputError(f"the method {method!r} arrived, of which there are no maps; choose from {', '.join(known)}")


def _title(letter: str, headline: Headline, level: float | str) -> str:
    words = f"({letter}) {headline.title.format(level=level)}" + (", as published" if headline.published else "")
    return f"{words} {ARROWS[headline.better]}".rstrip()


def of_scores() -> set[str]:
    """Quantities (``row``) that compare scores of changed images, so that the size of the maps does not matter."""
    modules = [plugins.load("measure", name) for name in plugins.names("measure")]
    return {
        _title(module.LETTER, headline, headline.level)
        for module in modules
        for headline in module.HEADLINES
        if headline.variant in OF_SCORES
    }


def measures(experiment: Experiment) -> Iterator[tuple[str, ModuleType]]:
    """Name and module of every measure that the experiment has rows of, in the order of their letters."""
    modules = {name: plugins.load("measure", name) for name in plugins.names("measure")}
    for name, module in sorted(modules.items(), key=lambda item: item[1].LETTER):
        if experiment.has_rows(name):
            yield name, module


def chosen_level(
    headline: Headline, measure: str, levels: Mapping[str, float] | None, rows: pd.DataFrame
) -> float | str:
    """The level that a headline shows, and that the rows hold.

    Args:
        headline: whose level is wanted, if it is a number.
        measure: its measure.
        levels: measure -> level wanted instead.
        rows: of the measure.

    Raises:
        InputError: a level that the rows do not hold.
    """
    if isinstance(headline.level, str):
        return headline.level
    return float(existing(rows, "level", (levels or {}).get(measure, headline.level)))


def existing(rows: pd.DataFrame, column: str, wanted: str | float) -> str:
    """The text of a column of tidy rows that is wanted: a level, a salience method, a source.

    Numbers are compared as numbers, so that 10 and 10.0 both find the level "10".

    Raises:
        InputError: the rows do not hold it, and the message lists what they hold.
    """
    known = [text for text in rows[column].dropna().astype(str).unique() if text]
    for text in known:
        if text == str(wanted) or (not isinstance(wanted, str) and _number(text) == wanted):
            return text
    measures = [name for name in rows["measure"].dropna().astype(str).unique() if name] if "measure" in rows else []
    about = f"{measures[0]}: " if len(measures) == 1 else ""
    named = {"salience": "salience method"}.get(column, column)
    raise InputError(
        f"{about}the results hold no {named} {wanted if isinstance(wanted, str) else format(wanted, 'g')}; "
        f"choose from {', '.join(known) or 'none'}, or add it to the profile"
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _rows_of(headline: Headline, rows: pd.DataFrame, level: float | str) -> pd.DataFrame:
    derived = {"accuracy": statistics.accuracies, "accuracy change": statistics.accuracy_changes}
    if headline.variant in derived:
        rows = derived[headline.variant](rows)
    chosen = rows["variant"] == headline.variant
    if "region" in rows:
        chosen &= rows["region"] == headline.region
    if headline.target:
        chosen &= rows["target"] == headline.target
    if headline.right:
        # Wrong decisions count as missing, so that a comparison without any right one keeps its row.
        rows = rows.assign(value=rows["value"].where(rows["correct"].astype(bool)))
    if level == "":
        return rows[chosen]
    return statistics.over_levels(rows[chosen]) if level == "all" else at_level(rows[chosen], level)


def equal_accuracy(experiment: Experiment, scores: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Whether the AUCs of both regimes are equal up to ``margin``: ``statistics.equal_auc`` of each detector."""
    settings = {**experiment.pair, **experiment.resampling}
    table = statistics.equal_auc(scores, ["detector"], experiment.against, margin, **settings)
    return table.rename(columns={"difference": "AUC difference", "low_90": "90 % low", "high_90": "90 % high"})


def at_level(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Rows of one level.

    Raises:
        InputError: a level that the rows do not hold.
    """
    return rows[rows["level"].astype(str) == existing(rows, "level", level)]


def _named(aucs: pd.DataFrame) -> pd.DataFrame:
    return aucs.assign(row="AUC, " + aucs["source"] + " ↑", letter="", published=False, better="higher")


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy first, then AUCs, then the measures by letter."""
    rank = table["row"].map(lambda row: 0 if row.startswith("accuracy") else 1 if row.startswith("AUC") else 2)
    return table.assign(rank=rank).sort_values("rank", kind="stable", ignore_index=True).drop(columns="rank")
