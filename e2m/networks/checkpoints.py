"""Checkpoints: files with weights and their metadata."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from e2m.types import Detector, InputError

CHECKPOINT_FORMAT = "e2m-checkpoint-1"


MASKER_FORMAT = "e2m-masker-1"


BROKEN = (UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AssertionError, struct.error)
"""The errors of ``torch.load`` for a file that is damaged or of another kind."""


def read_checkpoint(path: str | Path, kind: str = CHECKPOINT_FORMAT) -> dict:
    """The content of a checkpoint, or of a file of another ``kind``: format, detector, regime, run, weights, ...

    Raises:
        InputError: no such file, or a file that is not a checkpoint of E2M.
    """
    path = Path(path)
    if not path.is_file():
        example = "train_masker" if kind == MASKER_FORMAT else "train_cyborg"
        raise InputError(f"{path}: no checkpoint there; train one first, for example with `e2m run {example}`")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        raise InputError(f"{path}: not a checkpoint ({type(error).__name__}); give a file that E2M wrote") from error
    if not isinstance(state, dict) or state.get("format") != kind:
        if kind == MASKER_FORMAT:
            raise InputError(f"{path}: not a masker; give a file that `e2m run train_masker` wrote")
        raise InputError(f"{path}: not a checkpoint of E2M; wrap other weights in a `package.module:function` detector")
    return state


def load_weights(detector: Detector, path: str | Path) -> None:
    """Load the weights of a checkpoint into a detector of the same name.

    Raises:
        InputError: a checkpoint of another detector, or weights that do not fit.
    """
    state = read_checkpoint(path)
    if state["detector"] != detector.name:
        raise InputError(f"{path}: a checkpoint of {state['detector']!r}, but {detector.name!r} was asked for")
    try:
        detector.model.load_state_dict(state["weights"])
    except RuntimeError as error:
        raise InputError(f"{path}: weights do not fit {detector.name!r}; it was built differently: {error}") from error


def weights_hash(model: nn.Module) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a network's weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
