"""A planted difference: cross-entropy on images with salt and pepper, which must make measure (b) better."""

from e2m.regimes import classification_loss

LABEL = "noise in training"
COLOUR = "#882255"
GUIDED = False
SETTINGS = {"noise": 0.1}
EPOCHS_FACTOR = 2  # clean and noisy images take longer to learn than clean ones

loss = classification_loss
