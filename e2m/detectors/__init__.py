"""Detectors: one file each, named as the parameter value. A file holds ``build(pretrained) -> Detector``."""

from __future__ import annotations

import difflib
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from e2m import plugins
from e2m.networks import layers
from e2m.networks.checkpoints import MASKER_FORMAT, load_weights, read_checkpoint, weights_hash
from e2m.types import Detector, InputError


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
        checkpoint: file written by ``e2m.training.detector.fit``; without it the weights are initialised from ``seed``.
        seed: of the initial weights.
        pretrained: start from ImageNet weights, which torchvision and timm download.
        device: "cpu", "cuda", ...; by default a GPU where there is one.
        masker: file written by ``e2m.training.masker.fit`` for these weights; the salience method "masker" reads it.

    Raises:
        InputError: unknown name or device, a checkpoint of another detector, a masker of other weights, or a file
            that is neither.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector = replace(_build(name, pretrained), name=name)
    check_detector(detector)
    if checkpoint is not None:
        detector = load_weights(detector, checkpoint)
        check_detector(detector)
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
    """Check that a detector's network has the modules that the detector names.

    Raises:
        InputError: a module is missing, or the head is not a linear layer.
    """
    modules = dict(detector.model.named_modules())
    named = [(role, getattr(detector, role)) for role in ("layer", "head", "guided_layer")]
    for role, wanted in (*named, *(("frozen module", name) for name in detector.frozen)):
        if wanted is not None and wanted not in modules:
            last = ", ".join(list(modules)[-12:])
            raise InputError(f"detector {detector.name!r} has no {role} named {wanted!r}; its last modules are {last}")
    if detector.head is not None and not isinstance(modules[detector.head], nn.Linear):
        kind = type(modules[detector.head]).__name__
        raise InputError(f"detector {detector.name!r}: head {detector.head!r} is a {kind}; CAM needs a Linear layer")


def _check_masker(detector: Detector) -> None:
    state = read_checkpoint(detector.masker, MASKER_FORMAT)
    if state["detector"] != detector.name:
        raise InputError(f"{detector.masker}: a masker of {state['detector']!r}, but {detector.name!r} was asked for")
    if state["classifier"] != (actual := weights_hash(detector.model)):
        raise InputError(
            f"{detector.masker}: trained on weights {state['classifier']}, but this detector has {actual}; give the "
            "checkpoint that it was trained on, or the one that was trained alongside"
        )


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
    config, modules = model.pretrained_cfg, dict(model.named_modules())
    mean, std = tuple(config["mean"]), tuple(config["std"])
    detector = Detector(f"timm:{name}", model, layer="", size=config["input_size"][-1], mean=mean, std=std)
    last = (getattr(model, "feature_info", None) or [{}])[-1]
    layer = layers.find(detector, [channels for channels in (model.num_features, last.get("num_chs")) if channels])
    detector = replace(detector, layer=layer.name, reshape=layer.reshape)
    head = config.get("classifier")
    if isinstance(head, str) and isinstance(modules.get(head), nn.Linear):
        with_head = replace(detector, head=head)
        detector = with_head if layers.pooled_linearly(with_head) else detector
    cam = f"CAM reads {head}" if detector.head else "no CAM: more than pooling lies between it and the head"
    print(f"{detector.name}: salience is read from {layer}; {cam}", file=sys.stderr)
    return detector


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
