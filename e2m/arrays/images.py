"""Reading, checking and resizing images and maps. Plain arrays: no torch here.

Every reader of pixels is here. Training, validation, salience, measures and galleries read a file with ``read_image``
and change its size with ``resized``. So all of them see the same values.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from PIL import ExifTags, Image, UnidentifiedImageError

from e2m.checks import brief, check_ends
from e2m.types import InputError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
"""The formats that are read, whatever a file's ending is. Others start programs of their own, as EPS does."""

LARGEST = 64_000_000
"""Most pixels of an image: 192 MB when decoded, for each of the threads that read; and most values of a map."""

_SMALLER = f"images of up to {LARGEST / 1e6:.0f} megapixels are read: crop the face, or save a smaller image"

# The limit above refuses such images in one line, and PIL's warning would be a second one.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation of a file: what turns its pixels upright."""


def read_images(
    samples: pd.DataFrame, size: int | tuple[int, int] | None = None, batch: int = 64
) -> Iterator[np.ndarray]:
    """The images of a data set in the frame's order; the next batch is decoded while this one is used.

    The pixels do not depend on ``batch``: each file is read and resized on its own. For a detector, give its size:
    ``read_images(samples, size=detector.size)`` reads what training reads, resized once. Images of another size are
    resized a second time by ``e2m.explain``, which can change scores far.

    Args:
        samples: a frame with a column ``path``.
        size: side in pixels of the square, or (height, width), that every image is resized to (PIL bilinear,
            antialiased); None leaves images as they are, which takes equal sizes within a batch.
        batch: most images at once.

    Yields:
        (n, H, W, 3) uint8, n <= ``batch``.

    Raises:
        InputError: a file that is not an RGB image, a size or a batch below 1, or images of differing sizes without
            ``size``.
    """
    for images, wrong in read_or_mark(samples, size, batch):
        for error in wrong.values():
            raise error
        yield images


def read_or_mark(
    samples: pd.DataFrame, size: int | tuple[int, int] | None = None, batch: int = 64
) -> Iterator[tuple[np.ndarray, dict[int, InputError]]]:
    """``read_images``, except that it continues after a file that cannot be read.

    Args:
        samples, size, batch: as in ``read_images``.

    Yields:
        (n, H, W, 3) uint8, with a grey square for each image that cannot be read; and the errors of those images, by
        their position in the batch.

    Raises:
        InputError: a size or a batch below 1, or images of differing sizes without ``size``.
    """
    for name, value in (("size", size), ("batch", batch)):
        if value is not None and np.min(value) < 1:
            raise InputError(f"{name} is {value}; give a whole number from 1 up")
    if "path" not in getattr(samples, "columns", ()):
        raise InputError(
            f"samples of type {type(samples).__name__} without a column path; give what e2m.load_dataset returns"
        )
    paths = list(samples["path"])
    with _readers() as pool:
        try:
            coming: list[tuple[str, Future]] = []
            for start in range(0, len(paths) + batch, batch):
                ready, coming = coming, [(p, pool.submit(_read_resized, p, size)) for p in paths[start : start + batch]]
                if ready:
                    yield _gathered(ready, size)
        finally:
            pool.shutdown(cancel_futures=True)


def unreadable(samples: pd.DataFrame) -> list[str]:
    """Why images cannot be read: one reason for each such image, in the frame's order. Every file is decoded."""
    with _readers() as pool:
        return [reason for reason in pool.map(_why_not, samples["path"]) if reason]


def read_image(path: str | Path) -> np.ndarray:
    """One RGB image, upright as its EXIF orientation says.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: the file is missing, broken or not an image, does not have three channels, holds several pictures,
            or has more than ``LARGEST`` pixels.
    """
    with opened(path) as image:
        _check_rgb(path, image)
        return np.asarray(upright(image))


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image (H, W, 3) uint8 at another height and width: PIL bilinear, antialiased; as it is if it has them."""
    if image.shape[:2] == tuple(shape):
        return image
    return np.asarray(Image.fromarray(image).resize(tuple(shape)[::-1], Image.Resampling.BILINEAR))


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """An image file of the ``FORMATS``, not decoded yet; what PIL raises in the block is an error of this file.

    Raises:
        InputError: the file is missing, broken, of another kind, or has more than ``LARGEST`` pixels.
    """
    check_ends(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if (pixels := image.width * image.height) > LARGEST:
                raise InputError(
                    f"{path}: {image.height}x{image.width} pixels, {pixels / 1e6:.0f} megapixels; {_SMALLER}"
                )
            yield image
    except (InputError, MemoryError):
        raise
    except Exception as error:  # damaged files raise errors of every kind in PIL's decoders
        raise InputError(why_unreadable(path, error)) from error


def check_images(samples: pd.DataFrame, may_be_marked: bool = False) -> None:
    """Check that every file opens as an RGB image and that every human map fits its image.

    Only headers are read, so the check is quick enough to run before any long work.

    Args:
        samples: a frame with a column ``path`` and, where there are human maps, ``salience`` or ``annotations``.
        may_be_marked: accept images that do not open, for a reader that marks them (``read_or_mark``).

    Raises:
        InputError: naming the first five bad files, and how many more there are.
    """
    each = samples
    if "annotations" in samples:  # a row for every human map
        each = samples.explode("annotations").assign(salience=lambda rows: rows["annotations"].fillna(""))
    maps = each["salience"] if "salience" in each else [""] * len(each)
    reasons = (_bad_headers(*files, may_be_marked) for files in zip(each["path"], maps, strict=True))
    bad = list(dict.fromkeys(filter(None, reasons)))
    if bad:
        more = f"\n... and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise InputError(f"{len(bad)} of {len(samples)} images cannot be used:\n" + "\n".join(bad[:5]) + more)


def check_sides(samples: pd.DataFrame, size: int, detectors: Callable[[], Mapping[str, object]]) -> None:
    """Check that images which a detector resizes were not resized before: every file has this size.

    Only headers are read. Files that do not open are left to their reader.

    Args:
        samples: a frame with a column ``path``.
        size: side in pixels at which images are used before a detector resizes them.
        detectors: gives the names of the detectors with the sizes of their inputs; called only where a file differs.

    Raises:
        InputError: naming the first file of another size.
    """
    for path in samples["path"]:
        try:
            shape = _rgb_shape(path)
        except InputError:
            continue
        if shape == (size, size):
            continue
        for name, other in detectors().items():
            if other != size:
                raise InputError(
                    f"{path}: {_by(shape)} pixels would be resized twice, to image_size {size} and to the {other} of "
                    f"{name}; give image_size: null, which reads every image at its detector's size"
                )
        return


def check_aspect(map_shape: tuple[int, int], image_shape: tuple[int, ...], path: str | Path) -> None:
    """Check that a map can belong to an image: at the image's aspect ratio, its shorter side is right to one cell.

    Args:
        map_shape: (h, w); 7x7 maps of square images fit.
        image_shape: (H, W) or (H, W, 3).
        path: of the map, for the message.

    Raises:
        InputError: the aspect ratios differ by more than one cell.
    """
    (h, w), (height, width) = map_shape, image_shape[:2]
    # Networks round the sides of their maps up or down, so the longer side, whose cells count less, decides.
    if min(abs(w - h * width / height), abs(h - w * height / width)) > 1:
        raise InputError(
            f"{path}: a map of {_by(map_shape)} does not fit an image of {_by((height, width))} (height x width); "
            "crop the map as the image was cropped"
        )


def _read_resized(path: str, size: int | tuple[int, int] | None) -> np.ndarray:
    image = read_image(path)
    return image if size is None else resized(image, _sides(size))


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int | np.integer) else tuple(size)


def _readers() -> ThreadPoolExecutor:
    """Threads that decode images: PIL's libraries release the interpreter lock while they work."""
    return ThreadPoolExecutor(min(4, os.cpu_count() or 1))


def _why_not(path: str) -> str | None:
    try:
        read_image(path)
    except InputError as error:
        return str(error)
    return None


def _gathered(
    files: list[tuple[str, Future]], size: int | tuple[int, int] | None
) -> tuple[np.ndarray, dict[int, InputError]]:
    """A batch whose files are being read, and the errors of those that cannot be read."""
    images, wrong = {}, {}
    for index, (_, image) in enumerate(files):
        try:
            images[index] = image.result()
        except InputError as error:
            wrong[index] = error
    if not wrong:
        return _stack([path for path, _ in files], list(images.values())), wrong
    shape = _sides(size or 224)  # if no image of the batch can be read
    readable = [files[index][0] for index in images]
    stack = _stack(readable, list(images.values())) if images else np.empty((0, *shape, 3), np.uint8)
    filled = np.full((len(files), *stack.shape[1:]), 128, np.uint8)
    filled[list(images)] = stack
    return filled, wrong


def _stack(paths: list[str], images: list[np.ndarray]) -> np.ndarray:
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise InputError(
                f"{path}: {_by(image.shape)} pixels, but {paths[0]} has {_by(images[0].shape)} (height x width); "
                "give size= to resize all images to one square"
            )
    return np.stack(images)


def upright(image: Image.Image) -> Image.Image:
    """An opened file, turned as its EXIF orientation says."""
    image.load()  # here, so that a truncated file is not mistaken for broken EXIF data
    turn = _UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _upright_shape(image: Image.Image) -> tuple[int, int]:
    """Height and width of ``upright``, from the file's header."""
    return (image.width, image.height) if _orientation(image) > 4 else (image.height, image.width)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where the file has none, or EXIF data that cannot be read."""
    if image.format == "TIFF":  # PIL turns these itself
        return 1
    try:
        # The method of the base class: that of PNG decodes the whole image.
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # PIL lets errors of many kinds pass, and viewers show such images as they are
        return 1


def _check_rgb(path: str | Path, image: Image.Image) -> None:
    check_alone(path, image)
    if image.mode != "RGB" or image.has_transparency_data:
        bands = ", ".join(image.getbands()) + " and a transparent colour" * (image.mode == "RGB")
        raise InputError(
            f"{path}: an image of mode {image.mode}, channels {bands}; an RGB image has three "
            f"channels of 8 bits: {_to_rgb(image)}, and save that as another file"
        )


def check_alone(path: str | Path, image: Image.Image) -> None:
    """Check that a file holds one picture, and is no animation; of a camera's JPEG, the photograph itself counts.

    Raises:
        InputError: several pictures.
    """
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(f"{path}: {frames} pictures in one file; save each as a file")


def _to_rgb(image: Image.Image) -> str:
    """How an image becomes an RGB image, in words. PIL's ``convert`` clips deep values, and drops transparency."""
    if image.mode.startswith(("I", "F")):
        return (
            "scale its values to 0 to 255 (divide 16 bits by 257; Pillow's convert would clip them), round them to "
            "uint8, copy them to three channels"
        )
    if image.has_transparency_data:
        return (
            "lay it over a background with PIL's Image.alpha_composite (what transparent pixels hide would show "
            'otherwise), convert it with .convert("RGB")'
        )
    return 'convert it with PIL, Image.open(path).convert("RGB")'


def _bad_headers(path: str | Path, salience: str | Path, may_be_marked: bool) -> str | None:
    """Why an image or its human map ("" where there is none) cannot be used; None where they can."""
    if may_be_marked and not salience:
        return None
    try:
        shape = _rgb_shape(path)
    except InputError as error:
        return None if may_be_marked else str(error)
    try:
        if salience:
            check_aspect(_map_shape(salience), shape, salience)
    except InputError as error:
        return str(error)
    return None


def _rgb_shape(path: str | Path) -> tuple[int, int]:
    """Height and width of an RGB image, from the file's header."""
    with opened(path) as image:
        _check_rgb(path, image)
        return _upright_shape(image)


def _map_shape(path: str | Path) -> tuple[int, ...]:
    """Height and width of a map, from the file's header."""
    if is_array(path):
        return map_sides(path, array_shape(path))
    with opened(path) as image:
        check_alone(path, image)
        return _upright_shape(image)


def is_array(path: str | Path) -> bool:
    """Whether a file's ending says that it holds an array."""
    return Path(path).suffix.lower() in (".npy", ".npz")


def array_shape(path: str | Path) -> tuple[int, ...]:
    """The shape of the one array in a file of NumPy, whatever its ending is; only its header is read.

    Raises:
        InputError: a file that is missing or damaged, several arrays, Python objects, more than ``LARGEST`` values, or
            more values than the file holds.
    """
    try:
        with open_array(path) as (file, held):
            first = np.lib.format.read_magic(file) == (1, 0)
            read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            shape, _, kind = read(file)
            before = file.tell()
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(why_unreadable(path, error)) from error
    except Exception as error:  # headers and archives that are damaged raise errors of every kind
        raise InputError(f"{path}: cannot be read as an array ({brief(error)}); save it with numpy.save") from error
    values = int(np.prod(shape, dtype=object))
    if kind.hasobject:
        raise InputError(f"{path}: cannot be read as an array (it holds Python objects); a map holds real numbers")
    if values > LARGEST:
        raise InputError(
            f"{path}: an array of shape {shape}; maps of up to {LARGEST / 1e6:.0f} million values are read"
        )
    if before + values * kind.itemsize > held:
        raise InputError(f"{path}: cannot be read as an array (its end is missing); copy the file again")
    return shape


@contextmanager
def open_array(path: str | Path) -> Iterator[tuple[BinaryIO, int]]:
    """The one array in a .npy file or a .npz archive, as an open .npy file, and its bytes."""
    check_ends(path)
    with Path(path).open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            yield file, Path(path).stat().st_size
            return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            listed = brief(", ".join(name.removesuffix(".npy") for name in names[:5])) or "an empty archive"
            raise InputError(f"{path}: {len(names)} arrays ({listed}); a map is one array: save one a file")
        with archive.open(names[0]) as file:
            yield file, archive.getinfo(names[0]).file_size


def map_sides(path: str | Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a map of this shape; an axis of length 1 before or behind them is left out.

    Raises:
        InputError: an array that is not one map.
    """
    sides = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    sides = sides[:-1] if len(sides) == 3 and sides[-1] == 1 else sides
    if len(sides) != 2 or 0 in sides:
        raise InputError(f"{path}: an array of shape {shape}; a map is one array (height, width): save one a file")
    return sides


def why_unreadable(path: str | Path, error: Exception) -> str:
    """The message about a file that PIL or numpy did not read."""
    if isinstance(error, Image.DecompressionBombError):  # even the header is refused
        return f"{path}: more than {Image.MAX_IMAGE_PIXELS * 2 / 1e6:.0f} megapixels; {_SMALLER}"
    # A Path fails for a name that is too long.
    if not os.path.exists(path):  # noqa: PTH110
        return f"{brief(path, 400)}: no such file; correct the path, or remove it from the list"
    unknown = isinstance(error, UnidentifiedImageError)
    why = f"it is none of {', '.join(FORMATS)}, or damaged" if unknown else brief(error)
    return f"{path}: cannot be read as an image ({why}); replace the file, or remove it from the list"


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
