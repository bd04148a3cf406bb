"""A masker: a small network that reads a detector's hidden activations and draws what matters as a mask.

After Phang, Park and Geras 2020 (arXiv 2010.09750). ``e2m.training.masker`` trains one; the salience method "masker"
shows its masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from e2m.networks.checkpoints import MASKER_FORMAT, read_checkpoint
from e2m.types import Detector, InputError

SPAN = 5 / 255
"""A mask whose values lie within so little of each other lets all places through alike: it has collapsed."""


class Masker(nn.Module):
    """Draws a mask from hidden activations.

    Each stage goes through a 1x1 convolution to ``channels``, batch normalisation and ReLU, and is enlarged
    (bilinear) to the largest one; all together go through a 3x3 convolution to one map of logits. On layer3 and layer4
    of a ResNet-50 that makes 198,017 weights.

    Args:
        stages: name -> (channels, side) of the detector's modules that are read, see ``stages``.
        channels: of the convolutions.
        conditioned: also take a class, whose embedding is appended to the activations.
    """

    def __init__(self, stages: Mapping[str, tuple[int, int]], channels: int = 64, conditioned: bool = False):
        super().__init__()
        self.stages, self.channels = dict(stages), channels
        self.side = max(side for _, side in stages.values())
        self.classes = nn.Embedding(2, channels) if conditioned else None
        more = channels if conditioned else 0
        self.read = nn.ModuleList(
            nn.Sequential(nn.Conv2d(own + more, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
            for own, _ in stages.values()
        )
        self.draw = nn.Conv2d(channels * len(stages), 1, 3, padding=1)

    def forward(self, hidden: Sequence[Tensor], classes: Tensor | None = None) -> Tensor:
        """Logits of the mask, (n, side, side), from the activations of the stages in order, (n, channels, h, w) each.

        ``classes``, (n,), is read by a conditioned masker only.
        """
        if self.classes is not None:
            told = self.classes(classes)[:, :, None, None]
            hidden = [torch.cat([own, told.expand(-1, -1, *own.shape[2:])], 1) for own in hidden]
        maps = [enlarge(read(own), self.side) for read, own in zip(self.read, hidden, strict=True)]
        return self.draw(torch.cat(maps, 1))[:, 0]


def enlarge(maps: Tensor, side: int) -> Tensor:
    """(n, channels, h, w) maps enlarged to (n, channels, side, side), bilinear; as they are where they fit."""
    fits = maps.shape[-2:] == (side, side)
    return maps if fits else interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def collapsed(masks: Tensor) -> Tensor:
    """(n,) bool: does a mask (n, h, w) let all places through alike, whether it lets all pass or nothing?"""
    return masks.amax((1, 2)) - masks.amin((1, 2)) < SPAN


class Hidden:
    """The outputs of some modules of a network, kept from its last run; a context manager.

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
        """Activations in the order of the names, float32, cut off from the graph."""
        return [self.kept[name] for name in self.names]

    def _keep(self, name: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        # Copied: DenseNet's next operation writes over its features.
        self.kept[name] = output.detach().to(torch.float32, copy=True)


class Extractor(Hidden):
    """A detector's masker where TorchCAM's extractors stand: called with classes and logits, it gives raw maps."""

    _score_used = False  # no gradient of any score is asked for

    def __init__(self, detector: Detector):
        self.detector, self.masker = detector, load(detector)
        super().__init__(detector.model, list(self.masker.stages))
        self.enabled = True

    def enable_hooks(self) -> None:
        """Keep activations from here on."""
        self.enabled = True

    def disable_hooks(self) -> None:
        """Leave the kept activations as they are while other methods run the network."""
        self.enabled = False

    def _keep(self, name: str, *about) -> None:
        if self.enabled:
            super()._keep(name, *about)

    @torch.no_grad()
    def __call__(self, classes: Sequence[int], logits: Tensor, normalized: bool = False) -> list[Tensor]:
        """Masks (n, side, side) in [0, 1] before they are enlarged to the image; 0 everywhere where collapsed."""
        hidden = super().__call__()
        if (found := {name: tuple(own.shape[1:3]) for name, own in self.kept.items()}) != self.masker.stages:
            where = f"{self.detector.masker}: reads {_listed(self.masker.stages)}"
            raise InputError(f"{where}; {self.detector.name!r} has {_listed(found)} there")
        masks = self.masker(hidden, torch.as_tensor(classes, device=logits.device)).sigmoid()
        return [masks.masked_fill(collapsed(masks)[:, None, None], 0)]


def load(detector: Detector) -> Masker:
    """The masker of a detector, in evaluation mode on the detector's device.

    Raises:
        InputError: the detector has none, the file is of another detector, or it reads stages that are not there.
    """
    if detector.masker is None:
        raise InputError(
            f"the method masker needs a masker, and {detector.name!r} has none; train one with `e2m run train_masker`, "
            "and load the detector with load_detector(..., masker=PATH)"
        )
    state = read_checkpoint(detector.masker, MASKER_FORMAT)
    if state["detector"] != detector.name:
        raise InputError(f"{detector.masker}: a masker of {state['detector']!r}, but {detector.name!r} has it")
    modules = dict(detector.model.named_modules())
    if odd := [name for name in state["stages"] if name not in modules]:
        raise InputError(f"{detector.masker}: reads {odd[0]!r}, which {detector.name!r} has not")
    settings = state["settings"]
    masker = Masker(state["stages"], settings["channels"], settings["conditioned"])
    masker.load_state_dict(state["weights"])
    return masker.to(next(detector.model.parameters()).device).requires_grad_(False).eval()


def chosen_stages(detector: Detector, names: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Channels and side of the stages that a masker reads.

    Args:
        detector: any.
        names: of modules that give square maps; none of them named takes the last two of ``stages``.

    Raises:
        InputError: a name that is none of the network's square maps; the message lists the stages.
    """
    if not names:
        return dict(list(stages(detector).items())[-2:])
    shapes = _shapes(detector)
    if odd := [name for name in names if name not in shapes]:
        known = _listed(stages(detector))
        raise InputError(f"detector {detector.name!r} has no stage named {odd[0]!r}; its stages are {known}")
    return {name: shapes[name] for name in names}


def stages(detector: Detector) -> dict[str, tuple[int, int]]:
    """The stages of a network: the last module of each resolution, first to last.

    A module counts if it gives square maps. Sequences of modules that span several resolutions are looked into, as is
    what holds the detector's ``layer``; other modules count as wholes.

    Returns:
        Name -> (channels, side).

    Raises:
        InputError: the network has no such modules.
    """
    shapes = _shapes(detector)
    order = list(shapes)
    found = {}
    for name in sorted(_wholes(detector.model, detector.layer, shapes), key=order.index):
        side = shapes[name][1]
        found.pop(side, None)
        found[side] = name
    if not found:
        raise InputError(f"detector {detector.name!r} has no module that gives square maps, which a masker reads")
    return {name: shapes[name] for name in found.values()}


def _wholes(module: nn.Module, layer: str, shapes: Mapping[str, tuple[int, int]], prefix: str = "") -> Iterator[str]:
    for name, child in module.named_children():
        path = prefix + name
        inside = list(_wholes(child, layer, shapes, f"{path}."))
        several = isinstance(child, nn.Sequential) and len({shapes[own][1] for own in inside}) > 1
        if several or layer.startswith(f"{path}."):
            yield from inside
        elif path in shapes:
            yield path


@torch.no_grad()
def _shapes(detector: Detector) -> dict[str, tuple[int, int]]:
    """Channels and side of every module that gives square maps, in the order in which they are done."""
    model, found = detector.model, {}

    def note(name: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        found.pop(name, None)
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] == output.shape[3] > 1:
            found[name] = tuple(output.shape[1:3])

    training = [(module, module.training) for module in model.modules()]
    first = next(model.parameters())
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_hook(partial(note, name)).remove)
        for module, was in training:
            stack.callback(setattr, module, "training", was)
        model.eval()(torch.zeros(1, 3, detector.size, detector.size, device=first.device))
    return found


def _listed(shapes: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{name} ({channels} channels, {side}x{side})" for name, (channels, side) in shapes.items())
