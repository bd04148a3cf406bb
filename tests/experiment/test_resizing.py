"""A detector's input is resized once from the file's pixels, in training as in explaining."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from e2m import explain, read_images
from e2m.experiment.results import Experiment
from e2m.networks.inputs import as_input
from e2m.training.images import Images
from e2m.types import InputError

SIDES = (24, 32, 48)


@pytest.fixture
def experiment(tmp_path, roots):
    """``experiment(file, image_size)``: two images of a side, read at a size."""

    def make(side, image_size):
        for label in ("real", "fake"):
            (tmp_path / f"{side}" / label).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{side}" / label / "a.png")
        about = {"sources": ["real", "fake"], "in_set": ["real", "fake"], "controls": {}, "study": {}, "masker": None}
        options = {"dataset": "folder", "dataset_options": {"root": str(tmp_path / f"{side}")}}
        return replace(Experiment.load("smoke", **about, **options), image_size=image_size)

    return make


@pytest.mark.parametrize(("file", "image_size", "size"), list(product(SIDES, (None, *SIDES), SIDES)))
def test_training_and_explaining_read_the_same_pixels_or_refuse(experiment, toy, file, image_size, size):
    loaded, detector = experiment(file, image_size), toy(size=size)
    once = as_input(Images(loaded.samples, detector).images, detector)
    if image_size not in (None, size, file):
        with pytest.raises(
            InputError, match=f"{file}x{file} pixels would be resized twice, to image_size {image_size}"
        ):
            next(loaded.batches(loaded.samples, detector))
        return
    ((_, images, unreadable),) = loaded.batches(loaded.samples, detector)
    assert images.shape[1:3] == (image_size or size,) * 2
    assert not unreadable.any()
    # Where the detector resizes, torchvision's filter rounds some pixels another way than PIL's.
    grey_levels = 0 if images.shape[1] == size else 1.01
    apart = np.abs(as_input(images, detector).numpy() - once.numpy()).max()
    assert apart <= grey_levels / 255 / min(detector.std)


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
