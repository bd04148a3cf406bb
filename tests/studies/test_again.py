"""What studies share that explain detectors again: their command line, and numbers of images where a pilot decides."""

import numpy as np
import pandas as pd
import pytest

from e2m.experiment.inputs import PILOT
from e2m.experiment.profile import AUTO
from e2m.store import disk, paths
from e2m.types import InputError
from studies import again, methods, precision
from tests.made import small_experiment


def noise(random):
    return random.integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture
def automatic(tmp_path, monkeypatch):
    """Six images of each source; the pilot wants five, three or two of them, by measure and source."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    measures = {"noise": {"amounts": [0.1], "seed": 0, "images_per_source": AUTO}}
    measures |= {"transformations": {"images_per_source": AUTO}}

    return small_experiment(tmp_path, 6, noise, images_per_source=AUTO, measures=measures, pilot={}, runs=3)


def piloted(experiment):
    wanted = {"noise": (2, 5), "transformations": (3, 3)}
    rows = [
        {"measure": measure, "source": source, "images": count}
        for measure, counts in wanted.items()
        for source, count in zip(("real", "fake"), counts, strict=True)
    ]
    disk.write_table(paths.table(experiment.profile, PILOT), pd.DataFrame(rows))


def test_the_fewest_images_of_all_measures_and_sources_replace_those_of_the_pilot(automatic):
    piloted(automatic)
    experiment = again.numbered(automatic)
    assert not experiment.automatic
    assert experiment.images_per_source == 2
    assert {name: one["images_per_source"] for name, one in experiment.measures.items()} == {
        "noise": 2,
        "transformations": 2,
    }
    assert experiment.samples["source"].value_counts().to_dict() == {"real": 2, "fake": 2}
    assert set(experiment.samples["image"]) <= set(automatic.samples["image"])


def test_a_profile_with_numbers_keeps_them(automatic, tmp_path):
    numbers = small_experiment(tmp_path, 6, noise)
    assert again.numbered(numbers).measures == numbers.measures
    assert again.numbered(numbers).images_per_source == numbers.images_per_source


def test_without_a_pilot_the_remedy_is_named(automatic):
    with pytest.raises(InputError, match="e2m pilot --profile smoke"):
        again.numbered(automatic)


@pytest.mark.parametrize("study", [methods, precision])
@pytest.mark.parametrize("runs", ["0", "-1"])
def test_no_runs_are_refused(study, runs, capsys):
    with pytest.raises(SystemExit):
        study.main(["--runs", runs])
    assert f"--runs {runs} arrived; a whole number from 1 up fits" in capsys.readouterr().err
