"""Toys that several tests share: a folder of small images, a detector of few weights, a folder for results.

`make test` runs files of tests side by side, a process a core. No test depends on another file, on the order, or on the
folders `data/` and `results/` of the checkout.
"""

import os
import re
import shutil
import signal
from collections import OrderedDict
from functools import cache

# One thread a process, here and in what tests start: networks this small take many times as long on two threads as on
# one when all cores are busy. It stands before numpy and torch, which read it when they are loaded.
os.environ["OMP_NUM_THREADS"] = "1"
# Profiles of the person who tests.
os.environ.pop("SNAKEMAKE_PROFILE", None)

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m.store import paths
from e2m.types import LABELS, Detector

# A shell starts what runs in the background with interrupts ignored, and all that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """What takes longest starts first, and many short files fill the cores at the end.

    Reports say what each test promises, of which kind it is, and below what it cost: `make faults` counts them.
    """
    for item in items:
        promise = item.originalname.removeprefix("test_").replace("_", " ")
        kind = re.split(r":|\.(?=\s|$)", item.module.__doc__ or item.path.stem)[0]
        item.user_properties += [("kind", kind), ("promise", promise)]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    longest = {item.path for item in items if item.get_closest_marker("longest")}
    items.sort(key=lambda item: (item.path not in longest, item.path not in slow))


def pytest_collection_finish(session):
    """Reports also say how many tests there are, so that a report of an interrupted session is known for what it is."""
    for item in session.items:
        item.user_properties += [("of", len(session.items))]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    item.stash[STARTED] = cpu_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    result = yield
    item.user_properties += [("cpu", f"{cpu_seconds() - item.stash[STARTED]:.2f}")]
    return result


STARTED = pytest.StashKey[float]()
"""The time of this process and its children when a test started."""


def cpu_seconds():
    """What this process and its children that have ended have used of the CPU."""
    return sum(os.times()[:4])


@pytest.fixture(scope="session", autouse=True)
def _outside_of_the_checkout(tmp_path_factory):
    """Nothing is written to the checkout; data sets that E2M builds are built once for all processes of a session."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "DATA", (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "data")
        patch.setattr(paths, "RESULTS", base / "results")
        yield


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


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, without what it does in the background; the test is skipped where it is missing."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=quiet) as opened:
        yield opened


@pytest.fixture
def expect():
    """Assertions about a page that wait until it is so: a browser answers keys and clicks when it has time."""
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    return expect


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
