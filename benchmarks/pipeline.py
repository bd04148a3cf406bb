"""All five measures from images to tidy rows, beside the forward passes that they need."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.images import random_images, random_maps
from benchmarks.maps import forward
from benchmarks.timing import compared, interleave
from e2m import load_detector
from e2m.measures import degradation, entropy, noise, stability, transformations
from e2m.salience.engine import Explainer
from e2m.salience.respond import respond
from e2m.types import Detector

IMAGES = {"demo_cnn": 64, "resnet50": 8}
BLUR = {"max_sigmas": [10.0], "regions": ("salient", "background")}
PASSES = 1 + (len(noise.AMOUNTS) - 1) + len(transformations.TRANSFORMATIONS) + 2
"""Clean; noise, whose amount 0 is the clean image; moved; blurred in two regions."""
AT_MOST = {"resnet50": 1.15}


def rows(quick: bool = False) -> Iterator[dict]:
    for name, count in IMAGES.items():
        yield _of_network(load_detector(name), 2 if quick else count, 1 if quick else 3)


def _of_network(detector: Detector, count: int, rounds: int) -> dict:
    images, other_run = random_images(count, detector.size), random_maps(count, 7)
    with Explainer(detector) as explainer:
        contestants = {
            "measures": lambda: five_measures(explainer, images, other_run),
            "forward passes": lambda: [forward(detector, images) for _ in range(PASSES)],
        }
        seconds = interleave(contestants, rounds)
    return compared(
        "five measures",
        f"an image through all five measures, {PASSES} passes",
        f"{PASSES} plain forward passes",
        seconds["measures"] / count,
        seconds["forward passes"] / count,
        "cost",
        AT_MOST.get(detector.name),
        detector=detector.name,
        images=count,
        note="Grad-CAM; clean maps shared by all measures; noise, moves, blur and SSIM are part of our time",
    )


def five_measures(explainer: Explainer, images: np.ndarray, other_run: np.ndarray) -> pd.DataFrame:
    """Tidy rows of the five measures on one batch.

    Args:
        explainer: an open explainer.
        images: (N, H, W, 3) uint8.
        other_run: (N, h, w) maps of another run.
    """
    clean = explainer(images)
    explanation = clean["GradCAM"]
    about = pd.DataFrame({"image": np.arange(len(images))})
    taken = [
        about.assign(measure="entropy", variant=name, value=values)
        for name, values in entropy.measure(explanation.maps).items()
    ]
    pairs = stability.stability(np.stack([explanation.maps, other_run])).assign(measure="stability", variant="ssim")
    changed = [
        respond(explainer, images, clean, about.assign(measure=measure.__name__.split(".")[-1]), changes)
        for measure, changes in (
            (noise, noise.perturbations),
            (transformations, transformations.perturbations),
            (degradation, partial(degradation.perturbations, **BLUR)),
        )
    ]
    return pd.concat([*taken, pairs, *changed], ignore_index=True)
