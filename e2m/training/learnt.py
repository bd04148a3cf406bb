"""What a training learns from, as one hash. Its module needs no torch, so that pages can compare it."""

from __future__ import annotations

import pandas as pd

from e2m.store import disk


def origin(train: pd.DataFrame, validate: pd.DataFrame, guided: bool, more: str) -> str:
    """The origin of a checkpoint: its images, and ``more``, which names code and initial weights."""
    return f"images {images_hash(train, validate, guided)}, {more}"


def images_of(origin: str) -> str:
    """The hash of the images in an origin."""
    return origin.partition(", ")[0].removeprefix("images ")


def images_hash(train: pd.DataFrame, validate: pd.DataFrame, guided: bool) -> str:
    """One hash of everything that a training learns from its images: part of every recipe, whoever starts the training.

    It covers both splits and their images in order, with file, label and source; if ``guided``, also the human maps of
    the training images.
    """
    kinds = [kind for kind in ("label", "source") if kind in train]
    splits = [
        [[disk.known_hash(path), *about] for path, *about in samples[["path", *kinds]].itertuples(index=False)]
        for samples in (train, validate)
    ]
    maps = [path and disk.known_hash(path) for path in train["salience"]] if guided and "salience" in train else []
    return disk.short_hash([*splits, maps])
