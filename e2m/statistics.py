"""How far the runs and the images of a study let its means, accuracies and differences be trusted.

A table of values is (R, N), run r's value on image n, NaN where it is dead or missing. The model behind every interval:

    value[r, n] = mean + run[r] + image[n] + residual[r, n]

Runs and images are crossed, for every run sees every image: values of one run share ``run[r]``, values of one image
share ``image[n]``, and images of one subject share a part of theirs. Resampling the R * N values, or the R (R - 1) / 2
pairs of runs, as if they were independent would shrink the interval with every image or pair added, although neither
brings a new run: the interval would be far too short. So runs and images (or clusters of them: subjects) are resampled
independently of each other, as in the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1, 386) and the
multi-bootstrap (Sellam et al., arXiv 2106.16163), here each factor alone with the other whole, which yields one
variance a factor. Resampling n runs or clusters makes it too small by (n - 1) / n; corrected, the variances add up, and
Student's t with the degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2, 110) gives the interval:

    estimate +- t * sqrt(sum v_k)        v_k = n_k / (n_k - 1) * var(resamples of factor k)
    degrees of freedom = (sum v_k)^2 / sum(v_k^2 / (n_k - 1))

An AUC's interval is taken on its log odds. Percentiles of joint resamples know nothing of how few the runs are and
cover far less often than they say: ``benchmarks/coverage.py`` compares the two, and others. Where the residual
outweighs runs and images alike, the sum counts it twice and the interval is longer than it need be.

Functions of run-level values (R,), one mean or AUC a run, speak of these images only: what other runs would do on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from e2m.types import InputError

FEW_RUNS = 10
"""Fewer runs than these are called few in an interval's note."""

MAX_SPLITS = 200_000
"""A permutation test with more splits draws this many instead of listing all."""

UNDEFINED_SHARE = 0.05
"""No interval of an AUC where more than this share of the resamples of images leaves one class out."""

WEIGHTS_AT_ONCE = 500_000
"""Resampling weights held in memory at a time (4 MB)."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    Attributes:
        mean: the estimate; NaN where nothing is alive.
        low, high: ends of the interval; NaN where it cannot be estimated, and ``note`` says why.
        runs: runs with a live value; of two regimes, the smaller number.
        images: images with a live value (in both regimes, where two are compared); None where run-level values came in.
        missing: values that do not enter: dead, or on an image without a live value in the other regime.
        note: what to know, "" where there is nothing.
    """

    mean: float
    low: float
    high: float
    runs: int
    images: int | None
    missing: int
    note: str = ""


@dataclass(frozen=True)
class PermutationTest:
    """A two-sided test of exchangeable runs.

    Attributes:
        difference: mean of the first runs minus mean of the second.
        p: share of splits with a difference of means at least as far from 0.
        smallest: the least p that any split of these values can reach.
        splits: splits that were looked at.
        exact: whether these are all there are.
        note: what to know, "" where there is nothing.
    """

    difference: float
    p: float
    smallest: float
    splits: int
    exact: bool
    note: str = ""


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of whether a difference lies within a margin.

    Attributes:
        difference: mean of the first runs minus mean of the second.
        margin: differences smaller than this count as none.
        p: the larger of both one-sided p.
        low, high: the interval that has to lie within the margin.
        equivalent: whether p < 0.05 and the interval lies within the margin; False also where nothing can be said.
        note: what to know, "" where there is nothing.
    """

    difference: float
    margin: float
    p: float
    low: float
    high: float
    equivalent: bool
    note: str = ""


def mean_interval(
    values: ArrayLike, clusters: ArrayLike | None = None, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of all live values, with an interval over other runs and other images.

    Args:
        values: (R, N), NaN where dead or missing.
        clusters: (N,) labels, say subjects, that are resampled whole; each image by itself where None.
        resamples: how often runs and images are drawn.
        seed: the same input and seed give the same bytes.
        level: how often such intervals should hold the mean.

    Raises:
        InputError: not (R, N), or clusters of another length.
    """
    return _interval([_table(values)], _sums, clusters, resamples, seed, level)


def difference_interval(
    guided: ArrayLike,
    traditional: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of ``guided`` minus mean of ``traditional``: same images, resampled jointly; runs of their own, separately.

    Args:
        guided, traditional: (R1, N) and (R2, N), NaN where dead or missing; images without a live value in one of
            them are left out of both.
        clusters, resamples, seed, level: as in ``mean_interval``.

    Raises:
        InputError: not (R, N), or another number of images or clusters.
    """
    return _interval([_table(guided), _table(traditional)], _sums, clusters, resamples, seed, level)


def auc(authentic: ArrayLike, synthetic: ArrayLike, source: str = "these scores") -> float:
    """Chance that a synthetic image scores above an authentic one, ties half: the area under the ROC curve.

    Args:
        authentic, synthetic: (A,) and (S,) scores, higher for synthetic; those that are not finite are left out.
        source: what the scores belong to, for the message.

    Raises:
        InputError: no score of one of the classes.
    """
    scores = {"authentic": _alive(authentic), "synthetic": _alive(synthetic)}
    for label, found in scores.items():
        if not found.size:
            raise InputError(f"AUC of {source}: no {label} scores arrived; give scores of both classes")
    return _greater(scores["synthetic"], scores["authentic"])


def auc_interval(
    scores: ArrayLike,
    synthetic: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    source: str = "these scores",
) -> Interval:
    """AUC of each run, averaged over runs, with an interval over other runs and other images.

    Args:
        scores: (R, N), higher for synthetic, NaN where missing; a run without a score of one class is left out.
        synthetic: (N,) bool, True where the image is.
        clusters, resamples, seed, level: as in ``mean_interval``.
        source: what the scores belong to, for the message.

    Raises:
        InputError: as ``mean_interval``; also where all images are of one class.
    """
    classes = _classes(synthetic, source)
    tables = [_both_classes(_table(scores), classes)]
    return _interval(tables, partial(_aucs, classes), clusters, resamples, seed, level, _inside_unit)


def auc_difference_interval(
    guided: ArrayLike,
    traditional: ArrayLike,
    synthetic: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    source: str = "these scores",
) -> Interval:
    """Mean AUC of ``guided`` minus mean AUC of ``traditional``; scores (R1, N) and (R2, N) of the same images.

    Arguments and errors as in ``auc_interval`` and ``difference_interval``.
    """
    classes = _classes(synthetic, source)
    tables = [_both_classes(_table(scores), classes) for scores in (guided, traditional)]
    return _interval(tables, partial(_aucs, classes), clusters, resamples, seed, level, _clipped)


def probability_greater(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Chance that a run of ``a`` lies above a run of ``b``, ties half; run-level values (Ra,) and (Rb,).

    The interval is Newcombe's method 5 (2006, Statistics in Medicine 25, 559): all t with |found - t| <= z sqrt(V(t)),
    V(t) = t (1 - t) / (Ra Rb) * (1 + m (1 - t) / (2 - t) + m t / (1 + t)), m = (Ra + Rb) / 2 - 1. It remains honest
    where all runs of one regime lie above the other's; there a bootstrap has no spread left to resample.
    """
    first, second = _alive(a), _alive(b)
    runs = min(first.size, second.size)
    missing = np.size(a) + np.size(b) - first.size - second.size
    if runs == 0:
        return Interval(np.nan, np.nan, np.nan, 0, None, missing, "no live run")
    found = _greater(first, second)
    if runs == 1:
        return Interval(found, np.nan, np.nan, 1, None, missing, "1 run: no interval over runs")
    low, high = _newcombe(found, first.size, second.size, level)
    return Interval(found, low, high, runs, None, missing, _few(runs))


def cliffs_delta(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Cliff's delta of run-level values (Ra,) and (Rb,): P(a > b) - P(a < b) = 2 P(a > b, ties half) - 1."""
    chance = probability_greater(a, b, level)
    return replace(chance, mean=2 * chance.mean - 1, low=2 * chance.low - 1, high=2 * chance.high - 1)


def permutation_test(a: ArrayLike, b: ArrayLike, seed: int = 0) -> PermutationTest:
    """Two-sample permutation test on the difference of means of run-level values (Ra,) and (Rb,), two-sided.

    All C(Ra + Rb, Ra) splits are looked at; above ``MAX_SPLITS``, that many are drawn, and the p counts the split at
    hand as one more: (1 + extreme) / (1 + drawn).
    """
    first, second = _alive(a), _alive(b)
    missing = np.size(a) + np.size(b) - first.size - second.size
    notes = [f"{missing} missing"] if missing else []
    if not first.size or not second.size:
        return PermutationTest(np.nan, np.nan, np.nan, 0, False, "; ".join([*notes, "no live run"]))
    pooled = np.concatenate([first, second])
    centred = pooled - pooled.mean()
    exact = comb(pooled.size, first.size) <= MAX_SPLITS
    chosen = _all_splits(pooled.size, first.size) if exact else _drawn_splits(pooled.size, first.size, seed)
    # As the values sum to 0, the difference of means is this sum times one constant, whatever the split.
    distances = np.abs(centred[chosen].sum(axis=1))
    observed = abs(centred[: first.size].sum())
    rounding = 1e-12 * np.abs(pooled).sum()
    extreme = int(np.count_nonzero(distances >= observed - rounding))
    if exact:
        most = int(np.count_nonzero(distances >= distances.max() - rounding))
        p, smallest = extreme / len(chosen), most / len(chosen)
    else:
        notes.append(f"{len(chosen)} of {comb(pooled.size, first.size)} splits, drawn")
        p, smallest = (1 + extreme) / (1 + len(chosen)), 1 / (1 + len(chosen))
    difference = float(first.mean() - second.mean())
    return PermutationTest(difference, p, smallest, len(chosen), exact, "; ".join(notes))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's (1979) adjusted p of a family of tests, (T,) in the order given; NaN stays NaN and counts as no test.

    The k-th smallest of T is multiplied by T - k + 1, is no smaller than the one before, and is at most 1.

    Raises:
        InputError: a p outside [0, 1].
    """
    p = np.asarray(p_values, dtype=float)
    if np.any((p < 0) | (p > 1)):
        raise InputError(f"p values arrived from {np.nanmin(p):g} to {np.nanmax(p):g}; each must lie in [0, 1]")
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def equivalent(a: ArrayLike, b: ArrayLike, margin: float, interval: Interval | None = None) -> Equivalence:
    """Whether two regimes are equal up to a margin: two one-sided Welch t-tests (Schuirmann 1987) on runs.

    Args:
        a, b: (Ra,) and (Rb,), one AUC (or other mean) a run.
        margin: differences smaller than this count as none.
        interval: a 90 % interval of the difference over runs and images (``auc_difference_interval`` with level=0.9),
            which then has to lie within the margin as well; Welch's own, over runs alone, where None.

    Raises:
        InputError: the margin is not a positive number.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin {margin} arrived; give a positive number, the largest difference that counts as none")
    first, second = _alive(a), _alive(b)
    missing = np.size(a) + np.size(b) - first.size - second.size
    notes = [f"{missing} missing"] if missing else []
    runs = min(first.size, second.size)
    difference = float(first.mean() - second.mean()) if runs else np.nan
    variances = np.array([found.var(ddof=1) / found.size for found in (first, second)]) if runs > 1 else np.zeros(2)
    error = np.sqrt(variances.sum())
    # Values that differ by rounding alone have no spread to test against.
    if runs < 2 or error <= 1e-12 * np.abs(np.concatenate([first, second])).max():
        notes.append("no spread between runs: no test" if runs > 1 else f"{runs} run{'s' * (runs != 1)}: no test")
        low, high = (interval.low, interval.high) if interval else (np.nan, np.nan)
        return Equivalence(difference, margin, np.nan, low, high, False, "; ".join(notes))
    freedom = _satterthwaite(variances, [first.size, second.size])
    p = float(stats.t.sf((margin - abs(difference)) / error, freedom))
    reach = float(stats.t.ppf(0.95, freedom) * error)
    low, high = (interval.low, interval.high) if interval else (difference - reach, difference + reach)
    notes += filter(None, [interval.note if interval else _few(runs)])
    # An interval that cannot be estimated is NaN, which lies within nothing.
    inside = bool(-margin < low and high < margin)
    return Equivalence(difference, margin, p, low, high, inside and p < 0.05, "; ".join(notes))


# One table or two, one statistic, one interval.


def _around(estimate: float, reach: float) -> tuple[float, float]:
    return estimate - reach, estimate + reach


def _inside_unit(estimate: float, reach: float) -> tuple[float, float]:
    """The same interval on the scale of log odds, where an AUC near 1 has room on both sides (delta method)."""
    low, high = special.expit(_around(special.logit(estimate), reach / (estimate * (1 - estimate))))
    return float(low), float(high)


def _clipped(estimate: float, reach: float) -> tuple[float, float]:
    """Ends that a difference of two AUCs can reach."""
    return max(-1.0, estimate - reach), min(1.0, estimate + reach)


Statistic = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Weights of clusters (B, C) -> numerators and denominators (B, R), whose ratio of sums over runs is the value."""


def _interval(
    tables: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray, np.ndarray, np.ndarray], Statistic],
    clusters: ArrayLike | None,
    resamples: int,
    seed: int,
    level: float,
    ends: Callable[[float, float], tuple[float, float]] = _around,
) -> Interval:
    """Interval of the first table's value, minus the second's where there are two."""
    labels = _labels(tables, clusters)
    columns = np.logical_and.reduce([np.isfinite(table).any(axis=0) for table in tables])
    used = [table[np.isfinite(table[:, columns]).any(axis=1)][:, columns] for table in tables]
    runs, images = min(len(table) for table in used), int(columns.sum())
    missing = sum(table.size for table in tables) - sum(int(np.isfinite(table).sum()) for table in used)
    answer = partial(Interval, runs=runs, images=images, missing=missing)
    if runs == 0:
        return answer(np.nan, np.nan, np.nan, note="no live value")

    kinds, codes = np.unique(labels[columns], return_inverse=True)
    regimes = [statistic(table, columns, codes) for table in used]
    whole = [regime(np.ones((1, len(kinds)))) for regime in regimes]
    estimate = float(_difference([_ratio(*parts) for parts in whole])[0])
    reason = _no_interval(estimate, runs, len(kinds), clusters)
    if reason:
        return answer(estimate, np.nan, np.nan, note=reason)

    draws = [_run_draws(*parts, resamples, [seed, 1 + k]) for k, parts in enumerate(whole)]
    draws.append(_image_draws(regimes, len(kinds), resamples, [seed, 0]))
    undefined = max(np.isnan(drawn).mean() for drawn in draws)
    if undefined > UNDEFINED_SHARE:
        return answer(
            estimate, np.nan, np.nan, note=f"too few images of a class: {undefined:.0%} of resamples have none"
        )

    sizes = np.array([*(len(table) for table in used), len(kinds)])
    variances = np.array([np.nanvar(drawn) for drawn in draws]) * sizes / (sizes - 1)
    error = np.sqrt(variances.sum())
    if error <= 1e-12 * max(np.nanmax(np.abs(table)) for table in used):
        return answer(estimate, np.nan, np.nan, note="no spread: no interval")
    reach = stats.t.ppf(0.5 + level / 2, _satterthwaite(variances, sizes)) * error
    low, high = ends(estimate, float(reach))
    return answer(estimate, low, high, note=_few(runs))


def _run_draws(numerators: np.ndarray, denominators: np.ndarray, resamples: int, seed: list[int]) -> np.ndarray:
    """(resamples,) values of one regime on all images, its runs drawn with replacement."""
    counts = _counts(np.random.default_rng(seed), resamples, numerators.shape[1])
    return _ratio(counts * numerators, counts * denominators)


def _image_draws(regimes: Sequence[Statistic], clusters: int, resamples: int, seed: list[int]) -> np.ndarray:
    """(resamples,) values, or differences, of all runs, the clusters of images drawn with replacement."""
    generator = np.random.default_rng(seed)
    at_once = max(1, WEIGHTS_AT_ONCE // clusters)
    drawn = []
    for start in range(0, resamples, at_once):
        counts = _counts(generator, min(at_once, resamples - start), clusters)
        drawn.append(_difference([_ratio(*regime(counts)) for regime in regimes]))
    return np.concatenate(drawn)


def _counts(generator: np.random.Generator, resamples: int, size: int) -> np.ndarray:
    """(resamples, size) float: how often each of ``size`` things is drawn in ``size`` draws with replacement."""
    places = generator.integers(size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * size).reshape(resamples, size).astype(float)


def _sums(table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Statistic:
    """Mean of live values: their weighted sum over their weighted number, both summed by cluster once."""
    alive = np.isfinite(table)
    sums = np.array([np.bincount(codes, row) for row in np.where(alive, table, 0.0)])
    numbers = np.array([np.bincount(codes, row) for row in alive])
    return lambda weights: (weights @ sums.T, weights @ numbers.T)


def _aucs(synthetic: np.ndarray, table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Statistic:
    """AUC a run; the denominators are 1.

    Authentic scores are sorted once a run; the weight of those below a synthetic score is then one look-up in their
    cumulative weights, and half of those that tie with it is the mean of two.
    """
    classes = synthetic[columns]
    places = [_places(scores, classes) for scores in table]

    def weighted(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.empty((len(weights), len(table)))
        for run, (authentic, fake, below, up_to) in enumerate(places):
            cumulative = np.zeros((len(weights), len(authentic) + 1))
            np.cumsum(weights[:, codes[authentic]], axis=1, out=cumulative[:, 1:])
            fakes = weights[:, codes[fake]]
            wins = np.einsum("bs,bs->b", fakes, cumulative[:, below] + cumulative[:, up_to]) / 2
            found[:, run] = _divide(wins, cumulative[:, -1] * fakes.sum(axis=1))
        return found, np.ones_like(found)

    return weighted


def _places(scores: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Live authentic images by score, live synthetic ones; how many of the former are below, and not above, each."""
    authentic = np.flatnonzero(np.isfinite(scores) & ~synthetic)
    authentic = authentic[np.argsort(scores[authentic], kind="stable")]
    fake = np.flatnonzero(np.isfinite(scores) & synthetic)
    below, up_to = (np.searchsorted(scores[authentic], scores[fake], side) for side in ("left", "right"))
    return authentic, fake, below, up_to


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    return _divide(numerators.sum(axis=1), denominators.sum(axis=1))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN (and no warning) where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def _difference(values: Sequence[np.ndarray]) -> np.ndarray:
    return values[0] if len(values) == 1 else values[0] - values[1]


def _satterthwaite(variances: ArrayLike, sizes: ArrayLike) -> float:
    """Degrees of freedom of a sum of variances, each estimated from ``size`` things."""
    variances, sizes = np.asarray(variances), np.asarray(sizes)
    return variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum()


# Small statistics of run-level values.


def _greater(a: np.ndarray, b: np.ndarray) -> float:
    """P(a > b), ties half."""
    below = np.sort(b)
    places = np.searchsorted(below, a, "left") + np.searchsorted(below, a, "right")
    return float(places.mean() / (2 * b.size))


def _newcombe(found: float, runs_a: int, runs_b: int, level: float) -> tuple[float, float]:
    more = (runs_a + runs_b) / 2 - 1
    z = stats.norm.ppf(0.5 + level / 2)

    def excess(t: float) -> float:
        variance = t * (1 - t) / (runs_a * runs_b) * (1 + more * ((1 - t) / (2 - t) + t / (1 + t)))
        return (found - t) ** 2 - z**2 * variance

    # The excess is positive at 0 and 1 and negative at the value found; where that is 0 or 1 itself, right beside it.
    low = optimize.brentq(excess, 0, min(found, 1 - 1e-9)) if found > 0 else 0.0
    high = optimize.brentq(excess, max(found, 1e-9), 1) if found < 1 else 1.0
    return low, high


def _all_splits(total: int, chosen: int) -> np.ndarray:
    """(C(total, chosen), chosen) places of every split."""
    places = chain.from_iterable(combinations(range(total), chosen))
    return np.fromiter(places, dtype=np.int64).reshape(-1, chosen)


def _drawn_splits(total: int, chosen: int, seed: int) -> np.ndarray:
    """(MAX_SPLITS, chosen) places of splits drawn independently."""
    keys = np.random.default_rng(seed).random((MAX_SPLITS, total))
    return np.argpartition(keys, chosen, axis=1)[:, :chosen]


# What arrives, and what may be said about it.


def _table(values: ArrayLike) -> np.ndarray:
    """(R, N) float, NaN where not finite."""
    if isinstance(values, Sequence) and len({np.shape(row) for row in values}) > 1:
        sizes = ", ".join(str(np.size(row)) for row in values)
        raise InputError(f"runs of {sizes} values arrived; every run needs the same images, NaN where it has no value")
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] == 0:
        raise InputError(f"values of shape {table.shape} arrived; give (runs, images), one row a run")
    return np.where(np.isfinite(table), table, np.nan)


def _labels(tables: Sequence[np.ndarray], clusters: ArrayLike | None) -> np.ndarray:
    """(N,) labels of clusters, a label of its own for every image where none are given."""
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


def _classes(synthetic: ArrayLike, source: str) -> np.ndarray:
    """(N,) bool with both classes in it."""
    classes = np.asarray(synthetic)
    if classes.ndim != 1 or classes.dtype != bool:
        raise InputError(
            f"AUC of {source}: classes {classes.dtype} {classes.shape} arrived; give (images,) bool, True for synthetic"
        )
    if classes.all() or not classes.any():
        absent = "authentic" if classes.all() else "synthetic"
        raise InputError(f"AUC of {source}: no {absent} images arrived; give images of both classes")
    return classes


def _both_classes(table: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """The table, NaN in all of a run that has no live score of one class."""
    if table.shape[1] != len(synthetic):
        raise InputError(f"scores of {table.shape[1]} images arrived with {len(synthetic)} classes; give one an image")
    alive = np.isfinite(table)
    both = alive[:, synthetic].any(axis=1) & alive[:, ~synthetic].any(axis=1)
    return np.where(both[:, None], table, np.nan)


def _alive(values: ArrayLike) -> np.ndarray:
    """(n,) float, those that are not finite left out."""
    found = np.asarray(values, dtype=float)
    if found.ndim != 1:
        raise InputError(f"values of shape {found.shape} arrived; give one number a run or image, (n,)")
    return found[np.isfinite(found)]


def _no_interval(estimate: float, runs: int, kinds: int, clusters: ArrayLike | None) -> str:
    """Why there is no interval; "" where there may be one."""
    if not np.isfinite(estimate):
        return "a class without live scores"
    reasons = ["1 run: no interval over runs"] if runs == 1 else []
    if kinds == 1:
        thing = "image" if clusters is None else "cluster"
        reasons.append(f"1 {thing}: no interval over {thing}s")
    return "; ".join(reasons)


def _few(runs: int) -> str:
    return f"few runs ({runs})" if runs < FEW_RUNS else ""
