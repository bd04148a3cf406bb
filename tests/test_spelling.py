"""Prose is British: what codespell would turn into American spelling, turned round."""

import io
import re
import tokenize
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import nbformat
import pytest

from e2m.store.paths import CHECKOUT

BOTH = {"program", "disk", "practice", "license", "licensed", "focused", "story", "math"}
"""Right in British English as well, in the sense that is meant here."""


def american() -> dict[str, str]:
    """American spelling -> British."""
    lines = (files("codespell_lib") / "data" / "dictionary_en-GB_to_en-US.txt").read_text().splitlines()
    pairs = (line.partition("->") for line in lines)
    return {there: here for here, _, text in pairs for there in text.rstrip(",").split(", ") if there not in BOTH}


AMERICAN = american()


CODE = re.compile(
    r"^(`{3,}).*?^\1|(?::[\w-]+:)?(`+)[^`]+\2|\]\([^)]*\)|\{[^}]*\}|<[^>]*>|\*[^*\n]+\*", re.MULTILINE | re.DOTALL
)
"""What is no prose of ours: code, addresses, roles, tags, and titles in italics."""


def prose(path: Path) -> Iterator[str]:
    """The prose of a page, a notebook or a module: Markdown, comments and docstrings, all without code."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        texts = ["\n".join(cell.source for cell in cells if cell.cell_type == "markdown")]
        texts += [text for cell in cells if cell.cell_type == "code" for text in commented(cell.source)]
    elif path.suffix == ".py":
        texts = commented(path.read_text())
    else:
        texts = [path.read_text()]
    for text in texts:
        yield CODE.sub(" ", text)


def commented(code: str) -> Iterator[str]:
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    for token in tokens:
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
            yield token.string


def written(*patterns: str) -> list[Path]:
    found = (path for pattern in patterns for path in CHECKOUT.glob(pattern))
    return sorted(path for path in found if path.name[0] != "." and "executed" not in path.parts)


PAGES = written("*.md", "book/*.md", "data/*.md", "release/*.md", "notebooks/*.ipynb")
MODULES = written("e2m/**/*.py", "studies/*.py", "benchmarks/*.py", "tests/**/*.py")


def spelt(texts: Iterator[str]) -> list[str]:
    words = (word.lower() for text in texts for word in re.findall(r"(?<![\w.])[A-Za-z]{3,}(?![\w(=]|\.\w)", text))
    return sorted({f"{word} -> {AMERICAN[word]}" for word in words if word in AMERICAN})


def test_american_spelling_is_noticed_in_prose_and_not_in_code():
    text = "The color of `gray` and *Visualizing color*.\n```python\ncolor = 3\n```\nNormalized, plt.color, color=3."
    assert spelt([CODE.sub(" ", text)]) == ["color -> colour", "normalized -> normalised"]
    assert spelt(commented('color = "gray"  # the center')) == ["center -> centre"]
    assert spelt(commented('"""Its behavior."""\nflavor = 1')) == ["behavior -> behaviour"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_are_british(path):
    assert spelt(prose(path)) == []


def test_comments_and_docstrings_are_british():
    wrong = {str(path.relative_to(CHECKOUT)): spelt(prose(path)) for path in MODULES}
    assert {path: words for path, words in wrong.items() if words} == {}
