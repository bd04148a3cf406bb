"""Targets and hours from small tables of `make bench`, against arithmetic by hand."""

import numpy as np
import pytest

from benchmarks import timing
from e2m.pages import speed
from e2m.store import studies


def timed(row, what, alternative, ours, theirs, kind="cost", **about):
    return timing.compared(row, what, alternative, np.array(ours), np.array(theirs), kind, **about)


@pytest.fixture
def table():
    """Two networks at 0.1 and 0.4 core-seconds a map, half in bfloat16; measures cost a fifth more than their maps."""
    rows = [
        timed("maps", "map", "forward pass, batches whole", [0.9, 0.8, 1.0], [1.0, 1, 1], detector="resnet50"),
        timed("maps", "map", "TorchCAM, batched", [1.0, 1, 1], [1.3, 1.2, 1.4], "speed-up", detector="resnet50"),
        timed("demo job", "job in float32, 9 passes", "passes", [0.7], [1.0], detector="mobilenet_v2"),
        timed("demo job", "job in bfloat16, 9 passes", "passes", [0.5], [1.0], detector="mobilenet_v2"),
    ]
    for name, one in (("resnet50", 0.1), ("xception", 0.4)):
        rows += [
            timed("end to end", f"map from a file, {precision}", "pass", [share * one], [one], detector=name)
            for precision, share in (("float32", 1), ("bfloat16", 0.5))
        ]
    rows += [
        timed("five measures", f"an image in {precision}, 20 passes", "", [seconds], [2.0], detector="resnet50")
        for precision, seconds in (("float32", 20 * 0.1 * 1.2), ("bfloat16", 20 * 0.05 * 1.4))
    ]
    return timing.table(rows)


def test_targets_say_what_was_missed_by_how_much_and_why(table):
    lines = speed.targets(table)
    assert lines["target"].tolist() == [target.what for target in speed.TARGETS]
    said = dict(zip(lines["target"], lines["verdict"], strict=True))
    maps, peer, job, half, several, memory = said.values()
    assert (maps, peer, job, half) == ("missed by 6%", "met", "missed by 17%", "missed by 40%")
    assert several == memory == "not measured"
    assert lines["measured"].tolist()[:3] == ["0.90 [0.80, 1.00]", "1.30 [1.20, 1.40]", "0.70"]
    assert [bool(text) for text in lines["what holds it back"]] == [True, False, True, True, False, False]
    assert lines["wanted"].tolist()[:2] == ["≤ 0.85", "≥ 1.25"]


def test_hours_are_passes_times_seconds_times_the_overhead_of_the_measures(table):
    assert speed.overheads(table, cores=2) == pytest.approx({"float32": 1.2, "bfloat16": 1.4})
    hours = speed.hours(table, cores=2, passes=3_600_000)
    assert list(hours) == ["float32", "bfloat16"]
    assert hours.loc["resnet50"].tolist() == pytest.approx([120, 70])
    assert hours.loc["xception"].tolist() == pytest.approx([480, 280])


def test_a_table_without_maps_from_files_gives_hours_of_maps_from_memory(table):
    """Its seconds are those of all cores together."""
    older = table[table["row"].isin(["maps", "five measures"]) & ~table["what"].str.contains("bfloat16")].copy()
    older.loc[older["row"] == "maps", "alternative"] = "forward pass"
    older = older.drop_duplicates("row")
    assert speed.core_seconds(older, 2).loc["resnet50", "float32"] == pytest.approx(1.8)
    assert speed.hours(older, 2, 3_600_000).loc["resnet50", "float32"] == pytest.approx(1000 * 2 * 2.4 / 20)


def test_the_committed_table_is_read():
    table, about = studies.load("speed")
    assert (speed.hours(table, int(about["threads"].split()[0]), 1e6)["float32"] > 0).all()
    assert set(speed.targets(table)["verdict"]) - {"not measured"}
