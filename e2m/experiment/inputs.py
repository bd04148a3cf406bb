"""A profile with the inputs of its jobs: test images with regions and human maps, and trained detectors."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from e2m.arrays.images import check_sides, read_or_mark
from e2m.arrays.map_files import read_maps, read_regions
from e2m.datasets import load_dataset
from e2m.experiment.profile import AUTO, ModelKey, Profile
from e2m.store import disk, paths
from e2m.types import LABELS, MASKER, Detector, InputError

T = TypeVar("T", bound="Inputs")

PILOT = "pilot"
"""The table of the pilot: how many images every measure needs of every source."""

UNTRAINED = "untrained"
"""Instead of the hash of weights that no file holds."""

LEARNT = "training_images_sha256"
"""What results say of the images that their detector learned from."""


class Inputs(Profile):
    """A profile (``notebooks/params/NAME.yaml``) with the inputs of its jobs: ``Inputs.load("demo")``."""

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Test images in the data set's order, at most ``images_per_source`` of each source, drawn at random.

        The column ``draw`` numbers the images of a source in the order of the draw, from 0. The first n of a draw are
        themselves a random sample: a measure of fewer images takes those.
        """
        most = {source: self.images_of(source) for source in self.sources}
        chosen = self.drawn["draw"] < self.drawn["source"].map(most)
        return self.drawn[chosen].reset_index(drop=True)

    @cached_property
    def drawn(self) -> pd.DataFrame:
        """``samples``; if the pilot decides on their number, all images that it can choose from."""
        key = tuple(self.sources)
        if key not in self._drawn:
            samples = load_dataset(self.dataset, split="test", sources=self.sources, **self.options)
            samples = samples.assign(draw=draw(samples))
            most = np.inf if self.images_per_source == AUTO else self.images_per_source
            self._drawn[key] = samples[samples["draw"] < most].reset_index(drop=True)
        return self._drawn[key]

    def images_of(self, source: str, measure: str | None = None) -> int:
        """The number of images of a source that are explained, or that a measure changes: a setting, or the pilot's.

        Raises:
            InputError: a number is "auto", and there is no result of the pilot.
        """
        count = self.images_per_source if measure is None else self.measures[measure]["images_per_source"]
        if count != AUTO:
            return count
        needed = self._needed[self._needed["source"] == source]
        # What a measure changes is explained unchanged as well.
        needed = needed if measure is None else needed[needed["measure"] == measure]
        if needed.empty:
            name, of_it = ("", "") if measure is None else (f"measures.{measure}.", " of it")
            raise InputError(
                f"profile {self.profile}: {name}images_per_source is {AUTO}, and the pilot has no quantity{of_it} on "
                f"{source}; a number fits, or make the pilot again: `e2m pilot --profile {self.profile}`"
            )
        return int(needed["images"].max())

    def of_source(self, source: str) -> Self:
        """The experiment with the numbers of images that measures change in one source."""
        if not self.automatic:
            return self
        counts = {name: {"images_per_source": self.images_of(source, name)} for name in self.measures}
        return replace(self, measures={name: {**self.measures[name], **count} for name, count in counts.items()})

    def fewest(self, sources: Sequence[str]) -> int:
        """The number of images that every measure has of each of these sources."""
        return min(self.images_of(source, measure) for source in sources for measure in (None, *self.measures))

    @cached_property
    def _needed(self) -> pd.DataFrame:
        path = paths.table(self.profile, PILOT)
        if not path.is_file():
            raise InputError(
                f"{path}: no such table, and the profile {self.profile} has images_per_source: {AUTO}; make it with "
                f"`e2m pilot --profile {self.profile}`, after the first runs were trained"
            )
        return disk.read_table(path)

    @cached_property
    def _drawn(self) -> dict[tuple[str, ...], pd.DataFrame]:
        """Sources -> ``drawn``. ``replace`` hands these and the hashes on."""
        return {}

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {}

    def contents(self, source: str) -> str:
        """One hash of a source's test images: names in order, labels, subjects, and files of images and regions."""
        if source not in self._hashes:
            self._hashes[source] = _contents(self.samples, source)
        return self._hashes[source]

    def made_of(self, key: ModelKey, source: str) -> dict[str, str]:
        """What the maps and rows of a detector on one source are made of: hashes of files, and the size of images."""
        masker = disk.known_hash(self.masker_file(key)) if self.has_masker(key) else ""
        return {
            "weights_sha256": disk.known_hash(self.checkpoint(key)) or UNTRAINED,
            **({"masker_sha256": masker} if masker else {}),
            "images_sha256": self.contents(source),
            "image_size": str(self.image_size),
        }

    @property
    def by_label(self) -> dict[str, str]:
        """The in-set sources by the labels of their images: {"authentic": ..., "synthetic": ...}.

        Raises:
            InputError: ``in_set`` is not one source of each label.
        """
        samples = self.drawn[self.drawn["source"].isin(self.in_set)]
        labels = samples.groupby("source", sort=False)["label"].unique()
        if sorted(map(list, labels)) != [[label] for label in LABELS]:
            known = "; ".join(f"{source}: {' and '.join(names)}" for source, names in labels.items())
            raise InputError(
                f"profile {self.profile}: in_set has the labels {known}; one authentic and one synthetic source fit"
            )
        sources = {names[0]: source for source, names in labels.items()}
        return {label: sources[label] for label in LABELS}

    @property
    def authentic(self) -> str:
        """The authentic in-set source."""
        return self.by_label["authentic"]

    @property
    def synthetic(self) -> str:
        """The synthetic in-set source."""
        return self.by_label["synthetic"]

    @property
    def against(self) -> dict[str, str]:
        """Every synthetic source with the authentic source that its AUC is taken against.

        That is the one in ``counterparts``, such as the photographs that a generator learned from, or the in-set one.

        Raises:
            InputError: a counterpart of an authentic source, or one with synthetic images; or ``in_set`` is not one
                source of each label.
        """
        labels = self.drawn.groupby("label", sort=False)["source"].unique()
        synthetic = labels.get("synthetic", [])
        if odd := [source for source in self.counterparts if source not in synthetic]:
            raise InputError(
                f"profile {self.profile}: counterparts has the key {odd[0]!r}, which is authentic; synthetic ones fit"
            )
        if odd := [source for source in self.counterparts.values() if source in synthetic]:
            raise InputError(
                f"profile {self.profile}: counterparts has {odd[0]!r}, which is synthetic; authentic ones fit"
            )
        return {source: self.counterparts.get(source) or self.authentic for source in synthetic}

    @property
    def side(self) -> int:
        """Side in pixels of images and regions as pages show them."""
        return self.image_size or 224

    def batches(
        self, samples: pd.DataFrame, detector: Detector
    ) -> Iterator[tuple[pd.DataFrame, np.ndarray, np.ndarray]]:
        """Batches of ``batch_size``: rows of the samples, their images (n, H, W, 3) uint8, and (n,) bool, True if an
        image is unreadable; stderr says why.

        A detector's input is resized once from the file's pixels: here, to the detector's size, or by the detector
        where ``image_size`` names another size, which then is that of every file.

        Raises:
            InputError: a file would be resized twice.
        """
        size = self.image_size or detector.size
        if size != detector.size:
            check_sides(samples, size, lambda: {detector.name: detector.size})
        start = 0
        for images, wrong in read_or_mark(samples, size=size, batch=self.batch_size):
            for reason in wrong.values():
                tqdm.write(f"marked as missing: {reason}", file=sys.stderr)
            yield samples.iloc[start : start + len(images)], images, np.isin(np.arange(len(images)), list(wrong))
            start += len(images)

    def images(self, names: Sequence[str]) -> np.ndarray:
        """(N, H, W, 3) uint8, the test images of these names; an unreadable image is a grey square."""
        return np.concatenate([images for images, _ in read_or_mark(self._named(names), size=self.side)])

    def human(self, names: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
        """(N, h, w) float32, human salience of the test images of these names, min-max normalised at this size; NaN if
        the map is constant, 0 everywhere if an image has none.
        """
        files = self._named(names)["salience"]
        return np.concatenate(
            [read_maps([file], shape=shape) if file else np.zeros((1, *shape), np.float32) for file in files]
        )

    def regions(self, names: Sequence[str], side: int | None = None) -> np.ndarray:
        """(N, side, side) bool, the true regions of the test images of these names; empty if an image has none."""
        side = side or self.side
        files = self._named(names)["region"]
        return np.concatenate(
            [read_regions([file], (side, side)) if file else np.zeros((1, side, side), bool) for file in files]
        )

    def detector(self, detector: str, regime: str, run: int) -> Detector:
        """A trained detector, loaded."""
        from e2m.detectors import load_detector

        key = ModelKey(detector, regime, run)
        masker = self.masker_file(key) if MASKER in self.methods else None
        return load_detector(detector, self.checkpoint(key), device=self.device, masker=masker)

    @cached_property
    def _by_name(self) -> pd.DataFrame:
        return self.samples.set_index("image", drop=False)

    def _named(self, names: Sequence[str]) -> pd.DataFrame:
        return self._by_name.loc[list(names)]


def replace(experiment: T, **changes: Any) -> T:
    """``dataclasses.replace``; what was read of the images is not read again where it stays the same."""
    other = dataclasses.replace(experiment, **changes)
    if changes.keys().isdisjoint(("dataset", "dataset_options", "images_per_source")):
        vars(other).update(_drawn=experiment._drawn, _hashes=experiment._hashes)
    return other


def _contents(samples: pd.DataFrame, source: str) -> str:
    chosen = samples[samples["source"] == source]
    about = [chosen[name].astype(str).tolist() for name in ("image", "label", "subject")]
    kinds = [kind for kind in ("path", "region") if kind in chosen]
    return disk.short_hash(about + [[path and disk.known_hash(path) for path in chosen[kind]] for kind in kinds])


def draw(samples: pd.DataFrame, seed: int = 0) -> pd.Series:
    """The order in which the images of each source are drawn, without replacement: whole numbers from 0.

    Images are ordered by the SHA-256 of seed and name, so the draw depends on neither the order of files nor on other
    images: adding images to a source only moves others back.

    Args:
        samples: samples with ``image`` and ``source``.
        seed: another seed gives another draw.
    """
    keys = samples["image"].map(lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest())
    return keys.groupby(samples["source"]).rank(method="first").astype(int) - 1
