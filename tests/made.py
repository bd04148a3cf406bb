"""A small experiment, and a salience method of a reader's own, that several files of tests share."""

from dataclasses import replace
from itertools import product

import numpy as np
from PIL import Image

from e2m.experiment.results import Experiment

METHOD = '''
"""Gradient times input."""

import torch

from e2m.methods import Method as Base


class Method(Base):
    """``|sum over channels of gradient * pixel|``."""

    needs = "input"

    def maps(self, forward, classes, logits):
        """(n, size, size), not negative."""
        score = logits.gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, forward.pixels, retain_graph=True)
        return (gradient * forward.pixels).detach().sum(1).abs()
'''
"""Twenty lines at most."""


def small_experiment(folder, count, draw, **settings):
    """An experiment of the toy detector on images of 32 px below a folder, of two sources that are both in-set.

    Args:
        folder: receives the images.
        count: images of each source.
        draw: makes the pixels of an image, (32, 32, 3) uint8, with a generator of random numbers.
        settings: entries that replace those of the profile "smoke".
    """
    random = np.random.default_rng(0)
    for source, number in product(("real", "fake"), range(count)):
        path = folder / "faces" / source / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(random)).save(path)
    data = {"dataset": "folder", "dataset_options": {"root": str(folder / "faces")}}
    sources = {"sources": ["real", "fake"], "in_set": ["real", "fake"]}
    none = {"controls": {}, "study": {}, "masker": None}
    return replace(Experiment.load("smoke", image_size=32, **data, **sources, **none, **settings), detectors=["toy"])
