"""Train a detector; a regime is the loss and the targets that it receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from e2m.networks.checkpoints import CHECKPOINT_FORMAT, fill
from e2m.networks.inputs import as_input, device_of, network_class, square_side, two_logits
from e2m.networks.trunk import Trunk
from e2m.training import learnt, loop
from e2m.training.images import Images, check_trainable
from e2m.training.settings import Settings
from e2m.types import Detector, InputError


@dataclass
class Batch:
    """One training batch, as the loss of a regime reads it.

    Attributes:
        logits: (n, 2), authentic and synthetic.
        classes: (n,) true class numbers.
        features: (n, channels, h, w) output of the guided layer.
        weights: (2, channels) of the head, authentic and synthetic; None if the detector names no head.
        human_maps: (n, H, W) in [0, 1], human salience of any size; None if the regime is not guided.
    """

    logits: Tensor
    classes: Tensor
    features: Tensor
    weights: Tensor | None
    human_maps: Tensor | None = None
    _cam: Tensor | None = field(default=None, repr=False)

    @property
    def cam(self) -> Tensor:
        """(n, h, w) in [0, 1]: the predicted class's weights times the features, unrectified, min-max normalised."""
        if self._cam is None:
            if self.weights is None:
                raise InputError(
                    "a loss that reads the CAM needs pooling and one linear layer, and this detector names no head; "
                    "give it one, or train with cross_entropy"
                )
            rows = self.weights[self.logits.argmax(1)]
            self._cam = min_max(torch.einsum("nc,nchw->nhw", rows, self.features))
        return self._cam

    @property
    def human(self) -> Tensor:
        """(n, h, w) in [0, 1]: human salience reduced to the size of the CAM, min-max normalised."""
        size = self.features.shape[-2:]
        return min_max(interpolate(self.human_maps[:, None], size, mode="bilinear", antialias=True)[:, 0])


def min_max(maps: Tensor) -> Tensor:
    """(n, h, w) maps, each scaled to [0, 1], with their gradient; a constant map becomes zeros."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    span = high - low
    # Division by 1 instead of a tiny number bounds the gradient of a constant map.
    return (maps - low) / span.masked_fill(span == 0, 1)


def fit(
    detector: Detector,
    train: pd.DataFrame,
    validate: pd.DataFrame,
    loss: Callable[[Batch], Tensor],
    path: str | Path,
    settings: Settings,
    *,
    regime: str,
    run: int,
    guided: bool,
    replace_targets: Callable | None = None,
    origin: str = "",
    stored: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train a detector and keep the weights of its best epoch.

    The best epoch has the highest validation accuracy; of several, the last is kept, as in CYBORG's training. An
    interrupted training is resumed, and a finished one is read: see ``e2m.training.loop.run``.

    Args:
        detector: a detector with initial weights; it is trained in place.
        train, validate: samples with ``path``, ``label`` and, if ``guided``, ``salience``.
        loss: loss of a regime.
        path: path of the checkpoint.
        settings: hyper-parameters.
        regime, run: recorded in the checkpoint.
        guided: whether the loss reads human salience.
        replace_targets: function of a regime that replaces the true labels or human maps: see ``e2m.regimes``.
        origin: names the code and the initial weights. A checkpoint of another origin, or of other images, labels or
            human maps, is trained anew.
        stored: outputs of the detector's frozen blocks, a file of ``e2m.networks.trunk``; None computes them.
        progress: show a progress bar.

    Returns:
        Learning curves: epoch, loss, train_accuracy, validation_accuracy, validation_cross_entropy, kept.

    Raises:
        InputError: no images of a class, no human salience for a guided regime, no weights that are not frozen, or a
            loss that is not finite.
    """

    def trainer() -> DetectorTrainer:
        check_trainable(train, guided)
        trunk = Trunk(detector, stored)
        human_shape = _human_shape(detector, settings) if guided else None
        images = Images(train, detector, trunk, human_shape, replace_targets, settings.seed)
        return DetectorTrainer(detector, trunk, images, Images(validate, detector, trunk), loss, settings)

    origin = learnt.origin(train, validate, guided, origin)
    recipe = {"detector": detector.name, "regime": regime, "run": run, "origin": origin, "settings": asdict(settings)}
    content = loop.run(trainer, Path(path), recipe, progress=progress)
    fill(detector, content["weights"], path)
    detector.model.eval()
    return pd.DataFrame(content["curves"])


def _human_shape(detector: Detector, settings: Settings) -> tuple[int, int]:
    """(h, w) at which human maps are read: that of the guided features, or the image's if maps move with images."""
    if settings.flip or settings.shift_px or settings.turns or settings.crop_min_share < 1:
        return (square_side(detector),) * 2
    blank = np.zeros((1, *detector.shape, 3), np.uint8)
    pixels = as_input(blank, detector, device_of(detector.model))
    with torch.no_grad():
        return tuple(guided_features(detector, pixels)[1].shape[-2:])


class DetectorTrainer(loop.Trainer):
    """Trains a detector's network with the loss of a regime."""

    def __init__(
        self, detector: Detector, trunk: Trunk, train: Images, held_out: Images, loss: Callable, settings: Settings
    ):
        for name in detector.frozen:
            detector.model.get_submodule(name).requires_grad_(False)
        weights = [weight for weight in detector.model.parameters() if weight.requires_grad]
        if not weights:
            raise InputError(f"detector {detector.name!r} freezes all of its weights; leave some to train, as its head")
        optimiser = torch.optim.SGD(
            weights, settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        super().__init__(detector, detector.model, train, held_out, settings, optimiser, decay_every=12)
        self.trunk, self.loss = trunk, loss

    def train_mode(self) -> None:
        """Put the network into training mode, but for frozen modules: their statistics stay as they are, too."""
        super().train_mode()
        for name in self.detector.frozen:
            self.network.get_submodule(name).eval()

    def step(
        self, batch: Tensor, classes: Tensor, human: Tensor | None, random: np.random.Generator
    ) -> tuple[float, float]:
        """The loss, and the number of images that were classified correctly."""
        outputs = self._forward(batch, classes, human)
        loss = self.loss(outputs)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.item(), int((outputs.logits.argmax(1) == outputs.classes).sum())

    def summary(self, numbers: list[float], images: int) -> dict[str, float]:
        """The share of training images that were classified correctly."""
        return {"train_accuracy": sum(numbers) / images}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Accuracy and cross-entropy of the validation images."""
        self.network.eval()
        images, classes, size = self.held_out.images, self.held_out.classes, self.settings.batch_size
        batches = (images[start : start + size] for start in range(0, len(images), size))
        with self.trunk.skipped():
            outputs = [self.network(self.held_out.as_input(batch, self.device)) for batch in batches]
        logits = torch.cat([two_logits(self.detector, output).cpu() for output in outputs])
        if missing := int((~torch.isfinite(logits)).any(1).sum()):
            raise InputError(
                f"{missing} of {len(logits)} answers to validation images are no numbers; lower learning_rate"
            )
        return {
            "validation_accuracy": float((logits.argmax(1) == classes).float().mean()),
            "validation_cross_entropy": float(cross_entropy(logits, classes)),
        }

    def rank(self, row: dict) -> list[float]:
        """Rank by validation accuracy."""
        return [row["validation_accuracy"]]

    def files(self, path: Path, about: dict, weights: dict[str, Tensor], curves: list[dict]) -> dict[Path, dict]:
        """The checkpoint alone."""
        about = {**about, "frozen": list(self.detector.frozen), "curves": curves}
        return {path: {"format": CHECKPOINT_FORMAT, **about, "weights": weights}}

    def _forward(self, batch: Tensor, classes: Tensor, human: Tensor | None) -> Batch:
        bfloat16 = torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)
        with bfloat16, self.trunk.skipped():
            output, features = guided_features(self.detector, batch)
        logits = two_logits(self.detector, output, len(batch)).float()
        return Batch(logits, classes, features.float(), self._head_weights(), human)

    def _head_weights(self) -> Tensor | None:
        if self.detector.head is None:
            return None
        weights = self.network.get_submodule(self.detector.head).weight
        weights = torch.cat([-weights, weights]) if len(weights) == 1 else weights
        return weights[network_class(self.detector, torch.arange(2))]


def guided_features(detector: Detector, batch: Tensor) -> tuple[Tensor, Tensor]:
    """The network's output for a batch, and the features (n, channels, h, w) of the layer that guidance reads."""
    name = detector.guided_layer or detector.layer
    kept = {}

    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if output.requires_grad and output.ndim == 4 and output.is_contiguous(memory_format=torch.channels_last):
            # Pooling gives the gradient another layout, which normalisation reads slowly: an eighth of a demo's step.
            output.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        # Cloned: DenseNet's next operation writes over these features.
        kept["features"] = output.clone()

    hook = detector.model.get_submodule(name).register_forward_hook(keep)
    try:
        output = detector.model(batch)
    finally:
        hook.remove()
    features = kept["features"]
    if detector.reshape is not None and name == detector.layer:
        features = detector.reshape(features)
    return output, features


def parameters(model: nn.Module) -> int:
    """Number of trainable weights of a network."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
