"""The constants and functions that every measure must have: new files in ``e2m/measures`` are tested by themselves."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from e2m import plugins
from e2m.types import Perturbation

NAMES = plugins.names("measure")


@pytest.fixture(params=NAMES)
def measure(request) -> ModuleType:
    return plugins.load("measure", request.param)


def test_the_papers_five_are_there():
    letters = {plugins.load("measure", name).LETTER: name for name in NAMES}
    assert {letter: letters[letter] for letter in "abcde"} == {
        "a": "entropy",
        "b": "noise",
        "c": "transformations",
        "d": "stability",
        "e": "degradation",
    }
    assert len(letters) == len(NAMES)


def test_a_measure_presents_itself(measure):
    for constant in ("TITLE", "LETTER", "QUESTION", "BLIND_SPOT", "AXIS"):
        text = getattr(measure, constant)
        assert isinstance(text, str), constant
        assert text.strip() == text != "", constant
    assert len(measure.LETTER) == 1
    assert measure.QUESTION.endswith("?")
    assert measure.BLIND_SPOT.endswith(".")
    assert measure.__doc__.startswith(f"Measure ({measure.LETTER})")


def test_a_measure_says_which_way_is_better_and_which_variant_is_the_papers(measure):
    assert set(measure.BETTER.values()) <= {"lower", "higher", "closer to clean"}
    assert isinstance(measure.PAPER_EXACT, tuple)
    assert measure.PAPER_EXACT or measure.LETTER not in "abcde"
    assert set(measure.PAPER_EXACT) <= set(measure.BETTER)
    assert any(headline.published for headline in measure.HEADLINES) == (measure.LETTER in "abcde")


def test_a_measure_knows_the_range_of_its_variants(measure):
    """Those of the paper's measures all have one; a mean and its interval stay within it."""
    ranges = getattr(measure, "RANGE", {})
    assert set(ranges) <= set(measure.BETTER)
    assert set(ranges) == set(measure.BETTER) or measure.LETTER not in "abcde"
    assert all(least < most for least, most in ranges.values())


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(plugins.load("measure", name), "perturbations")])
def test_changes_are_distinct_and_keep_the_images_shape(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), np.uint8)
    results = list(plugins.load("measure", name).perturbations(images, {"CAM": images[..., 0]}))
    assert all(isinstance(change, Perturbation) and change.images.shape == images.shape for change in results)
    assert len({(change.region, change.level) for change in results}) == len(results) > 0


def test_measures_do_without_torch():
    code = "import sys, importlib; sys.modules['torch'] = None\n" + "\n".join(
        f"importlib.import_module('e2m.measures.{name}')" for name in NAMES
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
