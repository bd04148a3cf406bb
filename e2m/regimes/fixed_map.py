"""A control: CYBORG's loss on one fixed map, the mean human map; its effect needs no knowledge of the image."""

import numpy as np

from e2m.regimes import guided_loss

LABEL = "one fixed map"
COLOUR = "#E69F00"
GUIDED = True

loss = guided_loss


def replace_targets(
    classes: np.ndarray, human: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """True classes, and for every image the mean of all maps, as float32 in [0, 1]."""
    share = 255 if human.dtype == np.uint8 else 1
    mean = (human.mean(axis=0, dtype=np.float64) / share).astype(np.float32)
    return classes, np.broadcast_to(mean, human.shape)
