"""Maps that other software made, instead of maps of ours: folders of files, paired with images by name.

``pair_maps`` finds the files, ``measured`` gives the rows of measures of clean maps. For measures that change images,
``write_changed`` writes the changed images, which the software then explains, and ``compared`` reads its maps.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from PIL import Image

from e2m import checks, plugins
from e2m.arrays import names
from e2m.arrays.images import read_images
from e2m.arrays.map_files import (
    Normalisation,
    Signs,
    check_choices,
    prepared,
    read_maps,
    read_raw,
    read_regions,
)
from e2m.arrays.maps import dead, relative, upsample
from e2m.salience.respond import Compared, tidy
from e2m.statistics.rows import ranged
from e2m.store import disk, paths
from e2m.types import InputError, Perturbation

AT_ONCE = 32
"""Images whose maps, of all runs, are in memory at a time."""

MANIFEST = "changed.json"

LEFT_OUT = ("missing", "extra", "ambiguous", "unreadable", "dead")
"""Columns of ``Given.found`` with the names of images without a map, and of files without a use."""


@dataclass(frozen=True)
class Given:
    """Files of maps of R runs, paired with N images.

    Attributes:
        samples: the N images.
        files: run -> N paths, "" where an image has no map.
        found: one row a run: what its folder holds, and what was left out.
        size: (h, w) of the maps.
        normalise, signed, shape: as in ``pair_maps``.
    """

    samples: pd.DataFrame
    files: Mapping[str, Sequence[str]]
    found: pd.DataFrame
    size: tuple[int, int]
    normalise: Normalisation
    signed: Signs
    shape: tuple[int, int] | None

    @property
    def runs(self) -> list[str]:
        """The names of the runs."""
        return list(self.files)

    def maps(self, part: slice = slice(None)) -> np.ndarray:
        """(R, n, h, w) float32 in [0, 1], maps of a part of the images; NaN where a map is missing or dead."""
        return np.stack([self.maps_of(run, part) for run in self.files])

    def maps_of(self, run: str, part: slice = slice(None)) -> np.ndarray:
        """(n, h, w), the maps of one run."""
        files = self.files[run][part]
        maps = np.full((len(files), *self.size), np.nan, np.float32)
        for n, file in enumerate(files):
            if file:
                values = prepared(read_raw(file), file, self.normalise, self.signed, self.shape)
                maps[n] = values / np.float32(255) if values.dtype == np.uint8 else values
        return maps


def pair_maps(
    samples: pd.DataFrame,
    folders: Mapping[str, str | Path] | Sequence[str | Path],
    normalise: Normalisation = "minmax",
    signed: Signs = "refuse",
    shape: tuple[int, int] | None = None,
    pattern: str | None = None,
) -> Given:
    """Maps that other software made, one folder a run, paired with images by name (``e2m.arrays.names.pair``).

    Each map is normalised by itself: min-max by default, as E2M's own maps. What every folder holds is printed: files,
    their scale, and which maps are missing, extra, ambiguous, unreadable or dead. Every file is read once for that.

    Args:
        samples: the images, as ``e2m.load_dataset`` gives them.
        folders: run -> its folder; or the folders, whose names are then the runs' names.
        normalise, signed, shape: as in ``e2m.read_maps``; without ``shape``, all maps must have one size.
        pattern: how files are named after images, "{name}_cam"; None finds it.

    Raises:
        InputError: a folder that is missing or holds no map of any image; two folders of one name; maps of different
            sizes; values that ``normalise`` or ``signed`` refuses.
    """
    check_choices(normalise, signed)
    folders = folders if isinstance(folders, Mapping) else _by_name(folders)
    if not folders:
        raise InputError("no folders of maps arrived; give one for each run")
    given = _paired(samples, folders, normalise, signed, shape, pattern)
    for line in said(given):
        print(line, file=sys.stderr)
    return given


def said(given: Given) -> list[str]:
    """What was found, a line a run."""
    lines = []
    for row in given.found.to_dict("records"):
        parts = [f"{len(row[kind])} {kind} ({_some(row[kind])})" for kind in LEFT_OUT if row[kind]]
        lines.append(
            f"{row['run']}: maps for {row['paired']} of {len(given.samples)} images in {row['folder']}, "
            f'{_by(given.size)}, {row["scale"]}, named {row["pattern"]}; normalise="{given.normalise}"; '
            + (", ".join(parts) or "none missing or left out")
        )
    return lines


def measured(given: Given, measure: str, size: int = 224) -> pd.DataFrame:
    """Tidy rows of a measure of clean maps: entropy, stability, alignment, localisation, or one of yours.

    Args:
        given: from ``pair_maps``.
        measure: name of the measure. Alignment needs human maps (column ``salience`` of the samples), localisation true
            regions (column ``region``); only images that have one get rows.
        size: side in pixels at which true regions are read.

    Returns:
        Columns run (the number of the folder), image, label, source, salience ("given"), target, measure, variant,
        region, level, value, least and most; with ``run_other`` where runs are compared. Missing and dead maps are NaN.

    Raises:
        InputError: a measure that changes images: see ``write_changed``; no human map or region; one run where runs are
            compared.
    """
    module = plugins.load("measure", measure)
    if hasattr(module, "perturbations"):
        raise InputError(
            f"{measure} compares maps of changed images with clean ones: write the images with write_changed, explain "
            "them with your software, and give its maps to compared"
        )
    column = {"with_human": "salience", "with_region": "region"}
    needed = next((column[kind] for kind in column if hasattr(module, kind)), None)
    known = given.samples["image"]
    if needed is not None:
        known = known[given.samples.get(needed, pd.Series("", known.index)) != ""]
        if known.empty:
            what = _NEEDED[needed]
            raise InputError(f"{measure} needs {what}, and no image has one; give them in the column {needed}")
    function = _pairs if not any(hasattr(module, kind) for kind in ("measure", *column)) else _singles
    parts = [function(given, measure, part, size) for part in _parts(given)]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[rows["image"].isin(known)].reset_index(drop=True)
    rows = rows.assign(salience="given", measure=measure, region="", level="")
    return ranged(rows, getattr(module, "RANGE", {}))


def write_changed(
    samples: pd.DataFrame,
    folder: str | Path,
    measure: str,
    size: int = 224,
    given: Given | None = None,
    **settings: object,
) -> pd.DataFrame:
    """Write the images as a measure changes them, for other software to explain.

    A changed image is a PNG at ``FOLDER/LEVEL/IMAGE.png``; for degradation, which the maps of each run guide, at
    ``FOLDER/RUN/REGION/LEVEL/IMAGE.png``. Explain each with the detector of that run, or of every run, and write the
    maps under the same names: ``MAPS/LEVEL/IMAGE.npy`` in a folder for each run. ``compared`` reads them.

    Args:
        samples: the images.
        folder: new or empty.
        measure: "noise", "transformations", "degradation", or a measure of yours that changes images.
        size: side of the images in pixels, to which they are resized before the change.
        given: clean maps that guide the change, for degradation. Images without a live map are not written.
        settings: of the measure: ``amounts=[0.1, 0.25]``.

    Returns:
        One row a kind of change: guide (run), region, level, folder, images.

    Raises:
        InputError: a folder that holds something; a measure that changes no image; unknown settings; no maps to guide;
            two images of one name but for their ending.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not empty; name a new folder, so that no file is written over")
    module = _changing(measure, settings)
    files = _image_files(samples)
    written: Counter[tuple[str, str, str]] = Counter()
    start = 0
    for images in read_images(samples, size, AT_ONCE):
        part = slice(start, start + len(images))
        guides = {} if given is None else dict(zip(given.runs, given.maps(part), strict=True))
        for change, shown in _changed(images, guides, module, settings):
            kind = change.guide, change.region, change.level
            for n in shown:
                _write_image(folder / _folder(*kind) / files[start + n], change.images[n])
            written[kind] += len(shown)
        start += len(images)
    if not written:
        needs = "; it is guided by maps: give given=" if given is None else ""
        raise InputError(f"{measure} changed no image with the settings {settings}{needs}")
    manifest = {"measure": measure, "size": size, "settings": settings, "images": len(files)}
    paths.write_atomically(folder / MANIFEST, lambda file: file.write(json.dumps(manifest, indent=1).encode()))
    rows = [(*key, str(folder / _folder(*key)), count) for key, count in written.items()]
    return pd.DataFrame(rows, columns=["guide", "region", "level", "folder", "images"])


def compared(
    given: Given,
    folder: str | Path,
    maps: Mapping[str, str | Path],
    target: str = "predicted",
    pattern: str | None = None,
) -> pd.DataFrame:
    """Tidy rows of the similarity of given maps before and after the change, as ``respond`` computes it for ours.

    Args:
        given: the clean maps.
        folder: what ``write_changed`` wrote; its settings are read from there.
        maps: run -> folder of its maps of the changed images, laid out like ``folder``: ``MAPS/LEVEL/IMAGE.npy``, or
            ``MAPS/REGION/LEVEL/IMAGE.npy`` for degradation. Normalised and reduced as the clean maps.
        target: the class that the maps explain, for the column of that name: "predicted", or "clean" for the class that
            the detector predicted for the clean image.
        pattern: as in ``pair_maps``.

    Returns:
        Columns run, image, label, source, salience ("given"), target, measure, variant ("ssim", or "ssim_valid" on the
        pixels that a shift keeps), region, level, value, least and most. Missing and dead maps are NaN; a level that no
        run has maps of has no rows. There are no rows of scores: these are numbers of the network, not of its maps.

    Raises:
        InputError: a folder that ``write_changed`` did not write; a run without clean maps, or without a map of any
            changed image.
    """
    manifest = _manifest(folder)
    if unknown := [run for run in maps if run not in given.files]:
        raise InputError(f"maps of the run {unknown[0]!r}, which has no clean maps; its clean runs: {given.runs}")
    module = _changing(manifest["measure"], manifest["settings"])
    rows = list(chain.from_iterable(_of_run(given, module, manifest, run, maps[run], pattern) for run in maps))
    about = {"salience": "given", "target": target, "measure": manifest["measure"]}
    return ranged(pd.concat(rows, ignore_index=True).assign(**about), getattr(module, "RANGE", {}))


_NEEDED = {"salience": "human maps", "region": "true regions"}


def _by_name(folders: Sequence[str | Path]) -> dict[str, str | Path]:
    if isinstance(folders, str | Path):
        folders = [folders]
    named = {Path(folder).resolve().name: folder for folder in folders}
    if len(named) < len(folders):
        raise InputError(f"folders of one name: {', '.join(map(str, folders))}; give {{name: folder}} instead")
    return named


def _paired(
    samples: pd.DataFrame,
    folders: Mapping[str, str | Path],
    normalise: Normalisation,
    signed: Signs,
    shape: tuple[int, int] | None,
    pattern: str | None,
) -> Given:
    files, rows, sizes = {}, [], {}
    for run, folder in folders.items():
        pairs, others = _listed(samples, Path(folder), pattern)
        listed = [str(Path(folder) / name) if name else "" for name in pairs.files]
        read = _read_all(listed, normalise, signed, shape, sizes)
        files[str(run)] = ["" if file in read.unreadable else file for file in listed]
        rows.append(
            {
                "run": str(run),
                "folder": str(folder),
                "paired": len(samples) - len(pairs.missing),
                "scale": read.scale,
                "pattern": pairs.pattern,
                "missing": pairs.missing,
                "extra": (*pairs.extra, *others),
                "ambiguous": pairs.ambiguous,
                "unreadable": tuple(read.unreadable),
                "dead": tuple(read.dead),
            }
        )
    if not sizes:
        raise InputError(f"{rows[0]['folder']}: none of its maps can be read, {rows[0]['unreadable'][0]} first")
    return Given(samples, files, pd.DataFrame(rows), next(iter(sizes)), normalise, signed, shape)


def _listed(samples: pd.DataFrame, folder: Path, pattern: str | None) -> tuple[names.Pairs, list[str]]:
    """The files of a folder paired with images, and files of types that hold no map."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of maps; correct it, or leave this run out")
    listed = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    listed = [path for path in listed if not any(part.startswith(".") for part in path.parts)]
    maps = [path.as_posix() for path in listed if path.suffix.lower() in names.SUFFIXES]
    if not maps:
        kinds = Counter(path.suffix or "no type" for path in listed)
        seen = ", ".join(f"{count} of {kind}" for kind, count in kinds.most_common(3)) or "none"
        raise InputError(f"{folder}: no maps in it; its files: {seen}; maps end in {', '.join(names.SUFFIXES)}")
    pairs = names.pair(samples["image"].tolist(), maps, pattern)
    if not any(pairs.files):
        raise InputError(
            f"{folder}: none of its {len(maps)} maps, such as {maps[0]}, is named like an image, such as "
            f"{samples['image'].iloc[0]}; "
            "name maps after images, in the same folders or in none, or give pattern="
        )
    return pairs, [path.as_posix() for path in listed if path.suffix.lower() not in names.SUFFIXES]


@dataclass
class _Read:
    """What reading every map of a run showed."""

    scale: str
    dead: list[str]
    unreadable: list[str]


def _read_all(
    files: Sequence[str],
    normalise: Normalisation,
    signed: Signs,
    shape: tuple[int, int] | None,
    sizes: dict[tuple[int, ...], str],
) -> _Read:
    """Read every map once; ``sizes`` receives the size of maps with the first file, and may hold one size only."""
    scales, is_dead, unreadable = Counter(), [], []
    for file in filter(None, files):
        try:
            raw = read_raw(file)
        except InputError as error:
            print(f"marked as missing: {error}", file=sys.stderr)
            unreadable.append(file)
            continue
        maps = prepared(raw, file, normalise, signed, shape)
        sizes.setdefault(maps.shape, file)
        if len(sizes) > 1:
            (size, first), (other, _) = list(sizes.items())
            raise InputError(
                f"{file}: a map of {_by(other)}, but {first} has {_by(size)}; give shape=(height, width) to resize them"
            )
        if dead(maps):
            is_dead.append(file)
        else:
            scales[raw.scale] += 1
    counts = scales.most_common()
    several = ", ".join(f"{count} of {scale}" for scale, count in counts)
    return _Read(counts[0][0] if len(counts) == 1 else several, is_dead, unreadable)


def _parts(given: Given) -> Iterator[slice]:
    for start in range(0, len(given.samples), AT_ONCE):
        yield slice(start, min(start + AT_ONCE, len(given.samples)))


def _about(given: Given, part: slice, run: int) -> pd.DataFrame:
    about = given.samples.iloc[part][["image", "label", "source"]].reset_index(drop=True)
    return about.assign(run=run)


def _singles(given: Given, measure: str, part: slice, size: int) -> pd.DataFrame:
    """Rows of a measure of single maps, alone or beside human maps or true regions."""
    module, maps = plugins.load("measure", measure), given.maps(part)
    samples = given.samples.iloc[part]
    rows = []
    for run, of_run in enumerate(maps):
        if hasattr(module, "measure"):
            values = module.measure(of_run)
        elif hasattr(module, "with_human"):
            values = module.with_human(of_run, _filled(samples["salience"], of_run.shape[1:], read_maps, np.float32))
        else:
            # A density's values lie below a grey level; masks count as they are.
            of_run = relative(of_run) if given.normalise == "sum" else of_run
            values = module.with_region(of_run, _filled(samples["region"], (size, size), read_regions, bool))
        about = _about(given, part, run).assign(target="predicted")
        rows += [about.assign(variant=variant, value=value) for variant, value in values.items()]
    return pd.concat(rows, ignore_index=True)


def _filled(files: pd.Series, shape: tuple[int, int], read, kind: type) -> np.ndarray:
    """Maps or regions of the images that have one; 0 everywhere for the others."""
    return np.concatenate([read([file], shape) if file else np.zeros((1, *shape), kind) for file in files])


def _pairs(given: Given, measure: str, part: slice, _size: int) -> pd.DataFrame:
    """Rows of a measure that compares runs."""
    rows = getattr(plugins.load("measure", measure), measure)(given.maps(part))
    about = _about(given, part, 0).drop(columns="run")
    return (
        rows.drop(columns="image")
        .join(about.iloc[rows["image"]].reset_index(drop=True))
        .assign(target="predicted", variant="ssim")
    )


def _changing(measure: str, settings: dict) -> ModuleType:
    """The module of a measure that changes images, its settings checked."""
    module = plugins.load("measure", measure)
    if not hasattr(module, "perturbations"):
        raise InputError(f"{measure} changes no images; its rows come from the clean maps alone: call measured")
    if wrong := checks.problems(settings, module.perturbations, measure, without=("images", "maps")):
        raise InputError("\n".join(wrong))
    return module


def _changed(
    images: np.ndarray, guides: Mapping[str, np.ndarray], module: ModuleType, settings: Mapping[str, object]
) -> Iterator[tuple[Perturbation, np.ndarray]]:
    """The changes of images, and the numbers of the images that each is of: a dead map guides none."""
    side = images.shape[1]
    large = {run: upsample(relative(maps), side, side) for run, maps in guides.items()}
    for change in module.perturbations(images, large, **settings):
        alive = ~dead(guides[change.guide]) if change.guide else np.ones(len(images), bool)
        yield change, np.flatnonzero(alive)


def _image_files(samples: pd.DataFrame) -> list[str]:
    """Relative paths of the changed images, one for each image."""
    files = [names.without_ending(name) + ".png" for name in samples["image"]]
    if odd := [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise InputError(
            f"the image {odd[0]!r}: its name leads out of the folder; give names without '..' or '/' in front"
        )
    twice = [file for file, count in Counter(files).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: the name of several images but for their ending; rename all but one")
    return files


def _folder(*parts: str) -> Path:
    """The folder of a kind of change: guide, region and level, those that it has."""
    return Path(*filter(None, parts))


def _write_image(path: Path, image: np.ndarray) -> None:
    paths.write_atomically(path, lambda file: Image.fromarray(image).save(file, "png", compress_level=3))


def _manifest(folder: str | Path) -> dict:
    return disk.read_json(
        Path(folder) / MANIFEST,
        {"measure": str, "settings": dict, "size": int},
        "give the folder that write_changed wrote",
    )


def _of_run(
    given: Given, module: ModuleType, manifest: dict, run: str, folder: str | Path, pattern: str | None
) -> Iterator[pd.DataFrame]:
    """Rows of one run, a frame for each kind of change and part of the images."""
    size, number = manifest["size"], given.runs.index(run)
    for change in _changes(module, manifest, run, Path(folder)):
        where = {run: Path(folder) / _folder(change.region, change.level)}
        after = _paired(given.samples, where, given.normalise, given.signed, given.shape, pattern)
        if after.found.loc[0, list(LEFT_OUT)].map(len).any():
            print(*said(after), sep="\n", file=sys.stderr)
        for part in _parts(given):
            clean, changed = (relative(maps.maps_of(run, part)) for maps in (given, after))
            values = Compared(clean, dead(clean), (size, size)).ssim(changed, dead(changed), change)
            kinds = {"salience": "given", "target": "", "region": change.region, "level": change.level}
            rows = [{"variant": variant, "value": value, **kinds} for variant, value in values.items()]
            yield tidy(_about(given, part, number), rows)


def _changes(module: ModuleType, manifest: dict, run: str, folder: Path) -> list[Perturbation]:
    """The kinds of change that a folder has maps of; how maps are moved back depends on the size of images only."""
    size = manifest["size"]
    slope = np.broadcast_to(np.linspace(0, 255, size).astype(np.uint8), (1, size, size))
    blank = np.zeros((1, size, size, 3), np.uint8)
    every = {
        _folder(change.region, change.level): change
        for change in module.perturbations(blank, {run: slope}, **manifest["settings"])
    }
    present = {name: change for name, change in every.items() if (folder / name).is_dir()}
    if not present:
        name = next(iter(every))
        raise InputError(f"{folder}: no folder {name} in it; lay maps out like the changed images: {name}/IMAGE.npy")
    if absent := [str(name) for name in every if name not in present]:
        print(f"{run}: no maps of {_some(absent)} in {folder}; these levels have no rows", file=sys.stderr)
    return list(present.values())


def _some(listed: Sequence[str]) -> str:
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
