"""Notebooks of a few cells: parameters arrive, a failure is kept for inspection, nothing else is left behind."""

import html
import json
import os
import re
import shutil
import string
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from e2m.experiment.results import Experiment
from e2m.pages import notebook
from e2m.pages.notebook import NotebookError
from e2m.store import disk, paths
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


@given(st.text(alphabet=f"{string.punctuation}ab1 é"))
@example("<script>alert(1)</script>")
@example("[a](javascript:b) `c` {eval}`d` $e$ **f** &lt;")
def test_text_in_markdown_is_text(text):
    """Markdown may hold HTML."""
    shown = MarkdownIt("commonmark").render(f"1{notebook.markdown(text)}1")
    assert re.findall("<[^>]*>", shown) == ["<p>", "</p>"]
    assert html.unescape(re.sub("</?p>|\n", "", shown)) == f"1{' '.join(text.split())}1"


def test_a_parameter_is_text_in_markdown(template):
    path = template()
    content = notebook._filled(path, {"profile": "<b>", "amount": 0.5})
    assert content.cells[1].source == r"# \<b\> at 0\.5, {{ unknown }}"


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
    good = '{"cells": [], "metadata": {"papermill": {"the": "last good one"}}}'
    (folder / "tiny.ipynb").write_text(good)
    with pytest.raises(NotebookError, match=words):
        notebook.run(template(code, "print('never')"))
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.failed.ipynb", "tiny.ipynb"]
    assert (folder / "tiny.ipynb").read_text() == good
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
        ({"runs": 2.5}, "tiny.ipynb: parameter runs: 2.5 arrived; a whole number fits"),
        ({"runs": True}, "parameter runs: true arrived; a whole number fits"),
        ({"amount": "much"}, "parameter amount: 'much' arrived; a number fits"),
        ({"amount": True}, "parameter amount: true arrived; a number fits"),
        ({"amount": float("nan")}, "parameter amount: nan arrived; a number fits"),
        ({"profile": 3}, r"parameter profile: 3 arrived, which was read as a number \(quote it\); text fits"),
        ({"profile": None}, "parameter profile: null arrived; text fits"),
        ({"levels": 0.1}, "parameter levels: 0.1 arrived; a list fits"),
        ({"fast": 1}, "parameter fast: 1 arrived; true or false fits"),
    ],
)
@pytest.mark.parametrize("typed", [True, False], ids=["annotated", "by default"])
def test_parameters_that_do_not_fit_start_no_kernel(template, roots, monkeypatch, parameters, words, typed):
    """The type is that of the notebook's own value, whether or not it is annotated."""
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    path = template("print(1)")
    if not typed:
        book = nbformat.read(path, as_version=4)
        book.cells[0].source = re.sub(r": \w+ =", " =", book.cells[0].source)
        nbformat.write(book, path)
    with pytest.raises(InputError, match=words):
        notebook.run(path, parameters)


@pytest.mark.parametrize(
    "error",
    [DeadKernelError("Kernel died"), RuntimeError("Kernel died before replying to kernel_info"), RuntimeError()],
)
def test_a_kernel_that_dies_whenever_gives_one_line(template, roots, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("papermill.execute_notebook", fails)
    with pytest.raises(
        notebook.NotebookError, match=r"tiny\.failed\.ipynb: the kernel died or .* \(\w.*\), as when"
    ) as said:
        notebook.run(template("1"))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("run", [True, False, 1.0, "0"])
def test_a_run_is_a_whole_number(run):
    with pytest.raises(
        InputError, match=r"train_cyborg\.ipynb: parameter run: .* arrived.*; a whole number from 0 up fits"
    ):
        notebook.run("train_cyborg", {"run": run})


SAVING = (
    "from e2m.experiment.results import Experiment\nimport pandas as pd\nexperiment = Experiment.load(profile)",
    "experiment.save('noise', pd.DataFrame({'amount': [amount], 'method': [method]}))",
    "experiment.figure('summary.png').write_text(method)",
    "print(experiment.table('controls')['value'][0])",
)


@pytest.fixture
def page(roots, monkeypatch):
    """A notebook of the book that saves a table and a figure, and reads a table; the profile's folder."""
    folder = roots / "notebooks"
    folder.mkdir()
    parameters = new_code_cell('profile = "smoke"\nmethod = "GradCAM"\namount = 0.1', metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [parameters, *map(new_code_cell, SAVING)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "noise.ipynb")
    monkeypatch.setattr(notebook, "NOTEBOOKS", folder)
    monkeypatch.setenv("E2M_ROOT", str(roots))
    results = roots / "results" / "smoke"
    disk.write_table(results / "tables" / "controls.parquet", pd.DataFrame({"value": [7]}))
    return results


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "profile.json"
    }


@pytest.mark.slow
def test_a_page_saves_for_the_book_and_a_trial_beside_its_output(page, tmp_path):
    executed = notebook.run("noise", {"profile": "smoke"})
    before = files(page)
    drawn = {"summary.png": disk.file_hash(page / "figures" / "summary.png")}
    assert nbformat.read(executed, as_version=4).metadata["e2m"]["figures"] == drawn
    assert set(before) == {"tables/controls.parquet", "tables/noise.parquet", "figures/summary.png"}
    assert pd.read_parquet(page / "tables" / "noise.parquet").iloc[0].to_dict() == {"amount": 0.1, "method": "GradCAM"}
    copied = shutil.copy(page.parent.parent / "notebooks" / "noise.ipynb", tmp_path / "mine.ipynb")
    default = page.parent / "notebooks" / "noise.ipynb"
    for source, parameters, output in (
        ("noise", {"amount": 0.25}, None),
        ("noise", {"method": "CAM"}, tmp_path / "out" / "trial.ipynb"),
        (copied, {}, tmp_path / "out" / "copied.ipynb"),
    ):
        done = notebook.run(source, parameters, output)
        assert done == (output or default)
        assert printed(done) == ["7"]
        assert set(files(done.with_suffix(""))) == {"tables/noise.parquet", "figures/summary.png"}
        saved = pd.read_parquet(done.with_suffix("") / "tables" / "noise.parquet").iloc[0].to_dict()
        assert saved == {"amount": 0.1, "method": "GradCAM"} | parameters
        assert files(page) == before


def test_what_makes_a_page(page):
    defaults = {"profile": "smoke", "method": "GradCAM", "amount": 0.1}
    path = notebook.NOTEBOOKS / "noise.ipynb"
    for changed, expected in (
        ({}, "smoke"),
        ({"amount": 0.10}, "smoke"),
        ({"amount": 0.2}, ""),
        ({"method": "CAM"}, ""),
        # The page of a profile has the profile's first method, even if that is not the notebook's.
        ({"profile": "planted", "method": "CAM"}, "planted"),
        ({"profile": "planted"}, ""),
    ):
        assert notebook._page(path, defaults, defaults | changed) == expected, changed
    with pytest.raises(InputError, match="no profile named 'smok'"):
        notebook.run("noise", {"profile": "smok"})


def test_outside_of_e2m_run_everything_is_a_trial(roots, monkeypatch):
    monkeypatch.delenv(paths.SAVED, raising=False)
    experiment = Experiment.load("smoke")
    experiment.save("noise", pd.DataFrame({"value": [1]}))
    assert set(files(roots / "results")) == {"trials/smoke/tables/noise.parquet"}
    with pytest.raises(InputError, match="no such table"):
        experiment.table("noise")


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
    assert re.match(r"e2m 0\.[\d.]+, content [0-9a-f]{8} of \d+ files", table["code"])
    assert all(f"{name} " in table["packages"] for name in ("numpy", "pandas", "torch"))
    assert table["executed"].startswith(time.strftime("%Y-%m-", time.gmtime()))
    assert "cores" in table["hardware"]


@pytest.mark.parametrize("prefers_home", ["0", "1"])
def test_settings_of_a_person_and_long_names_of_folders_do_not_count(
    template, roots, tmp_path, monkeypatch, prefers_home
):
    """Kernels that a person registered under the same name, settings of IPython and Matplotlib, a long TMPDIR."""
    home, kernel = tmp_path / "home", {"argv": ["false"], "display_name": "theirs", "language": "python"}
    for name, text in {
        ".local/share/jupyter/kernels/python3/kernel.json": json.dumps(kernel),
        ".ipython/profile_default/startup/theirs.py": "raise SystemExit",
        ".config/matplotlib/matplotlibrc": "figure.facecolor: red",
    }.items():
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text(text)
    long = tmp_path / ("long" * 30)
    long.mkdir()
    for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "MATPLOTLIBRC"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": home, "TMPDIR": long, "JUPYTER_PREFER_ENV_PATH": prefers_home}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(tempfile, "tempdir", None)  # read TMPDIR again
    code = "import e2m.pages.figures, matplotlib, sys; print(sys.executable, matplotlib.rcParams['figure.facecolor'])"
    assert printed(notebook.run(template(code))) == [f"{sys.executable} white"]
    assert list(long.iterdir()) == []


def test_a_folder_may_have_any_name(template, roots, tmp_path):
    """Papermill would fill braces with values of parameters."""
    folder = tmp_path / "a [b] {amount} {c} $HOME; l'été"
    folder.mkdir()
    path = Path(shutil.copy(template("print(amount)"), folder / "in {0}.ipynb"))
    assert notebook.run(path, {"amount": 0.5}, folder / "out {profile}.ipynb") == folder / "out {profile}.ipynb"
    assert printed(folder / "out {profile}.ipynb") == ["0.5"]
    assert sorted(file.name for file in folder.iterdir()) == ["in {0}.ipynb", "out {profile}.ipynb"]


def cell_with(outputs, **metadata):
    return new_code_cell("draw()", outputs=outputs, metadata=metadata)


def test_every_picture_of_a_cell_becomes_a_figure_of_its_own():
    picture = [new_output("display_data", {"image/png": text}, metadata={"e2m": {"alt": text}}) for text in "ab"]
    number = new_output("display_data", {"text/plain": "3"})
    alone = new_output("display_data", {"image/svg+xml": "<svg/>"})
    static = {"image": {"alt": "of the cell"}, "figure": {"caption": "said by the cell"}}
    cells = [cell_with([picture[0], number, picture[1]], tags=["hide-output"]), cell_with([alone], mystnb=static)]
    book = notebook._for_the_book(new_notebook(cells=cells), "a_page")
    assert [[*(out["data"] for out in cell.outputs)] for cell in book.cells] == [
        [{"text/plain": "3"}],
        [{"image/png": "a"}],
        [{"image/png": "b"}],
        [{"image/svg+xml": "<svg/>"}],
    ]
    assert [cell.source for cell in book.cells] == ["draw()", *["# A figure of the cell above."] * 2, "draw()"]
    assert [cell.metadata["tags"] for cell in book.cells] == [
        ["hide-output", "hide-input"],
        *[["remove-input", "hide-output"]] * 2,
        ["hide-input"],
    ]
    figures = [cell.metadata["mystnb"] for cell in book.cells[1:]]
    assert [figure["figure"]["name"] for figure in figures] == ["fig-a-page-1", "fig-a-page-2", "fig-a-page-3"]
    assert [figure["image"]["alt"] for figure in figures] == ["a", "b", "of the cell"]
    assert [figure["figure"]["caption"] for figure in figures] == ["a", "b", "said by the cell"]
    assert len({cell.id for cell in book.cells}) == 4


def test_a_notebook_about_code_shows_it():
    book = notebook._for_the_book(new_notebook(cells=[cell_with([])], metadata={"e2m": {"code": "open"}}), "page")
    assert "tags" not in book.cells[0].metadata
