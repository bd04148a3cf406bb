"""Settings against annotations, by hand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Lt, MinLen

from e2m.checks import Like, OneOf, described, misfits, problems, shown

if TYPE_CHECKING:
    from nowhere import Nothing

COLOUR = Annotated[str, OneOf(lambda: ["red", "green"])]


@pytest.mark.parametrize(
    ("hint", "words", "fits", "misses"),
    [
        (int, "a whole number", [0, -3, np.int64(2), 10**400], [True, 1.0, "1", None, [1]]),
        (float, "a number", [0, 1.5, np.float32(2), -1e300], [False, "1.5", float("nan"), float("-inf"), None]),
        (bool, "true or false", [True, False], [0, 1, "true", None]),
        (str, "text", ["a"], ["", 1, None]),
        (Annotated[int, Ge(2)], "a whole number from 2 up", [2, 3], [1]),
        (Annotated[float, Gt(0)], "a number above 0", [0.1], [0, -0.0]),
        (Annotated[float, Lt(3)], "a number below 3", [2.9], [3]),
        (Annotated[float, Interval(gt=0, le=1)], "a number above 0 up to 1", [1, 0.1], [0, 1.1]),
        (Annotated[int, Ge(1)] | None, "a whole number from 1 up, or null", [1, None], [0, "null"]),
        (Literal["a", "b"], "one of a, b", ["a"], ["c", 1, ["a"]]),
        (COLOUR, "one of red, green", ["red"], ["blue", "re"]),
        (Annotated[str, Like("x+", "some x")], "some x", ["xx"], ["xy", "", "yx"]),
        (list[int], "a list of whole numbers", [[], [1], (1, 2)], [1, "1", {1: 2}]),
        (Annotated[Sequence[float], MinLen(1)], "a list (not empty) of numbers", [[1]], [[], 1.0]),
        (list, "a list", [[], ["a", 1]], ["a", None]),
        (dict[COLOUR, int], "a mapping of any of red, green to a whole number", [{}, {"red": 1}], [[], 1]),
        (dict, "a mapping", [{}, {1: 2}], [[], None]),
        (str | list[str], "text, or a list of text", ["a", ["a"]], ["", 1]),
        (Any, "any value", [None, 1, "a", [1]], []),
    ],
)
def test_what_fits_an_annotation(hint, words, fits, misses):
    assert described(hint) == words
    for value in fits:
        assert list(misfits(value, hint, "key")) == [], value
    for value in misses:
        (line,) = misfits(value, hint, "key")
        assert line.startswith(f"key: {shown(value)} arrived")
        assert f"; {words} fits" in line


def test_items_are_named_by_their_path():
    hint = dict[COLOUR, list[Annotated[int, Ge(0)]]]
    assert list(misfits({"red": [1, -1, "2", 1], "grean": [], "green": 3}, hint, "top")) == [
        "top.red[1]: -1 arrived; a whole number from 0 up fits",
        "top.red[2]: '2' arrived, which YAML reads as text (write 2); a whole number from 0 up fits",
        "top.red[3]: 1 arrived a second time; entries must differ",
        "top.grean: no such key; did you mean green?",
        "top.green: 3 arrived; a list of whole numbers from 0 up fits",
    ]


def test_values_are_shown_on_one_line():
    assert [shown(value) for value in (None, True, 0, 1, "a\nb", 1e-6)] == [
        "null",
        "true",
        "0",
        "1",
        r"'a\nb'",
        "1e-06",
    ]
    assert shown("x" * 100) == f"'{'x' * 56}..."


def test_arguments_of_a_function():
    def taker(first, second: int, third: Annotated[float, Gt(0)] = 1.0): ...

    assert problems({"second": 1}, taker, without=["first"]) == []
    assert problems({"first": object(), "second": 1, "third": 2}, taker) == []
    assert problems({"third": 0, "secnd": 1}, taker, "top", also={"more": bool}) == [
        "top.secnd: no such key; did you mean second?",
        "top.first: missing; any value fits",
        "top.second: missing; a whole number fits",
        "top.third: 0 arrived; a number above 0 fits",
        "top.more: missing; true or false fits",
    ]
    assert problems({"x": 1}, lambda: None) == ["x: no such key; none fits here"]


def test_a_function_that_takes_any_key():
    def taker(first: int, **settings): ...

    assert problems({"first": 1, "anything": "goes"}, taker) == []
    assert problems({"anything": "goes"}, taker) == ["first: missing; a whole number fits"]


def test_annotations_that_only_type_checkers_read():
    def taker(first: "Nothing", second: int = 1): ...

    assert problems({"first": 1, "second": "a"}, taker) == []
    assert problems({"frist": 1}, taker) == [
        "frist: no such key; did you mean first?",
        "first: missing; any value fits",
    ]
