"""Hyper-parameters of training a detector and of training a masker."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

from e2m.checks import Count, NotNegative, OneOf, Positive, Share, problems
from e2m.types import InputError

INFILLS = ["zeros", "mean", "blur", "noise"]
"""Names of the in-fills; ``e2m.training.objectives`` holds their functions."""


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate, momentum, weight_decay: of stochastic gradient descent.
        schedule: "step" (learning rate times 0.1 every 12 epochs) or "one_cycle" (up to ``learning_rate`` and down).
        images_per_epoch: draws an epoch, half of them of each class; None shows every image once.
        flip: mirror half of the images left to right.
        shift_px: move images by up to so many pixels, border replicated.
        contrast: multiply normalised images by 1 plus or minus up to this share.
        turns: turn images by 0, 90, 180 or 270 degrees.
        noise: salt and pepper on up to this share of the channel values of half of the images.
        mixed_precision: multiply in bfloat16 where the CPU or GPU does so in hardware, at about half the time.
        seed: of the order of images and of augmentation; the initial weights have their own.

    Raises:
        InputError: a value of another type or out of range.
    """

    epochs: Count = 50
    batch_size: Annotated[int, Ge(2)] = 20
    learning_rate: Positive = 0.005
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 1e-6
    schedule: Literal["step", "one_cycle"] = "step"
    images_per_epoch: Annotated[int, Ge(2)] | None = None
    flip: bool = False
    shift_px: Annotated[int, Ge(0)] = 0
    contrast: Share = 0.0
    turns: bool = False
    noise: Share = 0.0
    mixed_precision: bool = False
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        if lines := problems(asdict(self), type(self)):
            raise InputError("\n".join(lines))


@dataclass(frozen=True)
class MaskerSettings(Settings):
    """Hyper-parameters of a masker; the defaults are the paper's. Those of training a detector mean the same.

    Attributes:
        decay_every: with the schedule "step", the learning rate is multiplied by 0.1 after so many epochs.
        clip: largest norm of the masker's gradient.
        stages: names of the detector's modules that are read; None reads its last two stages.
        channels: of the masker.
        conditioned: whether the masker receives the class.
        mask_in: the classifier should still recognise the class in what the mask shows.
        mask_out: the classifier should be undecided about the rest.
        size_in: weight of a small mask where the masked-in image is classified correctly; 0 leaves it out.
        size_out: the same where the rest is classified wrongly; None is 10, or 15 with ``alongside``.
        variation: weight of total variation, in each of the two objectives.
        infill: what replaces the image where the mask hides it, one of ``INFILLS``.
        gumbel: temperature of binary masks drawn while training; 0 trains on the soft masks.
        alongside: train the classifier, too ("CA"); otherwise it is fixed ("FIX").
        classifier_rate: learning rate of the classifier trained alongside.

    Raises:
        InputError: a value of another type or out of range, or neither of the two objectives.
    """

    epochs: Count = 60
    batch_size: Annotated[int, Ge(2)] = 72
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    decay_every: Count = 20
    clip: Positive = 10.0
    stages: Annotated[list[str], MinLen(1)] | None = None
    channels: Count = 64
    conditioned: bool = False
    mask_in: bool = True
    mask_out: bool = True
    size_in: NotNegative = 1.0
    size_out: NotNegative | None = None
    variation: NotNegative = 1e-3
    infill: Annotated[str, OneOf(INFILLS)] = "zeros"
    gumbel: NotNegative = 0.0
    alongside: bool = False
    classifier_rate: Positive = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.mask_in or self.mask_out):
            raise InputError("neither mask_in nor mask_out; a masker needs one of the two objectives, or both")
