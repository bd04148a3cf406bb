"""Networks that show their scores only: programs in TorchScript and ONNX. Occlusion and RISE explain them."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from e2m.checks import brief
from e2m.networks.weights import check_archive
from e2m.types import InputError

# TorchScript is what people have, and torch reads it for them too.
warnings.filterwarnings("ignore", r"`torch\.jit\.(load|save)` is deprecated", FutureWarning)


class Opaque(nn.Module):
    """A network as a function from images to outputs, without modules to look into.

    Args:
        run: (N, channels, h, w) float32 -> outputs.
        content: of the file; its hash stands for the weights.
        shape: (height, width) of the input, None where any fits; or None if the file does not state it.
        channels: of the input; None if the file does not state them.
        program: the TorchScript module, which moves between devices with this one; gradients pass through it.
    """

    def __init__(
        self,
        run: Callable[[Tensor], object],
        content: bytes,
        shape: tuple[int, int] | None = None,
        channels: int | None = None,
        program: nn.Module | None = None,
    ):
        super().__init__()
        # A bound method, not the program itself, see below.
        self.run, self.input_shape, self.input_channels = run, shape, channels
        # In a tuple: nn.Module does not take it for a part, whose modules could carry hooks that never run.
        self._program = (program,)
        self.differentiable = program is not None
        digest = hashlib.sha256(content).digest()
        self.register_buffer("sha256", torch.frombuffer(bytearray(digest), dtype=torch.uint8))

    @classmethod
    def of_program(cls, program: torch.jit.ScriptModule) -> Opaque:
        """A network in TorchScript, in single precision and evaluation mode."""
        content = io.BytesIO()
        torch.jit.save(program, content)
        program = program.float().eval()
        return cls(program.forward, content.getvalue(), program=program)

    def forward(self, pixels: Tensor) -> object:
        """The network's outputs, as the file's program gives them."""
        return self.run(pixels)

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        if self._program[0] is not None:
            self._program[0]._apply(fn)
        return super()._apply(fn, recurse)


def read(path: Path) -> Opaque | None:
    """The network in a file of TorchScript or ONNX; None for any other file.

    Raises:
        InputError: a file of these kinds that is damaged, or onnxruntime is not installed.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return _script(path) if _is_script(path) else None
    return _onnx(path) if path.suffix.lower() == ".onnx" else None


def _is_script(path: Path) -> bool:
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged archives raise errors of every kind; those who read weights say so
        return False
    if any(name.endswith(("exported_program.json", "models/model.json")) for name in names):
        raise InputError(
            f"{path}: an exported program (.pt2), which is not read; save it as TorchScript, ONNX or weights"
        )
    return any("/code/" in name for name in names)


_FILES = re.compile(rb"\b(from_file|save|load)\s*\(")
"""Operations of TorchScript that read or write files; everything else only computes."""


def _script(path: Path) -> Opaque:
    check_archive(path)
    try:
        # Read as text first: loading a program may run parts of it.
        with ZipFile(path) as archive:
            code = [archive.read(name) for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
        if any(map(_FILES.search, code)):
            raise InputError(f"{path}: a program that reads or writes files; a network that computes only fits")
        return Opaque.of_program(torch.jit.load(path, map_location="cpu"))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of the program's own code, too
        raise InputError(f"{path}: TorchScript that cannot be read ({brief(error)})") from error


_ELSEWHERE = re.compile(rb"\x0a\x08location\x12(.)", re.DOTALL)
"""How ONNX says that weights are in another file: an entry with the key "location" and the file's name after it."""


def _onnx(path: Path) -> Opaque:
    content = path.read_bytes()
    if elsewhere := _ELSEWHERE.search(content):
        name = content[elsewhere.end() : elsewhere.end() + elsewhere[1][0]].decode("utf-8", "replace")
        raise InputError(
            f"{path}: keeps weights in another file ({brief(name)}), which is not read; save all in one, with "
            "torch.onnx.export(..., external_data=False) or onnx.save_model(..., save_as_external_data=False)"
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: reading ONNX takes the package onnxruntime; pip install 'e2m[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes of errors have no common base
        raise InputError(f"{path}: ONNX that cannot be read ({brief(error)})") from error
    if len(session.get_inputs()) != 1:
        names = ", ".join(given.name for given in session.get_inputs())
        raise InputError(f"{path}: takes {len(session.get_inputs())} inputs ({names}); one batch of images fits")
    return _session(session, path)


_FLOATS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}
"""Types of numbers that logits are, and that normalised images can be; in ONNX's words."""


def _session(session, path: Path) -> Opaque:
    given = session.get_inputs()[0]
    if given.type not in _FLOATS:
        raise InputError(
            f"{path}: takes numbers of type {given.type}; {', '.join(_FLOATS)} fit: export the network with normalised "
            "images as its input"
        )
    shape = [side if isinstance(side, int) else None for side in given.shape]
    if len(shape) != 4:
        raise InputError(f"{path}: its input has the shape {tuple(given.shape)}; (images, channels, h, w) fits")
    # TensorFlow's networks take channels last.
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    images, channels, *sides = [shape[axis] for axis in ((0, 3, 1, 2) if last else (0, 1, 2, 3))]
    # Labels beside the logits, as whole numbers, words or tables, are no logits.
    names = [output.name for output in session.get_outputs() if output.type in _FLOATS]
    if not names:
        kinds = ", ".join(f"{output.name} {output.type}" for output in session.get_outputs())
        raise InputError(f"{path}: returns {kinds}; an image needs one or two logits of type {', '.join(_FLOATS)}")

    def run(pixels: Tensor) -> dict[str, Tensor]:
        values = pixels.detach().cpu().permute(0, 2, 3, 1) if last else pixels.detach().cpu()
        values = values.to(_FLOATS[given.type])
        parts = [session.run(names, {given.name: part.contiguous().numpy()}) for part in _parts(values, images)]
        joined = [torch.cat([torch.from_numpy(part[index]) for part in parts]) for index in range(len(names))]
        return {name: whole[: len(pixels)].float().to(pixels.device) for name, whole in zip(names, joined, strict=True)}

    return Opaque(run, path.read_bytes(), None if None in sides else tuple(sides), channels)


def _parts(values: Tensor, images: int | None) -> list[Tensor]:
    """The batch in parts of as many images as the network takes; the last is filled up with its last image."""
    if images is None:
        return [values]
    parts = list(values.split(images))
    missing = images - len(parts[-1])
    parts[-1] = torch.cat([parts[-1], parts[-1][-1:].expand(missing, -1, -1, -1)])
    return parts
