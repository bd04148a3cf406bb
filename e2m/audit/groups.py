"""Groups of detectors as people name them: a network and its checkpoints, the runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from e2m import plugins
from e2m.audit import given
from e2m.audit.check import files
from e2m.detectors import check_known
from e2m.store import disk
from e2m.types import InputError

MAPS = "maps"
"""The network of a group of maps that other software made."""

BUILT = "as built"
"""The name of the one run of a group without checkpoints."""


@dataclass(frozen=True)
class Group:
    """Detectors that are compared as one.

    Attributes:
        name: as the user calls it.
        network: what ``e2m.load_detector`` takes: "timm:convnext_atto", "mydetectors:build".
        weights: its checkpoints, one a run, absolute; none if the network comes with its weights, which is one run. Of
            a group of maps, their folders.
        known: fields of the detector that replace what would be found out: ``known`` of ``e2m.load_detector``. Of a
            group of maps, options of ``e2m.pair_maps``.
    """

    name: str
    network: str
    weights: tuple[Path, ...] = ()
    known: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, network: str, patterns: Sequence[str] = (), known: Mapping[str, object] | None = None
    ) -> Self:
        """A group from the file names and patterns of its checkpoints, in their natural order: 2 before 10.

        Raises:
            InputError: an empty name; a pattern without a file; a checkpoint given twice; no checkpoint for a network
                whose weights would be random.
        """
        if not name.strip() or not name.isprintable():
            raise InputError(f"--detector {name}={network}: the name is {name!r}; give it one that can be printed")
        if not patterns and (network.startswith("timm:") or network in plugins.names("detector")):
            raise InputError(f"--detector {name}={network}: its weights would be random; add --weights 'runs/*.pt'")
        maps = network == MAPS
        if maps and not patterns:
            raise InputError(f"--detector {name}={MAPS}: name the folders of its maps, one a run: --weights 'maps/a_*'")
        (given.check_known if maps else check_known)(known or {})
        fits = Path.is_dir if maps else Path.is_file
        checkpoints = [file.absolute() for pattern in patterns for file in files(pattern, fits)]
        hashes = {}
        for file in checkpoints:
            twin = hashes.setdefault(given.content(file) if maps else disk.file_hash(file), file)
            if twin is not file:
                raise InputError(
                    f"{file}: the same {'maps' if maps else 'weights'} as {twin}; a run that counts twice makes group "
                    f"{name!r} look stable: leave one out"
                )
        network = str(Path(network).absolute()) if Path(network).is_file() else network
        return cls(name, network, tuple(sorted(checkpoints, key=_natural)), known or {})

    def as_dict(self) -> dict:
        """The arguments of ``of`` that give this group."""
        about = {"name": self.name, "network": self.network, "weights": list(map(str, self.weights))}
        return about | {"known": dict(self.known)}

    @property
    def of_maps(self) -> bool:
        """Whether it is a group of maps that other software made."""
        return self.network == MAPS

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the runs: their files, below the folder that they share."""
        if not self.weights:
            return (BUILT,)
        above = os.path.commonpath([file.parent for file in self.weights])
        return tuple(file.relative_to(above).as_posix() for file in self.weights)


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


def _natural(path: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
