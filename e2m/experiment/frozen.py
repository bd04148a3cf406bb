"""Jobs that compute the outputs of a detector's frozen blocks, which all of its trainings and explanations share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import perturbations
from e2m.experiment.settings import reads
from e2m.networks.process import restored
from e2m.networks.trunk import Trunk
from e2m.store import paths
from e2m.training.images import Images
from e2m.training.settings import Settings
from e2m.types import Detector

BATCH = 64
"""Images of a pass."""


@reads(Inputs, "dataset", "dataset_options", "pretrained", "training", "device")
@restored()
def write_training(experiment: Inputs, name: str, progress: bool = True) -> Path:
    """Store the outputs for the augmented copies of the training images, and for the validation images."""
    trunk, settings = _trunk(experiment, name), Settings(**experiment.training)
    train, validate = (
        Images(load_dataset(experiment.dataset, split=split, **experiment.options), trunk.detector)
        for split in ("train", "validate")
    )
    stacks = (images for part in ([validate.images], train.copies(settings)) for images in part)
    small = (images[start : start + BATCH] for images in stacks for start in range(0, len(images), BATCH))
    return _write(trunk, paths.frozen(experiment.profile, name, "train"), small, progress)


@reads(
    Inputs,
    *("dataset", "dataset_options", "sources", "images_per_source", "image_size", "batch_size"),
    *("measures", "pretrained", "device"),
)
@restored()
def write_test(experiment: Inputs, name: str, progress: bool = True) -> Path:
    """Store the outputs for the test images, and for their perturbations that no map guides."""
    trunk = _trunk(experiment, name)
    images = _tested(experiment, trunk.detector)
    return _write(trunk, paths.frozen(experiment.profile, name, "test"), images, progress)


PARTS = {"train": write_training, "test": write_test}


def _trunk(experiment: Inputs, name: str) -> Trunk:
    # One thread: sums do not depend on the number of cores.
    torch.set_num_threads(1)
    return Trunk(load_detector(name, pretrained=experiment.pretrained, device=experiment.device))


def _tested(experiment: Inputs, detector: Detector) -> Iterator[np.ndarray]:
    for source, samples in experiment.samples.groupby("source", sort=False):
        measures = experiment.of_source(source).measures
        for about, clean, _ in experiment.batches(samples.reset_index(drop=True), detector):
            yield clean
            for measure, settings in measures.items():
                few = clean[(about["draw"] < settings["images_per_source"]).to_numpy()]
                if len(few):
                    yield from (perturbation.images for perturbation in perturbations(measure, settings)(few, {}))


def _write(trunk: Trunk, path: Path, images: Iterator[np.ndarray], progress: bool) -> Path:
    name = trunk.detector.name
    trunk.write(path, tqdm(images, f"frozen blocks of {name}", unit=" batches", disable=not progress, mininterval=2))
    return path
