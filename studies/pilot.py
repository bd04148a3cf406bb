"""Whether a pilot foretells how many images are enough: ``python -m studies.pilot``.

Two tables go to ``data/studies``. ``pilot`` simulates studies of known truth: a pilot of 3 runs and 200 images of each
decides how many of 10,000 images the ten runs take, and the interval with these is compared with the truth and with
the interval on all images. ``halving`` takes half of the runs and half of the images of a finished profile as the pilot
of the other half and of the whole, and says what the profile ``paper`` would take if its detectors varied as much. Two
minutes on one core.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from e2m import statistics
from e2m.experiment.cost import CLEAN
from e2m.experiment.inputs import Inputs
from e2m.experiment.results import Experiment
from e2m.pages import pilot, plan, selection
from e2m.statistics.components import Components, Draw, Part, of_auc_difference, of_auc_rows, of_difference, of_rows
from e2m.statistics.intervals import interval, sums_of
from e2m.store import studies
from e2m.types import InputError

RUNS, PILOT_RUNS, PILOT_IMAGES = 10, 3, 200
THERE = {"difference": 10_000, "pairs": 2_000, "AUC difference": 2_000}
"""Images that there are: fewer where simulations are slow."""

SHARE = 0.1
REPLICATIONS = 400
COMPARED = 40
"""Replications in which the interval on all images is computed as well."""

RESAMPLES = 200
DEVIATIONS = {  # of runs, images of both regimes, images of each, residuals
    "runs dominate": (0.5, 1.0, 0.5, 1.0),
    "balanced": (0.1, 1.0, 0.5, 1.0),
    "images dominate": (0.02, 1.0, 1.0, 0.5),
    "residuals dominate": (0.05, 0.5, 0.1, 2.0),
}
SETTINGS = [
    *(("difference", setting) for setting in DEVIATIONS),
    ("pairs", "runs dominate"),
    ("AUC difference", "balanced"),
]
PAIRS = np.array(list(combinations(range(RUNS), 2)))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="finished profile that is halved [demo]")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--workers", type=int, help="processes [one a core]")
    options = parser.parse_args(arguments)
    about = {"command": "python -m studies.pilot", "profile": options.profile}
    simulated = calibration(options.replications, workers=options.workers)
    studies.save("pilot", simulated, **about, replications=options.replications)
    print(simulated.round(3).to_string())
    experiment = Experiment.load(options.profile)
    halved = pd.concat([halving(experiment), paper(experiment)], ignore_index=True)
    studies.save("halving", halved, **about)
    print(halved.round(3).to_string())


# Simulations


def calibration(replications: int = REPLICATIONS, seed: int = 0, workers: int | None = None) -> pd.DataFrame:
    """One row a statistic and setting; the same seed gives the same rows.

    Columns: statistic, setting, there (images there are), images (median taken), least and most (5 and 95 % of pilots),
    coverage of the 95 % interval, and over all images (``coverage_all``, of fewer replications); ratio, its mean width
    divided by that over all images, and ratio_most, which 95 % of pilots keep; replications.
    """
    with ProcessPoolExecutor(workers) as pool:
        return pd.DataFrame(pool.map(partial(_row, replications, seed), *zip(*SETTINGS, strict=True)))


def _row(replications: int, seed: int, statistic: str, setting: str) -> dict:
    generator = np.random.default_rng([seed, *statistic.encode(), *setting.encode()])
    taken, held, ratios, held_by_all = [], [], [], []
    for number in range(replications):
        there, tables = _study(generator, statistic, setting)
        count = _enough(statistic, tables, there)
        taken.append(count)
        low, high = _ends(statistic, [table[:, : count * _classes(statistic)] for table in tables], number)
        held.append(low <= 0 <= high)
        if number < COMPARED:
            ends = _ends(statistic, tables, number)
            held_by_all.append(ends[0] <= 0 <= ends[1])
            ratios.append((high - low) / (ends[1] - ends[0]))
    least, middle, most = np.quantile(taken, [0.05, 0.5, 0.95])
    return {
        **{"statistic": statistic, "setting": setting, "there": there},
        **{"images": middle, "least": least, "most": most},
        **{"coverage": np.mean(held), "coverage_all": np.mean(held_by_all)},
        **{"ratio": np.mean(ratios), "ratio_most": np.quantile(ratios, 0.95), "replications": replications},
    }


def _classes(statistic: str) -> int:
    """Classes of images, which alternate in a table."""
    return 2 if statistic == "AUC difference" else 1


def _study(generator: np.random.Generator, statistic: str, setting: str) -> tuple[int, list[np.ndarray]]:
    """Images that there are of a class, and a table of each regime, (R, N) or (P, N); the true difference is 0."""
    run, both, each, residual = DEVIATIONS[setting]
    there = THERE[statistic]
    images = there * _classes(statistic)
    shared = both * generator.normal(size=images)
    of_runs = run * generator.normal(size=(2, RUNS))
    rows = len(PAIRS) if statistic == "pairs" else RUNS
    effects_of_runs = of_runs[:, PAIRS].sum(axis=2) if statistic == "pairs" else of_runs
    tables = []
    for effects in effects_of_runs:
        table = residual * generator.normal(size=(rows, images)) + shared + each * generator.normal(size=images)
        separated = 1.5 + effects if statistic == "AUC difference" else effects
        table += separated[:, None] * (np.arange(images) % 2 if statistic == "AUC difference" else 1)
        tables.append(table)
    return there, tables


def _enough(statistic: str, tables: list[np.ndarray], there: int) -> int:
    """As many images of a class as the first runs on the first images of this very study say."""
    first = (PAIRS < PILOT_RUNS).all(axis=1) if statistic == "pairs" else np.arange(RUNS) < PILOT_RUNS
    few = [table[first, : PILOT_IMAGES * _classes(statistic)] for table in tables]
    draw = Draw.of(np.arange(there))
    if statistic == "AUC difference":
        components = of_auc_difference(*few, np.arange(few[0].shape[1]) % 2 == 1)
        return max(components.images(RUNS, [draw] * 2, SHARE))
    components = of_difference(*few, paired=statistic == "pairs")
    return components.images(RUNS, [draw], SHARE)[0]


def _ends(statistic: str, tables: list[np.ndarray], seed: int) -> tuple[float, float]:
    if statistic == "AUC difference":
        synthetic = np.arange(tables[0].shape[1]) % 2 == 1
        ours = statistics.auc_difference_interval(*tables, synthetic, resamples=RESAMPLES, seed=seed)
    elif statistic == "pairs":
        ours = interval(tables, sums_of, None, RESAMPLES, seed, 0.95, pairs=[PAIRS, PAIRS])
    else:
        ours = statistics.difference_interval(*tables, resamples=RESAMPLES, seed=seed)
    return ours.low, ours.high


# Halves of a finished profile


def halving(experiment: Experiment) -> pd.DataFrame:
    """Half the width of intervals as half of the runs and images foretell it, and as it is; a row a quantity and part.

    Both halves foretell the other half and the whole. Columns: kind ("halving"), row (the quantity), pilot and part
    ("first half", "second half", "whole"), foretold, observed.
    """
    scores = experiment.scores()
    everywhere = replace(experiment, in_set=experiment.sources)
    rows = selection.selected(everywhere, scores, experiment.methods[0])
    half = experiment.runs // 2
    ranks = rows.groupby(["row", "source"], sort=False)["image"].transform(partial(_second_half, experiment))
    of_scores = scores.groupby("source", sort=False)["image"].transform(partial(_second_half, experiment))
    rows_of_parts = []
    for later in (False, True):
        names = ["second half", "first half"] if later else ["first half", "second half"]
        parts = {names[0]: later, names[1]: not later, "whole": None}
        chosen = {
            name: (_part(rows, ranks, half, side), _part(scores, of_scores, half, side)) for name, side in parts.items()
        }
        foretold = _components(experiment, *chosen.pop(names[0]))
        for name, (of_part, scores_of_part) in chosen.items():
            runs = experiment.runs if name == "whole" else half
            for row, width, draws in _observed(experiment, of_part, scores_of_part):
                if isinstance(foretold.get(row), Components) and np.isfinite(width):
                    counts = [draw.images for draw in draws]
                    expected = foretold[row].half_width(runs, counts, draws)
                    about = {"kind": "halving", "row": row, "pilot": names[0], "part": name}
                    rows_of_parts.append({**about, "foretold": expected, "observed": width})
    return pd.DataFrame(rows_of_parts)


def _second_half(experiment: Experiment, images: pd.Series) -> pd.Series:
    """Whether an image belongs to the second half of the images of its group, by the order of the draw."""
    order = experiment.samples.set_index("image")["draw"].reindex(images.unique()).rank()
    return images.map(order > len(order) / 2)


def _part(rows: pd.DataFrame, second: pd.Series, half: int, later: bool | None) -> pd.DataFrame:
    """The rows of one half of the runs and of the images, or all of them."""
    if later is None:
        return rows
    runs = [rows[name].isna() | ((rows[name] >= half) == later) for name in ("run", "run_other") if name in rows]
    return rows[np.logical_and.reduce([*runs, second == later])]


def _components(experiment: Experiment, rows: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Components | InputError]:
    options = {**experiment.pair, "clusters": experiment.subjects}
    means = {row: components for (row,), components in of_rows(rows, ["row"], **options)}
    aucs = of_auc_rows(scores, experiment.against, **options)
    return means | {f"AUC, {source} ↑": components for _, source, _, components in aucs}


def _observed(
    experiment: Experiment, rows: pd.DataFrame, scores: pd.DataFrame
) -> Iterator[tuple[str, float, list[Draw]]]:
    """Quantity, half the width of its interval, and the images that it is over, of each class."""
    settings = {**experiment.pair, **experiment.resampling}
    people = experiment.subjects
    for one in statistics.compare(rows, ["row"], **settings).itertuples():
        images = rows.loc[rows["row"] == one.row, "image"].unique()
        yield one.row, (one.high - one.low) / 2, [Draw.of(people[images])]
    for one in statistics.compare_auc(scores, ["detector"], experiment.against, **settings).itertuples():
        classes = [experiment.against[one.source], one.source]
        images = [scores.loc[scores["source"] == source, "image"].unique() for source in classes]
        yield f"AUC, {one.source} ↑", (one.high - one.low) / 2, [Draw.of(people[part]) for part in images]


# The paper's study, if its detectors varied as these do


def paper(experiment: Experiment) -> pd.DataFrame:
    """As many images of 10,000 as the published study's measures would need if differences varied as this profile's do.

    Every image counts as one of another person. Of a measure, the quantity and source that need most decide. Columns:
    kind ("paper"), row (the measure, and the whole), images, there, passes, passes_all; and for each quantity kind
    ("quantity"), row, measure, least and images (the source that needs fewest, and most), there.
    """
    published = Inputs.load("paper")
    there = published.images_per_source
    draw = Draw.of(np.arange(there))
    asked: list[dict] = []
    for _, measure, row, sources, components in pilot.estimates(experiment):
        if isinstance(components, Components):
            independent = replace(components, parts=tuple(map(_of_images, components.parts)))
            count = max(independent.images(published.runs, [draw] * len(sources), SHARE))
            kind = "AUC" if row.startswith("AUC") else row
            asked.append({"measure": measure, "row": kind, "images": count})
    needed = pd.DataFrame(asked)
    most = needed.groupby("measure", sort=False)["images"].max().to_dict()
    full = plan.counts(published, {})
    clean = max(most.values())
    few = {(source, name): clean if name == CLEAN else most[name] for source, name in full}
    keys = published.trained
    rows = [{"row": measure, "images": count, "there": there} for measure, count in most.items()]
    rows.append({"row": "all", "images": clean, "there": there})
    for row in rows:
        counted = {row["row"]} if row["row"] in published.measures else {CLEAN, *(most if row["row"] == "all" else ())}
        for column, images in (("passes", few), ("passes_all", full)):
            row[column] = plan.passes(published, {names: images[names] for names in full if names[1] in counted}, keys)
    quantities = needed.groupby(["measure", "row"], sort=False)["images"].agg(least="min", images="max").reset_index()
    both = [pd.DataFrame(rows).assign(kind="paper"), quantities.assign(kind="quantity", there=there)]
    return pd.concat(both, ignore_index=True)


def _of_images(part: Part) -> Part:
    """The part if every image is one of another person."""
    return Part(0.0, part.cluster + part.image, 0.0, part.residual_cluster + part.residual_image)


if __name__ == "__main__":
    main()
