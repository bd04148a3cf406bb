"""Salience maps and scores of a detector, clean and after perturbation, batch by batch."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torchcam import methods as torchcam_methods

from e2m.detectors import check_detector
from e2m.networks.inputs import as_input, has_bfloat16, logits_of, network_class, two_logits
from e2m.networks.masker import Extractor
from e2m.types import LABELS, MASKER, Detector, Explanation, InputError, Perturbation

METHODS = ("CAM", "GradCAM", "GradCAMpp", "ISCAM", "LayerCAM", "ScoreCAM", "XGradCAM")
"""TorchCAM's methods that draw no random numbers: the others give another map on every call."""

T = TypeVar("T")

TARGETS = ("predicted", "label", *LABELS)


def explain(
    detector: Detector,
    images: np.ndarray | Iterable[np.ndarray],
    method: str = "GradCAM",
    target: str | int | Sequence | np.ndarray = "predicted",
    batch_size: int = 64,
    labels: Sequence[str] | None = None,
    mixed_precision: bool = False,
) -> Explanation:
    """Salience maps and scores of images, through TorchCAM or the detector's masker.

    Args:
        detector: from ``e2m.load_detector``.
        images: (N, H, W, 3) uint8, or an iterable of such batches; resized to the detector's input.
        method: one of ``METHODS``, or "masker", for a detector loaded with one. CAM is not rectified, so it also shows
            evidence against the class.
        target: the class explained: "predicted", "authentic", "synthetic", "label" (then give ``labels``),
            a class number, or (N,) class numbers.
        batch_size: images at once, fewer where memory does not hold them; maps and scores depend on it by less than
            1e-5. A processor's share of them goes through the network together, see ``images_at_once``.
        labels: (N,) "authentic" or "synthetic", for ``target="label"``.
        mixed_precision: let the network multiply in bfloat16 where the device does so by itself; faster, and maps and
            scores change in their third digit.

    Returns:
        Explanation of the N images in order; maps constant to six digits or not finite are marked dead, their
        rows NaN.

    Raises:
        InputError: unknown method or target, no masker for "masker", arrays of another shape or type, as many targets
            as images not given, a batch size below 1, a layer whose output is no stack of square maps, no memory for
            one image.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give a whole number from 1 up")
    classes = _classes(target, labels)
    if isinstance(images, np.ndarray):
        _check_number(classes, len(images))
    with Explainer(detector, (method,), mixed_precision) as explainer:

        def explained(batch: np.ndarray, places: np.ndarray) -> Explanation:
            each = isinstance(classes, np.ndarray) and classes.ndim
            return explainer(batch, classes[places[0] : places[-1] + 1] if each else classes)[method]

        parts = list(in_parts(explained, _rebatch(images, batch_size), batch_size))
    if not parts:
        raise InputError("no images to explain")
    found = Explanation.join(parts)
    _check_number(classes, len(found.dead))
    return found


def in_parts(work: Callable[..., T], batches: Iterable[tuple[Sequence, ...]], most: int) -> Iterator[T]:
    """What ``work`` makes of every batch, or of its parts where memory does not hold the work on the whole.

    Each time that memory runs out, parts become half as large, from there to the end, and a warning says so.

    Args:
        work: takes the sequences of a batch, or as many of the first, the next, ... of each; may be called again.
        batches: tuples of sequences of one length each: images, and what belongs to them.
        most: images of a part, at first.

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
                if not _out_of_memory(error):
                    raise
                most = _half(len(part[0]), error)
                continue
            yield done
            start += len(part[0])


def _out_of_memory(error: Exception) -> bool:
    # Not all of torch's errors for it have a type of their own.
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _half(images: int, error: Exception) -> int:
    if images == 1:
        raise InputError(
            f"memory does not hold the work on one image ({str(error).splitlines()[0]}); end what else uses it, "
            "choose a smaller detector or image_size, or another device"
        ) from error
    warnings.warn(f"out of memory with {images} images at once: going on with {images // 2}", stacklevel=3)
    return images // 2


class Explainer:
    """A detector with its TorchCAM hooks in place, for explaining many batches: one forward pass serves all methods.

    Used as a context manager; outside it the network is as it was.

    Args:
        detector: the detector to explain.
        methods: names out of ``METHODS``, or "masker".
        mixed_precision: as in ``explain``.
    """

    def __init__(
        self, detector: Detector, methods: Sequence[str] = ("GradCAM",), mixed_precision: bool = False
    ) -> None:
        for method in methods:
            if method not in (*METHODS, MASKER):
                raise InputError(f"no salience method named {method!r}; choose from {', '.join((*METHODS, MASKER))}")
            if method == "CAM" and detector.head is None:
                raise InputError(
                    f"CAM needs pooling and one linear layer, and {detector.name!r} names no head; use GradCAM"
                )
        check_detector(detector)
        self.detector = detector
        self.methods = tuple(methods)
        self.mixed_precision = mixed_precision

    def __enter__(self) -> Explainer:
        model = self.detector.model
        self._device = next(model.parameters()).device
        self._mixed = self.mixed_precision and has_bfloat16(self._device)
        with ExitStack() as stack:
            self._freeze(model, stack)
            self._at_once = images_at_once(self.detector, self._device)
            # Registered before TorchCAM's own hooks: the graph begins at the layer's output, so that a map costs no
            # backward pass through the network.
            stack.callback(model.get_submodule(self.detector.layer).register_forward_hook(self._cut).remove)
            # Every method sees the logits in E2M's order, ScoreCAM also those of the masked images that it makes.
            stack.callback(model.register_forward_hook(self._reorder).remove)
            self._extractors = {method: stack.enter_context(self._extractor(method)) for method in self.methods}
            self._needs_graph = any(extractor._score_used for extractor in self._extractors.values())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def __call__(self, images: np.ndarray, target: str | int | np.ndarray = "predicted") -> dict[str, Explanation]:
        """Explanations of one batch, (n, H, W, 3) uint8, by method."""
        return {method: found for (method, _), found in self.several(images, (target,)).items()}

    def several(
        self, images: np.ndarray, targets: Sequence[str | int | np.ndarray], methods: Sequence[str] | None = None
    ) -> dict[tuple[str, int], Explanation]:
        """Explanations of one batch for several targets from one forward pass, by (method, position of the target).

        On a processor the batch goes through the network in parts that its memory likes best.
        """
        batch = as_input(images, self.detector, self._device)
        for target in targets:
            _check_number(_classes(target, None), len(batch))
        parts = max(1, math.ceil(len(batch) / self._at_once))
        step = max(1, math.ceil(len(batch) / parts))
        found = [
            self._part(part, [_rows(target, place * step, step) for target in targets], methods or self.methods)
            for place, part in enumerate(batch.split(step))
        ]
        return {key: Explanation.join([part[key] for part in found]) for key in found[0]}

    def _part(self, batch: Tensor, targets: Sequence, methods: Sequence[str]) -> dict[tuple[str, int], Explanation]:
        logits = self._forward(batch)
        scores = logits.detach().softmax(1)[:, 1]
        predicted = logits.detach().argmax(1)
        found = {}
        for method, (position, target) in product(methods, enumerate(targets)):
            classes = _as_classes(target, predicted)
            raw = self._raw_maps(method, classes, logits)
            maps, dead = _normalise(raw, logits.detach())
            found[method, position] = Explanation(
                maps=maps,
                scores=scores.cpu().numpy(),
                predicted=predicted.cpu().numpy(),
                target=classes.cpu().numpy(),
                dead=dead,
                logits=logits.detach().cpu().numpy(),
            )
        return found

    def after(
        self, change: Perturbation, targets: Sequence[str | int | np.ndarray], methods: Sequence[str] | None = None
    ) -> dict[tuple[str, int], Explanation]:
        """``several`` of changed images; their pixels are all that a network knows of the change."""
        return self.several(change.images, targets, methods)

    def _forward(self, batch: Tensor) -> Tensor:
        """Logits of a batch; what ScoreCAM shows the network afterwards must not reach the other methods' hooks."""
        for extractor in self._extractors.values():
            extractor.enable_hooks()
        bfloat16 = torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed)
        with torch.set_grad_enabled(self._needs_graph), bfloat16:
            logits = self.detector.model(batch).float()
        for extractor in self._extractors.values():
            extractor.disable_hooks()
        return logits

    def _cut(self, _module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        if output.ndim != 4 or output.shape[2] != output.shape[3]:
            raise InputError(
                f"layer {self.detector.layer!r} of {self.detector.name!r} gives {tuple(output.shape)}; salience needs "
                "(images, channels, h, w) of square maps: name a convolutional layer"
            )
        # The clone is what in-place operations behind the layer write on. Maps are summed in single precision always.
        return output.detach().float().requires_grad_(torch.is_grad_enabled()).clone()

    def _reorder(self, _module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        return two_logits(self.detector, output)

    @staticmethod
    def _freeze(model: nn.Module, stack: ExitStack) -> None:
        for weight in model.parameters():
            if weight.requires_grad:
                weight.requires_grad_(False)
                stack.callback(weight.requires_grad_, True)
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        model.eval()

    def _extractor(self, method: str):
        if method == MASKER:
            return Extractor(self.detector)
        head = {"fc_layer": self.detector.head} if method == "CAM" else {}
        size = self.detector.size
        build = getattr(torchcam_methods, method)
        return build(self.detector.model, self.detector.layer, input_shape=(3, size, size), **head)

    def _raw_maps(self, method: str, classes: Tensor, logits: Tensor) -> Tensor:
        extractor = self._extractors[method]
        gradients = {"retain_graph": True} if hasattr(extractor, "_backprop") else {}
        if method != "CAM":
            return extractor(classes.tolist(), logits, normalized=False, **gradients)[0]
        # CAM reads rows of the head, in the network's own order; a single logit has one row, for "synthetic".
        single = logits_of(self.detector) == 1
        rows = torch.zeros_like(classes) if single else network_class(self.detector, classes)
        raw = extractor(rows.tolist(), normalized=False)[0]
        return torch.where((classes == 1)[:, None, None], raw, -raw) if single else raw


_BLOCK = 20 << 20  # bytes

_AT_ONCE: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def images_at_once(detector: Detector, device: torch.device) -> int:
    """How many images go through a network together: on a processor, so many that no layer's output is a large block.

    Large blocks are not kept for the next layer but fetched from the system anew, page by page: with 32 images at once,
    a ResNet-50 at 224 px spends a fifth of its time on that.

    Args:
        detector: in evaluation mode; one blank image goes through it the first time.
        device: where its weights are.

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
    """Bytes of the largest output that any module of the network has for one image."""
    sizes = [1]

    def note(_module: nn.Module, _inputs: tuple, output: object) -> None:
        sizes.append(output.nbytes if isinstance(output, Tensor) else 0)

    with ExitStack() as stack:
        for module in detector.model.modules():
            stack.callback(module.register_forward_hook(note).remove)
        # Not called as a module: whoever watches the network sees real images only.
        detector.model.forward(torch.zeros(1, 3, detector.size, detector.size))
    return max(sizes)


def _normalise(raw: Tensor, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Min-max normalised maps and which of them are dead. TorchCAM sums NaN away, so logits are asked as well."""
    flat = raw.detach().flatten(1).double().cpu().numpy()
    low, high = flat.min(1), flat.max(1)
    finite = np.isfinite(flat).all(1) & torch.isfinite(logits).all(1).cpu().numpy()
    with np.errstate(invalid="ignore"):  # infinity minus infinity, in rows that are dead
        # Single precision leaves a constant map a little uneven; stretched to [0, 1], that would look like salience.
        dead = ~finite | ~(high - low > 1e-6 * np.maximum(np.abs(low), np.abs(high)))
        span = np.where(dead, np.nan, high - low)
        maps = ((flat - low[:, None]) / span[:, None]).astype(np.float32)
    return maps.reshape(raw.shape), dead


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
    """What a part of the batch needs of a target that may name a class for every image."""
    return target if isinstance(target, str) or np.ndim(target) == 0 else np.asarray(target)[start : start + count]


def _check_number(classes: str | np.ndarray, images: int) -> None:
    if isinstance(classes, np.ndarray) and classes.ndim and len(classes) != images:
        raise InputError(f"{len(classes)} targets for {images} images; give one a picture")


def _rebatch(images: np.ndarray | Iterable[np.ndarray], batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of at most so many images, with the images' positions."""
    batches = [images] if isinstance(images, np.ndarray) else images
    before = 0
    for batch in batches:
        for start in range(0, len(batch), batch_size):
            part = batch[start : start + batch_size]
            yield part, before + start + np.arange(len(part))
        before += len(batch)
