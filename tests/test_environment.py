"""Two ways to install: both take the same versions, and the lock can be trusted."""

import re
import tomllib

import pytest
import yaml

from e2m.store.paths import CHECKOUT

LOCK = (CHECKOUT / "requirements.lock").read_text()
BENCH_LOCK = (CHECKOUT / "requirements-bench.lock").read_text()
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
DEPENDENCIES = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["companion"]]


def locked(text: str) -> list[tuple[str, str, str]]:
    """Name, version and hashes of every package of a lock."""
    return re.findall(r"^([a-z0-9][\w.-]*)(==[^\n\\]+?) ?\\((?:\n    --hash=\S+(?: \\)?)*)", text, re.MULTILINE)


LOCKED = locked(LOCK)


@pytest.fixture
def conda() -> dict:
    return yaml.safe_load((CHECKOUT / "environment.yml").read_text())


@pytest.mark.parametrize("text", [LOCK, BENCH_LOCK], ids=["lock", "bench"])
def test_every_locked_package_has_a_hash(text):
    packages = locked(text)
    assert [name for name, _, _ in packages] == re.findall(r"^([a-z0-9][\w.-]*)", text, re.MULTILINE)
    assert [name for name, _, hashes in packages if "--hash=sha256:" not in hashes] == []


@pytest.mark.parametrize("text", [LOCK, BENCH_LOCK], ids=["lock", "bench"])
def test_the_lock_names_no_address(text):
    assert "://" not in text


def test_benchmarks_run_with_the_locked_versions():
    # Without what stands behind a version: other packages ask for it on other versions of Python.
    ours, bench = ({(name, text.split()[0]) for name, text, _ in packages} for packages in (LOCKED, locked(BENCH_LOCK)))
    added = {name for name, _ in bench - ours}
    assert {"torch", "torchcam", "scikit-image"} <= {name for name, _ in bench & ours}
    assert set(PYPROJECT["dependency-groups"]["bench"]) <= added
    assert not added & {name for name, _ in ours}


def test_the_lock_holds_every_dependency():
    wanted = [*DEPENDENCIES, *PYPROJECT["dependency-groups"]["dev"]]
    assert {re.split("[=<>]", line)[0] for line in wanted} <= {name for name, _, _ in LOCKED}


def test_conda_installs_the_locked_versions(conda):
    dependencies = [line.split("=")[0] for line in DEPENDENCIES]
    pinned = [name + version for name, version, _ in LOCKED if name in dependencies]
    *packages, itself = conda["dependencies"][-1]["pip"]
    assert sorted(packages) == sorted(pinned)
    assert itself == "--editable ."


def test_conda_takes_the_same_python(conda):
    assert f"python{PYPROJECT['project']['requires-python']}" in conda["dependencies"]
