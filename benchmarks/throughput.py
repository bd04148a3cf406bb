"""Images per core-second from files to maps, and beside the plain forward pass: reading and resizing included."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks import networks
from benchmarks.images import random_images
from benchmarks.maps import BATCH, forward
from benchmarks.timing import compared, interleave, one_thread
from e2m import explain, read_images
from e2m.types import Detector, Precision

STORED = 256  # side of the files, in pixels
ROW = "end to end"


def rows(quick: bool = False) -> Iterator[dict]:
    with one_thread():
        for name, count in networks.IMAGES.items():
            yield from of_network(networks.load(name), 2 if quick else count, 1 if quick else 2)


def of_network(detector: Detector, count: int, rounds: int, clock=time.process_time) -> Iterator[dict]:
    """Maps of JPEG files in every precision that the device has, beside the forward pass on pixels in memory.

    Args:
        detector: a detector.
        count: number of images.
        rounds: number of rounds.
        clock: seconds of all threads of the process; on a GPU, of the clock on the wall.
    """
    precisions = networks.precisions(detector)
    with tempfile.TemporaryDirectory() as folder:
        samples = _files(Path(folder), count)
        ready = np.concatenate(list(read_images(samples, size=detector.size)))

        def maps(precision: Precision) -> None:
            explain(detector, read_images(samples, size=detector.size, batch=BATCH), "GradCAM", precision=precision)

        contestants = {precision: (lambda precision=precision: maps(precision)) for precision in precisions}
        contestants["forward pass"] = lambda: forward(detector, ready, BATCH)
        seconds = {name: taken / count for name, taken in interleave(contestants, rounds, clock=clock).items()}
    for precision in precisions:
        yield compared(
            ROW,
            f"Grad-CAM map from a file, {precision}",
            "forward pass in float32, images from memory",
            seconds[precision],
            seconds["forward pass"],
            "cost",
            detector=detector.name,
            images=count,
            value=1 / float(np.median(seconds[precision])),
            unit="images a core-second" if clock is time.process_time else "images a second",
            note=f"JPEG files of {STORED} px, resized to {detector.size}, decoded while the batch before is explained",
        )


def _files(folder: Path, count: int) -> pd.DataFrame:
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path, image in zip(paths, random_images(count, STORED), strict=True):
        Image.fromarray(image).save(path, quality=95)
    return pd.DataFrame({"path": [str(path) for path in paths]})
