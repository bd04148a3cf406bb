"""The study of good maskers: ``python -m studies.masking``, part of `make study`; a quarter of an hour on two cores.

Reads the detectors and maskers that `make book` and `make study` trained, trains more maskers, and scores masks on the
test images with a known true region. Writes four tables with ``e2m.store.studies``:

* ``masking``: every localisation metric for every variant of the masker ("ablation"), for maskers of few examples
  ("few-shot") and for other salience methods ("methods"), on native maps and on 7x7 area means; and the numbers that
  Phang, Park and Geras 2020 (arXiv 2010.09750) report for ImageNet ("published");
* ``masking_differences``: every variant, and every number of examples, minus the masker trained as published;
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
from skimage.feature import hog
from skimage.transform import resize_local_mean
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from e2m import statistics
from e2m.arrays.correlation import rank_correlation
from e2m.arrays.images import read_images
from e2m.arrays.maps import dead, quantise, upsample
from e2m.arrays.ssim import ssim
from e2m.datasets import load_dataset
from e2m.detectors import load_detector
from e2m.experiment import train
from e2m.experiment.controls import cascade, weighted_layers
from e2m.experiment.dependencies import code
from e2m.experiment.results import Experiment, ModelKey
from e2m.measures.localisation import BETTER, crops, enlarged, predicted_boxes, with_region
from e2m.networks.inputs import as_input, two_logits
from e2m.networks.masker import enlarge, stages
from e2m.salience.engine import Explainer, explain, images_at_once
from e2m.store import disk, paths, studies
from e2m.training import masker, objectives
from e2m.training import settings as training
from e2m.types import LABELS, MASKER, Detector

RUNS = 3
REFERENCE = "both"
"""The masker as published, with the settings of the profile."""

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
SLOW = ("ScoreCAM", "occlusion", "RISE")
"""Methods that ask the network hundreds of times for an image."""
SANITY_IMAGES = 60
COMPONENTS = 30
"""Principal components of faces from which the generated in-fill is made."""

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
"""ImageNet, ResNet-50; the numbers for few examples and CAM are read off a plot."""


FINDINGS = (
    ("both objectives are better than mask-in alone", "ablation", "mask-in only", "worse"),
    ("both objectives are better than mask-out alone", "ablation", "mask-out only", "worse"),
    ("training the classifier alongside helps", "ablation", "trained alongside", "better"),
    ("ten examples a class cost little", "few-shot", "10", "little"),
    ("one example a class costs more", "few-shot", "1", "worse"),
)
"""Each finding of the paper, the study and the variant that test it, and the expected result against the reference."""
JUDGED = ("le", "f1", "pxap")
"""The metrics, between 0 and 1, by which findings are judged."""
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
    parser.add_argument("--profile", default="demo", help="profile whose detectors are read [demo]")
    parser.add_argument("--regime", default="cyborg", help="regime whose detectors get more maskers [cyborg]")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"detectors, and maskers of each variant [{RUNS}]")
    parser.add_argument("--workers", type=int, default=2, help="processes [2]")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the tables [data/studies]")
    options = parser.parse_args(arguments)
    experiment = Experiment.load(options.profile)
    about = {"command": "make study", "profile": experiment.profile, "regime": options.regime, "runs": options.runs}
    about |= {"data": experiment.data_hash(), "masker": experiment.masker}
    for name, table in tables(experiment, options.regime, options.runs, options.workers).items():
        print(studies.save(name, table, options.folder, **about))


def tables(experiment: Experiment, regime: str, runs: int, workers: int) -> dict[str, pd.DataFrame]:
    """The four tables, by name."""
    work: list[Callable[[], pd.DataFrame]] = [
        # The longest jobs come first, so that none runs alone at the end.
        *(partial(method_rows, experiment, one, one.regime == regime) for one in experiment.trained if one.run < runs),
        *(partial(masker_rows, experiment, regime, task) for task in tasks(runs)),
    ]
    checks = [partial(sanity_rows, experiment, ModelKey(experiment.detectors[0], regime, run)) for run in range(runs)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _alone) as pool:
        submitted = [pool.submit(job) for job in work]
        checked = [pool.submit(job) for job in checks]
        for one in tqdm(as_completed([*submitted, *checked]), "maskers", len(work) + len(checks), mininterval=2):
            one.result()  # an error shows at once
    rows = pd.concat([one.result() for one in submitted], ignore_index=True)
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
    """Every masker of the study; the reference, with which the others are compared, comes first."""
    for run, (name, settings) in product(range(runs), ABLATION.items()):
        yield Task("ablation", name, run, settings)
    for run, shots in product(range(runs), SHOTS):
        yield Task("few-shot", str(shots), run, shots=shots)


def differences(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Every variant of the masker, and every number of examples, minus the masker trained as published.

    Both explain the same detectors on the same images, so each run and image has its own difference.
    """
    made, pair = rows[rows["study"].isin(["ablation", "few-shot"])], ["cells", "variant", "run", "image"]
    reference = made[made["name"] == REFERENCE].set_index(pair)["value"].rename("reference")
    apart = made[made["name"] != REFERENCE].join(reference, on=pair, validate="many_to_one")
    apart = apart.assign(value=apart["value"] - apart["reference"])
    return statistics.summarise(apart, ["study", "name", "cells", "variant"], **experiment.resampling)


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
    """Whether an interval of a difference to the masker as published agrees with the expectation.

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
    """Train one masker, or read it if it is finished, and score its masks."""
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
    explanation = explain(explained, images, MASKER)
    # SM uses the original detector, not the one trained alongside.
    rows = scored(experiment, samples, images, explanation.maps, explanation.predicted, detector)
    examples = chosen["label"].value_counts().min()
    return rows.assign(study=task.study, name=task.name, examples=examples, regime=regime, run=task.run)


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
    folder = paths.RESULTS / experiment.profile / "masking" / re.sub(r"\W+", "-", f"{task.study} {task.name}")
    path = folder / one.regime / f"{paths.run_name(task.run)}.masker.pt"
    origin = f"{task.study}, {task.name}, code {disk.short_hash(code('studies.masking'))}"
    about = {"regime": one.regime, "run": task.run, "origin": origin, "progress": False}
    masker.fit(detector, train, validate, path, settings, **about)
    return path


def few(train: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The task's number of examples of each class, drawn anew for every run; all examples if it names no number."""
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


def method_rows(experiment: Experiment, one: ModelKey, slow: bool) -> pd.DataFrame:
    """Score the maps of other methods, and of two that never ask the network; with ``slow`` also those of ``SLOW``."""
    detector = experiment.masked.detector(one.detector, one.regime, one.run)
    samples, images = known(experiment)
    with Explainer(detector, METHODS) as explainer:
        explained = explainer(images)
    predicted = explained[METHODS[0]].predicted
    maps = {name: explanation.maps for name, explanation in explained.items()}
    for name in ("centre", "random", *(SLOW if slow else ())):
        maps[name] = explain(detector, images, name, seed=one.run).maps
    score = partial(scored, experiment, samples, images, predicted=predicted, detector=detector)
    parts = [score(maps=stack).assign(name=name) for name, stack in maps.items()]
    return pd.concat(parts, ignore_index=True).assign(study="methods", examples=0, regime=one.regime, run=one.run)


@torch.no_grad()
def probabilities(detector: Detector, batch: Tensor, classes: np.ndarray) -> np.ndarray:
    """(n,) P(class) of normalised images."""
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
) -> pd.DataFrame:
    """Tidy rows of all localisation metrics, native and at 7x7 area means, and of dead or collapsed maps."""
    regions, classes = experiment.regions(samples["image"]), samples["label"].map(LABELS.index).to_numpy()
    rows = []
    for cells, stack in (("native", maps), (f"{CELLS}x{CELLS}", coarse(maps))):
        boxes = predicted_boxes(enlarged(stack, regions.shape[1:]))
        inside = probabilities(detector, as_input(crops(images, boxes), detector), classes)
        values = with_region(stack, regions, correct=predicted == classes, probability=inside)
        values["dead"] = dead(stack).astype(float)
        about = samples[["image", "label", "source"]].assign(cells=cells)
        rows += [about.assign(variant=variant, value=value) for variant, value in values.items()]
    return pd.concat(rows, ignore_index=True)


def coarse(maps: np.ndarray) -> np.ndarray:
    """7x7 area means, so that fine and coarse maps are compared at one size."""
    return np.clip(resize_local_mean(maps, (CELLS, CELLS), channel_axis=0), 0, 1)


# Sanity checks


def sanity_rows(experiment: Experiment, one: ModelKey) -> pd.DataFrame:
    """Similarity of maps when layers are randomised from the top, or one alone, or labels are shuffled in training.

    The masker does not change in the first two checks; for the detector of shuffled labels a new one is trained. The
    similarity of two runs with true labels is the reference of that check.
    """
    trained = experiment.masked.detector(one.detector, one.regime, one.run)
    samples = experiment.samples[experiment.samples["source"].isin(experiment.in_set)]
    samples = samples.groupby("source").head(SANITY_IMAGES // len(experiment.in_set))
    images = experiment.images(samples["image"])
    untrained = load_detector(one.detector, seed=1_000_000 + one.run, device=experiment.device)
    before = sane(trained, images)
    parts = []
    for check, count, layer, detector in randomised(trained, untrained):
        parts += list(alike(before, sane(detector, images), samples, check=check, level=count, layer=layer))
    for check, detector in retrained(experiment, one):
        parts += list(alike(before, sane(detector, images), samples, check=check, level=0, layer=""))
    return pd.concat(parts, ignore_index=True).assign(run=one.run)


def sane(detector: Detector, images: np.ndarray) -> dict[str, np.ndarray]:
    """Maps of the class "synthetic", so that a flipped prediction does not count as a changed map."""
    with Explainer(detector, ("GradCAM", MASKER)) as explainer:
        return {name: explanation.maps for name, explanation in explainer(images, LABELS[1]).items()}


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
    """The detector of another run, and one of shuffled labels with its masker."""
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
