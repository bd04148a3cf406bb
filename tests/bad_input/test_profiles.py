"""Bad profiles: one line for each problem, with the file and the key; nothing is started, written or lost.

The first table changes one key of the demo's profile, the second is whole files.
"""

import copy
import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from e2m.experiment import written as as_written
from e2m.experiment.profile import PROFILES, Profile, claim
from e2m.store import paths
from e2m.types import InputError

DEMO = yaml.safe_load((PROFILES / "demo.yaml").read_text())
REMOVED = ...  # no YAML has it
FITS = "YAML fits, as in notebooks/params/demo.yaml"
MAPPING = "a mapping fits, as in notebooks/params/demo.yaml"

BAD = [
    # Keys
    ("rns", 3, "rns: no such key; did you mean runs?"),
    ("colour", 3, "colour: no such key; choose from dataset, ...resamples, training, masker, measures, ..."),
    (3, 3, "3: no such key; choose from dataset, ..."),
    ("runs", REMOVED, "runs: missing; a whole number from 1 up fits"),
    ("guided", REMOVED, "guided: missing; one of cross_entropy, ..., or null fits"),
    ("training", REMOVED, "training: missing; a mapping fits"),
    # Numbers and truth values
    ("runs", 0, "runs: 0 arrived; a whole number from 1 up fits"),
    ("runs", 2.0, "runs: 2.0 arrived; a whole number from 1 up fits"),
    ("runs", "3", "runs: '3' arrived, which YAML reads as text (write 3); a whole number from 1 up fits"),
    ("runs", "010", "runs: '010' arrived, which YAML reads as text (write 10); a whole number from 1 up fits"),
    ("runs", "1:30", "runs: '1:30' arrived; a whole number from 1 up fits"),
    ("runs", float("inf"), "runs: inf arrived; a whole number from 1 up fits"),
    ("runs", True, "runs: true arrived; a whole number from 1 up fits"),
    ("runs", None, "runs: null arrived; a whole number from 1 up fits"),
    ("runs", [3], "runs: [3] arrived; a whole number from 1 up fits"),
    ("pretrained", "false", "pretrained: 'false' arrived; true or false fits"),
    ("pretrained", 1, "pretrained: 1 arrived; true or false fits"),
    ("threads", 0, "threads: 0 arrived; a whole number from 1 up, or null fits"),
    ("device", "cpu; touch ran", "device: 'cpu; touch ran' arrived; cpu, cuda or cuda:1, or null fits"),
    ("device", "gpu", "device: 'gpu' arrived; cpu, cuda or cuda:1, or null fits"),
    ("precision", "bf16", "precision: 'bf16' arrived; one of float32, bfloat16 fits; did you mean bfloat16?"),
    ("precision", None, "precision: null arrived; one of float32, bfloat16 fits"),
    ("image_size", -1, "image_size: -1 arrived; a whole number from 1 up, or null fits"),
    ("batch_size", 0, "batch_size: 0 arrived; a whole number from 1 up fits"),
    ("images_per_source", -1, "images_per_source: -1 arrived; a whole number from 1 up, or auto fits"),
    ("images_per_source", "all", "images_per_source: 'all' arrived; a whole number from 1 up, or auto fits"),
    ("images_per_source", "auto", "pilot: missing, and a number of images is auto; {} fits, which is 3 runs and ..."),
    ("measures.noise.images_per_source", "auto", "pilot: missing, and a number of images is auto; ..."),
    ("pilot", {}, "pilot: {} arrived, and no images_per_source is auto; null fits"),
    ("pilot", 200, "pilot: 200 arrived; a mapping, or null fits"),
    ("pilot", {"runs": 2}, "pilot.runs: 2 arrived; a whole number from 3 up fits"),
    ("pilot", {"images_per_source": 19}, "pilot.images_per_source: 19 arrived; a whole number from 20 up fits"),
    ("pilot", {"share": 0}, "pilot.share: 0 arrived; a number above 0 up to below 1 fits"),
    ("pilot", {"share": 1}, "pilot.share: 1 arrived; ..."),
    ("pilot", {"precision": 0.1}, "pilot.precision: no such key; choose from runs, ...half_width"),
    ("pilot", {"half_width": {"nois": 0.1}}, "pilot.half_width.nois: no such key; did you mean noise?"),
    ("pilot", {"half_width": {"noise": 0}}, "pilot.half_width.noise: 0 arrived; a number above 0 fits"),
    ("resamples", float("nan"), "resamples: nan arrived; a whole number from 1 up fits"),
    # Names
    ("dataset", "dmo", "dataset: 'dmo' arrived; one of demo, folder, planted fits; did you mean demo?"),
    ("dataset", ["demo"], "dataset: ['demo'] arrived; one of demo, folder, planted fits..."),
    ("sources", [], "sources: [] arrived; a list (not empty) of text fits"),
    ("sources", "orl", "sources: 'orl' arrived; a list (not empty) of text fits"),
    ("sources", ["orl", 2024], "sources[1]: 2024 arrived, which was read as a number (quote it); text fits"),
    ("sources", ["orl", 1e3], "sources[1]: 1000.0 arrived, which was read as a number (quote it); text fits"),
    ("sources", ["orl", True], "sources[1]: true arrived, which was read as a truth value (quote it); text fits"),
    ("sources", ["orl", None], "sources[1]: null arrived; text fits"),
    ("sources", ["orl", "swap", "orl"], "sources[2]: 'orl' arrived a second time; entries must differ"),
    ("sources", ["orl", "swap", ""], "sources[2]: '' arrived; text fits"),
    ("sources", ["orl", "a\nb"], "sources[1]: 'a\\nb' arrived, which holds control characters; text fits"),
    ("sources", ["orl", "a\0b"], "sources[1]: 'a\\x00b' arrived, which holds control characters; text fits"),
    ("in_set", [], "in_set: [] arrived; a list (not empty) of text fits"),
    ("in_set", ["orl", "nobody"], "in_set[1]: 'nobody' arrived; one of orl, swap, morph, eigenface, dcgan fits"),
    ("detectors", ["demo_cn"], "detectors[0]: 'demo_cn' arrived; one of demo_cnn, ...fits; did you mean demo_cnn?"),
    ("detectors", ["timm:"], "detectors[0]: 'timm:' arrived; one of ..., or timm:NAME or package.module:function fits"),
    ("detectors", ["timm:../../x"], "detectors[0]: 'timm:../../x' arrived; one of ..., or timm:NAME or ... fits"),
    ("detectors", ["demo_cnn; touch ran"], "detectors[0]: 'demo_cnn; touch ran' arrived; ...fits"),
    ("detectors", ["timm:x;touch${IFS}ran"], "detectors[0]: ...fits"),
    ("detectors", ["mine:build; touch ran"], "detectors[0]: ...fits"),
    ("detectors", [2024], "detectors[0]: 2024 arrived; one of ...fits"),
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
    (
        "measures.degradation.max_sigmas",
        [1e6],
        "measures.degradation.max_sigmas[0]: 1000000.0 arrived; a number from ...",
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
    content = text if isinstance(text, str | bytes) else yaml.safe_dump(text)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path):
    with pytest.raises(InputError) as refused:
        Profile.load(str(path))
    return str(refused.value)


def refused(path, line):
    """Check that a profile is refused with a line, in which "..." stands for anything, and that the file is kept."""
    before = path.read_bytes()
    message = refusal(path)
    first, *_, last = f"{path}: {line}".split("...") if "..." in line else [f"{path}: {line}", ""]
    assert message.startswith(first)
    assert message.endswith(last)
    assert "..." in line or message == first
    assert "\n" not in message
    assert path.read_bytes() == before


@pytest.mark.parametrize(("key", "value", "line"), BAD, ids=[f"{key}={value}"[:50] for key, value, _ in BAD])
def test_a_bad_profile_gives_one_line(tmp_path, key, value, line):
    refused(written(tmp_path, changed(key, value)), line)


TEXTS = [
    ("", f"nothing arrived; {MAPPING}"),
    ("# only a comment\n", f"nothing arrived; {MAPPING}"),
    ("- demo\n- 3\n", f"['demo', 3] arrived; {MAPPING}"),
    ("demo", f"'demo' arrived; {MAPPING}"),
    ("runs: 3\n  training: 4\n", f"line 2: mapping values are not allowed here; {FITS}"),
    ("runs: [3\n", f"line 2: expected ',' or ']', but got '<stream end>'; {FITS}"),
    ("runs: {a: 3\n", f"line 2: expected ',' or '}}', but got '<stream end>'; {FITS}"),
    ("runs: 3\n\ttraining: 4\n", f"line 2: found character '\\t' that cannot start any token; {FITS}"),
    ("training:\n\tepochs: 3\n", f"line 2: found character '\\t' that cannot start any token; {FITS}"),
    ("runs: 3\nruns: 4\n", f"line 2: a second key runs; {FITS}"),
    ("a: " + "{" * 3000 + "}" * 3000, f"lists or mappings stand inside each other too often; {FITS}"),
    (bytes(range(256)), f"not a text file; {FITS}"),
    ("device: 'cpu\n", f"line 2: found unexpected end of stream; {FITS}"),
    ("runs: 3\n---\nruns: 4\n", f"line 2: but found another document; {FITS}"),
    ("training:\n  epochs: 3\n  flip: true\n  epochs: 4\n", f"line 4: a second key epochs; {FITS}"),
    ("? [a]\n: 3\n", f"line 1: found unhashable key; {FITS}"),
    ("runs: \x00\n", f"not a text file; {FITS}"),
    (b"dataset: caf\xe9\n", f"not a text file; {FITS}"),
    ("runs: " + "9" * 5000, f"a value is not YAML (Exceeds the limit ...); {FITS}"),
    ("[" * 5000, f"lists or mappings stand inside each other too often; {FITS}"),
    # What runs code, or never ends, elsewhere
    ("device: !!python/name:os.system\n", f"line 1: an anchor, an alias or a tag stands for a value; {FITS}"),
    ("device: !!python/object/apply:os.system [touch ran]\n", f"line 1: an anchor, an alias or a tag ...; {FITS}"),
    ("a: 1\nb: !!bool maybe\n", f"line 2: an anchor, an alias or a tag ...; {FITS}"),
    ("b: !!timestamp soon\n", f"line 1: an anchor, an alias or a tag ...; {FITS}"),
    ("a: &a [*a]\n", f"line 1: an anchor, an alias or a tag ...; {FITS}"),
    ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", f"line 1: an anchor, an alias or a tag ...; {FITS}"),
]


@pytest.mark.parametrize(("text", "line"), TEXTS, ids=[repr(text)[:40] for text, _ in TEXTS])
def test_a_file_that_is_no_profile(tmp_path, monkeypatch, text, line):
    monkeypatch.chdir(tmp_path)
    refused(written(tmp_path, text), line)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_half_a_character_is_no_name(tmp_path):
    """JSON can write it, and no file can be called by it."""
    path = written(tmp_path, json.dumps(DEMO | {"sources": ["orl", "\ud800"], "in_set": ["orl"], "counterparts": {}}))
    assert r"sources[1]: '\ud800' arrived, which holds control characters; text fits" in refusal(path)


@pytest.mark.parametrize("columns", [{"path": 3}, {"path": ["file"]}])
def test_the_name_of_a_column_is_text(tmp_path, columns):
    options = {"root": "faces", "columns": columns}
    content = DEMO | {"dataset": "folder", "dataset_options": options, "counterparts": {}}
    assert re.search(
        r"mine.yaml: dataset_options.columns.path: .* arrived.*; text fits", refusal(written(tmp_path, content))
    )


@pytest.mark.parametrize("name", [2024, 8, 1000.0, False, None])
def test_a_name_that_something_read_as_a_number_is_not_guessed(name):
    """papermill reads -p profile 010 as 10, and 1e3 as 1000.0."""
    with pytest.raises(InputError, match=r"^profile: .* arrived.*; text fits$"):
        Profile.load(name)


# Text stays text


@pytest.mark.parametrize(
    "name", ["2024", "010", "1e3", "off", "..", "-x", "l'été; $HOME", "$(touch ran)", "{run}", "a.b"]
)
def test_a_profile_has_the_name_of_its_file_and_its_results_a_folder_of_their_own(tmp_path, roots, name):
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(DEMO))
    profile = Profile.load(path)
    assert profile.profile == name
    (file,) = {profile.checkpoint(key).resolve() for key in profile.trained[:1]}
    assert file.relative_to(paths.RESULTS).parts[0] not in (".", "..", "checkpoints")
    claim(path)
    assert [owner.parent.parent for owner in tmp_path.rglob("profile.json")] == [paths.RESULTS]


def test_sources_have_the_names_of_the_profile(tmp_path, roots):
    names = ["StyleGAN 2", "l'été; $HOME", "c/../../x", "$(touch ran)", "off", "010", "2024-01-01", "{x}, a=b", "<b>"]
    content = DEMO | {"sources": names, "in_set": names[:2], "counterparts": {}}
    profile = Profile.load(written(tmp_path, content))
    assert profile.sources == names
    files = profile.results(profile.trained[0])
    assert len(set(files)) == len(files)
    assert {file.parent.resolve() for file in files} == {file.parent for file in files}


PLAIN = {
    "off": "off",
    "no": "no",
    "010": "010",
    "0x10": "0x10",
    "1_000": "1_000",
    "1:30": "1:30",
    "2024-01-01": "2024-01-01",
    "StyleGAN 2": "StyleGAN 2",
    "l'été; $HOME": "l'été; $HOME",
    "<<": "<<",
    "=": "=",
    "3": 3,
    "-3": -3,
    "1e-3": 0.001,
    "1E3": 1000.0,
    "0.5": 0.5,
    "-.5": -0.5,
    "true": True,
    "null": None,
    "~": None,
    "'3'": "3",
    '"1e3"': "1e3",
    "[0.1, off]": [0.1, "off"],
    "{a: 1}": {"a": 1},
}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_values_are_those_of_yaml_1_2(text):
    value = as_written.read(f"key: {text}")["key"]
    assert value == PLAIN[text]
    assert type(value) is type(PLAIN[text])
    assert as_written.read(text) == value


PRINTED = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]))


@given(PRINTED | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none())
def test_json_is_read_as_it_is(value):
    """The workflow writes it for a job."""
    again = as_written.read(json.dumps([value], ensure_ascii=False))[0]
    assert again == value
    assert type(again) is type(value)


@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}&*!#|>'\"%@`,? \n\t01", max_size=60).map(str.encode))
def test_any_file_gives_a_value_or_one_line(content):
    message = ""
    try:
        as_written.read(content)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 300
