"""bfloat16: its speed-up, and its effect on every measure."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.images import random_images, random_maps
from benchmarks.maps import BATCH, IMAGES, forward
from benchmarks.pipeline import five_measures
from benchmarks.timing import compared, interleave
from e2m import explain, load_detector
from e2m.arrays.images import read_images
from e2m.networks.inputs import has_bfloat16
from e2m.salience.engine import Explainer
from e2m.store import paths
from e2m.types import Detector

TRAINED = ("demo", "demo_cnn", "cyborg", 0)
COMPARED = 32  # images whose measures are compared


def rows(quick: bool = False) -> Iterator[dict]:
    """No rows if the device has no bfloat16."""
    trained = paths.checkpoint(*TRAINED)
    checkpoints = {"demo_cnn": trained if trained.is_file() else None, "resnet50": None}
    for name, checkpoint in checkpoints.items():
        detector = load_detector(name, checkpoint)
        device = next(detector.model.parameters()).device
        if not has_bfloat16(device):
            return
        note = f"{device.type}; {'trained' if checkpoint else 'random'} weights"
        yield from _throughput(detector, 2 if quick else IMAGES[name], 1 if quick else 3, note)
        yield from _effect(detector, 2 if quick else COMPARED if checkpoint else 8, note)


def _throughput(detector: Detector, count: int, rounds: int, note: str) -> Iterator[dict]:
    images = random_images(count, detector.size)
    contestants = {
        "bfloat16": lambda: explain(detector, images, batch_size=BATCH, mixed_precision=True),
        "float32": lambda: explain(detector, images, batch_size=BATCH),
        "forward pass": lambda: forward(detector, images),
    }
    seconds = {name: taken / count for name, taken in interleave(contestants, rounds).items()}
    for alternative, kind in (("float32", "speed-up"), ("forward pass", "cost")):
        yield compared(
            "bfloat16",
            "Grad-CAM map in bfloat16",
            "the same in float32" if alternative == "float32" else "forward pass in float32",
            seconds["bfloat16"],
            seconds[alternative],
            kind,
            detector=detector.name,
            images=count,
            note=note,
        )


def _effect(detector: Detector, count: int, note: str) -> Iterator[dict]:
    """Mean and largest change of maps, scores and all measures, and how many decisions flip."""
    images, other_run = _faces(count, detector.size), random_maps(count, 7)
    explanations, measured = [], []
    for mixed in (False, True):
        with Explainer(detector, mixed_precision=mixed) as explainer:
            explanations.append(explainer(images)["GradCAM"])
            measured.append(five_measures(explainer, images, other_run))
    single, half = explanations
    changes = {
        "map": np.abs(single.maps - half.maps).ravel(),
        "score": np.abs(single.scores - half.scores),
        **_by_measure(*measured),
    }
    about = {"row": "effect of bfloat16", "detector": detector.name, "images": count, "note": note}
    for what, values in changes.items():
        for name, value in (("mean", np.nanmean(values)), ("largest", np.nanmax(values))):
            yield {**about, "what": what, "value": float(value), "unit": f"{name} absolute difference"}
    flips = (single.predicted != half.predicted).sum()
    yield {**about, "what": "decision", "value": float(flips), "unit": f"of {count} flip"}


def _by_measure(single: pd.DataFrame, half: pd.DataFrame) -> dict[str, np.ndarray]:
    """Absolute differences of values by measure, variant and region; other columns are in the same order in both."""
    difference = (single["value"] - half["value"]).abs()
    names = single[["measure", "variant", "region"]].fillna("")
    keys = names.agg(lambda row: ", ".join(filter(None, row)), axis=1)
    return {
        str(name): values.to_numpy() for name, values in difference.groupby(keys, sort=False) if values.notna().any()
    }


def _faces(count: int, side: int) -> np.ndarray:
    """Photographs if the demo's data set exists, else random images."""
    from e2m import load_dataset

    if side == 112 and paths.checkpoint(*TRAINED).is_file():
        samples = load_dataset("demo", split="test")
        return np.concatenate(list(read_images(samples.iloc[:: len(samples) // count][:count], size=side)))
    return random_images(count, side)
