"""Training a masker: keep the evidence in (mask-in), leave none outside (mask-out), with a small and smooth mask.

After Phang, Park and Geras 2020 (arXiv 2010.09750), whose constants are the defaults here.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, pad
from tqdm import tqdm

from e2m.networks.checkpoints import CHECKPOINT_FORMAT, MASKER_FORMAT, read_checkpoint, weights_hash
from e2m.networks.inputs import as_input, has_bfloat16, two_logits
from e2m.networks.masker import Hidden, Masker, chosen_stages, collapsed, enlarge
from e2m.training import detector as training
from e2m.types import LABELS, Detector, InputError

ZOO = 30
"""States of a classifier trained alongside that are kept; one more every ``ZOO_EVERY`` batches."""
ZOO_EVERY = 100

Infill = Callable[[Tensor, Tensor], Tensor]
"""Normalised images (n, 3, H, W) and the share of each place that is shown (n, 1, H, W) -> what stands in the rest."""


@dataclass(frozen=True)
class Settings(training.Settings):
    """Hyper-parameters of a masker; the defaults are the paper's. Those of training a detector mean the same.

    Attributes:
        decay_every: with the schedule "step", the learning rate is multiplied by 0.1 after so many epochs.
        clip: largest norm of the masker's gradient.
        stages: names of the detector's modules that are read; None reads its last two stages.
        channels: of the masker.
        conditioned: whether the masker is told the class.
        mask_in: the classifier should still recognise the class in what the mask lets through.
        mask_out: the classifier should be undecided about the rest.
        size_in: weight of a small mask where the masked-in image is classified rightly; 0 leaves it out.
        size_out: the same where the rest is classified wrongly; None is 10, or 15 with ``alongside``.
        variation: weight of total variation, in each of the two objectives.
        infill: what stands where the mask hides the image, one of ``INFILLS``.
        gumbel: temperature of binary masks drawn while training; 0 trains on the soft masks.
        alongside: train the classifier, too ("CA"); otherwise it is fixed ("FIX").
        classifier_rate: learning rate of the classifier trained alongside.
    """

    epochs: int = 60
    batch_size: int = 72
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    decay_every: int = 20
    clip: float = 10.0
    stages: list[str] | None = None
    channels: int = 64
    conditioned: bool = False
    mask_in: bool = True
    mask_out: bool = True
    size_in: float = 1.0
    size_out: float | None = None
    variation: float = 1e-3
    infill: str = "zeros"
    gumbel: float = 0.0
    alongside: bool = False
    classifier_rate: float = 1e-3


def fit(
    detector: Detector,
    train: pd.DataFrame,
    validate: pd.DataFrame,
    path: str | Path,
    settings: Settings,
    *,
    regime: str,
    run: int,
    origin: str = "",
    progress: bool = True,
) -> pd.DataFrame:
    """Train a masker for a trained detector, and keep the weights of the last epoch.

    The detector is left as it is; with ``alongside`` a copy of it is trained, and becomes a checkpoint of its own
    (``alongside_of(path)``), which is what this masker explains. As in
    ``e2m.training.detector.fit``, a call that finds the state of an interrupted one goes on from there with the same
    result, and a finished file is left as it is.

    Args:
        detector: with trained weights.
        train, validate: samples with ``path`` and ``label``.
        path: of the masker's file.
        settings: hyper-parameters.
        regime, run: of the detector, recorded in the file.
        origin: names the images; a file of another origin, or of other weights, is not taken for finished.
        progress: show a bar.

    Returns:
        Learning curves: epoch; loss; against_zoo, the share of batches on which an earlier state of the classifier was
        used; and on the validation images accuracy, masked_in_accuracy, masked_out_accuracy, mask_mean, collapsed (the
        share of masks that let all places through alike) and never_predicted (the class that the classifier gives no
        image, or "").

    Raises:
        InputError: no images of one class, an unknown stage, in-fill or schedule, neither objective, a loss that is
            not finite, no epochs, batches of fewer than two images.
    """
    path = Path(path)
    _require(train, settings)
    origin = f"{origin}, detector {weights_hash(detector.model)}"
    recipe = {"detector": detector.name, "regime": regime, "run": run, "origin": origin, "settings": asdict(settings)}
    if path.is_file() and training.recipe_of(state := read_checkpoint(path, MASKER_FORMAT)) == recipe:
        return pd.DataFrame(state["curves"])
    trainer = _Trainer(detector, training.Images(train, detector), settings)
    held_out = training.Images(validate, detector)
    resume = path.with_suffix(".resume")
    curves, _ = training.go_on(trainer, resume, recipe)
    for epoch in tqdm(range(len(curves), settings.epochs), "epochs", disable=not progress, mininterval=2):
        curves.append({"epoch": epoch, **trainer.epoch(epoch), **trainer.validate(held_out)})
        training.save({"recipe": recipe, "curves": curves, "best": None, "state": trainer.state()}, resume)
    # By way of JSON, the file's bytes do not tell epochs that were read back from those that were not.
    curves = json.loads(json.dumps(curves))
    about = {**recipe, "epoch": settings.epochs - 1, "curves": curves}
    if settings.alongside:
        weights = trainer.classifier.state_dict()
        training.save({"format": CHECKPOINT_FORMAT, **about, "weights": weights}, alongside_of(path))
    read = {"classifier": weights_hash(trainer.classifier), "stages": trainer.masker.stages}
    training.save({"format": MASKER_FORMAT, **about, **read, "weights": trainer.masker.state_dict()}, path)
    resume.unlink(missing_ok=True)
    return pd.DataFrame(curves)


def alongside_of(path: str | Path) -> Path:
    """The checkpoint of the classifier that was trained alongside a masker: run-0.alongside.pt for run-0.masker.pt."""
    path = Path(path)
    return path.with_name(f"{path.stem.removesuffix('.masker')}.alongside.pt")


# Objectives


def mask_in_loss(logits: Tensor, classes: Tensor, mask: Tensor, size: float = 1.0) -> Tensor:
    """``CE(f(x m), y) - size * mean relu(1[masked-in correct] - mean m)``: what is shown tells the class, and is small.

    Args:
        logits: (n, 2) of the masked-in images.
        classes: (n,) true classes.
        mask: (n, 1, H, W) in [0, 1].
        size: weight of a small mask.
    """
    held = (logits.argmax(1) == classes).float()
    return cross_entropy(logits, classes) - size * (held - mask.mean((1, 2, 3))).relu().mean()


def mask_out_loss(logits: Tensor, classes: Tensor, right: Tensor, mask: Tensor, size: float = 10.0) -> Tensor:
    """``-mean(H(f(x (1 - m))) 1[clean correct]) - size * mean relu(1[clean correct, masked-out wrong] - mean m)``.

    The rest of the image leaves the classifier undecided (entropy H), and the mask that does so is small.

    Args:
        logits: (n, 2) of the masked-out images.
        classes: (n,) true classes.
        right: (n,) bool, was the clean image classified rightly?
        mask: (n, 1, H, W) in [0, 1].
        size: weight of a small mask.
    """
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    fooled = (right & (logits.argmax(1) != classes)).float()
    return -(entropy * right).mean() - size * (fooled - mask.mean((1, 2, 3))).relu().mean()


def total_variation(mask: Tensor, border: float = 0.3) -> Tensor:
    """``(squared steps down and across, and border times the squared outermost values) / 2``, summed over places.

    Args:
        mask: (n, 1, H, W).
        border: weight of the mask's edges, where a mask that lies in the image is 0.

    Returns:
        The mean over the n masks.
    """
    steps = mask.diff(dim=2).square().sum() + mask.diff(dim=3).square().sum()
    edges = sum(side.square().sum() for side in (mask[:, :, 0], mask[:, :, -1], mask[..., 0], mask[..., -1]))
    return (steps + border * edges) / (2 * len(mask))


# What stands in the hidden places


def zeros(images: Tensor, shown: Tensor) -> Tensor:
    """0 after normalisation: the detector's mean colour."""
    return torch.zeros_like(images)


def mean(images: Tensor, shown: Tensor) -> Tensor:
    """The image's own mean colour."""
    return images.mean((2, 3), keepdim=True)


def blur(images: Tensor, shown: Tensor) -> Tensor:
    """The image blurred with a Gaussian, whose deviation is 20 pixels at 224."""
    sigma = 20 * images.shape[-1] / 224
    reach = min(math.ceil(3 * sigma), images.shape[-1] - 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=images.device) / sigma) ** 2)
    kernel = (weights / weights.sum()).expand(images.shape[1], 1, 1, -1)
    across = conv2d(pad(images, (reach, reach, 0, 0), "reflect"), kernel, groups=images.shape[1])
    return conv2d(pad(across, (0, 0, reach, reach), "reflect"), kernel.mT, groups=images.shape[1])


def noise(images: Tensor, shown: Tensor) -> Tensor:
    """Gaussian noise of the mean and deviation of each of the image's channels."""
    return images.mean((2, 3), keepdim=True) + images.std((2, 3), keepdim=True) * torch.randn_like(images)


INFILLS: dict[str, Infill] = {"zeros": zeros, "mean": mean, "blur": blur, "noise": noise}


def shown(images: Tensor, share: Tensor, infill: str = "zeros") -> Tensor:
    """Images with ``share`` of each place shown and the rest filled: ``x s + fill (1 - s)``.

    Args:
        images: (n, 3, H, W), normalised.
        share: (n, 1, H, W) in [0, 1]: the mask to mask in, 1 - mask to mask out.
        infill: one of ``INFILLS``; it is told, but learns nothing of, the share.
    """
    return images * share + INFILLS[infill](images, share.detach()) * (1 - share)


# Training


def _require(samples: pd.DataFrame, settings: Settings) -> None:
    training.require(samples, False, settings)
    if settings.infill not in INFILLS:
        raise InputError(f"no in-fill named {settings.infill!r}; choose from {', '.join(INFILLS)}")
    if not (settings.mask_in or settings.mask_out):
        raise InputError("neither mask_in nor mask_out; a masker needs one of the two objectives, or both")
    if settings.gumbel < 0:
        raise InputError(f"gumbel is {settings.gumbel}; give a temperature above 0, or 0 for soft masks")


class _Trainer:
    """The masker, its classifier and their optimisers; one call an epoch."""

    def __init__(self, detector: Detector, data: training.Images, settings: Settings):
        training.repeatable()
        self.detector, self.data, self.settings = detector, data, settings
        self.device = next(detector.model.parameters()).device
        self.mixed = settings.mixed_precision and has_bfloat16(self.device)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            chosen = chosen_stages(detector, settings.stages)
            self.masker = Masker(chosen, settings.channels, settings.conditioned).to(self.device)
        self.optimiser = torch.optim.Adam(
            self.masker.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule, self.every_step = training.schedule_of(
            self.optimiser, settings, len(data.classes), settings.decay_every
        )
        # A copy, so that a frozen or a trained classifier is none of the detector's concern.
        self.classifier = copy.deepcopy(detector.model).requires_grad_(settings.alongside).eval()
        self.alongside = _Alongside(self.classifier, settings) if settings.alongside else None

    def epoch(self, epoch: int) -> dict[str, float]:
        self.masker.train()
        total, count, drawn = 0.0, 0, []
        with (
            training.random_numbers(self.settings.seed, epoch) as random,
            Hidden(self.classifier, list(self.masker.stages)) as hidden,
        ):
            for rows in training.draw(self.data.classes.numpy(), self.settings, random):
                batch, classes, _ = self.data.batch(rows, self.settings, random, self.device)
                value, earlier = self._step(batch, classes, hidden, random)
                if not math.isfinite(value):
                    raise InputError(f"the loss became {value} in epoch {epoch}; lower learning_rate")
                total, count = total + value * len(rows), count + len(rows)
                drawn.append(earlier)
        if not self.every_step:
            self.schedule.step()
        return {"loss": total / count, "against_zoo": float(np.mean(drawn))}

    def _step(self, batch: Tensor, classes: Tensor, hidden: Hidden, random: np.random.Generator) -> tuple[float, bool]:
        """One step of the masker (and of its classifier): the masker's loss, and was it judged by an earlier state?"""
        if self.alongside:
            logits = self.alongside.learn_clean(lambda: self._logits(self.classifier, batch), classes, random)
        else:
            with torch.no_grad():
                logits = self._logits(self.classifier, batch)
        right = logits.detach().argmax(1) == classes
        mask = enlarge(self._drawn(self.masker(hidden(), classes))[:, None], self.detector.size)
        judge, own = self.alongside.judge(random) if self.alongside else (self.classifier, False)
        loss, entropies = self._objective(judge, batch, classes, right, mask)
        weights = list(self.masker.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=own), strict=True):
            weight.grad = gradient
        if own:
            self.alongside.step(torch.autograd.grad(entropies, self.alongside.weights))
        nn.utils.clip_grad_norm_(weights, self.settings.clip)
        self.optimiser.step()
        if self.every_step:
            self.schedule.step()
        return loss.item(), bool(self.alongside) and not own

    def _objective(
        self, judge: nn.Module, batch: Tensor, classes: Tensor, right: Tensor, mask: Tensor
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
            loss = loss + mask_out_loss(logits, classes, right, mask, size_out)
            entropies = entropies + cross_entropy(logits, classes)
        if settings.variation:
            loss = loss + settings.variation * (settings.mask_in + settings.mask_out) * total_variation(mask)
        return loss, entropies

    def _drawn(self, logits: Tensor) -> Tensor:
        """Soft masks, or binary ones drawn at their odds, with the gradient of soft ones (Gumbel-Softmax)."""
        if not self.settings.gumbel:
            return logits.sigmoid()
        share = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
        soft = ((logits + share.logit()) / self.settings.gumbel).sigmoid()
        return (soft > 0.5).float() + soft - soft.detach()

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits = model(images)
        return two_logits(self.detector, logits.float())

    @torch.no_grad()
    def validate(self, data: training.Images) -> dict[str, float | str]:
        """What the mask lets through and what it leaves, on images that are not trained on."""
        self.masker.eval()
        self.classifier.eval()
        found: dict[str, list[Tensor]] = {}
        with Hidden(self.classifier, list(self.masker.stages)) as hidden, training.random_numbers(0, 0):
            for start in range(0, len(data.images), self.settings.batch_size):
                part = slice(start, start + self.settings.batch_size)
                batch = as_input(data.images[part], self.detector, self.device)
                logits, classes = self._logits(self.classifier, batch), data.classes[part].to(self.device)
                small = self.masker(hidden(), classes).sigmoid()
                mask = enlarge(small[:, None], self.detector.size)
                seen = {
                    "accuracy": logits,
                    "masked_in_accuracy": self._logits(self.classifier, shown(batch, mask, self.settings.infill)),
                    "masked_out_accuracy": self._logits(self.classifier, shown(batch, 1 - mask, self.settings.infill)),
                }
                values = {name: one.argmax(1) == classes for name, one in seen.items()}
                values |= {"mask_mean": small.mean((1, 2)), "collapsed": collapsed(small)}
                for name, value in (values | {"predicted": logits.argmax(1)}).items():
                    found.setdefault(name, []).append(value.float())
        means = {name: float(torch.cat(values).mean()) for name, values in found.items()}
        only = means.pop("predicted")
        return {**means, "never_predicted": {0.0: LABELS[1], 1.0: LABELS[0]}.get(only, "")}

    def state(self) -> dict:
        state = {
            "weights": self.masker.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        return state | ({"alongside": self.alongside.state()} if self.alongside else {})

    def load(self, state: dict) -> None:
        self.masker.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.alongside:
            self.alongside.load(state["alongside"])


class _Alongside:
    """A classifier that learns beside the masker, and the zoo of its earlier states.

    A masker that is judged by one classifier learns that classifier's weak spots; one that is judged by many learns
    where evidence lies.
    """

    def __init__(self, classifier: nn.Module, settings: Settings):
        self.classifier = classifier
        self.weights = [weight for weight in classifier.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.SGD(
            self.weights, settings.classifier_rate, settings.momentum, weight_decay=settings.weight_decay
        )
        self.earlier = copy.deepcopy(classifier).requires_grad_(False)
        self.zoo: list[dict[str, Tensor]] = []
        self.batches = 0

    def learn_clean(self, logits_of: Callable[[], Tensor], classes: Tensor, random: np.random.Generator) -> Tensor:
        """One step on clean images, whose logits it gives; from time to time the new state joins the zoo."""
        self.classifier.train()
        logits = logits_of()
        self.step(torch.autograd.grad(cross_entropy(logits, classes), self.weights))
        if self.batches % ZOO_EVERY == 0:
            # Cloned: on a processor, .cpu() gives the very weights that go on learning.
            state = {name: tensor.detach().cpu().clone() for name, tensor in self.classifier.state_dict().items()}
            if len(self.zoo) < ZOO:
                self.zoo.append(state)
            else:
                self.zoo[random.integers(ZOO)] = state
        self.batches += 1
        return logits.detach()

    def judge(self, random: np.random.Generator) -> tuple[nn.Module, bool]:
        """The classifier that judges the masks of a batch: half of the time its present self, which then also learns
        from the masked images (True), otherwise one of the zoo."""
        if random.random() < 0.5:
            return self.classifier, True
        self.earlier.load_state_dict(self.zoo[random.integers(len(self.zoo))])
        return self.earlier.eval(), False

    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """Move the classifier's weights."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.optimiser.step()

    def state(self) -> dict:
        return {
            "weights": self.classifier.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "zoo": self.zoo,
            "batches": self.batches,
        }

    def load(self, state: dict) -> None:
        self.classifier.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.zoo, self.batches = state["zoo"], state["batches"]
