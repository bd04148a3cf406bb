"""Paths of all files: of those that E2M brings, and of those that it writes.

E2M runs in a checkout of its repository, or installed as a wheel. A wheel carries notebooks, profiles and the tables of
studies inside the package, and writes below the working folder. ``E2M_ROOT`` moves what is written, in both cases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PACKAGE = Path(__file__).resolve().parents[1]

CARRIED = PACKAGE / "carried"
"""What a wheel carries of the repository (setup.py); a checkout has no such folder."""

INSTALLED = CARRIED.is_dir()
"""Whether E2M is installed as a wheel."""

CHECKOUT = CARRIED if INSTALLED else PACKAGE.parent
"""The repository, or what a wheel carries of it: ``notebooks``, their profiles, and ``data/studies``."""

WORK = Path.cwd() if INSTALLED else CHECKOUT
"""Notebooks run in this folder, and relative paths in profiles start here."""

ROOT = Path(os.environ.get("E2M_ROOT") or WORK).resolve()
"""Everything derived is written below this folder."""

DATA = ROOT / "data"
RESULTS = ROOT / "results"

SAVED = "E2M_SAVED"
"""The environment variable that names the folder of a notebook's tables and figures."""


def owner(profile: str) -> Path:
    """The record of the profile whose results lie in ``results/PROFILE``."""
    return RESULTS / profile / "profile.json"


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


def table(profile: str, name: str, folder: Path | None = None) -> Path:
    """A summary table of a page; ``folder`` is that of a trial instead, see ``saved``."""
    return (folder or RESULTS / profile) / "tables" / f"{name}.parquet"


def figure(profile: str, name: str, folder: Path | None = None) -> Path:
    """A figure of a page; ``folder`` is that of a trial instead, see ``saved``."""
    return (folder or RESULTS / profile) / "figures" / name


def saved(profile: str) -> Path:
    """The folder of the tables and figures that this notebook saves.

    ``e2m run`` names it to the kernel: the profile's results for the profile's page, and a folder beside the executed
    notebook for a trial, so that no trial changes what the book reads. Any other notebook is a trial.
    """
    return Path(os.environ.get(SAVED) or RESULTS / "trials" / profile)


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
