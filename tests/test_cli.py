"""The command line: values as people write them, errors in one line, a quick --help."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from e2m import cli
from e2m.pages import notebook
from e2m.store.paths import CHECKOUT
from e2m.types import InputError
from tests.bad_input.test_profiles import DEMO


@pytest.fixture(autouse=True)
def _as_started(monkeypatch):
    """The command extends these for its kernels."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("PYTHONPATH", "E2M_PLUGINS"):
        # Set first, so that it is restored even if it was absent.
        monkeypatch.setenv(name, os.environ.get(name, ""))


def e2m(*arguments):
    return subprocess.run([sys.executable, "-m", "e2m.cli", *arguments], capture_output=True, text=True, check=False)


def test_help_lists_the_commands_without_loading_anything_heavy():
    code = "import sys; from e2m import cli\ntry: cli.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("run", "data", "train", "train-masker", "salience", "pilot", "plan", "controls"):
        assert re.search(rf"^    {command}\s", done.stdout, re.MULTILINE), command
    assert not {"torch", "pandas", "papermill"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "absent.ipynb"], "e2m: absent.ipynb: no such notebook"),
        (["run", "train_cyborg", "-p", "run", "[1"], "e2m: parameter run: '[1' is not YAML (line 1: "),
        (["data", "--profile", "absent"], "e2m: no profile named 'absent'; choose from"),
        (["salience", "--profile", "absent", "--regime", "cyborg", "--run", "0"], "e2m: no profile named 'absent'"),
    ],
)
def test_errors_are_one_line_without_traceback(arguments, words):
    done = e2m(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(words)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error", [InputError("bad"), OSError(28, "disk full", "a.pt"), notebook.NotebookError("cell 3")]
)
def test_errors_for_people_end_with_status_1(monkeypatch, capsys, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(notebook, "run", fail)
    assert cli.main(["run", "noise"]) == 1
    assert capsys.readouterr().err == f"e2m: {error}\n"


def test_errors_of_the_program_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(notebook, "run", lambda *_: {}["absent"])
    with pytest.raises(KeyError):
        cli.main(["run", "noise"])


def test_train_trains(monkeypatch, capsys):
    from e2m.experiment import train

    monkeypatch.setattr(train, "train", lambda experiment, one: (None, f"{experiment.profile}: {one}"))
    assert cli.main(["train", "--profile", "smoke", "--regime", "fixed_map", "--run", "3"]) == 0
    assert capsys.readouterr().out == "smoke: demo_cnn, fixed_map, run 3\n"
    assert cli.main(["train", "--profile", "absent", "--regime", "fixed_map", "--run", "3"]) == 1
    assert "no profile named 'absent'" in capsys.readouterr().err


def test_train_masker_trains_a_masker(monkeypatch, capsys):
    from e2m.experiment import train

    monkeypatch.setattr(train, "train_masker", lambda experiment, key: (None, f"{experiment.device}: {key}"))
    command = ["train-masker", "--profile", "smoke", "--regime", "cyborg", "--run", "1", "--device", "cuda:1"]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == "cuda:1: demo_cnn, cyborg, run 1\n"


@pytest.mark.parametrize(
    ("arguments", "done"),
    [
        ([], ["check"]),
        (["--part", "test"], ["check", "test new"]),
        (["--part", "train", "--state", "1a2b"], ["train 1a2b"]),
    ],
)
def test_data_checks_images_and_lists_them_where_it_is_asked_to(monkeypatch, arguments, done):
    from e2m.experiment import data

    calls = []
    monkeypatch.setattr(data, "check", lambda _: calls.append("check"))
    monkeypatch.setattr(data, "write", lambda _, part, state: calls.append(f"{part} {state}"))
    assert cli.main(["data", "--profile", "smoke", *arguments]) == 0
    assert calls == done


@pytest.mark.parametrize(("given", "device"), [([], None), (["--device", "cuda:1"], "cuda:1")])
def test_salience_goes_to_a_source_and_a_device(monkeypatch, given, device):
    from e2m.experiment import explain

    asked = []
    monkeypatch.setattr(
        explain,
        "explain_runs",
        lambda experiment, keys, *rest, measured: asked.append(
            (experiment.device, "; ".join(map(str, keys)), *map(str, rest), measured)
        ),
    )
    assert cli.main(["salience", "--regime", "cyborg", "--run", "1", "--source", "swap", *given]) == 0
    assert cli.main(["salience", "--regime", "fixed_map", "--run", "1", "--run", "0", *given]) == 0
    assert asked == [
        (device, "mobilenet_v2, cyborg, run 1", "['swap']", None),
        (device, "mobilenet_v2, fixed_map, run 1; mobilenet_v2, fixed_map, run 0", "None", ["orl", "swap"]),
    ]


@pytest.mark.parametrize("command", ["check", "audit"])
def test_commands_for_images_of_yours_read_the_same_lists(monkeypatch, capsys, command):
    seen = []
    monkeypatch.setattr(cli, f"_{command}", lambda options: seen.append(cli._options(options)))
    asked = [command, "faces", "--detector", "A=timm:resnet18", "--csv", "list.csv", "--columns"]
    for text in ("path=file, label = target", "path=a=b"):
        assert cli.main([*asked, text]) == 0
    read = [{"path": "file", "label": "target"}, {"path": "a=b"}]
    assert seen == [{"csv": "list.csv", "columns": columns} for columns in read]
    for text in ("path", "path=", " =file"):
        with pytest.raises(SystemExit):
            cli.main([*asked, text])
        assert "NAME=VALUE fits" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["salience"], ["run"], ["run", "noise", "-p", "amount"]])
def test_usage_is_explained_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: e2m" in capsys.readouterr().err


def test_parameters_have_the_types_of_the_notebook(monkeypatch, capsys):
    """The table of values is that of plain YAML: tests/bad_input/test_profiles.py."""
    given = []
    monkeypatch.setattr(notebook, "run", lambda *arguments: given.append(arguments) or "page.ipynb")
    asked = ["run", "train_cyborg", "-p", "profile", "3", "-p", "run", "1", "-p", "anything", "[0.1, 1e-3]"]
    assert cli.main([*asked, "-o", "out.ipynb"]) == 0
    assert given == [("train_cyborg", {"profile": "3", "run": 1, "anything": [0.1, 0.001]}, "out.ipynb")]
    assert capsys.readouterr().out == "page.ipynb\n"


def test_kernels_find_the_working_folder_and_the_same_plugins(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["kept", "/else"]))
    monkeypatch.setenv("E2M_PLUGINS", os.pathsep.join(["mine", "~/more", "/third"]))
    monkeypatch.setattr(notebook, "run", lambda *_: "page.ipynb")
    for _ in range(2):
        assert cli.main(["run", "noise"]) == 0
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(tmp_path), "kept", "/else"]
        assert os.environ["E2M_PLUGINS"].split(os.pathsep) == [f"{tmp_path}/mine", "/home/reader/more", "/third"]
        assert sys.path[0] == str(tmp_path)
        assert sys.path.count(str(tmp_path)) == 1


def test_the_command_finds_files_of_the_working_folder(tmp_path):
    """Started as the installed command is, which does not put the working folder on the path."""
    (tmp_path / "mydetectors.py").write_text("")
    (tmp_path / "mine" / "methods").mkdir(parents=True)
    (tmp_path / "mine" / "methods" / "nearby.py").write_text("from e2m.methods import Method")
    (tmp_path / "elsewhere").mkdir()
    kernel = "import mydetectors; from e2m import plugins; print(plugins.load('method', 'nearby').__file__)"
    code = f"""
import subprocess, sys
sys.path = [folder for folder in sys.path if folder]
from e2m import cli
from e2m.pages import notebook

def run(*_):
    import mydetectors
    return subprocess.run([sys.executable, "-c", {kernel!r}], cwd="elsewhere", check=True, text=True).returncode

notebook.run = run
sys.exit(cli.main(["run", "noise"]))
"""
    environment = os.environ | {"E2M_PLUGINS": "mine", "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "mine" / "methods" / "nearby.py"), "0"]


ELSEWHERE = {"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PATH": "/nonexistent", "HOME": None, "USER": None}


def test_no_habit_of_a_machine_changes_a_result(tmp_path):
    """Names that are no ASCII, files that nobody else may read, the day that begins first, no git and no home."""
    for number, source in enumerate(("l'été", "StyleGAN 2") * 2):
        folder = tmp_path / "faces" / ("real", "fake")[number % 2] / source
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"é{number}.png")
    changed = {"dataset": "folder", "dataset_options": {"root": str(tmp_path / "faces")}, "counterparts": {}}
    changed |= {"sources": ["l'été", "StyleGAN 2"], "in_set": ["l'été", "StyleGAN 2"]}
    (tmp_path / "été.yaml").write_text(yaml.safe_dump(DEMO | changed, allow_unicode=True), "utf-8")
    lists = []
    for mask, habits in ((0o022, {}), (0o077, ELSEWHERE)):
        root = tmp_path / f"root {mask}"
        habits = {"E2M_ROOT": str(root), "PYTHONPATH": str(CHECKOUT)} | habits
        environment = {name: value for name, value in (os.environ | habits).items() if value is not None}
        command = [sys.executable, "-m", "e2m.cli", "data", "--profile", "été.yaml", "--part", "test"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, umask=mask, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        lists.append(root / "results" / "%C3%A9t%C3%A9" / "data" / "test.parquet")
    assert lists[0].read_bytes() == lists[1].read_bytes()
    assert lists[1].stat().st_mode & 0o077 == 0
