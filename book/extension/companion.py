"""What the book adds to Sphinx: figures for both colour modes, tips on terms, reading times, bundles, the manifest.

``_config.yml`` loads it. It changes nothing that a notebook computed.
"""

from __future__ import annotations

import math
import re
import zipfile
from functools import cache
from pathlib import Path

import nbformat
import pandas as pd
from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from PIL import Image
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from e2m.experiment.dependencies import arguments
from e2m.pages import manifest
from e2m.store import paths

ROOT = Path(__file__).parents[2]
WORDS_A_MINUTE = 200
LONGEST_VALUE = 80
"""Letters of a value that the reference shows; longer ones are read in the code."""
DARK, LIGHT = 20, 236
"""What white and black become in the dark; the greys between follow."""


def setup(app: Sphinx) -> dict:
    """Connect everything."""
    app.add_node(nodes.image, override=True, html=(visit_image, HTML5Translator.depart_image))
    app.connect("config-inited", show_repository)
    # Before Sphinx collects the images of a page.
    app.connect("doctree-read", for_both_modes, priority=400)
    app.connect("doctree-read", leave_out_long_values)
    app.connect("doctree-read", count_words)
    app.connect("doctree-resolved", add_tips)
    app.connect("doctree-resolved", name_folded_results)
    # After the theme's own buttons.
    app.connect("html-page-context", complete_page, priority=900)
    # After whatever else writes files: the theme replaces a style sheet at the end.
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def show_repository(app: Sphinx, _config: object) -> None:
    """Show the buttons of the repository if ``_config.yml`` gives its address."""
    options = app.config.html_theme_options
    if options.get("repository_url"):
        options |= dict.fromkeys(("use_repository_button", "use_issues_button"), True)


def leave_out_long_values(_app: Sphinx, doctree: nodes.document) -> None:
    """Keep short values of constants in the reference; long ones are code, and no line of a phone holds them."""
    for annotation in doctree.findall(addnodes.desc_annotation):
        value = annotation.astext()
        if value.lstrip().startswith("=") and len(value) > LONGEST_VALUE:
            annotation[:] = [addnodes.desc_sig_space(), addnodes.desc_sig_punctuation("", "="), nodes.Text(" …")]


# Figures


def for_both_modes(app: Sphinx, doctree: nodes.document) -> None:
    """Show every plot twice, in the ink of light and of dark pages; the style hides one."""
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.env.relfn2path(image["uri"])[1])
        if path.suffix != ".svg" or not path.is_file():
            continue
        other = path.with_name(f"{path.stem}-dark.svg")
        other.write_text(in_the_dark(path.read_text()))
        twin = image.deepcopy()
        twin["uri"] = str(Path(image["uri"]).with_name(other.name))
        # The theme's own classes for this also hide the caption.
        image["classes"].append("in-light")
        twin["classes"].append("in-dark")
        image.parent.insert(image.parent.index(image) + 1, twin)


def in_the_dark(svg: str) -> str:
    """A drawing for dark pages: greys change sides, and colours stay, because they mean regimes."""

    def turned(match: re.Match) -> str:
        red, green, blue = (int(match[1][at : at + 2], 16) for at in (0, 2, 4))
        if max(red, green, blue) - min(red, green, blue) > 12:
            return match[0]
        grey = round(LIGHT + (DARK - LIGHT) * green / 255)
        return f"#{grey:02x}{grey:02x}{grey:02x}"

    # What names no colour is black.
    return re.sub(r"#([0-9a-f]{6})\b", turned, svg).replace(
        "<svg ", f'<svg fill="#{LIGHT:02x}{LIGHT:02x}{LIGHT:02x}" ', 1
    )


def visit_image(self: HTML5Translator, node: nodes.image) -> None:
    """An image with its size, so that nothing moves when it arrives; it is loaded when it comes into view."""
    size = natural(Path(self.builder.srcdir, node["uri"]))
    HTML5Translator.visit_image(self, node)
    if size is None or not self.body[-1].lstrip().startswith("<img"):
        return
    # A width that the page asks for stands in the style already.
    tag, about = self.body[-1], f'width="{size[0]}" height="{size[1]}"'
    if 'style="' in tag:
        tag = tag.replace('style="', f'style="--natural: {size[0]}px; ', 1)
    else:
        about += f' style="--natural: {size[0]}px"'
    # Paper shows all of them.
    about += ' loading="lazy" decoding="async"' * (self.builder.name == "html")
    self.body[-1] = tag.replace("<img ", f"<img {about} ", 1)


def natural(path: Path) -> tuple[int, int] | None:
    """Width and height of an image on the page, in CSS pixels; None for other files."""
    if not path.is_file():
        return None
    if path.suffix == ".svg":
        tag = re.search(r"<svg[^>]*>", path.read_text()[:4000])
        said = dict(re.findall(r'\b(width|height)="([\d.]+)pt"', tag[0])) if tag else {}
        return (
            (round(float(said["width"]) * 96 / 72), round(float(said["height"]) * 96 / 72)) if len(said) > 1 else None
        )
    if path.suffix not in (".png", ".jpg", ".jpeg"):
        return None
    with Image.open(path) as image:
        density = image.info.get("dpi", (96, 96))[0] / 96
        return round(image.width / density), round(image.height / density)


# Words


def count_words(app: Sphinx, doctree: nodes.document) -> None:
    """Record how many minutes a page takes to read: its prose, and ten seconds for each figure.

    Entries of a reference are looked up, not read.
    """
    looked_up = {part for entry in doctree.findall(addnodes.desc) for part in entry.findall(nodes.paragraph)}
    read = (part for part in doctree.findall(nodes.paragraph) if part not in looked_up)
    words = sum(len(part.astext().split()) for part in read)
    figures = sum(1 for _ in doctree.findall(nodes.figure))
    app.env.metadata[app.env.docname]["minutes"] = max(1, math.ceil(words / WORDS_A_MINUTE + figures / 6))


def add_tips(app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Give links to terms of the glossary their definition as title; citations have one from sphinxcontrib-bibtex."""
    if app.builder.format != "html":
        return
    for link in doctree.findall(nodes.reference):
        target = link.get("refuri", "").partition("#")[2] or link.get("refid", "")
        if target.startswith("term-") and (tip := definitions(app).get(target)):
            link["reftitle"] = tip


@cache
def definitions(app: Sphinx) -> dict[str, str]:
    """The first paragraph of every definition of the glossary, by the target of its term."""
    said = {}
    for page, target in set(app.env.domaindata["std"]["terms"].values()):
        for item in app.env.get_doctree(page).findall(nodes.definition_list_item):
            if any(target in term["ids"] for term in item.findall(nodes.term)):
                said[target] = " ".join(next(item.findall(nodes.paragraph)).astext().split())
    return said


def name_folded_results(_app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Say of a folded result that it is one: myst-nb has one text for code and results of a cell."""
    for folded in doctree.findall(HideCodeCellNode):
        if "above-input" not in folded["classes"]:
            folded["prompt_show"], folded["prompt_hide"] = "Show the result", "Hide the result"


# Pages


def complete_page(app: Sphinx, page: str, _template: str, context: dict, doctree: nodes.document | None) -> None:
    """Buttons, reading times, and no script that the page does not use."""
    # Entries of a list of references are its items, which docutils calls otherwise.
    body = (context.get("body") or "").replace('role="doc-biblioentry"', 'role="listitem"')
    context["body"] = body
    used = dict.fromkeys(script for script in context["script_files"] if needed(script, body))
    context["script_files"] = list(used)
    for side in ("prev", "next"):
        if context.get(side):
            minutes = minutes_of(app, context[side]["link"], page)
            context[side] = context[side] | {"title": context[side]["title"] + minutes}
    if doctree is None or "header_buttons" not in context:
        return
    buttons = context["header_buttons"]
    if "cell_input" in body:
        show = {"type": "javascript", "javascript": "e2mToggleCode()", "icon": "fas fa-code"}
        buttons.insert(0, show | {"tooltip": "Show or hide all code", "label": "toggle-code"})
    if page.startswith("executed/"):
        name = page.removeprefix("executed/")
        link = {"type": "link", "icon": "fas fa-box-archive", "text": ".zip", "label": "download-bundle"}
        link |= {"url": context["pathto"](f"_bundles/{name}.zip", 1), "tooltip": "Notebook, its tables, environment"}
        for group in (button for button in buttons if button.get("label") == "download-buttons"):
            group["buttons"].append(link)
        if address := app.config.html_theme_options.get("repository_url"):
            buttons.insert(0, launch(address, name))


def needed(script: object, body: str) -> bool:
    """Whether a page needs a script: formulas need MathJax, and nothing here runs code in the browser (Thebe)."""
    text = f"{getattr(script, 'filename', '')} {getattr(script, 'attributes', {}).get('body', '')}".lower()
    return "thebe" not in text and ("mathjax" not in text or 'class="math' in body)


def minutes_of(app: Sphinx, link: str, page: str) -> str:
    """The reading time of a neighbour, for its title; "" if it is not known."""
    folder = Path("/", page).parent
    name = str((folder / link.removesuffix(".html")).resolve()).lstrip("/")
    minutes = app.env.metadata.get(name, {}).get("minutes")
    return f" ({minutes} min)" if minutes else ""


def launch(address: str, name: str) -> dict:
    """A button that opens a template, not its executed copy, on mybinder.org."""
    owner, repository = address.rstrip("/").split("/")[-2:]
    host = "gl" if "gitlab" in address else "gh"
    url = f"https://mybinder.org/v2/{host}/{owner}/{repository}/HEAD?labpath=notebooks/{name}.ipynb"
    return {"type": "link", "url": url, "icon": "fas fa-rocket", "tooltip": "Run on Binder", "label": "launch-binder"}


# What a built book carries


def finish(app: Sphinx, error: Exception | None) -> None:
    """Write the bundles and the manifest of a finished book."""
    if error is not None or app.builder.name != "html":
        return
    pages = sorted(Path(app.srcdir, "executed").glob("*.ipynb"))
    executed = [path for path in pages if f"executed/{path.stem}" in app.env.found_docs]
    bundles = Path(app.outdir, "_bundles")
    bundles.mkdir(exist_ok=True)
    for path in executed:
        bundle(path, bundles / f"{path.stem}.zip")
    manifest.write(Path(app.outdir), executed)


def bundle(executed: Path, archive: Path) -> None:
    """A page to take along: the notebook, the tables that it saved as CSV, and the environment."""
    profile = manifest.profile_of(nbformat.read(executed, as_version=4))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        files.write(executed, executed.name)
        for name in ("environment.yml", "requirements.lock", "LICENSE", "CITATION.cff"):
            files.write(ROOT / name, name)
        for name in arguments(ROOT / "notebooks" / executed.name, "experiment.save"):
            table = paths.table(profile, name)
            if table.is_file():
                files.writestr(f"tables/{name}.csv", pd.read_parquet(table).to_csv(index=False))
