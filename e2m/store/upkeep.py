"""What is looked after before every run of the workflow: leftovers of killed jobs, and files that are not whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2m.store import building, disk, locks

LEFTOVER = re.compile(r"\..+\.\d+|\.building-.+")
"""Names of the temporary files and folders of ``paths.writing`` and ``building.load``."""

SEALED = (".pt", ".outputs", ".nc", ".parquet", ".json", ".ipynb")
"""Kinds of finished files that have a seal."""

UNFINISHED = ".failed.ipynb"
"""A notebook that runs or has failed; it is kept for inspection."""

KEPT = ".damaged"
"""Added to the name of a file that is not whole."""

MOST = 20
"""Most files that are named: of results of an earlier version, every file lacks its seal."""


def sweep(results: Path, executed: Path, data: Path) -> Iterator[str]:
    """Remove temporary files and folders whose writers are gone, and set aside files and data sets that are not whole.

    Args:
        results: of a profile.
        executed: the folder of executed notebooks.
        data: the folder of data sets; only those that E2M builds are looked at.

    Yields:
        One line each, for people.
    """
    files = _files(results, executed)
    for path in [*files, *data.glob("*/.building-*")]:
        if LEFTOVER.fullmatch(path.name) and locks.abandoned(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield f"{path}: removed, the leftover of a job that was killed"
    for folder in data.glob("*/recipe-*"):
        if folder.suffix != KEPT and (flaw := building.flaw(folder)):
            set_aside(folder, flaw)
            yield f"{flaw}; its data set is set aside as {folder.name}{KEPT} and made again"
    with ThreadPoolExecutor() as pool:
        looked_at = _of_kinds(files, (*SEALED, ".resume"))
        flaws = [(path, flaw) for path, flaw in zip(looked_at, pool.map(_flaw, looked_at), strict=True) if flaw]
    for number, (path, flaw) in enumerate(flaws):
        line = set_aside(path, flaw)
        if number < MOST:
            yield line
    if len(flaws) > MOST:
        yield f"{len(flaws) - MOST} further files of {results} are set aside in this way and made again"


def finished(results: Path, executed: Path) -> list[Path]:
    """The finished files of the kinds that have a seal."""
    return _of_kinds(_files(results, executed), SEALED)


def set_aside(path: Path, flaw: str) -> str:
    """Rename a file that is not whole, so that it is made again and nothing is lost; a line that says so."""
    kept = path.with_name(path.name + KEPT)
    if kept.is_dir():
        shutil.rmtree(kept)
    path.replace(kept)
    return f"{path}: {flaw}; it is set aside as {path.name}{KEPT} and made again"


def _files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*"))]


def _of_kinds(files: list[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return [path for path in files if path.suffix in suffixes and not path.name.endswith(UNFINISHED) and path.is_file()]


def _flaw(path: Path) -> str:
    return disk.flaw(path) or (_flaw_of_figures(path) if path.suffix == ".ipynb" else "")


def _flaw_of_figures(notebook: Path) -> str:
    """Why a figure beside an executed notebook is not what the notebook drew, in words; "" if all are.

    Figures have no seal; their page holds their hashes, and has one.
    """
    content = notebook.read_bytes()
    if b'"figures"' not in content:
        return ""
    for name, recorded in json.loads(content)["metadata"].get("e2m", {}).get("figures", {}).items():
        if disk.known_hash(notebook.with_name(name)) != recorded:
            return f"its figure {name} is damaged, missing or another one"
    return ""
