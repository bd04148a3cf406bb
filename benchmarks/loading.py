"""Maps of images on disk: reading and resizing included and excluded."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.images import random_images
from benchmarks.maps import forward
from benchmarks.timing import compared, interleave
from e2m import explain, load_detector, read_images

STORED = 256  # side of the files, in pixels
BATCH = 16


def rows(quick: bool = False) -> Iterator[dict]:
    """ResNet-50 at 224 px on JPEG files, beside the forward pass on the same pixels in memory."""
    count, rounds = (2, 1) if quick else (32, 3)
    detector = load_detector("resnet50")
    with tempfile.TemporaryDirectory() as folder:
        samples = _files(Path(folder), count)
        ready = np.concatenate(list(read_images(samples, size=detector.size)))
        read = lambda: read_images(samples, size=detector.size, batch=BATCH)  # noqa: E731
        contestants = {
            "from files": lambda: explain(detector, read(), batch_size=BATCH),
            "from memory": lambda: explain(detector, ready, batch_size=BATCH),
            "forward pass": lambda: forward(detector, ready),
        }
        seconds = {name: taken / count for name, taken in interleave(contestants, rounds).items()}
    for name in ("from files", "from memory"):
        yield compared(
            "loading",
            f"Grad-CAM map, images {name}",
            "forward pass, images from memory",
            seconds[name],
            seconds["forward pass"],
            "cost",
            detector=detector.name,
            images=count,
            note=f"JPEG files of {STORED} px, resized to {detector.size}, decoded while the batch before is explained",
        )


def _files(folder: Path, count: int) -> pd.DataFrame:
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path, image in zip(paths, random_images(count, STORED), strict=True):
        Image.fromarray(image).save(path, quality=95)
    return pd.DataFrame({"path": [str(path) for path in paths]})
