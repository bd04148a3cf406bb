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
cover far less often than they say: ``studies/coverage.py`` compares the two, and others. Where the residual
outweighs runs and images alike, the sum counts it twice and the interval is longer than it need be.

Where a row is a pair of runs, (P, N), pairs that share a run are not independent either:

    value[i, j, n] = mean + run[i] + run[j] + pair[i, j] + image[n] + residual[i, j, n]

The variance over runs is then the jackknife's (Efron & Stein 1981, Annals of Statistics 9, 586), each run left out with
all its pairs: R - 1 times the variance of the R means that remain. It is right for ``run`` and errs upwards for
``pair``, whose variance it takes 2 (R - 1) / (R - 2) times. Runs drawn with replacement err downwards: they put too
much weight on too few pairs.

Functions of run-level values (R,), one mean or AUC a run, speak of these images only: what other runs would do on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
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
        runs: runs with a live value, themselves or in a pair; of two regimes, the smaller number.
        images: images with a live value (in both regimes, where two are compared); None where run-level values came in.
        missing: values that do not enter: dead, or on an image without a live value in the other regime.
        note: what to know, "" where there is nothing.
        kind: what is estimated, in the words of ``studies/coverage.py``, which says how far to trust the interval.
    """

    mean: float
    low: float
    high: float
    runs: int
    images: int | None
    missing: int
    note: str = ""
    kind: str = ""


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

    Where all values are 0 or 1, the interval of their share is taken on log odds, as an AUC's.

    Args:
        values: (R, N), NaN where dead or missing.
        clusters: (N,) labels, say subjects, that are resampled whole; each image by itself where None.
        resamples: how often runs and images are drawn.
        seed: the same input and seed give the same bytes.
        level: how often such intervals should hold the mean.

    Raises:
        InputError: not (R, N), or clusters of another length.
    """
    table = _table(values)
    return _interval([table], _sums, clusters, resamples, seed, level, **_scale(table))


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
    tables = [_table(guided), _table(traditional)]
    return _interval(tables, _sums, clusters, resamples, seed, level, kind="difference")


def pairs_interval(
    values: ArrayLike,
    pairs: Sequence[tuple[Hashable, Hashable]],
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean over pairs of runs, say how alike their maps are, with an interval over other runs and other images.

    Args:
        values: (P, N), one row a pair, NaN where dead or missing.
        pairs: P times (run, other run), each pair once, in either order.
        clusters, resamples, seed, level: as in ``mean_interval``; runs are left out one by one instead of drawn.

    Raises:
        InputError: as ``mean_interval``; also pairs that are not P different ones of two different runs.
    """
    table = _table(values)
    members = [_pairs(pairs, len(table))]
    return _interval([table], _sums, clusters, resamples, seed, level, pairs=members, kind="pairs")


def contrast_interval(
    values: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of the second class of images minus mean of the first, run by run, averaged over these same runs.

    Args:
        values: (R, N), NaN where dead or missing; a run without a live value in one class is left out.
        second: (N,) bool, True for images of the second class. Each class is resampled by itself.
        clusters: as in ``mean_interval``; what a cluster has in one class is resampled apart from what it has in the
            other.
        resamples, seed, level: as in ``mean_interval``.

    Raises:
        InputError: as ``mean_interval``; also where all images are of one class.
    """
    classes = _two_classes(second, "contrast", "first", "second")
    tables = [_both_classes(_table(values), classes)]
    if clusters is not None:
        clusters = 2 * np.unique(_labels(tables, clusters), return_inverse=True)[1] + classes
    value = partial(_contrasts, classes)
    return _interval(tables, value, clusters, resamples, seed, level, classes=classes, kind="contrast")


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
    classes = _two_classes(synthetic, f"AUC of {source}", "authentic", "synthetic")
    tables = [_both_classes(_table(scores), classes)]
    return _interval(tables, partial(_aucs, classes), clusters, resamples, seed, level, _inside_unit, kind="AUC")


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
    classes = _two_classes(synthetic, f"AUC of {source}", "authentic", "synthetic")
    tables = [_both_classes(_table(scores), classes) for scores in (guided, traditional)]
    value = partial(_aucs, classes)
    return _interval(tables, value, clusters, resamples, seed, level, _clipped, kind="AUC difference")


def probability_greater(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Chance that a run of ``a`` lies above a run of ``b``, ties half; run-level values (Ra,) and (Rb,).

    The interval is Newcombe's method 5 (2006, Statistics in Medicine 25, 559): all t with |found - t| <= z sqrt(V(t)),
    V(t) = t (1 - t) / (Ra Rb) * (1 + m (1 - t) / (2 - t) + m t / (1 + t)), m = (Ra + Rb) / 2 - 1. It remains honest
    where all runs of one regime lie above the other's; there a bootstrap has no spread left to resample.
    """
    first, second = _alive(a), _alive(b)
    runs = min(first.size, second.size)
    missing = np.size(a) + np.size(b) - first.size - second.size
    answer = partial(Interval, runs=runs, images=None, missing=missing, kind="P(a > b)")
    if runs == 0:
        return answer(np.nan, np.nan, np.nan, note="no live run")
    found = _greater(first, second)
    if runs == 1:
        return answer(found, np.nan, np.nan, note="1 run: no interval over runs")
    return answer(found, *_newcombe(found, first.size, second.size, level), note=_few(runs))


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
    if first.size == second.size == 1:
        difference = float(first[0] - second[0])
        return PermutationTest(difference, np.nan, np.nan, 0, False, "; ".join([*notes, "1 run each: no test"]))
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


def summarise(
    rows: pd.DataFrame,
    by: Sequence[str],
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of every group of tidy rows, with an interval over other runs and other images.

    Args:
        rows: columns run, image, value and those of ``by``, one row a run and image; where ``run_other`` is there and
            not null, one row a pair of runs and image.
        by: columns that tell groups apart; null is a group of its own, "" in the result.
        clusters: image -> subject, say; images of one subject are resampled together.
        resamples, seed: as in ``mean_interval``.

    Returns:
        One row a group, in order of first appearance: ``by``, then the attributes of ``Interval``, 95 %. ``missing``
        also counts runs (or pairs of the runs there) that have no row on an image that others of the group have.
        Where rows have a column ``flipped`` (``with_flips``), so has the table: how many of them are true.

    Raises:
        InputError: a column that is not there, no rows, a run and image with two values in a group (the message names
            the columns that tell them apart), an image without a cluster, pairs and single runs in one group.
    """
    names, groups = _groups(rows, by, clusters)
    found = []
    for tables, labels, pairs in groups:
        scale = _scale(tables[0]) if pairs is None else {"pairs": pairs, "kind": "pairs"}
        found.append(_interval(tables, _sums, labels, resamples, seed, 0.95, **scale))
    table = names.join(pd.DataFrame(map(asdict, found), columns=[field.name for field in fields(Interval)]))
    if "flipped" in rows:
        flipped = rows["flipped"].fillna(0).astype(int)
        groups = flipped.groupby([rows[name] for name in by], observed=True, sort=False, dropna=False)
        table["flipped"] = groups.sum().to_numpy()
    return table


def compare(
    rows: pd.DataFrame,
    by: Sequence[str],
    guided: str = "cyborg",
    traditional: str = "cross_entropy",
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Two regimes in every group of tidy rows: how far apart they are, and whether runs tell them apart.

    Args:
        rows: as in ``summarise``, with the column ``regime``; rows of further regimes are left aside.
        by: columns that tell groups apart, without ``regime``.
        guided, traditional: the regimes.
        clusters, resamples, seed: as in ``summarise``.

    Returns:
        One row a group: ``by``; difference (guided minus traditional), low, high as ``difference_interval``;
        probability_greater and cliffs_delta of the runs' means, each with its interval (probability_low and _high,
        cliffs_low and _high); p and p_smallest of ``permutation_test`` on them; p_holm, adjusted over all rows; runs,
        images, missing, note, kind. Pairs of runs have no independent means: difference and interval only.

    Raises:
        InputError: as ``summarise``; also no rows of one regime.
    """
    _check_columns(rows, ["regime"], by)
    if guided == traditional:
        raise InputError(f"regime {guided!r} arrived as guided and as traditional; give two different ones")
    regimes = (guided, traditional)
    for regime in regimes:
        if not (rows["regime"] == regime).any():
            known = ", ".join(sorted(rows["regime"].dropna().astype(str).unique())) or "none"
            raise InputError(f"no rows of regime {regime!r} arrived; the regimes there are: {known}")
    names, groups = _groups(rows[rows["regime"].isin(regimes)], by, clusters, regimes)
    found = pd.DataFrame([_compared(*group, regimes, resamples, seed) for group in groups])
    found.insert(found.columns.get_loc("p_smallest") + 1, "p_holm", holm(found["p"]))
    return names.join(found)


def by_decision(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows twice, told apart by the column ``decision``: "all", and "right" for images classified rightly."""
    right = rows[rows["correct"].astype(bool)]
    both = pd.concat([rows.assign(decision="all"), right.assign(decision="right")])
    # Beside each other, so that groups of both appear by turns in a table.
    return both.sort_index(kind="stable", ignore_index=True)


def over_levels(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows with the levels of each image (all transformations, say) replaced by the mean of those not NaN.

    ``flipped``, where it is there, becomes a number: on so many levels the decision flipped.
    """
    pooled = {"value": "mean"} | ({"flipped": "sum"} if "flipped" in rows else {})
    keys = [name for name in rows.columns if name not in ("level", *pooled) and rows[name].notna().any()]
    return rows.groupby(keys, observed=True, sort=False).agg(pooled).reset_index()


def accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of scores as rows of right (1) and wrong (0) decisions: variant "score..." becomes "accuracy..."."""
    rows = softmax_scores(rows)
    right = (rows["value"] >= 0.5) == (rows["label"] == "synthetic")
    return _renamed(rows, "accuracy", right)


def flips(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of scores of changed images as rows of flipped (1) and kept (0) decisions, against the clean image."""
    rows = softmax_scores(rows)
    clean = rows["correct"].to_numpy(bool) == (rows["label"] == "synthetic").to_numpy()
    return _renamed(rows, "flipped", (rows["value"] >= 0.5) != clean)


def with_flips(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of changed images with a column ``flipped``: is the decision another one than on the clean image?

    The scores tell, also for the maps of the same changed image. Rows without any scores come back as they are.
    """
    decided = flips(rows)
    if decided.empty:
        return rows
    # Blur is guided by a map and has a region, with which the variant ends.
    names = rows["variant"].astype(str)
    region = names.map({name: re.sub("^(score_sigmoid|score|ssim_valid|ssim)_?", "", name) for name in names.unique()})
    guide = rows["salience"].astype(object).where(region != "", "")
    keys = [rows[name] for name in ("detector", "regime", "run", "image", "level")] + [region, guide]
    image = pd.DataFrame({place: pd.factorize(key)[0] for place, key in enumerate(keys)}, rows.index)
    image = image.groupby(list(image)).ngroup()
    return rows.assign(flipped=image.isin(image[decided.index[decided["value"] == 1]]))


def softmax_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of the tidy rows that hold P(synthetic): variants "score...", without those of the published sigmoid."""
    variant = rows["variant"].astype(str)
    return rows[variant.str.startswith("score") & ~variant.str.startswith("score_sigmoid")]


def _renamed(rows: pd.DataFrame, name: str, value: pd.Series) -> pd.DataFrame:
    variant = rows["variant"].astype(str).str.replace("score", name)
    return rows.assign(variant=variant, value=value.astype(float).where(rows["value"].notna()))


def summarise_auc(
    rows: pd.DataFrame,
    by: Sequence[str],
    authentic: str,
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUC of every synthetic source against one authentic source, in every group of tidy rows of scores.

    Args:
        rows: columns run, image, label, source, variant, value and those of ``by``; only scores are read.
        by: columns that tell groups apart, without ``source``.
        authentic: the source whose images are the negatives.
        clusters, resamples, seed: as in ``summarise``.

    Returns:
        One row a group and synthetic source: ``by``, source, then the attributes of ``Interval``.

    Raises:
        InputError: no rows of ``authentic``, or a group with nothing else.
    """
    found = []
    for names, source, tables, synthetic, labels in _auc_groups(rows, by, authentic, [None], clusters):
        interval = auc_interval(tables[0], synthetic, labels, resamples, seed, source=source)
        found.append({**names, "source": source, **asdict(interval)})
    return pd.DataFrame(found)


def compare_auc(
    rows: pd.DataFrame,
    by: Sequence[str],
    authentic: str,
    guided: str = "cyborg",
    traditional: str = "cross_entropy",
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Two regimes by their AUC: the columns of ``compare`` and, for tests of equality, ``runs_guided`` and
    ``runs_traditional``, the AUC of each run, and ``low_90`` and ``high_90``, the 90 % interval of the difference.

    Arguments and errors as in ``summarise_auc`` and ``compare``; ``by`` goes without ``regime``.
    """
    found = []
    regimes = (guided, traditional)
    for names, source, tables, synthetic, labels in _auc_groups(rows, by, authentic, regimes, clusters):
        apart = auc_difference_interval(*tables, synthetic, labels, resamples, seed, source=source)
        within = auc_difference_interval(*tables, synthetic, labels, resamples, seed, level=0.9, source=source)
        means = [[auc(run[~synthetic], run[synthetic], source) for run in table] for table in tables]
        runs = {"runs_guided": means[0], "runs_traditional": means[1]}
        ends = {"low_90": within.low, "high_90": within.high}
        found.append({**names, "source": source, **_tested(apart, means, seed), **runs, **ends})
    table = pd.DataFrame(found)
    table.insert(table.columns.get_loc("p_smallest") + 1, "p_holm", holm(table["p"]))
    return table


def _auc_groups(
    rows: pd.DataFrame, by: Sequence[str], authentic: str, regimes: Sequence[str | None], clusters: Mapping | None
) -> Iterator[tuple[dict, str, list[np.ndarray], np.ndarray, np.ndarray | None]]:
    """Names, source, one (R, N) table of scores a regime, which images are synthetic, and their clusters."""
    rows = softmax_scores(rows)
    sources = list(dict.fromkeys(rows.loc[rows["label"] == "synthetic", "source"]))
    if authentic not in set(rows["source"]) or not sources:
        there = sorted(set(rows["source"]))
        raise InputError(f"AUC needs scores of {authentic!r} and of a synthetic source; there are {there}")
    for key, group in rows.groupby(list(by), observed=True, sort=False, dropna=False):
        names = dict(zip(by, key, strict=True))
        authentic_images = pd.unique(group.loc[group["source"] == authentic, "image"])
        for source in sources:
            fakes = pd.unique(group.loc[group["source"] == source, "image"])
            images = [*authentic_images, *fakes]
            kept = group[group["source"].isin([authentic, source])]
            tables = [
                (kept if regime is None else kept[kept["regime"] == regime])
                .pivot(index="run", columns="image", values="value")
                .reindex(columns=images)
                .to_numpy(float)
                for regime in regimes
            ]
            labels = None if clusters is None else np.array([clusters[image] for image in images])
            yield names, source, tables, np.arange(len(images)) >= len(authentic_images), labels


def _compared(
    tables: list[np.ndarray],
    labels: np.ndarray | None,
    pairs: list[np.ndarray] | None,
    regimes: tuple[str, str],
    resamples: int,
    seed: int,
) -> dict:
    kind = "difference" if pairs is None else "pairs"
    apart = _interval(tables, _sums, labels, resamples, seed, 0.95, pairs=pairs, kind=kind)
    found = _tested(apart, _run_means(tables) if pairs is None else [], seed)
    absent = [f"no rows of {regime}" for regime, table in zip(regimes, tables, strict=True) if not len(table)]
    return {**found, "note": "; ".join(filter(None, [*absent, found["note"]]))}


def _tested(apart: Interval, means: Sequence[ArrayLike], seed: int) -> dict:
    """A difference, and what the means (R,) of the runs of both regimes say of it; no means where rows are pairs."""
    both = means or ([], [])
    chance, delta, test = probability_greater(*both), cliffs_delta(*both), permutation_test(*both, seed)
    untested = test.note if apart.runs else ""
    return {
        "difference": apart.mean,
        "low": apart.low,
        "high": apart.high,
        "probability_greater": chance.mean,
        "probability_low": chance.low,
        "probability_high": chance.high,
        "cliffs_delta": delta.mean,
        "cliffs_low": delta.low,
        "cliffs_high": delta.high,
        "p": test.p,
        "p_smallest": test.smallest,
        "runs": apart.runs,
        "images": apart.images,
        "missing": apart.missing,
        "note": "; ".join(filter(None, [apart.note, untested if means else "pairs: no exact test"])),
        "kind": apart.kind,
    }


def _run_means(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Means of the live runs of each table, on the images that are alive in all."""
    columns = np.logical_and.reduce([np.isfinite(table).any(axis=0) for table in tables])
    shared = [table[:, columns] for table in tables]
    return [np.nanmean(table[np.isfinite(table).any(axis=1)], axis=1) for table in shared]


# Tidy rows as tables.


def _groups(
    rows: pd.DataFrame,
    by: Sequence[str],
    clusters: Mapping | pd.Series | None,
    regimes: Sequence[str] = (),
) -> tuple[pd.DataFrame, Iterator[tuple[list[np.ndarray], np.ndarray | None, list[np.ndarray] | None]]]:
    """What groups are called (one row each), and of each its tables, labels (N,) of clusters and pairs.

    There is one table, or one a regime, on the same images; pairs are (P, 2) numbers of runs a table, None where rows
    are runs. Runs and images are sorted: the order of rows changes no number.
    """
    _check_columns(rows, ["run", "image", "value"], by)
    if not len(rows):
        raise InputError("no rows arrived; give tidy rows of at least one run and image")
    group = np.zeros(len(rows), dtype=np.int64)
    for column in by:
        codes, kinds = pd.factorize(rows[column], use_na_sentinel=False)
        group = pd.factorize(group * len(kinds) + codes)[0]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    names = pd.DataFrame({column: _plain(rows[column].iloc[order[starts]]) for column in by})

    image, images = pd.factorize(rows["image"], sort=True)
    run, other = _run_numbers(rows)
    regime = pd.Categorical(rows["regime"], regimes).codes if regimes else np.zeros(len(rows), dtype=int)
    if min(image.min(), run.min()) < 0:
        raise InputError("rows without a run or an image arrived; every row needs both")
    _check_repeats(rows, by, np.column_stack([group, regime, run, other, image]))
    labels = None if clusters is None else _cluster_numbers(clusters, images)
    value = rows["value"].to_numpy(dtype=float, na_value=np.nan)
    value = np.where(np.isfinite(value), value, np.nan)

    def tables(at: np.ndarray):
        shown, column = np.unique(image[at], return_inverse=True)
        paired = other[at] >= 0
        if paired.any() and not paired.all():
            raise InputError("pairs of runs and single runs arrived in one group; add the column of the measure to by")
        found, pairs = [], []
        for number in range(max(1, len(regimes))):
            mine = regime[at] == number
            table, members = _pivot(run[at][mine], other[at][mine], column[mine], len(shown), value[at][mine])
            found.append(table)
            pairs.append(members)
        return found, None if labels is None else labels[shown], pairs if paired.any() else None

    return names, map(tables, np.split(order, starts[1:]))


def _pivot(
    run: np.ndarray, other: np.ndarray, column: np.ndarray, images: int, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(R, images) of runs, or (P, images) of all pairs of the runs there; and the rows' members, (R, 1) or (P, 2)."""
    paired = bool((other >= 0).any())
    runs = np.unique(np.concatenate([run, other]) if paired else run)
    members = np.array(list(combinations(range(len(runs)), 1 + paired)), dtype=int).reshape(-1, 1 + paired)
    places = np.zeros((len(runs), len(runs)), dtype=int)
    places[members[:, 0], members[:, -1]] = np.arange(len(members))
    first = np.searchsorted(runs, run)
    table = np.full((len(members), images), np.nan)
    table[places[first, np.searchsorted(runs, other) if paired else first], column] = value
    return table, members


def _run_numbers(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of ``run`` and ``run_other``, the smaller first; the other is -1 where the row is no pair."""
    if "run_other" not in rows or rows["run_other"].isna().all():
        return pd.factorize(rows["run"], sort=True)[0], np.full(len(rows), -1)
    numbers = pd.factorize(pd.concat([rows["run"], rows["run_other"]]), sort=True)[0]
    run, other = np.split(numbers, 2)
    alone = (run == other) & (run >= 0)
    if alone.any():
        raise InputError(f"run {rows['run'].iloc[int(alone.argmax())]} is paired with itself; give two different runs")
    single = other < 0
    return np.where(single, run, np.minimum(run, other)), np.where(single, -1, np.maximum(run, other))


def _cluster_numbers(clusters: Mapping | pd.Series, images: pd.Index) -> np.ndarray:
    """(images,) numbers of the cluster that each image belongs to."""
    of_image = clusters if isinstance(clusters, pd.Series) else pd.Series(dict(clusters))
    if not of_image.index.is_unique:
        twice = of_image.index[of_image.index.duplicated()][0]
        raise InputError(f"image {twice!r} is in clusters more than once; give each image one cluster")
    numbers, _ = pd.factorize(of_image.reindex(images), sort=True)
    if (numbers < 0).any():
        alone = images[numbers < 0]
        raise InputError(f"{len(alone)} of {len(images)} images have no cluster, {alone[0]!r} first; give each one")
    return numbers


def _plain(column: pd.Series) -> pd.Series:
    """Numbers as they are, anything else as text, "" where null."""
    column = column.reset_index(drop=True)
    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str).where(column.notna(), "")


def _check_columns(rows: pd.DataFrame, needed: Sequence[str], by: Sequence[str]) -> None:
    if isinstance(by, str) or not by:
        raise InputError(f"by {by!r} arrived; give a list of at least one column")
    if reserved := sorted({*needed, "run_other"} & set(by)):
        raise InputError(f"by names {', '.join(reserved)}, which make up a group; leave them out of by")
    if absent := [column for column in [*needed, *by] if column not in rows]:
        raise InputError(f"rows have no column {', '.join(absent)}; their columns are {', '.join(rows.columns)}")


def _check_repeats(rows: pd.DataFrame, by: Sequence[str], keys: np.ndarray) -> None:
    """Raise where a run (or pair) has two values on an image, and name the columns by which they differ."""
    key = np.zeros(len(keys), dtype=np.int64)
    for codes in keys.T:
        key = pd.factorize(key * (int(codes.max()) + 2) + codes + 1)[0]
    repeated = pd.Series(key).duplicated(keep=False).to_numpy()
    if not repeated.any():
        return
    kinds = rows[repeated].groupby(key[repeated])
    others = [column for column in rows if column not in {*by, "run", "run_other", "image", "value", "flipped"}]
    differing = [column for column in others if kinds[column].nunique(dropna=False).max() > 1]
    one = rows[repeated].iloc[0]
    advice = f"add {', '.join(differing)} to by" if differing else "give each of them one row"
    raise InputError(f"run {one['run']} has more than one value on image {one['image']!r} in a group; {advice}")


# One table or two, one statistic, one interval.


def _around(estimate: float, reach: float) -> tuple[float, float]:
    return estimate - reach, estimate + reach


def _inside_unit(estimate: float, reach: float) -> tuple[float, float]:
    """The same interval on the scale of log odds, where an AUC near 1 has room on both sides (delta method)."""
    low, high = special.expit(_around(special.logit(estimate), reach / (estimate * (1 - estimate))))
    return float(low), float(high)


def _scale(values: np.ndarray) -> dict:
    """Shares of right or flipped decisions, values of 0 and 1, stay between 0 and 1."""
    share = np.isin(values[np.isfinite(values)], (0, 1)).all()
    return {"ends": _inside_unit, "kind": "share"} if share else {"kind": "mean"}


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
    pairs: Sequence[np.ndarray] | None = None,
    classes: np.ndarray | None = None,
    kind: str = "",
) -> Interval:
    """Interval of the first table's value, minus the second's where there are two.

    Where rows are pairs, ``pairs`` gives each table's, (P, 2) numbers of runs. Where ``classes`` (N,) are given, which
    no cluster may span, images of one class are drawn while those of the other stay whole.
    """
    labels = _labels(tables, clusters)
    columns = np.logical_and.reduce([np.isfinite(table).any(axis=0) for table in tables])
    rows = [np.isfinite(table[:, columns]).any(axis=1) for table in tables]
    used = [table[row][:, columns] for table, row in zip(tables, rows, strict=True)]
    members = [np.arange(len(row)) for row in rows] if pairs is None else pairs
    members = [member[row] for member, row in zip(members, rows, strict=True)]
    sizes = [len(np.unique(member)) for member in members]
    runs, images = min(sizes), int(columns.sum())
    missing = sum(table.size for table in tables) - sum(int(np.isfinite(table).sum()) for table in used)
    answer = partial(Interval, runs=runs, images=images, missing=missing, kind=kind)
    if runs == 0:
        return answer(np.nan, np.nan, np.nan, note="no live value")

    kinds, places, codes = np.unique(labels[columns], return_index=True, return_inverse=True)
    strata = np.zeros(len(kinds), dtype=bool) if classes is None else classes[columns][places]
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    sizes = np.array([*sizes, *map(len, groups)])
    regimes = [statistic(table, columns, codes) for table in used]
    whole = [regime(np.ones((1, len(kinds)))) for regime in regimes]
    estimate = float(_difference([_ratio(*parts) for parts in whole])[0])
    reason = _no_interval(estimate, runs, sizes[len(tables) :], clusters, pairs is not None)
    if reason:
        return answer(estimate, np.nan, np.nan, note=reason)

    if pairs is None:
        draws = [_run_draws(*parts, resamples, [seed, 1 + k]) for k, parts in enumerate(whole)]
    else:
        draws = [_left_out(*parts, member) for parts, member in zip(whole, members, strict=True)]
        if np.isnan(np.concatenate(draws)).any():
            return answer(estimate, np.nan, np.nan, note="all pairs share a run: no interval")
    generator = np.random.default_rng([seed, 0])
    draws += [_image_draws(regimes, group, len(kinds), resamples, generator) for group in groups]
    undefined = max(np.isnan(drawn).mean() for drawn in draws)
    if undefined > UNDEFINED_SHARE:
        return answer(
            estimate, np.nan, np.nan, note=f"too few images of a class: {undefined:.0%} of resamples have none"
        )

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


def _left_out(numerators: np.ndarray, denominators: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(R,) values of one regime without one run and its pairs, NaN where no pair is left.

    They are stretched by (R - 1) / sqrt(R), after which R / (R - 1) times their variance is the jackknife's.
    """
    names = np.unique(pairs)
    kept = (pairs[None] != names[:, None, None]).all(axis=2)
    left = _ratio(kept * numerators, kept * denominators)
    return left * (len(names) - 1) / np.sqrt(len(names))


def _image_draws(
    regimes: Sequence[Statistic], group: np.ndarray, clusters: int, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """(resamples,) values, or differences, of all runs, one group of clusters of images drawn with replacement."""
    at_once = max(1, WEIGHTS_AT_ONCE // clusters)
    drawn = []
    for start in range(0, resamples, at_once):
        weights = np.ones((min(at_once, resamples - start), clusters))
        weights[:, group] = _counts(generator, len(weights), len(group))
        drawn.append(_difference([_ratio(*regime(weights)) for regime in regimes]))
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


def _contrasts(second: np.ndarray, table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Statistic:
    """Mean of the second class minus mean of the first, a run; the denominators are 1."""
    classes = second[columns]
    after, before = (_sums(np.where(mine, table, np.nan), columns, codes) for mine in (classes, ~classes))

    def weighted(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = _divide(*after(weights)) - _divide(*before(weights))
        return found, np.ones_like(found)

    return weighted


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


@lru_cache(maxsize=4)
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
    """(N,) bool with both classes in it."""
    classes = np.asarray(second)
    if classes.ndim != 1 or classes.dtype != bool:
        raise InputError(
            f"{what}: classes {classes.dtype} {classes.shape} arrived; give (images,) bool, True for {second_name}"
        )
    if classes.all() or not classes.any():
        absent = first_name if classes.all() else second_name
        raise InputError(f"{what}: no {absent} images arrived; give images of both classes")
    return classes


def _both_classes(table: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The table, NaN in all of a run that has no live value of one class."""
    if table.shape[1] != len(classes):
        raise InputError(f"values of {table.shape[1]} images arrived with {len(classes)} classes; give one an image")
    alive = np.isfinite(table)
    both = alive[:, classes].any(axis=1) & alive[:, ~classes].any(axis=1)
    return np.where(both[:, None], table, np.nan)


def _alive(values: ArrayLike) -> np.ndarray:
    """(n,) float, those that are not finite left out."""
    found = np.asarray(values, dtype=float)
    if found.ndim != 1:
        raise InputError(f"values of shape {found.shape} arrived; give one number a run or image, (n,)")
    return found[np.isfinite(found)]


def _no_interval(estimate: float, runs: int, groups: np.ndarray, clusters: ArrayLike | None, paired: bool) -> str:
    """Why there is no interval over runs, or over the clusters of each group; "" where there may be one."""
    if not np.isfinite(estimate):
        return "a class without live scores"
    reasons = ["1 run: no interval over runs"] if runs == 1 else []
    if paired and runs == 2:
        reasons.append("2 runs: one pair, no interval")
    if min(groups) == 1:
        thing = "image" if clusters is None else "cluster"
        of = " of a class" if len(groups) > 1 else ""
        reasons.append(f"1 {thing}{of}: no interval over {thing}s")
    return "; ".join(reasons)


def _few(runs: int) -> str:
    return f"few runs ({runs})" if runs < FEW_RUNS else ""
