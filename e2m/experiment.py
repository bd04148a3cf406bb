"""A profile put to work: which detectors are trained and explained, and where their results lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from tqdm import tqdm

from e2m import paths, plugins, store
from e2m.datasets import load_dataset
from e2m.images import check_images, read_images
from e2m.types import Explanation, InputError

PROFILES = paths.CHECKOUT / "notebooks" / "params"


@dataclass(frozen=True)
class Trained:
    """One trained detector of an experiment: which network, which regime, which run."""

    detector: str
    regime: str
    run: int

    def __str__(self) -> str:
        return f"{self.detector}, {self.regime}, run {self.run}"


@dataclass(frozen=True)
class Experiment:
    """A profile (``notebooks/params/NAME.yaml``) and the results that belong to it.

    ``Experiment.load("demo")`` reads one. The attributes are the profile's keys; ``notebooks/params/demo.yaml``
    comments on each.
    """

    profile: str
    dataset: str
    dataset_options: dict
    sources: list[str]
    in_set: list[str]
    detectors: list[str]
    regimes: list[str]
    runs: int
    pretrained: bool
    threads: int | None
    image_size: int | None
    batch_size: int
    images_per_source: int
    methods: list[str]
    resamples: int
    training: dict
    measures: dict

    @classmethod
    def load(cls, profile: str = "demo", **changed) -> Experiment:
        """The experiment of a profile, or of a path to a YAML file of the same keys; ``changed`` replaces some keys.

        Raises:
            InputError: no such profile, a key missing or unknown, an unknown detector, regime or measure.
        """
        path = Path(profile) if profile.endswith(".yaml") else PROFILES / f"{profile}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
            raise InputError(f"no profile named {profile!r}; choose from {known}, or give the path of a YAML file")
        content = {**yaml.safe_load(path.read_text()), **changed}
        wanted = {field.name for field in fields(cls)} - {"profile"}
        if odd := sorted(wanted ^ set(content)):
            raise InputError(f"{path}: keys missing or unknown: {', '.join(odd)}; notebooks/params/demo.yaml shows all")
        experiment = cls(profile=path.stem, **content)
        for kind, names in (("regime", experiment.regimes), ("measure", experiment.measures)):
            for name in names:
                plugins.load(kind, name)
        if odd := sorted(set(experiment.in_set) - set(experiment.sources)):
            raise InputError(f"{path}: in_set names {odd}, which sources lacks")
        return experiment

    # What there is to do

    @property
    def trained(self) -> list[Trained]:
        """Every detector that the profile trains."""
        return [Trained(*parts) for parts in product(self.detectors, self.regimes, range(self.runs))]

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Test images, ``images_per_source`` of each source at most, in the data set's order."""
        samples = load_dataset(self.dataset, split="test", sources=self.sources, **self.options)
        return samples.groupby("source", sort=False).head(self.images_per_source).reset_index(drop=True)

    @property
    def options(self) -> dict:
        """Options of the data set, relative paths taken from the repository."""
        names = {"root", "csv", "salience"} & set(self.dataset_options)
        return {**self.dataset_options, **{name: str(paths.CHECKOUT / self.dataset_options[name]) for name in names}}

    @property
    def changing(self) -> list[str]:
        """Measures that change images: their rows are made where the detector is, by ``explain``."""
        return list(self.measures)

    # Where results lie

    def checkpoint(self, one: Trained) -> Path:
        """The weights of a trained detector."""
        return paths.checkpoint(self.profile, one.detector, one.regime, one.run)

    def results(self, one: Trained, sources: Sequence[str] | None = None) -> list[Path]:
        """The files that ``explain`` writes."""
        place = (self.profile, one.detector, one.regime, one.run)
        return [
            *(paths.maps(*place, method, source) for source, method in product(sources or self.sources, self.methods)),
            *(
                paths.rows(*place, measure, source)
                for source, measure in product(sources or self.sources, self.changing)
            ),
        ]

    # The two jobs

    def train(self, one: Trained, progress: bool = True, **changed) -> tuple[pd.DataFrame, Path]:
        """Train one detector, or read it where it is finished: its learning curves and its checkpoint.

        ``changed`` replaces training settings of the profile, for example ``epochs=2``; such a trial has a file of
        its own, so that it never stands in for the profile's detector.
        """
        import torch

        from e2m.detectors import load_detector
        from e2m.training import Settings, fit

        settings = Settings(**self.training, seed=one.run)
        wanted = replace(settings, **changed)
        path = self.checkpoint(one)
        if wanted != settings:
            path = path.with_name(f"{path.stem}-{_short(asdict(wanted))}.pt")
        regime = plugins.load("regime", one.regime)
        splits = [load_dataset(self.dataset, split=split, **self.options) for split in ("train", "validate")]
        for samples in splits:
            check_images(samples)
        if self.threads:
            torch.set_num_threads(self.threads)
        detector = load_detector(one.detector, seed=one.run, pretrained=self.pretrained)
        names = {"regime": one.regime, "run": one.run, "guided": regime.GUIDED}
        return fit(detector, *splits, regime.loss, path, wanted, **names, progress=progress), path

    def explain(self, one: Trained, sources: Sequence[str] | None = None, progress: bool = True) -> None:
        """Explain the test images of one trained detector, clean and changed: all of ``results``.

        One pass over the images: each batch is read and explained once, and that is shared by all measures.
        """
        import torch

        from e2m.detectors import load_detector
        from e2m.salience import Explainer

        # One thread: jobs run side by side, and sums do not depend on how many cores there are.
        torch.set_num_threads(1)
        detector = load_detector(one.detector, checkpoint=self.checkpoint(one))
        check_images(self.samples)
        with Explainer(detector, self.methods) as explainer:
            for source in tqdm(sources or self.sources, f"salience of {one}", disable=not progress, mininterval=2):
                self._explain_source(one, explainer, source)

    def _explain_source(self, one: Trained, explainer, source: str) -> None:
        samples = self.samples[self.samples["source"] == source].reset_index(drop=True)
        place = (self.profile, one.detector, one.regime, one.run)
        found = {method: [] for method in self.methods}
        rows = {measure: [] for measure in self.changing}
        start = 0
        for images in read_images(samples, size=self.image_size, batch=self.batch_size):
            clean = explainer(images)
            for method, explanation in clean.items():
                found[method].append(explanation)
            for measure in self.changing:
                few = max(0, min(len(images), self.measures[measure]["images_per_source"] - start))
                if few:
                    about = samples.iloc[start : start + few]
                    rows[measure].append(self._change(one, measure, explainer, images[:few], clean, about))
            start += len(images)
        for measure, frames in rows.items():
            store.write_rows(paths.rows(*place, measure, source), frames, self.measures[measure])
        attributes = {**asdict(one), **self._attributes(one, explainer.detector)}
        for method, parts in found.items():
            described = {**attributes, "method": method, "target_class": "predicted", "source": source}
            store.write_maps(paths.maps(*place, method, source), Explanation.join(parts), samples, described)

    def _change(self, one: Trained, measure: str, explainer, images, clean, about) -> pd.DataFrame:
        from e2m.salience import respond

        settings = {name: value for name, value in self.measures[measure].items() if name != "images_per_source"}
        changes = partial(plugins.load("measure", measure).changes, **settings)
        about = about[["image", "label", "source"]].assign(
            profile=self.profile, dataset=self.dataset, measure=measure, **asdict(one)
        )
        return respond(explainer, images, {name: found[: len(images)] for name, found in clean.items()}, about, changes)

    def _attributes(self, one: Trained, detector) -> dict:
        packages = {f"version_{name}": version(name) for name in ("e2m", "torch", "torchcam", "torchvision")}
        return {
            "profile": self.profile,
            "dataset": self.dataset,
            "layer": detector.layer,
            "weights_sha256": store.file_hash(self.checkpoint(one)),
            **packages,
        }

    # Reading results

    def maps(self, detector: str, regime: str, method: str, source: str) -> xr.Dataset:
        """Clean maps of all runs: salience (run, image, y, x), score (run, image), dead, label, subject, ..."""
        runs = [
            store.read_maps(paths.maps(self.profile, detector, regime, run, method, source)) for run in range(self.runs)
        ]
        fixed = ("label", "subject")
        joined = xr.concat([one.drop_vars(fixed) for one in runs], pd.RangeIndex(self.runs, name="run"), join="exact")
        return joined.assign({name: runs[0][name] for name in fixed})

    def each(self) -> Iterator[tuple[dict, xr.Dataset]]:
        """Clean maps of every detector, regime, method and source, with a dictionary that names the four."""
        for detector, regime, method, source in product(self.detectors, self.regimes, self.methods, self.sources):
            names = {"detector": detector, "regime": regime, "salience": method, "source": source}
            yield names, self.maps(detector, regime, method, source)

    def rows(self, measure: str, **kept: str) -> pd.DataFrame:
        """Tidy rows of a measure over all detectors and sources; ``kept`` filters, for example ``salience="CAM"``."""
        files = [
            paths.rows(self.profile, one.detector, one.regime, one.run, measure, source)
            for one, source in product(self.trained, self.sources)
        ]
        return store.read_rows(files, filters=[(name, "=", value) for name, value in kept.items()] or None)

    def detector(self, detector: str, regime: str, run: int):
        """A trained detector, loaded."""
        from e2m.detectors import load_detector

        return load_detector(detector, checkpoint=self.checkpoint(Trained(detector, regime, run)))

    def table(self, name: str) -> Path:
        """Where a notebook keeps its summary table."""
        return paths.table(self.profile, name)


def labels(kind: str, names: Sequence[str]) -> dict[str, str]:
    """What figures call plug-ins: name -> LABEL."""
    return {name: plugins.load(kind, name).LABEL for name in names}


def _short(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def correct(maps: xr.Dataset) -> np.ndarray:
    """(run, image) bool: was the image classified rightly?"""
    truth = (maps["label"] == "synthetic").to_numpy()
    return (maps["predicted"].to_numpy() == 1) == truth
