"""Locks that end with their owner: the system knows who holds a file, so that no lock outlives its process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is held there, and nothing counts as abandoned
    fcntl = None


def take(descriptor: int) -> bool | None:
    """Hold an open file until all of its descriptors are closed, at the latest when the process ends in any way.

    Returns:
        True; False if another process holds it; None if its file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        return None
    return True


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file or a folder while the block runs, so that ``abandoned`` tells it from a leftover."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        take(descriptor)
        yield
    finally:
        os.close(descriptor)


def abandoned(path: Path) -> bool:
    """Whether no process holds a file or a folder; False if that cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return take(descriptor) is True
    finally:
        os.close(descriptor)
