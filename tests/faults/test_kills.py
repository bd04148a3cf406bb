"""Killed processes and full disks: nothing finished is lost, and the tables are the same."""

import errno
import os
import signal
import time
from functools import partial

import numpy as np
import pytest

from e2m.store import disk, seals
from e2m.training.detector import DetectorTrainer
from tests.faults.children import die, ended, in_child


def whole(study):
    """Whether all files under final names are whole."""
    files = [path for path in study.table.parents[1].rglob("*") if path.is_file() and not path.name.startswith(".")]
    return [str(path) for path in files if disk.flaw(path)] == []


def test_processes_that_are_killed_in_a_write_go_on_to_the_same_tables(study, finished, monkeypatch, record_property):
    """Processes are killed in their first, second, ... write: the tables equal those of an undisturbed run."""
    fill = seals.fill
    for path in finished:
        path.unlink()

    def dying_in(write):
        done = []

        def fill_or_die(path, location):
            done.append(path)
            if len(done) == write:
                die()
            fill(path, location)

        monkeypatch.setattr(seals, "fill", fill_or_die)
        study.finish()

    deaths = 0
    while (status := ended(in_child(partial(dying_in, deaths + 1)))) == -signal.SIGKILL:
        deaths += 1
        assert whole(study)
        lines = study.sweep()
        assert lines
        assert all("removed, the leftover of a job that was killed" in line for line in lines)
        assert deaths < 20
    assert status == 0
    assert deaths > 4
    record_property("tried", deaths)
    assert {path: path.read_bytes() for path in finished} == finished
    assert not list(study.table.parents[1].rglob(".*"))


def test_processes_that_are_killed_at_random_go_on_to_the_same_tables(study, finished, record_property):
    """Processes are killed at random moments: the tables equal those of an undisturbed run."""
    for path in finished:
        path.unlink()
    random = np.random.default_rng(0)
    record_property("tried", 5)
    for _ in range(5):
        child = in_child(study.finish)
        time.sleep(random.uniform(0.02, 0.4))
        os.kill(child, signal.SIGKILL)
        ended(child)
        assert whole(study)
    study.sweep()
    study.finish()
    assert {path: path.read_bytes() for path in finished} == finished


def test_a_damaged_state_of_a_training_starts_it_over(study, finished, monkeypatch, capsys):
    """Of a training that was killed, the state to resume is damaged: one line, and it starts over to the same end."""
    path = study.files[0]
    resume = path.with_suffix(".resume")
    path.unlink()

    epoch = DetectorTrainer.epoch

    def dying():
        monkeypatch.setattr(
            DetectorTrainer, "epoch", lambda self, number: die() if number == 1 else epoch(self, number)
        )
        study.finish()

    assert ended(in_child(dying)) == -signal.SIGKILL
    content = bytearray(resume.read_bytes())
    content[len(content) // 2] ^= 1
    resume.write_bytes(content)
    study.finish()
    assert capsys.readouterr().err.startswith(f"{resume}: it is damaged: its content is not what was written")
    assert {file: file.read_bytes() for file in finished} == finished
    assert not resume.exists()


def test_on_a_full_disk_all_files_of_a_source_are_new_or_none_is(study, finished, monkeypatch, record_property):
    """The disk is full in the n-th write: all files of a source stay as they were, and the tables are the same."""
    key, fill = study.experiment.trained[0], seals.fill
    results = study.experiment.results(key)
    for path in results:
        path.unlink()
    failures = 0
    for limit in range(1, 100):
        done = []

        def full(path, location, done=done, limit=limit):
            done.append(path)
            if len(done) == limit:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fill(path, location)

        before = {path for path in results if path.is_file()}
        with monkeypatch.context() as patch:
            patch.setattr(seals, "fill", full)
            failure = study.failure()
        if not failure:
            break
        failures += 1
        assert "not written (No space left on device); an earlier file of that name is unchanged" in failure
        for source in study.experiment.sources:
            new = [path.is_file() for path in results if path.stem.endswith(f"-{source}")]
            assert all(new) or not any(new)
        assert before <= {path for path in results if path.is_file()}
        assert not list(study.table.parents[1].rglob(".*"))
    assert failures >= len(results)
    record_property("tried", failures)
    assert {path: path.read_bytes() for path in finished} == finished


@pytest.mark.parametrize("jump", [-10 * 365, 10 * 365, 0], ids=["years back", "years ahead", "all at once"])
def test_a_clock_that_jumps_changes_nothing(study, finished, jump):
    """Times of files are years off: nothing is taken for damaged or stale, and the tables are the same."""
    for number, path in enumerate(finished):
        when = time.time() + (jump or 1) * 86400 * (number % 2)
        os.utime(path, (when, when))
    assert study.sweep() == []
    study.forget_table()
    study.finish()
    assert {path: path.read_bytes() for path in finished} == finished
