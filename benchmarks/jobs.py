"""Real salience jobs: ``e2m salience`` in new processes, on a project of random images."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from PIL import Image

from benchmarks.images import random_images
from e2m import load_detector
from e2m.experiment.profile import PROFILES
from e2m.networks.checkpoints import CHECKPOINT_FORMAT

REGIME = "cross_entropy"
DISTINCT = 100  # images made; more are links to these


@dataclass(frozen=True)
class Finished:
    """The cost of a job: seconds from start to end, core-seconds, and peak memory in mebibytes."""

    seconds: float
    core_seconds: float
    mebibytes: float


def project(
    folder: Path,
    sources: dict[str, int],
    measures: dict[str, dict],
    detector: str = "mobilenet_v2",
    runs: int = 1,
    changed: int | None = None,
) -> Path:
    """A folder of images, checkpoints and a profile.

    Args:
        folder: empty.
        sources: name -> number of images of 112 px.
        measures: settings of the measures; their ``images_per_source`` is set here.
        detector: its network; of ImageNet weights, where they are embedded, the first blocks are frozen.
        runs: number of checkpoints, which differ in the seed of what is not pretrained.
        changed: number of images of each source that measures change; None changes all.

    Returns:
        The profile's path.
    """
    detectors = [load_detector(detector, None, seed, detector == "mobilenet_v2", "cpu") for seed in range(runs)]
    for source, count in sources.items():
        _write_images(folder / "images" / "authentic" / source, count, detectors[0].size)
    profile = folder / "bench.yaml"
    most = max(sources.values())
    settings = {
        "dataset": "folder",
        "dataset_options": {"root": str(folder / "images")},
        "sources": list(sources),
        "in_set": list(sources),
        "detectors": [detector],
        "runs": runs,
        "controls": {},
        "study": {},
        "masker": None,
        "methods": ["GradCAM"],
        "images_per_source": most,
        "share_frozen": False,
        "measures": {name: {**options, "images_per_source": changed or most} for name, options in measures.items()},
    }
    profile.write_text(yaml.safe_dump(yaml.safe_load((PROFILES / "demo.yaml").read_text()) | settings))
    for run, made in enumerate(detectors):
        weights = folder / "results" / profile.stem / "checkpoints" / detector / REGIME / f"run-{run}.pt"
        weights.parent.mkdir(parents=True, exist_ok=True)
        state = {"format": CHECKPOINT_FORMAT, "detector": detector, "frozen": list(made.frozen)}
        torch.save({**state, "weights": made.model.state_dict()}, weights)
    return profile


def _write_images(folder: Path, count: int, side: int) -> None:
    folder.mkdir(parents=True)
    first = [folder / f"{number:05}.png" for number in range(min(count, DISTINCT))]
    for path, image in zip(first, random_images(len(first), side), strict=True):
        Image.fromarray(image).save(path)
    for number in range(len(first), count):
        os.link(first[number % DISTINCT], folder / f"{number:05}.png")


def run(profile: Path, sources: list[str], at_once: bool = False) -> list[Finished]:
    """Run one job for each source, one after the other or all at once."""
    if at_once:
        return [_finish(*job) for job in [_start(profile, source) for source in sources]]
    return [_finish(*_start(profile, source)) for source in sources]


def _start(profile: Path, source: str) -> tuple[subprocess.Popen, float]:
    detector = yaml.safe_load(profile.read_text())["detectors"][0]
    command = ["salience", "--profile", profile, "--detector", detector, "--regime", REGIME, "--run", 0]
    environment = os.environ | {"E2M_ROOT": str(profile.parent), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    arguments = [sys.executable, "-m", "benchmarks.peak", "e2m.cli", *map(str, command), "--source", source]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True), started


def _finish(job: subprocess.Popen, started: float) -> Finished:
    said = job.stderr.read()
    _, status, used = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    if job.returncode:
        raise RuntimeError(f"a salience job failed: {said[-2000:]}")
    seconds = time.perf_counter() - started
    return Finished(seconds, used.ru_utime + used.ru_stime, float(said.splitlines()[-1]))
