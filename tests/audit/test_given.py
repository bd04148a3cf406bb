"""Maps that other software made, in an audit: measured and shown like others, and what needs a network is said."""

import re
from dataclasses import replace

import numpy as np
import pytest

from e2m.audit import check, command, comparison, given, report, work
from e2m.audit.audit import Audit
from e2m.audit.groups import Group
from e2m.types import InputError

SMALL = "people_networks:small"


@pytest.fixture(scope="module")
def folders(pictures, tmp_path_factory):
    """Two kinds of maps of three runs: bright in one half with noise, and noise alone. One map is missing."""
    root = tmp_path_factory.mktemp("maps")
    for kind, strength in (("half", 0.8), ("noise", 0.0)):
        for run in range(3):
            for number, image in enumerate(sorted(pictures.rglob("*.png"))):
                path = (root / f"{kind}_{run}" / image.relative_to(pictures)).with_suffix(".npy")
                path.parent.mkdir(parents=True, exist_ok=True)
                cells = np.random.default_rng([run, number, int(strength)]).random((8, 8)) * (1 - strength)
                cells[:, :4] += strength
                np.save(path, cells * 0.01)
    (root / "half_1" / "fake" / "3.npy").unlink()
    return root


@pytest.fixture(scope="module")
def audit(pictures, folders, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    detectors = [
        {"name": "half", "network": "maps", "weights": [f"{folders}/half_*"], "known": {"normalise": "max"}},
        {"name": "noise", "network": "maps", "weights": [f"{folders}/noise_*"]},
        {"name": "net", "network": SMALL, "weights": [trained(folder / "runs", "a", (1, 2))]},
        {"name": "twin", "network": SMALL, "weights": [trained(folder / "runs", "b", (3,))]},
    ]
    settings = {"changed_per_source": 2, "resamples": 50, "methods": ["GradCAM", "CAM"], "folder": folder / "out"}
    return work.work(Audit.of(str(pictures), detectors, **settings), progress=False)


def test_given_maps_are_measured_like_others(audit, folders, tmp_path):
    assert work.jobs(audit) == []
    assert Audit.load(audit.save().parent).groups == audit.groups
    maps = audit.maps("", "half", "GradCAM", "fake")
    assert maps.sizes["run"] == 3
    assert np.isnan(maps["score"]).all()
    assert maps["dead"].sel(image="fake/3.png").to_numpy().tolist() == [0, 1, 0]
    written = np.load(folders / "half_2" / "real" / "5.npy")
    read = audit.maps("", "half", "GradCAM", "real")["salience"].sel(image="real/5.png", run=2)
    np.testing.assert_allclose(read, written / written.max(), rtol=1e-6)
    counts = comparison.counts(audit).groupby("group")[["dead", "missing", "unreadable"]].sum()
    assert counts.loc["half"].to_list() == [1, 0, 0]
    means, equal, differences = comparison.means(audit), comparison.equal(audit), comparison.differences(audit)
    entropy = means[means["row"] == "(a) spatial entropy ↓"].set_index("regime")["mean"]
    assert entropy["half"] < entropy["noise"]
    alike = means[means["letter"] == "d"].set_index(["row", "regime"])["mean"].xs("half", level=1)
    assert np.isfinite(alike.iloc[0])
    assert set(means.loc[means["letter"].isin([*"bce"]), "regime"]) == {"net", "twin"}
    controls = comparison.controls(audit)
    assert {"a", "d"} == set(controls.loc[controls["regime"] == "half", "letter"])
    verdict = comparison.verdict(audit, means, equal, differences)
    assert verdict.preferred is None
    said = " ".join([*verdict.reasons, verdict.needed])
    assert "Of half and noise there are maps alone, without a network: there is no accuracy" in said
    assert "half and noise: the network of half and that of noise, whose scores say how accurate it is." in said
    assert "half and net: the network of half, whose scores" in said
    # Only networks have maps of a second method.
    others = comparison.other_methods(audit)
    assert set(others["regime"]) == {"net", "twin"}
    assert set(others["method"]) == {"CAM"}
    assert {"a", "c"} <= set(others["letter"])
    (sentence,) = [reason for reason in verdict.reasons if " with CAM instead of Grad-CAM: " in reason]
    assert sentence.startswith("net and twin with CAM")
    page = report.write(comparison.reported(audit, means, equal, differences, controls), tmp_path).read_text()
    assert "without a network" in page


def test_an_audit_of_maps_alone_has_a_report(audit, tmp_path):
    alone = replace(audit, groups=audit.groups[:2], regimes=audit.regimes[:2])
    means, equal, differences = comparison.means(alone), comparison.equal(alone), comparison.differences(alone)
    reported = comparison.reported(alone, means, equal, differences, comparison.controls(alone))
    assert {"alike", "dead"} <= set(reported.images)
    assert {"flipped", "rotated"}.isdisjoint(reported.images)
    page = report.write(reported, tmp_path).read_text()
    assert "maps as given" in page
    assert "no scores" in page
    assert not re.search(r"0 of 0|0/0", page)


def test_what_stands_out_is_said_before_the_work(audit):
    findings = [text for level, about, text in command._findings(audit) if about == "salience" and level == "warning"]
    (finding,) = [text for text in findings if "half_1" in text]
    assert finding.startswith("half: half_1: maps for 23 of 24 images in ")
    assert "1 missing (fake/3.png)" in finding


def test_a_map_that_fits_images_of_both_labels_is_none_of_theirs(pictures, folders, tmp_path):
    """Also if one of them is not drawn."""
    (tmp_path / "flat").mkdir()
    for number in range(12):
        (tmp_path / "flat" / f"{number}.npy").write_bytes((folders / f"half_0/real/{number}.npy").read_bytes())
    (tmp_path / "flat" / "fake_7.npy").write_bytes((folders / "half_0/fake/7.npy").read_bytes())
    detectors = [{"name": "A", "network": "maps", "weights": [f"{tmp_path}/flat"]}]
    with pytest.raises(InputError, match="none of its 13 maps"):
        work.work(Audit.of(str(pictures), detectors, images_per_source=3, folder=tmp_path / "out"), progress=False)


def test_maps_too_small_to_compare_stop(pictures, folders):
    group = Group.of("A", "maps", [f"{folders}/noise_*"], {"shape": [4, 4]})
    samples = check.chosen(Audit.of(str(pictures), [group.as_dict()]).samples)
    assert "stop" in {finding.level for finding in given.findings(group, samples)}


@pytest.mark.parametrize(
    ("patterns", "known", "words"),
    [
        ([], {}, "name the folders of its maps, one a run"),
        (["x_*"], {}, "no such folder"),
        (["half_0", "copy"], {}, "the same maps as"),
        (["half_*"], {"layer": "x"}, "--with.layer: no such key"),
        (["half_*"], {"shape": 7}, r"7 arrived; \[height, width\] of the maps fits"),
        (["half_*"], {"normalise": "maxx"}, r"did you mean max\?"),
    ],
)
def test_what_cannot_be_a_group_of_maps_is_refused(folders, patterns, known, words):
    (folders / "copy").mkdir(exist_ok=True)
    for path in (folders / "half_0").rglob("*.npy"):
        target = folders / "copy" / path.relative_to(folders / "half_0")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=words):
        Group.of("A", "maps", [f"{folders}/{pattern}" for pattern in patterns], known)
