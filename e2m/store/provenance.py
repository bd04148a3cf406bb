"""The provenance of a page or a table: the code that ran, packages, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from e2m.store import paths

_STARTED = time.time()
_VECTORS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bfloat16"}
_PACKAGES = ("numpy", "pandas", "torch", "torchcam", "torchvision")
_sha1 = partial(hashlib.sha1, usedforsecurity=False)
_FOLDER = paths.PACKAGE.parent
_PACKAGE_FOLDERS = {"site-packages", "dist-packages"}
_STANDARD = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]


def entries(**about: Any) -> dict[str, str]:
    """Code, the given entries, Python, packages, hardware, day and duration, each as text."""
    values = {
        "code": f"e2m {version('e2m')}, {code()}",
        **about,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "hardware": f"{_hardware()}, {os.cpu_count()} cores",
        "executed": f"{time.strftime('%Y-%m-%d', time.gmtime())}, in {time.time() - _STARTED:.0f} s",
    }
    return {name: _in_words(value) for name, value in values.items()}


def _in_words(value: Any) -> str:
    """A value as text; settings by name: "epochs 5, flip True"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_in_words(part)}" for name, part in value.items())
    return str(value)


def code() -> str:
    """The code that this process imported, by its content: one hash of all files, and the commit that holds them.

    Files count that Python imported from E2M and from folders of people (plug-ins, detectors, studies), as they are
    now. Those of installed packages and of the standard library do not: their versions are listed beside.

    Returns:
        "content 1a2b3c4d of 61 files, commit 5e6f7a8" if the commit holds each of the files with this content.
        Otherwise files that differ are named; without a repository, the content stands alone.
    """
    files = imported()
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    text = f"content {digest.hexdigest()[:8]} of {len(files)} files"
    commit, blobs = _committed()
    # A repository around an installed package or an unpacked archive knows nothing of it.
    if blobs.keys().isdisjoint(files):
        return text
    changed = [name for name, content in files.items() if blobs.get(name) not in _blob_names(content)]
    if not changed:
        return f"{text}, commit {commit}"
    named = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
    return f"{text}; {len(changed)} differ from commit {commit} or are not in it: {named}"


def imported() -> dict[str, bytes]:
    """The files of imported modules that belong to no installed package: path from the checkout -> content."""
    # Not getattr: modules that load lazily would load.
    named = {getattr(module, "__dict__", {}).get("__file__") for module in list(sys.modules.values())}
    files = {Path(path).resolve() for path in named if isinstance(path, str)}
    files = {
        file for file in files if file.is_file() and (file.is_relative_to(paths.PACKAGE) or not _is_installed(file))
    }
    return dict(sorted((_name(file), file.read_bytes()) for file in files))


def _is_installed(file: Path) -> bool:
    return not _PACKAGE_FOLDERS.isdisjoint(file.parts) or any(map(file.is_relative_to, _STANDARD))


def _name(file: Path) -> str:
    return Path(os.path.relpath(file, _FOLDER)).as_posix()


def _committed() -> tuple[str, dict[str, str]]:
    """The last commit, and the hashes of all its files below the checkout by path; none without git or a commit."""
    # Variables such as GIT_DIR, which git sets for its hooks, name other repositories.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}

    def git(*arguments: str) -> str:
        # The folder may belong to someone else, as in containers; nothing of its configuration is run here.
        command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", *arguments]
        options = {"capture_output": True, "check": True, "timeout": 60, "env": environment}
        return os.fsdecode(subprocess.run(command, cwd=_FOLDER, **options).stdout)

    try:
        listed = git("ls-tree", "-r", "-z", "HEAD")
        commit = git("rev-parse", "--short", "HEAD").strip()
    except (OSError, subprocess.SubprocessError):
        return "", {}
    entries = (entry.partition("\t") for entry in listed.split("\0") if entry)
    return commit, {path: about.split()[2] for about, _, path in entries}


def _blob_names(content: bytes) -> set[str]:
    """What git calls a file of this content, in repositories of either kind of hash, and with either end of lines."""
    blobs = [b"blob %d\0" % len(text) + text for text in {content, content.replace(b"\r\n", b"\n")}]
    return {kind(blob).hexdigest() for kind in (_sha1, hashlib.sha256) for blob in blobs}


def _hardware() -> str:
    # Without torch no GPU was used, so there is no need to import it here.
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        about = ""
    match = re.search(r"model name\s*:\s*(.+)", about)
    name = match[1] if match else platform.processor() or platform.machine()
    # The last digits of results depend on these instructions.
    vectors = [text for flag, text in _VECTORS.items() if re.search(rf"\b{flag}\b", about)]
    return f"{name} ({', '.join(vectors)})" if vectors else name
