"""A network's input and output: images become its input, its output becomes two logits."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from e2m.arrays.images import resized
from e2m.types import Detector, InputError, Precision

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in luminance (ITU-R 601), as PIL takes them."""


def as_input(images: np.ndarray, detector: Detector, device: torch.device | str = "cpu") -> Tensor:
    """Images (n, H, W, 3) uint8 as the detector's normalised input (n, channels, height, width), channels last.

    Images of another size are resized as ``e2m.read_images`` resizes files: the values are the same.

    Raises:
        InputError: another shape or type, for example one or four channels.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(
            f"images of shape {images.shape} and type {images.dtype}; give (N, H, W, 3) uint8: "
            "copy a single grey channel three times, drop an alpha channel"
        )
    if images.shape[1:3] != detector.shape and len(images):
        images = np.stack([resized(image, detector.shape) for image in images])
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    if detector.channels == 1:
        batch = (batch.float() * torch.tensor(GREY, device=device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (detector.mean, detector.std))
    # (x / 255 - mean) / std in two passes over the pixels.
    batch = batch.float().mul_(1 / (255 * std)).sub_(mean / std)
    return batch.contiguous(memory_format=torch.channels_last)


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's weights; the CPU if it has none, as one in ONNX."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def noise(detector: Detector, images: int = 1) -> Tensor:
    """The same uniform noise in [0, 1] at every call, in the shape of the detector's input and on its device."""
    random = torch.Generator().manual_seed(0)
    return torch.rand(images, detector.channels, *detector.shape, generator=random).to(device_of(detector.model))


def square_side(detector: Detector) -> int:
    """The side of a detector's square input; training and maskers need one.

    Raises:
        InputError: the input is not square.
    """
    height, width = detector.shape
    if height != width:
        raise InputError(
            f"{detector.name!r} takes images of {height} x {width} pixels; training and maskers need a square input"
        )
    return height


def logits_of(detector: Detector) -> int:
    """How many logits the detector's head returns for an image: one or two."""
    return detector.model.get_submodule(detector.head).weight.shape[0]


def network_class(detector: Detector, classes: Tensor) -> Tensor:
    """E2M's class numbers (1 is synthetic) as the network's class numbers, and the other way round."""
    return classes if detector.synthetic == 1 else 1 - classes


def two_logits(detector: Detector, output: object, images: int | None = None) -> Tensor:
    """A network's output as logits (N, 2) of authentic and synthetic; a single logit z becomes (-z/2, z/2).

    Args:
        detector: says which logit means "synthetic", and which of several outputs holds the logits.
        output: a tensor, or a tuple, dictionary or object that holds it.
        images: N; None takes the length of the output.

    Raises:
        InputError: no output with one or two logits an image, or several.
    """
    logits = raw_logits(detector, output, images)
    if logits.shape[1] == 1:
        logits = torch.cat([-logits, logits], 1) / 2
    return logits.flip(1) if detector.synthetic == 0 else logits


def raw_logits(detector: Detector, output: object, images: int | None = None) -> Tensor:
    """The logits in a network's output, (N, 1) or (N, 2), in the network's order; arguments as of ``two_logits``."""
    named = outputs_in(output)
    if detector.output:
        if detector.output not in named:
            raise InputError(
                f"{detector.name!r} has no output {detector.output!r}; choose from {', '.join(named) or 'none'}"
            )
        named = {detector.output: named[detector.output]}
    fitting = {name: logits for name, value in named.items() if (logits := _as_logits(value, images)) is not None}
    # Beside two logits, one value an image is a probability or a loss; a field of this name needs no guess.
    named_so = {name: logits for name, logits in fitting.items() if name.split(".")[-1] == "logits"}
    fitting = named_so or {name: logits for name, logits in fitting.items() if logits.shape[1] == 2} or fitting
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    shapes = ", ".join(" ".join(filter(None, (name, str(tuple(value.shape))))) for name, value in named.items())
    if fitting:
        choices = ", ".join(fitting)
        raise InputError(
            f"{detector.name!r} returns {shapes}; {choices} could all be the logits: give the detector output="
        )
    number = "" if images is None else f" for {images} image{'s' * (images > 1)}"
    arrived = shapes or type(output).__name__
    raise InputError(f"{detector.name!r} returns logits of shape {arrived}{number}; an image needs one or two")


def outputs_in(output: object) -> dict[str, Tensor]:
    """The tensors of a network's output by key, attribute or index; levels are joined by dots. "" is a lone tensor."""
    if isinstance(output, Tensor):
        return {"": output}
    if isinstance(output, Mapping):
        parts = output
    elif isinstance(output, tuple | list):
        parts = output._asdict() if hasattr(output, "_asdict") else dict(enumerate(output))
    else:
        parts = getattr(output, "__dict__", {})
    return {
        f"{name}.{inner}" if inner else str(name): value
        for name, part in parts.items()
        if not isinstance(part, str | int | float | bool | nn.Module | None)
        for inner, value in outputs_in(part).items()
    }


def _as_logits(value: Tensor, images: int | None) -> Tensor | None:
    """(N, 1) or (N, 2) if the values are one or two an image; axes of length 1 may be missing or too many."""
    count = images if images is not None else len(value) if value.ndim else 1
    if not value.is_floating_point() or (count > 1 and (not value.ndim or len(value) != count)):
        return None
    squeezed = [side for side in value.shape if side != 1]
    for logits in (1, 2):
        if squeezed == [side for side in (count, logits) if side != 1]:
            return value.reshape(count, logits)
    return None


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers in hardware; elsewhere bfloat16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def check_precision(precision: Precision, device: torch.device) -> None:
    """Check that a device multiplies numbers of a precision in hardware.

    Raises:
        InputError: an unknown precision, or bfloat16 on a device without it.
    """
    if precision not in (known := get_args(Precision)):
        raise InputError(f"precision: {precision!r} arrived; choose from {', '.join(known)}")
    if precision == "bfloat16" and not has_bfloat16(device):
        lacks = "AVX512-BF16" if device.type == "cpu" else "units for it"
        raise InputError(
            f"precision: bfloat16 arrived, and the device {str(device)!r} has no bfloat16 in hardware (no {lacks}), "
            "where it saves nothing; float32 fits, or another device"
        )
