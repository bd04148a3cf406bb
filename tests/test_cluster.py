"""The workflow as a cluster runs it: a job a source, on a stand-in for PBS (tests/cluster), with one of them killed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from e2m.experiment import explain
from e2m.experiment.results import Experiment
from e2m.store import paths
from e2m.store.paths import CHECKOUT

pytestmark = pytest.mark.slow
LEFT_OUT = shutil.ignore_patterns("__pycache__", "executed", "demo", "planted")
# Names of every kind: none is read by a shell, by Snakemake or by YAML.
REAL, GAN, SWAP = "l'été; $HOME", "$(touch ran) {x}, a=b/../c", "StyleGAN 2"
SOURCES = {REAL: "authentic", GAN: "synthetic", SWAP: "synthetic"}
PROFILE = "010 `touch ran`; {source} $(touch ran)"


@pytest.fixture
def tree(tmp_path) -> Path:
    """What jobs need of the repository, and images of three sources, with a profile that takes seconds."""
    tree = tmp_path / "tree"
    for name in ("e2m", "studies", "notebooks", "profiles", "workflow", "book", "data"):
        shutil.copytree(CHECKOUT / name, tree / name, ignore=LEFT_OUT)
    for name in ("Snakefile", "_config.yml", "CITATION.cff"):
        shutil.copy(CHECKOUT / name, tree)
    random, rows = np.random.default_rng(0), []
    for split, (source, label), number in product(("train", "validate", "test"), SOURCES.items(), range(6)):
        path = tree / "faces" / split / str([*SOURCES].index(source)) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (112, 112, 3), np.uint8)).save(path)
        rows.append((path.relative_to(tree / "faces"), label, source, split))
    pd.DataFrame(rows, columns=["path", "label", "source", "split"]).to_csv(tree / "faces" / "list.csv", index=False)
    content = yaml.safe_load((CHECKOUT / "notebooks" / "params" / "smoke.yaml").read_text()) | {
        "dataset": "folder",
        "dataset_options": {"root": str(tree / "faces"), "csv": str(tree / "faces" / "list.csv")},
        "sources": [*SOURCES],
        "in_set": [REAL, SWAP],
        "regimes": ["cross_entropy"],
        "guided": None,
        "runs": 1,
        "controls": {},
        "study": {},
        "threads": 1,
        "training": {"epochs": 1, "batch_size": 6},
        "masker": None,
    }
    (tree / "notebooks" / "params" / f"{PROFILE}.yaml").write_text(yaml.safe_dump(content))
    return tree


def on_the_cluster(tree: Path) -> subprocess.Popen:
    """Snakemake with the profile as it stands, but for how often it looks."""
    (tree / "jobs").mkdir()
    folders = [CHECKOUT / "tests" / "cluster", Path(sys.executable).parent]
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "PATH": ":".join([*map(str, folders), os.environ["PATH"]]),
        "JOBS": str(tree / "jobs"),
        "E2M_PROFILE": PROFILE,
    }
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/cluster"]
    options = ["--jobs", "2", "--seconds-between-status-checks", "1", "--latency-wait", "5", "--", "explained"]
    with (tree / "log").open("w") as log:
        return subprocess.Popen([*command, *options], cwd=tree, env=environment, stdout=log, stderr=log)


def kill_the_writer(tree: Path, name: str, workflow: subprocess.Popen) -> None:
    """Kill the job that writes a file, and all its processes, while the file has its temporary name."""
    while workflow.poll() is None:
        for path in (tree / "results").rglob(f".{name}.*"):
            os.killpg(os.getpgid(int(path.suffix[1:])), signal.SIGKILL)
            return
        time.sleep(0.01)


def test_shards_on_a_cluster_give_what_one_job_gives_though_one_is_killed(tree, monkeypatch):
    workflow = on_the_cluster(tree)
    kill_the_writer(tree, f"noise-{paths.part(GAN)}.parquet", workflow)
    assert workflow.wait() == 0, (tree / "log").read_text()[-4000:]
    asked = [path.read_text() for path in (tree / "jobs").glob("*salience*.asked")]
    ended = [path.read_text().strip() for path in (tree / "jobs").glob("*salience*.exit")]
    assert sorted(ended) == ["0", "0", "0", "137"]
    assert sum("mem=8000mb:ngpus=1 -l walltime=720:00 " in line for line in asked) == 3
    assert sum("mem=16000mb:" in line for line in asked) == 1  # the other try of the one that was killed
    experiment = Experiment.load(str(tree / "notebooks" / "params" / f"{PROFILE}.yaml"))
    (one,) = experiment.trained
    written, name = {}, paths.part(PROFILE)
    for folder in ("results", "unsharded"):
        monkeypatch.setattr(paths, "RESULTS", tree / folder)
        if folder == "unsharded":
            shutil.copytree(tree / "results" / name / "checkpoints", tree / folder / name / "checkpoints")
            explain.explain(experiment, one, progress=False)
        written[folder] = [path.read_bytes() for path in experiment.results(one)]
    assert written["results"] == written["unsharded"]
    assert not list(tree.rglob("ran"))


@pytest.mark.parametrize(("profile", "shards", "root"), [("local", 16, ""), ("cluster", 800, "results of ours")])
def test_the_published_study_in_shards(tmp_path, profile, shards, root):
    """Five runs a job here, one source a job on a cluster; results may lie outside of the checkout."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", f"profiles/{profile}", "--dry-run"]
    plan = subprocess.run(
        [*command, "--config", "profile=paper", "--", "explained"],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "E2M_ROOT": str(tmp_path / root) if root else ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    counts = dict(re.findall(r"^(salience\w*) +(\d+)$", plan, re.MULTILINE))
    assert sum(map(int, counts.values())) == shards
