"""Which images are worth a look: every image's values in every group, and the most striking images of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from e2m import statistics
from e2m.audit.report import Gallery
from e2m.pages.selection import at_level
from e2m.types import LABELS

NOISE = 0.1
"""The share of noise at which decisions flip or not."""

_KEYS = ["image", "regime"]


def of_images(
    scores: pd.DataFrame,
    subjects: Mapping[str, str],
    maps: pd.DataFrame,
    measured: Mapping[str, pd.DataFrame],
    noise: float = NOISE,
) -> pd.DataFrame:
    """Every image in every group: the table ``Report.images``.

    Args:
        scores: tidy rows of P(synthetic) of the clean images; ``regime`` holds the group.
        subjects: image -> its subject.
        maps: tidy rows with one value a map, NaN where it is dead: of one variant of the entropy.
        measured: measure -> its tidy rows of one salience method, of those that there are: "noise" gives the column
            ``flipped``, "transformations" gives ``rotated``, "stability" gives ``alike``.
        noise: share of noise of ``flipped``.

    Returns:
        image, label, source, subject, group; score, least and most, the mean, smallest and largest P(synthetic) of the
        runs; runs (that have a score), wrong (of these), dead (maps); flipped, the share of runs whose decision noise
        flips; rotated, the mean SSIM of the maps of both rotations, moved back, with the map; alike, the mean SSIM
        between runs; note, which says why there is no score. Columns of measures that are absent are absent.
    """
    rows = _plain(statistics.softmax_scores(scores))
    decided = rows["value"].notna()
    rows = rows.assign(wrong=decided & ((rows["value"] > 0.5) != (rows["label"] == "synthetic")))
    groups = rows.groupby(_KEYS, sort=False)
    table = groups[["label", "source"]].first()
    values = {"score": "mean", "least": "min", "most": "max", "runs": "count"}
    table = table.join(groups["value"].agg(**values)).join(groups["wrong"].sum())
    table["dead"] = _plain(maps).assign(value=lambda rows: rows["value"].isna()).groupby(_KEYS)["value"].sum()
    for name, (measure, value) in _FURTHER.items():
        if measure in measured:
            chosen = value(measured[measure], noise)
            table[name] = _plain(chosen).groupby(_KEYS)["value"].mean()
    table = table.rename_axis(["image", "group"]).reset_index()
    table.insert(3, "subject", table["image"].map(dict(subjects)))
    return table.assign(note=np.where(table["runs"] == 0, "the image could not be read, or no run gave a score", ""))


def _flipped(rows: pd.DataFrame, noise: float) -> pd.DataFrame:
    return statistics.flips(at_level(rows, noise))


def _rotated(rows: pd.DataFrame, _: float) -> pd.DataFrame:
    turned = rows["level"].astype(str).str.startswith("rotate")
    return rows[turned & (rows["variant"] == "ssim_valid") & (rows["target"] == "predicted")]


def _alike(rows: pd.DataFrame, _: float) -> pd.DataFrame:
    return rows[rows["variant"] == "ssim"]


_FURTHER = {
    "flipped": ("noise", _flipped),
    "rotated": ("transformations", _rotated),
    "alike": ("stability", _alike),
}
"""Column of the table of images -> its measure, and the function that takes its rows from those of the measure."""


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose names are text, so that groups of categories that do not occur take no room."""
    names = [name for name in ("image", "regime", "label", "source") if name in rows]
    return rows.astype(dict.fromkeys(names, str))


@dataclass(frozen=True)
class _Kind:
    """A kind of gallery: which images are striking, and what to say of one.

    Attributes:
        title, about: of the gallery.
        needs: the column that it needs.
        striking: the table of images -> how striking each row is; NaN for rows that are not. The most striking row of
            an image counts.
        words: the rows of an image -> what to say of it.
    """

    title: str
    about: str
    needs: str
    striking: Callable[[pd.DataFrame], pd.Series]
    words: Callable[[pd.DataFrame], str]


def _surprise(images: pd.DataFrame) -> pd.Series:
    confidence = images["score"].where(images["label"] == "authentic", 1 - images["score"])
    return confidence.where(confidence > 0.5)


def _split(images: pd.DataFrame) -> pd.Series:
    apart = images.groupby("image", sort=False)["score"].transform(lambda scores: scores.max() - scores.min())
    return apart.where(apart > 0)


def _taken_for(rows: pd.DataFrame) -> str:
    surprise = _surprise(rows)
    row = rows.loc[surprise.idxmax()]
    other = LABELS[row["label"] == LABELS[0]]
    return f"taken for {other} with {surprise.max():.2f} by {row['group']}"


def _by_group(words: Callable[[pd.Series], str]) -> Callable[[pd.DataFrame], str]:
    return lambda rows: "; ".join(f"{row['group']}: {words(row)}" for _, row in rows.iterrows())


_KINDS = (
    _Kind(
        "Most surprising",
        "Wrong with the highest confidence, in the mean over the runs of a group.",
        "score",
        _surprise,
        _taken_for,
    ),
    _Kind(
        "Where groups disagree",
        "The mean score differs most between groups.",
        "score",
        _split,
        lambda rows: f"mean scores {_split(rows).max():.2f} apart",
    ),
    _Kind(
        "Flips under noise",
        "Noise on {noise:g} of all values flips the decision of most runs. Shown are the maps of the clean image.",
        "flipped",
        lambda images: images["flipped"].where(images["flipped"] > 0),
        _by_group(lambda row: f"{row['flipped'] * row['runs']:.0f} of {row['runs']} runs flip"),
    ),
    _Kind(
        "Worst under rotation",
        "The map of the image turned by 90 degrees, turned back, differs most from the map of the image. Shown are the "
        "maps of the image as it is.",
        "rotated",
        lambda images: -images["rotated"],
        _by_group(lambda row: f"SSIM {row['rotated']:.2f}"),
    ),
    _Kind(
        "Runs disagree",
        "The maps of the runs of one group differ most.",
        "alike",
        lambda images: -images["alike"],
        _by_group(lambda row: f"SSIM between runs {row['alike']:.2f}"),
    ),
)


def galleries(images: pd.DataFrame, noise: float = NOISE, count: int = 6) -> list[Gallery]:
    """The galleries of a report; a kind without a striking image has none.

    Args:
        images: the result of ``of_images``.
        noise: the share of noise that it was made with.
        count: largest number of images of a gallery.
    """
    return [
        Gallery(kind.title, kind.about.format(noise=noise), names, [_note(kind, images, name) for name in names])
        for kind in _KINDS
        if kind.needs in images and (names := _most(kind.striking(images), images["image"], count))
    ]


def _most(striking: pd.Series, names: pd.Series, count: int) -> list[str]:
    """The images with the largest values; of equal ones, the first by name."""
    largest = striking.groupby(names).max().dropna().sort_index()
    return list(largest.sort_values(ascending=False, kind="stable").index[:count])


def _note(kind: _Kind, images: pd.DataFrame, name: str) -> str:
    return kind.words(images[(images["image"] == name) & images[kind.needs].notna()])
