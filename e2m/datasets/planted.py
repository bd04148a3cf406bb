"""Photographs whose classes differ in one thing: synthetic ones hold a planted patch.

A detector of these images can only read the patch, so that the right answer of each measure is known in advance.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from e2m.store import building, paths
from e2m.store.building import PHOTOGRAPHS, SIDE, SUBJECTS, grey, photographs, random_of

PATCH = 12
MARGIN = 16
CONTRAST = 32
LABEL = {"orl": "authentic", "planted": "synthetic"}


def load() -> pd.DataFrame:
    """The frame of the planted data; the first call builds the images below ``e2m.store.paths.DATA / "planted"``.

    Returns:
        400 rows with the columns of :func:`e2m.datasets.load_dataset` and ``region``, the patch of a ``planted`` image;
        the patch is also its human map. Half of each person's photographs are authentic, the others planted.

    Raises:
        InputError: the source package is missing or holds other data; files were removed from the built folder.
    """
    return building.load(paths.DATA / "planted" / building.recipe(__file__), build)


def build(folder: Path) -> pd.DataFrame:
    """Draw every image into ``folder`` and list them, with the SHA-256 of every file, in ``manifest.parquet``."""
    faces = photographs()
    return building.write(folder, all_images(faces), LABEL, "planted data", PHOTOGRAPHS * len(faces))


def all_images(faces: dict[str, np.ndarray]) -> Iterator[dict]:
    """All images, source by source; every second photograph of each person gets a patch.

    Args:
        faces: person -> (10, 112, 112) uint8 photographs.
    """
    for source, (split, people) in product(LABEL, SUBJECTS.items()):
        for person, number in product(people, range(source == "planted", PHOTOGRAPHS, 2)):
            yield one_image(faces, source, split, person, number)


def one_image(faces: dict[str, np.ndarray], source: str, split: str, person: str, number: int) -> dict:
    """One photograph, unchanged or with a patch."""
    image = f"{source}/{person}_{number + 1:02d}"
    drawn = {"image": image, "split": split, "subject": person, "pixels": faces[person][number]}
    if source == "planted":
        drawn["pixels"], region = plant(faces[person][number], random_of(image))
        drawn |= {"region": region, "salience": region}
    return drawn


def plant(photograph: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Add a chequered patch of 12 x 12 px at a random position away from the border.

    Its pixels are alternately 32 grey levels brighter and darker than the photograph: the highest spatial frequency.
    The patch leaves the mean unchanged, and blur removes it.

    Args:
        photograph: (112, 112) uint8.
        random: decides the position.

    Returns:
        The image and the region of the patch (255 inside, 0 outside), (112, 112) uint8 each.
    """
    top, left = random.integers(MARGIN, SIDE - MARGIN - PATCH, 2, endpoint=True)
    window = (slice(top, top + PATCH), slice(left, left + PATCH))
    pixels, region = photograph.astype(float), np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.indices((PATCH, PATCH), sparse=True)
    pixels[window] += CONTRAST * (-1.0) ** (rows + columns)
    region[window] = 255
    return grey(pixels), region
