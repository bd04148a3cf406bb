"""Average maps: by hand, and as the figure shows them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from e2m.experiment.results import Experiment
from e2m.pages import average, figures
from e2m.pages.average import Averages

HUMAN = np.array([[0.0, 0.5], [1.0, 0.25]])


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def row(title, *maps, human=HUMAN):
    return Averages(title, np.array(maps, float), human, images=3, missing=1)


def test_the_mean_leaves_out_dead_maps():
    maps = np.array([[[[0, 1], [0.5, 0]], [[np.nan] * 2] * 2, [[1, 0], [0.5, 0.5]]], [[[np.nan] * 2] * 2] * 3])
    silent = np.array([[False, True, False], [True] * 3])
    mean = average.mean_maps(maps, silent)
    np.testing.assert_allclose(mean[0], [[0.5, 0.5], [0.5, 0.25]])
    assert np.isnan(mean[1]).all()


def test_agreement_is_pearsons_correlation():
    maps = np.array([HUMAN * 0.3 + 0.1, 1 - HUMAN, [[0.2, 0.9], [0.3, 0.3]], [[0.5] * 2] * 2])
    agreement = row("x", *maps).agreement(maps)
    expected = np.corrcoef(maps[2].ravel(), HUMAN.ravel())[0, 1]
    np.testing.assert_allclose(agreement[:3], [1, -1, expected])
    assert np.isnan(agreement[3])
    assert np.isnan(row("x", *maps, human=np.full((2, 2), np.nan)).agreement(maps)).all()


def test_the_table_counts_runs_and_their_agreement():
    one, other = HUMAN * 0.5, 1 - HUMAN
    table = average.table([row("guided", one, one, other), row("control", one)]).set_index("regime")
    assert table["runs"].tolist() == [3, 1]
    np.testing.assert_allclose(table.loc["guided", ["mean", "lowest", "highest"]].tolist(), [1 / 3, -1, 1])
    assert table.loc["guided", "between runs"] == pytest.approx((1 - 1 - 1) / 3)
    assert np.isnan(table.loc["control", "between runs"])
    assert (table["missing"] == 1).all()


def test_every_image_of_every_source_counts_once(monkeypatch):
    experiment = Experiment.load("smoke", controls={"fixed_map": 1})
    stacks = {"orl": [0.0, 0.2], "swap": [0.4], "morph": [0.8], "eigenface": [1.0], "dcgan": [np.nan]}
    ramp = np.linspace(0, 0.1, 4).reshape(2, 2)
    asked = []

    def maps(self, detector, regime, method, source):
        asked.append((detector, method, regime, self.runs))
        stack = np.stack([[ramp + level + run / 100 for level in stacks[source]] for run in range(self.runs)])
        return xr.Dataset({"salience": (("run", "image", "y", "x"), stack)})

    monkeypatch.setattr(Experiment, "maps", maps)
    monkeypatch.setattr(Experiment, "annotated", {"orl"})
    monkeypatch.setattr(average, "mean_human", lambda _, sources, shape: np.full(shape, len(sources)))
    rows = average.averages(experiment, "demo_cnn", "CAM")
    assert [(line.title, len(line.runs)) for line in rows] == [
        ("cross-entropy", 2),
        ("CYBORG", 2),
        ("one fixed map", 1),
    ]
    np.testing.assert_allclose(rows[0].runs, [ramp + 0.48, ramp + 0.49])
    np.testing.assert_allclose(rows[0].mean, ramp + 0.485)
    assert (rows[0].images, rows[0].missing) == (6, 2)
    assert rows[0].human.tolist() == [[1, 1], [1, 1]]
    assert set(asked) == {
        ("demo_cnn", "CAM", regime, runs) for regime, runs in (("cross_entropy", 2), ("cyborg", 2), ("fixed_map", 1))
    }
    (line, *_) = average.averages(experiment, "demo_cnn", "CAM", ["swap"], "{regime}, synthetic")
    assert (line.title, line.images) == ("cross-entropy, synthetic", 1)
    assert line.human.tolist() == [[0, 0], [0, 0]]


def test_the_mean_human_map_is_that_of_its_sources():
    experiment = Experiment.load("smoke")
    names = experiment.samples.query("source == 'orl'")["image"]
    mean = average.mean_human(experiment, ["orl"], (7, 7))
    np.testing.assert_allclose(mean, experiment.human(names, (7, 7)).mean(axis=0))
    assert 0 <= mean.min() < mean.max() <= 1
    assert np.isnan(average.mean_human(experiment, [], (7, 7))).all()


def test_images_without_a_human_map_are_in_no_mean(monkeypatch):
    """Three images of one source, of which two have a map: the mean is that of the two."""
    samples = pd.DataFrame({"image": list("abc"), "source": "orl", "salience": ["a.png", "", "c.png"]})
    maps = {"a": np.full((2, 2), 0.8), "b": np.zeros((2, 2)), "c": np.full((2, 2), 0.4)}
    monkeypatch.setattr(Experiment, "samples", samples)
    monkeypatch.setattr(Experiment, "human", lambda _, names, shape: np.stack([maps[name] for name in names]))
    mean = average.mean_human(Experiment.load("smoke"), ["orl"], (2, 2))
    np.testing.assert_allclose(mean, np.full((2, 2), 0.6))


def test_the_figure_shows_every_run_the_mean_and_the_human_map_on_one_scale():
    one, other = HUMAN * 0.5, (1 - HUMAN) * 0.5
    rows = [row("guided", one, other, one), row("plain", other, other, other), row("first", one), row("second", other)]
    figure = figures.average_maps(rows)
    axes = np.array(figure.axes[:-1]).reshape(3, 5)  # the last is the colour bar
    shown = [[ax.images[0].get_array().data.tolist() if ax.images else None for ax in line] for line in axes]
    assert shown[0] == [one.tolist(), other.tolist(), one.tolist(), rows[0].mean.tolist(), HUMAN.tolist()]
    assert shown[2] == [one.tolist(), other.tolist(), None, None, HUMAN.tolist()]
    assert {ax.images[0].get_clim() for ax in axes.flat if ax.images} == {(0.0, 1.0)}
    assert [ax.get_xlabel() for ax in axes[0]] == ["1.00", "-1.00", "1.00", "1.00", ""]
    assert [ax.get_title() for ax in axes[0]] == ["run 0", "run 1", "run 2", "mean", "human"]
    assert [ax.get_title() for ax in axes[2]] == ["first", "second", "", "", "human"]
    assert figure.axes[-1].get_ylabel() == "mean salience"
