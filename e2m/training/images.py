"""Training images in memory, the order of an epoch, and augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from e2m.arrays.images import read_images
from e2m.arrays.map_files import read_maps
from e2m.networks.inputs import as_input, square_side
from e2m.networks.trunk import Trunk
from e2m.training.settings import Settings
from e2m.types import LABELS, Detector, InputError


class Images:
    """Images of a split in memory at the detector's size, with their classes and human maps.

    Args:
        samples: samples with ``path``, ``label`` and, if ``human_shape``, ``salience``.
        detector: the detector that receives the images.
        trunk: the detector's frozen beginning, which the images pass first.
        human_shape: (h, w) at which human maps are read; None reads none.
        replace_targets: function of a regime that replaces the true labels or human maps: see ``e2m.regimes``.
        seed: seed of ``replace_targets``.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        detector: Detector,
        trunk: Trunk | None = None,
        human_shape: tuple[int, int] | None = None,
        replace_targets: Callable | None = None,
        seed: int = 0,
    ):
        self.detector, self.trunk = detector, trunk
        self.images = np.concatenate(list(read_images(samples, size=square_side(detector))))
        classes = (samples["label"] == LABELS[1]).to_numpy(np.int64)
        # As they are: the loss stretches them, after the network has reduced them.
        guide = {"shape": human_shape, "bilinear": True, "normalise": "none"}
        human = read_maps(samples["salience"], **guide) if human_shape else None
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
        moves = None
        if settings.copies:
            copies = rows * settings.copies + random.integers(settings.copies, size=len(rows))
            moves = tuple(part[copies] for part in self._moves_of_copies(settings))
        images, human = augment(images, human, settings, random, moves)
        return (
            self.as_input(images, device),
            self.classes[rows].to(device),
            human if human is None else as_share(human, device),
        )

    def as_input(self, images: np.ndarray, device: torch.device) -> Tensor:
        """Images (n, H, W, 3) uint8 as the network receives them: its input, or the outputs of the trunk."""
        pixels = as_input(images, self.detector, device)
        return pixels if self.trunk is None else self.trunk(images, pixels)

    def copies(self, settings: Settings) -> Iterator[np.ndarray]:
        """The copies of which ``batch`` draws, (n, H, W, 3) uint8, one copy of each image at a time.

        The images themselves if ``settings.copies`` is None.
        """
        rows = np.arange(len(self.images)) * (settings.copies or 1)
        for copy in range(settings.copies or 1):
            moves = tuple(part[rows + copy] for part in self._moves_of_copies(settings))
            yield _moved(self.images, *moves, settings.shift_px) if settings.copies else self.images

    def _moves_of_copies(self, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
        """The same for all runs: the generator has no seed of a run."""
        return draw_moves(len(self.images) * (settings.copies or 1), settings, np.random.default_rng([*b"copies"]))


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
    """Indices of an epoch's batches: every image once, or ``images_per_epoch`` images, equally many of each class.

    No image is drawn twice before all images of its class were drawn once.
    """
    if settings.images_per_epoch is None:
        order = random.permutation(len(classes))
    else:
        by_class = [np.flatnonzero(classes == number) for number in np.unique(classes)]
        share = settings.images_per_epoch // len(by_class)
        shuffled = [[random.permutation(rows) for _ in range(math.ceil(share / len(rows)))] for rows in by_class]
        order = random.permutation(np.concatenate([np.concatenate(rows)[:share] for rows in shuffled]))
    for start in range(0, len(order), settings.batch_size):
        yield order[start : start + settings.batch_size]


def draw_moves(count: int, settings: Settings, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(count,) bool, whether an image is mirrored left to right, and (count, 2) pixels that it moves down and right."""
    flips = random.random(count) < 0.5 if settings.flip else np.zeros(count, bool)
    return flips, random.integers(-settings.shift_px, settings.shift_px + 1, (count, 2))


def augment(
    images: np.ndarray,
    human: np.ndarray | None,
    settings: Settings,
    random: np.random.Generator,
    moves: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Crop, mirror, shift and turn images (n, H, W, 3) and their human maps (n, H, W) alike; add noise to images alone.

    Borders are replicated. Crops, turns and noise draw random numbers only if the settings switch them on; crops draw
    from torch's stream. ``moves`` replaces the mirroring and shifts that ``draw_moves`` would draw.
    """
    if settings.crop_min_share < 1:
        windows = _windows(images, settings.crop_min_share)
        images, human = _cropped(images, windows), None if human is None else _cropped(human, windows)
    moves = moves or draw_moves(len(images), settings, random)
    images = _moved(images, *moves, settings.shift_px)
    human = None if human is None else _moved(human, *moves, settings.shift_px)
    if settings.turns:
        turns = random.integers(0, 4, len(images))
        images, human = _turned(images, turns), None if human is None else _turned(human, turns)
    return (_noisy(images, settings.noise, random) if settings.noise else images), human


def as_share(maps: np.ndarray, device: torch.device) -> Tensor:
    """8-bit maps as float32 in [0, 1]; float maps keep their values."""
    tensor = torch.from_numpy(maps).to(device)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


def _windows(images: np.ndarray, smallest: float) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of a random part of each image, as torchvision's ``RandomResizedCrop`` draws them."""
    # Imported here: it takes two seconds, and most trainings do not crop.
    from torchvision.transforms import RandomResizedCrop

    shape = torch.empty(0, *images.shape[1:3])
    return [RandomResizedCrop.get_params(shape, [smallest, 1.0], [3 / 4, 4 / 3]) for _ in images]


def _cropped(stack: np.ndarray, windows: list[tuple[int, int, int, int]]) -> np.ndarray:
    """A window of each image or map, enlarged to the size of the whole (PIL bilinear, as torchvision's default)."""
    cropped = np.empty_like(stack)
    height, width = stack.shape[1:3]
    for target, image, (top, left, high, wide) in zip(cropped, stack, windows, strict=True):
        window = Image.fromarray(image[top : top + high, left : left + wide])
        target[:] = window.resize((width, height), Image.Resampling.BILINEAR)
    return cropped


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
