"""Find the layer of an unknown network that salience is read from, and reshape its output to a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from e2m.networks.inputs import two_logits
from e2m.types import Detector, InputError


@dataclass(frozen=True)
class Layer:
    """A layer whose output holds salience.

    Attributes:
        name: name of the module.
        grid: (h, w), number of cells.
        channels: features of each cell.
        prefix: tokens before those of the cells (class and register tokens), which are dropped.
        reshape: output -> (n, channels, h, w); None if the output already has this shape.
    """

    name: str
    grid: tuple[int, int]
    channels: int
    prefix: int = 0
    reshape: Callable[[Tensor], Tensor] | None = None

    def __str__(self) -> str:
        dropped = f", {self.prefix} leading token{'s' * (self.prefix > 1)} dropped" if self.prefix else ""
        return f"{self.name} ({self.grid[0]}x{self.grid[1]} cells of {self.channels} channels{dropped})"


def channels_last(output: Tensor) -> Tensor:
    """(n, h, w, channels) -> (n, channels, h, w)."""
    return output.permute(0, 3, 1, 2)


def tokens(output: Tensor, prefix: int, grid: tuple[int, int]) -> Tensor:
    """(n, prefix + h * w, channels) -> (n, channels, h, w), without the leading tokens."""
    return output[:, prefix:].unflatten(1, grid).permute(0, 3, 1, 2)


def find(detector: Detector, channels: Sequence[int]) -> Layer:
    """The last layer that salience can be read from.

    It is the last module, in the order of computation, that meets two conditions. Its output is a grid with one of the
    given numbers of channels, and the logits depend on the image through more than one cell. The second condition
    skips the last block of a transformer whose head reads the class token alone: the other tokens of that block change
    nothing. Linear projections of tokens, such as the values of an attention, are skipped as well.

    Args:
        detector: the detector; its ``layer`` is not read.
        channels: numbers of channels that the last cells may have.

    Raises:
        InputError: no such module; the message lists the last outputs.
    """
    modules, grid = dict(detector.model.named_modules()), _grid(detector.model)
    with _outputs(detector) as (outputs, logits):
        for name, output in reversed(outputs.items()):
            layer = _as_layer(name, tuple(output.shape), channels, grid)
            projection = output.ndim == 3 and isinstance(modules[name], nn.Linear)
            if layer is not None and not projection and _cells_that_matter(layer, output, logits) > 1:
                return layer
    shapes = "; ".join(f"{name} {tuple(output.shape[1:])}" for name, output in list(outputs.items())[-8:])
    raise InputError(
        f"{detector.name!r} has no layer with a grid of {' or '.join(map(str, channels))} features a cell; the last "
        f"outputs are {shapes}. Write a `package.module:function` detector that names layer= and, for tokens, reshape="
    )


def pooled_linearly(detector: Detector) -> bool:
    """Whether the head reads the mean over the cells of the detector's layer, as CAM assumes."""
    read = []
    head = detector.model.get_submodule(detector.head)
    hook = head.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].detach()))
    with _outputs(detector) as (outputs, _):
        features = outputs[detector.layer].detach()
    hook.remove()
    features = features if detector.reshape is None else detector.reshape(features)
    means = features.mean((2, 3))
    return means.shape == read[-1].shape and torch.allclose(means, read[-1], rtol=1e-3, atol=1e-4)


@contextmanager
def _outputs(detector: Detector) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Outputs of every module for one image of noise, in the order of computation, and its logits with their graph.

    The network is restored at the end of the block.
    """
    model, outputs, varying = detector.model, {}, set()

    def note(name: str, _module: nn.Module, _inputs: tuple, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        # If a module is called twice, its last output counts; one whose outputs differ in shape is no layer.
        earlier = outputs.pop(name, None)
        if name in varying or (earlier is not None and earlier.shape != output.shape):
            varying.add(name)
        else:
            outputs[name] = output
        # Later in-place operations write on the copy.
        return output.clone()

    random = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, detector.size, detector.size, generator=random)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_hook(partial(note, name)).remove)
            stack.callback(setattr, module, "training", module.training)
            # With a fresh head of zeros, the logits would depend on no layer.
            if isinstance(module, nn.Linear) and not module.weight.any():
                stack.callback(module.weight.data.zero_)
                module.weight.data.normal_(generator=random)
        with torch.enable_grad():
            device = next(model.parameters()).device
            logits = two_logits(detector, model.eval()(image.to(device).requires_grad_()))
        yield outputs, logits


def _grid(model: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of a transformer's patches; None if the network does not state them."""
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    return tuple(grid) if grid is not None else None


def _as_layer(name: str, shape: tuple[int, ...], channels: Sequence[int], grid: tuple[int, int] | None) -> Layer | None:
    """The layer if an output of this shape is a grid with one of the numbers of channels, None otherwise."""
    if len(shape) == 4 and shape[1] in channels:
        return Layer(name, shape[2:], shape[1])
    if len(shape) == 4 and shape[3] in channels:
        return Layer(name, shape[1:3], shape[3], reshape=channels_last)
    if len(shape) == 3 and shape[2] in channels:
        # Without a stated grid, the cells form the largest square, and the tokens left over come first.
        side = math.isqrt(shape[1])
        cells = grid if grid is not None and math.prod(grid) <= shape[1] else (side, side)
        prefix = shape[1] - math.prod(cells)
        return Layer(name, cells, shape[2], prefix, partial(tokens, prefix=prefix, grid=cells))
    return None


def _cells_that_matter(layer: Layer, output: Tensor, logits: Tensor) -> int:
    """Number of cells of a layer through which the logits depend on the image."""
    if not output.requires_grad:
        return 0
    (gradient,) = torch.autograd.grad(logits[0, 1] - logits[0, 0], output, retain_graph=True, allow_unused=True)
    if gradient is None:
        return 0
    gradient = gradient if layer.reshape is None else layer.reshape(gradient)
    return int((gradient != 0).any(1).sum())
