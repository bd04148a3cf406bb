"""What adapted cells end in: maps of every run over the images, and three measures of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from e2m import statistics
from e2m.measures import entropy, noise, stability
from e2m.salience.engine import Explainer
from e2m.salience.respond import respond
from e2m.types import Detector

QUANTITIES = {
    ("entropy", "spatial"): "spatial entropy",
    ("noise", "ssim"): "SSIM with the clean map, noise",
    ("stability", "ssim"): "SSIM between runs",
}
"""Measure and variant -> the title of its panel."""


def looked(
    runs: Sequence[Detector], samples: pd.DataFrame, images: np.ndarray, method: str = "GradCAM", amount: float = 0.1
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Maps and tidy rows of some detectors that are runs of one another.

    Args:
        runs: R detectors, 2 or more.
        samples, images: N images, (N, H, W, 3) uint8, and their rows.
        method: salience method.
        amount: of noise.

    Returns:
        Maps by run, {"run 0": (N, h, w), ...}; and rows of entropy, noise and stability.
    """
    torch.set_num_threads(1)
    about, maps, rows = samples[["image", "label", "source"]], {}, []
    changes = partial(noise.perturbations, amounts=[amount])
    for number, detector in enumerate(runs):
        with Explainer(detector, [method]) as explainer:
            clean = explainer(images)
            rows.append(respond(explainer, images, clean, about, changes).assign(measure="noise", run=number))
        maps[f"run {number}"] = clean[method].maps
        for variant, value in entropy.measure(clean[method].maps).items():
            rows.append(about.assign(measure="entropy", variant=variant, target="predicted", value=value, run=number))
    pairs = stability.stability(np.stack(list(maps.values())))
    pairs["image"] = about["image"].to_numpy()[pairs["image"]]
    rows.append(pairs.assign(measure="stability", variant="ssim", target="predicted"))
    return maps, pd.concat(rows, ignore_index=True)


def summary(rows: pd.DataFrame, network: str) -> pd.DataFrame:
    """The means of ``QUANTITIES`` with their intervals over images alone: network, quantity, mean, low, high, ...

    Args:
        rows: of ``looked``, or of ``e2m.salience.given``.
        network: the name that the figure shows.
    """
    titles = pd.Series(list(zip(rows["measure"], rows["variant"], strict=True)), rows.index).map(QUANTITIES)
    kept = rows.assign(quantity=titles)[titles.notna() & (rows["target"] == "predicted")]
    return statistics.summarise(kept, ["quantity"], over="images").assign(network=network)
