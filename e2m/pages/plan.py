"""What a profile's explanations cost on this machine, and the intervals to expect: ``e2m plan``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from e2m.detectors import load_detector
from e2m.experiment import cost
from e2m.experiment.cost import CLEAN
from e2m.experiment.inputs import PILOT
from e2m.experiment.profile import AUTO, ModelKey
from e2m.experiment.results import Experiment
from e2m.networks.inputs import device_of
from e2m.store import disk, paths
from e2m.types import LABELS, InputError

Counts = Mapping[tuple[str, str], int]
"""(Source, measure) -> images; the measure ``cost.CLEAN`` stands for images that are explained as they are."""


def lines(experiment: Experiment) -> Iterator[str]:
    """The plan, line by line: detectors, images, passes and hours of each network, and the intervals to expect.

    Times are measured: every network runs on a few images, with random weights where none are trained. Trainings are
    not counted.

    Raises:
        InputError: a network or a method that does not work; or numbers of images are "auto", and there are neither
            images to choose from nor a pilot.
    """
    keys = [*experiment.trained, *experiment.controlled]
    yield f"profile {experiment.profile}: {len(keys)} detectors, {len(experiment.sources)} sources"
    try:
        there = experiment.drawn["source"].value_counts().to_dict()
    except (InputError, OSError) as error:
        if experiment.automatic:
            raise
        there = {}
        yield f"no images at hand, so the numbers of the profile are taken ({error})"
    every = counts(everything(experiment), there)
    piloted = paths.table(experiment.profile, PILOT).is_file()
    planned = counts(experiment, there) if piloted or not experiment.automatic else every
    if experiment.automatic and not piloted:
        pilot = experiment.piloted
        yield f"numbers of images are {AUTO}: the pilot decides, with {len(pilot.trained)} detectors, and takes"
        yield from _costs(pilot, counts(pilot, there), pilot.trained)
        yield "without a pilot, all images are planned with:"
    yield from _costs(experiment, planned, keys)
    if experiment.automatic and piloted:
        share = passes(experiment, planned, keys) / passes(experiment, every, keys)
        yield f"these are {share:.0%} of the passes that all images there are would take"
    yield from _expected(experiment, piloted)


def everything(experiment: Experiment) -> Experiment:
    """The experiment with all images there are, wherever the pilot decides on a number."""
    most = 10**9
    measures = {
        name: {**settings, "images_per_source": most} if settings["images_per_source"] == AUTO else settings
        for name, settings in experiment.measures.items()
    }
    count = most if experiment.images_per_source == AUTO else experiment.images_per_source
    return replace(experiment, measures=measures, images_per_source=count)


def counts(experiment: Experiment, there: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """The images of every source, clean and for every measure.

    Args:
        experiment: its numbers of images.
        there: source -> images that there are; sources without an entry have as many as are asked for.
    """
    table = {}
    for source in experiment.sources:
        most = min(experiment.images_of(source), there.get(source, 10**9))
        table[source, CLEAN] = most
        table |= {(source, name): min(most, experiment.images_of(source, name)) for name in experiment.measures}
    return table


def passes(experiment: Experiment, images: Counts, keys: list[ModelKey]) -> int:
    """Forward passes of detectors, counted as images; methods that ask the network many times take more."""
    shares = _shares(experiment, keys)
    once = cost.changes(experiment)
    times = {key: {CLEAN: 1} | {name: once[name] * share for name, share in shares[key].items()} for key in keys}
    return round(sum(_weighted(experiment, images, key, times[key]) for key in keys))


def seconds_of(experiment: Experiment, network: str) -> dict[str, float]:
    """``cost.seconds`` of a network on this machine, on one core, with random images and weights."""
    torch.set_num_threads(1)
    detector = load_detector(network, device=experiment.device)
    side = experiment.image_size or detector.size
    images = np.random.default_rng(0).integers(0, 256, (cost.TIMED, side, side, 3), np.uint8)
    names = [f"{number}" for number in range(cost.TIMED)]
    about = pd.DataFrame({"image": names, "label": LABELS[0], "source": "", "draw": range(cost.TIMED)})
    key = ModelKey(network, experiment.traditional, 0)
    # On a CPU, other jobs of the machine must not count.
    clock = time.process_time if device_of(detector.model).type == "cpu" else time.perf_counter
    return cost.seconds(experiment, key, detector, (about, images, np.zeros(cost.TIMED, bool)), clock)


def _costs(experiment: Experiment, images: Counts, keys: list[ModelKey]) -> Iterator[str]:
    total, every = 0.0, 0
    for network in experiment.detectors:
        of_network = [key for key in keys if key.detector == network]
        times = seconds_of(experiment, network)
        shares = _shares(experiment, of_network)
        seconds = sum(
            _weighted(
                experiment, images, key, times | {name: times[name] * share for name, share in shares[key].items()}
            )
            for key in of_network
        )
        number = passes(experiment, images, of_network)
        clean = sum(images[source, CLEAN] for source in experiment.sources)
        yield (
            f"  {network}: {len(of_network)} detectors, {clean:,} images each, {number:,} passes, "
            f"{cost.duration(seconds)} of one core ({1000 * times[CLEAN]:.1f} ms a clean image)"
        )
        total, every = total + seconds, every + number
    cores = os.cpu_count() or 1
    yield f"  together: {every:,} passes, {cost.duration(total)} of one core, {cost.duration(total / cores)} on {cores}"


def _expected(experiment: Experiment, piloted: bool) -> Iterator[str]:
    if not piloted:
        yield f"intervals to expect: known after `e2m pilot --profile {experiment.profile}`"
        return
    table = disk.read_table(paths.table(experiment.profile, PILOT)).dropna(subset="half_width")
    yield f"intervals of a difference to expect, from {experiment.runs} runs of each regime, sources on average:"
    for (detector, row), of_row in table.groupby(["detector", "row"], sort=False):
        width, best = of_row[["half_width", "half_width_all"]].mean()
        yield f"  {detector}, {row}: ± {width:.3f} (± {best:.3f} with all images)"


def _shares(experiment: Experiment, keys: list[ModelKey]) -> dict[ModelKey, dict[str, float]]:
    """Measure -> its changed images of a detector, as a share of those that the profile's methods alone take.

    Detectors with a masker have one more map, which guides changes of its own.
    """
    once, of_methods = cost.changes(experiment), {}
    for methods in {tuple(experiment.methods_of(key)) for key in keys}:
        changes = cost.changes(replace(experiment, methods=list(methods)))
        of_methods[methods] = {name: count / max(1, once[name]) for name, count in changes.items()}
    return {key: of_methods[tuple(experiment.methods_of(key))] for key in keys}


def _weighted(experiment: Experiment, images: Counts, key: ModelKey, weights: Mapping[str, float]) -> float:
    """The images of a detector, each with a weight by its measure: passes, or seconds."""
    measured = set(experiment.measured(key))
    taken = {names: count for names, count in images.items() if names[1] == CLEAN or names[0] in measured}
    return sum(weights[measure] * count for (_, measure), count in taken.items())
