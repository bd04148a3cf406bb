"""The study of good maskers: ``python -m studies.masking``, part of `make study`; 45 minutes on two cores.

Reads the detectors and maskers that `make book` and `make study` trained, trains more maskers, and scores masks on the
test images with a known true region. A masker's masks are scored as they are, and enlarged as the classifier sees them;
maps of other methods are stretched to [0, 1] (both as in published code). Writes four tables with
``e2m.store.studies``, each with the detector's name:

* ``masking``: every localisation metric for every variant of the masker ("ablation"), for maskers of few examples
  ("few-shot") and for other salience methods ("methods"), on native maps and on 7x7 area means; and the numbers that
  Phang, Park and Geras 2020 (arXiv 2010.09750) report for ImageNet ("published");
* ``masking_differences``: every variant, and every number of examples, minus the reference;
* ``masking_findings``: the findings of the paper, and whether they hold here;
* ``masking_sanity``: similarity of maps after layers of the detector are randomised or its labels shuffled.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import special
from skimage.feature import hog
from skimage.metrics import structural_similarity
from skimage.transform import resize_local_mean
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from e2m import statistics
from e2m.arrays.correlation import rank_correlation
from e2m.arrays.images import read_images
from e2m.arrays.maps import dead, min_max, quantise, upsample
from e2m.arrays.ssim import ssim
from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.experiment.controls import cascade, steps, untrained, weighted_layers
from e2m.experiment.dependencies import code
from e2m.experiment.results import Experiment, ModelKey
from e2m.experiment.train import train_masker
from e2m.measures.localisation import (
    BETTER,
    RANGE,
    crops,
    enlarged,
    f1,
    localisation_error,
    pixel_counts,
    pooled_pxap,
    predicted_boxes,
    saliency_metric,
    true_boxes,
    with_region,
)
from e2m.networks.inputs import as_input, two_logits
from e2m.networks.masker import Hidden, collapsed, enlarge, load, on_image, stages
from e2m.salience.engine import Explainer, explain, images_at_once
from e2m.statistics.intervals import interval
from e2m.store import disk, paths, studies
from e2m.training import masker, objectives
from e2m.training import settings as training
from e2m.types import LABELS, MASKER, Detector

REFERENCE = "both"
"""The masker with the settings of the profile."""
STRETCHED = "both, stretched"
"""The masks of the reference, each stretched to [0, 1] before it is scored."""

ABLATION: dict[str, dict] = {
    REFERENCE: {},
    "mask-in only": {"mask_out": False},
    "mask-out only": {"mask_in": False},
    "no total variation": {"variation": 0.0},
    "trained alongside": {"alongside": True},
    "trained alongside, no zoo": {"alongside": True, "zoo": False},
    "all stages": {"stages": "all"},
    "in-fill: blur": {"infill": "blur"},
    "in-fill: noise": {"infill": "noise"},
    "in-fill: generated": {"infill": "generated"},
    "binary masks": {"binary": True},
    "class-conditioned": {"conditioned": True},
    "whole images": {"crop_min_share": 1.0, "shift_px": 4},
}
SHOTS = (1, 10, 125)
"""Examples of each class that a masker is trained on, as published; another draw every run."""
SUBSET = f"{LABELS[0]} only"
"""The masker trained on images of one class, and scored on those of the other."""

METHODS = ("GradCAM", "CAM", "GradCAMpp", "LayerCAM")
CELLS = 7
SLOW, SLOW_RUNS, SLOW_IMAGES = ("ScoreCAM", "occlusion", "RISE"), 2, 40
"""Methods that ask the network hundreds of times for an image, and the runs and images that they explain."""
CENTRE = 33 / 224
"""Margin of the published centre box, as a share of the image's side."""
SANITY_IMAGES = 40
COMPONENTS = 30
"""Principal components of faces from which the generated in-fill is made."""

PUBLISHED = [
    ("trained alongside, 60 epochs", "le", 0.358),
    ("trained alongside, 60 epochs", "om", 0.484),
    ("trained alongside, 60 epochs", "f1", 0.620),
    ("trained alongside, 60 epochs", "f1a", 0.582),
    ("trained alongside, 60 epochs", "sm", 0.523),
    ("trained alongside, 60 epochs", "sm1", -0.553),
    ("trained alongside, 60 epochs", "sm2", -1.076),
    ("trained alongside, 60 epochs", "mean", 0.446),
    ("one epoch", "le", 0.378),
    ("125 examples a class", "le", 0.373),
    ("10 examples a class", "le", 0.385),
    ("1 example a class", "le", 0.442),
    ("fewer classes, lower point", "le", 0.405),
    ("fewer classes, upper point", "le", 0.661),
    ("CAM", "le", 0.481),
]
"""ImageNet, ResNet-50: the release's README, and its figure, off which all but the first eight are read."""
SOURCES = {"trained alongside, 60 epochs": "README"}

FINDINGS = (
    ("both objectives are better than mask-in alone", "ablation", "mask-in only", "worse"),
    ("both objectives are better than mask-out alone", "ablation", "mask-out only", "worse"),
    ("training the classifier alongside helps", "ablation", "trained alongside", "better"),
    ("ten examples a class cost little", "few-shot", "10", "little"),
    ("one example a class costs more", "few-shot", "1", "worse"),
)
"""Each finding of the paper, the study and the variant that test it, and the expected result against the reference."""
POOLED = "pooled"
"""PxAP as published, over the pixels of all images; a value of a run, not of an image."""
JUDGED = ("le_published", "f1", POOLED)
"""The metrics, between 0 and 1, by which findings are judged."""
RANGES = RANGE | {"mean": (0, 1), "dead": (0, 1)}
"""Metric of a map -> its least and largest value; the saliency metric has none."""
SIMILAR = dict.fromkeys(
    ("spearman", "hog", "ssim", "spearman_published", "spearman_absolute", "hog_published", "ssim_published"), (-1, 1)
)
"""Similarity of two maps -> its least and largest value."""
LITTLE = 0.05
"""A loss that counts as little. The paper's, in LE: 0.007 against one epoch (its abstract), 0.027 against 60 epochs."""


@dataclass(frozen=True)
class Task:
    """One masker to train and to score."""

    study: str
    name: str
    run: int
    settings: dict = field(default_factory=dict)
    shots: int | None = None
    label: str | None = None


Scores = tuple[pd.DataFrame, pd.DataFrame]
"""Tidy rows of metrics of images; and rows with ``pixel_counts`` of images, for pooled PxAP."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="profile whose detectors are read [demo]")
    parser.add_argument("--regime", default="cyborg", help="regime whose detectors get more maskers [cyborg]")
    parser.add_argument("--runs", type=int, help="detectors, and maskers of each variant [as in the profile]")
    parser.add_argument("--workers", type=int, default=2, help="processes [2]")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the tables [data/studies]")
    options = parser.parse_args(arguments)
    experiment = Experiment.load(options.profile)
    # The study has more runs than the book, and `make study` trains the maskers of these, too.
    runs = options.runs or experiment.masker["runs"]
    experiment = replace(experiment, masker=experiment.masker | {"runs": runs})
    about = {"command": "make study", "profile": experiment.profile, "regime": options.regime, "runs": runs}
    about |= {"data": experiment.data_hash(), "masker": experiment.masker}
    for name, table in tables(experiment, options.regime, runs, options.workers).items():
        print(studies.save(name, table, options.folder, **about))


def tables(experiment: Experiment, regime: str, runs: int, workers: int) -> dict[str, pd.DataFrame]:
    """The four tables, by name."""
    network = experiment.detectors[0]
    chosen = [one for one in experiment.trained if one.detector == network and experiment.has_masker(one)]
    chosen = [one for one in chosen if one.run < runs]
    work: list[Callable[[], Scores]] = [
        # The longest jobs come first, so that none runs alone at the end.
        *(partial(slow_rows, experiment, one) for one in chosen if one.regime == regime and one.run < SLOW_RUNS),
        *(partial(method_rows, experiment, one) for one in chosen),
        *(partial(masker_rows, experiment, regime, task) for task in tasks(runs)),
    ]
    checks = [partial(sanity_rows, experiment, ModelKey(network, regime, run), runs) for run in range(runs)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _alone) as pool:
        submitted = [pool.submit(job) for job in work]
        checked = [pool.submit(job) for job in checks]
        try:
            for one in tqdm(as_completed([*submitted, *checked]), "maskers", len(work) + len(checks), mininterval=2):
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # an error shows at once, and not when all other work is done
            raise
    rows, pixels = joined([one.result() for one in submitted])
    sanity = pd.concat([one.result() for one in checked], ignore_index=True)
    by = ["study", "regime", "name", "examples", "cells"]
    means = statistics.summarise(statistics.ranged(rows, RANGES), [*by, "variant"], **experiment.resampling)
    published = pd.DataFrame(PUBLISHED, columns=["name", "variant", "mean"]).assign(study="published", cells="native")
    published["source"] = published["name"].map(SOURCES).fillna("figure")
    apart = differences(experiment, rows, pixels)
    named = {
        "masking": pd.concat([means, pooled(experiment, pixels, by), published], ignore_index=True),
        "masking_differences": apart,
        "masking_findings": findings(apart),
        "masking_sanity": statistics.summarise(
            statistics.ranged(sanity, SIMILAR),
            ["check", "salience", "level", "layer", "variant"],
            **experiment.resampling,
        ),
    }
    return {name: table.assign(detector=network) for name, table in named.items()}


def tasks(runs: int) -> Iterator[Task]:
    """Every masker of the study; the reference, with which the others are compared, comes first."""
    for run, (name, settings) in product(range(runs), ABLATION.items()):
        yield Task("ablation", name, run, settings)
    for run, shots in product(range(runs), SHOTS):
        yield Task("few-shot", str(shots), run, shots=shots)
    for run in range(runs):
        yield Task("class subset", SUBSET, run, label=LABELS[0])


def differences(experiment: Experiment, rows: pd.DataFrame, pixels: pd.DataFrame) -> pd.DataFrame:
    """Every variant of the masker, and every number of examples, minus the reference.

    Both explain the same detectors on the same images, so each run and image has its own difference; pooled PxAP has
    one for each run.
    """
    made, pair = rows[rows["study"] != "methods"], ["cells", "variant", "run", "image"]
    reference = made[made["name"] == REFERENCE].set_index(pair)["value"].rename("reference")
    apart = made[made["name"] != REFERENCE].join(reference, on=pair, validate="many_to_one")
    apart = apart.assign(value=apart["value"] - apart["reference"])
    by = ["study", "name", "cells"]
    means = statistics.summarise(apart, [*by, "variant"], **experiment.resampling)
    maskers = pixels[pixels["study"] != "methods"]
    others = maskers[maskers["name"] != REFERENCE]
    return pd.concat([means, pooled(experiment, others, by, maskers[maskers["name"] == REFERENCE])], ignore_index=True)


def pooled(
    experiment: Experiment, pixels: pd.DataFrame, by: list[str], reference: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Pooled PxAP of every group, averaged over runs, or its difference to that of a reference run by run.

    Args:
        experiment: has the clusters of images.
        pixels: columns run, image, counts (``pixel_counts``) and those of ``by``.
        by: columns that define the groups.
        reference: the reference's rows, one group for each value of "cells".
    """
    lines, lowest = [], 0.0 if reference is None else -1.0

    def ends(estimate: float, reach: float) -> tuple[float, float]:
        return max(lowest, estimate - reach), min(1.0, estimate + reach)

    for names, group in pixels.groupby(by, sort=False, dropna=False):
        counts = [_by_run(group)]
        if reference is not None:
            counts.append(_by_run(reference[reference["cells"] == group["cells"].iloc[0]]))
        # A dead map, or an image without a region, has no pixels in any level.
        live = np.logical_and.reduce([stack.any((-2, -1)) for stack in counts])
        counts = [(stack * live[..., None, None])[live.any(1)] for stack in counts]
        table = np.where(live, 0.5, np.nan)  # values themselves come from the statistic
        clusters = group.drop_duplicates("image")["image"].map(experiment.subjects).to_numpy()
        settings = {"clusters": clusters, "resamples": experiment.resamples, "seed": 0, "level": 0.95}
        value = interval([table], partial(_pooled_of, counts), ends=ends, **settings).as_row()
        lines.append({**dict(zip(by, names, strict=True)), "variant": POOLED, **value})
    return pd.DataFrame(lines)


def _by_run(group: pd.DataFrame) -> np.ndarray:
    """(R, N, 2, levels), the counts of a group's runs and images."""
    runs = [np.stack(run["counts"].to_list()) for _, run in group.groupby("run", sort=True)]
    return np.stack(runs)


def _pooled_of(counts: list[np.ndarray], table: np.ndarray, columns: np.ndarray, codes: np.ndarray) -> Callable:
    """The statistic "pooled PxAP" of every run, or its difference; the denominators are 1."""
    sums = []
    for stack in counts:
        of_clusters = np.zeros((codes.max() + 1, *stack.shape[:1], *stack.shape[2:]))
        np.add.at(of_clusters, codes, np.moveaxis(stack[:, columns], 1, 0))
        sums.append(of_clusters)

    def weighted(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = [pooled_pxap(np.tensordot(weights, of_clusters, 1)) for of_clusters in sums]
        result = values[0] if len(values) == 1 else values[0] - values[1]
        return result, np.ones_like(result)

    return weighted


def findings(apart: pd.DataFrame) -> pd.DataFrame:
    """Each finding of the paper, one row for each metric, with the difference that tests it and the verdict."""
    parts = []
    for finding, study, name, expected in FINDINGS:
        subset = apart[(apart["study"] == study) & (apart["name"] == name) & (apart["cells"] == "native")]
        subset = subset[subset["variant"].isin(JUDGED)]
        verdicts = [verdict(row.variant, row.low, row.high, expected) for row in subset.itertuples()]
        parts.append(subset.assign(finding=finding, expected=expected, verdict=verdicts))
    first = ["finding", "variant", "verdict", "expected"]
    table = pd.concat(parts, ignore_index=True)
    return table[[*first, *table.columns.drop(first)]]


def verdict(metric: str, low: float, high: float, expected: str) -> str:
    """Whether an interval of a difference to the reference agrees with the expectation.

    Args:
        metric: a key of ``localisation.BETTER``, or ``POOLED``.
        low, high: of the difference.
        expected: "better" or "worse": all of the interval lies on that side of 0; "little": none of it is worse by
            ``LITTLE`` or more.
    """
    if np.isnan(low + high):
        return "no interval"
    better = "higher" if metric == POOLED else BETTER[metric]
    low, high = (low, high) if better == "higher" else (-high, -low)
    holds, fails = {
        "better": (low > 0, high < 0),
        "worse": (high < 0, low > 0),
        "little": (low > -LITTLE, high < -LITTLE),
    }[expected]
    return "holds" if holds else "the contrary" if fails else "undecided"


# Maskers


def masker_rows(experiment: Experiment, regime: str, task: Task) -> Scores:
    """Train one masker, or read it if it is finished, and score its masks.

    Those of the reference are scored a second time after stretching, and binary ones a second time as probabilities.
    """
    one = ModelKey(experiment.detectors[0], regime, task.run)
    detector = experiment.detector(one.detector, one.regime, one.run)
    train = load_dataset(experiment.dataset, split="train", **experiment.options)
    chosen = few(train, task)
    # The reference is the masker that `make book` trained.
    path = (
        experiment.masker_file(one)
        if task.name == REFERENCE
        else train_variant(experiment, one, task, detector, chosen)
    )
    checkpoint = masker.alongside_of(path) if task.settings.get("alongside") else experiment.checkpoint(one)
    explained = load_detector(one.detector, checkpoint, device=experiment.device, masker=path)
    samples, images = known(experiment)
    logits, masks, predicted = drawn(explained, images)
    about = {"study": task.study, "examples": chosen["label"].value_counts().min(), "regime": regime, "run": task.run}
    # SM uses the original detector, not the one trained alongside.
    score = partial(scored, experiment, samples, images, predicted=predicted, detector=detector, nearest=True, **about)
    parts = [score(maps=masks, name=task.name)]
    if task.name == REFERENCE:
        parts.append(score(maps=min_max(masks), name=STRETCHED))
    if task.settings.get("binary"):
        parts.append(score(maps=special.expit(logits), name=f"{task.name}, as probabilities"))
    return joined(parts)


@torch.no_grad()
def drawn(detector: Detector, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (n, side, side) of a detector's masks, the masks in [0, 1] as they are, and the predicted classes (n,).

    A collapsed mask is NaN, so that it counts as dead, as it does for the salience method.
    """
    masker, parts = load(detector), []
    with Hidden(detector.model, list(masker.stages)) as hidden:
        for batch in as_input(images, detector).split(images_at_once(detector, torch.device("cpu"))):
            classes = two_logits(detector, detector.model(batch)).argmax(1)
            masks = masker.masks(hidden(), classes)
            masks = masks.masked_fill(collapsed(masks)[:, None, None], torch.nan)
            parts.append((masker(hidden(), classes), masks, classes))
    return tuple(torch.cat(part).numpy() for part in zip(*parts, strict=True))


def joined(parts: list[Scores]) -> Scores:
    """Several scores as one."""
    return tuple(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))


def train_variant(experiment: Experiment, one: ModelKey, task: Task, detector: Detector, train: pd.DataFrame) -> Path:
    """The file of a masker with the profile's settings changed by the task."""
    changed = dict(task.settings)
    if changed.get("stages") == "all":
        changed["stages"] = list(stages(detector))
    if changed.get("infill") == "generated":
        objectives.INFILLS["generated"] = generated(detector, train)
        training.INFILLS[:] = objectives.INFILLS
    settings = replace(experiment.masker_settings(one), **changed)
    validate = load_dataset(experiment.dataset, split="validate", **experiment.options)
    folder = paths.results(experiment.profile) / "masking" / re.sub(r"\W+", "-", f"{task.study} {task.name}")
    path = folder / one.regime / f"{paths.run_name(task.run)}.masker.pt"
    origin = f"{task.study}, {task.name}, code {disk.short_hash(code('studies.masking'))}"
    about = {"regime": one.regime, "run": task.run, "origin": origin, "progress": False}
    masker.fit(detector, train, validate, path, settings, **about)
    return path


def few(train: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The task's number of examples of each class, drawn anew for every run, or its one class; by default all."""
    if task.label is not None:
        return train[train["label"] == task.label].reset_index(drop=True)
    if task.shots is None:
        return train
    random = np.random.default_rng([task.shots, task.run])
    chosen = [random.choice(np.flatnonzero(train["label"] == label), task.shots, replace=False) for label in LABELS]
    return train.iloc[np.concatenate(chosen)].reset_index(drop=True)


def generated(detector: Detector, train: pd.DataFrame, side: int = 28) -> objectives.Infill:
    """An in-fill with generated faces: principal components of training photographs, fitted to the visible part.

    The fit is by least squares at ``side`` pixels, each weighted with its visible share.
    """
    photographs = train[train["label"] == LABELS[0]]
    images = np.concatenate(list(read_images(photographs, size=detector.size)))
    flat = _small(as_input(images, detector), side).flatten(1)
    mean = flat.mean(0)
    _, spread, basis = torch.linalg.svd(flat - mean, full_matrices=False)
    basis, spread = basis[:COMPONENTS], spread[:COMPONENTS].square()
    # Components that vary little among faces get little weight in the fit.
    doubt = torch.diag(spread[-1] / spread.clamp(min=1e-12))

    def infill(batch: Tensor, shown: Tensor) -> Tensor:
        weights = interpolate(shown, (side, side), mode="area").flatten(1)
        seen = weights * (_small(batch, side).flatten(1) - mean)
        normal = torch.einsum("kp,np,lp->nkl", basis, weights, basis) + doubt
        scores = torch.linalg.solve(normal, seen @ basis.T)
        face = (mean + scores @ basis).view(-1, 1, side, side)
        return enlarge(face, batch.shape[-1]).expand_as(batch)

    return infill


def _small(batch: Tensor, side: int) -> Tensor:
    return interpolate(batch.mean(1, keepdim=True), (side, side), mode="area")


# Other methods


def method_rows(experiment: Experiment, one: ModelKey) -> Scores:
    """Score the maps of other methods, of the masker, of two methods that never ask the network, and boxes."""
    detector = experiment.masked.detector(one.detector, one.regime, one.run)
    samples, images = known(experiment)
    about = {"study": "methods", "examples": 0, "regime": one.regime, "run": one.run}
    with Explainer(detector, METHODS) as explainer:
        maps = {name: explanation.maps for name, explanation in explainer(images).items()}
    maps |= {name: explain(detector, images, name, seed=one.run).maps for name in ("centre", "random")}
    _, masks, predicted = drawn(detector, images)
    score = partial(scored, experiment, samples, images, predicted=predicted, detector=detector, **about)
    parts = [score(maps=stack, name=name) for name, stack in maps.items()]
    parts += [score(maps=masks, name=MASKER, nearest=True), box_rows(experiment, samples, images, detector, **about)]
    return joined(parts)


def slow_rows(experiment: Experiment, one: ModelKey) -> Scores:
    """Score the maps of slow methods on a few images."""
    detector = experiment.detector(one.detector, one.regime, one.run)
    samples, images = (part[:SLOW_IMAGES] for part in known(experiment))
    about = {"study": "methods", "examples": 0, "regime": one.regime, "run": one.run}
    parts = []
    for name in SLOW:
        explanation = explain(detector, images, name, seed=one.run)
        parts.append(
            scored(experiment, samples, images, explanation.maps, explanation.predicted, detector, name=name, **about)
        )
    return joined(parts)


def box_rows(experiment: Experiment, samples: pd.DataFrame, images: np.ndarray, detector: Detector, **about) -> Scores:
    """Score the published baselines: the whole image, no pixel, a box in the centre, and the true boxes.

    A mask is 1 in its box. OM is LE, as if every image were classified correctly. True boxes are scored one by one, and
    an image's value is their mean.
    """
    regions, classes = experiment.regions(samples["image"]), samples["label"].map(LABELS.index).to_numpy()
    side, every, true = regions.shape[1], np.arange(len(samples)), true_boxes(regions)
    margin = round(CENTRE * side)
    fixed = {
        "whole image": (0, 0, side, side),
        "no pixel": (0,) * 4,
        "centre box": (margin, margin) + (side - margin,) * 2,
    }
    cases = {name: (every, np.tile(np.array(box, float), (len(every), 1)), true) for name, box in fixed.items()}
    single = np.concatenate(true)
    cases["true box"] = np.repeat(every, [len(boxes) for boxes in true]), single, [box[None] for box in single]
    rows, pixels = [], []
    for name, (index, boxes, wanted) in cases.items():
        masks = np.zeros((len(index), side, side), np.float32)
        for mask, (top, left, bottom, right) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = 1
        inside = probabilities(detector, images[index], boxes, classes[index])
        area, decided = saliency_metric(boxes, regions.shape[1:], inside)
        error, (best, mean) = localisation_error(boxes, wanted), f1(masks, wanted)
        values = dict.fromkeys(("le", "le_published", "om", "om_published"), error)
        values |= {"f1": best, "f1a": mean, "sm": area - decided, "sm1": area, "sm2": decided}
        for variant, value in (values | {"mean": masks.mean((1, 2))}).items():
            means = np.bincount(index, value) / np.bincount(index)
            rows.append(_about(samples, "native", name=name, **about).assign(variant=variant, value=means))
        if name != "true box":
            pixels.append(_about(samples, "native", name=name, **about).assign(counts=[*pixel_counts(masks, regions)]))
    return pd.concat(rows, ignore_index=True), pd.concat(pixels, ignore_index=True)


@torch.no_grad()
def probabilities(detector: Detector, images: np.ndarray, boxes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(n,) P(class) of images cropped to one box (n, 4) each; an empty box shows the detector's mean colour."""
    batch = as_input(crops(images, boxes), detector)
    batch[torch.from_numpy((boxes[:, 2:] == boxes[:, :2]).any(1))] = 0
    # In parts that memory likes, see images_at_once.
    parts = batch.split(images_at_once(detector, batch.device))
    shares = torch.cat([two_logits(detector, detector.model(part)).softmax(1) for part in parts]).numpy()
    return shares[np.arange(len(classes)), classes]


# Scores


def known(experiment: Experiment) -> tuple[pd.DataFrame, np.ndarray]:
    """The test images with a known true region."""
    samples = experiment.samples[experiment.samples["region"] != ""].reset_index(drop=True)
    return samples, experiment.images(samples["image"])


def scored(
    experiment: Experiment,
    samples: pd.DataFrame,
    images: np.ndarray,
    maps: np.ndarray,
    predicted: np.ndarray,
    detector: Detector,
    nearest: bool = False,
    **about,
) -> Scores:
    """All localisation metrics, native and at 7x7 area means, means of maps, and dead or collapsed maps.

    Maps are enlarged to the image as ``enlarged`` does or, native maps with ``nearest``, as a masker's masks are.
    """
    regions, classes = experiment.regions(samples["image"]), samples["label"].map(LABELS.index).to_numpy()
    rows, pixels = [], []
    native = on_image(torch.from_numpy(maps), regions.shape[1])[:, 0].numpy() if nearest else maps
    for cells, stack in (("native", native), (f"{CELLS}x{CELLS}", coarse(maps))):
        is_dead, large = dead(stack), enlarged(stack, regions.shape[1:])
        inside = probabilities(detector, images, predicted_boxes(large), classes)
        values = with_region(stack, regions, correct=predicted == classes, probability=inside)
        values |= {"mean": np.where(is_dead, np.nan, stack.mean((1, 2))), "dead": is_dead.astype(float)}
        columns = _about(samples, cells, **about)
        rows += [columns.assign(variant=variant, value=value) for variant, value in values.items()]
        counts = pixel_counts(large, regions)
        counts[is_dead] = 0
        pixels.append(columns.assign(counts=[*counts]))
    return pd.concat(rows, ignore_index=True), pd.concat(pixels, ignore_index=True)


def _about(samples: pd.DataFrame, cells: str, **about) -> pd.DataFrame:
    return samples[["image", "label", "source"]].assign(cells=cells, **about)


def coarse(maps: np.ndarray) -> np.ndarray:
    """7x7 area means, so that fine and coarse maps are compared at one size."""
    return np.clip(resize_local_mean(maps, (CELLS, CELLS), channel_axis=0), 0, 1)


# Sanity checks


def sanity_rows(experiment: Experiment, one: ModelKey, runs: int) -> pd.DataFrame:
    """Similarity of maps when layers are randomised from the top, or one alone, or labels are shuffled in training.

    The masker does not change in the first two checks; for the detector of shuffled labels a new one is trained. The
    similarity of two runs with true labels is the reference of that check. The floor is the similarity of the maps of
    different images ("another image").
    """
    trained = experiment.masked.detector(one.detector, one.regime, one.run)
    samples = experiment.samples[experiment.samples["source"].isin(experiment.in_set)]
    samples = samples.groupby("source").head(SANITY_IMAGES // len(experiment.in_set))
    images = experiment.images(samples["image"])
    fresh = untrained(experiment, one.detector, one.run)
    before, logits = sane(trained, images)
    cases = [(*about, *sane(detector, images)) for *about, detector in randomised(trained, fresh)]
    cases += [(check, 0, "", *sane(detector, images)) for check, detector in retrained(experiment, one, runs)]
    others = {name: np.roll(maps, 1, 0) for name, maps in before.items()}
    cases += [("another image", 0, "", others, np.roll(logits, 1, 0))]
    parts = []
    for check, count, layer, after, changed in cases:
        about = {"check": check, "level": count, "layer": layer}
        parts += [*alike(before, after, samples, **about), *alike_as_published(logits, changed, samples, **about)]
    return pd.concat(parts, ignore_index=True).assign(run=one.run)


def sane(detector: Detector, images: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Maps of the class "synthetic", so that a flipped decision does not count as a changed map; logits of masks."""
    with Explainer(detector, ("GradCAM", MASKER)) as explainer:
        maps = {name: explanation.maps for name, explanation in explainer(images, LABELS[1]).items()}
    return maps, drawn(detector, images)[0]


def randomised(trained: Detector, fresh: Detector) -> Iterator[tuple[str, int, str, Detector]]:
    """Check, number of layers from the top, name of the lowest, detector: at the steps of the page of controls."""
    layers = weighted_layers(trained.model)
    counts = steps(len(layers))[1:]
    for count, detector in zip(counts, cascade(trained, fresh, counts), strict=True):
        yield "cascading", count, layers[count - 1][0], detector
    for count in counts:
        model = copy.deepcopy(trained.model)
        for name in layers[count - 1]:
            model.get_submodule(name).load_state_dict(fresh.model.get_submodule(name).state_dict())
        yield "independent", count, layers[count - 1][0], replace(trained, model=model)


def retrained(experiment: Experiment, one: ModelKey, runs: int) -> Iterator[tuple[str, Detector]]:
    """The detector of another run, and one of shuffled labels with its masker if the profile trains that run."""
    if runs > 1:
        yield "another run", experiment.masked.detector(one.detector, one.regime, (one.run + 1) % runs)
    shuffled = replace(one, regime="shuffled_labels")
    if shuffled in (*experiment.controlled, *experiment.studied):
        _, path = train_masker(experiment, shuffled, progress=False)
        yield "shuffled labels", replace(experiment.detector(*vars(shuffled).values()), masker=path)


def alike(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], samples: pd.DataFrame, **about
) -> Iterator[pd.DataFrame]:
    """Spearman's correlation, that of histograms of oriented gradients, and SSIM, of maps enlarged to the images."""
    for name, maps in before.items():
        pair = [large(stack) for stack in (maps, after[name])]
        is_dead = dead(maps) | dead(after[name])
        values = {
            "spearman": rank_correlation(*pair),
            "hog": np.array([hog_correlation(*two) for two in zip(*pair, strict=True)]),
            "ssim": ssim(*pair, data_range=255),
        }
        for variant, value in values.items():
            rows = samples[["image"]].assign(salience=name, variant=variant, value=np.where(is_dead, np.nan, value))
            yield rows.assign(**about)


def alike_as_published(before: np.ndarray, after: np.ndarray, samples: pd.DataFrame, **about) -> Iterator[pd.DataFrame]:
    """The published similarities of masks: of logits (n, h, w) that fill 224 pixels, not stretched.

    Spearman's correlation, also of the absolute distance to 0.5; the correlation of histograms of oriented gradients;
    SSIM in windows of 5 pixels for values that span 2. The sanity checks of Phang, Park and Geras 2020; after a single
    random layer, their code compares these logits with probabilities instead.
    """
    pairs = [large_logits(stack) for stack in (before, after)]
    values = {
        "spearman_published": rank_correlation(*pairs),
        "spearman_absolute": rank_correlation(*(np.abs(0.5 - stack) for stack in pairs)),
        "hog_published": np.array([hog_correlation(*two) for two in zip(*pairs, strict=True)]),
        "ssim_published": np.array(
            [structural_similarity(*two, win_size=5, data_range=2) for two in zip(*pairs, strict=True)]
        ),
    }
    for variant, value in values.items():
        yield samples[["image"]].assign(salience=MASKER, variant=variant, value=value, **about)


def large_logits(logits: np.ndarray) -> np.ndarray:
    """(n, h, w) logits that fill 224 pixels, each a square."""
    return on_image(torch.from_numpy(logits), 224)[:, 0].numpy()


def large(maps: np.ndarray) -> np.ndarray:
    return upsample(quantise(maps), 112, 112)


def hog_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of two maps' histograms of oriented gradients, in cells of 16 pixels."""
    features = [hog(salience, pixels_per_cell=(16, 16)) for salience in (one, other)]
    return np.corrcoef(*features)[0, 1] if all(feature.std() for feature in features) else np.nan


def _alone() -> None:
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
