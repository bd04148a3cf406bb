"""Damaged files: they are named and made again, and the tables are the same."""

from types import SimpleNamespace

import pandas as pd
import pytest

from e2m.audit import work
from e2m.store import disk, upkeep
from e2m.types import InputError

KINDS = {
    "checkpoint": "checkpoints/toy/cyborg/run-{run}.pt",
    "maps": "maps/toy/cyborg/run-{run}/CAM-real.nc",
    "rows": "measures/toy/cyborg/run-{run}/noise-real.parquet",
    "table": "tables/noise.parquet",
    "record of the profile": "profile.json",
}


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


DAMAGE = {
    "one flipped bit": flip,
    "half of it": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "deleted": None,
}


def path_of(study, kind, run=0):
    return study.table.parents[1] / KINDS[kind].format(run=run)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named_and_made_again(study, finished, kind, damage):
    """A derived file that is damaged is named, made again, and the tables equal those of an undisturbed run."""
    path = path_of(study, kind)
    if DAMAGE[damage] is None:
        path.unlink()
        assert study.sweep() == []
    else:
        path.write_bytes(DAMAGE[damage](finished[path]))
        lines = study.sweep()
        assert [line.split(": ")[0] for line in lines] == [str(path)]
        assert f"set aside as {path.name}.damaged and made again" in lines[0]
        assert path.with_name(path.name + upkeep.KEPT).read_bytes() == DAMAGE[damage](finished[path])
    study.forget_table()
    study.finish()
    assert {path: path.read_bytes() for path in finished} == finished


EXCHANGES = {
    "checkpoints of two runs": (("checkpoint", 0), ("checkpoint", 1)),
    "maps of two runs": (("maps", 0), ("maps", 1)),
    "rows of two runs": (("rows", 0), ("rows", 1)),
}


@pytest.mark.parametrize("which", [*EXCHANGES, "maps of two methods", "maps of two sources"])
def test_exchanged_files_are_named_and_made_again(study, finished, which):
    """Two derived files that are exchanged are named, made again, and the tables equal those of an undisturbed run."""
    if which in EXCHANGES:
        one, other = (path_of(study, *which) for which in EXCHANGES[which])
    else:
        one = path_of(study, "maps")
        other = one.with_name("GradCAM-real.nc" if "methods" in which else "CAM-fake.nc")
    one.write_bytes(finished[other])
    other.write_bytes(finished[one])
    if "checkpoint" not in which:
        with pytest.raises(InputError, match=r"another file .* copied, moved or exchanged; delete it and make"):
            study.experiment.rows("stability"), study.experiment.rows("noise")
    assert sorted(line.split(": ")[0] for line in study.sweep()) == sorted(map(str, (one, other)))
    study.forget_table()
    study.finish()
    assert {path: path.read_bytes() for path in finished} == finished


def test_an_audit_makes_damaged_results_again(tmp_path, capsys):
    """A finished file of an audit that is damaged counts as missing, and is named."""
    path = tmp_path / "work" / "0123abcd" / "noise-real.parquet"
    disk.write_table(path, pd.DataFrame({"value": [0.5]}))
    audit = SimpleNamespace(results=lambda key, sources: [path])
    assert work._finished(audit, None, "real")
    path.write_bytes(flip(path.read_bytes()))
    assert not work._finished(audit, None, "real")
    assert capsys.readouterr().err.startswith(f"e2m: {path}: it is damaged")
    assert not path.exists()
