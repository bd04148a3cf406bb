"""Paths of all files: of those that E2M brings, and of those that it writes.

E2M runs in a checkout of its repository, or installed as a wheel. A wheel carries notebooks, profiles and the tables of
studies inside the package, and writes below the working folder. ``E2M_ROOT`` moves what is written, in both cases; it
may be relative to the working folder, and an empty one counts as none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from e2m.store import locks, seals
from e2m.types import InputError

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

EXECUTED = CHECKOUT / "book" / "executed"
"""The notebooks that the book shows."""

SAVED = "E2M_SAVED"
"""The environment variable that names the folder of a notebook's tables and figures."""


def part(name: str) -> str:
    """A name as one part of a path; ``name_of`` reads it back.

    ASCII letters, digits and "_.-~:" stay, and other bytes are written as in addresses: "StyleGAN 2" is "StyleGAN%202".
    No name leads out of its folder, and none says anything to a shell or to a pattern of Snakemake.
    """
    text = quote(name, safe=":", errors="surrogateescape")
    return text if text.strip(".") else text.replace(".", "%2E")


def name_of(part: str) -> str:
    """The name that a part of a path stands for."""
    return unquote(part, errors="surrogateescape")


def results(profile: str) -> Path:
    """The results of a profile."""
    return RESULTS / part(profile)


def owner(profile: str) -> Path:
    """The record of the profile whose results lie in ``results/PROFILE``."""
    return results(profile) / "profile.json"


def run_name(run: int) -> str:
    """The name of a training run in file names: run 3 is "run-3"."""
    return f"run-{run}"


def checkpoint(profile: str, detector: str, regime: str, run: int) -> Path:
    """Weights of one trained detector."""
    return results(profile) / "checkpoints" / part(detector) / part(regime) / f"{run_name(run)}.pt"


def masker(profile: str, detector: str, regime: str, run: int) -> Path:
    """Weights of the masker of one trained detector."""
    return checkpoint(profile, detector, regime, run).with_suffix(".masker.pt")


def frozen(profile: str, detector: str, images: str) -> Path:
    """Outputs of a detector's frozen blocks for its images, "train" or "test", that all runs read."""
    return results(profile) / "frozen" / part(detector) / f"{images}.outputs"


def maps(profile: str, detector: str, regime: str, run: int, method: str, source: str) -> Path:
    """Clean salience maps of one detector on one source."""
    folder = results(profile) / "maps" / part(detector) / part(regime) / run_name(run)
    return folder / f"{part(method)}-{part(source)}.nc"


def rows(profile: str, detector: str, regime: str, run: int, measure: str, source: str) -> Path:
    """Tidy rows of one measure on one detector and one source."""
    folder = results(profile) / "measures" / part(detector) / part(regime) / run_name(run)
    return folder / f"{part(measure)}-{part(source)}.parquet"


def images(profile: str, kind: str) -> Path:
    """The list of images that jobs read, "train" or "test", with the hashes of their files."""
    return results(profile) / "data" / f"{kind}.parquet"


def table(profile: str, name: str, folder: Path | None = None) -> Path:
    """A summary table of a page; ``folder`` is that of a trial instead, see ``saved``."""
    return (folder or results(profile)) / "tables" / f"{name}.parquet"


def figure(profile: str, name: str, folder: Path | None = None) -> Path:
    """A figure of a page; ``folder`` is that of a trial instead, see ``saved``."""
    return (folder or results(profile)) / "figures" / name


def saved(profile: str) -> Path:
    """The folder of the tables and figures that this notebook saves.

    ``e2m run`` names it to the kernel: the profile's results for the profile's page, and a folder beside the executed
    notebook for a trial, so that no trial changes what the book reads. Any other notebook is a trial.
    """
    return Path(os.environ.get(SAVED) or RESULTS / "trials" / part(profile))


def location(path: Path) -> str:
    """Where a file belongs among the results of a profile, "maps/resnet50/cyborg/run-0/CAM-real.nc", or in the book.

    ``seals.ANYWHERE`` for a file elsewhere.
    """
    path = Path(path).absolute()
    if path.is_relative_to(EXECUTED):
        return f"book/{path.name}"
    parts = path.relative_to(RESULTS).parts[1:] if path.is_relative_to(RESULTS) else ()
    return "/".join(parts) or seals.ANYWHERE


FIRST: dict[Path, Callable[[], None]] = {}
"""Folder -> what is called before this process writes its first file below it; if that raises, nothing is written."""


def _announce(path: Path) -> None:
    for folder in path.absolute().parents:
        if first := FIRST.pop(folder, None):
            try:
                first()
            except BaseException:
                FIRST[folder] = first
                raise


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

    If the file contains ``seals.SEAL``, the seal is filled. Within a block of ``together``, the file gets its name when
    that block ends.

    Raises:
        OSError: as ``write_atomically``; errors from within the block pass unchanged, see ``naming``.
    """
    _announce(path)
    temporary, waiting = path.with_name(f".{path.name}.{os.getpid()}"), _WAITING.get()
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("wb")
    try:
        with ExitStack() as lock:
            lock.enter_context(locks.held(temporary))
            yield file
            with naming(path):
                file.close()
                seals.fill(temporary, location(path))
                if waiting is None:
                    temporary.replace(path)
                else:
                    waiting[temporary] = path, lock.pop_all()
    finally:
        with suppress(OSError):
            file.close()
        if not waiting or temporary not in waiting:
            temporary.unlink(missing_ok=True)


_WAITING: ContextVar[dict[Path, tuple[Path, ExitStack]] | None] = ContextVar("waiting", default=None)
"""Temporary file -> final name and lock, of the files that are complete and wait for the end of ``together``."""


@contextmanager
def together() -> Iterator[None]:
    """Files written within the block get their names when it ends without an error; otherwise none of them does.

    A full disk in the middle thus leaves earlier files of all these names as they were.
    """
    waiting: dict[Path, tuple[Path, ExitStack]] = {}
    before = _WAITING.set(waiting)
    try:
        yield
        for temporary, (path, _) in waiting.items():
            with naming(path):
                temporary.replace(path)
    finally:
        _WAITING.reset(before)
        for temporary, (_, lock) in waiting.items():
            temporary.unlink(missing_ok=True)
            lock.close()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add to system errors within the block that ``path`` is not written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno, f"{path}: not written ({error.strerror or error}); an earlier file of that name is unchanged"
        ) from error


def check_folder(folder: Path) -> None:
    """Refuse to work in a checkout with the code of another one, which would write there.

    Raises:
        InputError: ``folder`` lies in another checkout than this code.
    """
    code = Path(*Path(__file__).parts[-3:])  # where a checkout holds this file
    inside = next((one for one in (folder, *folder.parents) if (one / code).is_file()), CHECKOUT)
    if not INSTALLED and inside.resolve() != CHECKOUT:
        raise InputError(
            f"{inside}: the environment belongs to another checkout, {CHECKOUT}, whose code would run and write there; "
            "`make lint` makes an environment of this folder, and `source .venv/bin/activate` here uses it"
        )
