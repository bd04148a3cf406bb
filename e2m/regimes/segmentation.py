"""CYBORG's loss on segmentation masks in place of human maps: where a face is, instead of where people looked."""

from e2m.regimes import guided_loss

LABEL = "segmentation masks"
COLOUR = "#661100"
GUIDED = True
MAPS = "segmentation"

loss = guided_loss
