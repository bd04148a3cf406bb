"""Traditional training: cross-entropy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from e2m.training import Seen

LABEL = "cross-entropy"
COLOUR = "#0072B2"
GUIDED = False


def loss(seen: Seen) -> Tensor:
    """Mean cross-entropy of the logits, the loss of CYBORG with alpha = 1."""
    return cross_entropy(seen.logits, seen.classes)
