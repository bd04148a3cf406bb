"""What the pages of training regimes say of their runs."""

from __future__ import annotations

import pandas as pd


def reached(curves: pd.DataFrame) -> str:
    """The validation accuracy of the epochs that were kept, in a sentence.

    Args:
        curves: run, kept and validation_accuracy of every epoch.
    """
    best = curves.loc[curves["kept"], "validation_accuracy"]
    if len(best) == 1:
        return f"The one finished run reaches a validation accuracy of {best.iloc[0]:.2f}."
    return f"The {len(best)} finished runs reach a validation accuracy of {best.min():.2f} to {best.max():.2f}."
