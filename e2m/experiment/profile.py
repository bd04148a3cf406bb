"""A profile: the settings of an experiment, read from YAML and checked before any work, and the paths of its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Interval, MinLen

from e2m import plugins
from e2m.checks import Count, Like, OneOf, Positive, misfits, problems, shown
from e2m.experiment import written
from e2m.store import disk, paths, seals
from e2m.training.settings import MaskerSettings, Settings
from e2m.types import MASKER, InputError, Perturbation, Precision

PROFILES = paths.CHECKOUT / "notebooks" / "params"

DataSet, Method, Regime, Measure = (
    Annotated[str, OneOf(partial(plugins.names, kind))] for kind in ("dataset", "method", "regime", "measure")
)
Network = (
    Annotated[str, OneOf(partial(plugins.names, "detector"))]
    | Annotated[str, Like(r"timm:[\w.-]+|[\w.]+:\w+", "timm:NAME or package.module:function")]
)
Run = Annotated[int, Ge(0)]
Device = Annotated[str, Like(r"(cpu|cuda|mps|xpu)(:\d+)?", "cpu, cuda or cuda:1")]
AUTO = "auto"
"""Instead of a number of images: as many as the pilot finds enough."""

Images = Count | Annotated[str, Like(AUTO, AUTO)]


WRONG_MAPS = ("shuffled_maps", "fixed_map")
"""Regimes with the loss of guided training, and with human maps that say nothing about their image."""


@dataclass(frozen=True)
class ModelKey:
    """The key of one detector of an experiment: network, regime and run."""

    detector: str
    regime: str
    run: int

    def __post_init__(self):
        for line in misfits(self.run, Run, "run"):
            raise InputError(line)

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.detector, self.regime, f"run {self.run}")))


def perturbations(measure: str, settings: Mapping[str, Any]) -> Callable[..., Iterator[Perturbation]]:
    """The function with which a measure changes images, bound to the measure's settings in a profile."""
    options = {name: value for name, value in settings.items() if name != "images_per_source"}
    return partial(plugins.load("measure", measure).perturbations, **options)


def raise_errors(wrong: Mapping[ModelKey, InputError], keys: Sequence[ModelKey]) -> None:
    """Raise the errors of detectors among those of a job, after the others are done; of several, each names its own."""
    if wrong:
        lines = (f"{key}: {error}" if len(keys) > 1 else str(error) for key, error in wrong.items())
        raise InputError("\n".join(lines))


@dataclass(frozen=True)
class Pilot:
    """The section ``pilot``: from what, and how, the numbers of images that are ``auto`` are found.

    Attributes:
        runs: the first runs of both compared regimes.
        images_per_source: the first images of each source's draw.
        share: the largest share of a difference's squared standard error that all further images would still remove.
        half_width: measure -> half the width that the 95 % interval of its differences must not exceed.
    """

    runs: Annotated[int, Ge(3)] = 3
    images_per_source: Annotated[int, Ge(20)] = 200
    share: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    half_width: dict[Measure, Positive] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """The settings of an experiment: the keys of ``notebooks/params/NAME.yaml``.

    ``notebooks/params/demo.yaml`` comments on each. Five sections are kept as written:

    * ``training`` has the keys of ``Settings``;
    * ``masker`` has those of ``MaskerSettings``, and ``regimes`` and ``runs``: the first ``runs`` detectors of each of
      these regimes have maskers;
    * ``measures`` has those of each measure's ``perturbations``, and ``images_per_source``, the first of the draw;
    * ``pilot`` has those of ``Pilot``, where a number of images is ``auto``;
    * ``dataset_options`` has those of the data set's ``load``.
    """

    profile: str
    dataset: DataSet
    dataset_options: dict
    sources: Annotated[list[str], MinLen(1)]
    in_set: Annotated[list[str], MinLen(1)]
    counterparts: dict[str, str]
    detectors: Annotated[list[Network], MinLen(1)]
    regimes: Annotated[list[Regime], MinLen(1)]
    traditional: Regime
    guided: Regime | None
    runs: Count
    controls: dict[Regime, Count]
    study: dict[Regime, Count]
    pretrained: bool
    share_frozen: bool
    threads: Count | None
    device: Device | None
    image_size: Count | None
    batch_size: Count
    images_per_source: Images
    methods: Annotated[list[Method], MinLen(1)]
    resamples: Count
    training: dict
    masker: dict | None
    measures: dict[Measure, dict]
    pilot: dict | None = None
    precision: Precision = "float32"

    @classmethod
    def load(cls, profile: str = "demo", **changed) -> Self:
        """Read and check a profile, given its name or the path of a YAML file with the same keys.

        Args:
            profile: name of a file in ``notebooks/params``, or a path that ends in .yaml.
            changed: keys that replace those of the file.

        Raises:
            InputError: no such profile, a file that is not YAML, or keys that are missing, unknown, of the wrong type
                or out of range, a line each; or the results of this name are those of another file (``claim``).
        """
        path = _file_of(profile)
        where = _shown(path)
        file = _read(path, where)
        content = {**file, **changed}
        lines = problems(content, cls, without=("profile",)) + list(_problems_of_sections(content))
        if not lines:
            loaded = cls(profile=path.stem, **content)
            lines = list(_contradictions(loaded))
        if lines:
            raise InputError("\n".join(f"{where}: {line}" for line in lines))
        _check_owner(path, file)
        folder = paths.results(path.stem)
        _LOADED.setdefault(folder, {})[path.absolute()] = file
        paths.FIRST[folder] = partial(_claim_loaded, folder)
        return loaded

    # Detectors, and the settings of each

    @property
    def roles(self) -> dict[str, str]:
        """The two regimes that pages compare: {"traditional": ..., "guided": ...}.

        Raises:
            InputError: the profile names no guided regime.
        """
        if self.guided is None:
            raise InputError(f"profile {self.profile}: guided is null, and a comparison needs two regimes; name one")
        return {"traditional": self.traditional, "guided": self.guided}

    @property
    def pair(self) -> dict[str, str]:
        """What ``e2m.statistics`` compares: {"first": the guided regime, "second": the traditional one}.

        Raises:
            InputError: the profile names no guided regime.
        """
        return {"first": self.roles["guided"], "second": self.traditional}

    @property
    def trained(self) -> list[ModelKey]:
        """The key of every detector that the profile trains."""
        return self._keys({regime: self.runs_of(regime) for regime in self.regimes})

    @property
    def page(self) -> dict[str, str]:
        """The values that pages of this profile give to parameters of these names; notebooks hold all others."""
        return {"detector": self.detectors[0], "method": self.methods[0]}

    @property
    def counts(self) -> dict[str, int]:
        """Regime -> its number of runs: of ``regimes`` and ``controls``, and of ``study`` where that is more."""
        counts = dict.fromkeys(self.regimes, self.runs) | self.controls
        return counts | {regime: max(runs, counts.get(regime, 0)) for regime, runs in self.study.items()}

    @property
    def comparators(self) -> dict[str, int]:
        """Regime -> its runs, of those that guided detectors are compared with: traditional, and with wrong maps."""
        wrong = {regime: runs for regime, runs in self.controls.items() if regime in WRONG_MAPS}
        return {self.traditional: self.runs} | wrong

    @property
    def controlled(self) -> list[ModelKey]:
        """The key of every detector of a control regime: trained and explained beside the others, for some pages."""
        return self._keys({regime: range(runs) for regime, runs in self.controls.items()})

    @property
    def studied(self) -> list[ModelKey]:
        """The further detectors that `make study` trains and explains: the runs of ``study`` that no page has."""
        paged = dict.fromkeys(self.regimes, self.runs) | self.controls
        return self._keys({regime: range(paged.get(regime, 0), runs) for regime, runs in self.study.items()})

    def label(self, regime: str) -> str:
        """The name of a regime on pages and in figures."""
        return plugins.load("regime", regime).LABEL

    def _keys(self, runs: Mapping[str, range]) -> list[ModelKey]:
        pairs = [(regime, run) for regime, numbers in runs.items() for run in numbers]
        return [ModelKey(detector, *pair) for detector, pair in product(self.detectors, pairs)]

    @property
    def options(self) -> dict:
        """Options of the data set; relative paths start at the root of the repository, or in the working folder."""
        names = {"root", "csv", "salience", "segmentation", "seven_times"} & set(self.dataset_options)
        return {**self.dataset_options, **{name: _from_checkout(self.dataset_options[name]) for name in names}}

    @property
    def automatic(self) -> bool:
        """Whether the pilot decides on a number of images."""
        return AUTO in (self.images_per_source, *(one["images_per_source"] for one in self.measures.values()))

    @property
    def piloted(self) -> Self:
        """The pilot as an experiment of its own: both compared regimes, few runs and images, the first salience method.

        It explains the profile's detectors, and has results beside those of the profile. Its images are the first of
        the profile's draw; measures with a number of images are left out.
        """
        pilot = Pilot(**(self.pilot or {}))
        count = {"images_per_source": pilot.images_per_source}
        return replace(
            self,
            profile=f"{self.profile}-pilot",
            regimes=list(self.roles.values()),
            runs=pilot.runs,
            controls={},
            study={},
            masker=None,
            share_frozen=False,
            methods=self.methods[:1],
            measures={
                name: {**settings, **count}
                for name, settings in self.measures.items()
                if settings["images_per_source"] == AUTO
            },
            pilot=None,
            **count,
        )

    @property
    def masked(self) -> Self:
        """The experiment with the method "masker" added, which explains the regimes that have maskers."""
        return replace(self, methods=[*self.methods, MASKER]) if self.masker else self

    def has_masker(self, key: ModelKey) -> bool:
        """Whether a masker is trained for a detector."""
        return bool(self.masker) and key.regime in self.masker["regimes"] and key.run < self.masker["runs"]

    def methods_of(self, key: ModelKey) -> list[str]:
        """The salience methods of a trained detector: ``methods``, and "masker" if it has one."""
        return [*self.methods, MASKER] if MASKER not in self.methods and self.has_masker(key) else self.methods

    def regimes_of(self, method: str) -> list[str]:
        """The regimes that a salience method explains: not all have maskers."""
        masked = (self.masker or {}).get("regimes", ())
        return [regime for regime in self.regimes if method != MASKER or regime in masked]

    def runs_of(self, regime: str, method: str = "") -> range:
        """The runs of a regime, or those that a salience method explains: fewer than ``runs`` have maskers.

        Raises:
            InputError: the method "masker" of a profile without maskers.
        """
        if method == MASKER and not self.masker:
            raise InputError(f"profile {self.profile}: the method {MASKER!r} arrived, and masker is null; name another")
        return range(min(self.runs, self.masker["runs"]) if method == MASKER else self.runs)

    def check_pages(self) -> None:
        """Check that the pages of the book have what they compare: two regimes, two runs, every measure and its levels.

        Raises:
            InputError: keys that leave something out, a line each.
        """
        lines = ["guided: null arrived; one of regimes fits, since pages compare two"] if self.guided is None else []
        lines += ["runs: 1 arrived; a whole number from 2 up fits, since pages compare runs"] if self.runs < 2 else []
        modules = {name: plugins.load("measure", name) for name in plugins.names("measure")}
        changing = {name: module for name, module in modules.items() if hasattr(module, "perturbations")}
        lines += [f"measures.{name}: missing; it has a page" for name in changing if name not in self.measures]
        for name in [name for name in changing if name in self.measures]:
            shown_on_pages = {
                f"{headline.level:g}" for headline in changing[name].HEADLINES if headline.level not in ("", "all")
            }
            missing = sorted(shown_on_pages - _levels(name, self.measures[name]))
            lines += [f"measures.{name}: the level {level} is missing; pages show it" for level in missing]
        if lines:
            raise InputError("\n".join(f"profile {self.profile}: {line}" for line in lines))

    def settings(self, key: ModelKey) -> Settings:
        """Hyper-parameters of a detector: ``training``, updated with its regime's, seeded by its run."""
        regime = plugins.load("regime", key.regime)
        settings = Settings(**{**self.training, **getattr(regime, "SETTINGS", {})}, seed=key.run)
        return replace(settings, epochs=settings.epochs * getattr(regime, "EPOCHS_FACTOR", 1))

    def masker_settings(self, key: ModelKey) -> MaskerSettings:
        """Hyper-parameters of a detector's masker, seeded by its run."""
        given = {name: value for name, value in (self.masker or {}).items() if name not in ("regimes", "runs")}
        return MaskerSettings(**given, seed=key.run)

    # Paths of files

    def maps_file(self, key: ModelKey, method: str, source: str) -> Path:
        """The clean salience maps of a detector on one source."""
        return paths.maps(self.profile, key.detector, key.regime, key.run, method, source)

    def rows_file(self, key: ModelKey, measure: str, source: str) -> Path:
        """The tidy rows of a measure that changes images, of a detector on one source."""
        return paths.rows(self.profile, key.detector, key.regime, key.run, measure, source)

    def checkpoint(self, key: ModelKey) -> Path:
        """The weights of a trained detector."""
        return paths.checkpoint(self.profile, key.detector, key.regime, key.run)

    def masker_file(self, key: ModelKey) -> Path:
        """The masker of a trained detector."""
        return paths.masker(self.profile, key.detector, key.regime, key.run)

    def frozen(self, key: ModelKey, part: str) -> Path | None:
        """The outputs of the detector's frozen blocks for images of a part, "train" or "test"; None if not shared."""
        return paths.frozen(self.profile, key.detector, part) if self.share_frozen else None

    def results(self, key: ModelKey, sources: Sequence[str] | None = None) -> list[Path]:
        """The files that ``e2m.experiment.explain.explain`` writes for a trained detector."""
        return [
            *(self.maps_file(key, *names) for names in product(self.methods_of(key), sources or self.sources)),
            *(self.rows_file(key, *names) for names in product(self.measures, sources or self.measured(key))),
        ]

    def measured(self, key: ModelKey) -> list[str]:
        """The sources whose images measures change.

        All of them for the profile's regimes; for controls, the in-set ones, on which pages compare them.
        """
        return self.sources if key.regime in self.regimes else self.in_set


def claim(profile: str) -> None:
    """Record whose results lie in ``results/NAME``: the file of the profile and its settings.

    Commands do so before they work; where nobody did, the first file that is written there does. ``Profile.load`` then
    refuses another file of the same name, unless it has the same settings. The file itself may change: every result
    keeps what it was made of.

    Raises:
        InputError: as ``Profile.load``, about the file and about the owner of the results.
    """
    path = _file_of(profile)
    _claim(path, _read(path, _shown(path)))


def _claim(path: Path, content: dict) -> None:
    _check_owner(path, content)
    record = json.loads(json.dumps({"file": str(_shown(path.resolve())), "settings": content}, default=str))
    owner = paths.owner(path.stem)
    paths.FIRST.pop(owner.parent, None)
    _LOADED[owner.parent] = {path.absolute(): content}
    if _recorded(owner) != record:
        text = json.dumps({**record, "seal": seals.SEAL})
        paths.write_atomically(owner, lambda file: file.write(text.encode()))


_LOADED: dict[Path, dict[Path, dict]] = {}
"""Folder of results -> the files of profiles of its name that this process has loaded, with their settings."""


def _claim_loaded(folder: Path) -> None:
    """``claim`` for the one profile of a name that this process has loaded."""
    path, *others = _LOADED[folder]
    if odd := [other for other in others if _LOADED[folder][other] != _LOADED[folder][path]]:
        raise InputError(
            f"{folder}: {_shown(path)} and {_shown(odd[0])} were both loaded, and the results of both would lie there; "
            "rename one of them, and start again"
        )
    _claim(path, _LOADED[folder][path])


def _recorded(owner: Path) -> dict:
    """The record of ``claim``; an empty one if there is none."""
    if not owner.is_file():
        return {}
    record = json.loads(disk.checked(owner).read_bytes())
    return {name: record[name] for name in ("file", "settings")}


def _check_owner(path: Path, content: Mapping[str, Any]) -> None:
    owner = paths.owner(path.stem)
    recorded, file = _recorded(owner), str(_shown(path.resolve()))
    settings = json.loads(json.dumps(content, default=str))
    if recorded and file != recorded["file"] and settings != recorded["settings"]:
        names = [name for name in settings if settings[name] != recorded["settings"].get(name)]
        raise InputError(
            f"{path}: {owner.parent} holds the results of {recorded['file']}, whose {', '.join(names)} differ; "
            f"rename {path.name}, or delete {owner} if it takes over these results"
        )


def _file_of(profile: str | Path) -> Path:
    if not isinstance(profile, str | Path):
        raise InputError(*misfits(profile, str, "profile"))
    path = Path(profile) if str(profile).endswith(".yaml") else PROFILES / f"{profile}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
        raise InputError(f"no profile named {profile!r}; choose from {known}, or give the path of a YAML file")
    return path


def _shown(path: Path) -> Path:
    """A path as people know it: from the root of the repository on, if it lies there."""
    return path.relative_to(paths.CHECKOUT) if path.is_relative_to(paths.CHECKOUT) else path


def _levels(measure: str, settings: Mapping[str, Any]) -> set[str]:
    """The levels of a measure with these settings, as it gives them to a small image."""
    images, maps = np.zeros((1, 16, 16, 3), np.uint8), {"": np.eye(16, dtype=np.float32)[None]}
    return {perturbation.level for perturbation in perturbations(measure, settings)(images, maps)}


def _read(path: Path, where: Path) -> dict:
    try:
        content = written.read(path.read_bytes())
    except InputError as error:
        raise InputError(f"{where}: {error}; YAML fits, as in notebooks/params/demo.yaml") from error
    if not isinstance(content, dict):
        arrived = "nothing" if content is None else shown(content)
        raise InputError(f"{where}: {arrived} arrived; a mapping fits, as in notebooks/params/demo.yaml")
    return content


def _problems_of_sections(content: Mapping[str, Any]) -> Iterator[str]:
    """Lines about everything wrong inside the sections that ``Profile`` lists."""
    sections = {name: section for name, section in content.items() if isinstance(section, Mapping)}
    # The run is the seed.
    if "training" in sections:
        yield from problems(sections["training"], Settings, "training", without=("seed",))
    if "masker" in sections:
        more = {"regimes": Annotated[list[Regime], MinLen(1)], "runs": Count}
        yield from problems(sections["masker"], MaskerSettings, "masker", without=("seed",), also=more)
    for name, settings in sections.get("measures", {}).items():
        if name in plugins.names("measure") and isinstance(settings, Mapping):
            perturb = getattr(plugins.load("measure", name), "perturbations", None)
            if perturb is None:
                yield f"measures.{name}: no such key; this measure changes no images and has no settings"
            else:
                share = {"images_per_source": Images}
                yield from problems(settings, perturb, f"measures.{name}", without=("images", "maps"), also=share)
    if "pilot" in sections:
        yield from problems(sections["pilot"], Pilot, "pilot")
    if "dataset_options" in sections and (dataset := content.get("dataset")) in plugins.names("dataset"):
        yield from problems(sections["dataset_options"], plugins.load("dataset", dataset).load, "dataset_options")


def _contradictions(profile: Profile) -> Iterator[str]:
    """Lines about keys that are valid by themselves but contradict each other."""
    source, regime = (Annotated[str, OneOf(values)] for values in (profile.sources, profile.regimes))
    yield from misfits(profile.in_set, list[source], "in_set")
    yield from misfits(profile.counterparts, dict[source, source], "counterparts")
    yield from misfits(profile.traditional, regime, "traditional")
    yield from misfits(profile.guided, regime | None, "guided")
    if profile.guided == profile.traditional:
        yield f"guided: {shown(profile.guided)} arrived, which is the traditional regime; another one or null fits"
    for control in profile.controls:
        if control in profile.regimes:
            yield f"controls.{control}: this is one of regimes, whose number of runs is runs; other regimes fit"
    if MASKER in profile.methods:
        yield f"methods[{profile.methods.index(MASKER)}]: {MASKER!r} arrived; the key masker adds it to its regimes"
    if profile.masker is not None:
        yield from misfits(profile.masker["regimes"], list[regime], "masker.regimes")
        try:
            profile.masker_settings(ModelKey("", "", 0))
        except InputError as error:
            yield f"masker: {error}"
    yield from _contradictions_of_pilot(profile)
    for name in dict.fromkeys([*profile.regimes, *profile.controls, *profile.study]):
        module = plugins.load("regime", name)
        about = f"regime {name}: "
        yield from (about + line for line in problems(getattr(module, "SETTINGS", {}), Settings, "SETTINGS", ("seed",)))
        yield from (about + line for line in misfits(getattr(module, "EPOCHS_FACTOR", 1), Count, "EPOCHS_FACTOR"))


def _contradictions_of_pilot(profile: Profile) -> Iterator[str]:
    if not profile.automatic:
        if profile.pilot is not None:
            yield f"pilot: {shown(profile.pilot)} arrived, and no images_per_source is {AUTO}; null fits"
        return
    if profile.pilot is None:
        yield f"pilot: missing, and a number of images is {AUTO}; {{}} fits, which is 3 runs and 200 images a source"
        return
    if profile.guided is None:
        yield f"guided: null arrived, and a number of images is {AUTO}; a regime fits, since the pilot compares two"
    pilot = Pilot(**profile.pilot)
    if profile.runs < pilot.runs:
        yield f"pilot.runs: {pilot.runs} arrived, and runs is {profile.runs}; the pilot takes the first of these"
    for name in pilot.half_width:
        if profile.measures.get(name, {}).get("images_per_source", profile.images_per_source) != AUTO:
            yield f"pilot.half_width.{name}: the images of this measure are not {AUTO}; another measure fits"


def _from_checkout(path: str | list[str]) -> str | list[str]:
    return [str(paths.WORK / part) for part in path] if isinstance(path, list) else str(paths.WORK / path)
