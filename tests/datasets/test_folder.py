"""The frame that ``load_dataset`` gives, and folders and lists of every kind."""

import sys
import types

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import e2m.datasets
import e2m.datasets.folder
from e2m.datasets import COLUMNS, load_dataset
from e2m.types import InputError


@pytest.fixture
def make_files(tmp_path):
    """Create images below a root: ``make_files("real/a.png")``; returns the root."""

    def touch(*names):
        for name in names:
            path = tmp_path / "faces" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
        return tmp_path / "faces"

    return touch


@pytest.fixture
def listed(tmp_path):
    """Write a list of images and return its path."""

    def write(*lines, name="list.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    return write


def rows(samples, *columns):
    return [tuple(row) for row in samples[list(columns)].to_numpy()]


def test_a_tree_defines_label_source_and_split(make_files):
    root = make_files(
        "test/synthetic/stylegan/b.png",
        "train/REAL/a.JPG",
        "Fake/val/progan/deep/c.png",
        "1_fake/d.webp",
        "notes/e.png",
    )
    samples = load_dataset("folder", root=root)
    assert rows(samples, "image", "label", "source", "split") == [
        ("1_fake/d.webp", "synthetic", "1_fake", "test"),
        ("Fake/val/progan/deep/c.png", "synthetic", "progan", "validate"),
        ("test/synthetic/stylegan/b.png", "synthetic", "stylegan", "test"),
        ("train/REAL/a.JPG", "authentic", "REAL", "train"),
    ]
    assert tuple(samples) == COLUMNS
    assert samples["path"].tolist() == [str(root / image) for image in samples["image"]]
    assert samples["subject"].tolist() == samples["image"].tolist()
    assert set(samples["salience"]) == {""}


def test_cyborg_lists_are_read_as_they_are(make_files, listed):
    fake, real = "train/original_data/1_fake/p1_100_fake.png", "val/original_data/0_real/p1_7_real.png"
    root = make_files(fake, real, "test/ffhq/0_real/9.png")
    original = listed(f"train,Synthetic,/{fake}", f"test,Real,/{real}")
    columns = ("image", "label", "split", "source")
    assert rows(load_dataset("folder", root=root, csv=original), *columns) == [
        (fake, "synthetic", "train", "1_fake"),
        (real, "authentic", "validate", "0_real"),
    ]
    unseen = listed("test,Real,/test/ffhq/0_real/9.png")
    assert load_dataset("folder", root=root, csv=unseen)["split"].tolist() == ["test"]


RELEASED = {
    "original": ("train,Synthetic,/train/original_data/1_fake/p1_100_fake.png", "test,Real,/val/0_real/02463d452.png"),
    "ffhq": ("test,Real,/test/0_real/ffhq_aligned/01128.png",),
    "celeba_hq": ("test,Real,/test/0_real/celeba-hq_real_aligned/24734.jpg",),
    "stylegan2": ("test,Synthetic,/test/1_fake/stylegan2-0.5_aligned/000000/000188.png",),
    "stylegan3": (
        "test,Real,/test/0_real/ffhq_aligned/01128.png",
        "test,Synthetic,/test/1_fake/stylegan3-0.5_aligned/seed278567.png",
    ),
}


def released(make_files, listed):
    """The released lists and the images that they name, as options."""
    root = make_files(*(line.split(",")[2].lstrip("/") for lines in RELEASED.values() for line in lines))
    return {"root": root, "csv": [listed(*lines, name=f"{name}.csv") for name, lines in RELEASED.items()]}


def test_released_lists_name_their_sources_by_the_folder_below_the_label(make_files, listed):
    samples = load_dataset("folder", **released(make_files, listed))
    assert rows(samples, "source", "label", "split") == [
        ("1_fake", "synthetic", "train"),
        ("0_real", "authentic", "validate"),
        ("ffhq_aligned", "authentic", "test"),  # once, although two lists name it
        ("celeba-hq_real_aligned", "authentic", "test"),
        ("stylegan2-0.5_aligned", "synthetic", "test"),
        ("stylegan3-0.5_aligned", "synthetic", "test"),
    ]


def test_folders_are_renamed_and_the_deepest_then_the_longest_key_counts(make_files, listed):
    names = {
        "1_fake": "gan",
        "original_data/1_fake": "srefi",
        "/val/0_real/": "held_out",
        "ffhq_aligned": "ffhq",
        "celeba-hq_real_aligned": "celeba_hq",
        "stylegan3-0.5_aligned": "stylegan3",
        "aligned": "never",
    }
    samples = load_dataset("folder", **released(make_files, listed), source_names=names)
    assert samples["source"].tolist() == ["srefi", "held_out", "ffhq", "celeba_hq", "gan", "stylegan3"]


def test_folders_without_a_name_are_listed_with_how_to_name_them(make_files, listed):
    with pytest.raises(InputError) as raised:
        load_dataset("folder", **released(make_files, listed), source_names={"ffhq_aligned": "ffhq", "val": "held_out"})
    assert str(raised.value).endswith(
        "images in folders that source_names= does not name: 1_fake (1 images), celeba-hq_real_aligned (1 images), "
        "stylegan2-0.5_aligned (1 images), stylegan3-0.5_aligned (1 images); add a name for each, as in "
        "1_fake: NAME_OF_THE_SOURCE"
    )


def test_a_column_names_its_source_and_a_tree_is_renamed_too(make_files, listed):
    root = make_files("fake/gan/a.png", "real/b.png")
    csv = listed("path,label,source", "fake/gan/a.png,fake,mine", "real/b.png,real,")
    samples = load_dataset("folder", root=root, csv=csv, source_names={"real": "photographs"})
    assert samples["source"].tolist() == ["mine", "photographs"]
    samples = load_dataset("folder", root=root, source_names={"real": "photographs", "fake/gan": "gan"})
    assert samples["source"].tolist() == ["gan", "photographs"]


def test_lists_that_contradict_each_other(make_files, listed):
    root = make_files("a.png")
    lists = [listed(f"path,label\na.png,{label}", name=f"{label}.csv") for label in ("real", "fake")]
    with pytest.raises(InputError, match=r"a\.png: listed as authentic and as synthetic; keep one"):
        load_dataset("folder", root=root, csv=lists)


def test_a_second_list_with_other_labels_is_refused(make_files, listed):
    root = make_files("train/0_real/a.png")
    lists = [listed(f"train,{label},/train/0_real/a.png", name=f"{label}.csv") for label in ("Real", "Synthetic")]
    with pytest.raises(InputError, match="listed as authentic and as synthetic"):
        load_dataset("folder", root=root, csv=lists[0], seven_times=lists[1])


def test_a_path_by_way_of_another_folder_names_the_folder_it_ends_in(make_files, listed):
    csv = listed("path,label", "x/../gan/a.png,fake", "x/b.png,real")
    samples = load_dataset("folder", root=make_files("gan/a.png", "x/b.png"), csv=csv)
    assert rows(samples, "image", "source") == [("gan/a.png", "gan"), ("x/b.png", "x")]


def test_line_ends_and_quotes_are_those_of_csv(make_files, tmp_path):
    root = make_files('fake/a, "b".png', "real/c.png")
    (tmp_path / "list.csv").write_bytes(b'path,label\r\n"fake/a, ""b"".png",fake\r\nreal/c.png,real\r\n')
    samples = load_dataset("folder", root=root, csv=tmp_path / "list.csv")
    assert rows(samples, "image", "label") == [('fake/a, "b".png', "synthetic"), ("real/c.png", "authentic")]


@pytest.mark.parametrize("name", [None, "", 3])
def test_the_name_of_a_source_is_text(make_files, name):
    with pytest.raises(InputError, match="the name of a source is text"):
        load_dataset("folder", root=make_files("real/a.png"), source_names={"real": name})


def test_an_image_in_no_folder_cannot_be_named_by_its_folder(make_files, listed):
    csv = listed("path,label", "a.png,real")
    with pytest.raises(InputError, match=r"1 images lie in no folder below root=.*; give the list a column source"):
        load_dataset("folder", root=make_files("a.png"), csv=csv, source_names={"faces": "x"})


def test_a_list_with_a_header_keeps_its_order_and_columns(make_files, listed):
    root = make_files("z.png", "sub/a.png", "map.png")
    csv = listed(
        "\ufeffLabel,path,source,split,subject,salience,image",
        "fake,z.png,gan,val,anna,map.png,one",
        "",
        f"bonafide,{root.resolve() / 'sub' / 'a.png'},,,,,",
    )
    samples = load_dataset("folder", root=root, csv=csv)
    assert rows(samples, "image", "label", "source", "split", "subject") == [
        ("one", "synthetic", "gan", "validate", "anna"),
        ("sub/a.png", "authentic", "sub", "test", "sub/a.png"),
    ]
    assert samples["salience"].tolist() == [str(root / "map.png"), ""]


def test_human_maps_are_found_by_path_or_by_name(make_files, tmp_path):
    root = make_files("real/x/a.jpg", "real/b.png", "fake/c.png")
    maps = tmp_path / "maps"
    (maps / "real/x").mkdir(parents=True)
    np.save(maps / "real/x/a.npy", np.eye(7))
    Image.new("L", (7, 7)).save(maps / "b.png")
    samples = load_dataset("folder", root=root, salience=maps).set_index("image")["salience"]
    assert samples.to_dict() == {
        "fake/c.png": "",
        "real/b.png": str(maps / "b.png"),
        "real/x/a.jpg": str(maps / "real/x/a.npy"),
    }


def test_segmentation_masks_come_from_a_folder_or_a_column(make_files, listed, tmp_path):
    root = make_files("real/a.png", "fake/b.png", "masks/of_b.png")
    (tmp_path / "parts").mkdir()
    np.save(tmp_path / "parts/a.npy", np.eye(4))
    csv = listed("path,label,segmentation", "real/a.png,real,", "fake/b.png,fake,masks/of_b.png")
    by_column = load_dataset("folder", root=root, csv=csv)
    assert by_column["segmentation"].tolist() == ["", str(root / "masks/of_b.png")]
    both = load_dataset("folder", root=root, csv=csv, segmentation=tmp_path / "parts")
    assert both["segmentation"].tolist() == [str(tmp_path / "parts/a.npy"), str(root / "masks/of_b.png")]
    assert set(both["salience"]) == {""}
    assert "segmentation" not in load_dataset("folder", root=root, csv=listed("path,label", "real/a.png,real"))
    (tmp_path / "parts/a.npy").unlink()
    with pytest.raises(InputError, match="parts: no segmentation mask of any image, such as real/a"):
        load_dataset("folder", root=root, csv=csv, segmentation=tmp_path / "parts")


def test_a_second_list_holds_seven_times_the_training_images(make_files, listed, tmp_path):
    root = make_files("train/1_fake/a.png", "train/0_real/b.png", "train/0_real/c.png", "val/0_real/d.png")
    np.save(tmp_path / "b.npy", np.eye(4))
    one = ["train,Synthetic,/train/1_fake/a.png", "train,Real,/train/0_real/b.png", "test,Real,/val/0_real/d.png"]
    more = listed(*one, "train,Real,/train/0_real/c.png", name="more.csv")
    samples = load_dataset("folder", root=root, csv=listed(*one), seven_times=more, salience=tmp_path)
    assert rows(samples, "image", "split") == [
        ("train/1_fake/a.png", "train"),
        ("train/0_real/b.png", "train"),
        ("val/0_real/d.png", "validate"),
        ("seven_times/train/1_fake/a.png", "train_seven_times"),
        ("seven_times/train/0_real/b.png", "train_seven_times"),
        ("seven_times/train/0_real/c.png", "train_seven_times"),
    ]
    assert samples["path"][5] == str(root / "train/0_real/c.png")
    assert samples["salience"].tolist() == ["", str(tmp_path / "b.npy"), "", "", "", ""]
    with pytest.raises(
        InputError, match=r"more\.csv: no image of the split train; seven_times= names a list of images"
    ):
        load_dataset("folder", root=root, seven_times=listed("test,Real,/val/0_real/d.png", name="more.csv"))


def test_one_map_never_serves_two_images(make_files, tmp_path):
    root = make_files("real/a.png", "fake/a.png")
    (tmp_path / "maps").mkdir()
    with pytest.raises(InputError, match="no human map of any image"):
        load_dataset("folder", root=root, salience=tmp_path / "maps")
    Image.new("L", (7, 7)).save(tmp_path / "maps/a.png")
    with pytest.raises(InputError, match=r"a\.png: the human map of 2 images"):
        load_dataset("folder", root=root, salience=tmp_path / "maps")


@pytest.mark.parametrize("ending", ["npy", "png", "npz", "jpg", "tif", "png.npy", "png.jpg"])
@pytest.mark.parametrize("inside", ["", "real/"])
def test_a_human_map_has_the_name_of_its_image_and_any_ending(make_files, tmp_path, ending, inside):
    """One class with maps of another ending than the other would be left out in silence."""
    root, folder = make_files("real/a.png", "fake/b.png"), tmp_path / "maps"
    (folder / inside).mkdir(parents=True)
    (folder / f"{inside}a.{ending}").write_bytes(b"")
    samples = load_dataset("folder", root=root, salience=folder).set_index("image")
    assert samples["salience"].to_dict() == {"real/a.png": f"{folder}/{inside}a.{ending}", "fake/b.png": ""}


@pytest.mark.parametrize("kind", ["salience", "segmentation"])
def test_an_image_is_no_map_of_itself(make_files, kind):
    """A folder of grey images would pass for one of maps."""
    root = make_files("real/a.png", "fake/b.png")
    with pytest.raises(InputError, match=rf"b\.png: the image itself, .*; give the folder of the maps as {kind}="):
        load_dataset("folder", root=root, **{kind: root})


def test_several_folders_of_human_maps_are_several_annotators(make_files, tmp_path):
    root = make_files("real/a.png", "real/b.png", "fake/c.png")
    for folder, names in (("first", "ab"), ("second", "a"), ("third", "ac")):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("L", (7, 7)).save(tmp_path / folder / f"{name}.png")
    folders = [tmp_path / folder for folder in ("first", "second", "third")]
    samples = load_dataset("folder", root=root, salience=folders).set_index("image")
    assert tuple(samples) == (*COLUMNS[1:], "annotations")
    assert samples["salience"].to_dict() == {
        "fake/c.png": "",
        "real/a.png": str(folders[0] / "a.png"),
        "real/b.png": str(folders[0] / "b.png"),
    }
    assert samples["annotations"].to_dict() == {
        "fake/c.png": (str(folders[2] / "c.png"),),
        "real/a.png": tuple(str(folder / "a.png") for folder in folders),
        "real/b.png": (str(folders[0] / "b.png"),),
    }
    one = load_dataset("folder", root=root, salience=folders[:1])
    assert tuple(one) == COLUMNS
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no human map of any image, such as .*\.png; correct salience="):
        load_dataset("folder", root=root, salience=[folders[0], tmp_path / "empty"])


@pytest.fixture
def planted(monkeypatch):
    """Replace the data set "folder" by another: ``planted(source=[...], ...)``."""

    def plant(**columns):
        whole = {
            "image": ["a", "b", "c"],
            "path": "",
            "label": "authentic",
            "source": ["x", "y", "x"],
            "split": ["test", "train", "test"],
            "subject": "s",
            "salience": "",
        } | columns
        data = pd.DataFrame({name: values for name, values in whole.items() if values is not None})
        module = types.SimpleNamespace(load=lambda: data, __file__=e2m.datasets.folder.__file__)
        monkeypatch.setitem(sys.modules, "e2m.datasets.folder", module)

    return plant


def test_split_and_sources_select_rows_in_order(planted):
    planted()
    assert load_dataset("folder")["image"].tolist() == ["a", "b", "c"]
    assert load_dataset("folder", split="test")["image"].tolist() == ["a", "c"]
    assert load_dataset("folder", sources=["y", "x"])["image"].tolist() == ["a", "b", "c"]
    chosen = load_dataset("folder", sources="y")
    assert (chosen["image"].tolist(), chosen.index.tolist()) == (["b"], [0])


@pytest.mark.parametrize(
    ("columns", "arguments", "words"),
    [
        ({"label": "real"}, {}, "the label 'real'; choose from authentic, synthetic"),
        ({"split": "val"}, {}, "the split 'val'; choose from train, validate, test"),
        ({"image": ["a", "b", "a"]}, {}, "1 images more than once, 'a' first"),
        ({"subject": None}, {}, "no column subject; the columns needed are image"),
        ({}, {"split": "dev"}, "no split named 'dev'; choose from train, validate, test"),
        ({}, {"split": "validate"}, "no images in split 'validate'; it has train, test"),
        ({}, {"sources": ["x", "z"]}, "no source 'z'; choose from x, y"),
        ({}, {"sources": []}, "empty list of sources; choose from x, y"),
        ({}, {"sources": "y", "split": "test"}, "source 'y' .* no images in split 'test'; this split has x"),
        ({}, {"colour": 1}, "no option 'colour'; its options: none"),
        ({"image": [], "source": [], "split": []}, {}, "has no images"),
    ],
)
def test_frames_that_do_not_fit_are_refused(planted, columns, arguments, words):
    planted(**columns)
    with pytest.raises(InputError, match=words):
        load_dataset("folder", **arguments)


def test_options_and_data_sets_are_listed():
    with pytest.raises(
        InputError,
        match="no option 'folder'; its options: root, csv, salience, segmentation, seven_times, source_names",
    ):
        load_dataset("folder", folder="faces")
    with pytest.raises(InputError, match="needs the option 'root'"):
        load_dataset("folder")
    with pytest.raises(InputError, match="no dataset named 'celeba'; choose from demo, folder"):
        load_dataset("celeba")
    assert e2m.datasets.SPLITS == ("train", "validate", "test", "train_seven_times")
