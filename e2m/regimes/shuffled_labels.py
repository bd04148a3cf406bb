"""A control: cross-entropy on shuffled labels, which say nothing about the images."""

import numpy as np

from e2m.regimes import classification_loss

LABEL = "shuffled labels"
COLOUR = "#56B4E9"
GUIDED = False

loss = classification_loss


def replace_targets(
    classes: np.ndarray, human: np.ndarray | None, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """The same number of images of each class, drawn at random."""
    return classes[random.permutation(len(classes))], human
