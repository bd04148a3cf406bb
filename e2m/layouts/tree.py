"""Folder trees: the images below a root, and what the names of their folders say about them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from e2m.checks import is_text
from e2m.layouts.words import PLAIN, Words, split_of
from e2m.types import LABELS, InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
NO_IMAGES = ("mask", "masks", "landmarks", "heatmaps", "salience", "saliency")
"""Folders of maps that lie beside the images they belong to."""

Labelled = dict[PurePosixPath, tuple[int, str]]
"""Image -> index of the folder that names its label, and the label."""


def walk(root: Path, but: Collection[Path] = ()) -> tuple[list[PurePosixPath], list[str]]:
    """The image files below a folder, sorted, relative to it; and a line on each kind of file that is left out.

    Links to folders are not followed. ``but`` names folders, absolute and without links, that hold no images.
    """
    images, left = [], Counter()
    first: dict[str, str] = {}
    for folder, names in _folders(root, but, left, first):
        for name in names:
            suffix = Path(name).suffix.lower()
            if not is_text(name):
                left["files whose name is no text"] += 1
            elif name.startswith("."):
                left["hidden files"] += 1
            elif suffix in IMAGE_SUFFIXES:
                images.append(folder / name)
            else:
                left[f"files of type {suffix}" if suffix else "files without a type"] += 1
    images, maps = _without_maps(sorted(images))
    left.update({f"images in folders {name}, which mirror others": count for name, count in maps.items()})
    such = {what: f", such as {name}" for what, name in first.items() if is_text(name)}
    return images, [f"{count} {what}{such.get(what, '')}" for what, count in left.items()]


def _folders(
    root: Path, but: Collection[Path], left: Counter, first: dict[str, str]
) -> Iterator[tuple[PurePosixPath, list[str]]]:
    """Every folder that is not hidden, relative to the root, with the names of its files.

    ``left`` receives the number of folders of each kind that is left out, and ``first`` one of them.
    """

    def unreadable(error: OSError) -> None:
        left[f"folders that cannot be read: {error.filename} ({error.strerror})"] += 1

    for folder, inside, files in os.walk(root, onerror=unreadable):
        for name in list(inside):
            path = Path(folder, name)
            if path in but:
                inside.remove(name)
            elif kind := _no_folder(path):
                inside.remove(name)
                first.setdefault(kind, path.relative_to(root).as_posix())
                left[kind] += 1
        yield PurePosixPath(Path(folder).relative_to(root).as_posix()), files


def _no_folder(path: Path) -> str | None:
    """What a folder is that is left out, or None."""
    if path.is_symlink():
        return "links to folders"
    if path.name.startswith("."):
        return "hidden folders"
    return None if is_text(path.name) else "folders whose name is no text"


def _without_maps(images: list[PurePosixPath]) -> tuple[list[PurePosixPath], Counter]:
    """Images without those in folders of maps, which mirror the folders beside them; and the counts of the latter."""
    beside = defaultdict(set)
    maps = defaultdict(list)
    for image in images:
        marked = next((n for n, name in enumerate(image.parts[:-1]) if name.casefold() in NO_IMAGES), None)
        if marked is not None:
            maps[image.parts[: marked + 1]].append(image)
    parents = {folder[:-1] for folder in maps}
    for image in images:
        for depth in range(len(image.parts) - 1):
            if image.parts[:depth] in parents and image.parts[depth].casefold() not in NO_IMAGES:
                beside[image.parts[:depth]].add(image.with_suffix("").parts[depth + 1 :])
    counts, drop = Counter(), set()
    for folder, files in maps.items():
        if all(file.with_suffix("").parts[len(folder) :] in beside[folder[:-1]] for file in files):
            drop.update(files)
            counts[folder[-1]] += len(files)
    return [image for image in images if image not in drop], counts


def labelled(
    root: Path, images: Sequence[PurePosixPath], words: Words, left_out: Sequence[str] = ()
) -> tuple[Labelled, list[str], list[str]]:
    """The labels of images, by the names of their folders.

    The strictest reading of names counts that finds both labels: plain words (real, fake) first, then other words
    (nature, ai), then names with such a word at an end (Celeb-real), then the numbers 0 and 1.

    Args:
        root: the folder, for messages.
        images: paths relative to it.
        words: what label words mean.
        left_out: lines on files that are no images, for the message if no image has a label.

    Returns:
        The labels; a line on names that are no plain words; and a line on each folder whose images have no label.

    Raises:
        InputError: no label; one label alone, beside folders without one; folders of both labels on one path.
    """
    read: Labelled = {}
    for strictness in range(1, len(words.readers) + 1):
        read = _read(root, images, words.readers[:strictness])
        if {label for _, label in read.values()} == {*LABELS}:
            break
    else:
        readings = (_read(root, images, words.readers[: n + 1]) for n in range(len(words.readers)))
        read = next(filter(None, readings), {})
    without = _without(images, read)
    seen = ", ".join(f"{folder} ({count})" for folder, count in list(without.items())[:8])
    seen += f" and {len(without) - 8} more" if len(without) > 8 else ""
    example = next(iter(without), "")
    mapping = f'say what they mean, as in labels={{"{PurePosixPath(example).name}": "synthetic"}}'
    if not read:
        others = f"{seen}; {mapping}, " if seen else f"{', '.join(left_out) or 'the folder is empty'}; "
        raise InputError(
            f"{root}: no images found in folders named after a label ({len(images)} images in other folders): {others}"
            f"name folders {', '.join(PLAIN)}, or give csv=; images end in {', '.join(IMAGE_SUFFIXES)}"
        )
    only = {label for _, label in read.values()}
    if len(only) == 1 and without:
        raise InputError(
            f"{root}: folders named after a label hold {only.pop()} images alone, and others have no label: {seen}; "
            f"{mapping}, or move them away"
        )
    names = {image.parts[index]: label for image, (index, label) in read.items()}
    unusual = {name: label for name, label in sorted(names.items()) if words.plain(name) is None}
    meant = "; ".join(f"{name} as {label}" for name, label in unusual.items())
    notes = [f'folder names are read so: {meant}; labels={{"{min(unusual)}": ...}} says otherwise'] if unusual else []
    return read, notes, [f"{count} images in {folder}, which names no label" for folder, count in without.items()]


def _read(root: Path, images: Sequence[PurePosixPath], readers: Sequence[Callable[[str], str | None]]) -> Labelled:
    """The labels that readers find in the folders' names: the first reader, or the others where it finds none."""
    read = {}
    for image in images:
        for some in (readers[:1], readers[1:]):
            labels = [next((label for reader in some if (label := reader(name))), None) for name in image.parts[:-1]]
            if len({*labels} - {None}) > 1:
                raise InputError(f"{root / image}: folders of both labels on one path; keep one of them")
            if index := next((n + 1 for n, label in enumerate(labels) if label), 0):
                read[image] = index - 1, labels[index - 1]
                break
    return read


def _without(images: Sequence[PurePosixPath], read: Labelled) -> dict[str, int]:
    """The outermost folders that hold no image with a label, and the number of their images."""
    holding = {image.parts[:depth] for image in read for depth in range(len(image.parts))}
    if not read:  # the outermost folders that differ
        shared = _shared(image.parts[:-1] for image in images)
        holding = {image.parts[:depth] for image in images for depth in range(shared + 1)}
    counts = Counter()
    for image in images:
        if image not in read:
            depths = range(1, len(image.parts))
            outer = next((depth for depth in depths if image.parts[:depth] not in holding), len(image.parts) - 1)
            counts["/".join(image.parts[:outer]) or "the root itself"] += 1
    return dict(counts.most_common())


def split(root: Path, image: PurePosixPath, label: int | None = None) -> str | None:
    """The split that the folders of an image name, or None; ``label`` is the index of the folder with its label.

    Raises:
        InputError: folders of two splits.
    """
    splits = {split_of(name, by_part=index == label) for index, name in enumerate(image.parts[:-1])} - {None}
    if len(splits) > 1:
        raise InputError(f"{root / image}: folders of the splits {' and '.join(sorted(splits))} on one path; keep one")
    return splits.pop() if splits else None


def sources(read: Labelled, words: Words, videos: Collection[PurePosixPath]) -> dict[PurePosixPath, str]:
    """The source of every image: the generator outside its label's folder, or the folder below it, or that folder.

    A folder outside counts if there are several, and one of them holds both labels: progan/cat/1_fake. Folders that
    are splits, or videos, or the same on all paths, are no sources.
    """
    outside, below = {}, {}
    for image, (index, _) in read.items():
        folders = image.parts[: -2 if image.parent in videos else -1]
        outside[image] = tuple(name for name in folders[:index] if not split_of(name))
        below[image] = tuple(name for name in folders[index + 1 :] if not (split_of(name) or words.plain(name)))
    shared = _shared(outside.values())
    held = defaultdict(set)
    for image, folders in outside.items():
        held[folders[shared : shared + 1]].add(read[image][1])
    if len(held) > 1 and () not in held and any(len(labels) > 1 for labels in held.values()):
        return {image: folders[shared] for image, folders in outside.items()}
    both = len({label for _, label in read.values()}) > 1
    shared = _shared(below.values()) if both else 0
    return {image: (folders[shared:] or (image.parts[read[image][0]],))[0] for image, folders in below.items()}


def _shared(paths: Iterable[tuple[str, ...]]) -> int:
    """How many first folders all paths share."""
    levels = list(zip(*paths, strict=False))
    return next((depth for depth, names in enumerate(levels) if len({*names}) > 1), len(levels))
