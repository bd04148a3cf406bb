"""The provenance of a page or a table: code, packages, machine."""

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
    """Code, the given entries, Python, packages, hardware, day and duration, each as text."""
    values = {
        "code": f"e2m {version('e2m')}, " + ("installed" if paths.INSTALLED else f"commit {_commit()}"),
        **about,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "hardware": f"{_hardware()}, {os.cpu_count()} cores",
        "executed": f"{time.strftime('%Y-%m-%d', time.gmtime())}, in {time.time() - _STARTED:.0f} s",
    }
    return {name: str(value) for name, value in values.items()}


def _commit() -> str:
    git = ["git", "-C", str(paths.CHECKOUT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        # The tables that a study has just written do not count as changes of the code.
        status = [*git, "status", "--porcelain", "-uno", "--", ".", ":!data/studies"]
        changed = subprocess.run(status, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + (" with local changes" if changed.stdout.strip() else "")


def _hardware() -> str:
    # Without torch no GPU was used, so there is no need to import it here.
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        match = None
    return match[1] if match else platform.processor() or platform.machine()
