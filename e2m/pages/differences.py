"""Where this project differs from the released code, and what each difference does to a number of a profile's results.

An entry of ``DIFFERENCES`` is one row of the page: what the release does, what happens here, and why. A function
measures the effect on stored maps, rows and checkpoints. ``FOLLOWED`` are choices of the release that are kept although
another choice is common; their effect is measured in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from e2m import plugins
from e2m.arrays.map_files import read_maps
from e2m.arrays.maps import min_max, pixels, quantise, upsample
from e2m.arrays.ssim import ssim
from e2m.detectors import load_detector
from e2m.experiment.inputs import replace
from e2m.experiment.results import Experiment, correct
from e2m.measures.degradation import degrade
from e2m.measures.entropy import grey_level_entropy, spatial_entropy
from e2m.measures.stability import stability
from e2m.pages import tables
from e2m.salience.engine import explain
from e2m.store import studies
from e2m.types import MASKER

Effect = tuple[str, float, float]
"""A quantity, its value as in the release, and its value otherwise; NaN where there is none."""

FEW = 16
"""Images of each in-set source on which effects are measured that need new maps or new images."""

RELEASED_SEED = 1
"""Seed of the release's draws (``sklearn.utils.resample``)."""

MASKER_METRICS = {"le_published": "localisation error", "f1": "F1", "pooled": "pooled PxAP"}

SIGMA = 10.0
"""The published largest blur, in pixels."""


@dataclass(frozen=True)
class Difference:
    """One row of the page.

    Attributes:
        what: the topic, in a few words.
        released: what the released code does.
        here: what happens here, or what another choice would be.
        why: the reason.
        effect: measures the effect; yields nothing where a profile lacks what it needs. None if it was not measured.
    """

    what: str
    released: str
    here: str
    why: str
    effect: Callable[[Experiment], Iterator[Effect]] | None = None


def measured(experiment: Experiment, differences: Sequence[Difference]) -> pd.DataFrame:
    """The effects of differences, one row a quantity: what, quantity, released, here, change.

    Args:
        experiment: the experiment whose results are read; in-set sources of the first detector count.
        differences: ``DIFFERENCES`` or ``FOLLOWED``.
    """
    rows = [(entry.what, *effect) for entry in differences if entry.effect for effect in entry.effect(experiment)]
    table = pd.DataFrame(rows, columns=["what", "quantity", "released", "here"])
    return table.assign(change=table["here"] - table["released"])


def shown(differences: Sequence[Difference], effects: pd.DataFrame, here: str = "here"):
    """The page's table: a row a difference, with its effects as text.

    Args:
        differences: as in ``measured``.
        effects: result of ``measured``.
        here: name of the column that is not the release's.
    """
    rows = []
    for entry in differences:
        lines = [_in_words(row) for _, row in effects[effects["what"] == entry.what].iterrows()]
        missing = "not measured: this profile or study lacks what it needs" if entry.effect else "not measured"
        effect = lines or missing
        rows.append((entry.what, entry.released, entry.here, entry.why, effect))
    below = ["why", f"effect: as released → {here}"]
    table = pd.DataFrame(rows, columns=["what", "the release", here, *below])
    return tables.Table(table, ["what"], details=below)


def _in_words(effect: pd.Series) -> str:
    ends = effect["released"], effect["here"]
    digits = 0 if effect["quantity"].startswith("number of ") else 3
    first, second = (f"{end:.{digits}f}" if np.isfinite(end) else "–" for end in ends)
    return f"{effect['quantity']}: {first} → {second}"


# Effects


def method(experiment: Experiment) -> Iterator[Effect]:
    """Grad-CAM beside CAM: spatial entropy, and similarity between runs."""
    if not {"GradCAM", "CAM"} <= set(experiment.methods):
        return
    for label, (released, other) in _by_regime(experiment, "GradCAM", "CAM"):
        yield f"spatial entropy, {label}", *(_mean(_of_runs(spatial_entropy, maps)) for maps in (released, other))
        if experiment.runs > 1:
            yield f"SSIM between runs, {label}", *(stability(maps)["value"].mean() for maps in (released, other))


def dead_maps(experiment: Experiment) -> Iterator[Effect]:
    """Dead maps scored as black images, as released; and left out. Under noise, dead maps are more frequent."""
    for label, (maps,) in _by_regime(experiment, experiment.methods[0]):
        entropy = _of_runs(grey_level_entropy, maps)
        yield f"share of maps that are dead and left out, {label}", np.nan, np.isnan(entropy).mean()
        yield f"grey-level entropy, {label}", np.nan_to_num(entropy, nan=0.0).mean(), _mean(entropy)
        if experiment.runs > 1:
            black = quantise(maps)
            pairs = [ssim(black[i], black[j], data_range=255) for i, j in combinations(range(len(black)), 2)]
            yield f"SSIM between runs, {label}", np.mean(pairs), stability(maps)["value"].mean()
    if experiment.has_rows("noise"):
        wanted = {"salience": experiment.methods[0], "variant": "ssim", "target": "predicted"}
        noisy = experiment.rows("noise", **wanted)
        noisy = noisy[noisy["source"].isin(experiment.in_set) & (noisy["detector"] == experiment.detectors[0])]
        for regime, values in noisy.groupby("regime", observed=True)["value"]:
            yield f"share of noisy images without a value, {_label(regime)}", np.nan, values.isna().mean()


def sample(experiment: Experiment) -> Iterator[Effect]:
    """As many draws with replacement, by the release's generator; images drawn here; and the first of the list.

    The release draws from the files of a folder; these are drawn from the images that were explained.
    """
    samples = experiment.samples[experiment.samples["source"].isin(experiment.in_set)].reset_index(drop=True)
    count = experiment.fewest(experiment.in_set)
    by_source = list(samples.groupby("source", sort=False).groups.values())
    again = [rows[np.random.RandomState(RELEASED_SEED).randint(0, len(rows), count)] for rows in by_source]
    drawn = samples.index[samples["draw"] < count]
    for label, right, entropy in _values(experiment, samples["image"].tolist()):
        for name, values in (("accuracy", right), ("grey-level entropy", entropy)):
            yield (
                f"{name} on {count} images of each source, {label}",
                _mean(values[:, np.concatenate(again)]),
                _mean(values[:, drawn]),
            )
        first = np.concatenate([rows[:count] for rows in by_source])
        yield f"accuracy on the first {count} images of the list, {label}", np.nan, _mean(right[:, first])


def lengths(experiment: Experiment) -> Iterator[Effect]:
    """Blur of the published length, and of the length that fits the images; sigma is proportional to M."""
    images, maps = _few(experiment, experiment.methods[0])
    if not len(images):
        return
    side = images.shape[1]
    long = SIGMA * SIGMA / pixels(SIGMA, side)
    changed = [np.abs(degrade(images, maps, max_sigma=top).astype(float) - images).mean() for top in (long, SIGMA)]
    yield f"mean change of a pixel at {side} px, salient region blurred, in grey levels", *changed


def truncation(experiment: Experiment) -> Iterator[Effect]:
    """Images under the largest blur, truncated after each axis; and rounded once. Brightness, and the maps of run 0."""
    images, _ = _few(experiment, experiment.methods[0])
    if not len(images):
        return
    sigma = pixels(SIGMA, images.shape[1])
    truncated = gaussian_filter(images, sigma, axes=(1, 2))
    rounded = np.rint(gaussian_filter(images.astype(np.float32), sigma, axes=(1, 2))).astype(np.uint8)
    yield "mean grey level of a blurred image", truncated.mean(), rounded.mean()
    for regime in experiment.regimes:
        detector = experiment.detector(experiment.detectors[0], regime, 0)
        found = [explain(detector, stack, experiment.methods[0]) for stack in (images, truncated, rounded)]
        clean, *blurred = (upsample(explanation.maps, *images.shape[1:3]) for explanation in found)
        similar = [
            np.where(found[0].dead | explanation.dead, np.nan, ssim(clean, maps, data_range=255))
            for explanation, maps in zip(found[1:], blurred, strict=True)
        ]
        yield f"SSIM with the clean map, {_label(regime)}", *map(_mean, similar)


def epochs(experiment: Experiment) -> Iterator[Effect]:
    """The last of equally accurate epochs, and the one of lowest validation cross-entropy."""
    for regime in experiment.regimes:
        curves = experiment.curves(experiment.detectors[0], regime)
        best = curves[curves["validation_accuracy"] == curves.groupby("run")["validation_accuracy"].transform("max")]
        last = best.groupby("run").last()
        lowest = best.sort_values("validation_cross_entropy", kind="stable").groupby("run").first()
        yield (
            f"number of runs that keep another epoch, {_label(regime)}",
            0.0,
            float((last["epoch"] != lowest["epoch"]).sum()),
        )
        losses = [epoch["validation_cross_entropy"].mean() for epoch in (last, lowest)]
        yield f"validation cross-entropy of the kept epoch, {_label(regime)}", *losses


def human_maps(experiment: Experiment) -> Iterator[Effect]:
    """Human maps resized straight to the size of the detector's maps, and by way of its input."""
    files = experiment.samples.loc[experiment.samples["salience"] != "", "salience"]
    if files.empty:
        return
    name = experiment.detectors[0]
    side = load_detector(name).size
    shape = experiment.maps(name, experiment.regimes[0], experiment.methods[0], experiment.in_set[0])["salience"].shape
    straight = read_maps(files, shape[-2:], bilinear=True, normalise="none")
    around = _reduced(read_maps(files, (side, side), normalise="none"), shape[-2:])
    both = [min_max(stack) for stack in (straight, around)]
    yield "mean difference of a cell of the human map, of 1", 0.0, np.nanmean(np.abs(both[0] - both[1]))


def box(experiment: Experiment) -> Iterator[Effect]:
    """Localisation error of masks with the published box: most pixels, one row and one column short."""
    masked = experiment.masked
    if not (experiment.masker and masked.has_rows("localisation")):
        return
    rows = masked.rows("localisation")
    rows = rows[(rows["salience"] == MASKER) & (rows["detector"] == experiment.detectors[0])]
    means = rows.groupby(["regime", "variant"], observed=True)["value"].mean().unstack()
    if {"le_published", "le"} <= set(means):
        for regime, row in means.iterrows():
            yield f"localisation error, {_label(regime)}", row["le_published"], row["le"]


def zoo(experiment: Experiment) -> Iterator[Effect]:
    """Maskers with the classifier trained alongside, judged by its present state alone, and by earlier states too."""
    table, _ = studies.load("masking")
    table = table[(table["study"] == "ablation") & (table["cells"] == "native")]
    means = table.set_index(["regime", "name", "variant"])["mean"]
    names = ("trained alongside, no zoo", "trained alongside")
    for regime, (metric, words) in product(experiment.regimes, MASKER_METRICS.items()):
        values = [means.get((regime, name, metric), np.nan) for name in names]
        if np.isfinite(values).all():
            yield f"{words}, {_label(regime)}", *values


def collapsed_masks(experiment: Experiment) -> Iterator[Effect]:
    """The share of masks that show all pixels of an image alike: scored as released, and left out here."""
    if not (experiment.masker and experiment.masked.methods != experiment.methods):
        return
    masked = replace(experiment.masked, methods=[MASKER])
    for label, (masks,) in _by_regime(masked, MASKER):
        yield f"share of masks that are left out, {label}", np.nan, np.isnan(masks).any((2, 3)).mean()


# Parts of effects


def _label(regime: str) -> str:
    return plugins.load("regime", regime).LABEL


def _mean(values: np.ndarray) -> float:
    """The mean of the live values; NaN if there are none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _of_runs(measure: Callable, maps: np.ndarray) -> np.ndarray:
    """(R, N) values of maps (R, N, h, w)."""
    return np.stack([measure(of_run) for of_run in maps])


def _by_regime(experiment: Experiment, *methods: str) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The label of each regime, and for each method the clean maps (R, N, h, w) of its in-set images."""
    for regime in experiment.regimes_of(methods[0]):
        stacks = [
            np.concatenate(
                [
                    experiment.maps(experiment.detectors[0], regime, method, source)["salience"].to_numpy()
                    for source in experiment.in_set
                ],
                axis=1,
            )
            for method in methods
        ]
        yield _label(regime), stacks


def _values(experiment: Experiment, order: Sequence[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The label of each regime, and (R, N) of in-set images in this order: right decisions, and entropy."""
    for regime in experiment.regimes:
        parts = [
            experiment.maps(experiment.detectors[0], regime, experiment.methods[0], source)
            for source in experiment.in_set
        ]
        names = np.concatenate([part["image"].to_numpy() for part in parts]).tolist()
        at = [names.index(image) for image in order]
        right = np.concatenate([correct(part) for part in parts], axis=1).astype(float)
        maps = np.concatenate([part["salience"].to_numpy() for part in parts], axis=1)
        yield _label(regime), right[:, at], _of_runs(grey_level_entropy, maps)[:, at]


def _few(experiment: Experiment, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Some in-set images (N, H, W, 3), with live maps (N, h, w) of run 0 of the traditional detector."""
    samples = experiment.samples[experiment.samples["source"].isin(experiment.in_set)]
    names = samples.loc[samples["draw"] < FEW, "image"].tolist()
    maps = experiment.salience(names, experiment.detectors[0], experiment.traditional, method)
    alive = np.isfinite(maps).all(axis=(1, 2))
    return experiment.images(names)[alive], maps[alive]


def _reduced(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps (N, H, W) reduced to (N, h, w) with an antialiased bilinear filter, in floating point."""
    import torch
    from torch.nn.functional import interpolate

    stack = torch.from_numpy(maps.astype(np.float32))[:, None]
    return interpolate(stack, shape, mode="bilinear", antialias=True)[:, 0].numpy()


DIFFERENCES = (
    Difference(
        "Salience method",
        "Grad-CAM.",
        "Grad-CAM is the published variant everywhere; CAM stands beside it.",
        "CYBORG guides CAM. Grad-CAM hides evidence against the class, and with it a part of what guidance changes.",
        method,
    ),
    Difference(
        "Dead maps",
        "A map without any evidence for the class is saved as a black image and scored: entropy 0, SSIM 1 between two.",
        "Its values are missing, and tables count it.",
        "A detector would win by explaining nothing.",
        dead_maps,
    ),
    Difference(
        "Test images",
        "10,000 draws with replacement from each source.",
        "At most as many images of each as the profile says, drawn without replacement by the hash of their name.",
        "No image counts twice, and neither the order of files nor the number of workers matters.",
        sample,
    ),
    Difference(
        "Lengths in small images",
        "Blur by up to 10 px, smoothing by 5 px and shifts by 16 px, whatever the size of the image.",
        "The same from 224 px up; in smaller images shortened to side / 224.",
        "The embedded images have 112 px: a face in half the pixels would be blurred twice as much.",
        lengths,
    ),
    Difference(
        "Predicted box of a mask",
        "Around the component of most pixels, without its last row and column.",
        "Around the component of most mass, with all of its pixels.",
        "A large faint component hides the bright one; boxes one pixel short miss small objects.",
        box,
    ),
    Difference(
        "Zoo of classifiers",
        "Earlier states of a classifier that is trained alongside are drawn, and never used.",
        "The drawn state judges the masks, as the paper describes.",
        "A mask should fool more than the present state of one classifier.",
        zoo,
    ),
    Difference(
        "Collapsed masks",
        "A mask that shows all pixels alike is scored.",
        "It is dead: in no mean, and counted.",
        "A uniform mask says nothing about where to look.",
        collapsed_masks,
    ),
    Difference(
        "Training of maskers",
        "60 epochs in batches of 72.",
        "The profile of the paper has these numbers; the demo trains for two epochs of 640 images.",
        "Time: the demo has to run on two cores.",
    ),
    Difference(
        "Further variants of maskers",
        "Masks of a size that is given, a prior of masks with a Kullback-Leibler criterion, in-fills by CA-GAN, DFNet "
        "and a convolutional network, and guided backpropagation beside the masks.",
        "Not built. In-fills are zeros, the mean colour, blur, noise, and faces from principal components.",
        "The in-fills need trained generators, which do not come with the book; each of the others is one more study.",
    ),
    Difference(
        "Sanity checks of masks",
        "After a single layer is randomised, logits of masks are compared with probabilities.",
        "Logits are compared with logits; the published values stand beside them.",
        "Logits and probabilities differ even where nothing is randomised.",
    ),
    Difference(
        "Crops of the saliency metric",
        "Enlarged by OpenCV's bicubic filter.",
        "Enlarged by PIL's.",
        "No further package for one filter.",
    ),
)
"""Deliberate differences, in the order of the page."""

FOLLOWED = (
    Difference(
        "Rounding of blurred images",
        "8-bit images, truncated after each axis.",
        "Rounded once.",
        "As published, value for value; blur darkens an image.",
        truncation,
    ),
    Difference(
        "Equally accurate epochs",
        "The last one is kept.",
        "The one of lowest validation cross-entropy.",
        "As published; few validation images leave many ties.",
        epochs,
    ),
    Difference(
        "Size of human maps",
        "Resized straight to the size of the detector's maps.",
        "By way of the size of the detector's input, where augmentation moves them.",
        "As published where nothing moves the map; a flipped or shifted map has to be moved first.",
        human_maps,
    ),
)
"""Choices of the release that are kept; the second value is what another choice would give."""
