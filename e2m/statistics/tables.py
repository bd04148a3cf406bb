"""Summary tables of tidy rows, one row a group: means, AUCs, and differences with tests.

What is compared are two values of one column of the rows, ``regime`` unless a function is given another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from e2m.statistics.intervals import (
    UNLIMITED,
    Interval,
    Limits,
    Status,
    apart,
    auc,
    auc_difference_interval,
    auc_interval,
    both_classes,
    inside,
    interval,
    live_in_all,
    scale_of,
    sums_of,
    within,
)
from e2m.statistics.rows import softmax_scores
from e2m.statistics.runs import cliffs_delta, equivalent, holm, permutation_test, probability_greater
from e2m.types import InputError

Against = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""The authentic source whose images are the negatives of an AUC, or several; or those of each synthetic source."""


def summarise(
    rows: pd.DataFrame,
    by: Sequence[str],
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
    over: str = "runs and images",
) -> pd.DataFrame:
    """Mean of every group of tidy rows, with an interval over other runs and other images.

    Args:
        rows: columns run, image, value and those of ``by``, one row a run and image; with a ``run_other`` that is not
            null, one row a pair of runs and image. Columns ``least`` and ``most``, if there are any, hold the range of
            a row's quantity (``ranged``): no interval leaves the range of its rows.
        by: columns that define the groups; null is a group too, "" in the result.
        clusters: image -> cluster, for example its subject; images of one cluster are resampled together.
        resamples, seed, over: as in ``mean_interval``.

    Returns:
        One row a group, in order of first appearance: ``by``, then the attributes of ``Interval``, 95 %. ``missing``
        also counts runs (or pairs of them) without a row on an image that others of the group have. If rows have a
        column ``flipped`` (``with_flips``), the table has it too, with the number of flipped rows.

    Raises:
        InputError: a missing column; no rows; values outside their range; two values of a run and image in a group
            (the message names the columns in which they differ); an image without a cluster; pairs and single runs in
            one group; an unknown ``over``.
    """
    names, groups = groups_of(rows, by, clusters)
    intervals = []
    for tables, labels, pairs, limits in groups:
        of_pairs = {"ends": partial(within, limits=limits), "pairs": pairs, "kind": "pairs"}
        scale = scale_of(tables[0], limits) if pairs is None else of_pairs
        intervals.append(interval(tables, sums_of, labels, resamples, seed, 0.95, over=over, **scale).as_row())
    table = names.join(pd.DataFrame(intervals, columns=[field.name for field in fields(Interval)]))
    if "flipped" in rows:
        flipped = rows["flipped"].fillna(0).astype(int)
        groups = flipped.groupby([rows[name] for name in by], observed=True, sort=False, dropna=False)
        table["flipped"] = groups.sum().to_numpy()
    return table


def compare(
    rows: pd.DataFrame,
    by: Sequence[str],
    *,
    first: str,
    second: str,
    column: str = "regime",
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
    over: str = "runs and images",
) -> pd.DataFrame:
    """Compare two sets of runs in every group of tidy rows: their difference, and tests of it over runs.

    Args:
        rows: as in ``summarise``, with the column ``column``; rows of further values of it are ignored.
        by: columns that define the groups, without ``column``.
        first, second: the values of ``column`` that are compared: two regimes. Their numbers of runs may differ.
        column: names what is compared.
        clusters, resamples, seed, over: as in ``summarise``; over images alone, one run of each is enough.

    Returns:
        One row a group: ``by``; difference (first minus second), low, high as ``difference_interval``;
        probability_greater and cliffs_delta of the runs' means, each with its interval (probability_low and _high,
        cliffs_low and _high); p and p_smallest of ``permutation_test`` on them; p_holm, adjusted over all rows; runs,
        images, missing, note, kind, status; clusters, run_variance, image_variance and freedom of ``Interval``, and
        its p as p_interval. Pairs of runs have no independent means: difference and interval only.

    Raises:
        InputError: as ``summarise``; also no rows of ``first`` or ``second``.
    """
    _check_columns(rows, [column], by)
    if first == second:
        raise InputError(f"{column} {first!r} arrived as first and as second; give two different ones")
    compared = (first, second)
    for value in compared:
        if not (rows[column] == value).any():
            known = ", ".join(sorted(rows[column].dropna().astype(str).unique())) or "none"
            raise InputError(f"no rows of {column} {value!r} arrived; the {column}s there are: {known}")
    names, groups = groups_of(rows[rows[column].isin(compared)], by, clusters, column, compared)
    table = pd.DataFrame([_compared(*group, compared, resamples, seed, over) for group in groups])
    table.insert(table.columns.get_loc("p_smallest") + 1, "p_holm", holm(table["p"]))
    return names.join(table)


def summarise_auc(
    rows: pd.DataFrame,
    by: Sequence[str],
    authentic: Against,
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
    over: str = "runs and images",
) -> pd.DataFrame:
    """AUC of every synthetic source against an authentic source, in every group of tidy rows of scores.

    Args:
        rows: columns run, image, label, source, variant, value and those of ``by``; only scores are read.
        by: columns that define the groups, without ``source``.
        authentic: see ``Against``.
        clusters, resamples, seed, over: as in ``summarise``.

    Returns:
        One row a group and synthetic source: ``by``, source, then the attributes of ``Interval``.

    Raises:
        InputError: no rows of ``authentic``, or a group with nothing else; a missing column; two scores of a run and
            image in a group; an image without a cluster.
    """
    table = []
    for names, source, tables, synthetic, labels in auc_groups(rows, by, authentic, clusters):
        aucs = auc_interval(tables[0], synthetic, labels, resamples, seed, source=source, over=over)
        table.append({**names, "source": source, **aucs.as_row()})
    return pd.DataFrame(table)


def compare_auc(
    rows: pd.DataFrame,
    by: Sequence[str],
    authentic: Against,
    *,
    first: str,
    second: str,
    column: str = "regime",
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
    over: str = "runs and images",
) -> pd.DataFrame:
    """Compare the AUCs of two sets of runs: one row a group and synthetic source, with the columns of ``compare``.

    Arguments and errors are those of ``summarise_auc`` and ``compare``; ``by`` does not contain ``column``.
    """
    table = []
    for names, source, tables, synthetic, labels in auc_groups(rows, by, authentic, clusters, column, (first, second)):
        difference = auc_difference_interval(*tables, synthetic, labels, resamples, seed, source=source, over=over)
        table.append({**names, "source": source, **_tested(difference, _run_aucs(tables, synthetic), seed)})
    table = pd.DataFrame(table)
    table.insert(table.columns.get_loc("p_smallest") + 1, "p_holm", holm(table["p"]))
    return table


def equal_auc(
    rows: pd.DataFrame,
    by: Sequence[str],
    authentic: Against,
    margin: float,
    *,
    first: str,
    second: str,
    column: str = "regime",
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
    over: str = "runs and images",
) -> pd.DataFrame:
    """Test whether the AUCs of two sets of runs are equal up to a margin, for every group and synthetic source.

    Args:
        rows, by, authentic, first, second, column, clusters, resamples, seed, over: as in ``compare_auc``.
        margin: differences smaller than this count as none.

    Returns:
        One row a group and synthetic source: ``by``, source, verdict, difference, low_90 and high_90 (the 90 % interval
        over runs and images), margin, p and note of ``equivalent``; runs, images, clusters, run_variance and
        image_variance of the interval, and its p of no difference as p_interval. The verdict is "equal" if both
        one-sided tests and the 90 % interval show it, "different" if the 95 % interval excludes 0, and "undecided"
        otherwise. Over images alone, the interval decides by itself. Where every run ranks every image right, nothing
        varies, and the interval is what so many images can exclude (``_perfect``).

    Raises:
        InputError: as ``compare_auc``; also a margin that is not positive.
    """
    table = []
    for names, source, tables, synthetic, labels in auc_groups(rows, by, authentic, clusters, column, (first, second)):
        wide, narrow = (
            auc_difference_interval(*tables, synthetic, labels, resamples, seed, level, source, over)
            for level in (0.95, 0.9)
        )
        aucs = _run_aucs(tables, synthetic)
        if narrow.status == Status.NO_SPREAD and np.concatenate(aucs).min() == 1:
            narrow = _perfect(narrow, tables, synthetic, labels)
        test = equivalent(*aucs, margin, narrow)
        # Without other runs, or where no run differs, the interval decides by itself.
        alone = over == "images" or narrow.status == Status.NO_SPREAD
        equal = -margin < test.low and test.high < margin if alone else test.equivalent
        different = wide.low > 0 or wide.high < 0
        verdict = "equal" if equal else "different" if different else "undecided"
        ends = {"low_90": test.low, "high_90": test.high}
        note = narrow.note if alone else test.note
        tested = {"difference": test.difference, **ends, "margin": margin, "p": test.p, "note": note}
        about = ("runs", "images", "clusters", "run_variance", "image_variance")
        tested |= {name: getattr(narrow, name) for name in about} | {"p_interval": wide.p}
        table.append({**names, "source": source, "verdict": verdict, **tested})
    return pd.DataFrame(table)


def summarise_rates(
    rows: pd.DataFrame,
    by: Sequence[str],
    authentic: Against,
    rates: Mapping[str, Callable[..., Interval]],
    clusters: Mapping | pd.Series | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Rates of detection of every synthetic source against an authentic source, in every group of tidy rows.

    Args:
        rows: as in ``summarise_auc``; their values are what the rates read: scores, or 1 for flagged images.
        by, authentic, clusters, resamples, seed: as in ``summarise_auc``.
        rates: name -> function of (R, N) values, (N,) bool of synthetic images, clusters, resamples and seed
            (``e2m.statistics.detection``).

    Returns:
        One row a group, synthetic source and rate: ``by``, source, rate, then the attributes of ``Interval``.

    Raises:
        InputError: as ``summarise_auc``.
    """
    return pd.DataFrame(
        {**names, "source": source, "rate": rate, **function(values, synthetic, labels, resamples, seed).as_row()}
        for names, source, (values,), synthetic, labels in auc_groups(rows, by, authentic, clusters)
        for rate, function in rates.items()
    )


def _run_aucs(tables: Sequence[np.ndarray], synthetic: np.ndarray) -> list[list[float]]:
    """AUCs of the live runs of each table, on the images with live scores in all tables."""
    tables = [both_classes(table, synthetic) for table in tables]
    columns = live_in_all(tables)
    classes = synthetic[columns]
    shared = [both_classes(table[:, columns], classes) for table in tables]
    return [[auc(run[~classes], run[classes]) for run in table if np.isfinite(run).any()] for table in shared]


def _perfect(
    none: Interval, tables: Sequence[np.ndarray], synthetic: np.ndarray, labels: np.ndarray | None
) -> Interval:
    """The 90 % interval of a difference where all runs of both have an AUC of 1.

    If n independent pairs of images were all ranked right, the AUC is above 0.05 ** (1 / n) with 95 % confidence
    (Clopper & Pearson 1934); n is the number of clusters with scores in the class that has fewer.
    """
    clusters = np.arange(len(synthetic)) if labels is None else labels
    live = live_in_all([both_classes(table, synthetic) for table in tables])
    pairs = min(len(np.unique(clusters[live & (synthetic == kind)])) for kind in (False, True))
    reach = 1 - 0.05 ** (1 / pairs)
    return replace(none, low=-reach, high=reach, note=f"every AUC is 1: as far as {pairs} images of a class can tell")


def auc_groups(
    rows: pd.DataFrame,
    by: Sequence[str],
    authentic: Against,
    clusters: Mapping | None,
    column: str = "",
    compared: Sequence[str | None] = (None,),
) -> Iterator[tuple[dict, str, list[np.ndarray], np.ndarray, np.ndarray | None]]:
    """Groups: names, source, (R, N) scores of each of the compared, (N,) bool of synthetic images, and clusters."""
    for names in (by, ["variant"]):
        _check_columns(rows, ["run", "image", "label", "source", "value"], names)
    rows = softmax_scores(rows)
    sources = list(dict.fromkeys(rows.loc[rows["label"] == "synthetic", "source"]))
    given = authentic if isinstance(authentic, Mapping) else dict.fromkeys(sources, authentic)
    against = {source: [names] if isinstance(names, str) else list(names) for source, names in given.items()}
    needed = {name for source in sources for name in against.get(source, ["an authentic source"])}
    known = set(rows["source"])
    if not needed or needed - known:
        absent = ", ".join(map(repr, sorted(needed - known))) or repr(authentic)
        raise InputError(f"AUC needs scores of {absent} and of a synthetic source; there are {sorted(known)}")
    if odd := sorted(needed & set(sources)):
        raise InputError(f"AUC against {odd[0]!r} arrived, which has synthetic images; an authentic source fits")
    if absent := [value for value in compared if value is not None and not (rows[column] == value).any()]:
        raise InputError(f"no scores of {column} {absent[0]!r} arrived; there are {sorted(set(rows[column]))}")
    keys = [*by, *([column] if column else []), "run", "image"]
    _check_repeats(rows, by, np.column_stack([pd.factorize(rows[name])[0] for name in keys]))
    for key, group in rows.groupby(list(by), observed=True, sort=False, dropna=False):
        names = dict(zip(by, key, strict=True))
        for source in sources:
            # Sorted, so that the order of rows changes no number.
            real, fake = (
                sorted(pd.unique(group.loc[group["source"].isin(chosen), "image"]))
                for chosen in (against[source], [source])
            )
            images = pd.Index([*real, *fake])
            kept = group[group["source"].isin([*against[source], source])]
            tables = [
                (kept if value is None else kept[kept[column] == value])
                .pivot(index="run", columns="image", values="value")
                .reindex(columns=images)
                .to_numpy(float)
                for value in compared
            ]
            labels = None if clusters is None else _cluster_numbers(clusters, images)
            yield names, source, tables, np.arange(len(images)) >= len(real), labels


def _compared(
    tables: list[np.ndarray],
    labels: np.ndarray | None,
    pairs: list[np.ndarray] | None,
    limits: Limits,
    compared: tuple[str, str],
    resamples: int,
    seed: int,
    over: str,
) -> dict:
    kind, ends = "difference" if pairs is None else "pairs", partial(apart, limits=limits)
    difference = interval(tables, sums_of, labels, resamples, seed, 0.95, ends, pairs=pairs, kind=kind, over=over)
    tested = _tested(difference, _run_means(tables) if pairs is None else [], seed)
    absent = [f"no rows of {value}" for value, table in zip(compared, tables, strict=True) if not len(table)]
    return {**tested, "note": "; ".join(filter(None, [*absent, tested["note"]]))}


def _tested(difference: Interval, means: Sequence[ArrayLike], seed: int) -> dict:
    """A difference with tests on the run-level means (R,) of both sets of runs; no means if rows are pairs."""
    both = means or ([], [])
    chance, delta, test = probability_greater(*both), cliffs_delta(*both), permutation_test(*both, seed)
    untested = test.note if difference.runs else ""
    return {
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "probability_greater": chance.mean,
        "probability_low": chance.low,
        "probability_high": chance.high,
        "cliffs_delta": delta.mean,
        "cliffs_low": delta.low,
        "cliffs_high": delta.high,
        "p": test.p,
        "p_smallest": test.smallest,
        "runs": difference.runs,
        "images": difference.images,
        "missing": difference.missing,
        "note": "; ".join(filter(None, [difference.note, untested if means else "pairs: no exact test"])),
        "kind": difference.kind,
        "status": difference.status.value,
        "clusters": difference.clusters,
        "run_variance": difference.run_variance,
        "image_variance": difference.image_variance,
        "freedom": difference.freedom,
        "p_interval": difference.p,
    }


def _run_means(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Means of the live runs of each table, on the images with live values in all tables."""
    shared = [table[:, live_in_all(tables)] for table in tables]
    return [np.nanmean(table[np.isfinite(table).any(axis=1)], axis=1) for table in shared]


# Groups of tidy rows as (R, N) tables


def groups_of(
    rows: pd.DataFrame,
    by: Sequence[str],
    clusters: Mapping | pd.Series | None,
    column: str = "",
    compared: Sequence[str] = (),
) -> tuple[pd.DataFrame, Iterator[tuple[list[np.ndarray], np.ndarray | None, list[np.ndarray] | None, Limits]]]:
    """Names of groups (one row each); and for each group its tables, cluster labels (N,), pairs and limits.

    A group has one table, or one for each value of ``column`` that is compared, on the same images. Pairs are (P, 2)
    numbers of runs for each table, None if rows are runs. Runs and images are sorted, so that the order of rows changes
    no number.
    """
    _check_columns(rows, ["run", "image", "value"], by)
    if not len(rows):
        raise InputError("no rows arrived; give tidy rows of at least one run and image")
    group = _numbered([pd.factorize(rows[name], use_na_sentinel=False)[0] for name in by])
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    names = pd.DataFrame({column: _plain(rows[column].iloc[order[starts]]) for column in by})

    image, images = pd.factorize(rows["image"], sort=True)
    run, other = _run_numbers(rows)
    part = pd.Categorical(rows[column], compared).codes if compared else np.zeros(len(rows), dtype=int)
    if min(image.min(), run.min()) < 0:
        raise InputError("rows without a run or an image arrived; every row needs both")
    _check_repeats(rows, by, np.column_stack([group, part, run, other, image]))
    labels = None if clusters is None else _cluster_numbers(clusters, images)
    value = rows["value"].to_numpy(dtype=float, na_value=np.nan)
    value = np.where(np.isfinite(value), value, np.nan)
    limits_of = _limits(rows)

    def tables(members: np.ndarray):
        shown, position = np.unique(image[members], return_inverse=True)
        paired = other[members] >= 0
        if paired.any() and not paired.all():
            raise InputError("pairs of runs and single runs arrived in one group; add the column of the measure to by")
        limits = limits_of(members)
        stacks, pairs = [], []
        for number in range(max(1, len(compared))):
            chosen = part[members] == number
            rows_of = members[chosen]
            table, runs = _pivot(run[rows_of], other[rows_of], position[chosen], len(shown), value[rows_of])
            stacks.append(inside(table, limits))
            pairs.append(runs)
        return stacks, None if labels is None else labels[shown], pairs if paired.any() else None, limits

    return names, map(tables, np.split(order, starts[1:]))


def _limits(rows: pd.DataFrame) -> Callable[[np.ndarray], Limits]:
    """Numbers of rows -> the range of their quantity, from the columns ``least`` and ``most``, if there are both."""
    if not {"least", "most"} <= set(rows):
        return lambda members: UNLIMITED
    least, most = (
        rows[name].fillna(none).to_numpy(float) for name, none in zip(("least", "most"), UNLIMITED, strict=True)
    )
    return lambda members: (least[members].min(), most[members].max())


def _numbered(columns: Iterable[np.ndarray]) -> np.ndarray:
    """(N,) a number for each combination of codes (N,) from -1 up, in order of first appearance."""
    number = np.int64(0)
    for codes in columns:
        number = pd.factorize(number * (int(codes.max()) + 2) + codes + 1)[0]
    return number


def _pivot(
    run: np.ndarray, other: np.ndarray, column: np.ndarray, images: int, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(R, images) of runs, or (P, images) of all pairs of runs; and the runs of each row, (R, 1) or (P, 2)."""
    paired = bool((other >= 0).any())
    runs = np.unique(np.concatenate([run, other]) if paired else run)
    members = np.array(list(combinations(range(len(runs)), 1 + paired)), dtype=int).reshape(-1, 1 + paired)
    row_of = np.zeros((len(runs), len(runs)), dtype=int)
    row_of[members[:, 0], members[:, -1]] = np.arange(len(members))
    first = np.searchsorted(runs, run)
    table = np.full((len(members), images), np.nan)
    table[row_of[first, np.searchsorted(runs, other) if paired else first], column] = value
    return table, members


def _run_numbers(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of ``run`` and ``run_other``, the smaller first; the second is -1 if the row is not a pair."""
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
    """(images,) number of each image's cluster."""
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
    """Numeric columns unchanged, others as text, with "" for null."""
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
    """Raise if a run (or pair) has two values on an image, and name the columns in which they differ."""
    key = _numbered(keys.T)
    repeated = pd.Series(key).duplicated(keep=False).to_numpy()
    if not repeated.any():
        return
    kinds = rows[repeated].groupby(key[repeated])
    others = [
        column
        for column in rows
        if column not in {*by, "run", "run_other", "image", "value", "flipped", "least", "most"}
    ]
    differing = [column for column in others if kinds[column].nunique(dropna=False).max() > 1]
    first = rows[repeated].iloc[0]
    advice = f"add {', '.join(differing)} to by" if differing else "give each of them one row"
    raise InputError(f"run {first['run']} has more than one value on image {first['image']!r} in a group; {advice}")
