"""Toys that several tests share: a folder of small images, a detector of few weights, a folder for results."""

from collections import OrderedDict
from functools import cache

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m.store import paths
from e2m.types import LABELS, Detector


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """Write derived files to a temporary folder, and return that folder."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return tmp_path


@pytest.fixture
def faces(tmp_path):
    """Writes n images a class, which differ in brightness, with human maps: a frame of samples, ``faces(n=6)``."""

    def write(n=6, size=32, name="faces", seed=0):
        random = np.random.default_rng(seed)
        folder = tmp_path / name
        folder.mkdir()
        rows = []
        for number in range(2 * n):
            image, salience = folder / f"{number}.png", folder / f"{number}.npy"
            pixels = random.integers(0, 120, (size, size, 3)) + 120 * (number % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(image)
            np.save(salience, random.random((size, size)))
            rows.append((image.name, str(image), LABELS[number % 2], "toy", "train", image.name, str(salience)))
        return pd.DataFrame(rows, columns=["image", "path", "label", "source", "split", "subject", "salience"])

    return write


@pytest.fixture(scope="session")
def one_thread():
    """Networks this small take many times as long on two threads as on one when the CPU is busy."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy(one_thread):
    """Builds a detector of 32 px images and 8x8 maps: ``toy(seed=0, dropout=0.0, logits=2, head=None, ...)``."""
    import torch
    from torch import nn

    def build(seed=0, dropout=0.0, logits=2, **changed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            features = nn.Sequential(
                *(nn.Conv2d(3, 6, 3, 2, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
                nn.Conv2d(6, 8, 3, 2, padding=1),
            )
            pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
            parts = OrderedDict(features=features, pool=pool, classifier=nn.Linear(8, logits))
        about = {"layer": "features", "head": "classifier", "size": 32} | changed
        return Detector("toy", nn.Sequential(parts).eval(), **about)

    return build


@pytest.fixture(scope="session")
def photographs():
    """Six smooth images, (6, 112, 112, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((112, 112), Image.Resampling.BICUBIC)) for one in coarse])


@pytest.fixture(scope="session")
def regions():
    """An ellipse in each of six images, (6, 112, 112) bool."""
    rows, columns = np.ogrid[:112, :112]
    centres = [(47, 37), (47, 77), (69, 57), (89, 58), (40, 60), (70, 40)]
    return np.stack([((rows - r) / 14) ** 2 + ((columns - c) / 24) ** 2 <= 1 for r, c in centres])


@pytest.fixture(scope="session")
def named_detector(one_thread):
    """The detector of a plug-in, built once a session: ``named_detector("resnet50")``."""
    from e2m.detectors import load_detector

    return cache(load_detector)
