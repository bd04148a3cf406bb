"""Pairing files with images by name: never by position, and never by a guess."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from e2m.types import InputError

SUFFIXES = (".npy", ".npz", ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Endings of images and maps, which are no part of a name; of ``0001.png.npy``, both are taken off."""

_TRIED = 25  # files whose names are searched for an image's name; all files are then counted


@dataclass(frozen=True)
class Pairs:
    """Files paired with images.

    Attributes:
        files: N, the file of each image, or "" where it has none.
        pattern: how files are named after images, "{name}" or, for example, "{name}_cam".
        missing: images without a file.
        extra: files that are named like no image.
        ambiguous: files that fit several images, or an image that another file fits as well; none of them is paired.
    """

    files: tuple[str, ...]
    pattern: str
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    ambiguous: tuple[str, ...]


def pair(images: Sequence[str], files: Iterable[str], pattern: str | None = None) -> Pairs:
    """Pair files with images whose names they bear.

    Endings are left out. The folders of a file and those of its image must agree as far as both have them:
    ``0001.npy``, ``ffhq/0001.npy`` and ``maps/real/ffhq/0001.npy`` fit the image ``real/ffhq/0001.png``,
    ``fake/0001.npy`` does not. Of several that fit, those that agree in most folders count. If file names hold the
    images' names and more, the same in all files (``0001_cam.npy``), this is found.

    Args:
        images: N different names, which may be relative paths with "/" between folders.
        files: relative paths, likewise.
        pattern: how files are named, with "{name}" for the image's name; None finds it.

    Raises:
        InputError: a pattern without "{name}"; names that fit several patterns equally well.
    """
    known, files = [_parts(image) for image in images], sorted(files)
    parts = [_parts(file) for file in files]
    stems = {name[-1] for name in known}
    before, after = _ends(pattern) if pattern is not None else _found_pattern(stems, [name[-1] for name in parts])
    by_stem = defaultdict(list)
    for index, name in enumerate(known):
        by_stem[name[-1]].append(index)
    extra, ambiguous, claims = [], [], defaultdict(list)
    for file, name in zip(files, parts, strict=True):
        stem = _between(name[-1], before, after)
        name = (*name[:-1], stem)
        fitting = [(_common(name, known[index]), index) for index in by_stem.get(stem, ())]
        fitting = [(common, index) for common, index in fitting if common]
        best = [index for common, index in fitting if common == max(fitting)[0]]
        if not best:
            extra.append(file)
        elif len(best) > 1:
            ambiguous.append(file)
        else:
            claims[best[0]].append((max(fitting)[0], file))
    paired = [""] * len(known)
    for index, claimed in claims.items():
        best = [file for common, file in claimed if common == max(claimed)[0]]
        if len(best) == 1:
            paired[index] = best[0]
        ambiguous += [file for _, file in claimed if file != paired[index]]
    missing = tuple(image for image, file in zip(images, paired, strict=True) if not file)
    return Pairs(tuple(paired), f"{before}{{name}}{after}", missing, tuple(extra), tuple(sorted(ambiguous)))


def without_ending(path: str) -> str:
    """A file's path without the endings of ``SUFFIXES``."""
    plain = PurePosixPath(path)
    while plain.suffix.lower() in SUFFIXES:
        plain = plain.with_suffix("")
    return str(plain)


def _parts(path: str) -> tuple[str, ...]:
    """Folders and name, without endings."""
    return PurePosixPath(without_ending(path)).parts


def _common(name: tuple[str, ...], image: tuple[str, ...]) -> int:
    """Number of parts in which two names agree, counted from the end; 0 if they differ before one ends."""
    shorter = min(len(name), len(image))
    return shorter if name[-shorter:] == image[-shorter:] else 0


def _ends(pattern: str) -> tuple[str, str]:
    if pattern.count("{name}") != 1:
        raise InputError(
            f'pattern is {pattern!r}; write "{{name}}" once where the image\'s name stands: "{{name}}_cam"'
        )
    before, after = pattern.split("{name}")
    return before, after


def _found_pattern(stems: set[str], files: list[str]) -> tuple[str, str]:
    """What stands before and after the images' names in the names of most files."""
    if any(file in stems for file in files):
        return "", ""
    step = max(1, len(files) // _TRIED)
    tried = {
        (file[: file.index(stem)], file[file.index(stem) + len(stem) :])
        for file in files[::step]
        for stem in stems
        if stem in file
    }
    counts = Counter(
        {ends: sum(_between(file, *ends) in stems for file in files) for ends in sorted(tried)}
    ).most_common(2)
    if len(counts) == 2 and counts[0][1] == counts[1][1]:
        names = " and ".join(f"{before}{{name}}{after}" for (before, after), _ in counts)
        raise InputError(f"files are named {names}, equally many each; choose one with pattern=")
    return counts[0][0] if counts else ("", "")


def _between(file: str, before: str, after: str) -> str | None:
    """The image's name in a file's name; None if it is named differently."""
    fits = file.startswith(before) and file.endswith(after) and len(file) > len(before) + len(after)
    return file[len(before) : len(file) - len(after)] if fits else None
