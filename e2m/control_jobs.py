"""Making the controls of a detector: maps and rows of salience whose answer is known, and the cascade."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import nn

from e2m import controls, jobs, paths, store
from e2m.detectors import load_detector
from e2m.experiment import Experiment, Trained
from e2m.images import quantise
from e2m.measures.entropy import spatial_entropy
from e2m.salience import Explainer, in_parts
from e2m.similarity import dead, ssim
from e2m.types import Change, Detector, Explanation

SEED = 1_000_000
"""Of random weights, plus the run: no training starts from them, for its seed is its run."""

STEPS = 8
"""Most steps of a cascade; the first randomises the head alone, the last everything."""


def explain(experiment: Experiment, name: str) -> None:
    """Make the controls of a detector on the in-set sources: all of ``controls.results(experiment, name)``.

    Scores beside known maps, and what is randomised, are run 0 of the experiment's first regime, and of every regime.
    """
    torch.set_num_threads(1)
    for source in experiment.in_set:
        _known_maps(experiment, Trained(name, experiment.regimes[0], 0), source)
    untrained = controls.untrained(experiment)
    for run in range(controls.RUNS):
        measured = untrained if run == 0 else replace(untrained, measures={})
        detector = _untrained(experiment, name, run)
        jobs.explain(measured, Trained(name, "random_weights", run), progress=False, detector=detector)
    for regime in experiment.regimes:
        _cascade(experiment, Trained(name, regime, 0))


class Known:
    """Known salience beside the scores of a trained detector: what ``respond`` asks of an explainer.

    Args:
        network: an open ``Explainer``, for the scores and the size of the maps.
        regions: (n, H, W) bool, the true regions of a batch of images; empty where none is known.
        run: another run draws other random maps.
    """

    methods = ("oracle", *controls.MAPS)

    def __init__(self, network: Explainer, regions: np.ndarray, run: int = 0):
        self.network = network
        self.regions = regions
        self.run = run

    def __call__(self, images: np.ndarray) -> dict[str, Explanation]:
        """Explanations of the batch by control."""
        return self._explained(images, self.regions, self.methods)

    def after(
        self, change: Change, targets: Sequence, methods: Sequence[str] | None = None
    ) -> dict[tuple[str, int], Explanation]:
        """Explanations of changed images, the first of the batch; the regions move as the images did."""
        regions = change.move(self.regions[: len(change.images)])
        found = self._explained(change.images, regions, methods or self.methods)
        # Known maps explain no class, so that every target has the same.
        return {(name, place): one for name, one in found.items() for place in range(len(targets))}

    def _explained(self, images: np.ndarray, regions: np.ndarray, methods: Sequence[str]) -> dict[str, Explanation]:
        scored = self.network(images)[self.network.methods[0]]
        shape = scored.maps.shape[1:]
        found = {}
        for name in methods:
            oracle = name == "oracle"
            maps = controls.oracle(regions, shape) if oracle else controls.MAPS[name](images, shape, self.run)
            found[name] = replace(scored, maps=maps, dead=dead(maps))
        return found


def cascade(detector: Detector, untrained: Detector, counts: Sequence[int]) -> Iterator[Detector]:
    """A detector with so many of its layers, from the top, replaced by those of an untrained twin.

    The cascading randomisation of Adebayo et al. 2018, arXiv 1810.03292. Each detector given is a copy of its own.

    Args:
        detector, untrained: the same network with different weights.
        counts: how many layers; 0 changes nothing.
    """
    names = weighted_layers(detector.model)
    for count in counts:
        model = copy.deepcopy(detector.model)
        for name in (name for layer in names[:count] for name in layer):
            model.get_submodule(name).load_state_dict(untrained.model.get_submodule(name).state_dict())
        yield replace(detector, model=model)


def weighted_layers(model: nn.Module) -> list[list[str]]:
    """Names of the modules with weights of their own, last first; a normalisation goes with the layer before it."""
    layers = []
    for name, module in model.named_modules():
        weights = list(module.parameters(recurse=False))
        if weights and (not layers or max(weight.ndim for weight in weights) > 1):
            layers.append([name])
        elif weights:
            layers[-1].append(name)
    return layers[::-1]


def steps(layers: int) -> list[int]:
    """How many layers each step of a cascade has randomised: 0, 1, ... all, in ``STEPS`` steps at most."""
    return [0, *np.unique(np.linspace(1, layers, min(layers, STEPS)).round().astype(int)).tolist()]


def _known_maps(experiment: Experiment, trained: Trained, source: str) -> None:
    """Maps of all runs and rows of run 0 of the controls that come from no network, on one source."""
    inside = replace(controls.known(experiment), sources=[source])
    found = {(name, run): [] for name in Known.methods for run in range(controls.RUNS)}
    detector = experiment.detector(trained.detector, trained.regime, trained.run)
    place = inside.profile, trained.detector
    with Explainer(detector, experiment.methods[:1]) as network, ExitStack() as files:
        add = {}
        for name, (measure, settings) in product(Known.methods, inside.measures.items()):
            path = paths.rows(*place, name, 0, measure, source)
            add[name, measure] = files.enter_context(store.writing_rows(path, settings))
        work = partial(_explain_batch, inside, trained, network)
        for clean, rows in in_parts(work, jobs.batches(inside, inside.samples), inside.batch_size):
            for name, run in found:
                found[name, run].append(clean[run][name])
            for name, measure in product(Known.methods, rows):
                own = rows[measure]["salience"] == name
                add[name, measure](rows[measure][own].assign(regime=name, salience=controls.KNOWN))
    for (name, run), parts in found.items():
        about = {"profile": inside.profile, "control": name, "run": run, "source": source, "scores": str(trained)}
        path = paths.maps(*place, name, run, controls.KNOWN, source)
        store.write_maps(path, Explanation.join(parts), inside.samples, about)


def _explain_batch(
    inside: Experiment,
    trained: Trained,
    network: Explainer,
    about: pd.DataFrame,
    images: np.ndarray,
    unreadable: np.ndarray,
) -> tuple[list[dict[str, Explanation]], dict[str, pd.DataFrame]]:
    """Clean maps by run and control, and rows of run 0 by measure."""
    known = "region" in about and (about["region"] != "").any()
    regions = inside.regions(about["image"]) if known else np.zeros(images.shape[:3], bool)
    clean, rows = [], {}
    for run in range(controls.RUNS):
        measured = inside if run == 0 else replace(inside, measures={})
        found, frames = jobs.explain_batch(measured, trained, Known(network, regions, run), about, images, unreadable)
        clean.append(found)
        rows |= frames
    return clean, rows


def _cascade(experiment: Experiment, one: Trained) -> None:
    """Rows of what the cascade does to the maps of a trained detector, for every in-set source."""
    trained = experiment.detector(one.detector, one.regime, one.run)
    layers = [names[0] for names in weighted_layers(trained.model)]
    counts = steps(len(layers))
    detectors = dict(zip(counts, cascade(trained, _untrained(experiment, one.detector), counts), strict=True))
    few = min(settings["images_per_source"] for settings in experiment.measures.values())
    for source in experiment.in_set:
        samples = replace(experiment, sources=[source]).samples.head(few)
        about = samples[["image", "label", "source"]].assign(measure="cascade", **asdict(one))
        about = about.assign(profile=experiment.profile, dataset=experiment.dataset)
        path = paths.rows(experiment.profile, *asdict(one).values(), "cascade", source)
        with store.writing_rows(path, {"layers": layers}) as add:
            for frame in _steps(experiment, samples, about, detectors):
                add(frame)


def _untrained(experiment: Experiment, name: str, run: int = 0) -> Detector:
    return load_detector(name, seed=SEED + run, device=experiment.device)


def _steps(
    experiment: Experiment, samples: pd.DataFrame, about: pd.DataFrame, detectors: dict[int, Detector]
) -> Iterator[pd.DataFrame]:
    """Every step against the first, which has nothing randomised, both for the class that this one predicts."""
    first = None
    for count, detector in detectors.items():
        predicted = None if first is None else next(iter(first.values())).predicted
        found = _explained(experiment, detector, samples, predicted)
        first = first or found
        for method, randomised in found.items():
            for variant, values in _compared(first[method], randomised).items():
                yield about.assign(salience=method, variant=variant, level=str(count), value=values)


def _explained(
    experiment: Experiment, detector: Detector, samples: pd.DataFrame, classes: np.ndarray | None
) -> dict[str, Explanation]:
    """Clean explanations by method, of these (N,) classes or of those that the detector predicts."""
    with Explainer(detector, experiment.methods) as explainer:

        def explained(about: pd.DataFrame, images: np.ndarray, unreadable: np.ndarray) -> dict[str, Explanation]:
            found = explainer(images, "predicted" if classes is None else classes[about.index].clip(0))
            for one in found.values():
                one.mark(unreadable)
            return found

        parts = list(in_parts(explained, jobs.batches(experiment, samples), experiment.batch_size))
    return {method: Explanation.join([part[method] for part in parts]) for method in experiment.methods}


def _compared(trained: Explanation, randomised: Explanation) -> dict[str, np.ndarray]:
    """How alike native maps are, as in measure (d); and what entropy says of the randomised ones."""
    gone = trained.dead | randomised.dead
    similar = ssim(quantise(trained.maps), quantise(randomised.maps), data_range=255)
    return {
        "ssim": np.where(gone, np.nan, similar),
        "rank_correlation": controls.rank_correlation(trained.maps, randomised.maps),
        "spatial": spatial_entropy(randomised.maps),
    }
