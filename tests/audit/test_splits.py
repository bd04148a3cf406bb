"""Which split is audited, and what is said about the others."""

import shutil

import pytest

from e2m.audit import command
from e2m.audit.audit import Audit

SMALL = "people_networks:with_weights"


def audit_of(pictures, root, *splits):
    """An audit of the same pictures in several splits; of each split, number k loses its first k images."""
    for number, split in enumerate(splits):
        shutil.copytree(pictures, root / split)
        for label in ("real", "fake"):
            for index in range(number):
                (root / split / label / f"{index}.png").unlink()
    return Audit.of(str(root), [{"name": "A", "network": SMALL}], folder=root.parent / "out")


@pytest.mark.parametrize(
    ("splits", "audited", "images", "level", "said"),
    [
        (("train", "val", "test"), "test", 20, "note", "46 images of other splits than test are not audited"),
        (("train", "val"), "validate", 22, "note", "no image is of the split test; the 22 of the split validate"),
        (("train",), "train", 24, "warning", "all 24 images are of the split train; detectors trained on them look"),
    ],
)
def test_the_split_that_detectors_know_least_is_audited(
    pictures, networks, tmp_path, splits, audited, images, level, said
):
    audit = audit_of(pictures, tmp_path / "images", *splits)
    assert set(audit.samples["split"]) == {audited}
    assert len(audit.listed) == images
    assert any(line.startswith(said) and kind == level for kind, _, line in command._split(audit))


def test_an_image_that_detectors_were_trained_on_is_named(pictures, networks, tmp_path):
    audit = audit_of(pictures, tmp_path / "images", "train", "test")
    ((level, about, text),) = command._twins(audit)
    assert (level, about) == ("warning", "images")
    assert text.startswith("44 files are equal to one of another split: ")
    assert "test/" in text
    assert "train/" in text
    shutil.rmtree(tmp_path / "images" / "train")
    assert list(command._twins(audit_of(pictures, tmp_path / "other", "test"))) == []
