"""What every bad input must end with: one line that names it and says what to do, exit status 1, and nothing lost."""

import hashlib
import sys

import numpy as np
import pytest
from PIL import Image

from e2m import cli
from e2m.types import InputError


def contents(folder):
    """Every file below a folder with a hash of its content; what a link points at is no file of the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def checked(line):
    """A line as a person can read it: one, short, without Python in it."""
    assert "\n" not in line, line
    assert len(line) < 700, line
    assert "Traceback" not in line, line
    return line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with three images of each label, of 32 pixels, below ``images``."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for label in ("real", "fake"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for name in "abc":
            pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{name}.png")
    return tmp_path


@pytest.fixture
def refused(folder, capsys):
    """Runs ``e2m`` in the folder and returns its one line on what is wrong, or on what stops a detector."""

    def run(*arguments):
        before = contents(folder)
        assert cli.main([str(argument) for argument in arguments]) == 1
        out, err = capsys.readouterr()
        assert contents(folder) == before
        assert "Traceback" not in out + err
        lines = [line for line in err.splitlines() if line.startswith("e2m: ")]
        lines += [line.strip() for line in out.splitlines() if line.startswith("  stop: ")]
        assert len(lines) == 1, out + err
        return checked(lines[0])

    return run


@pytest.fixture
def line_of(tmp_path):
    """Calls a function that must refuse what lies in the folder, and returns its line."""

    def call(function, *arguments, **options):
        before = contents(tmp_path)
        with pytest.raises(InputError) as caught:
            function(*arguments, **options)
        assert contents(tmp_path) == before
        return checked(str(caught.value))

    return call
