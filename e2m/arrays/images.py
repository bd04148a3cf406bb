"""Reading, checking and resizing images and maps. Plain arrays: no torch here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ExifTags, Image

from e2m.types import InputError

BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""The errors of PIL and numpy for a file that is missing, truncated or of another kind."""

LARGEST = 64_000_000
"""Most pixels of an image: 192 MB when decoded, for each of the threads that read."""

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
    """One RGB image, upright as its EXIF orientation says; of an animation, the first frame.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: the file is missing, broken or not an image, does not have three channels, or has more than
            ``LARGEST`` pixels.
    """
    try:
        with Image.open(path) as image:
            _check_rgb(path, image)
            return np.asarray(upright(image))
    except InputError:
        raise
    except BROKEN as error:
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


def check_sides(samples: pd.DataFrame, size: int, detector: str, detector_size: int) -> None:
    """Check that images which a detector resizes were not resized before: every file has this size.

    Only headers are read. Files that do not open are left to their reader.

    Args:
        samples: a frame with a column ``path``.
        size: side in pixels at which images are used before the detector resizes them.
        detector, detector_size: name and size of the detector, for the message.

    Raises:
        InputError: naming the first file of another size.
    """
    for path in samples["path"]:
        try:
            shape = _rgb_shape(path)
        except InputError:
            continue
        if shape != (size, size):
            raise InputError(
                f"{path}: {_by(shape)} pixels would be resized twice, to image_size {size} and to the {detector_size} "
                f"of {detector}; give image_size: null, which reads every image at its detector's size"
            )


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
    if size is None or image.shape[:2] == (shape := _sides(size)):
        return image
    return np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR))


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
    if (pixels := image.width * image.height) > LARGEST:
        raise InputError(f"{path}: {image.height}x{image.width} pixels, {pixels / 1e6:.0f} megapixels; {_SMALLER}")
    if image.mode != "RGB":
        raise InputError(
            f"{path}: an image of mode {image.mode}, channels {', '.join(image.getbands())}; an RGB image "
            'has three channels: convert it with PIL, Image.open(path).convert("RGB"), and save that as another file'
        )


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
    except (*BROKEN, EOFError) as error:
        return why_unreadable(salience, error)
    return None


def _rgb_shape(path: str | Path) -> tuple[int, int]:
    """Height and width of an RGB image, from the file's header."""
    try:
        with Image.open(path) as image:
            _check_rgb(path, image)
            return _upright_shape(image)
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(why_unreadable(path, error)) from error


def _map_shape(path: str | Path) -> tuple[int, ...]:
    """Height and width of a map, from the file's header."""
    if Path(path).suffix.lower() in (".npy", ".npz"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        shape = (array if isinstance(array, np.ndarray) else next(iter(array.values()))).shape
        shape = tuple(side for side in shape if side > 1) if len(shape) == 3 else shape
        if len(shape) != 2:
            raise InputError(f"{path}: an array of shape {shape}; a map is one array (height, width): save one a file")
        return shape
    with Image.open(path) as image:
        return _upright_shape(image)


def why_unreadable(path: str | Path, error: Exception) -> str:
    """The message about a file that PIL or numpy did not read."""
    if isinstance(error, Image.DecompressionBombError):  # even the header is refused
        return f"{path}: more than {Image.MAX_IMAGE_PIXELS * 2 / 1e6:.0f} megapixels; {_SMALLER}"
    if not Path(path).exists():
        return f"{path}: no such file; correct the path, or remove it from the list"
    return f"{path}: cannot be read as an image ({error}); replace the file, or remove it from the list"


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
