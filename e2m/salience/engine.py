"""Salience maps and scores of a detector, batch by batch."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from e2m import plugins
from e2m.arrays.maps import min_max
from e2m.detectors import check_detector, from_network
from e2m.methods import ForwardPass
from e2m.networks import layers
from e2m.networks.answers import check_answers, in_a_line, out_of_memory
from e2m.networks.folding import Folded
from e2m.networks.inputs import as_input, check_precision, device_of, two_logits
from e2m.networks.trunk import Trunk
from e2m.types import LABELS, Detector, Explanation, InputError, Precision

T = TypeVar("T")

TARGETS = ("predicted", "label", *LABELS)


@torch.inference_mode(False)
def explain(
    detector: Detector | nn.Module,
    images: np.ndarray | Iterable[np.ndarray],
    method: str = "GradCAM",
    target: str | int | Sequence | np.ndarray = "predicted",
    batch_size: int = 64,
    labels: Sequence[str] | None = None,
    precision: Precision = "float32",
    seed: int = 0,
    regions: np.ndarray | None = None,
) -> Explanation:
    """Salience maps and scores of images.

    Args:
        detector: from ``e2m.load_detector``, or a bare network, which ``load_detector`` then describes.
        images: (N, H, W, 3) uint8, or an iterable of such batches, best of ``e2m.read_images(size=detector.size)``.
            Images of another size are resized to the detector's, with a warning: twice resized, scores can change far.
        method: a salience method, see ``e2m.methods``: "GradCAM", "CAM", "masker", "occlusion", "RISE",
            "IntegratedGradients", ...
        target: the class explained: "predicted", "authentic", "synthetic", "label" (then give ``labels``),
            a class number, or (N,) class numbers.
        batch_size: most images at once; fewer if memory runs out. Maps and scores depend on it by less than 1e-5. On a
            CPU the network takes a batch in smaller parts, see ``images_at_once``.
        labels: (N,) "authentic" or "synthetic", for ``target="label"``.
        precision: "bfloat16" lets the network multiply in it, on devices that do so in hardware. This is faster, and
            maps and scores change in their third digit; the page on speed compares that with the spread between runs.
        seed: seed of methods that draw random numbers; draws are keyed by image.
        regions: (N, H, W) bool, true regions, for methods that read them.

    Returns:
        Explanation of the N images in order. Maps that are not finite, or constant to six digits, are marked dead and
        are NaN.

    Raises:
        InputError: an unknown method or target; no masker for "masker"; arrays of another shape or type; a number of
            targets other than that of images; a batch size below 1; a layer whose output is no stack of maps; a
            precision that the device lacks; no memory for one image.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give a whole number from 1 up")
    classes = _classes(target, labels)
    if isinstance(images, np.ndarray):
        _check_number(classes, len(images))
        _check_regions(regions, len(images))
    if not isinstance(detector, Detector):
        detector = from_network(detector)
        check_answers(detector)
    with Explainer(detector, (method,), precision, seed) as explainer:

        def explained(batch: np.ndarray, indices: np.ndarray) -> Explanation:
            _warn_of_resizing(batch, detector)
            part = slice(indices[0], indices[-1] + 1)
            each = isinstance(classes, np.ndarray) and classes.ndim
            known = None if regions is None else regions[part]
            if known is not None and known.shape != np.shape(batch)[:3]:
                seen = (int(indices[-1]) + 1, *np.shape(batch)[1:3])
                raise InputError(f"regions of shape {np.shape(regions)} for images of {seen}; give one (H, W) an image")
            return explainer(batch, classes[part] if each else classes, known)[method]

        parts = list(in_parts(explained, _rebatch(images, batch_size), batch_size))
    if not parts:
        raise InputError("no images to explain")
    joined = Explanation.join(parts)
    _check_number(classes, len(joined.dead))
    _check_regions(regions, len(joined.dead))
    return joined


def _warn_of_resizing(images: np.ndarray, detector: Detector) -> None:
    shape, (height, width) = np.shape(images)[1:3], detector.shape
    if len(shape) == 2 and shape != (height, width):
        warnings.warn(
            f"images of {shape[0]}x{shape[1]} are resized to the {height}x{width} of {detector.name!r}; if they were "
            f"resized before, read them with size={detector.size}: resized twice, scores can change far",
            stacklevel=3,
        )


def in_parts(work: Callable[..., T], batches: Iterable[tuple[Sequence, ...]], most: int) -> Iterator[T]:
    """Results of ``work`` on every batch, or on parts of it if memory runs out.

    Each time memory runs out, the parts of all further work become half as large, and a warning says so.

    Args:
        work: takes the sequences of a batch, or the same slice of each; it is called again after memory ran out.
        batches: tuples of sequences of equal length: images, and data about them.
        most: largest number of images of a part at the start.

    Raises:
        InputError: memory does not hold the work on one image.
    """
    for batch in batches:
        start = 0
        while start < len(batch[0]):
            part = tuple(sequence[start : start + most] for sequence in batch)
            try:
                done = work(*part)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                most = _half(len(part[0]), error)
                continue
            yield done
            start += len(part[0])


def _half(images: int, error: Exception) -> int:
    if images == 1:
        raise InputError(
            f"memory does not hold the work on one image ({str(error).splitlines()[0]}); end other programs that use "
            "it, choose a smaller detector or image_size, or another device"
        ) from error
    warnings.warn(f"out of memory with {images} images at once: going on with {images // 2}", stacklevel=3)
    return images // 2


class Explainer:
    """A detector with its salience methods open, to explain many batches; one forward pass serves all methods.

    Use it as a context manager, which leaves the network as it was.

    Args:
        detector: the detector to explain.
        methods: names of salience methods, see ``e2m.methods``.
        precision: as in ``explain``.
        seed: seed of methods that draw random numbers.
        stored: outputs of the detector's frozen blocks, a file of ``e2m.networks.trunk``; None computes them.

    Raises:
        InputError: an unknown method, or one that needs something the detector lacks; a precision that the device
            lacks.
    """

    def __init__(
        self,
        detector: Detector,
        methods: Sequence[str] = ("GradCAM",),
        precision: Precision = "float32",
        seed: int = 0,
        stored: Path | None = None,
    ) -> None:
        check_detector(detector)
        self._plugins = {name: plugins.load("method", name) for name in methods}
        self.detector = detector
        self.methods = tuple(methods)
        self.precision = precision
        self.seed = seed
        self._stored = stored
        self._open = {}
        self._output: Tensor | None = None
        self._passing, self._calls = False, 0

    # Gradients are taken whatever mode the caller is in.
    @torch.inference_mode(False)
    def __enter__(self) -> Explainer:
        model = self.detector.model
        self._device = device_of(model)
        check_precision(self.precision, self._device)
        with in_a_line(self.detector, "its network fails when it is looked into"), ExitStack() as stack:
            self._freeze(model, stack)
            self._trunk = Trunk(self.detector, self._stored)
            self._at_once = images_at_once(self.detector, self._device)
            # Registered before the methods' own hooks, which then see the graph begin at the layer's output: a map
            # costs no backward pass through the network.
            if self.detector.layer:
                stack.callback(model.get_submodule(self.detector.layer).register_forward_hook(self._cut).remove)
            # Methods see the logits in E2M's order, in this pass and wherever they run the network themselves.
            stack.callback(model.register_forward_hook(self._reorder).remove)
            for name, plugin in self._plugins.items():
                self._open[name] = plugin.Method(self.detector, name)
                stack.callback(self._open[name].close)
            self._folded = Folded(model, but=[self.detector.layer] if self.detector.layer else [])
            self._needs = {_checked_needs(self.detector, name, method.needs) for name, method in self._open.items()}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    @property
    def needs_regions(self) -> bool:
        """Whether a method reads the true regions of images."""
        return any(method.needs_regions for method in self._open.values())

    def __call__(
        self,
        images: np.ndarray,
        target: str | int | np.ndarray = "predicted",
        regions: np.ndarray | None = None,
    ) -> dict[str, Explanation]:
        """Explanations of one batch, (n, H, W, 3) uint8, by method."""
        return {method: explained for (method, _), explained in self.several(images, (target,), None, regions).items()}

    @torch.inference_mode(False)
    def several(
        self,
        images: np.ndarray,
        targets: Sequence[str | int | np.ndarray],
        methods: Sequence[str] | None = None,
        regions: np.ndarray | None = None,
    ) -> dict[tuple[str, int], Explanation]:
        """Explanations of one batch for several targets from one forward pass, by (method, index of the target).

        On a CPU the batch goes through the network in parts that suit its memory.

        Args:
            images: (n, H, W, 3) uint8.
            targets: classes to explain: "predicted", a class number, or (n,) class numbers.
            methods: a selection of the open methods; None takes all.
            regions: (n, H, W) bool, true regions, for methods that read them.
        """
        pixels = as_input(images, self.detector, self._device)
        for target in targets:
            _check_number(_classes(target, None), len(pixels))
        parts = max(1, math.ceil(len(pixels) / self._at_once))
        step = max(1, math.ceil(len(pixels) / parts))
        explained = []
        for start in range(0, len(pixels), step):
            part = slice(start, start + step)
            forward, logits = self._forward(images[part], pixels[part], None if regions is None else regions[part])
            these = [_rows(target, start, step) for target in targets]
            explained.append(self._part(forward, logits, these, methods or self.methods))
        return {key: Explanation.join([part[key] for part in explained]) for key in explained[0]}

    def _part(
        self, forward: ForwardPass, logits: Tensor, targets: Sequence, methods: Sequence[str]
    ) -> dict[tuple[str, int], Explanation]:
        values = logits.detach()
        scores, predicted = values.softmax(1)[:, 1], values.argmax(1)
        finite = torch.isfinite(values).all(1)
        # An answer that is no number names no class; maps of such images are dead whatever class they explain.
        shown = torch.where(finite, predicted, -1)
        explained = {}
        for name, (index, target) in product(methods, enumerate(targets)):
            classes = _as_classes(target, predicted)
            maps = self._maps(name, forward, classes, logits)
            maps[~finite.cpu().numpy()] = np.nan
            explained[name, index] = Explanation(
                maps=maps,
                scores=scores.cpu().numpy(),
                predicted=shown.cpu().numpy(),
                target=torch.where(finite, classes, -1).cpu().numpy(),
                dead=np.isnan(maps).any(axis=(1, 2)),
                logits=values.cpu().numpy(),
            )
        return explained

    def _maps(self, name: str, forward: ForwardPass, classes: Tensor, logits: Tensor) -> np.ndarray:
        with in_a_line(self.detector, f"the salience method {name} fails on this network"):
            raw = self._open[name].maps(forward, classes, logits)
        raw = raw.detach().double().cpu().numpy() if isinstance(raw, Tensor) else np.asarray(raw)
        if raw.ndim != 3 or len(raw) != len(classes):
            raise InputError(
                f"salience method {name!r} gave maps of shape {raw.shape} for {len(classes)} images; one (h, w) map an "
                "image fits"
            )
        return min_max(raw)

    def _forward(self, images: np.ndarray, pixels: Tensor, regions: np.ndarray | None) -> tuple[ForwardPass, Tensor]:
        """The forward pass that all methods share, and its logits."""
        pixels = pixels.requires_grad_() if "input" in self._needs else pixels
        bfloat16 = torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        for method in self._open.values():
            method.listen(True)
        self._passing, self._calls = True, 0
        try:
            named = in_a_line(self.detector, f"its network fails on {len(pixels)} images")
            with named, torch.set_grad_enabled(self._needs != {""}), bfloat16, self._folded:
                logits = self._logits(images, pixels).float()
        finally:
            self._passing = False
            for method in self._open.values():
                method.listen(False)
        output, self._output = self._output, None
        if output is None and self.detector.layer:
            raise InputError(layers.silent(self.detector, self._calls))
        features = None if output is None else layers.grid_of(self.detector, output.detach())
        return ForwardPass(images, pixels, features, regions, self.seed, output, self.detector.reshape), logits

    def _logits(self, images: np.ndarray, pixels: Tensor) -> Tensor:
        if "input" in self._needs or self._trunk.observed:
            return self.detector.model(pixels)
        hidden = self._trunk(images, pixels)
        with self._trunk.skipped():
            return self.detector.model(hidden)

    def _cut(self, _module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor | None:
        """Start the graph at the layer's output, unless a method differentiates by the input."""
        if not self._passing:
            return None
        call, self._calls = self._calls, self._calls + 1
        if self.detector.call not in (None, call):
            return None
        if not isinstance(output, Tensor):
            layers.grid_of(self.detector, output)  # says what arrived
        # Maps are always summed in single precision.
        features = output.float() if "input" in self._needs else output.detach().float()
        if "layer" in self._needs and not features.requires_grad:
            features.requires_grad_()
        self._output = features
        # In-place operations after the layer write on the clone.
        return features.clone()

    def _reorder(self, _module: nn.Module, inputs: tuple, output: object) -> Tensor:
        return two_logits(self.detector, output, len(inputs[0]))

    @staticmethod
    def _freeze(model: nn.Module, stack: ExitStack) -> None:
        for weight in model.parameters():
            if weight.requires_grad:
                weight.requires_grad_(False)
                stack.callback(weight.requires_grad_, True)
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        model.eval()


_BLOCK = 20 << 20  # bytes

_LARGEST = 5
"""The largest output of a layer, in sizes of the input, of a network that shows its scores only: a ResNet-50's."""

_AT_ONCE: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def images_at_once(detector: Detector, device: torch.device) -> int:
    """Number of images in one pass through a network; on a CPU, few enough that no layer's output is a large block.

    The allocator does not reuse large blocks for the next layer; it fetches them from the system page by page. With 32
    images at once, a ResNet-50 at 224 px spends a fifth of its time on that.

    Args:
        detector: a detector in evaluation mode; the first call passes one blank image through it.
        device: device of its weights.

    Returns:
        6 for a ResNet-50, 69 for the demo's network; no limit on a GPU.
    """
    if device.type != "cpu":
        return sys.maxsize
    if detector.model not in _AT_ONCE:
        # Linux keeps blocks up to the size of the largest that it was given back, at most 32 MB (mallopt(3)).
        torch.empty(3 * _BLOCK // 2, dtype=torch.uint8)
        _AT_ONCE[detector.model] = max(1, _BLOCK // _largest_output(detector))
    return _AT_ONCE[detector.model]


@torch.inference_mode()
def _largest_output(detector: Detector) -> int:
    """Bytes of the largest output of any module of the network for one image."""
    image = torch.zeros(1, detector.channels, *detector.shape)
    if not detector.layer:
        return _LARGEST * image.nbytes
    sizes = [1]

    def note(_module: nn.Module, _inputs: tuple, output: object) -> None:
        sizes.append(output.nbytes if isinstance(output, Tensor) else 0)

    with ExitStack() as stack:
        for module in detector.model.modules():
            stack.callback(module.register_forward_hook(note).remove)
        # Not called as a module: hooks on the network see real images only.
        with in_a_line(detector, f"its network fails on an image of {' x '.join(map(str, detector.shape))} pixels"):
            detector.model.forward(image)
    return max(sizes)


def _checked_needs(detector: Detector, name: str, needs: str) -> str:
    if needs not in ("layer", "input", ""):
        raise InputError(f'salience method {name!r} needs {needs!r}; "layer", "input" or "" for nothing fits')
    if needs and not detector.layer:
        raise InputError(f"{name} takes gradients, and {detector.name!r} shows its scores only; use occlusion or RISE")
    return needs


def _classes(target, labels) -> str | np.ndarray:
    if isinstance(target, str):
        if target not in TARGETS:
            raise InputError(f"no target named {target!r}; choose from {', '.join(TARGETS)}, or give class numbers")
        if target == "predicted":
            return target
        if target in LABELS:
            return np.asarray(LABELS.index(target))
        if labels is None:
            raise InputError('target="label" explains the true class; give labels= too')
        unknown = sorted(set(labels) - set(LABELS))
        if unknown:
            raise InputError(f"labels {unknown} are neither of {LABELS}")
        return np.asarray([LABELS.index(label) for label in labels])
    classes = np.asarray(target)
    if classes.ndim > 1 or not np.isin(classes, (0, 1)).all():
        raise InputError(
            f"targets are class numbers, 0 authentic or 1 synthetic, one or (N,); got shape {classes.shape}"
        )
    return classes


def _as_classes(target: str | np.ndarray, predicted: Tensor) -> Tensor:
    classes = _classes(target, None)
    if isinstance(classes, str):
        return predicted
    _check_number(classes, len(predicted))
    return torch.as_tensor(classes, device=predicted.device, dtype=torch.long).expand(len(predicted))


def _rows(target: str | int | Sequence | np.ndarray, start: int, count: int) -> str | int | np.ndarray:
    """The target of a part of the batch: one for all images, or a slice of one for each."""
    return target if isinstance(target, str) or np.ndim(target) == 0 else np.asarray(target)[start : start + count]


def _check_number(classes: str | np.ndarray, images: int) -> None:
    if isinstance(classes, np.ndarray) and classes.ndim and len(classes) != images:
        raise InputError(f"{len(classes)} targets for {images} images; give one an image")


def _check_regions(regions: np.ndarray | None, images: int) -> None:
    if regions is not None and len(regions) != images:
        raise InputError(f"{len(regions)} regions for {images} images; give one an image")


def _rebatch(images: np.ndarray | Iterable[np.ndarray], batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of at most ``batch_size`` images, with the images' indices."""
    batches = [images] if isinstance(images, np.ndarray) else images
    before = 0
    for batch in batches:
        for start in range(0, len(batch), batch_size):
            part = batch[start : start + batch_size]
            yield part, before + start + np.arange(len(part))
        before += len(batch)
