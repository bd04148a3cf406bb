"""Several detectors in one job: the same bytes as one job each, and what is wrong with one stops no other."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from e2m import cli, plugins
from e2m.detectors import load_detector
from e2m.experiment import explain, train
from e2m.experiment.profile import ModelKey
from e2m.experiment.results import Experiment
from e2m.networks.checkpoints import CHECKPOINT_FORMAT
from e2m.store import paths
from e2m.training import loop
from e2m.types import InputError

KEYS = [ModelKey("demo_cnn", "cyborg", run) for run in range(3)]
SOURCES = ["real", "fake"]


def save(experiment, key, how="sound"):
    detector = load_detector("demo_cnn", seed=key.run)
    weights = {name: tensor.clone() for name, tensor in detector.model.state_dict().items()}
    head = [name for name in weights if name.startswith(f"{detector.head}.")]
    assert head
    for name in head if how != "sound" else ():
        weights[name].fill_({"blind": 0.0, "diverged": torch.nan}[how])
    content = {"format": CHECKPOINT_FORMAT, "detector": "demo_cnn", "frozen": [], "weights": weights}
    loop.save(content, experiment.checkpoint(key))


@pytest.fixture
def experiment(tmp_path, roots, one_thread):
    """Three detectors, the last of which is blind, four images of two sources in two batches, and every measure."""
    random = np.random.default_rng(0)
    for source, number in product(SOURCES, range(4)):
        path = tmp_path / "faces" / source / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    loaded = Experiment.load(
        "smoke",
        dataset="folder",
        dataset_options={"root": str(tmp_path / "faces")},
        sources=SOURCES,
        in_set=SOURCES,
        detectors=["demo_cnn"],
        regimes=["cyborg"],
        traditional="cyborg",
        guided=None,
        runs=len(KEYS),
        controls={},
        study={},
        masker=None,
        image_size=32,
        batch_size=3,
        methods=["GradCAM", "CAM"],
        measures={
            "noise": {"amounts": [0.1], "images_per_source": 3},
            "transformations": {"names": ["shift_up"], "images_per_source": 4},
            "degradation": {"max_sigmas": [10.0], "images_per_source": 2},
        },
    )
    for key, how in zip(KEYS, ("sound", "sound", "blind"), strict=True):
        save(loaded, key, how)
    return loaded


def files(experiment, *keys, sources=None):
    """The bytes of all results that are there."""
    return {path: path.read_bytes() for key in keys for path in experiment.results(key, sources) if path.is_file()}


@pytest.fixture
def alone(experiment):
    """The results of one job each, which are then removed."""
    for key in KEYS:
        explain.explain(experiment, key, progress=False)
    found = files(experiment, *KEYS)
    assert len(found) == len(KEYS) * len(SOURCES) * (len(experiment.methods) + len(experiment.measures))
    for path in found:
        path.unlink()
    return found


def test_several_detectors_give_the_bytes_of_one_each_and_images_are_changed_once(experiment, alone, monkeypatch):
    module, calls = plugins.load("measure", "degradation"), []
    perturbations = module.perturbations
    monkeypatch.setattr(
        module,
        "perturbations",
        lambda images, maps, **options: calls.append(len(maps)) or perturbations(images, maps, **options),
    )
    explain.explain_runs(experiment, KEYS, progress=False)
    assert files(experiment, *KEYS) == alone
    # A blind detector's maps are dead: those of the others guide the blur of its images all the same.
    assert set(calls) == {len(KEYS) * len(experiment.methods)}


@pytest.mark.parametrize(("how", "words"), [("diverged", "is a number"), ("not a checkpoint", "")])
def test_a_detector_that_cannot_be_explained_is_named_and_the_others_are_done(experiment, alone, how, words):
    bad, others = KEYS[1], [KEYS[0], KEYS[2]]
    if how == "diverged":
        save(experiment, bad, how)
    else:
        experiment.checkpoint(bad).write_bytes(b"nothing")
    with pytest.raises(InputError, match=rf"^{bad}: .*{words}") as raised:
        explain.explain_runs(experiment, KEYS, progress=False)
    assert not any(f"{key}: " in str(raised.value) for key in others)
    assert files(experiment, *others) == {path: alone[path] for key in others for path in experiment.results(key)}
    assert not files(experiment, bad)
    assert not [path for path in paths.RESULTS.rglob("*") if path.name.startswith(".")]


@pytest.fixture
def explained(monkeypatch):
    """(source, run) of every batch that is explained; a job is killed where ``end`` says so."""
    seen, batch = [], explain.explain_batch

    def watched(experiment, explainers, about, images, unreadable):
        source = about["source"].iloc[0]
        if source == watched.end:
            raise KeyboardInterrupt
        seen.extend((source, key.run) for key in explainers)
        return batch(experiment, explainers, about, images, unreadable)

    watched.end = None
    watched.seen = seen
    monkeypatch.setattr(explain, "explain_batch", watched)
    return watched


def test_a_killed_job_goes_on_with_the_sources_that_are_left(experiment, alone, explained):
    first, second = experiment.samples["source"].unique()
    explained.end = second
    with pytest.raises(KeyboardInterrupt):
        explain.explain_runs(experiment, KEYS, progress=False)
    assert set(files(experiment, *KEYS)) == {path for key in KEYS for path in experiment.results(key, [first])}
    explained.end = None
    explained.seen.clear()
    # What is damaged is made again, of this detector on this source; what was removed has its second name.
    damaged, missing = experiment.results(KEYS[0], [first])[-1], experiment.results(KEYS[1], [first])[0]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    missing.unlink()
    explain.explain_runs(experiment, KEYS, progress=False)
    assert set(explained.seen) == {(first, 0), *((second, key.run) for key in KEYS)}
    assert files(experiment, *KEYS) == alone


def test_finished_work_is_kept_only_if_nothing_that_it_was_made_of_has_changed(experiment, explained):
    explain.explain_runs(experiment, KEYS, progress=False)
    explained.seen.clear()
    explain.explain_runs(experiment, KEYS, progress=False)
    assert not explained.seen
    save(experiment, KEYS[1], "blind")
    explain.explain_runs(experiment, KEYS, progress=False)
    assert {run for _, run in explained.seen} == {1}
    image = Path(experiment.samples.query("source == 'fake'")["path"].iloc[0])
    Image.new("RGB", (32, 32)).save(image)
    explained.seen.clear()
    explain.explain_runs(experiment, KEYS, progress=False)
    assert set(explained.seen) == {("fake", key.run) for key in KEYS}
    experiment.measures["noise"]["amounts"] = [0.2]
    explained.seen.clear()
    explain.explain_runs(experiment, KEYS, progress=False)
    assert set(explained.seen) == set(product(SOURCES, range(len(KEYS))))


def test_detectors_with_and_without_a_masker_may_be_asked_for_together(experiment, alone, monkeypatch):
    """Those with other methods have a pass of their own."""
    monkeypatch.setattr(
        type(experiment), "methods_of", lambda self, key: ["CAM"] if key.run == 1 else ["GradCAM", "CAM"]
    )
    explain.explain_runs(experiment, KEYS, progress=False)
    assert len(files(experiment, KEYS[1])) == len(SOURCES) * (1 + len(experiment.measures))
    assert {path.name for path in files(experiment, KEYS[0])} == {path.name for path in alone}


def remove(*paths):
    """As Snakemake does with the files of a job that failed, and before it starts one."""
    for path in paths:
        path.unlink(missing_ok=True)


def test_what_a_failed_job_has_finished_has_a_second_name_until_its_next_attempt(experiment, alone, explained):
    sound = experiment.checkpoint(KEYS[1]).read_bytes()
    experiment.checkpoint(KEYS[1]).write_bytes(b"nothing")
    with pytest.raises(InputError, match="run 1: "):
        explain.explain_runs(experiment, KEYS, progress=False)
    remove(*alone)
    experiment.checkpoint(KEYS[1]).write_bytes(sound)
    explained.seen.clear()
    explain.explain_runs(experiment, KEYS, progress=False)
    assert set(explained.seen) == {(source, 1) for source in SOURCES}
    assert files(experiment, *KEYS) == alone
    assert not [path for path in paths.RESULTS.rglob("*") if path.suffix == ".finished"]


def test_trainings_that_share_a_process_keep_what_is_finished(tmp_path):
    """Files of a job that failed are there again for its next attempt, but for one that is damaged."""
    done, fail = [], {1}

    def job(key):
        if key.run in fail:
            raise InputError("the loss became nan")
        if not targets[key].is_file():
            done.append(key.run)
            targets[key].write_text(f"{key.run}")
        return targets[key]

    targets = {key: tmp_path / f"run-{key.run}.pt" for key in KEYS}
    with pytest.raises(InputError, match=f"^{KEYS[1]}: the loss became nan$"):
        list(train.in_turn(job, targets))
    assert done == [0, 2]
    remove(*targets.values())
    fail.clear()
    assert list(train.in_turn(job, targets)) == list(targets.values())
    assert done == [0, 2, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-0.pt", "run-1.pt", "run-2.pt"]


def test_commands_take_several_runs_and_name_those_that_fail(monkeypatch, capsys):
    def job(experiment, key):
        if key.run == 1:
            raise InputError("the loss became nan")
        return None, f"run {key.run}"

    for command, name in (("train", "train"), ("train-masker", "train_masker")):
        monkeypatch.setattr(train, name, job)
        runs = [f"--run={run}" for run in (0, 1, 2, 0)]
        assert cli.main([command, "--profile=smoke", "--regime=cyborg", *runs]) == 1
        said = capsys.readouterr()
        assert said.out == "run 0\nrun 2\n"
        assert said.err == "e2m: demo_cnn, cyborg, run 1: the loss became nan\n"
