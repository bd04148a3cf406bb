"""Statistics of run-level values (R,), one mean or AUC a run: probabilities, permutation test, Holm, equivalence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain, combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from e2m.statistics.intervals import Interval, Status, alive, few_runs, greater, satterthwaite
from e2m.types import InputError

MAX_SPLITS = 200_000
"""Largest number of splits that a permutation test lists; above it, this many are drawn."""


@dataclass(frozen=True)
class PermutationTest:
    """A two-sided test of exchangeable runs.

    Attributes:
        difference: mean of the first runs minus mean of the second.
        p: share of splits with a difference of means at least as far from 0.
        smallest: the smallest p that any split of these values can reach.
        splits: number of splits evaluated.
        exact: whether all splits were evaluated.
        note: a remark for readers, or "".
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
        low, high: the interval that must lie within the margin.
        equivalent: whether p < 0.05 and the interval lies within the margin; False if there is no test.
        note: a remark for readers, or "".
    """

    difference: float
    margin: float
    p: float
    low: float
    high: float
    equivalent: bool
    note: str = ""


def probability_greater(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Probability that a run of ``a`` lies above a run of ``b``, ties half; run-level values (Ra,) and (Rb,).

    The interval is Newcombe's method 5 (2006, Statistics in Medicine 25, 559): all t with
    ``|P - t| <= z sqrt(V(t))``, where P is the estimate,
    V(t) = t (1 - t) / (Ra Rb) * (1 + m (1 - t) / (2 - t) + m t / (1 + t)), and m = (Ra + Rb) / 2 - 1. It stays valid if
    all runs of one set lie above the other's, where a bootstrap has no spread to resample.
    """
    first, second = alive(a), alive(b)
    runs = min(first.size, second.size)
    missing = np.size(a) + np.size(b) - first.size - second.size
    answer = partial(Interval, runs=runs, images=None, missing=missing, kind="P(a > b)")
    if runs == 0:
        return answer(np.nan, np.nan, np.nan, note="no live run", status=Status.NO_LIVE_VALUE)
    estimate = greater(first, second)
    if runs == 1:
        return answer(estimate, np.nan, np.nan, note="1 run: no interval over runs", status=Status.ONE_RUN)
    return answer(estimate, *_newcombe(estimate, first.size, second.size, level), note=few_runs(runs))


def cliffs_delta(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Cliff's delta of run-level values (Ra,) and (Rb,): P(a > b) - P(a < b) = 2 P(a > b, ties half) - 1."""
    chance = probability_greater(a, b, level)
    return replace(chance, mean=2 * chance.mean - 1, low=2 * chance.low - 1, high=2 * chance.high - 1)


def permutation_test(a: ArrayLike, b: ArrayLike, seed: int = 0) -> PermutationTest:
    """Two-sample permutation test on the difference of means of run-level values (Ra,) and (Rb,), two-sided.

    All C(Ra + Rb, Ra) splits are evaluated. If there are more than ``MAX_SPLITS``, that many are drawn, and p counts
    the observed split as one more: (1 + extreme) / (1 + drawn).
    """
    first, second = alive(a), alive(b)
    missing = np.size(a) + np.size(b) - first.size - second.size
    notes = [f"{missing} missing"] if missing else []
    if not first.size or not second.size:
        return PermutationTest(np.nan, np.nan, np.nan, 0, False, "; ".join([*notes, "no live run"]))
    if first.size == second.size == 1:
        difference = float(first[0] - second[0])
        return PermutationTest(difference, np.nan, np.nan, 0, False, "; ".join([*notes, "1 run each: no test"]))
    pooled = np.concatenate([first, second])
    centred = pooled - pooled.mean()
    exact = comb(pooled.size, first.size) <= MAX_SPLITS
    splits = _all_splits(pooled.size, first.size) if exact else _drawn_splits(pooled.size, first.size, seed)
    # The centred values sum to 0, so that the difference of means is this sum times the same constant for every split.
    distances = np.abs(centred[splits].sum(axis=1))
    observed = abs(centred[: first.size].sum())
    rounding = 1e-12 * np.abs(pooled).sum()
    extreme = int(np.count_nonzero(distances >= observed - rounding))
    if exact:
        most = int(np.count_nonzero(distances >= distances.max() - rounding))
        p, smallest = extreme / len(splits), most / len(splits)
    else:
        notes.append(f"{len(splits)} of {comb(pooled.size, first.size)} splits, drawn")
        p, smallest = (1 + extreme) / (1 + len(splits)), 1 / (1 + len(splits))
    difference = float(first.mean() - second.mean())
    return PermutationTest(difference, p, smallest, len(splits), exact, "; ".join(notes))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's (1979) adjusted p of a family of tests, (T,) in the given order; NaN stays NaN and counts as no test.

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
    """Test whether two sets of runs are equal up to a margin: two one-sided Welch t-tests (Schuirmann 1987) on runs.

    Args:
        a, b: (Ra,) and (Rb,), one AUC (or other mean) a run.
        margin: differences smaller than this count as none.
        interval: a 90 % interval of the difference over runs and images (``auc_difference_interval`` with level=0.9),
            which must lie within the margin as well; None takes Welch's interval over runs alone.

    Raises:
        InputError: the margin is not a positive number.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin {margin} arrived; give a positive number, the largest difference that counts as none")
    first, second = alive(a), alive(b)
    missing = np.size(a) + np.size(b) - first.size - second.size
    notes = [f"{missing} missing"] if missing else []
    runs = min(first.size, second.size)
    difference = float(first.mean() - second.mean()) if runs else np.nan
    variances = np.array([values.var(ddof=1) / values.size for values in (first, second)]) if runs > 1 else np.zeros(2)
    error = np.sqrt(variances.sum())
    # Values that differ by rounding alone have no spread.
    if runs < 2 or error <= 1e-12 * np.abs(np.concatenate([first, second])).max():
        notes.append("no spread between runs: no test" if runs > 1 else f"{runs} run{'s' * (runs != 1)}: no test")
        low, high = (interval.low, interval.high) if interval else (np.nan, np.nan)
        return Equivalence(difference, margin, np.nan, low, high, False, "; ".join(notes))
    freedom = satterthwaite(variances, [first.size, second.size])
    p = float(special.stdtr(freedom, (abs(difference) - margin) / error))
    reach = float(special.stdtrit(freedom, 0.95) * error)
    low, high = (interval.low, interval.high) if interval else (difference - reach, difference + reach)
    notes += filter(None, [interval.note if interval else few_runs(runs)])
    # Comparisons with NaN are False, so that an interval that cannot be estimated lies within no margin.
    inside = bool(-margin < low and high < margin)
    return Equivalence(difference, margin, p, low, high, inside and p < 0.05, "; ".join(notes))


def _newcombe(estimate: float, runs_a: int, runs_b: int, level: float) -> tuple[float, float]:
    from scipy.optimize import brentq  # not at the top: few pages compare runs, and it takes a fifth of a second

    more = (runs_a + runs_b) / 2 - 1
    z = special.ndtri(0.5 + level / 2)

    def excess(t: float) -> float:
        variance = t * (1 - t) / (runs_a * runs_b) * (1 + more * ((1 - t) / (2 - t) + t / (1 + t)))
        return (estimate - t) ** 2 - z**2 * variance

    # The excess is positive at 0 and 1, and negative at the estimate or, if that is 0 or 1, right beside it.
    low = brentq(excess, 0, min(estimate, 1 - 1e-9)) if estimate > 0 else 0.0
    high = brentq(excess, max(estimate, 1e-9), 1) if estimate < 1 else 1.0
    return low, high


@lru_cache(maxsize=4)
def _all_splits(total: int, chosen: int) -> np.ndarray:
    """(C(total, chosen), chosen) indices of every split."""
    indices = chain.from_iterable(combinations(range(total), chosen))
    return np.fromiter(indices, dtype=np.int64).reshape(-1, chosen)


def _drawn_splits(total: int, chosen: int, seed: int) -> np.ndarray:
    """(MAX_SPLITS, chosen) indices of splits drawn independently."""
    keys = np.random.default_rng(seed).random((MAX_SPLITS, total))
    return np.argpartition(keys, chosen, axis=1)[:, :chosen]
