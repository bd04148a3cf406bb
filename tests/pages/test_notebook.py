"""Notebooks of a few cells: parameters arrive, a failure is kept for inspection, nothing else is left behind."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from e2m.pages import notebook
from e2m.pages.notebook import NotebookError
from e2m.store import paths
from e2m.types import InputError

PARAMETERS = """
profile: str = "demo"
amount: float = 0.1
runs: int = 2
levels: list = [0.1, 0.5]
fast: bool = False
anything = None
"""


@pytest.fixture
def template(tmp_path):
    """Write a notebook: parameters, a line of Markdown, then cells of code."""

    def write(*code, markdown="# {{ profile }} at {{ amount }}, {{ unknown }}", name="tiny"):
        parameters = new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]})
        cells = [parameters, new_markdown_cell(markdown), *map(new_code_cell, code)]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        (tmp_path / "templates").mkdir(exist_ok=True)
        path = tmp_path / "templates" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
        return path

    return write


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return [out["text"].strip() for cell in cells for out in cell.get("outputs", []) if out["output_type"] == "stream"]


def test_parameters_arrive_in_code_and_text(template, roots, tmp_path):
    path = template("print(profile, amount, runs, levels, fast)", "import os; print(os.getcwd())")
    before = path.read_bytes()
    done = notebook.run(path, {"amount": 1, "levels": [0.25], "fast": True})
    assert done == roots / "results/notebooks/tiny.ipynb"
    assert [file.name for file in done.parent.iterdir()] == ["tiny.ipynb"]
    assert printed(done) == ["demo 1 2 [0.25] True", str(paths.CHECKOUT)]
    markdown = [cell.source for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "markdown"]
    assert markdown == ["# demo at 1, {{ unknown }}"]
    assert path.read_bytes() == before


def test_an_executed_notebook_names_no_path_of_this_machine(template, roots, tmp_path):
    done = notebook.run(template("print(1)"), output=tmp_path / "out" / "page.ipynb")
    metadata = nbformat.read(done, as_version=4).metadata
    assert metadata["papermill"]["output_path"] == os.path.relpath(done, paths.CHECKOUT)
    assert metadata["papermill"]["input_path"].endswith("templates/tiny.ipynb")
    texts = json.dumps(metadata).split('"')
    assert not [text for text in texts if text.startswith("/")]


def test_runs_side_by_side_do_not_disturb_each_other(template, roots, monkeypatch, tmp_path):
    """Each has its kernel and its IPython folder; this process does not change."""
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    path = template("print(runs, get_ipython().profile_dir.location)")

    def run(number):
        return notebook.run(path, {"runs": number}, tmp_path / f"{number}.ipynb")

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, range(2)))
    words = [printed(file)[0].split() for file in done]
    assert [number for number, _ in words] == ["0", "1"]
    folders = {folder for _, folder in words}
    assert len(folders) == 2
    assert not any(Path(folder).exists() for folder in folders)
    assert "IPYTHONDIR" not in os.environ


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", r"tiny\.failed\.ipynb: cell 2 failed: ZeroDivisionError: division by zero"),
        ("import os; os._exit(1)", r"tiny\.failed\.ipynb: the kernel died"),
    ],
)
def test_a_failure_is_kept_for_inspection(template, roots, code, words):
    folder = roots / "results" / "notebooks"
    folder.mkdir(parents=True)
    (folder / "tiny.ipynb").write_text("the last good one")
    with pytest.raises(NotebookError, match=words):
        notebook.run(template(code, "print('never')"))
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.failed.ipynb", "tiny.ipynb"]
    assert (folder / "tiny.ipynb").read_text() == "the last good one"
    assert code in (folder / "tiny.failed.ipynb").read_text()
    assert printed(folder / "tiny.failed.ipynb") == []


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            {"amuont": 0.1},
            r"tiny\.ipynb has no parameter 'amuont'; did you mean 'amount'\? its parameters are profile, am",
        ),
        ({"zzz": 0.1}, r"no parameter 'zzz'; its parameters are profile, amount, runs, levels, fast, anything"),
        ({"runs": 2.5}, "parameter runs is 2.5; give a value of type int"),
        ({"runs": True}, "parameter runs is True; give a value of type int"),
        ({"amount": "much"}, "parameter amount is 'much'; give a value of type float"),
        ({"profile": 3}, "parameter profile is 3; give a value of type str"),
        ({"levels": 0.1}, "parameter levels is 0.1; give a value of type list"),
        ({"fast": 1}, "parameter fast is 1; give a value of type bool"),
    ],
)
def test_parameters_that_do_not_fit_start_no_kernel(template, roots, monkeypatch, parameters, words):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    with pytest.raises(InputError, match=words):
        notebook.run(template("print(1)"), parameters)


def test_any_value_fits_a_parameter_without_a_type(template, roots, monkeypatch):
    given = []
    monkeypatch.setattr(papermill, "execute_notebook", lambda _nb, _out, values, **_: given.append(values) or 1 / 0)
    for value in (1, "a", None, [2]):
        with pytest.raises(ZeroDivisionError):
            notebook.run(template("print(1)"), {"anything": value})
    assert given == [{"anything": value} for value in (1, "a", None, [2])]


def test_notebooks_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "NOTEBOOKS", tmp_path)
    for name in ("noise", "entropy"):
        nbformat.write(new_notebook(), tmp_path / f"{name}.ipynb")
    with pytest.raises(
        InputError, match=r"niose\.ipynb: no such notebook; choose from entropy, noise, or give the path"
    ):
        notebook.run("niose")
    with pytest.raises(InputError, match=r"^absent\.ipynb: no such notebook"):
        notebook.run("absent.ipynb")


def test_provenance_names_code_machine_and_packages():
    table = notebook.provenance(profile="demo", seed=3).data.set_index("this page")["came from"]
    assert table.loc[["profile", "seed"]].tolist() == ["demo", "3"]
    assert table["code"].startswith("e2m 0.")
    assert all(f"{name} " in table["packages"] for name in ("numpy", "pandas", "torch"))
    assert table["executed"].startswith(time.strftime("%Y-%m-", time.gmtime()))
    assert "cores" in table["hardware"]
