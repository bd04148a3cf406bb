"""Correlation of maps, cell by cell."""

from __future__ import annotations

import numpy as np

from e2m.arrays.maps import dead


def correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pearson's correlation over the cells of each pair of maps.

    Args:
        maps, others: (N, h, w), not constant.

    Returns:
        (N,) in [-1, 1].
    """
    a, b = (stack.reshape(len(stack), maps.shape[1] * maps.shape[2]) for stack in (maps, others))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))


def rank_correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the cells of each pair of maps.

    Args:
        maps, others: (N, h, w).

    Returns:
        (N,) in [-1, 1]; NaN where one of the two is dead.
    """
    from scipy.stats import rankdata  # not at the top: most measures do without, and it takes half a second

    silent = dead(maps) | dead(others)
    ranks = [rankdata(stack.reshape(len(stack), -1), axis=1).reshape(stack.shape) for stack in (maps, others)]
    with np.errstate(invalid="ignore"):
        return np.where(silent, np.nan, correlation(*ranks))
