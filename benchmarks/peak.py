"""Run a module and say on the last line of stderr what memory it had at its peak: ``python -m benchmarks.peak MODULE``.

The process has to ask itself. What the system tells whoever waits for it (``ru_maxrss``) holds the memory of the one
that started it, too.
"""

import atexit
import re
import resource
import runpy
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def mebibytes() -> float:
    """The largest memory that this process has had."""
    if STATUS.is_file():
        return int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    atexit.register(lambda: print(f"\n{mebibytes()}", file=sys.stderr))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
