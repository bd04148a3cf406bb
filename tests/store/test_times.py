"""Notes of how long jobs took."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from e2m import cli
from e2m.store import times


def test_a_note_has_start_end_and_cpu_time_of_the_job(tmp_path, monkeypatch):
    monkeypatch.setenv(times.VARIABLE, str(tmp_path / "times"))
    start = time.time()
    times.note({"command": "train", "run": 3}, start)
    ((job, *seconds),) = times.read(tmp_path / "times")
    assert job == {"command": "train", "run": 3}
    assert seconds[0] == start <= seconds[1] <= time.time()
    assert seconds[2] > 0


def test_cpu_time_counts_the_processes_that_a_job_started(tmp_path):
    busy = "sum(range(10**7))"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); from e2m.store import times"
    code += "; times.note({}, 0)"
    for file, child in (("with", True), ("without", False)):
        words = code if child else code.replace(busy, "0")
        subprocess.run([sys.executable, "-c", words], env={times.VARIABLE: str(tmp_path / file)}, check=True)
    cpu = {file: next(times.read(tmp_path / file))[3] for file in ("with", "without")}
    assert cpu["with"] > cpu["without"] + 0.05


def test_notes_of_jobs_that_end_together_stay_whole(tmp_path, monkeypatch):
    monkeypatch.setenv(times.VARIABLE, str(tmp_path / "times"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: times.note({"number": number, "long": "x" * 2000}, 0), range(40)))
    assert sorted(job["number"] for job, *_ in times.read(tmp_path / "times")) == list(range(40))


def test_lines_that_are_no_note_are_left_out(tmp_path):
    good = json.dumps({"job": {"command": "data"}, "start": 1, "end": 2, "cpu": 1})
    lines = [good[:20], "[]", "3", json.dumps({"job": {}, "start": "soon", "end": 2, "cpu": 1}), "", good]
    (tmp_path / "times").write_text("\n".join(lines))
    assert list(times.read(tmp_path / "times")) == [({"command": "data"}, 1.0, 2.0, 1.0)]
    assert list(times.read(tmp_path / "nothing")) == []


def test_commands_leave_a_note_when_they_succeed_and_none_when_they_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(times.VARIABLE, str(tmp_path / "times"))
    monkeypatch.setattr(cli, "_frozen", lambda options: None)
    assert cli.main(["frozen", "--profile=smoke", "--part=test"]) == 0
    assert cli.main(["train", "--profile=nonsense", "--regime=cyborg", "--run=0"]) == 1
    ((job, *_),) = times.read(tmp_path / "times")
    assert job == {"command": "frozen", "profile": "smoke", "part": "test", "detector": None, "device": None}


def test_a_note_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(times.VARIABLE, str(tmp_path))
    times.note({"command": "data"}, 0)
    monkeypatch.delenv(times.VARIABLE)
    times.note({"command": "data"}, 0)
    assert list(tmp_path.iterdir()) == []
