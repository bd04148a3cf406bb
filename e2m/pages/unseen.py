"""Measure (b) on sources that training did not see: entropy, distance to the mean in-set map, and AUC."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from e2m import statistics
from e2m.experiment.results import Experiment
from e2m.measures.entropy import spatial_entropy
from e2m.measures.noise import RANGE, distance_to_mean

TITLES = {
    "entropy_change": "change of spatial entropy",
    "distance_to_mean": "distance to the mean in-set map",
    "auc": "AUC against authentic images",
}


def table(experiment: Experiment, method: str) -> pd.DataFrame:
    """Every source compared with the in-set source of its class, and the AUC of synthetic ones, with intervals.

    Args:
        experiment: an experiment with one authentic and one synthetic source in ``in_set``.
        method: the salience method.

    Returns:
        detector, regime, source, salience, variant (a key of ``TITLES``), and the attributes of ``Interval``.
        In-set sources have a distance too: it shows how much their maps scatter.
    """
    compared = [
        row
        for detector, regime in product(experiment.detectors, experiment.regimes)
        for row in _one(experiment, detector, regime, method)
    ]
    aucs = statistics.summarise_auc(
        experiment.scores(), ["detector", "regime"], experiment.against, **experiment.resampling
    ).assign(variant="auc", salience=method)
    return pd.concat([pd.DataFrame(compared), aucs], ignore_index=True).sort_values(
        "variant", key=lambda names: names.map(list(TITLES).index), kind="stable", ignore_index=True
    )


def _one(experiment: Experiment, detector: str, regime: str, method: str):
    maps = {source: experiment.maps(detector, regime, method, source) for source in experiment.sources}
    known = {str(maps[source]["label"][0].item()): source for source in experiment.in_set}
    for source, of_source in maps.items():
        in_set = known[str(of_source["label"][0].item())]
        names = {"detector": detector, "regime": regime, "source": source, "salience": method}
        distance = _distances(of_source["salience"].to_numpy(), maps[in_set]["salience"].to_numpy())
        people = of_source["subject"].to_numpy()
        settings = {"resamples": experiment.resamples}
        scatter = statistics.mean_interval(distance, people, limits=RANGE["distance_to_mean"], **settings)
        yield {**names, "variant": "distance_to_mean", **scatter.as_row()}
        if source not in experiment.in_set:
            both = [_entropies(stack["salience"].to_numpy()) for stack in (maps[in_set], of_source)]
            second = np.repeat([False, True], [part.shape[1] for part in both])
            groups = np.concatenate([maps[in_set]["subject"].to_numpy(), people])
            stacked = np.concatenate(both, axis=1)
            change = statistics.contrast_interval(stacked, second, groups, limits=(0, 1), **settings)
            yield {**names, "variant": "entropy_change", **change.as_row()}


def _distances(maps: np.ndarray, in_set: np.ndarray) -> np.ndarray:
    """(R, N): distance of every map to the mean in-set map of the same run."""
    return np.stack([distance_to_mean(of_run, known) for of_run, known in zip(maps, in_set, strict=True)])


def _entropies(maps: np.ndarray) -> np.ndarray:
    return np.stack([spatial_entropy(of_run) for of_run in maps])
