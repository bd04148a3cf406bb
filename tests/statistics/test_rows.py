import numpy as np
import pandas as pd

from e2m import statistics
from e2m.statistics import summarise
from tests.statistics.made import tidy


def test_mean_over_levels_by_hand():
    rows = pd.DataFrame(
        {"run": 0, "image": list("aab"), "level": list("xyx"), "value": [1.0, 2.0, np.nan], "target": None}
    )
    result = statistics.over_levels(rows)
    assert result.columns.tolist() == ["run", "image", "value"]
    np.testing.assert_array_equal(result["value"], [1.5, np.nan])


def test_rows_that_lack_a_column_of_others_keep_their_mean():
    """Rows of different measures in one frame: a pair of runs has another run, a single run has none."""
    rows = pd.DataFrame({"run": [0, 0, 1, 1], "run_other": [1, 1, None, None], "level": [*"xyxy"], "value": range(4)})
    result = statistics.over_levels(rows)
    assert result.columns.tolist() == ["run", "run_other", "value"]
    np.testing.assert_array_equal(result.to_numpy(float), [[0, 1, 0.5], [1, np.nan, 2.5]])


def test_all_images_and_those_classified_rightly():
    rows = tidy(np.array([[1.0, 2.0, 3.0]] * 2), measure="m", correct=[True, False, True, True, False, False])
    result = summarise(statistics.by_decision(rows), ["measure", "decision"])
    assert result[["decision", "mean", "images", "missing"]].to_numpy().tolist() == [
        ["all", 2.0, 3, 0],
        ["right", 5 / 3, 2, 1],
    ]


def test_accuracies_by_hand(score_rows):
    rows = score_rows.head(3).assign(value=[0.4, 0.6, np.nan], label=["authentic", "synthetic", "synthetic"])
    result = statistics.accuracies(rows.assign(region="salient"))
    assert result[["variant", "region"]].to_numpy().tolist() == [["accuracy", "salient"]] * 3
    np.testing.assert_array_equal(result["value"], [1, 1, np.nan])


def test_flips_by_hand(score_rows):
    rows = score_rows.head(4).assign(
        value=[0.9, 0.9, 0.1, 0.1], label=["synthetic"] * 4, correct=[True, False, True, False]
    )
    assert statistics.flips(rows)["value"].tolist() == [0, 1, 1, 0]


def test_a_detector_that_cannot_tell_changes_no_decision(score_rows):
    """Both logits are equal, so that P is exactly one half: the class is the first, authentic, before and after."""
    rows = score_rows.head(2).assign(value=0.5, label=["authentic", "synthetic"], correct=[True, False])
    assert statistics.flips(rows)["value"].tolist() == [0, 0]
    assert statistics.accuracies(rows)["value"].tolist() == [1, 0]
    assert statistics.accuracy_changes(rows)["value"].tolist() == [0, 0]


def test_flips_of_maps_by_hand(score_rows):
    """One image under two levels, of which one flips the decision; blur is guided by a map, and has a region."""
    row = {"detector": "d", "regime": "cyborg", "run": 0, "image": "a", "label": "synthetic", "correct": True}
    cases = [  # level, salience, variant, region, value, flipped
        ("low", "", "score", "", 0.9, False),
        ("low", "", "score_sigmoid", "", 0.1, False),
        ("low", "CAM", "ssim", "", 0.5, False),
        ("high", "", "score", "", 0.1, True),
        ("high", "CAM", "ssim", "", 0.5, True),
        ("high", "CAM", "ssim_valid", "", np.nan, True),
        ("high", "CAM", "score", "salient", 0.9, False),
        ("high", "CAM", "ssim", "salient", 0.5, False),
        ("high", "GradCAM", "score", "salient", 0.1, True),
        ("high", "GradCAM", "ssim", "salient", 0.5, True),
        ("high", "GradCAM", "ssim", "background", 0.5, False),
    ]
    columns = ["level", "salience", "variant", "region", "value", "expected"]
    rows = pd.DataFrame(cases, columns=columns).assign(**row)
    expected = rows.pop("expected").tolist()
    for kind in (str, "category"):
        result = statistics.with_flips(rows.astype(dict.fromkeys(("variant", "region", "salience", "level"), kind)))
        assert result["flipped"].tolist() == expected
    pooled = statistics.over_levels(result[(result["variant"] == "ssim") & (result["region"] == "")])
    assert pooled[["value", "flipped"]].to_numpy().tolist() == [[0.5, 1]]
    table = summarise(result, ["variant", "region", "salience", "level"])
    assert table["flipped"].tolist() == expected
    assert summarise(pooled.assign(value=1, flipped=3), ["variant"])["flipped"].tolist() == [3]
    maps = rows[rows["variant"].str.startswith("ssim")]
    assert statistics.with_flips(maps) is maps


def test_other_rows_are_no_scores(score_rows):
    others = pd.concat([score_rows.assign(variant=name) for name in ("ssim", "score_sigmoid")])
    assert statistics.softmax_scores(others).empty
    assert len(statistics.softmax_scores(pd.concat([others, score_rows]))) == len(score_rows)
