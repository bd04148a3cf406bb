"""Small maps as grids of numbers, for the page that works one map by hand."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from e2m.pages import figures


def grids(maps: Mapping[str, np.ndarray], inches: float = 1.9) -> Figure:
    """Maps side by side, three in a row, with the number of every cell written into it.

    Args:
        maps: title -> (h, w); whole numbers are written as such, others with two digits after the point.
        inches: side of one map.
    """
    across = min(3, len(maps))
    down = -(-len(maps) // across)
    size = (inches * across + 0.2, (inches + 0.35) * down)
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (title, cells) in zip(axes.flat, maps.items(), strict=False):
        ax.imshow(cells, cmap=figures.MAP_COLOURS)
        ax.set_title(title, fontsize=11)
        # White on dark cells, black on bright ones.
        middle = (np.nanmin(cells) + np.nanmax(cells)) / 2
        for (row, column), value in np.ndenumerate(cells):
            ink = "black" if value > middle else "white"
            size = min(11.0, 26 * inches / cells.shape[1])
            ax.text(column, row, _number(value, cells), color=ink, ha="center", va="center", fontsize=size)
    return figure


def _number(value: float, cells: np.ndarray) -> str:
    return f"{value:z.0f}" if np.array_equal(cells, np.round(cells)) else f"{value:z.2f}".replace("0.", ".")


def sentence(weights: np.ndarray, features: np.ndarray, row: int, column: int) -> str:
    """The sum that gives one cell of a map, written out: "2 · 9 + (-1) · 0 = 18".

    Args:
        weights: (K,).
        features: (K, h, w).
        row, column: the cell.
    """
    pairs = zip(weights, features[:, row, column], strict=True)
    terms = " + ".join(f"{f'({weight:g})' if weight < 0 else f'{weight:g}'} · {value:g}" for weight, value in pairs)
    return f"{terms} = {weights @ features[:, row, column]:g}"
