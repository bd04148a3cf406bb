"""Dated tables of studies that take too long for the book: ``data/studies/DATE-NAME.parquet``, committed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from e2m.store import disk, paths, provenance, seals
from e2m.types import InputError

FOLDER = paths.CHECKOUT / "data" / "studies"


def save(name: str, table: pd.DataFrame, folder: Path = FOLDER, **about: Any) -> Path:
    """Write a study's table with its provenance; older tables of the same name are removed.

    Args:
        name: of the study: "coverage".
        table: tidy rows.
        folder: where the table goes.
        about: further entries of the provenance: the command, the profile, numbers of runs.
    """
    provenance_json = json.dumps(provenance.entries(**about)).encode()
    content = pa.Table.from_pandas(table, preserve_index=False)
    kept = {**(content.schema.metadata or {}), b"e2m": provenance_json, b"seal": seals.SEAL.encode()}
    content = content.replace_schema_metadata(kept)
    path = folder / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{name}.parquet"
    paths.write_atomically(path, lambda file: pq.write_table(content, file, compression="zstd"))
    for older in set(_files(name, folder)) - {path}:
        older.unlink()
    return path


def load(name: str, folder: Path = FOLDER) -> tuple[pd.DataFrame, dict[str, str]]:
    """A study's table and its provenance.

    Raises:
        InputError: no table of that study exists, or it is damaged.
    """
    files = _files(name, folder)
    if not files:
        raise InputError(f"{folder}: no study named {name!r}; make it with `make study` or `make bench`")
    return disk.read_table(files[-1]), disk.settings_of(files[-1])


def made(name: str) -> bool:
    """Whether a study's table exists."""
    return bool(_files(name, FOLDER))


def _files(name: str, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"????-??-??-{name}.parquet"))
