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
    """Hyper-parameters of training a detector; the defaults are the paper's.

    Attributes:
        epochs: passes over the training images.
        batch_size: images of a step.
        learning_rate, momentum, weight_decay: parameters of stochastic gradient descent.
        schedule: "step" (learning rate times 0.1 every 12 epochs) or "one_cycle" (up to ``learning_rate`` and down).
        images_per_epoch: images of an epoch, half of each class; None shows every image once.
        flip: mirror half of the images left to right.
        shift_px: shift images by up to this number of pixels; the border is replicated.
        copies: draw flips and shifts once, for this number of copies of each image, which all runs and epochs share;
            None draws them anew for every batch.
        crop_min_share: show a random part of every image, at least this share of its area, with sides of 3:4 to 4:3,
            enlarged to the whole; 1 shows images whole.
        turns: turn images by 0, 90, 180 or 270 degrees.
        noise: salt and pepper on up to this share of the channel values of half of the images.
        mixed_precision: multiply in bfloat16 if the CPU or GPU does so in hardware, in about half the time.
        seed: seed of the order of images and of augmentation; the initial weights have a separate seed.

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
    copies: Count | None = None
    crop_min_share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    turns: bool = False
    noise: Share = 0.0
    mixed_precision: bool = False
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        if lines := problems(asdict(self), type(self)):
            raise InputError("\n".join(lines))


@dataclass(frozen=True)
class MaskerSettings(Settings):
    """Hyper-parameters of training a masker; the defaults are the paper's. Inherited ones mean the same.

    Attributes:
        decay_every: epochs after which the schedule "step" multiplies the learning rate by 0.1.
        clip: largest norm of the masker's gradient.
        stages: names of the detector's modules that the masker reads; None reads the last two stages.
        channels: channels of the masker's layers.
        conditioned: whether the masker receives the class.
        mask_in: train the mask so that the classifier recognises the class in the shown part.
        mask_out: train the mask so that the classifier is undecided about the hidden part.
        size_in: weight of a small mask if the masked-in image is classified correctly; 0 removes the term.
        size_out: weight of a small mask if the masked-out image is classified wrongly; None is 10, or 15 with
            ``alongside``.
        variation: weight of total variation, in each of the two objectives.
        infill: values of hidden pixels, one of ``INFILLS``.
        binary: train on binary masks drawn with the Gumbel-Softmax trick; otherwise on soft masks.
        temperature: of the gradient of binary masks.
        hard: masks of a masker trained on binary ones are binary; otherwise they are the probabilities.
        alongside: train the classifier too ("CA"); otherwise it is fixed ("FIX").
        classifier_rate: learning rate of the classifier trained alongside; it decays as the masker's.
        zoo: let earlier states of the classifier trained alongside judge half of the batches; published code means to,
            but passes the masked images through the present one.

    Raises:
        InputError: a value of another type or out of range, or neither of the two objectives.
    """

    epochs: Count = 60
    batch_size: Annotated[int, Ge(2)] = 72
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    flip: bool = True
    crop_min_share: Annotated[float, Interval(gt=0, le=1)] = 0.08
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
    binary: bool = False
    temperature: Positive = 0.1
    hard: bool = True
    alongside: bool = False
    classifier_rate: Positive = 1e-3
    zoo: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.mask_in or self.mask_out):
            raise InputError("neither mask_in nor mask_out; a masker needs one of the two objectives, or both")
