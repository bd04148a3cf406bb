"""The report on packages: silence of the service is no all-clear, and every licence is listed."""

import pytest

from release import dependencies

KNOWN = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2", "3"]}]}
CLEAN = {"name": "b", "version": "1", "vulns": []}
UNFIXED = {"name": "c", "version": "1", "vulns": [{"id": "CVE-2", "fix_versions": []}]}
UNKNOWN = {"name": "d", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "expected", "vulnerable"),
    [
        ([CLEAN], ["vulnerabilities: 0 known; 1 of 1 packages were looked up"], False),
        (
            [KNOWN, CLEAN, UNFIXED],
            [
                "vulnerability CVE-1: a 1; mended in 2, 3",
                "vulnerability CVE-2: c 1; mended in no version yet",
                "vulnerabilities: 2 known; 3 of 3 packages were looked up",
            ],
            True,
        ),
        (
            [UNKNOWN, UNKNOWN, CLEAN],
            ["vulnerabilities: 0 known; 1 of 3 packages were looked up; the service does not know d, d"],
            False,
        ),
    ],
)
def test_vulnerabilities(packages, expected, vulnerable):
    assert dependencies.vulnerability_lines({"dependencies": packages}) == (expected, vulnerable)


def test_a_service_that_is_not_reached_is_said_in_one_line(tmp_path, monkeypatch):
    """Nothing listens at this port; the client also asks for none through a proxy."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    lock = tmp_path / "requirements.lock"
    lock.write_text("six==1.0\n")
    (line,), vulnerable = dependencies.vulnerability_lines(dependencies.audit(lock))
    assert line.startswith("vulnerabilities: unknown, the service that lists them was not reached (")
    assert "\n" not in line
    assert not vulnerable


def package(name, *licences):
    return {"name": name, "licenses": [{"license": licence} for licence in licences]}


def test_licences_are_listed_by_how_many_packages_have_them():
    bill = {
        "components": [
            package("a", {"id": "MIT"}),
            package("b", {"id": "MIT"}, {"name": "License :: OSI Approved :: MIT License"}),
            package("c", {"name": "License :: OSI Approved :: BSD License"}),
            {"name": "d", "licenses": [{"expression": "MIT OR Apache-2.0"}]},
            {"name": "e"},
            package("f", {"name": "A licence\nand its whole text"}),
        ]
    }
    assert dependencies.licence_lines(bill) == [
        "licence MIT: 2 packages: a, b",
        "licence A licence: 1 packages: f",
        "licence BSD License: 1 packages: c",
        "licence MIT OR Apache-2.0: 1 packages: d",
        "licence not stated: 1 packages: e",
    ]


def test_the_bill_names_every_package_of_the_environment(monkeypatch):
    from importlib.metadata import distributions

    from e2m.store.paths import CHECKOUT

    monkeypatch.chdir(CHECKOUT)
    bill = dependencies.bill_of_materials()
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "e2m")
    named = {(component["name"], component["version"]) for component in bill["components"]}
    assert {("torch", version_of("torch")), ("snakemake", version_of("snakemake"))} <= named
    assert len(named) >= 0.9 * len({one.metadata["Name"] for one in distributions()})


def version_of(name):
    from importlib.metadata import version

    return version(name)
