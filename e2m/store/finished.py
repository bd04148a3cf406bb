"""A second name for finished files of a job that goes on, because Snakemake removes the files of a job that fails.

The next attempt of the job gives them their first name again. On a disk without hard links, it starts over.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from e2m.store import disk

SUFFIX = ".finished"


def keep(path: Path) -> None:
    """Give a finished file its second name."""
    release(path)
    with suppress(OSError):
        os.link(path, _second(path))


def restore(path: Path) -> bool:
    """Give a removed file its first name again; whether that worked. A file that is not whole loses both names."""
    if path.exists() or not _second(path).is_file():
        return False
    with suppress(OSError):
        os.link(_second(path), path)
        if not disk.flaw(path):
            return True
    path.unlink(missing_ok=True)
    release(path)
    return False


def release(path: Path) -> None:
    """Remove the second name: the job is done."""
    _second(path).unlink(missing_ok=True)


def _second(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)
