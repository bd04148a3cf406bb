"""The templates: stored without outputs, laid out alike, short cells, every figure described."""

import ast
import re

import nbformat
import pytest

from e2m import plugins
from e2m.store.paths import CHECKOUT

TEMPLATES = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
MEASURES = ["entropy", "noise", "transformations", "stability", "degradation"]
SECTIONS = [
    "Result",
    "Blind spot",
    "Faces behind the numbers",
    "Definition",
    "Tables",
    "References",
    "Parameters and provenance",
]
"""Of a measure's page, in a reader's order: the answer and a figure that explains the measure come before all."""


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


def test_prose_is_no_code(cells):
    """A cell of code that is stored as Markdown would be shown as a garbled sentence."""
    for cell in (cell for cell in cells if cell.cell_type == "markdown"):
        try:
            body = ast.parse(cell.source).body
        except SyntaxError:
            continue
        # Headings are comments to Python, and a single word is a name.
        assert all(isinstance(one, ast.Expr) and isinstance(one.value, ast.Name) for one in body), cell.source


def test_names_are_escaped_wherever_they_are_shown(cells):
    """Tables by ``tables.Table``; pandas' Styler escapes nothing. Text within Markdown by ``notebook.markdown``."""
    nodes = [node for cell in code(cells) for node in ast.walk(ast.parse(cell.source))]
    assert not [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "style"]
    shown = [
        node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Markdown", "HTML")
    ]
    parts = [part.value for node in shown for part in ast.walk(node) if isinstance(part, ast.FormattedValue)]
    assert all(isinstance(part, ast.Call) and part.func.id == "markdown" for part in parts)


def test_one_skeleton(cells):
    assert cells[0].source.startswith("# ")
    assert "provenance(" in cells[-1].source


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_told_in_a_readers_order(name):
    cells = nbformat.read(CHECKOUT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    headings = re.findall(
        r"^## (.+)$", "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown"), re.M
    )
    assert headings == SECTIONS
    measure = plugins.load("measure", name)
    assert measure.QUESTION in cells[0].source
    assert re.search(r"\*\*[^*]*\{glue:text\}[^*]*\*\*", cells[0].source), "the answer is computed"
    # The figure that explains the measure follows at once.
    order = ["explained." in cell.source if cell.cell_type == "code" else None for cell in cells[1:]]
    assert True in order[: order.index(None)]


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
        r"explained\.(concentration|noise|moved|agreement|blurred)\(|figures\.(contact_sheet|salience_grid|learning_curves|intervals|run_matrix|forest|verdicts|dots|coverage|ratios|memory|roc|average_maps)\("
    )
    drawn = [cell for cell in code(cells) if drawing.search(cell.source) and "figures.show(" not in cell.source]
    assert all(len(cell.metadata["mystnb"]["image"]["alt"]) > 20 for cell in drawn)
    # Those that are shown with words of their own say them in the call.
    calls = [node for cell in code(cells) for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    shown = [call for call in calls if ast.unparse(call.func) == "figures.show"]
    assert all("alt" in {word.arg for word in call.keywords} or len(call.args) > 1 for call in shown)


def test_captions_of_intervals_say_so(cells):
    """A figure can be read alone: its caption, or the alt text that stands in for one, names the intervals."""
    drawing = re.compile(r"figures\.(intervals|dots|forest|roc)\(")
    drawn = [cell for cell in code(cells) if drawing.search(cell.source) and "figures.show(" not in cell.source]
    for about in (cell.metadata["mystnb"] for cell in drawn):
        assert "interval" in about.get("figure", {}).get("caption", about["image"]["alt"]).lower()


def test_no_function_is_defined_in_a_notebook(cells):
    for cell in code(cells):
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(ast.parse(cell.source)))
