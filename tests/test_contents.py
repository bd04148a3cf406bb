"""The contents of the book: every page is listed once, terms exist, and the citation is the same everywhere."""

import ast
import importlib
import re

import nbformat
import pytest
import yaml

import e2m
from e2m.store.paths import CHECKOUT

BOOK = CHECKOUT / "book"
CONTENTS = yaml.safe_load((BOOK / "_toc.yml").read_text())
PAGES = [CONTENTS["root"], *(chapter["file"] for part in CONTENTS["parts"] for chapter in part["chapters"])]


def text(page: str) -> str:
    """The Markdown of a page: a file of the book, or the template of an executed notebook."""
    name = page.removeprefix("executed/")
    if name == page:
        return (BOOK / f"{page}.md").read_text()
    cells = nbformat.read(CHECKOUT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_every_page_is_listed_once():
    prose = sorted(path.stem for path in BOOK.glob("*.md"))
    assert sorted(page for page in PAGES if "/" not in page) == prose
    assert len(set(PAGES)) == len(PAGES)


def test_terms_are_in_the_glossary():
    glossary = re.search(r"```\{glossary\}\n(.*?)```", text("glossary"), re.DOTALL)[1]
    terms = re.findall(r"^(\S.*)$", glossary, re.MULTILINE)
    assert terms == sorted(set(terms), key=str.lower)
    used = {name for page in PAGES for name in re.findall(r"\{term\}`([^`<]+)`", text(page))}
    assert used <= set(terms)


def test_the_citation_agrees_with_its_record():
    record = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    page = text("cite")
    assert record["version"] == e2m.__version__
    for field in ("title", "version", "license"):
        assert re.search(rf"^  {field} += \{{{re.escape(record[field])}\}},$", page, re.MULTILINE), field
    paper = record["preferred-citation"]
    bibtex = (BOOK / "references.bib").read_text().split("\n\n")[0]
    assert all(str(paper[name]) in bibtex for name in ("title", "journal", "year", "doi"))
    assert all(f"{author['family-names']}, {author['given-names']}" in bibtex for author in paper["authors"])
    assert paper["doi"] in page


def imported(name: str) -> set[str]:
    """The modules of E2M that hold what a notebook imports."""
    held = set()
    for cell in nbformat.read(CHECKOUT / "notebooks" / f"{name}.ipynb", as_version=4).cells:
        tree = ast.parse(cell.source if cell.cell_type == "code" else "")
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
            if (node.module or "").partition(".")[0] != "e2m":
                continue
            for alias in node.names:
                found = getattr(importlib.import_module(node.module), alias.name, None)
                found = found or importlib.import_module(f"{node.module}.{alias.name}")
                held.add(getattr(found, "__module__", None) or getattr(found, "__name__", "e2m"))
    return held


@pytest.mark.parametrize("name", sorted(path.stem for path in (CHECKOUT / "notebooks").glob("*.ipynb")))
def test_what_pages_call_is_in_the_reference(name):
    listed = set(re.findall(r"automodule:: (\S+)", text("api") + text("api_pages")))
    called = {module for module in imported(name) if module.startswith("e2m.")}
    assert called <= listed | {module for module in called if module.rpartition(".")[0] in listed - {"e2m.pages"}}


TRAINED = [page for page in PAGES if page.startswith("executed/train_")]


@pytest.mark.parametrize("page", TRAINED)
def test_pages_of_regimes_share_code_and_no_prose(page):
    """What holds for all regimes stands once, on the page that introduces them."""

    def phrases(page: str) -> set[tuple[str, ...]]:
        words = re.sub(
            r"```\{math\}.*?```|## References.*|^#.*?$", "", text(page), flags=re.DOTALL | re.MULTILINE
        ).split()
        return {tuple(words[start : start + 8]) for start in range(len(words) - 7)}

    assert phrases(page)
    assert not phrases(page) & set.union(*(phrases(other) for other in TRAINED if other != page))
