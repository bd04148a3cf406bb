"""Maps of other software: the same rows as ours for the same maps, whatever their order, scale, folders and gaps."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from e2m import plugins, statistics
from e2m.arrays.images import read_images
from e2m.measures.degradation import LEAST_SHARE, blurred_share
from e2m.measures.stability import stability
from e2m.salience.engine import Explainer, explain
from e2m.salience.given import compared, measured, pair_maps, said, write_changed
from e2m.salience.respond import respond
from e2m.types import InputError

SIDE = 32
RUNS = ("run-0", "run-1")
SETTINGS = {
    "noise": {"amounts": [0.1, 0.5], "seed": 3},
    "transformations": {"names": ["flip_left_right", "shift_up", "rotate_left"]},
    "degradation": {"max_sigmas": [10.0], "regions": ["salient", "background"]},
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Five images of two sources in folders; one file name occurs in both."""
    root, random = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    rows = []
    for name in ("real/orl/1.png", "real/orl/2.png", "fake/gan/1.png", "fake/gan/3.png", "fake/gan/4.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
        label, source = ("authentic", "orl") if name.startswith("real") else ("synthetic", "gan")
        rows.append((name, str(path), label, source, "test", name, "", ""))
    return pd.DataFrame(rows, columns=["image", "path", "label", "source", "split", "subject", "salience", "region"])


@pytest.fixture(scope="module")
def images(samples):
    return np.concatenate(list(read_images(samples, SIDE)))


@pytest.fixture(scope="module")
def detectors(toy):
    return {run: toy(seed) for seed, run in enumerate(RUNS)}


@pytest.fixture(scope="module")
def ours(detectors, images):
    """(R, N, h, w), Grad-CAM maps of every run; all alive."""
    maps = np.stack([explain(detector, images).maps for detector in detectors.values()])
    assert np.isfinite(maps).all()
    return maps


def write(folder, names, maps, suffix=".npy", save=np.save):
    for name, salience in zip(names, maps, strict=True):
        path = (folder / name).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, salience)
    return folder


def as_picture(path, salience):
    Image.fromarray((salience * 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, samples, ours):
    root = tmp_path_factory.mktemp("maps")
    return {run: write(root / run, samples["image"], maps) for run, maps in zip(RUNS, ours, strict=True)}


@pytest.fixture(scope="module")
def clean(samples, folders):
    return pair_maps(samples, folders)


def test_maps_come_back_as_they_were_written(clean, ours):
    np.testing.assert_array_equal(clean.maps(), ours)
    np.testing.assert_array_equal(clean.maps(slice(1, 3)), ours[:, 1:3])
    assert clean.runs == list(RUNS)
    assert clean.found["paired"].tolist() == [5, 5]


# Measures of clean maps.


def test_entropy_and_stability_are_those_of_the_arrays(clean, ours, samples):
    rows = measured(clean, "entropy")
    expected = plugins.load("measure", "entropy").measure(ours.reshape(-1, *ours.shape[2:]))
    for variant, values in expected.items():
        of_variant = rows[rows["variant"] == variant].sort_values(["run"], kind="stable")
        np.testing.assert_array_equal(of_variant["value"], values)
        assert of_variant["image"].tolist() == [*samples["image"]] * 2
    assert set(rows["most"]) == {1}
    rows = measured(clean, "stability")
    np.testing.assert_array_equal(rows["value"], stability(ours)["value"])
    assert rows["label"].tolist() == samples["label"].tolist()
    assert statistics.summarise(rows, ["variant"])["mean"].notna().all()


def test_parts_change_nothing(clean, monkeypatch):
    keys = ["run", "run_other", "image"]
    whole = measured(clean, "stability").set_index(keys)["value"]
    monkeypatch.setattr("e2m.salience.given.AT_ONCE", 2)
    pd.testing.assert_series_equal(measured(clean, "stability").set_index(keys)["value"], whole)


def test_alignment_and_localisation_read_what_the_samples_name(clean, ours, samples, tmp_path):
    human = np.zeros((SIDE, SIDE), np.uint8)
    human[4:20, 8:16] = 1
    for name in ("people.png", "region.png"):
        Image.fromarray(human).save(tmp_path / name)
    known = samples["image"].isin(samples["image"].iloc[[0, 3]])
    about = samples.assign(
        salience=np.where(known, str(tmp_path / "people.png"), ""),
        region=np.where(known, str(tmp_path / "region.png"), ""),
    )
    given = pair_maps(about, {run: str(folder) for run, folder in zip(RUNS, _folders(clean), strict=True)})
    rows = measured(given, "alignment")
    people = np.asarray(Image.fromarray(human.astype(np.float32)).resize((8, 8), Image.Resampling.BOX))
    people = np.broadcast_to(people / people.max(), (2, 8, 8))
    expected = plugins.load("measure", "alignment").with_human(ours[1, [0, 3]], people)
    for variant, values in expected.items():
        found = rows[(rows["variant"] == variant) & (rows["run"] == 1)]
        np.testing.assert_allclose(found["value"], values, atol=1e-6)
    rows = measured(given, "localisation", size=SIDE)
    regions = np.broadcast_to(human == 1, (2, SIDE, SIDE))
    expected = plugins.load("measure", "localisation").with_region(ours[0, [0, 3]], regions)
    for variant, values in expected.items():
        np.testing.assert_array_equal(rows[(rows["variant"] == variant) & (rows["run"] == 0)]["value"], values)


def _folders(given):
    return given.found["folder"]


@pytest.mark.parametrize(("measure", "words"), [("alignment", "human maps"), ("localisation", "true regions")])
def test_what_a_measure_needs_is_said(clean, measure, words):
    with pytest.raises(InputError, match=f"{measure} needs {words}"):
        measured(clean, measure)


@pytest.mark.parametrize("measure", SETTINGS)
def test_measures_of_changed_images_say_how(clean, measure):
    with pytest.raises(InputError, match=f"{measure} compares.*write_changed.*compared"):
        measured(clean, measure)


# Measures of changed images.


@pytest.fixture(scope="module")
def expected(samples, images, detectors):
    """The rows of ``respond`` for our own maps, by measure."""
    about, found = samples[["image", "label", "source"]], {name: [] for name in SETTINGS}
    for number, detector in enumerate(detectors.values()):
        with Explainer(detector) as explainer:
            clean = explainer(images)
            for name, settings in SETTINGS.items():
                changes = partial(plugins.load("measure", name).perturbations, **settings)
                found[name].append(respond(explainer, images, clean, about.assign(run=number), changes))
    return {name: pd.concat(rows) for name, rows in found.items()}


@pytest.mark.parametrize("measure", SETTINGS)
def test_given_maps_of_changed_images_give_the_rows_of_respond(
    samples, clean, detectors, expected, measure, tmp_path, capsys
):
    changes = write_changed(samples, tmp_path / "changed", measure, SIDE, given=clean, **SETTINGS[measure])
    maps = {run: tmp_path / "maps" / run for run in RUNS}
    for change in changes.itertuples():
        for run in [change.guide] if change.guide else RUNS:
            assert change.images == len(samples)
            files = sorted(path.relative_to(change.folder) for path in _images_in(change.folder))
            pictures = np.stack([np.asarray(Image.open(f"{change.folder}/{file}")) for file in files])
            names = [f"{change.region}/{change.level}/{file}".lstrip("/") for file in files]
            write(maps[run], names, explain(detectors[run], pictures).maps)
    rows = compared(clean, tmp_path / "changed", maps)
    keys = ["run", "image", "label", "source", "variant", "region", "level"]
    similar = expected[measure]["variant"].str.startswith("ssim") & (expected[measure]["target"] == "predicted")
    wanted = expected[measure][similar].set_index(keys)["value"].sort_index()
    assert len(wanted) >= 2 * len(samples) * len(changes) / (2 if measure == "degradation" else 1)
    pd.testing.assert_series_equal(rows.set_index(keys)["value"].sort_index(), wanted)
    assert set(rows["measure"]) == {measure}
    assert "missing" not in capsys.readouterr().err


def _images_in(folder):
    from pathlib import Path

    return list(Path(folder).rglob("*.png"))


def test_missing_levels_and_maps_have_no_values(samples, clean, ours, tmp_path, capsys):
    write_changed(samples, tmp_path / "changed", "noise", SIDE, **SETTINGS["noise"])
    write(tmp_path / "maps" / "0.1", samples["image"].iloc[1:], ours[0, 1:])
    rows = compared(clean, tmp_path / "changed", {"run-0": tmp_path / "maps"})
    assert set(rows["level"]) == {"0.1"}
    assert rows["value"].isna().tolist() == [True, False, False, False, False]
    said = capsys.readouterr().err
    assert "no maps of 0.5" in said
    assert "1 missing (real/orl/1.png)" in said
    with pytest.raises(InputError, match=r"no folder 0\.1 in it.*0\.1/IMAGE\.npy"):
        compared(clean, tmp_path / "changed", {"run-0": tmp_path / "changed" / "0.1"})
    with pytest.raises(InputError, match="'other', which has no clean maps"):
        compared(clean, tmp_path / "changed", {"other": tmp_path / "maps"})
    with pytest.raises(InputError, match="the folder that write_changed wrote"):
        compared(clean, tmp_path, {"run-0": tmp_path / "maps"})


def test_no_file_is_written_over(samples, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty; name a new folder"):
        write_changed(samples, tmp_path, "noise", SIDE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("measure", "settings", "words"),
    [
        ("entropy", {}, "changes no images"),
        ("degradation", {}, "guided by maps"),
        ("noise", {"amount": 0.1}, r"noise\.amount: no such key"),
        ("noise", {"amounts": [7]}, r"noise\.amounts\[0\]: 7 arrived"),
    ],
)
def test_what_cannot_be_written_is_said(samples, tmp_path, measure, settings, words):
    with pytest.raises(InputError, match=words):
        write_changed(samples, tmp_path / "changed", measure, SIDE, **settings)
    assert not (tmp_path / "changed" / "changed.json").exists()


def test_names_that_lead_out_of_the_folder_are_refused(samples, tmp_path):
    for name in ("../1.png", "/1.png"):
        with pytest.raises(InputError, match="leads out"):
            write_changed(samples.assign(image=[name, *"bcde"]), tmp_path / "changed", "noise", SIDE)
    with pytest.raises(InputError, match=r"b\.png: the name of several images"):
        write_changed(samples.assign(image=["b.png", "b.jpg", *"cde"]), tmp_path / "changed", "noise", SIDE)


# Folders as people have them.


def test_order_and_scale_of_files_change_nothing(samples, clean, ours, tmp_path):
    """Maps are written in another order, flat where names allow it, in another unit, one a kind of file."""
    names = samples["image"].tolist()
    write(tmp_path / "a", names[::-1], ours[0, ::-1] * 1e-4)
    write(tmp_path / "b", [f"deep/{name}" for name in names[:3]], ours[1, :3] * 300)
    write(tmp_path / "b", ["3", "4"], ours[1, 3:], ".png", as_picture)
    given = pair_maps(samples, {"a": tmp_path / "a", "b": tmp_path / "b"})
    np.testing.assert_allclose(given.maps(), ours, atol=1 / 254)
    np.testing.assert_allclose(given.maps()[0], ours[0], atol=1e-6)
    assert given.found["scale"].tolist() == ["0 to 1", "3 of numbers above 1, 2 of 8 bits"]
    assert measured(given, "stability")["value"].to_numpy() == pytest.approx(
        measured(clean, "stability")["value"].to_numpy(), abs=0.02
    )


def test_what_is_left_out_is_named_and_counted(samples, ours, tmp_path, capsys):
    full, gaps = tmp_path / "full", tmp_path / "gaps"
    write(full, samples["image"], ours[0])
    write(gaps, samples["image"], ours[1])
    (gaps / "real/orl/2.npy").unlink()  # missing
    np.save(gaps / "fake/gan/9.npy", ours[0, 0])  # extra
    np.save(gaps / "fake/gan/3.npz", ours[0, 0])  # a second file for one image
    np.save(gaps / "1.npy", ours[0, 0])  # fits two images
    np.save(gaps / "fake/gan/4.npy", np.full((8, 8), 0.5))  # dead
    (gaps / "real/orl/1.npy").write_bytes(b"broken")
    (gaps / "notes.txt").write_text("mine")
    (gaps / "fake/gan/3.npz.npy").rename(gaps / "fake/gan/3.npz")
    given = pair_maps(samples, [full, gaps])
    row = given.found.iloc[1]
    assert given.runs == ["full", "gaps"]
    assert row["missing"] == ("real/orl/2.png", "fake/gan/3.png")
    assert row["extra"] == ("fake/gan/9.npy", "notes.txt")
    assert row["ambiguous"] == ("1.npy", "fake/gan/3.npy", "fake/gan/3.npz")
    assert [path.split("/")[-1] for path in row["dead"]] == ["4.npy"]
    assert [path.split("/")[-1] for path in row["unreadable"]] == ["1.npy"]
    assert np.isnan(given.maps()[1]).all(axis=(1, 2)).tolist() == [True, True, False, True, True]
    assert np.isfinite(given.maps()[0]).all()
    values = measured(given, "stability").set_index("image")["value"]
    assert values.notna().tolist() == [False, False, True, False, False]
    printed = capsys.readouterr().err
    assert said(given)[0] in printed
    for words in ("2 missing (real/orl/2.png, fake/gan/3.png)", "3 ambiguous", 'normalise="minmax"', "2 extra"):
        assert words in printed.split("gaps:")[1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_dead(samples, ours, tmp_path, value):
    maps = ours[0].copy()
    maps[2, 1, 1] = value
    given = pair_maps(samples, [write(tmp_path / "run", samples["image"], maps)])
    assert len(given.found.loc[0, "dead"]) == 1
    rows = measured(given, "entropy")
    assert set(rows.loc[rows["value"].isna(), "image"]) == {"fake/gan/1.png"}


def test_signed_maps_and_densities(samples, ours, tmp_path):
    signed = write(tmp_path / "signed", samples["image"], ours[0] - 0.5)
    with pytest.raises(InputError, match="a signed map; choose"):
        pair_maps(samples, [signed])
    given = pair_maps(samples, [signed], signed="positive")
    np.testing.assert_allclose(given.maps()[0], np.maximum(ours[0] - 0.5, 0) * 2, atol=1e-6)
    shares = write(tmp_path / "shares", samples["image"], ours[0])
    for measure, size in (("entropy", 7), ("stability", 7)):
        folders = {"a": shares, "b": tmp_path / "other"}
        write(folders["b"], samples["image"], ours[1])
        by_sum, by_maximum = (pair_maps(samples, folders, normalise=how) for how in ("sum", "max"))
        np.testing.assert_allclose(by_sum.maps().sum(axis=(2, 3)), 1, rtol=1e-5)
        values = [measured(maps, measure, size)["value"] for maps in (by_sum, by_maximum)]
        np.testing.assert_allclose(*values, atol=0.01)


def test_maps_of_differing_sizes_need_a_shape(samples, ours, tmp_path):
    write(tmp_path / "a", samples["image"], ours[0])
    write(tmp_path / "b", samples["image"], ours[1].repeat(2, axis=1).repeat(2, axis=2))
    with pytest.raises(InputError, match=r"a map of 16x16, but .* has 8x8; give shape="):
        pair_maps(samples, [tmp_path / "a", tmp_path / "b"])
    given = pair_maps(samples, [tmp_path / "a", tmp_path / "b"], shape=(8, 8))
    np.testing.assert_allclose(given.maps(), ours, atol=1e-5)


def test_folders_without_maps_are_refused(samples, tmp_path):
    (tmp_path / "run").mkdir()
    np.save(tmp_path / "run" / "other.npy", np.eye(8))
    with pytest.raises(
        InputError, match=r"none of its 1 maps, such as other\.npy, is named like an image, such as real"
    ):
        pair_maps(samples, [tmp_path / "run"])
    with pytest.raises(InputError, match="no such folder of maps"):
        pair_maps(samples, [tmp_path / "absent"])
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "4.pt").write_bytes(b"maps")
    with pytest.raises(InputError, match=r"torch: no maps in it; its files: 1 of \.pt; maps end in \.npy"):
        pair_maps(samples, [tmp_path / "torch"])
    with pytest.raises(InputError, match="folders of one name"):
        pair_maps(samples, [tmp_path / "a" / "run", tmp_path / "run"])
    with pytest.raises(InputError, match="no folders"):
        pair_maps(samples, {})
    (tmp_path / "run" / "4.npy").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"none of its maps can be read, .*4\.npy first"):
        pair_maps(samples, [tmp_path / "run"])


def test_settings_are_kept_with_the_images(samples, tmp_path):
    write_changed(samples, tmp_path / "changed", "noise", SIDE, amounts=[0.1])
    assert json.loads((tmp_path / "changed" / "changed.json").read_text()) == {
        "measure": "noise",
        "size": SIDE,
        "settings": {"amounts": [0.1]},
        "images": len(samples),
    }


# Fine maps.


def test_a_map_too_fine_to_blur_anything_is_a_warning(photographs):
    measure = plugins.load("measure", "degradation")
    fine = np.zeros((2, 112, 112))
    fine[:, 10::30, 10::30] = 1
    with pytest.warns(UserWarning, match="2 of 2 images have a map so fine"):
        (change,) = measure.perturbations(photographs[:2], {"mine": fine}, regions=["salient"])
    assert (np.abs(change.images.astype(int) - photographs[:2]) <= 1).all()
    coarse = np.zeros((1, 7, 7))
    coarse[0, 3, 3] = 1
    assert (blurred_share(fine, (112, 112)) < LEAST_SHARE).all()
    assert blurred_share(coarse, (112, 112))[0] > LEAST_SHARE
    assert np.isnan(blurred_share(np.zeros((1, 7, 7)), (112, 112))).all()


@pytest.mark.filterwarnings("error")
def test_coarse_maps_and_small_doses_are_no_warning(photographs):
    measure = plugins.load("measure", "degradation")
    coarse = np.zeros((2, 7, 7))
    coarse[:, 3, 3] = 1
    assert len(list(measure.perturbations(photographs[:2], {"mine": coarse}, max_sigmas=[0.0, 0.5, 10.0]))) == 12
