"""Measure (c): does salience move with the image?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from annotated_types import MinLen

from e2m.arrays.maps import checked, dead, pixels, quantise, relative, upsample
from e2m.arrays.ssim import local_moments, ssim
from e2m.types import Headline, InputError, Perturbation

TITLE = "Transformations"
LETTER = "c"
QUESTION = "When the image is flipped, shifted or rotated, does salience follow its content?"
BLIND_SPOT = (
    "Coarse maps cannot follow a shift of half a cell exactly, so even a perfect detector stays below 1; "
    "and a map that is symmetric follows every flip."
)
BETTER = {"ssim": "higher", "ssim_valid": "higher", "score": "closer to clean", "score_sigmoid": "closer to clean"}
RANGE = {"ssim": (-1, 1), "ssim_valid": (-1, 1), "score": (0, 1), "score_sigmoid": (0, 1)}
PAPER_EXACT = ("score_sigmoid",)
AXIS = "SSIM of the map moved back with the original"
HEADLINES = (
    # The release prints the scores of moved images and moves no map back.
    Headline(
        "change of accuracy, moved", "accuracy change", level="all", better="higher", published=True, controls=False
    ),
    Headline("SSIM, moved back", "ssim_valid", target="predicted", level="all", better="higher"),
)

SHIFT = 16
"""Length of a shift along each axis, in pixels; shorter in images of less than 224 px."""


@dataclass(frozen=True)
class Shift:
    """A shift by 16 px, with the border repeated into the uncovered pixels.

    Attributes:
        down, right: -1, 0 or 1; "up" is -1 down.
    """

    down: int
    right: int

    def apply(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) images -> the same, shifted. Also moves (N, H, W) maps."""
        return self._moved(images, -1)

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """(N, H, W) maps at image size -> the same, shifted back; lost pixels are filled with the border.

        Raises:
            InputError: the shift is less than a pixel, as on native maps.
        """
        return self._moved(maps, 1)

    def valid(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool: pixels of an undone map that come from inside the moved image."""
        rows, columns = self._sources(height, width, 1)
        inside = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        return inside[0][:, None] & inside[1]

    def _moved(self, stack: np.ndarray, sign: int) -> np.ndarray:
        height, width = _sides(stack)
        rows, columns = self._sources(height, width, sign)
        moved = np.asarray(stack)[:, np.clip(rows, 0, height - 1)]
        return np.ascontiguousarray(moved[:, :, np.clip(columns, 0, width - 1)])

    def _sources(self, height: int, width: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(height) + (sign * self.down * _pixels(height) if self.down else 0)
        return rows, np.arange(width) + (sign * self.right * _pixels(width) if self.right else 0)


@dataclass(frozen=True)
class Flip:
    """A mirror image.

    Attributes:
        axis: 1 exchanges top and bottom, 2 left and right.
    """

    axis: int

    def apply(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) images, or (N, H, W) maps of any size -> the same, flipped."""
        _sides(images)
        return np.ascontiguousarray(np.flip(images, self.axis))

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """(N, H, W) maps of any size -> the same, flipped back."""
        return self.apply(maps)

    def valid(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool: everywhere."""
        return np.ones((height, width), bool)


@dataclass(frozen=True)
class Rotation:
    """A rotation by a quarter turn.

    Attributes:
        turns: 1 is +90 degrees, counter-clockwise; -1 is -90 degrees, clockwise.
    """

    turns: int

    def apply(self, images: np.ndarray) -> np.ndarray:
        """(N, H, H, 3) images, or (N, H, H) maps of any size -> the same, rotated.

        Raises:
            InputError: images that are not square, whose shape a rotation would change.
        """
        return self._turned(images, self.turns)

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """(N, H, H) maps of any size -> the same, rotated back."""
        return self._turned(maps, -self.turns)

    def valid(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool: everywhere."""
        return np.ones((height, width), bool)

    def _turned(self, stack: np.ndarray, turns: int) -> np.ndarray:
        height, width = _sides(stack)
        if height != width:
            raise InputError(f"a rotation keeps the shape of square images only; these have {height} x {width} pixels")
        return np.ascontiguousarray(np.rot90(stack, turns, axes=(1, 2)))


TRANSFORMATIONS: dict[str, Flip | Shift | Rotation] = {
    "flip_left_right": Flip(axis=2),
    "flip_top_bottom": Flip(axis=1),
    "shift_left": Shift(down=0, right=-1),
    "shift_right": Shift(down=0, right=1),
    "shift_up": Shift(down=-1, right=0),
    "shift_down": Shift(down=1, right=0),
    "shift_up_left": Shift(down=-1, right=-1),
    "shift_up_right": Shift(down=-1, right=1),
    "shift_down_left": Shift(down=1, right=-1),
    "shift_down_right": Shift(down=1, right=1),
    "rotate_left": Rotation(turns=1),
    "rotate_right": Rotation(turns=-1),
}
"""The paper's twelve: two flips, eight shifts, and rotations by +90 (left) and -90 degrees (right)."""


def perturbations(
    images: np.ndarray,
    maps: dict[str, np.ndarray],
    names: Annotated[Sequence[Literal[*TRANSFORMATIONS]], MinLen(1)] | None = None,
) -> Iterator[Perturbation]:
    """The images under the named transformations, or all of them; ``level`` is the name.

    Raises:
        InputError: an unknown name; the message lists the known ones.
    """
    for name, transformation in _named(names).items():
        valid = transformation.valid(*images.shape[1:3])
        moved = transformation.apply(images)
        yield Perturbation(moved, level=name, undo=transformation.undo, move=transformation.apply, valid=valid)


def interpolation_ceiling(maps: np.ndarray, side: int) -> pd.DataFrame:
    """The similarity that a perfectly equivariant detector reaches with such coarse maps.

    Its map of the moved image is the surface through the map's values (the upsampled map), moved, and read at the
    centres of the cells. That map is upsampled, moved back and compared with the upsampled original. Flips and
    rotations move whole cells onto whole cells: their ceiling is 1. Area means of the cells would smooth a second time
    and give a ceiling (0.95 without any shift) that real detectors exceed.

    Args:
        maps: (N, h, w) native maps, float in [0, 1] or uint8.
        side: of the square image, in pixels.

    Returns:
        One row for each transformation, variant and map: transformation, variant ("whole", or "valid" for the part of
        the image that a shift keeps), image (index), value; NaN for dead maps.

    Raises:
        InputError: maps of another shape, values outside [0, 1], or a side too small to shift.
    """
    maps = checked(maps)
    grey = quantise(relative(maps))
    readers = [_centres(cells, side) for cells in maps.shape[1:]]
    original = upsample(grey, side, side)
    moments = local_moments(original)
    is_dead = dead(maps) | dead(grey)
    tables = []
    for name, transformation in TRANSFORMATIONS.items():
        values = np.ones((2, len(maps)))
        if isinstance(transformation, Shift):
            seen = readers[0] @ transformation.apply(original) @ readers[1].T
            undone = transformation.undo(upsample(np.rint(seen).astype(np.uint8), side, side))
            regions = np.stack([np.ones((side, side), bool), transformation.valid(side, side)])
            values = ssim(moments, undone, data_range=255, valid=regions)
        for variant, row in zip(("whole", "valid"), values, strict=True):
            row[is_dead] = np.nan
            columns = {"transformation": name, "variant": variant, "image": np.arange(len(maps)), "value": row}
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _named(names: Sequence[str] | None) -> dict[str, Flip | Shift | Rotation]:
    if names is None:
        return TRANSFORMATIONS
    for name in names:
        if name not in TRANSFORMATIONS:
            raise InputError(f"no transformation named {name!r}; choose from {', '.join(TRANSFORMATIONS)}")
    return {name: TRANSFORMATIONS[name] for name in names}


def _pixels(side: int) -> int:
    """A shift in whole pixels of an image with this side."""
    length = pixels(SHIFT, side)
    if length < 1:
        raise InputError(
            f"a shift is {length:.2f} px of an image of {side} px; upsample maps to the image's size first"
        )
    return round(length)


def _sides(stack: np.ndarray) -> tuple[int, int]:
    if np.ndim(stack) not in (3, 4):
        raise InputError(f"arrays of shape {np.shape(stack)}; give images (N, H, W, 3) or maps (N, H, W)")
    return np.shape(stack)[1:3]


def _centres(cells: int, side: int) -> np.ndarray:
    """(cells, side) matrix that reads a row of pixels at the centres of cells, linearly between two pixels."""
    positions = (np.arange(cells) + 0.5) * side / cells - 0.5
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(side)))
