"""Hashes in files: a flipped bit, a missing end and an exchange are noticed, and other programs read the files."""

import errno
import hashlib
import io
import os
import re
import zipfile
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from e2m.networks.checkpoints import CHECKPOINT_FORMAT, load_weights, read_checkpoint
from e2m.networks.trunk import Trunk
from e2m.store import disk, paths, seals
from e2m.training import loop
from e2m.types import Explanation, InputError

ROWS = pd.DataFrame({"image": ["a", "b"], "value": [0.25, np.nan]})


def write_rows(path):
    with disk.writing_rows(path, {"amounts": [0.1]}, {"weights_sha256": "ab"}) as add:
        add(ROWS)


def write_maps(path):
    maps = np.random.default_rng(0).random((2, 7, 7)).astype(np.float32)
    numbers = np.array([0, 1])
    explanation = Explanation(maps, maps[:, 0, 0], numbers, numbers, numbers == 2, maps[:, 0, :2])
    samples = pd.DataFrame({"image": ["a", "b"], "label": ["authentic", "synthetic"], "subject": ["s", "s"]})
    disk.write_maps(path, explanation, samples, {"method": "CAM", "source": "real"})


def write_checkpoint(path):
    torch.manual_seed(0)
    loop.save({"format": CHECKPOINT_FORMAT, "detector": "toy", "weights": {"w": torch.randn(40, 5)}}, path)


KINDS = {
    "rows.parquet": (write_rows, lambda path: disk.read_rows([path])),
    "table.parquet": (lambda path: disk.write_table(path, ROWS), disk.read_table),
    "maps.nc": (write_maps, disk.read_maps),
    "run-0.pt": (write_checkpoint, read_checkpoint),
}
"""Kind of file -> how it is written and read."""


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param, *KINDS[request.param]


def test_the_seal_is_the_hash_of_the_rest(tmp_path, kind):
    """Computed again in the plainest way."""
    name, write, _ = kind
    write(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    found = list(re.finditer(rb"e2m-seal:(\w{16})(\w{64})", content))
    seal = found[-1]
    blank = content[: seal.start(2)] + b"0" * 64 + content[seal.end(2) :]
    assert seal[2].decode() == hashlib.sha256(blank).hexdigest()
    assert seal[1] == b"0" * 16
    assert disk.flaw(tmp_path / name) == ""


def test_every_flipped_bit_is_noticed(tmp_path, kind, record_property):
    """One bit in each of 150 places and in every byte of the seal: no such file passes."""
    name, write, read = kind
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    start = content.rfind(seals.MARK)
    positions = {*np.linspace(0, len(content) - 1, 150).astype(int), *range(start, start + len(seals.SEAL))}
    record_property("tried", len(positions))
    for number, position in enumerate(sorted(positions)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << number % 8
        path.write_bytes(damaged)
        assert seals.flaw(path, seals.ANYWHERE), position
    with pytest.raises(InputError, match=rf"^\S+/{re.escape(name)}: it .*; delete it and make it again"):
        read(path)


def test_every_missing_end_is_noticed(tmp_path, kind, record_property):
    """A file that is cut short, at any of 60 lengths, is noticed."""
    name, write, read = kind
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    lengths = np.linspace(0, len(content) - 1, 60).astype(int)
    record_property("tried", len(lengths))
    for length in lengths:
        path.write_bytes(content[:length])
        assert seals.flaw(path, seals.ANYWHERE), length
    with pytest.raises(InputError, match=rf"^\S+/{re.escape(name)}: it .*; delete it and make it again"):
        read(path)


def test_a_file_is_read_only_where_it_was_written(roots, kind):
    """Exchanged among results, it is refused. A folder of results may move, and a copy elsewhere is read."""
    name, write, read = kind
    one, other = (roots / "results" / "demo" / "maps" / run / name for run in ("run-0", "run-1"))
    write(one)
    write(other)
    read(one)
    aside = one.rename(roots / "aside")
    other.rename(one)
    aside.rename(other)
    for path in (one, other):
        with pytest.raises(InputError, match=rf"{path}: it is another file .* copied, moved or exchanged"):
            read(path)
    one.rename(roots / name)
    read(roots / name)
    other.rename(one)
    read(one)
    (roots / "results" / "demo").rename(roots / "results" / "renamed")
    read(roots / "results" / "renamed" / "maps" / "run-0" / name)


def test_one_content_in_two_places_differs_in_the_seal_alone(roots, kind):
    name, write, _ = kind
    files = [roots / "results" / "demo" / folder / name for folder in "ab"]
    for path in files:
        write(path)
    one, other = (path.read_bytes() for path in files)
    assert one != other
    assert seals.blank(one) == seals.blank(other)


def test_a_file_of_somebody_elsewhere_is_no_result(roots, kind):
    name, write, read = kind
    write(roots / name)
    path = roots / "results" / "demo" / name
    path.parent.mkdir(parents=True)
    (roots / name).rename(path)
    with pytest.raises(InputError, match="was written elsewhere"):
        read(path)


def test_other_programs_read_sealed_files(tmp_path):
    for name, (write, _) in KINDS.items():
        write(tmp_path / name)
    assert pd.read_parquet(tmp_path / "table.parquet")["value"].tolist()[0] == 0.25
    assert len(pd.read_parquet(tmp_path / "rows.parquet")) == 2
    with xr.open_dataset(tmp_path / "maps.nc", engine="scipy") as maps:
        assert maps["salience"].shape == (2, 7, 7)
    with zipfile.ZipFile(tmp_path / "run-0.pt") as archive:
        assert archive.testzip() is None
    content = torch.load(io.BytesIO((tmp_path / "run-0.pt").read_bytes()), weights_only=True)
    assert content["weights"]["w"].shape == (40, 5)


def test_a_checkpoint_is_whole_even_where_its_format_is_not_recognised(tmp_path, toy):
    """One bit in the name of the format makes it look like weights of another program, which have no seal."""
    detector, path = toy(), tmp_path / "run-0.pt"
    loop.save({"format": CHECKPOINT_FORMAT, "detector": "toy", "weights": detector.model.state_dict()}, path)
    load_weights(detector, path)
    content = path.read_bytes()
    position = content.index(CHECKPOINT_FORMAT.encode())
    path.write_bytes(content[:position] + b"f" + content[position + 1 :])
    with pytest.raises(InputError, match=r"run-0\.pt: it is damaged"):
        load_weights(detector, path)


def test_stored_outputs_of_frozen_blocks_are_whole(tmp_path, toy, photographs):
    detector = toy(frozen=("features",))
    path = tmp_path / "train.outputs"
    Trunk(detector).write(path, [photographs[:, :32, :32]])
    Trunk(detector, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.outputs: it is damaged"):
        Trunk(detector, path)


def test_what_was_written_together_is_new_together(tmp_path):
    """Whichever of three files cannot be written, all three stay as they were."""
    names = ["a", "b", "c"]

    def write(content, failing=""):
        def put(name, file):
            if name == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.write(content)

        with paths.together():
            for name in names:
                paths.write_atomically(tmp_path / name, partial(put, name))

    def written():
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    write(b"old")
    for failing in names:
        with pytest.raises(OSError, match=f"/{failing}: not written"):
            write(b"new", failing)
        assert written() == dict.fromkeys(names, b"old")
    write(b"new")
    assert written() == dict.fromkeys(names, b"new")


def test_among_results_a_file_without_a_seal_is_refused(roots, kind):
    """Elsewhere it is somebody's, as a checkpoint of an earlier version is."""
    name, write, read = kind
    write(roots / name)
    content = (roots / name).read_bytes().replace(seals.MARK, b"e2m-Seal:")
    (roots / name).write_bytes(content)
    assert disk.flaw(roots / name) == ""
    path = roots / "results" / "demo" / name
    path.parent.mkdir(parents=True)
    (roots / name).rename(path)
    with pytest.raises(InputError, match="it has no seal: it is cut short, or E2M did not write it"):
        read(path)
