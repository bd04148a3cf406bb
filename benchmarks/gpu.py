"""Everything about a GPU in one command of a few minutes: ``python -m benchmarks.gpu``, or ``make bench-gpu``.

ResNet-50 and ViT-S at 224 px, in float32 and bfloat16: maps from files and from memory beside the plain forward pass,
the five measures beside their forward passes, and the hours of the paper's study. The table becomes the study "gpu"
(``data/studies``), which the page on speed reads. ``--device cpu --quick`` tries the script where there is no GPU.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks import networks, speed, steps, throughput, timing
from benchmarks.images import random_images, random_maps
from benchmarks.maps import BATCH, HALF, USUAL, forward, in_bfloat16
from benchmarks.maps import ours as contestants_of
from e2m import explain
from e2m.pages.speed import hours
from e2m.salience.engine import Explainer
from e2m.store import studies
from e2m.types import Detector

NETWORKS = ("resnet50", networks.VIT)
IMAGES, FEW, ROUNDS = 512, 64, 5
"""Images of a round; those that go through the five measures, most of which the CPU spends on blur; rounds."""

PASSES = 10 * 2 * 8 * 10_000 * steps.PASSES
"""Of one network in the paper's study: runs, regimes, sources, images of a source, passes of an image."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every row as it is measured, then the hours, and save the table of a run at full size."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="device of the networks [cuda]")
    parser.add_argument("--quick", action="store_true", help="everything once and tiny; nothing is saved")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the table [data/studies]")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("no GPU that torch can use here; `--device cpu --quick` tries the script without one")
    started = time.monotonic()
    table = timing.table(rows(options.device, options.quick))
    print(hours(table, 1, PASSES).to_string(float_format="{:,.0f} hours".format))
    print(f"{time.monotonic() - started:.0f} s")
    if not options.quick:
        print(studies.save("gpu", table, options.folder, **speed.provenance(options.device)))


def rows(device: str, quick: bool = False) -> Iterator[dict]:
    """The rows of every network, printed one by one."""
    count, few, rounds = (2, 2, 1) if quick else (IMAGES, FEW, ROUNDS)
    for name in NETWORKS:
        detector = networks.load(name, device)
        parts = (_maps(detector, count, rounds), _files(detector, count, rounds), _measures(detector, few, rounds))
        for row in (row for part in parts for row in part):
            print(speed.line(row), flush=True)
            yield row


def _maps(detector: Detector, count: int, rounds: int) -> Iterator[dict]:
    """Maps of images in memory, beside forward passes."""
    seconds = timing.interleave(contestants_of(detector, random_images(count, detector.size)), rounds)
    each = {name: taken / count for name, taken in seconds.items()}
    about = {"detector": detector.name, "images": count}
    if HALF in each:
        yield from in_bfloat16(each["ours"], each[HALF], each[USUAL], **about)
    for name in (USUAL, "forward pass, input ready"):
        yield timing.compared("maps", "Grad-CAM map", name, each["ours"], each[name], "cost", **about)


def _files(detector: Detector, count: int, rounds: int) -> Iterator[dict]:
    yield from throughput.of_network(detector, count, rounds, clock=time.perf_counter)


def _measures(detector: Detector, count: int, rounds: int) -> Iterator[dict]:
    """The five measures in every precision, beside forward passes in float32."""
    images = random_images(count, detector.size)
    other_run = random_maps(count, explain(detector, images[:1]).maps.shape[1])
    passes = {"forward passes": lambda: [forward(detector, images, BATCH) for _ in range(steps.PASSES)]}
    seconds = {}
    for precision in networks.precisions(detector):
        # One explainer at a time is open on a network, so that precisions do not take turns.
        with Explainer(detector, precision=precision) as explainer:
            measures = {precision: partial(steps.five_measures, explainer, images, other_run)}
            seconds[precision] = timing.interleave(measures, rounds)[precision] / count
    seconds |= {name: taken / count for name, taken in timing.interleave(passes, rounds).items()}
    yield from steps.beside_passes(seconds, detector=detector.name, images=count)


if __name__ == "__main__":
    main()
