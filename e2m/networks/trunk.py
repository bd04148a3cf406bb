"""The trunk of a network: its frozen beginning, whose outputs all detectors share that begin alike.

Training leaves frozen modules as they are, so that every run gives the same outputs for the same image. They are
computed once, stored under a hash of the trunk and the image, and looked up by every training and explanation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from e2m.networks.checkpoints import weights_hash
from e2m.networks.folding import fold, unchanged
from e2m.networks.inputs import as_input, device_of, noise, two_logits
from e2m.store import disk, paths, seals
from e2m.types import Detector, InputError

TOLERANCE = 1e-4
"""Largest difference between the logits of the whole network and those of trunk and rest; rounding gives 1e-6."""


class Trunk:
    """The frozen modules of a detector.

    The trunk is empty, and returns the network's input, if the detector freezes nothing or if its network does not
    begin with the frozen modules, one after another.

    Args:
        detector: a detector in evaluation mode.
        stored: file of ``write``, whose outputs are looked up; None computes all of them.

    Raises:
        InputError: ``stored`` is missing or was not written for this detector.
    """

    def __init__(self, detector: Detector, stored: Path | None = None):
        self.detector = detector
        modules = [detector.model.get_submodule(name) for name in detector.frozen]
        self.shape = self._checked(modules) if modules else None
        """(channels, h, w) of an output; None if the trunk is empty."""
        self.modules = modules if self.shape else []
        # A copy: it computes outputs while the modules themselves are skipped.
        self._trunk = fold(nn.Sequential(*self.modules))
        about = f"{weights_hash(self._trunk)} {detector.size} {detector.mean} {detector.std}"
        self._hash = hashlib.blake2b(about.encode(), digest_size=16)
        self._rows, self._index = np.empty(0), {}
        if self.modules and stored is not None:
            self._rows = _mapped(stored, self._row)
            self._index = {bytes(key): row for row, key in enumerate(self._rows["key"])}

    def __call__(self, images: np.ndarray, pixels: Tensor) -> Tensor:
        """The trunk's outputs (n, channels, h, w), looked up or computed.

        Args:
            images: (n, H, W, 3) uint8, as they were given.
            pixels: (n, channels, height, width), the same images as the network's input.
        """
        if not self.modules:
            return pixels
        rows = np.array([self._index.get(self._key(image), -1) for image in images])
        if (rows < 0).all():
            return self._outputs(pixels)
        outputs = torch.from_numpy(self._rows["output"][rows]).to(pixels.device)
        if (rows < 0).any():
            missing = torch.from_numpy(np.flatnonzero(rows < 0)).to(pixels.device)
            outputs[missing] = self._outputs(pixels[missing])
        return outputs.contiguous(memory_format=torch.channels_last)

    def skipped(self) -> AbstractContextManager[None]:
        """A block in which the network takes the trunk's outputs instead of its input."""
        return _skipped(self.modules)

    @property
    def observed(self) -> bool:
        """Whether a hook reads what a skipped trunk changes: the network's input, or what goes through the trunk."""
        inside = {inner for module in self.modules for inner in module.modules()}
        reads = (module._forward_pre_hooks for module in (self.detector.model, *inside))
        return any(reads) or any(module._forward_hooks for module in inside - set(self.modules[-1:]))

    def write(self, path: Path, batches: Iterable[np.ndarray]) -> None:
        """Store the outputs for batches of images (n, H, W, 3) uint8, each image once; an empty trunk stores nothing.

        Memory holds one batch, and 16 bytes an image.

        Raises:
            OSError: the file cannot be written.
        """
        device = device_of(self.detector.model)
        known = set()
        with paths.writing(path) as file, paths.naming(path):
            for images in batches if self.modules else ():
                keys = {self._key(image): row for row, image in enumerate(images)}
                fresh = [row for key, row in keys.items() if key not in known]
                rows = np.empty(len(fresh), self._row)
                rows["key"] = np.frombuffer(b"".join(key for key in keys if key not in known), "V16")
                known |= keys.keys()
                if fresh:
                    outputs = self._outputs(as_input(images[fresh], self.detector, device))
                    rows["output"] = outputs.cpu().numpy()
                file.write(rows.tobytes())
            file.write(seals.SEAL.encode())

    @property
    def _row(self) -> np.dtype:
        return np.dtype([("key", "V16"), ("output", np.float32, self.shape)])

    def _key(self, image: np.ndarray) -> bytes:
        """16 bytes that name the output of this trunk for an image (H, W, 3) uint8."""
        digest = self._hash.copy()
        digest.update(f"{image.shape}".encode())
        digest.update(np.ascontiguousarray(image))
        return digest.digest()

    @torch.no_grad()
    def _outputs(self, pixels: Tensor) -> Tensor:
        # Stored outputs have full precision, and computed ones equal them.
        with torch.autocast(pixels.device.type, enabled=False):
            return self._trunk(pixels)

    @torch.no_grad()
    def _checked(self, modules: list[nn.Module]) -> tuple[int, ...] | None:
        """The shape of an output; None if trunk and rest together do not give the logits of the whole network."""
        model, pixels = self.detector.model, noise(self.detector)
        whole = two_logits(self.detector, model(pixels))
        try:
            output = nn.Sequential(*modules)(pixels)
            with _skipped(modules):
                logits = two_logits(self.detector, model(output))
        except (RuntimeError, ValueError, IndexError, TypeError):  # the modules do not take the input, or not it alone
            return None
        fits = logits.shape == whole.shape and torch.allclose(logits, whole, TOLERANCE, TOLERANCE)
        return tuple(output.shape[1:]) if fits else None


@contextmanager
def _skipped(modules: list[nn.Module]) -> Iterator[None]:
    """Let modules return their input; hooks still read the output of the last one."""
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(patch.object(module, "forward", unchanged))
        yield


def _mapped(path: Path, row: np.dtype) -> np.ndarray:
    """The rows of a file, read from the disk when they are used."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; `e2m frozen` writes the outputs of frozen blocks")
    rows, rest = divmod(disk.checked(path).stat().st_size - len(seals.SEAL), row.itemsize)
    if rest or rows < 1:
        raise InputError(f"{path}: damaged, or of another detector; move it away, and `e2m frozen` writes it anew")
    return np.memmap(path, row, mode="r", shape=(rows,))
