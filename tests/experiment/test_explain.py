"""The salience job over many images: batches leave no trace, and what is wrong with one image stops nothing."""

import errno
import os
import weakref
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from e2m import cli, statistics
from e2m.experiment import explain
from e2m.experiment.results import Experiment, ModelKey, correct
from e2m.networks.checkpoints import CHECKPOINT_FORMAT
from e2m.networks.inputs import has_bfloat16
from e2m.pages import selection, unseen
from e2m.salience.engine import Explainer
from e2m.store import disk, paths
from e2m.training import loop
from e2m.types import LABELS, InputError
from tests.made import small_experiment

ONE = ModelKey("toy", "cyborg", 0)
KEYS = ["image", "salience", "target", "variant", "level"]


@pytest.fixture
def experiment(tmp_path, roots):
    """Ten images of 32 px of two sources, and a little of every measure, five images at once."""
    return small_experiment(
        tmp_path,
        10,
        lambda random: random.integers(0, 256, (32, 32, 3), np.uint8),
        batch_size=5,
        measures={
            "noise": {"amounts": [0.1, 0.5], "images_per_source": 8},
            "transformations": {"names": ["flip_left_right", "shift_up"], "images_per_source": 10},
            "degradation": {"max_sigmas": [10.0], "images_per_source": 7},
        },
    )


def spoil(experiment, *images):
    for image in images:
        path = Path(experiment.samples.set_index("image").loc[image, "path"])
        path.write_bytes(path.read_bytes()[:700])  # the header is sound: only decoding shows the damage


def rows(experiment, measure, source="fake", one=ONE):
    path = paths.rows(experiment.profile, one.detector, one.regime, one.run, measure, source)
    return disk.read_rows([path]).astype(dict.fromkeys(KEYS, str))


def maps(experiment, source="fake", method="CAM"):
    return disk.read_maps(paths.maps(experiment.profile, ONE.detector, ONE.regime, ONE.run, method, source))


def check_same(result, before):
    """Rows in the same order, and values that differ by no more than rounding does."""
    pd.testing.assert_frame_equal(result.drop(columns="value"), before.drop(columns="value"))
    apart = (result["value"] - before["value"]).abs()
    assert (result["value"].isna() == before["value"].isna()).all()
    scores = before["variant"].str.startswith("score")
    assert apart[scores].max() < 1e-5
    assert apart[~scores].dropna().max() < 0.02  # a grey level of a map may fall to the other side


@pytest.mark.parametrize("batch_size", [1, 100])
def test_results_do_not_tell_how_images_were_cut_into_batches(experiment, toy, batch_size):
    explain.explain(experiment, ONE, progress=False, detector=toy())
    before = {measure: rows(experiment, measure) for measure in experiment.measures}, maps(experiment)
    explain.explain(replace(experiment, batch_size=batch_size), ONE, progress=False, detector=toy())
    for measure, expected in before[0].items():
        assert expected["image"].nunique() == experiment.measures[measure]["images_per_source"]
        check_same(rows(experiment, measure), expected)
    for name in ("salience", "score", "logits"):
        np.testing.assert_allclose(maps(experiment)[name], before[1][name], rtol=0, atol=1e-5)


def test_the_same_command_writes_the_same_bytes_and_sources_one_by_one_as_well(experiment, toy, roots):
    written = []
    for sources in (None, None, ["fake"]):
        explain.explain(experiment, ONE, sources, progress=False, detector=toy())
        files = [*experiment.results(ONE, sources)]
        written.append({path: path.read_bytes() for path in files})
        for path in files:
            path.unlink()
    assert written[0] == written[1]
    assert written[2] == {path: written[0][path] for path in experiment.results(ONE, ["fake"])}
    assert not [path for path in (roots / "results").rglob("*") if path.is_file() and path.name != "profile.json"]


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="this processor has no bfloat16")
def test_bfloat16_is_used_and_named_where_the_profile_says_so(experiment, toy):
    explained = []
    for precision in ("float32", "bfloat16"):
        explain.explain(replace(experiment, precision=precision), ONE, progress=False, detector=toy())
        explained.append((maps(experiment), rows(experiment, "noise")["value"].to_numpy()))
    (single, before), (half, after) = explained
    assert [one.attrs["precision"] for one in (single, half)] == ["float32", "bfloat16"]
    for a, b in ((single["score"], half["score"]), (before, after)):
        assert 1e-5 < np.nanmax(np.abs(a - b)) < 0.1


def test_an_image_that_cannot_be_read_is_marked_and_the_rest_is_done(experiment, toy, capsys):
    explain.explain(experiment, ONE, progress=False, detector=toy())
    before = {measure: rows(experiment, measure) for measure in experiment.measures}, maps(experiment)
    bad = "fake/3.png"
    spoil(experiment, bad)
    explain.explain(experiment, ONE, progress=False, detector=toy())
    assert f"{bad}: cannot be read as an image" in capsys.readouterr().err
    result = maps(experiment)
    at = result["image"].to_numpy().tolist().index(bad)
    assert np.isnan(result["salience"][at]).all()
    assert np.isnan(result["score"][at])
    assert np.isnan(result["logits"][at]).all()
    assert [int(result[name][at]) for name in ("dead", "predicted", "target")] == [1, -1, -1]
    good = np.arange(10) != at
    for name in ("salience", "score", "predicted"):
        np.testing.assert_allclose(result[name][good], before[1][name][good], rtol=0, atol=1e-5)
    for measure, expected in before[0].items():
        subset = rows(experiment, measure)
        marked = subset["image"] == bad
        assert subset.loc[marked, "value"].isna().all()
        assert not subset.loc[marked, "correct"].any()
        assert marked.sum() == (expected["image"] == bad).sum() > 0
        check_same(subset[~marked], expected[~marked])


def test_an_answer_that_is_no_number_makes_no_authentic_image_right(experiment, toy):
    """NaN as class 0 would raise the accuracy on photographs to 1."""
    white = "real/3.png"
    Image.new("RGB", (32, 32), "white").save(experiment.samples.set_index("image").loc[white, "path"])
    detector = toy()

    def nothing_for_white(_module, inputs, logits):
        return torch.where(inputs[0].mean((1, 2, 3))[:, None] > 1.5, torch.nan, logits)

    detector.model.register_forward_hook(nothing_for_white)
    explain.explain(experiment, ONE, ["real"], progress=False, detector=detector)
    clean = maps(experiment, "real")
    at = clean["image"].to_numpy().tolist().index(white)
    assert np.flatnonzero(np.isnan(clean["score"])).tolist() == [at]
    assert int(clean["predicted"][at]) == -1
    for measure in experiment.measures:
        about = rows(experiment, measure, "real").query("image == @white")
        assert not about["correct"].any()
        assert about["value"].isna().all()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_batch_of_nothing_but_an_unreadable_image(experiment, toy, batch_size):
    spoil(experiment, "fake/0.png")
    own_size = replace(experiment, image_size=None, batch_size=batch_size)
    explain.explain(own_size, ONE, ["fake"], progress=False, detector=toy())
    assert np.isnan(maps(experiment)["score"]).to_numpy().tolist() == [True] + [False] * 9
    noise = rows(experiment, "noise")
    assert set(noise.groupby("image").size()) == {
        2 * (2 + 2 * len(experiment.methods))
    }  # levels, scores, targets, methods
    assert set(noise.loc[noise["value"].isna(), "image"]) == {"fake/0.png"}


def test_a_source_of_which_nothing_can_be_read_is_refused_and_not_written(experiment, toy, roots):
    spoil(experiment, *(f"fake/{number}.png" for number in range(10)))
    with pytest.raises(InputError, match="none of the 10 images of 'fake' can be read"):
        explain.explain(experiment, ONE, ["fake"], progress=False, detector=toy())
    assert not [path for path in (roots / "results").rglob("*") if path.is_file() and path.name != "profile.json"]


def test_tables_count_unreadable_images_as_missing(experiment, toy):
    bad = ["fake/3.png", "real/4.png"]  # drawn by every measure
    spoil(experiment, *bad)
    for seed, one in enumerate(experiment.trained):
        explain.explain(experiment, one, progress=False, detector=toy(seed))
    by, runs, scores = ["detector", "regime", "source"], experiment.runs, experiment.scores()
    noise = experiment.rows("noise").query("level == '0.5'")
    for values in (
        statistics.accuracies(scores),
        statistics.flips(noise),
        experiment.score_changes(noise),
        experiment.rows("entropy").query("variant == 'spatial' and salience == 'CAM'"),
    ):
        table = statistics.summarise(values, by)
        assert (table["missing"] == runs).all()
        assert table["mean"].notna().all()
    pairs = experiment.pairs("stability")
    assert pairs.loc[pairs["image"].isin(bad), "value"].isna().all()
    assert not pairs.loc[pairs["image"].isin(bad), "correct"].any()
    for _, subset in experiment.each():
        assert not correct(subset)[:, np.isin(subset["image"], bad)].any()
    assert len(experiment.images([*bad, "fake/4.png"])) == 3
    chosen = (experiment, scores, "CAM", {"noise": 0.5})
    # Untrained toys may have no image that two runs classify correctly.
    for table, value in (
        (selection.headlines(*chosen), "mean"),
        (selection.differences(experiment, "CAM", {"noise": 0.5}), "difference"),
    ):
        assert table.loc[~table["row"].str.contains("both right"), value].notna().all()
    assert (statistics.summarise_auc(scores, ["detector", "regime"], "real")["missing"] == 2 * runs).all()
    assert selection.equal_accuracy(experiment, scores, 0.1)["AUC difference"].notna().all()
    assert unseen.table(experiment, "CAM")["mean"].notna().all()


def test_data_lists_what_cannot_be_read_and_goes_on(experiment, tmp_path, capsys):
    spoil(experiment, "fake/3.png", "real/0.png")
    about = {name: getattr(experiment, name) for name in experiment.__dataclass_fields__ if name != "profile"}
    about["detectors"] = ["demo_cnn"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(about))
    assert cli.main(["data", "--profile", str(tmp_path / "mine.yaml")]) == 0
    out, err = capsys.readouterr()
    assert "fake synthetic      10" in out
    assert [line.split(": cannot")[0][-10:] for line in err.splitlines()[1:]] == ["fake/3.png", "real/0.png"]
    assert err.startswith("2 of 20 images cannot be read")


@pytest.mark.parametrize(("most", "halved"), [(4, [(5, 2)]), (1, [(5, 2), (2, 1)])])
def test_where_memory_runs_out_batches_are_halved_with_equal_results(experiment, toy, monkeypatch, most, halved):
    explain.explain(experiment, ONE, ["fake"], progress=False, detector=toy())
    before, clean = rows(experiment, "noise"), maps(experiment)
    hold(monkeypatch, most)
    with pytest.warns(UserWarning, match="out of memory") as said:
        explain.explain(experiment, ONE, ["fake"], progress=False, detector=toy())
    words = [f"out of memory with {images} images at once: going on with {half}" for images, half in halved]
    assert [str(warning.message) for warning in said] == words
    check_same(rows(experiment, "noise"), before)
    np.testing.assert_allclose(maps(experiment)["salience"], clean["salience"], rtol=0, atol=1e-5)


def hold(monkeypatch, most):
    """A processor whose memory holds so many images."""
    several = Explainer.several

    def limited(explainer, images, *arguments):
        if len(images) > most:
            torch.empty(2**50)
        return several(explainer, images, *arguments)

    monkeypatch.setattr(Explainer, "several", limited)


@pytest.mark.filterwarnings("ignore:out of memory")
def test_where_memory_does_not_hold_one_image_the_message_says_what_to_do(experiment, toy, monkeypatch):
    hold(monkeypatch, 0)
    with pytest.raises(InputError, match=r"not hold the work on one image \(\[enforce.*choose a smaller detector"):
        explain.explain(experiment, ONE, progress=False, detector=toy())
    assert not [path for path in experiment.results(ONE) if path.is_file()]


def test_a_full_disk_is_named_and_leaves_all_files_of_a_source_as_they_were(experiment, toy, monkeypatch, roots):
    explain.explain(experiment, ONE, progress=False, detector=toy(seed=1))
    before = {path: path.read_bytes() for path in (roots / "results").rglob("*") if path.is_file()}
    encoded, calls = disk._encoded, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return encoded(*arguments)

    monkeypatch.setattr(disk, "_encoded", full)
    with pytest.raises(OSError, match=r"transformations-fake\.parquet: not written \(No space left on device\)"):
        explain.explain(experiment, ONE, progress=False, detector=toy())
    left = {path: path.read_bytes() for path in (roots / "results").rglob("*") if path.is_file()}
    assert left == before


def test_images_are_kept_no_longer_than_their_batch(experiment, toy, monkeypatch):
    alive, most, explain_batch = [], [], explain.explain_batch

    def watched(experiment, explainers, about, images, unreadable):
        alive.append(weakref.ref(images if images.base is None else images.base))
        most.append(sum(reference() is not None for reference in alive))
        return explain_batch(experiment, explainers, about, images, unreadable)

    monkeypatch.setattr(explain, "explain_batch", watched)
    explain.explain(replace(experiment, batch_size=1), ONE, progress=False, detector=toy())
    assert len(most) == 20
    assert max(most) <= 2


def test_an_unknown_source(experiment, toy):
    with pytest.raises(InputError, match="no source named 'fakes' in smoke; choose from"):
        explain.explain(experiment, ONE, ["fakes"], detector=toy())


def test_explanations_look_up_the_outputs_of_frozen_blocks(tmp_path, monkeypatch, faces, one_thread):
    """A job on a trained MobileNetV2 computes frozen blocks for blurred images only, and rows equal those without."""
    from e2m.experiment import frozen, train
    from e2m.networks.trunk import Trunk

    data = faces(n=4, size=112)
    data["source"] = data["label"]
    data["split"] = ["train", "train", "validate", "validate", "test", "test", "test", "test"]
    root = tmp_path / "faces"
    data.assign(path=data["image"])[["path", "label", "source", "split"]].to_csv(root / "list.csv", index=False)
    about = {"sources": list(LABELS), "in_set": list(LABELS), "controls": {}, "study": {}, "masker": None, "runs": 1}
    about |= {"dataset": "folder", "dataset_options": {"root": str(root), "csv": str(root / "list.csv")}}
    about |= {"detectors": ["mobilenet_v2"], "pretrained": True, "training": {"epochs": 1, "batch_size": 2}}
    about["measures"] = {
        "noise": {"amounts": [0.5], "images_per_source": 2},
        "degradation": {"max_sigmas": [10.0], "regions": ["salient"], "images_per_source": 2},
    }
    key, computed = ModelKey("mobilenet_v2", "cross_entropy", 0), []
    outputs = Trunk._outputs
    rows = {}
    for shared in (True, False):
        monkeypatch.setattr(paths, "RESULTS", tmp_path / f"results-{shared}")
        experiment = Experiment.load("smoke", share_frozen=shared, regimes=["cross_entropy"], guided=None, **about)
        if shared:
            for write in frozen.PARTS.values():
                write(experiment, "mobilenet_v2", False)
        train.train(experiment, key, progress=False)
        with monkeypatch.context() as patch:
            patch.setattr(Trunk, "_outputs", lambda self, pixels: computed.append(len(pixels)) or outputs(self, pixels))
            explain.explain(experiment, key, progress=False)
        # Two images of each source, blurred for each method; without the file, clean and noisy ones as well.
        assert sum(computed) == 2 * 2 * (len(experiment.methods) + (0 if shared else 2))
        computed.clear()
        rows[shared] = pd.concat([experiment.rows(measure) for measure in experiment.measures], ignore_index=True)
    pd.testing.assert_frame_equal(rows[True], rows[False], atol=1e-5)


@pytest.fixture
def kept(experiment, toy, monkeypatch):
    """An experiment of one detector that is trained, explained, and has a table."""
    one = replace(experiment, regimes=["cyborg"], runs=1)
    save_checkpoint(one, seed=0)
    explain.explain(one, ONE, progress=False, detector=toy())
    monkeypatch.setenv(paths.SAVED, str(paths.RESULTS / one.profile))
    one.save("noise", pd.DataFrame({"value": [1]}))
    return one


def save_checkpoint(experiment, seed):
    content = {"format": CHECKPOINT_FORMAT, "detector": "toy", "weights": {"seed": torch.tensor(seed)}}
    loop.save(content | {"settings": asdict(experiment.settings(ONE))}, experiment.checkpoint(ONE))


def read(experiment):
    """What pages read: maps, rows, and the maps of some images."""
    for method in experiment.methods:
        assert experiment.maps("toy", "cyborg", method, "fake").sizes["run"] == 1
        experiment.salience(experiment.samples["image"].tail(2), "toy", "cyborg", method)
    for measure in experiment.measures:
        assert len(experiment.rows(measure))


def test_results_are_read_for_what_they_were_made_of(kept):
    """Settings that change no value may change, and so may what is read of them."""
    read(kept)
    assert kept.table("noise")["value"].tolist() == [1]
    read(replace(kept, methods=["CAM"], sources=["fake"], resamples=7, threads=3, controls={"focused": 1}))
    kept.checkpoint(ONE).unlink()  # weights that are there no longer cannot be compared
    read(kept)


CHANGED = {
    "image_size 32, which now is 64": {"image_size": 64},
    "images .{8}, which now is .{8}": {"images_per_source": 9},
    "training.epochs .*, which now is 99": {"training": {"epochs": 99}},
    "measures.noise .*'amounts': .0.1, 0.5.*, which now is .*'amounts': .0.1, 0.6": {
        "measures": {"noise": {"amounts": [0.1, 0.6], "images_per_source": 8}}
    },
}


@pytest.mark.parametrize(("words", "changed"), CHANGED.items(), ids=[next(iter(one)) for one in CHANGED.values()])
def test_results_of_other_settings_are_refused(kept, words, changed):
    training = {"training": {**kept.training, **changed.get("training", {})}}
    other = replace(kept, **changed | training)
    first = r"^\S+/results/smoke/(maps|measures)/toy/cyborg/run-0/\S+: made with "
    with pytest.raises(InputError, match=f"{first}{words}.*; make it again, .* or give the changed profile a name"):
        read(other)
    with pytest.raises(InputError, match=r"^\S+/tables/noise\.parquet: made with "):
        other.table("noise")


def test_results_of_other_files_are_refused(kept):
    read(kept)
    image = Path(kept.samples["path"].iloc[-1])
    before = image.read_bytes()
    Image.new("RGB", (32, 32)).save(image)
    with pytest.raises(InputError, match=r"made with images .*, which now is"):
        read(replace(kept))
    image.write_bytes(before)
    read(replace(kept))
    save_checkpoint(kept, seed=1)
    with pytest.raises(InputError, match=r"made with weights .*, which now is"):
        read(kept)
