"""Classification, human salience and focus (Piland, Czajka, Sweet, arXiv 2303.00818): CYBORG with small salient areas.

The paper blends the three terms; their weights here are ours. With a weight of 0.5, focus dominates: the small network
of the demo looks at one cell and learns nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from e2m.regimes import guided_loss

if TYPE_CHECKING:
    from torch import Tensor

    from e2m.training.detector import Batch

LABEL = "focused"
COLOUR = "#009E73"
GUIDED = True


def loss(batch: Batch, weight: float = 0.1) -> Tensor:
    """``0.5 * CE + 0.5 * MSE(CAM, human) + weight * H(CAM)``: CYBORG's loss with a price on spread-out salience."""
    return guided_loss(batch) + weight * spatial_entropy(batch.cam).mean()


def spatial_entropy(maps: Tensor) -> Tensor:
    """Measure (a) as a loss: with p = map / sum(map), ``H = -sum p log p / log(h * w)``.

    Args:
        maps: (n, h, w), not negative.

    Returns:
        (n,) in [0, 1]; 0, without a gradient to follow, where a map is 0 everywhere.
    """
    mass = maps.flatten(1)
    total = mass.sum(1, keepdim=True)
    p = mass / total.masked_fill(total == 0, 1)
    # The smallest value of a CAM is 0, where the slope of p log p is infinite; held at 1e-8, it is 18.
    return -(p * p.clamp_min(1e-8).log()).sum(1) / math.log(max(2, mass.shape[1]))
