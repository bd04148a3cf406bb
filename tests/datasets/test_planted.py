"""The planted data: only one patch distinguishes the classes, and every build writes the same bytes."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from e2m.arrays import map_files
from e2m.arrays.images import read_image, read_images
from e2m.datasets import load_dataset, planted
from e2m.store.building import SUBJECTS, photographs, random_of

read_maps = partial(map_files.read_maps, normalise="none")


@pytest.fixture(scope="module")
def samples():
    """The whole data set."""
    return load_dataset("planted")


@pytest.fixture(scope="module")
def faces():
    return photographs()


def test_counts_and_people(samples):
    counts = samples.groupby(["source", "split", "label"]).size().to_dict()
    assert counts == {
        (source, split, label): 5 * len(SUBJECTS[split])
        for source, label in planted.LABEL.items()
        for split in ("train", "validate", "test")
    }
    for split, people in SUBJECTS.items():
        assert set(samples.loc[samples["split"] == split, "subject"]) == set(people)


def test_no_photograph_is_in_both_classes(samples):
    names = samples["image"].str.split("/").str[1]
    assert names.is_unique
    assert len(names) == 400


def test_the_patch_is_the_only_difference(samples, faces):
    for source, rows in samples.groupby("source"):
        grey = np.concatenate(list(read_images(rows)))[..., 0].astype(int)
        numbers = rows["image"].str[-2:].astype(int) - 1
        originals = np.stack([faces[person][number] for person, number in zip(rows["subject"], numbers, strict=True)])
        change = grey - originals
        if source == "orl":
            assert (change == 0).all()
            assert set(rows["region"]) | set(rows["salience"]) == {""}
            continue
        region = read_maps(rows["region"]) == 255
        assert (region.sum(axis=(1, 2)) == planted.PATCH**2).all()
        assert (change[~region] == 0).all()
        # Only grey levels that would leave 0 to 255 change by less.
        assert np.mean(np.abs(change[region]) == planted.CONTRAST) > 0.9
        assert abs(change[region].mean()) < 1
        assert len(np.unique(region, axis=0)) > 150  # in many positions
        np.testing.assert_array_equal(read_maps(rows["salience"]) == 255, region)


def test_a_patch_by_hand():
    pixels, region = planted.plant(np.full((112, 112), 100, np.uint8), np.random.default_rng(0))
    rows, columns = np.nonzero(region)
    assert (np.ptp(rows), np.ptp(columns)) == (11, 11)
    assert min(rows.min(), columns.min()) >= planted.MARGIN
    assert max(rows.max(), columns.max()) < 112 - planted.MARGIN
    corner = pixels[rows.min() : rows.min() + 2, columns.min() : columns.min() + 2]
    assert corner.tolist() == [[132, 68], [68, 132]]


def test_every_file_is_what_the_manifest_says_and_none_depends_on_another(samples, faces):
    folder = Path(samples["path"][0]).parents[1]
    manifest = pd.read_parquet(folder / "manifest.parquet")
    for kind, checksum in (("path", "sha256"), ("salience", "salience_sha256"), ("region", "region_sha256")):
        with_file = manifest[manifest[kind] != ""]
        checksums = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in with_file[kind]]
        assert checksums == with_file[checksum].tolist()
    alone, _ = planted.plant(faces["s30"][3], random_of("planted/s30_04"))
    one = samples.set_index("image").loc["planted/s30_04", "path"]
    np.testing.assert_array_equal(read_image(one)[..., 0], alone)
