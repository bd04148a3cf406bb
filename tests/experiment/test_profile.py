"""Profiles: what fits is read as it is written, and what does not gives one line, by name, before any work."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import asdict, fields, replace

import pandas as pd
import pytest
import yaml

import e2m.regimes
from e2m import cli
from e2m.experiment import profile as profile_module
from e2m.experiment.profile import PROFILES, ModelKey, Profile, claim
from e2m.experiment.results import Experiment
from e2m.store import disk, paths
from e2m.store.paths import CHECKOUT
from e2m.training.settings import MaskerSettings, Settings
from e2m.types import InputError
from tests.bad_input.test_profiles import DEMO, changed, refusal, written


def test_every_problem_has_its_line(tmp_path):
    content = changed("training.epochs", 0) | {"rns": 1, "runs": "many", "batch_size": -2}
    content["measures"]["noise"]["seed"] = None
    path = written(tmp_path, content)
    assert refusal(path).splitlines() == [
        f"{path}: rns: no such key; did you mean runs?",
        f"{path}: runs: 'many' arrived; a whole number from 1 up fits",
        f"{path}: batch_size: -2 arrived; a whole number from 1 up fits",
        f"{path}: training.epochs: 0 arrived; a whole number from 1 up fits",
        f"{path}: measures.noise.seed: null arrived; a whole number fits",
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("SETTINGS = {'nois': 0.1}", "regime mine: SETTINGS.nois: no such key; did you mean noise?"),
        ("SETTINGS = {'noise': 1.5}", "regime mine: SETTINGS.noise: 1.5 arrived; a number from 0 to 1 fits"),
        ("SETTINGS = {'seed': 1}", "regime mine: SETTINGS.seed: no such key; "),
        ("EPOCHS_FACTOR = 0", "regime mine: EPOCHS_FACTOR: 0 arrived; a whole number from 1 up fits"),
    ],
)
@pytest.mark.parametrize("section", ["regimes", "controls", "study"])
def test_settings_of_a_regime_are_checked_too(tmp_path, monkeypatch, settings, line, section):
    (tmp_path / "regimes").mkdir()
    (tmp_path / "regimes" / "mine.py").write_text(f"LABEL = COLOUR = GUIDED = loss = None\n{settings}")
    monkeypatch.setenv("E2M_PLUGINS", str(tmp_path))
    monkeypatch.setattr(e2m.regimes, "__path__", [*e2m.regimes.__path__])
    value = [*DEMO[section], "mine"] if section == "regimes" else DEMO[section] | {"mine": 3}
    path = written(tmp_path, DEMO | {section: value})
    try:
        assert refusal(path).startswith(f"{path}: {line}")
    finally:
        sys.modules.pop("e2m.regimes.mine")


def test_options_of_a_data_set(tmp_path):
    options = {"dataset": "folder", "dataset_options": {"rot": "faces", "salience": []}}
    path = written(tmp_path, DEMO | options)
    assert refusal(path).splitlines() == [
        f"{path}: dataset_options.rot: no such key; did you mean root?",
        f"{path}: dataset_options.root: missing; text, or a path fits",
        f"{path}: dataset_options.salience: [] arrived; a list (not empty) of text, or a path fits",
    ]
    Profile.load("demo", dataset="folder", dataset_options={"root": "faces", "csv": None, "salience": ["a", "b"]})


def test_a_masker_without_objective(tmp_path):
    path = written(tmp_path, changed("masker.mask_in", False))
    Profile.load(str(path))
    path = written(
        tmp_path, changed("masker.mask_in", False) | {"masker": DEMO["masker"] | {"mask_in": False, "mask_out": False}}
    )
    assert (
        refusal(path)
        == f"{path}: masker: neither mask_in nor mask_out; a masker needs one of the two objectives, or both"
    )


@pytest.mark.parametrize("name", ["papers", ""])
def test_an_unknown_profile(name):
    with pytest.raises(InputError, match=f"no profile named {name!r}; choose from demo, paper, planted, smoke"):
        Profile.load(name)


def test_the_command_line_prints_the_lines_and_starts_nothing(tmp_path, capsys):
    path = written(tmp_path, changed("training.epochs", 0))
    assert cli.main(["train", "--profile", str(path), "--regime", "cyborg", "--run", "0"]) == 1
    line = f"{path}: training.epochs: 0 arrived; a whole number from 1 up fits"
    assert capsys.readouterr().err == f"e2m: {line}\n"


# Two profiles of one name


def test_results_belong_to_one_file_of_a_name(tmp_path, roots):
    folders = [tmp_path / name for name in ("ours", "theirs")]
    ours, theirs = (folder / "mine.yaml" for folder in folders)
    for folder, content in zip(folders, (DEMO, DEMO | {"runs": 3, "image_size": 64}), strict=True):
        folder.mkdir()
        (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    Profile.load(str(theirs))  # nothing is claimed yet
    claim(str(ours))
    record = (roots / "results" / "mine" / "profile.json").read_bytes()
    words = (
        f"{theirs}: {roots}/results/mine holds the results of {ours}, whose image_size, runs differ; rename mine.yaml"
    )
    for attempt in (Profile.load, claim, Experiment.load):
        with pytest.raises(InputError, match=f"^{words}"):
            attempt(str(theirs))
    for command in (["run", "train_cyborg", "-p", "profile"], ["data", "--profile"]):
        assert cli.main([*command, str(theirs)]) == 1
    assert (roots / "results" / "mine" / "profile.json").read_bytes() == record
    assert [path.name for path in (roots / "results").rglob("*") if path.is_file()] == ["profile.json"]
    # The same settings in another file, and other settings in the same file, fit.
    theirs.write_text(ours.read_text())
    claim(str(theirs))
    theirs.write_text(yaml.safe_dump(DEMO | {"runs": 4}))
    claim(str(theirs))
    with pytest.raises(InputError, match=f"holds the results of {theirs}, whose runs differ"):
        Profile.load(str(ours))


def save(profile):
    """Write a result, as any job does."""
    path = paths.table(profile.profile, "noise")
    disk.write_table(path, pd.DataFrame({"runs": [profile.runs]}))
    return path


@pytest.fixture
def two(tmp_path, roots):
    """Two profiles of one name and other settings."""
    files = [tmp_path / name / "mine.yaml" for name in ("ours", "theirs")]
    for runs, file in enumerate(files, 3):
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(DEMO | {"runs": runs}))
    return files


def test_the_first_file_that_python_writes_records_whose_results_they_are(two):
    ours, theirs = two
    profile = Profile.load(ours)
    assert not paths.owner("mine").exists()
    save(replace(profile, masker=None))
    assert json.loads(paths.owner("mine").read_bytes())["file"] == str(ours)
    with pytest.raises(InputError, match=f"^{theirs}: .* holds the results of {ours}, whose runs differ"):
        Profile.load(theirs)
    written = save(Profile.load(ours))
    assert disk.read_table(written)["runs"].tolist() == [3]


def test_what_another_process_recorded_meanwhile_is_not_replaced(two):
    ours, theirs = two
    profile = Profile.load(ours)
    loaded, first = profile_module._LOADED.copy(), paths.FIRST.copy()
    claim(theirs)  # by another process, which knows nothing of this one
    profile_module._LOADED |= loaded
    paths.FIRST |= first
    record = paths.owner("mine").read_bytes()
    for _ in range(2):
        with pytest.raises(InputError, match=f"^{ours}: .* holds the results of {theirs}, whose runs differ"):
            save(profile)
    assert paths.owner("mine").read_bytes() == record
    assert not paths.table("mine", "noise").exists()


def test_of_two_profiles_of_one_name_in_one_session_neither_writes_before_it_is_known_which(two):
    ours, theirs = two
    profiles = [Profile.load(ours), Profile.load(theirs)]
    for profile in profiles:
        with pytest.raises(InputError, match=f"{ours} and {theirs} were both loaded, .*; rename one of them"):
            save(profile)
    assert not paths.table("mine", "noise").exists()
    claim(theirs)
    assert disk.read_table(save(profiles[1]))["runs"].tolist() == [4]


def test_a_profile_that_is_loaded_twice_or_copied_is_one(two):
    ours, theirs = two
    Profile.load(ours)
    ours.write_text(yaml.safe_dump(DEMO | {"runs": 5}))
    theirs.write_text(ours.read_text())
    profiles = [Profile.load(ours), Profile.load(theirs)]
    assert [disk.read_table(save(profile))["runs"].tolist() for profile in profiles] == [[5], [5]]


def test_a_profile_of_the_repository_is_named_from_its_root(tmp_path, roots):
    claim("demo")
    path = tmp_path / "demo.yaml"
    path.write_text(yaml.safe_dump(DEMO | {"runs": 3}))
    with pytest.raises(InputError, match=r"holds the results of notebooks/params/demo\.yaml, whose runs differ"):
        Profile.load(str(path))
    claim(str(PROFILES / "demo.yaml"))  # the same file by its path


@pytest.mark.parametrize("run", [-1, 1.5, True, "0", None])
def test_a_run_is_a_whole_number(run):
    with pytest.raises(InputError, match=r"^run: .* arrived.*; a whole number from 0 up fits"):
        ModelKey("resnet50", "cyborg", run)


# What fits


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_is_read_as_it_is_written(path):
    profile = Profile.load(path.stem)
    assert asdict(profile) == {"profile": path.stem, **yaml.safe_load(path.read_text())}
    assert Profile.load(str(path)) == profile
    assert asdict(Experiment.load(path.stem)) == asdict(profile)


def test_every_key_is_in_every_profile():
    names = [field.name for field in fields(Profile)][1:]
    for path in PROFILES.glob("*.yaml"):
        assert list(yaml.safe_load(path.read_text())) == names


def test_reading_a_profile_takes_no_torch(tmp_path):
    code = "from e2m.experiment.profile import Profile\nProfile.load('demo')\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"E2M_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )
    assert "torch" not in done.stdout.split()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("device", ["cpu", "cuda", "cuda:1", None]),
        ("detectors", [["timm:resnet18.a1_in1k"], ["mydetectors:mine"], ["package.module:function", "resnet50"]]),
        ("threads", [None, 2]),
        ("image_size", [None, 224]),
        ("controls", [{}]),
        ("study", [{}]),
        ("measures", [{}]),
        ("guided", [None]),
    ],
)
def test_values_that_fit(name, values):
    for value in values:
        assert getattr(Profile.load("demo", **{name: value}), name) == value


def test_settings_of_a_detector_and_its_masker():
    demo = Profile.load("demo")
    assert demo.settings(ModelKey("demo_cnn", "cyborg", 3)) == Settings(**DEMO["training"], seed=3)
    posed = demo.settings(ModelKey("demo_cnn", "pose_augmented", 1))
    assert (posed.turns, posed.epochs, posed.seed) == (True, 2 * DEMO["training"]["epochs"], 1)
    given = {name: value for name, value in DEMO["masker"].items() if name not in ("regimes", "runs")}
    assert demo.masker_settings(ModelKey("demo_cnn", "cyborg", 2)) == MaskerSettings(**given, seed=2)


def test_controls_and_studies_count_their_runs():
    """A study adds the runs that no page has, and trains none twice."""
    changed = {"controls": {"focused": 1, "shuffled_maps": 4, "fixed_map": 2}, "runs": 3}
    demo = Profile.load("demo", study={"focused": 3, "fixed_map": 2, "pose_augmented": 2, "cyborg": 5}, **changed)
    named = [(key.regime, key.run) for key in demo.controlled]
    assert named == [
        ("focused", 0),
        *(("shuffled_maps", run) for run in range(4)),
        *(("fixed_map", run) for run in range(2)),
    ]
    extra = [(key.regime, key.run) for key in demo.studied]
    assert extra == [
        *[("focused", 1), ("focused", 2)],
        *[("pose_augmented", 0), ("pose_augmented", 1)],
        *[("cyborg", 3), ("cyborg", 4)],
    ]
    alone = {"cross_entropy": 3, "cyborg": 5, "focused": 3, "shuffled_maps": 4, "fixed_map": 2, "pose_augmented": 2}
    assert demo.counts == alone
    every = [*demo.trained, *demo.controlled, *demo.studied]
    assert len(every) == len(set(every)) == sum(alone.values())
    assert demo.comparators == {"cross_entropy": 3, "shuffled_maps": 4, "fixed_map": 2}
    assert Profile.load("demo", controls={}, study={}).comparators == {"cross_entropy": DEMO["runs"]}


def test_roles_are_named():
    assert Profile.load("demo").roles == {"traditional": "cross_entropy", "guided": "cyborg"}
    swapped = Profile.load("demo", regimes=["cyborg", "focused", "cross_entropy"], guided="focused", controls={})
    assert swapped.roles == {"traditional": "cross_entropy", "guided": "focused"}
    with pytest.raises(InputError, match="profile planted: guided is null, and a comparison needs two regimes"):
        _ = Profile.load("planted").roles


def test_a_book_needs_two_regimes_two_runs_and_every_measure():
    Profile.load("smoke").check_pages()
    lacking = Profile.load("smoke", guided=None, runs=1, measures={"noise": Profile.load("smoke").measures["noise"]})
    with pytest.raises(InputError) as caught:
        lacking.check_pages()
    assert str(caught.value).splitlines() == [
        "profile smoke: guided: null arrived; one of regimes fits, since pages compare two",
        "profile smoke: runs: 1 arrived; a whole number from 2 up fits, since pages compare runs",
        "profile smoke: measures.degradation: missing; it has a page",
        "profile smoke: measures.transformations: missing; it has a page",
    ]


def test_a_book_needs_the_levels_that_its_pages_show():
    for name in ("demo", "smoke", "paper"):
        Profile.load(name).check_pages()
    measures = copy.deepcopy(Profile.load("smoke").measures)
    measures["noise"]["amounts"], measures["degradation"]["max_sigmas"] = [0.3], [5.0]
    with pytest.raises(InputError) as caught:
        Profile.load("smoke", measures=measures).check_pages()
    assert str(caught.value).splitlines() == [
        "profile smoke: measures.degradation: the level 10 is missing; pages show it",
        "profile smoke: measures.noise: the level 0.1 is missing; pages show it",
    ]
