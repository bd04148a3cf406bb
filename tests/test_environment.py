"""Two ways to install: both take the same versions, and the lock can be trusted."""

import re
import tomllib

import pytest
import yaml

from e2m.paths import CHECKOUT

LOCK = (CHECKOUT / "requirements.lock").read_text()
LOCKED = re.findall(r"^([a-z0-9][\w.-]*)(==[^\n\\]+?) ?\\((?:\n    --hash=\S+(?: \\)?)*)", LOCK, re.MULTILINE)
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


@pytest.fixture
def conda() -> dict:
    return yaml.safe_load((CHECKOUT / "environment.yml").read_text())


def test_every_locked_package_has_a_hash():
    names = [name for name, _, _ in LOCKED]
    assert names == re.findall(r"^([a-z0-9][\w.-]*)", LOCK, re.MULTILINE)
    assert [name for name, _, hashes in LOCKED if "--hash=sha256:" not in hashes] == []


def test_the_lock_names_no_address():
    assert "://" not in LOCK


def test_the_lock_holds_every_dependency():
    wanted = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    assert {re.split("[=<>]", line)[0] for line in wanted} <= {name for name, _, _ in LOCKED}


def test_conda_installs_the_locked_versions(conda):
    dependencies = [line.split("=")[0] for line in PYPROJECT["project"]["dependencies"]]
    pinned = [name + version for name, version, _ in LOCKED if name in dependencies]
    *packages, itself = conda["dependencies"][-1]["pip"]
    assert sorted(packages) == sorted(pinned)
    assert itself == "--editable ."


def test_conda_takes_the_same_python(conda):
    assert f"python{PYPROJECT['project']['requires-python']}" in conda["dependencies"]
