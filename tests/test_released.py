"""The published study is planned from a tree in the released layout: its lists are read as they are."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from e2m.experiment import data
from e2m.experiment.results import Experiment
from e2m.store.paths import CHECKOUT

TRAIN = {"Real": ("0_real", 919), "Synthetic": ("1_fake", 902)}
FOLDERS = {
    "ffhq": ("Real", "ffhq_aligned"),
    "celeba_hq": ("Real", "celeba-hq_real_aligned"),
    "progan": ("Synthetic", "progan_aligned"),
    "stargan2": ("Synthetic", "stargan_aligned"),
    "stylegan": ("Synthetic", "stylegan1-0.5_aligned/000000"),
    "stylegan2": ("Synthetic", "stylegan2-0.5_aligned/000000"),
    "stylegan2_ada": ("Synthetic", "stylegan-ada-0.5_aligned"),
    "stylegan3": ("Synthetic", "stylegan3-0.5_aligned"),
}
EACH = 3


def lists():
    """Name of a list -> its lines, as released: no header, a slash before every path."""
    lines = {"original": [], "in_set": []}
    for label, (folder, count) in TRAIN.items():
        word = folder[2:]
        lines["original"] += [f"train,{label},/train/original_data/{folder}/p{n}_{word}.png" for n in range(count)]
        lines["original"] += [f"test,{label},/val/{folder}/{n:05d}.png" for n in range(10_000)]
        name = {"Real": "frgc", "Synthetic": "srefi"}[label]
        lines["in_set"] += [f"test,{label},/test/{folder}/{name}_aligned/{n}.png" for n in range(EACH)]
    for name, (label, folder) in FOLDERS.items():
        lines[name] = [f"test,{label},/test/{TRAIN[label][0]}/{folder}/{n:06d}.png" for n in range(EACH)]
    return lines


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A profile like ``paper``, and its tree: hard links of one tiny image and one tiny human map."""
    root = tmp_path_factory.mktemp("released")
    for name, shape in (("image", (4, 4, 3)), ("map", (4, 4))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(root / f"{name}.png")
    (root / "csvs").mkdir()
    (root / "train" / "heatmaps").mkdir(parents=True)
    for name, lines in lists().items():
        (root / "csvs" / f"{name}.csv").write_text("\n".join(lines) + "\n")
        for line in lines:
            path = root / line.split(",")[2].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(root / "image.png", path)
            if line.startswith("train"):
                os.link(root / "map.png", root / "train" / "heatmaps" / path.name)
    content = yaml.safe_load((CHECKOUT / "notebooks" / "params" / "paper.yaml").read_text())
    options = content["dataset_options"]
    options |= {"root": str(root), "salience": str(root / "train" / "heatmaps")}
    options["csv"] = [str(root / "csvs" / Path(path).name) for path in options["csv"]]
    profile = root / "released.yaml"
    profile.write_text(yaml.safe_dump(content, sort_keys=False))
    return profile


def test_the_released_lists_are_read_as_they_are(released):
    experiment = Experiment.load(str(released))
    assert len(lists()["original"]) == 21_821
    samples = data.training_images(experiment)
    counts = samples.groupby(["split", "source"]).size().to_dict()
    assert counts == {
        ("train", "frgc"): 919,
        ("train", "srefi"): 902,
        ("validate", "held_out_authentic"): 10_000,
        ("validate", "held_out_synthetic"): 10_000,
    }
    assert (samples.loc[samples["split"] == "train", "salience"] != "").all()
    test = experiment.samples.groupby("source", sort=False)["label"].agg(["size", "first"])
    assert test["size"].to_dict() == dict.fromkeys(experiment.sources, EACH)
    assert list(test.index[test["first"] == "authentic"]) == ["frgc", "ffhq", "celeba_hq"]
    assert experiment.by_label == {"authentic": "frgc", "synthetic": "srefi"}
    assert experiment.against == {
        "srefi": "frgc",
        **dict.fromkeys(["progan", "stargan2"], "celeba_hq"),
        **dict.fromkeys(["stylegan", "stylegan2", "stylegan2_ada", "stylegan3"], "ffhq"),
    }


@pytest.mark.slow
def test_the_published_study_is_planned(released):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nolock", "--dry-run", "--quiet", "rules"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [*command, "--config", f"profile={released}"], cwd=CHECKOUT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    plan = (done.stdout + done.stderr).splitlines()
    jobs = {words[0]: int(words[1]) for line in plan if len(words := line.split()) == 2 and words[1].isdigit()}
    experiment = Experiment.load(str(released))
    assert jobs["salience"] == len(experiment.trained) == 80
    assert jobs["train"] >= 80  # the page of a further regime trains one run of it
    assert jobs["train_masker"] == 80
    assert jobs["data"] == 2
