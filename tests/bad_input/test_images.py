"""Images that cannot be read as three channels of eight bits: each is named, whatever reads it, and none is changed."""

import io
import os
import re
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin

from e2m import cli
from e2m.arrays.images import check_images, read_image, read_images, read_or_mark, unreadable
from e2m.arrays.map_files import read_raw

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


def encoded(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def photo(kind="PNG", **options):
    return encoded(Image.fromarray(PIXELS), kind, **options)


def of_mode(mode, kind="PNG", value=0):
    return encoded(Image.new(mode, (48, 48), value), kind)


CLEAR_COLOUR = [(b"tRNS", struct.pack(">HHH", 1, 2, 3))]


def frames(kind, mode="RGB", **options):
    several = [Image.fromarray(np.roll(PIXELS, number, 0)).convert(mode) for number in range(3)]
    return encoded(several[0], kind, save_all=True, append_images=several[1:], **options)


def png(width, height, depth=8, colour=2, data=b"", more=()):
    """A PNG file with a header, and further chunks, of one's choice."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def with_text_bomb():
    """A PNG with a comment that unpacks to 5 MB."""
    about = PngImagePlugin.PngInfo()
    about.add(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 5_000_000, 9))
    return encoded(Image.fromarray(PIXELS), "PNG", pnginfo=about)


def npy():
    content = io.BytesIO()
    np.save(content, PIXELS)
    return content.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n(ran) (w) file closefile showpage\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48"><script>alert(1)</script></svg>'

UNKNOWN = r"cannot be read as an image \(it is none of PNG, JPEG, BMP, WEBP, TIFF, or damaged\); replace the file"
CONVERT = r'convert it with PIL, .*convert\("RGB"\), and save that as another file'
DEEP = r"scale its values to 0 to 255 \(divide 16 bits by 257; .* clip them\).*save that as another file"
CLEAR = r"lay it over a background .*save that as another file"

CASES = {
    "no_bytes.png": (b"", UNKNOWN),
    "words.png": (b"not an image", UNKNOWN),
    "page.jpg": (b"<!doctype html><title>404</title>", UNKNOWN),
    "zeros.bmp": (bytes(1000), UNKNOWN),
    "postscript.png": (EPS, UNKNOWN),
    "drawing.png": (SVG, UNKNOWN),
    "document.jpg": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", UNKNOWN),
    "gif.png": (photo("GIF"), UNKNOWN),
    "icon.png": (photo("ICO"), UNKNOWN),
    "netpbm.png": (photo("PPM"), UNKNOWN),
    "archive.jpg": (b"PK\x03\x04" + bytes(60), UNKNOWN),
    "array.png": (npy(), UNKNOWN),
    "heic.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), UNKNOWN),
    "signature.png": (photo()[:8], UNKNOWN),
    "half.png": (photo()[:3000], "cannot be read as an image .*; replace the file"),
    "half.jpg": (photo("JPEG")[:700], "cannot be read as an image .*truncated.*; replace the file"),
    "half.webp": (photo("WEBP", lossless=True)[:900], "cannot be read as an image"),
    "half.tif": (photo("TIFF")[:3000], "cannot be read as an image"),
    "flipped.png": (photo()[:60] + b"\xff\xff\xff\xff" + photo()[64:], "cannot be read as an image"),
    "grey.png": (of_mode("L"), f"mode L, channels L; .*{CONVERT}"),
    "grey.jpg": (of_mode("L", "JPEG"), f"mode L, channels L; .*{CONVERT}"),
    "mask.png": (of_mode("1"), f"mode 1, .*{CONVERT}"),
    "palette.png": (of_mode("P"), f"mode P, .*{CONVERT}"),
    "print.jpg": (of_mode("CMYK", "JPEG", (0, 0, 0, 0)), f"mode CMYK, channels C, M, Y, K; .*{CONVERT}"),
    "lab.tif": (of_mode("LAB", "TIFF", (0, 0, 0)), f"mode LAB, .*{CONVERT}"),
    "alpha.png": (of_mode("RGBA", value=(1, 2, 3, 4)), f"mode RGBA, channels R, G, B, A; .*{CLEAR}"),
    "grey_alpha.png": (of_mode("LA", value=(1, 2)), f"mode LA, .*{CLEAR}"),
    "sixteen.png": (of_mode("I;16"), f"mode I;16, .*{DEEP}"),
    "whole.tif": (of_mode("I", "TIFF"), f"mode I, .*{DEEP}"),
    "real.tif": (of_mode("F", "TIFF"), f"mode F, .*{DEEP}"),
    "animation.png": (frames("PNG"), "3 pictures in one file; save each as a file"),
    "animation.webp": (frames("WEBP", lossless=True), "3 pictures in one file; save each as a file"),
    "pages.tif": (frames("TIFF"), "3 pictures in one file; save each as a file"),
    "large.png": (png(10_000, 10_000), "10000x10000 pixels, 100 megapixels; images of up to 64 megapixels are read"),
    "huge.png": (png(100_000, 100_000), "more than 179 megapixels; images of up to 64"),
    "clear_colour.png": (
        png(
            48,
            48,
            data=b"".join(b"\0" + row.tobytes() for row in PIXELS),
            more=[(b"tRNS", struct.pack(">HHH", 1, 2, 3))],
        ),
        f"mode RGB, channels R, G, B and a transparent colour; .*{CLEAR}",
    ),
    "clear_palette.png": (
        encoded(Image.fromarray(PIXELS).convert("P"), "PNG", transparency=0),
        f"mode P, channels P; .*{CLEAR}",
    ),
    "print.tif": (of_mode("CMYK", "TIFF", (0, 0, 0, 0)), f"mode CMYK, .*{CONVERT}"),
    "video.tif": (encoded(Image.fromarray(PIXELS).convert("YCbCr"), "TIFF"), f"mode YCbCr, .*{CONVERT}"),
    "half_progressive.jpg": (photo("JPEG", progressive=True, quality=95)[:1200], "image file is truncated"),
    "half_end.jpg": (photo("JPEG", quality=95)[:-40], "image file is truncated"),
    "no_pixels.png": (png(48, 48), "cannot be read as an image"),
    "comment.png": (with_text_bomb(), "cannot be read as an image .*too large"),
}


@pytest.fixture
def bad(request, tmp_path):
    """The file of a case."""
    path = tmp_path / request.param
    path.write_bytes(CASES[request.param][0])
    return path


@pytest.mark.parametrize("bad", CASES, indirect=True)
def test_each_image_is_refused_in_one_line_by_every_reader(bad, line_of):
    line = line_of(read_image, bad)
    assert line.startswith(f"{bad}: ")
    assert re.search(CASES[bad.name][1], line), line
    assert ".save(path)" not in line
    samples = pd.DataFrame({"path": [str(bad)], "salience": ""})
    assert unreadable(samples) == [line]
    ((grey, wrong),) = read_or_mark(samples, 8)
    assert (grey == 128).all()
    assert str(wrong[0]) == line


HEADERS = [name for name in CASES if not name.startswith(("half", "flipped", "no_pixels"))]


@pytest.mark.parametrize("bad", HEADERS, indirect=True)
def test_a_header_is_enough_to_refuse_it_before_long_work(bad, tmp_path):
    with pytest.raises(ValueError, match="1 of 1 images cannot be used") as caught:
        check_images(pd.DataFrame({"path": [str(bad)]}))
    assert str(caught.value).splitlines()[1].startswith(f"{bad}: ")


def test_the_command_names_each_of_them_and_goes_on_with_the_others(folder, capsys):
    for number, (name, (content, _)) in enumerate(CASES.items()):
        (folder / "images" / ("real", "fake")[number % 2] / name).write_bytes(content)
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    assert cli.main(["check", "images", "--detector", "demo_cnn", "--device", "cpu"]) in (0, 1)
    out = capsys.readouterr().out
    named = [line for line in out.splitlines() if line.startswith("  warning: input: ")]
    assert len(named) == len(CASES)
    assert "Traceback" not in out
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("read", [read_image, read_raw], ids=lambda read: read.__name__)
@pytest.mark.parametrize("kind", ["pipe.png", "pipe.npy", "endless.png", "endless.npy", "nothing.png"])
def test_what_is_no_file_is_not_read(tmp_path, line_of, kind, read):
    """A pipe would be waited for, and a device read for ever."""
    path = tmp_path / kind
    name = path.stem
    os.mkfifo(path) if name == "pipe" else path.symlink_to("/dev/zero" if name == "endless" else "/dev/null")
    assert line_of(read, path) == (
        f"{path}: a pipe or a device, and no file; write what it gives to a file, and name that one"
    )


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0.png", "loop.png", os.fsdecode(b"\xff.png")])
def test_what_no_file_can_be_called_is_missing(tmp_path, monkeypatch, line_of, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert ": no such file; correct the path, or remove it from the list" in line_of(read_image, name)


@pytest.mark.parametrize("samples", [["a.png"], {"path": ["a.png"]}, pd.DataFrame({"file": ["a.png"]})])
def test_what_names_no_paths_is_refused(line_of, samples):
    line = line_of(lambda: list(read_images(samples)))
    assert re.match(r"samples of type (list|dict|DataFrame) without a column path; give what e2m.load_dataset", line)


def test_of_a_cameras_file_with_a_preview_the_photograph_counts(tmp_path):
    whole, small = Image.fromarray(PIXELS), Image.fromarray(PIXELS[:16, :16])
    whole.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[small], quality=100)
    assert Image.open(tmp_path / "a.jpg").n_frames == 2
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), np.asarray(Image.open(tmp_path / "a.jpg")))


@pytest.mark.parametrize(("mode", "top"), [("I;16", 65535), ("I", 65535)])
def test_the_remedy_for_deep_images_keeps_their_picture(tmp_path, line_of, mode, top):
    """What the line advises, done: the picture of eight bits, not a white one."""
    values = (PIXELS[..., 0].astype(np.uint32) * 257).astype(np.uint16 if mode == "I;16" else np.int32)
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    assert "divide 16 bits by 257" in line_of(read_image, path)
    eight = np.rint(np.asarray(Image.open(path)) / 257).astype(np.uint8)
    Image.fromarray(np.repeat(eight[..., None], 3, 2)).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), PIXELS[..., :1].repeat(3, 2))
