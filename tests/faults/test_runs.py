"""Locks and interruptions: one run at a time in a folder, locks that end with their owner, and a clean stop."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from e2m.store import disk, paths
from tests.faults.children import ended, in_child


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    """Writes a program in Snakemake's place: ``snakemake("exit 3")``."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))

    def write(lines):
        program = tmp_path / "bin" / "snakemake"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o755)

    return write


@pytest.mark.parametrize("status", [0, 3])
def test_a_run_returns_the_status_and_leaves_no_lock(run_module, roots, snakemake, status, capsys):
    snakemake(f"exit {status}")
    assert run_module.main(["--config", "profile=demo"]) == status
    assert run_module.main([]) == status
    assert capsys.readouterr().err == ""
    assert run_module.LOCK.read_text() == ""


def test_a_second_run_in_the_same_folder_says_so(run_module, roots, snakemake, tmp_path, capfd):
    """Two runs at once in one tree: the second says who runs, and does nothing."""
    snakemake(f"touch {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
    child = in_child(lambda: run_module.main(["--config", "profile=demo"]))
    wait_for(tmp_path / "began")
    assert run_module.main(["--config", "profile=smoke"]) == 1
    said = capfd.readouterr().err
    assert "e2m: `make` already runs in " in said
    assert f"profile demo, process {child} on " in said
    assert said.count("\n") == 1
    (tmp_path / "go").touch()
    assert ended(child) == 0
    assert run_module.main(["--config", "profile=smoke"]) == 0
    assert capfd.readouterr().err == ""


def test_the_lock_of_a_run_that_is_gone_is_released(run_module, roots, snakemake, tmp_path, capfd):
    """A run and its Snakemake are killed: the next one releases the lock, with a line."""
    snakemake(f"echo $$ > {tmp_path}/pid; touch {tmp_path}/began; exec sleep 60")
    child = in_child(lambda: run_module.main([]))
    wait_for(tmp_path / "began")
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    # Snakemake is still there: its jobs write into this folder.
    assert run_module.main([]) == 1
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    wait_for(run_module.LOCK, lambda: run_module.locks.abandoned(run_module.LOCK))
    snakemake("exit 0")
    capfd.readouterr()
    assert run_module.main([]) == 0
    said = capfd.readouterr().err
    assert f"an earlier run ended without a word (profile demo, process {child} on " in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_run_stops_its_jobs_and_says_how_to_go_on(run_module, roots, snakemake, tmp_path, capfd, number):
    """SIGINT, SIGTERM or a closed terminal: jobs end, one line says how to resume, and the status is 130."""
    snakemake(f"sleep 60 & echo $! > {tmp_path}/pid; touch {tmp_path}/began; wait")
    child = in_child(lambda: os._exit(run_module.main([])))
    wait_for(tmp_path / "began")
    os.kill(child, number)
    assert ended(child) == 130
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if "run the command again" in line] == [lines[-1]]
    assert lines[-1].startswith("e2m: stopped. Finished results are kept")
    wait_for(tmp_path, lambda: not running(int((tmp_path / "pid").read_text())))
    assert run_module.LOCK.read_text() == ""


def test_jobs_that_do_not_hear_are_ended(run_module, roots, snakemake, tmp_path, monkeypatch, capfd):
    """A job that ignores all requests is ended when their time is over."""
    monkeypatch.setattr(run_module, "PATIENCE", (0.1, 0.1))
    snakemake(f"trap '' INT TERM; echo $$ > {tmp_path}/pid; touch {tmp_path}/began; while true; do sleep 1; done")
    child = in_child(lambda: os._exit(run_module.main([])))
    wait_for(tmp_path / "began")
    os.kill(child, signal.SIGINT)
    assert ended(child) == 130
    assert not running(int((tmp_path / "pid").read_text()))


def test_a_dry_run_needs_no_lock_and_changes_nothing(run_module, roots, snakemake, monkeypatch):
    snakemake("exit 4")
    monkeypatch.setattr(run_module.upkeep, "sweep", lambda *_: pytest.fail("swept"))
    assert run_module.main(["--dry-run"]) == 4
    assert not run_module.LOCK.exists()


def test_files_that_are_missing_since_the_last_run_are_made_again(run_module, roots, snakemake, tmp_path, capfd):
    """By itself, Snakemake makes no missing file whose readers have run."""
    path = paths.table("demo", "noise")
    disk.write_table(path, pd.DataFrame({"value": [0.5]}))
    summary = f"printf 'output_file\\tdate\\n{path}\\t-\\n'"
    snakemake(f'case "$1" in --summary) {summary} ;; *) echo "$@" > {tmp_path}/asked ;; esac')

    def asked():
        assert run_module.main(["--config", "profile=demo"]) == 0
        return (tmp_path / "asked").read_text().strip(), capfd.readouterr().err

    plain = ("--config profile=demo", "")
    assert asked() == asked() == plain
    content = path.read_bytes()
    path.unlink()
    line = f"e2m: {path}: missing since the last run, and made again\n"
    assert asked() == (f"--forcerun {path} --config profile=demo", line)
    assert asked() == plain
    path.write_bytes(content)
    assert asked() == plain
    path.write_bytes(content[:40] + b"?" + content[41:])
    command, said = asked()
    assert command == f"--forcerun {path} --config profile=demo"
    assert said.startswith(f"e2m: {path}: it is damaged")
    assert said.endswith(line)
    disk.write_table(paths.table("demo", "unasked"), pd.DataFrame())
    assert asked() == plain
    paths.table("demo", "unasked").unlink()
    assert asked() == plain


def running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout
    return bool(status.strip()) and not status.startswith("Z")


def wait_for(path, condition=None):
    for _ in range(400):
        if condition() if condition else path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"waited too long for {path}")
