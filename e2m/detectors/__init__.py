"""Detectors: one file each, named as the parameter value. A file holds ``build(pretrained) -> Detector``."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import struct
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor, nn

from e2m import plugins
from e2m.types import Detector, InputError

CHECKPOINT_FORMAT = "e2m-checkpoint-1"
MASKER_FORMAT = "e2m-masker-1"

BROKEN = (UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AssertionError, struct.error)
"""What ``torch.load`` raises on a file that is damaged or something else."""


def load_detector(
    name: str,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    pretrained: bool = False,
    device: str | None = None,
    masker: str | Path | None = None,
) -> Detector:
    """A detector with weights, in evaluation mode.

    Args:
        name: a file of this folder ("resnet50"), "timm:NAME" for a timm network, or "package.module:function",
            a function without arguments that returns an ``e2m.types.Detector``.
        checkpoint: file written by ``e2m.training.fit``; without it the weights are initialised from ``seed``.
        seed: of the initial weights.
        pretrained: start from ImageNet weights, which torchvision and timm download.
        device: "cpu", "cuda", ...; by default a GPU where there is one.
        masker: file written by ``e2m.masker_training.fit`` for these weights; the salience method "masker" reads it.

    Raises:
        InputError: unknown name or device, a checkpoint of another detector, a masker of other weights, or a file that
            is neither.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector = replace(_build(name, pretrained), name=name)
    check_detector(detector)
    if checkpoint is not None:
        load_weights(detector, checkpoint)
    if masker is not None:
        detector = replace(detector, masker=Path(masker))
        _check_masker(detector)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        detector.model.to(device, memory_format=torch.channels_last).eval()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"no device {device!r} here ({str(error).splitlines()[0]}); try cpu, cuda or null") from error
    return detector


def check_detector(detector: Detector) -> None:
    """Whether a detector's network has the modules that the detector names.

    Raises:
        InputError: it has not, or the head is no linear layer.
    """
    modules = dict(detector.model.named_modules())
    for role in ("layer", "head", "guided_layer"):
        wanted = getattr(detector, role)
        if wanted is not None and wanted not in modules:
            last = ", ".join(list(modules)[-12:])
            raise InputError(f"detector {detector.name!r} has no {role} named {wanted!r}; its last modules are {last}")
    if detector.head is not None and not isinstance(modules[detector.head], nn.Linear):
        kind = type(modules[detector.head]).__name__
        raise InputError(f"detector {detector.name!r}: head {detector.head!r} is a {kind}; CAM needs a Linear layer")


def read_checkpoint(path: str | Path, kind: str = CHECKPOINT_FORMAT) -> dict:
    """The content of a checkpoint, or of a file of another ``kind``: format, detector, regime, run, weights, ...

    Raises:
        InputError: no such file, or a file that is no checkpoint of E2M.
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
    """Put the weights of a checkpoint into a detector of the same name, or say whose weights they are."""
    state = read_checkpoint(path)
    if state["detector"] != detector.name:
        raise InputError(f"{path}: a checkpoint of {state['detector']!r}, but {detector.name!r} was asked for")
    try:
        detector.model.load_state_dict(state["weights"])
    except RuntimeError as error:
        raise InputError(f"{path}: weights do not fit {detector.name!r}; it was built differently: {error}") from error


def weights_hash(model: nn.Module) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a network's weights and their names."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def _check_masker(detector: Detector) -> None:
    state = read_checkpoint(detector.masker, MASKER_FORMAT)
    if state["detector"] != detector.name:
        raise InputError(f"{detector.masker}: a masker of {state['detector']!r}, but {detector.name!r} was asked for")
    if state["classifier"] != (found := weights_hash(detector.model)):
        raise InputError(
            f"{detector.masker}: trained on weights {state['classifier']}, but this detector has {found}; give the "
            "checkpoint that it was trained on, or the one that was trained alongside"
        )


def as_input(images: np.ndarray, detector: Detector, device: torch.device | str = "cpu") -> Tensor:
    """Images (n, H, W, 3) uint8 as the detector's normalised input (n, 3, size, size), channels last.

    Raises:
        InputError: another shape or type, for example one or four channels.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(
            f"images of shape {images.shape} and type {images.dtype}; give (N, H, W, 3) uint8: "
            "copy a single grey channel three times, drop an alpha channel"
        )
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    if batch.shape[-2:] != (detector.size, detector.size):
        # Not at the top: it takes two seconds, and images mostly have the detector's size.
        from torchvision.transforms.v2.functional import resize

        batch = resize(batch, [detector.size, detector.size], antialias=True)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (detector.mean, detector.std))
    # (x / 255 - mean) / std in two passes over the pixels.
    batch = batch.float().mul_(1 / (255 * std)).sub_(mean / std)
    return batch.contiguous(memory_format=torch.channels_last)


def logits_of(detector: Detector) -> int:
    """How many logits the detector's head gives an image: one or two."""
    return detector.model.get_submodule(detector.head).weight.shape[0]


def network_class(detector: Detector, classes: Tensor) -> Tensor:
    """E2M's class numbers (1 is synthetic) as the network numbers them, and the other way round."""
    return classes if detector.synthetic == 1 else 1 - classes


def two_logits(detector: Detector, output: Tensor) -> Tensor:
    """A network's output as logits (N, 2) of authentic and synthetic; a single logit z becomes (-z/2, z/2)."""
    if output.ndim != 2 or output.shape[1] not in (1, 2):
        raise InputError(f"{detector.name!r} returns logits of shape {tuple(output.shape)}; one or two a picture fit")
    if output.shape[1] == 1:
        return torch.cat([-output, output], 1) / 2
    return output.flip(1) if detector.synthetic == 0 else output


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers by itself; elsewhere it would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def _build(name: str, pretrained: bool) -> Detector:
    if name.startswith("timm:"):
        return _from_timm(name.removeprefix("timm:"), pretrained)
    if ":" in name:
        return _from_function(name)
    return plugins.load("detector", name).build(pretrained)


def _from_timm(name: str, pretrained: bool) -> Detector:
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 8)
        raise InputError(f"timm has no network named {name!r}; similar names: {', '.join(close) or 'none'}")
    model = timm.create_model(name, pretrained=pretrained, num_classes=2)
    config = model.pretrained_cfg
    modules = dict(model.named_modules())
    last = (getattr(model, "feature_info", None) or [{}])[-1]
    if last.get("module") not in modules:
        raise InputError(
            f"{name!r} names no last feature layer; write a `package.module:function` detector with `layer=`"
        )
    head = config.get("classifier")
    # Where more lies between the last features and the linear layer than pooling, there is no CAM.
    follows = isinstance(head, str) and getattr(modules.get(head), "in_features", None) == last["num_chs"]
    return Detector(
        name=name,
        model=model,
        layer=last["module"],
        size=config["input_size"][-1],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        head=head if follows else None,
    )


def _from_function(name: str) -> Detector:
    module, function = name.split(":", 1)
    try:
        detector = getattr(importlib.import_module(module), function)()
    except ImportError as error:
        raise InputError(f"detector {name!r}: cannot import {module!r} ({error}); is it on PYTHONPATH?") from error
    except AttributeError as error:
        raise InputError(f"detector {name!r}: {error}") from error
    if not isinstance(detector, Detector):
        raise InputError(f"detector {name!r} returned {type(detector).__name__}; return an e2m.types.Detector")
    return detector
