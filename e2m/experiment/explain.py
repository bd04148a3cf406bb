"""The job that explains detectors: their clean maps, and the rows of every measure that changes images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from e2m.arrays.images import check_images, unreadable
from e2m.detectors import load_detector
from e2m.experiment import settings as declared
from e2m.experiment.dependencies import code
from e2m.experiment.inputs import LEARNT, Inputs
from e2m.experiment.profile import ModelKey, perturbations, raise_errors
from e2m.experiment.settings import reads
from e2m.networks.checkpoints import read_checkpoint
from e2m.networks.process import restored
from e2m.salience.engine import Explainer, in_parts
from e2m.salience.respond import respond_together
from e2m.store import disk, finished, paths
from e2m.training import learnt
from e2m.types import LABELS, MASKER, Detector, Explanation, InputError

READ = (
    *("dataset", "dataset_options", "sources", "images_per_source", "image_size", "batch_size"),
    *("methods", "masker", "measures", "share_frozen", "device", "precision"),
)
"""The settings that explaining a detector reads."""


@reads(Inputs, *READ)
@restored()
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
    if detector is None:
        explain_runs(experiment, [key], sources, progress, seed, measured)
        return
    _prepare(experiment, sources)
    methods = [method for method in experiment.methods_of(key) if method != MASKER or detector.masker is not None]
    about = {key: _training(experiment.checkpoint(key))}
    explain_detectors(experiment, {key: detector}, methods, sources, progress, seed, about, measured)


@reads(Inputs, *READ)
@restored()
def explain_runs(
    experiment: Inputs,
    keys: Sequence[ModelKey],
    sources: Sequence[str] | None = None,
    progress: bool = True,
    seed: int = 0,
    measured: Sequence[str] | None = None,
) -> None:
    """``explain`` for several trained detectors, which share images as they are read and changed.

    Results are equal to those of one call a detector. A source that an earlier call finished, with the same code,
    settings, weights and images, is kept. A detector that cannot be explained leaves the others as they are.

    Args:
        experiment, sources, progress, seed, measured: as in ``explain``.
        keys: name the detectors.

    Raises:
        InputError, OSError: as in ``explain``; an error of detectors names them, after the others are done.
    """
    _prepare(experiment, sources)
    detectors, about, wrong = {}, {}, {}
    for key in keys:
        weights = experiment.checkpoint(key)
        masker = experiment.masker_file(key) if MASKER in experiment.methods_of(key) else None
        try:
            detectors[key] = load_detector(key.detector, weights, device=experiment.device, masker=masker)
        except InputError as error:
            wrong[key] = error
        else:
            about[key] = {**_training(weights), "origin": _origin(experiment, key)}
    alike = {}
    for key in detectors:
        alike.setdefault((key.detector, *experiment.methods_of(key)), []).append(key)
    for (_, *methods), group in alike.items():

        def work(some: list[ModelKey], methods: list[str] = methods) -> None:
            chosen = {key: detectors[key] for key in some}
            explain_detectors(experiment, chosen, methods, sources, progress, seed, about, measured, keep=True)

        wrong |= _failures(work, group)
    raise_errors(wrong, keys)
    for key in keys:
        for path in experiment.results(key, sources or experiment.sources):
            finished.release(path)


def _failures(work: Callable[[list[ModelKey]], None], keys: list[ModelKey]) -> dict[ModelKey, InputError]:
    """Do the work on detectors together; if that fails, on one after another, so that each error is a detector's."""
    try:
        work(keys)
    except InputError as error:
        if len(keys) == 1:
            return {keys[0]: error}
        return dict(failure for key in keys for failure in _failures(work, [key]).items())
    return {}


def _prepare(experiment: Inputs, sources: Sequence[str] | None) -> None:
    if odd := sorted(set(sources or ()) - set(experiment.sources)):
        raise InputError(f"no source named {odd[0]!r} in {experiment.profile}; choose from {experiment.sources}")
    # One thread: jobs run side by side, and sums do not depend on the number of cores.
    torch.set_num_threads(1)


def explain_detectors(
    experiment: Inputs,
    detectors: Mapping[ModelKey, Detector],
    methods: Sequence[str],
    sources: Sequence[str] | None = None,
    progress: bool = True,
    seed: int = 0,
    about: Mapping[ModelKey, Mapping[str, str]] | None = None,
    measured: Sequence[str] | None = None,
    keep: bool = False,
) -> None:
    """``explain`` with loaded detectors that share one network, also for an experiment that is no profile.

    Args:
        experiment, sources, progress, seed, measured: as in ``explain``.
        detectors: the detectors, by what names them.
        methods: salience methods, which all of the detectors have.
        about: entries for the files of each detector, beside what these are made of (``experiment.made_of``).
        keep: leave a source as it is if all of its files exist and have the same entries.
    """
    samples = experiment.samples[experiment.samples["source"].isin(sources or experiment.sources)]
    check_images(samples, may_be_marked=True)
    title = f"salience of {next(iter(detectors))}" + (f" and {len(detectors) - 1} more" if len(detectors) > 1 else "")
    total = len(samples) * len(detectors)
    bar = tqdm(total=total, desc=title, unit=" images", disable=not progress, mininterval=2)
    with bar, ExitStack() as stack:
        explainers = {
            key: stack.enter_context(
                Explainer(one, methods, experiment.precision, seed, experiment.frozen(key, "test"))
            )
            for key, one in detectors.items()
        }
        for source, rows in samples.groupby("source", sort=False):
            of_source = experiment.of_source(source)
            family = of_source if measured is None or source in measured else replace(experiment, measures={})
            files = [
                _Files(family, key, methods, source, {**experiment.made_of(key, source), **(about or {}).get(key, {})})
                for key in detectors
            ]
            left = [one for one in files if not (keep and one.finished())]
            bar.update(len(rows) * (len(files) - len(left)))
            if left:
                chosen = {one.key: explainers[one.key] for one in left}
                _explain_source(family, chosen, rows.reset_index(drop=True), bar, left)
            for one in files if keep else ():
                for path in one.paths:
                    finished.keep(path)


class _Files:
    """The files of one detector on one source: maps by method, and rows by measure."""

    def __init__(
        self, experiment: Inputs, key: ModelKey, methods: Sequence[str], source: str, made_of: Mapping[str, str]
    ):
        self.experiment, self.key, self.source, self.made_of = experiment, key, source, made_of
        self.named = {**asdict(key), "source": source}
        self.maps = {method: experiment.maps_file(key, method, source) for method in methods}
        self.rows = {measure: experiment.rows_file(key, measure, source) for measure in experiment.measures}
        self._parts: dict[str, list[Explanation]] = {method: [] for method in self.maps}

    @property
    def paths(self) -> list[Path]:
        """The maps, then the rows."""
        return [*self.maps.values(), *self.rows.values()]

    def finished(self) -> bool:
        """Restore removed files; whether all are there, whole, and made of the same: then they count as written now."""
        restored = [path for path in self.paths if finished.restore(path)]
        if not self._made_of_the_same():
            for path in restored:
                path.unlink()
            return False
        for path in self.paths:
            path.touch()
        return True

    def _made_of_the_same(self) -> bool:
        try:
            recorded = [disk.read_maps(path).attrs for path in self.maps.values()]
            recorded += map(disk.made_of, self.rows.values())
        except InputError:
            return False
        return all(self.made_of.items() <= entries.items() for entries in recorded)

    @contextmanager
    def writing(self) -> Iterator[Callable[[dict[str, Explanation], dict[str, pd.DataFrame]], None]]:
        """A function that adds explanations by method and rows by measure, batch by batch."""
        with ExitStack() as stack:
            add = {
                measure: stack.enter_context(
                    disk.writing_rows(
                        path, self.experiment.measures[measure], {**self.named, "measure": measure, **self.made_of}
                    )
                )
                for measure, path in self.rows.items()
            }

            def keep(clean: dict[str, Explanation], rows: dict[str, pd.DataFrame]) -> None:
                for method, explanation in clean.items():
                    # Joining copies the arrays: as views, they would keep the network's memory around them in use.
                    self._parts[method].append(Explanation.join([explanation]))
                for measure, frame in rows.items():
                    add[measure](frame)

            yield keep

    def write_maps(self, samples: pd.DataFrame, detector: Detector) -> None:
        """Write the maps that were added."""
        if all((part.predicted < 0).all() for part in next(iter(self._parts.values()))):
            raise InputError(_nothing(self.key, self.source, samples))
        described = {**self.named, **_attributes(self.experiment, detector), **self.made_of}
        for method in list(self._parts):
            explanation = Explanation.join(self._parts.pop(method))
            disk.write_maps(self.maps[method], explanation, samples, {**described, "method": method})


def _explain_source(
    experiment: Inputs,
    explainers: Mapping[ModelKey, Explainer],
    samples: pd.DataFrame,
    bar: tqdm,
    files: Sequence[_Files],
) -> None:
    detector = next(iter(explainers.values())).detector
    with paths.together(), ExitStack() as stack:
        add = {one.key: stack.enter_context(one.writing()) for one in files}
        work = partial(explain_batch, experiment, explainers)
        for done in in_parts(work, experiment.batches(samples, detector), experiment.batch_size):
            for one in files:
                clean, rows = done[one.key]
                for method, explanation in clean.items():
                    disk.check_room(one.maps[method], len(samples), explanation.maps.shape[1:])
                add[one.key](clean, rows)
                bar.update(len(next(iter(clean.values())).dead))
        for one in files:
            one.write_maps(samples, explainers[one.key].detector)


def _nothing(key: ModelKey, source: str, samples: pd.DataFrame) -> str:
    """Why no image of a source has a score."""
    if len(unreadable(samples)) == len(samples):
        return f"none of the {len(samples)} images of {source!r} can be read; `e2m data` says why"
    return f"{key}: no answer on the images of {source!r} is a number; did its training diverge?"


def explain_batch(
    experiment: Inputs,
    explainers: Mapping[ModelKey, Explainer],
    about: pd.DataFrame,
    images: np.ndarray,
    unreadable: np.ndarray,
) -> dict[ModelKey, tuple[dict[str, Explanation], dict[str, pd.DataFrame]]]:
    """Clean explanations by method, and rows by measure, of every detector."""
    needed = any(explainer.needs_regions for explainer in explainers.values()) and "region" in about
    regions = experiment.regions(about["image"], images.shape[1]) if needed else None
    clean = {key: explainer(images, regions=regions) for key, explainer in explainers.items()}
    rows = {key: {} for key in explainers}
    for measure, settings in experiment.measures.items():
        chosen = (about["draw"] < settings["images_per_source"]).to_numpy()
        if chosen.any():
            few = {key: {name: each[chosen] for name, each in methods.items()} for key, methods in clean.items()}
            described = {key: _described(experiment, key, measure, about[chosen], few[key]) for key in explainers}
            known = None if regions is None else regions[chosen]
            for key, frame in _rows(measure, settings, explainers, images[chosen], few, described, known).items():
                rows[key][measure] = frame
    for key in explainers:
        _blank(clean[key], rows[key], about, unreadable)
    return {key: (clean[key], rows[key]) for key in explainers}


def _blank(
    clean: dict[str, Explanation], rows: dict[str, pd.DataFrame], about: pd.DataFrame, unreadable: np.ndarray
) -> None:
    """Leave no value to images that cannot be read, and to those whose answer is no number."""
    for explanation in clean.values():
        explanation.blank(unreadable)
    # These have no class: what changes in them cannot be told.
    without = about["image"][next(iter(clean.values())).predicted < 0]
    for frame in rows.values():
        frame.loc[frame["image"].isin(without), ["correct", "value"]] = False, np.nan


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
    explainers: Mapping[ModelKey, Explainer],
    images: np.ndarray,
    clean: Mapping[ModelKey, dict[str, Explanation]],
    about: Mapping[ModelKey, pd.DataFrame],
    regions: np.ndarray | None,
) -> dict[ModelKey, pd.DataFrame]:
    rows = respond_together(explainers, images, clean, about, perturbations(measure, settings), regions)
    # Sorted by image, so that the order of rows does not depend on the batches.
    return {key: frame.iloc[np.arange(len(frame)).reshape(-1, len(images)).T.ravel()] for key, frame in rows.items()}


def _training(weights: Path) -> dict[str, str]:
    """The settings that a checkpoint of E2M was trained with, as JSON, and the hash of the images that it learned from;
    empty for other weights, or none."""
    try:
        content = read_checkpoint(weights)
    except InputError:
        return {}
    about = {"training": json.dumps(content.get("settings"), sort_keys=True)} if content.get("settings") else {}
    return about | ({LEARNT: learnt.images_of(content["origin"])} if content.get("origin") else {})


def _origin(experiment: Inputs, key: ModelKey) -> str:
    """One hash of the code that explains a detector and of the settings that it reads."""
    names = {"dataset": [experiment.dataset], "measure": experiment.measures, "detector": [key.detector]}
    files = code("e2m.experiment.explain", **names, method=experiment.methods_of(key))
    return disk.short_hash([files, declared.lines(experiment, READ)])


def _attributes(experiment: Inputs, detector: Detector) -> dict[str, str]:
    packages = {f"version_{name}": version(name) for name in ("e2m", "torch", "torchcam", "torchvision")}
    return {
        "profile": experiment.profile,
        "dataset": experiment.dataset,
        "layer": detector.layer,
        "target_class": "predicted",
        "precision": experiment.precision,
        **packages,
    }
