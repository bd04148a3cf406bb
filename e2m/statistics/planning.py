"""How many runs or images a study would need to decide what this one left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from e2m.statistics.intervals import satterthwaite

MOST = 1000
"""Largest number of runs, and largest multiple of the images, that is planned with."""


@dataclass(frozen=True)
class Needed:
    """What would decide a question.

    Attributes:
        runs: runs of each regime, on these images; None if ``MOST`` runs would not do.
        images: multiple of the images, for these runs; None if ``MOST`` times as many would not do, which is so where
            runs alone already vary too much.
        both: runs where the images grow in the same proportion; None if more than ``MOST`` would be needed.
    """

    runs: int | None
    images: float | None
    both: int | None


def needed(
    gap: float,
    run_variance: float,
    image_variance: float,
    runs: int,
    clusters: int,
    regimes: int = 2,
    level: float = 0.95,
    power: float = 0.8,
) -> Needed:
    """The smallest numbers with which an interval, if the truth is as estimated, decides with the given power.

    With the parts v_r and v_c of the squared standard error that R0 runs and C0 clusters of images gave, R runs of each
    of g regimes and C clusters give

        error^2 = v_r R0 / R + v_c C0 / C        degrees of freedom by Satterthwaite from g (R - 1) and C - 1

    and decide where (t of the level + t of the power) * error <= gap. One number grows while the other stays, or both
    in proportion; new images are of new people. The parts hold the residual twice (see ``e2m.statistics``), so that
    the numbers are too large rather than too small.

    Args:
        gap: distance between the estimate and the value to be excluded, not negative.
        run_variance, image_variance, clusters: attributes of ``Interval``.
        runs: of each regime.
        regimes: number of regimes compared, with as many runs each; 1 for a mean.
        level: of the interval.
        power: share of such studies that decide.
    """

    def decides(many_runs: int, many_clusters: int) -> bool:
        parts = np.array([run_variance * runs / many_runs, image_variance * clusters / many_clusters])
        if not parts.any():
            return gap > 0
        freedom = satterthwaite(parts, [regimes * (many_runs - 1) + 1, many_clusters])
        reach = special.stdtrit(freedom, [0.5 + level / 2, power]).sum() * np.sqrt(parts.sum())
        return bool(reach <= gap)

    more_runs = _first(runs, MOST, lambda many: decides(many, clusters))
    more_clusters = _first(clusters, MOST * clusters, lambda many: decides(runs, many))
    both = _first(runs, MOST, lambda many: decides(many, round(clusters * many / runs)))
    return Needed(more_runs, None if more_clusters is None else more_clusters / clusters, both)


def power(
    gap: float,
    run_variance: float,
    image_variance: float,
    runs: int,
    clusters: int,
    regimes: int = 2,
    level: float = 0.95,
) -> float:
    """Share of such studies whose interval excludes 0, if the difference really is ``gap``.

    With the squared standard error v_r + v_c, the estimate divided by its error follows a noncentral t with
    Satterthwaite's degrees of freedom, and decides beyond the t of the level.

    Args:
        gap: the true difference, in the unit of the values.
        run_variance, image_variance: parts of the squared standard error; for two groups of R runs each whose means
            have the standard deviation s, the runs' part is 2 s^2 / R.
        runs: of each regime, 2 or more.
        clusters: of images.
        regimes, level: as in ``needed``.
    """
    from scipy.stats import nct  # not at the top: one page plans, and it takes half a second

    parts = np.array([run_variance, image_variance])
    freedom = satterthwaite(parts, [regimes * (runs - 1) + 1, clusters])
    beyond = special.stdtrit(freedom, 0.5 + level / 2)
    shift = gap / np.sqrt(parts.sum())
    # Both sides by the survival function: SciPy's distribution function gives NaN far from its middle.
    return float(sum(nct.sf(beyond, freedom, side) for side in (shift, -shift)))


def _first(least: int, most: int, enough: Callable[[int], bool]) -> int | None:
    """The smallest number from ``least`` to ``most`` that is enough, by halving; None if none is."""
    if not enough(most):
        return None
    while least < most:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle + 1, most)
    return least
