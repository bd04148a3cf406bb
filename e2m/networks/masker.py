"""A masker: a small network that predicts a salience mask from a detector's hidden activations.

After Phang, Park and Geras 2020 (arXiv 2010.09750). ``e2m.training.masker`` trains one; the salience method "masker"
returns its masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from e2m.checks import brief
from e2m.networks.checkpoints import MASKER_FORMAT, read_checkpoint
from e2m.networks.inputs import device_of, square_side
from e2m.types import Detector, InputError

SPAN = 5 / 255
"""A mask has collapsed if its values span less than this: it is then practically uniform."""


class Masker(nn.Module):
    """Predicts a mask from hidden activations.

    Each stage goes through a 1x1 convolution to ``channels``, batch normalisation and ReLU, and is brought to ``side``
    (bilinear). Their concatenation goes through a 3x3 convolution to one map of logits; ``masks`` makes them a mask. On
    layer3 and layer4 of a ResNet-50, the masker has 198,017 weights.

    Convolutions start from N(0, 2 / n), n = kernel height * width * channels out. The 3x3 convolution thus has large
    weights at first: the first masks are noise, near 0 or 1 in most pixels.

    Args:
        stages: name -> (channels, side) of the modules that the masker reads, see ``stages``.
        side: side of the mask, see ``side_of``.
        channels: of the convolutions.
        conditioned: also take a class; its embedding is appended to the activations.
        binary: masks are 0 or 1, whichever is more likely, instead of probabilities.
    """

    def __init__(
        self,
        stages: Mapping[str, tuple[int, int]],
        side: int,
        channels: int = 64,
        conditioned: bool = False,
        binary: bool = False,
    ):
        super().__init__()
        self.stages, self.side, self.channels, self.binary = dict(stages), side, channels, binary
        self.classes = nn.Embedding(2, channels) if conditioned else None
        more = channels if conditioned else 0
        self.read = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width + more, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
            for width, _ in stages.values()
        )
        self.draw = nn.Conv2d(channels * len(stages), 1, 3, padding=1)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.normal_(0, math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))

    def forward(self, hidden: Sequence[Tensor], classes: Tensor | None = None) -> Tensor:
        """Logits of the mask, (n, side, side), from the activations of the stages in order, (n, channels, h, w) each.

        ``classes``, (n,), is read by a conditioned masker only.
        """
        if self.classes is not None:
            embedding = self.classes(classes)[:, :, None, None]
            hidden = [torch.cat([stage, embedding.expand(-1, -1, *stage.shape[2:])], 1) for stage in hidden]
        maps = [enlarge(read(stage), self.side) for read, stage in zip(self.read, hidden, strict=True)]
        return self.draw(torch.cat(maps, 1))[:, 0]

    def masks(self, hidden: Sequence[Tensor], classes: Tensor | None = None) -> Tensor:
        """(n, side, side) in [0, 1], the masks of a trained masker: arguments as for the logits."""
        logits = self(hidden, classes)
        return (logits > 0).float() if self.binary else logits.sigmoid()


def side_of(detector: Detector) -> int:
    """Side of a detector's masks: a quarter of the image's, as published (56 of 224)."""
    return max(1, square_side(detector) // 4)


def enlarge(maps: Tensor, side: int) -> Tensor:
    """(n, channels, h, w) maps brought to (n, channels, side, side), bilinear; maps of that size are returned."""
    fits = maps.shape[-2:] == (side, side)
    return maps if fits else interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def on_image(masks: Tensor, size: int) -> Tensor:
    """Masks (n, h, w) on images of ``size`` pixels, (n, 1, size, size): each value fills a square (nearest)."""
    return interpolate(masks[:, None], (size, size), mode="nearest")


def collapsed(masks: Tensor) -> Tensor:
    """(n,) bool: has a mask (n, h, w) collapsed, that is, is it uniform at any value?"""
    return masks.amax((1, 2)) - masks.amin((1, 2)) < SPAN


class Hidden:
    """The outputs of some modules of a network, kept from its last forward pass; a context manager.

    Args:
        model: the network.
        names: of the modules.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]):
        self.model, self.names = model, list(names)
        self.kept: dict[str, Tensor] = {}

    def __enter__(self) -> Hidden:
        with ExitStack() as stack:
            for name in self.names:
                hook = partial(self._keep, name)
                stack.callback(self.model.get_submodule(name).register_forward_hook(hook).remove)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def __call__(self) -> list[Tensor]:
        """Activations in the order of the names, float32, detached from the graph."""
        return [self.kept[name] for name in self.names]

    def _keep(self, name: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        # Copied: the next operation of DenseNet overwrites its features in place.
        self.kept[name] = output.detach().to(torch.float32, copy=True)


def load(detector: Detector) -> Masker:
    """The masker of a detector, in evaluation mode on the detector's device.

    Raises:
        InputError: the detector has none, or the file is of another detector, reads stages that the detector lacks,
            was written before masks had a side, or holds something else than training writes.
    """
    if detector.masker is None:
        raise InputError(
            f"the method masker needs a masker, and {detector.name!r} has none; train one with `e2m run train_masker`, "
            "and load the detector with load_detector(..., masker=PATH)"
        )
    state = read_checkpoint(detector.masker, MASKER_FORMAT, also=("stages", "settings"))
    if state["detector"] != detector.name:
        raise InputError(f"{detector.masker}: a masker of {state['detector']!r}, but the detector is {detector.name!r}")
    modules = dict(detector.model.named_modules())
    if odd := [name for name in state["stages"] if name not in modules]:
        raise InputError(f"{detector.masker}: reads {odd[0]!r}, which {detector.name!r} does not have")
    if "side" not in state:
        raise InputError(
            f"{detector.masker}: a masker of an earlier version; train it again with `e2m run train_masker`"
        )
    settings = state["settings"]
    try:
        binary = settings["binary"] and settings["hard"]
        masker = Masker(state["stages"], state["side"], settings["channels"], settings["conditioned"], binary)
        masker.load_state_dict(state["weights"])
    except Exception as error:  # values of any type, at any depth
        raise InputError(
            f"{detector.masker}: not what training a masker writes ({type(error).__name__}: {brief(error)}); move it "
            "away, and train it again with `e2m run train_masker`"
        ) from error
    return masker.to(device_of(detector.model)).requires_grad_(False).eval()


def chosen_stages(detector: Detector, names: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Channels and side of the stages that a masker reads.

    Args:
        detector: any.
        names: of modules that return square maps; without names, the last two of ``stages``.

    Raises:
        InputError: a name of no module that returns square maps; the message lists the stages.
    """
    if not names:
        return dict(list(stages(detector).items())[-2:])
    shapes = _shapes(detector)
    if odd := [name for name in names if name not in shapes]:
        known = listed(stages(detector))
        raise InputError(f"detector {detector.name!r} has no stage named {odd[0]!r}; its stages are {known}")
    return {name: shapes[name] for name in names}


def stages(detector: Detector) -> dict[str, tuple[int, int]]:
    """The stages of a network: the last module of each resolution, first to last.

    A module counts if it returns square maps. Sequences that span several resolutions are searched inside, as is the
    module that contains the detector's ``layer``; other modules count as wholes.

    Returns:
        Name -> (channels, side).

    Raises:
        InputError: the network has no such modules.
    """
    shapes = _shapes(detector)
    order = list(shapes)
    last = {}
    for name in sorted(_wholes(detector.model, detector.layer, shapes), key=order.index):
        side = shapes[name][1]
        last.pop(side, None)
        last[side] = name
    if not last:
        raise InputError(f"detector {detector.name!r} has no module that returns square maps; a masker needs one")
    return {name: shapes[name] for name in last.values()}


def _wholes(module: nn.Module, layer: str, shapes: Mapping[str, tuple[int, int]], prefix: str = "") -> Iterator[str]:
    for name, child in module.named_children():
        path = prefix + name
        inside = list(_wholes(child, layer, shapes, f"{path}."))
        several = isinstance(child, nn.Sequential) and len({shapes[inner][1] for inner in inside}) > 1
        if several or layer.startswith(f"{path}."):
            yield from inside
        elif path in shapes:
            yield path


@torch.no_grad()
def _shapes(detector: Detector) -> dict[str, tuple[int, int]]:
    """Channels and side of every module that returns square maps, in the order of execution."""
    model, shapes = detector.model, {}

    def note(name: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        shapes.pop(name, None)
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] == output.shape[3] > 1:
            shapes[name] = tuple(output.shape[1:3])

    training = [(module, module.training) for module in model.modules()]
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_hook(partial(note, name)).remove)
        for module, was in training:
            stack.callback(setattr, module, "training", was)
        model.eval()(torch.zeros(1, detector.channels, *detector.shape, device=device_of(model)))
    return shapes


def listed(shapes: Mapping[str, tuple[int, int]]) -> str:
    """Stages in words: name, channels and side."""
    return ", ".join(f"{name} ({channels} channels, {side}x{side})" for name, (channels, side) in shapes.items())
