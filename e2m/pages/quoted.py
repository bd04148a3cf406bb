"""Numbers that several pages quote: each is glued once, on the page of model selection, and the others refer to it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from e2m import plugins
from e2m.pages import answer, tables


def key(row: str) -> str:
    """The key of a quantity: the words of its name, without levels: "b_ssim_noise_as_published"."""
    return re.sub(r"[^a-z]+", "_", row.lower()).strip("_")


def quantities(means: pd.DataFrame, differences: pd.DataFrame, *, guided: str, traditional: str) -> dict[str, str]:
    """Every quantity of the forest plot as text: its value in both groups, which is better, and what wrong maps reach.

    Args:
        means: ``selection.means`` of one detector and salience method.
        differences: ``selection.differences`` of the same.
        guided, traditional: the regimes of the comparison.

    Returns:
        Key -> text: ``KEY_guided`` and ``KEY_traditional``, the means; ``KEY_verdict``, which of them is better;
        ``KEY_rivals``, the means of detectors trained with wrong maps and how guided ones compare with them.
    """
    value = means.set_index(["row", "regime"])["mean"]
    texts = {}
    for row, rows in differences.groupby("row", sort=False):
        against = rows.set_index("against")
        for role, regime in (("guided", guided), ("traditional", traditional)):
            texts[f"{key(row)}_{role}"] = _number(value[row, regime])
        texts[f"{key(row)}_verdict"] = _verdict(against.loc[traditional], guided, traditional)
        rivals = [
            f"{_number(value[row, regime])} with {_label(regime)}, {_beside(against.loc[regime], guided)}"
            for regime in against.index.drop(traditional)
        ]
        texts[f"{key(row)}_rivals"] = "; ".join(rivals) or "none were trained"
    return texts


def comparisons(differences: pd.DataFrame, *, guided: str, traditional: str) -> dict[str, str]:
    """What the measures say of guided detectors beside each regime, and what follows.

    Args:
        differences, guided, traditional: as in ``quantities``.

    Returns:
        Key -> text: ``beside_REGIME`` of each regime (``answer.compared``); ``wrong_maps``, those of all but the
        traditional one; ``conclusion``, what follows for guidance (``answer.conclusion``).
    """
    others = [regime for regime in dict.fromkeys(differences["against"]) if regime != traditional]
    texts = {other: answer.compared(differences, guided=guided, other=other) for other in (traditional, *others)}
    every = " ".join(texts[other] for other in others) or "No detectors were trained with wrong maps."
    follows = "Any pull on the map may be the cause of a difference."
    if others:
        follows = answer.conclusion(answer.beyond(differences, unguided=traditional, controls=others))
    return {f"beside_{regime}": text for regime, text in texts.items()} | {"wrong_maps": every, "conclusion": follows}


def _verdict(difference: pd.Series, guided: str, traditional: str) -> str:
    """Which of two groups is better, and by how much: "CYBORG is better (difference +0.15 [+0.06, +0.25])"."""
    words, winner = tables.in_words(difference), _winner(difference)
    if winner is None:
        return f"no clear difference ({words})"
    return f"{_label(guided if winner else traditional)} is {_side(difference)} (difference {words})"


def _beside(difference: pd.Series, guided: str) -> str:
    """How a rival compares with guided detectors: "better than CYBORG"."""
    winner = _winner(difference)
    if winner is None:
        return f"no clear difference from {_label(guided)}"
    words = {"better": ("better", "worse"), "higher": ("higher", "lower")}[_side(difference)]
    return f"{words[winner]} than {_label(guided)}"


def _winner(difference: pd.Series) -> bool | None:
    """Whether guided detectors are better, or higher where neither is better; None if the interval includes 0."""
    low, high = difference["low"], difference["high"]
    if not (low > 0 or high < 0):
        return None
    return bool((high < 0) == (difference["better"] == "lower"))


def _side(difference: pd.Series) -> str:
    return "better" if difference["better"] else "higher"


def _number(value: float) -> str:
    return f"{value:z.2f}" if np.isfinite(value) else "no value"


def _label(regime: str) -> str:
    return plugins.load("regime", regime).LABEL
