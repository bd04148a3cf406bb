"""What a page or a table came from: code, packages, machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from e2m.store import paths

_STARTED = time.time()
_PACKAGES = ("numpy", "pandas", "torch", "torchcam", "torchvision")


def entries(**about: Any) -> dict[str, str]:
    """Code, whatever else is named, Python, packages, hardware, day and duration, each as text."""
    found = {
        "code": f"e2m {version('e2m')}, commit {_commit()}",
        **about,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "hardware": f"{_processor()}, {os.cpu_count()} cores",
        "executed": f"{time.strftime('%Y-%m-%d', time.gmtime())}, in {time.time() - _STARTED:.0f} s",
    }
    return {name: str(value) for name, value in found.items()}


def _commit() -> str:
    git = ["git", "-C", str(paths.CHECKOUT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        # A study's first table, just written, is no change of the code that makes the next.
        status = [*git, "status", "--porcelain", "-uno", "--", ".", ":!data/studies"]
        changed = subprocess.run(status, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + (" with local changes" if changed.stdout.strip() else "")


def _processor() -> str:
    # Who never loaded torch used no GPU, and need not load it to say so.
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
