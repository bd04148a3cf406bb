"""Lists and folders that cannot be understood, or only in several ways: refused before any image is read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

A_ROW = "real/a.png,real"
ROWS = ["real/a.png,real", "fake/a.png,fake"]
SECRET = "root:x:0:0:secret"

CASES = {
    # no list at all
    "absent": (None, (), "no such file; correct csv="),
    "no bytes": (b"", (), "empty; the list needs one row for each image"),
    "blank lines": (b"\n\n \n", (), "empty; the list needs"),
    "bytes": (b"\xff\xfe\x00", (), "cannot be read as a list"),
    "latin": ("path,label\nreal/é.png,real".encode("latin1"), (), "cannot be read as a list .*save it as CSV in UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), (), "cannot be read as a list"),
    "a line of a megabyte": (SECRET.encode() * 60_000, (), "cannot be read as a list .field larger"),
    "a page": (b"<!doctype html>\n<title>404</title>\n", (), "no column path and label; it has <!doctype html>; say"),
    "nul": (b"path,label\na\0.png,real", (), "row 2: the path 'a.x00.png'; name a file below"),
    # columns
    "header alone": (["path,label"], (), "empty below its header"),
    "no path": (["file,label", A_ROW], (), 'no column path; it has file, label; say .*columns={"path": "NAME"}'),
    "neither": (["name,kind", "x,y"], (), "no column path and label; it has name, kind"),
    "twice": (["path,path,label", "real/a.png,,real"], (), "two columns are named 'path'; rename one"),
    "misspelt option": (["path,label", A_ROW], ("--columns", "path=datei"), "no column datei, which columns= names"),
    "unknown option": (["path,label", A_ROW], ("--columns", "way=path"), "the key 'way'; choose from path, label"),
    "columns of a headless list": (
        ["train,Real,/real/a.png"],
        ("--columns", "path=file"),
        "the first line names an image, and columns= names columns",
    ),
    "misspelt split": (["path,label,splt", *ROWS], (), "column 'splt' would not be read; if it holds split, rename it"),
    "misspelt source": (["path,label,sources", *ROWS], (), r"'sources' would .*columns={\"source\": \"sources\"}"),
    "misspelt subject": (["path,label,subjct", *ROWS], (), "'subjct' would not be read; if it holds subject"),
    "misspelt salience": (["path,label,saliency", *ROWS], (), "'saliency' would not be read; if it holds salience"),
    # cells
    "few cells": (["path,label", "real/a.png"], (), "row 2: 1 cells; the columns are 2: path,label"),
    "few cells without header": (["real,real/a.png"], (), "row 1: 2 cells; the columns are 3: split,label,path"),
    "label": (["path,label", A_ROW, "real/b.png,reel"], (), "row 3: the label 'reel'; choose from authentic, real"),
    "partial label": (["path,label", "real/a.png,partial"], (), r"the label 'partial'; .* labels={'partial': 'synth"),
    "third class": (["path,label", "real/a.png,2"], (), "row 2: the label '2'"),
    "negation": (["path,label", "real/a.png,not real"], (), "row 2: the label 'not real'"),
    "label of a megabyte": (["path,label", f"real/a.png,{SECRET * 5000}"], (), "row 2: the label 'root:x:0:0:secret"),
    "headless label": (["train,Synthetik,/real/a.png"], (), "row 1: the label 'Synthetik'"),
    "split": (["path,label,split", f"{A_ROW},dev"], (), "row 2: the split 'dev'; choose from train"),
    "unknown word": (["path,label", A_ROW], ("--labels", "x=spoof"), "a word means authentic or synthetic"),
    "expression": (["path,label", *ROWS], ("--subjects", "("), "no regular expression"),
    "expression without a match": (["path,label", *ROWS], ("--subjects", "zzz"), "matches no path, such as real/a.png"),
    "source with a line end": (
        ["path,label,source", 'real/a.png,real,"x\ny"'],
        (),
        "row 3: the source 'x y' holds",
    ),
    "source of a terminal": (["path,label,source", f"{A_ROW},\x1b[31m"], (), "row 2: the source .* holds con"),
    "subject with a nul": (
        ["path,label,subject", f"{A_ROW},a\0b"],
        (),
        "row 2: the subject .* holds control characters",
    ),
    "image with a nul": (["path,label,image", f"{A_ROW},a\0b"], (), "row 2: the image .* holds control characters"),
    "two columns without names": (["path,label,,", f"{A_ROW},,"], (), "two columns are named ''; rename one"),
    "one column in two cases": (["path,Path,label", "a,a,real"], (), "two columns are named 'path'"),
    "a separator of Excel's": (["sep=;", "path;label", "real/a.png;real"], (), "no column path and label; it has sep="),
    "a remark": (["# mine", "path,label", A_ROW], (), "no column path and label; it has # mine"),
    "16 bits without a mark": ("path,label\n".encode("utf-16-le"), (), "no column path and label; it has p"),
    "packed": (b"\x1f\x8b\x08" + bytes(40), (), "cannot be read as a list"),
    "truth value": (["path,label", "real/a.png,True"], (), "row 2: the label 'True'; choose from"),
    "digit of another script": (["path,label", "real/a.png,٠"], (), "row 2: the label '٠'; choose from"),
    "minus one": (["path,label", "real/a.png,-1"], (), "row 2: the label '-1'; choose from"),
    # paths
    "of a browser": (["path,label", "file:///real/a.png,real"], (), "1 of 1 listed files are missing: file:/real/a"),
    "of a shell": (["path,label", "$HOME/a.png,real"], (), r"1 of 1 listed files are missing: \$HOME/a\.png"),
    "empty path": (["path,label", ",real"], (), "row 2: an empty path"),
    "above": (["path,label", "../list.csv,real"], (), r"row 2: \.\./list\.csv lies outside .*; move the file there"),
    "deep above": (["path,label", "real/../../list.csv,real"], (), r"list\.csv lies outside"),
    "absolute": (["path,label", "/etc/hostname,real"], (), "row 2: /etc/hostname lies outside"),
    "link out": (["path,label", "real/out.png,real"], (), r"row 2: real/out\.png lies outside"),
    "folder link out": (["path,label", "linked/list.csv,real"], (), r"row 2: linked/list\.csv lies outside"),
    "map above": (["path,label,salience", f"{A_ROW},../m.png"], (), r"row 2: \.\./m\.png lies outside"),
    "headless above": (
        ["train,Real,/real/a.png", "train,Real,/../../b.png"],
        (),
        r"row 2: \.\./\.\./b\.png lies outside",
    ),
    "missing": (["path,label"] + [f"{n}.png,real" for n in range(7)], (), r"7 of 7 .* missing: 0\.png, .*, \.\.\.;"),
    "a folder": (["path,label", "real,real"], (), r"1 of 1 listed files are missing: real"),
    "long name": (["path,label", f"{'x' * 5000}.png,real"], (), r"1 of 1 listed files are missing: xxxx"),
    "same name": (["path,label", A_ROW, A_ROW], (), "names 1 images more than once, 'real/a.png' first"),
    # one file with two meanings
    "two labels": (
        ["path,label,split,image", "real/a.png,real,test,one", "real/a.png,fake,test,two"],
        (),
        r"real/a\.png: listed as authentic and as synthetic; keep one",
    ),
    "two labels by another way": (
        ["path,label,split,image", "real/a.png,real,test,", "fake/../real/a.png,fake,test,two"],
        (),
        "listed as authentic and as synthetic",
    ),
    "train and test": (
        ["path,label,split,image", "real/a.png,real,train,one", "real/a.png,real,test,two"],
        (),
        "listed to train on and to test on",
    ),
    "two splits in a path": (["path,label", "train/test/a.png,real"], (), "folders of the splits test and train"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_list_is_refused_in_one_line(folder, refused, name):
    content, options, words = CASES[name]
    (folder / "images/train/test").mkdir(parents=True)
    (folder / "images/train/test/a.png").write_bytes((folder / "images/real/a.png").read_bytes())
    (folder / "images/real/out.png").symlink_to(folder / "list.csv")
    (folder / "images/linked").symlink_to(folder)
    if content is not None:
        content = content if isinstance(content, bytes) else "\n".join(content).encode()
        (folder / "list.csv").write_bytes(content)
    line = refused("check", "images", "--csv", "list.csv", *options, "--detector", "demo_cnn")
    assert re.search(words, line), line
    assert line.count(SECRET) < 20


JSON = {
    "half": ("{", "cannot be read as JSON"),
    "no records": ("[]", "a list of records with path and label fits"),
    "text": ('"x"', "a list of records with path and label fits"),
    "true": ("true", "a list of records with path and label fits"),
    "numbers": ("[1, 2]", "a list of records with path and label fits"),
    "a number of 5000 digits": (f"[{'1' * 5000}]", "cannot be read as JSON"),
    "deep": ("[" * 100_000, "cannot be read as JSON"),
    "a name of two lines": ('[{"n\\n.png": 1}]', r"no column path and label; it has n \.png; say"),
    "a key twice": ('[{"path": "real/a.png", "path": "real/b.png", "label": 0}]', "the key 'path' stands there twice"),
    "an image twice": ('{"real/a.png": "real", "real/a.png": "fake"}', "the key 'real/a.png' stands there twice"),
    "half a character": (
        '[{"path": "real/a.png", "label": "real", "source": "\\ud800"}]',
        "record 1: the source .* holds control characters; give it another name",
    ),
    "videos without frames": ('{"a": {"label": "real", "frames": []}}', "none of its 1 videos has frames; list them"),
    "another key": ('[{"file": "real/a.png"}]', "no column path and label; it has file"),
    "misspelt key": ('[{"path": "real/a.png", "label": 0, "splitt": "test"}]', "'splitt' would not be read"),
    "a name that is no text": ('[{"path": "\\ud800.png", "label": 0}]', r"record 1: the path '.ud800\.png'; name a"),
    "a name of bytes": ('[{"path": "\\udcff.png", "label": 0}]', r"the path '.udcff\.png'; name a file below"),
    "a method alone": ('{"v": {"label": "FF-DF", "frames": ["x/0.png"]}}', r"v: the label 'FF-DF'; choose from"),
    "two labels": (
        '{"v": {"label": "real", "frames": ["x/0.png"]}, "w": {"label": "fake", "frames": ["x/0.png"]}}',
        r"x/0\.png has the labels real and fake; keep one",
    ),
}


@pytest.mark.parametrize("name", JSON)
def test_each_list_in_json_is_refused_in_one_line(folder, refused, name):
    content, words = JSON[name]
    (folder / "list.json").write_text(content, "utf-8")
    line = refused("check", "images", "--csv", "list.json", "--detector", "demo_cnn")
    assert line.startswith(f"e2m: {'list.json'}") or "listed files" in line or "images" in line
    assert re.search(words, line), line


def tree(*names):
    def make(root):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)

    return make


def outside(root):
    tree("real/a.png", "fake/b.png")(root)
    Image.new("RGB", (8, 8)).save(root.parent / "outside.png")
    (root / "real/link.png").symlink_to(root.parent / "outside.png")


def dangling(root):
    tree("real/a.png", "fake/b.png")(root)
    (root / "real/link.png").symlink_to(root / "absent.png")


def pipe(root):
    tree("real/a.png", "fake/b.png")(root)
    os.mkfifo(root / "real/pipe.png")


def linked(root):
    tree("../elsewhere/real/a.png", "../elsewhere/fake/b.png")(root)
    root.mkdir(exist_ok=True)
    for name in ("real", "fake"):
        (root / name).symlink_to(root.parent / "elsewhere" / name)


TREES = {
    "absent": (lambda root: None, "mine: no such folder; correct root="),
    "a file": (lambda root: root.write_text("x"), "mine: no such folder; correct root="),
    "empty": (lambda root: root.mkdir(), r"no images found .*\(0 images in other folders\): the folder is empty"),
    "no label": (tree("notes/a.png"), r"no images found .*\(1 images in other folders\): notes \(1\)"),
    "one label": (tree("real/a.png", "stylegan/b.png"), r"authentic images alone, and others have no label: stylegan"),
    "both labels": (tree("real/fake/a.png"), "folders of both labels on one path"),
    "two splits": (tree("train/real/test/a.png"), "folders of the splits test and train on one path"),
    "a link out": (outside, r"link\.png: a link to a file outside"),
    "a link to nothing": (dangling, r"1 of 3 listed files are missing: real/link\.png"),
    "a pipe": (pipe, r"1 of 3 listed files are missing: real/pipe\.png"),
    "linked folders": (linked, r"\(0 images in other folders\): 2 links to folders"),
}


@pytest.mark.parametrize("name", TREES)
def test_each_folder_is_refused_in_one_line(folder, refused, name):
    make, words = TREES[name]
    make(folder / "mine")
    assert re.search(words, line := refused("check", "mine", "--detector", "demo_cnn")), line


def test_a_root_whose_name_is_no_text_is_refused(folder, refused):
    Path("images").rename(os.fsdecode(b"im\xffages"))
    line = refused("check", os.fsdecode(b"im\xffages"), "--detector", "demo_cnn")
    assert "the folder's name is no text in UTF-8; rename it" in line


def test_maps_outside_their_folder_are_refused(folder, line_of):
    from e2m.datasets import load_dataset

    (folder / "maps").mkdir()
    (folder / "a.npy").write_bytes(b"")
    (folder / "maps" / "a.npy").symlink_to(folder / "a.npy")
    (folder / "images/fake").rename(folder / "fake")
    tree("fake/x.png")(folder / "images")
    line = line_of(load_dataset, "folder", root=folder / "images", salience=folder / "maps")
    assert re.search(r"maps/a\.npy: a link to a file outside .*maps; copy the file itself there", line)


def test_a_list_that_is_a_pipe_is_not_waited_for(folder, refused):
    os.mkfifo(folder / "list.csv")
    line = refused("check", "images", "--csv", "list.csv", "--detector", "demo_cnn")
    assert line == "e2m: list.csv: a pipe or a device, and no file; write what it gives to a file, and name that one"


@pytest.mark.parametrize("name", ["a\0.csv", "x" * 5000, "images"])
def test_what_no_list_can_be_called_is_named(folder, line_of, name):
    from e2m.datasets import load_dataset

    assert re.search(
        r"^(a\x00|xx|images).*: cannot be read as a list", line_of(load_dataset, "folder", root="images", csv=name)
    )


@pytest.mark.parametrize("root", ["", "a\0b", "x" * 5000, "loop"])
def test_what_is_no_folder_is_named(folder, line_of, root):
    """An empty name, such as a variable of the shell without a value, is not the working folder."""
    from e2m.datasets import load_dataset

    (folder / "loop").symlink_to("loop")
    assert ": no such folder; correct root=" in line_of(load_dataset, "folder", root=root)


def test_the_name_of_a_column_is_text(folder, line_of):
    from e2m.datasets import load_dataset

    (folder / "list.csv").write_text("path,label\nreal/a.png,real\n")
    line = line_of(load_dataset, "folder", root="images", csv="list.csv", columns={"path": 3})
    assert line == "columns={'path': 3} arrived; the name of a column is text"


@pytest.mark.parametrize("option", ["salience", "segmentation", "csv", "seven_times"])
def test_options_that_name_nothing_are_refused(folder, line_of, option):
    from e2m.datasets import load_dataset

    line = line_of(load_dataset, "folder", root=folder / "images", **{option: folder / "absent"})
    assert re.search(r"absent: no such (folder; correct (salience|segmentation)=|file; correct csv= or seven)", line)


DAMAGED = {"CSV": b'path,label\n"' + b"x" * 200_000, "no text": b"\xff", "a brace": b"{", "brackets": b"[" * 100_000}
# As CSV, braces and brackets are a list without labels, which the folders give.
IN_TREE = [("metadata.jsonl", content) for content in DAMAGED] + [("metadata.csv", "CSV"), ("metadata.csv", "no text")]


@pytest.mark.parametrize(("name", "content"), IN_TREE)
def test_a_damaged_list_in_the_tree_is_named(folder, refused, name, content):
    (folder / "images" / name).write_bytes(DAMAGED[content])
    line = refused("check", "images", "--detector", "demo_cnn")
    assert re.search(rf"images/{re.escape(name)}: (cannot be read as a list|the first line is no JSON)", line), line


def test_as_a_process_the_line_is_all_there_is(folder):
    (folder / "list.csv").write_text("path,label\nreal/a.png,reel\n")
    command = [sys.executable, "-m", "e2m.cli", "check", "images", "--csv", "list.csv", "--detector", "demo_cnn"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": sys.path[0]})
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"e2m: list\.csv, row 2: the label 'reel'; choose from [^\n]*\n", done.stderr)


def test_json_that_lists_the_same_image_twice_is_refused(folder, refused):
    rows = [{"path": "real/a.png", "label": "real"}] * 2
    (folder / "list.json").write_text(json.dumps(rows))
    line = refused("check", "images", "--csv", "list.json", "--detector", "demo_cnn")
    assert "names 1 images more than once, 'real/a.png' first" in line
