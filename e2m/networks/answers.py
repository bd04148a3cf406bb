"""Whether a network answers as a detector must: it is tried on images of noise before any long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from e2m.checks import brief
from e2m.networks import layers
from e2m.networks.inputs import device_of, noise, raw_logits
from e2m.types import Detector, InputError

ROUNDING, ROUNDING_OF_GPU = 1e-3, 3e-2
"""Largest difference of two answers to one image, as a share of the largest logit, that rounding explains: GPUs
multiply with three digits."""

PROBABILITIES = ("Softmax", "SafeSoftmax", "Sigmoid")
"""Operations whose results are probabilities."""

_MOVES = ("View", "Unsafe", "Reshape", "Squeeze", "Unsqueeze", "Select", "Slice", "Index", "Split", "Unbind", "Clone")
"""Beginnings of the names of operations that only move numbers."""


def check_answers(detector: Detector) -> None:
    """Try a detector's network on two images, in a batch with the first once more, twice, and on the first by itself.

    Networks that give no numbers (NaN) pass: their images count as missing.

    Raises:
        InputError: the network fails, in whatever way; it does not give one or two logits an image, but perhaps
            probabilities; its answer to an image depends on random numbers, or on the other images of the batch; or a
            layer that the detector names takes no part, or gives no grid of cells.
    """
    model = detector.model
    with in_a_line(detector, f"its network fails on images of {' x '.join(map(str, detector.shape))} pixels"):
        one = noise(detector)
        other = -3 * one  # as unlike the first as an image can be
        with layers.at_rest(model):
            with _outputs_of(detector) as seen, torch.no_grad():
                pixels = torch.cat([one, other, one])
                batch = raw_logits(detector, model(pixels), 3)
            check_input_kept(detector, torch.cat([one, other, one]), pixels)
            with torch.enable_grad():
                alone = raw_logits(detector, model(one.clone().requires_grad_()), 1)
            with torch.no_grad():
                again = raw_logits(detector, model(torch.cat([one, other, one])), 3)
    _check_layers(detector, seen)
    last = last_operation(alone)
    if last in PROBABILITIES:
        raise InputError(
            f"{detector.name!r} returns probabilities ({last.lower()} inside), and e2m takes logits: return what comes "
            "before it"
        )
    _check_repeated(detector, *(part.detach().double().nan_to_num(0, 0, 0) for part in (batch, again, alone)))


def check_input_kept(detector: Detector, before: Tensor, after: Tensor) -> None:
    """Check that a network left its input as it was: salience methods pass the same images several times.

    Raises:
        InputError: the input differs before and after a forward pass.
    """
    if not torch.equal(before, after):
        raise InputError(
            f"{detector.name!r} writes on its input, so that a second pass would see other images; let its forward() "
            "work on a copy: x = x - mean instead of x -= mean or x.sub_(mean)"
        )


@contextmanager
def in_a_line(detector: Detector, what: str) -> Iterator[None]:
    """Whatever a network or a salience method of somebody raises in the block is an ``InputError`` of this detector.

    Errors of memory pass, for those who try again with fewer images.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise InputError(f"{detector.name!r}: {what} ({type(error).__name__}: {brief(error)})") from error


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    # Some of torch's errors for it are plain RuntimeErrors.
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def last_operation(logits: Tensor) -> str:
    """The operation that made logits, without those that only move numbers, such as "Softmax"; "" if unknown."""
    node = logits.grad_fn
    while node is not None and node.name().startswith(_MOVES):
        node = node.next_functions[0][0]
    return "" if node is None else node.name().removesuffix("0").removesuffix("Backward")


@contextmanager
def _outputs_of(detector: Detector) -> Iterator[dict[str, list]]:
    """What every call of the layers that a detector names returns in the block."""
    seen = {name: [] for name in (detector.layer, detector.guided_layer) if name}

    def note(name: str, _module: nn.Module, _inputs: tuple, output: object) -> None:
        seen[name].append(output)

    with ExitStack() as stack:
        for name in seen:
            stack.callback(detector.model.get_submodule(name).register_forward_hook(partial(note, name)).remove)
        yield seen


def _check_layers(detector: Detector, seen: dict[str, list]) -> None:
    for name, outputs in seen.items():
        if name != detector.layer:
            if not outputs:
                raise InputError(f"{detector.name!r} does not call its guided layer {name!r}; name one that takes part")
            continue
        which = -1 if detector.call is None else detector.call
        if which >= len(outputs) or not outputs:
            raise InputError(layers.silent(detector, len(outputs)))
        layers.grid_of(detector, outputs[which])


def _check_repeated(detector: Detector, batch: Tensor, again: Tensor, alone: Tensor) -> None:
    """Compare the answers to a batch of an image, another and the first, the same again, and the first by itself."""
    share = ROUNDING if device_of(detector.model).type == "cpu" else ROUNDING_OF_GPU
    most = share * max(0.1, float(batch.abs().max()))
    for answers, why in (
        (torch.cat([batch[2:] - batch[:1], again - batch]), "dropout or random numbers are at work in evaluation mode"),
        (alone - batch[:1], "with other images beside an image: something is normalised over the batch"),
    ):
        apart = float(answers.abs().max())
        if apart > most:
            raise InputError(
                f"{detector.name!r} answers differently to the same image, by {apart:.2g}: {why}; correct its forward()"
            )
