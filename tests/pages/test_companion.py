"""The book's extension and script: figures for the dark, sizes, scripts that a page needs, sorting, enlarging, tips."""

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m.pages import figures, manifest, tables
from e2m.store.paths import CHECKOUT

pytest.importorskip("sphinx")
from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes


@pytest.fixture(scope="module")
def companion():
    spec = importlib.util.spec_from_file_location("companion", CHECKOUT / "book" / "extension" / "companion.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_greys_change_sides_in_the_dark_and_colours_stay(companion):
    dark = companion.in_the_dark('<svg a="1"><path style="fill: #000000; stroke: #ffffff; color: #0072b2"/></svg>')
    assert "#0072b2" in dark
    black, white = (f"#{level:02x}{level:02x}{level:02x}" for level in (companion.LIGHT, companion.DARK))
    assert f"fill: {black}; stroke: {white}" in dark
    assert dark.startswith(f'<svg fill="{black}" a="1">')  # what names no colour is black


def test_a_drawing_and_a_picture_say_their_size_on_the_page(companion, tmp_path):
    figure, _ = plt.subplots(figsize=(4, 3))
    for name, tolerance in (("a.svg", 1), ("a.png", 1)):
        with plt.rc_context({"savefig.bbox": None}):
            figures.save(figure, tmp_path / name)
        np.testing.assert_allclose(companion.natural(tmp_path / name), (4 * 96, 3 * 96), atol=tolerance)
    plt.close(figure)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 4 * figures.PIXELS == 2 * 4 * 96
    Image.new("RGB", (30, 20)).save(tmp_path / "b.png")
    assert companion.natural(tmp_path / "b.png") == (30, 20)
    assert companion.natural(tmp_path / "absent.svg") is None


def test_the_reference_shows_short_values_and_leaves_long_ones_to_the_code(companion):
    def constant(value):
        return addnodes.desc_annotation("", "", addnodes.desc_sig_space(), nodes.Text(f"= {value}"))

    doctree = new_document("reference")
    doctree += [constant("(1, 2)"), constant([1] * 100), addnodes.desc_annotation("", "class " * 30)]
    companion.leave_out_long_values(None, doctree)
    assert [one.astext() for one in doctree] == [" = (1, 2)", " = …", "class " * 30]


def test_a_page_loads_what_it_uses(companion):
    def script(filename=None, body=""):
        return SimpleNamespace(filename=filename, attributes={"body": body})

    mathjax = script("_static/mathjax/tex-chtml.js")
    assert companion.needed(mathjax, '<div class="math notranslate">')
    assert not companion.needed(mathjax, "<p>no formula</p>")
    assert not companion.needed(script(body='const THEBE_JS_URL = "x"'), "")
    assert companion.needed(script("_static/e2m.js"), "")


def test_neighbours_say_how_long_they_take(companion):
    app = SimpleNamespace(env=SimpleNamespace(metadata={"executed/noise": {"minutes": 7}, "intro": {"minutes": 2}}))
    assert companion.minutes_of(app, "noise.html", "executed/entropy") == " (7 min)"
    assert companion.minutes_of(app, "../intro.html", "executed/entropy") == " (2 min)"
    assert companion.minutes_of(app, "executed/noise.html", "intro") == " (7 min)"
    assert companion.minutes_of(app, "search.html", "intro") == ""


def test_the_launch_button_opens_the_template(companion):
    url = companion.launch("https://github.com/owner/name/", "noise")["url"]
    assert url == "https://mybinder.org/v2/gh/owner/name/HEAD?labpath=notebooks/noise.ipynb"


INDEX = """
Title
=====

Read :term:`salience` first. :math:`x^2`

.. figure:: plot.svg
   :alt: a plot
   :width: 50%

   Caption.

.. toctree::

   other

.. glossary::

   salience
      What the detector
      looks at.

      More about it.
"""


@pytest.fixture(scope="module")
def book(companion, tmp_path_factory):
    """A book of two pages, built with the extension alone."""
    from sphinx.application import Sphinx

    folder = tmp_path_factory.mktemp("book")
    figure, _ = plt.subplots()
    (folder / "source").mkdir()
    figures.save(figure, folder / "source" / "plot.svg")
    plt.close(figure)
    (folder / "source" / "index.rst").write_text(INDEX)
    (folder / "source" / "other.rst").write_text("Other\n=====\n\nNo formula.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "companion", companion)
        options = {"extensions": ["companion", "sphinx.ext.mathjax"], "mathjax_path": "mathjax.js"}
        app = Sphinx(
            folder / "source",
            None,
            folder / "html",
            folder / "trees",
            "html",
            options,
            status=None,
            warningiserror=True,
        )
        app.connect("build-finished", lambda app, _: Path(app.outdir, "_static", "late.css").write_text("a {}"))
        app.build()
    return folder / "html"


def test_a_term_carries_its_definition(book):
    page = (book / "index.html").read_text()
    assert 'href="#term-salience" title="What the detector looks at."' in page


def test_a_plot_has_a_twin_for_the_dark_and_both_say_their_size(book):
    images = re.findall(r"<img[^>]*>", (book / "index.html").read_text())
    light, dark = [image for image in images if "plot" in image]
    assert "in-light" in light
    assert "in-dark" in dark
    for image in (light, dark):
        assert 'alt="a plot"' in image
        assert 'loading="lazy"' in image
        assert re.search(r'style="--natural: \d+px; width: 50%;"', image)
        assert re.search(r'width="\d+" height="\d+"|height="\d+"[^>]*width="\d+"', image)
        assert (book / re.search(r'src="([^"]+)"', image)[1]).is_file()


def test_only_the_page_with_a_formula_loads_mathjax(book):
    assert ["mathjax.js" in (book / name).read_text() for name in ("index.html", "other.html")] == [True, False]


def test_a_book_without_notebooks_has_a_manifest_of_its_pages(book):
    listed = manifest._read(book / "manifest.json")
    assert {"index.html", "other.html", "_static/late.css"} <= set(listed["files"])
    assert listed["pages"] == {}


PAGE = """<!doctype html><html lang="en"><title>t</title><style>{style}</style><script>{script}</script>
<main class="bd-article">{table}<p><a class="reference" href="#x" title="what it means">term</a></p>
<figure><img src="{image}" alt="a picture" width="400" height="300" style="--natural: 400px">
<figcaption>caption</figcaption></figure>
<div class="highlight-text"><div class="highlight"><pre>{listing}</pre></div></div>
<details class="hide above-input"><pre>code</pre></details></main></html>"""


@pytest.fixture(scope="module")
def shown(browser, tmp_path_factory):
    """A page with a long table, a figure, code and a link, on a phone; and what it wrote to the console."""
    folder = tmp_path_factory.mktemp("page")
    Image.new("RGB", (400, 300)).save(folder / "a.png")
    frame = pd.DataFrame({"name": [f"row {n}" for n in range(12)], "value": [0.5 * (n * 7 % 12) for n in range(12)]})
    frame["why"] = [f"because {n}" for n in range(12)]
    wide = {f"another long column {n}": range(12) for n in range(6)}
    table = tables.Table(frame.assign(**wide), ["name"], details=["why"]).to_html()
    style, script = ((CHECKOUT / "book" / "style" / f"e2m.{kind}").read_text() for kind in ("css", "js"))
    page = PAGE.format(style=style, script=script, table=table, image="a.png", listing="a long line " * 20)
    (folder / "page.html").write_text(page)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.console_lines = []
    page.on("console", lambda line: page.console_lines.append(line.text))
    page.on("pageerror", lambda error: page.console_lines.append(str(error)))
    page.goto((folder / "page.html").as_uri())
    return page


@pytest.mark.slow
def test_a_click_sorts_by_number_and_details_stay_with_their_row(shown, expect):
    shown.get_by_role("button", name="value").click()
    lines = shown.locator("table.e2m tbody tr").all_inner_texts()
    rows, details = lines[::2], lines[1::2]
    values = [float(re.split(r"\t|\n", row)[1]) for row in rows]
    assert values == sorted(values)
    assert [re.search(r"row (\d+)", row)[1] for row in rows] == [re.search(r"(\d+)$", line)[1] for line in details]
    shown.get_by_role("button", name="value").click()
    assert shown.locator("table.e2m tbody tr").first.inner_text().split("\t")[1].strip() == "5.500"
    expect(shown.locator("th[aria-sort=descending]")).to_have_count(1)


@pytest.mark.slow
def test_what_is_out_of_sight_is_announced_and_reached_from_the_keyboard(shown, expect):
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    expect(shown.locator("p.more").first).to_have_text("Scroll sideways for more →")
    expect(shown.locator(".scrolls").first).to_have_attribute("tabindex", "0")
    expect(shown.locator("div.highlight-text > p.more")).to_have_count(1)
    expect(shown.locator("div.highlight pre")).to_have_attribute("tabindex", "0")


@pytest.mark.slow
def test_figures_open_code_unfolds_and_tips_show(shown, expect):
    shown.get_by_role("button", name="Enlarge").click()
    expect(shown.locator("dialog img")).to_have_attribute("alt", "a picture")
    shown.keyboard.press("Escape")
    expect(shown.locator("dialog")).to_have_count(0)
    shown.evaluate("e2mToggleCode()")
    expect(shown.locator("details[open]")).to_have_count(1)
    shown.locator("a.reference").focus()
    expect(shown.get_by_role("tooltip")).to_have_text("what it means")
    shown.keyboard.press("Escape")
    expect(shown.get_by_role("tooltip")).to_have_count(0)
    assert shown.console_lines == []
