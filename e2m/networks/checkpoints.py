"""Checkpoints: files with weights and their metadata."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
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
    return _of_kind(_loaded(path, kind), path, kind)


def _loaded(path: str | Path, kind: str = CHECKPOINT_FORMAT) -> object:
    path = Path(path)
    if not path.is_file():
        example = "train_masker" if kind == MASKER_FORMAT else "train_cyborg"
        raise InputError(f"{path}: no checkpoint there; train one first, for example with `e2m run {example}`")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        raise InputError(f"{path}: not a checkpoint ({type(error).__name__}); give a file that E2M wrote") from error


def _of_kind(state: object, path: str | Path, kind: str) -> dict:
    if not isinstance(state, dict) or state.get("format") != kind:
        if kind == MASKER_FORMAT:
            raise InputError(f"{path}: not a masker; give a file that `e2m run train_masker` wrote")
        raise InputError(f"{path}: not a checkpoint of E2M; wrap other weights in a `package.module:function` detector")
    if missing := [name for name in ("detector", "weights") if name not in state]:
        raise InputError(f"{path}: has no {missing[0]}; a file that E2M wrote has it: train again")
    return state


def load_weights(detector: Detector, path: str | Path) -> Detector:
    """Load the weights of a checkpoint into a detector of the same name.

    Returns:
        The detector, with ``frozen`` naming the modules that the checkpoint's training left as they were.

    Args:
        detector: takes the weights.
        path: a checkpoint of E2M, or one of the published ones (``final_model.pth``): a dictionary with the weights
            under "state_dict", whose second logit means synthetic.

    Raises:
        InputError: a checkpoint of another detector, weights that do not fit, or frozen modules that do not exist.
    """
    state = _loaded(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        weights, frozen = _published(state["state_dict"], detector), ()
    else:
        state = _of_kind(state, path, CHECKPOINT_FORMAT)
        if state["detector"] != detector.name:
            raise InputError(f"{path}: a checkpoint of {state['detector']!r}, but {detector.name!r} was asked for")
        weights, frozen = state["weights"], state.get("frozen", ())
    _check_fit(weights, detector, path)
    _check_frozen(frozen, detector, path)
    detector.model.load_state_dict(weights)
    return replace(detector, frozen=tuple(frozen))


def _published(weights: dict, detector: Detector) -> dict:
    """Published weights under the names of our network: Xception lies in a wrapper and calls its head last_linear."""
    wrapped = all(str(name).startswith("model.") for name in weights)
    names = {name: str(name).removeprefix("model.") if wrapped else str(name) for name in weights}
    return {new.replace("last_linear.", f"{detector.head}."): weights[name] for name, new in names.items()}


def _check_frozen(frozen: object, detector: Detector, path: str | Path) -> None:
    modules = dict(detector.model.named_modules())
    if not isinstance(frozen, list | tuple):
        raise InputError(f"{path}: frozen is {frozen!r}; a list of modules of {detector.name!r} fits")
    if odd := [name for name in frozen if not isinstance(name, str) or name not in modules]:
        raise InputError(f"{path}: frozen names {odd[0]!r}, which is no module of {detector.name!r}; train it again")


def _check_fit(weights: object, detector: Detector, path: str | Path) -> None:
    if not isinstance(weights, dict):
        raise InputError(
            f"{path}: its weights are of type {type(weights).__name__}; a mapping of names to tensors fits"
        )
    expected = detector.model.state_dict()
    if missing := [name for name in expected if name not in weights]:
        raise InputError(
            f"{path}: holds {len(expected) - len(missing)} of the {len(expected)} weights of {detector.name!r}; "
            f"{missing[0]!r} is missing: it belongs to another network"
        )
    if unknown := [name for name in weights if name not in expected]:
        raise InputError(f"{path}: {unknown[0]!r} is no weight of {detector.name!r}; it belongs to another network")
    for name, tensor in expected.items():
        if not isinstance(weights[name], torch.Tensor):
            raise InputError(f"{path}: {name!r} is of type {type(weights[name]).__name__}; a tensor fits")
        if weights[name].shape != tensor.shape:
            raise InputError(
                f"{path}: {name!r} has shape {tuple(weights[name].shape)}, but {detector.name!r} needs "
                f"{tuple(tensor.shape)}: {_why(name, weights[name], detector)}"
            )


def _why(name: str, tensor: torch.Tensor, detector: Detector) -> str:
    if detector.head and name.startswith(f"{detector.head}."):
        return f"it tells {len(tensor)} classes; detectors tell authentic from synthetic"
    return "it was built differently"


def weights_hash(model: nn.Module) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a network's weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
