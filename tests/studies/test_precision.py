"""The study of bfloat16: changes and spreads of a small table, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from studies import precision

ROLES = {"guided": "cyborg", "traditional": "cross_entropy"}


def rows(values):
    """Values by (regime, run) of two images, of one measure."""
    frames = [
        pd.DataFrame({"regime": regime, "run": run, "image": ["a", "b"], "value": two})
        for (regime, run), two in values.items()
    ]
    constant = {"measure": "noise", "salience": "CAM", "variant": "ssim", "region": "", "source": "orl", "level": ""}
    table = pd.concat(frames, ignore_index=True).assign(**constant, target="", run_other=-1)
    return table[[*precision.ONE, "value"]]


def test_changes_of_values_and_of_runs_beside_the_spread_between_runs():
    single = {
        ("cyborg", 0): [0.5, 0.7],
        ("cyborg", 1): [0.9, 0.9],  # no bfloat16: counts in the spread only
        ("cross_entropy", 0): [0.2, 0.4],
        ("cross_entropy", 1): [0.2, 0.2],
    }
    half = {("cyborg", 0): [0.51, 0.69], ("cross_entropy", 0): [0.24, 0.4]}
    (row,) = precision.compared(rows(single), rows(half), ROLES).to_dict("records")
    assert (row["measure"], row["variant"], row["images"]) == ("noise", "ssim", 4)
    assert row["mean"] == pytest.approx(0.45)
    assert row["change"] == pytest.approx(0.06 / 4)
    assert row["largest"] == pytest.approx(0.04)
    assert row["run_change"] == pytest.approx(0.02)
    # Means of runs .6 and .9, and .3 and .2: variances .045 and .005.
    assert row["spread"] == pytest.approx(0.025**0.5)
    assert row["share"] == pytest.approx(0.02 / 0.025**0.5)
    assert (row["difference"], row["difference_half"]) == pytest.approx((0.3, 0.28))


def test_a_dead_map_has_no_change_and_a_value_twice_is_refused():
    single, half = rows({("cyborg", 0): [0.5, np.nan]}), rows({("cyborg", 0): [0.6, 0.3]})
    other = rows({("cross_entropy", 0): [0.1, 0.1]})
    (row,) = precision.compared(pd.concat([single, other]), pd.concat([half, other]), ROLES).to_dict("records")
    assert row["images"] == 3
    assert row["change"] == pytest.approx(0.1 / 3)
    with pytest.raises(pd.errors.MergeError):
        precision.compared(pd.concat([single, single, other]), pd.concat([half, other]), ROLES)
