"""Files that would run something, read something, or fill the machine, of every kind that E2M reads: nothing happens.

Each is given to every reader. What it would do is to create the file ``ran``, or to show the file ``secret``.
"""

import io
import json
import pickle
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr

from e2m.arrays.images import read_image
from e2m.arrays.map_files import read_raw
from e2m.datasets import load_dataset
from e2m.experiment.profile import Profile
from e2m.networks import opaque
from e2m.networks.checkpoints import load_weights, read_checkpoint
from e2m.store import disk


class Runs:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


PICKLE = pickle.dumps(Runs())
SECRET = "the content of another file"


def into(write, *arguments, **options):
    content = io.BytesIO()
    write(content, *arguments, **options)
    return content.getvalue()


def archive(name, content, times=1):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(times):
            packed.writestr(name.format(number), content)
    return file.getvalue()


def parquet():
    """A column whose type pyarrow once rebuilt by unpickling."""
    about = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": PICKLE}
    field = pa.field("value", pa.float64(), metadata=about)
    about = {"e2m": "{}", "made_of": "{}", "pandas": json.dumps({"attributes": {"a": "!!python"}, "columns": []})}
    table = pa.Table.from_arrays([pa.array([1.0])], schema=pa.schema([field], metadata=about))
    return into(lambda file: pq.write_table(table, file))


def netcdf():
    maps = xr.Dataset(
        {"salience": (("image", "y", "x"), np.zeros((1, 2, 2), np.float32))}, attrs={"made": PICKLE.hex()}
    )
    return into(lambda file: maps.to_netcdf(file, engine="scipy"))


def onnx(name):
    """The entry of a tensor that is kept in another file."""
    entry = b"\x0a\x08location\x12" + bytes([len(name)]) + name.encode()
    return b"\x08\x07" + b"\x6a" + bytes([len(entry)]) + entry


def png_that_grows():
    """Fifty kilobytes that unpack to 66 MB of pixels."""
    header = struct.pack(">IIBBBBB", 8100, 8100, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(8100 * 8101), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )


HOLES = bytes(80_000_000)
FILES = {
    "pickle.npy": lambda: PICKLE,
    "objects.npy": lambda: into(np.save, np.array([Runs()], object), allow_pickle=True),
    "objects.npz": lambda: archive("a.npy", into(np.save, np.array([Runs()], object), allow_pickle=True)),
    "bomb.npz": lambda: archive("a.npy", into(np.save, np.zeros((8100, 8100), np.uint8))),
    "overlapping.npz": lambda: archive("{}.npy", HOLES[:1_000_000], 50),
    "pickle.pt": lambda: PICKLE,
    "objects.pt": lambda: into(lambda file: torch.save({"a": Runs()}, file)),
    "older.pt": lambda: into(lambda file: torch.save({"a": Runs()}, file, _use_new_zipfile_serialization=False)),
    "bomb.pt": lambda: archive("a/data.pkl", HOLES),
    "claims.safetensors": lambda: struct.pack("<Q", 1 << 40) + b"{" + bytes(64),
    "wide.safetensors": lambda: safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
    "outside.onnx": lambda: onnx("../secret"),
    "absolute.onnx": lambda: onnx("/etc/passwd"),
    "extension.parquet": parquet,
    "attribute.nc": netcdf,
    "growing.png": png_that_grows,
    "postscript.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(ran) (w) file closefile\n%%EOF\n",
    "object.yaml": lambda: b"dataset: !!python/object/apply:pathlib.Path.touch\n- !!python/name:pathlib.Path {}\n",
    "billion.yaml": lambda: (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(97, 107))
    ),
    "elsewhere.csv": lambda: b"path,label\n../secret,real\n/etc/passwd,fake\n",
    "elsewhere.json": lambda: json.dumps([{"path": "../secret", "label": "real"}]).encode(),
    "deep.json": lambda: b"[" * 100_000,
}


def safetensors(header):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def listed(path):
    (path.parent / "images" / "real").mkdir(parents=True, exist_ok=True)
    return load_dataset("folder", root=path.parent / "images", csv=path)


@pytest.fixture
def readers(toy):
    """Everything that reads a file of a person."""
    detector = toy()
    return {
        "image": read_image,
        "map": read_raw,
        "weights": lambda path: load_weights(detector, path),
        "checkpoint": read_checkpoint,
        "program": opaque.read,
        "maps": disk.read_maps,
        "rows": lambda path: disk.read_rows([path]),
        "list": listed,
        "profile": Profile.load,
    }


@pytest.mark.parametrize("name", FILES)
def test_no_reader_runs_a_file_or_reads_another(tmp_path, monkeypatch, readers, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / name).write_bytes(FILES[name]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = []
    for read in readers.values():
        try:
            read(tmp_path / name)
        except ValueError as error:
            lines.append(str(error))
    assert lines
    assert SECRET not in "".join(lines)
    assert max(map(len, "\n".join(lines).splitlines())) < 1000
    assert not (tmp_path / "ran").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KB
