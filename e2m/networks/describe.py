"""A description of a bare network: what it takes and returns, found out by trying it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from e2m.checks import brief
from e2m.networks import layers
from e2m.networks.answers import check_input_kept, in_a_line
from e2m.networks.inputs import noise, raw_logits
from e2m.networks.opaque import Opaque
from e2m.types import Detector, InputError

SIZES = (224, 256, 299, 384, 112, 128, 96, 64, 48, 32, 28, 160, 192, 240, 288, 320, 336, 448, 512)
"""Sides of the input that are tried in this order."""

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, by which most networks normalise."""


def described(model: nn.Module, name: str = "", **known: object) -> Detector:
    """A detector made of a bare network.

    The size, the channels, the layer, the head and the order of outputs are found by passing an image of noise through
    the network. What cannot be seen from outside is taken from what the network states (``pretrained_cfg`` of timm,
    ``config`` of transformers), or else taken for granted: 224 pixels where any size fits, ImageNet's normalisation,
    and that the second logit means "synthetic". ``notes`` say which.

    Args:
        model: the network; DataParallel and ``torch.compile`` are taken off, half precision becomes single.
        name: of the detector; by default that of the network's class.
        known: what is known, by the names of ``Detector``'s fields: ``size=112``, ``synthetic=0``, ...

    Raises:
        InputError: the network takes no images of any of the ``SIZES``, does not return one or two logits, or has no
            layer that salience can be read from.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"a network of type {type(model).__name__}; an nn.Module, or what e2m.load_detector returns, fits"
        )
    model = plain(model)
    detector = Detector(name or type(model).__name__, model, layer="", size=1)
    mean, std, normalised = _normalisation(model)
    detector = replace(detector, **{"mean": mean, "std": std} | known)
    detector, whence = _fitting(detector, known)
    if detector.channels == 3 and "mean" not in known:
        whence += f"; normalisation {normalised}"
    if isinstance(model, Opaque):
        return replace(detector, notes=(f"input: {whence}", "salience: occlusion and RISE alone, for scores only"))
    with in_a_line(detector, "its network fails when it is looked into"):
        return _with_layers(detector, known, whence)


def _with_layers(detector: Detector, known: dict, whence: str) -> Detector:
    """The detector with the layer and the head of its network."""
    if "head" not in known:
        detector = replace(detector, head=layers.head_of(detector))
    if "layer" not in known:
        layer = _layer(detector)
        detector = replace(detector, layer=layer.name, **{"reshape": layer.reshape} | known)
        read = f"salience is read from {layer}"
    else:
        read = f"salience is read from {detector.layer}"
    head = detector.head
    if head and "head" not in known and layers.pooled(detector) is None:
        detector = replace(detector, head=None)
    cam = f"CAM reads {head}" if detector.head else "no CAM: more than pooling lies between it and the head"
    return replace(detector, notes=(f"{read}; {cam}", f"input: {whence}"))


def plain(model: nn.Module) -> nn.Module:
    """The network without DataParallel and ``torch.compile`` around it; a copy in single precision if it has another.

    TorchScript becomes an ``Opaque`` network.
    """
    wrapped = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, wrapped):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            break
    if isinstance(model, torch.jit.ScriptModule):
        return Opaque.of_program(model)
    compiled = any(module._compiled_call_impl is not None for module in model.modules())
    tensors = [*model.parameters(), *model.buffers()]
    if any(map(nn.parameter.is_lazy, tensors)):
        raise InputError(
            f"{type(model).__name__}: has weights without a shape; pass images through it once, then give it"
        )
    other = any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in tensors)
    # Weights that were made in inference mode take no gradients; their copies do.
    if compiled or other or any(tensor.is_inference() for tensor in tensors):
        try:
            model = copy.deepcopy(model).float()  # a copy is never compiled
        except Exception as error:  # modules of somebody's
            raise InputError(
                f"{type(model).__name__}: cannot be copied to single precision ({type(error).__name__}: "
                f"{brief(error)}); give it in single precision: network.float()"
            ) from error
    return model


def _normalisation(model: nn.Module) -> tuple[tuple, tuple, str]:
    """Mean, standard deviation, and where they come from."""
    if (inside := own_normalisation(model)) is not None:
        return (0.0,) * 3, (1.0,) * 3, f"none: the network has its own ({inside})"
    stated = _stated(model)
    if "mean" in stated and "std" in stated:
        return tuple(stated["mean"]), tuple(stated["std"]), "as the network states"
    return *IMAGENET, "ImageNet's, for granted: give mean= and std= if it differs"


def own_normalisation(model: nn.Module) -> str | None:
    """The module that normalises by a mean and a deviation of its own; None if there is none.

    It is one with a ``mean`` and a ``std`` of one or three numbers, as torchvision's ``Normalize`` has.
    """
    for name, module in model.named_modules():
        if isinstance(module, Opaque):
            continue
        values = [getattr(module, key, None) for key in ("mean", "std")]
        if all(isinstance(value, torch.Tensor | tuple | list) for value in values) and all(
            torch.as_tensor(value).numel() in (1, 3) for value in values
        ):
            return f"{name or type(module).__name__}.mean and .std"
    return None


def _stated(model: nn.Module) -> dict:
    """What the network states about itself, in timm's words."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    return config if isinstance(config, dict) else {}


def _fitting(detector: Detector, known: dict) -> tuple[Detector, str]:
    """The detector with a size and channels that its network takes, and where they come from."""
    first = None
    for size, whence in _sizes(detector.model, known):
        for tried in _channels(detector, known):
            tried = replace(tried, size=size)
            try:
                with layers.at_rest(detector.model), torch.no_grad():
                    pixels = noise(tried)
                    output = detector.model(pixels)
            except Exception as error:  # any error of the network's own code: this input does not fit
                first = first or error
                continue
            check_input_kept(tried, noise(tried), pixels)
            raw_logits(tried, output, 1)
            height, width = tried.shape
            channels = "3 channels" if tried.channels == 3 else f"{tried.channels} channel"
            return tried, f"{height} x {width} pixels{whence}, {channels}"
    what = f"images of {known['size']} pixels" if "size" in known else "images of any usual size"
    reason = brief(first, 200)
    raise InputError(
        f"{detector.name!r} takes no {what} with one or three channels ({type(first).__name__}: {reason}); give size=, "
        "and one mean and std a channel"
    ) from first


def _sizes(model: nn.Module, known: dict) -> Iterator[tuple[int | tuple[int, int], str]]:
    if "size" in known:
        yield known["size"], ""
        return
    stated = [
        getattr(model, "input_shape", None) if isinstance(model, Opaque) else None,
        getattr(getattr(model, "patch_embed", None), "img_size", None),
        _stated(model).get("input_size", (None,))[1:],
        getattr(getattr(model, "config", None), "image_size", None),
    ]
    for size in stated:
        sides = (size, size) if isinstance(size, int) else tuple(size or ())
        if len(sides) == 2:
            yield sides[0] if sides[0] == sides[1] else sides, " (as the network states)"
    for size in SIZES:
        yield size, " (for granted: the network takes them; give size= if it was trained on others)"


def _channels(detector: Detector, known: dict) -> Iterator[Detector]:
    yield detector
    if "mean" not in known and detector.channels == 3:
        yield replace(detector, **{name: (sum(getattr(detector, name)) / 3,) for name in ("mean", "std")})


def _layer(detector: Detector) -> layers.Layer:
    model = detector.model
    last = (getattr(model, "feature_info", None) or [{}])[-1]
    # A head that is named wrongly is refused with all other names (check_detector).
    head = getattr(dict(model.named_modules()).get(detector.head), "in_features", None)
    widths = (head, getattr(model, "num_features", None), last.get("num_chs") if isinstance(last, dict) else None)
    channels = list(dict.fromkeys(width for width in widths if isinstance(width, int)))
    if channels:
        try:
            return layers.find(detector, channels)
        except InputError:
            pass  # a head with hidden layers: its inputs are not the features of the cells
    return layers.find(detector)
