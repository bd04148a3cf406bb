"""The study of pilots: its simulations, the halves of a profile, and the tables at hand."""

from importlib import import_module
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from e2m.store import studies
from e2m.store.paths import CHECKOUT


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT))
    module = import_module("studies.pilot")
    monkeypatch.setattr(module, "THERE", dict.fromkeys(module.THERE, 240))
    monkeypatch.setattr(module, "RESAMPLES", 50)
    return module


@pytest.mark.parametrize("number", range(6))
def test_a_simulation_takes_no_more_images_than_there_are(study, number):
    row = study._row(3, 0, *study.SETTINGS[number])
    assert len(study.SETTINGS) == 6
    assert 20 <= row["least"] <= row["images"] <= row["most"] <= row["there"] == 240
    assert 0 <= row["coverage"] <= 1
    assert 0.8 < row["ratio"] < 1.5
    assert row == study._row(3, 0, *study.SETTINGS[number])


def test_runs_that_dominate_need_fewer_images(study):
    few, many = (study._row(5, 0, "difference", f"{what} dominate")["images"] for what in ("runs", "images"))
    assert few < many


def test_halves_share_no_run_and_no_image(study):
    images = [f"i{number}" for number in range(7)]
    experiment = SimpleNamespace(samples=pd.DataFrame({"image": images, "draw": [3, 0, 6, 1, 2, 5, 4]}))
    rows = pd.DataFrame(
        [(first, other, image) for first, other in combinations(range(4), 2) for image in images],
        columns=["run", "run_other", "image"],
    )
    second = study._second_half(experiment, rows["image"])
    assert set(rows.loc[~second, "image"]) == {"i1", "i3", "i4"}
    early, late = (study._part(rows, second, 2, side) for side in (False, True))
    assert set(map(tuple, early[["run", "run_other"]].to_numpy())) == {(0, 1)}
    assert set(map(tuple, late[["run", "run_other"]].to_numpy())) == {(2, 3)}
    assert not set(early["image"]) & set(late["image"])
    assert study._part(rows, second, 2, None) is rows


def test_the_studies_at_hand_are_complete(study):
    rows, about = studies.load("pilot")
    assert list(zip(rows["statistic"], rows["setting"], strict=True)) == study.SETTINGS
    assert int(about["replications"]) == rows["replications"].iloc[0]
    assert rows["coverage"].between(0.92, 0.985).all()
    # With as many images as the pilot says, intervals are as long as with all, within 10 %: unless residuals dominate.
    assert (rows.loc[rows["setting"] != "residuals dominate", "ratio"] < 1.1).all()
    assert rows["ratio"].max() < 1.2
    halved, about = studies.load("halving")
    halves = halved[halved["kind"] == "halving"]
    assert np.isfinite(halves[["foretold", "observed"]]).all(axis=None)
    assert 0.5 < (halves["foretold"] / halves["observed"]).median() < 2
    paper = halved[halved["kind"] == "paper"].set_index("row")
    assert set(paper.index) >= {"scores", "entropy", "stability", "noise", "transformations", "degradation", "all"}
    assert (paper["passes"] <= paper["passes_all"]).all()
    assert set(halved[halved["kind"] == "quantity"]["measure"]) == set(paper.index) - {"all"}
