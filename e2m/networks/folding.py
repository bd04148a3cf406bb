"""Batch normalisation folded into convolutions: the same answers from fewer passes over memory."""

from __future__ import annotations

import copy
from collections.abc import Collection
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Folded:
    """A context in which convolutions include the batch normalisation that follows them in an ``nn.Sequential``.

    With weight w and bias b of the convolution, and mean m, variance v, scale g and shift s of the normalisation, the
    convolution gets the weight w g / sqrt(v + eps) and the bias (b - m) g / sqrt(v + eps) + s. Pairs with a module that
    a hook reads when the block begins keep their outputs, as do those of ``but``, and normalisation in training mode.
    Blocks cost nothing; weights must not change after the object was made.

    Args:
        model: a network in evaluation mode; it is restored at the end of a block.
        but: names of modules whose output is read.
    """

    def __init__(self, model: nn.Module, but: Collection[str] = ()):
        kept = {model.get_submodule(name) for name in but}
        sequences = [block for block in model.modules() if isinstance(block, nn.Sequential)]
        self._pairs = [
            (*pair, fuse_conv_bn_eval(*pair).forward)
            for sequence in sequences
            for pair in pairwise(sequence)
            if _foldable(*pair) and not kept & {*pair}
        ]
        self._changed: list[nn.Module] = []

    def __enter__(self) -> Folded:
        for convolution, norm, forward in self._pairs:
            if not (convolution._forward_hooks or norm._forward_hooks):
                convolution.forward, norm.forward = forward, unchanged
                self._changed += [convolution, norm]
        return self

    def __exit__(self, *exception) -> None:
        while self._changed:
            del self._changed.pop().forward


def fold(model: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode, folded for good."""
    model = copy.deepcopy(model)
    Folded(model).__enter__()
    return model


def unchanged(hidden: Tensor) -> Tensor:
    """The forward pass of a module that is skipped."""
    return hidden


def _foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    """Whether both modules are of the plain kinds, in evaluation mode, and normalisation has statistics of its own."""
    plain = type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d
    return plain and not (convolution.training or norm.training) and norm.track_running_stats
