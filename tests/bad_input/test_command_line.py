"""Bad commands: one line that says what arrived and what fits, a status, and nothing lost or run."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from e2m import cli
from e2m.pages import notebook
from e2m.store.paths import CHECKOUT

EXECUTED = {"cells": [], "metadata": {"papermill": {}}, "nbformat": 4, "nbformat_minor": 5}
SALIENCE = ("salience", "--profile", "smoke", "--regime", "cyborg", "--run", "0")
AUDIT = ("audit", "faces", "--detector", "A=demo_cnn", "--weights", "a.pt")

BAD = [
    # Names
    (("data", "--profile", "2024"), 1, "no profile named '2024'; choose from ..."),
    (("data", "--profile", "010"), 1, "no profile named '010'; ..."),
    (("data", "--profile", "1e3"), 1, "no profile named '1e3'; ..."),
    (("data", "--profile", "off"), 1, "no profile named 'off'; ..."),
    (("data", "--profile", ""), 2, "argument --profile: '' arrived; give a value, or leave it out"),
    (("data", "--profile", os.fsdecode(b"\xff.yaml")), 1, "no profile named '\\udcff.yaml'; ..."),
    (("data", "--profile", "/dev/zero"), 1, "no profile named '/dev/zero'; ..."),
    (("data", "--profile", "$(touch ran)"), 1, "no profile named '$(touch ran)'; ..."),
    (("data", "--profile", "../../etc/x"), 1, "no profile named '../../etc/x'; ..."),
    (("data", "--profile", "a\0b"), 1, "no profile named 'a\\x00b'; ..."),
    (("data", "--profile", "faces.yaml"), 1, "no profile named 'faces.yaml'; ..."),
    (("train", "--profile", "smoke", "--regime", "../../x", "--run", "0"), 1, "no regime named '../../x'; ..."),
    (("train", "--profile", "smoke", "--regime", "cyborg; touch ran", "--run", "0"), 1, "no regime named ..."),
    ((*SALIENCE, "--detector", "demo_cnn; touch ran"), 1, "no detector named 'demo_cnn; touch ran'; ..."),
    ((*SALIENCE, "--detector", "timm:../../x"), 1, "timm has no network named '../../x'; ..."),
    ((*SALIENCE, "--detector", "nowhere:build"), 1, "detector 'nowhere:build': cannot import 'nowhere' ..."),
    ((*SALIENCE, "--source", "nobody"), 1, "no source named 'nobody' in smoke; choose from ['orl', ..."),
    ((*SALIENCE, "--source", "c/../../x"), 1, "no source named 'c/../../x' in smoke; ..."),
    ((*SALIENCE, "--device", "cpu; touch ran"), 1, "...: device: 'cpu; touch ran' arrived; cpu, cuda or cuda:1, ..."),
    # Numbers
    ((*SALIENCE[:-1], "010"), 2, "argument --run: '010' arrived; a whole number such as 3 fits"),
    ((*SALIENCE[:-1], "1_0"), 2, "argument --run: '1_0' arrived; ..."),
    ((*SALIENCE[:-1], "٣"), 2, "argument --run: '٣' arrived; ..."),
    ((*SALIENCE[:-1], "-1"), 2, "argument --run: '-1' arrived; ..."),
    ((*SALIENCE[:-1], "1.0"), 2, "argument --run: '1.0' arrived; ..."),
    ((*SALIENCE[:-1], "1e0"), 2, "argument --run: '1e0' arrived; ..."),
    ((*SALIENCE[:-1], "true"), 2, "argument --run: 'true' arrived; ..."),
    ((*SALIENCE[:-1], " 1"), 2, "argument --run: ' 1' arrived; ..."),
    ((*SALIENCE[:-1], "9" * 5000), 2, "argument --run: ..."),
    (("frozen", "--part", "both"), 2, "argument --part: invalid choice: 'both' ..."),
    # Parameters
    (("run", "train_cyborg", "-p", "run", "true"), 1, "train_cyborg.ipynb: parameter run: true arrived; a whole ..."),
    (("run", "train_cyborg", "-p", "run", "0.5"), 1, "train_cyborg.ipynb: parameter run: 0.5 arrived; a whole ..."),
    (("run", "train_cyborg", "-p", "run", "null"), 1, "train_cyborg.ipynb: parameter run: null arrived; ..."),
    (("run", "train_cyborg", "-p", "run", "010"), 1, "train_cyborg.ipynb: parameter run: '010' arrived, ..."),
    (("run", "train_cyborg", "-p", "run", "2024-01-01"), 1, "train_cyborg.ipynb: parameter run: '2024-01-01' ..."),
    (("run", "train_cyborg", "-p", "run", "[0"), 1, "parameter run: '[0' is not YAML (line 1: ...); quote it, ..."),
    (("run", "train_cyborg", "-p", "run", "!!int 3"), 1, "parameter run: '!!int 3' is not YAML (line 1: ...; ..."),
    (
        ("run", "train_cyborg", "-p", "rnu", "3"),
        1,
        "train_cyborg.ipynb has no parameter 'rnu'; did you mean 'run'? ...",
    ),
    (("run", "train_cyborg", "-p", "run", "-1"), 1, "...parameter run: -1 arrived; a whole number from 0 up fits"),
    (("run", "data", "-p", "seed", "-3"), 1, "...parameter seed: -3 arrived; a whole number from 0 up fits"),
    (("run", "maps", "-p", "shown", "-1"), 1, "...parameter shown: -1 arrived; a whole number from 0 up fits"),
    (("run", "noise", "-p", "amount", "-0.1"), 1, "...parameter amount: -0.1 arrived; a number from 0 up fits"),
    (("run", "noise", "-p", "method", "GradCAMM"), 1, "...method: 'GradCAMM' arrived; ...; did you mean GradCAM?"),
    (("run", "train_masker", "-p", "regime", "../x"), 1, "...parameter regime: '../x' arrived; one of ... fits"),
    (("run", "explorer", "-p", "detector", "x; touch ran"), 1, "...detector: 'x; touch ran' arrived; one of ... fits"),
    (("run", "train_cyborg", "-p", "profile", "2024"), 1, "no profile named '2024'; ..."),
    (("run", "train_cyborg", "-p", "profile", "true"), 1, "no profile named 'true'; ..."),
    (("run", "train_cyborg", "-p", "profile", "$(touch ran)"), 1, "no profile named '$(touch ran)'; ..."),
    (("run", "absent"), 1, "...absent.ipynb: no such notebook; choose from ..."),
    (("run", "broken.ipynb"), 1, "broken.ipynb: cannot be read as a notebook (...); ..."),
    (("run", "bare.ipynb"), 1, "bare.ipynb: cannot be read as a notebook (No kernel ...); save it again with Jupyter"),
    # Outputs
    (("run", "mine.ipynb", "-o", "mine.ipynb"), 1, "...mine.ipynb: ... would replace the template; ..."),
    (
        ("run", "done.ipynb", "-o", "done.ipynb"),
        1,
        "...done.ipynb: ... would replace the template...",
    ),
    (
        ("run", "done.ipynb", "-o", "link.ipynb"),
        1,
        "...link.ipynb: ... would replace the template...",
    ),
    (
        ("run", "done.failed.ipynb", "-o", "done.ipynb"),
        1,
        "...done.failed.ipynb: ... would replace ...",
    ),
    (
        ("run", "done.ipynb", "-o", "mine.ipynb"),
        1,
        "...mine.ipynb: ... would replace a file that ...",
    ),
    (("run", "done.ipynb", "-o", "notes.txt"), 1, "...notes.txt: the executed notebook is written there; ..."),
    (("run", "done.ipynb", "-o", "faces"), 1, "...faces: the executed notebook is written there; give -o a name ..."),
    (("run", "done.ipynb", "-o", "folder.ipynb"), 1, "...folder.ipynb: ... would replace a file ..."),
    (("run", "done.ipynb", "-o", "broken.ipynb"), 1, "...broken.ipynb: ... would replace a file ..."),
    # Audits and checks
    ((*AUDIT, "--images-per-source", "0"), 1, "images-per-source 0 arrived; a whole number from 1 up fits"),
    ((*AUDIT, "--images-per-source", "-1"), 2, "argument --images-per-source: '-1' arrived; ..."),
    ((*AUDIT, "--changed-per-source", "1.5"), 2, "argument --changed-per-source: '1.5' arrived; ..."),
    ((*AUDIT, "--margin", "nan"), 1, "margin nan arrived; a number between 0 and 1 fits: ..."),
    ((*AUDIT, "--margin", "wide"), 2, "argument --margin: invalid float value: 'wide'"),
    ((*AUDIT, "--salience", "GradCAMM"), 1, "no method named 'GradCAMM'; ..."),
    ((*AUDIT, "--csv", "absent.csv"), 1, "...absent.csv: no such file; ..."),
    ((*AUDIT, "--columns", "path"), 2, "argument --columns: 'path' arrived; NAME=VALUE fits, ..."),
    ((*AUDIT[:-1], "absent-*.pt"), 1, "...absent-*.pt..."),
    (("audit", "nowhere", *AUDIT[2:]), 1, "...nowhere: no such folder; ..."),
    (AUDIT[:-2], 1, "--detector A=demo_cnn: its weights would be random; add --weights ..."),
    (("audit", "faces", "--detector", "demo_cnn"), 2, "--detector demo_cnn: give NAME=SPEC, as in ..."),
    (("audit", "faces", "--weights", "a.pt"), 2, "--weights a.pt: no --detector comes before it"),
    ((*AUDIT, "--human", ""), 2, "argument --human: '' arrived; give a value, or leave it out"),
    ((*AUDIT, "--out", ""), 2, "argument --out: '' arrived; give a value, or leave it out"),
    ((*AUDIT, "--out", "notes.txt"), 1, "--out notes.txt: a file; name a folder, which need not exist"),
    ((*AUDIT, "--out", "/dev/null"), 1, "--out /dev/null: a file; name a folder, which need not exist"),
    ((*AUDIT, "--margin", "1e400"), 1, "margin inf arrived; ..."),
    ((*AUDIT, "--regions", "/dev/zero"), 1, "/dev/zero: no such folder; ..."),
    (("check", "", "--detector", "demo_cnn"), 2, "argument images: '' arrived; give a value, or leave it out"),
    (("check", "faces", "--detector", ""), 2, "argument --detector: '' arrived; ..."),
    (("check", "faces", "--detector", "demo_cnn", "--device", ""), 2, "argument --device: '' arrived; ..."),
    (("check", "faces", "--detector", "demo_cnn", "--csv", ""), 2, "argument --csv: '' arrived; ..."),
    (("check", "faces", "--detector", "demo_cnn", "--csv", "/dev/zero"), 1, "/dev/zero: a pipe or a device, ..."),
    (
        ("check", "faces", "--detector", "demo_cnn", "--with", "model=3"),
        1,
        "a detector has no 'model'; choose from ...",
    ),
    (("check", "faces", "--detector", "demo_cnn", "--with", "frozen=3"), 1, "frozen is 3; a list of modules fits, ..."),
    (
        ("check", "faces", "--detector", "demo_cnn", "--with", "frozen=a"),
        1,
        "frozen is 'a'; a list of modules fits, ...",
    ),
    (("check", "faces", "--detector", "demo_cnn", "--frobnicate"), 2, "unrecognized arguments: --frobnicate"),
    (
        ("check", "faces", "--detector", "demo_cnn", "--weights", "/dev/zero"),
        1,
        "--weights /dev/zero: no such file; ...",
    ),
    (("run", "mine.ipynb", "-o", ""), 2, "argument -o: '' arrived; give a value, or leave it out"),
    (("run", ""), 2, "argument notebook: '' arrived; ..."),
    (("run", "/dev/zero"), 1, "/dev/zero.ipynb: no such notebook; ..."),
    (("verify", "--book", ""), 2, "argument --book: '' arrived; ..."),
    ((*SALIENCE, "--source", ""), 2, "argument --source: '' arrived; ..."),
    (("",), 2, "argument COMMAND: invalid choice: '' ..."),
    (("check", "nowhere", "--detector", "demo_cnn"), 1, "nowhere: no such folder; ..."),
    (("check", "faces"), 2, "the following arguments are required: --detector"),
    ((), 2, "the following arguments are required: COMMAND"),
    (("nonsense",), 2, "argument COMMAND: invalid choice: 'nonsense' ..."),
]
"""Arguments, exit status (1 for what they ask, 2 for how they are written), and the line; "..." stands for anything."""


@pytest.fixture
def folder(tmp_path, monkeypatch, roots):
    """A working folder with what a person may have there."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    cell = new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=[cell], metadata={"kernelspec": kernel}), work / "mine.ipynb")
    nbformat.write(new_notebook(cells=[cell]), work / "bare.ipynb")
    for name in ("done.ipynb", "done.failed.ipynb"):
        (work / name).write_text(json.dumps(EXECUTED))
    (work / "link.ipynb").symlink_to("done.ipynb")
    (work / "broken.ipynb").write_text('{"cells": [')
    (work / "a.pt").touch()
    (work / "notes.txt").write_text("of years")
    (work / "faces" / "real").mkdir(parents=True)
    (work / "folder.ipynb").mkdir()
    Image.new("RGB", (8, 8)).save(work / "faces" / "real" / "a.png")
    (work / "faces.yaml").mkdir()
    return work


def content(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(("arguments", "status", "line"), BAD, ids=[" ".join(case[0])[:60] for case in BAD])
def test_a_bad_command_gives_one_line_and_changes_nothing(folder, monkeypatch, capsys, arguments, status, line):
    import papermill

    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    before = content(folder)
    try:
        returned = cli.main(arguments)
    except SystemExit as stopped:
        returned = stopped.code
    out, err = capsys.readouterr()
    said = err.splitlines()
    assert (returned, out) == (status, "")
    # Before the line on how a command is written comes its usage.
    assert len(said) == 1 or (status == 2 and said[0].startswith("usage: e2m"))
    pattern = ".*".join(map(re.escape, line.split("...")))
    assert re.fullmatch(rf"e2m(?: [\w-]+)?: (?:error: )?{pattern}", said[-1]), said[-1]
    assert content(folder) == before
    assert not list(folder.rglob("ran"))


def test_what_a_run_wrote_is_replaced_by_the_next(folder, monkeypatch):
    import papermill

    def write(_, output, *__, **___):
        nbformat.write(nbformat.from_dict(EXECUTED), output)

    monkeypatch.setattr(papermill, "execute_notebook", write)
    for _ in range(2):
        assert notebook.run("mine.ipynb", output="out.ipynb") == folder / "out.ipynb"
    assert notebook.run("mine.ipynb", output="done.ipynb") == folder / "done.ipynb"


# Text stays text


TEXTS = [
    "2024",
    "off",
    "1e3",
    "010",
    "2024-01-01",
    "StyleGAN 2",
    "l'été; $HOME",
    "$(touch ran)",
    '"a"',
    "- x",
    "{a: 1}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_parameter_of_text_is_the_text(folder, text):
    assert notebook.values("train_cyborg", {"profile": text, "run": "1"}) == {"profile": text, "run": 1}


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_through_papermill_as_it_is(text):
    from papermill.translators import PythonTranslator

    names = {}
    exec(PythonTranslator.codify({"profile": text, "sources": [text]}), names)
    assert (names["profile"], names["sources"]) == (text, [text])


@pytest.mark.parametrize(
    "text", ["2024", "1e3", "010", "off", "$(shell touch ran)", "`touch ran`", "a b; touch ran #'\""]
)
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_make_hands_the_name_of_a_profile_over_as_it_is(tmp_path, text, way):
    """With a stand-in for Python and Snakemake that writes down what it gets."""
    (tmp_path / "Makefile").write_text((CHECKOUT / "Makefile").read_text())
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("python", "snakemake"):
        (scripts / name).write_text('#!/bin/sh\nprintf %s "$E2M_PROFILE" > profile\nprintf "%s\\n" "$@" > arguments\n')
        (scripts / name).chmod(0o755)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "E2M_", "PROFILE"))
    }
    given = [f"PROFILE={text}"] if way == "argument" else []
    command = ["make", "--silent", "--old-file=.venv/done", *given, "plan"]
    variables = environment | ({} if given else {"PROFILE": text})
    subprocess.run(command, cwd=tmp_path, env=variables, check=True, capture_output=True)
    assert (tmp_path / "profile").read_text() == text
    assert text not in (tmp_path / "arguments").read_text()
    assert not (tmp_path / "ran").exists()


SHELL = re.compile(r"^\s*shell:\s*((?:\"(?:[^\"\\]|\\.)*\"\s*)+)|shell\((\"(?:[^\"\\]|\\.)*\")\)", re.MULTILINE)


def test_every_command_of_the_workflow_quotes_what_it_is_given():
    files = [CHECKOUT / "Snakefile", *sorted((CHECKOUT / "workflow" / "rules").glob("*.smk"))]
    text = "\n".join(file.read_text() for file in files)
    commands = ["".join(match) for match in SHELL.findall(text)]
    assert len(commands) == len(re.findall(r"\bshell[:(]", text))
    fields = [field for command in commands for field in re.findall(r"{(.*?)}", command)]
    assert fields
    assert [field for field in fields if not field.endswith(":q")] == []


# Interruption


def test_an_interruption_is_one_line_with_the_status_of_shells(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["run", "noise"]) == 130
    assert capsys.readouterr().err == "e2m: interrupted; finished results are kept, and the same command goes on\n"


def test_ctrl_c_while_a_command_works(tmp_path):
    """A real signal, while somebody's network is being built."""
    build = "def build():\n    pathlib.Path('started').touch()\n    time.sleep(60)\n"
    (tmp_path / "slow.py").write_text(f"import pathlib, time\n{build}")
    for name in ("real", "fake"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "faces" / name / "a.png")
    command = [sys.executable, "-m", "e2m.cli", "check", "faces", "--detector", "slow:build"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None and not (tmp_path / "started").exists():
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == "e2m: interrupted; finished results are kept, and the same command goes on\n"
