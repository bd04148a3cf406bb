"""Two ways to install take the same versions, the lock can be trusted, and an environment belongs to its checkout."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from e2m.store import paths
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


def test_conda_and_binder_take_a_python_that_is_tested(conda):
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "tests.yml").read_text())
    tested = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={tested[0]}"
    # repo2docker takes a Python of its own for any other way to write it.
    assert conda["dependencies"][0] in [f"python={version}" for version in tested]


def test_releases_say_one_version():
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]


def test_workflows_and_hooks_call_targets_that_exist():
    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    called = []
    for path in [*(CHECKOUT / ".github" / "workflows").glob("*.yml"), CHECKOUT / ".pre-commit-config.yaml"]:
        called += re.findall(r"(?:run|entry): make ([a-z-]+)", path.read_text())
    assert {"book", "archive", "schemas"} <= set(called) <= set(targets)


def test_stored_notebooks_are_as_the_hook_leaves_them():
    (repository,) = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())["repos"]
    (entry,) = [hook["entry"] for hook in repository["hooks"] if hook["id"] == "nbstripout"]
    arguments = entry.removeprefix(".venv/bin/nbstripout").split()
    command = [sys.executable, "-m", "nbstripout", *arguments, "--verify"]
    done = subprocess.run([*command, *CHECKOUT.glob("notebooks/*.ipynb")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_clone_has_the_same_bytes_whatever_git_does_to_the_ends_of_lines(tmp_path):
    table = next((CHECKOUT / "data" / "studies").glob("*.parquet")).relative_to(CHECKOUT)
    names = [".gitattributes", "Makefile", "Snakefile", "requirements.lock", "notebooks/noise.ipynb", str(table)]
    for name in names:
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / "one" / name)
    identity = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    windows = ["-c", "core.autocrlf=true", "-c", "core.safecrlf=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run(["git", *identity, *windows, *command], cwd=tmp_path / "one", check=True)
    subprocess.run(["git", "clone", "-q", *windows, "one", "two"], cwd=tmp_path, check=True)
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (CHECKOUT / name).read_bytes(), name


# An environment belongs to its folder

ODD = ["e2m", "two words", "a [b] {c} $HOME", "l'été (1), a%b", 'quote"s & <tags>; #1']


def checkout(folder: Path) -> Path:
    """What make reads, and an environment whose programs say how they were started."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements-bench.lock", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, folder)
        os.utime(folder / name, (0, 0))
    (programs / "python").symlink_to(sys.executable)
    for name in ("ruff", "lint-imports", "codespell", "check-jsonschema", "pre-commit", "jupyter"):
        (programs / name).write_text(f"#!/bin/sh\necho '{name}:' \"$*\"\nenv | sed 's/^/{name}: /'\n")
        (programs / name).chmod(0o755)
    # In the order in which make writes them.
    for name in ("uv", "done"):
        (folder / ".venv" / name).write_text(f"{folder.resolve()}\n" if name == "done" else "")
    return folder


def make(folder: Path, *arguments: str, **variables: str | None) -> str:
    environment = {name: value for name, value in (os.environ | variables).items() if value is not None}
    environment.pop("MAKEFLAGS", None)  # of the make that runs these tests
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=ODD)
def ready(request, tmp_path) -> Path:
    return checkout(tmp_path / request.param)


def test_an_environment_of_this_folder_is_used_as_it_is(ready):
    assert "pip" not in make(ready, "-n", "lint")
    assert f"lint-imports: PATH={ready}/.venv/bin:" in make(ready, "lint")


def test_a_copy_or_a_moved_folder_makes_an_environment_of_its_own(ready):
    copy = ready.with_name(f"{ready.name} copy")
    shutil.copytree(ready, copy, symlinks=True)
    for other in (copy, ready.rename(ready.with_name(f"{ready.name} moved"))):
        steps = make(other, "-n", "lint").splitlines()
        made = [step for step in steps if ".venv" in step][:2]
        assert made == ["rm -rf .venv", "python3 -m venv .venv"]
        assert any("--editable ." in step for step in steps)
        assert steps.index("pwd -P >.venv/done") < next(n for n, step in enumerate(steps) if "ruff" in step)


def test_an_environment_whose_python_is_gone_is_made_anew(ready):
    (ready / ".venv" / "bin" / "python").unlink()
    (ready / ".venv" / "bin" / "python").symlink_to("/nonexistent/python")
    assert "rm -rf .venv" in make(ready, "-n", "lint")


def test_a_changed_lock_only_adds_to_the_environment(ready):
    later = time.time() + 10
    os.utime(ready / "requirements.lock", (later, later))
    steps = make(ready, "-n", "lint")
    assert "pip sync" in steps
    assert "rm -rf" not in steps


def test_the_benchmarks_environment_belongs_to_its_folder_too(ready):
    steps = make(ready, "-n", "bench")
    assert "rm -rf .venv-bench\n" in steps
    assert "rm -rf .venv\n" not in steps


def seen(output: str, program: str) -> dict[str, str]:
    lines = re.findall(rf"^{program}: (\w+)=(.*)$", output, re.MULTILINE)
    return dict(lines)


def test_settings_of_a_person_do_not_reach_what_is_made(ready):
    theirs = {"SNAKEMAKE_PROFILE": "theirs", "PIP_USER": "1", "PYTHONHOME": "/nonexistent"}
    got = seen(make(ready, "format", **theirs), "ruff")
    assert got["PIP_USER"] == "0"
    assert not {"SNAKEMAKE_PROFILE", "PYTHONHOME"} & set(got)


@pytest.mark.parametrize("home", [None, "", "/dev/null", "/nonexistent"])
def test_caches_lie_in_the_environment_where_home_cannot_be_written(ready, home):
    got = seen(make(ready, "format", HOME=home, LOGNAME=None, USER=None), "ruff")
    assert got["HOME"] == f"{ready}/.venv/home"
    assert got["LOGNAME"]


def test_a_home_that_can_be_written_is_kept(ready, tmp_path):
    got = seen(make(ready, "format", HOME=str(tmp_path), LOGNAME="anna"), "ruff")
    assert (got["HOME"], got["LOGNAME"]) == (str(tmp_path), "anna")


def test_root_may_open_the_notebooks(ready):
    assert ("jupyter: lab --allow-root notebooks" in make(ready, "lab")) == (os.getuid() == 0)


# Code of one checkout does not work in another


@pytest.mark.parametrize("below", [".", "notebooks"])
def test_a_job_in_a_copy_never_writes_into_the_original(tmp_path, below):
    """The environment of the original, for example because it is still activated."""
    other = tmp_path / "copy"
    (other / "e2m" / "store").mkdir(parents=True)
    (other / "notebooks").mkdir()
    shutil.copy(CHECKOUT / "e2m" / "store" / "paths.py", other / "e2m" / "store")
    command = [sys.executable, "-P", "-m", "e2m.cli", "data", "--profile", "smoke"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, cwd=other / below, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"e2m: {other}: the environment belongs to another checkout, {CHECKOUT}")
    assert done.stderr.count("\n") == 1
    paths.check_folder(tmp_path)
    paths.check_folder(CHECKOUT / "notebooks")
