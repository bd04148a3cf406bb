"""Objectives of maskers: evidence inside the mask (mask-in), none outside (mask-out), and a small, smooth mask.

After Phang, Park and Geras 2020 (arXiv 2010.09750), whose constants are the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy, pad

Infill = Callable[[Tensor, Tensor], Tensor]
"""Normalised images (n, 3, H, W) and the shown share of each pixel (n, 1, H, W) -> values of the hidden rest."""


def mask_in_loss(logits: Tensor, classes: Tensor, mask: Tensor, size: float = 1.0) -> Tensor:
    """``CE(f(x m), y) - size * mean relu(1[masked-in correct] - mean m)``: a small part of the image shows the class.

    Args:
        logits: (n, 2) of the masked-in images.
        classes: (n,) true classes.
        mask: (n, 1, H, W) in [0, 1].
        size: weight of a small mask.
    """
    recognised = (logits.argmax(1) == classes).float()
    return cross_entropy(logits, classes) - size * (recognised - mask.mean((1, 2, 3))).relu().mean()


def mask_out_loss(logits: Tensor, classes: Tensor, correct: Tensor, mask: Tensor, size: float = 10.0) -> Tensor:
    """``-mean(H(f(x (1 - m))) 1[clean correct]) - size * mean relu(1[clean correct, masked-out wrong] - mean m)``.

    The rest of the image leaves the classifier undecided (entropy H), and the mask that does so is small.

    Args:
        logits: (n, 2) of the masked-out images.
        classes: (n,) true classes.
        correct: (n,) bool, True if the clean image was classified correctly.
        mask: (n, 1, H, W) in [0, 1].
        size: weight of a small mask.
    """
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    fooled = (correct & (logits.argmax(1) != classes)).float()
    return -(entropy * correct).mean() - size * (fooled - mask.mean((1, 2, 3))).relu().mean()


def total_variation(mask: Tensor, border: float = 0.3) -> Tensor:
    """``(squared steps down and across, and border times the squared outermost values) / 2``, summed over pixels.

    Args:
        mask: (n, 1, H, W).
        border: weight of the mask's edges, where a mask inside the image is 0.

    Returns:
        The mean over the n masks.
    """
    steps = mask.diff(dim=2).square().sum() + mask.diff(dim=3).square().sum()
    edges = sum(side.square().sum() for side in (mask[:, :, 0], mask[:, :, -1], mask[..., 0], mask[..., -1]))
    return (steps + border * edges) / (2 * len(mask))


# In-fills: values of the hidden pixels


def zeros(images: Tensor, shown: Tensor) -> Tensor:
    """The detector's mean colour, which is 0 after normalisation."""
    return torch.zeros_like(images)


def mean(images: Tensor, shown: Tensor) -> Tensor:
    """The mean colour of the image."""
    return images.mean((2, 3), keepdim=True)


def blur(images: Tensor, shown: Tensor) -> Tensor:
    """The image blurred with a Gaussian, whose standard deviation is 20 pixels at 224."""
    sigma = 20 * images.shape[-1] / 224
    reach = min(math.ceil(3 * sigma), images.shape[-1] - 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=images.device) / sigma) ** 2)
    kernel = (weights / weights.sum()).expand(images.shape[1], 1, 1, -1)
    across = conv2d(pad(images, (reach, reach, 0, 0), "reflect"), kernel, groups=images.shape[1])
    return conv2d(pad(across, (0, 0, reach, reach), "reflect"), kernel.mT, groups=images.shape[1])


def noise(images: Tensor, shown: Tensor) -> Tensor:
    """Gaussian noise with the mean and standard deviation of each channel of the image."""
    return images.mean((2, 3), keepdim=True) + images.std((2, 3), keepdim=True) * torch.randn_like(images)


INFILLS: dict[str, Infill] = {"zeros": zeros, "mean": mean, "blur": blur, "noise": noise}
"""In-fills by the names of ``e2m.training.settings.INFILLS``."""


def shown(images: Tensor, share: Tensor, infill: str = "zeros") -> Tensor:
    """Images with ``share`` of each pixel shown and the rest filled: ``x s + fill (1 - s)``.

    Args:
        images: (n, 3, H, W), normalised.
        share: (n, 1, H, W) in [0, 1]: the mask to mask in, 1 - mask to mask out.
        infill: one of ``INFILLS``; it reads the share, which gets no gradient from it.
    """
    return images * share + INFILLS[infill](images, share.detach()) * (1 - share)
