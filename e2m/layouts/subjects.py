"""Which images are frames of one video: their errors are alike, so that statistics take a video as one subject.

A folder's name alone does not tell a video from a generator. Structure does: the folders of videos have numbers for
names (000_003, id0_0001, vid07), and their frames are numbered anew in each of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath

from e2m.types import InputError

MANY = 20
"""Folders with numbered images below one label: more than these are hardly generators."""

_READ_AS_VIDEOS = 'are read as videos, whose frames are one subject; subjects="image" says otherwise'


@dataclass
class Videos:
    """The videos that images belong to.

    Attributes:
        names: image -> name of its video, for images that belong to one.
        folders: folders that are videos, or numbered parts of a large folder: they name no source.
        notes: a line on each way in which videos were recognised.
    """

    names: dict[str, str] = field(default_factory=dict)
    folders: set[PurePosixPath] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def videos(
    images: Iterable[str],
    is_class: Callable[[PurePosixPath], bool],
    subjects: str | None = None,
    strict: bool = True,
) -> Videos:
    """The videos of images.

    Args:
        images: paths relative to the root, as text: objects for a million paths would take half a gigabyte.
        is_class: whether a folder names a label or a split.
        subjects: None recognises videos; "image" has none; "folder" takes each folder as one; a regular expression
            whose match in the path (its first group, if it has one) names the subject.
        strict: refuse folders that may be videos or not, instead of taking their images one by one.

    Raises:
        InputError: folders that may be videos or not; an expression that is none.
    """
    if subjects == "image":
        return Videos()
    images, by_name = list(images), defaultdict(list)
    for image in images:
        by_name[image.rpartition("/")[0]].append(image)
    by_folder = {PurePosixPath(folder): files for folder, files in by_name.items()}
    leaves = [folder for folder in by_folder if folder.name and not is_class(folder)]
    if subjects == "folder":
        return _of_folders(by_folder, leaves)
    if subjects is not None:
        return _of_expression(images, subjects)
    chosen, parts = _recognised(by_folder, leaves, is_class, strict)
    result = _of_folders(by_folder, chosen)
    result.folders |= parts
    if chosen:
        result.notes.append(f"{len(chosen)} folders such as {min(chosen)} {_READ_AS_VIDEOS}")
    return _with_named(result, {folder: files for folder, files in by_folder.items() if folder not in result.folders})


def _of_folders(by_folder: Mapping[PurePosixPath, list[str]], folders: Iterable[PurePosixPath]) -> Videos:
    folders = set(folders)
    return Videos({image: folder.name for folder in folders for image in by_folder[folder]}, folders)


def _of_expression(images: Sequence[str], expression: str) -> Videos:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise InputError(
            f'subjects={expression!r}: no regular expression ({error}); "image", "folder" or one fits'
        ) from error
    matches = {image: match for image in images if (match := pattern.search(image))}
    if not matches:
        raise InputError(f"subjects={expression!r} matches no path, such as {images[0]}; correct the expression")
    return Videos({image: match[1 if pattern.groups else 0] or image for image, match in matches.items()})


def _recognised(
    by_folder: Mapping[PurePosixPath, list[str]],
    leaves: Sequence[PurePosixPath],
    is_class: Callable[[PurePosixPath], bool],
    strict: bool,
) -> tuple[set[PurePosixPath], set[PurePosixPath]]:
    """The folders that are videos, among those that hold images; and those that are numbered, and are none."""
    families = defaultdict(list)
    for leaf in leaves:
        families[leaf.parent].append(leaf)
    chosen, parts, alone = set(), set(), []
    for parent, folders in families.items():
        names = [folder.name for folder in folders]
        if len(folders) == 1:
            alone += folders
        elif not _restarts({folder.name: _numbers(by_folder[folder], folder.name) for folder in folders}):
            parts.update(folders if _coded(names) else ())
        elif _coded(names):
            chosen.update(folders)
        else:
            below = not (parent.name == "" or is_class(parent))
            if strict and (below or len(folders) > MANY):
                raise InputError(
                    f"{parent}: {len(folders)} folders such as {', '.join(sorted(names)[:3])} with numbered images "
                    'may be videos, whose frames are one subject, or not; give subjects="folder" or subjects="image"'
                )
    # A single folder has none to compare itself with; it is a video if it is named as others are.
    forms = {_form(folder.name) for folder in chosen}
    return chosen | {folder for folder in alone if _form(folder.name) in forms}, parts


def _with_named(result: Videos, by_folder: Mapping[PurePosixPath, list[str]]) -> Videos:
    """Add videos whose frames lie in one folder, and have the video's name in theirs: 000_003_0012.png."""
    videos, doubtful = [], []
    for files in by_folder.values():
        groups = _alike(files)
        if _coded([name for name, _ in groups]):
            videos += groups.items()
        else:
            doubtful += groups.values()
    for (name, suffix), files in videos:
        result.names |= dict.fromkeys(files, name + suffix)
    if videos:
        example = _first(file for _, files in videos for file in files)
        result.notes.append(f"{len(videos)} groups of files such as {example} {_READ_AS_VIDEOS}")
    if doubtful:
        result.notes.append(
            f"files such as {_first(chain(*doubtful))} may be several of one subject, and each counts as one; "
            "subjects= takes an expression that matches the subject's part of the path"
        )
    return result


def _first(files: Iterable[str]) -> str:
    """The first of some paths, folder by folder."""
    return min(files, key=lambda file: file.split("/"))


def _alike(files: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Groups of files of one folder whose names differ in their last number, if most files are in such a group."""
    groups, numbers = defaultdict(list), defaultdict(list)
    for file in files:
        if match := re.fullmatch(r"(.*?)(\d+)(\D*)", _stem(file)):
            key = match[1].rstrip("_-. "), match[3]
            groups[key].append(file)
            numbers[key].append(int(match[2]))
    groups = {key: group for key, group in groups.items() if len(group) > 1}
    most = len(groups) > 1 and 2 * sum(map(len, groups.values())) >= len(files)
    return groups if most and _restarts({key: numbers[key] for key in groups}) else {}


def _stem(file: str) -> str:
    return PurePosixPath(file).stem


def _numbers(files: Iterable[str], folder: str) -> list[int]:
    """The frame numbers of files; the folder's name before them does not count."""
    stems = (re.sub(rf"^{re.escape(folder)}(?![^\W_])", "", _stem(file)) for file in files)
    return [int(match[1]) for stem in stems if (match := re.search(r"(\d+)\D*$", stem))]


def _restarts(numbers: Mapping[object, Collection[int]]) -> bool:
    """Whether numbers begin anew in most groups, instead of going on from one group to the next."""
    if not all(numbers.values()):
        return False
    reach, again = -1, 0
    for low, high in sorted((min(group), max(group)) for group in numbers.values()):
        again += low <= reach
        reach = max(reach, high)
    return 2 * again >= len(numbers) - 1


def _coded(names: Sequence[str]) -> bool:
    """Whether names number their bearers: 000_003; 01__walking; id0_0001; or vid1 to vid6, which are no versions."""
    if all(re.match(r"\d\d|[\d\W_]+$", name) for name in names):
        return True
    padded = any(re.search(r"(?<!\d)0\d", name) for name in names)
    return len({_form(name) for name in names}) == 1 and "0" in _form(names[0]) and (padded or len(names) > 5)


def _form(name: str) -> str:
    """A name with every number replaced by 0."""
    return re.sub(r"\d+", "0", name)
