"""Figures that explain each measure on one face, with its real maps: what is compared, and the number it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from e2m.arrays.maps import quantise
from e2m.arrays.ssim import ssim
from e2m.experiment.results import Experiment
from e2m.measures import degradation, transformations
from e2m.measures.entropy import grey_level_entropy, spatial_entropy
from e2m.measures.noise import salt_and_pepper
from e2m.measures.stability import stability
from e2m.pages import figures, selection
from e2m.types import MASKER, Explanation

RUNS = 5
"""Runs shown side by side, where there are more."""


@dataclass(frozen=True)
class Tile:
    """One picture of a story.

    Attributes:
        picture: (H, W, 3) uint8, or float in [0, 1].
        title: what it is, above it.
        below: the number that belongs to it, below it.
    """

    picture: np.ndarray
    title: str = ""
    below: str = ""


def story(rows: Mapping[str, Sequence[Tile]], cells: tuple[int, int]) -> Figure:
    """Pictures that are read from left to right: one row a title, numbers below the pictures.

    Args:
        rows: title -> its pictures.
        cells: height and width of the maps in them.
    """
    across = max(map(len, rows.values()))
    wide = min(1.66, (figures.WIDEST - 0.9) / across)
    size = (wide * across + 0.9, (wide + 0.44) * len(rows) + 0.5)
    figure, axes = plt.subplots(len(rows), across, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.set_frame_on(False)
    for line, (name, tiles) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
        for ax, tile in zip(line, tiles, strict=False):
            ax.imshow(tile.picture)
            ax.set_title(tile.title, fontsize=10)
            ax.set_xlabel(tile.below, fontsize=figures.SMALLEST)
    figures.salience_bar(figure, axes, [cells])
    return figure


def concentration(experiment: Experiment, detector: str, method: str, image: str) -> Figure:
    """The most and the least concentrated map of one face among all runs, and the first with its cells shuffled."""
    known = [
        (experiment.salience([image], detector, regime, method, run)[0], f"{experiment.label(regime)}, run {run}")
        for regime in experiment.regimes_of(method)
        for run in experiment.runs_of(regime, method)
    ]
    known = sorted(
        (pair for pair in known if np.isfinite(pair[0]).all()), key=lambda pair: spatial_entropy(pair[0][None])[0]
    )
    face = experiment.images([image])[0]
    (small, first), (large, last) = known[0], known[-1]
    shuffled = np.random.default_rng(0).permutation(small.ravel()).reshape(small.shape)
    shown = {
        f"most concentrated:\n{first}": small,
        f"most spread:\n{last}": large,
        "the first map,\ncells shuffled": shuffled,
    }
    tiles = [Tile(figures.overlay(face, map_), title, _concentrated(map_)) for title, map_ in shown.items()]
    return story({"": [Tile(face, "one face"), *tiles]}, small.shape)


def _concentrated(map_: np.ndarray) -> str:
    shares = np.sort(map_.ravel())[::-1].cumsum() / map_.sum()
    cells = int(np.searchsorted(shares, 0.5)) + 1
    spatial, grey = (function(map_[None])[0] for function in (spatial_entropy, grey_level_entropy))
    return f"half lies in {cells} of {map_.size} cells\nspatial entropy {spatial:.2f}\ngrey-level entropy {grey:.2f}"


def noise(
    experiment: Experiment, detector: str, method: str, image: str, rows: pd.DataFrame, amounts: Sequence[float]
) -> Figure:
    """One face under more and more noise, and its map of run 0 of every regime with the similarity to the clean map.

    Args:
        experiment, detector, method, image: whose map is shown.
        rows: of measure (b).
        amounts: shares of noise; those that the rows do not hold are left out.
    """
    levels = {float(text): text for text in rows["level"].dropna().astype(str).unique() if text}
    amounts = [amount for amount in amounts if amount in levels]
    face, seed = experiment.images([image]), experiment.measures["noise"]["seed"]
    stack = np.concatenate([face, *(salt_and_pepper(face, amount, seed) for amount in amounts)])
    names = ["clean", *(f"noise {amount:g}" for amount in amounts)]
    lines = {"image": [Tile(picture, name) for picture, name in zip(stack, names, strict=True)]}
    wanted = {"image": image, "run": 0, "salience": method, "target": "predicted", "variant": "ssim"}
    for regime in experiment.regimes_of(method):
        maps = _explained(experiment, detector, regime, method, stack).maps
        of_regime = _matching(rows, wanted | {"detector": detector, "regime": regime})
        values = [_value(of_regime, {"level": levels[amount]}) for amount in amounts]
        below = ["map of the clean face", *(f"SSIM {value:.2f}" for value in values)]
        pictures = [figures.overlay(face[0], map_) for map_ in maps]
        lines[experiment.label(regime)] = [Tile(*pair) for pair in zip(pictures, [""] * len(below), below, strict=True)]
    return story(lines, maps.shape[1:])


def moved(experiment: Experiment, detector: str, method: str, image: str, rows: pd.DataFrame, name: str) -> Figure:
    """One face and its moved copy, their maps, and the second map moved back, for run 0 of every regime.

    Args:
        experiment, detector, method, image: whose map is shown.
        rows: of measure (c).
        name: of the transformation.
    """
    face = experiment.images([image])
    change = next(transformations.perturbations(face, {}, [name]))
    wanted = {
        "image": image,
        "run": 0,
        "salience": method,
        "target": "predicted",
        "variant": "ssim_valid",
        "level": name,
    }
    lines = {}
    for regime in experiment.regimes_of(method):
        found = _explained(experiment, detector, regime, method, np.concatenate([face, change.images]))
        large = figures.upsample(found.maps, *face.shape[1:3])
        back = change.undo(large[1:])[0]
        value = _value(rows, wanted | {"detector": detector, "regime": regime})
        lines[experiment.label(regime)] = [
            Tile(face[0], "one face"),
            Tile(figures.overlay(face[0], large[0]), "map of the face"),
            Tile(change.images[0], figures.spelled(name)),
            Tile(figures.overlay(change.images[0], large[1]), "its map"),
            Tile(figures.overlay(face[0], back), "moved back", f"SSIM {value:.2f}"),
        ]
    return story(lines, found.maps.shape[1:])


def _explained(experiment: Experiment, detector: str, regime: str, method: str, images: np.ndarray) -> Explanation:
    """The maps of run 0 for images that no job explained."""
    from e2m.salience.engine import explain  # not at the top: figures of stored maps need no torch

    return explain(experiment.detector(detector, regime, run=0), images, method)


def agreement(experiment: Experiment, detector: str, method: str, image: str) -> Figure:
    """The maps of one face in several runs of both groups, and of detectors trained with one fixed map, if any."""
    face = experiment.images([image])[0]
    compared = {regime: len(experiment.runs_of(regime, method)) for regime in experiment.roles.values()}
    if method != MASKER:  # which no control has
        compared |= {regime: runs for regime, runs in experiment.comparators.items() if regime == "fixed_map"}
    lines = {}
    for regime, runs in compared.items():
        maps = [experiment.salience([image], detector, regime, method, run)[0] for run in range(runs)]
        small = quantise(np.stack(maps))
        mean = stability(np.stack(maps)[:, None])["value"].mean() if runs > 1 else np.nan
        shown = range(min(RUNS, runs))
        similar = ssim(np.repeat(small[:1], len(shown), axis=0), small[: len(shown)], data_range=255)
        below = ["", *(f"SSIM {value:.2f}" for value in similar[1:])]
        tiles = [Tile(figures.overlay(face, maps[run]), f"run {run}", below[run]) for run in shown]
        pairs = runs * (runs - 1) // 2
        of = "1 pair" if pairs == 1 else f"{pairs} pairs"
        lines[f"{figures.regime_label(regime)}\nmean of {of}\n{mean:.2f}"] = [Tile(face, "one face"), *tiles]
    return story(lines, small.shape[1:])


def blurred(
    experiment: Experiment, detector: str, method: str, image: str, rows: pd.DataFrame, max_sigma: float
) -> Figure:
    """One face, its map, and the face blurred in each region, with the score of run 0 of every regime.

    Args:
        experiment, detector, method, image: whose map is shown.
        rows: of measure (e).
        max_sigma: largest blur, in pixels.
    """
    face = experiment.images([image])
    level = selection.existing(rows, "level", max_sigma)
    wanted = {"image": image, "run": 0, "variant": "score"}
    clean, lines = experiment.scores(), {}
    for regime in experiment.regimes_of(method):
        case = wanted | {"detector": detector, "regime": regime}
        map_ = experiment.salience([image], detector, regime, method)
        tiles = [
            Tile(face[0], "one face", f"P(synthetic) {_value(clean, case):.2f}"),
            Tile(figures.overlay(face[0], map_[0]), "its map"),
        ]
        for region in dict.fromkeys(rows["region"].dropna().astype(str)):
            score = _value(rows, case | {"salience": method, "level": level, "region": region})
            picture = degradation.degrade(
                face, map_, region, max_sigma, experiment.measures["degradation"].get("seed", 0)
            )[0]
            tiles.append(Tile(picture, f"{region} blurred", f"P(synthetic) {score:.2f}"))
        lines[experiment.label(regime)] = tiles
    return story(lines, map_.shape[1:])


def _matching(rows: pd.DataFrame, wanted: Mapping[str, object]) -> pd.DataFrame:
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows


def _value(rows: pd.DataFrame, wanted: Mapping[str, object]) -> float:
    """The value of the one row that is wanted; NaN if its map is dead."""
    (value,) = _matching(rows, wanted)["value"]
    return float(value)
