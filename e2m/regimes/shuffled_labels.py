"""A control: cross-entropy on shuffled labels; a detector that was told nothing true about its images."""

import numpy as np

from e2m.regimes import classification_loss

LABEL = "shuffled labels"
COLOUR = "#56B4E9"
GUIDED = False

loss = classification_loss


def replace_targets(
    classes: np.ndarray, human: np.ndarray | None, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """As many images of each class as there are, but others."""
    return classes[random.permutation(len(classes))], human
