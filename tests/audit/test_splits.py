"""Which split is audited, and what is said about the others."""

import shutil

import pytest
from PIL import Image

from e2m.audit import check, command
from e2m.audit.audit import Audit
from e2m.datasets import load_dataset

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
    assert any(one.text.startswith(said) and one.level == level for one in command._split(audit))


def test_an_image_that_detectors_were_trained_on_is_named(tmp_path):
    for name, pixels in (("train/real/a", 1), ("test/real/b", 1), ("test/fake/c", 2), ("train/fake/d", 3)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), pixels).save(path)
    samples = load_dataset("folder", root=tmp_path)
    ((finding),) = check.of_images(samples)
    assert (finding.level, finding.about) == ("warning", "images")
    assert finding.text == "2 files are equal to one of another split: test/real/b.png and train/real/a.png"
    assert list(check.of_images(samples, "test")) == [finding]
    assert list(check.of_images(samples, "validate")) == []
    (tmp_path / "train/real/a.png").unlink()
    assert list(check.of_images(load_dataset("folder", root=tmp_path))) == []


@pytest.mark.parametrize(
    ("maps", "level", "said"),
    [
        (("fake/*",), "note", "{what} of 12 of 12 fake, 0 of 12 real"),
        (("fake/*", "real/*"), "note", "{what} of 12 of 12 fake, 12 of 12 real"),
        (("fake/*", "real/1*"), "warning", "{what} of 12 of 12 fake, 3 of 12 real; only those are compared: are"),
    ],
)
@pytest.mark.parametrize(("option", "what"), [("human", "human maps"), ("regions", "true regions")])
def test_how_many_images_have_a_map_beside_them_is_said(pictures, networks, tmp_path, option, what, maps, level, said):
    for path in [path for pattern in maps for path in pictures.glob(pattern)]:
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        Image.open(path).convert("L").save(tmp_path / path.relative_to(pictures))
    options = {"regions": str(tmp_path)} if option == "regions" else {"options": {"salience": str(tmp_path)}}
    audit = Audit.of(str(pictures), [{"name": "A", "network": SMALL}], folder=tmp_path / "out", **options)
    (finding,) = command._beside(audit)
    assert (finding.level, finding.about) == (level, "images")
    assert finding.text.startswith(said.format(what=what))
    assert list(command._beside(Audit.of(str(pictures), [{"name": "A", "network": SMALL}]))) == []


def test_weights_that_two_groups_share_are_named(pictures, trained, tmp_path):
    """Two patterns that match one file would compare a run with itself."""
    weights = trained(tmp_path, "a", (1, 2))
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a_2.pt", tmp_path / "b" / "1.pt")
    groups = [("A", [weights]), ("B", [f"{tmp_path}/b/1.pt"]), ("C", [trained(tmp_path / "c", "c", (3,))])]
    detectors = [{"name": name, "network": "people_networks:small", "weights": files} for name, files in groups]
    (finding,) = command._shared(Audit.of(str(pictures), detectors, folder=tmp_path / "out"))
    assert (finding.level, finding.about) == ("warning", "weights")
    assert finding.text.startswith("a_2.pt of A and 1.pt of B have the same weights; ")
    assert list(command._shared(Audit.of(str(pictures), detectors[1:], folder=tmp_path / "out"))) == []
