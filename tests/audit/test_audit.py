"""Audits of small networks from images to answers: what is made, what is kept, what is said, what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from e2m.arrays.images import read_images
from e2m.audit import comparison, report, work
from e2m.audit.audit import Audit
from e2m.cli import main
from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.networks import layers
from e2m.networks.inputs import as_input
from e2m.types import InputError

SMALL = "people_networks:small"


def asked(pictures, *groups, **changed):
    detectors = [{"name": name, "network": network, "weights": [weights]} for name, network, weights in groups]
    return Audit.of(str(pictures), detectors, **{"changed_per_source": 4, "resamples": 100} | changed)


@pytest.fixture(scope="module")
def audit(pictures, trained, tmp_path_factory):
    """Two groups of three and two runs, whose names are no names of files; worked."""
    folder = tmp_path_factory.mktemp("audit")
    weights = trained(folder / "runs", "a", (1, 2, 10)), trained(folder / "runs", "b", (3, 4))
    groups = ("<b>A</b> & $x$", SMALL, weights[0]), ("../_B", SMALL, weights[1])
    return work.work(asked(pictures, *groups, folder=folder / "out"), progress=False)


@pytest.fixture(scope="module")
def tables(audit):
    means, equal, differences = comparison.means(audit), comparison.equal(audit), comparison.differences(audit)
    return means, equal, differences, comparison.controls(audit)


def names(jobs):
    return {(job.key.detector, job.key.regime, job.key.run, *job.sources) for job in jobs}


# What is made, and what is kept


def test_finished_work_is_finished(audit):
    assert work.jobs(audit) == []
    files = [path for path in (audit.folder / "work").rglob("*") if path.is_file()]
    # Three measures and the maps of 5 runs and 2 sources; those of known maps of 2 groups, of which run 0 is changed.
    assert len(files) == 5 * 2 * 4 + 2 * 2 * (5 + 3) + 2 * 2 * 5
    assert all(path.is_relative_to(audit.folder / "work") for path in files)


def test_what_is_asked_again_is_read_again(audit):
    audit.save()
    again = Audit.load(audit.folder)
    assert (again.groups, again.measures, again.sources) == (audit.groups, audit.measures, audit.sources)
    assert work.jobs(again) == []
    pd.testing.assert_frame_equal(again.rows("noise"), audit.rows("noise"))
    with pytest.raises(InputError, match="no audit there"):
        Audit.load(audit.folder / "elsewhere")


def test_a_change_makes_anew_what_it_touches(audit, pictures, trained, tmp_path):
    first, second = audit.groups

    def left(one=first, images=pictures, **changed):
        groups = [(group.name, SMALL, str(second.weights[0].parent / "b*.pt")) for group in (one, second)]
        other = asked(images, *groups, folder=audit.folder, **changed)
        return names(work.jobs(replace(other, groups=(one, second), runs=len(one.runs))))

    # Where checkpoints lie is no content.
    folder = tmp_path / "runs"
    shutil.copytree(first.weights[0].parent, folder)
    moved = replace(first, weights=tuple(folder / path.name for path in first.weights))
    assert left(moved) == set()
    # Another checkpoint between others: its number is 2, and it is the only one without files.
    trained(folder, "a", (5,))
    weights = (*moved.weights[:2], folder / "a_5.pt", moved.weights[2])
    assert left(replace(moved, weights=weights)) == {("", first.name, 2, *audit.sources)}
    # Other weights in a file of the same name; those of run 0 also make the scores beside known maps.
    shutil.copy(folder / "a_5.pt", folder / "a_2.pt")
    assert left(moved) == {("", first.name, 1, *audit.sources)}
    shutil.copy(folder / "a_5.pt", folder / "a_1.pt")
    changed = {(regime, run) for _, regime, run, *_ in left(moved)}
    assert changed == {(first.name, 0), (first.name, 1), ("known", 0), ("known", 1)}
    # An image of one source.
    images = tmp_path / "images"
    shutil.copytree(pictures, images)
    shutil.copy(images / "fake" / "0.png", images / "fake" / "12.png")
    assert {sources for *_, sources in left(images=images)} == {"fake"}
    # A setting.
    assert len(left(changed_per_source=3)) == 5 + 4


def test_unreadable_images_are_counted(audit, pictures, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(pictures, images)
    (images / "fake" / "3.png").write_bytes(b"no image")
    one = audit.groups[1]
    other = asked(images, (one.name, one.network, str(one.weights[0])), folder=tmp_path / "out")
    worked = work.work(other, progress=False)
    counts = comparison.counts(worked).set_index("source")
    assert counts["unreadable"].to_dict() == counts["missing"].to_dict() == {"real": 0, "fake": 1}
    assert comparison.means(worked).loc[0, "missing"] == 1


def test_a_checkpoint_that_fails_is_named_and_the_others_go_on(pictures, trained, tmp_path, capsys):
    weights = trained(tmp_path, "a", (1, 2, 3))
    broken = torch.load(tmp_path / "a_2.pt", weights_only=True)
    broken["classifier.bias"] += torch.nan
    torch.save(broken, tmp_path / "a_2.pt")
    audit = asked(pictures, ("A", SMALL, weights), folder=tmp_path / "out")
    worked = work.work(audit, progress=False)
    assert worked.group("A").runs == ("a_1.pt", "a_3.pt")
    (failure,) = worked.failures
    assert (failure.group, failure.weights) == ("A", str(tmp_path / "a_2.pt"))
    assert "no answer on the images of 'fake' is a number; did its training diverge?" in failure.why
    assert f"group 'A' goes on without {tmp_path / 'a_2.pt'}" in capsys.readouterr().err
    assert set(worked.rows("noise")["run"]) == {0, 1}
    worked.save()
    assert Audit.load(worked.folder).failures == worked.failures
    # Only the failed one is tried again.
    assert names(work.jobs(audit)) == {("", "A", 1, "fake", "real")}
    alone = asked(pictures, ("A", SMALL, str(tmp_path / "a_2.pt")), folder=tmp_path / "out")
    with pytest.raises(InputError, match=r"group 'A': none of its 1 runs works; the first: .*did its training diverge"):
        work.work(alone, progress=False)


# What is refused before any work


def test_another_architecture_in_a_group_is_refused_with_its_path(pictures, trained, tmp_path):
    trained(tmp_path, "a", (1,))
    trained(tmp_path, "b", (2,), channels=9)
    (tmp_path / "c.pt").write_bytes(b"damaged")
    audit = asked(pictures, ("A", SMALL, f"{tmp_path}/*.pt"), folder=tmp_path / "out")
    with pytest.raises(InputError) as error:
        work.check_weights(work.jobs(audit))
    lines = str(error.value).splitlines()
    assert [str(tmp_path / name) in line for name, line in zip(("b_2.pt", "c.pt"), lines, strict=True)] == [True, True]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ["GradCamm"]}, "no method named 'GradCamm'; choose from"),
        ({"images_per_source": 0}, "images-per-source 0 arrived"),
        ({"margin": 0.0}, "margin 0.0 arrived"),
        ({"options": {"csvv": "x"}}, "has no option 'csvv'"),
        ({"folder": __file__}, r"--out .*test_audit\.py: a file; name a folder"),
    ],
)
def test_what_does_not_fit_is_refused(pictures, networks, changed, message, tmp_path):
    group = {"name": "A", "network": "people_networks:with_weights"}
    with pytest.raises(InputError, match=message):
        Audit.of(str(pictures), [group], **{"folder": tmp_path} | changed)


def test_three_labels_are_refused(pictures, networks, tmp_path):
    rows = ["path,label", *(f"{label}/{number}.png,{label}" for label in ("real", "fake") for number in range(3))]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join([*rows, "fake/4.png,maybe"]))
    group = {"name": "A", "network": "people_networks:with_weights"}
    with pytest.raises(InputError, match=r"list\.csv.*maybe"):
        Audit.of(str(pictures), [group], options={"csv": str(listed)}, folder=tmp_path)


# What is said


def test_groups_of_different_sizes_are_compared(audit, tables):
    means, equal, differences, controls = tables
    first, second = (group.name for group in audit.groups)
    assert means.groupby("regime", sort=False)["runs"].max().to_dict() == {first: 3, second: 2}
    assert (set(differences["regime"]), set(differences["against"])) == ({first}, {second})
    assert differences["runs"].max() == 2
    both = means.pivot(index="row", columns="regime", values="mean")
    apart = differences.set_index("row")["difference"]
    shared = ["(a) spatial entropy ↓", "accuracy ↑"]
    np.testing.assert_allclose(apart[shared], (both[first] - both[second])[shared])
    assert equal[["regime", "against", "source"]].to_numpy().tolist() == [[first, second, comparison.EVERY]]
    assert set(controls["regime"]) == {first, second}
    entropy = controls[controls["row"] == "(a) spatial entropy ↓"].set_index(["regime", "control"])["mean"]
    assert entropy[first, "random maps"] > entropy[first, "centre"]
    stability = controls[controls["row"].str.startswith("(d)")].set_index("control")["mean"]
    assert set(stability.loc["one arbitrary map"]) == {1}


def test_rows_carry_the_names_and_numbers_of_now(audit, pictures):
    """Files depend on neither; the groups are named anew here, and change places."""
    first, second = audit.groups
    groups = [
        (name, SMALL, str(group.weights[0].parent / name)) for name, group in (("b*.pt", second), ("a*.pt", first))
    ]
    other = asked(pictures, *groups, folder=audit.folder)
    assert work.jobs(other) == []
    rows, before = other.rows("transformations"), audit.rows("transformations")
    assert rows.groupby("regime", sort=False)["run"].max().to_dict() == {"b*.pt": 1, "a*.pt": 2}
    values = [table.loc[table["regime"] == name, "value"] for table, name in ((rows, "a*.pt"), (before, first.name))]
    np.testing.assert_array_equal(*values)


def test_the_report_holds_all_of_it(audit, tables, tmp_path):
    means, equal, differences, controls = tables
    content = comparison.reported(audit, means, equal, differences, controls)
    page = report.write(content, tmp_path).read_text()
    assert "<b>A</b>" not in page
    data = json.loads((tmp_path / "audit.json").read_text())
    assert [group["name"] for group in data["groups"]] == [group.name for group in audit.groups]
    assert data["verdict"]["needed"]
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert len(scores) == 5 * 24


@pytest.mark.parametrize(("p", "decided"), [(1e-9, True), (0.9, False)])
def test_a_preference_by_measures_names_the_control_that_is_missing(audit, tables, p, decided):
    means, equal, differences, _ = tables
    equal = equal.assign(verdict="equal", difference=0.0, p_interval=0.9)
    differences = differences.assign(difference=differences["better"].map({"lower": -0.1}).fillna(0.1), p_interval=p)
    verdict = comparison.verdict(audit, means, equal, differences)
    assert verdict.preferred == (audit.regimes[0] if decided else None)
    assert (comparison.WITHOUT_CONTROL in verdict.reasons) == decided


def test_one_group_gets_a_report_card(pictures, trained, tmp_path):
    weights = trained(tmp_path, "a", (1, 2))
    audit = work.work(asked(pictures, ("A", SMALL, weights), folder=tmp_path / "out"), progress=False)
    means, equal, differences = comparison.means(audit), comparison.equal(audit), comparison.differences(audit)
    assert (len(equal), len(differences)) == (0, 0)
    verdict = comparison.verdict(audit, means, equal, differences)
    assert (verdict.preferred, verdict.rule, verdict.needed) == (None, (), "")
    assert verdict.reasons[0].startswith("Accuracy: ")
    report.write(comparison.reported(audit, means, equal, differences, comparison.controls(audit)), tmp_path / "out")


def test_one_run_one_class_and_maps_of_another_size(pictures, networks, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(pictures / "fake", images / "fake")
    groups = [{"name": name, "network": f"people_networks:{name}"} for name in ("with_weights", "fine")]
    audit = Audit.of(str(images), groups, changed_per_source=4, resamples=100, folder=tmp_path / "out")
    audit = work.work(audit, progress=False)
    means, equal, differences = comparison.means(audit), comparison.equal(audit), comparison.differences(audit)
    assert not means["row"].str.startswith(("AUC", "(d)")).any()
    assert len(equal) == 0
    assert means["note"].str.contains("1 run: interval over images alone").any()
    assert differences["low"].notna().any()
    assert comparison.shapes(audit) == {"with_weights": (8, 8), "fine": (16, 16)}
    verdict = comparison.verdict(audit, means, equal, differences)
    assert verdict.preferred is None
    said = " ".join(verdict.reasons)
    for words in (
        "cannot be tested: without scores of both classes from both, there is no AUC",
        "with_weights and fine have one run",
        "All images are synthetic: there is no AUC",
        "Maps differ in size (with_weights 8x8, fine 16x16)",
    ):
        assert words in said
    assert verdict.needed == "with_weights and fine: images of both classes."
    report.write(comparison.reported(audit, means, equal, differences, comparison.controls(audit)), tmp_path / "out")


def test_human_maps_and_true_regions_are_compared_and_shown(pictures, trained, tmp_path):
    random = np.random.default_rng(0)
    for kind in ("people", "regions"):
        for name in ("real/0.png", "real/1.png", "fake/0.png", "fake/3.png"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            plane = random.random((32, 32)) if kind == "people" else np.indices((32, 32))[1] < 12
            Image.fromarray((plane * 255).astype(np.uint8)).save(tmp_path / kind / name)
    options = {"options": {"salience": str(tmp_path / "people")}, "regions": str(tmp_path / "regions")}
    group = "A", SMALL, trained(tmp_path, "a", (1,))
    audit = work.work(asked(pictures, group, folder=tmp_path / "out", changed_per_source=1, **options), progress=False)
    means = comparison.means(audit)
    measured = means[means["row"].str.contains("people|human|region|localis", case=False, regex=True)]
    assert set(measured["images"]) <= {4, 2}
    assert len(measured) >= 2
    assert np.isfinite(measured["mean"]).all()
    shown = {one.image: one.references for one in comparison.look(audit, ["fake/3.png", "fake/4.png"])}
    assert {name: set(maps) for name, maps in shown.items()} == {
        "fake/3.png": {"people", "true region"},
        "fake/4.png": set(),
    }
    region = shown["fake/3.png"]["true region"]
    np.testing.assert_array_equal(region, np.indices(region.shape)[1] < region.shape[1] * 12 / 32)


def test_two_networks_of_timm_that_were_trained_here(pictures, tmp_path, one_thread):
    samples = load_dataset("folder", root=pictures)
    images = np.concatenate(list(read_images(samples, 64)))
    labels = torch.tensor((samples["label"] == "synthetic").to_numpy()).long()
    detectors = []
    for name in ("test_resnet", "test_efficientnet"):
        for seed in (0, 1):
            detector = load_detector(f"timm:{name}", seed=seed, size=64, device="cpu")
            pixels, model = as_input(images, detector), detector.model.train()
            optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
            for _ in range(12):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(model(pixels), labels).backward()
                optimiser.step()
            torch.save(model.state_dict(), tmp_path / f"{name}_{seed}.pt")
        known = {"size": 64, "layer": layers.find(replace(detector, model=model.eval()), least=7).name}
        about = {"name": name, "network": f"timm:{name}", "weights": [f"{tmp_path}/{name}_*.pt"], "known": known}
        detectors.append(about)
    settings = {"changed_per_source": 2, "resamples": 50, "folder": tmp_path / "out"}
    audit = work.work(Audit.of(str(pictures), detectors, **settings), progress=False)
    means, equal, differences = comparison.means(audit), comparison.equal(audit), comparison.differences(audit)
    aucs = means[means["row"].str.startswith("AUC")].set_index("regime")["mean"]
    assert set(aucs.index) == {"test_resnet", "test_efficientnet"}
    assert (aucs > 0.6).all()  # after a dozen steps
    assert min(side for shape in comparison.shapes(audit).values() for side in shape) >= 7
    verdict = comparison.verdict(audit, means, equal, differences)
    assert verdict.because
    report.write(comparison.reported(audit, means, equal, differences, comparison.controls(audit)), tmp_path / "out")


# The command


@pytest.mark.slow
def test_the_command_writes_a_report_and_resumes(pictures, networks, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(networks))
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "runs", "a", (1, 2)), trained(tmp_path / "runs", "b", (3, 4))
    command = ["audit", str(pictures), "--detector", f"A={SMALL}", "--weights", "runs/a_*.pt"]
    command += ["--detector", f"B={SMALL}", "--weights", "runs/b_3.pt", "runs/b_4.pt", "--changed-per-source", "4"]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "A: people_networks:small, 2 runs" in said.err
    assert "This takes about" in said.err
    assert not (tmp_path / "audit").exists()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(tmp_path / "audit" / "audit.html")
    assert said.splitlines()[0] in ("Prefer A", "Prefer B", "No reason to prefer either")
    for name in ("audit.html", "audit.json", "audit.ipynb", "scores.parquet", "rows.parquet"):
        assert (tmp_path / "audit" / name).is_file(), name
    assert main([*command, "--dry-run"]) == 0
    assert "All maps and scores are there already" in capsys.readouterr().err


def test_the_command_line_says_what_is_missing(pictures, capsys):
    for arguments, words in (
        (["--weights", "x.pt"], "no --detector comes before it"),
        (["--detector", "timm:resnet18"], "give NAME=SPEC, as in A=timm:convnext_atto"),
        ([], "the following arguments are required: --detector"),
    ):
        with pytest.raises(SystemExit):
            main(["audit", str(pictures), *arguments])
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["audit", str(pictures), "--detector", "A=timm:resnet18", "--columns", "path"])
    assert "'path' arrived; NAME=VALUE fits" in capsys.readouterr().err
    assert main(["audit", str(pictures), "--detector", "A=timm:resnet18"]) == 1
    assert "its weights would be random" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["size"], "--with size: give NAME=VALUE"),
        (["mean=[0.5"], "--with mean=[0.5: the value is no number and no list"),
        (["sise=32"], "a detector has no 'sise'; choose from layer, size"),
        (["device=cpu"], "a detector has no 'device'"),
        (["layer=0"], "has no layer named '0'"),
        (["size=wide"], "size is wide; a number of pixels or (height, width) fits"),
        (["mean=0.5"], "mean is 0.5 and std"),
        (["layer=features.0", "mean=[0.5, 0.5, 0.5]", "size=48"], ""),
    ],
)
def test_what_a_person_knows_better_reaches_the_detector(pictures, networks, given, words, capsys):
    status = main(["check", str(pictures), "--detector", "people_networks:with_weights", "--with", *given])
    said = "".join(capsys.readouterr())
    assert words in said
    assert (status == 0) == (words == "")
    if not words:
        assert "48 x 48 pixels, 3 channels, mean 0.5, 0.5, 0.5" in said
        assert "GradCAM from features.0: maps of 24x24 cells" in said


def test_what_is_known_of_a_group_names_its_files(pictures, networks, tmp_path):
    group = {"name": "A", "network": "people_networks:with_weights"}
    audits = [
        Audit.of(str(pictures), [{**group, "known": known}], folder=tmp_path) for known in ({}, {"layer": "features.0"})
    ]
    files = [[path for job in work.jobs(audit) for path in audit.results(job.key)] for audit in audits]
    assert not set(files[0]) & set(files[1])
    audits[1].save()
    again = Audit.load(tmp_path)
    assert again.detector("", "A", 0).layer == "features.0"
