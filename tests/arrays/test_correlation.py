"""Correlations against SciPy."""

import numpy as np
from scipy import stats

from e2m.arrays.correlation import correlation, rank_correlation


def test_correlation_is_pearsons(random):
    a, b = random.random((2, 4, 3, 5))
    expected = [stats.pearsonr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-12)


def test_rank_correlation_is_spearmans(random):
    a, b = random.random((2, 4, 7, 7)).round(1)  # with ties
    expected = [stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), expected, atol=1e-12)
    b[0] = 0.5
    assert np.isnan(rank_correlation(a, b)).tolist() == [True, False, False, False]
