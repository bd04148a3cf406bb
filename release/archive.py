"""`make archive`: one file with the book, its tables and figures, and what they came from, for a release."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from release.dependencies import bill_of_materials

FOLDER = Path("_build/release")
FILES = ["CITATION.cff", "CHANGELOG.md", "LICENSE", "LICENSE-text.md", "data/README.md", "requirements.lock"]

TIME = int(os.environ.get("SOURCE_DATE_EPOCH") or 1672531200)
"""The time of all entries: the variable is that of reproducible builds."""


def main(profile: str) -> int:
    """Write the archive of a finished book and the checksum beside it."""
    if not Path("_build/html/index.html").is_file():
        print(f"no book in _build/html; `make book PROFILE={profile}` makes it", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    archive = FOLDER / f"e2m-{version('e2m')}-{profile}.tar.gz"
    temporary = archive.with_suffix(".part")
    write(temporary, dict(contents(profile)), archive.name.removesuffix(".tar.gz"))
    temporary.replace(archive)
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(f"{archive.name}.sha256").write_text(f"{checksum}  {archive.name}\n")
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, SHA-256 {checksum}")
    return 0


def contents(profile: str) -> Iterator[tuple[str, bytes]]:
    """Names in the archive and contents: pages, executed notebooks, tables, figures, studies, bill of materials."""
    for path in map(Path, FILES):
        yield str(path), path.read_bytes()
    results = Path("results") / profile
    folders = {"html": Path("_build/html"), "notebooks": Path("book/executed"), "studies": Path("data/studies")}
    folders |= {"tables": results / "tables", "figures": results / "figures"}
    for name, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                yield f"{name}/{path.relative_to(folder)}", path.read_bytes()
    yield "sbom.cdx.json", json.dumps(bill_of_materials(), indent=1, sort_keys=True).encode()


def write(path: Path, files: dict[str, bytes], root: str) -> None:
    """Write an archive: equal contents give equal bytes, whoever packs them and when.

    ``SHA256SUMS`` inside lists every other file; ``sha256sum --check`` reads it.
    """
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in sorted({**files, "SHA256SUMS": sums.encode()}.items()):
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o644, TIME
            archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
