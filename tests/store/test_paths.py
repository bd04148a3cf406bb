"""Names as parts of paths: any name, in its folder, and nothing that a shell or Snakemake reads as more than text."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from e2m.store import paths

NAMES = st.text(min_size=1)


@given(NAMES)
@example("..")
@example(".")
@example("c/../../x")
@example("$(touch ran)")
@example("%2E")
@example("l'été; $HOME")
@example("{source}")
@example("\udcff")  # of a file name that is no UTF-8
def test_a_name_is_one_plain_part_and_comes_back(name):
    part = paths.part(name)
    assert re.fullmatch(r"[\w.~:%-]+", part, re.ASCII)
    assert part not in (".", "..")
    assert paths.name_of(part) == name
    assert shlex.quote(part).strip("'") == part


@given(NAMES, NAMES)
def test_names_that_differ_have_paths_that_differ(one, other):
    assert (paths.part(one) == paths.part(other)) == (one == other)


@pytest.mark.parametrize("name", ["orl", "mobilenet_v2", "timm:resnet18.a1_in1k", "package.module:function", "a-b"])
def test_usual_names_stay(name):
    assert paths.part(name) == name


@given(name=st.sampled_from(["..", "c/../../x", "/etc", "a\0b", "~"]))
def test_nothing_leads_out_of_the_results(name):
    files = [
        paths.checkpoint(name, name, name, 0),
        paths.masker(name, name, name, 0),
        paths.frozen(name, name, "test"),
        paths.maps(name, name, name, 0, name, name),
        paths.rows(name, name, name, 0, name, name),
        paths.images(name, "test"),
        paths.owner(name),
        paths.table(name, "noise"),
        paths.saved(name),
    ]
    for file in files:
        resolved = Path(str(file)).resolve()
        assert resolved.is_relative_to(paths.RESULTS)
        assert len(resolved.relative_to(paths.RESULTS).parts) == len(file.relative_to(paths.RESULTS).parts)


@pytest.mark.parametrize(
    ("root", "expected"), [("", paths.CHECKOUT), ("mine", "mine"), ("../mine", "../mine"), (".", ".")]
)
def test_the_root_starts_in_the_working_folder_and_an_empty_one_counts_as_none(tmp_path, root, expected):
    command = [sys.executable, "-c", "from e2m.store import paths; print(paths.ROOT, paths.RESULTS, paths.DATA)"]
    environment = os.environ | {"E2M_ROOT": root, "PYTHONPATH": str(paths.CHECKOUT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    found = (tmp_path / expected).resolve()
    assert done.stdout.split() == [str(found), str(found / "results"), str(found / "data")]


def test_files_that_wait_for_others_are_no_leftovers(roots):
    """A complete file has its temporary name until the others are complete: no other process sweeps it away."""
    names = [paths.table("mine", name) for name in "ab"]
    with paths.together():
        for path in names:
            paths.write_atomically(path, lambda file: file.write(b"content"))
            assert not path.exists()
        child = "import sys; from pathlib import Path; from e2m.store import upkeep;"
        sweep = f"{child} print(*upkeep.sweep(*map(Path, sys.argv[1:])), sep='\\n')"
        folders = [str(paths.results("mine")), str(roots / "none"), str(paths.DATA)]
        environment = os.environ | {"PYTHONPATH": str(paths.CHECKOUT)}
        done = subprocess.run([sys.executable, "-c", sweep, *folders], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert [path.read_bytes() for path in names] == [b"content"] * 2
    assert len(list(names[0].parent.iterdir())) == 2


def test_kernels_write_where_the_command_writes(roots, tmp_path, monkeypatch):
    """They start in another folder, from which a relative root would be another one."""
    import papermill

    from e2m.pages import notebook

    ran = []

    def execute(*_, config, **__):
        arguments = " ".join(config.NotebookClient["extra_arguments"])
        folder = re.search(r"ipython_dir=(\S+)", arguments)[1]
        ran.append((Path(folder) / "profile_default" / "startup" / "variables.py").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    with pytest.raises(KeyboardInterrupt):
        notebook.run("coverage", output=tmp_path / "page.ipynb")
    given = {}
    monkeypatch.setattr(os, "environ", given)
    exec(ran[0])
    assert given["E2M_ROOT"] == str(roots)
