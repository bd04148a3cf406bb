"""Results on disk: tidy rows in Parquet, salience maps in netCDF. Every write is atomic and its bytes repeatable.

Files carry a seal (``e2m.store.seals``), and are read only if it is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from e2m.checks import brief
from e2m.store import seals
from e2m.store.paths import location, naming, write_atomically, writing
from e2m.types import Explanation, InputError

if TYPE_CHECKING:
    import xarray as xr

_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("profile", _TEXT),
        ("regime", _TEXT),
        ("detector", _TEXT),
        ("run", pa.int32()),
        ("run_other", pa.int32()),
        ("dataset", _TEXT),
        ("source", _TEXT),
        ("image", _TEXT),
        ("label", _TEXT),
        ("correct", pa.bool_()),
        ("salience", _TEXT),
        ("target", _TEXT),
        ("measure", _TEXT),
        ("variant", _TEXT),
        ("region", _TEXT),
        ("level", _TEXT),
        ("value", pa.float64()),
    ]
)
"""Columns of tidy rows; a column that a measure does not use is null.

``region`` names the part of the image that a measure perturbed, "" if it perturbed the whole image or nothing.
"""

PLAIN = pa.schema([(field.name, pa.string() if field.type == _TEXT else field.type) for field in SCHEMA])
"""``SCHEMA`` with plain text."""

ROWS_AT_ONCE = 1 << 13
"""Rows of a Parquet row group; so many wait in memory at most."""


@contextmanager
def writing_rows(
    path: str | Path, settings: dict | None = None, made_of: dict[str, str] | None = None
) -> Iterator[Callable[[pd.DataFrame], None]]:
    """A function that adds tidy rows to a file; the file gets its name when the block ends without an error.

    Memory holds one row group at most. The file's bytes do not depend on how the rows are divided into frames.

    Args:
        path: of the Parquet file.
        settings: the settings that produced the rows; kept in the file's metadata, see ``settings_of``.
        made_of: what the rows were made of; kept there too, see ``made_of``.

    Raises:
        InputError: a column that ``SCHEMA`` lacks.
        OSError: for example a full disk; the message names ``path``, and a file of that name stays as it was.
    """
    path = Path(path)
    kept = {"e2m": settings or {}, "made_of": made_of or {}}
    described = {name: json.dumps(entry, sort_keys=True) for name, entry in kept.items()}
    schema = SCHEMA.with_metadata({**described, "seal": seals.SEAL})
    rest = PLAIN.empty_table()
    with writing(path) as file:
        with naming(path):
            writer = pq.ParquetWriter(file, schema, compression="zstd")

        def add(frame: pd.DataFrame) -> None:
            nonlocal rest
            # Copied, so that the memory of the frame can be released.
            rest = pa.concat_tables([rest, as_table(frame)]).combine_chunks()
            while len(rest) >= ROWS_AT_ONCE:
                write(rest[:ROWS_AT_ONCE])
                rest = rest[ROWS_AT_ONCE:]

        def write(rows: pa.Table) -> None:
            with naming(path):
                writer.write_table(_encoded(rows, schema))

        try:
            yield add
            if len(rest):
                write(rest)
            with naming(path):
                writer.close()
        finally:
            with suppress(OSError):
                writer.close()


def as_table(frame: pd.DataFrame) -> pa.Table:
    """Tidy rows as a table with the columns ``PLAIN``.

    Raises:
        InputError: a column that they lack.
    """
    unknown = sorted(set(frame.columns) - set(PLAIN.names))
    if unknown:
        raise InputError(f"tidy rows have no column {unknown}; the columns are {', '.join(PLAIN.names)}")
    columns = [
        # Only in ``value`` is NaN a value; elsewhere it is a null.
        pa.array(frame[field.name], from_pandas=field.name != "value").cast(field.type)
        if field.name in frame
        else pa.nulls(len(frame), field.type)
        for field in PLAIN
    ]
    return pa.Table.from_arrays(columns, schema=PLAIN)


def _encoded(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Plain rows with their text as dictionaries of the values that occur in them."""
    columns = [
        column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
        for field, column in zip(schema, rows.combine_chunks().columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def read_rows(paths: Iterable[str | Path], columns: Sequence[str] | None = None, filters=None) -> pd.DataFrame:
    """Tidy rows of several files in the given order; text columns are categories.

    Args:
        paths: Parquet files written by ``writing_rows``.
        columns: to read only these.
        filters: pyarrow filters, for example ``[("salience", "=", "CAM")]``.

    Raises:
        InputError: no files, or a file that is missing, is not Parquet or lacks a column; the message names the file.
    """
    tables = [_read(path, pq.read_table, columns=columns, filters=filters) for path in paths]
    if not tables:
        raise InputError("no files of results to read: the list of paths is empty")
    return pa.concat_tables(tables).unify_dictionaries().to_pandas(ignore_metadata=True)


def settings_of(path: str | Path) -> dict:
    """The settings that produced a file of tidy rows.

    Raises:
        InputError: a file that is missing, or not one of tidy rows.
    """
    metadata = _read(path, pq.read_schema).metadata or {}
    if b"e2m" not in metadata:
        raise InputError(f"{path}: says nothing of how it was made; give a file that E2M wrote")
    return json.loads(metadata[b"e2m"])


def made_of(path: str | Path) -> dict[str, str]:
    """What a file of tidy rows or a summary table was made of; nothing if it does not say.

    Raises:
        InputError: a file that is missing or not Parquet.
    """
    return json.loads((_read(path, pq.read_schema).metadata or {}).get(b"made_of", b"{}"))


def _read(path: str | Path, read: Callable, **options):
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such results; {beside(path)}; make them with `make book`, or `e2m salience` for one detector"
        )
    try:
        return read(checked(path), **options)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Arrow and its readers raise errors of many kinds for files that are damaged
        raise InputError(
            f"{path}: cannot be read as Parquet ({brief(error)}); move it away and make it again"
        ) from error


def read_table(path: str | Path) -> pd.DataFrame:
    """A summary table that ``write_table`` wrote.

    Raises:
        InputError: a file that is missing, damaged, or of another kind.
    """
    return _read(path, pd.read_parquet)


def write_table(path: str | Path, table: pd.DataFrame, made_of: dict[str, str] | None = None) -> None:
    """Write a summary table as Parquet; ``made_of`` is kept in its metadata, see the function of that name."""
    content = pa.Table.from_pandas(table, preserve_index=False)
    kept = {**(content.schema.metadata or {}), b"made_of": json.dumps(made_of or {}, sort_keys=True).encode()}
    kept[b"seal"] = seals.SEAL.encode()
    buffer = io.BytesIO()
    pq.write_table(content.replace_schema_metadata(kept), buffer)
    write_atomically(Path(path), lambda file: file.write(buffer.getvalue()))


MOST_BYTES = (1 << 31) - 4
"""Largest salience maps of a file: netCDF 3, which any tool reads, counts the bytes of a variable in 31 bits."""


def check_room(path: str | Path, images: int, cells: tuple[int, int]) -> None:
    """Check, before the maps of all images are made, that a file can hold them.

    Raises:
        InputError: more than ``MOST_BYTES``.
    """
    size = 4 * images * cells[0] * cells[1]
    if size > MOST_BYTES:
        fits = MOST_BYTES // (4 * cells[0] * cells[1])
        raise InputError(
            f"{path}: {images} maps of {cells[0]}x{cells[1]} take {size / 2**30:.1f} GiB, and a file holds 2 GiB; "
            f"explain at most {fits} images of a source (images_per_source), or with a method of coarser maps"
        )


def write_maps(path: str | Path, explanation: Explanation, samples: pd.DataFrame, attributes: dict) -> None:
    """Write salience maps and scores of one detector on one source as a self-describing netCDF file.

    Args:
        path: of the file.
        explanation: maps (N, h, w) and scores.
        samples: N rows with ``image``, ``label`` and ``subject``.
        attributes: text or numbers: weights hash, layer, method, target, package versions.
    """
    import xarray as xr  # not at the top: it takes a seventh of a second, and most jobs that import this need no maps

    maps = xr.Dataset(
        {
            "salience": (("image", "y", "x"), explanation.maps),
            "score": ("image", explanation.scores),
            "logits": (("image", "class"), explanation.logits),
            "predicted": ("image", explanation.predicted.astype(np.int8)),
            "target": ("image", explanation.target.astype(np.int8)),
            "dead": ("image", explanation.dead.astype(np.int8)),
            "label": ("image", samples["label"].to_numpy(str)),
            "subject": ("image", samples["subject"].to_numpy(str)),
        },
        coords={"image": samples["image"].to_numpy(str), "class": ["authentic", "synthetic"]},
        attrs={**attributes, "seal": seals.SEAL},
    )
    # Not into memory first: if the write of that fails, xarray's buffer is collected while a view of it lives, and
    # Python 3.12 crashes.
    write_atomically(Path(path), lambda file: maps.to_netcdf(file, engine="scipy"))


def read_maps(path: str | Path) -> xr.Dataset:
    """Read what ``write_maps`` wrote: salience (image, y, x), score, logits, predicted, target, dead, label, subject.

    Raises:
        InputError: no such file, a damaged one, or a file without maps.
    """
    import xarray as xr

    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no salience maps there; {beside(path)}; make them with `make book` or `e2m salience`"
        )
    checked(path)
    try:
        maps = xr.load_dataset(path, engine="scipy")
    except MemoryError:
        raise
    except Exception as error:  # SciPy raises errors of every kind for files that are damaged
        raise InputError(f"{path}: not a netCDF file of salience maps; move it away and make the maps again") from error
    maps.attrs.pop("seal", None)
    if "salience" not in maps:
        raise InputError(f"{path}: holds {', '.join(maps)}, but no salience maps; give a file that E2M wrote")
    return maps


def read_json(path: str | Path, kinds: Mapping[str, type], remedy: str) -> dict:
    """The mapping that a JSON file holds.

    Args:
        path: of the file.
        kinds: keys that it has, with the types of their values.
        remedy: what to do if it is damaged: "`make book` writes it".

    Raises:
        InputError: a file that cannot be read, is no JSON, or lacks a key; the message names it.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({brief(error)}); {remedy}") from error
    known = content if isinstance(content, dict) else {}
    if odd := [key for key, kind in kinds.items() if not isinstance(known.get(key), kind)]:
        raise InputError(f"{path}: not what E2M wrote there: {odd[0]} is missing, or of another type; {remedy}")
    return content


def beside(path: str | Path) -> str:
    """What there is instead of a file that is missing, in words: the content of the nearest folder that exists."""
    folder = next(parent for parent in Path(path).absolute().parents if parent.is_dir())
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[0] != ".")
    return f"{folder} holds {', '.join(names[:12]) or 'nothing'}{', ...' * (len(names) > 12)}"


def checked(path: str | Path) -> Path:
    """The path of a derived file, after a check that the file is whole and lies where it belongs (``seals.flaw``).

    A file is checked once as long as its size and time stay the same.

    Raises:
        InputError: it is damaged, cut short, or another file; the message names it.
    """
    if reason := flaw(path):
        raise InputError(f"{path}: {reason}; delete it and make it again, for example with `make book`")
    return Path(path)


def flaw(path: str | Path) -> str:
    """Why a derived file is not what was written under its name, in words; "" if it is.

    Among results, every file has a seal. Elsewhere, one without a seal is somebody's, and nothing is known about it.
    """
    path = Path(path)
    if location(path) == seals.ANYWHERE and not seals.sealed(path):
        return ""
    stat = path.stat()
    return _flaw_at(str(path), location(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1 << 17)
def _flaw_at(path: str, belongs: str, size: int, time: int) -> str:
    return seals.flaw(Path(path), belongs)


def known_hash(path: str | Path) -> str:
    """``file_hash``; "" without such a file."""
    return file_hash(path) if Path(path).is_file() else ""


def file_hash(path: str | Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256, computed once as long as its size and time stay the same."""
    stat = Path(path).stat()
    return _hash_at(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1 << 12)  # not more: memory would grow with the number of images
def _hash_at(path: str, size: int, time: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def short_hash(content: object) -> str:
    """The first eight hexadecimal digits of the SHA-256 of something that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
