"""Lists of images as people have them."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2m.datasets import folder, load_dataset
from e2m.layouts import lists
from e2m.layouts.words import Words
from e2m.types import InputError

A, S = "authentic", "synthetic"
NAMES = [f"{kind}/{number}.png" for kind in ("x", "y") for number in range(10)]


@pytest.fixture
def root(tmp_path):
    """A folder with twenty files."""
    for name in NAMES:
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).write_text(name)
    return tmp_path / "faces"


def write(path, *lines, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def table(samples):
    """Source -> label, images, subjects."""
    return {row.source: (row.label, row.images, row.subjects) for row in folder.found(samples).itertuples()}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_separator_and_encoding(root, separator, encoding):
    lines = [separator.join(["label", "path", "comment"])]
    lines += [separator.join(["real" if name[0] == "x" else "fake", name, '"a, b; c | d"']) for name in NAMES]
    csv = write(root / "list.csv", *lines, encoding=encoding)
    assert table(load_dataset("folder", root=root, csv=csv)) == {"x": (A, 10, 10), "y": (S, 10, 10)}


@given(st.text('a,"\r\n\u2028é', max_size=30))
def test_lines_are_those_of_a_file(text):
    expected = [*csv.reader(io.StringIO(text, newline=""))]
    assert [*lists._cells(text, ",")] == expected


def test_a_long_list_is_read_with_few_look_ups_and_a_bar(root, tmp_path, monkeypatch):
    """Links are resolved once a folder, not once a row, and stderr shows how far it is."""
    rows = 2000
    lines = (f"{NAMES[number % 20]},real,{number}" for number in range(rows))
    (tmp_path / "list.csv").write_text("\n".join(["path,label,image", *lines]))
    looked, bars, resolve = [], [], os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path, **options: looked.append(path) or resolve(path, **options))
    monkeypatch.setattr(
        folder, "tqdm", lambda listed, title, count, **options: bars.append((title, count, options)) or listed
    )
    assert len(load_dataset("folder", root=root, csv=tmp_path / "list.csv")) == rows
    assert len(looked) < 20
    ((title, count, options),) = bars
    assert (title, count, options["unit"]) == ("list.csv", rows, " rows")


def test_a_row_of_a_list_takes_little_memory(root, tmp_path):
    """A list may have a million rows, which memory holds until they are a table: texts that repeat are one object."""
    count = 1000
    lines = (f"{NAMES[number % 20]},real,{number},stylegan2 ffhq 1024,test" for number in range(count))
    (tmp_path / "list.csv").write_text("\n".join(["path,label,image,source,split", *lines]))
    rows = folder._csv_rows(root, tmp_path / "list.csv", Words()).rows
    parts = {id(part): part for row in rows for part in (row, *(getattr(row, name) for name in row.__slots__))}
    assert len(rows) == count
    assert sum(map(sys.getsizeof, parts.values())) / count < 260
    assert not hasattr(rows[0], "__dict__")
    assert isinstance(lists.read(tmp_path / "list.csv", None, Words()).rows, Iterator)


def test_any_columns_and_numbers_which_are_said(root):
    lines = ["file;target;image;label", *(f"{name};{int(name[0] == 'y')}.0;a b;ignored" for name in NAMES)]
    csv = write(root / "list.csv", *lines)
    columns = {"path": "File", "label": "target", "source": "image"}
    samples = load_dataset("folder", root=root, csv=csv, columns=columns)
    assert samples.groupby("label").size().to_dict() == {A: 10, S: 10}
    assert samples["image"].tolist() == NAMES
    assert samples.attrs["notes"] == [
        "list.csv: not read: the columns label",
        'list.csv: the labels 0 and 1 are read as authentic and synthetic; labels={"0": ..., "1": ...} says otherwise',
    ]
    swapped = load_dataset("folder", root=root, csv=csv, columns=columns, labels={0: S, 1: A})
    assert swapped["label"].tolist() == [S] * 10 + [A] * 10
    assert swapped.attrs["notes"] == ["list.csv: not read: the columns label"]


@pytest.mark.parametrize("column", ["real", "is_real", "Authentic", "realness_real"])
def test_a_column_whose_name_says_that_1_is_authentic_is_not_read_the_other_way_round(root, column):
    csv = write(root / "list.csv", f"path;{column}", *(f"{name};{int(name[0] == 'x')}" for name in NAMES))
    columns = {"label": column}
    with pytest.raises(InputError, match=rf"list\.csv: the column '{column}' .* by its name 1 means authentic"):
        load_dataset("folder", root=root, csv=csv, columns=columns)
    samples = load_dataset("folder", root=root, csv=csv, columns=columns, labels={"1": A, "0": S})
    assert table(samples) == {"x": (A, 10, 10), "y": (S, 10, 10)}


def test_columns_need_a_list(root):
    with pytest.raises(InputError, match="columns= names columns of a list, and no list was given or found"):
        load_dataset("folder", root=root, columns={"path": "file"})


def test_paths_of_another_system_or_from_another_folder(root, tmp_path):
    decomposed = "e\u0301.png"
    (root / "x" / decomposed).write_text("e")
    names = ["x\\0.png", "faces/x/1.png", "/faces/x/2.png", "3.png", "x/\u00e9.png"]
    csv = write(root / "x/list.csv", "path,label", *(f"{name},real" for name in names))
    samples = load_dataset("folder", root=root, csv=csv)
    assert samples["image"].tolist() == ["x/0.png", "x/1.png", "x/2.png", "x/3.png", f"x/{decomposed}"]
    outside = write(tmp_path / "list.csv", "path,label", "3.png,real")
    with pytest.raises(InputError, match=r"1 of 1 listed files are missing: 3\.png"):
        load_dataset("folder", root=root, csv=outside)


def test_a_split_is_read_from_the_folders_if_no_column_names_it(root):
    for name in ("train/a.png", "val/b.png", "c.png"):
        write(root / name)
    lines = ["train/a.png,real", "val/b.png,fake", "c.png,fake"]
    samples = load_dataset("folder", root=root, csv=write(root / "list.csv", "path,label", *lines))
    assert samples["split"].tolist() == ["train", "validate", "test"]
    named = write(root / "list.csv", "path,label,split", *(f"{line}," for line in lines))
    assert load_dataset("folder", root=root, csv=named)["split"].tolist() == ["test"] * 3


def test_frames_in_a_list_are_of_their_video(root):
    frames = [f"{kind}/{video:03}/{n}.png" for kind in ("a", "b") for video in range(5) for n in range(4)]
    for name in frames:
        write(root / name)
    lines = [f"{name},{'real' if name[0] == 'a' else 'fake'}" for name in frames]
    samples = load_dataset("folder", root=root, csv=write(root / "list.csv", "path,label", *lines))
    assert table(samples) == {"a": (A, 20, 5), "b": (S, 20, 5)}
    named = write(root / "list.csv", "path,label,subject", *(f"{line},anna" for line in lines))
    assert set(load_dataset("folder", root=root, csv=named)["subject"]) == {"anna"}
    unnamed = write(root / "list.csv", "path,label", *lines)
    assert len(set(load_dataset("folder", root=root, csv=unnamed, subjects="image")["subject"])) == 40


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_imagefolder_of_hugging_face(root, suffix):
    for kind in "xy":
        rows = [(f"{n}.png", int(kind == "y")) for n in range(9)]
        lines = ["file_name,label", *(f"{name},{label}" for name, label in rows)]
        if suffix == "jsonl":
            lines = [json.dumps({"file_name": name, "label": label}) for name, label in rows]
        write(root / kind / f"metadata.{suffix}", *lines)
    samples = load_dataset("folder", root=root)
    assert table(samples) == {"x": (A, 9, 9), "y": (S, 9, 9)}
    assert samples.attrs["left_out"] == [f"2 files of type .{suffix}", "2 images that no list names, such as x/9.png"]
    assert samples.attrs["notes"][0] == f"read from x/metadata.{suffix}, y/metadata.{suffix}"


def test_metadata_without_labels_leaves_them_to_the_folders(root):
    for old, new in (("x", "real"), ("y", "fake")):
        (root / old).rename(root / new)
    write(root / "metadata.csv", "file_name,caption", "real/0.png,a face")
    samples = load_dataset("folder", root=root)
    assert table(samples) == {"fake": (S, 10, 10), "real": (A, 10, 10)}
    assert samples.attrs["left_out"] == ["1 files of type .csv"]


def benchmark(root, **more):
    """DeepfakeBench's JSON of four videos with five frames each, which lie below root."""
    content = {}
    for label, folder_, videos in (
        ("FF-real", "original_sequences/youtube", ("000", "001")),
        ("FF-DF", "manipulated_sequences/Deepfakes", ("000_003", "003_000")),
    ):
        for split, video in zip(("train", "test"), videos, strict=True):
            frames = [f"faces\\{folder_}\\c23\\frames\\{video}\\{n:03}.png" for n in range(5)]
            for frame in frames:
                write(root.parent / frame.replace("\\", "/"))
            entry = {"label": label, "frames": frames, "masks": []}
            content.setdefault(label, {}).setdefault(split, {})["c23"] = {video: entry}
    content |= more
    path = root / "FF-DF.json"
    path.write_text(json.dumps({"FF-DF": content}))
    return path, content


def test_json_of_deepfakebench(root):
    path, content = benchmark(root)
    samples = load_dataset("folder", root=root, csv=path)
    assert [tuple(row) for row in folder.found(samples).itertuples(index=False)] == [
        ("FF-real", A, "train", 5, 1),
        ("FF-real", A, "test", 5, 1),
        ("FF-DF", S, "train", 5, 1),
        ("FF-DF", S, "test", 5, 1),
    ]
    assert samples["image"][19] == "manipulated_sequences/Deepfakes/c23/frames/003_000/004.png"
    assert samples["subject"][19] == "FF-DF/003_000"
    assert samples.attrs["notes"] == ["FF-DF.json: the labels FF-DF are read as synthetic; labels= says otherwise"]
    path, _ = benchmark(root, again={"train": content["FF-real"]["test"]})  # as DeepfakeBench lists Celeb-DF
    samples = load_dataset("folder", root=root, csv=path, split="test")
    assert len(samples) == 10
    assert "FF-DF.json: 5 frames are listed in several splits, and count for the test" in samples.attrs["notes"]


def test_other_json(root):
    path = root / "list.json"
    for content in ({"x/0.png": "real", "y/0.png": 1}, {"x/0.png": {"label": "REAL"}, "y/0.png": {"label": "FAKE"}}):
        path.write_text(json.dumps(content))
        assert table(load_dataset("folder", root=root, csv=path)) == {"x": (A, 1, 1), "y": (S, 1, 1)}
    path.write_text(json.dumps([{"Datei": "x/0.png", "echt": True}, {"Datei": "y/0.png", "echt": False}]))
    options = {"columns": {"path": "Datei", "label": "echt"}, "labels": {True: A, False: S}}
    assert table(load_dataset("folder", root=root, csv=path, **options)) == {"x": (A, 1, 1), "y": (S, 1, 1)}
