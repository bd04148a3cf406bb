"""Intervals over crossed runs and images: means, differences, pairs of runs, contrasts of images, AUCs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from e2m.types import InputError

FEW_RUNS = 10
"""Below this number of runs, the note of an interval says that runs are few."""

UNDEFINED_SHARE = 0.05
"""An AUC has no interval if more than this share of the resamples of images lacks one class."""

WEIGHTS_AT_ONCE = 500_000
"""Number of resampling weights held in memory at a time (4 MB)."""

OVER = ("runs and images", "images")
"""The factors that an interval can be over."""

Limits = tuple[float, float]
"""The least and the largest value that a quantity can have."""

UNLIMITED = (-np.inf, np.inf)

ROUNDING = 1e-6
"""Values further outside their limits than this are refused."""


class Status(StrEnum):
    """Whether an interval was estimated and, if not, the first reason why not."""

    ESTIMATED = "estimated"
    NO_LIVE_VALUE = "no live value"
    NO_LIVE_CLASS = "class without live scores"
    ONE_RUN = "one run"
    ONE_PAIR = "one pair of runs"
    SHARED_RUN = "pairs share a run"
    ONE_IMAGE = "one image or cluster"
    FEW_OF_A_CLASS = "too few images of a class"
    NO_SPREAD = "no spread"


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    Attributes:
        mean: the estimate; NaN if no value is alive.
        low, high: ends of the interval; NaN if it cannot be estimated, for the reason in ``status`` and ``note``.
        runs: runs with a live value, alone or in a pair; of two groups, the smaller number.
        images: images with a live value (in both groups, if two are compared); None for run-level values.
        missing: values left out, because they are dead or their image has no live value in the other group.
        note: a remark for readers, or "".
        kind: the kind of estimate, by its name in ``studies/coverage.py``, which measures the interval's coverage; ""
            if the study does not cover it, for example over images alone.
        status: whether ``low`` and ``high`` were estimated, or the reason why not.
        clusters: clusters of images that were resampled, or images where there are none; None for run-level values.
        run_variance, image_variance: the parts of the squared standard error that come from runs and from images, each
            corrected for the number drawn; NaN if there is no interval.
        freedom: the degrees of freedom of the standard error; NaN if there is no interval.
    """

    mean: float
    low: float
    high: float
    runs: int
    images: int | None
    missing: int
    note: str = ""
    kind: str = ""
    status: Status = Status.ESTIMATED
    clusters: int | None = None
    run_variance: float = np.nan
    image_variance: float = np.nan
    freedom: float = np.nan

    @property
    def p(self) -> float:
        """Two-sided p of no difference, or a mean of 0, over what the interval is over; NaN if there is no interval.

        It is below 0.05 where the 95 % interval excludes 0, if no limit of the quantity bends the interval.
        """
        error = np.sqrt(self.run_variance + self.image_variance)
        return float(2 * special.stdtr(self.freedom, -abs(self.mean) / error)) if error > 0 else np.nan

    def as_row(self) -> dict:
        """The attributes by name, for a row of a table; the status is plain text."""
        return {**asdict(self), "status": self.status.value}


def mean_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    over: str = "runs and images",
    limits: Limits = UNLIMITED,
) -> Interval:
    """Mean of all live values, with an interval over other runs and other images.

    If all values are 0 or 1 and no other limits are given, they are shares, with the limits 0 and 1.

    Args:
        values: (R, N), NaN where dead or missing.
        clusters: (N,) labels of clusters that are resampled whole, for example subjects; None resamples single images.
        resamples: number of resamples of runs and of images.
        seed: seed of the resampling; the same input and seed give the same bytes.
        level: share of such intervals that should contain the mean.
        over: "runs and images"; or "images", which keeps the runs fixed: the interval then says nothing about other
            runs, and needs one run only.
        limits: the least and the largest value that there can be; the interval then lies between them (``within``).

    Raises:
        InputError: values that are not (R, N) or not within the limits, clusters of another length, or an unknown
            ``over``.
    """
    table = as_table(values, limits)
    scale = scale_of(table, limits)
    return interval([table], sums_of, clusters, resamples, seed, level, over=over, **scale)


def difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    limits: Limits = UNLIMITED,
    over: str = "runs and images",
) -> Interval:
    """Mean of ``first`` minus mean of ``second``, the values of two groups of runs.

    Both groups share the images, which are resampled jointly; their runs are resampled separately.

    Args:
        first, second: (R1, N) and (R2, N), NaN where dead or missing; images without a live value in one of
            them are left out of both.
        clusters, resamples, seed, level, over: as in ``mean_interval``.
        limits: of the values; ends that exceed the largest difference are clipped to it (``apart``).

    Raises:
        InputError: values that are not (R, N) or not within the limits, or different numbers of images or clusters.
    """
    tables = [as_table(first, limits), as_table(second, limits)]
    ends = partial(apart, limits=limits)
    return interval(tables, sums_of, clusters, resamples, seed, level, ends, kind="difference", over=over)


def pairs_interval(
    values: ArrayLike,
    pairs: Sequence[tuple[Hashable, Hashable]],
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    limits: Limits = UNLIMITED,
) -> Interval:
    """Mean over pairs of runs, for example of their maps' similarity, with an interval over other runs and images.

    Args:
        values: (P, N), one row a pair, NaN where dead or missing.
        pairs: P times (run, other run), each pair once, in either order.
        clusters, resamples, seed, level, limits: as in ``mean_interval``; runs are left out one by one, not drawn.

    Raises:
        InputError: as ``mean_interval``; also repeated pairs, or a pair that is not two different runs.
    """
    table = as_table(values, limits)
    members = [_pairs(pairs, len(table))]
    ends = partial(within, limits=limits)
    return interval([table], sums_of, clusters, resamples, seed, level, ends, pairs=members, kind="pairs")


def contrast_interval(
    values: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    limits: Limits = UNLIMITED,
) -> Interval:
    """Mean of the second class of images minus mean of the first, computed run by run and averaged over runs.

    Args:
        values: (R, N), NaN where dead or missing; a run without a live value in one class is left out.
        second: (N,) bool, True for images of the second class. Each class is resampled by itself.
        clusters: as in ``mean_interval``; a cluster with images of both classes is split into one cluster a class.
        resamples, seed, level: as in ``mean_interval``.
        limits: as in ``difference_interval``.

    Raises:
        InputError: as ``mean_interval``; also images of one class only.
    """
    classes = _two_classes(second, "contrast", "first", "second")
    tables = [both_classes(as_table(values, limits), classes)]
    if clusters is not None:
        clusters = 2 * np.unique(_labels(tables, clusters), return_inverse=True)[1] + classes
    statistic = partial(_contrasts_of, classes)
    ends = partial(apart, limits=limits)
    return interval(tables, statistic, clusters, resamples, seed, level, ends, classes=classes, kind="contrast")


def auc(authentic: ArrayLike, synthetic: ArrayLike, source: str = "these scores") -> float:
    """Area under the ROC curve: the probability that a synthetic image scores above an authentic one, ties half.

    Args:
        authentic, synthetic: (A,) and (S,) scores, higher for synthetic; those that are not finite are left out.
        source: name of the scores in messages.

    Raises:
        InputError: no score of one of the classes.
    """
    scores = {"authentic": alive(authentic), "synthetic": alive(synthetic)}
    for label, values in scores.items():
        if not values.size:
            raise InputError(f"AUC of {source}: no {label} scores arrived; give scores of both classes")
    return greater(scores["synthetic"], scores["authentic"])


def auc_interval(
    scores: ArrayLike,
    synthetic: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    source: str = "these scores",
    over: str = "runs and images",
) -> Interval:
    """AUC of each run, averaged over runs, with an interval over other runs and other images.

    Args:
        scores: (R, N), higher for synthetic, NaN where missing; a run without a score of one class is left out.
        synthetic: (N,) bool, True for synthetic images.
        clusters, resamples, seed, level, over: as in ``mean_interval``.
        source: name of the scores in messages.

    Raises:
        InputError: as ``mean_interval``; also images of one class only.
    """
    classes = _two_classes(synthetic, f"AUC of {source}", "authentic", "synthetic")
    tables = [both_classes(as_table(scores), classes)]
    statistic = partial(_aucs_of, classes)
    ends = partial(within, limits=(0, 1))
    return interval(tables, statistic, clusters, resamples, seed, level, ends, kind="AUC", over=over)


def auc_difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    synthetic: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    source: str = "these scores",
    over: str = "runs and images",
) -> Interval:
    """Mean AUC of ``first`` minus mean AUC of ``second``; scores (R1, N) and (R2, N) of the same images.

    Arguments and errors as in ``auc_interval`` and ``difference_interval``.
    """
    classes = _two_classes(synthetic, f"AUC of {source}", "authentic", "synthetic")
    tables = [both_classes(as_table(scores), classes) for scores in (first, second)]
    statistic = partial(_aucs_of, classes)
    ends = partial(apart, limits=(0, 1))
    return interval(tables, statistic, clusters, resamples, seed, level, ends, kind="AUC difference", over=over)


# The interval of one table's value, or of the difference of two


def within(estimate: float, reach: float, limits: Limits) -> tuple[float, float]:
    """Ends of a mean of values within limits, which no end leaves: ``reach`` by the delta method on another scale.

    Between two limits a < b it is the log odds of u = (estimate - a) / (b - a), so that an estimate near a limit has
    room on both sides; with one limit, the logarithm of the distance to it; without any, estimate +- reach.
    """
    least, most = limits
    if np.isinf(least) and np.isinf(most):
        return estimate - reach, estimate + reach
    if np.isinf(most):
        return tuple(least + (estimate - least) * np.exp(np.array([-1, 1]) * reach / (estimate - least)))
    if np.isinf(least):
        return tuple(most - (most - estimate) * np.exp(np.array([1, -1]) * reach / (most - estimate)))
    span = most - least
    share = (estimate - least) / span
    odds = special.logit(share) + np.array([-1, 1]) * reach / (span * share * (1 - share))
    # Rounding must not carry an end over a limit.
    return tuple(np.clip(least + span * special.expit(odds), least, most))


def apart(estimate: float, reach: float, limits: Limits) -> tuple[float, float]:
    """Ends of a difference of two means of values within limits: estimate +- reach, clipped to the largest difference.

    The largest difference is the distance of the limits, in either direction. No truth lies beyond it, so that clipping
    changes no coverage.
    """
    most = limits[1] - limits[0]
    return max(-most, estimate - reach), min(most, estimate + reach)


def scale_of(values: np.ndarray, limits: Limits) -> dict:
    """Arguments of ``interval`` for a mean, by the kind of values: shares of 0 and 1, bounded values, or any others."""
    # Changes from -1 to 1 that happen to be 0 or 1 are no shares: their interval may hold 0.
    if limits in (UNLIMITED, (0, 1)) and np.isin(values[np.isfinite(values)], (0, 1)).all():
        return {"ends": partial(within, limits=(0, 1)), "kind": "share"}
    return {"ends": partial(within, limits=limits), "kind": "mean" if np.isinf(limits).any() else "bounded mean"}


Statistic = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Weights of clusters (B, C) -> numerators and denominators (B, R), whose ratio of sums over runs is the value."""


def interval(
    tables: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray, np.ndarray, np.ndarray], Statistic],
    clusters: ArrayLike | None,
    resamples: int,
    seed: int,
    level: float,
    ends: Callable[[float, float], tuple[float, float]] | None = None,
    pairs: Sequence[np.ndarray] | None = None,
    classes: np.ndarray | None = None,
    kind: str = "",
    over: str = "runs and images",
) -> Interval:
    """Interval of the value of one table, or of the first table's value minus the second's.

    Args:
        tables: (R, N) or, of pairs, (P, N), NaN where not finite.
        statistic: takes a table, (N,) bool, True for images with a column in it, and the cluster of each column.
        clusters, resamples, seed, level, over: as in ``mean_interval``.
        ends: takes the estimate and half the width of the interval, and returns its ends; None for no limits.
        pairs: (P, 2) numbers of runs for each table, if rows are pairs.
        classes: (N,) bool; images of one class are resampled while the other class stays whole. No cluster may span
            both.
        kind: the attribute of ``Interval``.
    """
    if over not in OVER:
        raise InputError(f"over {over!r} arrived; choose from {', '.join(map(repr, OVER))}")
    fixed_runs = over == "images"
    crossed = _crossed(tables, clusters, pairs, classes)
    runs = crossed.runs
    counts = {"runs": runs, "images": crossed.images, "missing": crossed.missing}
    answer = partial(Interval, **counts, kind="" if fixed_runs else kind)
    if runs == 0:
        return answer(np.nan, np.nan, np.nan, note="no live value", status=Status.NO_LIVE_VALUE)

    if fixed_runs and statistic is sums_of:
        statistic = _sums_of_fixed_runs
    regimes = [statistic(table, crossed.columns, crossed.codes) for table in crossed.tables]
    whole = [regime(np.ones((1, crossed.clusters))) for regime in regimes]
    estimate = float(_difference([_ratio(*parts) for parts in whole])[0])
    answer = partial(answer, clusters=crossed.clusters)
    unknown = partial(answer, estimate, np.nan, np.nan)
    group_sizes = [len(group) for group in crossed.groups]
    if reasons := _no_interval(estimate, None if fixed_runs else runs, group_sizes, clusters, pairs is not None):
        return unknown(note="; ".join(reasons.values()), status=next(iter(reasons)))

    of_pairs = None if pairs is None else crossed.members
    draws = [] if fixed_runs else _draws_of_runs(whole, of_pairs, resamples, seed)
    if pairs is not None and any(np.isnan(drawn).any() for drawn in draws):
        return unknown(note="all pairs share a run: no interval", status=Status.SHARED_RUN)
    generator = np.random.default_rng([seed, 0])
    run_sizes = [] if fixed_runs else [len(np.unique(member)) for member in crossed.members]
    sizes = np.array([*run_sizes, *group_sizes])
    draws += [_image_draws(regimes, group, crossed.clusters, resamples, generator) for group in crossed.groups]
    undefined = max(np.isnan(drawn).mean() for drawn in draws)
    if undefined > UNDEFINED_SHARE:
        note = f"too few images of a class: {undefined:.0%} of resamples have none"
        return unknown(note=note, status=Status.FEW_OF_A_CLASS)

    variances = np.array([np.nanvar(drawn) for drawn in draws]) * sizes / (sizes - 1)
    error = np.sqrt(variances.sum())
    if error <= 1e-12 * max(np.nanmax(np.abs(table)) for table in crossed.tables):
        return unknown(note="no spread: no interval", status=Status.NO_SPREAD)
    freedom = float(satterthwaite(variances, sizes))
    reach = special.stdtrit(freedom, 0.5 + level / 2) * error
    low, high = map(float, (ends or partial(within, limits=UNLIMITED))(estimate, float(reach)))
    note = f"{runs} run{'s' * (runs > 1)}: interval over images alone" if fixed_runs else few_runs(runs)
    of_runs, of_images = (float(part.sum()) for part in np.split(variances, [len(run_sizes)]))
    return answer(estimate, low, high, note=note, run_variance=of_runs, image_variance=of_images, freedom=freedom)


@dataclass(frozen=True)
class _Crossed:
    """What an interval is made of: the rows of tables with a live value, and the images alive in all of the tables.

    Attributes:
        tables: of each table, its rows and columns that are used.
        members: of each table, the run, or pair of runs, of each row that is used.
        columns: (N,) bool, the images that are used.
        codes: cluster of each image that is used, counted from 0.
        groups: clusters that are resampled together: all, or those of each class.
        missing: number of values of the tables that are not used.
    """

    tables: list[np.ndarray]
    members: list[np.ndarray]
    columns: np.ndarray
    codes: np.ndarray
    groups: list[np.ndarray]
    missing: int

    @property
    def runs(self) -> int:
        return min(len(np.unique(member)) for member in self.members)

    @property
    def images(self) -> int:
        return int(self.columns.sum())

    @property
    def clusters(self) -> int:
        return sum(map(len, self.groups))


def _crossed(
    tables: Sequence[np.ndarray],
    clusters: ArrayLike | None,
    pairs: Sequence[np.ndarray] | None,
    classes: np.ndarray | None,
) -> _Crossed:
    """Arguments as in ``interval``."""
    labels = _labels(tables, clusters)
    columns = live_in_all(tables)
    rows = [np.isfinite(table[:, columns]).any(axis=1) for table in tables]
    used = [table[row][:, columns] for table, row in zip(tables, rows, strict=True)]
    members = [np.arange(len(row)) for row in rows] if pairs is None else pairs
    members = [member[row] for member, row in zip(members, rows, strict=True)]
    kinds, firsts, codes = np.unique(labels[columns], return_index=True, return_inverse=True)
    strata = np.zeros(len(kinds), dtype=bool) if classes is None else classes[columns][firsts]
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    missing = sum(table.size for table in tables) - sum(int(np.isfinite(table).sum()) for table in used)
    return _Crossed(used, members, columns, codes, groups, missing)


def _draws_of_runs(
    whole: Sequence[tuple[np.ndarray, np.ndarray]], pairs: Sequence[np.ndarray] | None, resamples: int, seed: int
) -> list[np.ndarray]:
    """Values of each regime on all images: with runs drawn with replacement or, if rows are pairs, left out."""
    if pairs is not None:
        return [_left_out(*parts, members) for parts, members in zip(whole, pairs, strict=True)]
    draws = []
    for number, (numerators, denominators) in enumerate(whole):
        counts = _counts(np.random.default_rng([seed, 1 + number]), resamples, numerators.shape[1])
        draws.append(_ratio(counts * numerators, counts * denominators))
    return draws


def _left_out(numerators: np.ndarray, denominators: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(R,) values of one regime, each without one run and its pairs; NaN if no pair is left.

    They are multiplied by (R - 1) / sqrt(R), so that R / (R - 1) times their variance is the jackknife variance.
    """
    names = np.unique(pairs)
    kept = (pairs[None] != names[:, None, None]).all(axis=2)
    left = _ratio(kept * numerators, kept * denominators)
    return left * (len(names) - 1) / np.sqrt(len(names))


def _image_draws(
    regimes: Sequence[Statistic], group: np.ndarray, clusters: int, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """(resamples,) values, or differences, of all runs, with one group of clusters drawn with replacement."""
    at_once = max(1, WEIGHTS_AT_ONCE // clusters)
    drawn = []
    for start in range(0, resamples, at_once):
        weights = np.ones((min(at_once, resamples - start), clusters))
        weights[:, group] = _counts(generator, len(weights), len(group))
        drawn.append(_difference([_ratio(*regime(weights)) for regime in regimes]))
    return np.concatenate(drawn)


def _counts(generator: np.random.Generator, resamples: int, size: int) -> np.ndarray:
    """(resamples, size) float: how often each of ``size`` items is drawn in ``size`` draws with replacement."""
    indices = generator.integers(size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(indices.ravel(), minlength=resamples * size).reshape(resamples, size).astype(float)


def sums_of(table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Statistic:
    """The statistic "mean of live values": their weighted sum over their weighted number."""
    sums, numbers = _cluster_sums(table, codes)
    return lambda weights: (weights @ sums.T, weights @ numbers.T)


def _sums_of_fixed_runs(table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Statistic:
    """``sums_of`` if runs are not resampled: all runs are added up once and count as a single one."""
    both = np.stack([part.sum(axis=0) for part in _cluster_sums(table, codes)])
    return lambda weights: tuple(np.split(weights @ both.T, 2, axis=1))


def _cluster_sums(table: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, C) sums of live values, and (R, C) counts of them, by run and cluster."""
    live = np.isfinite(table)
    sums = np.array([np.bincount(codes, row) for row in np.where(live, table, 0.0)])
    return sums, np.array([np.bincount(codes, row) for row in live])


def _contrasts_of(second: np.ndarray, table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Statistic:
    """The statistic "mean of the second class minus mean of the first" of every run; the denominators are 1."""
    classes = second[columns]
    after, before = (sums_of(np.where(members, table, np.nan), columns, codes) for members in (classes, ~classes))

    def weighted(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        contrasts = _divide(*after(weights)) - _divide(*before(weights))
        return contrasts, np.ones_like(contrasts)

    return weighted


def _aucs_of(synthetic: np.ndarray, table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Statistic:
    """The statistic "AUC" of every run; the denominators are 1.

    Authentic scores are sorted once a run. The weight of those below a synthetic score is then one look-up in their
    cumulative weights, and ties count half as the mean of two look-ups.
    """
    classes = synthetic[columns]
    ranks = [_ranks(scores, classes) for scores in table]

    def weighted(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        aucs = np.empty((len(weights), len(table)))
        for run, (authentic, fake, below, up_to) in enumerate(ranks):
            cumulative = np.zeros((len(weights), len(authentic) + 1))
            np.cumsum(weights[:, codes[authentic]], axis=1, out=cumulative[:, 1:])
            fakes = weights[:, codes[fake]]
            wins = np.einsum("bs,bs->b", fakes, cumulative[:, below] + cumulative[:, up_to]) / 2
            aucs[:, run] = _divide(wins, cumulative[:, -1] * fakes.sum(axis=1))
        return aucs, np.ones_like(aucs)

    return weighted


def _ranks(scores: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Live authentic images by score; live synthetic ones; numbers of authentic scores below and not above each."""
    authentic = np.flatnonzero(np.isfinite(scores) & ~synthetic)
    authentic = authentic[np.argsort(scores[authentic], kind="stable")]
    fake = np.flatnonzero(np.isfinite(scores) & synthetic)
    below, up_to = (np.searchsorted(scores[authentic], scores[fake], side) for side in ("left", "right"))
    return authentic, fake, below, up_to


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    return _divide(numerators.sum(axis=1), denominators.sum(axis=1))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient; NaN, without a warning, where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def _difference(values: Sequence[np.ndarray]) -> np.ndarray:
    return values[0] if len(values) == 1 else values[0] - values[1]


def satterthwaite(variances: ArrayLike, sizes: ArrayLike) -> float:
    """Degrees of freedom of a sum of variances, each estimated from ``size`` items."""
    variances, sizes = np.asarray(variances), np.asarray(sizes)
    return variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum()


def greater(a: np.ndarray, b: np.ndarray) -> float:
    """P(a > b), ties half; (Na,) and (Nb,), both finite and not empty."""
    below = np.sort(b)
    ranks = np.searchsorted(below, a, "left") + np.searchsorted(below, a, "right")
    return float(ranks.mean() / (2 * b.size))


# Checks of input, and reasons for no interval


def as_table(values: ArrayLike, limits: Limits = UNLIMITED) -> np.ndarray:
    """(R, N) float, NaN where not finite.

    Raises:
        InputError: another shape, rows of different lengths, or values outside the limits.
    """
    if isinstance(values, Sequence) and len({np.shape(row) for row in values}) > 1:
        sizes = ", ".join(str(np.size(row)) for row in values)
        raise InputError(f"runs of {sizes} values arrived; every run needs the same images, NaN where it has no value")
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] == 0:
        raise InputError(f"values of shape {table.shape} arrived; give (runs, images), one row a run")
    return inside(np.where(np.isfinite(table), table, np.nan), limits)


def inside(table: np.ndarray, limits: Limits) -> np.ndarray:
    """The table, after a check that its values lie within the limits; what rounding carried over them is put back.

    Raises:
        InputError: values outside the limits.
    """
    least, most = limits
    outside = table[(table < least - ROUNDING) | (table > most + ROUNDING)]
    if outside.size:
        raise InputError(
            f"{outside.size} values outside {least:g} to {most:g} arrived, {outside[0]:g} first; "
            "give the limits of what was measured"
        )
    return np.clip(table, least, most)


def live_in_all(tables: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) bool: images with a live value in each of the tables (R, N)."""
    return np.logical_and.reduce([np.isfinite(table).any(axis=0) for table in tables])


def _labels(tables: Sequence[np.ndarray], clusters: ArrayLike | None) -> np.ndarray:
    """(N,) labels of clusters; without any, every image is a cluster."""
    images = tables[0].shape[1]
    if tables[-1].shape[1] != images:
        raise InputError(f"tables of {images} and {tables[-1].shape[1]} images arrived; give the same images to both")
    if clusters is None:
        return np.arange(images)
    labels = np.asarray(clusters)
    if labels.shape != (images,):
        raise InputError(f"clusters of shape {labels.shape} arrived for {images} images; give one label an image")
    if pd.isna(labels).any():
        raise InputError(f"{pd.isna(labels).sum()} of {images} clusters have no label; give one label an image")
    return labels


def _pairs(pairs: Sequence[tuple[Hashable, Hashable]], rows: int) -> np.ndarray:
    """(P, 2) numbers of runs."""
    pairs = [tuple(pair) for pair in pairs]
    if len(pairs) != rows:
        raise InputError(f"{len(pairs)} pairs arrived for {rows} rows; give one pair of runs a row")
    seen = set()
    for pair in pairs:
        if len(set(pair)) != 2 or len(pair) != 2:
            raise InputError(f"pair {pair} arrived; give two different runs a row")
        if frozenset(pair) in seen:
            raise InputError(f"pair {pair} arrived twice, in this order or the other; give each pair of runs one row")
        seen.add(frozenset(pair))
    numbers = {run: number for number, run in enumerate(dict.fromkeys(chain.from_iterable(pairs)))}
    return np.array([[numbers[run] for run in pair] for pair in pairs], dtype=int).reshape(-1, 2)


def _two_classes(second: ArrayLike, what: str, first_name: str, second_name: str) -> np.ndarray:
    """Check that classes are (N,) bool with both values, and return them."""
    classes = np.asarray(second)
    if classes.ndim != 1 or classes.dtype != bool:
        raise InputError(
            f"{what}: classes {classes.dtype} {classes.shape} arrived; give (images,) bool, True for {second_name}"
        )
    if classes.all() or not classes.any():
        absent = first_name if classes.all() else second_name
        raise InputError(f"{what}: no {absent} images arrived; give images of both classes")
    return classes


def both_classes(table: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The table with NaN for all of a run that has no live value of one class."""
    if table.shape[1] != len(classes):
        raise InputError(f"values of {table.shape[1]} images arrived with {len(classes)} classes; give one an image")
    live = np.isfinite(table)
    both = live[:, classes].any(axis=1) & live[:, ~classes].any(axis=1)
    return np.where(both[:, None], table, np.nan)


def alive(values: ArrayLike) -> np.ndarray:
    """(n,) float, the finite values only.

    Raises:
        InputError: another shape.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise InputError(f"values of shape {values.shape} arrived; give one number a run or image, (n,)")
    return values[np.isfinite(values)]


def _no_interval(
    estimate: float, runs: int | None, groups: Sequence[int], clusters: ArrayLike | None, paired: bool
) -> dict[Status, str]:
    """Reasons for no interval over runs (None if they are fixed) or over the clusters of each group of images."""
    if not np.isfinite(estimate):
        return {Status.NO_LIVE_CLASS: "a class without live scores"}
    reasons = {}
    if runs == 1:
        reasons[Status.ONE_RUN] = "1 run: no interval over runs"
    if paired and runs == 2:
        reasons[Status.ONE_PAIR] = "2 runs: one pair, no interval"
    if min(groups) == 1:
        thing = "image" if clusters is None else "cluster"
        of = " of a class" if len(groups) > 1 else ""
        reasons[Status.ONE_IMAGE] = f"1 {thing}{of}: no interval over {thing}s"
    return reasons


def few_runs(runs: int) -> str:
    """The note of an interval over this number of runs: "" if they are enough."""
    return f"few runs ({runs})" if runs < FEW_RUNS else ""
