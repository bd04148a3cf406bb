"""The manifest of a built book: its files, and its figures, tables and numbers with checksums and commands.

The book carries it as ``manifest.json``. ``verify`` reads it, compares what lies there, computes the pages again from
the stored results, and names what differs. Provenance (when, where, how long) is no result and is left out.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from e2m.experiment.dependencies import arguments
from e2m.pages import notebook
from e2m.store import disk, paths, seals
from e2m.types import InputError

NAME = "manifest.json"
_PICTURES = ("image/svg+xml", "image/png")


def write(book: Path, executed: Iterable[Path]) -> Path:
    """Write the manifest of a book that was just built.

    Args:
        book: the folder of its HTML.
        executed: the notebooks that became pages.

    Returns:
        Its path, ``book/manifest.json``.
    """
    pages = {path.stem: _page(path, book) for path in executed}
    path = book / NAME
    files = (file for file in sorted(book.rglob("*")) if file.is_file() and file != path and file.name[0] != ".")
    built = {str(file.relative_to(book)): _hash(file.read_bytes()) for file in files}
    content = json.dumps({"verify": "make verify", "pages": pages, "files": built}, indent=1, ensure_ascii=False)
    paths.write_atomically(path, lambda file: file.write(f"{content}\n".encode()))
    return path


def verify(book: Path, pages: Iterable[str] = (), jobs: int = 2) -> Iterator[str]:
    """Compare a book with its manifest, and its manifest with what the stored results give.

    Args:
        book: the folder of its HTML.
        pages: names of the pages that are computed again; all by default.
        jobs: pages computed at once.

    Yields:
        A line for everything that differs; nothing if the book holds.

    Raises:
        InputError: no manifest, a damaged one, or an unknown page.
    """
    listed = _read(book / NAME)
    yield from _altered(listed["files"], book)
    known = listed["pages"]
    if unknown := sorted(set(pages) - set(known)):
        raise InputError(f"{book / NAME}: no page {', '.join(unknown)}; the pages are {', '.join(sorted(known))}")
    chosen = {name: known[name] for name in pages or known}
    for name, page in chosen.items():
        yield from _compared(name, page["entries"], _entries_there(book / page["executed"]), "the file there")
    with ThreadPoolExecutor(jobs) as pool:
        for name, again in zip(chosen, pool.map(_again, chosen.values()), strict=True):
            yield from _compared(name, chosen[name]["entries"], again, "computed again")


def profile_of(executed: Mapping) -> str:
    """The name of the profile that an executed notebook read; "" for none."""
    chosen = ""
    for cell in executed["cells"]:
        if {"parameters", "injected-parameters"} & set(cell["metadata"].get("tags", ())):
            for found in re.finditer(r"^profile = (.+)", cell["source"], re.MULTILINE):
                chosen = ast.literal_eval(found[1])
    return Path(chosen).name.removesuffix(".yaml")


def _page(executed: Path, book: Path) -> dict[str, Any]:
    """What the manifest says of one page; paths start at the book."""
    content = _notebook(executed)
    template = notebook.NOTEBOOKS / executed.name
    parameters = _given(content)
    words = ["e2m", "run", f"notebooks/{executed.name}", *(w for n, v in parameters.items() for w in ("-p", n, str(v)))]
    page = {
        "executed": os.path.relpath(executed, book),
        "command": shlex.join(words),
        "parameters": parameters,
    }
    return page | {"entries": _entries(content) | _files(template, paths.results(profile_of(content)))}


def _entries(executed: Mapping) -> dict[str, str]:
    """Name -> checksum of the figures, tables and numbers of an executed notebook, in their order."""
    entries: dict[str, str] = {}
    for cell in executed["cells"]:
        if cell["cell_type"] != "code" or "provenance(" in cell["source"]:
            continue
        for output in cell["outputs"]:
            if (found := _result(output)) is None:
                continue
            kind, name, content = found
            name = name or 1 + sum(key.startswith(f"{kind} ") for key in entries)
            entries[f"{kind} {name}"] = _hash(content.encode())
    return entries


def _result(output: Mapping) -> tuple[str, str, str] | None:
    """Kind, name and content of an output; None if it is no result. Results without a name are counted."""
    data = output.get("data", {})
    glued = output.get("metadata", {}).get("scrapbook", {}).get("name")
    if glued:
        return "number", glued, json.dumps(data, sort_keys=True)
    for kind in _PICTURES:
        if kind in data:
            return "figure", "", data[kind]
    return ("table", "", data["text/html"]) if "<table" in data.get("text/html", "") else None


def _files(template: Path, saved: Path) -> dict[str, str]:
    """Name -> checksum of the tables and figures that a page saves for other pages."""
    files = [f"tables/{name}.parquet" for name in arguments(template, "experiment.save")]
    files += [f"figures/{name}" for name in arguments(template, "experiment.figure")]
    there = {name: saved / name for name in files}
    # Without their seals, which say where the files lie.
    contents = {name: seals.blank(path.read_bytes()) for name, path in there.items() if path.is_file()}
    return {f"file {name}": _hash(contents[name]) if name in contents else "" for name in there}


def _entries_there(executed: Path) -> dict[str, str]:
    """The entries of a page as its files have them now."""
    if not executed.is_file():
        return {}
    content = _notebook(executed)
    return _entries(content) | _files(notebook.NOTEBOOKS / executed.name, paths.results(profile_of(content)))


def _again(page: Mapping) -> dict[str, str]:
    """The entries of a page that is executed once more, beside the results that it reads."""
    name = Path(page["executed"]).name
    with tempfile.TemporaryDirectory(prefix="e2m-verify-") as folder:
        done = notebook.run(notebook.NOTEBOOKS / name, page["parameters"], Path(folder, name), trial=True)
        return _entries(_notebook(done)) | _files(notebook.NOTEBOOKS / name, done.with_suffix(""))


def _compared(page: str, listed: Mapping, found: Mapping, what: str) -> Iterator[str]:
    for name in dict.fromkeys([*listed, *found]):
        if name not in found:
            yield f"{page}: {name}: in the manifest, and not {what}"
        elif name not in listed:
            yield f"{page}: {name}: {what}, and not in the manifest"
        elif listed[name] != found[name]:
            yield f"{page}: {name}: {what} differs from the manifest"


def _altered(listed: Mapping, book: Path) -> Iterator[str]:
    for name, checksum in listed.items():
        path = book / name
        if not path.is_file():
            yield f"{path}: in the manifest, and not there"
        elif _hash(path.read_bytes()) != checksum:
            yield f"{path}: was changed after the book was built"


def _read(path: Path) -> dict:
    if not path.is_file():
        raise InputError(f"{path}: no manifest; `make book` builds the book and writes it")
    return disk.read_json(path, {"files": dict, "pages": dict}, "`make book` writes it")


def _notebook(path: Path) -> Mapping:
    import nbformat

    return nbformat.read(path, as_version=4)


def _given(executed: Mapping) -> dict[str, Any]:
    """The parameters that a run was given."""
    return dict(executed["metadata"].get("papermill", {}).get("parameters", {}))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
