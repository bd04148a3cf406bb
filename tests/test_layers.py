"""What importing costs; the direction of imports is checked by import-linter (``make lint``)."""

import subprocess
import sys

import pytest

import e2m


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import e2m", {"torch", "pandas", "numpy"}),
        ("import e2m.cli", {"torch", "pandas", "papermill"}),
        ("import e2m.arrays.images, e2m.arrays.ssim, e2m.store.disk", {"torch"}),
        # What pages do that read results alone.
        (
            "from e2m.experiment.results import Experiment\nimport e2m.pages.figures\nExperiment.load('smoke')",
            {"torch"},
        ),
        ("from e2m.store import provenance\nprovenance.entries()", {"torch"}),
    ],
)
def test_imports_stay_light(statement, absent):
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(done.stdout.split())


def test_the_package_gives_its_names_on_first_use():
    assert {name for name in e2m.__all__ if getattr(e2m, name).__name__ == name} == set(e2m.__all__)
    assert set(e2m.__all__) <= set(dir(e2m))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = e2m.nonsense
