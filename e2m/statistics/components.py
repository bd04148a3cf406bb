"""How many images are enough: what a difference varies with, from a pilot, and the interval of any larger study.

The model is that of ``e2m.statistics``, with images inside clusters (people):

    value[r, n] = mean + run[r] + cluster[c] + image[n] + residual[r, c] + residual[r, n]

A study of R runs of each group and n images, m_c of them of cluster c, has the squared standard error

    run / R + 2 (residual_c K + residual_i / n) / R + cluster K + image / n        K = sum m_c^2 / n^2

where each symbol is the sum of a variance over both groups, and ``cluster`` and ``image`` belong to the difference,
since both groups share the images. The residual counts twice because intervals count it twice. Only the first part
stays when images are added; with few clusters, K stays as well.

Every statistic is a mean of a table (runs, images): means as they are, similarity between runs by the pseudo-values of
the jackknife, and an AUC by the share of the other class that an image is ranked above or below (DeLong et al. 1988,
Biometrics 44, 837), with one table for each class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from e2m.statistics.intervals import live_in_all, satterthwaite
from e2m.statistics.tables import auc_groups, groups_of
from e2m.types import InputError

FEWEST_RUNS = 3
"""Runs of each group from which a variance over runs is estimated: two pairs of runs share one, and say nothing."""

FEWEST_IMAGES = 20
"""Images below which no variance over images is estimated, and no study is planned."""

MOST_RUNS = 1000
"""Largest number of runs that is planned with."""


@dataclass(frozen=True)
class Draw:
    """The images that there are of one class or source, in the order in which a study takes them.

    Attributes:
        concentration: (N,) the sum of the squared shares of the clusters among the first 1, 2, ... N images: 1 / n if
            all images are independent.
        clusters: (N,) the number of clusters among them.
    """

    concentration: np.ndarray
    clusters: np.ndarray

    @classmethod
    def of(cls, labels: ArrayLike) -> Draw:
        """The draw of images with these labels of clusters, (N,), in the order of the draw."""
        _, codes = np.unique(np.asarray(labels), return_inverse=True)
        before = _earlier(codes)
        taken = np.arange(1, len(codes) + 1)
        return cls(np.cumsum(2 * before + 1) / taken**2, np.cumsum(before == 0))

    @property
    def images(self) -> int:
        """Number of images that there are."""
        return len(self.clusters)


@dataclass(frozen=True)
class Part:
    """Variances of one class of images in a difference: of a cluster, an image, and of both within a run.

    The last two are sums over both groups, of one run each.
    """

    cluster: float
    image: float
    residual_cluster: float
    residual_image: float

    def variance(self, runs: int, images: ArrayLike, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
        """The parts of the squared standard error that images and that residuals bring, for numbers of images."""
        images = np.asarray(images)
        concentration = draw.concentration[images - 1]
        residual = (self.residual_cluster * concentration + self.residual_image / images) / runs
        return self.cluster * concentration + self.image / images + residual, residual


@dataclass(frozen=True)
class Components:
    """What a difference of two groups of runs varies with.

    Attributes:
        runs: the variance between the runs of each of the two groups.
        parts: one for the images, or one for each class of images.
    """

    runs: tuple[float, float]
    parts: tuple[Part, ...]

    def error(self, runs: int, images: Sequence[int], draws: Sequence[Draw]) -> tuple[float, float]:
        """The squared standard error of a study, and the share of it that more images would remove.

        Args:
            runs: of each group.
            images: number of each class.
            draws: those that there are of each class.
        """
        of_runs, of_images = self._variances(runs, images, draws)
        whole = of_runs.sum() + of_images.sum()
        return float(whole), float(1 - sum(self.runs) / runs / whole) if whole > 0 else 0.0

    def half_width(self, runs: int, images: Sequence[int], draws: Sequence[Draw]) -> float:
        """Half the expected width of the 95 % interval of a difference; arguments as in ``error``."""
        of_runs, of_images = self._variances(runs, images, draws)
        variances = np.array([*of_runs, *of_images])
        if not variances.any():
            return 0.0
        clusters = [int(draw.clusters[count - 1]) for count, draw in zip(images, draws, strict=True)]
        freedom = satterthwaite(variances, [runs, runs, *clusters])
        return float(stats.t.ppf(0.975, freedom) * np.sqrt(variances.sum()))

    def images(self, runs: int, draws: Sequence[Draw], share: float) -> list[int]:
        """The smallest numbers of images that are as good as all there are, up to a share of the squared error.

        More images, up to all of the draw, would then reduce the squared standard error by ``share`` at most, and the
        width of the interval by about half of it: 5 % if the share is 0.1. If there are many more images and people
        than that, the images' part is at most this share of the whole. Several classes may each add an equal part.

        Args:
            runs: of each group, in the study.
            draws: the images that there are of each class.
            share: above 0 and below 1.
        """
        everything = [draw.images for draw in draws]
        spare = self.error(runs, everything, draws)[0] * share / (1 - share) / len(draws)
        counts = []
        for part, draw in zip(self.parts, draws, strict=True):
            of_images, residual = part.variance(runs, np.arange(1, draw.images + 1), draw)
            too_few = np.flatnonzero(of_images + residual > (of_images + residual)[-1] + spare)
            counts.append(min(draw.images, max(FEWEST_IMAGES, int(too_few[-1]) + 2 if len(too_few) else 1)))
        return counts

    def runs_for(self, half_width: float, draws: Sequence[Draw]) -> int | None:
        """The fewest runs of each group whose interval is as short with all images; None above ``MOST_RUNS``."""
        everything = [draw.images for draw in draws]
        reached = (runs for runs in range(2, MOST_RUNS + 1) if self.half_width(runs, everything, draws) <= half_width)
        return next(reached, None)

    def images_for(self, half_width: float, runs: int, draws: Sequence[Draw], least: Sequence[int]) -> list[int] | None:
        """The smallest numbers of images from ``least`` up whose interval is as short; None if all are too few."""
        low, high = np.array(least), np.array([draw.images for draw in draws])
        for share in np.linspace(0, 1, 101):
            counts = np.ceil(low + share * (high - low)).astype(int).tolist()
            if self.half_width(runs, counts, draws) <= half_width:
                return counts
        return None

    def _variances(self, runs: int, images: Sequence[int], draws: Sequence[Draw]) -> tuple[np.ndarray, np.ndarray]:
        parts = [part.variance(runs, count, draw) for part, count, draw in zip(self.parts, images, draws, strict=True)]
        residual = sum(float(both) for _, both in parts)
        # Residuals come half from each group: the two are not told apart.
        return np.array(self.runs) / runs + residual / 2, np.array([float(one) for one, _ in parts])


def of_difference(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None, paired: bool = False
) -> Components:
    """The components of the difference of two groups of runs on the same images.

    Args:
        first, second: (R1, N) and (R2, N), NaN where dead or missing; images without a live value in one of them are
            left out. If ``paired``, rows are all pairs of runs in the order of ``itertools.combinations``.
        clusters: (N,) labels; None if images are independent.

    Raises:
        InputError: fewer runs than ``FEWEST_RUNS``, or fewer images or clusters than ``FEWEST_IMAGES``.
    """
    tables = [np.asarray(table, dtype=float) for table in (first, second)]
    labels = np.arange(tables[0].shape[1]) if clusters is None else np.asarray(clusters)
    live = live_in_all(tables)
    _check_images(labels[live])
    tables = [_pseudo_values(table[:, live]) if paired else table[:, live] for table in tables]
    tables = [table[np.isfinite(table).any(axis=1)] for table in tables]
    _check_runs(tables)
    return _components([[_balanced(table) for table in tables]], [labels[live]])


def of_auc_difference(
    first: ArrayLike, second: ArrayLike, synthetic: ArrayLike, clusters: ArrayLike | None = None
) -> Components:
    """The components of the difference of two groups' AUCs, with the parts of authentic and of synthetic images.

    Args:
        first, second: (R1, N) and (R2, N) scores, higher for synthetic; runs with a missing score are left out.
        synthetic: (N,) bool.
        clusters: as in ``of_difference``.

    Raises:
        InputError: as ``of_difference``, of each class.
    """
    classes = np.asarray(synthetic)
    labels = np.arange(len(classes)) if clusters is None else np.asarray(clusters)
    tables = [np.asarray(table, dtype=float) for table in (first, second)]
    readable = live_in_all(tables)
    tables = [table[np.isfinite(table[:, readable]).all(axis=1)] for table in tables]
    kinds = [readable & (classes == kind) for kind in (False, True)]
    for kind in kinds:
        _check_images(labels[kind])
    _check_runs(tables)
    of_groups = [_placements(table[:, kinds[0]], table[:, kinds[1]]) for table in tables]
    return _components(list(zip(*of_groups, strict=True)), [labels[kind] for kind in kinds])


Estimated = Components | InputError
"""What a difference varies with, or why it cannot be estimated."""


def of_rows(
    rows: pd.DataFrame, by: Sequence[str], *, first: str, second: str, clusters: Mapping | pd.Series | None = None
) -> Iterator[tuple[tuple, Estimated]]:
    """The components of the difference of two regimes, for every group of tidy rows; arguments as in ``compare``.

    Yields:
        The values of ``by`` and the components.
    """
    compared = (first, second)
    names, groups = groups_of(rows[rows["regime"].isin(compared)], by, clusters, "regime", compared)
    for name, (tables, labels, pairs, _) in zip(names.itertuples(index=False, name=None), groups, strict=True):
        yield name, _or_error(of_difference, *tables, labels, paired=pairs is not None)


def of_auc_rows(
    rows: pd.DataFrame, against: Mapping[str, str], *, first: str, second: str, clusters: Mapping | pd.Series | None
) -> Iterator[tuple[str, str, str, Estimated]]:
    """The components of the difference of two regimes' AUCs: detector, synthetic source, authentic source, and those.

    Arguments as in ``compare_auc``, with one authentic source for each synthetic one.
    """
    groups = auc_groups(rows, ["detector"], against, clusters, "regime", (first, second))
    for name, source, tables, synthetic, labels in groups:
        yield name["detector"], source, against[source], _or_error(of_auc_difference, *tables, synthetic, labels)


def _or_error(estimate: Callable[..., Components], *arguments, **options) -> Estimated:
    try:
        return estimate(*arguments, **options)
    except InputError as error:
        return error


def _components(parts: Sequence[Sequence[np.ndarray]], labels: Sequence[np.ndarray]) -> Components:
    """From the tables (R, N) of both groups, for each class of images; their row means are the runs' values."""
    estimated, of_runs = [], np.array([table.mean(axis=1).var(ddof=1) for table in parts[0]])
    for tables, codes in zip(parts, labels, strict=True):
        inner = [table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean() for table in tables]
        residuals = np.array([_nested(rest, codes, len(rest) - 1) for rest in inner])
        effects = tables[0].mean(axis=0) - tables[1].mean(axis=0)
        counts = np.array([len(table) for table in tables])
        # Means over runs hold a part of the residual.
        varying = _nested((effects - effects.mean())[None], codes, 1) - (residuals / counts[:, None]).sum(axis=0)
        estimated.append(Part(*varying.clip(0), *residuals.sum(axis=0)))
        concentration = Draw.of(codes).concentration[-1]
        of_runs = of_runs - residuals @ np.array([concentration, 1 / len(codes)])
    return Components(tuple(of_runs.clip(0).tolist()), tuple(estimated))


def _nested(rows: np.ndarray, labels: np.ndarray, freedom: int) -> np.ndarray:
    """(2,) the variance of clusters and that of images in them, from centred rows (M, N): analysis of variance.

    Rows have ``freedom`` degrees of freedom together. If every image is a cluster of its own, all varies with images.
    """
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    images, clusters = len(codes), len(sizes)
    if clusters == images:
        return np.array([0.0, (rows**2).sum() / freedom / (images - 1)])
    means = np.array([np.bincount(codes, row) for row in rows]) / sizes
    inside = ((rows - means[:, codes]) ** 2).sum() / freedom / (images - clusters)
    between = (sizes * means**2).sum() / freedom / (clusters - 1)
    size = (images - (sizes**2).sum() / images) / (clusters - 1)
    return np.array([max(0.0, (between - inside) / size), inside])


def _balanced(table: np.ndarray) -> np.ndarray:
    """A table without gaps and with the same mean: gaps add nothing, and others count for more."""
    live = np.isfinite(table)
    mean = table[live].mean()
    return mean + np.where(live, table - mean, 0.0) / live.mean()


def _pseudo_values(pairs: np.ndarray) -> np.ndarray:
    """(R, N) of (P, N): how much each run moves the mean over pairs; their mean is that of all pairs."""
    runs = round((1 + np.sqrt(1 + 8 * len(pairs))) / 2)
    if runs < FEWEST_RUNS:
        return np.zeros((runs, pairs.shape[1]))  # too few, which a check says
    members = np.column_stack(np.triu_indices(runs, 1))
    filled = np.where(np.isfinite(pairs), pairs, np.nanmean(pairs, axis=0))
    left = np.array([filled[(members != run).all(axis=1)].mean(axis=0) for run in range(runs)])
    return runs * filled.mean(axis=0) - (runs - 1) * left


def _placements(authentic: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, A) and (R, S): the share of the other class that an image is ranked right against; their mean is the AUC."""
    fake, real = synthetic[:, None], authentic[:, :, None]
    right = (fake > real) + (fake == real) / 2
    return right.mean(axis=2), right.mean(axis=1)


def _earlier(codes: np.ndarray) -> np.ndarray:
    """(N,) how many earlier images have the same code."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    ranks = np.arange(len(codes)) - np.repeat(starts, np.diff([*starts, len(codes)]))
    return ranks[np.argsort(order, kind="stable")]


def _check_runs(tables: Sequence[np.ndarray]) -> None:
    if (runs := min(len(table) for table in tables)) < FEWEST_RUNS:
        raise InputError(
            f"{runs} runs of a group with values arrived; {FEWEST_RUNS} or more fit, to estimate a variance over runs"
        )


def _check_images(labels: np.ndarray) -> None:
    if len(labels) < FEWEST_IMAGES or (labels == labels[0]).all():
        clusters = len(np.unique(labels))
        raise InputError(
            f"{len(labels)} images of {clusters} clusters with values in both groups arrived; {FEWEST_IMAGES} images "
            "of 2 clusters or more fit, to estimate a variance over images"
        )
