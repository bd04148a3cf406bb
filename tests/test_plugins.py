"""Look-up by name, for every kind of plug-in."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from e2m import plugins
from e2m.types import InputError

METHOD = "from e2m.methods import Method\n"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A function that writes a plug-in into a reader's folder, which ``E2M_PLUGINS`` names."""
    folder = tmp_path / "mine"
    for kind in ("method", "regime", "measure", "dataset", "detector"):
        package = import_module(f"e2m.{plugins.KINDS[kind]}")
        monkeypatch.setattr(package, "__path__", list(package.__path__))
    monkeypatch.setenv("E2M_PLUGINS", str(folder))
    (folder / "methods").mkdir(parents=True)
    known = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    yield write
    for name in set(sys.modules) - known:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_name_loads_and_an_unknown_one_is_answered_with_the_list(kind):
    names = plugins.names(kind)
    assert names == sorted(names) != []
    assert all(isinstance(plugins.load(kind, name), ModuleType) for name in names)
    with pytest.raises(InputError, match=re.escape(f"no {kind} named 'resnet5O'; choose from {', '.join(names)}")):
        plugins.load(kind, "resnet5O")


@pytest.mark.parametrize("name", ["", "os", "../types", "__init__", "demo.load"])
def test_only_plugins_are_loaded(name):
    with pytest.raises(InputError):
        plugins.load("dataset", name)


@pytest.mark.parametrize(
    ("kind", "needed"),
    [("dataset", ["load"]), ("detector", ["build"]), ("regime", ["LABEL", "COLOUR", "GUIDED", "loss"])],
)
def test_plugins_hold_what_their_kind_asks_for(kind, needed):
    for name in plugins.names(kind):
        module = plugins.load(kind, name)
        assert module.__doc__, name
        assert [entry for entry in needed if not hasattr(module, entry)] == [], name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def :", "SyntaxError: invalid syntax"),
        ("import absent_library", "ModuleNotFoundError: No module named 'absent_library'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('two\\nlines')", "SystemExit: two lines"),
    ],
)
@pytest.mark.parametrize("kind", plugins.KINDS)
def test_a_broken_file_refuses_alone(mine, kind, text, problem):
    before = plugins.names(kind)
    path = mine(f"{plugins.KINDS[kind]}/broken.py", text)
    assert plugins.names(kind) == sorted([*before, "broken"])
    assert plugins.load(kind, before[0])
    with pytest.raises(InputError) as refused:
        plugins.load(kind, "broken")
    assert str(refused.value).startswith(f"{path}: cannot be imported ({problem}")
    assert str(refused.value).endswith("); correct or remove it")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_what_a_file_lacks_is_named(mine, kind):
    needed = plugins.NEEDED[kind]
    path = mine(f"{plugins.KINDS[kind]}/lacking.py", "\n".join(f"{entry} = 1" for entry in needed[:-1]))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: .* lacks {needed[-1]}; .*Add your own parts"):
        plugins.load(kind, "lacking")
    mine(f"{plugins.KINDS[kind]}/complete.py", "\n".join(f"{entry} = 1" for entry in needed))
    assert plugins.load(kind, "complete").__name__ == f"e2m.{plugins.KINDS[kind]}.complete"


@pytest.mark.parametrize("value", ["'abc'", "(1, 'b')", "()", "{'a': 1}", "None"])
def test_names_are_a_tuple_or_list_of_text(mine, value):
    path = mine("methods/misnamed.py", f"{METHOD}NAMES = {value}")
    listed = plugins.names("method")
    assert "misnamed" in listed
    assert not {"a", "b", "c"} & set(listed)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: NAMES is {re.escape(value)}; give a tuple"):
        plugins.load("method", "misnamed")


def test_a_list_of_names_is_served(mine):
    mine("methods/several.py", f"{METHOD}NAMES = ['first', 'second']")
    assert plugins.load("method", "first") is plugins.load("method", "second")
    assert plugins.module_of("method", "second") == "e2m.methods.several"
    assert "several" not in plugins.names("method")


@pytest.mark.parametrize("name", ["_shared", ".#open_in_an_editor"])
@pytest.mark.parametrize("kind", plugins.KINDS)
def test_files_with_an_underscore_and_hidden_ones_are_no_plugins(mine, kind, name):
    mine(f"{plugins.KINDS[kind]}/{name}.py", "1 / 0")
    assert name not in plugins.names(kind)
    with pytest.raises(InputError, match=f"no {kind} named '{name}'"):
        plugins.load(kind, name)


def clash(kind: str, name: str, *paths: Path) -> None:
    with pytest.raises(InputError, match="clash") as refused:
        plugins.load(kind, name)
    assert all(str(path) in str(refused.value) for path in paths)


def test_files_that_serve_one_name_clash_and_leave_other_names_alone(mine):
    package = Path(plugins.__file__).parent
    one = mine("methods/one.py", f"{METHOD}NAMES = ('shared', 'free')")
    two = mine("methods/two.py", f"{METHOD}NAMES = ('shared', 'CAM')")
    clash("method", "shared", one, two)
    clash("method", "CAM", two, package / "methods" / "torchcam.py")
    assert plugins.load("method", "free")
    assert plugins.load("method", "GradCAM")
    assert plugins.names("method").count("shared") == 1
    clash("regime", "cyborg", mine("regimes/cyborg.py", ""), package / "regimes" / "cyborg.py")
    assert plugins.load("regime", "focused")


def test_files_of_one_file_name_clash_whatever_they_serve(mine):
    copy = mine("methods/rise.py", f"{METHOD}NAMES = ('my_rise',)")
    original = Path(plugins.__file__).parent / "methods" / "rise.py"
    assert {"RISE", "my_rise"} <= set(plugins.names("method"))
    for name in ("RISE", "my_rise"):
        clash("method", name, copy, original)
    assert plugins.load("method", "CAM")


@pytest.mark.parametrize(("folders", "problem"), [(["other"], "holds no folder of plug-ins"), ([], "is not a folder")])
def test_a_folder_without_plugins_is_refused(tmp_path, monkeypatch, folders, problem):
    root = tmp_path / "mine"
    for folder in folders:
        (root / folder).mkdir(parents=True)
    monkeypatch.setenv("E2M_PLUGINS", str(root))
    words = (
        f"E2M_PLUGINS: {root} {problem}; name a folder that holds at least one of {', '.join(plugins.KINDS.values())}"
    )
    with pytest.raises(InputError, match=re.escape(words)):
        plugins.names("regime")


def test_the_home_folder_is_expanded_and_the_package_itself_listed_once(mine, monkeypatch):
    path = mine("methods/homely.py", METHOD)
    monkeypatch.setenv("HOME", str(path.parents[2]))
    monkeypatch.setenv("E2M_PLUGINS", "~nobody-here/mine")
    with pytest.raises(InputError, match="~nobody-here/mine is not a folder"):
        plugins.names("method")
    package = Path(plugins.__file__).parent
    monkeypatch.setenv("E2M_PLUGINS", os.pathsep.join(["~/mine", str(package)]))
    assert plugins.load("method", "homely")
    assert plugins.load("method", "CAM")


def test_only_methods_are_imported_to_be_listed_and_torch_never_is(mine):
    for kind in ("datasets", "detectors", "regimes", "measures"):
        mine(f"{kind}/loud.py", "print('imported')")
    code = "import sys\nfrom e2m import plugins\n"
    code += "for kind in plugins.KINDS: assert plugins.names(kind)\nplugins.module_of('regime', 'loud')\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_folders_of_plugins_do_not_outlive_their_variable(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "passing.py").write_text("class Method:\n    pass\n")
    monkeypatch.setenv("E2M_PLUGINS", str(tmp_path))
    assert "passing" in plugins.names("method")
    plugins.load("method", "passing")
    monkeypatch.delenv("E2M_PLUGINS")
    assert "passing" not in plugins.names("method")
