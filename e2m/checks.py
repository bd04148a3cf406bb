"""Check settings written by a person against the annotations of the function or dataclass that takes them.

An annotation may carry bounds (``annotated_types``: ``Ge``, ``Gt``, ``Interval``, ``MinLen``), known values (``OneOf``)
and a form (``Like``). Every problem is one line: the path of the key, what arrived, what fits.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import reprlib
import stat
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, MinLen

from e2m.types import InputError

Count = Annotated[int, Ge(1)]
Share = Annotated[float, Interval(ge=0, le=1)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]


_FEW = reprlib.Repr()
_FEW.maxlevel, _FEW.maxlist, _FEW.maxtuple, _FEW.maxdict = 3, 20, 20, 20
_FEW.maxstring = _FEW.maxlong = _FEW.maxother = 200
"""Shows the beginning of a value: YAML's references make a few lines into lists that no memory holds."""


@dataclass(frozen=True, eq=False)
class OneOf:
    """The values that fit; a function is called for them at the time of the check."""

    values: Collection[str] | Callable[[], Collection[str]]


@dataclass(frozen=True)
class Like:
    """A regular expression that the whole text matches, and the words that describe it to a person."""

    pattern: str
    words: str


def problems(
    values: Mapping[Any, Any],
    taker: Callable,
    path: str = "",
    without: Collection[str] = (),
    also: Mapping[str, object] | None = None,
) -> list[str]:
    """Everything wrong with keyword arguments, a line each: unknown, missing, of another type, out of range.

    Args:
        values: the arguments.
        taker: the function or dataclass that takes them; parameters without annotation take anything.
        path: of the mapping in its file, "training".
        without: parameters that the calling code supplies; as keys they count as unknown.
        also: further keys that must be present, with their annotations.
    """
    parameters = {
        name: parameter for name, parameter in inspect.signature(taker).parameters.items() if name not in without
    }
    open_ended = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
    try:
        hints = get_type_hints(taker, include_extras=True)
    except NameError:
        # The plug-in imports the names of its annotations for type checkers alone.
        hints = {}
    known = {name: hints.get(name, Any) for name in parameters if name not in open_ended} | dict(also or {})
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in open_ended
    ]
    unknown = [] if open_ended else [name for name in values if name not in known]
    lines = [f"{_key(path, name)}: no such key{_guess(name, known)}" for name in unknown]
    for name, hint in known.items():
        if name in values:
            lines += misfits(values[name], hint, _key(path, name))
        elif name in needed or name in (also or {}):
            lines.append(f"{_key(path, name)}: missing; {described(hint)} fits")
    return lines


def misfits(value: object, hint: object, path: str) -> Iterator[str]:
    """Everything in a value that does not fit an annotation, a line each; lists and mappings are checked by item."""
    parts = _parts(hint)
    for base, marks in parts:
        if isinstance(value, list | tuple) and get_origin(base) in (list, Sequence):
            yield from _misfits_of_list(value, base, marks, path)
            return
        if isinstance(value, Mapping) and get_origin(base) is dict:
            yield from _misfits_of_mapping(value, base, path)
            return
    if not any(_fits(value, *part) for part in parts):
        known = [choice for base, marks in parts for choice in _choices(base, marks) or ()]
        close = get_close_matches(str(value), known, 1)
        yield f"{path}: {shown(value)} arrived{_quoting(value, parts)}; {described(hint)} fits" + (
            f"; did you mean {close[0]}?" if close else ""
        )


def described(hint: object, plural: bool = False) -> str:
    """The values that fit an annotation, in words: "a whole number from 1 up, or null"."""
    return ", or ".join(_described(base, marks, plural) for base, marks in _parts(hint))


def shown(value: object) -> str:
    """A value as a person would write it in YAML, on one line, and shortened if it is long."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else _FEW.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def brief(text: object, most: int = 120) -> str:
    """A text, or that of an error, on one line and shortened: a message may quote a file, and never repeats it."""
    words = str(text) or type(text).__name__ * isinstance(text, BaseException)
    line = " ".join(words[: 4 * most].split())
    return line if len(line) <= most and len(words) <= 4 * most else f"{line[: most - 3]}..."


def is_text(name: str) -> bool:
    """Whether a name is text: without control characters, and without bytes that no encoding explains."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def check_ends(path: str | Path) -> None:
    """Refuse a pipe or a device before it is read: the one may wait for ever, the other may never end.

    What is missing, or is a folder, is left to its reader.

    Raises:
        InputError: neither a file nor a folder.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path}: a pipe or a device, and no file; write what it gives to a file, and name that one")


def _key(path: str, name: object) -> str:
    text = " ".join(str(name).split())
    return f"{path}.{text}" if path else text


def _guess(name: object, known: Collection[str]) -> str:
    close = get_close_matches(str(name), known, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; choose from {', '.join(known)}" if known else "; none fits here"


def _parts(hint: object, marks: tuple = ()) -> list[tuple[Any, tuple]]:
    """The alternatives of an annotation: each a type with the metadata of its ``Annotated``."""
    if get_origin(hint) is Annotated:
        return _parts(hint.__origin__, hint.__metadata__)
    if get_origin(hint) in (Union, UnionType):
        return [part for alternative in get_args(hint) for part in _parts(alternative, marks)]
    return [(hint, marks)]


def _misfits_of_list(values: Sequence, base: object, marks: tuple, path: str) -> Iterator[str]:
    if len(values) < max((mark.min_length for mark in marks if isinstance(mark, MinLen)), default=0):
        yield f"{path}: {shown(values)} arrived; {_described(base, marks)} fits"
    for index, value in enumerate(values):
        yield from misfits(value, get_args(base)[0], f"{path}[{index}]")
        if value in values[:index]:
            yield f"{path}[{index}]: {shown(value)} arrived a second time; entries must differ"


def _misfits_of_mapping(values: Mapping, base: object, path: str) -> Iterator[str]:
    key, item = get_args(base)
    known = [choice for part in _parts(key) for choice in _choices(*part) or ()]
    for name, value in values.items():
        if known and name not in known:
            yield f"{_key(path, name)}: no such key{_guess(name, known)}"
        else:
            yield from misfits(value, item, _key(path, name))


def _choices(base: object, marks: tuple) -> Collection[str] | None:
    if get_origin(base) is Literal:
        return get_args(base)
    given = [mark.values for mark in marks if isinstance(mark, OneOf)]
    return (given[0]() if callable(given[0]) else given[0]) if given else None


def _fits(value: object, base: object, marks: tuple) -> bool:
    if base is NoneType:
        return value is None
    if base is bool:
        return isinstance(value, bool)
    if base in (int, float):
        kind = Integral if base is int else Real
        # A comparison with NaN is false.
        return (
            isinstance(value, kind) and not isinstance(value, bool) and abs(value) < math.inf and _within(value, marks)
        )
    if base in (str, Path) or get_origin(base) is Literal:
        known = _choices(base, marks)
        forms = [mark.pattern for mark in marks if isinstance(mark, Like)]
        text = isinstance(value, str | Path) and str(value) != "" and (known is None or value in known)
        text = text and is_text(str(value))
        return text and all(re.fullmatch(form, str(value)) for form in forms)
    if (kind := get_origin(base) or base) in (list, dict, Sequence):
        return isinstance(value, Mapping if kind is dict else list | tuple)
    return True


def _within(value: float, marks: tuple) -> bool:
    low, above, high, below = _bounds(marks)
    return (
        (low is None or value >= low)
        and (above is None or value > above)
        and (high is None or value <= high)
        and (below is None or value < below)
    )


def _bounds(marks: tuple) -> list[float | None]:
    return [
        next((bound for mark in marks if (bound := getattr(mark, name, None)) is not None), None)
        for name in ("ge", "gt", "le", "lt")
    ]


def _described(base: object, marks: tuple, plural: bool = False) -> str:
    if base is NoneType:
        return "null"
    if base is bool:
        return "true or false"
    if base in (int, float):
        noun = "whole number" if base is int else "number"
        low, above, high, below = _bounds(marks)
        start = f" from {low:g}" if low is not None else f" above {above:g}" if above is not None else ""
        to = " to" if low is not None else " up to"
        end = (
            f"{to} {high:g}" if high is not None else f"{to * bool(start)} below {below:g}" if below is not None else ""
        )
        return (f"{noun}s" if plural else f"a {noun}") + start + (end or (" up" if low is not None else ""))
    if (known := _choices(base, marks)) is not None:
        return ("any of " if plural else "one of ") + ", ".join(known)
    if forms := [mark.words for mark in marks if isinstance(mark, Like)]:
        return forms[0]
    if (kind := get_origin(base) or base) in (list, Sequence):
        some = "a list (not empty)" if any(isinstance(mark, MinLen) for mark in marks) else "a list"
        return f"{some} of {described(get_args(base)[0], plural=True)}" if get_args(base) else some
    if kind is dict:
        key, item = get_args(base) or (Any, Any)
        return "a mapping" if item is Any else f"a mapping of {described(key, plural=True)} to {described(item)}"
    return {str: "text", Path: "a path"}.get(base, "any value")


def _quoting(value: object, parts: list[tuple[Any, tuple]]) -> str:
    """A remark on a number that was written as text, and on text that YAML reads as something else."""
    bases = {base for base, _ in parts}
    if (str, ()) in parts and isinstance(value, bool | int | float):
        return f", which was read as a {'truth value' if isinstance(value, bool) else 'number'} (quote it)"
    if isinstance(value, str) and not is_text(value):
        return ", which holds control characters"
    if not isinstance(value, str) or not {int, float} & bases:
        return ""
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", value, re.IGNORECASE):
        return ""
    number = int(value) if re.fullmatch(r"[-+]?\d+", value) else float(value)
    return f", which YAML reads as text (write {number})"
