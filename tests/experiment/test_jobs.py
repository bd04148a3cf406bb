"""Every job on toys: it reads all the settings that it declares, and looks up the kinds of plug-ins of its rule."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m import plugins
from e2m.experiment import controls, data, explain, frozen, train
from e2m.experiment.inputs import Inputs
from e2m.experiment.results import Experiment, ModelKey
from e2m.experiment.settings import UndeclaredSettingError, reads
from e2m.store import paths

KEY = ModelKey("demo_cnn", "cyborg", 0)
JOBS = {
    "training_images": (data.training_images, ()),
    "test_images": (data.test_images, ()),
    "frozen_train": (frozen.write_training, ("mobilenet_v2", False)),
    "frozen_test": (frozen.write_test, ("mobilenet_v2", False)),
    "train": (train.train, (KEY, False)),
    "train_masker": (train.train_masker, (KEY, False)),
    "explain": (explain.explain, (KEY, None, False)),
    "explain_controls": (controls.explain_controls, ("demo_cnn",)),
}
KINDS = {
    "training_images": {"dataset"},
    "test_images": {"dataset"},
    "frozen_train": {"dataset", "detector"},
    "frozen_test": {"dataset", "detector", "measure"},
    "train": {"dataset", "detector", "regime"},
    "train_masker": {"dataset", "detector", "regime"},
    "explain": {"dataset", "detector", "method", "measure"},
    "explain_controls": {"dataset", "detector", "method", "measure"},
}
"""The kinds of plug-ins whose files the rules of workflow/rules name."""


@pytest.fixture(scope="module")
def looked_up(tmp_path_factory, one_thread):
    """All jobs done: the experiment, and the kinds of plug-ins that each of them looked up."""
    root = tmp_path_factory.mktemp("jobs")
    random, rows = np.random.default_rng(0), []
    for split, label, number in product(("train", "validate", "test"), ("authentic", "synthetic"), range(2)):
        name = f"{split}-{label}-{number}.png"
        for folder, shape in (("faces", (32, 32, 3)), ("people", (32, 32))):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(root / folder / name)
        rows.append((name, label, label, split))
    pd.DataFrame(rows, columns=["path", "label", "source", "split"]).to_csv(root / "list.csv", index=False)
    options = {"root": str(root / "faces"), "csv": str(root / "list.csv"), "salience": str(root / "people")}
    experiment = Experiment.load(
        "smoke",
        dataset="folder",
        dataset_options=options,
        sources=["authentic", "synthetic"],
        in_set=["authentic", "synthetic"],
        regimes=["cyborg"],
        traditional="cyborg",
        guided=None,
        runs=1,
        share_frozen=True,
        pretrained=True,  # mobilenet_v2 then has frozen blocks
        controls={},
        study={},
        image_size=32,
        methods=["CAM"],
        training={"epochs": 1, "batch_size": 4},
        masker={"regimes": ["cyborg"], "runs": 1, "epochs": 1, "batch_size": 4, "channels": 8},
        measures={"noise": {"amounts": [0.5], "images_per_source": 1}},
    )
    kinds, load = {}, plugins.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", root / "results")
        for name, (job, arguments) in JOBS.items():
            of_job = kinds[name] = set()
            patch.setattr(plugins, "load", lambda kind, name, of_job=of_job: of_job.add(kind) or load(kind, name))
            job(experiment, *arguments)
        patch.setattr(plugins, "load", load)
        yield experiment, kinds


@pytest.mark.parametrize(("name", "setting"), [(name, setting) for name in JOBS for setting in JOBS[name][0].reads])
def test_a_job_reads_every_setting_that_it_declares(looked_up, monkeypatch, name, setting):
    # It names all of them by itself, whether the rest of the job reads them or not.
    monkeypatch.setattr(explain, "_origin", lambda *_: "")
    experiment, _ = looked_up
    job, arguments = JOBS[name]
    limited = reads(Inputs, *(other for other in job.reads if other != setting))(job.__wrapped__)
    with pytest.raises(UndeclaredSettingError, match=f"reads the setting '{setting}'"):
        limited(experiment, *arguments)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_looks_up_the_kinds_of_plugins_that_its_rule_names(looked_up, name):
    assert looked_up[1][name] == KINDS[name]
