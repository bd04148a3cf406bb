"""The parts of the masking study: masks as they are, pooled PxAP, baselines, the made-up in-fill, sanity checks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats
from scipy.ndimage import gaussian_filter
from skimage.feature import hog
from skimage.metrics import structural_similarity

from e2m.arrays.maps import min_max, quantise, upsample
from e2m.experiment.profile import ModelKey
from e2m.experiment.results import Experiment
from e2m.measures.localisation import BETTER, pixel_counts, pooled_pxap
from e2m.networks.checkpoints import MASKER_FORMAT, weights_hash
from e2m.networks.inputs import as_input
from e2m.networks.masker import Masker, chosen_stages
from e2m.salience.engine import explain
from e2m.store import studies
from e2m.types import LABELS
from studies import masking


def test_fine_maps_become_area_means():
    fine = np.arange(14 * 14).reshape(1, 14, 14) / 200
    np.testing.assert_allclose(masking.coarse(fine)[0], fine.reshape(7, 2, 7, 2).mean((1, 3)))
    np.testing.assert_allclose(masking.coarse(fine[:, :7, :7]), fine[:, :7, :7])


def test_a_face_is_made_up_from_what_is_shown(toy, tmp_path):
    """Photographs that are mixtures of two patterns: one half of a new mixture determines the other."""
    patterns = np.random.default_rng(0).uniform(-20, 20, (2, 7, 7))
    patterns = patterns.repeat(16, axis=1).repeat(16, axis=2)
    rows, random = [], np.random.default_rng(1)
    for number in range(12):
        grey = 128 + np.tensordot(random.uniform(-2, 2, 2), patterns, 1)
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.repeat(grey.round().clip(0, 255).astype(np.uint8)[..., None], 3, 2)).save(path)
        rows.append((str(path), LABELS[number == 11]))
    samples = pd.DataFrame(rows, columns=["path", "label"])
    half = (0.5,) * 3
    detector = toy(size=112, mean=half, std=(0.25,) * 3)
    infill = masking.generated(detector, samples)
    face = as_input(np.array(Image.open(rows[-1][0]))[None], detector)
    shown = torch.zeros(1, 1, 112, 112)
    shown[..., :56] = 1
    blank = torch.where(shown > 0, face, 3.0)  # what is hidden does not count
    made = infill(blank, shown)
    assert made.shape == face.shape
    hidden, guess = face[..., 64:], made[..., 64:]
    assert (guess - hidden).square().mean() < 0.1 * hidden.var()


@pytest.mark.parametrize("shots", [1, 4])
def test_few_examples(shots):
    train = pd.DataFrame({"image": range(40), "label": [LABELS[number % 3 == 0] for number in range(40)]})
    draws = [masking.few(train, masking.Task("few-shot", "n", run, shots=shots)) for run in (0, 0, 1)]
    assert all(draw["label"].value_counts().to_dict() == dict.fromkeys(LABELS, shots) for draw in draws)
    assert draws[0]["image"].tolist() == draws[1]["image"].tolist() != draws[2]["image"].tolist()
    assert len(masking.few(train, masking.Task("ablation", "both", 0))) == 40
    subset = masking.few(train, masking.Task("class subset", masking.SUBSET, 0, label=LABELS[0]))
    assert set(subset["label"]) == {LABELS[0]}
    assert len(subset) == (train["label"] == LABELS[0]).sum()


def test_every_variant_changes_one_thing():
    names = [(task.study, task.name, task.run) for task in masking.tasks(2)]
    assert len(set(names)) == len(names) == 2 * (len(masking.ABLATION) + len(masking.SHOTS) + 1)
    assert masking.ABLATION[masking.REFERENCE] == {}
    several = {name for name, changed in masking.ABLATION.items() if len(changed) > 1}
    # A zoo needs a classifier that changes; crops replace shifts.
    assert several == {"trained alongside, no zoo", "whole images"}


@pytest.mark.parametrize(
    ("metric", "low", "high", "expected", "verdict"),
    [
        ("f1", -0.3, -0.1, "worse", "holds"),
        ("f1", -0.3, -0.1, "better", "the contrary"),
        ("f1", -0.3, 0.1, "worse", "undecided"),
        ("le", 0.1, 0.3, "worse", "holds"),
        ("le", -0.3, -0.1, "better", "holds"),
        ("le", -0.3, 0.04, "little", "holds"),
        ("le", -0.3, 0.06, "little", "undecided"),
        ("le", 0.06, 0.1, "little", "the contrary"),
        ("f1", np.nan, np.nan, "worse", "no interval"),
    ],
)
def test_verdicts(metric, low, high, expected, verdict):
    assert masking.verdict(metric, low, high, expected) == verdict


def test_findings_read_the_variant_that_they_name():
    names = [("ablation", name) for name in masking.ABLATION if name != masking.REFERENCE]
    names += [("few-shot", str(shots)) for shots in masking.SHOTS]
    keys = [(*name, cells, metric) for name in names for cells in ("native", "7x7") for metric in masking.JUDGED]
    apart = pd.DataFrame(keys, columns=["study", "name", "cells", "variant"]).assign(low=0.1, high=0.2)
    table = masking.findings(apart)
    assert len(table) == len(masking.FINDINGS) * len(masking.JUDGED)
    verdicts = table[table["name"] == "mask-in only"].set_index("variant")["verdict"]
    assert verdicts.to_dict() == {"le_published": "holds", "f1": "the contrary", "pooled": "the contrary"}


def experiment_of(images):
    images = list(images)
    subjects = pd.Series(images, index=images)
    return SimpleNamespace(resamples=200, subjects=subjects, resampling={"clusters": subjects, "resamples": 200})


def test_pooled_pxap_of_runs(random):
    """The value of each run, averaged; differences run by run, on the images that both have."""
    maps, regions = random.random((2, 3, 8, 9, 9)), random.random((8, 9, 9)) < 0.3
    counts = np.array([[pixel_counts(run, regions) for run in runs] for runs in maps])
    counts[0, 1, 4] = 0  # a dead map
    keys = [{"run": run, "image": f"{n}", "cells": "native", "name": "x"} for run in range(3) for n in range(8)]
    one, other = (pd.DataFrame(keys).assign(counts=[*stack.reshape(24, 2, 101)]) for stack in counts)
    experiment = experiment_of(f"{n}" for n in range(8))
    (row,) = masking.pooled(experiment, one, ["name", "cells"]).to_dict("records")
    expected = np.mean([pooled_pxap(counts[0, run].sum(0)) for run in range(3)])
    assert (row["mean"], row["missing"]) == (pytest.approx(expected), 1)
    assert 0 <= row["low"] < row["mean"] < row["high"] <= 1
    (apart,) = masking.pooled(experiment, one, ["name", "cells"], reference=other).to_dict("records")
    kept = counts[1].copy()
    kept[1, 4] = 0
    expected -= np.mean([pooled_pxap(kept[run].sum(0)) for run in range(3)])
    assert apart["mean"] == pytest.approx(expected)
    assert (apart["low"] < apart["mean"] < apart["high"], apart["runs"]) == (True, 3)


@pytest.fixture
def with_masker(toy, tmp_path):
    """The toy detector with a masker of random weights."""
    torch.manual_seed(0)
    detector = toy()
    masker = Masker(chosen_stages(detector), 8, 4)
    state = {"format": MASKER_FORMAT, "detector": detector.name, "classifier": weights_hash(detector.model)}
    state |= {"settings": {"channels": 4, "conditioned": False, "binary": False, "hard": True}}
    torch.save(state | {"stages": masker.stages, "side": 8, "weights": masker.state_dict()}, tmp_path / "0.masker.pt")
    return replace(detector, masker=tmp_path / "0.masker.pt")


def test_masks_as_they_are(with_masker, random):
    """Not stretched; stretched, they are the maps of the salience method."""
    images = random.integers(0, 256, (5, 32, 32, 3), np.uint8)
    logits, masks, predicted = masking.drawn(with_masker, images)
    np.testing.assert_allclose(masks, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    explained = explain(with_masker, images, "masker")
    low, high = masks.min((1, 2), keepdims=True), masks.max((1, 2), keepdims=True)
    assert (low > 0.05).any()
    np.testing.assert_allclose((masks - low) / (high - low), explained.maps, atol=1e-5)
    np.testing.assert_array_equal(predicted, explained.predicted)


def test_baselines_of_boxes(toy, random):
    """Whole image, no pixel, centre box and true box, with the numbers that their definitions give."""
    images, side = random.integers(0, 256, (2, 32, 32, 3), np.uint8), 32
    regions = np.zeros((2, side, side), bool)
    regions[0, 4:12, 8:24] = True
    regions[1, 0:4, 0:4] = regions[1, 20:28, 20:28] = True
    samples = pd.DataFrame({"image": ["a", "b"], "label": LABELS[1], "source": "swap"})
    detector = toy()
    rows, pixels = masking.box_rows(SimpleNamespace(regions=lambda names: regions), samples, images, detector, run=0)
    values = rows.set_index(["name", "variant", "image"])["value"].sort_index()
    whole = explain(detector, images, "GradCAM").scores
    assert values["whole image", "sm2"].to_list() == pytest.approx(np.log(whole).tolist(), abs=1e-5)
    assert values["whole image", "f1"].to_list() == pytest.approx([2 * 128 / (1024 + 128), 2 * 64 / (1024 + 64)])
    assert values["whole image", "f1a", "b"] == pytest.approx((2 * 16 / (1024 + 16) + 2 * 64 / (1024 + 64)) / 2)
    assert values["whole image", "mean"].to_list() == [1, 1]
    assert values["no pixel", "f1"].to_list() == values["no pixel", "mean"].to_list() == [0, 0]
    assert values["no pixel", "sm1"].to_list() == pytest.approx([np.log(0.05)] * 2)
    assert values["no pixel", "sm2", "a"] == values["no pixel", "sm2", "b"]  # neither sees the image
    assert values["no pixel", "le"].to_list() == values["centre box", "le"].to_list() == [1, 1]
    margin = round(33 / 224 * side)
    assert values["centre box", "mean", "a"] == pytest.approx((side - 2 * margin) ** 2 / side**2)
    true = values["true box"].unstack("image")
    assert true.loc[["le", "f1", "f1a"]].to_numpy().tolist() == [[0, 0], [1, 1], [1, 1]]
    assert true.loc["sm1", "a"] == pytest.approx(np.log(128 / 1024))
    assert true.loc["sm1", "b"] == pytest.approx((np.log(0.05) + np.log(64 / 1024)) / 2)
    counts = pixels.set_index(["name", "image"])["counts"]
    assert pooled_pxap(counts["whole image"].sum()) == pytest.approx((128 + 80) / 2048)


def test_variants_are_compared_on_the_same_runs_and_images(random):
    keys = pd.MultiIndex.from_product([range(3), [f"{n}" for n in range(20)]], names=["run", "image"])
    both = keys.to_frame(index=False).assign(value=random.normal(size=60), study="ablation", name=masking.REFERENCE)
    other = both.assign(name="in-fill: blur", value=both["value"] + random.normal(0.5, 0.01, 60))
    other.loc[0, "value"] = np.nan
    rows = pd.concat([both, other, both.assign(study="methods", name="CAM")]).assign(cells="native", variant="f1")
    experiment = experiment_of(f"{n}" for n in range(20))
    pixels = rows.assign(counts=[*random.integers(1, 9, (len(rows), 2, 101))])
    row, of_runs = masking.differences(experiment, rows, pixels).to_dict("records")
    assert (of_runs["variant"], of_runs["name"], of_runs["runs"]) == ("pooled", "in-fill: blur", 3)
    # Runs and images differ by far more than a variant does from what it is compared with.
    assert row["mean"] == pytest.approx(0.5, abs=0.01)
    assert 0.47 < row["low"] < row["high"] < 0.53
    assert row["missing"] == 1


def test_which_layers_are_randomised(toy):
    trained, untrained = toy(seed=0), toy(seed=1)
    changed = {}
    for check, count, layer, detector in masking.randomised(trained, untrained):
        state, before = detector.model.state_dict(), trained.model.state_dict()
        names = {name.rsplit(".", 1)[0] for name in state if not torch.equal(state[name], before[name])}
        changed[check, count] = layer, names
    layers = ["classifier", "features.3", "features.0"]
    for count, layer in enumerate(layers, 1):
        assert changed["cascading", count] == (layer, set(layers[:count]))
        assert changed["independent", count] == (layer, {layer})
    assert len(changed) == 6


def test_likeness_of_maps(random):
    maps = {"GradCAM": random.random((3, 14, 14)).astype(np.float32)}
    other = {"GradCAM": maps["GradCAM"].copy()}
    other["GradCAM"][1], other["GradCAM"][2] = random.random((14, 14)), np.nan
    rows = pd.concat(masking.alike(maps, other, pd.DataFrame({"image": list("abc")}), check="x"))
    values = rows.pivot_table(index="image", columns="variant", values="value", dropna=False)
    assert values.loc["a"].to_dict() == pytest.approx({"hog": 1, "spearman": 1, "ssim": 1})
    assert (values.loc["b"] < 0.9).all()
    assert rows.loc[rows["image"] == "c", "value"].isna().all()
    assert np.isnan(masking.hog_correlation(np.zeros((112, 112), np.uint8), np.full((112, 112), 9, np.uint8)))


def test_published_likeness_against_literal_versions(random):
    """Logits that fill 224 pixels, as they are: each number by scikit-image and SciPy, one mask at a time."""
    before, after = random.normal(0, 3, (2, 3, 28, 28)).astype(np.float32)
    after[0] = before[0]
    rows = pd.concat(masking.alike_as_published(before, after, pd.DataFrame({"image": list("abc")}), check="x"))
    values = rows.pivot_table(index="image", columns="variant", values="value")
    for n, image in enumerate("abc"):
        one, other = (np.kron(stack[n], np.ones((8, 8), np.float32)) for stack in (before, after))
        assert one.shape == (224, 224)
        expected = {
            "spearman_published": stats.spearmanr(one.ravel(), other.ravel()).statistic,
            "spearman_absolute": stats.spearmanr(np.abs(0.5 - one).ravel(), np.abs(0.5 - other).ravel()).statistic,
            "hog_published": stats.pearsonr(*(hog(mask, pixels_per_cell=(16, 16)) for mask in (one, other))).statistic,
            "ssim_published": structural_similarity(one, other, win_size=5, data_range=2),
        }
        assert values.loc[image].to_dict() == pytest.approx(expected, abs=1e-5)
    assert values.loc["a"].tolist() == pytest.approx([1] * 4)


def test_squares_alone_make_unrelated_masks_alike(random):
    """The page says so of the published correlation of HOG: unrelated masks share the edges of their squares."""
    masks = np.float32(10) * gaussian_filter(random.normal(size=(12, 28, 28)), (0, 2, 2)).astype(np.float32)
    rows = pd.concat(masking.alike_as_published(masks[::2], masks[1::2], pd.DataFrame({"image": range(6)}), check="x"))
    means = rows.groupby("variant")["value"].mean()
    assert means["hog_published"] > 0.6
    assert abs(means["spearman_published"]) < 0.3
    smooth = upsample(quantise(min_max(masks)), 224, 224)
    assert abs(np.mean([masking.hog_correlation(*smooth[n : n + 2]) for n in range(0, 12, 2)])) < 0.2


def test_the_four_tables(monkeypatch, random, tmp_path):
    """From made-up scores: every study, finding and check has its lines, and all tables name the detector."""
    images = [f"{n}" for n in range(6)]
    experiment = experiment_of(images)
    trained = [ModelKey("toy", regime, run) for regime in ("cross_entropy", "cyborg") for run in range(2)]
    experiment.detectors, experiment.trained = ["toy"], [*trained, ModelKey("toy", "focused", 0)]
    experiment.has_masker = trained.__contains__

    def made(**about):
        table = pd.DataFrame({"image": images}).assign(cells="native", **about)
        rows = [table.assign(variant=name, value=random.random(6)) for name in [*BETTER, "mean", "dead"]]
        return pd.concat(rows, ignore_index=True), table.assign(counts=[*random.integers(1, 9, (6, 2, 101))])

    def masker_rows(_, regime, task):
        return made(study=task.study, name=task.name, examples=task.shots or 240, regime=regime, run=task.run)

    def method_rows(_, one):
        return made(study="methods", name="CAM", examples=0, regime=one.regime, run=one.run)

    def slow_rows(_, one):
        return made(study="methods", name="RISE", examples=0, regime=one.regime, run=one.run)

    def sanity_rows(_, one, runs):
        about = {"check": "cascading", "salience": "masker", "level": 1, "layer": "head", "variant": "ssim"}
        return pd.DataFrame({"image": images, "value": random.random(6)}).assign(run=one.run, **about)

    for function in (masker_rows, method_rows, slow_rows, sanity_rows):
        monkeypatch.setattr(masking, function.__name__, function)
    monkeypatch.setattr(masking, "ProcessPoolExecutor", lambda workers, *_: ThreadPoolExecutor(workers))
    tables = masking.tables(experiment, "cyborg", 2, 1)
    assert list(tables) == ["masking", "masking_differences", "masking_findings", "masking_sanity"]
    assert all((table["detector"] == "toy").all() for table in tables.values())
    main = tables["masking"]
    assert set(main["study"]) == {"ablation", "few-shot", "class subset", "methods", "published"}
    of_reference = main[(main["name"] == masking.REFERENCE) & (main["study"] == "ablation")]
    assert sorted(of_reference["variant"]) == sorted([*BETTER, "mean", "dead", "pooled"])
    assert set(main.loc[main["name"] == "RISE", "regime"]) == {"cyborg"}
    assert set(main.loc[main["study"] == "published", "source"]) == {"README", "figure"}
    assert len(tables["masking_findings"]) == len(masking.FINDINGS) * len(masking.JUDGED)
    for name, ranges in (("masking", masking.RANGES), ("masking_sanity", masking.SIMILAR)):
        for variant, ends in tables[name][tables[name]["low"].notna()].groupby("variant"):
            least, most = ranges.get(variant, (-np.inf, np.inf))
            assert least <= ends["low"].min() <= ends["high"].max() <= most, variant
    for name, table in tables.items():
        studies.save(name, table, tmp_path)
        pd.testing.assert_frame_equal(studies.load(name, tmp_path)[0], table, check_dtype=False)


def test_published_numbers_agree_with_each_other():
    """SM is the difference of its terms; ten examples a class cost 0.7 points against one epoch, as in the abstract."""
    value = {(name, metric): number for name, metric, number in masking.PUBLISHED}
    best = "trained alongside, 60 epochs"
    assert value[best, "sm1"] - value[best, "sm2"] == pytest.approx(value[best, "sm"])
    few = value["10 examples a class", "le"]
    assert [few - value["one epoch", "le"], few - value[best, "le"]] == pytest.approx([0.007, 0.027])


def test_every_run_of_the_study_has_a_masker(monkeypatch, tmp_path):
    asked = []

    def tables(experiment, regime, runs, workers):
        asked.append([run for run in range(9) if experiment.has_masker(ModelKey("mobilenet_v2", regime, run))])
        return {}

    monkeypatch.setattr(masking, "tables", tables)
    monkeypatch.setattr(Experiment, "data_hash", lambda self: "")
    masking.main(["--profile", "demo", "--runs", "5"])
    masking.main(["--profile", "demo"])
    assert asked == [[0, 1, 2, 3, 4], [0, 1, 2]]
