"""The average map of every run beside the average human map, after the figure of CYBORG (Boyd et al., WACV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from e2m import plugins
from e2m.arrays.correlation import correlation
from e2m.arrays.maps import dead
from e2m.experiment.inputs import replace
from e2m.experiment.results import Experiment
from e2m.pages import selection


@dataclass(frozen=True)
class Averages:
    """The average maps of one regime.

    Attributes:
        title: of the regime, and of the images if they are of one class.
        runs: (R, h, w) in [0, 1], the mean over images of each run's min-max normalised maps; NaN if all are dead.
        human: (h, w) in [0, 1], the mean human map.
        images: number of images of the average.
        missing: dead maps left out, over all runs.
    """

    title: str
    runs: np.ndarray
    human: np.ndarray
    images: int
    missing: int

    @property
    def mean(self) -> np.ndarray:
        """(h, w), the mean over runs."""
        return self.runs.mean(axis=0)

    def agreement(self, maps: np.ndarray) -> np.ndarray:
        """(n,) in [-1, 1], Pearson's correlation over cells of maps (n, h, w) with the average human map.

        NaN where one of the two is dead.
        """
        human = np.broadcast_to(self.human, maps.shape)
        silent = dead(maps) | dead(human)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(silent, np.nan, correlation(maps, human))


def averages(
    experiment: Experiment,
    detector: str,
    method: str,
    sources: Sequence[str] | None = None,
    title: str = "{regime}",
) -> list[Averages]:
    """The average maps of every regime of an experiment, controls included.

    Args:
        experiment: an experiment whose detectors are explained.
        detector: name of the network.
        method: salience method.
        sources: sources of the images; None for the entire test set.
        title: of the rows.

    Returns:
        One entry a regime. The human map is the mean of those images that have one.
    """
    selection.check_method(method, experiment.methods)
    sources = list(sources or experiment.sources)
    named = [source for source in sources if source in experiment.annotated]
    number_of_runs = dict.fromkeys(experiment.regimes, experiment.runs) | experiment.controls
    rows, human = [], None
    for regime, runs in number_of_runs.items():
        alone = replace(experiment, regimes=[regime], runs=runs)
        stack = np.concatenate(
            [alone.maps(detector, regime, method, source)["salience"].to_numpy() for source in sources], axis=1
        )
        if human is None:
            human = mean_human(experiment, named, stack.shape[2:])
        label = title.format(regime=plugins.load("regime", regime).LABEL)
        silent = dead(stack.reshape(-1, *stack.shape[2:])).reshape(stack.shape[:2])
        rows.append(Averages(label, mean_maps(stack, silent), human, stack.shape[1], int(silent.sum())))
    return rows


def mean_maps(maps: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """(R, h, w), the mean over images of maps (R, N, h, w) that are not dead, (R, N) bool; NaN if all are."""
    alive = np.where(silent[..., None, None], 0, maps).sum(axis=1)
    numbers = (~silent).sum(axis=1)[:, None, None]
    return np.divide(alive, numbers, out=np.full(alive.shape, np.nan), where=numbers > 0)


def mean_human(experiment: Experiment, sources: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
    """(h, w) in [0, 1], the mean of the human maps of some sources' test images; NaN if none has a map."""
    samples = experiment.samples
    names = samples.loc[samples["source"].isin(sources) & (samples["salience"] != ""), "image"]
    return np.nanmean(experiment.human(names, shape), axis=0) if len(names) else np.full(shape, np.nan)


def table(rows: Sequence[Averages]) -> pd.DataFrame:
    """One row a regime: agreement of its runs' average maps with the average human map, and with each other.

    Columns: regime, runs, mean, lowest and highest correlation with the human map; ``between runs``, the mean
    correlation of all pairs of runs (NaN for one run); images; missing, the dead maps left out.
    """
    lines = []
    for row in rows:
        agreement, flat = row.agreement(row.runs), row.runs.reshape(len(row.runs), -1)
        pairs = np.corrcoef(flat)[np.triu_indices(len(flat), 1)] if len(flat) > 1 else np.array([np.nan])
        about = {"regime": row.title, "runs": len(flat), "mean": agreement.mean()}
        about |= {"lowest": agreement.min(), "highest": agreement.max(), "between runs": pairs.mean()}
        lines.append(about | {"images": row.images, "missing": row.missing})
    return pd.DataFrame(lines)
