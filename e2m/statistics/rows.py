"""Derive tidy rows from tidy rows: decisions from scores, flipped decisions, means over levels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd


def ranged(rows: pd.DataFrame, ranges: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Tidy rows with the range of their quantity, in the columns ``least`` and ``most``, which no interval leaves.

    Args:
        rows: with a column ``variant``.
        ranges: variant -> its least and largest value; variants that are not named have no limits.
    """
    codes, variants = pd.factorize(rows["variant"], use_na_sentinel=False)
    limits = np.array([ranges.get(variant, (-np.inf, np.inf)) for variant in variants], float).reshape(-1, 2)
    least, most = limits[codes].T
    return rows.assign(least=least, most=most)


def by_decision(rows: pd.DataFrame) -> pd.DataFrame:
    """All rows with ``decision`` "all", and the rows of correctly classified images again with "right"."""
    right = rows[rows["correct"].astype(bool)]
    both = pd.concat([rows.assign(decision="all"), right.assign(decision="right")])
    # Sorted by row, so that the groups of both decisions alternate in a table.
    return both.sort_index(kind="stable", ignore_index=True)


def over_levels(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows with the levels of each image (all transformations, say) replaced by the mean of those not NaN.

    The column ``flipped``, if there is one, becomes the number of levels on which the decision flipped.
    """
    pooled = {"value": "mean"} | ({"flipped": "sum"} if "flipped" in rows else {})
    keys = [name for name in rows.columns if name not in ("level", *pooled) and rows[name].notna().any()]
    return rows.groupby(keys, observed=True, sort=False, dropna=False).agg(pooled).reset_index()


def accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of correct (1) and wrong (0) decisions from rows of scores, variant "accuracy"."""
    rows = softmax_scores(rows)
    right = _flagged(rows) == (rows["label"] == "synthetic")
    return _renamed(rows, "accuracy", right, (0, 1))


def accuracy_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of decisions won (1), kept (0) and lost (-1) from scores of changed images, variant "accuracy change".

    The mean is the accuracy on changed images minus that on the same images before, as ``correct`` records it.
    """
    rows = accuracies(rows)
    return _renamed(rows, "accuracy change", rows["value"] - rows["correct"].astype(float), (-1, 1))


def flips(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of flipped (1) and kept (0) decisions from rows of scores of changed images, variant "flipped".

    A decision is flipped if it differs from the decision on the clean image.
    """
    rows = softmax_scores(rows)
    clean = rows["correct"].to_numpy(bool) == (rows["label"] == "synthetic").to_numpy()
    return _renamed(rows, "flipped", _flagged(rows) != clean, (0, 1))


def with_flips(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of changed images with a column ``flipped``: whether the decision differs from that on the clean image.

    Scores decide it, for the maps of the same changed image too. Rows without any scores are returned unchanged.
    """
    decided = flips(rows)
    if decided.empty:
        return rows
    # A map guides the change of a region, so that every salience method has different changed images.
    region = rows["region"].astype(str)
    guide = rows["salience"].astype(object).where(region != "", "")
    keys = [rows[name] for name in ("detector", "regime", "run", "image", "level")] + [region, guide]
    image = pd.DataFrame({number: pd.factorize(key)[0] for number, key in enumerate(keys)}, rows.index)
    image = image.groupby(list(image)).ngroup()
    return rows.assign(flipped=image.isin(image[decided.index[decided["value"] == 1]]))


def softmax_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """The tidy rows that hold P(synthetic), variant "score"; those of the published sigmoid are left out."""
    return rows[rows["variant"] == "score"]


def _flagged(rows: pd.DataFrame) -> pd.Series:
    """Whether a score decides for "synthetic"; of two equal logits the first, authentic, is the predicted class."""
    return rows["value"] > 0.5


def _renamed(rows: pd.DataFrame, variant: str, value: pd.Series, limits: tuple[float, float]) -> pd.DataFrame:
    rows = rows.assign(variant=variant, value=value.astype(float).where(rows["value"].notna()))
    return ranged(rows, {variant: limits})
