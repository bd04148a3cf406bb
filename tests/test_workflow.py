"""Nothing stale: one thing changes at a time, and the jobs of a dry run are those that depend on it, and no others."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from e2m.experiment import data
from e2m.experiment.results import Experiment
from e2m.store import paths
from e2m.store.paths import CHECKOUT

pytestmark = pytest.mark.slow

# Plans in a child of a process that has everything imported: a plan takes a second, imports take four.
PLANNER = """
import os, sys
import snakemake.cli
from e2m.experiment import controls, data, explain, train

snakemake.cli.get_argument_parser()
for line in sys.stdin:
    if not (child := os.fork()):
        log = os.open("log", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(log, 1), os.dup2(log, 2)
        arguments = ["--cores", "1", "--nolock", *line.split()]
        sys.argv = ["snakemake", *arguments]
        snakemake.cli.main(arguments)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
METHOD = '"""The middle."""\n\nNAMES = ("middle",)\n'

SOURCES = {"real": "authentic", "gan": "synthetic", "swap": "synthetic"}
PROFILE = {
    "dataset": "folder",
    "sources": [*SOURCES],
    "in_set": ["real", "swap"],
    "regimes": ["cross_entropy", "cyborg"],
    "runs": 2,
    "controls": {"focused": 1, "shuffled_labels": 1},
    "study": {"shuffled_maps": 1},
    "share_frozen": True,
    "training": {"epochs": 1, "batch_size": 6},
    "masker": {"regimes": ["cyborg"], "runs": 2, "epochs": 1, "batch_size": 6},
}
TARGETS = "book study masking_study alpha_study methods_study coverage_study pilot_study"

# Jobs that stand together below; in brackets, what tells jobs of one rule apart.
MEASURES = {f"page_{name}" for name in ("alignment", "degradation", "entropy", "noise", "stability", "transformations")}
BOOK = {"pages", "book"}
COMPARED = MEASURES | BOOK
COMPARED |= {"page_claims", "page_controls", "page_detection", "page_differences", "page_interventions"}
COMPARED |= {"page_explorer", "page_first_page", "page_maps", "page_model_selection", "page_regimes"}
LEARNT = {"page_train_cross_entropy", "page_train_cyborg", "page_train_focused", "page_train_masker"}
SWEEP = {"alpha_study"}
METHODS = {"methods_study"}
HALVED = {"pilot_study"}
STUDIED = {"study", "seed_repeated", "masking_study"} | SWEEP | METHODS | HALVED
CONTROLS = {f"salience_of_controls[{name}]" for name in ("focused", "shuffled_labels", "shuffled_maps")}
WITHOUT = {"salience_without_masks[cross_entropy]"} | CONTROLS
EXPLAINED = WITHOUT | {"salience[cyborg]", "controls"} | COMPARED | STUDIED
TRAINED = {f"train[{name}]" for name in ("cross_entropy", "cyborg", "focused", "shuffled_labels", "shuffled_maps")}
FROZEN = {"frozen[train]", "frozen[test]"}
EVERYTHING = TRAINED | {"train_masker[cyborg]"} | EXPLAINED | LEARNT
LISTED = {"data[train]", "data[test]"}
SHOWING = {"page_data", "page_networks", "page_adapt"}
"""Pages that show images or networks and read no results."""
PROFILED = COMPARED | LEARNT | SHOWING | {"page_coverage"}
"""Pages of a profile: any of its settings may stand in them."""
PAGES = PROFILED | {"page_speed", "page_reliability"}


def tree_at(tree: Path) -> Path:
    """What the workflow needs of the repository, small images with human maps, a profile, and a plug-in of somebody."""
    left_out = shutil.ignore_patterns("__pycache__", "executed", "demo", "planted")
    for name in ("e2m", "studies", "notebooks", "profiles", "workflow", "book", "data"):
        shutil.copytree(CHECKOUT / name, tree / name, ignore=left_out)
    for name in ("Snakefile", "_config.yml", "CITATION.cff"):
        shutil.copy(CHECKOUT / name, tree)
    random, rows = np.random.default_rng(0), []
    for split, (source, label), number in product(("train", "validate", "test"), SOURCES.items(), range(2)):
        for kind, shape in (("faces", (8, 8, 3)), ("people", (8, 8))):
            path = tree / kind / split / source / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)
        rows.append((f"{split}/{source}/{number}.png", label, source, split))
    pd.DataFrame(rows, columns=["path", "label", "source", "split"]).to_csv(tree / "faces.csv", index=False)
    (tree / "mine" / "methods").mkdir(parents=True)
    (tree / "mine" / "methods" / "middle.py").write_text(METHOD)
    smoke = yaml.safe_load((CHECKOUT / "notebooks" / "params" / "smoke.yaml").read_text())
    options = {"root": str(tree / "faces"), "csv": str(tree / "faces.csv"), "salience": str(tree / "people")}
    content = smoke | PROFILE | {"dataset_options": options, "methods": [*smoke["methods"], "middle"]}
    (tree / "notebooks" / "params" / "tiny.yaml").write_text(yaml.safe_dump(content))
    return tree


class Workflow:
    """A tree whose results all are there, empty; ``jobs()`` are those that Snakemake would run."""

    def __init__(self, tree: Path):
        self.tree = tree
        scripts = Path(sys.executable).parent
        self.environment = os.environ | {
            "PYTHONPATH": str(tree),
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "E2M_PLUGINS": str(tree / "mine"),
        }
        self.planner = subprocess.Popen(
            [sys.executable, "-c", PLANNER],
            cwd=tree,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, options: str, config: str = "") -> str:
        print(f"{options} --config profile=tiny {config} -- {TARGETS}", file=self.planner.stdin, flush=True)
        status = self.planner.stdout.readline()
        output = (self.tree / "log").read_text()
        assert status == "0\n", output[-3000:]
        return output

    def finish(self) -> None:
        """All outputs, empty but for the lists of images, on record as made from what is there now."""
        for line in self.run("--summary").splitlines():
            if (path := self.tree / line.split("\t")[0]).suffix:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        for part in data.PARTS:
            data.write(Experiment.load(str(self.tree / "notebooks" / "params" / "tiny.yaml")), part)
        # This process and the planner have different checkouts, from which they write the path of the profile.
        (self.tree / "results" / "tiny" / "profile.json").unlink()
        self.run("--touch --forceall --quiet all")

    def jobs(self) -> set[str]:
        plan = self.run("--dry-run")
        blocks = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", plan, re.MULTILINE)
        names = ((rule, re.search(r"wildcards: .*(?:regime|part)=(\w+)", about)) for rule, about in blocks)
        return {f"{rule}[{match[1]}]" if match else rule for rule, match in names}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Iterator[Workflow]:
    tree = tree_at(tmp_path_factory.mktemp("workflow"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", tree / "results")
        patch.setenv("E2M_PLUGINS", str(tree / "mine"))
        workflow = Workflow(tree)
        workflow.finish()
        yield workflow
    workflow.planner.stdin.close()
    workflow.planner.wait()


def edited(content: bytes) -> bytes:
    return content + b"\n"


def line(old: str, new: str):
    """A change of one piece of text that stands there once."""

    def change(content: bytes) -> bytes:
        assert content.count(old.encode()) == 1
        return content.replace(old.encode(), new.encode())

    return change


def setting(path: str, value):
    """A change of one setting: "training.epochs"."""

    def change(content: bytes) -> bytes:
        *parents, name = path.split(".")
        profile = yaml.safe_load(content)
        section = profile
        for parent in parents:
            section = section[parent]
        assert section[name] != value
        section[name] = value
        return yaml.safe_dump(profile).encode()

    return change


def other_image(content: bytes) -> bytes:
    return content[::-1]


@contextmanager
def changed(path: Path, change) -> Iterator[None]:
    """A file with another content, and afterwards with its own, but for its time."""
    content = path.read_bytes()
    path.write_bytes(change(content))
    try:
        yield
    finally:
        path.write_bytes(content)


TINY = "notebooks/params/tiny.yaml"
CHECKPOINTS = "results/tiny/checkpoints/demo_cnn"

CHANGES = {
    "nothing": (TINY, bytes, set()),
    # Code
    "a detector's file": ("e2m/detectors/demo_cnn.py", edited, FROZEN | EVERYTHING),
    "the file of a detector that the profile lacks": ("e2m/detectors/resnet50.py", edited, set()),
    "a regime's file": (
        "e2m/regimes/cyborg.py",
        edited,
        {"train[cyborg]", "train_masker[cyborg]", "salience[cyborg]", "controls"} | COMPARED | LEARNT | STUDIED,
    ),
    "the file of a regime that only the study trains": (
        "e2m/regimes/shuffled_maps.py",
        edited,
        {"train[shuffled_maps]", "salience_of_controls[shuffled_maps]"}
        | COMPARED
        | LEARNT
        | STUDIED - SWEEP - METHODS - HALVED,
    ),
    "a measure's file": (
        "e2m/measures/noise.py",
        edited,
        {"frozen[test]", "page_adapt"} | EXPLAINED - {"masking_study"} - SWEEP | LEARNT,
    ),
    "the file of a measure of maps": (
        "e2m/measures/localisation.py",
        edited,
        COMPARED | LEARNT | {"masking_study"} | METHODS | HALVED,
    ),
    "a method's file": (
        "mine/methods/middle.py",
        edited,
        {"page_networks", "page_adapt"} | EXPLAINED - SWEEP - METHODS | LEARNT,
    ),
    "a method that only the study of maskers runs": (
        "e2m/methods/rise.py",
        edited,
        {"page_networks", "page_adapt", "masking_study"} | COMPARED | LEARNT,
    ),
    "the data set's file": ("e2m/datasets/folder.py", edited, LISTED | FROZEN | EVERYTHING | PAGES),
    "the loop of trainings": ("e2m/training/loop.py", edited, EVERYTHING),
    "the engine of salience": ("e2m/salience/engine.py", edited, {"page_networks", "page_adapt"} | EXPLAINED | LEARNT),
    "statistics": (
        "e2m/statistics/__init__.py",
        edited,
        PROFILED | {"masking_study", "coverage_study"} | SWEEP | METHODS | HALVED,
    ),
    "figures.py": ("e2m/pages/figures.py", edited, PAGES | BOOK),
    "a notebook": ("notebooks/entropy.ipynb", edited, {"page_entropy"} | BOOK),
    "a notebook whose table others read": (
        "notebooks/controls.ipynb",
        edited,
        {"page_controls"} | MEASURES - {"page_alignment"} | BOOK,
    ),
    "the code of a study": (
        "studies/coverage.py",
        edited,
        {"coverage_study"},
    ),
    "a page of prose": (
        "book/reading.md",
        edited,
        BOOK,
    ),
    "a file that a page of prose includes": ("profiles/slurm/config.yaml", edited, BOOK),
    # Images
    "a training image": (
        "faces/train/real/0.png",
        other_image,
        {"data[train]", "frozen[train]"} | SHOWING | EVERYTHING,
    ),
    "a test image": (
        "faces/test/gan/0.png",
        other_image,
        {"data[test]", "frozen[test]"} | SHOWING | EXPLAINED | LEARNT,
    ),
    "a human map of a training image": (
        "people/train/swap/1.png",
        other_image,
        {"data[train]", "frozen[train]"} | SHOWING | EVERYTHING,
    ),
    "a label": (
        "faces.csv",
        line("test/gan/1.png,synthetic", "test/gan/1.png,authentic"),
        {"data[test]", "frozen[test]"} | SHOWING | EXPLAINED | LEARNT,
    ),
    # Settings
    "images_per_source": (TINY, setting("images_per_source", 1), {"data[test]", "frozen[test]"} | EXPLAINED | PROFILED),
    "image_size": (TINY, setting("image_size", 64), {"frozen[test]"} | EXPLAINED | PROFILED),
    "in_set": (TINY, setting("in_set", ["real", "gan"]), {"controls"} | CONTROLS | PROFILED | STUDIED),
    "pretrained": (TINY, setting("pretrained", True), FROZEN | EVERYTHING | PROFILED),
    "training.epochs": (TINY, setting("training.epochs", 2), {"frozen[train]"} | EVERYTHING | PROFILED),
    "masker.epochs": (
        TINY,
        setting("masker.epochs", 2),
        {"train_masker[cyborg]", "salience[cyborg]", "study", "masking_study"} | PROFILED | HALVED,
    ),
    "measures.noise.seed": (TINY, setting("measures.noise.seed", 1), {"frozen[test]"} | EXPLAINED - SWEEP | PROFILED),
    "resamples": (TINY, setting("resamples", 300), {"masking_study"} | SWEEP | METHODS | PROFILED | HALVED),
    "study": (
        TINY,
        setting("study.shuffled_maps", 2),
        {"train[shuffled_maps]", "salience_of_controls[shuffled_maps]", "study", "masking_study"},
    ),
    "threads": (TINY, setting("threads", 2), EVERYTHING),
    # Results
    "a checkpoint": (
        f"{CHECKPOINTS}/cyborg/run-0.pt",
        edited,
        {"train_masker[cyborg]", "salience[cyborg]", "controls", "page_train_cyborg", "page_train_masker"}
        | COMPARED
        | {"study", "masking_study"}
        | SWEEP
        | METHODS
        | HALVED,
    ),
    "a masker": (
        f"{CHECKPOINTS}/cyborg/run-0.masker.pt",
        edited,
        {"salience[cyborg]", "page_train_masker", "study", "masking_study"} | COMPARED | HALVED,
    ),
}
"""What changes -> its file, how, and the jobs that run."""


def automatic(content: bytes) -> bytes:
    return yaml.safe_dump(yaml.safe_load(content) | {"images_per_source": "auto", "runs": 3, "pilot": {}}).encode()


def test_a_pilot_comes_between_the_first_trainings_and_all_salience(workflow):
    with changed(workflow.tree / TINY, automatic):
        jobs = workflow.jobs()
        plan = workflow.run("--dry-run --printshellcmds")
    assert {"pilot", "pilot_salience[cyborg]", "pilot_salience[cross_entropy]"} | EXPLAINED <= jobs
    assert len(re.findall(r"e2m pilot --profile=tiny --detector=demo_cnn --regime=\w+ --run=\d", plan)) == 6
    inputs = re.findall(r"^rule (?:salience\w*|controls):\n    input: (.*)$", plan, re.MULTILINE)
    assert len(inputs) > 6
    assert all("results/tiny/tables/pilot.parquet" in line for line in inputs)


@pytest.mark.parametrize("name", CHANGES)
def test_what_runs_again_when_one_thing_changes(workflow, name):
    path, change, expected = CHANGES[name]
    with changed(workflow.tree / path, change):
        jobs = workflow.jobs()
    print(f"\n{name}: {' '.join(sorted(jobs)) or 'nothing'}")
    assert jobs == expected, (sorted(jobs - expected), sorted(expected - jobs))


def test_runs_of_a_regime_share_jobs_where_a_profile_says_so(workflow):
    plan = workflow.run("--dry-run --forceall --printshellcmds", "runs_per_job=2")
    jobs = dict(re.findall(r"^((?:train|salience)\w*) +(\d+)$", plan, re.MULTILINE))
    # Of the controls and of the study, the profile has one run each.
    together = {"train_0_to_1": "2", "train_masker_0_to_1": "1"}
    together |= {"salience_0_to_1": "1", "salience_without_masks_0_to_1": "1"}
    assert jobs == {**together, "train": "3", "salience_of_controls": "3"}
    commands = re.findall(r"e2m (train|train-masker|salience) --profile=tiny (.*)", plan)
    runs = {(command, *re.findall(r"regime=(\w+)|run=(\d)", given)) for command, given in commands}
    both = {("train", "cross_entropy"), ("train", "cyborg"), ("train-masker", "cyborg")}
    both |= {("salience", "cross_entropy"), ("salience", "cyborg")}
    assert {(command, regime) for command, (regime, _), *given in runs if len(given) == 2} == both


HASHED = """
import hashlib, sys
import snakemake.cli

digest, files = hashlib.file_digest, []
hashlib.file_digest = lambda file, *rest: files.append(file.name) or digest(file, *rest)
try:
    snakemake.cli.main(["--cores", "1", "--quiet", "all"])
finally:
    print("hashed", *sorted(files))
"""
RULES = """
import os

include: {checksums!r}

rule all:
    input: "a", "b", "c"

rule one:
    output: "a", "b", "c"
    input: "first", "second"
    shell: "touch {{output}}"
"""


def test_inputs_are_hashed_once_and_not_once_an_output(tmp_path):
    checksums = str(CHECKOUT / "workflow" / "rules" / "checksums.smk")
    (tmp_path / "Snakefile").write_text(RULES.format(checksums=checksums))
    hashed = []
    for content in ("before", "after!"):  # of the same size
        for name in ("first", "second"):
            (tmp_path / name).write_text(content)
        command = [sys.executable, "-c", HASHED]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (tmp_path / "c").is_file(), done.stderr
        hashed += re.findall("^hashed (.*)$", done.stdout, re.MULTILINE)
    # The second time, a hash tells that the first file has changed; then the job runs again.
    assert hashed[0] == "first second"
    assert hashed[1].split()[0] == "first"
    assert len(hashed[1].split()) <= 4
