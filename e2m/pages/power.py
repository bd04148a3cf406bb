"""How many runs one needs: the chance to find a difference between two groups of detectors of a given size."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import pandas as pd

from e2m.statistics import needed, power

RUNS = (3, 4, 5, 10, 20)
DIFFERENCES = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Differences between two groups, in standard deviations between the runs of one group."""

CLUSTERS = 100
"""Images, or people of whom there are several images."""

IMAGE_ERRORS = {"many images": 0.0, "few images": 0.3}
"""Standard error that the choice of images adds to a difference, in standard deviations between runs."""


def table(differences: Sequence[float] = DIFFERENCES, runs: Sequence[int] = RUNS) -> pd.DataFrame:
    """The chance that the 95 % interval of a difference excludes 0, by the true difference and the runs of each group.

    Args:
        differences: in standard deviations between the runs of one group.
        runs: of each group, 2 or more.

    Returns:
        One row a difference: difference, one column for each number of runs, with many images; then the smallest
        number of runs of each group with a chance of 80 %, a column for each of ``IMAGE_ERRORS``, null if no number is.
    """
    rows = []
    for gap in differences:
        chances = {f"{count} runs": power(gap, 2 / count, 0.0, count, CLUSTERS) for count in runs}
        enough = {
            f"runs for 80 %, {words}": needed(gap, 2 / 2, error**2, 2, CLUSTERS).runs
            for words, error in IMAGE_ERRORS.items()
        }
        rows.append({"difference": gap, **chances, **enough})
    return pd.DataFrame(rows).astype({f"runs for 80 %, {words}": "Int64" for words in IMAGE_ERRORS})


def smallest_p(runs: Sequence[int] = RUNS) -> pd.DataFrame:
    """The smallest two-sided p that a permutation test of two groups of so many runs each can give."""
    return pd.DataFrame({"runs of each group": runs, "smallest p": [2 / comb(2 * count, count) for count in runs]})
