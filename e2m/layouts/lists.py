"""Lists of images: CSV with any separator and column names, records in JSON, and DeepfakeBench's JSON."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

from e2m.checks import brief, check_ends
from e2m.layouts.tree import IMAGE_SUFFIXES
from e2m.layouts.words import AUTHENTIC, SYNTHETIC, Words, split_of
from e2m.types import InputError

ROLES = ("path", "label", "source", "split", "subject", "salience", "segmentation", "image")
"""What a column of a list can hold."""

HEADERLESS = ("split", "label", "path")
"""Columns of the lists that come with CYBORG (Boyd et al. 2023); they have no header."""

METADATA = ("metadata.csv", "metadata.jsonl")
"""Lists that Hugging Face's ``imagefolder`` reads; their column of paths is ``file_name``."""

_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Listed:
    """A list of images.

    Attributes:
        rows: where each row stands, for messages, and its cells by role; they can be read once.
        count: about how many rows there are.
        headerless: whether it is one of CYBORG's lists.
        notes: lines on how it was read.
    """

    rows: Iterable[tuple[str, dict[str, str]]]
    count: int
    headerless: bool = False
    notes: tuple[str, ...] = ()


def read(path: Path, columns: Mapping[str, str] | None, words: Words) -> Listed:
    """The rows of a list.

    Args:
        path: the list: .json and .jsonl are JSON, anything else is CSV.
        columns: role -> name of its column, where that is another.
        words: what label words mean.

    Raises:
        InputError: a list that cannot be read, is empty, or lacks a column.
    """
    _check_roles(columns or {})
    text = _text(path)
    if path.suffix.lower() in (".json", ".jsonl"):
        return _read_json(path, text, columns or {}, words)
    return _read_csv(path, text, columns or {})


def metadata(root: Path, columns: Mapping[str, str] | None) -> list[Path]:
    """The lists of a Hugging Face ``imagefolder``, at its root or in the folders below, if they have labels."""
    lists = [
        file for folder in (root, *sorted(root.iterdir())) for name in METADATA if (file := folder / name).is_file()
    ]
    path, label = ((columns or {}).get(role, role).casefold() for role in ("path", "label"))
    columns_of = {file: {*map(str.casefold, _columns(file))} for file in lists}
    return [file for file, names in columns_of.items() if label in names and names & {path, "file_name"}]


def _columns(file: Path) -> Sequence[str]:
    text = _text(file)
    try:
        if file.suffix == ".csv":
            return next(_cells(text, _separator(text, ())), ())
        first = json.loads(text.strip().splitlines()[0]) if text.strip() else {}
    except csv.Error as error:
        raise InputError(f"{file}: cannot be read as a list ({brief(error)}); correct or remove it") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: the first line is no JSON ({brief(error)}); correct it, or remove the file"
        ) from error
    return [*first] if isinstance(first, dict) else ()


def _check_roles(columns: Mapping[str, str]) -> None:
    if odd := [role for role in columns if role not in ROLES]:
        raise InputError(f"columns has the key {odd[0]!r}; choose from {', '.join(ROLES)}")
    if odd := [role for role, column in columns.items() if not isinstance(column, str)]:
        raise InputError(f"columns={{{odd[0]!r}: {columns[odd[0]]!r}}} arrived; the name of a column is text")


def _text(path: Path) -> str:
    check_ends(path)
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; correct csv= or seven_times=, or leave it out") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{brief(path, 400)}: cannot be read as a list ({brief(error)}); save it as CSV in UTF-8"
        ) from error


def _read_csv(path: Path, text: str, columns: Mapping[str, str]) -> Listed:
    wanted = [columns.get(role, role).casefold() for role in ("path", "label")]
    lines = _lines(path, text, wanted)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: empty; the list needs one row for each image, with the columns path and label")
    headerless = any(cell.lower().endswith(IMAGE_SUFFIXES) for cell in first[1])
    if headerless and columns:
        raise InputError(
            f"{path}: the first line names an image, and columns= names columns; add a line of their names"
        )
    names = list(HEADERLESS) if headerless else [cell.casefold() for cell in first[1]]
    roles = _roles(path, names, columns)
    first = first if headerless else next(lines, None)
    if first is None:
        raise InputError(f"{path}: empty below its header; the list needs one row for each image")
    rows = _rows(path, chain([first], lines), names, roles)
    count = text.count("\n")
    if headerless:
        return Listed(((where, _from_cyborg(cells)) for where, cells in rows), count, headerless)
    return Listed(rows, count, notes=_unread(path, names, roles))


def _lines(path: Path, text: str, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of every line that is not empty."""
    try:
        reader = _cells(text, _separator(text, wanted))
        for cells in reader:
            if any(stripped := [cell.strip() for cell in cells]):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as a list ({brief(error)}); save it as CSV in UTF-8") from error


def _rows(
    path: Path, lines: Iterable[tuple[int, list[str]]], names: Sequence[str], roles: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    positions = {role: names.index(name) for role, name in roles.items()}
    for number, cells in lines:
        if len(cells) != len(names):
            raise InputError(
                f"{path}, row {number}: {len(cells)} cells; the columns are {len(names)}: {brief(','.join(names))}"
            )
        yield f"{path}, row {number}", {role: cells[position] for role, position in positions.items()}


def _separator(text: str, wanted: Sequence[str]) -> str:
    """The separator whose header has the wanted columns, or else most columns."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    first = text[text.rfind("\n", 0, start) + 1 : end if end >= 0 else None]
    headers = {mark: [cell.strip().casefold() for cell in next(_cells(first, mark), ())] for mark in _SEPARATORS}
    fitting = (mark for mark, header in headers.items() if wanted and {*wanted} <= {*header})
    return next(fitting, None) or max(headers, key=lambda mark: len(headers[mark]))


def _cells(text: str, separator: str) -> csv.reader:
    return csv.reader(_with_ends(text), delimiter=separator)


def _with_ends(text: str) -> Iterator[str]:
    """The lines of a text with their ends, one by one: StringIO would hold the text again, in four bytes a letter."""
    start = 0
    for end in re.finditer("\r\n?|\n", text):
        yield text[start : end.end()]
        start = end.end()
    if start < len(text):
        yield text[start:]


def _roles(path: Path, names: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Role -> the column that holds it, of the columns that exist."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: two columns are named {brief(twice[0])!r}; rename one")
    listed = brief(", ".join(names))
    chosen = {role: column.casefold() for role, column in columns.items()}
    if absent := [column for column in chosen.values() if column not in names]:
        raise InputError(f"{path}: no column {absent[0]}, which columns= names; it has {listed}")
    free = [name for name in names if name not in chosen.values()]
    roles = {role: role for role in ROLES if role in free and role not in chosen} | chosen
    if "path" not in roles and "file_name" in free:  # of Hugging Face's lists
        roles["path"] = "file_name"
    if missing := [role for role in ("path", "label") if role not in roles]:
        example = ", ".join(f'"{role}": "NAME"' for role in missing)
        raise InputError(
            f"{path}: no column {' and '.join(missing)}; it has {listed}; say which column it is, as in "
            f"columns={{{example}}}"
        )
    for role in (role for role in ROLES if role not in roles):
        if close := get_close_matches(role, [name for name in free if name not in roles.values()], 1, 0.8):
            raise InputError(
                f"{path}: the column {close[0]!r} would not be read; if it holds {role}, rename it or give "
                f'columns={{"{role}": "{close[0]}"}}; if not, give it a name that is less like it'
            )
    return roles


def _unread(path: Path, names: Sequence[str], roles: Mapping[str, str]) -> tuple[str, ...]:
    """A line on the columns that are not read, if there are any."""
    others = [name for name in names if name not in roles.values()]
    return (f"{path.name}: not read: the columns {brief(', '.join(others))}",) if others else ()


def _from_cyborg(cells: dict[str, str]) -> dict[str, str]:
    """The leading slash means ``root``; ``test`` rows that point at the validation images serve model selection."""
    path = cells["path"].lstrip("/")
    points_at_validation = any(split_of(part) == "validate" for part in Path(path).parts[:-1])
    validates = cells["split"].lower() == "test" and points_at_validation
    return cells | {"path": path, "split": "validate" if validates else cells["split"]}


def _read_json(path: Path, text: str, columns: Mapping[str, str], words: Words) -> Listed:
    try:
        lines = text.splitlines() if path.suffix.lower() == ".jsonl" else [text]
        content = [json.loads(line, object_pairs_hook=_once_each) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({brief(error)}); correct it, or give a CSV list") from error
    content = content[0] if len(content) == 1 and path.suffix.lower() == ".json" else content
    videos = list(_videos(content, ()))
    if videos:
        return _of_videos(path, videos, words)
    if isinstance(content, dict):  # the image's name -> its label, or a record
        content = [
            {"path": key} | (value if isinstance(value, dict) else {"label": value}) for key, value in content.items()
        ]
    if not (isinstance(content, list) and content and all(isinstance(record, dict) for record in content)):
        raise InputError(
            f"{path}: a list of records with path and label fits, or DeepfakeBench's JSON of videos with label and "
            "frames; give one of them, or a CSV list"
        )
    rows = []
    for number, record in enumerate(content, 1):
        cells = {str(name).casefold(): "" if value is None else str(value).strip() for name, value in record.items()}
        roles = _roles(path, list(cells), columns)
        rows.append((f"{path}, record {number}", {role: cells[name] for role, name in roles.items()}))
    return Listed(rows, len(rows), notes=_unread(path, list(cells), roles))


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The mapping of a JSON object, which may have each key once: of several, Python would take the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return content


def _videos(content: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every entry with a label and a list of frames, with the keys that lead to it."""
    if isinstance(content, dict):
        if keys and isinstance(content.get("frames"), list) and isinstance(content.get("label"), str | int):
            yield keys, content
        else:
            for key, value in content.items():
                yield from _videos(value, (*keys, str(key)))


def _of_videos(path: Path, videos: Sequence[tuple[tuple[str, ...], dict]], words: Words) -> Listed:
    """The frames of DeepfakeBench's videos; one that is listed in several splits counts for the test, if it may."""
    labels, notes = _labels(path, dict.fromkeys(str(video["label"]) for _, video in videos), words)
    frames: dict[str, tuple[str, dict[str, str]]] = {}
    several = set()
    for keys, video in videos:
        label, split = str(video["label"]), next(filter(None, map(split_of, keys)), "test")
        for frame in video["frames"]:
            cells = {"path": str(frame).replace("\\", "/"), "label": labels[label], "source": label, "split": split}
            _, known = frames.get(cells["path"], ("", cells))
            if known["label"] != cells["label"]:
                both = f"{brief(known['source'])} and {brief(label)}"
                raise InputError(f"{path}: {brief(cells['path'])} has the labels {both}; keep one")
            if known["split"] != split:
                several.add(cells["path"])
                cells["split"] = "test" if "test" in (known["split"], split) else known["split"]
            frames[cells["path"]] = f"{path}, {' > '.join(keys)}", cells | {"subject": f"{label}/{keys[-1]}"}
    if not frames:
        raise InputError(f"{path}: none of its {len(videos)} videos has frames; list them, or give a CSV list")
    if several:
        notes.append(f"{path.name}: {len(several)} frames are listed in several splits, and count for the test")
    return Listed(frames.values(), len(frames), notes=tuple(notes))


def _labels(path: Path, labels: Iterable[str], words: Words) -> tuple[dict[str, str], list[str]]:
    """DeepfakeBench's labels as cells of a list: "FF-real" is authentic, and "FF-DF" beside it a method."""
    meant = {label: label if words.of_cell(label) else words.by_part(label) for label in labels}
    methods = [label for label, cell in meant.items() if cell is None]
    if AUTHENTIC not in {words.of_cell(cell) for cell in meant.values() if cell}:
        return {label: cell or label for label, cell in meant.items()}, []
    notes = [f"{path.name}: the labels {', '.join(methods)} are read as {SYNTHETIC}; labels= says otherwise"]
    return meant | dict.fromkeys(methods, SYNTHETIC), notes if methods else []
