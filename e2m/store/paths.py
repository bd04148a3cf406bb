"""Paths of all files. ``E2M_ROOT`` moves the derived ones, for tests and for read-only installations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

CHECKOUT = Path(__file__).resolve().parents[2]
"""The repository: E2M reads templates, profiles and book sources from here."""

ROOT = Path(os.environ.get("E2M_ROOT", CHECKOUT)).resolve()
"""Everything derived is written below this folder."""

DATA = ROOT / "data"
RESULTS = ROOT / "results"


def run_name(run: int) -> str:
    """The name of a training run in file names: run 3 is "run-3"."""
    return f"run-{run}"


def checkpoint(profile: str, detector: str, regime: str, run: int) -> Path:
    """Weights of one trained detector."""
    return RESULTS / profile / "checkpoints" / detector / regime / f"{run_name(run)}.pt"


def masker(profile: str, detector: str, regime: str, run: int) -> Path:
    """Weights of the masker of one trained detector."""
    return checkpoint(profile, detector, regime, run).with_suffix(".masker.pt")


def frozen(profile: str, detector: str, part: str) -> Path:
    """Outputs of a detector's frozen blocks for images of a part, "train" or "test", that all runs read."""
    return RESULTS / profile / "frozen" / detector / f"{part}.outputs"


def maps(profile: str, detector: str, regime: str, run: int, method: str, source: str) -> Path:
    """Clean salience maps of one detector on one source."""
    return RESULTS / profile / "maps" / detector / regime / run_name(run) / f"{method}-{source}.nc"


def rows(profile: str, detector: str, regime: str, run: int, measure: str, source: str) -> Path:
    """Tidy rows of one measure on one detector and one source."""
    return RESULTS / profile / "measures" / detector / regime / run_name(run) / f"{measure}-{source}.parquet"


def images(profile: str, part: str) -> Path:
    """The list of images that jobs read, "train" or "test", with the hashes of their files."""
    return RESULTS / profile / "data" / f"{part}.parquet"


def table(profile: str, name: str) -> Path:
    """A summary table, written by a notebook."""
    return RESULTS / profile / "tables" / f"{name}.parquet"


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let ``write`` fill a temporary file, then rename it: no half-written file ever has the name ``path``.

    Raises:
        OSError: for example a full disk; the message names ``path``, and the temporary file is removed.
    """
    with writing(path) as file, naming(path):
        write(file)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that gets the name ``path`` when the block ends without an error, and is removed otherwise.

    Raises:
        OSError: as ``write_atomically``; errors from within the block pass unchanged, see ``naming``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("wb")
    try:
        yield file
        with naming(path):
            file.close()
            temporary.replace(path)
    finally:
        with suppress(OSError):
            file.close()
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add to system errors within the block that ``path`` is not written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno, f"{path}: not written ({error.strerror or error}); an earlier file of that name is unchanged"
        ) from error
