"""Traditional training: cross-entropy alone."""

from e2m.regimes import classification_loss

LABEL = "cross-entropy"
COLOUR = "#0072B2"
GUIDED = False

loss = classification_loss
