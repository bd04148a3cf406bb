"""Controls from images to the table of their page: their answers are known beforehand."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

import e2m.datasets
from e2m.detectors import load_detector
from e2m.experiment import explain
from e2m.experiment.controls import explain_controls, results
from e2m.experiment.results import Experiment
from e2m.measures.entropy import spatial_entropy
from e2m.networks.checkpoints import CHECKPOINT_FORMAT
from e2m.pages import controls
from e2m.store import paths
from e2m.training import loop

DATA = """
import pandas as pd

def load():
    return pd.read_parquet({path!r})
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory, photographs, regions):
    """A profile on six pictures a class, composites with true regions, its controls made; and their table."""
    root = tmp_path_factory.mktemp("controls")
    rows = []
    for source, label in (("real", "authentic"), ("swap", "synthetic")):
        for number, (image, region) in enumerate(zip(photographs, regions, strict=True)):
            name = f"{source}-{number}"
            Image.fromarray(image // (1 + (label == "synthetic"))).save(root / f"{name}.png")
            Image.fromarray(region.astype(np.uint8) * 255).save(root / f"{name}-region.png")
            path = str(root / f"{name}-region.png") if label == "synthetic" else ""
            rows.append((name, str(root / f"{name}.png"), label, source, "test", name, "", path))
    columns = ["image", "path", "label", "source", "split", "subject", "salience", "region"]
    pd.DataFrame(rows, columns=columns).to_parquet(root / "list.parquet")
    (root / "toyfaces.py").write_text(DATA.format(path=str(root / "list.parquet")))
    measures = {
        "noise": {"amounts": [0.1], "seed": 0, "images_per_source": 5},
        "transformations": {"names": ["flip_left_right", "shift_up"], "images_per_source": 5},
        "degradation": {"max_sigmas": [10.0], "regions": ["salient", "background"], "images_per_source": 5},
    }
    changed = {"dataset": "toyfaces", "sources": ["real", "swap"], "in_set": ["real", "swap"], "runs": 1}
    changed |= {
        "controls": {"shuffled_labels": 1},
        "measures": measures,
        "resamples": 100,
        "batch_size": 4,
        "masker": None,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(e2m.datasets, "__path__", [*e2m.datasets.__path__, str(root)])
        patch.setattr(paths, "RESULTS", root / "results")
        experiment = Experiment.load("smoke", **changed)
        for one in (*experiment.trained, *experiment.controlled):
            explain.explain(experiment, one, progress=False, detector=stand_in(experiment, one))
        explain_controls(experiment, "demo_cnn")
        yield experiment, controls.table(experiment)


def stand_in(experiment, one):
    """What a training would leave behind: a checkpoint, here of fresh weights; and the detector."""
    detector = load_detector(one.detector, seed=one.run + 10 * len(one.regime), device="cpu")
    weights = detector.model.state_dict()
    loop.save({"format": CHECKPOINT_FORMAT, "detector": one.detector, "weights": weights}, experiment.checkpoint(one))
    return detector


def test_everything_promised_is_written(measured):
    experiment, _ = measured
    files = results(experiment, "demo_cnn")
    assert len(files) == len(set(files))
    assert all(path.is_file() for path in files)


def value(table, control, measure, variant, source="swap", level="", salience=None, region=""):
    subset = table[(table["control"] == control) & (table["measure"] == measure) & (table["variant"] == variant)]
    subset = subset[(subset["source"] == source) & (subset["level"] == level) & (subset["region"] == region)]
    (result,) = (subset if salience is None else subset[subset["salience"] == salience]).to_dict("records")
    return result


def test_floors_and_ceilings(measured):
    _, table = measured
    for name in ("fixed", "centre", "oracle"):
        assert value(table, name, "noise", "ssim", level="0.1")["mean"] == pytest.approx(1)
        assert value(table, name, "stability", "ssim")["mean"] == pytest.approx(1)
    assert value(table, "random", "noise", "ssim", level="0.1")["mean"] < 0.4
    assert value(table, "random", "stability", "ssim")["mean"] < 0.4
    assert value(table, "oracle", "localisation", "pointing")["mean"] == 1
    assert value(table, "oracle", "transformations", "ssim", level="flip_left_right")["mean"] > 0.99
    assert value(table, "oracle", "transformations", "ssim", level="all")["mean"] > 0.8


def test_images_without_a_region_are_counted(measured):
    _, table = measured
    for measure, variant, level, images in (("entropy", "spatial", "", 6), ("noise", "ssim", "0.1", 5)):
        result = value(table, "oracle", measure, variant, source="real", level=level)
        assert np.isnan(result["mean"])
        assert result["missing"] == images
        assert result["note"] == "no true region is known"
        assert value(table, "oracle", measure, variant, level=level)["missing"] == 0


def test_a_single_run_has_no_stability(measured):
    _, table = measured
    result = value(table, "shuffled_labels", "stability", "ssim", salience="CAM")
    assert np.isnan(result["mean"])
    assert result["note"] == "1 run: nothing to compare it with"
    assert np.isfinite(value(table, "random_weights", "stability", "ssim", salience="CAM")["mean"])


def test_the_profile_may_train_no_controls(measured):
    experiment, table = measured
    without = controls.table(replace(experiment, controls={}, measures={}))
    assert set(table["control"]) - set(without["control"]) == {"shuffled_labels"}


def test_scores_beside_known_maps_are_the_trained_detectors(measured):
    _, table = measured
    salient = partial(value, table, measure="degradation", region="salient")
    clean = [salient(control=name, variant="score", level="0")["mean"] for name in ("oracle", "centre")]
    assert clean[0] == clean[1]
    after = salient(control="oracle", variant="score", level="10")["mean"]
    assert salient(control="oracle", variant="change", level="10")["mean"] == pytest.approx(after - clean[0])
    assert not ((table["control"] == "centre") & (table["measure"] == "noise") & (table["variant"] != "ssim")).any()


def test_intervals_of_one_run_are_over_images(measured):
    experiment, table = measured
    result = value(table, "edges", "entropy", "spatial")
    maps = experiment.salience([f"swap-{number}" for number in range(6)], "demo_cnn", "known", "edges")
    values = spatial_entropy(maps)
    assert result["mean"] == pytest.approx(values.mean())
    expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    # The bootstrap has 100 resamples here.
    assert result["high"] - result["low"] == pytest.approx(expected[1] - expected[0], rel=0.3)
    assert (result["note"], result["kind"], result["status"]) == ("1 run: interval over images alone", "", "estimated")
    assert (table.loc[table["control"].isin(["edges", "oracle", "random_weights"]), "runs"] == 1).all()


def test_the_cascade_of_a_profile(measured):
    experiment, _ = measured
    result = controls.cascade(experiment).set_index(["regime", "salience", "source", "variant", "level"])["mean"]
    assert controls.layers(experiment, "demo_cnn")[0] == "classifier"
    for regime in experiment.regimes:
        assert result[regime, "CAM", "swap", "ssim", "0"] == pytest.approx(1)
        assert result[regime, "CAM", "swap", "rank_correlation", "0"] == pytest.approx(1)
        assert abs(result[regime, "CAM", "swap", "ssim", "7"]) < 0.9


def test_reference_lines_and_headlines(measured):
    experiment, table = measured
    lines = controls.marks(table, "noise", ["fixed", "random"], variant="ssim")
    assert lines["label"].tolist() == ["random maps", "one arbitrary map"]
    assert lines.set_index("label")["value"]["one arbitrary map"] == pytest.approx(1)
    shown = controls.headlines(table, "CAM", "swap", {"noise": 0.1})
    assert shown["row"].iloc[0] == "(a) grey-level entropy, swap"
    assert not shown.duplicated(["row", "control"]).any()
    ends = controls.extremes(shown, experiment.regimes).set_index("quantity")
    assert ends.loc["(d) SSIM between runs, swap", "ceiling"] == "1.00: true region, centre, one arbitrary map, edges"
