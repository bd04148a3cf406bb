"""Jobs that train one detector, or the masker of one trained detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from torch import Tensor

from e2m import plugins
from e2m.arrays.images import check_images
from e2m.checks import problems
from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.experiment.data import training_samples
from e2m.experiment.dependencies import code
from e2m.experiment.profile import ModelKey, Profile, raise_errors
from e2m.experiment.settings import reads
from e2m.networks.process import restored
from e2m.store import disk, finished
from e2m.training import masker
from e2m.training.detector import Batch, fit
from e2m.training.settings import Settings
from e2m.types import InputError

S = TypeVar("S", bound=Settings)


@reads(Profile, "dataset", "dataset_options", "pretrained", "share_frozen", "training", "threads", "device")
@restored()
def train(
    experiment: Profile,
    key: ModelKey,
    progress: bool = True,
    *,
    variant: tuple[Callable[[Batch], Tensor], Path] | None = None,
    **changed,
) -> tuple[pd.DataFrame, Path]:
    """Train one detector, or read it if it is finished; return its learning curves and its checkpoint.

    ``changed`` replaces training settings of the profile, for example ``epochs=2``. Such a trial is written to a
    separate file, so that it is never mistaken for the profile's detector. ``variant`` replaces the loss of the
    regime, and names the checkpoint of such a detector.

    Raises:
        InputError: a setting that does not exist or does not fit, images that cannot be read or trained on.
    """
    regime = plugins.load("regime", key.regime)
    settings = experiment.settings(key)
    wanted = _changed(settings, changed)
    loss, path = variant or (regime.loss, experiment.checkpoint(key))
    if wanted != settings:
        path = path.with_name(f"{path.stem}-{disk.short_hash(asdict(wanted))}.pt")
    splits = _splits(experiment, key.regime)
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    detector = load_detector(key.detector, seed=key.run, pretrained=experiment.pretrained, device=experiment.device)
    weights = "pretrained" if experiment.pretrained else "fresh"
    origin = f"weights {weights}, code {_code(experiment, key)}"
    about = {"regime": key.regime, "run": key.run, "guided": regime.GUIDED, "origin": origin}
    about |= {"replace_targets": getattr(regime, "replace_targets", None), "stored": experiment.frozen(key, "train")}
    curves = fit(detector, *splits, loss, path, wanted, **about, progress=progress)
    return curves, path


@reads(Profile, "dataset", "dataset_options", "masker", "device")
@restored()
def train_masker(experiment: Profile, key: ModelKey, progress: bool = True, **changed) -> tuple[pd.DataFrame, Path]:
    """Train the masker of one detector, or read it if it is finished; return its learning curves and its file.

    ``changed`` replaces settings of the profile's maskers; such a trial has a separate file.

    Raises:
        InputError: no checkpoint of the detector, a setting that does not exist or does not fit.
    """
    settings = experiment.masker_settings(key)
    wanted = _changed(settings, changed)
    path = experiment.masker_file(key)
    if wanted != settings:
        path = path.with_name(f"{path.name.split('.')[0]}-{disk.short_hash(asdict(wanted))}.masker.pt")
    splits = _splits(experiment, key.regime)
    # One thread: maskers are trained side by side, with a small detector or on a GPU.
    torch.set_num_threads(1)
    detector = load_detector(key.detector, experiment.checkpoint(key), device=experiment.device)
    about = {"regime": key.regime, "run": key.run, "origin": f"code {_code(experiment, key)}"}
    return masker.fit(detector, *splits, path, wanted, **about, progress=progress), path


def in_turn(job: Callable[[ModelKey], Path], files: Mapping[ModelKey, Path]) -> Iterator[Path]:
    """Train what has these files, one after another, in one process, and yield the files.

    What an earlier attempt has finished is kept. One that fails leaves the others as they are.

    Raises:
        InputError: of trainings that failed, naming them, after the others are done.
    """
    wrong = {}
    for key, file in files.items():
        finished.restore(file)
        try:
            done = job(key)
        except InputError as error:
            wrong[key] = error
        else:
            finished.keep(file)
            yield done
    raise_errors(wrong, list(files))
    for file in files.values():
        finished.release(file)


def _code(experiment: Profile, key: ModelKey) -> str:
    """One hash of the code that a training runs: a finished file, or one to resume, of other code is not used."""
    names = {"dataset": [experiment.dataset], "detector": [key.detector], "regime": [key.regime]}
    return disk.short_hash(code("e2m.experiment.train", **names))


def _changed(settings: S, changed: dict[str, object]) -> S:
    if lines := problems(changed, type(settings)):
        raise InputError("\n".join(lines))
    return replace(settings, **changed)


def _splits(experiment: Profile, regime: str) -> list[pd.DataFrame]:
    """Images to train and to validate on."""
    validate = load_dataset(experiment.dataset, split="validate", **experiment.options)
    splits = [training_samples(experiment, regime), validate]
    for samples in splits:
        check_images(samples)
    return splits
