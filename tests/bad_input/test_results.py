"""Results that are damaged, of another kind, or exchanged: each reader names the file, and none makes a number."""

import json
import pickle
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from e2m.audit.audit import Audit
from e2m.experiment.profile import Profile, claim
from e2m.pages import manifest, notebook
from e2m.salience import given
from e2m.store import building, disk, paths, studies
from e2m.types import Explanation, InputError


class Runs:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        from pathlib import Path

        return Path.touch, (Path("ran"),)


def maps(source):
    path = paths.maps("mine", "toy", "cyborg", 0, "CAM", source)
    values, whole = np.random.default_rng(len(source)).random((3, 4, 4)).astype(np.float32), np.zeros(3, np.int8)
    explained = Explanation(values, np.ones(3, np.float32), whole, whole, whole > 0, np.ones((3, 2), np.float32))
    samples = pd.DataFrame({"image": list("abc"), "label": "authentic", "subject": list("abc")})
    disk.write_maps(path, explained, samples, {"layer": "features"})
    return path


def rows(source):
    path = paths.rows("mine", "toy", "cyborg", 0, "noise", source)
    with disk.writing_rows(path, {"seed": 0}) as add:
        add(pd.DataFrame({"image": list("abc"), "measure": "noise", "source": source, "value": [0.1, 0.2, 0.3]}))
    return path


def table(name):
    path = paths.table("mine", name)
    disk.write_table(path, pd.DataFrame({"name": [name], "value": [0.5]}))
    return path


def study(name):
    return studies.save(name, pd.DataFrame({"name": [name], "value": [0.5]}), paths.ROOT / "studies")


def record(name):
    claim("smoke" if name == "real" else "demo")
    return paths.owner("smoke" if name == "real" else "demo")


def manifest_of_a_book(name):
    path = paths.ROOT / name / manifest.NAME
    path.parent.mkdir(exist_ok=True)
    return manifest.write(path.parent, [])


def executed(name):
    path = paths.ROOT / f"{name}.ipynb"
    parameters = {"cell_type": "code", "source": "x = 1", "metadata": {"tags": ["parameters"]}, "outputs": []}
    content = {"cells": [parameters | {"execution_count": None, "id": "a"}], "nbformat": 4, "nbformat_minor": 5}
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps(content | {"metadata": about}))
    return path


def built(name):
    folder = paths.DATA / name / "recipe-0"
    building._WHOLE.clear()
    building.load(folder, lambda folder: building.write(folder, [IMAGE], {"real": "authentic"}, "toys", 1))
    building._WHOLE.clear()
    return folder / "manifest.parquet"


IMAGE = {"image": "real/1", "split": "test", "subject": "s", "pixels": np.zeros((4, 4), np.uint8)}

KINDS = {
    "maps": (maps, disk.read_maps),
    "rows": (rows, lambda path: disk.read_rows([path])),
    "settings of rows": (rows, disk.settings_of),
    "what rows were made of": (rows, disk.made_of),
    "table": (table, disk.read_table),
    "table of a study": (study, lambda path: studies.load(path.stem[11:], path.parent)),
    "record of a profile": (record, lambda path: Profile.load(path.parent.name)),
    "manifest of a book": (manifest_of_a_book, lambda path: next(manifest.verify(path.parent), None)),
    "notebook": (executed, lambda path: notebook.values(path, {"x": "1"})),
    "list of built images": (built, lambda path: building.load(path.parent, pytest.fail)),
}
"""Kind -> what writes two files of it, "real" and "fake", and what reads one."""

PLAIN = ("manifest of a book", "notebook")
"""Kinds without a seal: of these, no reader knows what was written."""


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


DAMAGE = {
    "no bytes": lambda content: b"",
    "words": lambda content: b"words\n",
    "zeros": lambda content: bytes(1000),
    "half": lambda content: content[: len(content) // 2],
    "its end alone": lambda content: content[-len(content) // 3 :],
    "one flipped bit": flipped,
    "one byte more": lambda content: content[:-9] + b"9" + content[-9:],
    "a picture": lambda content: b"\x89PNG\r\n\x1a\n" + content,
    "a program": lambda content: pickle.dumps(Runs()),
    "deep brackets": lambda content: b"[" * 100_000,
}


SEALED = ("one flipped bit", "one byte more")
"""Damage that the seal alone shows."""


@pytest.mark.parametrize(
    ("kind", "damage"), [pair for pair in product(KINDS, DAMAGE) if not (pair[0] in PLAIN and pair[1] in SEALED)]
)
def test_each_damaged_result_is_named_in_one_line(roots, monkeypatch, line_of, kind, damage):
    monkeypatch.chdir(roots)
    write, read = KINDS[kind]
    path = write("real")
    read(path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    building._WHOLE.clear()
    line = line_of(read, path)
    assert re.search(rf"^{path}\b|{path}: ", line), line
    assert not (roots / "ran").exists()


PLACED = [kind for kind in KINDS if kind not in (*PLAIN, "table of a study", "list of built images")]
"""Kinds whose files belong to one place among the results of a profile."""


@pytest.mark.parametrize("kind", [kind for kind in PLACED if kind != "record of a profile"])
def test_a_result_under_the_name_of_another_is_refused(roots, line_of, kind):
    write, read = KINDS[kind]
    one, other = write("real"), write("fake")
    assert one != other
    one.write_bytes(other.read_bytes())
    assert line_of(read, one).startswith(f"{one}: it is another file that was written elsewhere, and was copied, moved")


@pytest.mark.parametrize("kind", ["maps", "rows", "settings of rows", "table", "table of a study", "notebook"])
def test_a_result_that_is_missing_is_named(roots, line_of, kind):
    write, read = KINDS[kind]
    path = write("real")
    path.unlink()
    assert re.search(
        rf"^{path}: no such |^{path}: no salience maps there|^{path.parent}: no study", line_of(read, path)
    )


def test_a_table_of_a_study_needs_its_provenance(roots, line_of):
    folder = roots / "studies"
    disk.write_table(folder / "2026-01-01-alpha.parquet", pd.DataFrame({"value": [0.5]}))
    line = line_of(studies.load, "alpha", folder)
    assert line.startswith(f"{folder}/2026-01-01-alpha.parquet: ")


PLANS = ["", "words", "[" * 100_000, "[]", "3", "null", "{}", '{"arguments": 3}', '{"arguments": {}, "findings": {}}']


@pytest.mark.parametrize("content", PLANS)
def test_a_damaged_plan_of_an_audit_is_named(tmp_path, line_of, content):
    path = tmp_path / "audit-plan.json"
    path.write_text(content)
    assert re.match(rf"{path}: .*; delete it, and `e2m audit` makes it again", line_of(Audit.load, tmp_path))


@pytest.mark.parametrize("content", [*PLANS, '{"size": "7"}', '{"measure": "noise", "settings": [], "size": 7}'])
def test_a_damaged_list_of_changed_images_is_named(tmp_path, line_of, content):
    path = tmp_path / given.MANIFEST
    path.write_text(content)
    assert re.match(rf"{path}: .*; give the folder that write_changed wrote", line_of(given._manifest, tmp_path))


def test_an_output_that_cannot_be_understood_is_not_replaced(tmp_path, line_of):
    path = tmp_path / "mine.ipynb"
    for content in PLANS:
        path.write_text(content)
        assert "would replace a file that `e2m run` did not write" in line_of(notebook.run, "noise", output=path)


def test_no_files_of_results_are_no_results():
    with pytest.raises(InputError, match="the list of paths is empty"):
        disk.read_rows([])
