"""What a browser finds on every page of the book, in light, in the dark, and on a phone: `make inspect`.

For each page: requests, errors on the console, accessibility (axe-core), links to nowhere, columns of tables that are
out of sight, the smallest text of figures, and the weight. Also prints the book to PDF: `make pdf`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

VIEWS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

LOOK = """() => {
  const article = document.querySelector(".bd-article") ?? document.body;
  const tables = [...article.querySelectorAll("table")].filter((table) => table.offsetParent);
  const hidden = tables.map((table) => {
    let box = table;
    while (box !== article && box.scrollWidth <= box.clientWidth + 1) box = box.parentElement;
    const edge = Math.min(box === article ? innerWidth : box.getBoundingClientRect().right, innerWidth) + 1;
    const cells = [...(table.tHead ?? table).rows[0].cells];
    const out = cells.filter((cell) => cell.getBoundingClientRect().left > edge - 24).length;
    const hinted = !!table.closest(".bd-article .scrolls, .cell_output, .pst-scrollable-table-container, .output")
      && [...article.querySelectorAll("p.more")].some((more) => more.nextElementSibling?.contains(table));
    return { out, hinted };
  }).filter((table) => table.out);
  const texts = [...article.querySelectorAll("figure img, div.cell_output img")].filter((image) => image.offsetParent)
    .map((image) => {
      const said = parseFloat(getComputedStyle(image).getPropertyValue("--natural"));
      // Before figures said their size: 110 dots per inch, text of 8 points.
      const natural = said || (image.naturalWidth * 96) / 110;
      return { px: ((image.getBoundingClientRect().width / natural) * (said ? 9 : 8) * 96) / 72, src: image.src };
    });
  const size = (name) => parseFloat(getComputedStyle(article.querySelector(name) ?? article).fontSize);
  return {
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    tables: tables.length, hidden, smallest: texts.length ? Math.min(...texts.map((text) => text.px)) : null,
    figures: texts.length, h1: size("h1"), h2: size("h2"),
    scripts: [...document.scripts].map((script) => script.src).filter((src) => /mathjax/.test(src)).length,
    formulas: article.querySelectorAll(".math").length,
  };
}"""


def chromium() -> str:
    """The path of a Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        sys.exit("no Chromium here: install the package chromium")
    return program


def inspect(book: Path, axe: bool = True, only: str = "") -> Iterator[dict]:
    """One finding a page and view."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    files = (path for path in sorted(book.rglob("*.html")) if re.search(only, str(path.relative_to(book))))
    # Not pages: templates, and the redirection of index.html.
    pages = [path for path in files if "bd-article" in path.read_text(encoding="utf-8")]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium(), args=QUIET) as browser:
        for view, options in VIEWS.items():
            context = browser.new_context(**options)
            for path in pages:
                yield {"page": str(path.relative_to(book)), "view": view} | _seen(context, path, Axe() if axe else None)
            context.close()


def _seen(context, path: Path, axe) -> dict:
    page = context.new_page()
    page.set_default_timeout(120_000)
    requests, console = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda line: console.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(path.as_uri())
    # Lazy images come when they are scrolled to.
    page.evaluate(
        "Promise.all([...document.images].map((image) => {"
        " image.loading = 'eager'; return image.offsetParent && image.decode().catch(() => 0); }))"
    )
    page.evaluate("window.MathJax?.startup?.promise?.then(() => 0)")
    seen = page.evaluate(LOOK)
    files = [Path(unquote(urlparse(url).path)) for url in set(requests) if url.startswith("file:")]
    seen["weight"] = sum(file.stat().st_size for file in files if file.is_file())
    seen |= {"requests": len(requests), "elsewhere": [url for url in requests if url.startswith("http")]}
    # Before axe, which tries to read style sheets in a way that a browser refuses for files.
    seen["console"] = list(console)
    rules = axe.run(page).response["violations"] if axe else []
    serious = [rule for rule in rules if rule["impact"] in ("serious", "critical")]
    seen["axe"] = [f"{rule['id']}: {rule['nodes'][0]['html'][:120]}" for rule in serious]
    page.close()
    return seen


def nowhere(book: Path) -> list[str]:
    """Links to files or targets that are not there."""
    texts = {path: path.read_text(encoding="utf-8") for path in book.rglob("*.html") if "_static" not in path.parts}
    targets = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    lost = []
    for path, text in texts.items():
        for link in set(re.findall(r'<a [^>]*href="([^"]*)"', text)):
            if re.match(r"[a-z]+:", link) or link in ("", "#"):
                continue
            name, _, target = unquote(link).replace("&amp;", "&").partition("#")
            to = (path.parent / name).resolve() if name else path
            if not to.is_file() or (target and to in targets and target not in targets[to]):
                lost.append(f"{path.relative_to(book)} -> {link}")
    return sorted(lost)


def summary(findings: list[dict], lost: list[str]) -> str:
    """The findings in a few lines, and a line for each page with a fault."""
    lines = []
    for view in VIEWS:
        seen = [found for found in findings if found["view"] == view]
        tables, cut = sum(found["tables"] for found in seen), [table for found in seen for table in found["hidden"]]
        smallest = [found["smallest"] for found in seen if found["smallest"]]
        said = [
            f"{len(seen)} pages, of which {sum(bool(f['console']) for f in seen)} write errors to the console",
            f"{sum(bool(f['axe']) for f in seen)} have faults of axe",
            f"{sum(bool(f['elsewhere']) for f in seen)} ask the network",
            f"{sum(f['overflow'] > 0 for f in seen)} are wider than the window",
            f"{sum(f['scripts'] > 0 and not f['formulas'] for f in seen)} load MathJax without a formula",
            f"{sum(f['h1'] <= f['h2'] for f in seen)} have an h1 no larger than h2",
            f"{sum(size < 8.95 for size in smallest)} have text below 9 px in figures",
            f"the smallest is {min(smallest, default=0):.1f} px",
            f"{len(cut)} of {tables} tables have columns out of sight, {sum(t['hinted'] for t in cut)} with a hint",
            f"all weigh {sum(f['weight'] for f in seen) / 2**20:.0f} MiB",
        ]
        lines.append(f"{view}: " + "; ".join(said))
    lines.append(f"links to nowhere: {len(lost)}")
    where: dict[str, list[str]] = {}
    for found in findings:
        for fault in {*found["console"], *found["axe"], *found["elsewhere"]}:
            where.setdefault(" ".join(fault.split())[:160], []).append(f"{found['page']} ({found['view']})")
    lines += [f"  {fault}: {places[0]}, {len(places)} in all" for fault, places in where.items()]
    return "\n".join([*lines, *(f"  {link}" for link in lost)])


def print_book(page: Path, to: Path) -> None:
    """Print one long page to PDF, after its formulas were set."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium(), args=QUIET) as browser:
        shown = browser.new_page()
        shown.goto(page.resolve().as_uri())
        # The first page may send the browser on.
        shown.wait_for_selector(".bd-article")
        shown.evaluate("window.MathJax?.startup?.promise?.then(() => 0)")
        margin = dict.fromkeys(("top", "bottom", "left", "right"), "15mm")
        shown.pdf(path=to, format="A4", margin=margin, print_background=True, outline=True, tagged=True)
    print(to)


def main() -> int:
    """Inspect the book, or print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--book", type=Path, default=Path("_build/html"))
    parser.add_argument("--out", type=Path, default=Path("_build/inspection.json"), help="all findings")
    parser.add_argument("--only", default="", help="a regular expression that paths of pages contain")
    parser.add_argument("--no-axe", action="store_true")
    parser.add_argument("--pdf", nargs=2, type=Path, metavar=("PAGE", "FILE"))
    options = parser.parse_args()
    if options.pdf:
        print_book(*options.pdf)
        return 0
    book = options.book.resolve()
    findings, lost = list(inspect(book, not options.no_axe, options.only)), nowhere(book)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({"findings": findings, "nowhere": lost}, indent=1))
    print(summary(findings, lost))
    return int(bool(lost) or any(found["console"] or found["axe"] for found in findings))


if __name__ == "__main__":
    sys.exit(main())
