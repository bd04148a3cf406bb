"""The job that writes the controls of a detector: known maps, untrained networks, and a cascade of randomised layers.

``e2m.experiment.explain.explain`` explains known maps like any other method, and untrained networks like trained ones.
``e2m.experiment.families`` describes both.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from e2m.arrays.correlation import rank_correlation
from e2m.arrays.maps import quantise
from e2m.arrays.ssim import ssim
from e2m.detectors import load_detector
from e2m.experiment import explain
from e2m.experiment.families import RUNS, cascade_files, known_family, untrained_family
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import ModelKey
from e2m.experiment.settings import reads
from e2m.measures.entropy import spatial_entropy
from e2m.salience.engine import Explainer, in_parts
from e2m.store import disk
from e2m.types import Detector, Explanation

SEED = 1_000_000
"""Added to the run to seed random weights. Trainings are seeded by the run, so none starts from these weights."""

STEPS = 8
"""Largest number of steps of a cascade; the first randomises the head alone, the last all layers."""


@reads(
    Inputs,
    *("dataset", "dataset_options", "in_set", "images_per_source", "image_size", "batch_size"),
    *("regimes", "traditional", "methods", "measures", "share_frozen", "device", "precision"),
)
def explain_controls(experiment: Inputs, name: str) -> None:
    """Make the controls of a detector on the in-set sources, and write the files ``results(experiment, name)``.

    Scores beside known maps are those of run 0 of the traditional regime. The cascade randomises run 0 of every regime.
    """
    experiment = replace(experiment, masker=None)  # controls have no maskers and depend on no setting of theirs
    trained = experiment.detector(name, experiment.traditional, 0)
    for run in range(RUNS):
        for family, detector in (
            (known_family(experiment), trained),
            (untrained_family(experiment), untrained(experiment, name, run)),
        ):
            key = ModelKey(name, family.regimes[0], run)
            explain.explain(_of_run(family, run), key, progress=False, detector=detector, seed=run)
    for regime in experiment.regimes:
        _cascade(experiment, ModelKey(name, regime, 0))


def results(experiment: Inputs, detector: str) -> list[Path]:
    """The files that ``explain_controls`` writes for a detector."""
    files = [
        file
        for family in (known_family(experiment), untrained_family(experiment))
        for key in family.trained
        if key.detector == detector
        for file in _of_run(family, key.run).results(key)
    ]
    return [*files, *cascade_files(experiment, detector)]


def _of_run(family: Inputs, run: int) -> Inputs:
    """The family of one run: only run 0 takes measures that change images."""
    return family if run == 0 else replace(family, measures={})


def untrained(experiment: Inputs, name: str, run: int = 0) -> Detector:
    """An untrained network, with random weights that no training starts from."""
    return load_detector(name, seed=SEED + run, device=experiment.device)


def cascade(detector: Detector, untrained: Detector, counts: Sequence[int]) -> Iterator[Detector]:
    """Copies of a detector whose top layers have the weights of an untrained network, one copy a count.

    This is the cascading randomisation of Adebayo et al. 2018, arXiv 1810.03292.

    Args:
        detector, untrained: the same network with different weights.
        counts: numbers of layers to replace, counted from the top; 0 replaces none.
    """
    names = weighted_layers(detector.model)
    for count in counts:
        model = copy.deepcopy(detector.model)
        for name in (name for layer in names[:count] for name in layer):
            model.get_submodule(name).load_state_dict(untrained.model.get_submodule(name).state_dict())
        yield replace(detector, model=model)


def weighted_layers(model: nn.Module) -> list[list[str]]:
    """Names of the modules that hold weights, last first; a normalisation is grouped with the layer before it."""
    layers = []
    for name, module in model.named_modules():
        weights = list(module.parameters(recurse=False))
        if weights and (not layers or max(weight.ndim for weight in weights) > 1):
            layers.append([name])
        elif weights:
            layers[-1].append(name)
    return layers[::-1]


def steps(layers: int) -> list[int]:
    """Number of randomised layers after each step of a cascade: 0, 1, ... all, in ``STEPS`` steps at most."""
    return [0, *np.unique(np.linspace(1, layers, min(layers, STEPS)).round().astype(int)).tolist()]


def _cascade(experiment: Inputs, key: ModelKey) -> None:
    """Write how the cascade changes the maps of a trained detector, for every in-set source."""
    trained = experiment.detector(key.detector, key.regime, key.run)
    layers = [names[0] for names in weighted_layers(trained.model)]
    counts = steps(len(layers))
    detectors = dict(zip(counts, cascade(trained, untrained(experiment, key.detector), counts), strict=True))
    for source in experiment.in_set:
        alone = replace(experiment, sources=[source])
        samples = replace(alone, images_per_source=alone.fewest([source])).samples
        about = samples[["image", "label", "source"]].assign(measure="cascade", **asdict(key))
        about = about.assign(profile=experiment.profile, dataset=experiment.dataset)
        path = experiment.rows_file(key, "cascade", source)
        made_of = {**asdict(key), "source": source, "measure": "cascade", **alone.made_of(key, source)}
        with disk.writing_rows(path, {"layers": layers}, made_of) as add:
            for frame in _steps(experiment, samples, about, detectors):
                add(frame)


def _steps(
    experiment: Inputs, samples: pd.DataFrame, about: pd.DataFrame, detectors: dict[int, Detector]
) -> Iterator[pd.DataFrame]:
    """Rows that compare every step with the unchanged network; both explain the class that the latter predicts."""
    first = None
    for count, detector in detectors.items():
        predicted = None if first is None else next(iter(first.values())).predicted
        explained = _explained(experiment, detector, samples, predicted)
        first = first or explained
        for method, randomised in explained.items():
            for variant, values in _compared(first[method], randomised).items():
                yield about.assign(salience=method, variant=variant, level=str(count), value=values)


def _explained(
    experiment: Inputs, detector: Detector, samples: pd.DataFrame, classes: np.ndarray | None
) -> dict[str, Explanation]:
    """Clean explanations by method, for the given (N,) classes or for those that the detector predicts."""
    with Explainer(detector, experiment.methods, experiment.precision) as explainer:

        def explained(about: pd.DataFrame, images: np.ndarray, unreadable: np.ndarray) -> dict[str, Explanation]:
            explanations = explainer(images, "predicted" if classes is None else classes[about.index].clip(0))
            for explanation in explanations.values():
                explanation.blank(unreadable)
            return explanations

        parts = list(in_parts(explained, experiment.batches(samples, detector), experiment.batch_size))
    return {method: Explanation.join([part[method] for part in parts]) for method in experiment.methods}


def _compared(trained: Explanation, randomised: Explanation) -> dict[str, np.ndarray]:
    """Similarity of native maps, as in measure (d), and the spatial entropy of the randomised ones."""
    dead = trained.dead | randomised.dead
    similar = ssim(quantise(trained.maps), quantise(randomised.maps), data_range=255)
    return {
        "ssim": np.where(dead, np.nan, similar),
        "rank_correlation": rank_correlation(trained.maps, randomised.maps),
        "spatial": spatial_entropy(randomised.maps),
    }
