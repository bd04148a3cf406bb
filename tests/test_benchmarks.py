"""Timing with a clock that the test sets, and the alternatives against the methods that they represent."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import gpu, jobs, literal, maps, peers, speed, steps, throughput, timing
from benchmarks.images import random_images, random_maps
from e2m import explain
from e2m.arrays.maps import upsample
from e2m.experiment.profile import Profile
from e2m.measures.degradation import degrade
from e2m.measures.entropy import spatial_entropy
from e2m.statistics import mean_interval
from e2m.store import studies
from e2m.store.paths import CHECKOUT


class Clock:
    """A clock that moves only while a contestant runs."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, *seconds):
        order = iter(seconds)

        def run():
            self.now += next(order)

        return run


def test_contestants_take_turns():
    clock, calls = Clock(), []
    contestants = {name: lambda name=name: calls.append(name) for name in "AB"}
    timing.interleave(contestants, 2, clock=clock)
    assert "".join(calls) == "ABABAB"
    calls.clear()
    timing.interleave(contestants, 2, warm=True, clock=clock)
    assert "".join(calls) == "ABAB"


def test_the_first_round_is_not_counted():
    clock = Clock()
    contestants = {"ours": clock.taking(100, 1, 3, 2), "theirs": clock.taking(50, 6, 6, 4)}
    seconds = timing.interleave(contestants, 3, clock=clock)
    assert {name: taken.tolist() for name, taken in seconds.items()} == {"ours": [1, 3, 2], "theirs": [6, 6, 4]}


def process():
    yield os.getpid()


def test_contestants_of_a_comparison_have_a_process_of_their_own():
    (number,) = timing.apart(process)
    assert number != os.getpid()
    every = {name for names in maps.TOGETHER for name in names}
    assert set(filter(lambda name: isinstance(name, str), maps.NOTES)) <= every


@pytest.mark.parametrize(
    ("kind", "target", "ratio", "low", "high", "met"),
    [
        ("speed-up", 2.0, 2, 2, 6, True),
        ("speed-up", 2.1, 2, 2, 6, False),
        ("cost", 0.5, 0.5, 1 / 6, 0.5, True),
        ("cost", 0.4, 0.5, 1 / 6, 0.5, False),
        ("speed-up", None, 2, 2, 6, None),
    ],
)
def test_ratios_are_medians_of_the_rounds(kind, target, ratio, low, high, met):
    row = timing.compared("maps", "a", "b", np.array([1.0, 3, 2]), np.array([6.0, 6, 4]), kind, target, images=4)
    assert (row["ours_seconds"], row["theirs_seconds"], row["repeats"]) == (2, 6, 3)
    assert [row["ratio"], row["ratio_low"], row["ratio_high"]] == pytest.approx([ratio, low, high])
    assert row["met"] is met


def test_the_table_has_all_columns_and_is_kept(tmp_path):
    timed = timing.compared("maps", "map", "loop", np.ones(3), np.full(3, 2.0), target=3.0, detector="toy")
    table = timing.table([timed, {"row": "memory", "what": "job", "value": 7.5, "unit": "MiB", "target": None}])
    assert list(table) == list(timing.COLUMNS)
    assert table["met"].tolist() == [False, pd.NA]
    assert table["detector"].tolist() == ["toy", ""]
    studies.save("speed", table, tmp_path, command="make bench")
    kept, about = studies.load("speed", tmp_path)
    pd.testing.assert_frame_equal(kept, table)
    assert about["command"] == "make bench"
    with pytest.raises(ValueError, match=r"columns \['speed'\]"):
        timing.table([{"row": "maps", "speed": 1}])


def test_every_step_gives_the_same_measures(toy):
    detector, images = toy(), random_images(3, 32)
    other_run = random_maps(3, explain(detector, images).maps.shape[1])
    results = {}
    for taken in ([], [steps.FOLDED], [steps.CLEAN], [steps.FOLDED, steps.CLEAN]):
        with steps._opened(detector, taken, None) as explainer:
            results[tuple(taken)] = steps.five_measures(explainer, images, other_run, steps.CLEAN in taken)
    first = results.pop(())
    assert set(first["measure"]) == {"entropy", "stability", "noise", "transformations", "degradation"}
    scores = first["variant"].eq("score")
    for result in results.values():
        assert (result["value"] - first["value"]).abs()[scores].max() < 1e-5


def test_maps_from_files_are_counted_by_the_core_second(toy):
    (row, *_) = throughput.of_network(toy(), 2, 1)
    assert row["row"] == "end to end"
    assert row["value"] == pytest.approx(1 / row["ours_seconds"])
    assert row["unit"] == "images a core-second"


def test_parts_have_names_and_a_gpu_that_is_missing_is_named(capsys, monkeypatch):
    assert all(callable(part.rows) for part in speed.GROUPS.values())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        gpu.main([])
    assert "no GPU" in capsys.readouterr().err


def test_the_script_for_a_gpu_runs_without_one(toy, capsys, monkeypatch):
    """With a toy in place of its networks; the study's hours are shown, and nothing is saved."""
    monkeypatch.setattr(gpu, "NETWORKS", ("resnet50",))
    monkeypatch.setattr(gpu.networks, "load", lambda name, device: replace(toy(), name=name))
    gpu.main(["--device", "cpu", "--quick"])
    said = capsys.readouterr().out
    assert "resnet50 | Grad-CAM map" in said
    assert "hours" in said


@pytest.mark.parametrize("peer", [peers.torchcam, peers.torchcam_one_by_one])
def test_others_called_as_usual_make_the_same_maps(toy, peer):
    detector, images = toy(), random_images(3, 32)
    theirs = peer(detector.model, detector, maps.as_input(images, detector))
    assert maps.difference(explain(detector, images).maps, theirs) < 1e-5


def test_the_releases_loop_makes_the_same_maps(toy, tmp_path):
    detector, images = toy(), random_images(3, 32)
    torch.save(detector.model.state_dict(), tmp_path / "weights.pt")
    theirs = np.stack([literal.release_map(lambda: toy(seed=1), tmp_path / "weights.pt", image) for image in images])
    assert maps.difference(explain(detector, images).maps, theirs) < 1e-5
    assert all(weight.grad is None for weight in detector.model.parameters())


def test_maps_that_differ_are_reported():
    one = random_maps(2, 8)
    assert maps.difference(one, 5 * one + 3) < 1e-6
    assert maps.difference(one, one[:, ::-1]) > 0.1
    large = torch.nn.functional.interpolate(torch.from_numpy(one)[:, None], scale_factor=4, mode="bilinear")[:, 0]
    assert maps.difference(one, large.numpy()) < 1e-6


@pytest.mark.parametrize("region", ["salient", "background"])
def test_the_blur_by_definition_is_ours(region):
    images, salience = np.random.default_rng(0).integers(0, 256, (2, 56, 56, 3), np.uint8), random_maps(2, 7)
    large = upsample(salience, 56, 56)
    theirs = [literal.blurred(image, map_, region) for image, map_ in zip(images, large, strict=True)]
    apart = np.abs(degrade(images, salience, region).astype(int) - theirs)
    assert np.percentile(apart, 99) <= 1
    assert np.abs(images.astype(int) - theirs).mean() > 5


def test_the_bootstrap_by_definition_has_the_same_centre():
    values = np.random.default_rng(0).normal(3, 1, (5, 40))
    low, high = literal.crossed_bootstrap(values, 400)
    ours = mean_interval(values, resamples=400)
    assert low < ours.mean < high
    assert ours.low < low < high < ours.high  # ours knows that five runs are few


def test_random_images_and_maps_are_alive_and_seeded():
    assert (random_images(2, 16) == random_images(2, 16)).all()
    assert (random_images(2, 16) != random_images(2, 16, seed=1)).any()
    assert np.isfinite(spatial_entropy(random_maps(3, 7))).all()


def test_a_project_has_a_profile_that_a_job_can_read(tmp_path):
    profile = jobs.project(tmp_path, {"one": 3, "two": 2}, {"noise": {"amounts": [0.1]}}, "demo_cnn", 2, changed=1)
    loaded = Profile.load(str(profile))
    assert (loaded.sources, loaded.runs, loaded.images_per_source) == (["one", "two"], 2, 3)
    assert loaded.measures == {"noise": {"amounts": [0.1], "images_per_source": 1}}
    assert len(list((tmp_path / "results").rglob("run-*.pt"))) == 2


def test_a_job_says_what_memory_it_had_whoever_started_it():
    ours = np.ones(100 << 20)  # 800 MiB of this process
    command = ["-m", "benchmarks.peak", "timeit", "-n1", "-r1", "b'x' * (200 << 20)"]
    said = subprocess.run([sys.executable, *command], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ours.all()
    assert 200 < float(said.stderr.splitlines()[-1]) < 300
