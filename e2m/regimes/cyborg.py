"""CYBORG: cross-entropy guided by human salience (Boyd, Tinsley, Bowyer, Czajka, WACV 2023, arXiv 2112.00686)."""

from e2m.regimes import guided_loss

LABEL = "CYBORG"
COLOUR = "#D55E00"
GUIDED = True

loss = guided_loss
