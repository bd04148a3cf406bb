"""A small study of toy detectors that goes on from whatever a fault left, as the workflow does."""

import importlib.util
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from e2m.experiment import explain
from e2m.experiment.profile import claim
from e2m.experiment.results import Experiment
from e2m.networks.checkpoints import load_weights
from e2m.regimes import cyborg
from e2m.store import paths, upkeep
from e2m.training.detector import fit


class Study:
    """Two runs of a toy, trained and explained on images of two sources, and a table of what came out."""

    def __init__(self, folder, toy):
        self.toy = toy
        random = np.random.default_rng(0)
        for (number, source), kind in product(enumerate(("real", "fake") * 2), ("faces", "people")):
            shape = (32, 32, 3) if kind == "faces" else (32, 32)
            path = folder / kind / source / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)
        self.experiment = replace(
            Experiment.load(
                "smoke",
                dataset="folder",
                dataset_options={"root": "faces", "salience": "people"},
                sources=["real", "fake"],
                in_set=["real", "fake"],
                regimes=["cyborg", "cross_entropy"],
                controls={},
                study={},
                masker=None,
                image_size=32,
                methods=["CAM", "GradCAM"],
                measures={"noise": {"amounts": [0.1], "images_per_source": 2}},
                training={"epochs": 2, "batch_size": 4, "learning_rate": 0.05},
            ),
            detectors=["toy"],
            regimes=["cyborg"],
        )

    @property
    def files(self):
        """Every file that the study writes, but for the table."""
        keys = self.experiment.trained
        files = [file for key in keys for file in (self.experiment.checkpoint(key), *self.experiment.results(key))]
        return [*files, paths.owner("smoke")]

    @property
    def table(self):
        return paths.table(self.experiment.profile, "noise")

    def finish(self):
        """Do what is missing, as the workflow would; the bytes of the table."""
        experiment = self.experiment
        claim("smoke")
        for key in experiment.trained:
            path = experiment.checkpoint(key)
            detector = self.toy(seed=key.run)
            if not path.is_file():
                about = {"regime": key.regime, "run": key.run, "guided": True, "progress": False}
                settings = experiment.settings(key)
                fit(detector, experiment.samples, experiment.samples, cyborg.loss, path, settings, **about)
            if not all(file.is_file() for file in experiment.results(key)):
                explain.explain(experiment, key, progress=False, detector=load_weights(self.toy(), path))
        if not self.table.is_file():
            rows = experiment.rows("noise").groupby(["run", "salience", "variant"], observed=True)["value"].mean()
            stable = experiment.rows("stability")["value"].mean()
            experiment.save("noise", rows.reset_index().assign(stable=stable))
        return self.table.read_bytes()

    def failure(self):
        """``finish``, and what it says if it fails."""
        try:
            self.finish()
        except OSError as error:
            return str(error)
        return ""

    def sweep(self):
        """What the next start says."""
        return list(upkeep.sweep(paths.RESULTS / self.experiment.profile, paths.RESULTS / "none", paths.DATA))

    def forget_table(self):
        """Tables are made anew where results have changed, as the workflow sees."""
        self.table.unlink(missing_ok=True)


@pytest.fixture
def study(roots, toy, monkeypatch):
    """A study of which nothing is done yet."""
    monkeypatch.setenv(paths.SAVED, str(paths.RESULTS / "smoke"))
    monkeypatch.setattr(paths, "WORK", roots)
    return Study(roots, toy)


@pytest.fixture(scope="module")
def undisturbed():
    """The bytes of all files of a finished study; the first test that asks for it finishes one."""
    return {}


@pytest.fixture
def finished(study, undisturbed):
    """A finished study, with the bytes of all of its files: path -> bytes."""
    if not undisturbed:
        study.finish()
        undisturbed.update({path.relative_to(paths.RESULTS): path.read_bytes() for path in (*study.files, study.table)})
    for path, content in undisturbed.items():
        (paths.RESULTS / path).parent.mkdir(parents=True, exist_ok=True)
        (paths.RESULTS / path).write_bytes(content)
    return {paths.RESULTS / path: content for path, content in undisturbed.items()}


@pytest.fixture
def run_module(tmp_path, monkeypatch):
    """``workflow/run.py``, with a lock of its own."""
    spec = importlib.util.spec_from_file_location("workflow_run", paths.CHECKOUT / "workflow" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOCK", tmp_path / ".snakemake" / "running.json")
    return module
