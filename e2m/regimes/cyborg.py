"""CYBORG: cross-entropy guided by human salience (Boyd, Tinsley, Bowyer, Czajka, WACV 2023, arXiv 2112.00686)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

if TYPE_CHECKING:
    from e2m.training import Seen

LABEL = "CYBORG"
COLOUR = "#D55E00"
GUIDED = True


def loss(seen: Seen, alpha: float = 0.5) -> Tensor:
    """``alpha * CE + (1 - alpha) * MSE(CAM, human)``: be right, and look where people looked.

    The CAM is that of the predicted class, not rectified; both maps are min-max normalised at the CAM's size.
    """
    return alpha * cross_entropy(seen.logits, seen.classes) + (1 - alpha) * mse_loss(seen.cam, seen.human)
