"""Results are read with the images that their detector learned from, or refused; images that are gone do not count."""

import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from e2m.datasets import load_dataset
from e2m.experiment import explain, results
from e2m.experiment.data import training_samples
from e2m.experiment.inputs import LEARNT
from e2m.experiment.profile import ModelKey
from e2m.plugins import load
from e2m.store import disk
from e2m.training import learnt, loop
from e2m.types import InputError
from tests.experiment.test_data import experiment, faces  # noqa: F401

REGIMES = ("cyborg", "cross_entropy")


@pytest.fixture
def recorded(faces):  # noqa: F811
    """Regime -> what results of its detectors say."""
    profile = experiment(faces)
    validate = load_dataset(profile.dataset, split="validate", **profile.options)
    return {
        regime: {
            LEARNT: learnt.images_of(
                learnt.origin(training_samples(profile, regime), validate, load("regime", regime).GUIDED, "code abc, x")
            )
        }
        for regime in REGIMES
    }


def refused(root, recorded):
    """Regimes whose results are refused, by a process that begins now."""
    results._LEARNT.clear()
    lines = {}
    for regime, said in recorded.items():
        try:
            experiment(root).check_file(root / "a.nc", said, ModelKey("demo_cnn", regime, 0), "fake")
        except InputError as error:
            lines[regime] = str(error)
    return lines


def repaint(path):
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


def relabel(path):
    path.write_text(path.read_text().replace("train/0.png,authentic", "train/0.png,synthetic"))


def forget(path):
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("train/")))


CHANGES = {
    "nothing": (lambda root: None, ()),
    "an image to train on": (lambda root: repaint(root / "images/train/0.png"), REGIMES),
    "an image to validate on": (lambda root: repaint(root / "images/validate/0.png"), REGIMES),
    "an image to test on": (lambda root: repaint(root / "images/test/0.png"), ()),
    "a label": (lambda root: relabel(root / "list.csv"), REGIMES),
    "a human map": (lambda root: [repaint(root / folder / "train/0.png") for folder in ("anna", "ben")], ("cyborg",)),
    "images that are gone": (lambda root: forget(root / "list.csv"), ()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_results_of_other_training_images_are_refused(faces, recorded, what):  # noqa: F811
    change, expected = CHANGES[what]
    change(faces)
    lines = refused(faces, recorded)
    assert tuple(lines) == expected
    for line in lines.values():
        assert re.match(rf"{faces}/a\.nc: made with training images \w{{8}}, which now is \w{{8}}; make it again", line)


def test_maps_and_rows_say_what_their_detector_learned_from(faces, toy):  # noqa: F811
    chosen = replace(
        experiment(faces),
        methods=["CAM"],
        image_size=None,
        measures={"noise": {"amounts": [0.1], "images_per_source": 1}},
    )
    key = ModelKey("toy", "cyborg", 0)
    about = {"format": "e2m-checkpoint-1", "detector": "toy", "weights": {}, "origin": "images 0123abcd, weights fresh"}
    loop.save(about | {"settings": asdict(chosen.settings(key))}, chosen.checkpoint(key))
    explain.explain(chosen, key, ["fake"], progress=False, detector=toy())
    assert disk.read_maps(chosen.maps_file(key, "CAM", "fake")).attrs[LEARNT] == "0123abcd"
    assert disk.made_of(chosen.rows_file(key, "noise", "fake"))[LEARNT] == "0123abcd"
