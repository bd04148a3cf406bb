"""Train a masker for a trained detector, which is fixed or trained alongside.

After Phang, Park and Geras 2020 (arXiv 2010.09750).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from e2m.networks.checkpoints import CHECKPOINT_FORMAT, MASKER_FORMAT, weights_hash
from e2m.networks.inputs import as_input, device_of, two_logits
from e2m.networks.masker import Hidden, Masker, chosen_stages, collapsed, on_image, side_of
from e2m.training import learnt, loop
from e2m.training.images import Images, check_trainable
from e2m.training.objectives import mask_in_loss, mask_out_loss, shown, total_variation
from e2m.training.settings import MaskerSettings
from e2m.types import LABELS, Detector, InputError

ZOO = 30
"""Largest number of kept states of a classifier trained alongside; one is added every ``ZOO_EVERY`` batches."""
ZOO_EVERY = 100


def fit(
    detector: Detector,
    train: pd.DataFrame,
    validate: pd.DataFrame,
    path: str | Path,
    settings: MaskerSettings,
    *,
    regime: str,
    run: int,
    origin: str = "",
    progress: bool = True,
) -> pd.DataFrame:
    """Train a masker for a trained detector, and keep the weights of the last epoch.

    The detector is not changed. With ``alongside``, a copy of it is trained and written as a checkpoint
    (``alongside_of(path)``), which this masker explains. An interrupted training is resumed, and a finished one is
    read: see ``e2m.training.loop.run``.

    Args:
        detector: a detector with trained weights.
        train, validate: samples with ``path`` and ``label``.
        path: path of the masker's file.
        settings: hyper-parameters.
        regime, run: regime and run of the detector, recorded in the file.
        origin: names the code. A file of another origin, of other images or of other weights is trained anew.
        progress: show a progress bar.

    Returns:
        Learning curves: epoch; loss; against_zoo, the share of batches judged by an earlier state of the classifier. On
        the validation images: accuracy, masked_in_accuracy, masked_out_accuracy, mask_mean, collapsed (the share of
        masks that show all pixels alike) and never_predicted (the class that the classifier never predicts, or "").

    Raises:
        InputError: no images, or none of a class that a classifier trained alongside needs; an unknown stage; or a loss
            that is not finite.
    """

    def trainer() -> MaskerTrainer:
        if settings.alongside or train.empty:
            check_trainable(train)
        return MaskerTrainer(detector, Images(train, detector), Images(validate, detector), settings)

    more = f"{origin}, detector {weights_hash(detector.model)}"
    origin = learnt.origin(train, validate, guided=False, more=more)
    recipe = {"detector": detector.name, "regime": regime, "run": run, "origin": origin, "settings": asdict(settings)}
    content = loop.run(trainer, Path(path), recipe, MASKER_FORMAT, progress)
    return pd.DataFrame(content["curves"])


def alongside_of(path: str | Path) -> Path:
    """The checkpoint of the classifier trained alongside a masker: run-0.alongside.pt for run-0.masker.pt."""
    path = Path(path)
    return path.with_name(f"{path.stem.removesuffix('.masker')}.alongside.pt")


class MaskerTrainer(loop.Trainer):
    """Trains a masker, and with ``alongside`` its classifier."""

    def __init__(self, detector: Detector, train: Images, held_out: Images, settings: MaskerSettings):
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            stages = chosen_stages(detector, settings.stages)
            binary = settings.binary and settings.hard
            self.masker = Masker(stages, side_of(detector), settings.channels, settings.conditioned, binary)
        self.masker.to(device_of(detector.model))
        optimiser = torch.optim.Adam(
            self.masker.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        super().__init__(detector, self.masker, train, held_out, settings, optimiser, settings.decay_every)
        # A copy, so that neither freezing nor training the classifier changes the detector.
        self.classifier = copy.deepcopy(detector.model).requires_grad_(settings.alongside).eval()
        frozen = [self.classifier.get_submodule(name).requires_grad_(False) for name in detector.frozen]
        self.alongside = Alongside(self.classifier, settings, frozen) if settings.alongside else None

    def step(
        self, batch: Tensor, classes: Tensor, human: Tensor | None, random: np.random.Generator
    ) -> tuple[float, float]:
        """The masker's loss, and whether an earlier state of the classifier judged the masks."""
        with Hidden(self.classifier, list(self.masker.stages)) as hidden:
            if self.alongside:
                self.alongside.decay(self.optimiser.param_groups[0]["lr"] / self.settings.learning_rate)
                logits = self.alongside.learn_clean(lambda: self._logits(self.classifier, batch), classes, random)
            else:
                with torch.no_grad():
                    logits = self._logits(self.classifier, batch)
            mask = self.drawn(self.masker(hidden(), classes))
        correct = logits.detach().argmax(1) == classes
        mask = on_image(mask, self.detector.size)
        judge, learns = self.alongside.judge(random) if self.alongside else (self.classifier, False)
        loss, entropies = self.objective(judge, batch, classes, correct, mask)
        weights = list(self.masker.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=learns), strict=True):
            weight.grad = gradient
        if learns:
            self.alongside.step(torch.autograd.grad(entropies, self.alongside.weights))
        nn.utils.clip_grad_norm_(weights, self.settings.clip)
        self.optimiser.step()
        return loss.item(), judge is not self.classifier

    def objective(
        self, judge: nn.Module, batch: Tensor, classes: Tensor, correct: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The masker's loss, and the cross-entropy that a classifier trained alongside has on the masked images."""
        settings = self.settings
        size_out = (15.0 if settings.alongside else 10.0) if settings.size_out is None else settings.size_out
        loss, entropies = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        if settings.mask_in:
            logits = self._logits(judge, shown(batch, mask, settings.infill))
            loss = loss + mask_in_loss(logits, classes, mask, settings.size_in)
            entropies = entropies + cross_entropy(logits, classes)
        if settings.mask_out:
            logits = self._logits(judge, shown(batch, 1 - mask, settings.infill))
            loss = loss + mask_out_loss(logits, classes, correct, mask, size_out)
            entropies = entropies + cross_entropy(logits, classes)
        if settings.variation:
            loss = loss + settings.variation * (settings.mask_in + settings.mask_out) * total_variation(mask)
        return loss, entropies

    def drawn(self, logits: Tensor) -> Tensor:
        """Soft masks, or binary masks drawn with their probabilities and the gradient of soft ones (Gumbel-Softmax)."""
        if not self.settings.binary:
            return logits.sigmoid()
        uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
        soft = ((logits + uniform.logit()) / self.settings.temperature).sigmoid()
        return (soft > 0.5).float() + soft - soft.detach()

    def summary(self, numbers: list[float], images: int) -> dict[str, float]:
        """The share of batches that an earlier state of the classifier judged."""
        return {"against_zoo": float(np.mean(numbers))}

    @torch.no_grad()
    def validate(self) -> dict[str, float | str]:
        """Accuracy on clean, masked-in and masked-out validation images, and properties of their masks."""
        self.masker.eval()
        self.classifier.eval()
        data, infill = self.held_out, self.settings.infill
        collected: dict[str, list[Tensor]] = {}
        with Hidden(self.classifier, list(self.masker.stages)) as hidden, loop.random_numbers(0, 0):
            for start in range(0, len(data.images), self.settings.batch_size):
                part = slice(start, start + self.settings.batch_size)
                batch = as_input(data.images[part], self.detector, self.device)
                logits, classes = self._logits(self.classifier, batch), data.classes[part].to(self.device)
                if not torch.isfinite(logits).all():
                    raise InputError("the classifier's answers to validation images are no numbers; lower its rate")
                small = self.masker.masks(hidden(), classes)
                mask = on_image(small, self.detector.size)
                decisions = {
                    "accuracy": logits,
                    "masked_in_accuracy": self._logits(self.classifier, shown(batch, mask, infill)),
                    "masked_out_accuracy": self._logits(self.classifier, shown(batch, 1 - mask, infill)),
                }
                values = {name: output.argmax(1) == classes for name, output in decisions.items()}
                values |= {"mask_mean": small.mean((1, 2)), "collapsed": collapsed(small)}
                for name, value in (values | {"predicted": logits.argmax(1)}).items():
                    collected.setdefault(name, []).append(value.float())
        means = {name: float(torch.cat(values).mean()) for name, values in collected.items()}
        predicted = means.pop("predicted")
        return {**means, "never_predicted": {0.0: LABELS[1], 1.0: LABELS[0]}.get(predicted, "")}

    def rank(self, row: dict) -> None:
        """No rank: the last epoch is kept."""

    def files(self, path: Path, about: dict, weights: dict[str, Tensor], curves: list[dict]) -> dict[Path, dict]:
        """The masker, after the checkpoint of the classifier trained alongside."""
        about = {**about, "curves": curves}
        masker = self.masker
        read = {"classifier": weights_hash(self.classifier), "stages": masker.stages, "side": masker.side}
        files = {path: {"format": MASKER_FORMAT, **about, **read, "weights": weights}}
        if self.alongside:
            about["frozen"] = list(self.detector.frozen)
            checkpoint = {"format": CHECKPOINT_FORMAT, **about, "weights": self.classifier.state_dict()}
            return {alongside_of(path): checkpoint, **files}
        return files

    def state(self) -> dict:
        """Everything that another process needs to continue after an epoch."""
        return super().state() | ({"alongside": self.alongside.state()} if self.alongside else {})

    def load(self, state: dict) -> None:
        """Continue from the ``state`` of another process."""
        super().load(state)
        if self.alongside:
            self.alongside.load(state["alongside"])

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            output = model(images)
        return two_logits(self.detector, output, len(images)).float()


class Alongside:
    """A classifier trained alongside the masker, and the zoo of its earlier states.

    A masker judged by one classifier learns the weak spots of that classifier. A masker judged by many learns where the
    evidence is. Published code draws a state from the zoo and then passes the masked images through the present
    classifier all the same; ``settings.zoo`` off does that.

    Args:
        classifier: is trained in place.
        settings: hyper-parameters.
        frozen: modules of the classifier that keep their weights, batch normalisation included.
    """

    def __init__(self, classifier: nn.Module, settings: MaskerSettings, frozen: Sequence[nn.Module] = ()):
        self.classifier, self.settings, self.frozen = classifier, settings, frozen
        self.weights = [weight for weight in classifier.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.SGD(
            self.weights, settings.classifier_rate, settings.momentum, weight_decay=settings.weight_decay
        )
        self.earlier = copy.deepcopy(classifier).requires_grad_(False)
        self.zoo: list[dict[str, Tensor]] = []
        self.batches = 0

    def decay(self, share: float) -> None:
        """Set the learning rate to this share of the first one: it decays as the masker's does."""
        self.optimiser.param_groups[0]["lr"] = self.settings.classifier_rate * share

    def learn_clean(self, logits_of: Callable[[], Tensor], classes: Tensor, random: np.random.Generator) -> Tensor:
        """Take a step on clean images and return their logits; the state joins the zoo every ``ZOO_EVERY`` batches."""
        self.classifier.train()
        for module in self.frozen:
            module.eval()
        logits = logits_of()
        self.step(torch.autograd.grad(cross_entropy(logits, classes), self.weights))
        if self.batches % ZOO_EVERY == 0:
            # Cloned: on a CPU, .cpu() returns the tensors that training goes on changing.
            state = {name: tensor.detach().cpu().clone() for name, tensor in self.classifier.state_dict().items()}
            if len(self.zoo) < ZOO:
                self.zoo.append(state)
            else:
                self.zoo[random.integers(ZOO)] = state
        self.batches += 1
        return logits.detach()

    def judge(self, random: np.random.Generator) -> tuple[nn.Module, bool]:
        """The classifier that judges the masks of a batch, and whether it learns from the masked images.

        With probability 0.5 the present one judges and learns. Otherwise one drawn from the zoo judges; none learns.
        """
        learns = random.random() < 0.5
        if learns or not self.settings.zoo:
            return self.classifier, learns
        self.earlier.load_state_dict(self.zoo[random.integers(len(self.zoo))])
        return self.earlier.eval(), False

    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """Move the classifier's weights."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.optimiser.step()

    def state(self) -> dict:
        """Everything that another process needs to continue."""
        return {
            "weights": self.classifier.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "zoo": self.zoo,
            "batches": self.batches,
        }

    def load(self, state: dict) -> None:
        """Continue from the ``state`` of another process."""
        self.classifier.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.zoo, self.batches = state["zoo"], state["batches"]
