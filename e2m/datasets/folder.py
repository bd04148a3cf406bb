"""Your images: a folder tree, or a folder and a CSV list."""

from __future__ import annotations

import os
import stat
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated

import pandas as pd
from annotated_types import MinLen
from tqdm import tqdm

from e2m.arrays import names
from e2m.checks import brief, is_text
from e2m.datasets import COLUMNS, SEVEN_TIMES
from e2m.layouts import lists, tree
from e2m.layouts.subjects import videos
from e2m.layouts.words import PLAIN, SPLIT_WORDS, Words, split_of
from e2m.store import disk
from e2m.types import LABELS, InputError

MAP_SUFFIXES = (".png", ".npy", *(suffix for suffix in names.SUFFIXES if suffix not in (".png", ".npy")))
"""Endings of human maps and masks; of several files, the first ending counts."""

_OPTIONS = {"salience": "salience= (--human of e2m audit)", "segmentation": "segmentation= (--regions of e2m audit)"}


def load(
    root: str | Path,
    csv: str | Path | Annotated[list[str | Path], MinLen(1)] | None = None,
    salience: str | Path | Annotated[list[str | Path], MinLen(1)] | None = None,
    segmentation: str | Path | None = None,
    seven_times: str | Path | None = None,
    source_names: dict[str, str] | None = None,
    columns: dict[str, str] | None = None,
    labels: dict | None = None,
    subjects: str | None = None,
    splits: dict | None = None,
) -> pd.DataFrame:
    """The images below a folder.

    Without a list, folder names describe the images. Below ``root``, one folder names the label: authentic, real,
    bonafide; synthetic, fake; also numbered, as in ``1_fake``. If these words do not find both labels, others count
    (nature, ai, ...), then names that begin or end with one (``Celeb-real``), then the numbers 0 and 1.
    Another folder may name the split (train, validate or val, test; "test" by default).

    With a list, its columns describe the images: ``path`` and ``label``, and optionally ``source``, ``split``,
    ``subject``, ``salience``, ``segmentation`` and ``image``. The list is CSV, separated by commas, semicolons, tabs
    or bars; records in JSON or JSON lines; or DeepfakeBench's JSON of videos. A CSV list without a header holds
    ``split,label,path``, as CYBORG's lists do. Their ``test`` rows that point at a folder ``val`` belong to the split
    "validate". A tree with a ``metadata.csv`` or ``metadata.jsonl`` that has a column of labels is read by it (Hugging
    Face's ``imagefolder``).

    Where no column names the source, the folder below the label's folder does, or the label's folder if none is below;
    without a label's folder, the folder of the image. In a tree, folders that hold folders of both labels come first:
    ``progan/cat/1_fake`` has the source progan. ``source_names`` renames them. A source that would hold both labels is
    parted, as in progan-authentic and progan-synthetic.

    Frames of one video are one subject. Folders are videos if numbers name them (``000_003``) and number their frames
    anew; so are files of one folder that begin alike (``000_003_0012.png``).

    Args:
        root: folder that holds every image; paths in the list are relative to it, or to the list.
        csv: the list, or several lists, one after the other. An image that several lists name alike counts once: the
            authentic images of one test set may serve several.
        salience: folder with human maps. A map has the image's relative path or its file name, with the ending of an
            array or a picture instead of the image's, or behind it: ``0001.npy``, ``0001.png.npy``, ``0001.jpg``. Or a
            list of such folders, one for each annotator. Detectors are trained and compared with the maps of the first;
            the others measure how far people agree.
        segmentation: folder with segmentation masks of faces, named like human maps: bright inside the parts of the
            face. The regime ``segmentation`` reads them. The list can name them in a column ``segmentation``, too.
        seven_times: a second list, on whose training images the regime ``seven_times`` trains: the rows of its split
            "train" get the split "train_seven_times" and names of their own. CYBORG has such a list.
        source_names: folder -> name of the source: ``{"ffhq_aligned": "ffhq", "val/1_fake": "generated"}``. A folder is
            one name, or several that follow each other, with "/" between them. It names all images below it. Of several
            that fit, the deepest counts, and then the longest. Every image without a column ``source`` needs a name.
        columns: what the list's columns hold, where they have other names: ``{"path": "file", "label": "target"}``.
        labels: what words of folders or lists mean: ``{"0": "synthetic", "stylegan": "synthetic"}``. They come before
            the words above.
        subjects: "image": each image is a subject; "folder": all images of a folder are one; or a regular expression
            whose match in the image's path (its first group, if it has one) names the subject. None recognises videos.
        splits: split -> the split that its images count for: ``{"validate": "test"}`` tests on validation images.

    Returns:
        The columns of :func:`e2m.datasets.load_dataset`, in the list's order, or sorted by path without a list.
        ``image`` is the path relative to ``root``; ``subject`` is the image itself if it is no frame of a video and the
        list names no subject. The column ``annotations`` exists if ``salience`` lists several folders;
        ``segmentation``, if any image has a mask. The frame's ``attrs`` hold lines for people: ``left_out``, a line on
        each kind of file or folder that was left out, with its count; ``notes``, a line on each name that was
        interpreted. ``counterparts`` maps each synthetic source that was parted from an authentic one to the latter.

    Raises:
        InputError: a file or value that is missing, empty, unknown or outside ``root``; folders that can be understood
            in several ways. The message names what was seen and what to do.
    """
    root, words = _folder(root, "root"), Words(labels)
    folders = [] if salience is None else salience if isinstance(salience, list) else [salience]
    folders = [_folder(folder, "salience") for folder in folders]
    masks = None if segmentation is None else _folder(segmentation, "segmentation")
    read = _read(root, csv, words, columns, subjects, {*folders, masks} - {None})
    rows, more = read.rows, [] if seven_times is None else _seven_times(root, Path(seven_times), words)
    parted = _name_sources(root, rows + more, source_names)
    _rename_splits(rows, splits or {})
    for row in rows + more:
        if row.video:
            # An expression of the user's names the same subject everywhere.
            row.subject = f"{row.source}/{row.video}" if subjects in (None, "folder") else row.video
    files = (getattr(row, kind) for kind in ("path", "salience", "segmentation") for row in rows + more)
    _check_files(Below(root), list(filter(None, files)))
    _check_agreement(root, rows + more)
    others = [_maps(root, rows, folder) + [""] * len(more) for folder in folders[1:]]
    if folders:
        _add_maps(root, rows, folders[0])
    if masks is not None:
        _add_maps(root, rows, masks, "segmentation")
    samples = _frame(root, rows + more)
    if others:
        every = zip(samples["salience"], *others, strict=True)
        samples["annotations"] = [tuple(filter(None, maps)) for maps in every]
    samples.attrs |= {"left_out": read.left_out, "notes": read.notes, "counterparts": parted}
    return samples


def _frame(root: Path, rows: list[Row]) -> pd.DataFrame:
    """Rows as a frame, with paths below root; the column ``segmentation`` exists if a row has a mask."""
    masked = any(row.segmentation for row in rows)
    names = [*COLUMNS, *(["segmentation"] if masked else [])]
    samples = pd.DataFrame({name: pd.Series([getattr(row, name) for row in rows]) for name in names})
    for kind in samples.columns.intersection(["salience", "segmentation"]):
        samples[kind] = [str(root / path) if path else "" for path in samples[kind]]
    # At once: a million Paths would take longer than all the rest.
    samples["path"] = f"{root}/".replace("//", "/") + samples["path"]
    return samples


def found(samples: pd.DataFrame) -> pd.DataFrame:
    """What a data set holds, a row for each source.

    Returns:
        ``source``, ``label``, ``split`` (if there are several), ``images`` and ``subjects``, their numbers.
    """
    keys = ["source", "label", *(["split"] if len(set(samples["split"])) > 1 else [])]
    groups = samples.groupby(keys, sort=False)
    return groups.agg(images=("image", "size"), subjects=("subject", "nunique")).reset_index()


def duplicates(samples: pd.DataFrame) -> pd.DataFrame:
    """Images whose files are equal, byte for byte, although their label or split differs.

    A file is hashed once, and only if it is listed twice or another has its size. Splits to train on count as one.

    Returns:
        The rows of the samples that are such duplicates, with ``sha256``, equal for equal files, and ``across``:
        "label", "split" or "label and split".
    """
    paths = samples["path"].drop_duplicates()
    twice = paths.isin(samples.loc[samples["path"].duplicated(), "path"])
    same_size = paths.map(os.path.getsize).duplicated(keep=False)
    hashes = {path: disk.file_hash(path) for path in paths[twice | same_size]}
    alike = samples.assign(sha256=samples["path"].map(hashes)).dropna(subset="sha256")
    alike["split"] = alike["split"].replace(SEVEN_TIMES, "train")
    groups = alike.groupby("sha256")
    differ = {about: groups[about].transform("nunique") > 1 for about in ("label", "split")}
    across = pd.Series("", alike.index)
    for about, which in differ.items():
        across[which] = across[which].map(lambda known, about=about: f"{known} and {about}" if known else about)
    return alike.assign(across=across)[across != ""].sort_values("sha256", kind="stable").reset_index(drop=True)


def _rename_splits(rows: list[Row], splits: Mapping[str, str]) -> None:
    known = sorted({*SPLIT_WORDS.values()})
    if odd := [split for pair in splits.items() for split in pair if split not in known]:
        raise InputError(f"splits={splits} arrived, and {odd[0]!r} is no split; choose from {', '.join(known)}")
    for row in rows:
        row.split = splits.get(row.split, row.split)


@dataclass(slots=True)
class Row:
    """An image as a list or a tree describes it; with slots, since a list may have a million rows.

    Attributes:
        image, path, label, split, subject, source, salience, segmentation: as in the frame, with paths below the root.
        video: the name of the image's video, "" without one, None while it is not known.
        derived: the source that the folders name.
    """

    image: str
    path: str
    label: str
    split: str
    subject: str
    source: str = ""
    salience: str = ""
    segmentation: str = ""
    video: str | None = None
    derived: str = ""

    @property
    def content(self) -> tuple[str, ...]:
        """What the list says of the image."""
        about = self.image, self.path, self.label, self.split, self.subject
        return (*about, self.source, self.salience, self.segmentation)


@dataclass
class _Images:
    """Rows of images, lines on what was left out, and lines on how names were read."""

    rows: list[Row]
    left_out: list[str]
    notes: list[str]


def _read(
    root: Path,
    csv: str | Path | list[str | Path] | None,
    words: Words,
    columns: Mapping[str, str] | None,
    subjects: str | None,
    but: Collection[Path],
) -> _Images:
    """The images of the lists; without any, of the lists that lie in the tree, or of the tree."""
    beside = lists.metadata(root, columns) if csv is None else []
    if csv is None and not beside:
        if columns:
            raise InputError(f"{root}: columns= names columns of a list, and no list was given or found; give csv=")
        return _tree_rows(root, words, subjects, but)
    paths = beside or (csv if isinstance(csv, list) else [csv])
    parts = [_csv_rows(root, Path(path), words, columns, subjects) for path in paths]
    rows = _once([part.rows for part in parts])
    left, notes = [], [note for part in parts for note in part.notes]
    if beside:
        images, left = tree.walk(root, but)
        listed = {row.path for row in rows}
        unlisted = [image for image in images if image.as_posix() not in listed]
        left += [f"{len(unlisted)} images that no list names, such as {unlisted[0]}"] if unlisted else []
        notes.insert(0, f"read from {', '.join(path.relative_to(root).as_posix() for path in beside)}")
    return _Images(rows, left, list(dict.fromkeys(notes)))


def _tree_rows(root: Path, words: Words, subjects: str | None, but: Collection[Path]) -> _Images:
    images, left = tree.walk(root, but)
    read, notes, without = tree.labelled(root, images, words, left)
    classes = {PurePosixPath(*image.parts[: index + 1]) for image, (index, _) in read.items()}
    names = {image: image.as_posix() for image in read}
    clusters = videos(names.values(), lambda folder: folder in classes or bool(split_of(folder.name)), subjects)
    sources = tree.sources(read, words, clusters.folders)
    rows = [
        Row(
            image=names[image],
            path=names[image],
            label=label,
            split=tree.split(root, image, index) or "test",
            subject=names[image],
            video=clusters.names.get(names[image], ""),
            derived=sources[image],
        )
        for image, (index, label) in read.items()
    ]
    return _Images(rows, without + left, notes + clusters.notes)


def _csv_rows(
    root: Path, path: Path, words: Words, columns: Mapping[str, str] | None = None, subjects: str | None = None
) -> _Images:
    listed = lists.read(path, columns, words)
    beside = path.resolve().parent
    beside = beside.relative_to(root).as_posix() if beside.is_relative_to(root) else "."
    below, rows, labels = Below(root), [], set()
    bar = tqdm(listed.rows, path.name, listed.count, unit=" rows", delay=5, mininterval=2, disable=None)
    for where, cells in bar:
        rows.append(_csv_row(below, where, cells, words, beside))
        labels.add(cells["label"])
    taken = "image" if listed.headerless and subjects is None else subjects
    without = [row.path for row in rows if row.video is None]
    clusters = videos(without, lambda folder: bool(split_of(folder.name) or words.plain(folder.name)), taken, False)

    @cache
    def derived(folder: str) -> str:
        path = PurePosixPath(folder)
        return _source(path.parts[: -1 if path in clusters.folders else None], words)

    for row in rows:
        row.video = clusters.names.get(row.path, "") if row.video is None else ""
        row.derived = derived(row.path.rpartition("/")[0])
    notes = [*listed.notes, *clusters.notes]
    if words.assumed(labels):
        _check_number(path, (columns or {}).get("label", "label"), words)
        notes.append(
            f"{path.name}: the labels 0 and 1 are read as {LABELS[0]} and {LABELS[1]}; "
            'labels={"0": ..., "1": ...} says otherwise'
        )
    return _Images(rows, [], notes)


def _check_number(path: Path, column: str, words: Words) -> None:
    """Check that a column of 0 and 1 is not one in which 1 means authentic, by its name: is_real."""
    if words.by_part(column) == LABELS[0]:
        raise InputError(
            f"{path}: the column {brief(column)!r} holds 0 and 1, and by its name 1 means {LABELS[0]}; say so: "
            f'labels={{"1": "{LABELS[0]}", "0": "{LABELS[1]}"}}'
        )


def _csv_row(below: Below, where: str, cells: dict[str, str], words: Words, beside: str) -> Row:
    """A row of the list as a row of the frame; an empty cell counts as a missing one."""
    path = _inside(below, where, cells["path"], beside)
    image = cells.get("image") or path
    label, split = words.of_cell(cells["label"]), cells.get("split")
    if odd := [role for role in ("image", "source", "subject") if not is_text(cells.get(role, ""))]:
        raise InputError(
            f"{where}: the {odd[0]} {brief(cells[odd[0]])!r} holds control characters; give it another name"
        )
    if label is None:
        raise InputError(
            f"{where}: the label {brief(cells['label'])!r}; choose from {', '.join(PLAIN)}, or say what it means, as "
            f"in labels={{{brief(cells['label'])!r}: {LABELS[1]!r}}}"
        )
    if split and split_of(split) is None:
        raise InputError(f"{where}: the split {brief(split)!r}; choose from {', '.join(SPLIT_WORDS)}")
    by_folder = tree.split(below.root, PurePosixPath(path)) if split is None else None
    return Row(
        image=image,
        path=path,
        label=label,
        split=split_of(split) if split else by_folder or "test",
        subject=cells.get("subject") or image,
        source=sys.intern(cells.get("source", "")),  # few texts, however long the list
        **{
            kind: _inside(below, where, cells[kind], beside) for kind in ("salience", "segmentation") if cells.get(kind)
        },
        video="" if cells.get("subject") else None,  # to be recognised by the other images
    )


def _seven_times(root: Path, csv: Path, words: Words) -> list[Row]:
    """The training images of a second list, under names of their own: it may repeat images of the first."""
    rows = [row for row in _csv_rows(root, csv, words).rows if row.split == "train"]
    if not rows:
        raise InputError(f"{csv}: no image of the split train; seven_times= names a list of images to train on")
    return [replace(row, image=f"seven_times/{row.image}", split=SEVEN_TIMES) for row in rows]


def _once(lists: list[list[Row]]) -> list[Row]:
    """The rows of all lists, without those that an earlier list has already."""
    if len(lists) == 1:
        return lists[0]
    rows, known = [], set()
    for part in lists:
        rows += [row for row in part if row.content not in known]
        known |= {row.content for row in part}
    return rows


def _name_sources(root: Path, rows: list[Row], names: dict[str, str] | None) -> dict[str, str]:
    """Fill in the source of every row that names none; return the sources parted by label, synthetic to authentic."""
    if odd := [folder for folder, name in (names or {}).items() if not (isinstance(name, str) and name)]:
        raise InputError(f"source_names={{{odd[0]!r}: {names[odd[0]]!r}}} arrived; the name of a source is text")
    keys = {tuple(folder.strip("/").split("/")): name for folder, name in (names or {}).items()}
    unknown, derived = Counter(), []
    for row in rows:
        if row.source:
            continue
        if names is None:
            row.source = row.derived or row.label
            derived.append(row)
            continue
        folders = Path(row.path).parts[:-1]
        if fitting := [(depth, key) for key in keys if (depth := _depth(key, folders))]:
            row.source = keys[max(fitting)[1]]
        else:
            unknown[row.derived] += 1
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
    return _part_by_label(derived)


def _part_by_label(rows: list[Row]) -> dict[str, str]:
    """Part sources that hold both labels: progan-authentic, progan-synthetic; return the latter with the other."""
    labels = defaultdict(set)
    for row in rows:
        labels[row.source].add(row.label)
    mixed = [source for source, held in labels.items() if len(held) > 1]
    for row in rows:
        if row.source in mixed:
            row.source = sys.intern(f"{row.source}-{row.label}")
    return {f"{source}-{LABELS[1]}": f"{source}-{LABELS[0]}" for source in mixed}


def _source(folders: tuple[str, ...], words: Words) -> str:
    """The folder below the label's folder, the label's folder if none is below, or the last folder without one."""
    index = next((number for number, name in enumerate(folders) if words.plain(name)), None)
    if index is None:
        return folders[-1] if folders else ""
    below = [name for name in folders[index + 1 :] if not (split_of(name) or words.plain(name))]
    return below[0] if below else folders[index]


def _depth(key: tuple[str, ...], folders: tuple[str, ...]) -> tuple[int, int] | None:
    """How deep the folders of a key end among those of an image, and how many they are; None where they are not."""
    ends = range(len(folders), len(key) - 1, -1)
    return next(((end, len(key)) for end in ends if folders[end - len(key) : end] == key), None)


def _folder(path: str | Path, option: str) -> Path:
    # "" is no folder, though a Path makes the working folder of it; and it fails for a name that is too long.
    correct = f"correct {_OPTIONS.get(option, f'{option}=')}"
    if not os.path.isdir(path):  # noqa: PTH112
        raise InputError(f"{brief(path, 400)}: no such folder; {correct}")
    folder = Path(path).resolve()
    if not is_text(str(folder)):
        raise InputError(f"{str(folder)!r}: the folder's name is no text in UTF-8; rename it, then {correct}")
    return folder


class Below:
    """What lies below a folder when links are followed. Folders are looked up once, files without links never."""

    def __init__(self, root: Path):
        self.root, self._text = root, f"{root}/".replace("//", "/")
        self._real = cache(os.path.realpath)

    def mode(self, name: str) -> int:
        """The mode of a file or link, as the system has it; 0 where there is none."""
        try:
            return os.lstat(f"{self.root}/{name}").st_mode
        except (OSError, ValueError):  # a name that no file can have
            return 0

    def holds(self, name: str, mode: int) -> bool:
        """Whether a path relative to the root, of this mode, ends below it."""
        folder, _, last = f"{self.root}/{name}".rpartition("/")
        ends = f"{self._real(folder)}/{last}"
        if last in ("", ".", "..") or stat.S_ISLNK(mode):
            ends = os.path.realpath(ends)
        return f"{ends}/".startswith(self._text)

    def is_file(self, name: str, mode: int) -> bool:
        """Whether a path of this mode, or the target of a link, is a file."""
        return (self.root / name).is_file() if stat.S_ISLNK(mode) else stat.S_ISREG(mode)


def _inside(below: Below, where: str, name: str, beside: str) -> str:
    """A path of the list, relative to root; links are resolved first."""
    root = below.root
    if not name or not is_text(name):
        raise InputError(
            f"{where}: {f'the path {brief(name)!r}' if name else 'an empty path'}; name a file below {root}"
        )
    mode = 0 if name[0] == "/" else below.mode(name)
    if not mode:
        forms = (form for form in _forms(root, name, beside) if os.path.lexists(root / form))
        name = next(forms, name)
        mode = 0 if name[0] == "/" else below.mode(name)
    if name[0] != "/":
        if below.holds(name, mode):
            # Without "..", so that one file has one name, and its folders are those that it lies in.
            return os.path.normpath(name)
    elif (real := Path(name).resolve()).is_relative_to(root):
        return real.relative_to(root).as_posix()
    raise InputError(f"{where}: {brief(name)} lies outside {root}; move the file there, or give a root above both")


def _forms(root: Path, name: str, beside: str) -> Iterator[str]:
    """A path of a list, and what it may mean if no file has it: written on another system, or from another folder."""
    yield name
    name = name.replace("\\", "/")
    for form in dict.fromkeys([name, *(unicodedata.normalize(kind, name) for kind in ("NFC", "NFD"))]):
        yield form
        yield f"{beside}/{form}"
        first, _, rest = form.lstrip("/").partition("/")
        if first == root.name and rest:
            yield rest


def _check_files(below: Below, names: list[str]) -> None:
    root = below.root
    missing = []
    for name in names:
        mode = below.mode(name)
        if not below.holds(name, mode):
            raise InputError(f"{root / name}: a link to a file outside {root}; copy the file itself there")
        if not below.is_file(name, mode):
            missing.append(name)
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        first = ", ".join(brief(name) for name in missing[:5])
        raise InputError(
            f"{root}: {len(missing)} of {len(names)} listed files are missing: {first}{more}; correct root= or the list"
        )


def _check_agreement(root: Path, rows: list[Row]) -> None:
    """Rows may repeat a file under another name, but not with another label, nor to train and to test on it."""
    first: dict[str, tuple[str, str]] = {}
    meanings = {}
    for row in rows:
        meaning = f"as {row.label}", "to test on" if row.split == "test" else "to train on"
        meaning = meanings.setdefault(meaning, meaning)  # a few tuples, however long the list
        known = first.setdefault(row.path, meaning)
        if known is not meaning:
            one, other = next(pair for pair in zip(known, meaning, strict=True) if pair[0] != pair[1])
            raise InputError(f"{root / row.path}: listed {one} and {other}; keep one of them")


def _add_maps(root: Path, rows: list[Row], folder: Path, kind: str = "salience") -> None:
    """Fill in the human map, or the segmentation mask, of every row that has none."""
    without = [row for row in rows if not getattr(row, kind)]
    for row, path in zip(without, _maps(root, without, folder, kind) if without else [], strict=True):
        setattr(row, kind, path)


def _maps(root: Path, rows: list[Row], folder: Path, kind: str = "salience") -> list[str]:
    """The human map, or the segmentation mask, of every row in a folder, or ""."""
    name, option = "human map" if kind == "salience" else "segmentation mask", _OPTIONS[kind]
    listed = cache(lambda inside: {file.name for file in inside.iterdir()} if inside.is_dir() else set())
    maps = [_find_map(folder, row.path, listed) for row in rows]
    _check_files(Below(folder), [path[len(str(folder)) + 1 :] for path in maps if path])
    if not any(maps):
        example = Path(rows[0].path).with_suffix(".png")
        raise InputError(f"{folder}: no {name} of any image, such as {example}; correct {option}")
    if own := [path for row, path in zip(rows, maps, strict=True) if path == str(root / row.path)]:
        raise InputError(f"{own[0]}: the image itself, which is no {name}; give the folder of the maps as {option}")
    shared, times = Counter(filter(None, maps)).most_common(1)[0]
    if times > 1:
        raise InputError(
            f"{shared}: the {name} of {times} images with the same file name; "
            f"give the maps the same relative paths below {option} as their images have below root="
        )
    return maps


def _find_map(folder: Path, image: str, listed: Callable[[Path], Collection[str]]) -> str:
    path = Path(image)
    for inside in (folder / path.parent, folder):
        for suffix in MAP_SUFFIXES:
            for name in (f"{path.stem}{suffix}", f"{path.name}{suffix}"):
                if name in listed(inside):
                    return str(inside / name)
    return ""
