"""A salience method of 20 lines, in a folder of somebody's own, goes through all five measures and a page."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from e2m.store.paths import CHECKOUT
from tests.made import METHOD

pytestmark = pytest.mark.slow


@pytest.fixture
def e2m(tmp_path):
    """Runs the command with a profile that names the method; everything derived goes to a temporary folder."""
    assert len([line for line in METHOD.splitlines() if line]) <= 20
    (tmp_path / "mine" / "methods").mkdir(parents=True)
    (tmp_path / "mine" / "methods" / "gradient_times_input.py").write_text(METHOD)
    content = yaml.safe_load((CHECKOUT / "notebooks" / "params" / "smoke.yaml").read_text()) | {
        "sources": ["orl", "swap"],
        "methods": ["gradient_times_input"],
        "images_per_source": 6,
        "controls": {},
        "study": {},
        "masker": None,
        "measures": {
            "noise": {"amounts": [0.1], "seed": 0, "images_per_source": 4},
            "transformations": {"images_per_source": 4},
            "degradation": {"max_sigmas": [10.0], "seed": 0, "images_per_source": 4},
        },
    }
    content["training"] |= {"epochs": 1, "images_per_epoch": 64}
    profile = tmp_path / "mine.yaml"
    profile.write_text(yaml.safe_dump(content))
    environment = os.environ | {"E2M_ROOT": str(tmp_path), "E2M_PLUGINS": str(tmp_path / "mine")}

    def run(*arguments):
        command = [sys.executable, "-m", "e2m.cli", *arguments]
        done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]

    return run, str(profile)


def test_a_new_method_goes_through_all_measures_and_a_page(e2m, tmp_path):
    run, profile = e2m
    for regime in ("cross_entropy", "cyborg"):
        for number in ("0", "1"):
            model = ("--profile", profile, "--regime", regime, "--run", number)
            run("train", *model)
            run("salience", *model)
    run("run", "model_selection", "-p", "profile", profile, "-p", "method", "gradient_times_input")
    assert (tmp_path / "results" / "notebooks" / "model_selection.ipynb").is_file()
    table = pd.read_parquet(tmp_path / "results" / "mine" / "tables" / "model_selection.parquet")
    letters = table["row"].str.extract(r"^\((\w)\)")[0].dropna()
    assert set(letters) == set("abcde")
    # Two runs of a few epochs may have no image that both classify correctly.
    assert table.loc[~table["row"].str.contains("both right"), "mean"].notna().all()
    assert set(table["regime"]) == {"cross_entropy", "cyborg"}
