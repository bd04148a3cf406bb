"""A planted difference: cross-entropy on flipped and turned images, which must make measure (c) better.

A flip from left to right and quarter turns together give all eight orientations of a square.
"""

from e2m.regimes import classification_loss

LABEL = "flips and turns in training"
COLOUR = "#999933"
GUIDED = False
SETTINGS = {"flip": True, "turns": True}
EPOCHS_FACTOR = 2  # eight poses take longer to learn than two

loss = classification_loss
