"""The checks of the book's consistency, each on a planted violation; ``test_book.py`` runs them on a built book."""

import json

import pandas as pd
import pytest

from e2m.store.studies import FOLDER
from tests import consistency


def page(body):
    return f"<html><body><p>menu</p><article class='bd-article'><h1>T</h1>{body}</article></body></html>"


def test_prose_is_what_a_reader_reads():
    html = page(
        "<p>One <em>two</em>.</p><ul><li><p>Three.</p></li></ul><figure><figcaption>A face.</figcaption></figure>"
        "<table><tr><td><p>cell</p></td></tr></table><pre>code</pre><p>With <span class='math'>x</span> four.</p>"
        "<div class='cell_input'><p>hidden</p></div>"
    )
    assert consistency.prose(html) == ["One two.", "Three.", "A face.", "With four."] or consistency.prose(html) == [
        "One two.", "Three.", "With four.", "A face.",
    ]  # fmt: skip
    assert consistency.prose("<html><p>no article</p></html>") == []


def test_sentences_end_where_they_end():
    text = 'It is 0.5 (e.g. here). Crum et al. 2023 say so. "Quoted." Then (e) follows? p is one.'
    found = consistency.sentences(text)
    assert [one.split()[0] for one in found] == ["It", "Crum", '"Quoted.', "Then", "p"]


@pytest.mark.parametrize(
    ("text", "count"),
    [("one two three", 3), ("one (two (three) four) five", 2), ("0.5 [0.1, 0.9] – and", 2), ("a-b c", 2), ("", 0)],
)
def test_words_in_parentheses_do_not_count(text, count):
    assert consistency.words(text) == count


def test_long_sentences_and_pages():
    long = " ".join(["word"] * 31) + "."
    pages = {"short": ["Word " * 29 + "word."], "long": [f"Fine. {long[0].upper()}{long[1:]}"]}
    (line,) = consistency.long_sentences(pages)
    assert line.startswith("long: a sentence of 31 words: Word")
    assert list(consistency.long_pages({"a": ["word " * 1500], "b": ["word " * 1501]})) == [
        "b: 1501 words of prose; at most 1500 fit"
    ]


@pytest.mark.parametrize("text", ["Human salience is here.", "Two annotators agree.", "It looks where people looked."])
def test_simulation_is_said(text):
    assert len(list(consistency.unsaid_simulation({"a": [text]}))) == 1
    assert not list(
        consistency.unsaid_simulation({"a": [text, "The annotations are simulated."], "b": ["A detector."]})
    )


@pytest.mark.parametrize("claim", ["Every number is computed.", "It says so on each page.", "All tables count them."])
def test_claims_about_the_whole(claim):
    assert len(list(consistency.universal_claims({"a": ["Fine.", claim]}))) == 1
    assert not list(consistency.universal_claims({"a": ["Every run sees all images of the page."]}))


@pytest.mark.parametrize("text", ["It is nan and nan.", 'others = maps[maps["kind"] == "a"]', "table = read.it(x)"])
def test_what_programs_write_is_no_prose(text):
    assert len(list(consistency.values_of_programs({"a": ["Fine.", text]}))) == 1
    fine = ["Values are NaN, and none is infinite.", "With o = 1.2 it costs more.", "It is 0.5 [0.1, 0.9].", "x = 3."]
    assert not list(consistency.values_of_programs({"a": fine}))


def test_no_stored_study_has_an_interval_that_its_quantity_cannot_have():
    stored = {path.stem: pd.read_parquet(path) for path in consistency.means_of_studies(FOLDER)}
    assert any("variant" in table for table in stored.values())
    assert not list(consistency.intervals_out_of_range(stored))


def test_a_key_has_one_value(tmp_path):
    for name, value in (("a", "0.5"), ("b", "0.5"), ("c", "0.6")):
        kind = "application/papermill.record/text/plain"
        output = {"metadata": {"scrapbook": {"name": "share"}}, "data": {kind: value}}
        cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [output, {"metadata": {}}]}]
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    glued = {path.stem: consistency.records(path) for path in sorted(tmp_path.iterdir())}
    assert list(consistency.keys_with_two_values(glued, {"share"})) == ["c: glues share as 0.6, and a as 0.5"]
    assert not list(consistency.keys_with_two_values(glued, {"other"}))
    assert not list(consistency.keys_with_two_values({"a": {"answer": "Yes."}, "b": {"answer": "No."}}, {"answer"}))


def test_every_picture_of_a_notebook_is_on_its_page(tmp_path):
    def cell(*kinds, tags=()):
        outputs = [{"data": {kind: ""}} for kind in kinds]
        return {"metadata": {"tags": list(tags)}, "outputs": outputs}

    cells = [cell("image/png", "text/plain"), cell("image/svg+xml"), cell("image/png", tags=["remove-output"])]
    notebook = tmp_path / "noise.ipynb"
    notebook.write_text(json.dumps({"cells": [{"metadata": {}}, *cells]}))
    assert consistency.drawn(notebook) == 2
    html = {"executed/noise": page("<figure><img><img></figure>")}
    assert list(consistency.lost_pictures(html, {"noise": 2, "other": 1})) == ["executed/noise: shows 1 of 2 pictures"]
    assert not list(consistency.lost_pictures(html, {"noise": 1}))


def test_keys_that_other_pages_quote(tmp_path):
    (tmp_path / "book" / "executed").mkdir(parents=True)
    (tmp_path / "book" / "a.md").write_text("{glue:text}`executed/b.ipynb::share:.2f` and {glue:text}`alone`")
    (tmp_path / "book" / "executed" / "b.ipynb").write_text('["{glue:text}`c.ipynb::runs`"]')
    assert consistency.quotations(tmp_path) == {"share", "runs"}


def test_a_label_is_one_quantity():
    table = pd.DataFrame({"row": ["(d) x"], "detector": "net", "regime": "cyborg", "salience": "CAM", "mean": 0.5})
    same, other = table.assign(mean=0.5 + 1e-12), table.assign(mean=0.6)
    assert not list(consistency.labels_of_two_quantities({"a": table, "b": same, "c": table.drop(columns="row")}))
    (line,) = consistency.labels_of_two_quantities({"a": table, "b": other})
    assert line == "(d) x, net, cyborg, CAM: 0.5 in a; 0.6 in b"


def test_intervals_stay_within_their_range():
    table = pd.DataFrame({"variant": ["ssim", "spatial", "change"], "mean": 0.9, "low": [0.03, 0.5, -3], "high": 1.0})
    assert not list(consistency.intervals_out_of_range({"a": table, "b": pd.DataFrame({"x": [1]})}))
    table.loc[0, "high"] = 1.28
    (line,) = consistency.intervals_out_of_range({"a": table})
    assert line == "a: ssim 0.9 [0.03, 1.28] leaves [-1, 1]"


def test_levels_of_a_curve_have_the_same_images():
    table = pd.DataFrame({"variant": "accuracy", "level": ["0", "10"], "images": [120, 120], "missing": 0})
    table = table.assign(detector="net", regime="cyborg", source="orl")
    assert not list(consistency.levels_on_other_images({"a": table, "b": pd.DataFrame({"x": [1]})}))
    (line,) = consistency.levels_on_other_images({"a": table.assign(images=[240, 120])})
    assert line == "a: net, cyborg, orl, accuracy: on 120 to 240 images"


def test_a_tree_is_checked_as_a_whole(tmp_path):
    (tmp_path / "_build" / "html").mkdir(parents=True)
    text = "<p>Every number is human salience.</p>"
    (tmp_path / "_build" / "html" / "a.html").write_text(page(f"{text}<img src='a.png'>"))
    (tmp_path / "_build" / "html" / "b.html").write_text(page(text))
    (found,) = consistency.violations(tmp_path)
    assert found.startswith("a: speaks of 'human salience', and never says that it is simulated")
    assert [line.split(": ")[0] for line in consistency.hard_to_read(tmp_path)] == ["a", "b"]
