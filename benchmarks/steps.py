"""What makes a salience job cheap: every step alone, and all together, on one batch through all five measures."""

import copy
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from torch import nn

from benchmarks import networks
from benchmarks.images import random_images, random_maps
from benchmarks.maps import BATCH, forward
from benchmarks.timing import compared, interleave, one_thread
from e2m import load_detector
from e2m.measures import degradation, entropy, noise, stability, transformations
from e2m.networks import trunk
from e2m.salience import engine
from e2m.salience.respond import respond
from e2m.types import Detector

IMAGES = {"mobilenet_v2": 24, "resnet50": 3}
BLUR = {"max_sigmas": [10.0], "regions": ("salient", "background")}
PASSES = 1 + (len(noise.AMOUNTS) - 1) + len(transformations.TRANSFORMATIONS) + 2
"""Clean; noise, whose amount 0 is the clean image; moved; blurred in two regions."""

FROZEN, FOLDED, CLEAN, HALF = "frozen blocks shared", "batch norm folded", "clean maps shared", "bfloat16 alone"
TOGETHER = {"float32": "all steps in float32", "bfloat16": "all steps and bfloat16"}

AT_MOST = {("resnet50", "bfloat16"): 0.5}
"""(network, precision) -> core-seconds of the measures / those of their forward passes in float32."""


def rows(quick: bool = False) -> Iterator[dict]:
    with one_thread():
        for name, count in IMAGES.items():
            # ImageNet weights where they are embedded: their first blocks are frozen.
            detector = load_detector(name, pretrained=name == "mobilenet_v2", device="cpu")
            yield from _of_network(detector, 1 if quick else count, 1 if quick else 2)


def _of_network(detector: Detector, count: int, rounds: int) -> Iterator[dict]:
    images, other_run = random_images(count, detector.size), random_maps(count, 7)
    steps = [*([FROZEN] if detector.frozen else []), FOLDED, CLEAN]
    half = [HALF] if "bfloat16" in networks.precisions(detector) else []
    cases = {"no step": [], **{step: [step] for step in (*steps, *half)}, "float32": steps}
    cases |= {"bfloat16": [*steps, *half]} if half else {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stored = Path(folder) / "frozen"
        trunk.Trunk(detector).write(stored, _unguided(images))
        contestants = {}
        for name, taken in cases.items():
            explainer = stack.enter_context(_opened(detector, taken, stored))
            contestants[name] = partial(five_measures, explainer, images, other_run, shared=CLEAN in taken)
        contestants["forward passes"] = lambda: [forward(detector, images, BATCH) for _ in range(PASSES)]
        seconds = {
            name: taken / count for name, taken in interleave(contestants, rounds, clock=time.process_time).items()
        }
    yield from _compared(seconds, cases, detector=detector.name, images=count)


def _compared(seconds: dict[str, np.ndarray], cases: dict[str, list[str]], **about: object) -> Iterator[dict]:
    for name in list(cases)[1:]:
        note = f"{', '.join(cases[name])}; core-seconds an image, one thread"
        what = TOGETHER.get(name, name)
        yield compared("steps", what, "no step", seconds[name], seconds["no step"], note=note, **about)
    yield from beside_passes(seconds, **about)


def beside_passes(seconds: dict[str, np.ndarray], **about: object) -> Iterator[dict]:
    """The five measures in each precision of ``seconds`` beside their "forward passes", all (rounds,) an image."""
    for precision in [name for name in ("float32", "bfloat16") if name in seconds]:
        yield compared(
            "five measures",
            f"an image through all five measures in {precision}, {PASSES} passes",
            f"{PASSES} plain forward passes in float32",
            seconds[precision],
            seconds["forward passes"],
            "cost",
            AT_MOST.get((about["detector"], precision)),
            note="Grad-CAM; all steps; noise, moves, blur and SSIM are part of our core-seconds",
            **about,
        )


@contextmanager
def _opened(detector: Detector, taken: Sequence[str], stored: Path) -> Iterator[engine.Explainer]:
    """An explainer of a copy of the detector that takes these steps alone."""
    detector = replace(detector, model=copy.deepcopy(detector.model))
    with ExitStack() as stack:
        if FOLDED not in taken:
            stack.enter_context(patch.object(engine, "Folded", lambda *_, **__: nullcontext()))
            stack.enter_context(patch.object(trunk, "fold", _same))
        with engine.Explainer(
            detector,
            precision="bfloat16" if HALF in taken else "float32",
            stored=stored if FROZEN in taken else None,
        ) as explainer:
            stack.close()
            yield explainer


def _same(model: nn.Module) -> nn.Module:
    """Instead of folding: a copy that works while the modules themselves are skipped."""
    return copy.deepcopy(model)


def _unguided(images: np.ndarray) -> Iterator[np.ndarray]:
    """What the job of frozen blocks stores: the clean images, and those that no map changed."""
    yield images
    for measure in (noise, transformations):
        yield from (change.images for change in measure.perturbations(images, {}))


def five_measures(
    explainer: engine.Explainer, images: np.ndarray, other_run: np.ndarray, shared: bool = True
) -> pd.DataFrame:
    """Tidy rows of the five measures on one batch.

    Args:
        explainer: an open explainer.
        images: (N, H, W, 3) uint8.
        other_run: (N, h, w) maps of another run.
        shared: explain the clean images once for all measures, instead of once for each.
    """
    clean = explainer(images)
    explanation = clean["GradCAM"]
    about = pd.DataFrame({"image": np.arange(len(images))})
    taken = [
        about.assign(measure="entropy", variant=name, value=values)
        for name, values in entropy.measure(explanation.maps).items()
    ]
    pairs = stability.stability(
        np.stack([explanation.maps if shared else explainer(images)["GradCAM"].maps, other_run])
    )
    changed = [
        respond(
            explainer,
            images,
            clean if shared else explainer(images),
            about.assign(measure=measure.__name__.split(".")[-1]),
            changes,
        )
        for measure, changes in (
            (noise, noise.perturbations),
            (transformations, transformations.perturbations),
            (degradation, partial(degradation.perturbations, **BLUR)),
        )
    ]
    return pd.concat([*taken, pairs.assign(measure="stability", variant="ssim"), *changed], ignore_index=True)
