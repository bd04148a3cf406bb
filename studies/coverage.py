"""How often 95 % intervals hold the truth with few runs: ``python -m studies.coverage``.

The table goes to ``data/studies``, or to ``--out OUT.parquet``. Two minutes on two cores.

Tables of known truth are simulated from value = run + subject + image + residual, 120 images of 12 subjects, and each
candidate's coverage and mean width are counted over replications; for pairs of runs, value = run + other run + pair +
image + residual, or the correlations of maps. "ours" calls ``e2m.statistics`` as users do; the other methods
exist only here.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special, stats

from e2m import statistics
from e2m.statistics import Interval
from e2m.statistics.intervals import UNLIMITED, satterthwaite
from e2m.store import disk, studies

RUNS = (3, 5, 10, 20)
REPLICATIONS = 1000
RESAMPLES = 500
SUBJECTS, PER_SUBJECT = 12, 10
CLUSTERS = np.repeat(np.arange(SUBJECTS), PER_SUBJECT)

DEVIATIONS = {  # of runs, subjects, images and residuals
    "runs dominate": (1.0, 0.2, 0.5, 0.5),
    "images dominate": (0.1, 1.0, 1.0, 0.5),
    "balanced": (0.65, 1.0, 1.0, 1.0),
    "residuals dominate": (0.02, 0.02, 0.1, 1.0),
}
PAIR_DEVIATIONS = {  # of runs, pairs, images and residuals
    "runs dominate": (1.0, 0.0, 0.3, 0.5),
    "balanced": (0.5, 0.5, 1.5, 0.5),
    "pairs dominate": (0.0, 1.0, 0.3, 0.5),
}
MAP_DEVIATIONS = {"maps of biased runs": (0.6, 0.0), "maps of runs that differ in noise": (0.0, 0.5)}
"""Deviations of the part that a run's maps share, and of the logarithm of their noise."""
SIDE = 6
SCORE_DEVIATIONS = (0.3, 0.3, 0.8, 0.6)
SYNTHETIC = np.arange(CLUSTERS.size) % 2 == 0
SEPARATIONS = {"AUC .80": 1.4, "AUC .97": 3.2}
SHARES = {"share .80": 0.8, "share .97": 0.97}
BOUNDED_DEVIATIONS = (0.5, 0.3, 0.8, 0.6)
"""On log odds."""
CENTRES = {"bounded, middle": 0.0, "bounded, near a limit": 2.5, "bounded, at a limit": 4.0}
"""Log odds of the middle value."""
SHIFTS = {"P .50": 0.0, "P .76": 1.0, "P .98": 3.0}

Simulated = tuple[float, dict[str, tuple[float, float]]]
"""The truth, and every method's interval."""

Study = Callable[[np.random.Generator, str, int], Simulated]
"""One simulation of a setting and a number of runs."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Parquet file to write; by default a dated one in data/studies")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--workers", type=int, help="processes [one a core]")
    options = parser.parse_args(arguments)
    rows = coverage(options.replications, workers=options.workers)
    if options.out:
        disk.write_table(options.out, rows)
    else:
        studies.save("coverage", rows, command="python -m studies.coverage", replications=options.replications)
    keys = ["statistic", "setting", "method"]
    print(rows.pivot_table(["coverage", "width"], keys, "runs").round(3).to_string())


def coverage(replications: int = REPLICATIONS, seed: int = 0, workers: int | None = None) -> pd.DataFrame:
    """Tidy rows: statistic, setting, runs, method, replications, coverage, width; the same seed gives the same rows."""
    with ProcessPoolExecutor(workers) as pool:
        parts = pool.map(partial(_rows, replications, seed), *zip(*_studies(), strict=True))
    columns = ["statistic", "setting", "runs", "method", "replications", "coverage", "width"]
    return pd.DataFrame([row for part in parts for row in part], columns=columns)


def _rows(replications: int, seed: int, statistic: str, study: Study, setting: str, runs: int) -> list[tuple]:
    """One row for each method, for one setting and number of runs."""
    generator = np.random.default_rng([seed, runs, *setting.encode()])
    simulated = [study(generator, setting, runs) for _ in range(replications)]
    truth = np.array([true for true, _ in simulated])
    rows = []
    for method in simulated[0][1]:
        low, high = np.array([intervals[method] for _, intervals in simulated]).T
        held = ((low <= truth) & (truth <= high)).mean()
        rows.append((statistic, setting, runs, method, replications, held, np.nanmean(high - low)))
    return rows


def _studies() -> Iterator[tuple[str, Study, str, int]]:
    studies = [
        ("mean", mean, DEVIATIONS),
        ("share", share, SHARES),
        ("bounded mean", bounded_mean, CENTRES),
        ("difference", difference, ["balanced"]),
        ("contrast", contrast, ["balanced"]),
        ("pairs", pairs, [*PAIR_DEVIATIONS, *MAP_DEVIATIONS]),
        ("AUC", auc, SEPARATIONS),
        ("AUC difference", auc_difference, SEPARATIONS),
        ("P(a > b)", probability, SHIFTS),
    ]
    for statistic, study, settings in studies:
        for setting in settings:
            for runs in RUNS:
                yield statistic, study, setting, runs


def mean(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Mean of a table whose truth is 0, by every method."""
    table = _table(generator, *DEVIATIONS[setting], runs)
    ours = statistics.mean_interval(table, CLUSTERS, resamples=RESAMPLES, seed=_seed(generator))
    # All clusters have one size, so their means represent their images.
    return 0.0, {
        "ours": (ours.low, ours.high),
        **_candidates(table.reshape(runs, SUBJECTS, -1).mean(axis=2), generator),
    }


def share(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Share of right decisions (values above 0), and the interval without log odds."""
    values = _table(generator, *SCORE_DEVIATIONS, runs) / np.linalg.norm(SCORE_DEVIATIONS)
    right = (values + stats.norm.ppf(SHARES[setting]) > 0).astype(float)
    ours = statistics.mean_interval(right, CLUSTERS, resamples=RESAMPLES, seed=_seed(generator))
    return SHARES[setting], {"ours": (ours.low, ours.high), "plain": _plain(ours)}


def bounded_mean(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Mean of values between 0 and 1, normal on log odds, and the interval that knows no limits."""
    values = special.expit(CENTRES[setting] + _table(generator, *BOUNDED_DEVIATIONS, runs))
    seed = _seed(generator)
    ours, plain = (
        statistics.mean_interval(values, CLUSTERS, resamples=RESAMPLES, seed=seed, limits=limits)
        for limits in ((0, 1), UNLIMITED)
    )
    return _bounded_truth(setting), {"ours": (ours.low, ours.high), "plain": (plain.low, plain.high)}


@cache
def _bounded_truth(setting: str) -> float:
    """The mean of all such values: an integral over the normal distribution, by Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    values = special.expit(CENTRES[setting] + np.linalg.norm(BOUNDED_DEVIATIONS) * nodes)
    return float(values @ weights / weights.sum())


def difference(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Difference of two regimes on the same images, with effects of images on both and on each: truth 0."""
    run, subject, image, residual = DEVIATIONS[setting]
    shared = _table(generator, 0, subject, image, 0, 1)
    first, second = (shared + _table(generator, run, subject / 2, image / 2, residual, runs) for _ in range(2))
    ours = statistics.difference_interval(first, second, CLUSTERS, resamples=RESAMPLES, seed=_seed(generator))
    return 0.0, {"ours": (ours.low, ours.high)}


def contrast(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Difference of two classes of images, of six subjects each; runs differ in how they separate them: truth 0."""
    second = CLUSTERS % 2 == 0
    run, *others = DEVIATIONS[setting]
    table = _table(generator, run, *others, runs) + run * second * generator.normal(size=(runs, 1))
    ours = statistics.contrast_interval(table, second, CLUSTERS, resamples=RESAMPLES, seed=_seed(generator))
    return 0.0, {"ours": (ours.low, ours.high)}


def pairs(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Mean over pairs of runs, and intervals that draw runs, or pairs, with replacement."""
    both = np.array(list(combinations(range(runs), 2)))
    if setting in PAIR_DEVIATIONS:
        run, pair, image, residual = PAIR_DEVIATIONS[setting]
        of_pair = run * generator.normal(size=runs)[both].sum(axis=1) + pair * generator.normal(size=len(both))
        truth, table = 0.0, of_pair[:, None] + _table(generator, 0, 0, image, residual, len(both))
    else:
        truth, table = _map_truth(setting), _correlations(_maps(generator, setting, runs), both)
    limits = UNLIMITED if setting in PAIR_DEVIATIONS else (-1, 1)
    ours = statistics.pairs_interval(table, both.tolist(), resamples=RESAMPLES, seed=_seed(generator), limits=limits)
    of_pairs, over_images = table.mean(axis=1), table.mean(axis=0).var(ddof=1) / table.shape[1]
    weights = (_shares(generator, runs)[:, both] * runs).prod(axis=2)
    weights = weights[weights.any(axis=1)]
    drawn = (weights @ of_pairs / weights.sum(axis=1)).var() * runs / (runs - 1)
    alone = of_pairs.var(ddof=1) / len(both)
    return truth, {
        "ours": (ours.low, ours.high),
        "t, runs drawn": _t_interval(table.mean(), [drawn, over_images], [runs, table.shape[1]]),
        "t, pairs independent": _t_interval(table.mean(), [alone, over_images], [len(both), table.shape[1]]),
    }


def auc(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Mean AUC of normal scores, and the interval without log odds."""
    run, *others = SCORE_DEVIATIONS
    truth = stats.norm.cdf(SEPARATIONS[setting] / np.sqrt(2 * np.square(others).sum() + run**2))
    sides = _sides(generator)
    scores = _scores(generator, setting, runs, sides)
    ours = statistics.auc_interval(scores, SYNTHETIC, CLUSTERS, resamples=200, seed=_seed(generator))
    return truth, {"ours": (ours.low, ours.high), "plain": _plain(ours)}


def auc_difference(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """Difference in AUC of two regimes whose scores share the images' effects: truth 0."""
    sides = _sides(generator)
    first, second = (_scores(generator, setting, runs, sides) for _ in range(2))
    ours = statistics.auc_difference_interval(first, second, SYNTHETIC, CLUSTERS, resamples=200, seed=_seed(generator))
    return 0.0, {"ours": (ours.low, ours.high)}


def probability(generator: np.random.Generator, setting: str, runs: int) -> Simulated:
    """P(a > b) of normal run-level values that differ by a shift."""
    a, b = generator.normal(size=(2, runs))
    a += SHIFTS[setting]
    ours = statistics.probability_greater(a, b)
    chosen_a, chosen_b = (_shares(generator, runs) for _ in range(2))
    drawn = np.einsum("ba,ac,bc->b", chosen_a, a[:, None] > b, chosen_b, optimize=True)
    percentile = np.quantile(drawn, [0.025, 0.975])
    return stats.norm.cdf(SHIFTS[setting] / np.sqrt(2)), {
        "ours": (ours.low, ours.high),
        "percentile": tuple(percentile),
    }


def _candidates(table: np.ndarray, generator: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Other methods for the mean of (R, C) values without gaps."""
    runs, clusters = table.shape
    estimate = table.mean()
    run_shares, cluster_shares = _shares(generator, runs), _shares(generator, clusters)
    joint = _values(run_shares, table, cluster_shares)
    of_runs, of_clusters = run_shares @ table.mean(axis=1), cluster_shares @ table.mean(axis=0)
    sizes = np.array([runs, clusters])
    single = np.array([of_runs.var(), of_clusters.var()])
    variances = single * sizes / (sizes - 1)
    # Runs and clusters drawn alone contain the residual once each, drawn jointly three times; the difference is its
    # variance times (1 - 1 / R) (1 - 1 / C).
    residual = max(0.0, (joint.var() - single.sum()) * np.prod(sizes / (sizes - 1)))
    once = max(variances.sum() - residual, *variances)
    t = stats.t.ppf(0.975, satterthwaite(variances, sizes))
    percentiles = np.quantile(joint, [0.025, 0.975])
    wider = _values(_stretched(run_shares), table, _stretched(cluster_shares))
    stretch = t / stats.norm.ppf(0.975) * np.sqrt(variances.sum() / joint.var())
    ends = {
        "percentile": percentiles,
        "percentile, inflated": np.quantile(wider, [0.025, 0.975]),
        "percentile, stretched": estimate + (percentiles - estimate) * stretch,
        "BCa": np.quantile(joint, _bca_levels(table, joint)),
        "t, residual once": estimate + np.array([-1, 1]) * t * np.sqrt(once),
    }
    return {method: tuple(interval) for method, interval in ends.items()}


def _plain(ours: Interval) -> tuple[float, float]:
    """The interval without log odds: its reach is that in log odds times the slope."""
    reach = float(np.diff(special.logit([ours.mean, ours.high]))[0]) * ours.mean * (1 - ours.mean)
    return ours.mean - reach, ours.mean + reach


def _t_interval(estimate: float, variances: list[float], sizes: list[int]) -> tuple[float, float]:
    reach = stats.t.ppf(0.975, satterthwaite(variances, sizes)) * np.sqrt(np.sum(variances))
    return estimate - reach, estimate + reach


def _maps(generator: np.random.Generator, setting: str, runs: int) -> np.ndarray:
    """(runs, images, pixels): a gradient, the effect of the image, the bias of the run, and noise."""
    bias, spread = MAP_DEVIATIONS[setting]
    images, pixels = CLUSTERS.size, SIDE**2
    noise = 0.5 * np.exp(spread * generator.normal(size=(runs, 1, 1)))
    return (
        np.linspace(-1, 1, pixels)
        + 0.5 * generator.normal(size=(images, pixels))
        + bias * generator.normal(size=(runs, 1, pixels))
        + noise * generator.normal(size=(runs, images, pixels))
    )


def _correlations(maps: np.ndarray, both: np.ndarray) -> np.ndarray:
    """(pairs, images) correlations of the maps of two runs."""
    centred = maps - maps.mean(axis=2, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=2, keepdims=True)
    return np.einsum("pnk,pnk->pn", unit[both[:, 0]], unit[both[:, 1]])


@cache
def _map_truth(setting: str) -> float:
    """Mean correlation of two runs, over many independent pairs."""
    generator, both = np.random.default_rng(0), np.array([[0, 1]])
    return float(np.mean([_correlations(_maps(generator, setting, 2), both).mean() for _ in range(4000)]))


def _bca_levels(table: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Levels of Efron's bias-corrected and accelerated interval, its acceleration from both factors' influences."""
    influences = np.concatenate([(table.mean(axis=axis) - table.mean()) / table.shape[1 - axis] for axis in (0, 1)])
    acceleration = (influences**3).sum() / (6 * (influences**2).sum() ** 1.5)
    below = np.clip((joint < table.mean()).mean(), 1 / RESAMPLES, 1 - 1 / RESAMPLES)
    bias = stats.norm.ppf(below)
    moved = bias + stats.norm.ppf([0.025, 0.975])
    return stats.norm.cdf(bias + moved / (1 - acceleration * moved))


def _sides(generator: np.random.Generator) -> np.ndarray:
    """(1, images) effects; those of a subject on its authentic and its synthetic images are independent."""
    _, subject, image, _ = SCORE_DEVIATIONS
    return np.where(SYNTHETIC, *(_table(generator, 0, subject, image, 0, 1) for _ in range(2)))


def _scores(generator: np.random.Generator, setting: str, runs: int, sides: np.ndarray) -> np.ndarray:
    """(runs, images) normal scores; the distance between the classes differs from run to run."""
    run, _, _, residual = SCORE_DEVIATIONS
    separation = SEPARATIONS[setting] + run * generator.normal(size=(runs, 1))
    return sides + SYNTHETIC * separation + _table(generator, 0, 0, 0, residual, runs)


def _table(
    generator: np.random.Generator, run: float, subject: float, image: float, residual: float, runs: int
) -> np.ndarray:
    """(runs, images) values of the model with the given deviations."""
    return (
        run * generator.normal(size=(runs, 1))
        + subject * generator.normal(size=SUBJECTS)[CLUSTERS]
        + image * generator.normal(size=CLUSTERS.size)
        + residual * generator.normal(size=(runs, CLUSTERS.size))
    )


def _shares(generator: np.random.Generator, size: int) -> np.ndarray:
    """(RESAMPLES, size) shares of units drawn with replacement; each row sums to 1."""
    return generator.multinomial(size, np.full(size, 1 / size), size=RESAMPLES) / size


def _stretched(shares: np.ndarray) -> np.ndarray:
    """Shares further from equal by sqrt(n / (n - 1)), which makes the resampled variance unbiased."""
    size = shares.shape[1]
    return 1 / size + (shares - 1 / size) * np.sqrt(size / (size - 1))


def _values(run_shares: np.ndarray, table: np.ndarray, cluster_shares: np.ndarray) -> np.ndarray:
    return np.einsum("br,br->b", run_shares, cluster_shares @ table.T)


def _seed(generator: np.random.Generator) -> int:
    return int(generator.integers(2**31))


if __name__ == "__main__":
    main()
