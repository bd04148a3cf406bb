"""Every reader takes any bytes: it reads them, or says in one line what is wrong with the file.

Files are damaged by chance: alike in every `make test`, and anew in `make fuzz`. It keeps the examples that failed in
``examples`` beside this file; they are tried first the next time.
"""

import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from PIL import Image
from safetensors.torch import save as save_safetensors

from e2m.arrays.images import check_images, read_image
from e2m.arrays.map_files import read_maps, read_raw
from e2m.datasets import load_dataset
from e2m.experiment.profile import Profile
from e2m.networks.checkpoints import load_weights, read_checkpoint
from e2m.store import disk, paths
from e2m.types import Explanation, InputError

MANY = int(os.environ.get("E2M_FUZZ", "0"))
"""Examples of each test in `make fuzz`; 0 takes the few of `make test`."""

FUZZ = settings(
    max_examples=MANY or 40,
    derandomize=not MANY,
    database=DirectoryBasedExampleDatabase(Path(__file__).with_name("examples")) if MANY else None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
FEW = settings(FUZZ, max_examples=MANY or 15)

SECONDS = 10
"""Longest time of one example: a reader that hangs is a fault as one that fails."""

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


def encoded(kind, values=PIXELS, **options):
    content = io.BytesIO()
    Image.fromarray(values).save(content, kind, **options)
    return content.getvalue()


def array(function, *values):
    content = io.BytesIO()
    function(content, *values)
    return content.getvalue()


EXIF = Image.Exif()
EXIF[274] = 6
IMAGES = [
    *(encoded(kind) for kind in ("PNG", "BMP", "TIFF", "WEBP")),
    encoded("JPEG", exif=EXIF),
    encoded("JPEG", progressive=True),
    encoded("TIFF", compression="tiff_lzw"),
    encoded("PNG", exif=EXIF),
    encoded("PNG", save_all=True, append_images=[Image.fromarray(255 - PIXELS)]),
]
MAPS = [
    array(np.save, PIXELS[..., 0] / 255),
    array(np.savez, PIXELS[..., 0]),
    array(np.savez_compressed, PIXELS[..., 0].astype(float)),
    encoded("PNG", PIXELS[..., 0]),
    encoded("TIFF", PIXELS[..., 0].astype(np.float32)),
]
LISTS = [
    b"path,label,split,source\nreal/a.png,real,test,x\nfake/a.png,fake,train,y\n",
    b"train,Real,/real/a.png\ntest,Synthetic,/fake/a.png\n",
    "path;label\nreal/a.png;1\n".encode("utf-16"),
    json.dumps([{"path": "real/a.png", "label": "real"}, {"path": "fake/a.png", "label": 1}]).encode(),
    json.dumps({"FF": {"FF-real": {"train": {"c23": {"0": {"label": "FF-real", "frames": ["real/a.png"]}}}}}}).encode(),
    b'{"file_name": "real/a.png", "label": 0}\n{"file_name": "fake/a.png", "label": 1}\n',
]


def damaged(contents):
    """Contents of valid files with some bytes replaced, removed, inserted or repeated; or any bytes at all."""

    @st.composite
    def draw(draw):
        content = bytearray(draw(st.sampled_from(contents)))
        for _ in range(draw(st.integers(1, 6))):
            start = draw(st.integers(0, max(0, len(content) - 1)))
            length = draw(st.integers(0, 12))
            how = draw(st.sampled_from(["replace", "flip", "remove", "cut", "repeat"]))
            if how == "replace":
                content[start : start + length] = draw(st.binary(max_size=12))
            elif how == "flip" and content:
                content[start] ^= 1 << draw(st.integers(0, 7))
            elif how == "remove":
                del content[start : start + length]
            elif how == "cut":
                del content[start:]
            else:
                content[start:start] = content[start : start + length] * draw(st.integers(1, 30))
        return bytes(content)

    return st.one_of(draw(), draw(), draw(), st.binary(max_size=60))


def tried(function, path, *arguments, lines=1):
    """The result of a reader, or None if it refuses the file as it should."""
    start = time.monotonic()
    try:
        return function(*arguments)
    except InputError as error:
        text = str(error)
        assert len(text.splitlines()) <= lines, text
        assert max(map(len, text.splitlines())) < 1000, text
        assert str(path) in text or path is None, text
        return None
    finally:
        assert time.monotonic() - start < SECONDS


@FUZZ
@given(content=damaged(IMAGES), suffix=st.sampled_from([".png", ".jpg", ".tif", ".webp"]))
def test_images(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    image = tried(read_image, path, path)
    assert image is None or (image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8)
    tried(check_images, path, pd.DataFrame({"path": [str(path)]}), lines=2)


@FUZZ
@given(content=damaged(MAPS), suffix=st.sampled_from([".npy", ".npz", ".png", ".tif"]))
def test_maps(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    raw = tried(read_raw, path, path)
    assert raw is None or raw.values.ndim == 2
    maps = tried(read_maps, path, [path], (8, 8))
    assert maps is None or np.nanmin(maps, initial=0) >= 0
    assert maps is None or np.nanmax(maps, initial=1) <= 1
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    samples = pd.DataFrame({"path": [str(tmp_path / "image.png")], "salience": [str(path)]})
    tried(check_images, path, samples, lines=2)


@FUZZ
@given(content=damaged(LISTS), suffix=st.sampled_from([".csv", ".json", ".jsonl"]))
@example(content=b'path,label\n"real/a.png,real\n', suffix=".csv")
def test_lists(tmp_path, content, suffix):
    for label in ("real", "fake"):
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / label / "a.png").touch()
    path = tmp_path / f"list{suffix}"
    path.write_bytes(content)
    samples = tried(lambda: load_dataset("folder", root=tmp_path / "images", csv=path), None)
    if samples is not None:
        assert set(samples["label"]) <= {"authentic", "synthetic"}
        assert all(str(tmp_path / "images") in name for name in samples["path"])


@pytest.fixture(scope="module")
def smoke():
    """The profile "smoke", as it is written."""
    return (paths.CHECKOUT / "notebooks" / "params" / "smoke.yaml").read_bytes()


@FEW
@given(data=st.data())
def test_profiles(tmp_path, smoke, data):
    path = tmp_path / "mine.yaml"
    path.write_bytes(data.draw(damaged([smoke])))
    tried(lambda: Profile.load(path), None, lines=200)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@FEW
@given(data=st.data())
def test_profiles_with_other_values(tmp_path, smoke, data):
    content = yaml.safe_load(smoke)
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(VALUES)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content), "utf-8")
    tried(lambda: Profile.load(tmp_path / "mine.yaml"), None, lines=200)


@pytest.fixture(scope="module")
def weights(toy):
    """The weights of the toy, as programs save them."""
    state = toy().model.state_dict()
    ours = {"format": "e2m-checkpoint-1", "detector": "toy", "weights": state}
    old = {"_use_new_zipfile_serialization": False}
    written = [
        array(lambda file, c, o: torch.save(c, file, **o), *both) for both in ((state, {}), (ours, {}), (state, old))
    ]
    return [*written, save_safetensors(state)]


@FUZZ
@given(data=st.data())
def test_weights(tmp_path, toy, weights, data):
    path = tmp_path / "a.pt"
    path.write_bytes(data.draw(damaged(weights)))
    tried(load_weights, path, toy(), path)
    tried(read_checkpoint, path, path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Maps and rows as E2M writes them."""
    folder = tmp_path_factory.mktemp("stores")
    maps = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    numbers = np.zeros(3, np.int8)
    explained = Explanation(maps, np.ones(3, np.float32), numbers, numbers, numbers > 0, np.ones((3, 2), np.float32))
    samples = pd.DataFrame({"image": list("abc"), "label": "authentic", "subject": list("abc")})
    disk.write_maps(folder / "a.nc", explained, samples, {"layer": "features"})
    rows = pd.DataFrame({"image": list("abc"), "measure": "entropy", "value": [0.1, 0.2, np.nan]})
    with disk.writing_rows(folder / "a.parquet", {"seed": 0}) as add:
        add(rows)
    return {suffix: (folder / f"a.{suffix}").read_bytes() for suffix in ("nc", "parquet")}


@FUZZ
@given(data=st.data())
def test_stores(tmp_path, stores, data):
    for suffix, reader in (("nc", disk.read_maps), ("parquet", lambda path: disk.read_rows([path]))):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(data.draw(damaged([stores[suffix]])))
        tried(reader, path, path)
