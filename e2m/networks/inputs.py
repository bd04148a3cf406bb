"""A network's input and output: images become its input, its output becomes two logits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from e2m.types import Detector, InputError


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
        # Imported here: it takes two seconds, and images mostly have the detector's size.
        from torchvision.transforms.v2.functional import resize

        batch = resize(batch, [detector.size, detector.size], antialias=True)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (detector.mean, detector.std))
    # (x / 255 - mean) / std in two passes over the pixels.
    batch = batch.float().mul_(1 / (255 * std)).sub_(mean / std)
    return batch.contiguous(memory_format=torch.channels_last)


def logits_of(detector: Detector) -> int:
    """How many logits the detector's head returns for an image: one or two."""
    return detector.model.get_submodule(detector.head).weight.shape[0]


def network_class(detector: Detector, classes: Tensor) -> Tensor:
    """E2M's class numbers (1 is synthetic) as the network's class numbers, and the other way round."""
    return classes if detector.synthetic == 1 else 1 - classes


def two_logits(detector: Detector, output: Tensor) -> Tensor:
    """A network's output as logits (N, 2) of authentic and synthetic; a single logit z becomes (-z/2, z/2)."""
    if output.ndim != 2 or output.shape[1] not in (1, 2):
        raise InputError(f"{detector.name!r} returns logits of shape {tuple(output.shape)}; an image needs one or two")
    if output.shape[1] == 1:
        return torch.cat([-output, output], 1) / 2
    return output.flip(1) if detector.synthetic == 0 else output


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers in hardware; elsewhere bfloat16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
