"""Cross-entropy on seven times as many images: the price of doing without human maps in CYBORG's comparison."""

from e2m.regimes import classification_loss

LABEL = "seven times the images"
COLOUR = "#332288"
GUIDED = False
SPLIT = "train_seven_times"

loss = classification_loss
