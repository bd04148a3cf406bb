"""A profile from images to results: the published study's, on a small tree in its layout, with a real architecture."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m import statistics
from e2m.arrays.map_files import read_maps
from e2m.detectors import load_detector
from e2m.experiment import data, explain, results, train
from e2m.experiment.results import Experiment, ModelKey, correct, extremes
from e2m.measures.alignment import with_human
from e2m.pages.baselines import annotator_rows
from e2m.store import disk, paths
from e2m.store.paths import CHECKOUT
from e2m.training import learnt
from e2m.types import InputError

PAPER = Experiment.load("paper")
ONE = ModelKey("resnet50", "cyborg", 0)


def picture(path, seed, mode="RGB", side=96):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert(mode).save(path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Images and human maps of both training classes and of every source of the profile, with the list."""
    root = tmp_path_factory.mktemp("paper")
    authentic = {"frgc", "ffhq", "celeba_hq"}
    labels = {source: "authentic" if source in authentic else "synthetic" for source in PAPER.sources}
    rows = []
    for number in range(4):
        known = product(("train", "validate"), ("authentic", "synthetic"))
        rows += [(f"{split}/{label}/{number}.png", label, label, split) for split, label in known]
        rows += [(f"{source}/{number}.png", labels[source], source, "test") for source in PAPER.sources]
    for seed, (path, *_) in enumerate(rows):
        picture(root / path, seed)
        if path.startswith("train"):
            picture(root / "human_maps" / path, seed, mode="L")
    pd.DataFrame(rows, columns=["path", "label", "source", "split"]).to_csv(root / "images.csv", index=False)
    return root


@pytest.fixture(scope="module")
def explained(tree, tmp_path_factory):
    """The profile with one small change a line, and one detector trained and explained."""
    options = {"root": str(tree), "csv": str(tree / "images.csv"), "salience": str(tree / "human_maps")}
    experiment = Experiment.load(
        "paper",
        dataset_options=options,
        detectors=["resnet50"],
        regimes=["cyborg"],
        traditional="cyborg",
        guided=None,
        runs=1,
        pretrained=False,  # ImageNet weights are downloaded
        images_per_source=2,
        training={**PAPER.training, "epochs": 1, "batch_size": 4},
        masker=None,
        measures={
            "noise": {"amounts": [0.5], "images_per_source": 2},
            "transformations": {"names": ["flip_left_right", "shift_up"], "images_per_source": 1},
            "degradation": {"max_sigmas": [10.0], "images_per_source": 1},
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", tmp_path_factory.mktemp("results"))
        curves, checkpoint = train.train(experiment, ONE, progress=False)
        explain.explain(experiment, ONE, progress=False)
        assert len(curves) == 1
        assert checkpoint == experiment.checkpoint(ONE)
        yield experiment


def test_everything_promised_is_written(explained):
    assert all(path.is_file() for path in explained.results(ONE))


def test_measures_change_the_images_of_controls_on_the_in_set_sources_only(explained, monkeypatch, tmp_path):
    control = ModelKey("resnet50", "fixed_map", 0)
    measured = explained.measured(control)
    assert measured == explained.in_set
    assert explained.measured(ONE) == explained.sources
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    detector = load_detector("resnet50", device="cpu")
    explain.explain(explained, control, progress=False, detector=detector, measured=measured)
    written = {path for path in tmp_path.rglob("*") if path.suffix in (".nc", ".parquet")}
    assert written == set(explained.results(control))
    of_sources = len(explained.methods) * len(explained.sources) + len(explained.measures) * len(measured)
    assert len(written) == of_sources


def test_clean_maps(explained):
    images = explained.samples.groupby("source")["image"].apply(list)
    for names, maps in explained.each():
        assert maps["salience"].shape == (1, 2, 7, 7)
        assert maps["image"].to_numpy().tolist() == images[names["source"]]
        alive = ~maps["dead"].to_numpy().astype(bool)
        assert np.isfinite(maps["salience"].to_numpy()[alive]).all()
        assert correct(maps).shape == (1, 2)
    attributes = disk.read_maps(explained.results(ONE)[0]).attrs
    assert attributes["layer"] == "layer4"
    assert attributes["weights_sha256"] == disk.file_hash(explained.checkpoint(ONE))


def test_clean_maps_are_read_once_unless_they_change(explained, monkeypatch):
    asked, read = [], disk.read_maps
    monkeypatch.setattr(disk, "read_maps", lambda path: asked.append(path) or read(path))
    monkeypatch.setattr(results, "_KEPT", {})
    key = ("resnet50", "cyborg", "CAM", "ffhq")
    first = explained.maps(*key)
    assert first.identical(explained.maps(*key))
    assert first.identical(replace(explained, methods=["CAM"]).maps(*key))
    assert len(asked) == 1
    os.utime(asked[0])
    assert first.identical(explained.maps(*key))
    assert len(asked) == 2
    monkeypatch.setattr(results, "_KEPT", {})
    monkeypatch.setattr(results, "KEPT_BYTES", 100)
    assert first.identical(explained.maps(*key))
    assert first.identical(explained.maps(*key))
    assert len(asked) == 4


def test_rows_of_measures(explained):
    entropy = explained.rows("entropy")
    assert len(entropy) == 3 * 2 * 2 * len(explained.sources)  # methods, variants, images
    moved = explained.rows("transformations", salience="CAM")
    assert set(moved["variant"]) == {"ssim", "ssim_valid"}
    assert len(moved) == 2 * 2 * 2 * 1 * len(explained.sources)  # transformations, variants, targets, images
    noise = explained.rows("noise")
    assert noise["correct"].notna().all()
    assert statistics.flips(noise)["value"].isin([0, 1]).all()


def test_rows_do_not_depend_on_batches(explained, monkeypatch, tmp_path):
    alone = Experiment(**{**vars_of(explained), "batch_size": 1, "sources": explained.sources[:2], "in_set": []})
    before, weights = explained.rows("noise"), explained.checkpoint(ONE).read_bytes()
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    alone.checkpoint(ONE).parent.mkdir(parents=True)
    alone.checkpoint(ONE).write_bytes(weights)
    explain.explain(alone, ONE, progress=False)
    keys = ["source", "image", "salience", "target", "variant", "level"]
    result, before = (rows.astype(dict.fromkeys(keys, str)) for rows in (alone.rows("noise"), before))
    both = result.merge(before, on=keys)
    assert len(both) == len(result)
    scores = both["variant"] == "score"
    assert np.abs(both["value_x"] - both["value_y"])[scores].max() < 1e-5
    # A grey level of the map may fall to the other side when floating-point sums change.
    assert np.nanmax(np.abs(both["value_x"] - both["value_y"])[~scores]) < 0.01


def vars_of(experiment):
    return {name: getattr(experiment, name) for name in experiment.__dataclass_fields__}


def test_a_trial_does_not_stand_in_for_the_profiles_detector(explained):
    _, path = train.train(explained, ONE, progress=False, epochs=1)
    assert path == explained.checkpoint(ONE)
    _, path = train.train(explained, ONE, progress=False, batch_size=6)
    assert path != explained.checkpoint(ONE)
    assert path.is_file()


def test_the_published_study_can_be_planned():
    plan = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--config", "profile=paper"],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    counts = {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE)}
    assert counts["train"] == 4 * 2 * 10 + 1  # and one for the page of a regime that the profile leaves out
    assert counts["train_masker"] == counts["salience"] == 4 * 2 * 10


def test_missing_results_say_what_to_do():
    with pytest.raises(InputError, match="make book"):
        replace(Experiment.load("demo", runs=1), detectors=["nobody"]).rows("entropy")


def test_a_checkpoint_of_other_data_is_not_taken_for_finished(faces, monkeypatch):
    """The origin names all that training learns from: images, labels, sources, splits, and human maps if guided."""
    parts = {"train": faces(n=3, name="train"), "validate": faces(n=2, name="validate", seed=1)}
    for module in (train, data):
        monkeypatch.setattr(module, "load_dataset", lambda *_, split, **__: parts[split])

    def origin_of_fit(_, training, validate, *__, guided, origin, **___):
        return learnt.images_hash(training, validate, guided), origin

    monkeypatch.setattr(train, "fit", origin_of_fit)

    def origin(regime):
        return train.train(Experiment.load("smoke"), replace(ONE, detector="demo_cnn", regime=regime))[0]

    before = {regime: origin(regime) for regime in ("cyborg", "cross_entropy")}
    assert before == {regime: origin(regime) for regime in before}

    def changes(regime):
        return origin(regime) != before[regime]

    given = dict(parts)
    for changed in (
        {"train": given["train"].assign(label=given["train"]["label"][::-1].to_numpy())},
        {"validate": given["validate"].assign(label=given["validate"]["label"][::-1].to_numpy())},
        {"train": given["train"].assign(source="other")},
        {"train": given["train"].iloc[:-1]},
        {"train": given["train"].iloc[::-1]},
        {"train": given["validate"], "validate": given["train"]},
        {"train": pd.concat(given.values(), ignore_index=True), "validate": given["validate"].iloc[:0]},
    ):
        parts.update(given | changed)
        assert changes("cyborg")
        assert changes("cross_entropy")
    parts.update(given)
    file = given["train"]["salience"][0]
    human = np.load(file)
    np.save(file, 1 - human)
    assert changes("cyborg")
    assert not changes("cross_entropy")
    np.save(file, human)
    parts["train"] = given["train"].assign(salience=given["train"]["salience"][::-1].to_numpy())
    assert changes("cyborg")
    assert not changes("cross_entropy")
    parts["train"], file = given["train"], given["train"]["path"][0]
    assert not changes("cyborg")
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    assert changes("cyborg")
    assert changes("cross_entropy")


def test_a_trial_names_what_does_not_fit(explained):
    for changed, words in (
        ({"epoch": 3}, "epoch: no such key; did you mean epochs?"),
        ({"epochs": 0}, "epochs: 0 arrived; a whole number from 1 up fits"),
        ({"flip": "yes"}, "flip: 'yes' arrived; true or false fits"),
    ):
        for job in (train.train, train.train_masker):
            with pytest.raises(InputError) as refused:
                job(explained, ONE, progress=False, **changed)
            assert str(refused.value) == words


def test_a_broken_image_is_named_before_training(tree, explained, monkeypatch, tmp_path):
    broken = tree / "train" / "authentic" / "0.png"
    content = broken.read_bytes()
    broken.write_bytes(b"no picture")
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    try:
        with pytest.raises(InputError, match=str(broken)):
            train.train(explained, ONE, progress=False)
    finally:
        broken.write_bytes(content)
    assert not list(tmp_path.rglob("*.pt"))


def test_other_people_in_the_detectors_place(faces, monkeypatch):
    samples = faces(n=2)
    first, second, third, alone = samples["salience"]
    samples["annotations"] = [(first, second), (second, third, first), (third, second), (alone,)]
    monkeypatch.setattr(Experiment, "samples", samples)
    demo = Experiment.load("demo")
    rows = annotator_rows(demo, "alignment", (7, 7))
    assert set(rows["regime"]) == {"annotator"}
    result = rows.pivot(index="image", columns="variant", values="value")
    assert len(result) == 3
    one, two, three = (read_maps([path], (7, 7)) for path in (first, second, third))
    pairs = {0: [(two, one)], 1: [(three, two), (one, two)], 2: [(two, three)]}
    for index, maps in pairs.items():
        for variant, value in result.loc[samples["image"][index]].items():
            assert value == pytest.approx(np.mean([with_human(*pair)[variant] for pair in maps]))
    for fewer in (samples.drop(columns="annotations"), samples.tail(1)):
        monkeypatch.setattr(Experiment, "samples", fewer)
        assert annotator_rows(demo, "alignment", (7, 7)).empty


def test_folders_of_human_maps_lie_in_the_checkout():
    options = {"root": "faces", "salience": ["maps/anna", "maps/ben"]}
    result = Experiment.load("paper", dataset_options=options).options
    assert result["salience"] == [str(CHECKOUT / "maps/anna"), str(CHECKOUT / "maps/ben")]
    assert result["root"] == str(CHECKOUT / "faces")


def test_in_set_sources_by_their_labels(faces, monkeypatch):
    samples = faces(n=2)
    labels = {"a": "synthetic", "b": "authentic", "c": "synthetic", "d": "authentic"}
    samples["source"] = list(labels)
    samples["label"] = list(labels.values())
    monkeypatch.setattr(Experiment, "drawn", samples)
    demo = Experiment.load("demo")
    for in_set in (["a", "b"], ["b", "a"]):
        result = replace(demo, in_set=in_set)
        assert result.by_label == {"authentic": "b", "synthetic": "a"}
        assert (result.authentic, result.synthetic) == ("b", "a")
    for in_set, known in (
        (["a", "c"], "a: synthetic; c: synthetic"),
        (["b"], "b: authentic"),
        (["a", "b", "d"], "a: synthetic; b: authentic; d: authentic"),
    ):
        words = f"profile demo: in_set has the labels {known}; one authentic and one synthetic source fit"
        with pytest.raises(InputError, match=words):
            _ = replace(demo, in_set=in_set).authentic
    mixed = samples.assign(source=["a", "a", "b", "b"])
    monkeypatch.setattr(Experiment, "drawn", mixed)
    with pytest.raises(InputError, match="a: synthetic and authentic; b: synthetic and authentic"):
        _ = replace(demo, in_set=["a", "b"]).synthetic


def test_extremes():
    rows = pd.DataFrame({"image": list("aabbccdd"), "value": [1, 2, 3, 4, 9, 9, np.nan, np.nan]})
    assert list(extremes(rows).items()) == [("lowest", "a"), ("median", "b"), ("highest", "c")]


def test_a_synthetic_source_has_its_authentic_counterpart_or_the_in_set_one(faces, monkeypatch):
    samples = faces(n=2)
    samples["source"], samples["label"] = ["a", "b", "c", "d"], ["synthetic", "authentic"] * 2
    monkeypatch.setattr(Experiment, "drawn", samples)
    demo = replace(Experiment.load("demo"), in_set=["a", "b"])
    assert demo.against == {"a": "b", "c": "b"}
    assert replace(demo, counterparts={"c": "d"}).against == {"a": "b", "c": "d"}
    with pytest.raises(InputError, match="counterparts has 'a', which is synthetic; authentic ones fit"):
        _ = replace(demo, counterparts={"c": "a"}).against
    with pytest.raises(InputError, match="counterparts has the key 'b', which is authentic; synthetic ones fit"):
        _ = replace(demo, counterparts={"b": "d"}).against
