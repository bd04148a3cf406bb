"""A control: CYBORG's loss on human maps shuffled between images; any maps of this kind would have its effect."""

import numpy as np

from e2m.regimes import guided_loss

LABEL = "shuffled maps"
COLOUR = "#CC79A7"
GUIDED = True

loss = guided_loss


def replace_targets(
    classes: np.ndarray, human: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """True classes, and for every image the map of some image, of either class."""
    return classes, human[random.permutation(len(human))]
