import pandas as pd
import pytest

from e2m.store import studies
from e2m.types import InputError

TABLE = pd.DataFrame({"runs": [3, 5], "coverage": [0.94, 0.95]})


def test_table_and_provenance_come_back(tmp_path):
    path = studies.save("coverage", TABLE, tmp_path, command="make study")
    table, about = studies.load("coverage", tmp_path)
    pd.testing.assert_frame_equal(table, TABLE)
    assert about["command"] == "make study"
    assert {"code", "python", "packages", "hardware", "executed"} <= set(about)
    assert path.name.endswith("-coverage.parquet")


def test_a_new_table_replaces_older_ones_and_no_others(tmp_path):
    (tmp_path / "2001-01-01-coverage.parquet").touch()
    (tmp_path / "2001-01-01-map-coverage.parquet").touch()
    studies.save("coverage", TABLE, tmp_path)
    assert len(list(tmp_path.glob("*-coverage.parquet"))) == 2
    assert (tmp_path / "2001-01-01-map-coverage.parquet").is_file()


def test_a_study_that_was_never_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no study named 'speed'; make it with"):
        studies.load("speed", tmp_path)
