"""The two jobs that take long: train one detector, explain one trained detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from e2m import paths, plugins, store
from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.experiment import Experiment, Trained, short_hash
from e2m.images import check_images, read_images
from e2m.salience import Explainer, respond
from e2m.training import Settings, fit
from e2m.types import LABELS, Detector, Explanation


def train(experiment: Experiment, one: Trained, progress: bool = True, **changed) -> tuple[pd.DataFrame, Path]:
    """Train one detector, or read it where it is finished: its learning curves and its checkpoint.

    ``changed`` replaces training settings of the profile, for example ``epochs=2``; such a trial has a file of its own,
    so that it never stands in for the profile's detector.
    """
    settings = Settings(**experiment.training, seed=one.run)
    wanted = replace(settings, **changed)
    path = experiment.checkpoint(one)
    if wanted != settings:
        path = path.with_name(f"{path.stem}-{short_hash(asdict(wanted))}.pt")
    regime = plugins.load("regime", one.regime)
    splits = [load_dataset(experiment.dataset, split=split, **experiment.options) for split in ("train", "validate")]
    for samples in splits:
        check_images(samples)
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    detector = load_detector(one.detector, seed=one.run, pretrained=experiment.pretrained)
    images = [[store.file_hash(path) for path in samples["path"]] for samples in splits]
    origin = f"images {short_hash(images)}, weights {'pretrained' if experiment.pretrained else 'fresh'}"
    names = {"regime": one.regime, "run": one.run, "guided": regime.GUIDED, "origin": origin}
    return fit(detector, *splits, regime.loss, path, wanted, **names, progress=progress), path


def explain(experiment: Experiment, one: Trained, sources: Sequence[str] | None = None, progress: bool = True) -> None:
    """Explain the test images of one trained detector, clean and changed: all of ``experiment.results(one)``.

    One pass over the images: each batch is read and explained once, and that is shared by all measures.
    """
    # One thread: jobs run side by side, and sums do not depend on how many cores there are.
    torch.set_num_threads(1)
    detector = load_detector(one.detector, checkpoint=experiment.checkpoint(one))
    check_images(experiment.samples)
    with Explainer(detector, experiment.methods) as explainer:
        for source in tqdm(sources or experiment.sources, f"salience of {one}", disable=not progress, mininterval=2):
            _explain_source(experiment, one, explainer, source)


def _explain_source(experiment: Experiment, one: Trained, explainer: Explainer, source: str) -> None:
    samples = experiment.samples[experiment.samples["source"] == source].reset_index(drop=True)
    place = (experiment.profile, one.detector, one.regime, one.run)
    found = {method: [] for method in experiment.methods}
    rows = {measure: [] for measure in experiment.measures}
    for about, images in _batches(experiment, samples):
        clean = explainer(images)
        for method, explanation in clean.items():
            found[method].append(explanation)
        for measure in experiment.measures:
            frame = _change(experiment, one, measure, explainer, images, clean, about)
            rows[measure] += [] if frame is None else [frame]
    for measure, frames in rows.items():
        store.write_rows(paths.rows(*place, measure, source), frames, experiment.measures[measure])
    described = {**asdict(one), "source": source, **_attributes(experiment, one, explainer.detector)}
    for method, parts in found.items():
        path = paths.maps(*place, method, source)
        store.write_maps(path, Explanation.join(parts), samples, {**described, "method": method})


def _batches(experiment: Experiment, samples: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    start = 0
    for images in read_images(samples, size=experiment.image_size, batch=experiment.batch_size):
        yield samples.iloc[start : start + len(images)], images
        start += len(images)


def _change(
    experiment: Experiment,
    one: Trained,
    measure: str,
    explainer: Explainer,
    images: np.ndarray,
    clean: dict[str, Explanation],
    about: pd.DataFrame,
) -> pd.DataFrame | None:
    """Rows of one measure on a batch, or on what is left of the measure's share of the source; None after that."""
    settings = dict(experiment.measures[measure])
    few = min(len(images), settings.pop("images_per_source") - int(about.index[0]))
    if few <= 0:
        return None
    clean = {name: explanation[:few] for name, explanation in clean.items()}
    predicted = next(iter(clean.values())).predicted
    about = about[["image", "label", "source"]].head(few)
    about = about.assign(
        profile=experiment.profile,
        dataset=experiment.dataset,
        measure=measure,
        correct=(predicted == 1) == (about["label"] == LABELS[1]),
        **asdict(one),
    )
    changes = partial(plugins.load("measure", measure).changes, **settings)
    return respond(explainer, images[:few], clean, about, changes)


def _attributes(experiment: Experiment, one: Trained, detector: Detector) -> dict[str, str]:
    packages = {f"version_{name}": version(name) for name in ("e2m", "torch", "torchcam", "torchvision")}
    return {
        "profile": experiment.profile,
        "dataset": experiment.dataset,
        "layer": detector.layer,
        "target_class": "predicted",
        "weights_sha256": store.file_hash(experiment.checkpoint(one)),
        **packages,
    }
