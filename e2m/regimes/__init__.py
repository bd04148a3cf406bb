"""Training regimes: one file each, named as the parameter value; what is not said here, all of them share.

A file holds ``LABEL`` and ``COLOUR``, by which figures show the regime (one colour a regime throughout the book),
``GUIDED`` (does the loss read human salience?) and ``loss(seen: e2m.training.Batch, **settings) -> Tensor``.

Three entries more are there in controls and planted differences:

* ``replace_targets(classes, human, random) -> (classes, human)``: what takes the place of the truth in
  training. ``classes`` is (n,) int, ``human`` (n, H, W) uint8 or float in [0, 1] or None, ``random`` a generator seeded
  by the run. Validation images keep their true labels.
* ``SETTINGS``: training settings (``e2m.training.detector.Settings``) that take the place of the profile's.
* ``EPOCHS_FACTOR``: how many times the profile's epochs it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# Torch is imported where a loss is taken: most pages ask a regime for nothing but its name and colour.
if TYPE_CHECKING:
    from torch import Tensor

    from e2m.training.detector import Batch


def classification_loss(seen: Batch) -> Tensor:
    """Mean cross-entropy of the logits: be right."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(seen.logits, seen.classes)


def guided_loss(seen: Batch, alpha: float = 0.5) -> Tensor:
    """``alpha * CE + (1 - alpha) * MSE(CAM, human)``: be right, and look where people looked.

    The CAM is that of the predicted class, not rectified; both maps are min-max normalised at the CAM's size
    (Boyd, Tinsley, Bowyer, Czajka, WACV 2023, arXiv 2112.00686).
    """
    from torch.nn.functional import mse_loss

    return alpha * classification_loss(seen) + (1 - alpha) * mse_loss(seen.cam, seen.human)
