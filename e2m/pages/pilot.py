"""The pilot: few runs on few images, from which every measure gets as many images of every source as it needs.

Where a profile has ``images_per_source: auto``, the workflow trains the first runs and explains few images with them.
For every quantity of the forest plot, it estimates what the difference between the regimes varies with. The table of
the pilot then fixes the numbers of images of all jobs (``Inputs.images_of``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from e2m import plugins
from e2m.detectors import load_detector
from e2m.experiment.explain import explain
from e2m.experiment.inputs import PILOT
from e2m.experiment.profile import AUTO, ModelKey, Pilot
from e2m.experiment.results import Experiment
from e2m.pages import selection
from e2m.statistics.components import MOST_RUNS, Components, Draw, of_auc_rows, of_rows
from e2m.store import disk, paths
from e2m.types import InputError

SCORES = "scores"
"""The measure of quantities of scores alone: accuracy and AUC."""

SHOWN = 5
"""Lines of one message."""


def explain_one(experiment: Experiment, key: ModelKey, progress: bool = True) -> None:
    """Explain the pilot's images with one trained detector."""
    detector = load_detector(key.detector, experiment.checkpoint(key), device=experiment.device)
    explain(experiment.piloted, key, progress=progress, detector=detector)


def missing(experiment: Experiment) -> list[ModelKey]:
    """The detectors of the pilot without results."""
    pilot = experiment.piloted
    return [key for key in pilot.trained if not all(file.is_file() for file in pilot.results(key))]


def write(experiment: Experiment) -> Path:
    """Estimate from the pilot's results how many images are enough, and write the table that fixes them.

    Raises:
        InputError: results of the pilot are missing; a measure without values enough to estimate a variance; or a
            ``half_width`` that no number of images reaches: the message says how many runs would.
    """
    path = paths.table(experiment.profile, PILOT)
    draws = draws_of(experiment)
    table = needed(estimates(experiment.piloted), draws, experiment.runs, Pilot(**experiment.pilot))
    disk.write_table(path, pd.concat([table, _fixed(experiment, draws)], ignore_index=True))
    return path


def _fixed(experiment: Experiment, draws: Mapping[str, Draw]) -> pd.DataFrame:
    """Rows of the measures whose numbers of images are settings: they are explained unchanged as well."""
    counts = {name: settings["images_per_source"] for name, settings in experiment.measures.items()}
    rows = [
        {"detector": "", "measure": name, "row": "", "source": source, "images": min(count, draw.images)}
        for name, count in counts.items()
        for source, draw in draws.items()
        if count != AUTO
    ]
    return pd.DataFrame(rows, columns=["detector", "measure", "row", "source", "images"])


def draws_of(experiment: Experiment) -> dict[str, Draw]:
    """Source -> the images that there are, in the order of the draw."""
    samples = experiment.drawn.sort_values("draw")
    return {source: Draw.of(rows["subject"]) for source, rows in samples.groupby("source", sort=False)}


Estimate = tuple[str, str, str, tuple[str, ...], Components | InputError]
"""Detector, measure, quantity, the sources of each class of its images, and what its difference varies with."""


def estimates(experiment: Experiment) -> Iterator[Estimate]:
    """What the difference between the regimes varies with, for every quantity of the forest plot and every source.

    Args:
        experiment: whose results are read, with its first salience method.
    """
    scores, everywhere = experiment.scores(), replace(experiment, in_set=experiment.sources)
    rows = selection.selected(everywhere, scores, experiment.methods[0])
    measure = {plugins.load("measure", name).LETTER: name for name in plugins.names("measure")} | {"": SCORES}
    options = {**experiment.pair, "clusters": experiment.subjects}
    keys = ["detector", "letter", "row", "source"]
    for (detector, letter, row, source), components in of_rows(rows, keys, **options):
        yield detector, measure[letter], row, (source,), components
    for detector, source, authentic, components in of_auc_rows(scores, experiment.against, **options):
        yield detector, SCORES, f"AUC, {source} ↑", (authentic, source), components


def needed(estimated: Iterator[Estimate], draws: Mapping[str, Draw], runs: int, pilot: Pilot) -> pd.DataFrame:
    """As many images, per quantity and source, as are as good as all there are, up to the pilot's share.

    Args:
        estimated: as ``estimates`` yields them.
        draws: source -> the images that there are.
        runs: of each regime, in the study.
        pilot: the share, and the half widths that are asked for.

    Returns:
        One row a detector, quantity and source of its images: detector, measure, row, source; images (enough), there
        (all that there are); image_share of the squared standard error with these, half_width and half_width_all, those
        expected of the 95 % interval with these images and with all, from ``runs`` runs. Quantities without values
        enough have no row.

    Raises:
        InputError: as ``write``.
    """
    rows, small, short = [], {}, []
    for detector, measure, row, sources, components in estimated:
        if isinstance(components, InputError):
            small[measure, sources[-1]] = f"{measure}, {sources[-1]}: {row}: {components}"
            continue
        of_sources = [draws[source] for source in sources]
        counts = components.images(runs, of_sources, pilot.share)
        if (width := pilot.half_width.get(measure)) is not None:
            enough = components.images_for(width, runs, of_sources, counts)
            if enough is None:
                short.append(f"{measure}, {sources[-1]}: {_unreachable(components, row, width, runs, of_sources)}")
            counts = enough or counts
        everything = [draw.images for draw in of_sources]
        about = {
            "image_share": components.error(runs, counts, of_sources)[1],
            "half_width": components.half_width(runs, counts, of_sources),
            "half_width_all": components.half_width(runs, everything, of_sources),
            "runs": runs,
        }
        named = {"detector": detector, "measure": measure, "row": row}
        for source, count, there in zip(sources, counts, everything, strict=True):
            rows.append({**named, "source": source, "images": count, "there": there, **about})
    known = {(row["measure"], row["source"]) for row in rows}
    lines = short or [line for key, line in small.items() if key not in known]
    if lines:
        raise InputError("\n".join([*lines[:SHOWN], *([f"... and {len(lines) - SHOWN} more"] * (len(lines) > SHOWN))]))
    return pd.DataFrame(rows)


def report(path: Path) -> Iterator[str]:
    """The table of a pilot in words, a line for each measure and source: how many images it takes, and why."""
    for row in decided(disk.read_table(path)).itertuples():
        yield (
            f"{row.measure}, {row.source}: {row.images:,} of {row.there:,} images; most for {row.detector}, {row.row}, "
            f"where images then bring {row.image_share:.0%} of the squared error"
        )


def decided(table: pd.DataFrame) -> pd.DataFrame:
    """How many images the pilot gives each measure of each source; which quantity and detector ask for most of them."""
    table = table[table["row"] != ""].astype({"there": int})
    most = table.loc[table.groupby(["measure", "source"], sort=False)["images"].idxmax()]
    return most[["measure", "source", "images", "there", "row", "detector", "image_share", "half_width"]]


def _unreachable(components: Components, row: str, width: float, runs: int, draws: Sequence[Draw]) -> str:
    everything = [draw.images for draw in draws]
    best, enough = components.half_width(runs, everything, draws), components.runs_for(width, draws)
    arrived = f"{row}: half_width {width:g} arrived, and {runs} runs on all {max(everything)} images give {best:.2g}"
    if enough:
        return f"{arrived}; {enough} runs of each regime would reach it"
    return f"{arrived}; even {MOST_RUNS} runs would not reach it: more images are needed as well"
