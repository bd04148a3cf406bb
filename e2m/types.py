"""The types that the parts of E2M share: detectors, explanations, perturbed images, and errors for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

LABELS = ("authentic", "synthetic")
"""The two labels; their index is the class number."""

Precision = Literal["float32", "bfloat16"]
"""The numbers that a network multiplies when it is explained."""

MASKER = "masker"
"""The salience method that returns the masks of the detector's masker. The mask is the same for every target unless
the masker is conditioned on the class; a collapsed mask is dead."""


class InputError(ValueError):
    """Invalid input from a person; the message says what arrived, what fits and what to do."""


@dataclass(frozen=True)
class Detector:
    """A network together with everything needed to give it an image and read its output.

    Attributes:
        name: plug-in name, for tables and file names.
        model: the bare network: normalised images (N, channels, height, width) in; out come one or two logits an image,
            alone or in a tuple, a dictionary or an object, see ``output``.
        layer: name of the module inside ``model`` whose output the salience methods read; "" for a network that shows
            its scores only (TorchScript, ONNX), which occlusion and RISE explain.
        size: side of the square input, or (height, width), in pixels.
        mean, std: per-channel normalisation of images scaled to [0, 1]; one value each for a network that takes one
            grey channel. 0 and 1 where the network normalises by itself.
        head: name of the linear layer after global average pooling, or None if there is none; CAM needs it.
        guided_layer: name of the module that training with human salience reads (default: ``layer``).
        synthetic: which logit means "synthetic". Of a single logit, 1 says that it grows with "synthetic", 0 that it
            grows with "authentic".
        reshape: turns the output of ``layer`` into (n, channels, h, w), where it is not that already: the tokens of a
            transformer, or channels that come last.
        frozen: names of modules that training leaves as they are, batch normalisation included.
        masker: file of the masker trained on these weights, or None; the salience method "masker" reads it.
        call: which call of ``layer`` is explained if a forward pass calls it several times, from 0; None for the last.
        output: key, attribute or index of the logits among several outputs; "" if only one has the shape of logits.
        notes: what loading made out or took for granted, a line each, for people.

    Raises:
        InputError: a size, normalisation, class or call that no detector can have.
    """

    name: str
    model: nn.Module
    layer: str
    size: int | tuple[int, int]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    head: str | None = None
    guided_layer: str | None = None
    synthetic: int = 1
    reshape: Callable[[Tensor], Tensor] | None = None
    frozen: tuple[str, ...] = ()
    masker: Path | None = None
    call: int | None = None
    output: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        size = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
        if len(size) != 2 or not all(_is_whole(side, least=1) for side in size):
            self._refuse(f"size is {self.size}; a number of pixels or (height, width) fits")
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        if mean.shape not in ((1,), (3,)) or std.shape != mean.shape or {mean.dtype.kind, std.dtype.kind} - {*"fiu"}:
            self._refuse(f"mean is {self.mean} and std {self.std}; one value each or three fit")
        if not np.isfinite(mean).all():
            self._refuse(f"mean is {self.mean}; numbers fit")
        if not (np.isfinite(std) & (std > 0)).all():
            self._refuse(f"std is {self.std}; numbers above 0 fit")
        if not (_is_whole(self.synthetic) and self.synthetic <= 1):
            self._refuse(f"synthetic is {self.synthetic}; 0 or 1, which logit means it, fits")
        if not (self.call is None or _is_whole(self.call)):
            self._refuse(f"call is {self.call}; a whole number from 0 or None for the last fits")

    def _refuse(self, line: str) -> None:
        raise InputError(f"detector {self.name!r}: {line}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the input, in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)

    @property
    def channels(self) -> int:
        """Number of channels of the input."""
        return len(self.mean)


def _is_whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


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
        """The explanation of a subset of the images."""
        return Explanation(*(getattr(self, field.name)[which] for field in fields(self)))

    def blank(self, unreadable: np.ndarray) -> None:
        """Blank the entries of unreadable images, (N,) bool: NaN, dead, classes -1."""
        values = {"maps": np.nan, "scores": np.nan, "logits": np.nan, "predicted": -1, "target": -1, "dead": True}
        for name, value in values.items():
            getattr(self, name)[unreadable] = value

    @staticmethod
    def join(parts: Sequence[Explanation]) -> Explanation:
        """Several explanations as one, their images in order."""
        names = [field.name for field in fields(Explanation)]
        return Explanation(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _unchanged(stack: np.ndarray) -> np.ndarray:
    return stack


@dataclass(frozen=True)
class Perturbation:
    """A batch of perturbed images, and how their salience is compared with that of the clean images.

    A measure that perturbs images yields these; the code that explains them knows nothing else of the measure.

    Attributes:
        images: (N, H, W, 3) uint8, the perturbed images.
        level: the amount or the name of the perturbation: "0.25", "shift_left"; a column of the tidy rows.
        guide: the name of the maps that guided the perturbation, as the measure received them; "" if none did and all
            methods share the images.
        region: which part of the image was perturbed, if a measure perturbs several ("salient", "background"); "" for
            the whole image. A column of the tidy rows.
        undo: maps (N, H, W) of the perturbed images -> the same maps, moved back onto the clean images.
        move: arrays (N, H, W) on the clean images, such as true regions -> the same, moved as the images were.
        valid: (H, W) bool, the pixels where the undone maps hold information; None for all of them.
    """

    images: np.ndarray
    level: str
    guide: str = ""
    region: str = ""
    undo: Callable[[np.ndarray], np.ndarray] = _unchanged
    move: Callable[[np.ndarray], np.ndarray] = _unchanged
    valid: np.ndarray | None = None


@dataclass(frozen=True)
class Headline:
    """A quantity by which a measure stands beside the others: in the forest plot, and with its floor and ceiling.

    Attributes:
        title: in a few words, without the measure's letter; ``{level:g}`` becomes the level.
        variant: of the tidy rows. From scores of changed images, "accuracy", "accuracy change" (to that of the clean
            images) and "change" (of the score) are taken as well.
        region, target: of the tidy rows; "" takes rows of any target.
        level: of the tidy rows: a number, for which pages may choose another; "all" takes the mean over all levels; ""
            is for measures without levels.
        right: whether only images that were classified correctly count; of pairs of runs, by both.
        published: whether this is what the paper's release measures; other headlines correct it or add to it.
        better: "higher" or "lower", which the forest plot shows as an arrow; "" where neither is better.
        forest: whether the forest plot shows it.
        controls: whether it is shown with its floor and ceiling.
    """

    title: str
    variant: str
    region: str = ""
    target: str = ""
    level: float | str = ""
    better: str = ""
    right: bool = False
    published: bool = False
    forest: bool = True
    controls: bool = True
