"""Pairing by name: cases worked by hand, a literal oracle, and what must not be guessed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2m.arrays.names import pair
from e2m.types import InputError

IMAGES = ["real/ffhq/0001.png", "real/ffhq/0002.png", "fake/gan/0001.png", "fake/gan/0002.jpg"]


def test_the_same_paths_fit_in_any_order_and_with_any_ending():
    files = ["fake/gan/0002.npy", "real/ffhq/0001.tif", "fake/gan/0001.png.npy", "real/ffhq/0002.npz"]
    pairs = pair(IMAGES, files)
    assert pairs.files == (files[1], files[3], files[2], files[0])
    assert pairs.pattern == "{name}"
    assert (pairs.missing, pairs.extra, pairs.ambiguous) == ((), (), ())


@pytest.mark.parametrize("deeper", ["maps/run-0/", ""])
def test_more_or_fewer_folders_fit_while_they_agree(deeper):
    files = [f"{deeper}real/ffhq/0001.npy", "gan/0001.npy"]
    assert pair(IMAGES, files).files == (files[0], "", files[1], "")


def test_another_folder_does_not_fit():
    """A map of a fake image is no map of the real image of the same file name."""
    pairs = pair(["real/0001.png"], ["fake/0001.npy"])
    assert pairs.files == ("",)
    assert pairs.extra == ("fake/0001.npy",)


def test_a_name_of_several_images_is_ambiguous():
    pairs = pair(IMAGES, ["0001.npy", "ffhq/0002.npy"])
    assert pairs.files == ("", "ffhq/0002.npy", "", "")
    assert pairs.ambiguous == ("0001.npy",)
    assert pairs.missing == (IMAGES[0], IMAGES[2], IMAGES[3])


def test_several_files_of_an_image_are_ambiguous_unless_one_fits_better():
    pairs = pair(["a/1.png"], ["a/1.npy", "a/1.png"])
    assert pairs.files == ("",)
    assert pairs.ambiguous == ("a/1.npy", "a/1.png")
    pairs = pair(["a/1.png"], ["1.npy", "a/1.png"])
    assert pairs.files == ("a/1.png",)
    assert pairs.ambiguous == ("1.npy",)


@pytest.mark.parametrize("pattern", ["{name}_cam", "gradcam-{name}", "map_{name}.v2"])
def test_what_stands_around_the_names_is_found(pattern):
    images = [f"{number}.png" for number in range(1, 31)]
    files = [pattern.format(name=number) + ".npy" for number in range(1, 30)]
    pairs = pair(images, [*files, "readme.png"])
    assert pairs.pattern == pattern
    assert pairs.files == (*files, "")
    assert pairs.extra == ("readme.png",)
    assert pair(images, files, pattern).files == pairs.files


def test_plain_names_count_before_others():
    pairs = pair(["1.png", "2.png"], ["1.npy", "2.npy", "1_overlay.png", "2_overlay.png"])
    assert pairs.files == ("1.npy", "2.npy")
    assert pairs.extra == ("1_overlay.png", "2_overlay.png")


def test_patterns_are_not_guessed():
    files = ["1_cam.npy", "2_cam.npy", "1_gradcam.npy", "2_gradcam.npy"]
    with pytest.raises(InputError, match=r"\{name\}_cam and \{name\}_gradcam, equally many each; choose one"):
        pair(["1.png", "2.png"], files)
    assert pair(["1.png", "2.png"], files, "{name}_cam").files == ("1_cam.npy", "2_cam.npy")
    with pytest.raises(InputError, match="once"):
        pair(["1.png"], files, "_cam")


NAMES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)


def literal(images, files):
    """Every file with every image: agreement from the end, the best of each side, ties left out."""

    def common(file, image):
        file, image = file.split("/"), image.split("/")
        least = min(len(file), len(image))
        return least if file[len(file) - least :] == image[len(image) - least :] else 0

    table = np.array([[common(file, image) for image in images] for file in files])
    chosen = {}
    for row, file in zip(table, files, strict=True):
        if row.max() and (row == row.max()).sum() == 1:
            chosen.setdefault(int(row.argmax()), []).append((int(row.max()), file))
    paired = [""] * len(images)
    for index, claims in chosen.items():
        best = [file for agreement, file in claims if agreement == max(claims)[0]]
        paired[index] = best[0] if len(best) == 1 else ""
    return tuple(paired)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.lists(NAMES, min_size=1, max_size=6, unique=True))
def test_against_every_pair(images, files):
    stems = {image.split("/")[-1] for image in images}
    if any(file.split("/")[-1] in stems for file in files):
        pairs = pair(images, files)
        assert pairs.files == literal(images, files)
        used = [file for file in pairs.files if file]
        assert sorted([*used, *pairs.extra, *pairs.ambiguous]) == sorted(files)
        assert [image for image, file in zip(images, pairs.files, strict=True) if not file] == list(pairs.missing)
