"""What makes a good masker: ``python -m studies.masking``, part of `make study`; a quarter of an hour on two cores.

Reads the detectors and maskers that `make book` and `make study` trained, trains more maskers, and scores masks on the
test images whose true region is known. Writes four tables with ``e2m.store.studies``:

* ``masking``: every localisation metric for every variant of the masker ("ablation"), for maskers of few examples
  ("few-shot") and for other salience methods ("methods"), on native maps and on 7x7 area means; and the figures that
  Phang, Park and Geras 2020 (arXiv 2010.09750) give for ImageNet ("published");
* ``masking_differences``: every variant, and every number of examples, minus the masker trained as published;
* ``masking_findings``: what the paper found, and whether it holds here;
* ``masking_sanity``: how alike maps stay when layers of the detector are randomised, or its labels were shuffled.
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
from skimage.feature import hog
from skimage.transform import resize_local_mean
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from e2m import statistics
from e2m.arrays.images import read_images
from e2m.arrays.maps import dead, quantise, upsample
from e2m.arrays.ssim import ssim
from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.experiment import train
from e2m.experiment.controls import cascade, weighted_layers
from e2m.experiment.results import Experiment, ModelKey
from e2m.measures.localisation import BETTER, crops, enlarged, predicted_boxes, with_region
from e2m.networks.inputs import as_input, two_logits
from e2m.networks.masker import enlarge, stages
from e2m.pages import controls
from e2m.salience.engine import Explainer, explain, images_at_once
from e2m.store import paths, studies
from e2m.training import masker, objectives
from e2m.training import settings as training
from e2m.types import LABELS, MASKER, Detector

RUNS = 3
REFERENCE = "both"
"""The masker as published, whose settings are those of the profile."""

ABLATION: dict[str, dict] = {
    REFERENCE: {},
    "mask-in only": {"mask_out": False},
    "mask-out only": {"mask_in": False},
    "no total variation": {"variation": 0.0},
    "trained alongside": {"alongside": True},
    "all stages": {"stages": "all"},
    "in-fill: mean": {"infill": "mean"},
    "in-fill: blur": {"infill": "blur"},
    "in-fill: noise": {"infill": "noise"},
    "in-fill: generated": {"infill": "generated"},
    "binary masks": {"gumbel": 0.5},
    "class-conditioned": {"conditioned": True},
}
SHOTS = (1, 5, 10, 50)
"""Examples of each class that a masker is trained on; another draw every run."""

METHODS = ("CAM", "GradCAM", "GradCAMpp", "LayerCAM", MASKER)
CELLS = 7
PATCH, STRIDE = 28, 14
"""Of occlusion, in pixels."""
RISE_MASKS, RISE_CELLS = 200, 7
SANITY_IMAGES = 60
COMPONENTS = 30
"""Of the faces that the generated in-fill is made of."""

PUBLISHED = [
    ("full training", "le", 0.358),
    ("full training", "om", 0.484),
    ("full training", "f1", 0.620),
    ("full training", "sm", 0.523),
    ("one epoch", "le", 0.378),
    ("10 examples a class", "le", 0.385),
    ("1 example a class", "le", 0.442),
    ("CAM", "le", 0.481),
]
"""ImageNet, ResNet-50; the figures for few examples and CAM are read off a plot."""


FINDINGS = (
    ("both objectives are better than mask-in alone", "ablation", "mask-in only", "worse"),
    ("both objectives are better than mask-out alone", "ablation", "mask-out only", "worse"),
    ("training the classifier alongside helps", "ablation", "trained alongside", "better"),
    ("ten examples a class cost little", "few-shot", "10", "little"),
    ("one example a class costs more", "few-shot", "1", "worse"),
)
"""What the paper found, the study and the variant that tell, and how it does beside the masker as published."""
JUDGED = ("le", "f1", "pxap")
"""Metrics between 0 and 1 that findings are judged by."""
LITTLE = 0.05
"""A loss that counts as little; the paper's is 0.027, in LE."""


@dataclass(frozen=True)
class Task:
    """One masker to train and to score."""

    study: str
    name: str
    run: int
    settings: dict = field(default_factory=dict)
    shots: int | None = None


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="whose detectors are read [demo]")
    parser.add_argument("--regime", default="cyborg", help="whose detectors get more maskers [cyborg]")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"detectors, and maskers of each variant [{RUNS}]")
    parser.add_argument("--workers", type=int, default=2, help="processes [2]")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="where the tables go [data/studies]")
    options = parser.parse_args(arguments)
    experiment = Experiment.load(options.profile)
    about = {"command": "make study", "profile": experiment.profile, "regime": options.regime, "runs": options.runs}
    about |= {"data": experiment.data_hash(), "masker": experiment.masker}
    for name, table in tables(experiment, options.regime, options.runs, options.workers).items():
        print(studies.save(name, table, options.folder, **about))


def tables(experiment: Experiment, regime: str, runs: int, workers: int) -> dict[str, pd.DataFrame]:
    """The three tables, by name."""
    work: list[Callable[[], pd.DataFrame]] = [
        # What takes longest comes first, so that no process is left with it.
        *(partial(method_rows, experiment, one, one.regime == regime) for one in experiment.trained if one.run < runs),
        *(partial(masker_rows, experiment, regime, task) for task in tasks(runs)),
    ]
    checks = [partial(sanity_rows, experiment, ModelKey(experiment.detectors[0], regime, run)) for run in range(runs)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _alone) as pool:
        found = [pool.submit(job) for job in work]
        checked = [pool.submit(job) for job in checks]
        for one in tqdm(as_completed([*found, *checked]), "maskers", len(work) + len(checks), mininterval=2):
            one.result()  # an error shows at once
    rows = pd.concat([one.result() for one in found], ignore_index=True)
    sanity = pd.concat([one.result() for one in checked], ignore_index=True)
    by, apart = ["study", "regime", "name", "examples", "cells", "variant"], differences(experiment, rows)
    published = pd.DataFrame(PUBLISHED, columns=["name", "variant", "mean"]).assign(study="published", cells="native")
    return {
        "masking": pd.concat([statistics.summarise(rows, by, **experiment.resampling), published], ignore_index=True),
        "masking_differences": apart,
        "masking_findings": findings(apart),
        "masking_sanity": statistics.summarise(
            sanity, ["check", "salience", "level", "layer", "variant"], **experiment.resampling
        ),
    }


def tasks(runs: int) -> Iterator[Task]:
    """Every masker of the study; the reference comes first, so that it is there when others are compared with it."""
    for run, (name, settings) in product(range(runs), ABLATION.items()):
        yield Task("ablation", name, run, settings)
    for run, shots in product(range(runs), SHOTS):
        yield Task("few-shot", str(shots), run, shots=shots)


def differences(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Every variant of the masker, and every number of examples, minus the masker trained as published.

    Both explain the same detectors on the same images, so that each run and image has a difference of its own.
    """
    made, pair = rows[rows["study"].isin(["ablation", "few-shot"])], ["cells", "variant", "run", "image"]
    reference = made[made["name"] == REFERENCE].set_index(pair)["value"].rename("reference")
    apart = made[made["name"] != REFERENCE].join(reference, on=pair, validate="many_to_one")
    apart = apart.assign(value=apart["value"] - apart["reference"])
    return statistics.summarise(apart, ["study", "name", "cells", "variant"], **experiment.resampling)


def findings(apart: pd.DataFrame) -> pd.DataFrame:
    """Each finding of the paper, a row a metric, with the difference that tells and the verdict in words."""
    found = []
    for finding, study, name, expected in FINDINGS:
        own = apart[(apart["study"] == study) & (apart["name"] == name) & (apart["cells"] == "native")]
        own = own[own["variant"].isin(JUDGED)]
        verdicts = [verdict(row.variant, row.low, row.high, expected) for row in own.itertuples()]
        found.append(own.assign(finding=finding, expected=expected, verdict=verdicts))
    first = ["finding", "variant", "verdict", "expected"]
    table = pd.concat(found, ignore_index=True)
    return table[[*first, *table.columns.drop(first)]]


def verdict(metric: str, low: float, high: float, expected: str) -> str:
    """Whether an interval of a difference to the masker as published says what was expected.

    Args:
        metric: a key of ``localisation.BETTER``.
        low, high: of the difference.
        expected: "better" or "worse": all of the interval lies on that side of 0; "little": none of it is worse by
            ``LITTLE`` or more.
    """
    if np.isnan(low + high):
        return "no interval"
    low, high = (low, high) if BETTER[metric] == "higher" else (-high, -low)
    holds, fails = {
        "better": (low > 0, high < 0),
        "worse": (high < 0, low > 0),
        "little": (low > -LITTLE, high < -LITTLE),
    }[expected]
    return "holds" if holds else "the contrary" if fails else "not told"


# Maskers


def masker_rows(experiment: Experiment, regime: str, task: Task) -> pd.DataFrame:
    """Train one masker, or read it where it is finished, and score its masks."""
    one = ModelKey(experiment.detectors[0], regime, task.run)
    detector = experiment.detector(one.detector, one.regime, one.run)
    train = load_dataset(experiment.dataset, split="train", **experiment.options)
    chosen = few(train, task)
    # The masker as published is the one that `make book` trained.
    path = (
        experiment.masker_file(one)
        if task.name == REFERENCE
        else train_variant(experiment, one, task, detector, chosen)
    )
    checkpoint = masker.alongside_of(path) if task.settings.get("alongside") else experiment.checkpoint(one)
    explained = load_detector(one.detector, checkpoint, device=experiment.device, masker=path)
    samples, images = known(experiment)
    found = explain(explained, images, MASKER)
    # SM asks the detector itself, not the one that was trained alongside.
    rows = scored(experiment, samples, images, found.maps, found.predicted, detector)
    examples = chosen["label"].value_counts().min()
    return rows.assign(study=task.study, name=task.name, examples=examples, regime=regime, run=task.run)


def train_variant(experiment: Experiment, one: ModelKey, task: Task, detector: Detector, train: pd.DataFrame) -> Path:
    """The file of a masker that differs from the profile's in what the task says."""
    changed = dict(task.settings)
    if changed.get("stages") == "all":
        changed["stages"] = list(stages(detector))
    if changed.get("infill") == "generated":
        objectives.INFILLS["generated"] = generated(detector, train)
        training.INFILLS[:] = objectives.INFILLS
    settings = replace(experiment.masker_settings(one), **changed)
    validate = load_dataset(experiment.dataset, split="validate", **experiment.options)
    folder = paths.RESULTS / experiment.profile / "masking" / re.sub(r"\W+", "-", f"{task.study} {task.name}")
    path = folder / one.regime / f"{paths.run_name(task.run)}.masker.pt"
    about = {"regime": one.regime, "run": task.run, "origin": f"{task.study}, {task.name}", "progress": False}
    masker.fit(detector, train, validate, path, settings, **about)
    return path


def few(train: pd.DataFrame, task: Task) -> pd.DataFrame:
    """So many examples of each class, another draw every run; all where the task names no number."""
    if task.shots is None:
        return train
    random = np.random.default_rng([task.shots, task.run])
    chosen = [random.choice(np.flatnonzero(train["label"] == label), task.shots, replace=False) for label in LABELS]
    return train.iloc[np.concatenate(chosen)].reset_index(drop=True)


def generated(detector: Detector, train: pd.DataFrame, side: int = 28) -> objectives.Infill:
    """An in-fill that makes faces up: the principal components of training photographs that fit what is shown best.

    At ``side`` pixels, by least squares weighted with the share of each place that is shown.
    """
    photographs = train[train["label"] == LABELS[0]]
    images = np.concatenate(list(read_images(photographs, size=detector.size)))
    flat = _small(as_input(images, detector), side).flatten(1)
    mean = flat.mean(0)
    _, spread, basis = torch.linalg.svd(flat - mean, full_matrices=False)
    basis, spread = basis[:COMPONENTS], spread[:COMPONENTS].square()
    # What varies little among faces is hardly believed of a part of one.
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


def method_rows(experiment: Experiment, one: ModelKey, slow: bool) -> pd.DataFrame:
    """Score the maps of other methods, and of two that never read the network; with ``slow`` also those that take long.

    ``slow`` methods ask the network hundreds of times for an image: occlusion, RISE and Score-CAM.
    """
    detector = experiment.masked.detector(one.detector, one.regime, one.run)
    samples, images = known(experiment)
    with Explainer(detector, METHODS) as explainer:
        found = explainer(images)
    predicted = found[METHODS[0]].predicted
    shape = found[MASKER].maps.shape[1:]
    maps = {name: own.maps for name, own in found.items()}
    maps |= {name: controls.MAPS[name](images, shape, one.run) for name in ("centre", "random")}
    if slow:
        maps["ScoreCAM"] = explain(detector, images, "ScoreCAM").maps
        maps["occlusion"] = occlusion(detector, images, predicted)
        maps["RISE"] = rise(detector, images, predicted, shape, one.run)
    score = partial(scored, experiment, samples, images, predicted=predicted, detector=detector)
    parts = [score(maps=own).assign(name=name) for name, own in maps.items()]
    return pd.concat(parts, ignore_index=True).assign(study="methods", examples=0, regime=one.regime, run=one.run)


def occlusion(detector: Detector, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much of the class's probability is lost where a patch hides the image (Zeiler and Fergus 2014): (N, h, w)."""
    batch = as_input(images, detector)
    corners = range(0, detector.size - PATCH + 1, STRIDE)
    clean = probabilities(detector, batch, classes)
    lost = np.empty((len(images), len(corners), len(corners)), np.float32)
    for (row, top), (column, left) in product(enumerate(corners), enumerate(corners)):
        hidden = batch.clone()
        hidden[:, :, top : top + PATCH, left : left + PATCH] = 0
        lost[:, row, column] = clean - probabilities(detector, hidden, classes)
    return stretched(lost)


def rise(detector: Detector, images: np.ndarray, classes: np.ndarray, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Random masks, weighed with the class's probability for what they show (Petsiuk et al. 2018): (N, h, w).

    Coarse grids of which half is shown, enlarged and shifted at random; the same masks for all images. Each place is
    divided by how often it was shown, not by how often it should have been, which takes less chance into the map.
    """
    random, batch = torch.Generator().manual_seed(seed), as_input(images, detector)
    cell = -(-detector.size // RISE_CELLS)
    total, covered = np.zeros((len(images), *shape), np.float32), np.zeros(shape, np.float32)
    for _ in range(RISE_MASKS):
        grid = (torch.rand(1, 1, RISE_CELLS + 1, RISE_CELLS + 1, generator=random) < 0.5).float()
        large = enlarge(grid, (RISE_CELLS + 1) * cell)
        top, left = torch.randint(0, cell, (2,), generator=random).tolist()
        mask = large[:, :, top : top + detector.size, left : left + detector.size]
        small = interpolate(mask, shape, mode="area")[0, 0].numpy()
        total += probabilities(detector, batch * mask, classes)[:, None, None] * small
        covered += small
    return stretched(total / covered)


@torch.no_grad()
def probabilities(detector: Detector, batch: Tensor, classes: np.ndarray) -> np.ndarray:
    """(n,) P(class) of normalised images."""
    # In parts that memory likes, see images_at_once.
    parts = batch.split(images_at_once(detector, batch.device))
    shares = torch.cat([two_logits(detector, detector.model(part)).softmax(1) for part in parts]).numpy()
    return shares[np.arange(len(classes)), classes]


def stretched(raw: np.ndarray) -> np.ndarray:
    """Maps (N, h, w) min-max normalised each; constant ones NaN."""
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):
        return ((raw - low) / np.where(high > low, high - low, np.nan)).astype(np.float32)


# Scores


def known(experiment: Experiment) -> tuple[pd.DataFrame, np.ndarray]:
    """The test images whose true region is known."""
    samples = experiment.samples[experiment.samples["region"] != ""].reset_index(drop=True)
    return samples, experiment.images(samples["image"])


def scored(
    experiment: Experiment,
    samples: pd.DataFrame,
    images: np.ndarray,
    maps: np.ndarray,
    predicted: np.ndarray,
    detector: Detector,
) -> pd.DataFrame:
    """Tidy rows of all localisation metrics, native and at 7x7 area means, and of dead or collapsed maps."""
    regions, classes = experiment.regions(samples["image"]), samples["label"].map(LABELS.index).to_numpy()
    found = []
    for cells, own in (("native", maps), (f"{CELLS}x{CELLS}", coarse(maps))):
        boxes = predicted_boxes(enlarged(own, regions.shape[1:]))
        inside = probabilities(detector, as_input(crops(images, boxes), detector), classes)
        values = with_region(own, regions, correct=predicted == classes, probability=inside)
        values["dead"] = dead(own).astype(float)
        about = samples[["image", "label", "source"]].assign(cells=cells)
        found += [about.assign(variant=variant, value=value) for variant, value in values.items()]
    return pd.concat(found, ignore_index=True)


def coarse(maps: np.ndarray) -> np.ndarray:
    """7x7 area means, so that fine maps and coarse ones are compared at one size."""
    return np.clip(resize_local_mean(maps, (CELLS, CELLS), channel_axis=0), 0, 1)


# Sanity checks


def sanity_rows(experiment: Experiment, one: ModelKey) -> pd.DataFrame:
    """How alike maps stay: layers of the detector randomised from the top, or one alone; labels shuffled in training.

    The masker stays as it is in the first two checks, and is trained anew for the detector of shuffled labels. What
    similarity two runs with true labels have stands beside the last.
    """
    trained = experiment.masked.detector(one.detector, one.regime, one.run)
    samples = experiment.samples[experiment.samples["source"].isin(experiment.in_set)]
    samples = samples.groupby("source").head(SANITY_IMAGES // len(experiment.in_set))
    images = experiment.images(samples["image"])
    untrained = load_detector(one.detector, seed=1_000_000 + one.run, device=experiment.device)
    before = sane(trained, images)
    found = []
    for check, count, layer, detector in randomised(trained, untrained):
        found += list(alike(before, sane(detector, images), samples, check=check, level=count, layer=layer))
    for check, detector in retrained(experiment, one):
        found += list(alike(before, sane(detector, images), samples, check=check, level=0, layer=""))
    return pd.concat(found, ignore_index=True).assign(run=one.run)


def sane(detector: Detector, images: np.ndarray) -> dict[str, np.ndarray]:
    """Maps of the class "synthetic", so that a flipped prediction does not count as a changed map."""
    with Explainer(detector, ("GradCAM", MASKER)) as explainer:
        return {name: found.maps for name, found in explainer(images, LABELS[1]).items()}


def randomised(trained: Detector, untrained: Detector) -> Iterator[tuple[str, int, str, Detector]]:
    """Check, number of layers from the top, name of the lowest, detector."""
    layers = [names[0] for names in weighted_layers(trained.model)]
    counts = range(1, len(layers) + 1)
    for count, detector in zip(counts, cascade(trained, untrained, counts), strict=True):
        yield "cascading", count, layers[count - 1], detector
    for count, names in enumerate(weighted_layers(trained.model), 1):
        model = copy.deepcopy(trained.model)
        for name in names:
            model.get_submodule(name).load_state_dict(untrained.model.get_submodule(name).state_dict())
        yield "independent", count, layers[count - 1], replace(trained, model=model)


def retrained(experiment: Experiment, one: ModelKey) -> Iterator[tuple[str, Detector]]:
    """The detector of another run, and one of shuffled labels with a masker of its own."""
    other = (one.run + 1) % experiment.runs
    yield "another run", experiment.masked.detector(one.detector, one.regime, other)
    shuffled = replace(one, regime="shuffled_labels")
    _, path = train.train_masker(experiment, shuffled, progress=False)
    yield "shuffled labels", replace(experiment.detector(*vars(shuffled).values()), masker=path)


def alike(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], samples: pd.DataFrame, **about
) -> Iterator[pd.DataFrame]:
    """Spearman's correlation, that of histograms of oriented gradients, and SSIM, of maps enlarged to the images."""
    for name, maps in before.items():
        pair = [large(own) for own in (maps, after[name])]
        gone = dead(maps) | dead(after[name])
        values = {
            "spearman": controls.rank_correlation(*pair),
            "hog": np.array([hog_correlation(*two) for two in zip(*pair, strict=True)]),
            "ssim": ssim(*pair, data_range=255),
        }
        for variant, value in values.items():
            rows = samples[["image"]].assign(salience=name, variant=variant, value=np.where(gone, np.nan, value))
            yield rows.assign(**about)


def large(maps: np.ndarray, side: int = 112) -> np.ndarray:
    return upsample(quantise(maps), side, side)


def hog_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of two maps' histograms of oriented gradients, in cells of 16 pixels."""
    features = [hog(salience, pixels_per_cell=(16, 16)) for salience in (one, other)]
    return np.corrcoef(*features)[0, 1] if all(feature.std() for feature in features) else np.nan


def _alone() -> None:
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
