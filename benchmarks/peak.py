"""Run a module and print its peak memory on the last line of stderr: ``python -m benchmarks.peak MODULE``.

The process measures itself, because the ``ru_maxrss`` that its parent receives includes the memory of the parent.
"""

import atexit
import re
import resource
import runpy
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def mebibytes() -> float:
    """The peak memory of this process."""
    if STATUS.is_file():
        return int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    atexit.register(lambda: print(f"\n{mebibytes()}", file=sys.stderr))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
