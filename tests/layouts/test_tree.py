"""Folder trees as people have them: twenty images a layout, and then trees that are ambiguous or hostile."""

import os
import unicodedata

import pytest

from e2m.datasets import folder, load_dataset
from e2m.types import InputError


@pytest.fixture
def tree(tmp_path):
    """Make files below a root, each with content of its own: ``tree("real/a.png")``; returns the root."""

    def make(*names):
        for name in names:
            path = tmp_path / "faces" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return tmp_path / "faces"

    return make


def table(samples):
    """Source -> label, images, subjects."""
    return {row.source: (row.label, row.images, row.subjects) for row in folder.found(samples).itertuples()}


def numbered(folders, count):
    return [f"{name}/{number:04}.png" for name in folders for number in range(count)]


A, S = "authentic", "synthetic"
VIDEOS = [f"{number:03}" for number in range(5)]
PAIRS = [f"{number:03}_{number + 1:03}" for number in range(5)]
LAYOUTS = {
    "original and manipulated": (
        numbered(["original", "manipulated"], 10),
        {"original": (A, 10, 10), "manipulated": (S, 10, 10)},
    ),
    "nature and ai": (numbered(["nature", "ai"], 10), {"nature": (A, 10, 10), "ai": (S, 10, 10)}),
    "numbered words": (numbered(["0_real", "1_fake"], 10), {"0_real": (A, 10, 10), "1_fake": (S, 10, 10)}),
    "numbers": (numbered(["0", "1"], 10), {"0": (A, 10, 10), "1": (S, 10, 10)}),
    "words in names": (
        numbered(["training_real", "training_fake"], 10),
        {"training_real": (A, 10, 10), "training_fake": (S, 10, 10)},
    ),
    "capitals": (numbered(["FFHQ/Real", "FFHQ/AI-Generated"], 10), {"Real": (A, 10, 10), "AI-Generated": (S, 10, 10)}),
    "generator inside class": (
        numbered(["real/ffhq", "fake/stylegan2", "fake/stylegan3", "fake/progan"], 5),
        {"ffhq": (A, 5, 5), "stylegan2": (S, 5, 5), "stylegan3": (S, 5, 5), "progan": (S, 5, 5)},
    ),
    "class inside generator": (
        numbered(
            [f"{gan}/{kind}" for gan in ("progan/cat", "progan/dog", "biggan") for kind in ("0_real", "1_fake")], 4
        ),
        {
            "progan-authentic": (A, 8, 8),
            "progan-synthetic": (S, 8, 8),
            "biggan-authentic": (A, 4, 4),
            "biggan-synthetic": (S, 4, 4),
        },
    ),
    "class inside split inside generator": (
        numbered([f"{gan}/val/{kind}" for gan in ("imagenet_ai_0419_biggan", "sd15") for kind in ("nature", "ai")], 5),
        {
            "imagenet_ai_0419_biggan-authentic": (A, 5, 5),
            "imagenet_ai_0419_biggan-synthetic": (S, 5, 5),
            "sd15-authentic": (A, 5, 5),
            "sd15-synthetic": (S, 5, 5),
        },
    ),
    "FaceForensics++": (
        numbered([f"original_sequences/youtube/c23/frames/{video}" for video in VIDEOS], 2)
        + numbered(
            [
                f"manipulated_sequences/{how}/c23/frames/{video}"
                for how in ("Deepfakes", "Face2Face")
                for video in PAIRS
            ],
            2,
        )
        + numbered([f"manipulated_sequences/Deepfakes/c23/masks/{video}" for video in PAIRS], 2),
        {"youtube": (A, 10, 5), "Deepfakes": (S, 10, 5), "Face2Face": (S, 10, 5)},
    ),
    "Celeb-DF": (
        numbered([f"{kind}/id{n}_000{n}" for kind in ("Celeb-real", "Celeb-synthesis") for n in range(5)], 2)
        + numbered([f"YouTube-real/{number:05}" for number in range(3)], 2),
        {"Celeb-real": (A, 10, 5), "Celeb-synthesis": (S, 10, 5), "YouTube-real": (A, 6, 3)},
    ),
    "Celeb-DF with frames": (
        numbered([f"{kind}/frames/id{n}_000{n}" for kind in ("Celeb-real", "Celeb-synthesis") for n in range(5)], 2),
        {"Celeb-real": (A, 10, 5), "Celeb-synthesis": (S, 10, 5)},
    ),
    "videos in file names": (
        [f"{kind}/{video}_{frame}.png" for kind in ("real", "fake") for video in VIDEOS for frame in (1, 20)],
        {"real": (A, 10, 5), "fake": (S, 10, 5)},
    ),
    "a method of one video": (
        numbered([f"real/{video}" for video in VIDEOS] + ["fake/swap/000_001"], 4),
        {"real": (A, 20, 5), "swap": (S, 4, 4)},
    ),
    "folders of a thousand, numbered on": (
        [f"real/{start:05}/{start + n:05}.png" for start in (0, 1000) for n in range(5)] + numbered(["fake"], 10),
        {"real": (A, 10, 10), "fake": (S, 10, 10)},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_as_people_mean_it(tree, layout):
    names, expected = LAYOUTS[layout]
    assert table(load_dataset("folder", root=tree(*names))) == expected


def test_what_was_interpreted_and_left_out_is_said(tree):
    samples = load_dataset("folder", root=tree(*LAYOUTS["FaceForensics++"][0], "original_sequences/notes.txt"))
    assert samples.attrs["left_out"] == ["1 files of type .txt", "10 images in folders masks, which mirror others"]
    assert samples.attrs["notes"] == [
        "folder names are read so: manipulated_sequences as synthetic; original_sequences as authentic; "
        'labels={"manipulated_sequences": ...} says otherwise',
        "15 folders such as manipulated_sequences/Deepfakes/c23/frames/000_001 are read as videos, whose frames are "
        'one subject; subjects="image" says otherwise',
    ]
    plain = load_dataset("folder", root=tree("../plain/real/a.png", "../plain/fake/b.png").parent / "plain")
    assert plain.attrs["notes"] == plain.attrs["left_out"] == []


def test_generators_that_have_photographs_of_their_own_name_them(tree):
    samples = load_dataset("folder", root=tree(*LAYOUTS["class inside generator"][0]))
    assert samples.attrs["counterparts"] == {
        "progan-synthetic": "progan-authentic",
        "biggan-synthetic": "biggan-authentic",
    }


def test_splits_in_names_and_folders_are_columns_of_the_table(tree):
    root = tree(*numbered(["training_real", "training_fake", "test/nature"], 2))
    samples = load_dataset("folder", root=root)
    assert [tuple(row) for row in folder.found(samples).itertuples(index=False)] == [
        ("nature", A, "test", 2, 2),
        ("training_fake", S, "train", 2, 2),
        ("training_real", A, "train", 2, 2),
    ]


def test_images_of_one_split_count_for_another(tree):
    root = tree(*numbered(["train/real", "train/fake", "val/real", "val/fake"], 2))
    samples = load_dataset("folder", root=root, splits={"validate": "test"})
    assert samples.groupby("split").size().to_dict() == {"test": 4, "train": 4}
    with pytest.raises(InputError, match="'val' is no split; choose from test, train, validate"):
        load_dataset("folder", root=root, splits={"val": "test"})


def test_a_mapping_fits_any_words_and_comes_first(tree):
    root = tree(*numbered(["bilder/echt", "bilder/FALSCH", "bilder/x"], 3))
    with pytest.raises(
        InputError, match=r'\(9 images in other folders\): bilder/FALSCH \(3\), .*labels={"FALSCH": "syn'
    ):
        load_dataset("folder", root=root)
    samples = load_dataset("folder", root=root, labels={"echt": A, "falsch": S})
    assert table(samples) == {"echt": (A, 3, 3), "FALSCH": (S, 3, 3)}
    assert samples.attrs["left_out"] == ["3 images in bilder/x, which names no label"]
    swapped = load_dataset("folder", root=tree("../s/0/a.png", "../s/1/b.png").parent / "s", labels={0: S, "1": A})
    assert table(swapped) == {"0": (S, 1, 1), "1": (A, 1, 1)}
    with pytest.raises(InputError, match=r"labels={'x': 'spoof'} arrived; a word means authentic or synthetic"):
        load_dataset("folder", root=root, labels={"x": "spoof"})


def test_plain_words_decide_before_others(tree):
    root = tree("real/original/a.png", "fake/original/b.png", "backup/original/c.png", "deepfakes/real/d.png")
    samples = load_dataset("folder", root=root)
    assert samples.set_index("image")["label"].to_dict() == {
        "deepfakes/real/d.png": A,
        "fake/original/b.png": S,
        "real/original/a.png": A,
    }
    assert samples.attrs["left_out"] == ["1 images in backup, which names no label"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            numbered(["real", "stylegan", "progan"], 2),
            r"authentic images alone, and others have no label: progan \(2\), sty",
        ),
        (
            numbered(["real_vs_fake", "not_real"], 2),
            r"\(4 images in other folders\): not_real \(2\), real_vs_fake \(2\)",
        ),
        (numbered(["original/ai"], 2), "folders of both labels on one path"),
        (["a.png", "b.mp4"], r"\(1 images in other folders\): the root itself \(1\)"),
        (["real/a.mp4", "fake/b.mp4"], r"\(0 images in other folders\): 2 files of type \.mp4; name folders authentic"),
        ([".hidden/a.png"], r"\(0 images in other folders\): 1 hidden folders"),
        (
            [*numbered(["fake/progan/cat", "fake/progan/dog"], 2), "real/a.png"],
            r'fake/progan: 2 folders such as cat, dog with numbered images may be videos.*subjects="folder" or',
        ),
        (
            numbered([f"{kind}/{name * 3}" for kind in ("real", "fake") for name in "abcdefghijklmnopqrstuvw"], 2),
            "23 folders such as aaa, bbb, ccc with numbered images may be videos",
        ),
        (["real/a.png", "fake/train/test/b.png"], "folders of the splits test and train on one path"),
    ],
)
def test_ambiguous_trees_are_refused_in_one_line_with_what_was_seen(tree, names, words):
    with pytest.raises(InputError, match=words) as raised:
        load_dataset("folder", root=tree(*names))
    assert "\n" not in str(raised.value)


def test_subjects_are_said_where_structure_does_not_tell(tree):
    people = [f"real/{name}_0{number}.png" for name in ("anna", "bob") for number in (1, 2)]
    root = tree(*numbered(["fake/progan/cat", "fake/progan/dog"], 3), *people)
    assert table(load_dataset("folder", root=root, subjects="image")) == {"progan": (S, 6, 6), "real": (A, 4, 4)}
    assert table(load_dataset("folder", root=root, subjects="folder")) == {"progan": (S, 6, 2), "real": (A, 4, 4)}
    matched = load_dataset("folder", root=root, subjects=r"(anna|bob)_\d+")
    assert table(matched) == {"progan": (S, 6, 6), "real": (A, 4, 2)}
    for expression, words in (
        ("(", "no regular expression"),
        ("x{3}", "matches no path, such as fake/progan/cat/0000"),
    ):
        with pytest.raises(InputError, match=words):
            load_dataset("folder", root=root, subjects=expression)


def test_names_of_people_are_not_taken_for_videos_but_said(tree):
    root = tree(*(f"{kind}/{name}_{n:04}.png" for kind in ("real", "fake") for name in ("anna", "bob") for n in (1, 2)))
    samples = load_dataset("folder", root=root)
    assert table(samples) == {"fake": (S, 4, 4), "real": (A, 4, 4)}
    assert samples.attrs["notes"] == [
        "files such as fake/anna_0001.png may be several of one subject, and each counts as one; subjects= "
        "takes an expression that matches the subject's part of the path"
    ]


def test_compressions_of_a_video_are_one_subject(tree):
    names = [f"manipulated/Deepfakes/{level}/{video}" for level in ("c23", "c40") for video in PAIRS]
    root = tree(*numbered(names + [f"original/{video}" for video in VIDEOS], 2))
    assert table(load_dataset("folder", root=root)) == {"Deepfakes": (S, 20, 5), "original": (A, 10, 5)}


def test_four_thousand_frames_of_forty_videos(tmp_path):
    frame = tmp_path / "frame.png"
    frame.write_bytes(b"frame")
    for label, videos in (("original", VIDEOS_OF_20), ("manipulated/Deepfakes", PAIRS_OF_20)):
        for video in videos:
            (tmp_path / "ff" / label / video).mkdir(parents=True)
            for number in range(100):
                os.link(frame, tmp_path / "ff" / label / video / f"{number:04}.png")
    samples = load_dataset("folder", root=tmp_path / "ff")
    assert table(samples) == {"Deepfakes": (S, 2000, 20), "original": (A, 2000, 20)}
    assert set(samples.groupby("subject").size()) == {100}
    assert len(folder.duplicates(samples)) == 4000


VIDEOS_OF_20 = [f"{number:03}" for number in range(0, 800, 40)]
PAIRS_OF_20 = [f"{video}_{int(video) + 7:03}" for video in VIDEOS_OF_20]


def test_odd_names_are_read_or_left_out_with_a_line(tree):
    decomposed = unicodedata.normalize("NFD", "é")
    kept = [
        "real/<script>alert(1)</script>.png",
        f"real/{decomposed}.png",
        "fake/写真 (1)\u202f.png",
        "fake/&amp;'\".png",
    ]
    root = tree(*kept, "fake/a\nb.png", "real/.b.png", "real/._c.png", "fake/.cache/d.png", "real/e")
    os.close(os.open(os.fsencode(root) + b"/real/\xff.png", os.O_CREAT))
    (root / "real/linked").symlink_to(root / "fake")
    samples = load_dataset("folder", root=root)
    assert sorted(samples["image"]) == sorted(kept)
    assert sorted(samples.attrs["left_out"]) == [
        "1 files without a type",
        "1 hidden folders, such as fake/.cache",
        "1 links to folders, such as real/linked",
        "2 files whose name is no text",
        "2 hidden files",
    ]


def test_a_folder_that_cannot_be_read_is_named(tree, monkeypatch):
    root = tree("real/a.png", "fake/b.png", "fake/locked/c.png")
    scan = os.scandir

    def locked(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    samples = load_dataset("folder", root=root)
    assert samples["image"].tolist() == ["fake/b.png", "real/a.png"]
    assert samples.attrs["left_out"] == [f"1 folders that cannot be read: {root}/fake/locked (Permission denied)"]


def test_folders_of_maps_inside_the_root_hold_no_images(tree):
    names = numbered(["real", "fake"], 3)
    root = tree(*names, *(f"maps/{name}" for name in names), *(f"parts/{name}" for name in names))
    samples = load_dataset("folder", root=root, salience=root / "maps", segmentation=root / "parts")
    assert table(samples) == {"fake": (S, 3, 3), "real": (A, 3, 3)}
    assert set(samples["salience"]) == {str(root / "maps" / name) for name in names}


def test_people_with_masks_are_images(tree):
    samples = load_dataset("folder", root=tree(*numbered(["real/faces", "fake/masks"], 3)))
    assert table(samples) == {"faces": (A, 3, 3), "masks": (S, 3, 3)}


def test_copies_across_labels_and_splits_are_noticed(tree, monkeypatch):
    root = tree(
        *(f"{split}/{label}/{n}.png" for split in ("train", "test") for label in ("real", "fake") for n in "abc")
    )
    for copy, original in (
        ("train/real/a.png", "train/fake/a.png"),  # across labels
        ("test/real/b.png", "train/real/b.png"),  # across splits
        ("test/fake/c.png", "test/fake/b.png"),  # neither
    ):
        (root / copy).write_bytes((root / original).read_bytes())
    hashed = []
    real_hash = folder.disk.file_hash
    monkeypatch.setattr(folder.disk, "file_hash", lambda path: hashed.append(path) or real_hash(path))
    result = folder.duplicates(load_dataset("folder", root=root))
    assert sorted(result[["image", "across"]].itertuples(index=False, name=None)) == [
        ("test/real/b.png", "split"),
        ("train/fake/a.png", "label"),
        ("train/real/a.png", "label"),
        ("train/real/b.png", "split"),
    ]
    assert result.groupby("sha256").size().tolist() == [2, 2]
    assert len(hashed) == len(set(hashed))
    assert folder.duplicates(load_dataset("folder", root=root, split="test")).empty


def test_one_file_of_two_splits_is_noticed(tree):
    """A list may name a file twice, under two names of images: nobody else has its size."""
    root = tree("real/a.png", "fake/b.png")
    rows = ["x,real/a.png,real,train", "y,real/a.png,real,validate", "z,fake/b.png,fake,train"]
    (root / "list.csv").write_text("\n".join(["image,path,label,split", *rows]))
    result = folder.duplicates(load_dataset("folder", root=root, csv=root / "list.csv"))
    assert result[["image", "across"]].to_numpy().tolist() == [["x", "split"], ["y", "split"]]
