"""Files of other kinds that would run something, where something would run them."""

import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from e2m import plugins
from e2m.arrays.images import check_images, read_image
from e2m.arrays.map_files import read_maps
from e2m.pages import notebook
from e2m.training.detector import fit
from e2m.training.settings import Settings
from e2m.types import InputError


class Evil:
    """Makes the file "ran" in the working folder when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def saved():
    content = io.BytesIO()
    torch.save({"recipe": {}, "state": Evil()}, content)
    return content.getvalue()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def human_map(path):
    return read_maps([path], shape=(7, 7))


@pytest.mark.parametrize("read", [read_image, human_map])
@pytest.mark.parametrize("name", ["face.png", "face.jpg", "face.eps"])
def test_no_image_starts_another_program(tmp_path, monkeypatch, name, read):
    """PIL hands PostScript to Ghostscript, whatever the file is called."""
    monkeypatch.chdir(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text("#!/bin/sh\ntouch ran\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with pytest.raises(InputError, match=name):
        read(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_what_a_training_goes_on_from_runs_no_code(tmp_path, monkeypatch, toy, faces, capsys):
    monkeypatch.chdir(tmp_path)
    images = faces(n=2)
    check_images(images)
    (tmp_path / "a.resume").write_bytes(saved())
    about = {"regime": "cross_entropy", "run": 0, "guided": False, "progress": False}
    loss, settings = plugins.load("regime", "cross_entropy").loss, Settings(epochs=1, batch_size=2)
    fit(toy(), images, images, loss, tmp_path / "a.pt", settings, **about)
    assert f"{tmp_path / 'a.resume'}: cannot be read; the training starts over" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    torch.load(io.BytesIO(saved()), weights_only=False)  # elsewhere, it would
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"", b"{}", b'{"cells": 3}', b"\xff\xfe", b"[" * 10_000])
def test_a_file_that_is_no_notebook_is_named(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    Path("a.ipynb").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.ipynb: cannot be read as a notebook") as refused:
        notebook.values("a.ipynb", {"run": "1"})
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ipynb"]
