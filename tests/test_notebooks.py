"""The templates: stored without outputs, laid out alike, short cells, every figure described."""

import ast
import re

import nbformat
import pytest

from e2m.store.paths import CHECKOUT

TEMPLATES = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
SECTIONS = ["Overview", "Parameters", "Imports", "Summary"]


@pytest.fixture(params=TEMPLATES, ids=lambda path: path.stem)
def cells(request):
    return nbformat.read(request.param, as_version=4).cells


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def test_all_pages_of_the_book_have_a_template():
    pages = re.findall(r"executed/(\w+)", (CHECKOUT / "book" / "_toc.yml").read_text())
    # An audit is of a person's detectors and images; `e2m audit` runs its notebook.
    assert sorted([*pages, "audit"]) == [path.stem for path in TEMPLATES]


def test_stored_without_outputs(cells):
    assert all(not cell.outputs and cell.execution_count is None for cell in code(cells))


def test_one_skeleton(cells):
    headings = re.findall(
        r"^## (.+)$", "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown"), re.M
    )
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS
    assert cells[0].source.startswith("# ")
    assert "provenance(" in cells[-1].source


def test_parameters_are_typed_and_commented(cells):
    (parameters,) = [cell for cell in code(cells) if "parameters" in cell.metadata.get("tags", [])]
    for line in parameters.source.splitlines():
        assignment = ast.parse(line).body[0]
        assert isinstance(ast.literal_eval(assignment.value), bool | int | float | str), line
        assert re.search(r"  # \w", line), line


def test_cells_are_short(cells):
    assert max(len([line for line in cell.source.splitlines() if line.strip()]) for cell in code(cells)) <= 12


def test_figures_have_alt_text(cells):
    drawing = re.compile(
        r"figures\.(contact_sheet|salience_grid|learning_curves|intervals|run_matrix|forest|verdicts|dots|coverage|ratios|memory|roc|average_maps)\("
    )
    drawn = [cell for cell in code(cells) if drawing.search(cell.source)]
    assert all(len(cell.metadata["mystnb"]["image"]["alt"]) > 20 for cell in drawn)


def test_no_function_is_defined_in_a_notebook(cells):
    for cell in code(cells):
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(ast.parse(cell.source)))
