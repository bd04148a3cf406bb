"""The weight of human salience in CYBORG's loss: ``python -m studies.alpha``, part of `make study`.

The loss is ``alpha * CE + (1 - alpha) * MSE(CAM, human)``. Alpha 1 is cross-entropy and alpha 0.5 is CYBORG: for these
two the study reads the detectors of the profile. It trains the others with the settings of CYBORG, and explains all of
them on the test images. No public text at hand states the values that CYBORG's authors tried: these are ours.

Writes the table ``alpha`` with ``e2m.store.studies``: one row for each alpha and quantity, with the attributes of
``e2m.statistics.Interval``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from e2m import plugins, statistics
from e2m.detectors import load_detector
from e2m.experiment import train
from e2m.experiment.results import Experiment, ModelKey, bounded
from e2m.regimes import guided_loss
from e2m.salience.engine import explain
from e2m.store import paths, studies

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
RUNS = 3

GUIDED = "cyborg"
OWN = {0.5: GUIDED, 1.0: "cross_entropy"}
"""Alphas whose detectors the profile trains, and their regimes."""

MEASURES = {"entropy": ("measure", "spatial"), "alignment": ("with_human", "correlation")}
"""Measure -> its function and variant, on the in-set images."""

QUANTITIES = {
    "auc": "AUC, {source}",
    "entropy": "(a) spatial entropy",
    "alignment": "(h) correlation with human maps",
    "stability": "(d) SSIM between runs",
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="profile whose data and settings are used [demo]")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"detectors of each alpha [{RUNS}]")
    parser.add_argument("--method", default="CAM", help="salience method: that of the loss, or another [CAM]")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the table [data/studies]")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs {options.runs} arrived; a whole number from 1 up fits")
    experiment = Experiment.load(options.profile)
    experiment = replace(experiment, runs=min(options.runs, experiment.runs))
    about = {"command": "make study", "profile": experiment.profile, "data": experiment.data_hash()}
    about |= {"method": options.method, "runs": experiment.runs}
    print(studies.save("alpha", table(experiment, options.method), options.folder, **about))


def table(experiment: Experiment, method: str) -> pd.DataFrame:
    """Every quantity for every alpha: alpha, quantity, and the attributes of ``Interval``."""
    work = [(alpha, run) for alpha in ALPHAS for run in range(experiment.runs)]
    rows = pd.concat([rows_of(experiment, method, *one) for one in tqdm(work, "alphas", unit=" detectors")])
    scores, measured = rows[rows["measure"] == "score"], rows[rows["measure"].isin(MEASURES)]
    aucs = statistics.summarise_auc(scores, ["alpha"], experiment.against, **experiment.resampling)
    aucs["quantity"] = [QUANTITIES["auc"].format(source=source) for source in aucs.pop("source")]
    means = statistics.summarise(measured, ["alpha", "measure"], **experiment.resampling)
    parts = [aucs, means.assign(quantity=means.pop("measure").map(QUANTITIES))]
    if experiment.runs > 1:
        alike = statistics.summarise(between_runs(rows), ["alpha"], **experiment.resampling)
        parts.append(alike.assign(quantity=QUANTITIES["stability"]))
    both = pd.concat(parts, ignore_index=True)
    return both[["alpha", "quantity", *both.columns.drop(["alpha", "quantity"])]]


def rows_of(experiment: Experiment, method: str, alpha: float, run: int) -> pd.DataFrame:
    """Tidy rows of one detector: scores of all test images, measures of the in-set ones, and their maps (``map``).

    Values of images that cannot be read are NaN.
    """
    detector = load_detector(experiment.detectors[0], trained(experiment, alpha, run), device=experiment.device)
    parts = []
    for source, samples in experiment.samples.groupby("source", sort=False):
        stacks = [(images, unreadable) for _, images, unreadable in experiment.batches(samples, detector)]
        images, unreadable = map(np.concatenate, zip(*stacks, strict=True))
        explained = explain(detector, images, method, batch_size=experiment.batch_size)
        explained.blank(unreadable)
        about = samples[["image", "label", "source"]].assign(alpha=alpha, run=run)
        parts.append(about.assign(measure="score", variant="score", value=explained.scores.astype(float)))
        if source in experiment.in_set:
            values = measured(experiment, samples, explained.maps)
            parts += [
                bounded(about.assign(measure=name, variant=MEASURES[name][1], value=one), name) for name, one in values
            ]
            parts.append(about.assign(measure="map", map=list(explained.maps)))
    return pd.concat(parts, ignore_index=True)


def measured(experiment: Experiment, samples: pd.DataFrame, maps: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Values (N,) of each measure of maps (N, h, w); human maps are those of the samples, if they have any."""
    human = experiment.human(samples["image"], maps.shape[1:])
    for name, (function, variant) in MEASURES.items():
        if function == "measure" or samples["source"].iloc[0] in experiment.annotated:
            arguments = [maps] if function == "measure" else [maps, human]
            yield name, getattr(plugins.load("measure", name), function)(*arguments)[variant]


def between_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of SSIM between the maps of every pair of runs, for every alpha and source."""
    stability = plugins.load("measure", "stability").stability
    parts = []
    for (alpha, _), group in rows[rows["measure"] == "map"].groupby(["alpha", "source"], sort=False):
        wide = group.pivot(index="run", columns="image", values="map")
        pairs = stability(np.stack([np.stack(maps) for maps in wide.to_numpy()]))
        pairs = bounded(pairs.assign(variant="ssim"), "stability")
        parts.append(pairs.assign(alpha=alpha, image=wide.columns.to_numpy()[pairs["image"].to_numpy()]))
    return pd.concat(parts, ignore_index=True)


def trained(experiment: Experiment, alpha: float, run: int) -> Path:
    """The checkpoint of one detector, which is trained if it does not exist yet."""
    network = experiment.detectors[0]
    if alpha in OWN:
        return experiment.checkpoint(ModelKey(network, OWN[alpha], run))
    path = paths.results(experiment.profile) / "studies" / "alpha" / f"alpha-{alpha:g}-run-{run}.pt"
    variant = partial(guided_loss, alpha=alpha), path
    return train.train(experiment, ModelKey(network, GUIDED, run), progress=False, variant=variant)[1]


if __name__ == "__main__":
    main()
