"""Guidance or regularisation, and interventions with known answers: ``python -m studies.guidance``.

Reads the detectors that `make study` trained and explained, and writes two tables with ``e2m.store.studies``:

* ``guidance``: every headline of ``e2m.pages.selection`` for every regime (``against`` is ""), and CYBORG minus each
  regime that it is compared with (``selection.differences``), for every salience method;
* ``planted``: the expected effect of each intervention on a measure, and whether it occurred
  (``e2m.pages.interventions.judge``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import maximum_filter

from e2m import statistics
from e2m.experiment.results import Experiment, ModelKey
from e2m.measures.degradation import degrade
from e2m.measures.stability import stability
from e2m.measures.transformations import TRANSFORMATIONS
from e2m.pages import selection
from e2m.pages.interventions import judge
from e2m.salience.engine import explain
from e2m.store import disk, studies
from e2m.store.paths import maps as maps_file

METHOD = "CAM"
"""The salience method of the planted differences."""
NOISE = 0.1
MAX_SIGMA = 10.0
LEVELS = {"noise": NOISE, "degradation": MAX_SIGMA}

TRAINED_MOVES = ("flip_left_right", "flip_top_bottom", "rotate_left", "rotate_right")
"""The transformations of measure (c) with which the regime ``pose_augmented`` was trained."""

GROWN = 8
"""Pixels by which a planted patch is grown before it guides blur, because blur fades towards the edge of its map."""

COLLAPSE, STABLE = -0.5, -0.1
"""Changes of accuracy: more than half of all decisions lost, and less than a tenth of them."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="profile whose regimes are compared [demo]")
    parser.add_argument("--patch", default="planted", help="profile of the detectors of a planted patch [planted]")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the tables [data/studies]")
    options = parser.parse_args(arguments)
    experiment, patch = Experiment.load(options.profile), Experiment.load(options.patch)
    trained = [*experiment.trained, *experiment.controlled, *experiment.studied]
    about = {"command": "make study", "profile": experiment.profile, "data": experiment.data_hash()}
    about |= {"network": ", ".join(experiment.detectors)}
    about |= {"weights": experiment.weights_hash(*map(experiment.checkpoint, trained)), "detectors": len(trained)}
    print(studies.save("guidance", guidance(experiment), options.folder, **about))
    print(studies.save("planted", planted(experiment, patch), options.folder, **about))


def guidance(experiment: Experiment) -> pd.DataFrame:
    """Headlines of every regime, and CYBORG minus each regime that it is compared with."""
    parts = []
    for method in experiment.methods:
        for regime in experiment.counts:
            alone = of_regime(experiment, regime)
            means = selection.headlines(alone, alone.scores(), method, LEVELS)
            parts.append(means.assign(salience=method, against=""))
        # With all runs of the study, of which pages show fewer.
        runs = {regime: experiment.counts[regime] for regime in experiment.controls}
        apart = selection.differences(replace(experiment, controls=runs), method, LEVELS)
        parts.append(apart.assign(regime=experiment.roles["guided"]))
    table = pd.concat(parts, ignore_index=True)
    first = ["salience", "detector", "row", "regime", "against"]
    return table[[*first, *(name for name in table if name not in first)]]


def planted(experiment: Experiment, patch: Experiment) -> pd.DataFrame:
    """Every intervention with its expected effect, the observed effect, and a verdict."""
    parts = (
        *focus(experiment),
        *noise(experiment),
        *pose(experiment),
        *labels(experiment),
        *repetition(experiment),
        *patches(patch),
    )
    return pd.concat(parts, ignore_index=True)


def focus(experiment: Experiment) -> Iterator[pd.DataFrame]:
    intervention = "price on the CAM's entropy"
    yield learnt(experiment, "focused", intervention)
    table = apart(experiment, clean_entropy, (experiment.roles["guided"], "focused"), "variant")
    for variant, name in (("spatial", "spatial entropy"), ("grey_level", "grey-level entropy")):
        subset = table[table["variant"] == variant]
        yield judge(subset, intervention, f"(a) {name}", "lower than CYBORG's", "below", 0)


def noise(experiment: Experiment) -> Iterator[pd.DataFrame]:
    intervention, regimes = "noise in training", (experiment.traditional, "noise_augmented")
    yield learnt(experiment, "noise_augmented", intervention)
    maps = apart(experiment, noisy_maps, regimes)
    yield judge(maps, intervention, "(b) SSIM of maps", "higher than without", "above", 0)
    scores = apart(experiment, noisy_scores, regimes)
    yield judge(scores, intervention, "(b) change of the score", "smaller than without", "below", 0)


def pose(experiment: Experiment) -> Iterator[pd.DataFrame]:
    intervention, regimes = "flips and turns in training", (experiment.traditional, "pose_augmented")
    yield learnt(experiment, "pose_augmented", intervention)
    for name, moves in (("flips and turns", TRAINED_MOVES), ("all twelve", tuple(TRANSFORMATIONS))):
        table = apart(experiment, partial(moved_maps, moves=moves), regimes)
        yield judge(table, intervention, f"(c) SSIM of maps, {name}", "higher than without", "above", 0)


def labels(experiment: Experiment) -> Iterator[pd.DataFrame]:
    table = in_set_auc(experiment, "shuffled_labels")
    yield judge(table, "labels shuffled", "AUC", "as by chance: 0.5", "around", 0.5)


def learnt(experiment: Experiment, regime: str, intervention: str) -> pd.DataFrame:
    """Check that a regime learnt anything: a detector that learnt nothing can be steady too."""
    return judge(in_set_auc(experiment, regime), intervention, "AUC", "above chance: it has learnt", "above", 0.5)


def in_set_auc(experiment: Experiment, regime: str) -> pd.DataFrame:
    scores = of_regime(experiment, regime).scores()
    table = statistics.summarise_auc(scores, ["detector"], experiment.authentic, **experiment.resampling)
    return table[table["source"] == experiment.synthetic]


def clean_entropy(alone: Experiment) -> pd.DataFrame:
    rows = alone.rows("entropy")
    return rows[rows["salience"] == METHOD]


def noisy_maps(alone: Experiment) -> pd.DataFrame:
    rows = alone.rows("noise", salience=METHOD).query("variant == 'ssim' and target == 'clean'")
    return selection.at_level(rows, NOISE)


def noisy_scores(alone: Experiment) -> pd.DataFrame:
    return alone.score_changes(selection.at_level(alone.rows("noise"), NOISE)).query("variant == 'score'")


def moved_maps(alone: Experiment, moves: Sequence[str]) -> pd.DataFrame:
    rows = alone.rows("transformations", salience=METHOD).query("variant == 'ssim_valid' and target == 'predicted'")
    return statistics.over_levels(rows[rows["level"].isin(moves)])


def repetition(experiment: Experiment) -> Iterator[pd.DataFrame]:
    """The last run of the traditional regime, trained again from scratch (the rule ``seed_repeated``)."""
    one = ModelKey(experiment.detectors[0], experiment.traditional, experiment.runs - 1)
    equal, similar = [], []
    for method, source in product(experiment.methods, experiment.in_set):
        first, second = (
            disk.read_maps(maps_file(profile, one.detector, one.regime, one.run, method, source))["salience"].to_numpy()
            for profile in (experiment.profile, f"{experiment.profile}-again")
        )
        equal += [np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)]
        similar += stability(np.stack([first, second]))["value"].tolist()
    named = {"share of maps that are equal, bit by bit": equal, "(d) SSIM between the two runs": similar}
    for name, values in named.items():
        yield judge(extremes(one, values), "one seed repeated", name, "exactly 1", "exactly", 1)


def patches(patch: Experiment) -> Iterator[pd.DataFrame]:
    """Detectors of a planted patch, before and after blur of the patch or of the rest of the image."""
    aucs = statistics.summarise_auc(patch.scores(), ["detector"], patch.authentic, **patch.resampling)
    yield judge(aucs, "a patch planted in one class", "AUC", "almost 1: the patch is seen", "above", 0.95)
    expectations = {
        "salient": ("the patch blurred", "collapses: more than half of the decisions lost", "below", COLLAPSE),
        "background": ("all but the patch blurred", "stays: less than a tenth of the decisions lost", "above", STABLE),
    }
    for name, rows in (("true region", by_true_region(patch)), ("own map", by_own_map(patch))):
        table = statistics.summarise(rows, ["detector", "region"], **patch.resampling)
        for region, (intervention, *expected) in expectations.items():
            subset = table[table["region"] == region]
            yield judge(subset, f"{intervention} ({name})", "(e) change of accuracy, planted images", *expected)


def by_own_map(patch: Experiment) -> pd.DataFrame:
    """Tidy rows of decisions won (1) and lost (-1) when the detector's own maps guide the blur, planted images."""
    rows = selection.at_level(patch.rows("degradation", salience=METHOD), MAX_SIGMA)
    return statistics.accuracy_changes(rows[rows["source"] == patch.synthetic])


def by_true_region(patch: Experiment) -> pd.DataFrame:
    """The same with blur guided by the patch itself."""
    samples = patch.samples[patch.samples["source"] == patch.synthetic]
    images = patch.images(samples["image"])
    regions = patch.regions(samples["image"]).astype(np.uint8) * 255
    grown = maximum_filter(regions, size=(1, 2 * GROWN + 1, 2 * GROWN + 1))
    changed = {region: degrade(images, grown, region, MAX_SIGMA) for region in ("salient", "background")}
    parts = []
    for one in patch.trained:
        detector = patch.detector(one.detector, one.regime, one.run)
        before = explain(detector, images, METHOD).predicted
        for region, blurred in changed.items():
            value = explain(detector, blurred, METHOD).predicted.astype(float) - before
            about = {"detector": one.detector, "run": one.run, "region": region}
            parts.append(pd.DataFrame({"image": samples["image"], "value": value}).assign(variant="change", **about))
    return statistics.ranged(pd.concat(parts, ignore_index=True), {"change": (-1, 1)})


def of_regime(experiment: Experiment, regime: str) -> Experiment:
    """The experiment restricted to a regime, with all its runs."""
    return replace(experiment, regimes=[regime], runs=experiment.counts[regime])


def apart(
    experiment: Experiment, rows_of: Callable[[Experiment], pd.DataFrame], regimes: tuple[str, str], *by: str
) -> pd.DataFrame:
    """The second regime minus the first on the in-set sources, all runs of each; ``rows_of`` takes one experiment."""
    in_set = replace(experiment, sources=experiment.in_set)
    rows = pd.concat([rows_of(of_regime(in_set, regime)) for regime in regimes], ignore_index=True)
    settings = {"first": regimes[1], "second": regimes[0], **experiment.resampling}
    return statistics.compare(rows, ["detector", *by], **settings)


def extremes(one: ModelKey, values: list[float]) -> pd.DataFrame:
    """Mean, smallest and largest value of two runs that must not differ; NaN values are counted."""
    alive = np.asarray(values, float)
    alive = alive[np.isfinite(alive)]
    about = {"detector": one.detector, "runs": 2, "images": alive.size, "missing": len(values) - alive.size}
    summary = {"mean": alive.mean(), "low": alive.min(), "high": alive.max()}
    note = "low and high are the smallest and the largest of all values"
    return pd.DataFrame([{**about, **summary, "note": note, "status": statistics.Status.ESTIMATED.value}])


if __name__ == "__main__":
    main()
