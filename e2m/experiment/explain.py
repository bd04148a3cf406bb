"""The job that explains one detector: its clean maps, and the rows of every measure that changes images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from e2m import plugins
from e2m.arrays.images import check_images, unreadable
from e2m.detectors import load_detector
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import ModelKey
from e2m.experiment.settings import reads
from e2m.networks.checkpoints import read_checkpoint
from e2m.salience.engine import Explainer, in_parts
from e2m.salience.respond import respond
from e2m.store import disk, paths
from e2m.types import LABELS, MASKER, Detector, Explanation, InputError


@reads(
    Inputs,
    *("dataset", "dataset_options", "sources", "images_per_source", "image_size", "batch_size"),
    *("methods", "masker", "measures", "share_frozen", "device"),
)
def explain(
    experiment: Inputs,
    key: ModelKey,
    sources: Sequence[str] | None = None,
    progress: bool = True,
    detector: Detector | None = None,
    seed: int = 0,
    measured: Sequence[str] | None = None,
) -> None:
    """Explain the test images of one detector, clean and changed, and write the files ``experiment.results(key)``.

    Each batch of images is read and explained once for all measures. Rows are written batch by batch, so that memory
    holds one batch only. Clean maps are kept until their file is written (10,000 maps of 7x7: 2 MB). The files of a
    source get their final names when the whole source is done; if one of them cannot be written, none does.

    An image that cannot be read is named on stderr and marked: its map is NaN and dead, its class is -1, and all its
    values are NaN, which tables count as missing.

    Args:
        experiment: the profile.
        key: names the detector.
        sources: the sources to explain; None explains all.
        progress: show a progress bar.
        detector: a detector to explain instead of that of ``key``, which then needs neither checkpoint nor masker.
        seed: seed of salience methods that draw random numbers.
        measured: the sources whose images measures change (``Profile.measured``); None changes those of all.

    Raises:
        InputError: an unknown source; a source without a readable image; a human map that does not fit its image; no
            checkpoint; no memory for one image.
        OSError: a file cannot be written; the message names it, and no half-written file remains.
    """
    if odd := sorted(set(sources or ()) - set(experiment.sources)):
        raise InputError(f"no source named {odd[0]!r} in {experiment.profile}; choose from {experiment.sources}")
    # One thread: jobs run side by side, and sums do not depend on the number of cores.
    torch.set_num_threads(1)
    methods = experiment.methods_of(key)
    if detector is None:
        masker = experiment.masker_file(key) if MASKER in methods else None
        detector = load_detector(key.detector, experiment.checkpoint(key), device=experiment.device, masker=masker)
    elif detector.masker is None:
        methods = [method for method in methods if method != MASKER]
    about = _training(experiment.checkpoint(key))
    explain_detector(experiment, key, detector, methods, sources, progress, seed, about, measured)


def explain_detector(
    experiment: Inputs,
    key: ModelKey,
    detector: Detector,
    methods: Sequence[str],
    sources: Sequence[str] | None = None,
    progress: bool = True,
    seed: int = 0,
    about: Mapping[str, str] | None = None,
    measured: Sequence[str] | None = None,
) -> None:
    """``explain`` with a loaded detector and the methods that it has, for experiments that are no profile.

    ``about`` is kept with the results, beside what they are made of (``experiment.made_of``).
    """
    samples = experiment.samples[experiment.samples["source"].isin(sources or experiment.sources)]
    check_images(samples, may_be_marked=True)
    bar = tqdm(total=len(samples), desc=f"salience of {key}", unit=" images", disable=not progress, mininterval=2)
    with bar, Explainer(detector, methods, seed=seed, stored=experiment.frozen(key, "test")) as explainer:
        for source, of_source in samples.groupby("source", sort=False):
            made_of = {**experiment.made_of(key, source), **(about or {})}
            family = experiment if measured is None or source in measured else replace(experiment, measures={})
            _explain_source(family, key, explainer, source, of_source.reset_index(drop=True), bar, made_of)


def _explain_source(
    experiment: Inputs,
    key: ModelKey,
    explainer: Explainer,
    source: str,
    samples: pd.DataFrame,
    bar: tqdm,
    made_of: dict[str, str],
) -> None:
    parts = {method: [] for method in explainer.methods}
    named = {**asdict(key), "source": source}
    with paths.together(), ExitStack() as files:
        add = {
            measure: files.enter_context(
                disk.writing_rows(
                    experiment.rows_file(key, measure, source), settings, {**named, "measure": measure, **made_of}
                )
            )
            for measure, settings in experiment.measures.items()
        }
        work = partial(explain_batch, experiment, key, explainer)
        for clean, rows in in_parts(work, experiment.batches(samples, explainer.detector), experiment.batch_size):
            for method, explanation in clean.items():
                disk.check_room(experiment.maps_file(key, method, source), len(samples), explanation.maps.shape[1:])
                # Joining copies the arrays: as views, they would keep the network's memory around them in use.
                parts[method].append(Explanation.join([explanation]))
            for measure, frame in rows.items():
                add[measure](frame)
            bar.update(len(clean[explainer.methods[0]].dead))
        if all((part.predicted < 0).all() for part in parts[explainer.methods[0]]):
            raise InputError(_nothing(key, source, samples))
        described = {**named, **_attributes(experiment, explainer.detector), **made_of}
        for method, explanations in parts.items():
            path = experiment.maps_file(key, method, source)
            disk.write_maps(path, Explanation.join(explanations), samples, {**described, "method": method})


def _nothing(key: ModelKey, source: str, samples: pd.DataFrame) -> str:
    """Why no image of a source has a score."""
    if len(unreadable(samples)) == len(samples):
        return f"none of the {len(samples)} images of {source!r} can be read; `e2m data` says why"
    return f"{key}: no answer on the images of {source!r} is a number; did its training diverge?"


def explain_batch(
    experiment: Inputs,
    key: ModelKey,
    explainer: Explainer,
    about: pd.DataFrame,
    images: np.ndarray,
    unreadable: np.ndarray,
) -> tuple[dict[str, Explanation], dict[str, pd.DataFrame]]:
    """Clean explanations by method, and rows by measure."""
    known = explainer.needs_regions and "region" in about
    regions = experiment.regions(about["image"], images.shape[1]) if known else None
    clean = explainer(images, regions=regions)
    rows = {}
    for measure, settings in experiment.measures.items():
        chosen = (about["draw"] < settings["images_per_source"]).to_numpy()
        if chosen.any():
            few = {name: explanation[chosen] for name, explanation in clean.items()}
            described = _described(experiment, key, measure, about[chosen], few)
            known = None if regions is None else regions[chosen]
            rows[measure] = _rows(measure, settings, explainer, images[chosen], few, described, known)
    for explanation in clean.values():
        explanation.blank(unreadable)
    # Neither do images have a class whose answer is no number: what changes in them cannot be told.
    without = about["image"][next(iter(clean.values())).predicted < 0]
    for frame in rows.values():
        frame.loc[frame["image"].isin(without), ["correct", "value"]] = False, np.nan
    return clean, rows


def _described(
    experiment: Inputs, key: ModelKey, measure: str, about: pd.DataFrame, clean: dict[str, Explanation]
) -> pd.DataFrame:
    """Columns about every image in the rows of a measure, without values."""
    predicted = next(iter(clean.values())).predicted
    return about[["image", "label", "source"]].assign(
        profile=experiment.profile,
        dataset=experiment.dataset,
        measure=measure,
        correct=(predicted == 1) == (about["label"] == LABELS[1]),
        **asdict(key),
    )


def _rows(
    measure: str,
    settings: dict,
    explainer: Explainer,
    images: np.ndarray,
    clean: dict[str, Explanation],
    about: pd.DataFrame,
    regions: np.ndarray | None,
) -> pd.DataFrame:
    options = {name: value for name, value in settings.items() if name != "images_per_source"}
    perturbations = partial(plugins.load("measure", measure).perturbations, **options)
    rows = respond(explainer, images, clean, about, perturbations, regions)
    # Sorted by image, so that the order of rows does not depend on the batches.
    return rows.iloc[np.arange(len(rows)).reshape(-1, len(images)).T.ravel()]


def _training(weights: Path) -> dict[str, str]:
    """The settings that a checkpoint of E2M was trained with, as JSON; nothing of other weights, and of none."""
    try:
        settings = read_checkpoint(weights).get("settings")
    except InputError:
        return {}
    return {"training": json.dumps(settings, sort_keys=True)} if settings else {}


def _attributes(experiment: Inputs, detector: Detector) -> dict[str, str]:
    packages = {f"version_{name}": version(name) for name in ("e2m", "torch", "torchcam", "torchvision")}
    return {
        "profile": experiment.profile,
        "dataset": experiment.dataset,
        "layer": detector.layer,
        "target_class": "predicted",
        **packages,
    }
