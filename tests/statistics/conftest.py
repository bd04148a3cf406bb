"""Scores that several files of tests share."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def score_rows():
    """Scores of three runs of two regimes on eight images of each source."""
    random = np.random.default_rng(0)
    images = [("orl", "authentic", f"orl/{n}") for n in range(8)]
    images += [(source, "synthetic", f"{source}/{n}") for source in ("swap", "morph") for n in range(8)]
    rows = [
        (regime, run, source, label, image, "score", random.random(), bool(random.random() < 0.5))
        for regime in ("cross_entropy", "cyborg")
        for run in range(3)
        for source, label, image in images
    ]
    columns = ["regime", "run", "source", "label", "image", "variant", "value", "correct"]
    return pd.DataFrame(rows, columns=columns)
