"""The explorer: images, detectors, salience methods and changes of the image, from which a reader chooses.

Its numbers are values of the stored rows. Maps of changed images are stored nowhere, so they are computed again for
the few images that the explorer shows. All of it becomes one script, which a browser also loads from ``file://``;
``book/style/explorer.js`` draws what the reader chooses.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from PIL import Image

from e2m import plugins
from e2m.arrays.maps import quantise
from e2m.detectors import load_detector
from e2m.experiment.inputs import replace
from e2m.experiment.profile import ModelKey, perturbations
from e2m.experiment.results import Experiment
from e2m.pages import figures
from e2m.salience.engine import Explainer
from e2m.salience.respond import Compared
from e2m.store import disk, paths
from e2m.types import LABELS, MASKER, Detector, Explanation, Perturbation

SIMILARITIES = ("ssim", "ssim_valid")
"""Variants of rows that compare the map of the changed image with that of the clean one."""

HUMAN_CELLS = 28
"""Cells along each side of the human maps shown."""

STEADY, ALIKE, UNLIKE = 0.05, 0.8, 0.4
"""Rules of the cases that the explorer points to: a score that changes by less than the first counts as unchanged, maps
of more than the second similarity as almost the same, and maps of less than the third as different."""

_COLUMNS = 16  # of a sheet of pictures
_QUALITY = 55  # of WebP: half the bytes of Pillow's default, without a difference that shows at this size
_DIGITS = 6  # of the numbers

Change = tuple[str, str, str]
"""Measure, region and level, as in the tidy rows."""

CLEAN: Change = ("", "", "clean")
"""The image as it is: the first of all changes."""


@dataclass(frozen=True)
class Slot:
    """A detector with a salience method: the smallest thing that has maps."""

    key: ModelKey
    method: str

    @property
    def name(self) -> str:
        """Regime, run and method: "cyborg.0.GradCAM"."""
        return f"{self.key.regime}.{self.key.run}.{self.method}"


@dataclass(frozen=True)
class Explored:
    """What the explorer shows.

    Attributes:
        content: numbers, texts, and pictures and maps in base 64, as ``book/style/explorer.js`` reads them.
        recomputed: largest difference between a stored similarity and that of the maps computed again.
    """

    content: dict
    recomputed: float

    def write(self, path: Path) -> float:
        """Write the script; returns its size in MB."""
        script = f"e2mExplorer({json.dumps(self.content, allow_nan=False, separators=(',', ':'))});\n".encode()
        paths.write_atomically(path, lambda file: file.write(script))
        return len(script) / 1e6


def explore(experiment: Experiment, images: int = 8, runs: int = 3) -> Explored:
    """Read and compute what the explorer shows of an experiment.

    The images are the first of each source in the random order in which measures take them, so that no result chose
    them. The detectors are the first runs of every regime, and of regimes with wrong maps (``Profile.comparators``),
    whose images measures change in the in-set sources only. Memory holds all pictures.

    Args:
        experiment: an experiment whose detectors are explained; its first network is shown.
        images: number of images, taken from the sources in turn.
        runs: largest number of runs shown of a regime.
    """
    torch.set_num_threads(1)  # as in the jobs whose maps are computed again
    samples, families = drawn(experiment, images), _families(experiment)
    rows = pd.concat([_rows(family) for family in families.values()], ignore_index=True)
    record = _Record(_numbers(rows[rows["image"].isin(set(samples["image"])) & (rows["run"] < runs)]))
    keys = {source: _detectors(families, source, runs) for source in experiment.sources}
    for detectors, group in groupby(dict.fromkeys(samples["source"]), keys.get):
        _explain(families, detectors, samples[samples["source"].isin(list(group))], record)
    slots = {source: [slot for key in keys[source] for slot in _slots(families[key.regime], key)] for source in keys}
    return Explored(_content(experiment, families, slots, samples, rows, record), record.difference)


def drawn(experiment: Experiment, number: int) -> pd.DataFrame:
    """The samples of the explorer's images, source by source: the first of the draw, which all measures change."""
    most = experiment.fewest(experiment.sources)
    samples = experiment.samples[experiment.samples["draw"] < most]
    ranked = samples.assign(rank=samples["source"].map(experiment.sources.index))
    chosen = ranked.sort_values(["draw", "rank"]).head(number)
    return chosen.sort_values(["rank", "draw"], ignore_index=True).drop(columns="rank")


def similarity(measure: str) -> str:
    """The variant of a measure's rows that the explorer shows: that of its first headline that compares maps."""
    module = plugins.load("measure", measure)
    named = [*(headline.variant for headline in module.HEADLINES), *SIMILARITIES]
    return next(variant for variant in named if variant in SIMILARITIES)


def moved_back(change: Perturbation, side: int) -> list[float] | None:
    """How a change moves its maps back, as the six numbers of a canvas (``setTransform``).

    Returns:
        [a, b, c, d, e, f] in pixels of a square image of this side: what lies at (x, y) moves to
        (a x + c y + e, b x + d y + f); None if the change moves nothing, or not by such a rule.
    """
    rows, columns = np.indices((side, side)).astype(np.float64) + 0.5
    valid = np.ones((side, side), bool) if change.valid is None else change.valid
    before = np.stack([change.undo(plane[None])[0][valid] for plane in (columns, rows, np.ones_like(rows))], axis=1)
    after = np.stack([columns[valid], rows[valid]], axis=1)
    rule = np.linalg.lstsq(before, after, rcond=None)[0]
    if not np.allclose(before @ rule, after, atol=1e-6) or np.allclose(before[:, :2], after):
        return None
    return np.round(rule, _DIGITS).ravel().tolist()


def stage(script: str, megabytes: float) -> HTML:
    """Where the explorer appears once the reader asks for it; without JavaScript, one sentence.

    Args:
        script: name of the file with the data, among the book's static files.
        megabytes: its size.
    """
    return HTML(
        f'<div id="e2m-explorer" class="explorer" data-script="{script}">'
        f'<p><button type="button" class="explorer-load sd-btn sd-btn-primary" hidden>Load the explorer '
        f"({megabytes:.1f} MB)</button></p>"
        "<noscript><p>The explorer needs JavaScript. The figure below shows some of what it shows.</p></noscript></div>"
        '<script src="../_static/explorer.js" defer></script>'
    )


@dataclass
class _Record:
    """Pictures and maps by image, slot and change; pictures of a change that no map guides have the slot "".

    Attributes:
        numbers: (regime, run, image, salience, measure, region, level, variant) -> value.
        changes: change -> whether maps guide it, and how it is moved back.
        pictures: (H, W, 3) uint8.
        maps: (h, w) uint8; None for a dead map.
        difference: as ``Explored.recomputed``.
    """

    numbers: dict[tuple, float]
    changes: dict[Change, tuple[bool, list[float] | None]] = field(default_factory=lambda: {CLEAN: (False, None)})
    pictures: dict[tuple[str, str, Change], np.ndarray] = field(default_factory=dict)
    maps: dict[tuple[str, str, Change], np.ndarray | None] = field(default_factory=dict)
    difference: float = 0.0

    def value(self, slot: Slot, image: str, change: Change, variant: str) -> float | None:
        """A stored number; None if there is none, as of a dead map."""
        of_all = variant == "score" and not self.changes[change][0]
        key = (slot.key.regime, slot.key.run, image, "" if of_all else slot.method, *change, variant)
        value = self.numbers.get(key, np.nan)
        return round(float(value), _DIGITS) if np.isfinite(value) else None

    def add_pictures(self, images: Sequence[str], guide: str, change: Change, pictures: np.ndarray) -> None:
        self.pictures.update({(image, guide, change): one for image, one in zip(images, pictures, strict=True)})

    def add_maps(self, images: Sequence[str], slot: str, change: Change, maps: np.ndarray, dead: np.ndarray) -> None:
        grey = quantise(maps)
        self.maps.update({(name, slot, change): None if dead[n] else grey[n] for n, name in enumerate(images)})

    def compare(self, images: Sequence[str], slot: Slot, change: Change, variant: str, again: np.ndarray) -> None:
        """Note how far similarities computed again are from the stored ones."""
        stored = [self.value(slot, image, change, variant) for image in images]
        differences = np.abs(again - np.array(stored, float))
        self.difference = max(self.difference, np.nanmax(differences, initial=0.0))


# Reading


def _families(experiment: Experiment) -> dict[str, Experiment]:
    """Regime -> the experiment of its detectors alone, on the sources whose images measures change."""
    network, masked = experiment.detectors[0], experiment.masked
    with_masks = masked.regimes_of(MASKER) if masked.masker else []
    counts = dict.fromkeys(experiment.regimes, experiment.runs)
    counts = experiment.comparators | counts
    return {
        regime: replace(
            masked if regime in with_masks else experiment,
            detectors=[network],
            regimes=[regime],
            runs=counts[regime],
            sources=experiment.measured(ModelKey(network, regime, 0)),
        )
        for regime in dict.fromkeys([*experiment.regimes, *counts])
    }


def _detectors(families: Mapping[str, Experiment], source: str, runs: int) -> list[ModelKey]:
    """The detectors shown whose rows exist for a source."""
    trained = [key for family in families.values() if source in family.sources for key in family.trained]
    return [key for key in trained if key.run < runs]


def _rows(family: Experiment) -> pd.DataFrame:
    """The rows of scores and similarities of all measures that change images, for the class predicted."""
    names = ["regime", "image", "source", "salience", "measure", "region", "level", "variant"]
    tables = []
    for measure in family.measures:
        rows = family.rows(measure)
        kept = rows["variant"].isin([similarity(measure), "score"]) & rows["target"].isin(["predicted", ""])
        tables.append(rows.loc[kept, [*names, "run", "value"]].astype(dict.fromkeys(names, str)))
    return pd.concat(tables, ignore_index=True)


def _numbers(rows: pd.DataFrame) -> dict[tuple, float]:
    keys = ["regime", "run", "image", "salience", "measure", "region", "level", "variant"]
    return rows.set_index(keys)["value"].to_dict()


def _slots(family: Experiment, key: ModelKey) -> list[Slot]:
    return [Slot(key, method) for method in family.methods if key.run in family.runs_of(key.regime, method)]


# Computing


def _explain(
    families: Mapping[str, Experiment], keys: Sequence[ModelKey], samples: pd.DataFrame, record: _Record
) -> None:
    """Add pictures and maps of images and their changes, for some detectors.

    Measures guided by maps get those of all detectors at once, which share the blurred copies of each image.
    """
    names, family = samples["image"].tolist(), families[keys[0].regime]
    slots = {slot.name: slot for key in keys for slot in _slots(families[key.regime], key)}
    batches = family.batches(samples, _detector(family, keys[0], masked=False))
    images = np.concatenate([batch for _, batch, _ in batches])
    record.add_pictures(names, "", CLEAN, images)
    clean = {name: _clean(families[slot.key.regime], slot, samples, record) for name, slot in slots.items()}
    compared = {name: Compared(maps, dead, images.shape[1:3]) for name, (maps, dead) in clean.items()}
    changes = [*_changes(family, images, {name: one.maps for name, one in compared.items()})]
    for (measure, region, level), changed in changes:
        about = (bool(changed.guide), moved_back(changed, images.shape[1]))
        record.changes.setdefault((measure, region, level), about)
        record.add_pictures(names, changed.guide, (measure, region, level), changed.images)
    for key in keys:
        of_key = [slot for slot in slots.values() if slot.key == key]
        for slot, change, changed, explained in _explained(family, of_key, changes, names):
            record.add_maps(names, slot.name, change, explained.maps, explained.dead)
            variant = similarity(change[0])
            again = compared[slot.name].ssim(explained.maps, explained.dead, changed)[variant]
            record.compare(names, slot, change, variant, again)


def _changes(
    experiment: Experiment, images: np.ndarray, guides: dict[str, np.ndarray]
) -> Iterator[tuple[Change, Perturbation]]:
    for measure, settings in experiment.measures.items():
        for changed in perturbations(measure, settings)(images, guides):
            yield (measure, changed.region, changed.level), changed


def _explained(
    experiment: Experiment,
    slots: Sequence[Slot],
    changes: Sequence[tuple[Change, Perturbation]],
    names: Sequence[str],
) -> Iterator[tuple[Slot, Change, Perturbation, Explanation]]:
    """Every change that concerns a slot of one detector, with its explanation.

    Changes go through the network together: a call of its own for a few images would cost more than the images.
    """
    methods = [slot.method for slot in slots]
    key = slots[0].key
    detector, stored = _detector(experiment, key, MASKER in methods), experiment.frozen(key, "test")
    with Explainer(detector, methods, stored=stored) as explainer:
        for asked in (slots, *([slot] for slot in slots)):
            guide = asked[0].name if asked is not slots else ""
            some = [(change, changed) for change, changed in changes if changed.guide == guide]
            if not some:
                continue
            images = np.concatenate([changed.images for _, changed in some])
            regions = None
            if explainer.needs_regions and "region" in experiment.samples:
                known = experiment.regions(names, images.shape[1])
                regions = np.concatenate([changed.move(known) for _, changed in some])
            explained = explainer.several(images, ("predicted",), [slot.method for slot in asked], regions)
            for slot, (n, (change, changed)) in product(asked, enumerate(some)):
                part = slice(n * len(names), (n + 1) * len(names))
                yield slot, change, changed, explained[slot.method, 0][part]


def _detector(experiment: Experiment, key: ModelKey, masked: bool) -> Detector:
    masker = experiment.masker_file(key) if masked else None
    return load_detector(key.detector, experiment.checkpoint(key), device=experiment.device, masker=masker)


def _clean(family: Experiment, slot: Slot, samples: pd.DataFrame, record: _Record) -> tuple[np.ndarray, np.ndarray]:
    """The stored maps (N, h, w) of the images, and (N,) bool, True for dead ones; notes them and their scores."""
    stacks = []
    for source, some in samples.groupby("source", sort=False):
        file = family.maps_file(slot.key, slot.method, source)
        stored = disk.read_maps(file)
        family.check_file(file, stored.attrs, slot.key, source)
        stacks.append(stored.sel(image=some["image"].to_numpy()))
        for image, score in zip(some["image"], stacks[-1]["score"].to_numpy(), strict=True):
            record.numbers[slot.key.regime, slot.key.run, image, "", *CLEAN, "score"] = score
    maps, dead = (np.concatenate([stack[name].to_numpy() for stack in stacks]) for name in ("salience", "dead"))
    record.add_maps(samples["image"].tolist(), slot.name, CLEAN, maps, dead)
    return maps, dead


# Writing


def _content(
    experiment: Experiment,
    families: Mapping[str, Experiment],
    slots: Mapping[str, Sequence[Slot]],
    samples: pd.DataFrame,
    rows: pd.DataFrame,
    record: _Record,
) -> dict:
    methods = dict.fromkeys(slot.method for some in slots.values() for slot in some)
    runs = {slot.key.regime: slot.key.run + 1 for some in slots.values() for slot in some}
    looks = figures.regime_style([*families])
    start = _start(experiment)
    return {
        "columns": _COLUMNS,
        "colours": _base64(plt.get_cmap(figures.MAP_COLOURS)(np.arange(256), bytes=True)[:, :3]),
        "labels": list(LABELS),
        "human_cells": HUMAN_CELLS,
        "human": figures.regime_label("human"),
        "methods": [{"name": name, "label": figures.spelled(name)} for name in methods],
        "regimes": [
            {"name": name, "label": looks[name][0], "colour": looks[name][1], "runs": runs[name], "of": family.runs}
            for name, family in families.items()
        ],
        "measures": [_about(measure) for measure in experiment.measures],
        "changes": [_described(change, *about) for change, about in record.changes.items()],
        "means": _means(rows, list(record.changes)),
        "start": start,
        "thumbs": _sheet([record.pictures[name, "", CLEAN] for name in samples["image"]]),
        "cases": _cases(experiment, samples, slots, record, start),
        "images": [_image(experiment, sample, slots[sample.source], record) for sample in samples.itertuples()],
    }


def _about(measure: str) -> dict[str, str]:
    module = plugins.load("measure", measure)
    name, *where = figures.spelled(similarity(measure)).split(", ")
    return {
        "name": measure,
        "title": f"({module.LETTER}) {measure}",
        "question": module.QUESTION,
        "level": getattr(module, "LEVEL", ""),
        "similarity": ", ".join([f"{name} with the clean map", *where]),
    }


def _described(change: Change, guided: bool, undo: list[float] | None) -> dict:
    measure, region, level = change
    return {
        "measure": measure,
        "region": region,
        "level": level,
        "label": figures.spelled(level),
        "number": level.replace(".", "", 1).isdigit(),
        "guided": guided,
        "undo": undo,
        "first": change in _headlined(measure, [change]),
    }


def _headlined(measure: str, changes: Sequence[Change]) -> list[Change]:
    """Those of the changes that are at a level of the measure's headlines."""
    if not measure:
        return []
    levels = {headline.level for headline in plugins.load("measure", measure).HEADLINES}
    wanted = {f"{level:g}" for level in levels if not isinstance(level, str)}
    return [change for change in changes if not wanted or change[2] in wanted]


def _means(rows: pd.DataFrame, changes: Sequence[Change]) -> dict:
    """Source, regime and method, joined by spaces -> mean similarity over all images and runs, a number a change."""
    similar = rows[rows["variant"] != "score"]
    means = similar.groupby(["source", "regime", "salience", "measure", "region", "level"])["value"].mean()
    table = {}
    for (source, regime, method, *change), value in means.items():
        row = table.setdefault(f"{source} {regime} {method}", [None] * len(changes))
        row[changes.index(tuple(change))] = round(value, _DIGITS) if np.isfinite(value) else None
    return table


def _image(experiment: Experiment, sample, slots: Sequence[Slot], record: _Record) -> dict:
    """One image: about it, a sheet of its pictures, and scores, similarities and maps of every slot."""
    guided = [change for change, (by_map, _) in record.changes.items() if by_map]
    shared = [change for change in record.changes if change not in guided]
    tiles = [record.pictures[sample.image, "", change] for change in shared]
    tiles += [record.pictures[sample.image, slot.name, change] for slot in slots for change in guided]
    human = experiment.human([sample.image], (HUMAN_CELLS, HUMAN_CELLS))[0] if sample.salience else None
    return {
        "name": sample.image,
        "source": sample.source,
        "label": sample.label,
        "human": None if human is None else _base64(quantise(human)),
        "side": tiles[0].shape[0],
        "sheet": _sheet(tiles),
        "slots": {slot.name: _numbers_and_maps(slot, sample.image, record) for slot in slots},
    }


def _numbers_and_maps(slot: Slot, image: str, record: _Record) -> dict:
    maps = [record.maps[image, slot.name, change] for change in record.changes]
    shape = next((one.shape for one in maps if one is not None), (1, 1))
    variants = [similarity(measure) if measure else "" for measure, *_ in record.changes]
    return {
        "scores": [record.value(slot, image, change, "score") for change in record.changes],
        "similarities": [record.value(slot, image, *pair) for pair in zip(record.changes, variants, strict=True)],
        "dead": [n for n, one in enumerate(maps) if one is None],
        "cells": list(shape),
        "maps": _base64(np.stack([np.zeros(shape, np.uint8) if one is None else one for one in maps])),
    }


def _sheet(tiles: Sequence[np.ndarray]) -> str:
    """Pictures of one size side by side, row by row, as the address of a WebP file that it holds itself."""
    side = tiles[0].shape[0]
    sheet = np.zeros((-(-len(tiles) // _COLUMNS) * side, min(len(tiles), _COLUMNS) * side, 3), np.uint8)
    for n, tile in enumerate(tiles):
        top, left = (side * count for count in divmod(n, _COLUMNS))
        sheet[top : top + side, left : left + side] = tile
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, np.uint8).tobytes()).decode()


def _start(experiment: Experiment) -> list[str]:
    """The two detectors shown first: one of each regime that pages compare, or two runs of one regime."""
    if experiment.guided:
        return [f"{regime}.0" for regime in experiment.roles.values()]
    return [f"{experiment.traditional}.{run}" for run in (0, min(1, experiment.runs - 1))]


# Cases


def _cases(
    experiment: Experiment,
    samples: pd.DataFrame,
    slots: Mapping[str, Sequence[Slot]],
    record: _Record,
    start: Sequence[str],
) -> list[dict]:
    """What is worth a look among all that is shown, at the headlines' levels: extremes record by rule, as links."""
    rows = [
        {"image": sample.image, "slot": slot, "change": change, **_three(slot, sample.image, change, record)}
        for sample in samples.itertuples()
        for slot in slots[sample.source]
        if slot.method == experiment.methods[0] and slot.key.regime in experiment.regimes
        for measure in experiment.measures
        for change in _headlined(measure, [change for change in record.changes if change[0] == measure])
    ]
    table = pd.DataFrame(rows).dropna(ignore_index=True)
    flipped = (table["score"] > 0.5) != (table["clean"] > 0.5)
    steady = ~flipped & ((table["score"] - table["clean"]).abs() < STEADY)
    alike, unlike = table[flipped & (table["similarity"] > ALIKE)], table[steady & (table["similarity"] < UNLIKE)]
    cases = []
    if len(alike):
        row = alike.loc[alike["similarity"].idxmax()]
        cases.append(_case("Another answer, almost the same map", row, start))
    if len(unlike):
        row = unlike.loc[unlike["similarity"].idxmin()]
        cases.append(_case("The same answer, another map", row, start))
    return cases + _furthest(experiment, table)


def _three(slot: Slot, image: str, change: Change, record: _Record) -> dict[str, float | None]:
    return {
        "clean": record.value(slot, image, CLEAN, "score"),
        "score": record.value(slot, image, change, "score"),
        "similarity": record.value(slot, image, change, similarity(change[0])),
    }


def _case(title: str, row: pd.Series, detectors: Sequence[str]) -> dict:
    numbers = "P(synthetic) {clean:.2f} → {score:.2f}, SSIM {similarity:.2f}".format(**row)
    slot = row["slot"]
    measure, region, level = row["change"]
    # The detector of the case is the first of the two.
    name = f"{slot.key.regime}.{slot.key.run}"
    other = next((one for one in detectors[::-1] if one.split(".")[0] != slot.key.regime), detectors[-1])
    state = {"image": row["image"], "measure": measure, "region": region, "level": level, "method": slot.method}
    return {"text": f"{title}: {_words(row['change'])}, {numbers}", "state": state | {"a": name, "b": other}}


def _words(change: Change) -> str:
    measure, region, level = change
    return " ".join(filter(None, (measure, region, figures.spelled(level))))


def _furthest(experiment: Experiment, table: pd.DataFrame) -> list[dict]:
    """The image and change on which two runs of the same number, one of each regime compared, differ most."""
    if not experiment.guided:
        return []
    about = table.assign(
        regime=[slot.key.regime for slot in table["slot"]], run=[slot.key.run for slot in table["slot"]]
    )
    both = about.pivot(index=["image", "change", "run"], columns="regime", values="similarity")
    both = both[list(experiment.roles.values())].dropna()
    if both.empty:
        return []
    image, change, run = (both.iloc[:, 1] - both.iloc[:, 0]).abs().idxmax()
    values = both.loc[(image, change, run)]
    similar = ", ".join(f"SSIM {value:.2f} of {experiment.label(regime)}" for regime, value in values.items())
    text = f"Two detectors furthest apart: {_words(change)}, {similar}"
    state = {"image": image, **dict(zip(("measure", "region", "level"), change, strict=True))}
    state |= {"method": experiment.methods[0], **{name: f"{one}.{run}" for name, one in zip("ab", both, strict=True)}}
    return [{"text": text, "state": state}]
