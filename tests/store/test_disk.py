"""What is written is read back, to the bit; what was interrupted leaves no trace."""

import errno
import io
import os
import re
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2m.store import disk, paths
from e2m.types import Explanation, InputError

ROWS = pd.DataFrame(
    {
        "image": ["a.png", "ä/b.png", "c.png"],
        "source": pd.Categorical(["orl", "swap", "orl"]),
        "run": [0, 1, 2],
        "correct": [True, False, True],
        "value": [0.1, np.nan, -np.inf],
    }
)


@pytest.fixture
def explanation(random):
    """Three explanations, the last of a dead map."""
    maps = random.random((3, 7, 8)).astype(np.float32)
    maps[2] = np.nan
    logits = random.normal(size=(3, 2)).astype(np.float32)
    classes = np.array([0, 1, 1])
    return Explanation(
        maps, random.random(3).astype(np.float32), classes, classes[::-1], np.isnan(maps[:, 0, 0]), logits
    )


SAMPLES = pd.DataFrame(
    {"image": ["a", "ä/b", "c"], "label": ["authentic", "synthetic", "synthetic"], "subject": ["s1", "", "s2"]}
)


def write_rows(path, frames, settings=None):
    with disk.writing_rows(path, settings) as add:
        for frame in frames:
            add(frame)


def test_rows_come_back(tmp_path):
    path = tmp_path / "new" / "folder" / "rows.parquet"
    write_rows(path, [ROWS], {"amounts": [0.1, 1], "seed": 3})
    rows = disk.read_rows([path])
    assert list(rows) == disk.SCHEMA.names
    assert rows["image"].tolist() == ROWS["image"].tolist()
    assert rows["source"].tolist() == ROWS["source"].tolist()
    assert rows["run"].tolist() == [0, 1, 2]
    assert rows["correct"].tolist() == [True, False, True]
    np.testing.assert_array_equal(rows["value"], ROWS["value"])
    assert disk.settings_of(path) == {"amounts": [0.1, 1], "seed": 3}
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_column_is_null_and_a_nan_is_a_value(tmp_path):
    write_rows(tmp_path / "rows.parquet", [ROWS])
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.schema.equals(disk.SCHEMA)
    assert table["value"].null_count == 0
    missing = set(disk.SCHEMA.names) - set(ROWS)
    assert {name for name in disk.SCHEMA.names if table[name].null_count == len(ROWS)} == missing


def test_files_are_joined_in_the_given_order_and_filtered(tmp_path):
    names = [tmp_path / name for name in ("b.parquet", "a.parquet")]
    for name, frame in zip(names, (ROWS.iloc[:2], ROWS.assign(source="dcgan", run=None)), strict=True):
        write_rows(name, [frame.iloc[:1], frame.iloc[1:]], {"of": str(name)})
    rows = disk.read_rows(names)
    assert rows["source"].tolist() == ["orl", "swap", "dcgan", "dcgan", "dcgan"]
    assert isinstance(rows["source"].dtype, pd.CategoricalDtype)
    assert rows["run"].isna().tolist() == [False, False, True, True, True]
    few = disk.read_rows(names, columns=["image"], filters=[("source", "=", "dcgan")])
    assert (list(few), len(few)) == (["image"], 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    values=st.lists(st.floats(), max_size=6),
    texts=st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"))), min_size=6, max_size=6),
    cut=st.integers(0, 6),
)
def test_any_rows_come_back_however_they_are_cut(tmp_path, values, texts, cut):
    frame = pd.DataFrame({"value": np.array(values, float), "level": texts[: len(values)]})
    write_rows(tmp_path / "rows.parquet", [frame.iloc[:cut], frame.iloc[cut:]])
    rows = disk.read_rows([tmp_path / "rows.parquet"])
    np.testing.assert_array_equal(rows["value"], frame["value"])
    assert [None if pd.isna(text) else text for text in rows["level"]] == texts[: len(values)]


def test_the_same_content_gives_the_same_bytes(tmp_path, explanation):
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "rows", [ROWS, ROWS], {"b": 1, "a": 2})
        disk.write_table(tmp_path / name / "table", ROWS)
        disk.write_maps(tmp_path / name / "maps", explanation, SAMPLES, {"method": "CAM"})
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    assert disk.file_hash(tmp_path / "one" / "rows") == disk.file_hash(tmp_path / "two" / "rows")
    assert re.fullmatch("[0-9a-f]{16}", disk.file_hash(tmp_path / "one" / "rows"))


def test_maps_come_back_with_what_describes_them(tmp_path, explanation):
    disk.write_maps(tmp_path / "maps.nc", explanation, SAMPLES, {"method": "CAM", "weights_sha256": "ab12", "run": 3})
    maps = disk.read_maps(tmp_path / "maps.nc")
    assert maps["salience"].dims == ("image", "y", "x")
    assert maps["salience"].dtype == np.float32
    pairs = {"salience": "maps", "score": "scores", "logits": "logits", "predicted": "predicted", "target": "target"}
    for name, attribute in pairs.items():
        np.testing.assert_array_equal(maps[name], getattr(explanation, attribute))
    assert maps["dead"].to_numpy().tolist() == [0, 0, 1]
    for name in SAMPLES:
        assert maps[name].to_numpy().tolist() == SAMPLES[name].tolist()
    assert maps.attrs == {"method": "CAM", "weights_sha256": "ab12", "run": 3}


def test_an_unknown_column_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match=r"no column \['amount'\]; the columns are profile, regime"):
        write_rows(tmp_path / "rows.parquet", [ROWS, ROWS.assign(amount=1)])
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 250), max_size=6))
def test_the_bytes_do_not_depend_on_how_rows_are_divided(tmp_path, monkeypatch, cuts):
    monkeypatch.setattr(disk, "ROWS_AT_ONCE", 100)
    rows = pd.DataFrame({"image": [f"{number // 7}" for number in range(250)], "value": np.arange(250) / 7})
    rows["level"] = pd.Categorical(["0.1", "0.5"] * 125)
    frames = [rows[start:stop] for start, stop in pairwise([0, *sorted(cuts), 250])]
    write_rows(tmp_path / "whole", [rows])
    write_rows(tmp_path / "cut", frames)
    assert pq.read_metadata(tmp_path / "cut").num_row_groups == 3
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "cut").read_bytes()


def test_rows_wait_in_memory_for_no_more_than_a_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "ROWS_AT_ONCE", 1000)
    values = np.random.default_rng(0).random(100)
    rows = pd.DataFrame({"image": [f"{number}" for number in range(100)], "value": values})
    held = []
    with disk.writing_rows(tmp_path / "rows") as add:
        for number in range(400):
            add(rows.assign(run=number))
            held.append(pa.total_allocated_bytes())
    assert max(held[200:]) < 1.2 * max(held[:100])
    assert len(disk.read_rows([tmp_path / "rows"])) == 40_000


def test_frames_are_released_although_their_rows_wait(tmp_path):
    tracemalloc.start()
    with disk.writing_rows(tmp_path / "rows") as add:
        for _ in range(20):
            add(pd.DataFrame({"value": np.zeros(100_000)})[:10])  # rows of a frame of 0.8 MB
        held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3e6


class Full(io.FileIO):
    """A file on a disk that takes so many bytes more."""

    left = 0

    def write(self, content):
        Full.left -= len(content)
        if Full.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


@pytest.mark.parametrize("part", ["header", "row groups", "footer"])
def test_a_full_disk_is_named_with_the_file_and_leaves_the_old_one(tmp_path, monkeypatch, part):
    path, rows = tmp_path / "rows.parquet", pd.DataFrame({"value": np.random.default_rng(0).random(300)})
    monkeypatch.setattr(disk, "ROWS_AT_ONCE", 100)
    write_rows(path, [rows])
    old = path.read_bytes()
    Full.left = {"header": 0, "row groups": len(old) // 2, "footer": len(old) - 1}[part]
    monkeypatch.setattr(Path, "open", lambda path, mode: Full(path, mode))
    with pytest.raises(OSError, match=r"rows\.parquet: not written \(No space left on device\); an earlier") as caught:
        write_rows(path, [rows.iloc[::-1]])
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: old}


def test_of_several_files_the_one_that_fails_is_named_and_none_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "ROWS_AT_ONCE", 1)

    def write_both():
        with disk.writing_rows(tmp_path / "first") as add, disk.writing_rows(tmp_path / "second") as add_other:
            add(ROWS)
            monkeypatch.setattr(disk, "_encoded", disk_full)
            add_other(ROWS)

    with pytest.raises(OSError, match=r"second: not written") as caught:
        write_both()
    assert "first:" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def disk_full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("a camera unplugged"), InputError("no image")])
def test_an_interrupted_write_leaves_the_old_file_and_the_error_as_it_is(tmp_path, error):
    path = tmp_path / "rows.parquet"

    def frames():
        yield ROWS
        raise error

    for before in (None, b"old"):
        if before:
            path.write_bytes(before)
        with pytest.raises(type(error)) as caught:
            write_rows(path, frames())
        assert caught.value is error
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == ({path.name: before} if before else {})


@pytest.mark.parametrize("write", ["write_table", "write_maps"])
def test_tables_and_maps_on_a_full_disk(tmp_path, monkeypatch, explanation, write):
    monkeypatch.setattr(Path, "open", lambda path, mode: Full(path, mode))
    Full.left = 100
    content = {"write_table": (ROWS,), "write_maps": (explanation, SAMPLES, {})}[write]
    with pytest.raises(OSError, match=r"result: not written \(No space left on device\)"):
        getattr(disk, write)(tmp_path / "result", *content)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file"):
        disk.write_table(tmp_path / "file" / "table.parquet", ROWS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder: not written \(Is a directory\)"):
        disk.write_table(tmp_path / "folder", ROWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_missing_and_broken_files_are_named_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"absent\.parquet: no such results; .* holds .*; make them with `make book`"):
        disk.read_rows([tmp_path / "absent.parquet"])
    with pytest.raises(InputError, match=r"absent\.nc: no salience maps there; .* holds .*; make them with"):
        disk.read_maps(tmp_path / "absent.nc")
    with pytest.raises(InputError, match="list of paths is empty"):
        disk.read_rows([])
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"garbage" * 20)
    for read in (lambda path: disk.read_rows([path]), disk.settings_of, disk.read_maps):
        with pytest.raises(InputError, match=f"{garbage}: "):
            read(garbage)
    disk.write_table(tmp_path / "table", ROWS)
    with pytest.raises(InputError, match="table: says nothing of how it was made; give a file that E2M wrote"):
        disk.settings_of(tmp_path / "table")


def test_a_truncated_or_foreign_netcdf_file_is_refused(tmp_path, explanation):
    disk.write_maps(tmp_path / "maps.nc", explanation, SAMPLES, {})
    whole = (tmp_path / "maps.nc").read_bytes()
    for length in (0, 3, 10, 50, 200, 500, len(whole) // 2):
        (tmp_path / "maps.nc").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"maps\.nc: (not a netCDF file of salience maps|it is damaged)"):
            disk.read_maps(tmp_path / "maps.nc")
    xr.Dataset({"depth": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="scipy")
    with pytest.raises(InputError, match=r"other\.nc: holds depth, but no salience maps"):
        disk.read_maps(tmp_path / "other.nc")


def test_results_lie_where_paths_says(roots):
    one, demo = ("demo", "toy", "cyborg", 3), roots / "results" / "demo"
    assert paths.checkpoint(*one) == demo / "checkpoints/toy/cyborg/run-3.pt"
    assert paths.maps(*one, "CAM", "orl") == demo / "maps/toy/cyborg/run-3/CAM-orl.nc"
    assert paths.rows(*one, "noise", "orl") == demo / "measures/toy/cyborg/run-3/noise-orl.parquet"
    assert paths.table("demo", "noise") == demo / "tables/noise.parquet"
