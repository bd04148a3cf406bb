"""Jobs that train: one detector, or the masker of one trained detector."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from e2m import plugins
from e2m.arrays.images import check_images
from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.experiment.results import Experiment, ModelKey, short_hash
from e2m.store import disk
from e2m.training import masker
from e2m.training.detector import Settings, fit


def train(experiment: Experiment, one: ModelKey, progress: bool = True, **changed) -> tuple[pd.DataFrame, Path]:
    """Train one detector, or read it where it is finished: its learning curves and its checkpoint.

    ``changed`` replaces training settings of the profile, for example ``epochs=2``; such a trial has a file of its own,
    so that it never stands in for the profile's detector.
    """
    regime = plugins.load("regime", one.regime)
    settings = Settings(**{**experiment.training, **getattr(regime, "SETTINGS", {})}, seed=one.run)
    settings = replace(settings, epochs=settings.epochs * getattr(regime, "EPOCHS_FACTOR", 1))
    wanted = replace(settings, **changed)
    path = experiment.checkpoint(one)
    if wanted != settings:
        path = path.with_name(f"{path.stem}-{short_hash(asdict(wanted))}.pt")
    splits, images = _splits(experiment)
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    detector = load_detector(one.detector, seed=one.run, pretrained=experiment.pretrained, device=experiment.device)
    origin = f"images {images}, weights {'pretrained' if experiment.pretrained else 'fresh'}"
    told = getattr(regime, "replace_targets", None)
    names = {"regime": one.regime, "run": one.run, "guided": regime.GUIDED, "replace_targets": told, "origin": origin}
    return fit(detector, *splits, regime.loss, path, wanted, **names, progress=progress), path


def train_masker(experiment: Experiment, one: ModelKey, progress: bool = True, **changed) -> tuple[pd.DataFrame, Path]:
    """Train the masker of one trained detector, or read it where it is finished: its learning curves and its file.

    ``changed`` replaces settings of the profile's maskers; such a trial has a file of its own.

    Raises:
        InputError: no checkpoint of the detector, settings that cannot train.
    """
    settings = {name: value for name, value in (experiment.masker or {}).items() if name != "regimes"}
    settings = masker.Settings(**settings, seed=one.run)
    wanted = replace(settings, **changed)
    path = experiment.masker_file(one)
    if wanted != settings:
        path = path.with_name(f"{path.name.split('.')[0]}-{short_hash(asdict(wanted))}.masker.pt")
    splits, images = _splits(experiment)
    # One thread: maskers are trained side by side, on a detector that is small or on a GPU.
    torch.set_num_threads(1)
    detector = load_detector(one.detector, experiment.checkpoint(one), device=experiment.device)
    names = {"regime": one.regime, "run": one.run, "origin": f"images {images}"}
    return masker.fit(detector, *splits, path, wanted, **names, progress=progress), path


def _splits(experiment: Experiment) -> tuple[list[pd.DataFrame], str]:
    """Images to train and to validate on, and one hash of them all."""
    splits = [load_dataset(experiment.dataset, split=split, **experiment.options) for split in ("train", "validate")]
    for samples in splits:
        check_images(samples)
    return splits, short_hash([[disk.file_hash(path) for path in samples["path"]] for samples in splits])
