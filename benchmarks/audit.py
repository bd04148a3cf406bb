"""Audits of real size, timed: ``python -m benchmarks.audit [PART ...] [--project DIR] [--out DIR] [--quick]``.

``demo``      guided against traditional detectors of the demo, all runs of each
``halves``    the first half of the traditional runs against the second: there is no reason to prefer either
``halvings``  200 random halvings of the traditional runs, from the results of ``demo``: at most one in twenty prefers
``large``     1,000 images and ten checkpoints
``check``     ``e2m check`` of one checkpoint

The project is a folder with a finished demo: its ``data/demo`` and ``results/demo``. Every part but ``halvings`` runs
the command in a new process. It prints a line: seconds, core-seconds, the peak memory of the
largest process, and what came of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.images import random_images
from e2m import statistics
from e2m.audit import comparison
from e2m.audit.audit import Audit
from e2m.pages import answer, selection
from e2m.store.paths import CHECKOUT

NETWORK, TRADITIONAL, GUIDED = "mobilenet_v2", "cross_entropy", "cyborg"
HALVINGS, AT_MOST = 200, 0.05
RESAMPLES = 200  # of a halving: 2,000 give steadier ends of each interval, and the same share of preferences

MEASURED = """
import resource, sys
from e2m.cli import main

status = main(sys.argv[1:])
usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(max(one.ru_maxrss for one in usage) // 1024, file=sys.stderr)
print(round(sum(one.ru_utime + one.ru_stime for one in usage)), file=sys.stderr)
sys.exit(status)
"""


class Audits:
    """The parts, for one project and one folder of results."""

    def __init__(self, project: Path, out: Path, quick: bool) -> None:
        self.project, self.out, self.quick = project, out, quick
        self.few = ["--images-per-source", "6", "--changed-per-source", "2"] if quick else []
        out.mkdir(parents=True, exist_ok=True)

    def demo(self) -> str:
        """Guided against traditional."""
        groups = [
            *("--detector", f"traditional={NETWORK}", "--weights", *self.weights(TRADITIONAL)),
            *("--detector", f"guided={NETWORK}", "--weights", *self.weights(GUIDED)),
        ]
        more = ["--human", str(self.faces() / "salience"), "--regions", str(self.faces() / "segmentation")]
        return self.audited("demo", [str(self.faces() / "images"), *groups, *more, *self.few])

    def halves(self) -> str:
        """Two halves of one regime."""
        files = self.weights(TRADITIONAL)
        half = len(files) // 2
        groups = [
            *("--detector", f"first={NETWORK}", "--weights", *files[:half]),
            *("--detector", f"second={NETWORK}", "--weights", *files[half:]),
        ]
        return self.audited("halves", [str(self.faces() / "images"), *groups, *self.few])

    def halvings(self) -> str:
        """Random halves of the traditional runs; rows are read once."""
        audit = comparison.of_group(replace(Audit.load(self.out / "demo"), resamples=RESAMPLES), "traditional")
        scores = audit.scores()
        rows = selection.selected(audit, scores, audit.methods[0], comparison.LEVELS)
        random, number = np.random.default_rng(0), 10 if self.quick else HALVINGS
        started, preferred = time.perf_counter(), 0
        for _ in range(number):
            first = set(random.permutation(audit.runs)[: audit.runs // 2])
            preferred += prefers(audit, halved(rows, first), halved(scores, first))
        seconds = time.perf_counter() - started
        fits = "at most" if preferred <= AT_MOST * number else "MORE THAN"
        return f"{seconds:.0f} s; {preferred} of {number} halvings prefer a half: {fits} one in twenty"

    def large(self) -> str:
        """1,000 images of noise in two classes, and ten checkpoints."""
        each, files = (10, 2) if self.quick else (500, 10)
        images = self.out / "large-images"
        if not images.is_dir():
            for label, pixels in zip(("real", "fake"), np.split(random_images(2 * each, 112), 2), strict=True):
                (images / label).mkdir(parents=True)
                for number, image in enumerate(pixels):
                    Image.fromarray(image).save(images / label / f"{number:04}.png")
        group = ["--detector", f"A={NETWORK}", "--weights", *self.weights(TRADITIONAL)[:files]]
        few = ["--changed-per-source", "2"] if self.quick else []
        return self.audited("large", [str(images), *group, "--images-per-source", str(each), *few])

    def check(self) -> str:
        """One checkpoint."""
        weights = ["--weights", self.weights(TRADITIONAL)[0]]
        return self.command("check", str(self.faces() / "images"), "--detector", NETWORK, *weights)

    def weights(self, regime: str) -> list[str]:
        """The checkpoints of a regime, in the order of their runs."""
        folder = self.project / "results" / "demo" / "checkpoints" / NETWORK / regime
        files = sorted(folder.glob("run-?.pt"))
        return [str(file.resolve()) for file in (files[:4] if self.quick else files)]

    def faces(self) -> Path:
        """The demo's test images in folders of their labels, with human maps and true regions named alike."""
        folder = self.out / "faces"
        if folder.is_dir():
            return folder
        (data,) = (path.parent for path in (self.project / "data" / "demo").glob("*/manifest.parquet"))
        samples = pd.read_parquet(data / "manifest.parquet").query("split == 'test' and source in ['orl', 'swap']")
        for row in samples.itertuples():
            for kind, file in (("images", row.path), ("salience", row.salience), ("segmentation", row.region)):
                if file:
                    target = folder / kind / row.label / row.source / Path(row.path).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(data / file, target)
        return folder

    def audited(self, name: str, arguments: list[str]) -> str:
        """``e2m audit`` into a folder, and its answer."""
        shutil.rmtree(self.out / name, ignore_errors=True)
        cost = self.command("audit", *arguments, "--out", str(self.out / name))
        return f"{cost}; {json.loads((self.out / name / 'audit.json').read_text())['verdict']['headline']}"

    def command(self, *arguments: str) -> str:
        """The cost of a command."""
        paths = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH", ""))))
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments],
            cwd=self.out,
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"e2m {' '.join(arguments)}: {done.stderr[-2000:]}")
        memory, cores = map(int, done.stderr.splitlines()[-2:])
        return f"{seconds:.0f} s, {cores} core-seconds, {memory:,} MiB"


def halved(rows: pd.DataFrame, first: set[int]) -> pd.DataFrame:
    """Rows of one group as those of two; pairs of runs from both halves are left out."""
    inside = rows["run"].isin(first)
    if "run_other" in rows:
        other = rows["run_other"]
        alike = other.isna() | (other.isin(first) == inside)
        rows, inside = rows[alike], inside[alike]
    return rows.assign(regime=np.where(inside, "first", "second"))


def prefers(audit: Audit, rows: pd.DataFrame, scores: pd.DataFrame) -> bool:
    """Whether the rule of audits prefers one of two halves."""
    settings = {"first": "first", "second": "second", **audit.resampling}
    apart = statistics.compare(rows, [*selection.ABOUT, "detector"], **settings)
    pooled = scores.assign(source=scores["label"].astype(str))
    tested = statistics.equal_auc(pooled, ["detector"], "authentic", audit.margin, **settings)
    pair = {"regime": "first", "against": "second"}
    return answer.between(tested.assign(**pair), apart.assign(**pair))["first", "second"].preferred is not None


PARTS = ("check", "demo", "halves", "halvings", "large")


def main() -> None:
    """Print a line for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} [all]")
    parser.add_argument("--project", type=Path, default=CHECKOUT, help="folder of a finished demo [the checkout]")
    parser.add_argument("--out", type=Path, default=Path("audits"), help="folder of all results [audits]")
    parser.add_argument("--quick", action="store_true", help="few images and checkpoints: does it run?")
    options = parser.parse_args()
    if odd := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{odd[0]!r} arrived; choose from {', '.join(PARTS)}")
    audits = Audits(options.project.resolve(), options.out.resolve(), options.quick)
    for part in options.parts or PARTS:
        print(f"{part}: {getattr(audits, part)()}", flush=True)


if __name__ == "__main__":
    main()
