"""The report of an audit: ``audit.html`` for people, ``audit.json`` and Parquet for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from e2m.audit import data, page
from e2m.store import disk, paths

if TYPE_CHECKING:
    from e2m.audit.check import Finding

SCHEMA = "e2m-audit-1"
"""The version of ``audit.json``; ``schema.json`` beside this file documents it."""


@dataclass(frozen=True)
class Group:
    """Detectors that are compared as one.

    Attributes:
        name: as the user calls it.
        detector: what the user asked for: "timm:convnext_atto", "mydetectors:build".
        runs: the names of its runs, in their order: the file names of its checkpoints.
        about: what else there is to say, in order: layer, size of input and maps, hash of the weights.
    """

    name: str
    detector: str
    runs: Sequence[str]
    about: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        preferred: the name of the group that deserves more trust; None if there is no reason to prefer any, or if
            there is one group.
        reasons: what led to it, in sentences: equal accuracy, the measures, what limits the answer.
        needed: about how many more runs or images would decide it, in a sentence; "" if it is decided.
        rule: the written rule that gave the answer, a point each; none for a report card.
        because: why, in a sentence or two; stands below the answer.
    """

    preferred: str | None
    reasons: Sequence[str]
    needed: str = ""
    rule: Sequence[str] = ()
    because: str = ""


@dataclass(frozen=True)
class Shown:
    """An image with the maps of all runs.

    Attributes:
        image: its name.
        picture: (H, W, 3) uint8, the image as detectors see it; of any size.
        maps: group -> (runs, h, w) in [0, 1]; NaN for a dead or missing map. Groups may have maps of different sizes.
        scores: group -> (runs,) P(synthetic); NaN where there is none.
        references: name -> (h, w) in [0, 1]: the human map, the true region, where they exist.
    """

    image: str
    picture: np.ndarray
    maps: Mapping[str, np.ndarray]
    scores: Mapping[str, np.ndarray]
    references: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Gallery:
    """Images that are worth a look.

    Attributes:
        title: of the gallery.
        about: how its images were chosen, in a sentence.
        images: their names, the most striking first.
        notes: what is striking about each, in words.
    """

    title: str
    about: str
    images: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class Report:
    """Everything that an audit has found.

    Tables have one row a case and these columns; further ones are ignored. Where a number is NaN, ``note`` says why.

    Attributes:
        title: of the page: "Audit of faces/".
        groups: the groups, in the user's order. One gives a report card, several a comparison.
        method: salience method, in words: "Grad-CAM".
        verdict: the answer.
        equal: equality of accuracy by pair of groups and synthetic source: group, against, source, verdict ("equal",
            "different" or "undecided"), difference (of the AUC, group minus against), low_90, high_90, margin, p, runs,
            images, note; optionally p_interval and p_corrected. No rows if there is one group.
        means: every quantity of every group: row (the quantity in words), letter (of its measure; "" for accuracy and
            AUC), better ("higher", "lower" or ""), group, mean, low, high, runs, images, missing, note.
        differences: every quantity of every pair of groups: row, letter, better, group, against, difference (group
            minus against), low, high, probability_greater, cliffs_delta, cliffs_low, cliffs_high, p, p_holm,
            p_smallest, runs, images, missing, note; optionally p_interval and p_corrected (NaN where the quantity does
            not decide; above .05, the difference favours nobody). No rows if there is one group.
        controls: floors and ceilings on these images: row (as in ``means``), group (whose size of maps they have),
            control (in words), mean, low, high, note.
        other_methods: quantities of maps with further salience methods: method (in words) and the columns of ``means``.
        found: the images found: source, label, images, subjects.
        left_out: what was left out: what (a folder, a file type, an image), files (their number), why.
        counts: maps and scores by group, run (its name) and source: images, dead, missing, unreadable.
        findings: what ``e2m check`` noticed, of all groups.
        images: every image in every group: the result of ``e2m.audit.galleries.of_images``.
        galleries: images worth a look: the result of ``e2m.audit.galleries.galleries``.
        look: names of images -> the images with their maps, in this order; called for the images that the page embeds.
        scores: frames of tidy rows of P(synthetic) of the clean images: the columns of ``e2m.store.disk.SCHEMA``,
            where ``regime`` holds the group.
        rows: frames of tidy rows of all measures, in the same columns. Frames are written one after another.
        provenance: what this page came from, in order: data, code, packages, hardware, command.
    """

    title: str
    groups: Sequence[Group]
    method: str
    verdict: Verdict
    equal: pd.DataFrame
    means: pd.DataFrame
    differences: pd.DataFrame
    controls: pd.DataFrame
    other_methods: pd.DataFrame
    found: pd.DataFrame
    left_out: pd.DataFrame
    counts: pd.DataFrame
    findings: Sequence[Finding]
    images: pd.DataFrame
    galleries: Sequence[Gallery]
    look: Callable[[Sequence[str]], Iterator[Shown]]
    scores: Iterable[pd.DataFrame]
    rows: Iterable[pd.DataFrame]
    provenance: Mapping[str, str]


def write(report: Report, folder: str | Path, book: str = "") -> Path:
    """Write ``audit.html``, ``audit.json``, ``scores.parquet`` and ``rows.parquet``.

    Args:
        report: what they hold.
        folder: gets the files; made if it is absent.
        book: address of the book, whose pages explain the measures; without it the page has no links.

    Returns:
        The path of ``audit.html``.

    Raises:
        OSError: a file cannot be written; the message names it, and an earlier file of that name stays as it was.
    """
    folder = Path(folder)
    content = data.as_data(report, SCHEMA)
    data.check(content)
    for name in ("scores", "rows"):
        _write_rows(folder / f"{name}.parquet", getattr(report, name))
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    paths.write_atomically(folder / "audit.json", lambda file: file.write(text.encode()))
    path = folder / "audit.html"
    parts = page.render(content, report, book)
    paths.write_atomically(path, lambda file: file.writelines(part.encode() for part in parts))
    return path


def _write_rows(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    """Tidy rows as Parquet, a frame at a time; the column ``regime`` is called ``group``."""
    schema = pa.schema([field.with_name("group") if field.name == "regime" else field for field in disk.PLAIN])
    with paths.writing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for frame in frames:
            table = disk.as_table(frame[[name for name in disk.PLAIN.names if name in frame]])
            writer.write_table(table.rename_columns(schema.names))
