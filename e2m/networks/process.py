"""What torch keeps for a whole process, and the functions of E2M change: callers find it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def restored() -> Iterator[None]:
    """The end of the block, or of the function, restores the number of threads and the choice of algorithms."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fills
