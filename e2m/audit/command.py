"""``e2m audit``: the plan, the check, the work, and the notebook that writes the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from e2m.arrays.images import check_images
from e2m.audit import check, given, work
from e2m.audit.audit import Audit
from e2m.audit.check import Finding
from e2m.experiment import cost
from e2m.pages import notebook
from e2m.types import InputError


def audit(asked: Audit, dry_run: bool = False, book: str = "") -> Path | None:
    """Plan an audit, do what is left of it, and write its report.

    Args:
        asked: the audit.
        dry_run: stop after the plan, with its time.
        book: address of the book, to which the report links; without it the report has no links.

    Returns:
        The path of ``audit.html``; None of a dry run.

    Raises:
        InputError: a checkpoint, a network, images or a method that do not work, before any long work; a group of
            which no checkpoint works.
        NotebookError: a cell of the notebook failed.
    """
    check_images(asked.samples, may_be_marked=True)
    left = work.jobs(asked)
    print(_plan(asked, left), file=sys.stderr)
    work.check_weights(left)
    asked = replace(asked, findings=_findings(asked))
    for level, about, text in asked.findings:
        if level != "note":
            print(f"{level}: {about}: {text}", file=sys.stderr)
    if stops := [f"{about}: {text}" for level, about, text in asked.findings if level == "stop"]:
        raise InputError("\n".join(stops))
    if left:
        print(
            f"This takes about {cost.duration(work.seconds(left))}, and the statistics after it about a minute.",
            file=sys.stderr,
        )
    if dry_run:
        return None
    worked = work.work(asked)
    worked.save()
    notebook.run("audit", {"folder": str(worked.folder), "book": book}, worked.folder / "audit.ipynb")
    verdict = json.loads((worked.folder / "audit.json").read_text("utf-8"))["verdict"]
    said = (verdict["headline"], verdict["because"], *verdict["reasons"], verdict["needed"])
    print(*filter(None, said), sep="\n")
    return worked.folder / "audit.html"


def _plan(asked: Audit, left: list[work.Job]) -> str:
    """What there is and what is left to do, for reading."""
    groups = [
        f"  {group.name}: {group.network}, {len(group.runs)} run{'s' * (len(group.runs) > 1)}" for group in asked.groups
    ]
    passes = sum(job.passes for job in left)
    todo = (
        f"{len(left)} jobs are left, of {passes:,} forward passes" if left else "All maps and scores are there already"
    )
    return "\n".join(["Groups:", *groups, check.listing(asked.samples), f"{todo}."])


def _findings(asked: Audit) -> tuple[tuple[str, str, str], ...]:
    """What stands out about the images, and what ``e2m check`` notices about the first run of every group."""
    samples = check.chosen(asked.samples)
    every = pd.concat([asked.samples, asked.unused], ignore_index=True)
    every.attrs = asked.listed.attrs
    noticed = [*_split(asked), *_beside(asked), *_shared(asked), *check.of_images(every, asked.listed["split"].iloc[0])]
    for group in asked.groups:
        if group.of_maps:
            noticed += given.findings(group, asked.listed)
            continue
        first = group.weights[0] if group.weights else None
        options = {"device": asked.device, **group.known}
        seen = check.check_file(group.network, first, samples, asked.methods[0], **options)
        noticed += [replace(finding, text=f"{group.name}: {finding.text}") for finding in seen]
    return tuple((finding.level, finding.about, finding.text) for finding in noticed)


def _split(asked: Audit) -> Iterator[Finding]:
    """Which images are audited, where there is no split "test", or where others are left out."""
    split, images = asked.listed["split"].iloc[0], len(asked.listed)
    if split == "validate":
        text = f"no image is of the split test; the {images:,} of the split validate are audited"
        yield Finding("note", "images", text)
    elif split != "test":
        text = (
            f"all {images:,} images are of the split train; detectors trained on them look better and steadier here "
            "than elsewhere: audit images that no detector was trained on"
        )
        yield Finding("warning", "images", text)
    if len(asked.unused):
        text = f"{len(asked.unused):,} images of other splits than {split} are not audited"
        yield Finding("note", "images", text)


def _beside(asked: Audit) -> Iterator[Finding]:
    """How many images have a human map, and a true region, where some have."""
    for column, what in (("salience", "human maps"), ("region", "true regions")):
        files = asked.samples.get(column)
        if files is None or not (files != "").any():
            continue
        counts = (files != "").groupby(asked.samples["source"], sort=False).agg(["sum", "size"])
        each = ", ".join(f"{have} of {images} {source}" for source, have, images in counts.itertuples())
        # Authentic images have no synthetic region: a source without any is no mistake, one with some may be.
        some = ((counts["sum"] > 0) & (counts["sum"] < counts["size"])).any()
        few = "; only those are compared: are the others named like their images?" * bool(some)
        yield Finding("warning" if some else "note", "images", f"{what} of {each}{few}")


def _shared(asked: Audit) -> Iterator[Finding]:
    """Groups that share weights: what differs between such runs is no training, and nobody's trust."""
    groups_of: dict[str, list[str]] = {}
    for key in asked.trained:
        group = asked.group(key.regime)
        holders = groups_of.setdefault(asked.made_of(key, "")["weights_sha256"], [])
        holders.append(f"{group.runs[key.run]} of {group.name}")
    for holders in groups_of.values():
        if len(holders) > 1:
            text = f"{' and '.join(holders)} have the same weights; only options of the detector can differ"
            yield Finding("warning", "weights", text)
