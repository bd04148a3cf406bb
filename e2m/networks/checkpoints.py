"""Checkpoints: files with weights and their metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from e2m.checks import brief
from e2m.networks import opaque
from e2m.networks.weights import Fit, check_archive, fitted, read, with_head_of
from e2m.store import disk, seals
from e2m.types import Detector, InputError

CHECKPOINT_FORMAT = "e2m-checkpoint-1"
MASKER_FORMAT = "e2m-masker-1"

BROKEN = (Exception,)
"""The errors of ``torch.load`` for a file that is damaged or of another kind: there are all kinds of them."""


def read_checkpoint(path: str | Path, kind: str = CHECKPOINT_FORMAT, also: Sequence[str] = ()) -> dict:
    """The content of a checkpoint, or of a file of another ``kind``: format, detector, regime, run, weights, ...

    Args:
        path: of the file.
        kind: its format.
        also: entries that the caller reads, besides the detector and the weights.

    Raises:
        InputError: no such file, a damaged one, a file that is not a checkpoint of E2M, or one without an entry.
    """
    return _of_kind(_loaded(path, kind), path, kind, also)


def _check_exists(path: Path, kind: str = CHECKPOINT_FORMAT) -> None:
    if not path.is_file():
        example = "train_masker" if kind == MASKER_FORMAT else "train_cyborg"
        raise InputError(f"{path}: no checkpoint there; train one first, for example with `e2m run {example}`")


def _loaded(path: str | Path, kind: str = CHECKPOINT_FORMAT) -> object:
    path = Path(path)
    _check_exists(path, kind)
    disk.checked(path)
    try:
        check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path}: not a checkpoint ({type(error).__name__}); give a file that E2M wrote") from error


def _of_kind(state: object, path: str | Path, kind: str, also: Sequence[str] = ()) -> dict:
    if not isinstance(state, dict) or state.get("format") != kind:
        if kind == MASKER_FORMAT:
            raise InputError(f"{path}: not a masker; give a file that `e2m run train_masker` wrote")
        raise InputError(f"{path}: not a checkpoint of E2M; give a file that E2M wrote")
    if missing := [name for name in ("detector", "weights", *also) if name not in state]:
        raise InputError(f"{path}: has no {missing[0]}; a file that E2M wrote has it: move it away, and train again")
    return state


def load_weights(detector: Detector, path: str | Path) -> Detector:
    """Load the weights of a file into a detector.

    Returns:
        The detector, with ``frozen`` naming the modules that the training of a checkpoint of E2M left as they were, and
        ``notes`` saying which weights were read. A file of TorchScript or ONNX brings its own network.

    Args:
        detector: takes the weights. Its head gets one logit where theirs has one, and two where it has two.
        path: a checkpoint of E2M for a detector of this name; or weights that another program wrote: a file of torch or
            safetensors that holds, at any depth and under any common prefix, a mapping of the network's names to
            tensors; or TorchScript or ONNX.

    Raises:
        InputError: no such file, a damaged checkpoint of E2M, another kind of file, whole Python objects, a checkpoint
            of another detector, weights that do not fit, or frozen modules that do not exist.
    """
    path = Path(path)
    _check_exists(path)
    if (program := opaque.read(path)) is not None:
        return _with_program(detector, program, path)
    # One flipped bit in the name of the format would make a checkpoint of E2M look like weights of another program.
    if seals.sealed(path):
        disk.checked(path)
    content, frozen, note = _content(path), (), ()
    if isinstance(content, dict) and content.get("format") == CHECKPOINT_FORMAT:
        state = _of_kind(content, path, CHECKPOINT_FORMAT)
        if state["detector"] != detector.name:
            raise InputError(f"{path}: a checkpoint of {state['detector']!r}, but {detector.name!r} was asked for")
        weights, frozen = state["weights"], state.get("frozen", ())
    else:
        fit = fitted(content, detector, path)
        weights, note = _own_parts(fit.weights, detector), _note(fit, detector)
        with_head_of(detector.model, weights)
    _check_frozen(frozen, detector, path)
    fill(detector, weights, path)
    return replace(detector, frozen=tuple(frozen), notes=(*detector.notes, *note))


def fill(detector: Detector, weights: object, path: str | Path) -> None:
    """Give a detector's network the weights that a file holds; where they do not fit, it stays as it was.

    Raises:
        InputError: not a mapping of the network's names to tensors of its shapes.
    """
    _check_fit(weights, detector, path)
    try:
        detector.model.load_state_dict(weights)
    except Exception as error:  # modules of somebody's may take their weights in ways of their own
        raise InputError(f"{path}: {brief(error)}") from error


def _content(path: Path) -> object:
    try:
        return read(path)
    except InputError:
        raise
    except BROKEN as error:
        kind = type(error).__name__
        raise InputError(
            f"{path}: not a checkpoint ({kind}); give weights of torch, safetensors, TorchScript or ONNX"
        ) from error


def _with_program(detector: Detector, program: opaque.Opaque, path: Path) -> Detector:
    """The detector with a network that shows its scores only."""
    if program.input_shape not in (None, detector.shape):
        size = " x ".join(map(str, program.input_shape))
        wanted = " x ".join(map(str, detector.shape))
        raise InputError(f"{path}: takes {size} pixels, but {detector.name!r} gives {wanted}; change its size=")
    if program.input_channels not in (None, detector.channels):
        raise InputError(
            f"{path}: takes {program.input_channels} channels, but {detector.name!r} gives {detector.channels}; change "
            "its mean and std, which have one value a channel"
        )
    note = f"weights: {path.name} is a program, which shows its scores only: occlusion and RISE explain it"
    alone = {"layer": "", "head": None, "guided_layer": None, "reshape": None, "frozen": (), "call": None}
    return replace(detector, model=program, notes=(*detector.notes, note), **alone)


def _own_parts(weights: dict, detector: Detector) -> dict:
    """The weights without parts that the network does not have at all, such as a head for training alone."""
    parts = {name.split(".")[0] for name in detector.model.state_dict()}
    return {name: value for name, value in weights.items() if name.split(".")[0] in parts}


def _note(fit: Fit, detector: Detector) -> tuple[str, ...]:
    expected = detector.model.state_dict()
    left = sorted({name.split(".")[0] for name in fit.weights.keys() - expected.keys()})
    text = f"weights: all {len(expected)} of the network" + f", {fit.said}" * bool(fit.said)
    text += f"; not read: {', '.join(left)}" if left else ""
    text += f"; {', '.join(fit.others)} would fit as well" if fit.others else ""
    return (text,)


def _check_frozen(frozen: object, detector: Detector, path: str | Path) -> None:
    modules = dict(detector.model.named_modules())
    if not isinstance(frozen, list | tuple):
        raise InputError(f"{path}: frozen is {brief(repr(frozen))}; a list of modules of {detector.name!r} fits")
    if odd := [name for name in frozen if not isinstance(name, str) or name not in modules]:
        raise InputError(
            f"{path}: frozen names {brief(repr(odd[0]))}, which is no module of {detector.name!r}; train it again"
        )


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
        raise InputError(
            f"{path}: {brief(repr(unknown[0]))} is no weight of {detector.name!r}; it belongs to another network"
        )
    for name, tensor in expected.items():
        if not isinstance(weights[name], torch.Tensor):
            raise InputError(f"{path}: {name!r} is of type {type(weights[name]).__name__}; a tensor fits")
        if weights[name].is_complex() and not tensor.is_complex():
            raise InputError(f"{path}: {name!r} holds complex numbers, but {detector.name!r} needs real ones")
        if weights[name].is_meta:
            raise InputError(
                f"{path}: {name!r} has no values, only a shape (device meta); save the network with values"
            )
        if weights[name].layout != torch.strided or weights[name].is_quantized:
            raise InputError(f"{path}: {name!r} is a sparse or quantised tensor; save it as a plain one")
        if tensor.is_floating_point() and not weights[name].is_floating_point():
            raise InputError(
                f"{path}: {name!r} holds {str(weights[name].dtype).removeprefix('torch.')}, such as the levels of "
                f"quantised weights, but {detector.name!r} needs floating point; save what they stand for"
            )
        if weights[name].shape != tensor.shape:
            raise InputError(
                f"{path}: {name!r} has shape {tuple(weights[name].shape)}, but {detector.name!r} needs "
                f"{tuple(tensor.shape)}: {_why(name, weights[name], detector)}"
            )


def _why(name: str, tensor: torch.Tensor, detector: Detector) -> str:
    needed = detector.model.state_dict()[name]
    if tensor.ndim and needed.ndim and tensor.shape[1:] == needed.shape[1:] and len(needed) in (1, 2):
        return f"it tells {len(tensor)} classes; detectors tell authentic from synthetic"
    return "it was built differently"


def weights_hash(model: nn.Module) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a network's weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
