"""Data sets: one small file each, whose function ``load(**options)`` gives the frame of all splits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import pandas as pd

from e2m import plugins
from e2m.types import LABELS, InputError

COLUMNS = ("image", "path", "label", "source", "split", "subject", "salience")
SEVEN_TIMES = "train_seven_times"
"""Split of the regime ``seven_times``: CYBORG's list of seven times as many training images. Few data sets have it."""

SPLITS = ("train", "validate", "test", SEVEN_TIMES)


def load_dataset(
    name: str, split: str | None = None, sources: str | Iterable[str] | None = None, **options: object
) -> pd.DataFrame:
    """The images of a data set, one row each, in the order in which the data set gives them.

    Args:
        name: of the data set: "demo", "folder", or any other file in ``e2m/datasets``.
        split: one of ``SPLITS``; None for all of them.
        sources: names of the sources to keep (one name, or several); None for all of them.
        options: options of the data set; ``folder`` takes ``root``, ``csv`` and ``salience``.

    Returns:
        A frame with the columns ``image`` (a unique name), ``path`` (absolute), ``label`` ("authentic" or "synthetic"),
        ``source``, ``split``, ``subject`` (the cluster that an image belongs to), ``salience`` (absolute path of the
        human map, or "") and, where known, ``region`` (path of the true region, or ""), ``segmentation`` (path of a
        mask of the parts of the face, or "") and ``annotations`` (a tuple: the paths of the human maps of several
        people, the first of them ``salience``).

    Raises:
        InputError: an unknown data set, option, split or source; a source or a split without images; a frame that
            breaks the rules above.
    """
    load = plugins.load("dataset", name).load
    _check_options(name, load, options)
    samples = load(**options)
    _check_frame(name, samples)
    return _select(name, samples, split, sources)


def _check_options(name: str, load: Callable[..., pd.DataFrame], options: dict[str, object]) -> None:
    parameters = inspect.signature(load).parameters
    exist = f"its options: {', '.join(parameters) or 'none'}"
    if unknown := [option for option in options if option not in parameters]:
        raise InputError(f"data set {name!r} has no option {', '.join(map(repr, unknown))}; {exist}")
    missing = [key for key, value in parameters.items() if value.default is value.empty and key not in options]
    if missing:
        raise InputError(f"data set {name!r} needs the option {', '.join(map(repr, missing))}; {exist}")


def _check_frame(name: str, samples: pd.DataFrame) -> None:
    if missing := [column for column in COLUMNS if column not in samples]:
        raise InputError(
            f"data set {name!r} gives no column {', '.join(missing)}; the columns needed are {', '.join(COLUMNS)}"
        )
    for column, known in (("label", LABELS), ("split", SPLITS)):
        if unknown := sorted(set(samples[column]) - set(known), key=str):
            raise InputError(f"data set {name!r} has the {column} {unknown[0]!r}; choose from {', '.join(known)}")
    if (twice := samples["image"].duplicated()).any():
        raise InputError(
            f"data set {name!r} names {twice.sum()} images more than once, {samples['image'][twice].iloc[0]!r} first; "
            "image names must be unique: drop the repeated rows or rename them"
        )


def _select(name: str, samples: pd.DataFrame, split: str | None, sources: str | Iterable[str] | None) -> pd.DataFrame:
    if split is not None:
        if split not in SPLITS:
            raise InputError(f"no split named {split!r}; choose from {', '.join(SPLITS)}")
        if not (samples["split"] == split).any():
            filled = [other for other in SPLITS if (samples["split"] == other).any()]
            raise InputError(
                f"data set {name!r} has no images in split {split!r}; it has {', '.join(filled) or 'none'}"
            )
    known = list(dict.fromkeys(samples["source"]))
    if split is not None:
        samples = samples[samples["split"] == split]
    if sources is not None:
        wanted = [sources] if isinstance(sources, str) else list(sources)
        _check_sources(name, wanted, known, samples, split)
        samples = samples[samples["source"].isin(wanted)]
    if samples.empty:
        raise InputError(f"data set {name!r} has no images")
    return samples.reset_index(drop=True)


def _check_sources(name: str, wanted: list[str], known: list[str], samples: pd.DataFrame, split: str | None) -> None:
    if not wanted:
        raise InputError(f"an empty list of sources; choose from {', '.join(known)}, or give None for all of them")
    if unknown := [source for source in wanted if source not in known]:
        raise InputError(f"data set {name!r} has no source {unknown[0]!r}; choose from {', '.join(known)}")
    filled = list(dict.fromkeys(samples["source"]))
    if empty := [source for source in wanted if source not in filled]:
        raise InputError(
            f"source {empty[0]!r} of data set {name!r} has no images in split {split!r}; "
            f"this split has {', '.join(filled)}"
        )
