"""What stands beside detectors on the pages of measures: people, a map that never reads the image, coarse maps."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from e2m import plugins
from e2m.arrays.map_files import read_maps
from e2m.datasets import load_dataset
from e2m.experiment.results import Experiment, bounded
from e2m.measures.degradation import LEAST_SHARE, blurred_share
from e2m.measures.transformations import interpolation_ceiling


def human_rows(experiment: Experiment, measure: str, shape: tuple[int, int]) -> pd.DataFrame:
    """Tidy rows of a measure of maps on human salience, reduced to the size of the detectors' maps.

    Sources without human maps have no rows. The regime and the salience are called "human", the run 0; the rows
    stand beside those of every detector.
    """
    samples = experiment.samples[experiment.samples["salience"] != ""]
    if samples.empty:
        return pd.DataFrame()
    values = plugins.load("measure", measure).measure(read_maps(samples["salience"], shape=shape))
    return _without_detector(experiment, samples, values, measure, "human")


def fixed_rows(experiment: Experiment, measure: str, shape: tuple[int, int]) -> pd.DataFrame:
    """Tidy rows of a measure beside human maps for one map that never reads the image.

    It is the mean human map of the training images. The regime is called "fixed", the salience "human"; the rows
    stand beside those of every detector.
    """
    train = load_dataset(experiment.dataset, split="train", **experiment.options)
    files = train.loc[train["salience"] != "", "salience"]
    mean = np.nanmean(read_maps(files, shape=shape), axis=0, dtype=np.float64).clip(0, 1)
    samples = experiment.samples[experiment.samples["source"].isin(experiment.annotated)]
    fixed = np.broadcast_to(mean, (len(samples), *shape))
    values = plugins.load("measure", measure).with_human(fixed, experiment.human(samples["image"], shape))
    return _without_detector(experiment, samples, values, measure, "fixed")


def annotator_rows(experiment: Experiment, measure: str, shape: tuple[int, int]) -> pd.DataFrame:
    """Tidy rows of a measure beside human maps for other annotators instead of the detector: how far people agree.

    The map of each further annotator of an image is compared with that of the first, with which detectors are
    compared; the value is the mean over annotators. The regime is called "annotator", the salience "human"; the
    rows stand beside those of every detector. Images with one annotation have no rows.
    """
    samples = experiment.samples[experiment.samples["salience"] != ""]
    if "annotations" not in samples or samples["annotations"].map(len).max() < 2:
        return pd.DataFrame()
    others = samples.assign(other=samples["annotations"].str[1:]).explode("other", ignore_index=True)
    others = others[others["other"].notna()]
    maps = (read_maps(others[column], shape=shape) for column in ("other", "salience"))
    rows = _without_detector(
        experiment, others, plugins.load("measure", measure).with_human(*maps), measure, "annotator"
    )
    keys = [name for name in rows if name != "value"]
    return rows.groupby(keys, sort=False)["value"].mean().reset_index()


def ceiling(experiment: Experiment, method: str, images: int = 30) -> pd.DataFrame:
    """What a perfectly equivariant detector would reach in measure (c) with maps as coarse as these, as a table.

    Taken on the in-set maps of run 0 of every regime, so many images of each source.
    """

    names = {"ssim": "whole", "ssim_valid": "valid"}
    tables = []
    for detector in experiment.detectors:
        cases = product(experiment.regimes, experiment.in_set)
        maps = [experiment.maps(detector, regime, method, source)["salience"][0, :images] for regime, source in cases]
        table = interpolation_ceiling(np.concatenate(maps), experiment.side).rename(columns={"transformation": "level"})
        table["variant"] = table["variant"].map({value: name for name, value in names.items()})
        means = table.groupby(["variant", "level"], sort=False)["value"].mean().rename("mean").reset_index()
        tables.append(
            means.assign(detector=detector, regime="ceiling", salience=method, low=np.nan, high=np.nan, missing=0)
        )
    return pd.concat(tables, ignore_index=True)


def fine_maps(experiment: Experiment, max_sigma: float, images: int = 30) -> pd.DataFrame:
    """Maps too fine to blur anything in measure (e), where an unchanged decision says nothing about the detector.

    Counted for run 0 of every regime, on so many live maps of each in-set source.

    Returns:
        One row a detector, regime and salience method: detector, regime, salience, maps, too fine.
    """
    side, rows = experiment.side, []
    for names, maps in experiment.each():
        if names["source"] in experiment.in_set:
            shares = blurred_share(maps["salience"][0, :images].to_numpy(), (side, side), max_sigma=max_sigma)
            shares = shares[np.isfinite(shares)]
            rows.append({**names, "maps": len(shares), "too fine": int((shares < LEAST_SHARE).sum())})
    keys = ["detector", "regime", "salience"]
    return pd.DataFrame(rows).groupby(keys, sort=False)[["maps", "too fine"]].sum().reset_index()


def _without_detector(
    experiment: Experiment, samples: pd.DataFrame, values: dict, measure: str, regime: str
) -> pd.DataFrame:
    """Tidy rows of human maps, run 0, once for every detector, whose rows they stand beside."""
    about = samples[["image", "label", "source"]].assign(measure=measure, region="")
    about = about.assign(regime=regime, salience="human", run=0)
    rows = pd.concat([about.assign(variant=name, value=value) for name, value in values.items()], ignore_index=True)
    return bounded(rows, measure).merge(pd.DataFrame({"detector": experiment.detectors}), how="cross")
