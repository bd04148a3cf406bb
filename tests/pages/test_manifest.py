"""The manifest of a book: it holds for what was built, and names what was altered by hand."""

import json
import re

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from e2m.pages import manifest, notebook
from e2m.store import disk, paths, seals
from e2m.types import InputError

CODE = (
    "import pandas as pd\nfrom e2m.experiment.results import Experiment\nfrom e2m.pages import figures, tables\n"
    "from myst_nb import glue\nexperiment = Experiment.load(profile)",
    "table = experiment.save('noise', experiment.table('rows'))\ntables.plain(table)",
    "glue('share', table['value'].iloc[0])",
    "curves = pd.DataFrame({'runs': [1, 2], 'coverage': [0.9, 0.95], 'a': 'x', 'b': 'y'})\n"
    "figures.show(figures.coverage(curves, 'a', 'b'), alt='Coverage rises.', caption='Coverage *by* runs.')",
    "from e2m.pages.notebook import provenance\nprovenance(profile=profile)",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A book of one page, executed once: its folder, and the context in which its paths hold."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", root)
        patch.setattr(paths, "RESULTS", root / "results")
        patch.setattr(notebook, "NOTEBOOKS", root / "notebooks")
        patch.setenv("E2M_ROOT", str(root))
        parameters = new_code_cell('profile = "smoke"', metadata={"tags": ["parameters"]})
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        (root / "notebooks").mkdir()
        cells = [parameters, *map(new_code_cell, CODE)]
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), root / "notebooks" / "noise.ipynb")
        rows = pd.DataFrame({"value": [0.25, 0.5], "source": ["a", "b"]})
        disk.write_table(root / "results" / "smoke" / "tables" / "rows.parquet", rows)
        executed = notebook.run("noise", {"profile": "smoke"}, root / "book" / "executed" / "noise.ipynb")
        book = root / "html"
        book.mkdir()
        (book / "noise.html").write_text("<p>0.25</p>")
        (book / "_images").mkdir()
        for name in ("a.svg", "b.png", "data.js"):
            (book / "_images" / name).write_text(f"what {name} shows")
        manifest.write(book, [executed])
        yield book


@pytest.fixture
def restored(built):
    """Puts every file of the book back after a test."""
    root = built.parent
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    yield root
    for path, content in before.items():
        path.write_bytes(content)


@pytest.mark.slow
def test_every_result_is_listed_with_the_command_that_makes_it(built):
    page = json.loads((built / "manifest.json").read_text())["pages"]["noise"]
    assert list(page["entries"]) == ["table 1", "number share", "figure 1", "file tables/noise.parquet"]
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in page["entries"].values())
    assert page["command"] == "e2m run notebooks/noise.ipynb -p profile smoke"


@pytest.mark.slow
def test_an_untouched_book_holds(built):
    assert list(manifest.verify(built)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("html/noise.html", "0.25", "0.26", "noise.html: was changed after the book was built"),
        *(
            (f"html/_images/{name}", name, "another", f"{name}: was changed after the book was built")
            for name in ("a.svg", "b.png", "data.js")
        ),
        ("book/executed/noise.ipynb", ">0.250<", ">0.260<", "noise: table 1: the file there differs"),
        (
            "book/executed/noise.ipynb",
            "float64(0.25)",
            "float64(0.26)",
            "noise: number share: the file there differs",
        ),
    ],
)
def test_what_was_altered_by_hand_is_named(restored, name, old, new, line):
    path = restored / name
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    assert line in next(manifest.verify(restored / "html"))


@pytest.mark.slow
def test_an_altered_table_is_found_even_if_the_manifest_was_altered_with_it(restored):
    saved = restored / "results" / "smoke" / "tables" / "noise.parquet"
    disk.write_table(saved, pd.read_parquet(saved).assign(value=0.75))
    book = restored / "html"
    assert next(manifest.verify(book)) == "noise: file tables/noise.parquet: the file there differs from the manifest"
    listed = json.loads((book / "manifest.json").read_text())
    listed["pages"]["noise"]["entries"]["file tables/noise.parquet"] = manifest._hash(seals.blank(saved.read_bytes()))
    (book / "manifest.json").write_text(json.dumps(listed))
    assert list(manifest.verify(book)) == ["noise: file tables/noise.parquet: computed again differs from the manifest"]


@pytest.mark.slow
def test_the_page_is_prepared_for_the_book(built):
    cells = nbformat.read(built.parent / "book" / "executed" / "noise.ipynb", as_version=4).cells
    (drawn,) = [cell for cell in cells if "mystnb" in cell.metadata]
    assert drawn.metadata["mystnb"]["image"]["alt"] == "Coverage rises. x: 0.90 to 0.95."
    assert drawn.metadata["mystnb"]["figure"] == {"caption": r"Coverage \*by\* runs\.", "name": "fig-noise-1"}
    assert drawn.outputs[0]["data"]["image/svg+xml"].count("<svg") == 1
    assert all("hide-input" in cell.metadata["tags"] for cell in cells)


def test_a_book_without_its_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json: no manifest; `make book`"):
        next(manifest.verify(tmp_path))
    for content in ("{", "[]", '{"pages": {}}', '{"files": 3, "pages": {}}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(InputError, match=r"manifest\.json: .*; `make book` writes it"):
            next(manifest.verify(tmp_path))
    (tmp_path / "manifest.json").write_text('{"files": {}, "pages": {}}')
    with pytest.raises(InputError, match="no page nois; the pages are"):
        next(manifest.verify(tmp_path, ["nois"]))
