"""Where the time of `make book` goes: every job of the last build on its lane, from the note that each job leaves.

Commands of ``e2m`` add their time to the file that ``E2M_TIMES`` names, which the workflow sets (``e2m.store.times``).
Times are no results: no table of results holds them, and the book shows them as it finds them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from e2m.experiment.profile import ModelKey, Profile
from e2m.pages import figures
from e2m.store import paths, times

IDLE = 5
"""Seconds without any job after which a gap is cut out: a build that goes on later has no hole."""


def jobs(notes: Path, profile: Profile) -> pd.DataFrame:
    """The jobs of a profile's book, each with its latest run, in the order of their starts.

    Args:
        notes: file of ``e2m.store.times``.
        profile: its detectors and maskers count, and not those that `make study` adds.

    Returns:
        kind (the command), name, start and end in seconds from the first start, without the time in which no job ran;
        cpu, seconds of all processes of the job; lane, a number from 0: no two jobs of a lane overlap.
    """
    rows = {}
    for job, *time in times.read(notes):
        if _of_book(job, profile):
            rows[_named(job)] = time
    table = pd.DataFrame(
        [(*name, *time) for name, time in rows.items()], columns=["kind", "name", "start", "end", "cpu"]
    ).sort_values("start", ignore_index=True)
    return _in_lanes(_without_gaps(table))


def kinds(table: pd.DataFrame) -> pd.DataFrame:
    """One row a kind of job, most CPU time first: jobs, CPU in seconds, its share, the longest job and its seconds.

    The last row holds all jobs, and the seconds from the first start to the last end.
    """
    rows = []
    for kind, some in table.groupby("kind", sort=False):
        longest = some.loc[(some["end"] - some["start"]).idxmax()]
        seconds, cpu = longest["end"] - longest["start"], some["cpu"].sum()
        share = cpu / table["cpu"].sum()
        rows.append((kind, len(some), round(cpu), f"{share:.0%}", longest["name"] or "–", round(seconds)))
    rows = sorted(rows, key=lambda row: -row[2])
    rows.append(
        ("all", len(table), round(table["cpu"].sum()), "100%", "first start to last end", round(table["end"].max()))
    )
    columns = ["kind of job", "jobs", "CPU (s)", "share of CPU", "longest job", "its duration (s)"]
    return pd.DataFrame(rows, columns=columns)


def write(notes: Path, profile: str, folder: Path) -> None:
    """Write ``timeline.svg`` and ``timeline.csv``, which a page of the book includes, into a folder."""
    table = jobs(notes, Profile.load(profile))
    folder.mkdir(parents=True, exist_ok=True)
    figures.save(figures.lanes(table), folder / "timeline.svg")
    # A table of the book needs a row.
    by_kind = kinds(table) if len(table) else pd.DataFrame([{"kind of job": "no job left a note of its time"}])
    content = by_kind.to_csv(index=False).encode()
    paths.write_atomically(folder / "timeline.csv", lambda file: file.write(content))


def _of_book(job: Mapping[str, Any], profile: Profile) -> bool:
    given = dict(job["parameters"]).get("profile", profile.profile) if job["command"] == "run" else job.get("profile")
    # A profile outside the repository is given as a path.
    if given is None or Path(given).name.removesuffix(".yaml") != profile.profile:
        return False
    if "regime" not in job:
        return True
    keys = [ModelKey(job["detector"] or profile.detectors[0], job["regime"], run) for run in _runs(job)]
    return all(key in (*profile.trained, *profile.controlled) for key in keys) and (
        job["command"] != "train-masker" or all(map(profile.has_masker, keys))
    )


def _named(job: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and name of a job: ("train", "cyborg, run 3"), ("page", "entropy")."""
    if job["command"] == "run":
        return "page", Path(job["notebook"]).stem
    numbers = ", ".join(map(str, _runs(job)))
    words = [
        job.get("regime"),
        f"run{'s' * (',' in numbers)} {numbers}" if numbers else "",
        job.get("part"),
        *(job.get("source") or []),
    ]
    return job["command"], ", ".join(filter(None, words))


def _runs(job: Mapping[str, Any]) -> list[int]:
    """The runs of a job: commands take one or several."""
    run = job.get("run", [])
    return run if isinstance(run, list) else [run]


def _without_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the first start at 0 and without the time in which no job ran."""
    before = table["end"].cummax().shift(fill_value=table["start"].min())
    idle = (table["start"] - before).where(lambda gap: gap > IDLE, 0).cumsum() + table["start"].min()
    return table.assign(start=table["start"] - idle, end=table["end"] - idle)


def _in_lanes(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the lane of each job: the first that is free when it starts."""
    lanes, free = [], []
    for start, end in zip(table["start"], table["end"], strict=True):
        lane = next((number for number, time in enumerate(free) if time <= start), len(free))
        free[lane : lane + 1] = [end]
        lanes.append(lane)
    return table.assign(lane=np.array(lanes, int))


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
