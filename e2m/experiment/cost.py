"""What explaining costs: the changed images of every measure, and seconds of an image, measured with a few."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from e2m.experiment import explain
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import ModelKey, perturbations
from e2m.salience.engine import Explainer
from e2m.types import Detector

TIMED = 4
"""Images on which the time is measured."""

CLEAN = ""
"""The name of unchanged images beside those of measures."""

Batch = tuple[pd.DataFrame, np.ndarray, np.ndarray]
"""Rows of the samples, their images (n, H, W, 3) uint8, and (n,) bool, True if an image is unreadable."""


def changes(experiment: Inputs) -> dict[str, int]:
    """Measure -> how many changed images it makes of one image."""
    grey = np.full((1, 32, 32, 3), 127, np.uint8)
    ramp = (np.arange(1024, dtype=np.float32).reshape(1, 32, 32) / 1023 * 255).astype(np.uint8)
    maps = dict.fromkeys(experiment.methods, ramp)
    return {
        name: sum(1 for _ in perturbations(name, settings)(grey, maps))
        for name, settings in experiment.measures.items()
    }


def seconds(
    experiment: Inputs, key: ModelKey, detector: Detector, batch: Batch, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Seconds of one unchanged image (``CLEAN``), and those that each measure adds to an image that it changes.

    This also shows, before any long work, what cannot work.

    Args:
        experiment: the profile, whatever its numbers of images are.
        key: names the detector.
        detector: the detector, loaded.
        batch: some images, all of which every measure changes here.
        clock: the time in seconds; ``time.process_time`` is that of the CPU, which other work does not lengthen.

    Raises:
        InputError: a network or a salience method that does not work.
    """
    with Explainer(detector, experiment.methods, experiment.precision) as explainer:

        def time_of(measures: dict) -> float:
            view = replace(experiment, measures=measures)
            start = clock()
            explain.explain_batch(view, {key: explainer}, *batch)
            return (clock() - start) / len(batch[0])

        time_of({})  # the first call is slower
        clean = time_of({})
        every = {"images_per_source": int(batch[0]["draw"].max()) + 1}
        each = {name: {name: settings | every} for name, settings in experiment.measures.items()}
        return {CLEAN: clean, **{name: max(time_of(one) - clean, 0.0) for name, one in each.items()}}


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"
