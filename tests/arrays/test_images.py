"""Reading images and maps: values worked by hand, then every kind of file that does not fit."""

import re
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from e2m.arrays.images import (
    check_aspect,
    check_images,
    check_sides,
    read_image,
    read_images,
    read_or_mark,
    unreadable,
)
from e2m.arrays.map_files import read_maps
from e2m.arrays.maps import quantise, upsample
from e2m.types import InputError


def frame(paths):
    return pd.DataFrame({"path": [str(path) for path in paths]})


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def files(tmp_path):
    """Seven images of 6x8 pixels, each of one colour."""
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 6), (number, 10 * number, 200)).save(path)
    return paths


def test_quantise_truncates_and_maps_nan_to_0():
    maps = np.array([[[0.0, 0.5], [1.0, np.nan]]])
    assert quantise(maps).tolist() == [[[0, 127], [255, 0]]]
    assert quantise(quantise(maps)).tolist() == quantise(maps).tolist()


def test_upsample_is_pils_bicubic_of_the_quantised_map():
    maps = np.random.default_rng(0).random((2, 7, 7))
    expected = [np.asarray(Image.fromarray((m * 255).astype(np.uint8)).resize((28, 14), 3)) for m in maps]
    np.testing.assert_array_equal(upsample(maps, 14, 28), expected)


def test_read_image_gives_the_pixels(tmp_path):
    pixels = noise(5, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def test_read_images_keeps_the_order(files):
    batches = list(read_images(frame(files[::-1]), batch=3))
    assert [batch.shape for batch in batches] == [(3, 6, 8, 3), (3, 6, 8, 3), (1, 6, 8, 3)]
    assert [batch.dtype for batch in batches] == [np.uint8] * 3
    assert np.concatenate(batches)[:, 0, 0, 1].tolist() == [60, 50, 40, 30, 20, 10, 0]


def test_read_images_resizes_to_a_square_with_pils_bilinear_filter(tmp_path):
    pixels = noise(40, 30, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (result,) = read_images(frame([tmp_path / "a.png"]), size=10)
    np.testing.assert_array_equal(result[0], Image.fromarray(pixels).resize((10, 10), Image.Resampling.BILINEAR))


def test_read_images_resizes_to_height_and_width(tmp_path):
    Image.fromarray(noise(30, 40, 3)).save(tmp_path / "a.png")
    (result,) = read_images(frame([tmp_path / "a.png"]), size=(12, 10))
    expected = Image.open(tmp_path / "a.png").resize((10, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(result[0], np.asarray(expected))
    ((grey, wrong),) = read_or_mark(frame([tmp_path / "absent.png"]), size=(12, 10))
    assert (grey.shape, list(wrong)) == ((1, 12, 10, 3), [0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(batch=st.integers(1, 9), size=st.sampled_from([None, 5, 8]))
def test_images_do_not_depend_on_the_batch(files, batch, size):
    result = np.concatenate(list(read_images(frame(files), size, batch)))
    one_by_one = np.concatenate([next(read_images(frame([path]), size)) for path in files])
    np.testing.assert_array_equal(result, one_by_one)


def test_no_images_give_no_batches():
    assert list(read_images(frame([]))) == []


def test_at_most_two_batches_are_in_memory(tmp_path):
    Image.new("RGB", (200, 200)).save(tmp_path / "a.png")
    tracemalloc.start()
    for _ in read_images(frame([tmp_path / "a.png"] * 80), batch=4):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 200 * 200 * 3


def test_reading_may_stop_early(files):
    assert next(read_images(frame(files), batch=2)).shape == (2, 6, 8, 3)


ORIENTED = {1: "ABCDEF", 2: "BADCFE", 3: "FEDCBA", 4: "EFCDAB", 5: "ACEBDF", 6: "ECAFDB", 7: "FDBECA", 8: "BDFACE"}
"""How viewers show the 3x2 cells AB/CD/EF of a file of each EXIF orientation, row by row."""


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_images_are_upright_everywhere(tmp_path, suffix, orientation):
    cells = {letter: (40 * number, 250 - 40 * number, 60) for number, letter in enumerate("ABCDEF")}
    pixels = np.array([[cells[letter] for letter in row] for row in ("AB", "CD", "EF")], np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels.repeat(16, 0).repeat(16, 1)).save(path, exif=exif, quality=100)
    result = read_image(path)
    assert result.shape == ((48, 32, 3) if orientation < 5 else (32, 48, 3))
    shown = result[8::16, 8::16].reshape(-1, 3).astype(int)
    expected = np.array([cells[letter] for letter in ORIENTED[orientation]])
    assert np.abs(shown - expected).max() < 12
    np.testing.assert_array_equal(next(read_images(frame([path])))[0], result)
    human = save_map(tmp_path / "map.npy", np.zeros(result.shape[:2], np.uint8))
    check_images(frame([path]).assign(salience=str(human)))
    turned = save_map(tmp_path / "turned.npy", np.zeros(result.shape[1::-1], np.uint8))
    with pytest.raises(InputError, match="does not fit an image of"):
        check_images(frame([path]).assign(salience=str(turned)))


def test_human_maps_are_upright_too(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    values = noise(4, 8)
    Image.fromarray(values).save(tmp_path / "map.png", exif=exif)
    np.testing.assert_array_equal(read_maps([tmp_path / "map.png"], normalise="none")[0], np.rot90(values, -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_broken_exif_data_leave_an_image_as_it_is(tmp_path, exif):
    pixels = noise(16, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "a.webp", exif=exif, lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), pixels)
    check_images(frame([tmp_path / "a.webp"]))


def test_no_warning_comes_beside_that_line(tmp_path):
    large = large_png(tmp_path / "large.png", 10_000)
    code = "import pandas, sys, e2m.arrays.images as i; print(i.unreadable(pandas.DataFrame({'path': sys.argv[1:]})))"
    done = subprocess.run([sys.executable, "-c", code, str(large)], capture_output=True, text=True, check=True)
    assert (done.stdout.count("100 megapixels"), done.stderr) == (1, "")


def large_png(path, side):
    """A PNG file whose header claims a square of this side."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


def test_files_that_a_detector_resizes_were_not_resized_before(files, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "square.png")
    square = frame([tmp_path / "square.png", tmp_path / "absent.png"])
    check_sides(square, 8, lambda: {"mine": 16})
    with pytest.raises(
        InputError, match=r"square\.png: 8x8 pixels would be resized twice, to image_size 4 and to the 16 of mine"
    ):
        check_sides(square, 4, lambda: {"mine": 16})
    with pytest.raises(InputError, match=r"0\.png: 6x8 pixels would be resized twice"):
        check_sides(frame(files), 8, lambda: {"mine": 16})


def test_differing_sizes_need_a_size(files, tmp_path):
    Image.new("RGB", (9, 6)).save(tmp_path / "wide.png")
    mixed = frame([files[0], tmp_path / "wide.png"])
    with pytest.raises(InputError, match=r"wide\.png: 6x9 pixels.*size="):
        list(read_images(mixed))
    assert next(read_images(mixed, size=4)).shape == (2, 4, 4, 3)


@pytest.mark.parametrize("arguments", [{"size": 0}, {"batch": 0}, {"batch": -1}])
def test_sizes_and_batches_start_at_1(files, arguments):
    with pytest.raises(InputError, match=f"{next(iter(arguments))} is"):
        list(read_images(frame(files), **arguments))


@pytest.fixture(params=["L", "LA", "RGBA", "P", "I;16", "CMYK", "1", "missing", "text", "truncated", "folder"])
def bad_file(request, tmp_path):
    """A file that is not an RGB image, and words of its error message."""
    kind = request.param
    path = tmp_path / f"bad.{'tif' if kind == 'CMYK' else 'png'}"
    if kind == "text":
        path.write_text("not an image")
    elif kind == "truncated":
        Image.fromarray(noise(64, 64, 3)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        Image.new(kind, (8, 8)).save(path)
    words = {"missing": "no such file", "text": "replace", "truncated": "replace", "folder": "replace"}
    return path, kind, words.get(kind, f"mode {kind}.*convert")


def test_files_that_are_not_rgb_images_are_refused(bad_file):
    path, _, words = bad_file
    with pytest.raises(InputError, match=rf"bad\.\w+: .*{words}"):
        read_image(path)
    with pytest.raises(InputError, match=words):
        list(read_images(frame([path]), size=8))


def test_an_unreadable_image_stops_only_its_batch(files, bad_file):
    path, _, words = bad_file
    listed = frame([*files[:4], path, *files[4:]])
    reading = read_images(listed, batch=3)
    np.testing.assert_array_equal(next(reading), next(read_images(frame(files), batch=3)))
    with pytest.raises(InputError, match=words):
        next(reading)
    assert [reason for reason in unreadable(listed) if re.search(words, reason)] == unreadable(listed)
    assert len(unreadable(listed)) == 1


@pytest.mark.parametrize("size", [None, 5])
def test_unreadable_images_are_grey_and_reported(files, bad_file, size):
    path, _, words = bad_file
    listed = frame([*files[:4], path, *files[4:]])
    result, wrong = zip(*read_or_mark(listed, size, batch=3), strict=True)
    assert [list(reasons) for reasons in wrong] == [[], [1], []]
    assert re.search(words, str(wrong[1][1]))
    assert (result[1][1] == 128).all()
    np.testing.assert_array_equal(np.delete(np.concatenate(result), 4, axis=0), np.concatenate(images(files, size)))


@pytest.mark.parametrize(("size", "side"), [(None, 224), (5, 5)])
def test_a_batch_of_unreadable_images_has_the_requested_size(tmp_path, size, side):
    ((result, wrong),) = read_or_mark(frame([tmp_path / "absent.png"] * 2), size)
    assert result.shape == (2, side, side, 3)
    assert list(wrong) == [0, 1]


def images(paths, size):
    return list(read_images(frame(paths), size))


def test_the_check_passes_images_that_will_be_marked_but_no_unfitting_maps(files, bad_file, tmp_path):
    path, _, _ = bad_file
    height, width = read_image(files[0]).shape[:2]
    long = save_map(tmp_path / "long.png", noise(height, 3 * width))
    check_images(frame([*files, path]), may_be_marked=True)
    check_images(frame([path]).assign(salience=""), may_be_marked=True)
    with pytest.raises(InputError, match=r"1 of 2 images[^\n]*\n.*long\.png: a map of"):
        check_images(frame([path, files[0]]).assign(salience=["", str(long)]), may_be_marked=True)


def test_check_images_reads_headers_only(bad_file):
    path, kind, words = bad_file
    if kind == "truncated":  # its header is sound: only decoding shows the damage
        check_images(frame([path]))
    else:
        with pytest.raises(InputError, match=rf"1 of 1 images[^\n]*\n.*{words}"):
            check_images(frame([path]))


def test_check_images_names_five_and_counts_the_rest(files, tmp_path):
    check_images(frame(files))
    absent = [tmp_path / f"absent{number}.png" for number in range(8)]
    with pytest.raises(InputError) as caught:
        check_images(frame(files + absent))
    message = str(caught.value)
    assert message.startswith("8 of 15 images")
    assert [f"absent{number}.png" in message for number in range(8)] == [True] * 5 + [False] * 3
    assert message.endswith("and 3 more")


@pytest.mark.parametrize("suffix", [".png", ".npy", ".npz"])
def test_check_images_compares_human_maps_with_their_images(files, tmp_path, suffix):
    height, width = read_image(files[0]).shape[:2]
    fits = save_map(tmp_path / f"fits{suffix}", noise(height, width))
    long = save_map(tmp_path / f"long{suffix}", noise(height, 3 * width))
    check_images(frame(files[:2]).assign(salience=[str(fits), ""]))
    with pytest.raises(InputError, match=rf"long\{suffix}: a map of .* does not fit an image of"):
        check_images(frame(files[:1]).assign(salience=str(long)))
    with pytest.raises(InputError, match=rf"absent\{suffix}: no such file"):
        check_images(frame(files[:1]).assign(salience=str(tmp_path / f"absent{suffix}")))
    several = frame(files[:2]).assign(salience=[str(fits), ""], annotations=[(str(fits), str(long)), ()])
    with pytest.raises(InputError, match=rf"1 of 2 images .*\n.*long\{suffix}: a map of .* does not fit"):
        check_images(several)
    check_images(several.assign(annotations=[(str(fits), str(fits)), ()]))


def save_map(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, values[None])
    else:
        Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("shape", "image"), [((7, 7), (224, 224, 3)), ((8, 8), (299, 299)), ((4, 7), (112, 199)), ((7, 14), (100, 220))]
)
def test_maps_at_the_images_aspect_fit(shape, image):
    check_aspect(shape, image, "map.png")


@pytest.mark.parametrize(("shape", "image"), [((7, 7), (100, 150)), ((112, 112), (112, 150)), ((7, 14), (140, 70))])
def test_maps_at_another_aspect_are_refused(shape, image):
    with pytest.raises(InputError, match=r"map\.png: a map of \d+x\d+ does not fit an image"):
        check_aspect(shape, image, "map.png")
