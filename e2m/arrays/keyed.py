"""Random numbers that belong to an image or a map, so that neither batch nor order changes a draw."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(array: np.ndarray, *about: object) -> int:
    """A seed keyed by an array's bytes and by numbers, such as a person's seed and an amount: below 2^128."""
    key = hashlib.blake2b("".join(f"{part} " for part in about).encode(), digest_size=16)
    key.update(np.ascontiguousarray(array))
    return int.from_bytes(key.digest(), "little")
