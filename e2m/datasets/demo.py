"""The data that come with E2M: real photographs, composites of them, and three generators; no download.

``data/README.md`` is the data card. The human salience is simulated annotation, and nothing else.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from e2m.store import building, paths
from e2m.store.building import PHOTOGRAPHS, SIDE, SUBJECTS, grey, photographs, random_of

TRANSPLANT_SETS = {"train": 4, "validate": 1, "test": 1}
"""How often every photograph receives features of another person."""

GENERATED = 120
"""Images of each source that training never sees."""

FEATURES = {
    "both eyes": ((47, 57), (14, 40)),
    "left eye": ((47, 37), (13, 20)),
    "right eye": ((47, 77), (13, 20)),
    "nose": ((69, 57), (17, 17)),
    "mouth": ((89, 58), (14, 27)),
}
"""Ellipses in pixels: (row, column) of the centre, (vertical, horizontal) half axes."""

FACE_PARTS = ("left eye", "right eye", "nose", "mouth")

JITTER = 3
FEATHER = 1.75
ANNOTATION_BLUR = 4.0
COMPONENTS = 60

WEIGHTS_SHA256 = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
"""Checksum of the file with the generator's weights."""

LABEL = {"orl": "authentic", "swap": "synthetic", "morph": "synthetic", "eigenface": "synthetic", "dcgan": "synthetic"}


def load() -> pd.DataFrame:
    """The frame of the embedded data; the first call builds the images below ``e2m.store.paths.DATA / "demo"``.

    Returns:
        1,880 rows with the columns of :func:`e2m.datasets.load_dataset`, ``region``, the true region of a ``swap``, and
        ``annotations``, the maps of both simulated annotators; the first is ``salience``; and ``segmentation``, a mask
        of the parts of the face.

    Raises:
        InputError: a source package is missing or holds other data; files were removed from the built folder.
    """
    samples = building.load(paths.DATA / "demo" / building.recipe(__file__), build)
    both = zip(samples["salience"], samples.pop("second_salience"), strict=True)
    return samples.assign(annotations=[tuple(filter(None, maps)) for maps in both])


def build(folder: Path) -> pd.DataFrame:
    """Draw every image into ``folder`` and list them, with the SHA-256 of every file, in ``manifest.parquet``.

    Returns:
        The manifest: its paths are relative to ``folder``.
    """
    faces = photographs()
    return building.write(folder, all_images(faces), LABEL, "demo data", _count())


def all_images(faces: dict[str, np.ndarray]) -> Iterator[dict]:
    """All images, source by source: image, split, subject, pixels, and optionally two annotations and a region.

    Every image has its own random generator, seeded with the image's name.

    Args:
        faces: person -> (10, 112, 112) uint8 photographs.
    """
    for split, people in SUBJECTS.items():
        for person, number in itertools.product(people, range(PHOTOGRAPHS)):
            yield orl_image(faces, split, person, number)
    for split, people in SUBJECTS.items():
        for copy, person, number in itertools.product(range(TRANSPLANT_SETS[split]), people, range(PHOTOGRAPHS)):
            yield swap_image(faces, split, person, number, copy)
    test_faces = {person: faces[person] for person in SUBJECTS["test"]}
    yield from (morph_image(test_faces, number) for number in range(GENERATED))
    yield from eigenface_images(np.concatenate(list(test_faces.values())))
    yield from dcgan_images()


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
    return grey(composite), region.astype(np.uint8) * 255


def annotate_region(region: np.ndarray) -> np.ndarray:
    """A simulated annotation of a composite: its true region, blurred. (112, 112) uint8 in and out."""
    return _stretch(gaussian_filter(region.astype(float), ANNOTATION_BLUR))


def annotate_face(random: np.random.Generator) -> np.ndarray:
    """A simulated annotation of a photograph: blobs on two to four of eyes, nose and mouth."""
    return annotate(FACE_PARTS, 2, random)


def annotate(parts: Sequence[str], least: int, random: np.random.Generator) -> np.ndarray:
    """A simulated annotation: blobs on parts of the face.

    Annotations vary as annotators do: in the number of parts marked, and in positions, sizes and weights.

    Args:
        parts: keys of ``FEATURES``.
        least: the smallest number of parts marked.

    Returns:
        (112, 112) uint8, its largest value 255.
    """
    marked = random.permutation(parts)[: random.integers(least, len(parts), endpoint=True)]
    total = np.zeros((SIDE, SIDE))
    for part in marked:
        centre, axes = FEATURES[part]
        blob = _distance(centre + random.normal(0, 2.5, 2), np.multiply(axes, random.uniform(0.6, 1.0)))
        total += random.uniform(0.4, 1.0) * np.exp(-0.5 * blob)
    return _stretch(total)


def segment() -> np.ndarray:
    """A segmentation mask of a face: 255 in the ellipses of eyes, nose and mouth, 0 elsewhere; (112, 112) uint8.

    The generator knows where these parts lie in a face of the database, and not where they lie in one photograph. The
    mask is therefore the same for every image.
    """
    parts = [_ellipse(np.asarray(FEATURES[name][0]), FEATURES[name][1]) for name in FACE_PARTS]
    return np.any(parts, axis=0).astype(np.uint8) * 255


def orl_image(faces: dict[str, np.ndarray], split: str, person: str, number: int) -> dict:
    """One photograph, with its simulated annotations."""
    image = f"orl/{person}_{number + 1:02d}"
    return {
        "image": image,
        "split": split,
        "subject": person,
        "pixels": faces[person][number],
        "salience": annotate_face(random_of(image)),
        "second_salience": annotate_face(random_of(f"second annotator, {image}")),
        "segmentation": segment(),
    }


def swap_image(faces: dict[str, np.ndarray], split: str, person: str, number: int, copy: int = 0) -> dict:
    """One photograph with one or two features of another person of the same split."""
    image = f"swap/{person}_{number + 1:02d}" + (f"_{copy + 1}" if copy else "")
    random = random_of(image)
    donor = random.choice([other for other in SUBJECTS[split] if other != person])
    features = FEATURE_SETS[random.integers(len(FEATURE_SETS))]
    pixels, region = transplant(faces[person][number], faces[donor][random.integers(PHOTOGRAPHS)], features, random)
    return {
        "image": image,
        "split": split,
        "subject": person,
        "pixels": pixels,
        "salience": annotate_region(region),
        "second_salience": annotate(features, 1, random_of(f"second annotator, {image}")),
        "segmentation": segment(),
        "region": region,
    }


def morph_image(faces: dict[str, np.ndarray], number: int) -> dict:
    """The mean of two people's photographs."""
    image = f"morph/{number + 1:03d}"
    random = random_of(image)
    first, second = sorted(random.choice(list(faces), 2, replace=False))
    one, other = random.integers(PHOTOGRAPHS, size=2)
    mean = (faces[first][one].astype(float) + faces[second][other]) / 2
    return {"image": image, "split": "test", "subject": f"{first}+{second}", "pixels": grey(mean)}


def eigenface_images(photographs: np.ndarray) -> Iterator[dict]:
    """Draws from a Gaussian on the first 60 principal components of photographs (Turk and Pentland 1991).

    Args:
        photographs: (N, 112, 112) uint8.
    """
    flat = photographs.reshape(len(photographs), -1).astype(float)
    mean = flat.mean(axis=0)
    _, lengths, components = np.linalg.svd(flat - mean, full_matrices=False)
    components, deviations = components[:COMPONENTS], lengths[:COMPONENTS] / np.sqrt(len(flat) - 1)
    # Libraries differ in the sign of a component, which would change every image: fix it.
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(COMPONENTS), largest])[:, None]
    for number in range(GENERATED):
        image = f"eigenface/{number + 1:03d}"
        pixels = mean + (random_of(image).standard_normal(COMPONENTS) * deviations) @ components
        yield {"image": image, "split": "test", "subject": image, "pixels": grey(pixels.reshape(SIDE, SIDE))}


def dcgan_images() -> Iterator[dict]:
    """Draws from a deep convolutional GAN trained on DigiFace-1M; its colour images of 64 px become grey, 112 px."""
    weights = building.package("gan-face-generate", "gan_face_generate") / "weights.tar"
    checksum = hashlib.sha256(building.read(weights)).hexdigest()
    building.check_source("gan-face-generate", weights, checksum, WEIGHTS_SHA256)

    # Imported here, because only the build needs them: torch takes seconds to start.
    import torch
    from gan_face_generate.models import Generator

    generator = Generator(ngpu=0, nc=3, nz=100, ngf=64)
    generator.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu")["netG_state_dict"])
    generator.eval()
    for number in range(GENERATED):
        image = f"dcgan/{number + 1:03d}"
        latent = torch.from_numpy(random_of(image).standard_normal((1, 100, 1, 1)).astype(np.float32))
        # One image at a time: in a batch, its last bits would depend on the other images.
        with torch.inference_mode():
            colour = generator(latent)[0].permute(1, 2, 0).numpy()
        small = Image.fromarray(grey((colour + 1) * 127.5)).convert("L")
        pixels = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        yield {"image": image, "split": "test", "subject": image, "pixels": pixels}


def _feature_sets() -> list[tuple[str, ...]]:
    """One or two features; an eye beside both eyes would give the same image twice."""
    pairs = [pair for pair in itertools.combinations(FEATURES, 2) if not (pair[0] == "both eyes" and "eye" in pair[1])]
    return [(feature,) for feature in FEATURES] + pairs


FEATURE_SETS = _feature_sets()


def _distance(centre: np.ndarray, axes: tuple[float, float]) -> np.ndarray:
    """(112, 112) squared distance from the centre, in half axes."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2


def _ellipse(centre: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    return _distance(centre, axes) <= 1


def _stretch(salience: np.ndarray) -> np.ndarray:
    return grey(salience / salience.max() * 255)


def _count() -> int:
    transplanted = sum(TRANSPLANT_SETS[split] * len(people) for split, people in SUBJECTS.items())
    return PHOTOGRAPHS * (sum(map(len, SUBJECTS.values())) + transplanted) + 3 * GENERATED
