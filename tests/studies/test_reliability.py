"""The report of what was tried: every case of the tests' report is counted once, under its promise."""

import os
import re
import subprocess
import sys

import pytest

from e2m.pages import reliability
from e2m.store import studies
from e2m.store.paths import CHECKOUT
from studies.reliability import main, table

CASE = (
    '<testcase name="{name}" time="9"><properties><property name="kind" value="Broken toys"/>'
    '<property name="promise" value="{promise}"/><property name="of" value="6"/><property name="cpu" value="0.5"/>'
    "{more}</properties>{outcome}</testcase>"
)
CASES = [
    {"name": "test_toy[flipped]", "promise": "A broken toy is mended.", "more": "", "outcome": ""},
    {"name": "test_toy[cut[0]]", "promise": "A broken toy is mended.", "more": "", "outcome": ""},
    {"name": "test_many", "promise": "Many are.", "more": '<property name="tried" value="40"/>', "outcome": ""},
    {"name": "test_lost", "promise": "A lost one is back.", "more": "", "outcome": '<failure message="no">x</failure>'},
    {"name": "test_bad", "promise": "A lost one is back.", "more": "", "outcome": '<error message="no">x</error>'},
    {"name": "test_far", "promise": "One on the moon is.", "more": "", "outcome": '<skipped message="no rocket"/>'},
]


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.xml"
    cases = "".join(CASE.format(**case) for case in CASES)
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return path


def test_every_case_is_counted_once(report, tmp_path):
    cases = table([report])
    assert cases["case"].tolist() == ["flipped", "cut[0]", "", "", "", ""]
    assert cases["tried"].tolist() == [1, 1, 40, 1, 1, 1]
    assert cases["seconds"].tolist() == [0.5] * 6
    counted = reliability.counts(cases, "promise").set_index("promise")
    assert counted.columns.tolist() == ["tried", "kept", "broken", "not tried"]
    assert {name: row.tolist() for name, row in counted.iterrows()} == {
        "A broken toy is mended.": [2, 2, 0, 0],
        "Many are.": [40, 40, 0, 0],
        "A lost one is back.": [2, 0, 2, 0],
        "One on the moon is.": [0, 0, 0, 1],
    }
    assert reliability.counts(cases, "kind").iloc[0].tolist() == ["Broken toys", 44, 42, 2, 1]
    assert reliability.sentence(cases) == (
        "44 cases were tried; promises were kept in 42 and broken in 2; 1 could not be tried"
    )
    main([str(report), "--folder", str(tmp_path)])
    kept, about = studies.load("reliability", tmp_path)
    assert kept.equals(cases)
    assert about["command"] == "make faults"


@pytest.mark.parametrize("cases", range(6))
def test_the_report_of_an_interrupted_session_gives_no_table(report, tmp_path, capsys, cases):
    """What was not tried would look as if nobody had promised it."""
    text = report.read_text()
    end = [match.start() for match in re.finditer("<testcase", text)][cases]
    report.write_text(text[:end] + "</testsuite></testsuites>")
    with pytest.raises(SystemExit, match=rf"{cases} of (6|no) tests"):
        main([str(report), "--folder", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["report.xml"]


@pytest.mark.parametrize("way", ["one"])
def test_a_report_says_what_a_test_promises(request, way):
    assert dict(request.node.user_properties) == {
        "kind": "The report of what was tried",
        "promise": "a report says what a test promises",
        "of": len(request.session.items),
    }


TESTS = """
import os

def test_children():
    os.system("python3 -c 'sum(range(20_000_000))'")

def test_sleep():
    import time
    time.sleep(0.5)
"""


def test_a_report_says_what_a_test_costs(tmp_path):
    """Processor time, of children as well; waiting costs nothing."""
    (tmp_path / "test_cost.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text((CHECKOUT / "tests" / "conftest.py").read_text())
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--junitxml=report.xml",
        "-o",
        "junit_family=xunit1",
    ]
    subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(CHECKOUT)}
    )
    seconds = table([tmp_path / "report.xml"])["seconds"]
    assert seconds[0] > 0.2
    assert seconds[1] < 0.2
