"""Tables for reading: names are text, a constant is said once, blocks, lines of details, decimals."""

import re
from math import floor, log10

import numpy as np
import pandas as pd
import pytest

from e2m.pages import tables

HOSTILE = '<script>alert("&")</script>'


def cells(table):
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", table.to_html())]


def test_no_name_becomes_html():
    frame = pd.DataFrame(
        {HOSTILE: [HOSTILE, "b"], "source": [HOSTILE, "c"], "same": [HOSTILE] * 2, "lines": [[HOSTILE, "x"], []]}
    )
    shown = tables.plain(frame, formats={"same": str}, names=[HOSTILE], notes=[HOSTILE])
    shown.details = ["source"]
    page = shown.to_html()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 6
    both = pd.DataFrame({"regime": [HOSTILE, "b"] * 2, "source": [HOSTILE] * 2 + ["x"] * 2, "note": HOSTILE})
    both = both.assign(mean=1.0, low=0.0, high=2.0)
    assert "<script" not in tables.interval_table(both, ["source"]).to_html()


@pytest.mark.parametrize("length", [0.2, 0.1, 0.3 - 0.2, 0.0123, 0.996, 1.0, 7.0, 31.0, 4e-4])
def test_an_interval_has_two_significant_digits(length):
    """The last decimal shown is worth between a hundredth and a tenth of the interval's length."""
    places = tables._decimals(1.0, 1.0 + length)
    exact = 1 - floor(log10(round(length, 9)))
    assert places == max(0, exact)
    if places:
        assert 10 <= round(length * 10**places, 6) < 100


def test_decimals_of_no_length_and_of_the_smallest():
    assert tables._decimals(0.5, 0.5) == 2
    assert tables._decimals(0, 1e-9) == 5


def test_what_all_rows_share_is_said_once_below():
    frame = pd.DataFrame({"source": ["a", "b"], "salience": "GradCAM", "why": "", "value": [0.5, 0.25]})
    shown = tables.plain(frame)
    assert cells(shown)[:2] == ["source", "value"]
    assert "In all rows: salience method Grad-CAM." in shown.to_html()
    assert "why" not in shown.to_html()
    # One row says everything itself, and a column that must be seen stays.
    assert cells(tables.plain(frame.head(1)))[:3] == ["source", "salience method", "value"]
    assert "value" in cells(tables.Table(frame.assign(value=1.0), kept=["value"]))
    same = pd.DataFrame({"a": ["x", "x"], "b": ["y", "y"]})
    assert cells(tables.plain(same)) == ["a", "x", "x"]


def test_rows_come_in_blocks_of_their_first_name():
    frame = pd.DataFrame({"variant": ["p", "p", "q", "q"], "source": list("abab"), "value": [1, 2, 3, 4]})
    page = tables.plain(frame, names=["variant", "source"]).to_html()
    assert page.count("<tbody>") == 2
    assert re.findall(r'rowgroup" colspan="(\d)">(\w)', page) == [("2", "p"), ("2", "q")]
    mixed = frame.assign(variant=["p", "q", "p", "q"])
    assert tables.plain(mixed, names=["variant", "source"]).to_html().count("<tbody>") == 1


def test_long_tables_can_be_sorted():
    for rows, sortable in ((10, False), (11, True)):
        page = tables.plain(pd.DataFrame({"a": range(rows), "b": range(rows)})).to_html()
        assert ("sortable" in page) == sortable


def test_cells_in_words():
    row = {"regime": "cross_entropy", "source": "cross_entropy", "ok": True, "share": 0.5, "whole": 2.0, "none": np.nan}
    frame = pd.DataFrame([row, row | {"source": "x", "ok": False, "regime": "mine", "share": 0.1, "whole": 3.0}])
    shown = cells(tables.plain(frame, formats={"share": "{:.0%}"}))
    assert shown[5:10] == ["cross-entropy", "cross_entropy", "yes", "50%", "2"]
    assert shown[10:] == ["mine", "x", "no", "10%", "3"]


def test_an_interval_is_set_apart_and_other_brackets_are_text():
    frame = pd.DataFrame({"a": ["0.5 [0.4, 0.6]† (90 %)", "-1.0 [-2.0, +3.0]", "see [3], a long note", "2 [of three]"]})
    page = tables.plain(frame).to_html()
    assert re.findall('class="interval">([^<]*)<', page) == ["[0.4, 0.6]†", "[-2.0, +3.0]"]
    assert "</span> (90 %)" in page


def test_a_table_without_rows_says_so():
    assert "No rows." in tables.plain(pd.DataFrame({"a": []})).to_html()


def test_equal_data_give_equal_html():
    frame = pd.DataFrame({"a": [0.1, 0.2]})
    assert tables.plain(frame).to_html() == tables.plain(frame.copy()).to_html()
