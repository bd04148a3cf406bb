"""A profile with its results: test images, clean maps, rows of measures, learning curves and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache, cached_property, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from e2m import plugins
from e2m.datasets import load_dataset
from e2m.experiment import settings
from e2m.experiment.data import training_samples
from e2m.experiment.inputs import LEARNT, UNTRAINED, Inputs, replace
from e2m.experiment.profile import ModelKey
from e2m.statistics import ranged, softmax_scores, with_flips
from e2m.store import disk, paths
from e2m.training.learnt import images_hash
from e2m.types import MASKER, InputError

if TYPE_CHECKING:
    import xarray as xr

KEPT_BYTES = 1 << 30
"""Bytes of clean maps kept in memory, so that a page reads each file once; further maps are read every time."""

_KEPT: dict[tuple, xr.Dataset] = {}

_LEARNT: dict[tuple, str] = {}
"""Data set and regime -> the hash of its training images."""


class Experiment(Inputs):
    """A profile (``notebooks/params/NAME.yaml``) with its results: ``Experiment.load("demo")``."""

    # Reading results

    def maps(self, detector: str, regime: str, method: str, source: str) -> xr.Dataset:
        """Clean maps of all runs: salience (run, image, y, x), score (run, image), dead, label, subject, ..."""
        import xarray as xr

        keys = [ModelKey(detector, regime, run) for run in self.runs_of(regime, method)]
        files = tuple(self.maps_file(key, method, source) for key in keys)
        # The time is part of the key, because the same process may explain again.
        stamps = tuple((file, file.stat().st_mtime_ns) for file in files if file.is_file())
        key = (*stamps, repr([self.made_of(key, source) for key in keys]), repr(self.training))
        if key not in _KEPT:
            runs = [disk.read_maps(file) for file in files]
            for file, one, maps in zip(files, keys, runs, strict=True):
                self.check_file(file, maps.attrs, one, source, method=method)
            fixed = ("label", "subject")
            index = pd.RangeIndex(len(runs), name="run")
            joined = xr.concat([maps.drop_vars(fixed) for maps in runs], index, join="exact")
            joined = joined.assign({name: runs[0][name] for name in fixed})
            if joined.nbytes + sum(maps.nbytes for maps in _KEPT.values()) > KEPT_BYTES:
                return joined
            _KEPT[key] = joined
        return _KEPT[key]

    def check_file(self, file: Path, recorded: Mapping[str, str], key: ModelKey, source: str, **of: str) -> None:
        """Check that results were made of what this experiment has: images, weights, settings of the training.

        Args:
            file: of the results.
            recorded: what the file says that it was made of; what it does not say is not checked.
            key, source: the detector and the images.
            of: what else the file is of: its ``method`` or its ``measure``.

        Raises:
            InputError: something differs, as after a change of the profile, in another profile of the same name, or
                after files were exchanged.
        """
        for name, wanted in {"source": source, **of}.items():
            if recorded.get(name, wanted) != wanted:
                raise InputError(
                    f"{file}: results of {name} {recorded[name]}, where those of {name} {wanted} belong; delete it and "
                    "make it again, for example with `make book`"
                )
        for name, now in self.made_of(key, source).items():
            if recorded.get(name, now) != now != UNTRAINED:
                raise InputError(_other(file, name.replace("_sha256", ""), recorded[name], now))
        if (then := recorded.get(LEARNT)) and then != (now := self.learnt(key.regime)) != "":
            raise InputError(_other(file, "training images", then, now))
        then = json.loads(recorded.get("training", "{}"))
        now = self._trained_with(key) if then else {}
        for name in set(then) & set(now):
            if then[name] != now[name]:
                raise InputError(_other(file, f"training.{name}", then[name], now[name]))

    def learnt(self, regime: str) -> str:
        """One hash of all that a regime's trainings learn from: images, labels, sources, and human maps if guided.

        A process looks once. "" without these images: those of results that came from elsewhere cannot be compared.
        """
        key = (self.dataset, repr(self.options), regime)
        if key not in _LEARNT:
            try:
                train = training_samples(self, regime)
                validate = load_dataset(self.dataset, split="validate", **self.options)
                hashed = images_hash(train, validate, plugins.load("regime", regime).GUIDED)
                _LEARNT[key] = "" if train.empty else hashed
            except InputError:
                _LEARNT[key] = ""
        return _LEARNT[key]

    @cached_property
    def _trained_with(self) -> Callable[[ModelKey], dict[str, Any]]:
        """The settings of a detector's training as JSON gives them back; the same for all files of the detector."""
        return cache(lambda key: json.loads(json.dumps(asdict(self.settings(key)))))

    def each(self) -> Iterator[tuple[dict, xr.Dataset]]:
        """Clean maps of every detector, regime, method and source, with a dictionary that names the four."""
        for detector, regime, method, source in product(self.detectors, self.regimes, self.methods, self.sources):
            if regime not in self.regimes_of(method):
                continue
            names = {"detector": detector, "regime": regime, "salience": method, "source": source}
            yield names, self.maps(detector, regime, method, source)

    def rows(self, measure: str, **kept: str) -> pd.DataFrame:
        """Tidy rows of a measure for all detectors, regimes, runs and sources.

        Measures of maps, alone or with human maps or true regions, are computed here from the clean maps. Sources
        without human maps, or without regions, have no rows of a measure that needs them. Measures that compare runs
        have one row for each pair of runs and image (``pairs``). The rows of measures that change images are read from
        the files of ``e2m.experiment.explain.explain``, with a column ``flipped`` if there are scores. ``kept`` filters
        these rows, for example ``salience="CAM"``. Salience methods are those of the experiment.
        """
        module = plugins.load("measure", measure)
        if hasattr(module, "measure"):
            rows = [self._of_maps(measure, module.measure, names, maps) for names, maps in self.each()]
            return pd.concat(rows, ignore_index=True)
        if hasattr(module, "with_human"):
            frames, human = [], _once(self.human)
            for names, maps in self.each():
                if names["source"] in self.annotated:
                    function = partial(module.with_human, human=human(maps, maps["salience"].shape[2:]))
                    frames.append(self._of_maps(measure, function, names, maps))
            return pd.concat(frames, ignore_index=True)
        if hasattr(module, "with_region"):
            return self._region_rows(measure, module.with_region)
        if compares_runs(measure):
            return self.pairs(measure)
        filters = [("salience", "in", ["", *self.methods]), *((name, "=", value) for name, value in kept.items())]
        return bounded(with_flips(self._read_rows(measure, filters)), measure)

    def _read_rows(self, measure: str, filters: list[tuple]) -> pd.DataFrame:
        """Rows from the files of a measure that changes images."""
        cases = list(product(self.trained, self.sources))
        files = [self.rows_file(key, measure, source) for key, source in cases]
        for file, (key, source) in zip(files, cases, strict=True):
            self.check_file(file, disk.made_of(file), key, source, measure=measure)
            then, now = disk.settings_of(file), self.of_source(source).measures.get(measure)
            if then != now:
                raise InputError(_other(file, f"measures.{measure}", then, now))
        return disk.read_rows(files, filters=filters)

    def has_rows(self, measure: str) -> bool:
        """Whether the input of a measure exists: its settings, human maps, true regions, or a second run."""
        module = plugins.load("measure", measure)
        regions = "region" in self.samples and (self.samples["region"] != "").any()
        needs = {
            "measure": True,
            "with_human": bool(self.annotated),
            "with_region": regions,
            "perturbations": measure in self.measures,
        }
        if compares_runs(measure):
            return any(len(self.runs_of(regime)) > 1 for regime in self.regimes)
        return any(exists for function, exists in needs.items() if hasattr(module, function))

    def pairs(self, measure: str) -> pd.DataFrame:
        """Tidy rows of a measure that compares runs, from the clean maps: one row a pair of runs and image."""
        compare = getattr(plugins.load("measure", measure), measure)
        frames = []
        for names, maps in self.each():
            if maps.sizes["run"] < 2 and self.has_rows(measure):  # others have more: fewer runs have maskers, say
                continue
            rows = compare(maps["salience"].to_numpy())
            index = rows["image"].to_numpy()
            decided = correct(maps)
            about = {"image": maps["image"].to_numpy()[index], "label": maps["label"].to_numpy()[index]}
            both = decided[rows["run"], index] & decided[rows["run_other"], index]
            frames.append(rows.assign(**names, **about, correct=both, measure=measure, variant="ssim", region=""))
        return bounded(pd.concat(frames, ignore_index=True), measure)

    def _of_maps(self, measure: str, function: Callable, names: dict, maps: xr.Dataset) -> pd.DataFrame:
        about = self._about(names, maps).assign(measure=measure, target="predicted")
        values = function(maps["salience"].to_numpy().reshape(-1, *maps["salience"].shape[2:]))
        rows = pd.concat([about.assign(variant=name, value=value) for name, value in values.items()], ignore_index=True)
        return bounded(rows, measure)

    def _scores(self, names: dict, maps: xr.Dataset) -> pd.DataFrame:
        about = self._about(names | {"salience": ""}, maps)
        rows = about.assign(measure="score", variant="score", value=maps["score"].to_numpy().ravel().astype(np.float64))
        return ranged(rows, {"score": (0, 1)})

    def _about(self, names: dict, maps: xr.Dataset) -> pd.DataFrame:
        """Columns about every run and image in tidy rows of maps, without values."""
        runs, images = maps["salience"].shape[:2]
        rows = {
            "run": np.repeat(np.arange(runs), images),
            "image": np.tile(maps["image"], runs),
            "label": np.tile(maps["label"], runs),
            "correct": correct(maps).ravel(),
        }
        return pd.DataFrame(rows).assign(profile=self.profile, dataset=self.dataset, region="", **names)

    @property
    def annotated(self) -> set[str]:
        """Sources with human maps."""
        return set(self.samples.loc[self.samples["salience"] != "", "source"])

    def _region_rows(self, measure: str, with_region: Callable) -> pd.DataFrame:
        samples = self.samples
        known = set(samples.loc[samples["region"] != "", "source"]) if "region" in samples else set()
        if not known:
            raise InputError(
                f"{measure} needs true regions, and no image of {', '.join(self.sources)} has one; "
                "give them in the data set's column region"
            )
        frames, regions = [], _once(self.regions)
        for names, maps in self.each():
            if names["source"] in known:
                function = partial(with_region, regions=regions(maps), correct=correct(maps).ravel())
                frames.append(self._of_maps(measure, function, names, maps))
        return pd.concat(frames, ignore_index=True)

    def scores(self) -> pd.DataFrame:
        """Tidy rows of P(synthetic) of the clean test images, measure and variant "score"."""
        rows = [self._scores(names, maps) for names, maps in self.each() if names["salience"] == self.methods[0]]
        return pd.concat(rows, ignore_index=True)

    @property
    def subjects(self) -> pd.Series:
        """Image -> its subject, a person or group of images; the bootstrap draws subjects whole."""
        return self.samples.set_index("image")["subject"]

    @property
    def resampling(self) -> dict:
        """Arguments of intervals for ``e2m.statistics``: ``clusters`` and ``resamples``."""
        return {"clusters": self.subjects, "resamples": self.resamples}

    def salience(self, names: Sequence[str], detector: str, regime: str, method: str, run: int = 0) -> np.ndarray:
        """(N, h, w), the clean maps of the test images of these names."""
        key, stacks = ModelKey(detector, regime, run), []
        for name, source in zip(names, self._named(names)["source"], strict=True):
            file = self.maps_file(key, method, source)
            maps = disk.read_maps(file)
            self.check_file(file, maps.attrs, key, source, method=method)
            stacks.append(maps["salience"].sel(image=name))
        return np.stack(stacks)

    def salience_by_regime(self, names: Sequence[str], detector: str, method: str) -> dict[str, np.ndarray]:
        """Regime's label -> maps (N, h, w) of its run 0 on the test images of these names."""
        return {
            self.label(regime): self.salience(names, detector, regime, method) for regime in self.regimes_of(method)
        }

    def clean_scores(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of level "0" for rows of scores of changed images: the scores of the clean images, once a region."""
        scores = softmax_scores(rows)
        cases = scores[["salience", "region"]].drop_duplicates().astype(str)
        clean = self.scores().drop(columns=["salience", "region"])
        return clean[clean["image"].isin(set(scores["image"]))].assign(level="0").merge(cases, how="cross")

    def score_changes(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of changed images with the absolute difference between their score and the clean image's as value."""
        keys = ["detector", "regime", "run", "image"]
        clean = self.scores()[[*keys, "value"]].rename(columns={"value": "clean"})
        scores = softmax_scores(rows)
        both = scores.astype(dict.fromkeys(("detector", "regime", "image"), str)).merge(clean, on=keys, how="left")
        return both.assign(value=(both["value"] - both["clean"]).abs()).drop(columns="clean")

    def curves(self, detector: str, regime: str) -> pd.DataFrame:
        """Learning curves of all finished runs of a regime, with a column ``run``."""
        from e2m.networks.checkpoints import read_checkpoint

        runs = [ModelKey(detector, regime, run) for run in self.runs_of(regime)]
        finished = [(key.run, self.checkpoint(key)) for key in runs if self.checkpoint(key).is_file()]
        return pd.concat([pd.DataFrame(read_checkpoint(path)["curves"]).assign(run=run) for run, path in finished])

    def figure(self, name: str) -> Path:
        """The path of a figure that a notebook draws; prose pages show those of a profile's pages."""
        path = paths.figure(self.profile, name, paths.saved(self.profile))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def weights_hash(self, *checkpoints: Path) -> str:
        """One hash of the given checkpoints, or of all checkpoints of the experiment, for a page's provenance."""
        chosen = checkpoints or [self.checkpoint(key) for key in self.trained]
        return disk.short_hash([disk.file_hash(path) for path in chosen])

    def data_hash(self) -> str:
        """The data set's name and one hash of the test images' names and files, for a page's provenance."""
        return f"{self.dataset}, " + disk.short_hash(
            [[name, disk.file_hash(path)] for name, path in zip(*map(self.samples.get, ("image", "path")), strict=True)]
        )

    def save(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Save a summary table: of a profile's page as ``results/PROFILE/tables/NAME.parquet``, which others read.

        A trial saves it below a folder of its own: ``e2m.store.paths.saved``.
        """
        disk.write_table(paths.table(self.profile, name, paths.saved(self.profile)), table, self._settings)
        return table

    def table(self, name: str) -> pd.DataFrame:
        """Read a summary table that the profile's page of another notebook saved."""
        path = paths.table(self.profile, name)
        if not path.is_file():
            raise InputError(f"{path}: no such table; execute the {name} notebook first, or all with `make book`")
        recorded = disk.made_of(path)
        for setting, now in self._settings.items():
            if recorded.get(setting, now) != now:
                raise InputError(_other(path, setting, recorded[setting], now))
        return disk.read_table(path)

    @property
    def _settings(self) -> dict[str, str]:
        """The settings that pages may show, as text; the masker is a method of them all or of none."""
        methods = [method for method in self.methods if method != MASKER]
        lines = settings.lines(replace(self, methods=methods), [field.name for field in fields(self)], settings.UNSEEN)
        return dict(line.split("=", 1) for line in lines)


def _other(file: Path, what: str, then: object, now: object) -> str:
    return (
        f"{file}: made with {what} {then}, which now is {now}; make it again, for example with `make book`, or give "
        "the changed profile a name of its own"
    )


def bounded(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Tidy rows of a measure with the range of their variant, which no interval leaves: ``statistics.ranged``."""
    return ranged(rows, getattr(plugins.load("measure", measure), "RANGE", {}))


def extremes(rows: pd.DataFrame) -> dict[str, str]:
    """Images with the lowest, the median and the highest mean value: {"lowest": image, "median": ..., "highest": ...}.

    Which of them is better, if any, is for the page to say: of a change, neither end is.
    """
    means = rows.groupby("image", observed=True)["value"].mean().dropna().sort_values()
    return {"lowest": means.index[0], "median": means.index[len(means) // 2], "highest": means.index[-1]}


def correct(maps: xr.Dataset) -> np.ndarray:
    """(run, image) bool: True if the image was classified correctly; False for an unreadable image."""
    truth = (maps["label"] == "synthetic").to_numpy()
    return maps["predicted"].to_numpy() == truth


def _once(read: Callable) -> Callable:
    """A function of maps that reads what belongs to their images, (runs x images, h, w): repeated for every run.

    Images that several detectors explain are read once, as long as the function is kept.
    """
    known = cache(read)

    def of_maps(maps: xr.Dataset, *options: Any) -> np.ndarray:
        return np.tile(known(tuple(maps["image"].to_numpy().tolist()), *options), (maps.sizes["run"], 1, 1))

    return of_maps


def compares_runs(measure: str) -> bool:
    """Whether a measure compares runs: its file holds a function of the file's name, and none of the other kinds."""
    module = plugins.load("measure", measure)
    others = ("measure", "with_human", "with_region", "perturbations")
    return hasattr(module, measure) and not any(hasattr(module, name) for name in others)
