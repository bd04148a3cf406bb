"""The demo's salience job, from files to results, beside the sum of its forward passes, in core-seconds."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks import jobs, networks
from benchmarks.images import random_images
from benchmarks.maps import forward
from benchmarks.timing import compared, interleave, one_thread
from e2m.experiment import explain, frozen
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import PROFILES, ModelKey
from e2m.experiment.written import read
from e2m.salience.engine import Explainer
from e2m.store import paths
from e2m.types import Detector

NETWORK = "mobilenet_v2"
SOURCES = {"first": 60, "second": 60}
CHANGED = 12
"""Images of a source, and those that measures change: half of the demo's, so that a source has the demo's shares."""

DEMO = 600
"""Images of the demo's job."""

DETECTORS = 5
"""Detectors of one job, as ``profiles/by_runs.yaml`` groups them."""

AT_MOST = {"float32": 0.6}
SEVERAL = 0.85
TIMED = 128
"""Images whose forward passes are timed; the sum is worked out from them."""


def rows(quick: bool = False) -> Iterator[dict]:
    sources, changed = ({"first": 4}, 2) if quick else (SOURCES, CHANGED)
    measures = read((PROFILES / "demo.yaml").read_bytes())["measures"]
    with one_thread(), tempfile.TemporaryDirectory() as folder, _results_in(Path(folder)):
        profile = jobs.project(Path(folder), sources, measures, NETWORK, DETECTORS, changed)
        experiment = Inputs.load(str(profile), share_frozen=True)
        frozen.write_test(experiment, NETWORK, progress=False)
        yield from _job(experiment, 1 if quick else 2, 8 if quick else TIMED)
        yield _several(replace(experiment, sources=experiment.sources[:1]), 1 if quick else 2)


def _job(experiment: Inputs, rounds: int, timed: int) -> Iterator[dict]:
    key = ModelKey(NETWORK, jobs.REGIME, 0)
    detector = experiment.detector(NETWORK, jobs.REGIME, 0)
    images = random_images(timed, detector.size)
    passes = _passes(experiment, key, detector)
    precisions = networks.precisions(detector)
    contestants = {name: partial(_explain, experiment, key, detector, name) for name in precisions}
    contestants["forward passes"] = lambda: forward(detector, images, experiment.batch_size)
    seconds = interleave(contestants, rounds, warm=True, clock=time.process_time)
    start = _start()
    for precision in precisions:
        yield compared(
            "demo job",
            f"the demo's salience job in {precision}, {passes:,} passes",
            f"{passes:,} plain forward passes in float32",
            seconds[precision],
            seconds["forward passes"] * passes / timed,
            "cost",
            AT_MOST.get(precision),
            detector=NETWORK,
            images=len(experiment.samples),
            value=start,
            unit="core-seconds of Python's start, once a job and not counted",
            note="core-seconds, one thread; all measures of the demo, from files to results; the outputs of frozen "
            "blocks, which all detectors share, are there",
        )


def _several(experiment: Inputs, rounds: int) -> dict:
    """Several detectors in one job beside a job each, with Python's start, for as many images as the demo has."""
    keys = [ModelKey(NETWORK, jobs.REGIME, run) for run in range(DETECTORS)]
    detectors = {key: experiment.detector(key.detector, key.regime, key.run) for key in keys}
    methods = experiment.methods_of(keys[0])
    work = partial(explain.explain_detectors, experiment, methods=methods, progress=False)
    contestants = {
        "together": lambda: work(detectors),
        "each": lambda: [work({key: detector}) for key, detector in detectors.items()],
    }
    seconds = interleave(contestants, rounds, warm=True, clock=time.process_time)
    images, start = len(experiment.samples), _start()
    together, each = (taken * DEMO / images / DETECTORS for taken in (seconds["together"], seconds["each"]))
    return compared(
        "detectors",
        f"a detector of {DETECTORS} in one job",
        "a job each",
        together + start / DETECTORS,
        each + start,
        "cost",
        SEVERAL,
        detector=NETWORK,
        images=images,
        note=f"core-seconds of {DEMO} images, worked out from {images}; {start:.1f} of Python's start are counted",
    )


def _explain(experiment: Inputs, key: ModelKey, detector: Detector, precision: str = "float32") -> None:
    """A job whose detector is given: it is loaded already, and files that exist are made again."""
    explain.explain(replace(experiment, precision=precision), key, progress=False, detector=detector)


def _passes(experiment: Inputs, key: ModelKey, detector: Detector) -> int:
    """The images that go through the network in a job, which is run once for this."""
    counted, several = [], Explainer.several

    def counting(explainer: Explainer, images: np.ndarray, *arguments, **options):
        counted.append(len(images))
        return several(explainer, images, *arguments, **options)

    with patch.object(Explainer, "several", counting):
        _explain(experiment, key, detector)
    return sum(counted)


def _start() -> float:
    """Core-seconds until a job begins to work."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import e2m.cli, e2m.experiment.explain"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def _results_in(folder: Path) -> Iterator[None]:
    """A block in which results are read and written in a folder."""
    with ExitStack() as stack:
        for name, at in {"ROOT": folder, "DATA": folder / "data", "RESULTS": folder / "results"}.items():
            stack.enter_context(patch.object(paths, name, at))
        yield
