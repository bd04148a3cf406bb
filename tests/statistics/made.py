"""Tables, tidy rows and slow resampling that the tests of statistics share."""

import numpy as np
import pandas as pd

from e2m.statistics import intervals


def normal(*shape, seed=0):
    """Standard normal numbers of a shape."""
    return np.random.default_rng(seed).normal(size=shape)


def tidy(table, names="run image", **columns):
    """Rows of a table {(run, image): value}, or of an array (R, N)."""
    if not isinstance(table, dict):
        table = {(run, f"i{image:02}"): value for (run, image), value in np.ndenumerate(table)}
    rows = pd.DataFrame(table.keys(), columns=names.split())
    return rows.assign(value=list(table.values()), **columns)


def paired(table, pairs, **columns):
    """Rows of an array (P, N), one row of it a pair of runs."""
    cells = {(*pairs[row], f"i{image:02}"): value for (row, image), value in np.ndenumerate(table)}
    return tidy(cells, "run run_other image", **columns)


CLUSTERS = np.array(["c", "a", "b", "a", "d", "e", "f", "g", "f", "c"])


def slow_draws(tables, clusters, value, resamples, seed):
    """Draws of runs of each table, then of clusters, made of repeated rows and columns instead of weights."""
    drawn = []
    kinds = np.unique(clusters)

    def counts(factor, size):
        return intervals._counts(np.random.default_rng([seed, factor]), resamples, size).astype(int)

    for number, table in enumerate(tables):
        values = []
        for count in counts(1 + number, len(table)):
            changed = [np.repeat(table, count, axis=0) if other is table else other for other in tables]
            values.append(value(changed, np.arange(table.shape[1])))
        drawn.append(np.array(values))
    values = []
    for count in counts(0, len(kinds)):
        columns = [
            n
            for kind, times in zip(kinds, count, strict=True)
            for _ in range(times)
            for n in np.flatnonzero(clusters == kind)
        ]
        values.append(value(tables, np.array(columns)))
    return [*drawn, np.array(values)]


def slow_means(tables, columns):
    result = [np.nanmean(table[:, columns]) for table in tables]
    return result[0] - result[1] if len(result) == 2 else result[0]


def slow_auc(scores, synthetic):
    wins = [(s > a) + (s == a) / 2 for s in scores[synthetic] for a in scores[~synthetic]]
    return np.nan if not wins else np.mean(wins)
