"""From tidy rows to tidy rows: decisions of scores, flips of decisions, means over levels."""

from __future__ import annotations

import pandas as pd


def by_decision(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows twice, told apart by the column ``decision``: "all", and "right" for images classified rightly."""
    right = rows[rows["correct"].astype(bool)]
    both = pd.concat([rows.assign(decision="all"), right.assign(decision="right")])
    # Sorted by row, so that groups of both appear by turns in a table.
    return both.sort_index(kind="stable", ignore_index=True)


def over_levels(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows with the levels of each image (all transformations, say) replaced by the mean of those not NaN.

    ``flipped``, where it is there, becomes a number: on so many levels the decision flipped.
    """
    pooled = {"value": "mean"} | ({"flipped": "sum"} if "flipped" in rows else {})
    keys = [name for name in rows.columns if name not in ("level", *pooled) and rows[name].notna().any()]
    return rows.groupby(keys, observed=True, sort=False).agg(pooled).reset_index()


def accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of scores as rows of right (1) and wrong (0) decisions, variant "accuracy"."""
    rows = softmax_scores(rows)
    right = (rows["value"] >= 0.5) == (rows["label"] == "synthetic")
    return _renamed(rows, "accuracy", right)


def flips(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of scores of changed images as rows of flipped (1) and kept (0) decisions, variant "flipped".

    A decision is flipped where it is not that on the clean image.
    """
    rows = softmax_scores(rows)
    clean = rows["correct"].to_numpy(bool) == (rows["label"] == "synthetic").to_numpy()
    return _renamed(rows, "flipped", (rows["value"] >= 0.5) != clean)


def with_flips(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of changed images with a column ``flipped``: is the decision another one than on the clean image?

    The scores tell, also for the maps of the same changed image. Rows without any scores come back as they are.
    """
    decided = flips(rows)
    if decided.empty:
        return rows
    # A map guides the change of a region, so that each salience method has its own changed images.
    region = rows["region"].astype(str)
    guide = rows["salience"].astype(object).where(region != "", "")
    keys = [rows[name] for name in ("detector", "regime", "run", "image", "level")] + [region, guide]
    image = pd.DataFrame({number: pd.factorize(key)[0] for number, key in enumerate(keys)}, rows.index)
    image = image.groupby(list(image)).ngroup()
    return rows.assign(flipped=image.isin(image[decided.index[decided["value"] == 1]]))


def softmax_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """The tidy rows that hold P(synthetic), variant "score"; those of the published sigmoid are left out."""
    return rows[rows["variant"] == "score"]


def _renamed(rows: pd.DataFrame, variant: str, value: pd.Series) -> pd.DataFrame:
    return rows.assign(variant=variant, value=value.astype(float).where(rows["value"].notna()))
