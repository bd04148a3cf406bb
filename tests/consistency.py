"""What the whole book has to agree on. ``python -m tests.consistency [TREE]`` lists what does not, of a built book.

A tree holds ``_build/html`` (pages), ``book/executed`` (notebooks with the numbers that they glue) and
``results/PROFILE/tables``. Every check takes what it reads as plain values and gives one line for each violation.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pandas as pd
from bs4 import BeautifulSoup

from e2m import plugins

WORDS_IN_SENTENCE = 30
"""Words in parentheses or brackets, such as intervals, do not count."""
WORDS_IN_PAGE = 1500

HUMAN = re.compile(r"human (salience|maps?|annotations?)|annotat(or|ion)s?|where people look", re.I)
UNIVERSAL = re.compile(r"\b(every|each|all) (number|figure|table|page)s?\b", re.I)
"""Claims about the whole book, which easily become untrue."""

PROGRAM = re.compile(r"\b(nan|inf|NaT)\b|<NA>|\w = [A-Za-z_]\w*[.([]\w*[(\[\"'“]")
"""What a program writes for a missing value, and assignments and look-ups."""

NOT_PROSE = (
    "pre, table, script, style, .math, .headerlink, .cell_input, .citation, .toctree-wrapper, .footer-article, "
    ".caption-number, .e2m-table, dl.py, dl.std, .field-list"
)


def violations(tree: Path) -> list[str]:
    """What pages, numbers and tables of a tree do not agree on, one line each."""
    html = _html(tree)
    pictured = {name: prose(text) for name, text in html.items() if pictures(text)}
    glued = {path.stem: records(path) for path in sorted((tree / "book" / "executed").glob("*.ipynb"))}
    tables = {path.stem: pd.read_parquet(path) for path in sorted(tree.glob("results/*/tables/*.parquet"))}
    studies = {path.stem: pd.read_parquet(path) for path in means_of_studies(tree / "data" / "studies")}
    return [
        *unsaid_simulation(pictured),
        *values_of_programs({name: prose(text) for name, text in html.items()}),
        *lost_pictures(html, {path.stem: drawn(path) for path in (tree / "book" / "executed").glob("*.ipynb")}),
        *keys_with_two_values(glued, quotations(tree)),
        *labels_of_two_quantities(tables),
        *intervals_out_of_range(tables | studies),
        *levels_on_other_images(tables),
    ]


def hard_to_read(tree: Path) -> list[str]:
    """Sentences and pages of a tree that are too long, and claims about the whole book, one line each."""
    pages = {name: blocks for name, text in _html(tree).items() if (blocks := prose(text))}
    return [*long_sentences(pages), *long_pages(pages), *universal_claims(pages)]


def _html(tree: Path) -> dict[str, str]:
    root = tree / "_build" / "html"
    return {str(path.relative_to(root).with_suffix("")): path.read_text() for path in sorted(root.rglob("*.html"))}


# What a page says


def prose(html: str) -> list[str]:
    """The paragraphs, list items and captions of a page, without tables, code and formulas."""
    article = BeautifulSoup(html, "html.parser").find("article")
    if article is None:
        return []
    for part in article.select(NOT_PROSE):
        part.decompose()
    blocks = (" ".join(block.get_text().split()) for block in article.select("p, figcaption:not(:has(p))"))
    return [block for block in blocks if block]


def pictures(html: str) -> int:
    """The number of pictures that a page shows."""
    return len(BeautifulSoup(html, "html.parser").select("article img, article object"))


def sentences(block: str) -> list[str]:
    """A block of prose, sentence by sentence."""
    return re.split(r"(?<!e\.g\.)(?<!i\.e\.)(?<!al\.)(?<=[.!?])[\"”’)]*\s+", block)


def words(text: str) -> int:
    """The number of words outside parentheses and brackets."""
    before = None
    while before != text:
        before, text = text, re.sub(r"\([^()]*\)|\[[^][]*\]", " ", text)
    return sum(any(map(str.isalnum, word)) for word in text.split())


def long_sentences(pages: Mapping[str, list[str]]) -> Iterator[str]:
    for page, blocks in pages.items():
        for sentence in (sentence for block in blocks for sentence in sentences(block)):
            if (count := words(sentence)) > WORDS_IN_SENTENCE:
                yield f"{page}: a sentence of {count} words: {sentence}"


def long_pages(pages: Mapping[str, list[str]]) -> Iterator[str]:
    for page, blocks in pages.items():
        if (count := sum(map(words, blocks))) > WORDS_IN_PAGE:
            yield f"{page}: {count} words of prose; at most {WORDS_IN_PAGE} fit"


def unsaid_simulation(pages: Mapping[str, list[str]]) -> Iterator[str]:
    for page, blocks in pages.items():
        text = " ".join(blocks)
        if (named := HUMAN.search(text)) and "simulat" not in text.lower():
            yield f"{page}: speaks of {named[0]!r}, and never says that it is simulated"


def values_of_programs(pages: Mapping[str, list[str]]) -> Iterator[str]:
    """Numbers that are missing, where a sentence should say so, and code that became prose."""
    for page, blocks in pages.items():
        for sentence in (sentence for block in blocks for sentence in sentences(block)):
            if found := PROGRAM.search(sentence):
                yield f"{page}: {found[0]!r} is no word: {sentence}"


def universal_claims(pages: Mapping[str, list[str]]) -> Iterator[str]:
    for page, blocks in pages.items():
        for sentence in (sentence for block in blocks for sentence in sentences(block)):
            if UNIVERSAL.search(sentence):
                yield f"{page}: a claim about the whole that nothing checks: {sentence}"


# What notebooks and tables hold


def means_of_studies(folder: Path) -> list[Path]:
    """The tables of studies but those of differences, whose limits are others."""
    return [path for path in sorted(folder.glob("*.parquet")) if not path.stem.endswith(("differences", "findings"))]


def records(notebook: Path) -> dict[str, str]:
    """Key -> text of what a notebook glues."""
    outputs = (output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", []))
    texts = {}
    for output in outputs:
        if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
            data = {kind.removeprefix("application/papermill.record/"): text for kind, text in output["data"].items()}
            texts[name] = "".join(data.get("text/plain", ""))
    return texts


def quotations(tree: Path) -> set[str]:
    """The keys of one page that another page quotes."""
    sources = [*(tree / "book").glob("[!.]*.md"), *(tree / "book" / "executed").glob("*.ipynb")]
    return {key for path in sources for key in re.findall(r"\w\.ipynb::(\w+)", path.read_text())}


def drawn(notebook: Path) -> int:
    """The number of pictures that an executed notebook shows."""
    cells = json.loads(notebook.read_text())["cells"]
    shown = [cell for cell in cells if not {"remove-output", "remove-cell"} & set(cell["metadata"].get("tags", ()))]
    outputs = (output.get("data", {}) for cell in shown for output in cell.get("outputs", ()))
    return sum("image/svg+xml" in data or "image/png" in data for data in outputs)


def lost_pictures(html: Mapping[str, str], pictures: Mapping[str, int]) -> Iterator[str]:
    """Pages that show fewer figures than their notebooks have pictures."""
    for name, count in sorted(pictures.items()):
        page = f"executed/{name}"
        if page in html and (shown := len(BeautifulSoup(html[page], "html.parser").select("article figure"))) < count:
            yield f"{page}: shows {shown} of {count} pictures"


def keys_with_two_values(glued: Mapping[str, Mapping[str, str]], quoted: Collection[str]) -> Iterator[str]:
    """Quoted keys that two notebooks glue with different numbers: a number on two pages has one source."""
    seen = {}
    for notebook, texts in glued.items():
        for key, text in texts.items():
            if key not in quoted or not re.match(r"'?[-+]?\d", text):
                continue
            first, known = seen.setdefault(key, (notebook, text))
            if known != text:
                yield f"{notebook}: glues {key} as {text}, and {first} as {known}"


def labels_of_two_quantities(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Quantities (``row``) that two tables give with different values for the same detectors and method."""
    keys = ["row", "detector", "regime", "salience"]
    seen = defaultdict(dict)
    for name, table in tables.items():
        if {*keys, "mean"} <= set(table):
            for *key, mean in table[[*keys, "mean"]].dropna().itertuples(index=False, name=None):
                seen[tuple(key)][name] = round(mean, 9)
    for key, values in seen.items():
        if len(set(values.values())) > 1:
            yield f"{', '.join(key)}: {'; '.join(f'{value} in {name}' for name, value in values.items())}"


def intervals_out_of_range(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Means and intervals that their quantity cannot have: SSIM above 1, say."""
    ranges = {"accuracy": (0, 1), "auc": (0, 1), "flipped": (0, 1)}
    for measure in plugins.names("measure"):
        ranges |= plugins.load("measure", measure).RANGE
    for name, table in tables.items():
        if {"variant", "mean", "low", "high"} <= set(table):
            for row in table[table["variant"].isin(list(ranges))].itertuples():
                least, most = ranges[row.variant]
                if min(row.mean, row.low) < least - 1e-9 or max(row.mean, row.high) > most + 1e-9:
                    yield f"{name}: {row.variant} {row.mean} [{row.low}, {row.high}] leaves [{least}, {most}]"


def levels_on_other_images(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Curves whose points were taken on different numbers of images: their change is not that of the level."""
    for name, table in tables.items():
        if not {"variant", "level", "images"} <= set(table):
            continue
        curves = table[table["variant"].isin(["score", "accuracy", "auc", "flipped"]) & (table["missing"] == 0)]
        curves = curves[curves["decision"].isna()] if "decision" in curves else curves
        named = ("control", "detector", "regime", "salience", "source", "measure", "variant", "region")
        keys = [key for key in named if key in curves]
        for key, counts in curves.astype(dict.fromkeys(keys, str)).groupby(keys)["images"]:
            if counts.min() < counts.max():
                yield f"{name}: {', '.join(key)}: on {counts.min()} to {counts.max()} images"


if __name__ == "__main__":
    built = Path(*sys.argv[1:2])
    found = violations(built) + hard_to_read(built)
    print("\n".join(found) or "nothing to mend")
    sys.exit(bool(found))
