"""Groups of detectors as people name them: a network and its checkpoints, the runs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from e2m import plugins
from e2m.store import disk
from e2m.types import InputError

BUILT = "as built"
"""The name of the one run of a group without checkpoints."""


@dataclass(frozen=True)
class Group:
    """Detectors that are compared as one.

    Attributes:
        name: as the user calls it.
        network: what ``e2m.load_detector`` takes: "timm:convnext_atto", "mydetectors:build".
        weights: its checkpoints, one a run, absolute; none if the network comes with its weights, which is one run.
    """

    name: str
    network: str
    weights: tuple[Path, ...] = ()

    @classmethod
    def of(cls, name: str, network: str, patterns: Sequence[str] = ()) -> Self:
        """A group from the file names and patterns of its checkpoints, in their natural order: 2 before 10.

        Raises:
            InputError: an empty name; a pattern without a file; a checkpoint given twice; no checkpoint for a network
                whose weights would be random.
        """
        if not name.strip() or not name.isprintable():
            raise InputError(f"--detector {name}={network}: the name is {name!r}; give it one that can be printed")
        if not patterns and (network.startswith("timm:") or network in plugins.names("detector")):
            raise InputError(f"--detector {name}={network}: its weights would be random; add --weights 'runs/*.pt'")
        files = [file for pattern in patterns for file in _files(pattern)]
        hashes = {}
        for file in files:
            twin = hashes.setdefault(disk.file_hash(file), file)
            if twin is not file:
                raise InputError(
                    f"{file}: the same weights as {twin}; a run that counts twice makes group {name!r} look stable: "
                    "leave one out"
                )
        network = str(Path(network).absolute()) if Path(network).is_file() else network
        return cls(name, network, tuple(sorted(files, key=_natural)))

    def as_dict(self) -> dict:
        """The arguments of ``of`` that give this group."""
        return {"name": self.name, "network": self.network, "weights": list(map(str, self.weights))}

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the runs: their files, below the folder that they share."""
        if not self.weights:
            return (BUILT,)
        above = os.path.commonpath([file.parent for file in self.weights])
        return tuple(file.relative_to(above).as_posix() for file in self.weights)

    def checkpoint(self, run: int) -> Path | None:
        """The checkpoint of a run; None if the network comes with its weights."""
        return self.weights[run] if self.weights else None


def check(groups: Sequence[Group]) -> None:
    """Check that groups can be told apart.

    Raises:
        InputError: no group, or two of one name.
    """
    if not groups:
        raise InputError("no detector arrived; add --detector NAME=NETWORK --weights 'runs/*.pt'")
    names = [group.name for group in groups]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--detector {twice[0]}= arrived twice; give each group a name of its own")


def _files(pattern: str) -> list[Path]:
    """The files of a pattern, or the one of that name."""
    expanded = os.path.expanduser(pattern)  # noqa: PTH111
    found = [expanded] if Path(expanded).is_file() else glob.glob(expanded, recursive=True)  # noqa: PTH207
    files = [Path(name).absolute() for name in found if Path(name).is_file()]
    if not files:
        raise InputError(f"--weights {pattern}: no such file; correct the path, or quote the pattern: 'runs/a_*.pt'")
    return files


def _natural(path: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
