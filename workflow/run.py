"""Snakemake for `make`: one run at a time in a folder, after a look at what earlier runs left, and with a clean stop.

The lock belongs to the process: the system releases it when this process and Snakemake have ended, in whatever way.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from e2m.store import locks, paths, upkeep

LOCK = paths.CHECKOUT / ".snakemake" / "running.json"
"""Who runs the workflow in this folder; empty if nobody does."""

INTERRUPTED = 130
"""The exit status that shells know."""

PATIENCE = (30, 10)
"""Seconds that jobs have to end after an interrupt, and after a request to terminate."""


def main(arguments: Sequence[str]) -> int:
    """Run Snakemake with these arguments, and return its exit status; 130 after an interrupt."""
    command = [str(Path(sys.executable).with_name("snakemake")), *arguments]
    if "--dry-run" in arguments:
        return subprocess.call(command)
    named = [part.removeprefix("profile=") for part in arguments if part.startswith("profile=")]
    profile = Path([os.environ.get("E2M_PROFILE", "demo"), *named][-1]).name.removesuffix(".yaml")
    LOCK.parent.mkdir(exist_ok=True)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        return _locked(command, profile, lock)
    finally:
        os.close(lock)


def _locked(command: Sequence[str], profile: str, lock: int) -> int:
    before = os.read(lock, 1 << 16).decode()
    if locks.take(lock) is False:
        _say(f"`make` already runs in {paths.CHECKOUT} ({_about(before)}); wait for it, or stop it, or copy the folder")
        return 1
    if before:
        _say(f"an earlier run ended without a word ({_about(before)}); its lock is released, and this run goes on")
    _record(lock, profile)
    results, known = paths.results(profile), LOCK.with_name(f"{paths.part(profile)}.files")
    for line in upkeep.sweep(results, paths.EXECUTED, paths.DATA):
        _say(line)
    status = _run([command[0], *_again(command, known), *command[1:]], lock)
    files = {_inside(path) for path in upkeep.finished(results, paths.EXECUTED)}
    if status and known.is_file():  # what was to be made again may still be missing
        files |= {*known.read_text().splitlines()}
    paths.write_atomically(known, lambda file: file.write("\n".join(sorted(files)).encode()))
    _record(lock, None)
    return status


def _again(command: Sequence[str], known: Path) -> list[str]:
    """Arguments that let Snakemake make files anew which were there after the last run, and are no longer.

    By itself, it makes no missing file whose readers have run. Files that nothing asked for depends on stay away.
    """
    files = known.read_text().splitlines() if known.is_file() else []
    missing = [file for file in files if not (paths.CHECKOUT / file).is_file()]
    if not missing:
        return []
    summary = subprocess.run([command[0], "--summary", *command[1:]], stdout=subprocess.PIPE, text=True).stdout
    asked = {line.split("\t")[0] for line in summary.splitlines()}
    missing = [file for file in missing if file in asked]
    for file in missing[: upkeep.MOST]:
        _say(f"{file}: missing since the last run, and made again")
    return ["--forcerun", *missing] if missing else []


def _inside(path: Path) -> str:
    """A path as Snakemake knows it."""
    return str(path.relative_to(paths.CHECKOUT) if path.is_relative_to(paths.CHECKOUT) else path)


def _run(command: Sequence[str], lock: int) -> int:
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # One that is ignored on purpose stays so, as that of a closed terminal does after `nohup`.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: asked.append(number))
    # In a session of its own, so that only this process hears an interrupt, and passes it on once.
    child = subprocess.Popen(command, start_new_session=True, pass_fds=[lock])
    while child.poll() is None and not asked:
        time.sleep(0.1)
    if not asked:
        return child.returncode
    _say("stopping the running jobs")
    _end(child)
    _say("stopped. Finished results are kept, and trainings go on from their last epoch: run the command again")
    return INTERRUPTED


def _end(child: subprocess.Popen) -> None:
    """End Snakemake with all of its jobs."""
    with suppress(ProcessLookupError):  # no job is left
        for number, seconds in zip((signal.SIGINT, signal.SIGTERM), PATIENCE, strict=True):
            os.killpg(child.pid, number)
            try:
                child.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _record(lock: int, profile: str | None) -> None:
    about = {"profile": profile, "process": os.getpid(), "host": socket.gethostname(), "time": time.strftime("%F %T")}
    os.truncate(lock, 0)
    os.pwrite(lock, json.dumps(about).encode() if profile else b"", 0)


def _about(record: str) -> str:
    try:
        return "profile {profile}, process {process} on {host}, since {time}".format(**json.loads(record))
    except (ValueError, KeyError):  # it begins at this moment
        return "since a moment ago"


def _say(line: str) -> None:
    print(f"e2m: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # before Snakemake began
        sys.exit(INTERRUPTED)
