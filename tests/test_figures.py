"""Figures: what they say in words and numbers, and that each draws what it is given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from e2m import figures, plugins


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def table():
    """Two regimes on two sources; one mean has no interval, one no mean."""
    return pd.DataFrame(
        {
            "regime": ["cross_entropy", "cyborg"] * 2,
            "source": ["orl", "orl", "swap", "swap"],
            "mean": [0.5, 0.25, 0.75, np.nan],
            "low": [0.4, 0.2, np.nan, np.nan],
            "high": [0.6, 0.3, np.nan, np.nan],
            "missing": [1, 2, 0, 5],
        }
    )


def test_every_regime_has_a_colour_and_a_name_of_its_own():
    style = figures.regime_style([*plugins.names("regime"), "human"])
    for part in zip(*style.values(), strict=True):
        assert len(set(part)) == len(style)


def test_points_and_intervals_are_drawn_where_they_belong(table):
    place = figures.intervals(table, x="source", ylabel="value").axes[0]
    drawn = {container.get_label(): container for container in place.containers}
    assert list(drawn) == ["cross-entropy", "CYBORG"]
    np.testing.assert_allclose(np.asarray(drawn["cross-entropy"][0].get_ydata(), float), [0.5, 0.75])
    bars = drawn["cross-entropy"][2][0].get_segments()
    np.testing.assert_allclose([np.asarray(bar, float)[:, 1] for bar in bars], [[0.4, 0.6], [0.75, 0.75]])
    assert [label.get_text() for label in place.get_xticklabels()] == ["orl", "swap"]


def test_lines_are_ordered_by_number_not_by_text(table):
    levels = table.assign(level=["0.5", "0.5", "0.25", "0.25"])
    place = figures.intervals(levels, x="level", ylabel="value", numeric=True).axes[0]
    np.testing.assert_allclose(place.lines[0].get_xdata(), [0.25, 0.5])
    np.testing.assert_allclose(place.lines[0].get_ydata(), [0.75, 0.5])


def test_a_panel_a_value_and_a_row_a_detector(table):
    both = pd.concat([table.assign(detector=name) for name in ("first", "second")])
    axes = figures.intervals(both, x="source", ylabel="value", column="source", titles={"orl": "ORL"}).axes
    assert [place.get_title() for place in axes] == ["first: ORL", "first: swap", "second: ORL", "second: swap"]


def test_a_dead_map_leaves_the_image_grey():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    dead = figures.overlay(image, np.full((4, 4), np.nan))
    assert (dead[..., 0] == dead[..., 1]).all()
    alive = figures.overlay(image, np.linspace(0, 1, 16).reshape(4, 4))
    assert (alive[..., 0] != alive[..., 1]).any()


def test_an_interval_in_words():
    difference = pd.Series({"difference": -0.1, "low": -0.2, "high": 0.05, "note": ""})
    assert figures.in_words(difference) == "-0.10 [-0.20, +0.05]"
    unknown = pd.Series({"difference": 0.1, "low": np.nan, "high": np.nan, "note": "1 run: no interval over runs"})
    assert figures.in_words(unknown) == "+0.10 (1 run: no interval over runs)"


def test_a_table_for_reading(table):
    shown = figures.interval_table(table, rows=["source"]).data
    assert shown.loc[0, "cross_entropy"] == "0.500 [0.400, 0.600]"
    assert shown.loc[1, "cross_entropy"] == "0.750"
    assert shown.loc[1, "cyborg"] == "–"
    assert shown["missing"].tolist() == [3, 5]


def test_run_matrix_is_symmetric():
    pairs = pd.DataFrame({"regime": "cyborg", "run": [0, 0, 1], "run_other": [1, 2, 2], "value": [0.1, 0.2, 0.3]})
    cells = figures.run_matrix(pairs, "SSIM").axes[0].collections[0].get_array().filled(np.nan)
    np.testing.assert_allclose(cells, [[np.nan, 0.1, 0.2], [0.1, np.nan, 0.3], [0.2, 0.3, np.nan]])
