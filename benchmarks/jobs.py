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
from e2m.experiment.results import PROFILES
from e2m.networks.checkpoints import CHECKPOINT_FORMAT

DETECTOR, REGIME, RUN = "demo_cnn", "cross_entropy", 0
DISTINCT = 100  # images made; more are links to these


@dataclass(frozen=True)
class Finished:
    """The cost of a job: seconds from start to end, and peak memory in mebibytes."""

    seconds: float
    mebibytes: float


def project(folder: Path, sources: dict[str, int], measures: dict[str, dict]) -> Path:
    """A folder of images, a checkpoint with random weights and a profile.

    Args:
        folder: empty.
        sources: name -> number of images of 112 px.
        measures: settings of the measures; ``images_per_source`` is added.

    Returns:
        The profile's path.
    """
    detector = load_detector(DETECTOR, device="cpu")
    for source, count in sources.items():
        _write_images(folder / "images" / "authentic" / source, count, detector.size)
    profile = folder / "bench.yaml"
    most = max(sources.values())
    changed = {
        "dataset": "folder",
        "dataset_options": {"root": str(folder / "images")},
        "sources": list(sources),
        "in_set": list(sources),
        "detectors": [DETECTOR],
        "controls": [],
        "masker": None,
        "methods": ["GradCAM"],
        "images_per_source": most,
        "measures": {name: {**settings, "images_per_source": most} for name, settings in measures.items()},
    }
    profile.write_text(yaml.safe_dump(yaml.safe_load((PROFILES / "demo.yaml").read_text()) | changed))
    weights = folder / "results" / profile.stem / "checkpoints" / DETECTOR / REGIME / f"run-{RUN}.pt"
    weights.parent.mkdir(parents=True)
    state = {"format": CHECKPOINT_FORMAT, "detector": DETECTOR, "weights": detector.model.state_dict()}
    torch.save(state, weights)
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
    command = ["salience", "--profile", profile, "--detector", DETECTOR, "--regime", REGIME, "--run", RUN]
    environment = os.environ | {"E2M_ROOT": str(profile.parent), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    arguments = [sys.executable, "-m", "benchmarks.peak", "e2m.cli", *map(str, command), "--source", source]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True), started


def _finish(job: subprocess.Popen, started: float) -> Finished:
    said = job.stderr.read()
    if job.wait():
        raise RuntimeError(f"a salience job failed: {said[-2000:]}")
    return Finished(time.perf_counter() - started, float(said.splitlines()[-1]))
