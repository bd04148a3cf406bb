"""Training detectors and maskers."""
