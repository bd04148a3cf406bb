"""Reading salience maps that people or other software made: scales, colours, signs and normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from e2m.arrays.images import array_shape, check_alone, is_array, map_sides, open_array, opened, upright
from e2m.arrays.maps import min_max
from e2m.types import InputError

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

Normalisation = Literal["minmax", "max", "sum", "none"]
Signs = Literal["refuse", "absolute", "positive"]

COLOUR_SCALES = ("jet", "turbo", "viridis", "plasma", "inferno", "magma", "hot")
"""Matplotlib's colour scales that are read back; "jet" of OpenCV and MATLAB, which differs a little, is read too."""

_FAR = 20  # Euclidean distance in RGB at which a colour is none of the scale's: JPEG moves colours by less


@dataclass(frozen=True)
class RawMap:
    """A map as its file holds it.

    Attributes:
        values: (h, w); uint8 for eight bits, for masks (0 and 255) and for coloured pictures, and otherwise the file's
            own numbers.
        scale: the scale that was detected, in words.
    """

    values: np.ndarray
    scale: str


def read_maps(
    paths: Iterable[str | Path],
    shape: tuple[int, int] | None = None,
    bilinear: bool = False,
    normalise: Normalisation = "minmax",
    signed: Signs = "refuse",
) -> np.ndarray:
    """Human maps, or maps that other software made, each normalised by itself: min-max by default, as E2M's own maps.

    Files may hold shares from 0 to 1, 8 or 16 bits, masks of 0 and 1, densities that sum to 1, counts, or pictures in
    the colours of a known scale (``COLOUR_SCALES``). After min-max normalisation all of these are the same maps.

    Args:
        paths: ``.npy`` or ``.npz`` files of one array (height, width) each, or pictures.
        shape: (h, w) that every map is resized to before it is normalised: area means where no side grows (PIL box
            filter), PIL bicubic otherwise. With None, all maps must have one shape.
        bilinear: resize with PIL's bilinear filter instead, antialiased, as CYBORG's training does.
        normalise: "minmax", ``(map - min) / (max - min)``, the default; "max", ``map / max``, for maps whose zero means
            "none"; "sum", ``map / sum``, a density; or "none", for values that lie in [0, 1], 8 or 16 bits already.
        signed: maps with values below 0 are refused, unless "absolute" (evidence for and against the class counts) or
            "positive" (evidence against it is set to 0) is chosen.

    Returns:
        (N, h, w) float32 in [0, 1]; constant maps are NaN after "minmax", and so are maps without a value above 0 after
        "max" and "sum". With "none", uint8 where all files hold eight bits.

    Raises:
        InputError: a missing or broken file; a picture in other colours, such as a map laid over its photograph; an
            array that is not one map; NaN or infinity; values below 0, or outside [0, 1] with "none"; maps that differ
            in shape (without ``shape``), or in type (with "none").
    """
    paths = list(paths)
    if not paths:
        raise InputError("no maps to read: the list of paths is empty")
    check_choices(normalise, signed)
    maps = [_checked_map(path, shape, bilinear, normalise, signed) for path in paths]
    for path, other in zip(paths, maps, strict=True):
        if other.dtype != maps[0].dtype:
            raise InputError(
                f"{path}: a map of type {other.dtype}, but {paths[0]} is of type {maps[0].dtype}; "
                'choose normalise="minmax", "max" or "sum" to bring them to one scale'
            )
        if other.shape != maps[0].shape:
            raise InputError(
                f"{path}: a map of {_by(other.shape)}, but {paths[0]} has {_by(maps[0].shape)}; "
                "give shape=(height, width) to resize them"
            )
    return np.stack(maps)


def read_regions(paths: Iterable[str | Path], shape: tuple[int, int]) -> np.ndarray:
    """True regions, or other masks: True where a map has at least half its maximum, whatever its scale.

    Args:
        paths: files as in ``read_maps``; a file of zeros is an empty region, any other constant one a full region.
        shape: (H, W) that every mask is resized to.

    Returns:
        (N, H, W) bool.

    Raises:
        InputError: as ``read_maps``.
    """
    masks = [np.nan_to_num(_checked_map(path, shape, False, "max", "refuse")) >= 0.5 for path in paths]
    return np.stack(masks) if masks else np.zeros((0, *shape), bool)


def read_raw(path: str | Path) -> RawMap:
    """One map as its file holds it, and the scale that was detected.

    Raises:
        InputError: a file that is missing, broken, or no map.
    """
    values, scale = _from_array(path) if is_array(path) else _from_picture(path)
    if values.dtype.kind == "u" and values.max() == 1:  # a mask of 0 and 1, not the two darkest of all levels
        values = values.astype(np.uint8) * np.uint8(255)
    return RawMap(values, scale or scale_of(values))


def scale_of(values: np.ndarray) -> str:
    """The scale of a map's numbers, in words: "density (sums to 1)", "8 bits", "mask", ..."""
    if not np.isfinite(values).all():
        return "not finite"
    low, high = float(values.min()), float(values.max())
    if low == high:
        return "constant"
    if low < 0:
        return "signed"
    if low == 0 and ((values == 0) | (values == high)).all():
        return "mask (two values)"
    if values.dtype.kind in "ub":
        return f"{8 * values.dtype.itemsize} bits"
    if high <= 1:
        return "density (sums to 1)" if abs(values.sum(dtype=np.float64) - 1) < 1e-2 else "0 to 1"
    return "numbers above 1"


def prepared(
    raw: RawMap,
    path: str | Path,
    normalise: Normalisation = "minmax",
    signed: Signs = "refuse",
    shape: tuple[int, int] | None = None,
    bilinear: bool = False,
) -> np.ndarray:
    """A map without signs, resized and normalised: (h, w) float32, or uint8 where ``read_maps`` says so.

    A map that is not finite comes back as NaN everywhere.

    Raises:
        InputError: values below 0 with ``signed="refuse"``, or outside [0, 1] with ``normalise="none"``.
    """
    values = raw.values
    if not np.isfinite(values).all():
        return np.full(shape or values.shape, np.nan, np.float32)
    if values.min() < 0:
        values = _without_signs(values, path, signed)
    if normalise == "none":
        values = _as_shares(values, path)
        resized = _resized(values, shape, bilinear)
        return resized if resized.dtype == np.uint8 else resized.clip(0, 1)
    if values.dtype.kind == "f" and values.dtype.itemsize > 4:
        # Single precision holds neither 1e300 nor 1e-300. A power of two changes no digit of a normalised map.
        values = np.ldexp(values, -np.frexp(values.max())[1])
    # Enlargement overshoots.
    return normalised(_resized(values.astype(np.float32), shape, bilinear).clip(0, values.max()), normalise)


def normalised(values: np.ndarray, how: Normalisation) -> np.ndarray:
    """One map, not negative, normalised as ``read_maps`` describes: (h, w) float32."""
    if how == "minmax":
        return min_max(values[None])[0]
    values = values.astype(np.float64)
    whole = values.max() if how == "max" else values.sum()
    return (values / (whole if whole > 0 else np.nan)).astype(np.float32)


def check_choices(normalise: str, signed: str) -> None:
    """Check how maps are to be normalised, and what becomes of their signs.

    Raises:
        InputError: another word than those of ``read_maps``.
    """
    for option, value, known in (("normalise", normalise, Normalisation), ("signed", signed, Signs)):
        if value not in get_args(known):
            raise InputError(f"{option} is {value!r}; choose from {', '.join(get_args(known))}")


def _checked_map(
    path: str | Path, shape: tuple[int, int] | None, bilinear: bool, normalise: Normalisation, signed: Signs
) -> np.ndarray:
    raw = read_raw(path)
    if bad := (~np.isfinite(raw.values)).sum():
        raise InputError(
            f"{path}: {bad} of {raw.values.size} values are NaN or infinite; leave this map out, or make it again"
        )
    return prepared(raw, path, normalise, signed, shape, bilinear)


def _from_array(path: str | Path) -> tuple[np.ndarray, str]:
    sides = map_sides(path, array_shape(path))
    with open_array(path) as (file, _):
        flat = np.lib.format.read_array(file, allow_pickle=False).reshape(sides)
    if flat.dtype == bool:
        return flat.astype(np.uint8), "mask (two values)"
    if flat.dtype.kind not in "fui":
        raise InputError(f"{path}: an array of type {flat.dtype}; a map holds real numbers")
    return flat, ""


def _from_picture(path: str | Path) -> tuple[np.ndarray, str]:
    with opened(path) as image:
        check_alone(path, image)
        picture = upright(image)
    return _from_image(path, picture)


_TRANSPARENT = "{}: a picture with transparent pixels; save the map itself, as .npy or a grey picture"


def _from_image(path: str | Path, image: Image.Image) -> tuple[np.ndarray, str]:
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8), "mask (two values)"
    if image.mode == "L" or image.mode.startswith(("I", "F")):
        if image.has_transparency_data:
            raise InputError(_TRANSPARENT.format(path))
        return np.asarray(image), ""
    if image.mode not in ("P", "PA", "LA", "RGB", "RGBA", "RGBX"):
        raise InputError(f"{path}: a picture of mode {image.mode}; save the map as .npy, or as a grey picture")
    pixels = np.asarray(image.convert("RGBA"))
    if image.mode != "RGBX" and pixels[..., 3].min() < 255:
        raise InputError(_TRANSPARENT.format(path))
    colours = np.ascontiguousarray(pixels[..., :3])
    if (colours == colours[..., :1]).all():
        return colours[..., 0], ""
    return _from_colours(path, colours)


def _from_colours(path: str | Path, colours: np.ndarray) -> tuple[np.ndarray, str]:
    """A map of 8 bits from a picture in the colours of a scale, (h, w, 3) uint8."""
    distinct, where = np.unique(colours.reshape(-1, 3), axis=0, return_inverse=True)
    nearest = {name: tree.query(distinct) for name, tree in _colour_scales().items()}
    name = min(nearest, key=lambda scale: nearest[scale][0][where].mean())
    distances, levels = nearest[name]
    if np.quantile(distances[where], 0.95) > _FAR:
        raise InputError(
            f"{path}: a picture in colours of no known scale ({', '.join(COLOUR_SCALES)}), such as a map laid over its "
            "photograph; the map cannot be read back from it: save the map itself, as .npy or as a grey picture"
        )
    return levels[where].reshape(colours.shape[:2]).astype(np.uint8), f"colours of {name}"


@cache
def _colour_scales() -> dict[str, cKDTree]:
    """The 256 colours of every scale that is read back, lowest first, for the search of the nearest."""
    from matplotlib import colormaps
    from scipy.spatial import cKDTree  # not at the top: few maps come in colours, and it takes a third of a second

    scales = {name: colormaps[name](np.arange(256), bytes=True)[:, :3] for name in COLOUR_SCALES}
    steps = np.linspace(0, 1, 256)[:, None]
    scales["jet (OpenCV)"] = 255 * np.clip(1.5 - np.abs(4 * steps - [3, 2, 1]), 0, 1)
    return {name: cKDTree(np.asarray(scale, float)) for name, scale in scales.items()}


def _without_signs(values: np.ndarray, path: str | Path, signed: Signs) -> np.ndarray:
    if signed == "refuse":
        raise InputError(
            f'{path}: values from {values.min():.4g} to {values.max():.4g}, a signed map; choose signed="absolute" '
            '(evidence for and against counts) or signed="positive" (evidence against is set to 0)'
        )
    return np.abs(values) if signed == "absolute" else np.maximum(values, 0)


def _as_shares(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Values of which the type says the scale: uint8 as they are, 16 bits and shares as float32 in [0, 1]."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values / 65535).astype(np.float32)
    if values.max() > 1:
        raise InputError(
            f'{path}: values from {values.min():.4g} to {values.max():.4g}; normalise="none" takes those in [0, 1]: '
            'choose normalise="minmax", "max" or "sum"'
        )
    return values.astype(np.float32)


def _resized(values: np.ndarray, shape: tuple[int, int] | None, bilinear: bool) -> np.ndarray:
    if shape is None or values.shape == tuple(shape):
        return values
    shrinks = shape[0] <= values.shape[0] and shape[1] <= values.shape[1]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    how = Image.Resampling.BILINEAR if bilinear else how
    return np.asarray(Image.fromarray(values).resize((shape[1], shape[0]), how))


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
