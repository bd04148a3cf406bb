"""The study of alpha: what it trains itself, what it reads, and its quantities, counted by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from e2m import plugins
from e2m.arrays.correlation import correlation
from e2m.experiment.results import Experiment, ModelKey
from e2m.measures.entropy import spatial_entropy
from e2m.types import LABELS, Explanation
from studies import alpha


@pytest.fixture
def experiment(roots, faces):
    """Twelve faces with human maps, six for each split; two runs."""
    samples = faces()
    lines = samples.assign(
        path=[f"faces/{image}" for image in samples["image"]],
        source=samples["label"],
        split=["train", "train", "validate", "validate", "test", "test"] * 2,
        salience=[f"faces/{image[:-4]}.npy" for image in samples["image"]],
    )
    lines.to_csv(roots / "list.csv", index=False)
    options = {"root": str(roots), "csv": str(roots / "list.csv")}
    about = {"sources": list(LABELS), "in_set": list(LABELS), "controls": {}, "study": {}, "measures": {}}
    loaded = Experiment.load("smoke", dataset="folder", dataset_options=options, image_size=32, **about)
    return replace(loaded, detectors=["toy"], masker=None, runs=2)


@pytest.fixture
def seen(monkeypatch, toy):
    """Every training: its alpha, run and loss on a batch; detectors are untrained toys."""
    trainings = []

    def fit(detector, train, validate, loss, path, settings, **named):
        trainings.append((path.name, named["run"], settings.seed, loss, set(train["split"])))

    monkeypatch.setattr(alpha.train, "fit", fit)
    monkeypatch.setattr(alpha.train, "code", lambda *_, **__: ["code"])
    monkeypatch.setattr(alpha.train, "load_detector", lambda name, path=None, seed=0, **_: toy(seed=seed))
    return trainings


def test_only_alphas_that_no_regime_has_are_trained(experiment, seen):
    files = {(value, run): alpha.trained(experiment, value, run) for value in alpha.ALPHAS for run in (0, 1)}
    assert len(set(files.values())) == 2 * len(alpha.ALPHAS)
    assert files[0.5, 1] == experiment.checkpoint(ModelKey("toy", "cyborg", 1))
    assert files[1.0, 0] == experiment.checkpoint(ModelKey("toy", "cross_entropy", 0))
    assert [(name, run, seed) for name, run, seed, *_ in seen] == [
        (f"alpha-{value:g}-run-{run}.pt", run, run) for value in (0, 0.25, 0.75) for run in (0, 1)
    ]
    assert all(splits == {"train"} for *_, splits in seen)


def test_losses_of_the_regimes_are_those_of_their_alpha(experiment, seen):
    from tests.test_regimes import worked_by_hand

    entropy, error = np.log(4), ((1 / 3) ** 2 + (1 / 6) ** 2) / 4
    for value in (0.0, 0.25, 0.75):
        alpha.trained(experiment, value, 0)
        assert seen[-1][3](worked_by_hand()).item() == pytest.approx(value * entropy + (1 - value) * error)
    for value, regime in alpha.OWN.items():
        loss = plugins.load("regime", regime).loss(worked_by_hand())
        assert loss.item() == pytest.approx(value * entropy + (1 - value) * error)


def test_quantities_by_hand(experiment, monkeypatch):
    random = np.random.default_rng(0)
    maps = {run: random.random((2, 7, 7)).astype(np.float32) for run in (0, 1)}
    # The authentic image scores below the synthetic one in the first run, and above it in the second.
    scores = {(0, "authentic"): 0.2, (0, "synthetic"): 0.9, (1, "authentic"): 0.8, (1, "synthetic"): 0.3}
    monkeypatch.setattr(alpha, "trained", lambda _, value, run: run)
    monkeypatch.setattr(alpha, "load_detector", lambda name, path, **_: SimpleNamespace(run=path, size=32))

    def explain(detector, images, method, **_):
        run = detector.run
        label = LABELS[int(images.mean() > 120)]
        count = len(images)
        values = np.full(count, scores[run, label])
        return Explanation(maps[run][:count], values, values > 0.5, values, np.zeros(count, bool), np.zeros((count, 2)))

    monkeypatch.setattr(alpha, "explain", explain)
    monkeypatch.setattr(alpha, "ALPHAS", (0.5,))
    table = alpha.table(experiment, "CAM").set_index("quantity")
    assert (table["alpha"] == 0.5).all()
    names = ["AUC, synthetic", "(a) spatial entropy", "(h) correlation with human maps", "(d) SSIM between runs"]
    assert list(table.index) == names
    assert table.loc["AUC, synthetic", "mean"] == 0.5
    both = np.concatenate([maps[run] for run in (0, 1) for _ in LABELS])
    assert table.loc["(a) spatial entropy", "mean"] == pytest.approx(spatial_entropy(both).mean())
    tested = experiment.samples
    human = [experiment.human(tested.loc[tested["label"] == label, "image"], (7, 7)) for label in LABELS]
    expected = np.mean([correlation(maps[run], of_class) for run in (0, 1) for of_class in human])
    assert table.loc["(h) correlation with human maps", "mean"] == pytest.approx(expected, abs=1e-6)
    assert table.loc["(d) SSIM between runs", "images"] == len(tested)
    # No interval leaves its range.
    for quantity, (least, most) in {"(a) spatial entropy": (0, 1), "(h) correlation with human maps": (-1, 1)}.items():
        assert least <= table.loc[quantity, "low"] <= table.loc[quantity, "high"] <= most


def test_an_image_that_cannot_be_read_has_no_values(experiment, monkeypatch, toy):
    broken = experiment.samples["path"][1]
    Path(broken).write_bytes(b"no image")
    monkeypatch.setattr(alpha, "trained", lambda *_: None)
    monkeypatch.setattr(alpha, "load_detector", lambda *_, **__: toy())
    rows = alpha.rows_of(experiment, "CAM", 0.5, 0)
    name = experiment.samples["image"][1]
    assert rows.loc[rows["image"] == name, "value"].isna().all()
    scores = rows[(rows["measure"] == "score") & (rows["image"] != name)]
    assert len(scores) == len(experiment.samples) - 1
    assert scores["value"].notna().all()


@pytest.mark.parametrize("runs", ["0", "-1"])
def test_no_runs_are_refused(capsys, runs):
    with pytest.raises(SystemExit):
        alpha.main(["--runs", runs])
    assert f"--runs {runs} arrived; a whole number from 1 up fits" in capsys.readouterr().err
