"""Training regimes: one file each, named as the parameter value. Regimes share everything that no file sets.

A file holds ``LABEL`` and ``COLOUR``, by which figures show the regime (one colour a regime throughout the book),
``GUIDED`` (does the loss read maps?) and ``loss(batch: e2m.training.detector.Batch) -> Tensor``.

It may have further entries:

* ``MAPS``: the column of the samples that names the maps of a guided regime: "salience", human maps, by default; or
  "segmentation".
* ``SPLIT``: the split of the images to train on, "train" by default.
* ``replace_targets(classes, human, random) -> (classes, human)``: replaces the true targets in training. ``classes`` is
  (n,) int, ``human`` (n, H, W) uint8 or float in [0, 1] or None, ``random`` a generator seeded by the run. Validation
  images keep their true labels.
* ``SETTINGS``: training settings (``e2m.training.settings.Settings``) that replace the profile's.
* ``EPOCHS_FACTOR``: a factor of the profile's epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# Torch is imported where a loss is computed: most pages read only the name and colour of a regime.
if TYPE_CHECKING:
    from torch import Tensor

    from e2m.training.detector import Batch


def classification_loss(batch: Batch) -> Tensor:
    """Mean cross-entropy of the logits: it rewards correct decisions."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(batch.logits, batch.classes)


def guided_loss(batch: Batch, alpha: float = 0.5) -> Tensor:
    """``alpha * CE + (1 - alpha) * MSE(CAM, human)``: it rewards correct decisions and salience where people looked.

    The CAM is that of the predicted class, not rectified; both maps are min-max normalised at the CAM's size
    (Boyd, Tinsley, Bowyer, Czajka, WACV 2023, arXiv 2112.00686).
    """
    from torch.nn.functional import mse_loss

    return alpha * classification_loss(batch) + (1 - alpha) * mse_loss(batch.cam, batch.human)
