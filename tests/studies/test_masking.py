"""The parts of the masking study: the made-up in-fill, and which layers a check randomises."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from e2m.networks.inputs import as_input
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


def test_every_variant_changes_one_thing():
    names = [(task.study, task.name, task.run) for task in masking.tasks(2)]
    assert len(set(names)) == len(names) == 2 * (len(masking.ABLATION) + len(masking.SHOTS))
    assert masking.ABLATION[masking.REFERENCE] == {}
    assert all(len(changed) == 1 for name, changed in masking.ABLATION.items() if name != masking.REFERENCE)


@pytest.mark.parametrize(
    ("metric", "low", "high", "expected", "verdict"),
    [
        ("f1", -0.3, -0.1, "worse", "holds"),
        ("f1", -0.3, -0.1, "better", "the contrary"),
        ("f1", -0.3, 0.1, "worse", "not told"),
        ("le", 0.1, 0.3, "worse", "holds"),
        ("le", -0.3, -0.1, "better", "holds"),
        ("le", -0.3, 0.04, "little", "holds"),
        ("le", -0.3, 0.06, "little", "not told"),
        ("le", 0.06, 0.1, "little", "the contrary"),
        ("f1", np.nan, np.nan, "worse", "no interval"),
    ],
)
def test_verdicts(metric, low, high, expected, verdict):
    assert masking.verdict(metric, low, high, expected) == verdict


def test_findings_read_the_variant_that_they_name():
    names = [("ablation", name) for name in masking.ABLATION if name != masking.REFERENCE]
    names += [("few-shot", str(shots)) for shots in masking.SHOTS]
    keys = [(*name, cells, metric) for name in names for cells in ("native", "7x7") for metric in ("le", "f1", "pxap")]
    apart = pd.DataFrame(keys, columns=["study", "name", "cells", "variant"]).assign(low=0.1, high=0.2)
    table = masking.findings(apart)
    assert len(table) == len(masking.FINDINGS) * len(masking.JUDGED)
    verdicts = table[table["name"] == "mask-in only"].set_index("variant")["verdict"]
    assert verdicts.to_dict() == {"le": "holds", "f1": "the contrary", "pxap": "the contrary"}


def test_variants_are_compared_on_the_same_runs_and_images(random):
    keys = pd.MultiIndex.from_product([range(3), [f"{n}" for n in range(20)]], names=["run", "image"])
    both = keys.to_frame(index=False).assign(value=random.normal(size=60), study="ablation", name=masking.REFERENCE)
    other = both.assign(name="in-fill: blur", value=both["value"] + random.normal(0.5, 0.01, 60))
    other.loc[0, "value"] = np.nan
    rows = pd.concat([both, other, both.assign(study="methods", name="CAM")]).assign(cells="native", variant="f1")
    experiment = SimpleNamespace(resampling={"resamples": 200})
    (row,) = masking.differences(experiment, rows).to_dict("records")
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
