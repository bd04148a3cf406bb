"""What the parts of E2M hand to each other: detectors, explanations, changed images, and errors for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

LABELS = ("authentic", "synthetic")
"""The two labels; their position is the class number that E2M's own detectors use."""

MASKER = "masker"
"""The salience method that shows the masks of the detector's own masker: the same mask for every target, unless it was
conditioned on the class; a collapsed mask is dead."""


class InputError(ValueError):
    """Something that a person gave does not fit; the message says what arrived, what fits and what to do."""


@dataclass(frozen=True)
class Detector:
    """A network together with everything needed to feed it an image and read its answer.

    Attributes:
        name: plug-in name, for tables and file names.
        model: the bare network: normalised images (N, 3, size, size) in, logits (N, 2) or (N, 1) out.
        layer: name of the module inside ``model`` whose output salience is read from.
        size: side of the square input, in pixels.
        mean, std: per-channel normalisation of images scaled to [0, 1].
        head: name of the linear layer behind global average pooling, or None where there is none; CAM needs it.
        guided_layer: name of the module whose output training with human salience reads (default: ``layer``).
        synthetic: which logit means "synthetic"; a single logit always does.
        masker: file of the masker that was trained on these weights, or None; the salience method "masker" reads it.
    """

    name: str
    model: nn.Module
    layer: str
    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    head: str | None = None
    guided_layer: str | None = None
    synthetic: int = 1
    masker: Path | None = None


@dataclass(frozen=True)
class Explanation:
    """Salience and scores of N images.

    Attributes:
        maps: (N, h, w) float32, min-max normalised to [0, 1] per map; the row of a dead map is NaN.
        scores: (N,) float32, softmax probability of "synthetic".
        predicted: (N,) class numbers, 0 authentic and 1 synthetic; -1 where the image could not be read.
        target: (N,) class numbers that the maps explain.
        dead: (N,) bool, True where the raw map was constant or not finite.
        logits: (N, 2) float32, authentic and synthetic.
    """

    maps: np.ndarray
    scores: np.ndarray
    predicted: np.ndarray
    target: np.ndarray
    dead: np.ndarray
    logits: np.ndarray

    def __getitem__(self, which: slice | np.ndarray) -> Explanation:
        """The explanation of some of the images."""
        return Explanation(*(getattr(self, field.name)[which] for field in fields(self)))

    def mark(self, unreadable: np.ndarray) -> None:
        """Take back what is said of some of the images, (N,) bool: NaN, dead, classes -1."""
        blank = {"maps": np.nan, "scores": np.nan, "logits": np.nan, "predicted": -1, "target": -1, "dead": True}
        for name, value in blank.items():
            getattr(self, name)[unreadable] = value

    @staticmethod
    def join(parts: Sequence[Explanation]) -> Explanation:
        """One explanation of the images of several."""
        names = [field.name for field in fields(Explanation)]
        return Explanation(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _unchanged(pictures: np.ndarray) -> np.ndarray:
    return pictures


@dataclass(frozen=True)
class Perturbation:
    """A batch of changed images, and how their salience is compared to that of the clean ones.

    A measure that perturbs images yields these; whoever explains them knows nothing else of the measure.

    Attributes:
        images: (N, H, W, 3) uint8, the changed images.
        level: how much or what: "0.25", "shift_left"; goes into the tidy rows.
        guide: the salience method whose maps guided the change; "" where none did and one copy serves all methods.
        kind: what was done where a measure does several things ("salient", "background"); becomes part of ``variant``.
        undo: maps (N, H, W) of the changed images -> the same maps moved back to where the clean image has them.
        move: pictures (N, H, W) of the clean images, such as true regions -> the same, moved as the images were.
        valid: (H, W) bool, where the undone maps hold information; None for everywhere.
    """

    images: np.ndarray
    level: str
    guide: str = ""
    kind: str = ""
    undo: Callable[[np.ndarray], np.ndarray] = _unchanged
    move: Callable[[np.ndarray], np.ndarray] = _unchanged
    valid: np.ndarray | None = None
