"""The explorer's data: every number is a stored row, every map that of its image, and what moves is moved back."""

import base64
import io
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m import plugins
from e2m.arrays.maps import quantise
from e2m.experiment import explain
from e2m.experiment.results import Experiment, ModelKey
from e2m.measures.transformations import TRANSFORMATIONS
from e2m.pages import explorer
from e2m.store import disk, paths
from e2m.types import Perturbation
from tests.made import small_experiment

REGIMES, RUNS = ("cross_entropy", "cyborg"), 2


def smooth(random):
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
    return np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, toy):
    """Eight smooth images of 32 px, explained by toys: two regimes of two runs, a little of every measure."""
    folder = tmp_path_factory.mktemp("explorer")
    experiment = small_experiment(
        folder,
        4,
        smooth,
        batch_size=3,
        methods=["GradCAM", "CAM"],
        measures={
            "noise": {"amounts": [0.1, 0.5], "images_per_source": 3},
            "transformations": {"names": ["flip_left_right", "shift_up"], "images_per_source": 4},
            "degradation": {"max_sigmas": [10.0], "images_per_source": 4},
        },
    )
    seeds = {ModelKey("toy", *pair): n for n, pair in enumerate(product(REGIMES, range(RUNS)))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", folder / "results")
        patch.setattr(explorer, "_detector", lambda _, key, masked: toy(seeds[key]))
        for key, seed in seeds.items():
            explain.explain(experiment, key, progress=False, detector=toy(seed))
        yield experiment


@pytest.fixture(scope="module")
def explored(experiment):
    return explorer.explore(experiment, images=4, runs=2)


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


def each(content):
    """Every number of the explorer: (regime, run, method, image, change) and the score and similarity."""
    for image, (number, change) in product(content["images"], enumerate(content["changes"])):
        for name, slot in image["slots"].items():
            regime, run, method = name.split(".")
            names = (regime, int(run), method, image["name"], change["measure"], change["region"], change["level"])
            yield names, slot["scores"][number], slot["similarities"][number]


def test_every_number_is_a_stored_row(experiment, explored):
    stored = {}
    for measure, key, source in product(experiment.measures, experiment.trained, experiment.sources):
        names = ["regime", "run", "salience", "image", "measure", "region", "level", "variant"]
        rows = disk.read_rows([experiment.rows_file(key, measure, source)]).astype({"level": str})
        rows = rows[rows["target"].isin(["", "predicted"])]
        stored |= rows.set_index(names)["value"].to_dict()
    compared = 0
    for (regime, run, method, image, *change), score, similarity in each(explored.content):
        measure = change[0]
        if measure:
            scored = method if measure == "degradation" else ""
            assert score == pytest.approx(stored[regime, run, scored, image, *change, "score"], abs=1e-6)
            variant = "ssim_valid" if measure == "transformations" else "ssim"
            assert similarity == pytest.approx(stored[regime, run, method, image, *change, variant], abs=1e-6)
            compared += 1
    assert compared == 4 * 4 * 2 * (2 + 2 + 4)  # images, detectors, methods, changes
    assert explored.recomputed < 0.02  # batches of another size: a grey level of a map may fall to the other side


def test_clean_scores_and_maps_are_the_stored_ones(experiment):
    content = explorer.explore(experiment, images=2, runs=1).content
    assert [image["name"].split("/")[0] for image in content["images"]] == ["real", "fake"]
    assert {regime["name"]: (regime["runs"], regime["of"]) for regime in content["regimes"]} == dict.fromkeys(
        REGIMES, (1, 2)
    )
    for image in content["images"]:
        assert list(image["slots"]) == [
            f"{regime}.0.{method}" for regime, method in product(REGIMES, ("GradCAM", "CAM"))
        ]
        for name, slot in image["slots"].items():
            regime, _, method = name.split(".")
            stored = experiment.maps("toy", regime, method, image["source"]).sel(run=0, image=image["name"])
            assert slot["scores"][0] == pytest.approx(float(stored["score"]), abs=1e-6)
            maps = unpacked(slot["maps"]).reshape(len(content["changes"]), *slot["cells"])
            np.testing.assert_array_equal(maps[0], quantise(stored["salience"].to_numpy()))
            # The shifted image has another map, and it is not that of another change.
            assert len(np.unique(maps.reshape(len(maps), -1), axis=0)) > 4


def test_pictures_lie_where_the_script_looks_for_them(experiment, explored):
    content, image = explored.content, explored.content["images"][0]
    sheet = Image.open(io.BytesIO(base64.b64decode(image["sheet"].removeprefix("data:image/webp;base64,"))))
    guided = [change for change in content["changes"] if change["guided"]]
    shared = [change for change in content["changes"] if not change["guided"]]
    assert len(guided) == 4
    assert sheet.size == (16 * 32, 3 * 32)  # 1 + 2 + 2 shared pictures and 4 of each of 8 slots, 16 side by side
    flipped = shared.index(next(change for change in shared if change["level"] == "flip_left_right"))
    pixels = np.asarray(sheet.convert("RGB"), float)
    clean, mirrored = (pixels[:32, 32 * n : 32 * n + 32] for n in (0, flipped))
    original = experiment.images([image["name"]])[0].astype(float)
    # Lossy, so the nearest of the two is asked for.
    assert np.abs(clean - original).mean() < np.abs(clean[:, ::-1] - original).mean() / 2
    assert np.abs(mirrored[:, ::-1] - original).mean() < np.abs(mirrored - original).mean() / 2


def test_means_are_over_all_images_and_runs(experiment, explored):
    content = explored.content
    at = next(
        n for n, change in enumerate(content["changes"]) if (change["measure"], change["level"]) == ("noise", "0.5")
    )
    rows = experiment.rows("noise").query(
        "source == 'fake' and regime == 'cyborg' and salience == 'CAM' and level == '0.5' and variant == 'ssim' "
        "and target == 'predicted'"
    )
    assert len(rows) == 3 * RUNS
    assert content["means"]["fake cyborg CAM"][at] == pytest.approx(rows["value"].mean(), abs=1e-6)
    assert content["means"]["fake cyborg CAM"][0] is None  # the clean image


def test_cases_name_what_they_show(explored):
    content = explored.content
    numbers = {names: (score, similarity) for names, score, similarity in each(content)}
    assert content["cases"]
    for case in content["cases"]:
        state = case["state"]
        regime, run = state["a"].split(".")
        change = (state["measure"], state["region"], state["level"])
        score, similarity = numbers[regime, int(run), state["method"], state["image"], *change]
        assert f"SSIM {similarity:.2f}" in case["text"]
        assert f"→ {score:.2f}" in case["text"] or "furthest apart" in case["text"]
        assert state["b"] != state["a"]
        assert "almost the same map" not in case["text"] or similarity > explorer.ALIKE
        assert "another map" not in case["text"] or similarity < explorer.UNLIKE


def test_the_script_is_one_call_that_holds_json(explored, tmp_path):
    size = explored.write(tmp_path / "data.js")
    text = (tmp_path / "data.js").read_text()
    assert size == pytest.approx((tmp_path / "data.js").stat().st_size / 1e6)
    content = text.removeprefix("e2mExplorer(").removesuffix(");\n")
    assert json.loads(content) == json.loads(json.dumps(explored.content))


def test_images_are_the_first_of_the_draw_in_turn(experiment):
    chosen = explorer.drawn(experiment, 5)
    assert chosen["source"].tolist() == ["real"] * 3 + ["fake"] * 2
    assert chosen["draw"].tolist() == [0, 1, 2, 0, 1]
    # Noise changes three images of each source: the fourth has no rows of it.
    assert len(explorer.drawn(experiment, 100)) == 6


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_canvas_moves_maps_back_as_the_transformation_does(name):
    side, transformation = 32, TRANSFORMATIONS[name]
    change = Perturbation(np.zeros((1, side, side, 3), np.uint8), name, undo=transformation.undo)
    change = replace(change, valid=transformation.valid(side, side))
    a, b, c, d, e, f = explorer.moved_back(change, side)
    moved = np.random.default_rng(0).random((side, side))
    undone = transformation.undo(moved[None])[0]
    hit = np.zeros((side, side), bool)
    for row, column in np.ndindex(side, side):
        x, y = a * (column + 0.5) + c * (row + 0.5) + e, b * (column + 0.5) + d * (row + 0.5) + f
        if 0 <= x < side and 0 <= y < side:
            assert undone[int(y), int(x)] == moved[row, column]
            hit[int(y), int(x)] = True
    np.testing.assert_array_equal(hit, change.valid)


def test_nothing_is_moved_back_where_nothing_moved_or_no_such_rule_exists():
    images = np.zeros((1, 16, 16, 3), np.uint8)
    assert explorer.moved_back(Perturbation(images, "0.1"), 16) is None
    swirl = np.random.default_rng(0).permutation(16)
    assert explorer.moved_back(Perturbation(images, "swirl", undo=lambda maps: maps[:, swirl]), 16) is None


def test_similarity_is_that_of_the_headlines():
    assert {name: explorer.similarity(name) for name in ("noise", "transformations", "degradation")} == {
        "noise": "ssim",
        "transformations": "ssim_valid",
        "degradation": "ssim",
    }


def test_a_level_is_named_with_its_unit_where_levels_are_numbers():
    for name in plugins.names("measure"):
        module = plugins.load("measure", name)
        numbered = {headline.level for headline in module.HEADLINES} - {"", "all"}
        assert bool(getattr(module, "LEVEL", "")) == (hasattr(module, "perturbations") and bool(numbered))


def test_the_stage_says_what_is_missing_without_javascript():
    html = explorer.stage("data.js", 3.25).data
    assert "<noscript>" in html
    assert 'data-script="data.js"' in html
    assert "(3.2 MB)" in html


def test_furthest_is_none_without_a_pair():
    table = pd.DataFrame()
    assert explorer._furthest(replace(Experiment.load("smoke"), guided=None), table) == []
