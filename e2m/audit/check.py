"""What goes into a detector and what comes out, in seconds: findings that tell before long work what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from e2m.arrays.images import read_or_mark
from e2m.arrays.ssim import WINDOW
from e2m.datasets import folder
from e2m.detectors import load_detector
from e2m.experiment.inputs import draw
from e2m.networks import layers
from e2m.networks.answers import PROBABILITIES, in_a_line, last_operation
from e2m.networks.describe import own_normalisation
from e2m.networks.inputs import as_input, device_of, raw_logits, two_logits
from e2m.salience.engine import explain
from e2m.types import LABELS, Detector, Explanation, InputError

IMAGES = 64
"""Number of images that are checked."""

_AT_ONCE = 16
_ROUNDING = 1e-3
"""Largest difference of two answers to one image, as a share of the largest logit, that rounding explains."""

_SPAN = 0.2
"""Least span of normalised images from black to white: ImageNet's is 4.4, that of [0, 1] is 1."""

_SHIFT, _RATIO = 3, 3
"""Largest shift of a channel in a batch normalisation, in deviations of training, and largest ratio of deviations."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        level: "stop": numbers would be wrong or could not be computed; "warning": they may be; "note": what is so.
        about: "images", "input", "weights", "layer", "head", "output", "labels" or "salience".
        text: what was found and, where it is wrong, what to do; one line.
    """

    level: Literal["stop", "warning", "note"]
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.about}: {self.text}"


@dataclass(frozen=True)
class Seen:
    """A detector's answers to images.

    Attributes:
        raw: (N, 1) or (N, 2) float64, the logits in the network's order.
        logits: (N, 2) float64, authentic and synthetic.
        last: name of the operation that made the logits, such as "Softmax"; "" if unknown.
        norm: of the first batch normalisation: name, and the share of its training's deviation that its inputs have
            (median over channels), and their shift in such deviations; None without one that was trained.
    """

    raw: np.ndarray
    logits: np.ndarray
    last: str
    norm: tuple[str, float, float] | None

    @property
    def finite(self) -> np.ndarray:
        """(N,) bool: answers that are numbers."""
        return np.isfinite(self.logits).all(axis=1)


@torch.inference_mode(False)
def check(
    detector: Detector, images: np.ndarray, labels: np.ndarray | None = None, salience: str = "GradCAM"
) -> list[Finding]:
    """Everything that stands out about a detector, its weights and its salience on some images.

    The network passes every image twice, and 64 images take seconds.

    Args:
        detector: from ``e2m.load_detector``.
        images: (N, H, W, 3) uint8.
        labels: (N,) "authentic" or "synthetic"; None checks nothing that needs them.
        salience: the salience method.

    Raises:
        InputError: no images, or arrays of another shape or type.
    """
    if len(images) == 0:
        raise InputError("no images to check")
    findings = [*_stated(detector), *_inputs(detector, images)]
    try:
        seen = _seen(detector, images)
    except InputError as error:
        return [*findings, Finding("stop", "output", str(error))]
    if detector.layer:
        findings += [*_layer(detector), *_head(detector, salience)]
    findings += [*_weights(detector, seen), *_outputs(detector, seen)]
    if not seen.finite.any():
        return findings
    if labels is not None:
        findings += _against_labels(detector, seen, np.asarray(labels))
    try:
        explained = explain(detector, images, salience, batch_size=IMAGES)
    except InputError as error:
        return [*findings, Finding("stop", "salience", str(error))]
    return [*findings, *_repeated(detector, images, seen, explained), *_maps(detector, explained, salience)]


def check_file(
    what: str | nn.Module,
    weights: str | Path | None,
    samples: pd.DataFrame,
    salience: str = "GradCAM",
    **options: object,
) -> list[Finding]:
    """``check`` for a detector that is not loaded yet, and for images in files.

    A detector or weights that cannot be loaded are a finding of the level "stop".

    Args:
        what: names the detector, see ``load_detector``.
        weights: file with its weights; None takes the detector as it comes.
        samples: a frame with ``path`` and ``label``, see ``chosen``.
        salience: the salience method.
        options: further arguments of ``load_detector``, such as ``device``.
    """
    try:
        detector = load_detector(what, weights, **options)
    except InputError as error:
        return [Finding("stop", "weights" if weights is not None else "detector", str(error))]
    images, missing = [], []
    for number, (batch, wrong) in enumerate(read_or_mark(samples, detector.size, IMAGES)):
        images.append(batch)
        missing.extend((number * IMAGES + index, error) for index, error in wrong.items())
    readable = np.ones(len(samples), bool)
    readable[[index for index, _ in missing]] = False
    findings = [Finding("warning", "input", str(error)) for _, error in missing]
    if not readable.any():
        return [*findings, Finding("stop", "input", f"none of the {len(samples)} images can be read")]
    if weights is None:
        findings.append(Finding("note", "weights", "those that the detector comes with; none were given"))
    labels = samples["label"].to_numpy()[readable]
    return [*findings, *check(detector, np.concatenate(images)[readable], labels, salience)]


def listing(samples: pd.DataFrame) -> str:
    """The images that a data set found, a line for each source, and what it left out, for reading."""
    left_out = [f"left out: {line}" for line in samples.attrs.get("left_out", [])]
    lines = [*folder.found(samples).to_string(index=False).splitlines(), *left_out]
    return "\n".join(["Images:", *(f"  {line}" for line in lines)])


def of_images(samples: pd.DataFrame, split: str | None = None) -> Iterator[Finding]:
    """How names were read, and files that are equal to others of another label or split.

    Args:
        samples: the images.
        split: only files of which one is of this split; None for all.
    """
    yield from (Finding("note", "images", note) for note in samples.attrs.get("notes", []))
    twins = folder.duplicates(samples)
    if split is not None:
        twins = twins[twins["sha256"].isin(twins.loc[twins["split"] == split, "sha256"])]
    for across, rows in twins.groupby("across"):
        first = " and ".join(rows.loc[rows["sha256"] == rows["sha256"].iloc[0], "image"])
        yield Finding("warning", "images", f"{len(rows)} files are equal to one of another {across}: {first}")


def files(pattern: str, fits: Callable[[Path], bool] = Path.is_file) -> list[Path]:
    """The files of weights that a path or a pattern names, sorted; or the folders, with ``Path.is_dir``.

    Raises:
        InputError: there is none.
    """
    expanded = os.path.expanduser(pattern)  # noqa: PTH111
    matches = [expanded] if fits(Path(expanded)) else sorted(glob(expanded, recursive=True))  # noqa: PTH207
    if not (matches := [path for path in map(Path, matches) if fits(path)]):
        kind = "folder" if fits is Path.is_dir else "file"
        raise InputError(f"--weights {pattern}: no such {kind}; correct the path, or quote the pattern: 'runs/a_*.pt'")
    return matches


def chosen(samples: pd.DataFrame, images: int = IMAGES) -> pd.DataFrame:
    """At most so many images, half of them of each label, evenly from its sources, drawn at random."""
    order = samples.assign(draw=draw(samples)).sort_values(["draw", "source"], kind="stable")
    each = -(-images // order["label"].nunique())
    return order.groupby("label", sort=False).head(each).drop(columns="draw").head(images).reset_index(drop=True)


def _stated(detector: Detector) -> Iterator[Finding]:
    for note in detector.notes:
        about, _, text = note.partition(": ")
        if about not in ("weights", "input", "salience"):
            about, text = "layer", note
        yield Finding("warning" if "fit as well" in note else "note", about, text)


def _inputs(detector: Detector, images: np.ndarray) -> Iterator[Finding]:
    (height, width), taken = detector.shape, images.shape[1:3]
    resized = "" if taken == (height, width) else f", resized from {taken[0]} x {taken[1]}"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (detector.mean, detector.std))
    channels = f"{detector.channels} channel{'s' * (detector.channels > 1)}"
    yield Finding("note", "input", f"{height} x {width} pixels{resized}, {channels}, mean {mean}, std {std}")
    spans = 1 / np.asarray(detector.std, float)
    if spans.max() < _SPAN or max(map(abs, detector.mean)) > 1:
        low, high = (np.array([0, 1])[:, None] - np.asarray(detector.mean)) / np.asarray(detector.std)
        text = (
            f"from black to white, the network gets {low.mean():.3g} to {high.mean():.3g}; images are scaled to [0, 1] "
            "before mean and std are applied: divide both by 255 if they are for [0, 255]"
        )
        yield Finding("stop", "input", text)
    inside = own_normalisation(detector.model)
    if inside is not None and (any(detector.mean) or set(detector.std) != {1}):
        text = f"normalised twice: by the detector, and in the network by {inside}; give mean=(0, 0, 0), std=(1, 1, 1)"
        yield Finding("warning", "input", text)


def _layer(detector: Detector) -> Iterator[Finding]:
    calls = layers.calls_of(detector)
    if calls > 1:
        which = "last" if detector.call is None else f"one of number {detector.call}, from 0,"
        text = f"{detector.layer!r} is called {calls} times in a forward pass; the {which} call is explained"
        yield Finding("warning", "layer", f"{text} (call= chooses)")


def _head(detector: Detector, salience: str) -> Iterator[Finding]:
    level = "stop" if salience == "CAM" else "note"
    if detector.head is None:
        yield Finding(level, "head", "no linear layer that reads pooled features is named: CAM is refused")
        return
    last, pooled = layers.head_of(detector), layers.pooled(detector)
    if pooled == detector.layer:
        yield Finding("note", "head", f"{detector.head}, applied to the mean over the cells of {detector.layer}")
    elif pooled is not None:
        text = f"{detector.head} reads the mean over the cells of {pooled}, not {detector.layer}: so does CAM"
        yield Finding("note", "head", text)
    elif last != detector.head:
        whose = "no linear layer gives the logits" if last is None else f"the logits are those of {last!r}"
        text = f"{detector.head!r} is not the last layer: {whose}"
        yield Finding("stop" if salience == "CAM" else "warning", "head", f"{text}; CAM is refused")
    else:
        text = f"more than pooling lies between {detector.layer!r} and {detector.head!r}: CAM is refused"
        yield Finding(level, "head", text)


def _seen(detector: Detector, images: np.ndarray) -> Seen:
    device = device_of(detector.model)
    parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
    with _first_norm(detector.model) as norm, torch.no_grad():
        raw = torch.cat([_answers(detector, as_input(part, detector, device)) for part in parts])
    logits = two_logits(replace(detector, output=""), raw)
    last = _last_operation(detector, as_input(images[:1], detector, device))
    return Seen(raw.numpy(), logits.numpy(), last, norm())


def _answers(detector: Detector, pixels: Tensor) -> Tensor:
    with in_a_line(detector, f"its network fails on {len(pixels)} images"):
        return raw_logits(detector, detector.model(pixels), len(pixels)).detach().double().cpu()


def _last_operation(detector: Detector, pixels: Tensor) -> str:
    with torch.enable_grad():
        return last_operation(raw_logits(detector, detector.model(pixels.requires_grad_()), 1))


@contextmanager
def _first_norm(model: nn.Module) -> Iterator:
    """The inputs of the first batch normalisation that the block's passes call, against those of its training."""
    trained = {
        module: name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None and not _fresh(module)
    }
    first, sums = [], []

    def note(module: nn.Module, inputs: tuple, _output: object) -> None:
        if not first:
            first.append(module)
        if module is first[0]:
            values = inputs[0].double().transpose(0, 1).flatten(1)
            sums.append(torch.stack([values.mean(1), values.square().mean(1)]).cpu())

    def compared() -> tuple[str, float, float] | None:
        if not sums:
            return None
        mean, square = torch.stack(sums).mean(0)
        deviation, usual = (square - mean.square()).clamp(min=0).sqrt(), first[0].running_var.double().cpu().sqrt()
        shift = (mean - first[0].running_mean.double().cpu()).abs() / usual
        return trained[first[0]], float((deviation / usual).nanmedian()), float(shift.nanmedian())

    hooks = [module.register_forward_hook(note) for module in trained]
    try:
        yield compared
    finally:
        for hook in hooks:
            hook.remove()


def _fresh(norm: nn.BatchNorm2d) -> bool:
    return not norm.running_mean.any() and bool((norm.running_var == 1).all())


def _weights(detector: Detector, seen: Seen) -> Iterator[Finding]:
    norms = [module for module in detector.model.modules() if isinstance(module, nn.BatchNorm2d)]
    norms = [norm for norm in norms if norm.running_var is not None]
    if norms and all(map(_fresh, norms)):
        text = "the network looks untrained: its batch normalisations have seen no image; give weights"
        yield Finding("warning", "weights", text)
    if seen.norm is not None:
        name, ratio, shift = seen.norm
        if not 1 / _RATIO <= ratio <= _RATIO or shift > _SHIFT:
            text = (
                f"what reaches {name!r} has {ratio:.2g} times the deviation that it had in training, and lies "
                f"{shift:.2g} deviations away: trained with another mean and std, or on other images?"
            )
            yield Finding("warning", "input", text)


def _outputs(detector: Detector, seen: Seen) -> Iterator[Finding]:
    missing = int((~seen.finite).sum())
    if missing:
        text = f"{missing} of {len(seen.raw)} answers are no numbers (NaN or infinite)"
        yield Finding("warning" if seen.finite.any() else "stop", "output", f"{text}; those images count as missing")
    raw = seen.raw[seen.finite]
    if not len(raw):
        return
    if raw.shape[1] == 1:
        what = f"one logit, which grows with {LABELS[detector.synthetic]!r} (synthetic={detector.synthetic})"
    else:
        what = f"two logits, number {detector.synthetic} of which means 'synthetic'"
    yield Finding("note", "output", f"{what}; from {raw.min():.3g} to {raw.max():.3g}")
    yield from _probabilities(raw, seen.last)
    margin = np.ptp(seen.logits[seen.finite] @ [-1, 1])
    if len(raw) > 1 and margin <= 1e-6 * np.abs(raw).max():
        yield Finding("stop", "output", f"the same answer to all {len(raw)} images; are these the trained weights?")


def _probabilities(raw: np.ndarray, last: str) -> Iterator[Finding]:
    within = bool(((raw >= 0) & (raw <= 1)).all())
    sums = raw.shape[1] == 2 and np.allclose(raw.sum(axis=1), 1, atol=1e-4)
    out = "e2m takes logits: return what comes before it"
    if last in PROBABILITIES:
        yield Finding("stop", "output", f"probabilities come out ({last.lower()} inside); {out}")
    elif within and sums:
        yield Finding("stop", "output", f"probabilities come out (they add up to 1); {out}")
    elif within and last not in ("Addmm", "Convolution"):
        yield Finding("warning", "output", f"all answers lie in 0 to 1: is a sigmoid inside? {out}")


def _repeated(detector: Detector, images: np.ndarray, seen: Seen, explained: Explanation) -> Iterator[Finding]:
    """Answers are compared with those of the second pass, which had other images beside each."""
    scale = _ROUNDING * max(1, np.abs(seen.logits[seen.finite]).max())
    apart = np.abs(seen.logits - explained.logits).max(axis=1)[seen.finite]
    if not (apart > scale).any():
        return
    pixels = as_input(images[:_AT_ONCE], detector, device_of(detector.model))
    with torch.no_grad():
        twice = [_answers(detector, pixels) for _ in range(2)]
    if (twice[0] - twice[1]).abs().max() > scale:
        why = "even for the same images: dropout or random numbers are at work when it should be in evaluation mode"
    else:
        why = "with other images beside an image: something is normalised over the batch"
    yield Finding("stop", "output", f"the network answers differently twice, by up to {apart.max():.2g}, {why}")


def _maps(detector: Detector, explained: Explanation, salience: str) -> Iterator[Finding]:
    cells, dead = explained.maps.shape[1:], int(explained.dead.sum())
    where = f" from {detector.layer}" if detector.layer else ""
    yield Finding("note", "salience", f"{salience}{where}: maps of {cells[0]}x{cells[1]} cells")
    if min(cells) < WINDOW:
        text = f"maps of {cells[0]}x{cells[1]} cells are too small to compare: SSIM takes at least {WINDOW}x{WINDOW}"
        yield Finding("stop", "salience", f"{text}{_finer(detector)}")
    if dead:
        every = dead == len(explained.dead)
        text = f"{dead} of {len(explained.dead)} maps are dead (constant or no numbers)"
        yield Finding("stop" if every else "warning", "salience", text + "; try another method or layer" * every)


def _finer(detector: Detector) -> str:
    """A layer with larger maps, in words; "" if there is none."""
    if not detector.layer:
        return ""
    try:
        layer = layers.find(detector, least=WINDOW)
    except InputError:
        return "; give larger images (size=)"
    return f"; layer={layer.name!r} has {layer.grid[0]}x{layer.grid[1]}, or give larger images (size=)"


def _against_labels(detector: Detector, seen: Seen, labels: np.ndarray) -> Iterator[Finding]:
    known = np.isin(labels, LABELS) & seen.finite
    synthetic, margin = labels[known] == LABELS[1], (seen.logits @ [-1.0, 1.0])[known]
    if not known.any():
        return
    predicted, right = margin > 0, ((margin > 0) == synthetic).mean()
    if len(margin) > 1 and len(np.unique(predicted)) == 1:
        yield Finding("warning", "labels", f"all {len(margin)} images are called {LABELS[int(predicted[0])]}")
    if synthetic.all() or not synthetic.any():
        only = LABELS[int(synthetic[0])]
        yield Finding("note", "labels", f"accuracy {right:.2f} of {len(margin)} images, all {only}: no AUC")
        return
    area, error = _auc(margin, synthetic)
    yield Finding("note", "labels", f"accuracy {right:.2f}, AUC {area:.2f} of {len(margin)} images")
    if area + 3 * error < 0.5:
        other = 1 - detector.synthetic
        yield Finding(
            "stop" if area < 0.2 else "warning",
            "labels",
            f"AUC {area:.2f} is far below .5: are the classes swapped? Then give synthetic={other}, or swap the labels",
        )
        return
    threshold, best = _best_threshold(margin, synthetic)
    if area - 3 * error > 0.5 and best - right > 0.1 and right < 0.75:
        at = 1 / (1 + np.exp(-threshold))
        text = (
            f"accuracy {right:.2f} at a score of .5, but AUC {area:.2f}; from a score of {at:.2g} on it is {best:.2f}"
        )
        yield Finding("warning", "labels", f"{text}: the threshold does not fit")


def _auc(margin: np.ndarray, synthetic: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and its standard error if scores told nothing (Mann-Whitney)."""
    from scipy.stats import rankdata

    s, a = int(synthetic.sum()), int((~synthetic).sum())
    area = (rankdata(margin)[synthetic].sum() - s * (s + 1) / 2) / (s * a)
    return float(area), float(np.sqrt((s + a + 1) / (12 * s * a)))


def _best_threshold(margin: np.ndarray, synthetic: np.ndarray) -> tuple[float, float]:
    """The margin with the highest mean of both classes' accuracies, and the accuracy on all images there."""
    order = np.unique(margin)
    cuts = (order[:-1] + order[1:]) / 2 if len(order) > 1 else order
    rates = [((margin > cut)[synthetic].mean() + (margin <= cut)[~synthetic].mean()) / 2 for cut in cuts]
    best = cuts[int(np.argmax(rates))]
    return float(best), float(((margin > best) == synthetic).mean())
