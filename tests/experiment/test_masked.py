"""Maskers in a profile: trained for a detector, explained beside the other methods, shown where they are asked for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m.experiment import explain, train
from e2m.experiment.results import Experiment, ModelKey
from e2m.store import paths
from e2m.types import MASKER, InputError

ONE = ModelKey("demo_cnn", "cross_entropy", 0)
MASKERS = {"regimes": ["cross_entropy"], "runs": 1, "epochs": 1, "batch_size": 4, "channels": 8}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, one_thread):
    """A profile of one detector on small pictures, trained, with its masker, and explained."""
    root = tmp_path_factory.mktemp("faces")
    random, rows = np.random.default_rng(0), []
    for number in range(24):
        label = ("authentic", "synthetic")[number % 2]
        pixels = random.integers(0, 120, (32, 32, 3), np.uint8) + np.uint8(120 * (number % 2))
        path = root / f"{number}.png"
        Image.fromarray(pixels).save(path)
        rows.append((path.name, label, label, ("train", "train", "validate", "test")[number // 2 % 4]))
    pd.DataFrame(rows, columns=["path", "label", "source", "split"]).to_csv(root / "images.csv", index=False)
    loaded = Experiment.load(
        "demo",
        dataset="folder",
        dataset_options={"root": str(root), "csv": str(root / "images.csv")},
        sources=["authentic", "synthetic"],
        in_set=["authentic", "synthetic"],
        detectors=["demo_cnn"],
        regimes=["cross_entropy"],
        guided=None,
        controls={},
        study={},
        runs=1,
        methods=["CAM"],
        training={"epochs": 1, "batch_size": 4},
        masker=MASKERS,
        measures={"noise": {"amounts": [0.5], "images_per_source": 2}},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", tmp_path_factory.mktemp("results"))
        train.train(loaded, ONE, progress=False)
        with pytest.raises(InputError, match=r"run-0\.masker\.pt: no checkpoint there; .*`e2m run train_masker`"):
            explain.explain(loaded, ONE, progress=False)
        curves, path = train.train_masker(loaded, ONE, progress=False)
        assert len(curves) == 1
        assert path == loaded.masker_file(ONE)
        explain.explain(loaded, ONE, progress=False)
        yield loaded


def test_files(experiment):
    assert experiment.methods_of(ONE) == ["CAM", MASKER]
    assert experiment.methods_of(replace(ONE, regime="cyborg")) == ["CAM"]
    assert experiment.methods_of(replace(ONE, run=1)) == ["CAM"]
    assert (experiment.runs_of("cyborg", "CAM"), experiment.runs_of("cyborg", MASKER)) == (range(1), range(1))
    more = replace(experiment, runs=3)
    assert (more.runs_of("cyborg", "CAM"), more.runs_of("cyborg", MASKER)) == (range(3), range(1))
    files = experiment.results(ONE)
    assert all(path.is_file() for path in files)
    assert [path.name for path in files if MASKER in path.name] == ["masker-authentic.nc", "masker-synthetic.nc"]


def test_masks_are_shown_where_they_are_asked_for(experiment):
    masked = experiment.masked
    assert masked.methods == ["CAM", MASKER]
    shapes = {names["salience"]: maps["salience"].shape for names, maps in masked.each()}
    assert shapes == {"CAM": (1, 3, 7, 7), MASKER: (1, 3, 28, 28)}
    for measure in ("entropy", "noise"):
        alone, both = ({*one.rows(measure)["salience"]} - {""} for one in (experiment, masked))
        assert (alone, both) == ({"CAM"}, {"CAM", MASKER}), measure
    assert masked.results(ONE) == experiment.results(ONE)
    assert masked.detector("demo_cnn", "cross_entropy", 0).masker == experiment.masker_file(ONE)
    assert experiment.detector("demo_cnn", "cross_entropy", 0).masker is None


def test_a_profile_without_maskers(experiment):
    none = replace(experiment, masker=None)
    assert none.masked is none
    assert none.methods_of(ONE) == ["CAM"]
    with pytest.raises(InputError, match="profile demo: the method 'masker' arrived, and masker is null"):
        none.runs_of("cyborg", MASKER)


def test_regimes_without_maskers_stay_beside_those_that_have_some(experiment, monkeypatch):
    both = replace(experiment, regimes=["cross_entropy", "cyborg"]).masked
    assert (both.regimes_of("CAM"), both.regimes_of(MASKER)) == (["cross_entropy", "cyborg"], ["cross_entropy"])
    monkeypatch.setattr(type(both), "maps", lambda *asked: asked[2:4])
    assert {asked for _, asked in both.each()} == {
        ("cross_entropy", "CAM"),
        ("cyborg", "CAM"),
        ("cross_entropy", MASKER),
    }


def test_pairs_of_runs_leave_out_maskers_of_one_run(experiment, monkeypatch):
    """A profile of two runs with maskers for the first: CAM has one pair, and the masker none."""
    of_one = {
        method: experiment.masked.maps("demo_cnn", "cross_entropy", method, "synthetic") for method in ("CAM", MASKER)
    }
    two = replace(experiment, runs=2, sources=["synthetic"]).masked

    def maps(_self, _detector, _regime, method, _source):
        return of_one[method].isel(run=[0] * len(two.runs_of("cyborg", method)))

    monkeypatch.setattr(type(two), "maps", maps)
    pairs = two.pairs("stability")
    assert (set(pairs["salience"]), len(pairs)) == ({"CAM"}, of_one["CAM"].sizes["image"])
    with pytest.raises(InputError, match="stability compares runs and needs two runs or more; the maps hold 1"):
        replace(two, runs=1).pairs("stability")


def test_a_trial_does_not_stand_in_for_the_profiles_masker(experiment):
    before = experiment.masker_file(ONE).read_bytes()
    _, path = train.train_masker(experiment, ONE, progress=False, variation=0.0)
    assert path != experiment.masker_file(ONE)
    assert path.name.startswith("run-0-")
    assert path.name.endswith(".masker.pt")
    assert experiment.masker_file(ONE).read_bytes() == before
