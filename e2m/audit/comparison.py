"""What an audit says: quantities of every group, differences of every two groups, controls, and the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from e2m import plugins, statistics
from e2m.arrays.images import unreadable
from e2m.audit import galleries, report
from e2m.audit.audit import MEASURES, Audit
from e2m.audit.check import Finding
from e2m.audit.report import Report, Shown, Verdict
from e2m.datasets import folder
from e2m.pages import answer, claims, selection
from e2m.pages.controls import LABELS
from e2m.pages.figures import spelled
from e2m.store import disk, provenance

LEVELS = {"noise": 0.1, "degradation": 10.0}
"""Levels of the quantities."""

ALSO = ("alignment", "localisation")
"""Measures that need human maps or true regions, shown where there are some; they decide nothing."""

EVERY = "all sources"
"""The source of an AUC of all synthetic images against all authentic ones, which decides."""

_EQUAL = ("regime", "against", "source", "verdict", "difference", "low_90", "high_90", "margin", "p", "p_interval")


def of_group(audit: Audit, group: str) -> Audit:
    """The audit of one group."""
    return replace(audit, regimes=[group], runs=len(audit.group(group).runs))


def means(audit: Audit) -> pd.DataFrame:
    """Every quantity of every group with its interval: ``selection.headlines``; several sources also together."""
    parts = []
    for alone in (of_group(audit, group) for group in audit.regimes):
        scores = alone.scores()
        parts.append(selection.headlines(alone, scores, audit.methods[0], LEVELS, ALSO))
        if alone.against and len(audit.sources) > 2:
            by = ["detector", "regime"]
            aucs = statistics.summarise_auc(_pooled(scores), by, "authentic", **alone.resampling)
            about = {"row": f"AUC, {EVERY} ↑", "letter": "", "published": False, "better": "higher"}
            parts.append(aucs.assign(**about).drop(columns="source"))
    table = pd.concat(parts, ignore_index=True)
    rank = table["letter"].where(table["letter"] != "", table["row"].str.startswith("AUC").map({True: "1", False: "0"}))
    return table.iloc[np.argsort(rank.to_numpy(str), kind="stable")].reset_index(drop=True)


def equal(audit: Audit) -> pd.DataFrame:
    """Whether the AUCs of every two groups are equal up to the margin, on the images of all sources together.

    Returns:
        regime and against (the groups), and the columns of ``statistics.equal_auc``; no rows of groups without scores
        of both classes, or if there is one group.
    """
    parts = []
    for first, second in audit.comparisons:
        both = replace(audit, regimes=[first, second])
        if not both.against:
            continue
        rows = _pooled(pd.concat([of_group(audit, group).scores() for group in both.regimes], ignore_index=True))
        settings = {"first": first, "second": second, **both.resampling}
        table = statistics.equal_auc(rows, ["detector"], "authentic", audit.margin, **settings)
        parts.append(table.assign(regime=first, against=second, source=EVERY))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_EQUAL)


def differences(audit: Audit, method: str | None = None) -> pd.DataFrame:
    """Every quantity of every two groups with maps of a method, by default the first: ``selection.between``; no rows if
    there is one group."""
    parts, method = [], method or audit.methods[0]
    for pair in audit.comparisons:
        if not set(pair) <= set(audit.regimes_of(method)):
            continue
        both = replace(audit, regimes=list(pair))
        runs = {group: len(audit.group(group).runs) for group in pair}
        parts.append(selection.between(both, method, runs, [pair], LEVELS, ALSO))
    columns = ["regime", "against", *selection.ABOUT, "difference", "p_interval"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def other_methods(audit: Audit) -> pd.DataFrame:
    """What ``means`` says of maps, with the salience methods that decide nothing; their names are in ``method``."""
    parts = []
    for method in audit.methods[1:]:
        for alone in (of_group(audit, group) for group in audit.regimes_of(method)):
            table = selection.headlines(alone, alone.scores(), method, LEVELS, ALSO)
            of_maps = (table["letter"] != "") & ~table["row"].isin(selection.of_scores())
            parts.append(table[of_maps].assign(method=str(spelled(method))))
    if not parts:
        return pd.DataFrame(columns=["method", *selection.ABOUT, "regime", "mean"])
    return pd.concat(parts, ignore_index=True).sort_values(["letter", "row"], kind="stable", ignore_index=True)


def undecided(audit: Audit, differences: pd.DataFrame) -> list[str]:
    """Quantities that decide nothing because they depend on the size of maps, and the groups' maps differ in size."""
    rows = dict.fromkeys(differences["row"])
    return [row for row in rows if row not in selection.of_scores()] if len(set(shapes(audit).values())) > 1 else []


def shapes(audit: Audit) -> dict[str, tuple[int, int]]:
    """Group -> cells of its maps."""
    method, source = audit.methods[0], audit.sources[0]
    maps = {group: audit.maps(audit.detectors[0], group, method, source) for group in audit.regimes}
    return {group: (dataset.sizes["y"], dataset.sizes["x"]) for group, dataset in maps.items()}


def controls(audit: Audit) -> pd.DataFrame:
    """The quantities of maps for known maps on these images, at the size of every group's maps.

    Means over images; a control has two runs at most, so that an interval would say nothing about others.

    Returns:
        row, letter, better, regime (the group), control (in words), mean, low, high, images, note; NaN is left out.
    """
    parts = []
    for known in map(audit.known, audit.regimes):
        # Run 0 alone takes measures that change images; the second run is for measures that compare runs.
        for view in (replace(known, runs=1), replace(known, measures={})):
            rows = selection.selected(view, view.scores(), view.methods, LEVELS, ALSO)
            keys = ["row", "letter", "better", "salience"]
            table = rows[rows["salience"] != ""].groupby(keys, sort=False)["value"].agg(mean="mean", images="count")
            parts.append(table.reset_index().assign(regime=known.detectors[0]))
    table = pd.concat(parts, ignore_index=True).drop_duplicates(["row", "regime", "salience"])
    table = table.assign(
        control=table.pop("salience").map(LABELS), low=np.nan, high=np.nan, note="known maps: no interval"
    ).dropna(subset="mean")
    return table.sort_values(["letter", "row"], kind="stable", ignore_index=True)


WITHOUT_CONTROL = (
    "This does not say what made them different. Detectors that learned from wrong maps, such as one fixed map for all "
    "images, can win the same measures. If one group was trained with maps, train a few detectors with wrong ones too, "
    "and compare them as a third group: one group is preferred only if it beats every other."
)
"""What a preference by measures leaves open."""


def verdict(audit: Audit, means: pd.DataFrame, equal: pd.DataFrame, differences: pd.DataFrame) -> Verdict:
    """The answer: of one group its report card in sentences, of several what ``answer.RULE_BETWEEN`` says.

    Of more than two groups, one is preferred if it is preferred to every other.
    """
    if not audit.comparisons:
        return Verdict(None, [*_card(means), *_cautions(audit, differences)])
    answers = answer.between(equal, differences, undecided(audit, differences))
    wins = {pair: said.preferred for pair, said in answers.items()}
    best = [group for group in audit.regimes if all(won == group for pair, won in wins.items() if group in pair)]
    reasons = [sentence for said in answers.values() for sentence in (said.accuracy, said.measures)]
    because = " ".join(said.verdict for said in answers.values())
    open_ones = [pair for pair, won in wins.items() if won is None]
    needed = " ".join(what_decides(audit, *pair, equal, differences) for pair in open_ones)
    reasons += _by_other_methods(audit, equal)
    reasons += _cautions(audit, differences)
    if len(audit.regimes) == 2 and any(said.by_measures for said in answers.values()):
        reasons.append(WITHOUT_CONTROL)
    return Verdict(best[0] if best else None, reasons, needed, answer.RULE_BETWEEN, because)


def _by_other_methods(audit: Audit, equal: pd.DataFrame) -> Iterator[str]:
    """What the rule would say with the maps of another salience method, in sentences."""
    for method in audit.methods[1:]:
        table = differences(audit, method)
        answers = answer.between(equal, table, undecided(audit, table)) if len(table) else {}
        for (first, second), said in answers.items():
            groups = f"{first} and {second} with {spelled(method)} instead of {spelled(audit.methods[0])}"
            yield f"{groups}: {said.verdict} {said.measures}"


def what_decides(audit: Audit, first: str, second: str, equal: pd.DataFrame, differences: pd.DataFrame) -> str:
    """About how many more runs or images would decide between two groups, from the variances found, in a sentence."""
    pair = f"{first} and {second}: "
    tested = equal[(equal["regime"] == first) & (equal["against"] == second)]
    if tested.empty:
        if maps := [group for group in _of_maps(audit) if group in (first, second)]:
            return f"{pair}the network of {' and that of '.join(maps)}, whose scores say how accurate it is."
        return f"{pair}images of both classes."
    test = tested.iloc[0]
    p = answer.corrected(equal, differences, undecided(audit, differences))
    if test["verdict"] != "equal":
        expected = "equal" if abs(test["difference"]) < test["margin"] else "different"
        return f"{pair}for the accuracy, {_decides(audit, test, expected, 0.9, first, second)}."
    rows = differences[(differences["regime"] == first) & (differences["against"] == second) & p[1].notna()]
    if rows.empty:
        return f"{pair}no quantity that the rule reads can be compared."
    closest = rows.loc[rows["p_interval"].idxmin()]
    level = 1 - answer.SIGNIFICANT / int(p[0].notna().sum() + p[1].notna().sum())
    name = closest["row"].rstrip(" ↑↓")
    return f"{pair}for what is closest to a difference, {name}, {_decides(audit, closest, '', level, first, second)}."


def _decides(audit: Audit, row: pd.Series, expected: str, level: float, first: str, second: str) -> str:
    """``claims.decides`` for two groups, whose numbers of runs may differ."""
    runs = [len(audit.group(group).runs) for group in (first, second)]
    if not np.isfinite(row["run_variance"]):
        return f"more runs or images, for an interval ({row['note']})"
    if min(runs) < 2:
        return (
            "more checkpoints: one run says nothing about other trainings, whatever the images (from five runs of each "
            "on, intervals are of use)"
        )
    # As many runs of each would give the same error.
    row = pd.concat([row, pd.Series({"level": level, "regimes": 2})])
    row["runs"] = round(2 / sum(1 / number for number in runs))
    number = claims.decides(expected, row)
    return number if number.startswith("more") else f"about {number}"


def _card(means: pd.DataFrame) -> Iterator[str]:
    """The report card of one group, in sentences."""
    for row in means[means["letter"] == ""].itertuples():
        reach = f", 95 % interval {row.low:.3f} to {row.high:.3f}" if np.isfinite(row.low) else f" ({row.note})"
        name = row.row.rstrip(" ↑↓")
        yield f"{name[0].upper()}{name[1:]}: {row.mean:.3f}{reach}."


def _cautions(audit: Audit, differences: pd.DataFrame) -> Iterator[str]:
    """What limits the answer, in sentences."""
    runs = {group: len(audit.group(group).runs) for group in audit.regimes}
    if alone := [group for group, number in runs.items() if number == 1]:
        yield (
            f"{' and '.join(alone)} {'has' if len(alone) == 1 else 'have'} one run: intervals are over images alone, "
            "and say nothing about other trainings of the same kind; stability cannot be measured."
        )
    if maps := _of_maps(audit):
        yield (
            f"Of {' and '.join(maps)} there are maps alone, without a network: there is no accuracy, and noise, moves "
            "and blur, which change images, cannot be measured."
        )
    if len(set(audit.samples["label"])) == 1:
        yield f"All images are {audit.samples['label'].iloc[0]}: there is no AUC, and accuracy alone can mislead."
    if undecided(audit, differences):
        sizes = ", ".join(f"{group} {height}x{width}" for group, (height, width) in shapes(audit).items())
        yield f"Maps differ in size ({sizes}): measures that compare maps are shown, and do not decide."
    for failure in audit.failures:
        yield f"{failure.group} goes without {failure.weights or 'its one run'}, whose work failed: {failure.why}"


def _of_maps(audit: Audit) -> list[str]:
    """Groups of maps that other software made."""
    return [group for group in audit.regimes if audit.of_maps(group)]


def _pooled(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of two sources, the authentic images and the synthetic ones."""
    return scores.assign(source=scores["label"].astype(str))


# The report


def counts(audit: Audit) -> pd.DataFrame:
    """Maps and scores by group, run and source: images, dead maps, missing scores, unreadable images."""
    lines, suspects = [], set()
    for names, maps in audit.each():
        if names["salience"] != audit.methods[0]:
            continue
        missing = ~np.isfinite(maps["score"].to_numpy())
        if audit.of_maps(names["regime"]):
            missing[:] = False  # a map that is missing is counted as dead, and there are no scores
        suspects |= set(maps["image"].to_numpy()[missing.all(axis=0)])
        for run, name in enumerate(audit.group(names["regime"]).runs):
            dead = int(maps["dead"].to_numpy()[run].sum())
            about = {"group": names["regime"], "run": name, "source": names["source"], "images": maps.sizes["image"]}
            lines.append(about | {"dead": dead, "missing": int(missing[run].sum())})
    samples = audit.samples[audit.samples["image"].isin(suspects)]
    broken = {source: len(unreadable(rows)) for source, rows in samples.groupby("source")}
    table = pd.DataFrame(lines)
    return table.assign(unreadable=table["source"].map(broken).fillna(0).astype(int))


def images(audit: Audit) -> pd.DataFrame:
    """Every image in every group: ``galleries.of_images``."""
    measured = {name: audit.rows(name) for name in (*MEASURES, "stability") if audit.has_rows(name)}
    method = audit.methods[0]
    measured = {name: rows[rows["salience"].isin([method, ""])] for name, rows in measured.items()}
    maps = audit.rows("entropy").query("variant == 'spatial' and salience == @method")
    return galleries.of_images(audit.scores(), audit.subjects, maps, measured, LEVELS["noise"])


def look(audit: Audit, names: Iterable[str]) -> Iterator[Shown]:
    """Images with the maps and scores of all runs of all groups."""
    method, samples = audit.methods[0], audit.samples.set_index("image")
    for name in names:
        source = samples.loc[name, "source"]
        maps, scores = {}, {}
        for group in audit.regimes:
            of_image = audit.maps(audit.detectors[0], group, method, source).sel(image=name)
            maps[group], scores[group] = of_image["salience"].to_numpy(), of_image["score"].to_numpy()
        yield Shown(name, audit.images([name])[0], maps, scores, dict(_references(audit, samples.loc[name], maps)))


def _references(audit: Audit, about: pd.Series, maps: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    if about["salience"]:
        yield "people", audit.human([about.name], next(iter(maps.values())).shape[1:])[0]
    if about.get("region"):
        yield "true region", audit.regions([about.name])[0].astype(np.float32)


def reported(
    audit: Audit, means: pd.DataFrame, equal: pd.DataFrame, differences: pd.DataFrame, controls: pd.DataFrame
) -> Report:
    """The report of an audit, for ``report.write``: the tables of the functions here."""
    every = images(audit)
    p_equal, p_measures = answer.corrected(equal, differences, undecided(audit, differences))
    named = {"regime": "group"}
    differences = differences.rename(columns=named).assign(p_corrected=p_measures)
    left = [("a checkpoint", 1, f"{one.weights}: {one.why}") for one in audit.failures]
    left += [(line, None, "") for line in audit.listed.attrs.get("left_out", [])]
    return Report(
        title=f"Audit of {Path(audit.arguments['images']).name}",
        groups=[_group(audit, group) for group in audit.regimes],
        method="maps as given" if len(_of_maps(audit)) == len(audit.regimes) else str(spelled(audit.methods[0])),
        verdict=verdict(audit, means, equal, differences.rename(columns={"group": "regime"})),
        equal=equal.rename(columns=named).assign(p_corrected=p_equal),
        means=means.rename(columns=named),
        differences=differences,
        controls=controls.rename(columns=named),
        other_methods=other_methods(audit).rename(columns=named),
        found=folder.found(audit.samples),
        left_out=pd.DataFrame(left, columns=["what", "files", "why"]),
        counts=counts(audit),
        findings=[Finding(*finding) for finding in audit.findings],
        images=every,
        galleries=galleries.galleries(every, LEVELS["noise"]),
        look=partial(look, audit),
        scores=(of_group(audit, group).scores() for group in audit.regimes),
        rows=_rows(audit),
        provenance=provenance.entries(**about(audit)),
    )


def about(audit: Audit) -> dict[str, str]:
    """What the results of an audit come from."""
    asked, weights = audit.arguments, [audit.made_of(key, "")["weights_sha256"] for key in audit.trained]
    few = f"{asked['images_per_source']} images of a source, {asked['changed_per_source']} of them changed"
    return {
        "images": f"{asked['images']}, {audit.data_hash()}",
        "weights": disk.short_hash(weights),
        "settings": f"{', '.join(audit.methods)}; at most {few}; margin {audit.margin:g}",
    }


def _group(audit: Audit, name: str) -> report.Group:
    group = audit.group(name)
    dataset = audit.maps(audit.detectors[0], name, audit.methods[0], audit.sources[0])
    about = {"layer": dataset.attrs["layer"], "maps": f"{dataset.sizes['y']}x{dataset.sizes['x']}"}
    about |= {field: str(value) for field, value in group.known.items()}
    return report.Group(name, group.network, list(group.runs), about)


def _rows(audit: Audit) -> Iterator[pd.DataFrame]:
    """Tidy rows of all measures, group by group."""
    for alone in (of_group(audit, group) for group in audit.regimes):
        for measure in plugins.names("measure"):
            if alone.has_rows(measure):
                yield alone.rows(measure)
