"""Words that name labels and splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

from e2m.types import LABELS, InputError

AUTHENTIC, SYNTHETIC = LABELS

PLAIN = {
    "authentic": AUTHENTIC,
    "real": AUTHENTIC,
    "bonafide": AUTHENTIC,
    "synthetic": SYNTHETIC,
    "fake": SYNTHETIC,
}
"""Words that mean nothing but a label."""

LABEL_WORDS = {
    **PLAIN,
    **dict.fromkeys(("original", "originals", "pristine", "genuine", "natural", "nature", "live"), AUTHENTIC),
    **dict.fromkeys(("reals", "bona fide"), AUTHENTIC),
    **dict.fromkeys(("fakes", "ai", "aigc", "generated", "synthesis", "synthesized", "synthesised"), SYNTHETIC),
    **dict.fromkeys(("manipulated", "forged", "forgery", "tampered", "altered", "edited", "spoof"), SYNTHETIC),
    **dict.fromkeys(("deepfake", "deepfakes"), SYNTHETIC),
}
"""Words that name a label. A mapping of the user's adds others, or says what one of these means."""

NUMBERS = {"0": AUTHENTIC, "1": SYNTHETIC}
"""What the numbers of two classes mean, unless the user's mapping says otherwise."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validate": "validate",
    "val": "validate",
    "valid": "validate",
    "validation": "validate",
    "test": "test",
    "testing": "test",
}

_NEGATIONS = ("no", "non", "not", "without")


Reader = Callable[[str], str | None]


class Words:
    """What words mean as labels.

    Args:
        labels: the user's mapping of words to labels; it comes before all others.

    Raises:
        InputError: a word that is mapped to something other than a label.
    """

    def __init__(self, labels: Mapping[object, str] | None = None):
        for word, label in (labels or {}).items():
            if label not in LABELS:
                raise InputError(f"labels={{{word!r}: {label!r}}} arrived; a word means {' or '.join(LABELS)}")
        self.given = {_plain(str(word)): label for word, label in (labels or {}).items()}
        self.plain: Reader = cache(lambda name: self.given.get(_plain(name)) or PLAIN.get(_unnumbered(name)))
        self.by_part: Reader = cache(_by_part)
        self.readers: tuple[Reader, ...] = (self.plain, cache(_by_table), self.by_part, NUMBERS.get)
        """Functions from a folder's name to its label or None, the strictest first."""

    def of_cell(self, value: str) -> str | None:
        """The label that a cell of a list names, or None."""
        word = _number(value)
        return self.given.get(word) or LABEL_WORDS.get(_unnumbered(word)) or NUMBERS.get(word)

    def assumed(self, values: set[str]) -> bool:
        """Whether some of these cells are numbers that only ``NUMBERS`` explains."""
        return bool(NUMBERS.keys() & set(map(_number, values)) - self.given.keys())


def _by_table(name: str) -> str | None:
    return LABEL_WORDS.get(_unnumbered(name))


def _by_part(name: str) -> str | None:
    """The label of a name that begins or ends with a word: Celeb-real, ai_images, manipulated_sequences."""
    words = parts(name)
    labels = {LABEL_WORDS[word] for word in words if word in LABEL_WORDS}
    outer = {*words[:1], *words[-1:]} & LABEL_WORDS.keys()
    return labels.pop() if outer and len(labels) == 1 and not {*words} & {*_NEGATIONS} else None


def parts(name: str) -> list[str]:
    """The words of a name, lower case: FF-real and trainingReal_2 have two each."""
    return [word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+", name)]


def split_of(name: str, by_part: bool = False) -> str | None:
    """The split that a folder's name names, or None; with ``by_part``, as a part of it: training_real."""
    words = parts(name) if by_part else [name.casefold()]
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def _plain(word: str) -> str:
    return word.strip().casefold()


def _number(cell: str) -> str:
    """A cell without the decimals of a number that passed through a table of floats."""
    return re.sub(r"^(\d)\.0+$", r"\1", _plain(cell))


def _unnumbered(name: str) -> str:
    """A name without a number before it, as in 0_real."""
    return re.sub(r"^\d+[_-]", "", _plain(name)).replace("_", " ").replace("-", " ")
