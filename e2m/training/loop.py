"""The training loop of detectors and maskers: epochs, resuming, learning curves, and the file written at the end."""

from __future__ import annotations

import io
import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from e2m.networks.checkpoints import BROKEN, CHECKPOINT_FORMAT, read_checkpoint
from e2m.networks.inputs import device_of, has_bfloat16
from e2m.networks.process import restored
from e2m.store import disk, seals
from e2m.store.paths import write_atomically
from e2m.training.images import Images, draw
from e2m.training.settings import Settings
from e2m.types import Detector, InputError


class Trainer(ABC):
    """A network with its images, optimiser and schedule; a subclass defines one step and the files to write.

    Args:
        detector: the detector that receives the images.
        network: the network to train.
        train, held_out: images to train and to validate on.
        settings: hyper-parameters.
        optimiser: optimiser of the network's weights.
        decay_every: epochs between two steps of the schedule "step".
    """

    def __init__(
        self,
        detector: Detector,
        network: nn.Module,
        train: Images,
        held_out: Images,
        settings: Settings,
        optimiser: torch.optim.Optimizer,
        decay_every: int,
    ):
        self.detector, self.network, self.settings = detector, network, settings
        self.data, self.held_out = train, held_out
        self.device = device_of(detector.model)
        self.mixed = settings.mixed_precision and has_bfloat16(self.device)
        self.optimiser = optimiser
        if settings.schedule == "step":
            self.schedule = torch.optim.lr_scheduler.StepLR(optimiser, decay_every, 0.1)
        else:
            batches = math.ceil((settings.images_per_epoch or len(train.classes)) / settings.batch_size)
            steps = settings.epochs * batches
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, steps)

    @abstractmethod
    def step(
        self, batch: Tensor, classes: Tensor, human: Tensor | None, random: np.random.Generator
    ) -> tuple[float, float]:
        """Learn from one batch; return its loss, and a number for ``summary``."""

    @abstractmethod
    def summary(self, numbers: list[float], images: int) -> dict[str, float]:
        """Further columns of the curves, from the numbers of an epoch's batches and its number of images."""

    @abstractmethod
    def validate(self) -> dict[str, float | str]:
        """Columns of the curves from the validation images."""

    @abstractmethod
    def rank(self, row: dict) -> list[float] | None:
        """Rank of an epoch from its row of the curves. The highest-ranked epoch is kept, the last of several.

        None keeps the last epoch.
        """

    @abstractmethod
    def files(self, path: Path, about: dict, weights: dict[str, Tensor], curves: list[dict]) -> dict[Path, dict]:
        """The files of a finished training with their contents, in the order of writing; ``path`` comes last.

        Args:
            path: path of the finished file.
            about: the recipe and the kept epoch.
            weights: weights of the network after that epoch.
            curves: one row an epoch.
        """

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for one epoch; return its columns of the curves.

        Raises:
            InputError: the loss is not finite.
        """
        self.train_mode()
        total, images, numbers = 0.0, 0, []
        by_batch = self.settings.schedule == "one_cycle"
        with random_numbers(self.settings.seed, epoch) as random:
            for rows in draw(self.data.classes.numpy(), self.settings, random):
                loss, number = self.step(*self.data.batch(rows, self.settings, random, self.device), random)
                if not math.isfinite(loss):
                    raise InputError(f"the loss became {loss} in epoch {epoch}; lower learning_rate")
                if by_batch:
                    self.schedule.step()
                total, images = total + loss * len(rows), images + len(rows)
                numbers.append(number)
        if not by_batch:
            self.schedule.step()
        return {"loss": total / images, **self.summary(numbers, images)}

    def train_mode(self) -> None:
        """Put the network into training mode."""
        self.network.train()

    def state(self) -> dict:
        """Everything that another process needs to continue after an epoch."""
        return {
            "weights": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load(self, state: dict) -> None:
        """Continue from the ``state`` of another process."""
        self.network.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


@restored()
def run(
    trainer: Callable[[], Trainer], path: Path, recipe: dict, kind: str = CHECKPOINT_FORMAT, progress: bool = True
) -> dict:
    """Train, or read the file of a finished training.

    After every epoch the whole state is saved beside the file (``.resume``). The next call continues from it, with the
    same result as an uninterrupted call; if it is damaged, stderr says so and the training starts over. A finished file
    of the same recipe is read and not written again.

    Args:
        trainer: makes the trainer; called only if something is to be trained.
        path: path of the finished file.
        recipe: everything that the training depends on: detector, regime, run, origin, settings.
        kind: format of the file.
        progress: show a progress bar.

    Returns:
        The content of the finished file: the recipe, weights, curves, ...

    Raises:
        InputError: the loss is not finite, or ``path`` holds another kind of file.
        OSError: a file cannot be written; the message names it.
    """
    if path.is_file() and recipe_of(content := read_checkpoint(path, kind, ("curves",))) == recipe:
        return content
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory detects reads of uninitialised values; it would cost time here and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False
    trainer = trainer()
    epochs = recipe["settings"]["epochs"]
    resume = path.with_suffix(".resume")
    curves, best = _resumed(trainer, resume, recipe)
    for epoch in tqdm(range(len(curves), epochs), "epochs", disable=not progress, mininterval=2):
        row = {"epoch": epoch, **trainer.epoch(epoch), **trainer.validate()}
        rank = trainer.rank(row)
        if rank is not None and (best is None or rank >= best["rank"]):
            weights = {name: tensor.cpu().clone() for name, tensor in trainer.network.state_dict().items()}
            best = {"epoch": epoch, "rank": rank, "weights": weights}
        curves.append(row)
        save({"recipe": recipe, "curves": curves, "best": best, "state": trainer.state()}, resume)
    if best is not None:
        curves = [{**row, "kept": row["epoch"] == best["epoch"]} for row in curves]
    # After a pass through JSON, the file's bytes do not depend on which epochs were resumed.
    curves = json.loads(json.dumps(curves))
    kept, weights = (best["epoch"], best["weights"]) if best else (epochs - 1, trainer.network.state_dict())
    for file, content in trainer.files(path, {**recipe, "epoch": kept}, weights, curves).items():
        save(content, file)
    resume.unlink(missing_ok=True)
    return content


def save(content: dict, path: Path) -> None:
    """Write tensors and plain values, readable with ``weights_only``; if writing fails, ``path`` stays unchanged.

    The seal is the comment of the archive, which is its end, after two bytes with the comment's length.
    """
    # Saved to memory first: torch's error for a full disk does not name the cause.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)
    buffer.write(len(seals.SEAL).to_bytes(2, "little") + seals.SEAL.encode())
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def recipe_of(content: dict) -> dict:
    """The recipe of a finished file."""
    return {name: content.get(name) for name in ("detector", "regime", "run", "origin", "settings")}


@contextmanager
def random_numbers(seed: int, epoch: int) -> Iterator[np.random.Generator]:
    """Random numbers of an epoch: a NumPy generator, and a seeded torch stream whose state is restored at the end.

    They depend on seed and epoch alone, so that a resumed training repeats an uninterrupted one.
    """
    with torch.random.fork_rng():
        # Dropout draws from torch's stream.
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        yield np.random.default_rng([seed, epoch])


def _resumed(trainer: Trainer, resume: Path, recipe: dict) -> tuple[list[dict], dict | None]:
    """Load an interrupted training of the same recipe into the trainer; return its curves and best epoch so far."""
    if not resume.is_file():
        return [], None
    try:
        state = torch.load(disk.checked(resume), map_location="cpu", weights_only=True)
    except (InputError, *BROKEN) as error:
        # The state of an unfinished training is worth less than a training that goes on by itself.
        reason = str(error).partition("; ")[0] if isinstance(error, InputError) else f"{resume}: cannot be read"
        tqdm.write(f"{reason}; the training starts over", file=sys.stderr)
        return [], None
    if state["recipe"] != recipe:
        return [], None
    trainer.load(state["state"])
    return state["curves"], state["best"]
