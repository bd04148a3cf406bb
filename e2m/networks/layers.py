"""Find the layer of an unknown network that salience is read from, and reshape its output to a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from e2m.checks import brief
from e2m.networks.inputs import noise, raw_logits, two_logits
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


def find(detector: Detector, channels: Sequence[int] | None = None, least: int = 1) -> Layer:
    """The last layer that salience can be read from.

    It is the last module, in the order of computation, that meets two conditions. Its output is a grid with one of the
    given numbers of channels, and the logits depend on the image through more than one cell. The second condition
    skips the last block of a transformer whose head reads the class token alone: the other tokens of that block change
    nothing. Linear projections of tokens, such as the values of an attention, are skipped as well.

    Args:
        detector: the detector; its ``layer`` is not read.
        channels: numbers of channels that the last cells may have; None takes any number.
        least: smallest number of rows and of columns.

    Raises:
        InputError: no such module; the message lists the last outputs.
    """
    modules, grid = dict(detector.model.named_modules()), _grid(detector.model)
    with _outputs(detector) as (outputs, logits):
        for name, output in reversed(outputs.items()):
            layer = _as_layer(name, tuple(output.shape), channels, grid)
            projection = output.ndim == 3 and isinstance(modules[name], nn.Linear)
            if layer is None or projection or min(layer.grid) < least:
                continue
            if _cells_that_matter(layer, output, logits) > 1:
                return layer
    shapes = "; ".join(f"{name} {tuple(output.shape[1:])}" for name, output in list(outputs.items())[-8:])
    features = "" if channels is None else f" of {' or '.join(map(str, channels))} features a cell"
    raise InputError(
        f"{detector.name!r} has no layer with a grid{features}; the last outputs are {shapes}. If one of them is a "
        "grid, the logits do not depend on the image through it: take torch.no_grad() and detach() out of forward(). "
        "Or write a `package.module:function` detector that names layer= and, for tokens, reshape="
    )


def head_of(detector: Detector) -> str | None:
    """The linear layer whose outputs are the logits; None if there is none."""
    linear = {name: module for name, module in detector.model.named_modules() if isinstance(module, nn.Linear)}
    with _seen(detector, [*linear]) as (seen, output):
        logits = raw_logits(detector, output, 1)
        heads = [name for name, (_, out) in seen.items() if out.numel() == logits.numel() and _same(out, logits)]
    return heads[-1] if heads else None


def pooled(detector: Detector) -> str | None:
    """The layer of which CAM holds: the logits are the head, applied to the mean over the cells of this layer.

    It is the detector's layer, or one with as many cells that comes after it, such as the ReLU after a normalisation.
    None if there is none: something other than pooling lies in between, or the head is not the last layer.
    """
    cells = [name for name, module in detector.model.named_modules() if name and not isinstance(module, nn.Linear)]
    with _seen(detector, [*cells, detector.head]) as (seen, output):
        if not {detector.layer, detector.head} <= seen.keys():
            return None
        read, logits = seen[detector.head]
        if not _same(logits.flatten(1), raw_logits(detector, output, 1)):
            return None
        like = seen[detector.layer][1].shape
        order = [detector.layer, *(name for name in reversed(cells) if name in seen and seen[name][1].shape == like)]
        return next((name for name in order if _pools(detector, seen[name][1], read)), None)


def calls_of(detector: Detector) -> int:
    """How many times one forward pass calls the detector's layer."""
    calls = []
    hook = detector.model.get_submodule(detector.layer).register_forward_hook(lambda *_: calls.append(1))
    try:
        with _seen(detector, []):
            return len(calls)
    finally:
        hook.remove()


def grid_of(detector: Detector, output: object) -> Tensor:
    """The output of the detector's layer as (n, channels, h, w).

    Raises:
        InputError: it is no tensor, or no stack of maps.
    """
    layer = f"layer {detector.layer!r} of {detector.name!r}"
    if not isinstance(output, Tensor):
        raise InputError(f"{layer} gives a {type(output).__name__}; name a layer that gives one tensor")
    try:
        grid = output if detector.reshape is None else detector.reshape(output)
    except Exception as error:  # a function of somebody's
        why = f"{type(error).__name__}: {brief(error)}"
        raise InputError(f"{layer} gives {tuple(output.shape)}, which its reshape= does not take ({why})") from error
    if not isinstance(grid, Tensor) or grid.ndim != 4:
        made = "" if detector.reshape is None else f", of which reshape= makes {tuple(getattr(grid, 'shape', ()))}"
        raise InputError(
            f"{layer} gives {tuple(output.shape)}{made}; salience needs (images, channels, h, w): name a convolutional "
            "layer, or give reshape="
        )
    return grid


def silent(detector: Detector, calls: int) -> str:
    """Why the output of the detector's layer was not seen in a forward pass that called it so many times."""
    name, layer, call = detector.name, detector.layer, detector.call
    if call is None or not calls:
        return f"{name!r} does not call its layer {layer!r}; name one that takes part in a forward pass"
    return f"{name!r} calls its layer {layer!r} {calls} times; call={call} fits no call, they count from 0"


def _pools(detector: Detector, features: Tensor, read: Tensor) -> bool:
    features = features if detector.reshape is None else detector.reshape(features)
    return features.ndim == 4 and _same(features.mean((2, 3)), read.flatten(1))


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors agree up to rounding; a network of NaNs agrees with itself."""
    # In one precision: a network may compute in half of it and answer in single.
    a, b = a.double(), b.double()
    scale = float(b.abs().nan_to_num(0, 0, 0).max())
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4 * scale, equal_nan=True)


@contextmanager
def _seen(detector: Detector, names: Sequence[str]) -> Iterator[tuple[dict[str, tuple[Tensor, Tensor]], object]]:
    """The first input and the output of modules for one image of noise, as later operations in place leave them, and
    the output of the network.
    """
    seen = {}

    def note(name: str, _module: nn.Module, inputs: tuple, output: object) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            seen.pop(name, None)
            seen[name] = inputs[0], output

    with ExitStack() as stack:
        for name in names:
            stack.callback(detector.model.get_submodule(name).register_forward_hook(partial(note, name)).remove)
        stack.enter_context(at_rest(detector.model))
        with torch.no_grad():
            # Not called as a module: a hook of an open explainer gives the logits another order.
            yield seen, detector.model.forward(noise(detector))


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """A block in which the network is in evaluation mode, and no linear layer has weights that are all zero.

    With a fresh head of zeros, the logits would depend on no layer. The network is restored at the end of the block.
    """
    random = torch.Generator().manual_seed(0)
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
            if isinstance(module, nn.Linear) and not module.weight.any():
                stack.callback(module.weight.data.zero_)
                module.weight.data.copy_(torch.randn(module.weight.shape, generator=random))
        model.eval()
        yield


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

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_hook(partial(note, name)).remove)
        stack.enter_context(at_rest(model))
        with torch.enable_grad():
            logits = two_logits(detector, model(noise(detector).requires_grad_()), 1)
        yield outputs, logits


def _grid(model: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of a transformer's patches; None if the network does not state them."""
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    return tuple(grid) if grid is not None else None


def _as_layer(
    name: str, shape: tuple[int, ...], channels: Sequence[int] | None, grid: tuple[int, int] | None
) -> Layer | None:
    """The layer if an output of this shape is a grid with one of the numbers of channels, None otherwise."""
    # Without a number of channels, two equal sides in front are those of the cells.
    first = shape[1] in channels if channels else len(shape) == 4 and not shape[1] == shape[2] != shape[3]
    if len(shape) == 4 and first:
        return Layer(name, shape[2:], shape[1])
    if len(shape) == 4 and (channels is None or shape[3] in channels):
        return Layer(name, shape[1:3], shape[3], reshape=channels_last)
    if len(shape) == 3 and (channels is None or shape[2] in channels):
        # Without a stated grid, the cells form the largest square, and the tokens left over come first.
        side = math.isqrt(shape[1])
        cells = grid if grid is not None and math.prod(grid) <= shape[1] else (side, side)
        prefix = shape[1] - math.prod(cells)
        return Layer(name, cells, shape[2], prefix, partial(tokens, prefix=prefix, grid=cells))
    return None


def _cells_that_matter(layer: Layer, output: Tensor, logits: Tensor) -> int:
    """Number of cells of a layer through which the logits depend on the image."""
    if not (output.requires_grad and logits.requires_grad):
        return 0
    (gradient,) = torch.autograd.grad(logits[0, 1] - logits[0, 0], output, retain_graph=True, allow_unused=True)
    if gradient is None:
        return 0
    gradient = gradient if layer.reshape is None else layer.reshape(gradient)
    return int((gradient != 0).any(1).sum())
