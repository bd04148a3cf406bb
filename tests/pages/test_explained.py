"""Figures that explain measures: their numbers on maps with known answers, and what they show of stored rows."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from e2m.pages import explained


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(figure):
    return [text for ax in figure.axes for text in (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) if text]


def test_one_cell_holds_everything_and_even_cells_share():
    spot = np.zeros((7, 7), np.float32)
    spot[0, 0] = 1
    assert explained._concentrated(spot).startswith("half lies in 1 of 49 cells\nspatial entropy 0.00")
    even = np.ones((7, 7), np.float32)
    even[0, 0] = 0.99
    assert explained._concentrated(even).startswith("half lies in 25 of 49 cells\nspatial entropy 1.00")


def test_a_story_is_read_from_left_to_right():
    face = np.zeros((8, 8, 3), np.uint8)
    tile = explained.Tile
    figure = explained.story(
        {"CYBORG": [tile(face, "one face"), tile(face, "its map", "SSIM 0.5")], "other": [tile(face)]}, (7, 7)
    )
    scale = "salience, scaled for each map; maps of 7 × 7 cells, enlarged"
    assert words(figure) == ["one face", "CYBORG", "its map", "SSIM 0.5", "other", scale]
    assert [len(ax.images) for ax in figure.axes[:4]] == [1, 1, 1, 0]


@pytest.fixture
def experiment():
    """Two regimes of three runs: maps of the first agree in all runs, those of the second in none."""
    maps = np.random.default_rng(0).random((3, 7, 7)).astype(np.float32)

    def salience(names, detector, regime, method, run=0):
        return maps[None, 0 if regime == "cyborg" else run]

    return SimpleNamespace(
        roles={"traditional": "cross_entropy", "guided": "cyborg"},
        runs=3,
        comparators={"cross_entropy": 3, "shuffled_maps": 2, "fixed_map": 2},
        regimes_of=lambda method: ["cross_entropy", "cyborg"],
        runs_of=lambda regime, method: range(3),
        label=str.upper,
        salience=salience,
        images=lambda names: np.zeros((len(names), 56, 56, 3), np.uint8),
    )


def test_agreement_has_the_mean_of_all_pairs_beside_each_training(experiment):
    shown = words(explained.agreement(experiment, "net", "CAM", "face"))
    assert "CYBORG\nmean of 3 pairs\n1.00" in shown
    (traditional,) = [text for text in shown if text.startswith("cross-entropy")]
    assert traditional.startswith("cross-entropy\nmean of 3 pairs\n")
    assert float(traditional.split("\n")[-1]) < 0.5
    assert any(text.startswith("one fixed map\nmean of 1 pair\n") for text in shown)
    assert shown.count("SSIM 1.00") == 2


def test_the_most_and_the_least_concentrated_map_and_its_shuffled_cells(experiment):
    shown = words(explained.concentration(experiment, "net", "CAM", "face"))
    first, second, third = [text for text in shown if text.startswith("half lies")]
    assert first == third
    values = [float(text.split("\n")[1].removeprefix("spatial entropy ")) for text in (first, second)]
    assert values[0] <= values[1]


def test_a_value_is_that_of_one_row():
    rows = pd.DataFrame({"image": ["a", "b", "b"], "run": [0, 0, 1], "value": [0.1, 0.2, np.nan]})
    assert explained._value(rows, {"image": "b", "run": 0}) == 0.2
    assert np.isnan(explained._value(rows, {"image": "b", "run": 1}))
    with pytest.raises(ValueError, match="too many values"):
        explained._value(rows, {"image": "b"})
