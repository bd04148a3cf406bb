"""Controls have answers known beforehand: every map, every measure and a whole run are checked against them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

import e2m.datasets
from e2m.detectors import load_detector
from e2m.experiment import controls, explain
from e2m.experiment.controls import Known
from e2m.experiment.results import Experiment
from e2m.measures import noise, transformations
from e2m.measures.entropy import spatial_entropy
from e2m.measures.stability import stability
from e2m.networks.checkpoints import CHECKPOINT_FORMAT
from e2m.networks.inputs import as_input
from e2m.pages import controls
from e2m.salience.engine import Explainer, explain
from e2m.salience.respond import respond
from e2m.store import paths

SHAPE = (7, 7)


@pytest.fixture(scope="module")
def photographs():
    """Six smooth pictures, (6, 112, 112, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((112, 112), Image.Resampling.BICUBIC)) for one in coarse])


@pytest.fixture(scope="module")
def regions():
    """An ellipse in each of six pictures, (6, 112, 112) bool."""
    rows, columns = np.ogrid[:112, :112]
    centres = [(47, 37), (47, 77), (69, 57), (89, 58), (40, 60), (70, 40)]
    return np.stack([((rows - r) / 14) ** 2 + ((columns - c) / 24) ** 2 <= 1 for r, c in centres])


# Maps


def test_the_oracle_is_how_much_of_a_cell_the_region_covers():
    region = np.zeros((1, 8, 8), bool)
    region[0, :4, :4] = True  # one cell of four
    region[0, 4:, :2] = True  # half of the one below
    np.testing.assert_allclose(controls.oracle(region, (2, 2)), [[[1, 0], [0.5, 0]]], atol=1e-6)


def test_cells_need_not_divide_the_image():
    region = np.zeros((1, 5, 5), bool)
    region[0, 0, 0] = True
    # Half of the second row and column belongs to the first cell: 1 of 2.5 x 2.5 pixels, the others empty.
    np.testing.assert_allclose(controls.oracle(region, (2, 2)), [[[1, 0], [0, 0]]], atol=1e-6)


@pytest.mark.parametrize("region", [np.zeros((1, 8, 8), bool), np.ones((1, 8, 8), bool)])
def test_without_a_known_region_there_is_no_oracle(region):
    assert np.isnan(controls.oracle(region, (2, 2))).all()


def test_the_centre_is_in_the_middle_of_every_map(photographs):
    maps = controls.centre(photographs, SHAPE)
    assert (maps == maps[0]).all()
    assert maps[0].argmax() == 24
    np.testing.assert_allclose(maps[0], maps[0].T, atol=1e-6)
    np.testing.assert_allclose(maps[0], maps[0, ::-1, ::-1], atol=1e-6)


def test_random_maps_belong_to_image_and_run(photographs):
    maps = controls.random(photographs, SHAPE)
    np.testing.assert_array_equal(controls.random(photographs[::-1][:2], SHAPE), maps[::-1][:2])
    assert (controls.random(photographs, SHAPE, run=1) != maps).any(axis=(1, 2)).all()
    assert len(np.unique(maps, axis=0)) == len(maps)


def test_the_entropy_of_uniform_cells_is_known():
    images = np.random.default_rng(0).integers(0, 256, (300, 2, 2, 3), np.uint8)
    # E[x log x] / E[x] - log E[x] = log 2 - 1/2 nats below an even spread, for x uniform in [0, 1].
    expected = 1 - (np.log(2) - 0.5) / np.log(49)
    assert abs(spatial_entropy(controls.random(images, SHAPE)).mean() - expected) < 0.01


def test_the_fixed_map_never_reads_the_image(photographs):
    maps = np.stack([controls.fixed(photographs, SHAPE, run) for run in range(2)])
    assert (maps == maps[0, 0]).all()


def test_edges_by_hand():
    image = np.zeros((1, 14, 14, 3), np.uint8)
    image[:, :, 7:] = 255  # an edge down the middle, between the third and the fourth of seven columns
    maps = controls.edges(image, SHAPE)
    assert maps.shape == (1, 7, 7)
    np.testing.assert_allclose(maps[0], np.tile([0, 0, 0, 1, 0, 0, 0], (7, 1)), atol=0.51)
    assert (maps[0, :, [2, 3, 4]].argmax(axis=0) == 1).all()
    assert np.isnan(controls.edges(np.full((1, 14, 14, 3), 90, np.uint8), SHAPE)).all()


def test_rank_correlation_is_spearmans(random):
    a, b = random.random((2, 4, 7, 7)).round(1)  # with ties
    expected = [stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(controls.rank_correlation(a, b), expected, atol=1e-12)
    b[0] = 0.5
    assert np.isnan(controls.rank_correlation(a, b)).tolist() == [True, False, False, False]


# What measures say of them


@pytest.fixture(scope="module")
def answers(toy, photographs, regions):
    """Rows of known maps under a measure's changes: ``answers(changes)``, mean similarity by control and level."""

    def ask(changes):
        with Explainer(toy()) as network:
            known = Known(network, regions)
            about = pd.DataFrame({"image": [str(number) for number in range(len(photographs))]})
            rows = respond(known, photographs, known(photographs), about, changes)
        rows = rows[(rows["target"] == "predicted") & (rows["variant"] == "ssim")]
        return rows.pivot_table(index="salience", columns="level", values="value")

    return ask


def test_noise(answers):
    found = answers(lambda images, maps: noise.perturbations(images, maps, [0.1, 0.5]))
    np.testing.assert_allclose(found.loc[["fixed", "centre", "oracle"]], 1)
    assert found.loc["random"].max() < 0.3
    assert (found.loc["random"] < found.loc["edges"]).all()
    assert found.loc["edges", "0.5"] < found.loc["edges", "0.1"] < 1


WHOLE, SHIFTS = ["flip_left_right", "rotate_left"], ["shift_left", "shift_down_right"]


def moved(images, maps):
    return transformations.perturbations(images, maps, [*WHOLE, *SHIFTS])


def moved_without_telling(images, maps):
    return (replace(change, move=lambda region: region) for change in moved(images, maps))


def test_the_oracle_moves_along(answers, regions):
    found, still = answers(moved).loc["oracle"], answers(moved_without_telling).loc["oracle"]
    assert found[WHOLE].min() > 0.99
    assert (still < found).all()
    ceiling = transformations.interpolation_ceiling(controls.oracle(regions, (8, 8)), 112)
    ceiling = ceiling[ceiling["variant"] == "whole"].groupby("transformation")["value"].mean()
    # Shares of cells are smoother than the points that the ceiling reads.
    assert (found[SHIFTS] > ceiling[SHIFTS] - 0.06).all()


def test_a_fixed_map_does_not_follow(answers):
    assert answers(moved).loc["fixed", WHOLE].max() < 0.6


def test_stability(photographs):
    between = {
        name: stability(np.stack([draw(photographs, SHAPE, run) for run in range(2)]))["value"]
        for name, draw in controls.MAPS.items()
    }
    for name in ("centre", "fixed", "edges"):
        np.testing.assert_allclose(between[name], 1, err_msg=name)
    assert abs(between["random"].mean()) < 0.2


# The cascade


def test_layers_from_the_top():
    names = controls.weighted_layers(load_detector("demo_cnn").model)
    assert names[0] == ["classifier"]
    assert names[1:] == [[f"features.{block}.0", f"features.{block}.1"] for block in range(5, -1, -1)]


@pytest.mark.parametrize(
    ("layers", "expected"), [(1, [0, 1]), (3, [0, 1, 2, 3]), (54, [0, 1, 9, 16, 24, 31, 39, 46, 54])]
)
def test_the_first_step_is_the_head_and_the_last_is_everything(layers, expected):
    assert controls.steps(layers) == expected


def test_the_cascade(toy, photographs):
    trained, untrained = toy(seed=0), toy(seed=1)
    with torch.no_grad():
        for module in trained.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean += 0.1
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    same, head, whole = controls.cascade(trained, untrained, [0, 1, 3])
    batch = as_input(photographs, trained)
    features = [one.model.features(batch) for one in (trained, same, head, whole, untrained)]
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])
    assert torch.equal(features[3], features[4])
    assert not torch.equal(features[0], features[3])
    for name, value in untrained.model.state_dict().items():
        assert torch.equal(whole.model.state_dict()[name], value), name
        assert torch.equal(trained.model.state_dict()[name], before[name]), name
    # With the features untouched, only the weights of the sum are new.
    raw = torch.einsum("k,nkhw->nhw", untrained.model.classifier.weight[1], features[0]).detach().numpy()
    low, high = raw.min(axis=(1, 2), keepdims=True), raw.max(axis=(1, 2), keepdims=True)
    found = explain(head, photographs, "CAM", target=1)
    np.testing.assert_allclose(found.maps, (raw - low) / (high - low), atol=1e-4)


# From images to the table

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
        "controls": ["shuffled_labels"],
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
        controls.explain_controls(experiment, "demo_cnn")
        yield experiment, controls.table(experiment)


def stand_in(experiment, one):
    """What a training would leave behind: a checkpoint, here of fresh weights; and the detector."""
    detector = load_detector(one.detector, seed=one.run + 10 * len(one.regime), device="cpu")
    path = experiment.checkpoint(one)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = detector.model.state_dict()
    torch.save({"format": CHECKPOINT_FORMAT, "detector": one.detector, "weights": weights}, path)
    return detector


def test_everything_promised_is_written(measured):
    experiment, _ = measured
    files = controls.results(experiment, "demo_cnn")
    assert len(files) == len(set(files))
    assert all(path.is_file() for path in files)


def value(table, control, measure, variant, source="swap", level="", salience=None):
    own = table[(table["control"] == control) & (table["measure"] == measure) & (table["variant"] == variant)]
    own = own[(own["source"] == source) & (own["level"] == level)]
    (found,) = (own if salience is None else own[own["salience"] == salience]).to_dict("records")
    return found


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
        found = value(table, "oracle", measure, variant, source="real", level=level)
        assert np.isnan(found["mean"])
        assert found["missing"] == images
        assert found["note"] == "no true region is known"
        assert value(table, "oracle", measure, variant, level=level)["missing"] == 0


def test_a_single_run_has_no_stability(measured):
    _, table = measured
    found = value(table, "shuffled_labels", "stability", "ssim", salience="CAM")
    assert np.isnan(found["mean"])
    assert found["note"] == "1 run: nothing to compare it with"
    assert np.isfinite(value(table, "random_weights", "stability", "ssim", salience="CAM")["mean"])


def test_the_profile_may_train_no_controls(measured):
    experiment, table = measured
    without = controls.table(replace(experiment, controls=[], measures={}))
    assert set(table["control"]) - set(without["control"]) == {"shuffled_labels"}


def test_scores_beside_known_maps_are_the_trained_detectors(measured):
    _, table = measured
    clean = [value(table, name, "degradation", "score_salient", level="0")["mean"] for name in ("oracle", "centre")]
    assert clean[0] == clean[1]
    after = value(table, "oracle", "degradation", "score_salient", level="10")["mean"]
    assert value(table, "oracle", "degradation", "change_salient", level="10")["mean"] == pytest.approx(
        after - clean[0]
    )
    assert not ((table["control"] == "centre") & (table["measure"] == "noise") & (table["variant"] != "ssim")).any()


def test_intervals_of_one_run_are_over_images(measured):
    experiment, table = measured
    found = value(table, "edges", "entropy", "spatial")
    maps = controls.edges(experiment.images([f"swap-{number}" for number in range(6)]), SHAPE)
    values = spatial_entropy(maps)
    assert found["mean"] == pytest.approx(values.mean())
    expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    # The bootstrap has 100 resamples here.
    assert found["high"] - found["low"] == pytest.approx(expected[1] - expected[0], rel=0.3)
    assert found["note"] == "1 run: interval over images alone"


def test_the_cascade_of_a_profile(measured):
    experiment, _ = measured
    found = controls.cascade(experiment).set_index(["regime", "salience", "source", "variant", "level"])["mean"]
    assert controls.layers(experiment, "demo_cnn")[0] == "classifier"
    for regime in experiment.regimes:
        assert found[regime, "CAM", "swap", "ssim", "0"] == pytest.approx(1)
        assert found[regime, "CAM", "swap", "rank_correlation", "0"] == pytest.approx(1)
        assert abs(found[regime, "CAM", "swap", "ssim", "7"]) < 0.9


def test_reference_lines_and_headlines(measured):
    experiment, table = measured
    lines = controls.marks(table, "noise", ["fixed", "random"], variant="ssim")
    assert lines["label"].tolist() == ["random maps", "one fixed map"]
    assert lines.set_index("label")["value"]["one fixed map"] == pytest.approx(1)
    shown = controls.headlines(table, "CAM", "swap", 0.1, 10.0)
    assert shown["row"].iloc[0] == "(a) grey-level entropy"
    assert not shown.duplicated(["row", "control"]).any()
    ends = controls.extremes(shown, experiment.regimes).set_index("quantity")
    assert ends.loc["(d) SSIM between runs", "ceiling"] == "1.00: true region, centre, one fixed map, edges"
