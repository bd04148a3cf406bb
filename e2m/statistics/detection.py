"""How well scores detect: TDR at a fixed FDR, the error rates of ISO/IEC 30107-3 at a threshold, and ROC curves.

Synthetic images are the attacks, authentic ones are bona fide. An image is flagged if its score is at least t:

    APCER(t) = share of the attacks that are not flagged      (attack presentation classification error rate)
    BPCER(t) = share of the authentic images that are flagged (bona fide presentation classification error rate)
    ACER(t)  = (APCER(t) + BPCER(t)) / 2
    TDR(t)   = 1 - APCER(t), FDR(t) = BPCER(t)                (true and false detection rate)

The standard states APCER for each kind of attack, here each synthetic source, and the highest of them for the detector.
ACER, the mean, hides which of the two is large. TDR at FDR f is the largest TDR(t) of all t with FDR(t) <= f: the share
of attacks above the (k + 1)-th largest authentic score, where k = floor(f * number of authentic scores).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from e2m.statistics.intervals import (
    Interval,
    Statistic,
    alive,
    as_table,
    both_classes,
    contrast_interval,
    interval,
    mean_interval,
    within,
)
from e2m.types import InputError

_ROUNDING = 1e-9
"""So that a tenth of 120 images is 12 images, and not one less."""


def detection_rate(
    authentic: ArrayLike, synthetic: ArrayLike, fdr: ArrayLike, source: str = "these scores"
) -> float | np.ndarray:
    """TDR at a fixed FDR: the largest share of synthetic images flagged while at most ``fdr`` of authentic ones are.

    Args:
        authentic, synthetic: (A,) and (S,) scores, higher for synthetic; those that are not finite are left out.
        fdr: largest share of authentic images flagged, in [0, 1]; an array (F,) gives a ROC curve, (F,).
        source: name of the scores in messages.

    Raises:
        InputError: no score of one of the classes; an FDR outside [0, 1].
    """
    _check_fdr(fdr)
    real, fake = alive(authentic), alive(synthetic)
    _check_both(real, fake, f"TDR of {source}")
    limits = np.append(np.sort(real)[::-1], -np.inf)  # of the last, all images lie above
    allowed = np.floor(np.asarray(fdr) * real.size + _ROUNDING).astype(int)
    rates = 1 - np.searchsorted(np.sort(fake), limits[allowed], "right") / fake.size
    return rates if np.ndim(fdr) else float(rates)


def detection_rate_interval(
    scores: ArrayLike,
    synthetic: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    *,
    fdr: float,
) -> Interval:
    """TDR at a fixed FDR of each run, averaged over runs, with an interval over other runs and other images.

    Every resample of authentic images has a threshold of its own, so that the interval covers the choice of the
    threshold too.

    Args:
        scores: (R, N), higher for synthetic, NaN where missing; a run without a score of one class is left out.
        synthetic: (N,) bool, True for synthetic images.
        clusters, resamples, seed, level: as in ``mean_interval``.
        fdr: as in ``detection_rate``.

    Raises:
        InputError: scores that are not (R, N); classes of another length; an FDR outside [0, 1].
    """
    _check_fdr(fdr)
    classes = np.asarray(synthetic, bool)
    tables = [both_classes(as_table(scores), classes)]
    return interval(tables, partial(_rates_of, classes, fdr), clusters, resamples, seed, level, _inside)


def apcer_interval(
    flagged: ArrayLike, synthetic: ArrayLike, clusters: ArrayLike | None = None, *arguments, **options
) -> Interval:
    """APCER: the share of synthetic images that are not flagged.

    Args:
        flagged: (R, N), 1 where an image is flagged and 0 where it is not, NaN where it has no score.
        synthetic: (N,) bool, True for synthetic images.
        clusters: (N,) labels, as in ``mean_interval``.
        arguments, options: resamples, seed and level, as in ``mean_interval``.
    """
    return _share(1 - as_table(flagged), np.asarray(synthetic, bool), clusters, *arguments, **options)


def bpcer_interval(
    flagged: ArrayLike, synthetic: ArrayLike, clusters: ArrayLike | None = None, *arguments, **options
) -> Interval:
    """BPCER: the share of authentic images that are flagged. Arguments as in ``apcer_interval``."""
    return _share(as_table(flagged), ~np.asarray(synthetic, bool), clusters, *arguments, **options)


def acer_interval(
    flagged: ArrayLike, synthetic: ArrayLike, clusters: ArrayLike | None = None, *arguments, **options
) -> Interval:
    """ACER, the mean of APCER and BPCER. Arguments as in ``apcer_interval``.

    The contrast "flagged, synthetic minus authentic" is 1 - APCER - BPCER, half of which is 1/2 - ACER.
    """
    apart = contrast_interval(as_table(flagged) / 2, np.asarray(synthetic, bool), clusters, *arguments, **options)
    mean, low, high = (0.5 - value for value in (apart.mean, apart.high, apart.low))
    return replace(apart, mean=mean, low=float(np.clip(low, 0, 1)), high=float(np.clip(high, 0, 1)))


def equal_error_threshold(authentic: ArrayLike, synthetic: ArrayLike) -> float:
    """The threshold at which APCER and BPCER differ least, halfway between two scores.

    Args:
        authentic, synthetic: (A,) and (S,) scores; those that are not finite are left out.

    Raises:
        InputError: no score of one of the classes.
    """
    real, fake = np.sort(alive(authentic)), np.sort(alive(synthetic))
    _check_both(real, fake, "the threshold of equal errors")
    scores = np.unique(np.concatenate([real, fake]))
    between = np.concatenate([scores[:1], (scores[1:] + scores[:-1]) / 2, [np.nextafter(scores[-1], np.inf)]])
    missed = np.searchsorted(fake, between) / fake.size
    flagged = 1 - np.searchsorted(real, between) / real.size
    return float(between[np.abs(missed - flagged).argmin()])


def _share(values: np.ndarray, chosen: np.ndarray, clusters: ArrayLike | None, *arguments, **options) -> Interval:
    """``mean_interval`` of some images."""
    labels = None if clusters is None else np.asarray(clusters)[chosen]
    return mean_interval(values[:, chosen], labels, *arguments, **options)


def _rates_of(
    synthetic: np.ndarray, fdr: float, table: np.ndarray, columns: np.ndarray, codes: np.ndarray
) -> Statistic:
    """The statistic "TDR at a fixed FDR" of every run; the denominators are 1.

    Scores are sorted once a run. In a resample, the first authentic score from the top at which the weight exceeds the
    FDR is the largest that must not be flagged, and the fakes above it are counted by their cumulative weight.
    """
    classes = synthetic[columns]
    ordered = [_from_the_top(scores, classes) for scores in table]

    def weighted(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rates = np.empty((len(weights), len(table)))
        for run, (authentic, fake, above) in enumerate(ordered):
            flagged = np.cumsum(weights[:, codes[authentic]], axis=1)
            exceeds = flagged > fdr * flagged[:, -1:] + _ROUNDING
            cumulative = np.zeros((len(weights), len(fake) + 1))
            np.cumsum(weights[:, codes[fake]], axis=1, out=cumulative[:, 1:])
            detected = np.where(exceeds.any(axis=1), above[exceeds.argmax(axis=1)], len(fake))
            total = np.where(flagged[:, -1] > 0, cumulative[:, -1], 0)
            above_threshold = cumulative[np.arange(len(weights)), detected]
            rates[:, run] = np.divide(above_threshold, total, out=np.full(len(total), np.nan), where=total > 0)
        return rates, np.ones_like(rates)

    return weighted


def _from_the_top(scores: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Live authentic images, and synthetic ones, by falling score; number of synthetic scores above each authentic."""
    live = np.isfinite(scores)
    authentic, fake = np.flatnonzero(live & ~synthetic), np.flatnonzero(live & synthetic)
    authentic, fake = (rows[np.argsort(-scores[rows], kind="stable")] for rows in (authentic, fake))
    return authentic, fake, np.searchsorted(-scores[fake], -scores[authentic], "left")


def _inside(estimate: float, reach: float) -> tuple[float, float]:
    """Ends on log odds (delta method); a rate of 0 or 1 has none, and its ends are clipped."""
    if 0 < estimate < 1:
        return within(estimate, reach, (0, 1))
    return max(0.0, estimate - reach), min(1.0, estimate + reach)


def _check_both(authentic: np.ndarray, synthetic: np.ndarray, what: str) -> None:
    for label, values in (("authentic", authentic), ("synthetic", synthetic)):
        if not values.size:
            raise InputError(f"{what}: no {label} scores arrived; give scores of both classes")


def _check_fdr(fdr: ArrayLike) -> None:
    if not np.all((np.asarray(fdr) >= 0) & (np.asarray(fdr) <= 1)):
        raise InputError(f"FDR {fdr} arrived; give a share of the authentic images, from 0 to 1")
