"""Profiles: what fits is read as it is written, and what does not gives one line, by name, before any work."""

import copy
import subprocess
import sys
from dataclasses import asdict, fields

import pytest
import yaml

import e2m.regimes
from e2m import cli
from e2m.experiment.profile import PROFILES, ModelKey, Profile, claim
from e2m.experiment.results import Experiment
from e2m.store.paths import CHECKOUT
from e2m.training.settings import MaskerSettings, Settings
from e2m.types import InputError

DEMO = yaml.safe_load((PROFILES / "demo.yaml").read_text())
REMOVED = object()

BAD = [
    # Keys
    ("rns", 3, "rns: no such key; did you mean runs?"),
    ("colour", 3, "colour: no such key; choose from dataset, ...resamples, training, masker, measures"),
    (3, 3, "3: no such key; choose from dataset, ...measures"),
    ("runs", REMOVED, "runs: missing; a whole number from 1 up fits"),
    ("guided", REMOVED, "guided: missing; one of cross_entropy, ..., or null fits"),
    ("training", REMOVED, "training: missing; a mapping fits"),
    # Numbers and truth values
    ("runs", 0, "runs: 0 arrived; a whole number from 1 up fits"),
    ("runs", 2.0, "runs: 2.0 arrived; a whole number from 1 up fits"),
    ("runs", "3", "runs: '3' arrived, which YAML reads as text (write 3); a whole number from 1 up fits"),
    ("runs", True, "runs: true arrived; a whole number from 1 up fits"),
    ("runs", None, "runs: null arrived; a whole number from 1 up fits"),
    ("runs", [3], "runs: [3] arrived; a whole number from 1 up fits"),
    ("pretrained", "false", "pretrained: 'false' arrived; true or false fits"),
    ("pretrained", 1, "pretrained: 1 arrived; true or false fits"),
    ("threads", 0, "threads: 0 arrived; a whole number from 1 up, or null fits"),
    ("device", "gpu", "device: 'gpu' arrived; cpu, cuda or cuda:1, or null fits"),
    ("image_size", -1, "image_size: -1 arrived; a whole number from 1 up, or null fits"),
    ("batch_size", 0, "batch_size: 0 arrived; a whole number from 1 up fits"),
    ("images_per_source", -1, "images_per_source: -1 arrived; a whole number from 1 up fits"),
    ("resamples", float("nan"), "resamples: nan arrived; a whole number from 1 up fits"),
    # Names
    ("dataset", "dmo", "dataset: 'dmo' arrived; one of demo, folder, planted fits; did you mean demo?"),
    ("dataset", ["demo"], "dataset: ['demo'] arrived; one of demo, folder, planted fits..."),
    ("sources", [], "sources: [] arrived; a list (not empty) of text fits"),
    ("sources", "orl", "sources: 'orl' arrived; a list (not empty) of text fits"),
    ("sources", ["orl", "swap", 3], "sources[2]: 3 arrived; text fits"),
    ("sources", ["orl", "swap", "orl"], "sources[2]: 'orl' arrived a second time; entries must differ"),
    ("sources", ["orl", "swap", ""], "sources[2]: '' arrived; text fits"),
    ("in_set", [], "in_set: [] arrived; a list (not empty) of text fits"),
    ("in_set", ["orl", "nobody"], "in_set[1]: 'nobody' arrived; one of orl, swap, morph, eigenface, dcgan fits"),
    ("detectors", ["demo_cn"], "detectors[0]: 'demo_cn' arrived; one of demo_cnn, ...fits; did you mean demo_cnn?"),
    ("detectors", ["timm:"], "detectors[0]: 'timm:' arrived; one of ..., or timm:NAME or package.module:function fits"),
    ("detectors", ["mine.py:build"] * 2, "detectors[1]: 'mine.py:build' arrived a second time; ..."),
    ("regimes", ["cyborgs"], "regimes[0]: 'cyborgs' arrived; one of cross_entropy, ...; did you mean cyborg?"),
    ("regimes", ["cross_entropy", "cyborg", "cyborg"], "regimes[2]: 'cyborg' arrived a second time; ..."),
    ("traditional", "fixed_map", "traditional: 'fixed_map' arrived; one of cross_entropy, cyborg fits"),
    ("traditional", None, "traditional: null arrived; one of cross_entropy, ...fits"),
    ("guided", "focused", "guided: 'focused' arrived; one of cross_entropy, cyborg, or null fits"),
    ("guided", "cross_entropy", "guided: 'cross_entropy' arrived, which is the traditional regime; another one or ..."),
    ("controls", ["focused"], "controls: ['focused'] arrived; a mapping of any of cross_entropy, ... fits"),
    ("controls", {"cyborg": 1}, "controls.cyborg: this is one of regimes, whose number of runs is runs; ..."),
    ("controls", {"focussed": 1}, "controls.focussed: no such key; did you mean focused?"),
    ("controls.focused", 0, "controls.focused: 0 arrived; a whole number from 1 up fits"),
    ("study.shuffled_map", 3, "study.shuffled_map: no such key; did you mean shuffled_maps?"),
    ("study.noise_augmented", 0, "study.noise_augmented: 0 arrived; a whole number from 1 up fits"),
    ("study", None, "study: null arrived; a mapping of any of cross_entropy, ... to a whole number from 1 up fits"),
    ("methods", [], "methods: [] arrived; a list (not empty) of any of ...CAM...fits"),
    ("methods", ["CAM", "GradCAMM"], "methods[1]: 'GradCAMM' arrived; one of ...; did you mean GradCAM?"),
    ("methods", ["CAM", "masker"], "methods[1]: 'masker' arrived; the key masker adds it to its regimes"),
    # Training
    ("training", [], "training: [] arrived; a mapping fits"),
    ("training.learning_rte", 0.1, "training.learning_rte: no such key; did you mean learning_rate?"),
    ("training.seed", 1, "training.seed: no such key; choose from epochs, ..."),
    ("training.learning_rate", float("nan"), "training.learning_rate: nan arrived; a number above 0 fits"),
    ("training.learning_rate", 0, "training.learning_rate: 0 arrived; a number above 0 fits"),
    ("training.learning_rate", "fast", "training.learning_rate: 'fast' arrived; a number above 0 fits"),
    ("training.epochs", 0, "training.epochs: 0 arrived; a whole number from 1 up fits"),
    ("training.batch_size", 1, "training.batch_size: 1 arrived; a whole number from 2 up fits"),
    ("training.images_per_epoch", 1, "training.images_per_epoch: 1 arrived; a whole number from 2 up, or null fits"),
    ("training.flip", "false", "training.flip: 'false' arrived; true or false fits"),
    ("training.shift_px", -1, "training.shift_px: -1 arrived; a whole number from 0 up fits"),
    ("training.momentum", 1.0, "training.momentum: 1.0 arrived; a number from 0 to below 1 fits"),
    ("training.noise", 1.2, "training.noise: 1.2 arrived; a number from 0 to 1 fits"),
    ("training.schedule", "one_cycel", "training.schedule: 'one_cycel' arrived; one of ...; did you mean one_cycle?"),
    # Maskers
    ("masker", 3, "masker: 3 arrived; a mapping, or null fits"),
    ("masker.regimes", REMOVED, "masker.regimes: missing; a list (not empty) of any of cross_entropy, ...fits"),
    ("masker.regimes", [], "masker.regimes: [] arrived; a list (not empty) of any of cross_entropy, ...fits"),
    ("masker.regimes", ["focused"], "masker.regimes[0]: 'focused' arrived; one of cross_entropy, cyborg fits"),
    ("masker.epoch", 3, "masker.epoch: no such key; did you mean epochs?"),
    ("masker.infill", "gan", "masker.infill: 'gan' arrived; one of zeros, mean, blur, noise fits"),
    ("masker.stages", [], "masker.stages: [] arrived; a list (not empty) of text fits"),
    ("masker.clip", 0, "masker.clip: 0 arrived; a number above 0 fits"),
    ("masker.mask_in", "no", "masker.mask_in: 'no' arrived; true or false fits"),
    # Measures
    ("measures", [], "measures: [] arrived; a mapping of any of ... to a mapping fits"),
    ("measures.noises", {}, "measures.noises: no such key; did you mean noise?"),
    ("measures.noise", None, "measures.noise: null arrived; a mapping fits"),
    ("measures.entropy", {}, "measures.entropy: no such key; this measure changes no images and has no settings"),
    ("measures.noise.amounts", [0.1, 0.2, 1.5], "measures.noise.amounts[2]: 1.5 arrived; a number from 0 to 1 fits"),
    ("measures.noise.amounts", [0.1, 0.1], "measures.noise.amounts[1]: 0.1 arrived a second time; ..."),
    (
        "measures.noise.amounts",
        [],
        "measures.noise.amounts: [] arrived; a list (not empty) of numbers from 0 to 1 fits",
    ),
    ("measures.noise.amounts", 0.1, "measures.noise.amounts: 0.1 arrived; a list (not empty) of numbers ..."),
    ("measures.noise.amount", [0.1], "measures.noise.amount: no such key; did you mean amounts?"),
    ("measures.noise.images", 3, "measures.noise.images: no such key; choose from amounts, seed, images_per_source"),
    ("measures.noise.seed", 0.5, "measures.noise.seed: 0.5 arrived; a whole number fits"),
    ("measures.noise.images_per_source", -1, "measures.noise.images_per_source: -1 arrived; ..."),
    ("measures.noise.images_per_source", REMOVED, "measures.noise.images_per_source: missing; a whole number ..."),
    ("measures.transformations.names", ["flip"], "measures.transformations.names[0]: 'flip' arrived; one of ..."),
    (
        "measures.degradation.max_sigmas",
        [-1.0],
        "measures.degradation.max_sigmas[0]: -1.0 arrived; a number from 0 ...",
    ),
    ("measures.degradation.regions", ["saliant"], "measures.degradation.regions[0]: ...; did you mean salient?"),
    ("counterparts", {"dcgan": "ffhq"}, "counterparts.dcgan: 'ffhq' arrived; one of orl, swap, ..."),
    ("counterparts", {"gan": "orl"}, "counterparts.gan: no such key; did you mean dcgan?"),
    # The data set
    ("dataset_options", None, "dataset_options: null arrived; a mapping fits"),
    ("dataset_options.root", "faces", "dataset_options.root: no such key; none fits here"),
]


def changed(path, value):
    """The demo's profile with one key set or removed."""
    content = copy.deepcopy(DEMO)
    *parents, last = path.split(".") if isinstance(path, str) else [path]
    section = content
    for name in parents:
        section = section[name]
    if value is REMOVED:
        del section[last]
    else:
        section[last] = value
    return content


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    return path


def refusal(path):
    with pytest.raises(InputError) as refused:
        Profile.load(str(path))
    return str(refused.value)


@pytest.mark.parametrize(("key", "value", "line"), BAD, ids=[f"{key}={value}"[:50] for key, value, _ in BAD])
def test_a_bad_profile_gives_one_line(tmp_path, key, value, line):
    path = written(tmp_path, changed(key, value))
    message = refusal(path)
    first, *_, last = [f"{path}: {line}"] * 2 if "..." not in line else f"{path}: {line}".split("...")
    assert message.startswith(first)
    assert message.endswith(last)
    assert "..." in line or message == first
    assert "\n" not in message


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
    ("text", "line"),
    [
        ("", "nothing arrived; a mapping fits, as in notebooks/params/demo.yaml"),
        ("# only a comment\n", "nothing arrived; a mapping fits, as in notebooks/params/demo.yaml"),
        ("- demo\n- 3\n", "['demo', 3] arrived; a mapping fits, as in notebooks/params/demo.yaml"),
        ("demo", "'demo' arrived; a mapping fits, as in notebooks/params/demo.yaml"),
        (
            "runs: 3\n  training: 4\n",
            "line 2: mapping values are not allowed here; YAML fits, as in notebooks/params/demo.yaml",
        ),
        (
            "runs: [3\n",
            "line 2: expected ',' or ']', but got '<stream end>'; YAML fits, as in notebooks/params/demo.yaml",
        ),
        (
            "training:\n  epochs: 3\n  flip: true\n  epochs: 4\n",
            "line 4: a second key epochs; YAML fits, as in notebooks/params/demo.yaml",
        ),
        ("device: !!python/name:os.system\n", "line 1: could not determine a constructor for the tag '...demo.yaml"),
        ("runs: \x00\n", "not a text file; YAML fits, as in notebooks/params/demo.yaml"),
        ("runs: 2020-13-45\n", "a value is not YAML (month must be in 1..12); quote it, or write what fits"),
    ],
)
def test_a_file_that_is_no_profile(tmp_path, text, line):
    path = written(tmp_path, text)
    message = refusal(path)
    if "..." in line:
        first, last = line.split("...")
        assert message.startswith(f"{path}: {first}")
        assert message.endswith(last)
    else:
        assert message == f"{path}: {line}"
    assert "\n" not in message


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"dataset: caf\xe9\n")
    assert refusal(path) == f"{path}: not a text file; YAML fits, as in notebooks/params/demo.yaml"


@pytest.mark.parametrize(("number", "better"), [("1e-3", "0.001"), ("5E-6", "5.0e-06"), ("1e-10", "1.0e-10")])
def test_a_number_that_yaml_takes_for_text_is_named(tmp_path, number, better):
    text = (PROFILES / "paper.yaml").read_text()
    assert "weight_decay: 0.000001\n" in text
    path = written(tmp_path, text.replace("weight_decay: 0.000001\n", f"weight_decay: {number}\n"))
    line = f"'{number}' arrived, which YAML reads as text (write {better}); a number from 0 up fits"
    assert refusal(path) == f"{path}: training.weight_decay: {line}"
    path = written(tmp_path, text.replace("weight_decay: 0.000001\n", f"weight_decay: {better}\n"))
    assert Profile.load(str(path)).training["weight_decay"] == float(number)


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


@pytest.mark.parametrize("name", ["papers", "", 3])
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


def test_reading_a_profile_takes_no_torch():
    code = "from e2m.experiment.profile import Profile\nProfile.load('demo')\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
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
    assert sorted(str(caught.value).splitlines()) == [
        "profile smoke: measures.degradation: the level 10 is missing; pages show it",
        "profile smoke: measures.noise: the level 0.1 is missing; pages show it",
    ]
