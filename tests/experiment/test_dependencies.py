"""What a job depends on: import by import, and as import-linter's graph has it."""

import json
from pathlib import Path

import grimp
import pytest

from e2m.experiment.dependencies import (
    arguments,
    code,
    contents,
    files_of,
    files_of_notebook,
    files_of_plugin,
    parameters,
)
from e2m.store.paths import CHECKOUT
from e2m.types import InputError

SOURCES = {
    "top/__init__.py": "",
    "top/one.py": """
from typing import TYPE_CHECKING
import numpy
if TYPE_CHECKING:
    import top.types
else:
    import top.real
""",
    "top/types.py": "import top.behind",
    "top/behind.py": "",
    "top/real.py": """
def late():
    try:
        from top.deep import leaf, NUMBER
    except ImportError:
        from .other import x
""",
    "top/other.py": "x = 1",
    "top/deep/__init__.py": "from . import always\nNUMBER = 1",
    "top/deep/always.py": "import os.path, e2m.types",
    "top/deep/leaf.py": "from ..one import anything",
}


def write(folder: Path, sources: dict[str, str]) -> None:
    for name, source in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    write(folder, SOURCES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


def names(files, folder):
    return {str(path.relative_to(folder if path.is_relative_to(folder) else CHECKOUT)) for path in files}


def test_imports_are_followed_but_those_for_types_and_of_installed_packages(folder):
    e2m = {"e2m/__init__.py", "e2m/types.py"}
    assert names(files_of("top.one"), folder) == {*SOURCES, *e2m} - {"top/types.py", "top/behind.py"}
    assert names(files_of("top.types"), folder) == {"top/__init__.py", "top/types.py", "top/behind.py"}
    assert names(files_of("top.other"), folder) == {"top/__init__.py", "top/other.py"}


def test_names_that_the_package_gives_lead_to_where_they_live(folder):
    write(
        folder,
        {
            "asks.py": "from e2m import read_images",
            "imports.py": "import e2m\n",
            "nothing.py": "from e2m import __version__",
        },
    )
    assert "e2m/arrays/images.py" in names(files_of("asks"), folder)
    assert "e2m/salience/engine.py" not in names(files_of("asks"), folder)
    assert {"e2m/arrays/images.py", "e2m/salience/engine.py"} < names(files_of("imports"), folder)
    assert names(files_of("nothing"), folder) == {"nothing.py", "e2m/__init__.py"}


def test_all_modules_of_the_package_as_import_linter_sees_them():
    graph = grimp.build_graph("e2m", exclude_type_checking_imports=True, cache_dir=None)

    def closure(module):
        closed, waiting = set(), {module}
        while waiting:
            one = waiting.pop()
            closed.add(one)
            parents = {one.rpartition(".")[0]} - {""}
            imported = graph.find_modules_directly_imported_by(one)
            # Controls look a plug-in up by a name that is written out; no import shows that.
            imported |= {"e2m.methods.known"} if one == "e2m.experiment.families" else set()
            waiting |= (imported | parents) - closed
        return closed

    for module in sorted(graph.modules):
        path = CHECKOUT / module.replace(".", "/")
        files = {CHECKOUT / one.replace(".", "/") for one in closure(module)}
        assert files_of(module) == {one / "__init__.py" if one.is_dir() else one.with_suffix(".py") for one in files}, (
            path
        )


def notebook(path: Path, *cells: str, tags=()) -> Path:
    content = [
        {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": cell.splitlines(True)} for cell in cells
    ]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["import top.other"]}, *content]}))
    return path


def test_a_notebook(folder):
    page = notebook(folder / "first.ipynb", "a = 1  # first\nb = 'x'", tags=["parameters"])
    assert parameters(page) == ["a", "b"]
    page = notebook(folder / "other.ipynb", "import top.types\nfrom e2m import InputError", "top.types")
    assert names(files_of_notebook(page), folder) == {
        *("other.ipynb", "top/__init__.py", "top/types.py", "top/behind.py", "e2m/__init__.py", "e2m/types.py")
    }
    assert parameters(page) == []


def test_tables_are_found_by_the_names_that_are_written_out(folder):
    page = notebook(
        folder / "saves.ipynb", 'experiment.save("noise", x)\nother.save(name)', 'y = f(experiment.save("more", 1))'
    )
    assert arguments(page, "experiment.save") == ["noise", "more"]
    assert arguments(page, "experiment.table") == []
    for hidden in ("experiment.save(name, x)", "map(experiment.save, names)", "experiment.save()"):
        with pytest.raises(InputError, match="written out"):
            arguments(notebook(folder / f"{len(hidden)}.ipynb", hidden), "experiment.save")


def test_plugins(folder, monkeypatch):
    assert CHECKOUT / "e2m/regimes/cyborg.py" in files_of_plugin("regime", "cyborg")
    assert CHECKOUT / "e2m/regimes/focused.py" not in files_of_plugin("regime", "cyborg")
    assert files_of_plugin("detector", "timm:resnet18") == set()
    assert names(files_of_plugin("detector", "top.other:build"), folder) == {"top/__init__.py", "top/other.py"}
    write(folder, {"mine/methods/far.py": "NAMES = ('far', 'farther')\nimport top.other"})
    monkeypatch.setenv("E2M_PLUGINS", str(folder / "mine"))
    assert {"mine/methods/far.py", "top/other.py"} < names(files_of_plugin("method", "farther"), folder)
    for kind, name in (("regime", "cyborgs"), ("detector", "nowhere:build"), ("measure", "__init__.nothing")):
        with pytest.raises(InputError, match="no such module"):
            files_of_plugin(kind, name)
    with pytest.raises(InputError, match=r"nowhere\.py: no such module in the working folder .*; name it 'nowhere'"):
        files_of_plugin("detector", "nowhere.py:build")


def test_what_no_import_shows(folder, monkeypatch):
    """Plug-ins looked up by a name that is written out, files that a module lists, packages without __init__.py."""
    write(
        folder,
        {
            "mine2/methods/both.py": "from e2m import plugins\nplugins.load('method', 'occlusion')\nimport bare.inner",
            "bare/inner.py": "",
            "built.py": "from e2m import load_detector\nFILES_READ = ('weights.pt',)\nload_detector('demo_cnn')",
            "weights.pt": "1",
        },
    )
    monkeypatch.setenv("E2M_PLUGINS", str(folder / "mine2"))
    assert {"bare/inner.py", "e2m/methods/occlusion.py"} < names(files_of_plugin("method", "both"), folder)
    lines = code(detector=["built:build"])
    assert any(line.startswith("e2m/detectors/demo_cnn.py ") for line in lines)
    assert any("weights.pt " in line for line in lines)


def test_code_names_the_versions_of_packages():
    lines = code("e2m.methods.torchcam")
    assert any(line.startswith("torchcam==") for line in lines)
    assert not any(line.startswith("timm==") for line in lines)
    assert any(line.startswith("timm==") for line in code(detector=["xception"]))


def test_code_is_told_apart_by_content(folder):
    first = code("top.other", regime=["cyborg"])
    assert any(line.startswith("e2m/regimes/cyborg.py ") for line in first)
    (path,) = [path for path in files_of("top.other") if path.name == "other.py"]
    before = contents([path])
    path.touch()
    assert contents([path]) == before
    copied = folder / "copied.py"
    copied.write_text("x = 2")
    assert contents([copied])[0].split()[1] != before[0].split()[1]


@pytest.mark.parametrize("source", ["def :", "x = (1"])
def test_what_is_not_python_is_named(folder, source):
    write(folder, {f"broken{len(source)}.py": source})
    with pytest.raises(InputError, match=rf"broken{len(source)}\.py: not Python"):
        files_of(f"broken{len(source)}")
    (folder / f"broken{len(source)}.ipynb").write_text("{")
    with pytest.raises(InputError, match="cannot be read as a notebook"):
        files_of_notebook(folder / f"broken{len(source)}.ipynb")
