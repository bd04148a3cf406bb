"""Your images: a folder tree, or a folder and a CSV list."""

from __future__ import annotations

import csv as csv_format
import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import pandas as pd
from annotated_types import MinLen

from e2m.datasets import COLUMNS, SEVEN_TIMES
from e2m.types import InputError

LABEL_WORDS = {
    "authentic": "authentic",
    "real": "authentic",
    "bonafide": "authentic",
    "synthetic": "synthetic",
    "fake": "synthetic",
}
SPLIT_WORDS = {
    "train": "train",
    "validate": "validate",
    "val": "validate",
    "valid": "validate",
    "validation": "validate",
    "test": "test",
}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
MAP_SUFFIXES = (".png", ".npy")
HEADERLESS = ("split", "label", "path")
"""Columns of the lists that come with CYBORG (Boyd et al. 2023); they have no header."""


def load(
    root: str | Path,
    csv: str | Path | Annotated[list[str | Path], MinLen(1)] | None = None,
    salience: str | Path | Annotated[list[str | Path], MinLen(1)] | None = None,
    segmentation: str | Path | None = None,
    seven_times: str | Path | None = None,
    source_names: dict[str, str] | None = None,
) -> pd.DataFrame:
    """The images below a folder.

    Without a list, folder names describe the images. Below ``root``, one folder names the label (authentic, real,
    bonafide; synthetic, fake; also numbered, as in ``1_fake``). Another may name the split (train, validate or val,
    test; "test" by default). With a list, its columns describe the images: ``path`` and ``label``, and optionally
    ``source``, ``split``, ``subject``, ``salience`` and ``image``. A list without a header holds ``split,label,path``,
    as CYBORG's lists do. Their ``test`` rows that point at a folder ``val`` belong to the split "validate".

    Where no column names the source, the folder below the label's folder does, or the label's folder if none is below;
    without a label's folder, the folder of the image. ``source_names`` renames them.

    Args:
        root: folder that holds every image; paths in the list are relative to it.
        csv: the list, or several lists, one after the other. An image that several lists name alike counts once: the
            authentic images of one test set may serve several.
        salience: folder with human maps. A map has the image's relative path or its file name, ending in .png or .npy.
            Or a list of such folders, one for each annotator. Detectors are trained and compared with the maps of the
            first; the others measure how far people agree.
        segmentation: folder with segmentation masks of faces, named like human maps: bright inside the parts of the
            face. The regime ``segmentation`` reads them. The list can name them in a column ``segmentation``, too.
        seven_times: a second list, on whose training images the regime ``seven_times`` trains: the rows of its split
            "train" get the split "train_seven_times" and names of their own. CYBORG has such a list.
        source_names: folder -> name of the source: ``{"ffhq_aligned": "ffhq", "val/1_fake": "generated"}``. A folder is
            one name, or several that follow each other, with "/" between them. It names all images below it. Of several
            that fit, the deepest counts, and then the longest. Every image without a column ``source`` needs a name.

    Returns:
        The columns of :func:`e2m.datasets.load_dataset`, in the list's order, or sorted by path without a list.
        ``image`` is the path relative to ``root``; ``subject`` is the image itself if the list names no subject. The
        column ``annotations`` exists if ``salience`` lists several folders; ``segmentation``, if any image has a mask.

    Raises:
        InputError: a file or value that is missing, empty, unknown or outside ``root``; the message names it.
    """
    root = _folder(root, "root")
    if csv is None:
        rows = _tree_rows(root)
    else:
        rows = _once([_csv_rows(root, Path(path)) for path in (csv if isinstance(csv, list) else [csv])])
    more = [] if seven_times is None else _seven_times(root, Path(seven_times))
    _name_sources(root, rows + more, source_names)
    files = [row.get(kind, "") for kind in ("path", "salience", "segmentation") for row in rows + more]
    _check_files(root, list(filter(None, files)))
    _check_agreement(root, rows + more)
    folders = [] if salience is None else salience if isinstance(salience, list) else [salience]
    folders = [_folder(folder, "salience") for folder in folders]
    others = [_maps(rows, folder) + [""] * len(more) for folder in folders[1:]]
    if folders:
        _add_maps(rows, folders[0])
    if segmentation is not None:
        _add_maps(rows, _folder(segmentation, "segmentation"), "segmentation")
    masked = any(row.get("segmentation") for row in rows)
    samples = pd.DataFrame(rows + more, columns=[*COLUMNS, *(["segmentation"] if masked else [])])
    for kind in samples.columns.intersection(["salience", "segmentation"]):
        samples[kind] = [str(root / path) if path else "" for path in samples[kind].fillna("")]
    samples["path"] = [str(root / path) for path in samples["path"]]
    if others:
        every = zip(samples["salience"], *others, strict=True)
        samples["annotations"] = [tuple(filter(None, maps)) for maps in every]
    return samples


def _tree_rows(root: Path) -> list[dict[str, str]]:
    paths = sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    rows = [_tree_row(root, path) for path in paths if any(map(_label, path.parts[:-1]))]
    if not rows:
        raise InputError(
            f"{root}: no images found in folders named after a label ({len(paths)} images in other folders); "
            f"name folders {', '.join(LABEL_WORDS)}, or give csv=; images end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return rows


def _tree_row(root: Path, path: Path) -> dict[str, str]:
    folders = path.parts[:-1]
    labels = {_label(name) for name in folders} - {None}
    if len(labels) > 1:
        raise InputError(f"{root / path}: folders of both labels on one path; keep one of them")
    splits = {SPLIT_WORDS.get(name.lower()) for name in folders} - {None}
    if len(splits) > 1:
        raise InputError(f"{root / path}: folders of the splits {' and '.join(sorted(splits))} on one path; keep one")
    image = path.as_posix()
    return {
        "image": image,
        "path": image,
        "label": labels.pop(),
        "source": "",
        "split": splits.pop() if splits else "test",
        "subject": image,
        "salience": "",
    }


def _csv_rows(root: Path, csv: Path) -> list[dict[str, str]]:
    return [_csv_row(root, f"{csv}, row {number}", cells) for number, cells in _read_csv(csv)]


def _csv_row(root: Path, where: str, cells: dict[str, str]) -> dict[str, str]:
    """A row of the list as a row of the frame; an empty cell counts as a missing one."""
    path = _inside(root, where, cells["path"])
    image = cells.get("image") or path.as_posix()
    return {
        "image": image,
        "path": path.as_posix(),
        "label": _known(where, "label", cells["label"], LABEL_WORDS),
        "source": cells.get("source", ""),
        "split": _known(where, "split", cells.get("split") or "test", SPLIT_WORDS),
        "subject": cells.get("subject") or image,
        **{
            kind: _inside(root, where, cells[kind]).as_posix() if cells.get(kind) else ""
            for kind in ("salience", "segmentation")
        },
    }


def _seven_times(root: Path, csv: Path) -> list[dict[str, str]]:
    """The training images of a second list, under names of their own: it may repeat images of the first."""
    rows = [row for row in _csv_rows(root, csv) if row["split"] == "train"]
    if not rows:
        raise InputError(f"{csv}: no image of the split train; seven_times= names a list of images to train on")
    return [row | {"image": f"seven_times/{row['image']}", "split": SEVEN_TIMES} for row in rows]


def _once(lists: list[list[dict[str, str]]]) -> list[dict[str, str]]:
    """The rows of all lists, without those that an earlier list has already."""
    rows, known = [], set()
    for part in lists:
        fresh = [(tuple(row.items()), row) for row in part]
        rows += [row for key, row in fresh if key not in known]
        known |= {key for key, _ in fresh}
    return rows


def _name_sources(root: Path, rows: list[dict[str, str]], names: dict[str, str] | None) -> None:
    """Fill in the source of every row that names none."""
    if odd := [folder for folder, name in (names or {}).items() if not (isinstance(name, str) and name)]:
        raise InputError(f"source_names={{{odd[0]!r}: {names[odd[0]]!r}}} arrived; the name of a source is text")
    keys = {tuple(folder.strip("/").split("/")): name for folder, name in (names or {}).items()}
    unknown = Counter()
    for row in rows:
        if row["source"]:
            continue
        folders = Path(row["path"]).parts[:-1]
        if names is None:
            row["source"] = _source(folders) or row["label"]
        elif fitting := [(depth, key) for key in keys if (depth := _depth(key, folders))]:
            row["source"] = keys[max(fitting)[1]]
        else:
            unknown[_source(folders)] += 1
    if above := unknown.pop("", 0):
        raise InputError(
            f"{root}: {above} images lie in no folder below root=, so that source_names= cannot name them; give the "
            "list a column source, or move them into a folder"
        )
    if unknown:
        listed = ", ".join(f"{folder} ({count} images)" for folder, count in unknown.most_common(5))
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        example = unknown.most_common(1)[0][0]
        raise InputError(
            f"{root}: images in folders that source_names= does not name: {listed}{more}; "
            f"add a name for each, as in {example}: NAME_OF_THE_SOURCE"
        )


def _source(folders: tuple[str, ...]) -> str:
    """The folder below the label's folder, the label's folder if none is below, or the last folder without one."""
    index = next((number for number, name in enumerate(folders) if _label(name)), None)
    if index is None:
        return folders[-1] if folders else ""
    below = [name for name in folders[index + 1 :] if name.lower() not in SPLIT_WORDS and not _label(name)]
    return below[0] if below else folders[index]


def _depth(key: tuple[str, ...], folders: tuple[str, ...]) -> tuple[int, int] | None:
    """How deep the folders of a key end among those of an image, and how many they are; None where they are not."""
    ends = range(len(folders), len(key) - 1, -1)
    return next(((end, len(key)) for end in ends if folders[end - len(key) : end] == key), None)


def _read_csv(csv: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column name, of every row but the header."""
    try:
        with csv.open(newline="", encoding="utf-8-sig") as file:
            reader = csv_format.reader(file)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except FileNotFoundError as error:
        raise InputError(f"{csv}: no such file; correct csv= or seven_times=, or leave it out") from error
    except (OSError, UnicodeDecodeError, csv_format.Error) as error:
        raise InputError(f"{csv}: cannot be read as a list ({error}); save it as CSV in UTF-8") from error
    if not lines:
        raise InputError(f"{csv}: empty; the list needs one row for each image, with the columns path and label")
    without_header = any(cell.lower().endswith(IMAGE_SUFFIXES) for cell in lines[0][1])
    columns = list(HEADERLESS) if without_header else [cell.lower() for cell in lines.pop(0)[1]]
    if missing := [column for column in ("path", "label") if column not in columns]:
        raise InputError(f"{csv}: no column {' and '.join(missing)}; it has {', '.join(columns)}")
    if not lines:
        raise InputError(f"{csv}: empty below its header; the list needs one row for each image")
    for number, cells in lines:
        if len(cells) != len(columns):
            raise InputError(
                f"{csv}, row {number}: {len(cells)} cells; the columns are {len(columns)}: {','.join(columns)}"
            )
    rows = [(number, dict(zip(columns, cells, strict=True))) for number, cells in lines]
    return [(number, _from_cyborg(cells)) for number, cells in rows] if without_header else rows


def _from_cyborg(cells: dict[str, str]) -> dict[str, str]:
    """The leading slash means ``root``; ``test`` rows that point at the validation images serve model selection."""
    path = cells["path"].lstrip("/")
    points_at_validation = any(SPLIT_WORDS.get(part.lower()) == "validate" for part in Path(path).parts[:-1])
    validates = cells["split"].lower() == "test" and points_at_validation
    return cells | {"path": path, "split": "validate" if validates else cells["split"]}


def _label(folder: str) -> str | None:
    return LABEL_WORDS.get(re.sub(r"^\d+[_-]", "", folder.lower()))


def _known(where: str, column: str, word: str, words: dict[str, str]) -> str:
    if word.lower() not in words:
        raise InputError(f"{where}: the {column} {word!r}; choose from {', '.join(words)}")
    return words[word.lower()]


def _folder(path: str | Path, option: str) -> Path:
    if not Path(path).is_dir():
        raise InputError(f"{path}: no such folder; correct {option}=")
    return Path(path).resolve()


def _inside(root: Path, where: str, name: str) -> Path:
    """A path of the list, relative to root; links are resolved first."""
    if not name or "\0" in name:
        raise InputError(f"{where}: {'an empty path' if not name else f'the path {name!r}'}; name a file below {root}")
    if not (root / name).resolve().is_relative_to(root):
        raise InputError(f"{where}: {name} lies outside {root}; move the file there, or give a root above both")
    # Without "..", so that one file has one name, and its folders are those that it lies in.
    plain = Path(os.path.normpath(name))
    return plain if not plain.is_absolute() else (root / name).resolve().relative_to(root)


def _check_files(root: Path, names: list[str]) -> None:
    outside = [name for name in names if not (root / name).resolve().is_relative_to(root)]
    if outside:
        raise InputError(f"{root / outside[0]}: a link to a file outside {root}; copy the file itself there")
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        raise InputError(
            f"{root}: {len(missing)} of {len(names)} listed files are missing: {', '.join(missing[:5])}{more}; "
            "correct root= or the list"
        )


def _check_agreement(root: Path, rows: list[dict[str, str]]) -> None:
    """Rows may repeat a file under another name, but not with another label, nor to train and to test on it."""
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        use = "to test on" if row["split"] == "test" else "to train on"
        for about, value in (("label", f"as {row['label']}"), ("use", use)):
            known = first.setdefault((row["path"], about), value)
            if known != value:
                raise InputError(f"{root / row['path']}: listed {known} and {value}; keep one of them")


def _add_maps(rows: list[dict[str, str]], folder: Path, kind: str = "salience") -> None:
    """Fill in the human map, or the segmentation mask, of every row that has none."""
    without = [row for row in rows if not row.get(kind)]
    for row, path in zip(without, _maps(without, folder, kind) if without else [], strict=True):
        row[kind] = path


def _maps(rows: list[dict[str, str]], folder: Path, kind: str = "salience") -> list[str]:
    """The human map, or the segmentation mask, of every row in a folder, or ""."""
    name = "human map" if kind == "salience" else "segmentation mask"
    maps = [_find_map(folder, row["path"]) for row in rows]
    if not any(maps):
        example = Path(rows[0]["path"]).with_suffix(".png")
        raise InputError(f"{folder}: no {name} of any image, such as {example}; correct {kind}=")
    shared, times = Counter(filter(None, maps)).most_common(1)[0]
    if times > 1:
        raise InputError(
            f"{shared}: the {name} of {times} images with the same file name; "
            f"give the maps the same relative paths below {kind}= as their images have below root="
        )
    return maps


def _find_map(folder: Path, image: str) -> str:
    path = Path(image)
    for candidate in (folder / path, folder / path.name):
        for suffix in MAP_SUFFIXES:
            if candidate.with_suffix(suffix).is_file():
                return str(candidate.with_suffix(suffix))
    return ""
