"""An audit: groups of detectors on a folder of images, explained and measured like the detectors of a profile.

``Audit`` is an experiment whose regimes are the groups that a person names, so that everything that reads results of a
profile reads those of an audit. Its results are keyed by content: a file is named by a hash of all that it depends on,
the weights, the network, the images, the settings and the code. A file that exists is finished, and a changed input
makes anew what depends on it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import pandas as pd

from e2m import plugins
from e2m.audit import given
from e2m.audit import groups as grouping
from e2m.audit.groups import Group
from e2m.datasets import SEVEN_TIMES, load_dataset
from e2m.experiment import dependencies
from e2m.experiment.families import known_family
from e2m.experiment.inputs import draw
from e2m.experiment.profile import ModelKey
from e2m.experiment.results import Experiment
from e2m.store import disk
from e2m.store.paths import write_atomically
from e2m.types import LABELS, Detector, InputError

_PATHS = ("csv", "salience", "segmentation")
"""Options of the data set that name files or folders."""

ANY = ""
"""The network in keys of the groups' detectors: groups are compared whatever their networks are."""

MEASURES = {
    "noise": {"amounts": [0.1, 0.25], "seed": 0},
    "transformations": {},
    "degradation": {"max_sigmas": [10.0], "seed": 0},
}
"""Settings of the measures that change images: the levels of their headlines, and one more amount of noise."""


SPLITS = ("test", "validate", "train", SEVEN_TIMES)
"""The first of these splits that has images is audited."""


@dataclass(frozen=True)
class Failure:
    """A checkpoint whose work ended with an error; its group goes on without it.

    Attributes:
        group: name of its group.
        weights: its path; "" for a network that comes with its weights.
        why: the error, in a line.
    """

    group: str
    weights: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Audit(Experiment):
    """Groups of detectors with images, and the results that they leave below ``folder``.

    Attributes:
        groups: the groups; their names are the regimes of the experiment.
        folder: gets all files.
        listed: the images of the split that is audited, with their order of the draw.
        unused: the images of the other splits; an audited image that equals one of them is no fair test.
        margin: AUC differences smaller than this count as none.
        arguments: the arguments of ``of``, as JSON holds them.
        failures: checkpoints left out because their work failed.
        findings: level, subject and text of what ``e2m check`` noticed.
    """

    groups: tuple[Group, ...]
    folder: Path
    listed: pd.DataFrame = field(repr=False, compare=False)
    unused: pd.DataFrame = field(repr=False, compare=False)
    margin: float
    arguments: dict = field(repr=False)
    failures: tuple[Failure, ...] = ()
    findings: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def of(
        cls,
        images: str,
        detectors: Sequence[Mapping[str, Any]],
        *,
        methods: Sequence[str] = ("GradCAM",),
        options: Mapping[str, Any] | None = None,
        regions: str | None = None,
        images_per_source: int = 200,
        changed_per_source: int = 32,
        device: str | None = None,
        margin: float = 0.05,
        resamples: int = 2000,
        folder: str | Path = "audit",
    ) -> Self:
        """An audit of what a person names.

        Args:
            images: folder of the images, as the data set "folder" reads it.
            detectors: the groups: name, network, weights (file names and patterns) and known, as ``Group.of`` takes
                them.
            methods: salience methods; the first decides.
            options: further options of the data set: csv, salience (human maps), ...
            regions: folder with true regions, named like the images.
            images_per_source: most images of a source, drawn at random.
            changed_per_source: most images of a source that are changed, for measures (b), (c) and (e).
            device: as in ``e2m.load_detector``.
            margin: AUC differences smaller than this count as none.
            resamples: of the bootstrap.
            folder: gets all files.

        Raises:
            InputError: what does not fit, in one line.
        """
        groups = tuple(
            Group.of(one["name"], one["network"], one.get("weights", ()), one.get("known")) for one in detectors
        )
        grouping.check(groups)
        if Path(folder).exists() and not Path(folder).is_dir():
            raise InputError(f"--out {folder}: a file; name a folder, which need not exist")
        # Absolute: the notebook runs in another folder.
        options = {name: _absolute(value) if name in _PATHS else value for name, value in (options or {}).items()}
        asked = {"images": _absolute(images), "detectors": [group.as_dict() for group in groups]}
        asked |= {"methods": list(methods), "options": options, "regions": regions and _absolute(regions)}
        asked |= {"images_per_source": images_per_source, "changed_per_source": changed_per_source}
        asked |= {"device": device, "margin": margin, "resamples": resamples}
        _check(asked)
        dataset_options = {"root": asked["images"], **options}
        if regions:
            dataset_options["segmentation"] = asked["regions"]
        listed, unused = _listed(dataset_options)
        return cls(
            **_profile(asked, groups, list(dict.fromkeys(listed["source"]))),
            **{"dataset_options": dataset_options, "groups": groups, "folder": Path(folder).absolute()},
            **{"listed": listed, "unused": unused, "margin": margin, "arguments": asked},
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The audit of a folder, as it was saved.

        Raises:
            InputError: a folder without an audit; inputs that are missing now.
        """
        path = Path(folder) / "audit-plan.json"
        if not path.is_file():
            raise InputError(f"{path}: no audit there; `e2m audit IMAGES --detector ... --out {folder}` makes one")
        kinds = {"arguments": dict, "findings": list, "failures": list}
        content = disk.read_json(path, kinds, "delete it, and `e2m audit` makes it again")
        audit = cls.of(**content["arguments"], folder=folder)
        audit = replace(audit, findings=tuple(map(tuple, content["findings"])))
        return audit.without([Failure(**entry) for entry in content["failures"]])

    def save(self) -> Path:
        """Write what ``load`` reads, to ``audit-plan.json``."""
        content = {"arguments": self.arguments, "findings": self.findings}
        content["failures"] = [asdict(failure) for failure in self.failures]
        text = json.dumps(content, indent=1).encode()
        path = self.folder / "audit-plan.json"
        write_atomically(path, lambda file: file.write(text))
        return path

    def without(self, failures: Sequence[Failure]) -> Self:
        """The audit without checkpoints that failed.

        Raises:
            InputError: a group of which no checkpoint is left.
        """
        if not failures:
            return self
        failed = {(failure.group, failure.weights) for failure in failures}
        groups = []
        for group in self.groups:
            left = tuple(file for file in group.weights if (group.name, str(file)) not in failed)
            if (group.weights and not left) or (group.name, "") in failed:
                why = [failure.why for failure in failures if failure.group == group.name]
                raise InputError(f"group {group.name!r}: none of its {len(group.runs)} runs works; the first: {why[0]}")
            groups.append(replace(group, weights=left))
        runs = max(len(group.runs) for group in groups)
        return replace(self, groups=tuple(groups), failures=(*self.failures, *failures), runs=runs)

    # What an experiment asks

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The images of the sources, at most ``images_per_source`` of each; the column ``draw`` numbers them."""
        drawn = self.listed["draw"] < self.images_per_source
        return self.listed[drawn & self.listed["source"].isin(self.sources)].reset_index(drop=True)

    @property
    def against(self) -> dict[str, list[str]]:
        """Every synthetic source with its authentic counterpart, or all authentic ones; nothing if there is one class,
        or a group without scores.

        Sources that the data set parted by label are counterparts.
        """
        if any(map(self.of_maps, self.regimes)):
            return {}
        sources = {label: list(rows.unique()) for label, rows in self.samples.groupby("label", sort=False)["source"]}
        if len(sources) < len(LABELS):
            return {}
        parted = {source: [other] for source, other in self.listed.attrs.get("counterparts", {}).items()}
        return {source: parted.get(source, sources["authentic"]) for source in sources["synthetic"]}

    @property
    def resampling(self) -> dict:
        """As in ``Experiment``; over images alone if one of the groups has one run."""
        alone = any(len(self.runs_of(regime)) < 2 for regime in self.regimes)
        return {**super().resampling, "over": "images" if alone else "runs and images"}

    def label(self, regime: str) -> str:
        """The name of a group."""
        return regime

    def runs_of(self, regime: str, method: str = "") -> range:
        """The runs of a group, or of known maps."""
        return range(self.runs if self.of_known_maps else len(self.group(regime).runs))

    def group(self, name: str) -> Group:
        """The group of a name."""
        return next(group for group in self.groups if group.name == name)

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """Every two groups."""
        return list(combinations(self.regimes, 2))

    def known(self, group: str) -> Self:
        """The audit of known maps at the size of a group's maps, which ask no network: see ``families.known_family``.

        The group stands where keys name the network.
        """
        measures = {} if self.group(group).of_maps else self.measures
        return replace(known_family(self), detectors=[group], measures=measures)

    def of_key(self, key: ModelKey) -> Self:
        """The audit as the job of a detector sees it: groups of maps have one method, and no changed images."""
        return replace(self, measures={}, methods=self.methods[:1]) if self.of_maps(key.regime) else self

    def regimes_of(self, method: str) -> list[str]:
        """The groups with maps of a method; maps of other software stand beside those of the first."""
        return [regime for regime in self.regimes if method == self.methods[0] or not self.of_maps(regime)]

    def has_rows(self, measure: str) -> bool:
        """As in ``Experiment``; of changed images, if one of the groups has a network."""
        changes = hasattr(plugins.load("measure", measure), "perturbations")
        return super().has_rows(measure) and not (changes and all(map(self.of_maps, self.regimes)))

    @property
    def of_known_maps(self) -> bool:
        """Whether this is the audit of known maps."""
        return self.detectors != [ANY]

    def of_maps(self, regime: str) -> bool:
        """Whether a regime is a group of maps that other software made."""
        return not self.of_known_maps and self.group(regime).of_maps

    def checkpoint(self, key: ModelKey) -> Path:
        """The weights of a detector; no file if its network comes with them."""
        group = self.group(key.detector or key.regime)
        return group.weights[0 if key.detector else key.run] if group.weights else Path()

    def detector(self, detector: str, regime: str, run: int) -> Detector:
        """A detector, loaded. Scores beside known maps are those of run 0."""
        from e2m.detectors import load_detector

        file, group = self.checkpoint(ModelKey(detector, regime, run)), self.group(detector or regime)
        if group.of_maps:
            return given.stand_in(given.paired(group, self.listed, slice(1)).size)
        return load_detector(group.network, file if file.name else None, device=self.device, **group.known)

    # Files

    def maps_file(self, key: ModelKey, method: str, source: str) -> Path:
        """The clean salience maps of a detector on one source."""
        return self._file(key, method, source, "nc")

    def rows_file(self, key: ModelKey, measure: str, source: str) -> Path:
        """The tidy rows of a measure that changes images, of a detector on one source."""
        return self._file(key, measure, source, "parquet")

    def _file(self, key: ModelKey, name: str, source: str, suffix: str) -> Path:
        group = self.group(key.detector or key.regime)
        of_run = [_network(group.network), dict(group.known), self._weights(key), self._work]
        of_run += [key.regime, key.run] if key.detector else []
        folder = self.folder / "work" / disk.short_hash(of_run)
        return folder / f"{name}-{_plain(source)}-{self.contents(source)}.{suffix}"

    def made_of(self, key: ModelKey, source: str) -> dict[str, str]:
        """As in ``Inputs``; the names of files say what they are made of, so that none is of anything else."""
        return {"weights_sha256": self._weights(key)}

    def _weights(self, key: ModelKey) -> str:
        """A hash of a detector's weights."""
        file = self.checkpoint(key)
        if self.group(key.detector or key.regime).of_maps:
            return given.content(file)
        return disk.known_hash(file) if file.name else _built(self.group(key.detector or key.regime).network)

    @cached_property
    def _work(self) -> list:
        """What maps and rows depend on besides detector and images."""
        return [self.arguments["methods"], MEASURES, self.arguments["changed_per_source"], self.batch_size, _code()]

    def _read_rows(self, measure: str, filters: list[tuple]) -> pd.DataFrame:
        """Rows of the files under the present names of groups and numbers of runs: files depend on neither."""
        frames = []
        for key in self.trained:
            if not self.of_maps(key.regime):
                files = [self.rows_file(key, measure, source) for source in self.sources]
                frames.append(disk.read_rows(files, filters=filters).assign(regime=key.regime, run=key.run))
        return pd.concat(frames, ignore_index=True)


def _absolute(path: str | list[str]) -> str | list[str]:
    return list(map(_absolute, path)) if isinstance(path, list) else str(Path(path).expanduser().absolute())


def _check(given: Mapping[str, Any]) -> None:
    for name in ("images_per_source", "changed_per_source"):
        if given[name] < 1:
            raise InputError(f"{name.replace('_', '-')} {given[name]} arrived; a whole number from 1 up fits")
    if not 0 < given["margin"] < 1:
        raise InputError(
            f"margin {given['margin']} arrived; a number between 0 and 1 fits: the largest difference of AUC that "
            "counts as none"
        )
    for method in given["methods"]:
        plugins.load("method", method)


def _profile(asked: Mapping[str, Any], groups: Sequence[Group], sources: list[str]) -> dict[str, Any]:
    """The keys of a profile, as an audit has them; most of them concern trainings, of which it has none."""
    few = {"images_per_source": min(asked["changed_per_source"], asked["images_per_source"])}
    of_trainings = {"pretrained": False, "share_frozen": False, "threads": None, "training": {}, "masker": None}
    of_pages = {"traditional": "", "guided": None, "counterparts": {}, "controls": {}, "study": {}}
    return {
        **of_trainings,
        **of_pages,
        "profile": "audit",
        "dataset": "folder",
        "sources": sources,
        "in_set": sources,
        "detectors": [ANY],
        "regimes": [group.name for group in groups],
        "runs": max(len(group.runs) for group in groups),
        "image_size": None,
        "batch_size": 32,
        "measures": {name: settings | few for name, settings in MEASURES.items()},
        **{name: asked[name] for name in ("device", "images_per_source", "methods", "resamples")},
    }


def _listed(options: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images of the split to audit, with the order of the draw as ``draw``, and those of the other splits."""
    samples = load_dataset("folder", **options)
    split = next(split for split in SPLITS if (samples["split"] == split).any())
    chosen = samples["split"] == split
    listed = samples[chosen].reset_index(drop=True).rename(columns={"segmentation": "region"})
    return listed.assign(draw=draw(listed)), samples[~chosen].reset_index(drop=True)


@cache
def _code() -> list[str]:
    """The code that explains and measures, whatever the methods are."""
    names = {"method": plugins.names("method"), "measure": list(MEASURES)}
    return dependencies.code("e2m.experiment.explain", **names)


@cache
def _network(name: str) -> list[str]:
    """A network's name with the content of the files that build it."""
    if name == grouping.MAPS:
        return [name, *dependencies.code("e2m.audit.given")]
    if Path(name).is_file():
        return [name, disk.file_hash(name)]
    return [name, *dependencies.code(detector=[name])]


@cache
def _built(network: str) -> str:
    """A hash of the weights that a network comes with."""
    from e2m.detectors import load_detector
    from e2m.networks.checkpoints import weights_hash

    with redirect_stderr(io.StringIO()):  # the check says what is found out about it
        return weights_hash(load_detector(network).model)


def _plain(name: str) -> str:
    """A name as a part of paths: letters, digits, "_", "." and "-"; a hash tells changed ones apart."""
    text = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[:40].lstrip(".") or "_"
    return text if text == name else f"{text}-{disk.short_hash(name)}"
