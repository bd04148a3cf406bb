"""Structural similarity (SSIM) of stacks of maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from e2m.types import InputError

WINDOW = 7
"""Side of the window, in pixels: scikit-image's default."""

_PIXELS = WINDOW * WINDOW
_CHUNK = 1 << 16  # pixels compared at a time: the dozen arrays in use then stay in the CPU's cache


@dataclass(frozen=True)
class Moments:
    """Maps together with the sums over their windows, so that one map can be compared with many.

    Attributes:
        maps: (..., h, w) uint8 or float64.
        sums: (..., h - 6, w) of the pixels in each window.
        variances: (..., h - 6, w), 49 times the sum of squares minus the squared sum: 49 * 48 sample variances.

    The last six columns of the sums run past the ends of the rows and have no meaning. They are kept so that every
    step works on contiguous memory; the mean leaves them out.
    """

    maps: np.ndarray
    sums: np.ndarray
    variances: np.ndarray


def ssim(
    a: np.ndarray | Moments,
    b: np.ndarray | Moments,
    *,
    data_range: float | None = None,
    valid: np.ndarray | None = None,
) -> np.ndarray:
    """Mean structural similarity of each pair of maps, equal to scikit-image's defaults.

    With the means u, sample variances v and covariance c of the two maps in a 7 x 7 window, and the constants
    C1 = (0.01 R)^2 and C2 = (0.03 R)^2, similarity is the mean over the windows that lie wholly in the map of

        (2 u_a u_b + C1) (2 c_ab + C2) / ((u_a^2 + u_b^2 + C1) (v_a + v_b + C2))

    (Wang et al. 2004, Eq. 13, doi 10.1109/TIP.2003.819861). A 7 x 7 map has one window. Sums over windows of uint8 maps
    are exact integers. A result depends on its own pair only, never on the others in the stack.

    Args:
        a, b: (..., h, w) maps whose leading axes broadcast, such as (N, h, w) and (R, N, h, w). Give
            ``local_moments(maps)`` for maps that are compared many times.
        data_range: R, the span of possible values: 255 for 8-bit maps, 1 for maps in [0, 1].
        valid: (h, w) bool, or (K, h, w) for K regions at once; the mean is taken over windows wholly inside the region.

    Returns:
        (...) float64, or (K, ...) for K regions; NaN where either map holds a NaN or an infinity.

    Raises:
        InputError: no data_range, shapes that differ or do not broadcast, maps smaller than the window, or a region
            without a window.
    """
    if data_range is None or not 0 < data_range < np.inf:
        raise InputError(f"data_range is {data_range}; give the span of possible values, 255 for uint8 or 1 for [0, 1]")
    first, second = (_maps(item) for item in (a, b))
    if first.shape[-2:] != second.shape[-2:]:
        raise InputError(f"maps of {_size(first)} and {_size(second)} pixels; resize one to the other first")
    try:
        leading = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    except ValueError as error:
        raise InputError(f"stacks of shape {first.shape} and {second.shape} do not pair up") from error
    size = first.shape[-2:]
    regions = None if valid is None else _windows_inside(valid, size)
    count = math.prod(leading)
    out = np.empty((count, 1 if regions is None else len(regions)))
    pairs = _Flat(a, leading), _Flat(b, leading)
    constants = (0.01 * data_range * _PIXELS) ** 2, (0.03 * data_range) ** 2 * _PIXELS * (_PIXELS - 1)
    room = _Room()
    step = max(1, _CHUNK // (size[0] * size[1]))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for start in range(0, count, step):
            chunk = slice(start, min(start + step, count))
            x, y = pairs[0].moments(chunk, room, "a"), pairs[1].moments(chunk, room, "b")
            local = _local_similarity(x, y, constants, room)
            if regions is None:
                out[chunk, 0] = local[:, :, : 1 - WINDOW].mean(axis=(1, 2))
            else:
                flat = local.reshape(len(local), -1)
                for column, region in enumerate(regions):
                    out[chunk, column] = flat.take(region, axis=1).mean(axis=1)
            for side in (x, y):
                if side.maps.dtype != np.uint8:  # a NaN outside the region makes the result NaN too
                    out[chunk][~np.isfinite(side.maps).all(axis=(1, 2))] = np.nan
    if valid is None or np.ndim(valid) == 2:
        return out[:, 0].reshape(leading)
    return np.ascontiguousarray(out.T).reshape(len(out.T), *leading)


def local_moments(maps: np.ndarray) -> Moments:
    """The sums over windows that ``ssim`` needs of each map, computed once for many comparisons.

    They take nine bytes a pixel (24 for float maps): compute them for a batch of maps, not for a whole data set.

    Args:
        maps: (..., h, w), any numeric type.

    Raises:
        InputError: maps smaller than 7 x 7 pixels.
    """
    maps = _maps(maps)
    flat = maps.reshape(-1, *maps.shape[-2:])
    kind = _kind(flat)
    sums = np.empty((len(flat), maps.shape[-2] - WINDOW + 1, maps.shape[-1]), kind)
    variances = np.empty_like(sums)
    room = _Room()
    step = max(1, _CHUNK // (maps.shape[-2] * maps.shape[-1]))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(flat), step):
            chunk = slice(start, start + step)
            part = _moments(flat[chunk], room, "a")
            sums[chunk], variances[chunk] = part.sums, part.variances
    return Moments(
        maps, sums.reshape(*maps.shape[:-2], *sums.shape[1:]), variances.reshape(*maps.shape[:-2], *sums.shape[1:])
    )


class _Room(dict):
    """Named working memory, allocated once and used for every chunk: allocation would cost more than the arithmetic."""

    def __call__(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        size = math.prod(shape)
        if name not in self or self[name].size < size or self[name].dtype != dtype:
            self[name] = np.empty(size, dtype)
        return self[name][:size].reshape(shape)


class _Flat:
    """One side of a comparison as a flat list of maps, its leading axes broadcast to those of the pairs."""

    def __init__(self, item: np.ndarray | Moments, leading: tuple[int, ...]):
        arrays = (item.maps, item.sums, item.variances) if isinstance(item, Moments) else (_maps(item),)
        shape = arrays[0].shape[:-2]
        self.arrays = [array.reshape(-1, *array.shape[-2:]) for array in arrays]
        positions = np.arange(len(self.arrays[0])).reshape(shape)
        self.positions = None if shape == leading else np.broadcast_to(positions, leading).ravel()

    def moments(self, chunk: slice, room: _Room, side: str) -> Moments:
        rows = chunk if self.positions is None else self.positions[chunk]
        parts = [array[rows] for array in self.arrays]
        return Moments(*parts) if len(parts) == 3 else _moments(parts[0], room, side)


def _moments(maps: np.ndarray, room: _Room, side: str) -> Moments:
    kind = _kind(maps)
    n, h, w = maps.shape
    shape = n, h - WINDOW + 1, w
    values = room("values", maps.shape, kind)
    values[...] = maps
    sums = _window_sums(values, room(side + " sums", shape, kind), room)
    np.multiply(values, values, out=values)
    variances = _window_sums(values, room(side + " variances", shape, kind), room)
    variances *= _PIXELS
    variances -= np.multiply(sums, sums, out=room("wide", shape, kind))
    return Moments(maps if kind is np.int32 else maps.astype(np.float64, copy=False), sums, variances)


def _local_similarity(x: Moments, y: Moments, constants: tuple[float, float], room: _Room) -> np.ndarray:
    """Similarity in each window, (n, h - 6, w), numerator and denominator both scaled by 49^3 * 48."""
    kind = np.int32 if x.sums.dtype == y.sums.dtype == np.int32 else np.float64
    shape = x.sums.shape
    products = np.multiply(x.maps, y.maps, out=room("values", x.maps.shape, kind), dtype=kind)
    covariance = _window_sums(products, room("covariance", shape, kind), room)
    means = np.multiply(x.sums, y.sums, out=room("means", shape, kind))
    covariance *= _PIXELS
    covariance -= means
    top = np.multiply(means, 2.0, out=room("top", shape, np.float64))
    top += constants[0]
    factor = np.multiply(covariance, 2.0, out=room("factor", shape, np.float64))
    factor += constants[1]
    top *= factor
    squares = np.multiply(x.sums, x.sums, out=means)
    squares += np.multiply(y.sums, y.sums, out=covariance)
    bottom = np.add(squares, constants[0], out=room("bottom", shape, np.float64))
    variances = np.add(x.variances, y.variances, out=means)
    bottom *= np.add(variances, constants[1], out=factor)
    top /= bottom
    return top


def _window_sums(x: np.ndarray, out: np.ndarray, room: _Room) -> np.ndarray:
    """Sums over 7 x 7 windows, down and then along: each sum of seven is a sum of four, a sum of two and one value."""
    n, h, w = x.shape
    twos = np.add(x[:, :-1], x[:, 1:], out=room("twos", (n, h - 1, w), x.dtype))
    fours = np.add(twos[:, :-2], twos[:, 2:], out=room("fours", (n, h - 3, w), x.dtype))
    down = np.add(fours[:, :-3], twos[:, 4:-1], out=room("wide", out.shape, x.dtype))
    down += x[:, 6:]
    line, along = down.reshape(-1), out.reshape(-1)
    size = line.size
    twos = np.add(line[:-1], line[1:], out=room("twos", (size - 1,), x.dtype))
    fours = np.add(twos[:-2], twos[2:], out=room("fours", (size - 3,), x.dtype))
    np.add(fours[:-3], twos[4:-1], out=along[:-6])
    along[:-6] += line[6:]
    along[-6:] = 0
    return out


def _windows_inside(valid: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """For each region, the indices in a flattened (h - 6, w) array of the windows that lie wholly inside it."""
    regions = np.asarray(valid)
    if regions.dtype != bool or regions.shape[-2:] != tuple(size) or regions.ndim not in (2, 3):
        raise InputError(
            f"valid is {regions.dtype} of shape {regions.shape}; give bool of shape {tuple(size)}, or a stack of such"
        )
    regions = regions.reshape(-1, *size)
    sums = local_moments(regions.astype(np.uint8)).sums
    whole = sums == _PIXELS
    whole[:, :, 1 - WINDOW :] = False
    if not whole.any(axis=(1, 2)).all():
        raise InputError(f"no window of {WINDOW} x {WINDOW} pixels lies wholly in the valid region")
    return [np.flatnonzero(region) for region in whole]


def _maps(item: np.ndarray | Moments) -> np.ndarray:
    maps = item.maps if isinstance(item, Moments) else np.asarray(item)
    if maps.ndim < 2 or min(maps.shape[-2:]) < WINDOW:
        raise InputError(
            f"maps of shape {maps.shape}; similarity needs (..., h, w) of at least {WINDOW} x {WINDOW} pixels"
        )
    if maps.dtype.kind not in "fiub":
        raise InputError(f"maps of type {maps.dtype}; give numbers")
    return maps


def _kind(maps: np.ndarray) -> type:
    """The type of the sums: for 8-bit maps, the sums and their squares are integers below 2^31."""
    return np.int32 if maps.dtype == np.uint8 else np.float64


def _size(maps: np.ndarray) -> str:
    return f"{maps.shape[-2]} x {maps.shape[-1]}"
