"""Timing side by side: contestants take turns, so that other load on the machine affects all of them alike."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch

T = TypeVar("T")

COLUMNS = {
    "row": str,
    "detector": str,
    "what": str,
    "alternative": str,
    "images": "Int64",
    "ours_seconds": float,
    "theirs_seconds": float,
    "kind": str,
    "ratio": float,
    "ratio_low": float,
    "ratio_high": float,
    "target": float,
    "met": "boolean",
    "repeats": "Int64",
    "value": float,
    "unit": str,
    "note": str,
}
"""Columns of every row; in unused columns, text is "" and numbers are missing.

Seconds are medians over rounds, for one piece of work: an image, a pair, or all of it, as ``what`` says. ``ratio`` is
the median of the rounds' ratios, with the smallest and the largest beside it: theirs / ours where ``kind`` is
"speed-up", ours / theirs where it is "cost". ``value`` and its ``unit`` hold another quantity: a memory peak, or
the difference between the two results.
"""


def interleave(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Seconds of each contestant in each round: A B A B ..., after one round that is not counted.

    Args:
        contestants: name -> a function without arguments.
        rounds: number of rounds that are counted.
        warm: every contestant has run already: omit the round that is not counted.
        clock: seconds since any moment.

    Returns:
        Name -> (rounds,) seconds.
    """
    seconds = {name: np.empty(rounds) for name in contestants}
    for number in range(0 if warm else -1, rounds):
        for name, run in contestants.items():
            start = clock()
            run()
            took = clock() - start
            if number >= 0:
                seconds[name][number] = took
    return seconds


def apart(rows: Callable[..., Iterable[T]], *arguments: Any) -> list[T]:
    """What a function yields in a new process: what large arrays cost depends on the memory that was used before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as new:
        return new.submit(_listed, rows, *arguments).result()


def _listed(rows: Callable[..., Iterable[T]], *arguments: Any) -> list[T]:
    return list(rows(*arguments))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which torch computes with one thread, as in a job: core-seconds do not include waiting threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def compared(
    row: str,
    what: str,
    alternative: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    kind: str = "speed-up",
    target: float | None = None,
    **others: Any,
) -> dict[str, Any]:
    """One row of the table, from the seconds of both for the same piece of work in the same rounds.

    Args:
        row: group of the row: "maps".
        what, alternative: the timed work, and its alternative.
        ours, theirs: (rounds,) seconds.
        kind: "speed-up", theirs / ours, at least the target; or "cost", ours / theirs, at most the target.
        target: the target of the ratio, or None.
        others: other entries of ``COLUMNS``.
    """
    ratios = theirs / ours if kind == "speed-up" else ours / theirs
    ratio = float(np.median(ratios))
    return {
        "row": row,
        "what": what,
        "alternative": alternative,
        "ours_seconds": float(np.median(ours)),
        "theirs_seconds": float(np.median(theirs)),
        "kind": kind,
        "ratio": ratio,
        "ratio_low": float(ratios.min()),
        "ratio_high": float(ratios.max()),
        "target": target,
        "met": None if target is None else bool(ratio >= target if kind == "speed-up" else ratio <= target),
        "repeats": len(ours),
        **others,
    }


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as the saved frame, with all of ``COLUMNS``."""
    rows = pd.DataFrame(list(rows))
    unknown = sorted(set(rows) - set(COLUMNS))
    if unknown:
        raise ValueError(f"rows with columns {unknown}; the columns are {', '.join(COLUMNS)}")
    text = {name: rows[name].fillna("") if name in rows else "" for name, kind in COLUMNS.items() if kind is str}
    return rows.assign(**text).reindex(columns=list(COLUMNS)).astype(COLUMNS)
