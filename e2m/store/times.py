"""How long jobs took: a line of JSON for every finished command of ``e2m``, in the file that ``E2M_TIMES`` names.

The workflow names one, so that the book can show where its time goes. Lines are added whole; jobs that end at the same
time do not mix theirs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "E2M_TIMES"


def note(job: Mapping[str, Any], start: float) -> None:
    """Add a line about a job that ends now; without ``E2M_TIMES``, nothing happens.

    Args:
        job: what tells it apart: its command and options.
        start: when it began, in seconds since the epoch.
    """
    if not (file := os.environ.get(VARIABLE)):
        return
    # Those of the process and of all that it started, kernels of notebooks among them.
    cpu = sum(os.times()[:4])
    line = json.dumps({"job": dict(job), "start": start, "end": time.time(), "cpu": cpu}, default=str)
    # A missing note harms nobody, and no result fails for it.
    with suppress(OSError), Path(file).open("a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")


def read(file: Path) -> Iterator[tuple[dict[str, Any], float, float, float]]:
    """Job, start, end and CPU seconds of every note, the first to end first; other lines are left out."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        with suppress(ValueError, KeyError, TypeError):
            note = json.loads(line)
            yield dict(note["job"]), *(float(note[name]) for name in ("start", "end", "cpu"))
