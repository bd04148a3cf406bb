"""The archive of a release: whole, checked by its own list, and the same bytes from the same contents."""

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from e2m.store.paths import CHECKOUT
from release import archive


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A checkout with a book of one page."""
    written = {name: (CHECKOUT / name).read_bytes() for name in archive.FILES}
    written |= {"_build/html/index.html": b"<html>", "book/executed/noise.ipynb": b"{}"}
    written |= {"results/tiny/tables/noise.parquet": b"table", "results/tiny/figures/a b.png": b"picture"}
    written |= {"results/other/tables/noise.parquet": b"another", "data/studies/2026-01-01-speed.parquet": b"study"}
    for name, content in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archive, "bill_of_materials", lambda: {"bomFormat": "CycloneDX"})
    return tmp_path


def test_the_archive_holds_book_tables_and_bill_and_can_be_checked(finished, capsys):
    assert archive.main("tiny") == 0
    (packed,) = (finished / "_build" / "release").glob("*.tar.gz")
    checksum = hashlib.sha256(packed.read_bytes()).hexdigest()
    assert checksum in capsys.readouterr().out
    subprocess.run(["sha256sum", "--check", "--quiet", f"{packed.name}.sha256"], cwd=packed.parent, check=True)
    with tarfile.open(packed) as opened:
        opened.extractall(finished / "unpacked", filter="data")
    (root,) = (finished / "unpacked").iterdir()
    assert root.name == packed.name.removesuffix(".tar.gz")
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert names == {
        *archive.FILES,
        *(
            "SHA256SUMS",
            "sbom.cdx.json",
            "html/index.html",
            "notebooks/noise.ipynb",
            "studies/2026-01-01-speed.parquet",
        ),
        *("tables/noise.parquet", "figures/a b.png"),
    }
    assert (root / "tables" / "noise.parquet").read_bytes() == b"table"
    check = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    subprocess.run(check, cwd=root, check=True)
    (root / "tables" / "noise.parquet").write_bytes(b"altered")
    assert subprocess.run(check, cwd=root, capture_output=True, check=False).returncode == 1


def test_equal_contents_give_equal_bytes(finished):
    archive.main("tiny")
    (packed,) = (finished / "_build" / "release").glob("*.tar.gz")
    first = packed.read_bytes()
    Path("_build/html/index.html").touch()
    archive.main("tiny")
    assert packed.read_bytes() == first


def test_without_a_book_the_command_that_makes_it_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert archive.main("tiny") == 1
    assert capsys.readouterr().err == "no book in _build/html; `make book PROFILE=tiny` makes it\n"
    assert list(tmp_path.iterdir()) == []
