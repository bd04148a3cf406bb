"""Salience and scores of changed images, compared with those of the clean images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd

from e2m.arrays import ssim
from e2m.arrays.maps import upsample
from e2m.salience.engine import Explainer
from e2m.types import Explanation, InputError, Perturbation

K = TypeVar("K", bound=Hashable)

Perturbations = Callable[[np.ndarray, dict[str, np.ndarray]], Iterator[Perturbation]]
"""A measure's: takes images (n, H, W, 3) and 8-bit maps (n, H, W) by the name of what they guide."""


def respond(
    explainer: Explainer,
    images: np.ndarray,
    clean: dict[str, Explanation],
    about: pd.DataFrame,
    perturbations: Perturbations,
    regions: np.ndarray | None = None,
) -> pd.DataFrame:
    """Compare salience and scores of one batch before and after a measure's perturbations, as tidy rows.

    Maps of other software need no explainer: see ``e2m.salience.given``. Changed images are freed when the call ends.
    SSIM is taken on 8-bit maps upsampled to the images' size (scikit-image's defaults).

    Args:
        explainer: an open explainer.
        images: (n, H, W, 3) uint8.
        clean: explanations of the images, by method.
        about: n rows with columns about the images, repeated in the result.
        perturbations: function of a measure; takes the images and their 8-bit clean maps (n, H, W) by method, and
            yields ``Perturbation``s.
        regions: (n, H, W) bool, true regions, for methods that read them; they are moved like the images.

    Returns:
        The columns of ``about`` and salience, target, variant, region, level, value. Variants: "ssim"; "ssim_valid" on
        the pixels that the perturbation marks as valid; "score" (softmax) and "score_sigmoid" (sigmoid of the synthetic
        logit, as published). Target "clean" explains the class predicted for the clean image. Values of dead maps are
        NaN.

    Raises:
        InputError: ``perturbations`` yields nothing.
    """
    return respond_together({"": explainer}, images, {"": clean}, {"": about}, perturbations, regions)[""]


def respond_together(
    explainers: Mapping[K, Explainer],
    images: np.ndarray,
    clean: Mapping[K, dict[str, Explanation]],
    about: Mapping[K, pd.DataFrame],
    perturbations: Perturbations,
    regions: np.ndarray | None = None,
) -> dict[K, pd.DataFrame]:
    """``respond`` for several detectors, with equal rows: images are perturbed once.

    Perturbations that maps guide are yielded for the maps of all detectors, which share what the measure computes from
    an image alone, such as its blurred copies.

    Args:
        explainers, clean, about: as in ``respond``, by detector.
        images, perturbations, regions: as in ``respond``.
    """
    before = {
        key: {method: Compared(each.maps, each.dead, images.shape[1:3]) for method, each in explanations.items()}
        for key, explanations in clean.items()
    }
    # An image without a class has dead maps, whatever class they are asked for.
    predicted = {key: next(iter(explanations.values())).predicted.clip(0) for key, explanations in clean.items()}
    guides = {f"{method} {key}": (key, method) for key, compared in before.items() for method in compared}
    if len(before) == 1:
        guides = {method: (key, method) for key, method in guides.values()}
    maps = {name: before[key][method].maps for name, (key, method) in guides.items()}
    rows = {key: [] for key in explainers}
    for change in perturbations(images, maps):
        guided, method = guides[change.guide] if change.guide else (None, "")
        changed = replace(change, guide=method)
        for key in [guided] if method else explainers:
            compared = _compare(explainers[key], before[key], predicted[key], changed, regions)
            rows[key] += [{"region": change.region, "level": change.level, **row} for row in compared]
    if not all(rows.values()):
        raise InputError("the measure changed no image: give it at least one level other than that of the clean image")
    return {key: tidy(about[key], each) for key, each in rows.items()}


class Compared:
    """Clean 8-bit maps upsampled to the images' size, with the local sums that every SSIM against them reuses.

    Args:
        maps: (n, h, w) float in [0, 1].
        dead: (n,) bool.
        shape: (H, W) of the images.
    """

    def __init__(self, maps: np.ndarray, dead: np.ndarray, shape: tuple[int, int]):
        self.shape = shape
        self.maps = upsample(maps, *shape)
        self.dead = dead
        self.moments = ssim.local_moments(self.maps)

    def ssim(
        self, maps: np.ndarray, dead: np.ndarray, change: Perturbation, which: slice | np.ndarray = slice(None)
    ) -> dict[str, np.ndarray]:
        """Similarity of the maps of changed images with those of the clean ones, by variant; NaN where either is dead.

        Args:
            maps, dead: as above, of the changed images.
            change: how they were changed.
            which: the images that ``maps`` belong to.
        """
        after = change.undo(upsample(maps, *self.shape))
        before = ssim.Moments(*(getattr(self.moments, part)[which] for part in ("maps", "sums", "variances")))
        dead = self.dead[which] | dead
        if change.valid is None:
            return {"ssim": np.where(dead, np.nan, ssim.ssim(before, after, data_range=255))}
        areas = np.stack([np.ones_like(change.valid), change.valid])[: 1 if change.valid.all() else 2]
        values = np.where(dead, np.nan, ssim.ssim(before, after, data_range=255, valid=areas))
        return {"ssim": values[0], "ssim_valid": values[-1]}


def _compare(
    explainer: Explainer, before: dict, predicted: np.ndarray, change: Perturbation, regions: np.ndarray | None
) -> Iterator[dict]:
    methods = (change.guide,) if change.guide else explainer.methods
    moved = None if regions is None else change.move(regions)
    explained = explainer.several(change.images, ("predicted", predicted), methods, moved)
    first = explained[methods[0], 0]
    unguided = before[change.guide].dead if change.guide else np.zeros(len(predicted), bool)
    scores = {"score": first.scores, "score_sigmoid": 1 / (1 + np.exp(-first.logits[:, 1].astype(np.float64)))}
    for variant, values in scores.items():
        values = np.where(unguided, np.nan, values)
        yield {"salience": change.guide, "target": "", "variant": variant, "value": values}
    flipped = first.predicted != predicted
    for method in methods:
        same = explained[method, 0]
        now = before[method].ssim(same.maps, same.dead, change)
        # If the prediction has not flipped, both targets are the same class and have the same map.
        then = {variant: values.copy() for variant, values in now.items()}
        if flipped.any():
            other = explained[method, 1][flipped]
            for variant, values in before[method].ssim(other.maps, other.dead, change, flipped).items():
                then[variant][flipped] = values
        for target, similar in (("predicted", now), ("clean", then)):
            for variant, values in similar.items():
                yield {"salience": method, "target": target, "variant": variant, "value": values}


def tidy(about: pd.DataFrame, rows: list[dict]) -> pd.DataFrame:
    """One long frame from rows of (N,) values, with their salience, target, variant, region and level, and the columns
    about the N images.
    """
    long = pd.concat([about] * len(rows), ignore_index=True)
    for column in ("salience", "target", "variant", "region", "level"):
        long[column] = np.repeat([row[column] for row in rows], len(about))
    return long.assign(value=np.concatenate([np.asarray(row["value"], np.float64) for row in rows]))
