"""Files that hold no salience map, and maps that do not fit: refused by every reader before any number is made."""

import io
import pickle
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from e2m import load_detector
from e2m.arrays.images import check_images
from e2m.arrays.map_files import read_maps, read_raw, read_regions
from e2m.store import disk

MAP = np.random.default_rng(0).random((24, 24)).astype(np.float32)
NOISE = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)


class Runs:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        from pathlib import Path

        return Path.touch, (Path("ran"),)


def npy(values, **options):
    content = io.BytesIO()
    np.save(content, values, **options)
    return content.getvalue()


def npz(**arrays):
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def picture(values, kind="PNG", mode=None, **options):
    content = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values, mode)
    image.save(content, kind, **options)
    return content.getvalue()


def claims(shape, kind="<f4"):
    """A .npy file whose header promises more than follows."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": kind, "fortran_order": False, "shape": shape})
    return content.getvalue() + bytes(64)


def packed(name, content):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return archive.getvalue()


def overlay():
    colours = colormaps["jet"](MAP, bytes=True)[..., :3]
    return (0.5 * colours + 0.5 * NOISE).astype(np.uint8)


def pages(kind):
    several = [Image.fromarray((MAP * 255).astype(np.uint8)) for _ in range(2)]
    several[1].putpixel((0, 0), 7)
    return picture(several[0], kind, save_all=True, append_images=several[1:])


ARRAY = "cannot be read as an array"
CASES = {
    "nan.npy": (npy(np.full((7, 7), np.nan)), "49 of 49 values are NaN or infinite; leave this map out"),
    "one_nan.npy": (npy(np.where(np.eye(7) > 0, np.nan, 1)), "7 of 49 values are NaN"),
    "infinite.npy": (npy(np.full((7, 7), np.inf)), "49 of 49 values are NaN or infinite"),
    "signed.npy": (npy(np.eye(7) - 1), 'values from -1 to 0, a signed map; choose signed="absolute"'),
    "complex.npy": (npy(MAP.astype(complex)), "an array of type complex64|type complex128; a map holds real numbers"),
    "text.npy": (npy(MAP.astype(str)), "an array of type <U32; a map holds real numbers"),
    "dates.npy": (npy(np.zeros((7, 7), "M8[s]")), "a map holds real numbers"),
    "records.npy": (npy(np.zeros((7, 7), [("a", "f4"), ("b", "f4")])), "a map holds real numbers"),
    "channels.npy": (npy(np.zeros((2, 7, 7))), r"shape \(2, 7, 7\); a map is one array \(height, width\)"),
    "stack.npy": (npy(np.zeros((1, 1, 7, 7))), r"shape \(1, 1, 7, 7\); a map is one array"),
    "row.npy": (npy(np.zeros(49)), r"shape \(49,\); a map is one array"),
    "number.npy": (npy(np.float32(3)), r"shape \(\); a map is one array"),
    "empty.npy": (npy(np.zeros((0, 7))), r"shape \(0, 7\); a map is one array"),
    "no_bytes.npy": (b"", ARRAY),
    "words.npy": (b"not an array", ARRAY),
    "half.npy": (npy(MAP)[:500], rf"{ARRAY} \(its end is missing\); copy the file again"),
    "header.npy": (npy(MAP)[:40], ARRAY),
    "picture.npy": (picture(NOISE), ARRAY),
    "objects.npy": (npy(np.array([[None]]), allow_pickle=True), rf"{ARRAY} \(it holds Python objects\)"),
    "program.npy": (npy(np.array([[Runs()]]), allow_pickle=True), rf"{ARRAY} \(it holds Python objects\)"),
    "pickle.npy": (pickle.dumps(Runs()), ARRAY),
    "program.npz": (packed("a.npy", npy(np.array([[Runs()]]), allow_pickle=True)), "it holds Python objects"),
    "claims_much.npy": (claims((2**31, 2**31)), "up to 64 million values are read"),
    "claims_more.npy": (claims((1000, 1000)), "its end is missing"),
    "claims_wide.npy": (claims((7, 7), "V1000000000"), "its end is missing"),
    "claims_minus.npy": (claims((-7, -7)), ARRAY + "|a map is one array"),
    "long_header.npy": (npy(MAP).replace(b"24, 24", b"24, 24" + b" " * 0)[:8] + b"\xff\xff" + b"x" * 70000, ARRAY),
    "bomb.npz": (npz(a=np.zeros((8100, 8100), np.uint8)), "up to 64 million values are read"),
    "two.npz": (npz(first=MAP, second=MAP), r"2 arrays \(first, second\); a map is one array: save one a file"),
    "two_as.npy": (npz(first=MAP, second=MAP), r"2 arrays \(first, second\)"),
    "none.npz": (npz(), "0 arrays"),
    "notes.npz": (packed("notes.txt", "words"), ARRAY),
    "half.npz": (npz(a=MAP)[:900], ARRAY),
    "damaged.npz": (npz(a=MAP).replace(npz(a=MAP)[200:220], bytes(20)), ARRAY),
    "photo.png": (picture(NOISE), "a picture in colours of no known scale"),
    "overlay.png": (picture(overlay()), "such as a map laid over its photograph"),
    "clear.png": (picture(np.dstack([NOISE[..., :1], NOISE[..., :1]]).copy(), mode="LA"), "transparent pixels"),
    "pages.tif": (pages("TIFF"), "2 pictures in one file; save each as a file"),
    "animation.webp": (pages("WEBP"), "2 pictures in one file|cannot be read|no known scale"),
    "clear_level.png": (
        picture(Image.fromarray((MAP * 255).astype(np.uint8)), transparency=7),
        "a picture with transparent pixels; save the map itself",
    ),
    "minus_infinite.npy": (npy(np.where(np.eye(7) > 0, -np.inf, 1)), "7 of 49 values are NaN or infinite"),
    "bytes.npy": (npy(MAP.astype("S8")), r"an array of type \|S8; a map holds real numbers"),
    "durations.npy": (npy(np.zeros((7, 7), "m8[s]")), "a map holds real numbers"),
    "void.npy": (npy(np.zeros((7, 7), "V4")), "a map holds real numbers"),
    "objects_of_numbers.npy": (npy(MAP.astype(object), allow_pickle=True), "it holds Python objects"),
    "print.tif": (picture(Image.new("CMYK", (7, 7)), "TIFF"), "a picture of mode CMYK; save the map as .npy"),
    "words.png": (b"words", "cannot be read as an image"),
    "half.png": (picture(NOISE)[:900], "cannot be read as an image"),
    "array.png": (npy(MAP), "cannot be read as an image"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_map_is_refused_in_one_line(tmp_path, monkeypatch, line_of, name):
    monkeypatch.chdir(tmp_path)
    content, words = CASES[name]
    (tmp_path / name).write_bytes(content)
    line = line_of(read_maps, [tmp_path / name])
    assert line.startswith(f"{tmp_path / name}: ")
    assert re.search(words, line), line
    assert ".save(path)" not in line
    assert line_of(read_regions, [tmp_path / name], (8, 8)) == line
    assert not (tmp_path / "ran").exists()


FITTING = {
    "sixteen.png": np.array([[0, 1], [1, 0]], np.uint16),
    "sixteen.npy": np.array([[0, 1], [1, 0]], np.uint16),
    "eight.png": np.array([[0, 1], [1, 0]], np.uint8),
    "whole.npy": np.array([[0, 1], [1, 0]], np.int64),
    "long.npy": np.array([[0, 1], [1, 0]], np.uint64),
    "real.npy": np.array([[0.0, 1.0], [1.0, 0.0]]),
}


@pytest.mark.parametrize("name", FITTING)
def test_a_mask_of_0_and_1_is_never_the_two_darkest_levels(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(FITTING[name]).save(path) if name.endswith("png") else np.save(path, FITTING[name])
    maps = read_maps([path], normalise="none")
    np.testing.assert_array_equal(maps[0] / (255 if maps.dtype == np.uint8 else 1), [[0, 1], [1, 0]])
    assert read_raw(path).scale == "mask (two values)"


def test_an_archive_called_npy_and_an_array_called_npz_are_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(npz(map=MAP))
    (tmp_path / "b.npz").write_bytes(npy(MAP))
    for name in ("a.npy", "b.npz"):
        np.testing.assert_array_equal(read_raw(tmp_path / name).values, MAP)
        check_images(samples_with(tmp_path, tmp_path / name))


NUMBERS = {
    "of Fortran's order": np.asfortranarray,
    "of another machine": lambda values: values.astype(">f4"),
    "of doubles": lambda values: values.astype(np.float64),
    "of long doubles": lambda values: values.astype(np.longdouble),
    "too large for single precision": lambda values: values * 1e300,
    "too small for single precision": lambda values: values.astype(np.float64) * 1e-300,
}


@pytest.mark.parametrize("how", ["minmax", "max", "sum"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_the_same_map_in_other_numbers_is_the_same(tmp_path, kind, how):
    """In single precision 1e300 would be infinite: of its maximum, each value would be all."""
    for name, values in (("plain", MAP), ("other", NUMBERS[kind](MAP.astype(np.float64) if "large" in kind else MAP))):
        np.save(tmp_path / f"{name}.npy", values)
    plain, other = (read_maps([tmp_path / f"{name}.npy"], normalise=how) for name in ("plain", "other"))
    np.testing.assert_allclose(other, plain, rtol=0 if "precision" not in kind else 1e-6, atol=1e-7)
    assert 0 < np.ptp(plain) <= 1


def test_a_mask_of_truth_values_is_black_and_white_in_any_order(tmp_path):
    for number, order in enumerate("CF"):
        np.save(tmp_path / f"{number}.npy", np.array(MAP > 0.5, order=order))
    for number in range(2):
        np.testing.assert_array_equal(read_raw(tmp_path / f"{number}.npy").values, (MAP > 0.5) * 255)


def samples_with(folder, salience):
    Image.fromarray(NOISE).save(folder / "image.png")
    return pd.DataFrame({"path": [str(folder / "image.png")], "salience": [str(salience)]})


UNFIT = {
    "missing.npy": (None, "no such file; correct the path, or remove it from the list"),
    "missing.png": (None, "no such file"),
    "wide.npy": (npy(np.zeros((7, 30))), "a map of 7x30 does not fit an image of 24x24"),
    "wide.png": (picture(np.zeros((7, 30), np.uint8)), "a map of 7x30 does not fit an image of 24x24"),
    "channels.npy": (npy(np.zeros((3, 7, 7))), "a map is one array"),
    "none.npz": (npz(), "0 arrays"),
    "objects.npy": (npy(np.array([[None]]), allow_pickle=True), "Python objects"),
    "bomb.npz": (npz(a=np.zeros((8100, 8100), np.uint8)), "million values"),
    "pages.tif": (pages("TIFF"), "2 pictures in one file"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_human_maps_are_checked_by_their_headers_before_long_work(tmp_path, name):
    content, words = UNFIT[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"1 of 1 images cannot be used:\n.*{re.escape(name)}: .*{words}"):
        check_images(samples_with(tmp_path, tmp_path / name))


def test_more_maps_than_a_file_holds_are_refused_before_they_are_made(tmp_path, line_of):
    line = line_of(disk.check_room, tmp_path / "a.nc", 20_000, (224, 224))
    assert (
        "20000 maps of 224x224 take 3.7 GiB, and a file holds 2 GiB; explain at most 10699 images of a source" in line
    )
    disk.check_room(tmp_path / "a.nc", 10_699, (224, 224))
    with pytest.raises(ValueError, match="10700 maps"):
        disk.check_room(tmp_path / "a.nc", 10_700, (224, 224))


def test_human_maps_of_a_command_are_checked_before_its_work(folder, refused):
    (folder / "maps").mkdir()
    for name in "abc":
        np.save(folder / "maps" / f"{name}.npy", np.zeros((7, 30)))
    (folder / "images" / "fake").rename(folder / "fake")
    (folder / "images" / "fake").mkdir()
    for number, file in enumerate(sorted((folder / "fake").iterdir())):
        file.rename(folder / "images" / "fake" / f"{number}.png")
    torch.save(load_detector("demo_cnn").model.state_dict(), folder / "a.pt")
    asked = (
        "audit",
        "images",
        "--detector",
        "a=demo_cnn",
        "--weights",
        "a.pt",
        "--human",
        "maps",
        "--out",
        "out",
        "--device",
        "cpu",
    )
    assert "3 of 6 images cannot be used" in refused(*asked)
