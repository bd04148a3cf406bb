"""Training a detector; the regime is only the loss that it is given."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from tqdm import tqdm

from e2m.arrays import images as pictures
from e2m.networks.checkpoints import CHECKPOINT_FORMAT, load_weights, read_checkpoint
from e2m.networks.inputs import as_input, has_bfloat16, network_class, two_logits
from e2m.store.paths import write_atomically
from e2m.types import LABELS, Detector, InputError


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate, momentum, weight_decay: of stochastic gradient descent.
        schedule: "step" (learning rate times 0.1 every 12 epochs) or "one_cycle" (up to ``learning_rate`` and down).
        images_per_epoch: draws an epoch, half of them of each class; None shows every image once.
        flip: mirror half of the images left to right.
        shift_px: move images by up to so many pixels, border replicated.
        contrast: multiply normalised images by 1 plus or minus up to this share.
        turns: turn images by 0, 90, 180 or 270 degrees.
        noise: salt and pepper on up to this share of the channel values of half of the images.
        mixed_precision: multiply in bfloat16 where the processor does so by itself, at about half the time.
        seed: of the order of images and of augmentation; the initial weights have their own.
    """

    epochs: int = 50
    batch_size: int = 20
    learning_rate: float = 0.005
    momentum: float = 0.9
    weight_decay: float = 1e-6
    schedule: str = "step"
    images_per_epoch: int | None = None
    flip: bool = False
    shift_px: int = 0
    contrast: float = 0.0
    turns: bool = False
    noise: float = 0.0
    mixed_precision: bool = False
    seed: int = 0


@dataclass
class Batch:
    """What a regime's loss may read of one training batch.

    Attributes:
        logits: (n, 2), authentic and synthetic.
        classes: (n,) true class numbers.
        features: (n, channels, h, w) output of the guided layer.
        weights: (2, channels) of the head, authentic and synthetic; None where the detector names no head.
        human_maps: (n, H, W) in [0, 1], human salience at any size; None where the regime is not guided.
    """

    logits: Tensor
    classes: Tensor
    features: Tensor
    weights: Tensor | None
    human_maps: Tensor | None = None
    _cam: Tensor | None = field(default=None, repr=False)

    @property
    def cam(self) -> Tensor:
        """(n, h, w) in [0, 1]: the predicted class's weights times the features, not rectified, min-max normalised."""
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
    """(n, h, w) maps stretched to [0, 1] each; a constant map becomes zeros."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    span = high - low
    # Divided by 1, and not by next to nothing, a constant map keeps its gradient within bounds.
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
    progress: bool = True,
) -> pd.DataFrame:
    """Train a detector and keep the weights of its best epoch.

    The best epoch has the highest validation accuracy, and among equals the lowest validation cross-entropy. After
    every epoch the whole state is kept beside the checkpoint (``.resume``); a call that finds it goes on from there,
    with the same result as a call that was never interrupted. A finished checkpoint with the same settings is left
    as it is.

    Args:
        detector: with initial weights; trained in place.
        train, validate: samples with ``path``, ``label`` and, if ``guided``, ``salience``.
        loss: of a regime.
        path: of the checkpoint to write.
        settings: hyper-parameters.
        regime, run: recorded in the checkpoint.
        guided: whether the loss reads human salience.
        replace_targets: of a regime that trains on other labels or human maps than the true ones: see ``e2m.regimes``.
        origin: names the images and the initial weights; a checkpoint of another origin is not taken for finished.
        progress: show a bar.

    Returns:
        Learning curves: epoch, loss, train_accuracy, validation_accuracy, validation_cross_entropy, kept.

    Raises:
        InputError: no images of one class, no human salience for a guided regime, a loss that is not finite,
            no epochs, batches of fewer than two images.
    """
    path = Path(path)
    recipe = {"detector": detector.name, "regime": regime, "run": run, "origin": origin, "settings": asdict(settings)}
    if path.is_file() and recipe_of(state := read_checkpoint(path)) == recipe:
        detector.model.load_state_dict(state["weights"])
        detector.model.eval()
        return pd.DataFrame(state["curves"])
    require(train, guided, settings)
    trainer = _Trainer(detector, Images(train, detector, guided, replace_targets, settings.seed), loss, settings)
    held_out = Images(validate, detector, guided=False)
    resume = path.with_suffix(".resume")
    curves, best = go_on(trainer, resume, recipe)
    for epoch in tqdm(range(len(curves), settings.epochs), "epochs", disable=not progress, mininterval=2):
        row = {"epoch": epoch, **trainer.epoch(epoch), **_validate(detector, held_out, settings.batch_size)}
        rank = [row["validation_accuracy"], -row["validation_cross_entropy"]]
        if best is None or rank > best["rank"]:
            weights = {name: tensor.cpu().clone() for name, tensor in detector.model.state_dict().items()}
            best = {"epoch": epoch, "rank": rank, "weights": weights}
        curves.append(row)
        state = {"recipe": recipe, "curves": curves, "best": best, "state": trainer.state()}
        save(state, resume)
    curves = [{**row, "kept": row["epoch"] == best["epoch"]} for row in curves]
    checkpoint = {"format": CHECKPOINT_FORMAT, **recipe, "epoch": best["epoch"], "weights": best["weights"]}
    # By way of JSON, the file's bytes do not tell epochs that were read back from those that were not.
    save({**checkpoint, "curves": json.loads(json.dumps(curves))}, path)
    resume.unlink(missing_ok=True)
    load_weights(detector, path)
    detector.model.eval()
    return pd.DataFrame(curves)


def save(state: dict, path: Path) -> None:
    """Write tensors and plain values, readable with ``weights_only``, or leave what stood there as it was."""
    # By way of memory: torch tells of a full disk by an error of its own that does not say so.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def recipe_of(state: dict) -> dict:
    """What a finished file was made by; one of another recipe is not taken for finished."""
    return {name: state[name] for name in ("detector", "regime", "run", "origin", "settings")}


def go_on(trainer: _Trainer, resume: Path, recipe: dict) -> tuple[list[dict], dict | None]:
    """Put the state of an interrupted training of the same recipe into a trainer: its curves and best epoch so far."""
    if not resume.is_file():
        return [], None
    state = torch.load(resume, map_location="cpu", weights_only=True)
    if state["recipe"] != recipe:
        return [], None
    trainer.load(state["state"])
    return state["curves"], state["best"]


def require(samples: pd.DataFrame, guided: bool, settings: Settings) -> None:
    """Whether there is something to train on, and numbers that fit.

    Raises:
        InputError: there is not.
    """
    for name, least in (("epochs", 1), ("batch_size", 2), ("images_per_epoch", 2)):
        if (value := getattr(settings, name)) is not None and value < least:
            raise InputError(f"{name} is {value}; give a whole number from {least} up")
    if not 0 <= settings.noise <= 1:
        raise InputError(f"noise is {settings.noise}; give a share from 0 to 1")
    missing = sorted(set(LABELS) - set(samples["label"]))
    if missing:
        raise InputError(f"no {missing[0]} images to train on; both of {LABELS} are needed")
    without = samples.loc[samples["salience"] == "", "image"] if guided else []
    if len(without):
        raise InputError(
            f"{len(without)} of {len(samples)} training images have no human salience (first: {without.iloc[0]}); "
            "give maps for all of them, or train with cross_entropy"
        )


class Images:
    """Images of a split in memory at the detector's size, with their human maps."""

    def __init__(
        self,
        samples: pd.DataFrame,
        detector: Detector,
        guided: bool = False,
        replace_targets: Callable | None = None,
        seed: int = 0,
    ):
        self.detector = detector
        self.images = np.concatenate(list(pictures.read_images(samples, size=detector.size)))
        classes = (samples["label"] == LABELS[1]).to_numpy(np.int64)
        human = pictures.read_maps(samples["salience"], shape=(detector.size, detector.size)) if guided else None
        if replace_targets is not None:
            # A stream of its own: order and augmentation stay those of the other regimes.
            classes, human = replace_targets(classes, human, np.random.default_rng([seed, *b"told"]))
        self.classes, self.human = torch.from_numpy(classes), human

    def batch(
        self, rows: np.ndarray, settings: Settings, random: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Some images, augmented and as the detector's input, with their classes and human maps."""
        images, human = self.images[rows], None if self.human is None else self.human[rows]
        images, human = augment(images, human, settings, random)
        batch = as_input(images, self.detector, device)
        if settings.contrast:
            gains = torch.from_numpy(random.uniform(1 - settings.contrast, 1 + settings.contrast, len(rows)))
            batch *= gains.float().to(device).view(-1, 1, 1, 1)
        return batch, self.classes[rows].to(device), None if human is None else as_share(human, device)


class _Trainer:
    """The network with its optimiser and schedule; one call an epoch."""

    def __init__(self, detector: Detector, data: Images, loss: Callable, settings: Settings):
        repeatable()
        self.detector, self.data, self.loss, self.settings = detector, data, loss, settings
        self.device = next(detector.model.parameters()).device
        parameters = [weight for weight in detector.model.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.SGD(
            parameters, settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        self.schedule, self.every_step = schedule_of(self.optimiser, settings, len(data.classes), every=12)
        self.mixed = settings.mixed_precision and has_bfloat16(self.device)

    def epoch(self, epoch: int) -> dict[str, float]:
        with random_numbers(self.settings.seed, epoch) as random:
            return self._epoch(epoch, random)

    def _epoch(self, epoch: int, random: np.random.Generator) -> dict[str, float]:
        self.detector.model.train()
        total, right, count = 0.0, 0, 0
        for rows in draw(self.data.classes.numpy(), self.settings, random):
            seen = self._see(*self.data.batch(rows, self.settings, random, self.device))
            value = self.loss(seen)
            if not torch.isfinite(value):
                raise InputError(f"the loss became {value.item()} in epoch {epoch}; lower learning_rate")
            self.optimiser.zero_grad(set_to_none=True)
            value.backward()
            self.optimiser.step()
            if self.every_step:
                self.schedule.step()
            total += value.item() * len(rows)
            right += int((seen.logits.argmax(1) == seen.classes).sum())
            count += len(rows)
        if not self.every_step:
            self.schedule.step()
        return {"loss": total / count, "train_accuracy": right / count}

    def _see(self, batch: Tensor, classes: Tensor, human: Tensor | None) -> Batch:
        model, name = self.detector.model, self.detector.guided_layer or self.detector.layer
        kept = {}
        hook = model.get_submodule(name).register_forward_hook(
            # Cloned: DenseNet's next operation writes over these features.
            lambda _module, _inputs, output: kept.update(features=output.clone())
        )
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                logits = model(batch)
        finally:
            hook.remove()
        logits = two_logits(self.detector, logits.float())
        return Batch(logits, classes, kept["features"].float(), self._head_weights(), human)

    def _head_weights(self) -> Tensor | None:
        if self.detector.head is None:
            return None
        weights = self.detector.model.get_submodule(self.detector.head).weight
        if len(weights) == 1:
            return torch.cat([-weights, weights])
        return weights[network_class(self.detector, torch.arange(2))]

    def state(self) -> dict:
        return {
            "weights": self.detector.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load(self, state: dict) -> None:
        self.detector.model.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def repeatable() -> None:
    """Let torch choose algorithms that give the same result every time."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Writing over fresh memory first finds reads of what was never written; here it would cost time for nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False


@contextmanager
def random_numbers(seed: int, epoch: int) -> Iterator[np.random.Generator]:
    """The random numbers of an epoch, of numpy and (by its own stream) of torch, whose state is put back.

    They depend on seed and epoch alone, so that going on from a saved epoch repeats what would have been.
    """
    with torch.random.fork_rng():
        # Dropout draws from torch's own stream.
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        yield np.random.default_rng([seed, epoch])


def schedule_of(
    optimiser: torch.optim.Optimizer, settings: Settings, images: int, every: int
) -> tuple[torch.optim.lr_scheduler.LRScheduler, bool]:
    """The learning rate's schedule, and whether it moves with every batch instead of every epoch.

    Args:
        optimiser: whose learning rate changes.
        settings: with the schedule's name.
        images: how many there are to train on.
        every: epochs from one step down to the next, with the schedule "step".

    Raises:
        InputError: no schedule of that name.
    """
    if settings.schedule == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, every, 0.1), False
    if settings.schedule == "one_cycle":
        steps = settings.epochs * math.ceil((settings.images_per_epoch or images) / settings.batch_size)
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, steps), True
    raise InputError(f"no schedule named {settings.schedule!r}; choose from one_cycle, step")


def draw(classes: np.ndarray, settings: Settings, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Row numbers of an epoch's batches: every image once, or so many of each class, none twice before all once."""
    if settings.images_per_epoch is None:
        order = random.permutation(len(classes))
    else:
        half = settings.images_per_epoch // 2
        rows = [np.flatnonzero(classes == number) for number in (0, 1)]
        shuffled = [[random.permutation(own) for _ in range(math.ceil(half / len(own)))] for own in rows]
        order = random.permutation(np.concatenate([np.concatenate(own)[:half] for own in shuffled]))
    # A last batch of one image has no variance to normalise by.
    for start in range(0, len(order), settings.batch_size):
        if len(rows := order[start : start + settings.batch_size]) > 1:
            yield rows


def augment(
    images: np.ndarray, human: np.ndarray | None, settings: Settings, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mirror, move and turn images (n, H, W, 3), and their human maps (n, H, W) in the same way; noise is the images'.

    Borders are replicated. Turns and noise draw random numbers only where they are asked for.
    """
    flips = random.random(len(images)) < 0.5 if settings.flip else np.zeros(len(images), bool)
    reach = settings.shift_px
    shifts = random.integers(-reach, reach + 1, (len(images), 2))
    images = _moved(images, flips, shifts, reach)
    human = None if human is None else _moved(human, flips, shifts, reach)
    if settings.turns:
        turns = random.integers(0, 4, len(images))
        images, human = _turned(images, turns), None if human is None else _turned(human, turns)
    return (_noisy(images, settings.noise, random) if settings.noise else images), human


def _moved(stack: np.ndarray, flips: np.ndarray, shifts: np.ndarray, reach: int) -> np.ndarray:
    height, width = stack.shape[1:3]
    out = np.empty_like(stack)
    wide = np.pad(stack, [(0, 0), (reach, reach), (reach, reach), *[(0, 0)] * (stack.ndim - 3)], mode="edge")
    for moved, picture, flip, (top, left) in zip(out, wide, flips, reach - shifts, strict=True):
        window = picture[top : top + height, left : left + width]
        moved[:] = window[:, ::-1] if flip else window
    return out


def _turned(stack: np.ndarray, turns: np.ndarray) -> np.ndarray:
    return np.stack([np.rot90(picture, turn) for picture, turn in zip(stack, turns, strict=True)])


def _noisy(images: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    shares = random.uniform(0, most, len(images)) * (random.random(len(images)) < 0.5)
    shares = shares.astype(np.float32)[:, None, None, None]
    draw = random.random(images.shape, np.float32)
    noisy = images.copy()
    noisy[draw < shares] = 255
    noisy[draw < shares / 2] = 0
    return noisy


def as_share(maps: np.ndarray, device: torch.device) -> Tensor:
    """8-bit maps as float32 in [0, 1]; float maps as they are."""
    tensor = torch.from_numpy(maps).to(device)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


@torch.no_grad()
def _validate(detector: Detector, data: Images, batch_size: int) -> dict[str, float]:
    detector.model.eval()
    device = next(detector.model.parameters()).device
    logits = torch.cat(
        [
            two_logits(
                detector, detector.model(as_input(data.images[start : start + batch_size], detector, device))
            ).cpu()
            for start in range(0, len(data.images), batch_size)
        ]
    )
    return {
        "validation_accuracy": float((logits.argmax(1) == data.classes).float().mean()),
        "validation_cross_entropy": float(cross_entropy(logits, data.classes)),
    }


def parameters(model: nn.Module) -> int:
    """Number of trainable weights of a network."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
