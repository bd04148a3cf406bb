"""Targets of speed and what was measured, and the hours of a study: from the tables of `make bench`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Target:
    """A ratio that a row of the table should reach, and what limits it.

    Attributes:
        what: the target in words.
        wanted: most of a cost (our time / theirs), or least of a speed-up (theirs / ours).
        limit: what holds the ratio back where the target is missed.
        row, detector, alternative, timed: where the ratio is in the table; texts that the columns of the same name
            equal, or that ``what`` contains.
    """

    what: str
    wanted: float
    limit: str
    row: str
    detector: str = ""
    alternative: str = ""
    timed: str = ""


TARGETS = (
    Target(
        "Grad-CAM map of ResNet-50 / its forward pass as usually called",
        0.85,
        "a map needs the features, and these need one forward pass; what is gained is the size of the parts in which a "
        "batch goes through the network, and that depends on the memory of the machine",
        *("maps", "resnet50", "forward pass, batches whole"),
    ),
    Target(
        "TorchCAM 0.5, batched / Grad-CAM map of ResNet-50",
        1.25,
        "TorchCAM goes back to the layer only, as we do",
        *("maps", "resnet50", "TorchCAM, batched"),
    ),
    Target(
        "the demo's salience job (MobileNetV2, float32) / its forward passes",
        0.6,
        "what changes images and compares maps runs on the CPU beside the network, and does not get cheaper with it; "
        "images that a map blurs find no stored outputs of frozen blocks",
        *("demo job", "mobilenet_v2"),
        timed="float32",
    ),
    Target(
        "five measures of ResNet-50 in bfloat16 / their forward passes in float32",
        0.5,
        "the network alone takes half of its time in bfloat16; noise, moves, blur and SSIM come on top",
        *("five measures", "resnet50"),
        timed="bfloat16",
    ),
    Target(
        "core-seconds a detector, several in one job / one each",
        0.85,
        "they share reading and changing images and Python's start, and not the network",
        "detectors",
    ),
    Target(
        "peak memory, 30,000 images / 1,000 images",
        1.05,
        "clean maps are kept until their file is written",
        "memory",
        timed="peak memory, 30,000 images",
    ),
)


def targets(table: pd.DataFrame) -> pd.DataFrame:
    """What was wanted and what was measured: target, wanted, measured, verdict and what holds it back, a line a target.

    Args:
        table: the study "speed"; a target without a row in it was not measured.
    """
    return pd.DataFrame([_line(target, _rows(table, target)) for target in TARGETS])


def _rows(table: pd.DataFrame, target: Target) -> pd.DataFrame:
    rows = table[table["row"].eq(target.row) & table["ratio"].notna()]
    for name in ("detector", "alternative"):
        if wanted := getattr(target, name):
            rows = rows[rows[name] == wanted]
    return rows[rows["what"].str.contains(target.timed, regex=False)]


def _line(target: Target, rows: pd.DataFrame) -> dict[str, str]:
    speed_up = target.wanted > 1 and target.row == "maps"
    line = {"target": target.what, "wanted": f"{'≥' if speed_up else '≤'} {target.wanted:g}"}
    if rows.empty:
        return {**line, "measured": "", "verdict": "not measured", "what holds it back": ""}
    row = rows.iloc[0]
    apart = row["ratio"] / target.wanted - 1
    missed = -apart if speed_up else apart
    spread = f" [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]" if row["repeats"] > 1 else ""
    return {
        **line,
        "measured": f"{row['ratio']:.2f}{spread}",
        "verdict": "met" if missed <= 0 else f"missed by {missed:.0%}",
        "what holds it back": "" if missed <= 0 else target.limit,
    }


def core_seconds(table: pd.DataFrame, cores: int) -> pd.DataFrame:
    """Core-seconds of a map, a line a network and a column a precision.

    Args:
        table: the study "speed" or "gpu". Maps from files are taken where they were measured, else maps from memory.
        cores: the cores that the seconds of maps from memory were measured on.
    """
    maps = table[table["row"] == "end to end"]
    if maps.empty:
        maps = table[(table["row"] == "maps") & (table["alternative"] == "forward pass")]
        return pd.DataFrame({"float32": cores * maps.set_index("detector")["ours_seconds"]})
    precision = maps["what"].str.extract(f"({'|'.join(PRECISIONS)})")[0].rename("precision")
    return maps.pivot_table("ours_seconds", "detector", precision, sort=False)[[*dict.fromkeys(precision)]]


def overheads(table: pd.DataFrame, cores: int, detector: str = "resnet50") -> dict[str, float]:
    """Precision -> seconds of the five measures / seconds of as many maps, of one network."""
    seconds = core_seconds(table, cores).loc[detector]
    five = table[(table["row"] == "five measures") & (table["detector"] == detector)]
    shared = cores if table["row"].ne("end to end").all() else 1
    of = {}
    for row in five.itertuples():
        precision = "bfloat16" if "bfloat16" in row.what else "float32"
        passes = int(re.search(r"(\d+) passes", row.what)[1])
        of[precision] = shared * row.ours_seconds / (passes * seconds[precision])
    return of


def hours(table: pd.DataFrame, cores: int, passes: float) -> pd.DataFrame:
    """Core-hours of a study, a line a network and a column a precision; on a GPU, hours of that machine.

    Args:
        table, cores: of ``core_seconds``.
        passes: forward passes of one network, counted as images: runs x regimes x sources x images x passes an image.
    """
    seconds, factors = core_seconds(table, cores), overheads(table, cores)
    return pd.DataFrame({name: passes * seconds[name] * factors.get(name, np.nan) / 3600 for name in seconds})
