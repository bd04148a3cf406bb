"""Effects of differences, on results small enough to be worked out by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image
from scipy.ndimage import gaussian_filter

from e2m.pages import differences
from e2m.pages.differences import DIFFERENCES, FOLLOWED, Difference


def clean(salience, names, wrong=()):
    """Clean maps (R, N, h, w) of synthetic images, all of them right but for the named ones."""
    predicted = np.array([[name not in wrong for name in names]] * len(salience)).astype(np.int8)
    columns = {"salience": (("run", "image", "y", "x"), salience), "predicted": (("run", "image"), predicted)}
    columns["label"] = ("image", ["synthetic"] * len(names))
    return xr.Dataset(columns, coords={"image": list(names)})


def experiment(maps, **more):
    """What effects read of an experiment: maps by method, of the one source "gan" and the regime "cyborg"."""
    names = list(next(iter(maps.values()))["image"].to_numpy())
    samples = pd.DataFrame({"image": names, "source": "gan", "salience": "", "draw": np.arange(len(names))[::-1]})
    known = {
        "detectors": ["toy"],
        "regimes": ["cyborg"],
        "traditional": "cyborg",
        "methods": list(maps),
        "in_set": ["gan"],
        "runs": next(iter(maps.values())).sizes["run"],
        "measures": {},
        "images_per_source": len(names),
        "samples": samples,
        "maps": lambda detector, regime, method, source: maps[method],
        "has_rows": lambda measure: False,
        "regimes_of": lambda method: ["cyborg"],
    }
    return SimpleNamespace(**known | more)


def values(effect, of):
    return {quantity: (released, here) for quantity, released, here in effect(of)}


def spot(row, column):
    out = np.zeros((7, 7), np.float32)
    out[row, column] = 1
    return out


RAMP = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
DEAD = np.full((7, 7), np.nan, np.float32)


def test_dead_maps_are_scored_as_black_images_or_left_out():
    maps = clean(np.array([[RAMP, DEAD, DEAD], [RAMP, RAMP, DEAD]]), "abc")
    found = values(differences.dead_maps, experiment({"GradCAM": maps}))
    assert found["share of maps that are dead and left out, CYBORG"][1] == 0.5
    # 49 different grey levels: entropy 1. As released, three of six maps have entropy 0.
    assert found["grey-level entropy, CYBORG"] == pytest.approx((0.5, 1.0))
    # One pair of runs. Image a: equal. Image c: black beside black, 1 as released. Image b: black beside a ramp.
    released, here = found["SSIM between runs, CYBORG"]
    grey = (RAMP * 255).astype(np.uint8).astype(float)
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    one_black = first / (grey.mean() ** 2 + first) * second / (grey.var(ddof=1) + second)
    assert here == 1
    assert released == pytest.approx((1 + one_black + 1) / 3)


def test_noisy_images_without_a_value_are_counted():
    rows = pd.DataFrame({"source": "gan", "detector": "toy", "regime": "cyborg", "value": [0.5, np.nan, 0.1, np.nan]})
    of = experiment(
        {"GradCAM": clean(RAMP[None, None], "a")}, has_rows=lambda measure: True, rows=lambda *_, **__: rows
    )
    found = values(differences.dead_maps, of)
    assert found["share of noisy images without a value, CYBORG"][1] == 0.5


def test_draws_with_replacement_beside_drawn_images_and_the_first_of_the_list():
    # The draw is the list backwards: c and d. The release's generator draws b and d.
    assert np.random.RandomState(differences.RELEASED_SEED).randint(0, 4, 2).tolist() == [1, 3]
    maps = clean(np.array([[spot(0, 0), RAMP, RAMP, spot(0, 1)]]), "abcd", wrong=("a", "c", "d"))
    of = experiment({"GradCAM": maps}, fewest=lambda sources: 2)
    found = values(differences.sample, of)
    assert found["accuracy on 2 images of each source, CYBORG"] == (0.5, 0)  # b and d; c and d
    assert found["accuracy on the first 2 images of the list, CYBORG"][1] == 0.5  # a and b
    low = -(48 / 49 * np.log2(48 / 49) + 1 / 49 * np.log2(1 / 49)) / np.log2(49)
    assert found["grey-level entropy on 2 images of each source, CYBORG"] == pytest.approx((1 + low) / 2 * np.ones(2))


def test_grad_cam_beside_cam():
    maps = {"GradCAM": clean(np.array([[spot(3, 3)], [spot(3, 3)]]), "a"), "CAM": clean(np.array([[RAMP]] * 2), "a")}
    found = values(differences.method, experiment(maps))
    share = RAMP.ravel()[1:] / RAMP.sum()
    assert found["spatial entropy, CYBORG"] == pytest.approx(
        (0, -(share * np.log2(share)).sum() / np.log2(49)), abs=1e-6
    )
    assert found["SSIM between runs, CYBORG"] == pytest.approx((1, 1))
    assert values(differences.method, experiment({"CAM": maps["CAM"]})) == {}


def test_equally_accurate_epochs():
    curves = pd.DataFrame(
        {
            "run": [0, 0, 0, 1, 1, 1],
            "epoch": [0, 1, 2, 0, 1, 2],
            "validation_accuracy": [0.8, 0.9, 0.9, 0.7, 0.6, 0.5],
            "validation_cross_entropy": [0.1, 0.3, 0.5, 0.6, 0.4, 0.4],
        }
    )
    of = SimpleNamespace(detectors=["toy"], regimes=["cyborg"], curves=lambda detector, regime: curves)
    assert values(differences.epochs, of) == {
        "number of runs that keep another epoch, CYBORG": (0, 1),
        "validation cross-entropy of the kept epoch, CYBORG": (pytest.approx(0.55), pytest.approx(0.45)),
    }


@pytest.mark.parametrize(("side", "equal"), [(56, False), (224, True)])
def test_lengths_are_shortened_in_small_images_only(side, equal):
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    of = experiment(
        {"GradCAM": clean(RAMP[None, None], "a")},
        salience=lambda *_: RAMP[None],
        images=lambda names: images,
    )
    ((_, (released, here)),) = values(differences.lengths, of).items()
    assert (released == here) == equal
    assert released >= here > 0


def test_truncation_darkens():
    images = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    of = experiment(
        {"GradCAM": clean(RAMP[None, None], "a")},
        regimes=[],
        salience=lambda *_: RAMP[None],
        images=lambda names: images,
    )
    ((_, (released, here)),) = values(differences.truncation, of).items()
    assert released == np.mean([gaussian_filter(images[0, ..., c], 10) for c in range(3)])
    assert here == pytest.approx(images.mean(), abs=0.5)
    assert 0.5 < here - released < 1.5


def test_a_human_map_by_way_of_the_input_is_nearly_the_same(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 112), np.uint8)).save(tmp_path / "map.png")
    of = experiment({"GradCAM": clean(RAMP[None, None], "a")}, detectors=["demo_cnn"])
    assert values(differences.human_maps, of) == {}
    of.samples["salience"] = str(tmp_path / "map.png")
    ((_, (released, here)),) = values(differences.human_maps, of).items()
    assert released == 0
    assert 0 < here < 0.05  # noise averaged over cells spans few grey levels, which are rounded to whole ones


def test_the_box_of_published_code():
    rows = pd.DataFrame(
        {
            "salience": "masker",
            "detector": "toy",
            "regime": "cyborg",
            "variant": ["le", "le", "le_published", "le_published"],
            "value": [0.0, 1.0, 1.0, 1.0],
        }
    )
    masked = SimpleNamespace(rows=lambda measure: rows, has_rows=lambda measure: True)
    of = SimpleNamespace(masker={}, masked=masked, detectors=["toy"])
    assert values(differences.box, of) == {}
    of.masker = {"regimes": ["cyborg"]}
    assert values(differences.box, of) == {"localisation error, CYBORG": (1.0, 0.5)}


def test_the_table_has_a_row_for_each_difference_and_says_what_was_not_measured():
    entry = Difference("Topic", "this", "that", "because", lambda experiment: iter([("share", 0.25, np.nan)]))
    silent = replace(entry, what="Silent", effect=lambda experiment: iter([]))
    effects = differences.measured(None, [entry, silent])
    assert effects[["what", "quantity", "released"]].to_numpy().tolist() == [["Topic", "share", 0.25]]
    page = differences.shown([entry, silent], effects, here="otherwise").to_html()
    assert "share: 0.250 → –" in page
    assert "not measured: this profile or study lacks what it needs" in page
    assert page.count("<tr>") == 3


def test_topics_are_told_apart():
    topics = [entry.what for entry in (*DIFFERENCES, *FOLLOWED)]
    assert len(topics) == len(set(topics))
