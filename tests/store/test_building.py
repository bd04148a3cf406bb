"""Data sets that E2M builds: what was built is what is read."""

import numpy as np
import pytest

from e2m.store import building, upkeep
from e2m.types import InputError

MANIFEST = ("manifest.parquet", "flipped")
LABELS = {"real": "authentic", "gan": "synthetic"}


def build(folder):
    images = [
        {"image": f"{source}/{n}", "split": "test", "subject": "s", "pixels": np.full((4, 4), 40 * n + 9, np.uint8)}
        | ({"salience": np.full((4, 4), n, np.uint8)} if source == "gan" else {})
        for source in LABELS
        for n in range(3)
    ]
    return building.write(folder, images, LABELS, "toys", len(images))


@pytest.mark.parametrize(
    ("name", "how"),
    [("real/1.png", "flipped"), ("real/1.png", "exchanged"), ("salience/gan/2.png", "flipped"), MANIFEST],
)
def test_a_file_of_built_data_that_is_changed_is_named_and_the_data_built_again(tmp_path, name, how, monkeypatch):
    """An image of built data is damaged or exchanged: it is named, the next `make` builds the data again."""
    monkeypatch.setattr(building, "_WHOLE", set())
    folder = tmp_path / "toys" / "recipe-0123abcd"
    samples = building.load(folder, build)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert list(upkeep.sweep(tmp_path / "results", tmp_path / "executed", tmp_path)) == []
    content = bytearray(before[folder / name])
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(before[folder / "real/2.png"] if how == "exchanged" else content)
    building._WHOLE.clear()  # as in another process
    with pytest.raises(InputError, match=f"{folder / name}: .*; delete "):
        building.load(folder, build)
    (line,) = upkeep.sweep(tmp_path / "results", tmp_path / "executed", tmp_path)
    assert line.startswith(f"{folder / name}: ")
    assert line.endswith("its data set is set aside as recipe-0123abcd.damaged and made again")
    assert building.load(folder, build).equals(samples)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    assert list(upkeep.sweep(tmp_path / "results", tmp_path / "executed", tmp_path)) == []
