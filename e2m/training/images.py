"""Training images in memory, the order of an epoch, and augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from e2m.arrays.images import read_images, read_maps
from e2m.networks.inputs import as_input
from e2m.training.settings import Settings
from e2m.types import LABELS, Detector, InputError


class Images:
    """Images of a split in memory at the detector's size, with their classes and human maps.

    Args:
        samples: samples with ``path``, ``label`` and, if ``guided``, ``salience``.
        detector: the detector that receives the images.
        guided: whether to read human maps.
        replace_targets: function of a regime that replaces the true labels or human maps: see ``e2m.regimes``.
        seed: seed of ``replace_targets``.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        detector: Detector,
        guided: bool = False,
        replace_targets: Callable | None = None,
        seed: int = 0,
    ):
        self.detector = detector
        self.images = np.concatenate(list(read_images(samples, size=detector.size)))
        classes = (samples["label"] == LABELS[1]).to_numpy(np.int64)
        human = read_maps(samples["salience"], shape=(detector.size, detector.size)) if guided else None
        if replace_targets is not None:
            # A separate stream keeps order and augmentation equal to those of other regimes. The bytes key the stream;
            # another key would change every training of these regimes.
            classes, human = replace_targets(classes, human, np.random.default_rng([seed, *b"told"]))
        self.classes, self.human = torch.from_numpy(classes), human

    def batch(
        self, rows: np.ndarray, settings: Settings, random: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """An augmented batch: the detector's input (n, 3, size, size), classes (n,), and human maps (n, H, W) or None.

        Args:
            rows: (n,) indices of the images.
            settings: settings of augmentation.
            random: generator of the epoch.
            device: device of the result.
        """
        images, human = self.images[rows], None if self.human is None else self.human[rows]
        images, human = augment(images, human, settings, random)
        batch = as_input(images, self.detector, device)
        if settings.contrast:
            gains = torch.from_numpy(random.uniform(1 - settings.contrast, 1 + settings.contrast, len(rows)))
            batch *= gains.float().to(device).view(-1, 1, 1, 1)
        return batch, self.classes[rows].to(device), None if human is None else as_share(human, device)


def check_trainable(samples: pd.DataFrame, guided: bool = False) -> None:
    """Check that samples can be trained on.

    Raises:
        InputError: no images of a class; or, if ``guided``, images without human salience.
    """
    missing = sorted(set(LABELS) - set(samples["label"]))
    if missing:
        raise InputError(f"no {missing[0]} images to train on; both of {LABELS} are needed")
    without = samples.loc[samples["salience"] == "", "image"] if guided else []
    if len(without):
        raise InputError(
            f"{len(without)} of {len(samples)} training images have no human salience (first: {without.iloc[0]}); "
            "give maps for all of them, or train with cross_entropy"
        )


def draw(classes: np.ndarray, settings: Settings, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of an epoch's batches: every image once, or ``images_per_epoch`` images, half of each class.

    No image is drawn twice before all images of its class were drawn once.
    """
    if settings.images_per_epoch is None:
        order = random.permutation(len(classes))
    else:
        half = settings.images_per_epoch // 2
        by_class = [np.flatnonzero(classes == number) for number in (0, 1)]
        shuffled = [[random.permutation(rows) for _ in range(math.ceil(half / len(rows)))] for rows in by_class]
        order = random.permutation(np.concatenate([np.concatenate(rows)[:half] for rows in shuffled]))
    # A last batch of one image has no variance to normalise by.
    for start in range(0, len(order), settings.batch_size):
        if len(rows := order[start : start + settings.batch_size]) > 1:
            yield rows


def augment(
    images: np.ndarray, human: np.ndarray | None, settings: Settings, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mirror, shift and turn images (n, H, W, 3) and their human maps (n, H, W) alike; add noise to the images alone.

    Borders are replicated. Turns and noise draw random numbers only if the settings switch them on.
    """
    flips = random.random(len(images)) < 0.5 if settings.flip else np.zeros(len(images), bool)
    reach = settings.shift_px
    shifts = random.integers(-reach, reach + 1, (len(images), 2))
    images = _moved(images, flips, shifts, reach)
    human = None if human is None else _moved(human, flips, shifts, reach)
    if settings.turns:
        turns = random.integers(0, 4, len(images))
        images, human = _turned(images, turns), None if human is None else _turned(human, turns)
    return (_noisy(images, settings.noise, random) if settings.noise else images), human


def as_share(maps: np.ndarray, device: torch.device) -> Tensor:
    """8-bit maps as float32 in [0, 1]; float maps keep their values."""
    tensor = torch.from_numpy(maps).to(device)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


def _moved(stack: np.ndarray, flips: np.ndarray, shifts: np.ndarray, reach: int) -> np.ndarray:
    height, width = stack.shape[1:3]
    moved = np.empty_like(stack)
    padded = np.pad(stack, [(0, 0), (reach, reach), (reach, reach), *[(0, 0)] * (stack.ndim - 3)], mode="edge")
    for target, image, flip, (top, left) in zip(moved, padded, flips, reach - shifts, strict=True):
        window = image[top : top + height, left : left + width]
        target[:] = window[:, ::-1] if flip else window
    return moved


def _turned(stack: np.ndarray, turns: np.ndarray) -> np.ndarray:
    return np.stack([np.rot90(image, turn) for image, turn in zip(stack, turns, strict=True)])


def _noisy(images: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    shares = random.uniform(0, most, len(images)) * (random.random(len(images)) < 0.5)
    shares = shares.astype(np.float32)[:, None, None, None]
    draws = random.random(images.shape, np.float32)
    noisy = images.copy()
    noisy[draws < shares] = 255
    noisy[draws < shares / 2] = 0
    return noisy
