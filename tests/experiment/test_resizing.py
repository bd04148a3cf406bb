"""A detector's input is resized once from the file's pixels, in training as in explaining."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from e2m import explain, read_images
from e2m.experiment import data
from e2m.experiment.results import Experiment
from e2m.networks.inputs import as_input
from e2m.training.images import Images
from e2m.types import InputError

SIDES = (24, 32, 48)


EXIF = Image.Exif()
EXIF[274] = 6  # the viewer turns the file by a quarter


@pytest.fixture
def experiment(tmp_path, roots):
    """``experiment(file, image_size, turned)``: two images of a side, read at a size."""

    def make(side, image_size, turned=False):
        root = tmp_path / f"{side}-{turned}"
        for label in ("real", "fake"):
            (root / label).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(root / label / "a.png", **({"exif": EXIF} if turned else {}))
        about = {"sources": ["real", "fake"], "in_set": ["real", "fake"], "controls": {}, "study": {}, "masker": None}
        options = {"dataset": "folder", "dataset_options": {"root": str(root)}}
        return replace(Experiment.load("smoke", **about, **options), image_size=image_size)

    return make


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("file", "image_size", "size"), list(product(SIDES, (None, *SIDES), SIDES)))
def test_every_reader_gives_the_network_the_same_numbers_or_refuses(experiment, toy, file, image_size, size, turned):
    """Training, validation, salience, measures, and the library's two ways; for every size of file and detector."""
    loaded, detector = experiment(file, image_size, turned), toy(size=size)
    expected = as_input(Images(loaded.samples, detector).images, detector)
    read = np.concatenate(list(read_images(loaded.samples, size=detector.size)))
    assert torch.equal(as_input(read, detector), expected)
    if image_size not in (None, size, file):
        with pytest.raises(
            InputError, match=f"{file}x{file} pixels would be resized twice, to image_size {image_size}"
        ):
            next(loaded.batches(loaded.samples, detector))
        return
    ((_, images, unreadable),) = loaded.batches(loaded.samples, detector)
    assert images.shape[1:3] == (image_size or size,) * 2
    assert not unreadable.any()
    assert torch.equal(as_input(images, detector), expected)
    shown = replace(loaded, image_size=size).images(loaded.samples["image"])  # in galleries, at the detector's size
    assert torch.equal(as_input(shown, detector), expected)


def test_a_texture_of_one_pixel_is_as_clear_in_explaining_as_in_training(experiment, toy):
    """Read at 24 and enlarged to 32, it would be blurred; an ideal detector of it would guess."""
    loaded, detector = experiment(32, None), toy(size=32)
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[::2] = 255
    for path in loaded.samples["path"]:
        Image.fromarray(stripes).save(path)
    ((_, images, _),) = loaded.batches(loaded.samples, detector)
    assert np.ptp(images[0, :, 0, 0].astype(int)) == 255
    with pytest.raises(InputError, match="would be resized twice"):
        next(replace(loaded, image_size=24).batches(loaded.samples, detector))


def test_an_image_that_would_be_resized_twice_is_refused_before_any_training(experiment):
    loaded = replace(experiment(48, 32), detectors=["demo_cnn"])
    for part in data.PARTS:
        if part == "train":
            continue
        with pytest.raises(
            InputError, match=r"48x48 pixels would be resized twice, to image_size 32 .* 112 of demo_cnn"
        ):
            data.write(loaded, part)
    with pytest.raises(InputError, match="would be resized twice"):
        data.check(loaded)
    data.check_sizes(replace(experiment(32, 32), detectors=["demo_cnn"]))


@pytest.mark.filterwarnings("error")
def test_an_input_that_is_not_square_is_read_at_its_height_and_width(experiment, toy):
    loaded, detector = experiment(48, None), toy(size=(40, 24))
    ((_, images, _),) = loaded.batches(loaded.samples, detector)
    assert images.shape[1:3] == (40, 24)
    explain(detector, images)
    with pytest.warns(UserWarning, match=r"images of 48x48 are resized to the 40x24 of 'toy'.*size=\(40, 24\)"):
        explain(detector, np.concatenate(list(read_images(loaded.samples))))


def test_twice_resized_images_differ_and_are_warned_of(experiment, toy):
    samples, detector = experiment(32, None).samples, toy()
    once = np.concatenate(list(read_images(samples, size=32)))
    twice = np.concatenate(list(read_images(samples, size=64)))
    assert (as_input(twice, detector) - as_input(once, detector)).abs().max() > 0.1
    with pytest.warns(UserWarning, match="images of 64x64 are resized to the 32x32 of 'toy'.*read them with size=32"):
        explain(detector, twice)


def test_regions_have_the_size_of_the_images_that_they_belong_to(experiment):
    loaded = experiment(32, None)
    loaded.samples["region"] = ""
    assert loaded.regions(loaded.samples["image"], 24).shape == (2, 24, 24)
    assert loaded.regions(loaded.samples["image"]).shape == (2, loaded.side, loaded.side)
    assert loaded.images(loaded.samples["image"]).shape == (2, loaded.side, loaded.side, 3)
