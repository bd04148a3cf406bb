"""Making the controls of a detector: maps and rows of salience whose answer is known, and the cascade."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from skimage.filters import sobel
from skimage.transform import resize_local_mean
from torch import nn

from e2m.arrays.maps import dead, quantise
from e2m.arrays.ssim import ssim
from e2m.detectors import load_detector
from e2m.experiment import explain
from e2m.experiment.results import Experiment, ModelKey
from e2m.measures.alignment import correlation
from e2m.measures.entropy import spatial_entropy
from e2m.salience.engine import Explainer, in_parts
from e2m.store import disk, paths
from e2m.types import Detector, Explanation, Perturbation

SEED = 1_000_000
"""Of random weights, plus the run: no training starts from them, for its seed is its run."""

STEPS = 8
"""Most steps of a cascade; the first randomises the head alone, the last everything."""


KNOWN = "known"
"""What the salience method of a map is called that comes from no network."""


RUNS = 2
"""Measure (d) compares runs: so many of every control that costs no training."""


def oracle(regions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The answer itself: how much of each cell the manipulated region covers.

    Args:
        regions: (n, H, W), above 0 where an image was manipulated.
        shape: (h, w) of the maps.

    Returns:
        (n, h, w) float32, min-max normalised; NaN where no region is known, or where it is everywhere.
    """
    return _normalised(resize_local_mean((regions > 0).astype(np.float32), shape, channel_axis=0))


def centre(images: np.ndarray, shape: tuple[int, int], run: int = 0) -> np.ndarray:
    """A Gaussian in the middle of the map, the same for all images: its deviation is a quarter of each side."""
    down, across = (np.exp(-0.5 * ((np.arange(side) + 0.5) / side - 0.5) ** 2 / 0.25**2) for side in shape)
    return _normalised(np.broadcast_to(np.outer(down, across), (len(images), *shape)))


def random(images: np.ndarray, shape: tuple[int, int], run: int = 0) -> np.ndarray:
    """Uniform random cells, drawn anew for every image and run: keyed by (run, the image's bytes)."""
    return _normalised(np.stack([_generator(run, image).random(shape) for image in images]))


def fixed(images: np.ndarray, shape: tuple[int, int], run: int = 0) -> np.ndarray:
    """One map of uniform random cells, the same for all images and runs."""
    return _normalised(np.broadcast_to(np.random.default_rng(0).random(shape), (len(images), *shape)))


def edges(images: np.ndarray, shape: tuple[int, int], run: int = 0) -> np.ndarray:
    """Where the picture has edges: the Sobel magnitude of the grey image, averaged over the area of each cell."""
    strength = np.stack([sobel(image.mean(axis=2)) for image in images])
    return _normalised(resize_local_mean(strength, shape, channel_axis=0))


MAPS = {"centre": centre, "random": random, "fixed": fixed, "edges": edges}
"""Controls that need the image at most: (n, H, W, 3) uint8, (h, w), run -> (n, h, w) float32 in [0, 1]."""


def rank_correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the places of each pair of maps, (N, h, w) twice: (N,), NaN where one is dead."""
    gone = dead(maps) | dead(others)
    ranks = [rankdata(stack.reshape(len(stack), -1), axis=1).reshape(stack.shape) for stack in (maps, others)]
    with np.errstate(invalid="ignore"):
        return np.where(gone, np.nan, correlation(*ranks))


def known_family(experiment: Experiment) -> Experiment:
    """The experiment whose regimes are the controls that come from no network, on the in-set sources."""
    return replace(experiment, regimes=["oracle", *MAPS], methods=[KNOWN], sources=experiment.in_set, runs=RUNS)


def untrained_family(experiment: Experiment) -> Experiment:
    """The experiment whose one regime is "random_weights", on the in-set sources."""
    return replace(experiment, regimes=["random_weights"], sources=experiment.in_set, runs=RUNS)


def results(experiment: Experiment, detector: str) -> list[Path]:
    """The files that ``e2m.experiment.controls.explain`` writes for a detector."""
    found = []
    for family in (known_family(experiment), untrained_family(experiment)):
        for one in family.trained:
            if one.detector == detector:
                found += (family if one.run == 0 else replace(family, measures={})).results(one)
    return found + cascade_files(experiment, detector)


def cascade_files(experiment: Experiment, detector: str) -> list[Path]:
    """Rows of the cascade: of run 0 of every regime, on every in-set source."""
    place = [(experiment.profile, detector, regime, 0) for regime in experiment.regimes]
    return [paths.rows(*one, "cascade", source) for one in place for source in experiment.in_set]


def _generator(run: int, image: np.ndarray) -> np.random.Generator:
    key = hashlib.blake2b(f"{run} ".encode() + np.ascontiguousarray(image).tobytes(), digest_size=16)
    return np.random.default_rng(int.from_bytes(key.digest(), "little"))


def _normalised(raw: np.ndarray) -> np.ndarray:
    """(n, h, w) float32, each map stretched to [0, 1]; NaN where it is constant, up to rounding."""
    raw = np.asarray(raw, np.float64)
    low, high = raw.min(axis=(1, 2), keepdims=True), raw.max(axis=(1, 2), keepdims=True)
    span = np.where(high - low > 1e-6 * np.maximum(np.abs(low), np.abs(high)), high - low, np.nan)
    return ((raw - low) / span).astype(np.float32)


def explain_controls(experiment: Experiment, name: str) -> None:
    """Make the controls of a detector on the in-set sources: all of ``results(experiment, name)``.

    Scores beside known maps, and what is randomised, are run 0 of the experiment's first regime, and of every regime.
    """
    torch.set_num_threads(1)
    for source in experiment.in_set:
        _known_maps(experiment, ModelKey(name, experiment.regimes[0], 0), source)
    family = untrained_family(experiment)
    for run in range(RUNS):
        measured = family if run == 0 else replace(family, measures={})
        detector = _untrained(experiment, name, run)
        explain.explain(measured, ModelKey(name, "random_weights", run), progress=False, detector=detector)
    for regime in experiment.regimes:
        _cascade(experiment, ModelKey(name, regime, 0))


class Known:
    """Known salience beside the scores of a trained detector: what ``respond`` asks of an explainer.

    Args:
        network: an open ``Explainer``, for the scores and the size of the maps.
        regions: (n, H, W) bool, the true regions of a batch of images; empty where none is known.
        run: another run draws other random maps.
    """

    methods = ("oracle", *MAPS)

    def __init__(self, network: Explainer, regions: np.ndarray, run: int = 0):
        self.network = network
        self.regions = regions
        self.run = run

    def __call__(self, images: np.ndarray) -> dict[str, Explanation]:
        """Explanations of the batch by control."""
        return self._explained(images, self.regions, self.methods)

    def after(
        self, change: Perturbation, targets: Sequence, methods: Sequence[str] | None = None
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
            maps = oracle(regions, shape) if oracle else MAPS[name](images, shape, self.run)
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


def _known_maps(experiment: Experiment, trained: ModelKey, source: str) -> None:
    """Maps of all runs and rows of run 0 of the controls that come from no network, on one source."""
    inside = replace(known_family(experiment), sources=[source])
    found = {(name, run): [] for name in Known.methods for run in range(RUNS)}
    detector = experiment.detector(trained.detector, trained.regime, trained.run)
    place = inside.profile, trained.detector
    with Explainer(detector, experiment.methods[:1]) as network, ExitStack() as files:
        add = {}
        for name, (measure, settings) in product(Known.methods, inside.measures.items()):
            path = paths.rows(*place, name, 0, measure, source)
            add[name, measure] = files.enter_context(disk.writing_rows(path, settings))
        work = partial(_explain_batch, inside, trained, network)
        for clean, rows in in_parts(work, explain.batches(inside, inside.samples), inside.batch_size):
            for name, run in found:
                found[name, run].append(clean[run][name])
            for name, measure in product(Known.methods, rows):
                own = rows[measure]["salience"] == name
                add[name, measure](rows[measure][own].assign(regime=name, salience=KNOWN))
    for (name, run), parts in found.items():
        about = {"profile": inside.profile, "control": name, "run": run, "source": source, "scores": str(trained)}
        path = paths.maps(*place, name, run, KNOWN, source)
        disk.write_maps(path, Explanation.join(parts), inside.samples, about)


def _explain_batch(
    inside: Experiment,
    trained: ModelKey,
    network: Explainer,
    about: pd.DataFrame,
    images: np.ndarray,
    unreadable: np.ndarray,
) -> tuple[list[dict[str, Explanation]], dict[str, pd.DataFrame]]:
    """Clean maps by run and control, and rows of run 0 by measure."""
    known = "region" in about and (about["region"] != "").any()
    regions = inside.regions(about["image"]) if known else np.zeros(images.shape[:3], bool)
    clean, rows = [], {}
    for run in range(RUNS):
        measured = inside if run == 0 else replace(inside, measures={})
        found, frames = explain.explain_batch(
            measured, trained, Known(network, regions, run), about, images, unreadable
        )
        clean.append(found)
        rows |= frames
    return clean, rows


def _cascade(experiment: Experiment, one: ModelKey) -> None:
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
        with disk.writing_rows(path, {"layers": layers}) as add:
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

        parts = list(in_parts(explained, explain.batches(experiment, samples), experiment.batch_size))
    return {method: Explanation.join([part[method] for part in parts]) for method in experiment.methods}


def _compared(trained: Explanation, randomised: Explanation) -> dict[str, np.ndarray]:
    """How alike native maps are, as in measure (d); and what entropy says of the randomised ones."""
    gone = trained.dead | randomised.dead
    similar = ssim(quantise(trained.maps), quantise(randomised.maps), data_range=255)
    return {
        "ssim": np.where(gone, np.nan, similar),
        "rank_correlation": rank_correlation(trained.maps, randomised.maps),
        "spatial": spatial_entropy(randomised.maps),
    }
