"""Photographs whose classes differ in one thing: synthetic ones hold a planted patch.

A detector of these can only read the patch, so that what measures must say about it is known in advance.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from e2m.store import building, paths
from e2m.store.building import PHOTOGRAPHS, SIDE, SUBJECTS, grey, photographs, random_of

RECIPE = 1
"""Counts changes to what is built below; another number builds the data anew, beside the old."""

PATCH = 12
MARGIN = 16
CONTRAST = 32
LABEL = {"orl": "authentic", "planted": "synthetic"}


def load() -> pd.DataFrame:
    """The frame of the planted data; the pictures are built below ``e2m.store.paths.DATA / "planted"`` the first time.

    Returns:
        400 rows with the columns of :func:`e2m.datasets.load_dataset` and ``region``, the patch of a ``planted`` image,
        which is its human map as well. Half of each person's photographs are authentic, the others planted.

    Raises:
        InputError: the source package is missing or holds other data; files were removed from the built folder.
    """
    return building.load(paths.DATA / "planted" / f"recipe-{RECIPE}", build)


def build(folder: Path) -> pd.DataFrame:
    """Draw every picture into ``folder`` and list them, with the SHA-256 of every file, in ``manifest.parquet``."""
    faces = photographs()
    return building.write(folder, pictures(faces), LABEL, "planted data", PHOTOGRAPHS * len(faces))


def pictures(faces: dict[str, np.ndarray]) -> Iterator[dict]:
    """All pictures, source by source; of each person, every second photograph is planted.

    Args:
        faces: person -> (10, 112, 112) uint8 photographs.
    """
    for source, (split, people) in product(LABEL, SUBJECTS.items()):
        for person, number in product(people, range(source == "planted", PHOTOGRAPHS, 2)):
            yield picture(faces, source, split, person, number)


def picture(faces: dict[str, np.ndarray], source: str, split: str, person: str, number: int) -> dict:
    """One photograph, as it is or with a patch."""
    image = f"{source}/{person}_{number + 1:02d}"
    found = {"image": image, "split": split, "subject": person, "pixels": faces[person][number]}
    if source == "planted":
        found["pixels"], region = plant(faces[person][number], random_of(image))
        found |= {"region": region, "salience": region}
    return found


def plant(photograph: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lay a chequered patch, 12 x 12 px of the highest frequency there is, anywhere but near the border.

    Its squares are single pixels, by turns 32 grey levels brighter and darker than the photograph, so that its mean
    stays and blur removes it.

    Args:
        photograph: (112, 112) uint8.
        random: decides the place.

    Returns:
        The picture and the region of the patch (255 inside, 0 outside), (112, 112) uint8 each.
    """
    top, left = random.integers(MARGIN, SIDE - MARGIN - PATCH, 2, endpoint=True)
    window = (slice(top, top + PATCH), slice(left, left + PATCH))
    pixels, region = photograph.astype(float), np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.indices((PATCH, PATCH), sparse=True)
    pixels[window] += CONTRAST * (-1.0) ** (rows + columns)
    region[window] = 255
    return grey(pixels), region
