"""The grids of numbers: each cell is written, and a sum is written out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from e2m.pages import by_hand, training


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_every_cell_has_its_number():
    whole, shares = np.array([[1, -2], [30, 0]]), np.array([[0.0, 0.25], [0.5, 1.0]])
    figure = by_hand.grids({"whole": whole, "shares": shares})
    written = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert written == [["1", "-2", "30", "0"], [".00", ".25", ".50", "1.00"]]


def test_four_grids_take_two_rows():
    figure = by_hand.grids({name: np.eye(2) for name in "abcd"})
    assert len(figure.axes) == 6
    assert [bool(ax.images) for ax in figure.axes] == [True] * 4 + [False] * 2


def test_a_sum_is_written_out():
    features = np.arange(8).reshape(2, 2, 2)
    assert by_hand.sentence(np.array([2, -1]), features, 0, 1) == "2 · 1 + (-1) · 5 = -3"


def test_what_runs_reached():
    curves = pd.DataFrame({"run": [0, 0, 1], "kept": [False, True, True], "validation_accuracy": [0.99, 0.8, 0.9]})
    assert training.reached(curves) == "The 2 finished runs reach a validation accuracy of 0.80 to 0.90."
    assert training.reached(curves[curves["run"] == 1]) == "The one finished run reaches a validation accuracy of 0.90."
