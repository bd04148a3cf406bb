"""The pilot, from a profile to the numbers of images of its jobs; and the plan."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from e2m.cli import main
from e2m.experiment import cost, explain
from e2m.experiment.profile import AUTO, ModelKey, Pilot
from e2m.experiment.results import Experiment
from e2m.pages import pilot, plan
from e2m.salience.engine import Explainer
from e2m.statistics.components import Components, Draw, Part
from e2m.store import disk, paths
from e2m.types import Detector, InputError

RUNS, THERE = 4, 40
SETTINGS = {
    "dataset": "folder",
    "sources": ["real", "fake"],
    "in_set": ["real", "fake"],
    "runs": RUNS,
    "controls": {},
    "study": {},
    "masker": None,
    "image_size": 32,
    "batch_size": 20,
    "methods": ["CAM", "GradCAM"],
    "images_per_source": AUTO,
    "measures": {
        "noise": {"amounts": [0.1], "images_per_source": AUTO},
        "transformations": {"names": ["flip_left_right"], "images_per_source": 7},
    },
    "pilot": {"images_per_source": 24},
}
PART = Part(cluster=0.0, image=1.0, residual_cluster=0.0, residual_image=0.0)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, toy):
    """A profile of toys with 40 images of two sources, whose pilot has been made."""
    root, random = tmp_path_factory.mktemp("pilot"), np.random.default_rng(0)
    for number, source in product(range(THERE), ("real", "fake")):
        path = root / "faces" / source / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 200 + 55 * (source == "fake"), (32, 32, 3), np.uint8)).save(path)
    loaded = Experiment.load("smoke", **SETTINGS, dataset_options={"root": str(root / "faces")})
    loaded = replace(loaded, detectors=["toy"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", root / "results")
        number = {str(loaded.checkpoint(key)): seed for seed, key in enumerate(loaded.trained)}
        patch.setattr(pilot, "load_detector", lambda name, weights, device: toy(number[str(weights)]))
        with pytest.raises(InputError, match=r"pilot\.parquet: no such table, .*auto; make it with `e2m pilot"):
            _ = loaded.samples
        assert len(pilot.missing(loaded)) == 6
        for key in pilot.missing(loaded):
            pilot.explain_one(loaded, key, progress=False)
        assert pilot.missing(loaded) == []
        pilot.write(loaded)
        yield replace(loaded)


def test_the_images_of_a_pilot_are_the_first_of_the_draw(experiment):
    first = experiment.drawn[experiment.drawn["draw"] < 24]
    assert experiment.piloted.samples["image"].tolist() == first["image"].tolist()
    assert len(experiment.drawn) == 2 * THERE
    one = experiment.piloted.trained[0]
    assert len(disk.read_maps(experiment.piloted.maps_file(one, "CAM", "real"))["image"]) == 24
    assert not experiment.piloted.maps_file(one, "GradCAM", "real").is_file()  # the first method decides


def test_jobs_take_the_images_that_the_table_says(experiment, toy):
    table = disk.read_table(paths.table(experiment.profile, "pilot"))
    of_noise = table[table["measure"] == "noise"].groupby("source")["images"].max()
    every = table.groupby("source")["images"].max()
    piloted = table[table["row"] != ""]
    assert (piloted["there"] == THERE).all()
    assert piloted["images"].between(20, THERE).all()
    assert (table[table["row"] == ""]["images"] == 7).all()
    assert set(table["measure"]) == {"scores", "entropy", "stability", "noise", "transformations"}
    assert replace(experiment, measures={}).images_of("real") == experiment.images_of("real")
    key = ModelKey("toy", "cyborg", 3)
    explain.explain(experiment, key, progress=False, detector=toy(9))
    for source in experiment.sources:
        maps = disk.read_maps(experiment.maps_file(key, "CAM", source))
        assert len(maps["image"]) == every[source] == (experiment.samples["source"] == source).sum()
        for measure, count in (("noise", of_noise[source]), ("transformations", 7)):
            file = experiment.rows_file(key, measure, source)
            images = disk.read_rows([file])["image"].unique()
            drawn = experiment.drawn[experiment.drawn["source"] == source].sort_values("draw")["image"]
            assert set(images) == set(drawn[:count])
            assert disk.settings_of(file)["images_per_source"] == count
    assert experiment.fewest(experiment.sources) == 7


def test_rows_of_another_pilot_are_not_read(experiment, toy):
    one = replace(experiment, regimes=["cyborg"], guided=None, traditional="cyborg", runs=1)
    explain.explain(one, ModelKey("toy", "cyborg", 0), progress=False, detector=toy(9))
    assert len(one.rows("noise"))
    path = paths.table(experiment.profile, "pilot")
    table = disk.read_table(path)
    try:
        disk.write_table(path, table.assign(images=table["images"].where(table["measure"] != "noise", 10)))
        with pytest.raises(InputError, match=r"measures\.noise"):
            replace(one).rows("noise")
    finally:
        disk.write_table(path, table)


def test_the_report_says_which_quantity_asks_for_most(experiment):
    path = paths.table(experiment.profile, "pilot")
    lines, table = list(pilot.report(path)), disk.read_table(path)
    assert len(lines) == table[table["row"] != ""].groupby(["measure", "source"]).ngroups
    for line in lines:
        assert " of 40 images; most for toy, " in line


def test_a_pilot_without_values_gives_no_number():
    draws, settings = {"real": Draw.of(np.arange(50))}, Pilot()
    small = ("toy", "noise", "(b) SSIM", ("real",), InputError("2 images arrived"))
    right = ("toy", "noise", "(b) score", ("real",), Components((1.0, 1.0), (PART,)))
    with pytest.raises(InputError, match=r"noise, real: .*SSIM: 2 images arrived"):
        pilot.needed(iter([small]), draws, 10, settings)
    assert pilot.needed(iter([small, right]), draws, 10, settings)["row"].tolist() == ["(b) score"]


def test_a_half_width_takes_more_images_or_names_the_runs_that_are_missing():
    draws = {"real": Draw.of(np.arange(10_000))}
    estimated = [("toy", "noise", "(b) SSIM", ("real",), Components((0.02, 0.02), (PART,)))]
    few = pilot.needed(iter(estimated), draws, 10, Pilot()).iloc[0]
    wanted = (few["half_width"] + few["half_width_all"]) / 2
    more = pilot.needed(iter(estimated), draws, 10, Pilot(half_width={"noise": wanted})).iloc[0]
    assert few["images"] < more["images"] < 10_000
    assert more["half_width"] <= wanted < few["half_width"]
    with pytest.raises(InputError, match=r"half_width 0\.05 arrived, and 10 runs on all 10000 images give") as error:
        pilot.needed(iter(estimated), draws, 10, Pilot(half_width={"noise": 0.05}))
    runs = int(re.search(r"give 0\.13; (\d+) runs of each regime would reach it$", str(error.value))[1])
    assert estimated[0][-1].half_width(runs, [10_000], [draws["real"]]) <= 0.05


def test_a_plan_counts_the_passes_that_jobs_take(experiment, monkeypatch):
    there = dict.fromkeys(experiment.sources, THERE)
    images = plan.counts(experiment, there)
    table = disk.read_table(paths.table(experiment.profile, "pilot"))
    clean = table.groupby("source")["images"].max()
    noise = table[table["measure"] == "noise"].groupby("source")["images"].max()
    by_hand = 2 * RUNS * int(sum(clean[source] + noise[source] + 7 for source in experiment.sources))
    assert cost.changes(experiment) == {"noise": 1, "transformations": 1}
    assert plan.passes(experiment, images, experiment.trained) == by_hand
    monkeypatch.setattr(plan, "seconds_of", lambda *_: {cost.CLEAN: 1.0, "noise": 1.0, "transformations": 1.0})
    text = "\n".join(plan.lines(experiment))
    assert f"{by_hand:,} passes, {cost.duration(by_hand)} of one core" in text
    assert "intervals of a difference to expect, from 4 runs" in text
    unknown = replace(experiment, profile="unknown")
    text = "\n".join(plan.lines(unknown))
    assert "the pilot decides, with 6 detectors" in text
    assert f"{2 * 3 * 2 * 24 * 2:,} passes" in text
    assert "known after `e2m pilot --profile unknown`" in text


def test_a_plan_counts_the_changes_that_maskers_guide(experiment, monkeypatch):
    """Blur is guided by the map of each method; the maps of maskers are one method more, for some detectors."""
    masker = {"regimes": [experiment.regimes[0]], "runs": 1}
    measures = {"degradation": {"max_sigmas": [10.0], "seed": 0, "images_per_source": 3}}
    experiment = replace(experiment, masker=masker, measures=measures)
    (count,) = cost.changes(experiment).values()
    images = {(experiment.sources[0], cost.CLEAN): 5, (experiment.sources[0], "degradation"): 3}
    with_masker, without = experiment.trained[0], experiment.trained[1]
    assert experiment.has_masker(with_masker)
    both = cost.changes(replace(experiment, methods=[*experiment.methods, "masker"]))["degradation"]
    assert both > count
    assert plan.passes(experiment, images, [without]) == 5 + 3 * count
    assert plan.passes(experiment, images, [with_masker]) == 5 + 3 * both
    experiment = replace(experiment, runs=1)
    monkeypatch.setattr(plan, "seconds_of", lambda *_: {cost.CLEAN: 1.0, "degradation": float(count)})
    (line, _) = plan._costs(experiment, images | {(s, cost.CLEAN): 0 for s in experiment.sources[1:]}, [with_masker])
    assert f" {5 + 3 * both:,} passes, {cost.duration(5 + 3 * both)} of one core" in line


def test_times_are_measured_with_random_images(experiment):
    times = plan.seconds_of(replace(experiment, detectors=["demo_cnn"]), "demo_cnn")
    assert set(times) == {cost.CLEAN, "noise", "transformations"}
    assert times[cost.CLEAN] > 0


def test_the_time_of_a_change_does_not_depend_on_how_many_images_are_changed(experiment, toy, monkeypatch):
    """Passes of images serve as the clock."""
    passed, several = [0], Explainer.several

    def counting(explainer, images, *more):
        passed.append(len(images))
        return several(explainer, images, *more)

    monkeypatch.setattr(Explainer, "several", counting)
    detector, first = toy(0), experiment.samples.query("source == 'real'").nsmallest(cost.TIMED, "draw")
    batch = next(experiment.batches(first, detector))
    measures = {name: settings | {"images_per_source": 1} for name, settings in experiment.measures.items()}
    few = replace(experiment, measures=measures)
    times = cost.seconds(few, ModelKey("toy", "cyborg", 0), detector, batch, lambda: sum(passed))
    assert times == {cost.CLEAN: 1.0, **cost.changes(few)}


class Weightless(nn.Module):
    def forward(self, images):
        brightness = images.mean((1, 2, 3))
        return torch.stack([-brightness, brightness], 1)


def test_a_network_without_weights_is_timed_too(experiment, monkeypatch):
    detector = Detector("weightless", Weightless().eval(), layer="", size=32, mean=(0,) * 3, std=(1,) * 3)
    monkeypatch.setattr(plan, "load_detector", lambda *_, **__: detector)
    assert plan.seconds_of(replace(experiment, methods=["occlusion"]), "weightless")[cost.CLEAN] > 0


def test_the_command_line(experiment, tmp_path, capsys):
    assert main(["pilot", "--profile", "smoke", "--run", "0"]) == 1
    assert "--regime or --run arrived alone" in capsys.readouterr().err
    content = yaml.safe_load((paths.CHECKOUT / "notebooks/params/paper.yaml").read_text())
    content |= {"detectors": ["demo_cnn"], "image_size": 112}
    (tmp_path / "away.yaml").write_text(yaml.safe_dump(content))
    assert main(["plan", "--profile", str(tmp_path / "away.yaml")]) == 0
    text = capsys.readouterr().out
    assert "no images at hand" in text
    assert "20 detectors, 100,000 images each" in text


def test_a_measure_that_no_pilot_decides_on_needs_a_number(experiment):
    measures = {**experiment.measures, "degradation": {"images_per_source": AUTO}}
    with pytest.raises(InputError, match=r"measures\.degradation\.images_per_source is auto, and the pilot has no"):
        replace(experiment, measures=measures).images_of("real", "degradation")
    with pytest.raises(InputError, match=r": images_per_source is auto, and the pilot has no quantity on new; .*again"):
        experiment.images_of("new")
