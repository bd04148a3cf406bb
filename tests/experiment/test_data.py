"""The list of a profile's images: it holds until one of them changes, and a touch is no change."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m.experiment import data
from e2m.experiment.results import Experiment
from e2m.networks import masker
from e2m.store import disk, paths
from e2m.types import InputError

ROWS = [
    ("train/0.png", "authentic", "real", "train"),
    ("train/1.png", "synthetic", "fake", "train"),
    ("validate/0.png", "authentic", "real", "validate"),
    ("test/0.png", "authentic", "real", "test"),
    ("test/1.png", "synthetic", "fake", "test"),
    ("test/2.png", "synthetic", "fake", "test"),
]


@pytest.fixture
def faces(roots):
    """A folder of images with the maps of two people, and a function that loads its profile anew."""
    root = roots / "faces"
    random = np.random.default_rng(0)
    for path, *_ in ROWS:
        for folder, shape in (("images", (8, 8, 3)), ("anna", (8, 8)), ("ben", (8, 8))):
            (root / folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(root / folder / path)
    pd.DataFrame(ROWS, columns=["path", "label", "source", "split"]).to_csv(root / "list.csv", index=False)
    return root


def experiment(root, **changed):
    options = {"root": str(root / "images"), "csv": str(root / "list.csv")}
    options["salience"] = [str(root / "anna"), str(root / "ben")]
    about = {"sources": ["real", "fake"], "in_set": ["real", "fake"], "images_per_source": 1}
    return Experiment.load("smoke", **{"dataset": "folder", "dataset_options": options, **about, **changed})


def states(root, **changed):
    return {part: data.state(experiment(root, **changed), part) for part in data.PARTS}


@pytest.fixture
def listed(faces):
    for part in data.PARTS:
        data.write(experiment(faces), part, f"of {part}")
    return faces


HELD = {"train": "of train", "test": "of test"}


def differ(root, **changed):
    """The parts whose list no longer holds; and that they have one new state each."""
    result = states(root, **changed)
    assert result == states(root, **changed)
    return {part for part, state in result.items() if state != HELD[part]}


def test_images_that_were_never_listed(faces):
    assert states(faces) == {"train": "new", "test": "new"}


def test_a_list_holds_the_files_of_its_part_with_their_hashes(listed):
    assert states(listed) == HELD
    result = pd.read_parquet(paths.images("smoke", "test"))
    assert result["image"].unique().tolist() == ["test/0.png", "test/2.png"]  # one image a source, as drawn
    assert result.groupby("image").size().tolist() == [4, 4]  # image, map, and the maps of both people
    assert result["sha256"].tolist() == [disk.file_hash(path) for path in result["path"]]
    train = pd.read_parquet(paths.images("smoke", "train"))
    assert set(train["split"]) == {"train", "validate"}


def test_touched_or_copied_files_have_not_changed(listed):
    for path in (listed / "images").rglob("*.png"):
        os.utime(path, ns=(1, 1))
    for path in (listed / "anna").rglob("*.png"):
        shutil.copy(path, f"{path}.copy")
        path.unlink()
        shutil.move(f"{path}.copy", path)
    assert differ(listed) == set()


@pytest.mark.parametrize("folder", ["images", "anna", "ben"])
@pytest.mark.parametrize(
    ("path", "parts"),
    [("train/1.png", {"train"}), ("validate/0.png", {"train"}), ("test/2.png", {"test"}), ("test/1.png", set())],
)
def test_a_changed_file_of_the_same_size(listed, folder, path, parts):
    file = listed / folder / path
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"!")
    assert differ(listed) == parts
    for part in parts:
        data.write(experiment(listed), part, HELD[part])
    assert differ(listed) == set()


def test_a_file_that_is_missing(listed):
    (listed / "images" / "test" / "1.png").unlink()
    assert "test" in differ(listed)


def test_a_new_human_map_and_one_less(listed):
    (listed / "anna" / "train" / "1.png").unlink()
    assert differ(listed) == {"train"}


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("test/2.png,synthetic", "test/2.png,authentic", {"test"}),
        ("train/1.png,synthetic,fake", "train/1.png,synthetic,real", {"train"}),
        ("validate/0.png,authentic,real,validate", "validate/0.png,authentic,real,train", {"train"}),
        ("test/1.png,synthetic,fake,test", "test/1.png,synthetic,fake,train", {"train"}),
        ("label,source", "wrong,source", {"train", "test"}),
    ],
)
def test_what_the_list_of_the_data_set_says(listed, old, new, parts):
    file = listed / "list.csv"
    content = file.read_text()
    assert content.count(old) == 1
    file.write_text(content.replace(old, new))
    assert differ(listed) == parts


def test_other_settings_read_other_images(listed):
    assert differ(listed, images_per_source=2) == {"test"}
    assert differ(listed, sources=["fake"], in_set=["fake"]) == {"test"}


# Images and maps of regimes


def with_options(root, regime, **options):
    profile = experiment(root, controls={regime: 1})
    return experiment(root, controls={regime: 1}, dataset_options={**profile.dataset_options, **options})


@pytest.mark.parametrize(
    ("regime", "message"),
    [
        ("segmentation", "regime segmentation reads a segmentation mask of every training image, and 2 of 2 images"),
        ("seven_times", "regime seven_times trains on the split 'train_seven_times', and data set 'folder' has no im"),
    ],
)
def test_a_regime_without_its_images_or_maps_is_refused_before_any_training(faces, regime, message):
    with pytest.raises(InputError, match=message) as caught:
        data.write(with_options(faces, regime), "train")
    assert "\n" not in str(caught.value)
    assert not paths.images("smoke", "train").exists()
    data.write(with_options(faces, regime), "test")


def test_a_guided_regime_without_all_human_maps_is_refused_before_any_training(faces):
    (faces / "anna" / "train/1.png").unlink()
    with pytest.raises(InputError, match=r"regime cyborg reads a human map of every .* 1 of 2 images .*train/1\.png\)"):
        data.write(experiment(faces, regimes=["cross_entropy", "cyborg"], guided="cyborg"), "train")
    data.write(experiment(faces, regimes=["cross_entropy"], guided=None, controls={}, study={}, masker=None), "train")


@pytest.mark.parametrize(
    ("size", "content", "words"),
    [((8, 24), None, "a map of 24x8 does not fit"), ((8, 8), b"x", "cannot be read as an")],
)
def test_a_mask_that_does_not_fit_is_refused_before_any_training(faces, size, content, words):
    shutil.copytree(faces / "anna", faces / "masks")
    path = faces / "masks" / "train/1.png"
    Image.new("L", size).save(path)
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"masks/train/1\.png: {words}"):
        data.write(with_options(faces, "segmentation", segmentation=str(faces / "masks")), "train")
    assert not paths.images("smoke", "train").exists()


@pytest.mark.parametrize("changed", [{"in_set": ["fake"]}, {"counterparts": {"fake": "fake"}}])
def test_sources_that_cannot_be_compared_are_refused_before_any_training(faces, changed):
    with pytest.raises(
        InputError, match=r"profile smoke: (in_set has the labels fake: synthetic|counterparts has 'fake')"
    ):
        data.check(experiment(faces, **changed))


def test_a_regime_may_train_on_masks_or_on_another_list(faces):
    shutil.copytree(faces / "anna", faces / "masks")
    frame = pd.DataFrame([row for row in ROWS if row[3] == "train"], columns=["path", "label", "source", "split"])
    frame.to_csv(faces / "more.csv", index=False)
    masked = with_options(faces, "segmentation", segmentation=str(faces / "masks"))
    more = with_options(faces, "seven_times", seven_times=str(faces / "more.csv"))
    for profile in (masked, more):
        data.write(profile, "train")
    assert data.training_samples(masked, "segmentation")["salience"].tolist() == [
        str(faces / "masks" / path) for path, *_ in ROWS[:2]
    ]
    assert data.training_samples(masked, "cyborg")["salience"].tolist() == [
        str(faces / "anna" / path) for path, *_ in ROWS[:2]
    ]
    assert data.training_samples(more, "seven_times")["split"].tolist() == ["train_seven_times"] * 2
    assert data.training_samples(more, "cyborg")["split"].tolist() == ["train"] * 2
    assert data.training_images(more)["split"].tolist() == ["train", "train", "validate", *["train_seven_times"] * 2]
    (faces / "masks" / "train/1.png").unlink()
    with pytest.raises(InputError, match=r"and 1 of 2 images .* \(first: train/1.png\)"):
        data.training_samples(masked, "segmentation")


@pytest.mark.parametrize("stages", [["nowhere"], ["features", "nowhere"], ["classifier"], ["body.0; touch ran"], [""]])
def test_stages_that_a_network_lacks_are_refused_before_any_training(faces, stages):
    chosen = experiment(faces)
    with pytest.raises(InputError, match=r"detector 'demo_cnn' has no stage named '.*'; its stages are \w+"):
        data.write(replace(chosen, masker={**chosen.masker, "stages": stages}), "train")
    assert not paths.images("smoke", "train").exists()


def test_stages_that_a_network_has_are_accepted(faces, named_detector):
    chosen, known = experiment(faces), list(masker.stages(named_detector("demo_cnn")))
    for stages in (known[-1:], known[-2:], None):
        data.check_stages(replace(chosen, masker={**chosen.masker, "stages": stages}))
    data.check_stages(replace(chosen, masker=None))
