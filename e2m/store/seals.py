"""Seals: a derived file says in itself what its content is and where it belongs.

A writer puts ``SEAL`` where its format keeps text: an attribute, metadata, a comment, or the end of the file. When the
file is written, ``fill`` replaces the zeros of the seal by two hashes: of the location among the results, and of the
whole file but for this second hash. ``flaw`` computes them again. It notices one flipped bit anywhere in the file, a
missing end, and a file that lies under the name of another. Other programs read a sealed file as any other.
"""

from __future__ import annotations

import hashlib
from mmap import ACCESS_READ, mmap
from pathlib import Path

MARK = b"e2m-seal:"
_LOCATION, _CONTENT = 16, 64
"""Hexadecimal digits of the two hashes."""

SEAL = MARK.decode() + "0" * (_LOCATION + _CONTENT)

ANYWHERE = ""
"""The location of a file that belongs to no results, such as a checkpoint that somebody keeps elsewhere."""


def fill(path: Path, location: str) -> None:
    """Fill the seal of a file that is just being written; a file without ``SEAL`` stays as it is.

    Args:
        path: of the file.
        location: where the file belongs, as text, or ``ANYWHERE``.
    """
    if (start := _find(path, SEAL.encode())) < 0:
        return
    with path.open("r+b") as file:
        file.seek(start + len(MARK))
        file.write(_hash_of(location))
        file.flush()
        content = _content_hash(path, start)
        file.write(content)


def flaw(path: Path, location: str) -> str:
    """Why a file is not what was written for this location, in words; "" if it is.

    Args:
        path: of the file.
        location: as ``fill`` takes it. With ``ANYWHERE``, the content alone is checked.
    """
    start = _find(path, MARK)
    if start < 0:
        return "it has no seal: it is cut short, or E2M did not write it, or an earlier version did"
    with path.open("rb") as file:
        file.seek(start + len(MARK))
        recorded, content = file.read(_LOCATION), file.read(_CONTENT)
    if content != _content_hash(path, start):
        return "it is damaged: its content is not what was written"
    if location != ANYWHERE and recorded != _hash_of(location):
        return "it is another file that was written elsewhere, and was copied, moved or exchanged"
    return ""


def blank(content: bytes) -> bytes:
    """The content of a file with an empty seal: it does not tell where the file lies."""
    start = content.rfind(MARK)
    return content if start < 0 else content[:start] + SEAL.encode() + content[start + len(SEAL) :]


def sealed(path: Path) -> bool:
    """Whether a file has a seal, whole or not."""
    return _find(path, MARK) >= 0


def _find(path: Path, text: bytes) -> int:
    """Where a text last begins in a file; -1 if it does not occur."""
    if not path.stat().st_size:  # which cannot be mapped
        return -1
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.rfind(text)


def _hash_of(location: str) -> bytes:
    if location == ANYWHERE:
        return b"0" * _LOCATION
    return hashlib.sha256(location.encode()).hexdigest()[:_LOCATION].encode()


def _content_hash(path: Path, start: int) -> bytes:
    """The hash of a file whose seal begins at ``start``, as if the digits of this hash were zeros."""
    first = start + len(MARK) + _LOCATION
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as content:
        digest = hashlib.sha256(content[:first])
        digest.update(b"0" * _CONTENT)
        digest.update(content[first + _CONTENT :])
    return digest.hexdigest().encode()
