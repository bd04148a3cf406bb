"""The timeline of a build: which jobs it shows, when, and on which lane."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from e2m.experiment.profile import Profile
from e2m.pages import figures, timeline


@pytest.fixture(scope="module")
def profile():
    return Profile.load("smoke")


def notes(path, *jobs):
    """A file of notes: (command, options, start, end, cpu)."""
    lines = [
        json.dumps({"job": {"command": command, **options}, "start": start, "end": end, "cpu": cpu})
        for command, options, start, end, cpu in jobs
    ]
    path.write_text("\n".join(lines))
    return path


def of(profile, key, more=()):
    return {"profile": profile.profile, "detector": None, "regime": key.regime, "run": [key.run]} | dict(more)


def page(name, profile):
    return {"notebook": f"notebooks/{name}.ipynb", "parameters": [["profile", profile]], "output": None}


def test_only_jobs_of_the_book_are_shown(profile, tmp_path):
    key = profile.trained[0]
    runs = [one.run for one in profile.trained if one.regime == key.regime]
    absent = {"profile": profile.profile, "detector": None, "regime": key.regime, "run": [key.run, 999]}
    file = notes(
        tmp_path / "notes",
        ("data", {"profile": profile.profile, "part": "test"}, 0, 1, 1),
        ("train", of(profile, key), 1, 3, 2),
        ("train", absent, 1, 3, 2),
        ("train", of(profile, key, {"profile": "another"}), 1, 3, 2),
        ("salience", of(profile, key, {"run": runs}), 2, 3, 2),
        ("run", page("noise", profile.profile), 3, 4, 1),
        ("run", page("entropy", "another"), 3, 4, 1),
        ("run", {"notebook": "speed", "parameters": []}, 4, 5, 1),
        ("audit", {"images": "faces"}, 0, 9, 9),
    )
    shown = timeline.jobs(file, profile)
    assert list(zip(shown["kind"], shown["name"], strict=True)) == [
        ("data", "test"),
        ("train", f"{key.regime}, run {key.run}"),
        ("salience", f"{key.regime}, runs {', '.join(map(str, runs))}"),
        ("page", "noise"),
        ("page", "speed"),
    ]


def test_a_profile_is_known_by_its_path_too(profile, tmp_path):
    path = f"/home/somebody/{profile.profile}.yaml"
    jobs = [
        ("train", of(profile, profile.trained[0], {"profile": path}), 1, 3, 2),
        ("run", page("noise", path), 3, 4, 1),
    ]
    assert timeline.jobs(notes(tmp_path / "notes", *jobs), profile)["kind"].tolist() == ["train", "page"]


def test_a_job_counts_with_its_latest_run_and_idle_time_is_cut(profile, tmp_path):
    file = notes(
        tmp_path / "notes",
        ("run", page("noise", profile.profile), 1000, 1010, 5),
        ("run", page("entropy", profile.profile), 1010, 1030, 6),
        ("run", page("noise", profile.profile), 9000, 9020, 7),
    )
    shown = timeline.jobs(file, profile).set_index("name")
    assert shown.loc["entropy", ["start", "end"]].tolist() == [0, 20]
    assert shown.loc["noise", ["start", "end", "cpu"]].tolist() == [20, 40, 7]


@pytest.mark.parametrize("seed", range(5))
def test_jobs_of_a_lane_do_not_overlap_and_no_lane_is_idle_while_a_job_takes_a_later_one(seed):
    generator = np.random.default_rng(seed)
    start = np.sort(generator.uniform(0, 100, 60))
    table = timeline._in_lanes(pd.DataFrame({"start": start, "end": start + generator.uniform(0.1, 9, 60)}))
    for _, lane in table.groupby("lane"):
        assert all(first.end <= second.start for first, second in pairwise(lane.itertuples()))
    for job in table.itertuples():
        running = table[(table["start"] < job.start) & (table["end"] > job.start)]
        assert set(range(job.lane)) <= set(running["lane"])


def test_cutting_idle_time_keeps_durations_and_overlaps():
    table = pd.DataFrame({"start": [10.0, 11, 40, 41, 90], "end": [12.0, 30, 50, 42, 91]})
    cut = timeline._without_gaps(table)
    assert cut["start"].tolist() == [0, 1, 20, 21, 30]
    np.testing.assert_allclose(cut["end"] - cut["start"], table["end"] - table["start"])


def test_kinds_add_up(profile, tmp_path):
    jobs = [("run", page(name, profile.profile), n, n + 2 + n, 10 + n) for n, name in enumerate(("noise", "entropy"))]
    jobs += [("data", {"profile": profile.profile, "part": "test"}, 0, 1, 79)]
    table = timeline.kinds(timeline.jobs(notes(tmp_path / "notes", *jobs), profile))
    assert table.values.tolist() == [
        ["data", 1, 79, "79%", "test", 1],
        ["page", 2, 21, "21%", "entropy", 3],
        ["all", 3, 100, "100%", "first start to last end", 4],
    ]


def test_files_of_the_book(profile, tmp_path):
    file = notes(tmp_path / "notes", ("data", {"profile": profile.profile, "part": "test"}, 0, 60, 50))
    timeline.write(file, profile.profile, tmp_path / "with")
    timeline.write(tmp_path / "nothing", profile.profile, tmp_path / "without")
    assert (tmp_path / "with" / "timeline.csv").read_text().splitlines()[1:] == [
        "data,1,50,100%,test,60",
        "all,1,50,100%,first start to last end,60",
    ]
    assert len((tmp_path / "without" / "timeline.csv").read_text().splitlines()) == 2
    assert all((tmp_path / name / "timeline.svg").stat().st_size for name in ("with", "without"))


def test_lanes_draws_a_bar_a_job():
    table = pd.DataFrame({"kind": ["train", "page"], "start": [0, 60], "end": [120, 90], "lane": [0, 1]})
    (ax,) = figures.lanes(table).axes
    bars = [(bar.get_x(), bar.get_width(), round(bar.get_y() + bar.get_height() / 2)) for bar in ax.patches]
    assert bars == [(0, 2, 0), (1, 0.5, 1)]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["train", "page"]
