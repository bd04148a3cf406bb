"""What importing costs, and that the layers are described as import-linter checks them (``make lint``)."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

import e2m
from e2m.store.paths import CHECKOUT

LAYERS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
PARTS = {path.stem for path in (CHECKOUT / "e2m").iterdir() if path.name[0] not in "_."}


def first_cells(file: str, heading: str) -> list[list[str]]:
    """What is quoted in the first column of the table below a heading, row by row."""
    section = (CHECKOUT / file).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in re.findall(r"^\|.*`.*\|$", section, re.MULTILINE)]


def test_no_module_stands_outside_the_layers():
    assert LAYERS["exhaustive"]
    assert {part for layer in LAYERS["layers"] for part in layer.split(" | ")} == PARTS


def test_contributing_describes_the_layers_that_are_checked():
    described = [set(row) for row in first_cells("CONTRIBUTING.md", "Layers")]
    assert described == [set(layer.split(" | ")) for layer in LAYERS["layers"]]


def test_the_readme_shows_where_things_are():
    rows = first_cells("README.md", "Where things are")
    start = rows.index(["e2m/"]) + 1
    end = next(index for index, row in enumerate(rows) if row == ["studies/"])
    inside = [name.rstrip("/") for row in rows[start:end] for name in row]
    outside = [name for row in rows[:start] + rows[end:] for name in row]
    assert sorted(inside) == sorted(
        path.name for path in (CHECKOUT / "e2m").iterdir() if (path / "__init__.py").is_file()
    )
    derived = {"results/PROFILE/"}
    assert [name for name in outside if name not in derived and not (CHECKOUT / name).exists()] == []


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import e2m", {"torch", "pandas", "numpy"}),
        ("import e2m.cli", {"torch", "pandas", "papermill"}),
        ("import e2m.arrays.images, e2m.arrays.ssim, e2m.store.disk", {"torch"}),
        # What pages do that read results alone; seaborn, which draws, brings scipy.stats.
        (
            "from e2m.experiment.results import Experiment\n"
            "from e2m.pages import baselines, controls, explained, figures, selection, tables\n"
            "Experiment.load('smoke')",
            {"torch", "skimage", "xarray"},
        ),
        # What every job that looks up a salience method does.
        ("from e2m import plugins\nplugins.names('method')", {"torch", "skimage"}),
        ("from e2m.store import provenance\nprovenance.entries()", {"torch"}),
    ],
)
def test_imports_stay_light(statement, absent, tmp_path):
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    elsewhere = os.environ | {"E2M_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=elsewhere, capture_output=True, text=True, check=True)
    assert not absent & set(done.stdout.split())


def test_the_package_gives_its_names_on_first_use():
    assert {name for name in e2m.__all__ if getattr(e2m, name).__name__ == name} == set(e2m.__all__)
    assert set(e2m.__all__) <= set(dir(e2m))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = e2m.nonsense
