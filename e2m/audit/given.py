"""Groups of maps that other software made: no network, no scores; a folder is a run.

Their maps become files like those of the other groups, so that everything that reads an audit reads them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

from e2m.arrays.maps import dead, relative
from e2m.arrays.ssim import WINDOW
from e2m.audit.check import Finding
from e2m.checks import problems
from e2m.salience.given import LEFT_OUT, Given, pair_maps, said
from e2m.store import disk
from e2m.types import Detector, Explanation, InputError

if TYPE_CHECKING:
    from e2m.audit.audit import Audit
    from e2m.audit.groups import Group
    from e2m.experiment.profile import ModelKey

_OURS = ("samples", "folders")
"""Arguments of ``e2m.pair_maps`` that the audit gives."""

SIDE = 224
"""Side in pixels of the input of ``stand_in``, unless its maps have more cells."""


def check_known(known: Mapping[str, object]) -> None:
    """Check what is known of maps: ``normalise``, ``signed``, ``shape`` and ``pattern`` of ``e2m.pair_maps``.

    Raises:
        InputError: another name, or a value that does not fit.
    """
    if wrong := problems(_options(known), pair_maps, "--with", without=_OURS):
        raise InputError(wrong[0])
    shape = known.get("shape")
    sides = shape if isinstance(shape, list | tuple) else ()
    if shape is not None and not (len(sides) == 2 and all(isinstance(side, int) and side > 0 for side in sides)):
        raise InputError(f"--with.shape: {shape} arrived; [height, width] of the maps fits, as in shape=[14,14]")


def paired(group: Group, samples: pd.DataFrame, runs: slice = slice(None)) -> Given:
    """The maps of some runs of a group, paired with images by name; stderr says what was found."""
    folders = dict(zip(group.runs[runs], group.weights[runs], strict=True))
    return pair_maps(samples, folders, **_options(group.known))


def _options(known: Mapping[str, object]) -> dict[str, object]:
    """JSON and YAML have lists for tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}


def findings(group: Group, samples: pd.DataFrame) -> Iterator[Finding]:
    """What stands out about the maps of a group."""
    given = paired(group, samples)
    for line, row in zip(said(given), given.found.to_dict("records"), strict=True):
        lacking = any(row[kind] for kind in LEFT_OUT if kind != "extra")
        yield Finding("warning" if lacking else "note", "salience", f"{group.name}: {line}")
    if min(given.size) < WINDOW:
        size = f"{given.size[0]}x{given.size[1]}"
        text = f"maps of {size} cells are too small to compare: SSIM takes at least {WINDOW}x{WINDOW}"
        yield Finding("stop", "salience", f"{group.name}: {text}")


def write(audit: Audit, key: ModelKey, sources: list[str]) -> None:
    """Write the maps of a run as the audit's files.

    Names are paired with all images, drawn or not: a map that fits several of them is none of theirs.
    """
    given, method = paired(audit.group(key.regime), audit.listed, slice(key.run, key.run + 1)), audit.methods[0]
    (run,) = given.runs
    file_of = dict(zip(audit.listed["image"], given.files[run], strict=True))
    for source in sources:
        samples = audit.samples[audit.samples["source"] == source].reset_index(drop=True)
        files = {run: [file_of[image] for image in samples["image"]]}
        maps = relative(replace(given, samples=samples, files=files).maps_of(run))
        nothing, unknown = np.full((len(maps), 2), np.nan, np.float32), np.full(len(maps), -1)
        constant = dead(maps)
        maps[constant] = np.nan
        explanation = Explanation(maps, nothing[:, 0], unknown, unknown, constant, nothing)
        about = {**asdict(key), "source": source, "method": method, "profile": audit.profile, "dataset": audit.dataset}
        about |= {"layer": "given maps", "target_class": "", **audit.made_of(key, source)}
        path = audit.maps_file(key, method, source)
        disk.check_room(path, len(samples), maps.shape[1:])
        disk.write_maps(path, explanation, samples, about)


def stand_in(shape: tuple[int, int]) -> Detector:
    """A network that knows nothing, whose layer has cells of this shape: that of the known maps beside given ones."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(shape), _Nothing())
    return Detector("given maps", model, layer="0", size=max(SIDE, *shape), mean=(0,) * 3, std=(1,) * 3)


class _Nothing(nn.Module):
    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """Two logits of 0 for every image."""
        return cells.mean((2, 3))[:, :2] * 0


def content(folder: Path) -> str:
    """A hash of the names and contents of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stamps = tuple((str(path), path.stat().st_mtime_ns) for path in files)
    return _content(folder, stamps)


@cache
def _content(folder: Path, stamps: tuple[tuple[str, int], ...]) -> str:
    return disk.short_hash([[str(Path(name).relative_to(folder)), disk.known_hash(name)] for name, _ in stamps])
