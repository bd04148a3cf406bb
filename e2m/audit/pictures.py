"""Small pictures inside a page: photographs and salience maps as data URIs, and where a map is highest, in words."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
from matplotlib import colormaps
from PIL import Image

from e2m.arrays.maps import quantise
from e2m.pages.figures import MAP_COLOURS

PHOTO_SIDE = 144
"""Longest side of an embedded photograph, in pixels; smaller ones stay as they are."""

MAP_SIDE = 16
"""Longest side of an embedded map, in cells; browsers enlarge it smoothly."""

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


def photo(picture: np.ndarray) -> str:
    """A photograph (H, W, 3) uint8 as a data URI."""
    image = Image.fromarray(picture)
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BOX, reducing_gap=3)
    return _uri(image, quality=72)


def salience(values: np.ndarray) -> str | None:
    """A map (h, w) in [0, 1] as a data URI, in colours; None if it is dead or missing."""
    if not np.isfinite(values).all():
        return None
    image = Image.fromarray(np.asarray(values, np.float32))
    if max(image.size) > MAP_SIDE:
        scale = MAP_SIDE / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
    return _uri(Image.fromarray(_colours()[quantise(np.asarray(image))]), lossless=True, method=0)


def highest(values: np.ndarray) -> str:
    """Where a map (h, w) is highest, in words: "upper left", "centre"; of equal cells, the first."""
    height, width = values.shape
    y, x = np.unravel_index(int(np.argmax(values)), values.shape)
    row, column = _ROWS[int(3 * (y + 0.5) / height)], _COLUMNS[int(3 * (x + 0.5) / width)]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def colour_bar() -> list[str]:
    """The colours of maps from 0 to 1, as hexadecimal text."""
    return ["#" + bytes(_colours()[level].tolist()).hex() for level in np.linspace(0, 255, 9).round().astype(int)]


@cache
def _colours() -> np.ndarray:
    """(256, 3) uint8, the colour of every grey level of a map."""
    return colormaps[MAP_COLOURS](np.arange(256), bytes=True)[:, :3]


def _uri(image: Image.Image, **options) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "webp", **options)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
