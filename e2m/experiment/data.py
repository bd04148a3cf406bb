"""The job that lists a profile's images with the hashes of their files, and the check that the list still holds.

Trainings depend on the list "train", jobs that read test images on the list "test". Writing a list hashes the content
of every file. Before every run, the workflow asks ``state``, which compares sizes and times and hashes a file again
only if these have changed. Touching a file therefore reruns nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from e2m import plugins
from e2m.arrays.images import check_images, check_sides, unreadable
from e2m.datasets import SEVEN_TIMES, load_dataset
from e2m.datasets.folder import duplicates
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import Profile
from e2m.experiment.settings import reads
from e2m.store import disk, paths
from e2m.types import InputError

NEW = "new"
"""The state of images that were never listed."""

FILES = ("path", "salience", "region", "annotations", "segmentation")
"""Columns of samples that name files."""


@reads(Inputs, "dataset", "dataset_options")
def training_images(experiment: Inputs) -> pd.DataFrame:
    """Images to train on and to validate on."""
    splits = [load_dataset(experiment.dataset, split=split, **experiment.options) for split in ("train", "validate")]
    samples = load_dataset(experiment.dataset, **experiment.options)
    return pd.concat([*splits, samples[samples["split"] == SEVEN_TIMES]], ignore_index=True)


def training_samples(experiment: Profile, name: str) -> pd.DataFrame:
    """Images that a regime trains on; the column ``salience`` names the maps that its loss reads.

    Raises:
        InputError: the data set has no images of the regime's split, or images without the regime's maps.
    """
    regime = plugins.load("regime", name)
    split, kind = getattr(regime, "SPLIT", "train"), getattr(regime, "MAPS", "salience")
    if split != "train" and split not in set(load_dataset(experiment.dataset, **experiment.options)["split"]):
        raise InputError(
            f"regime {name} trains on the split {split!r}, and data set {experiment.dataset!r} has no images in it; "
            "name their list in dataset_options, as the data set folder takes it, or leave the regime out"
        )
    samples = load_dataset(experiment.dataset, split=split, **experiment.options)
    if not regime.GUIDED:
        return samples
    maps = samples[kind] if kind in samples else pd.Series("", samples.index)
    without = samples.loc[maps == "", "image"]
    if len(without):
        what = "human map" if kind == "salience" else f"{kind} mask"
        raise InputError(
            f"regime {name} reads a {what} of every training image, and {len(without)} of {len(samples)} images of "
            f"data set {experiment.dataset!r} have none (first: {without.iloc[0]}); name their folder in "
            "dataset_options, as the data set folder takes it, or leave the regime out"
        )
    return samples.assign(salience=maps)


@reads(Inputs, "dataset", "dataset_options", "sources", "images_per_source")
def test_images(experiment: Inputs) -> pd.DataFrame:
    """Images that detectors are explained on, or that the pilot chooses them from."""
    return experiment.drawn


PARTS = {"train": training_images, "test": test_images}


def check(experiment: Inputs) -> None:
    """Print the number of test images, and on stderr those that cannot be read.

    Raises:
        InputError: a human map is missing or does not fit its image; sources that cannot be compared
            (``Inputs.against``); images that would be resized twice.
    """
    samples = test_images(experiment)
    _ = experiment.against
    check_images(samples, may_be_marked=True)
    check_sizes(experiment)
    _say(load_dataset(experiment.dataset, **experiment.options))
    print(samples.groupby(["source", "label"], sort=False).size().rename("images").reset_index().to_string(index=False))
    if bad := unreadable(samples):
        print(f"{len(bad)} of {len(samples)} images cannot be read; they will be marked as missing:", file=sys.stderr)
        print(*bad, sep="\n", file=sys.stderr)


def _say(whole: pd.DataFrame) -> None:
    """Print on stderr how the data set was read, what was left out, and files that are equal although they should not.

    Equal files under two labels, or to train and to test on, make numbers look better or worse than they are.
    """
    lines = [*whole.attrs.get("notes", ()), *(f"left out: {line}" for line in whole.attrs.get("left_out", ()))]
    for across, rows in duplicates(whole).groupby("across"):
        first = " and ".join(rows.loc[rows["sha256"] == rows["sha256"].iloc[0], "image"])
        lines.append(f"warning: {len(rows)} files are equal to one of another {across}: {first}")
    print(*lines, sep="\n", end="\n" * bool(lines), file=sys.stderr)


def check_sizes(experiment: Inputs) -> None:
    """Check, before any training, that no detector would read an image that was resized before.

    Raises:
        InputError: a test image whose size is neither ``image_size`` nor read at the detector's size.
    """

    def sizes() -> dict[str, int | tuple[int, int]]:
        # Imported here: hardly any data set needs to know, and torch takes seconds.
        from e2m.detectors import load_detector

        return {name: load_detector(name, device="cpu").size for name in experiment.detectors}

    if experiment.image_size is not None:
        check_sides(experiment.drawn, experiment.image_size, sizes)


def check_stages(experiment: Profile) -> None:
    """Check, before any training, that the networks have the stages that their maskers are to read.

    Raises:
        InputError: a network lacks one.
    """
    if experiment.masker and (names := experiment.masker.get("stages")):
        from e2m.detectors import load_detector
        from e2m.networks.masker import chosen_stages

        for detector in experiment.detectors:
            chosen_stages(load_detector(detector, device="cpu"), names)


def write(experiment: Inputs, part: str, state: str = NEW) -> Path:
    """List the images of a part with the size, time and SHA-256 of every file that belongs to them.

    Args:
        experiment: the experiment that has the images.
        part: a key of ``PARTS``.
        state: state of the images as the function ``state`` returned it; it is stored in the list.

    Raises:
        InputError: a regime of the experiment lacks images or maps to train on, or cannot read them; or a network
            lacks a stage that its masker reads. The list comes before all trainings.
    """
    if part == "train":
        regimes = dict.fromkeys([*experiment.regimes, *experiment.controls, *experiment.study])
        read = pd.concat([training_samples(experiment, regime) for regime in regimes])[["path", "salience"]]
        check_images(read.drop_duplicates())
        check_stages(experiment)
    check_sizes(experiment)
    files = _stamped(_files(PARTS[part](experiment)))
    files["sha256"] = [disk.file_hash(path) for path in files["path"]]
    files.attrs["state"] = state
    path = paths.images(experiment.profile, part)
    disk.write_table(path, files)
    return path


def state(experiment: Inputs, part: str) -> str:
    """A word for the present state of a part's images: the one stored in their list if the list holds, else a new one.

    The list holds if all images have the same names, labels, splits, sources, subjects, files and file contents.
    """
    path = paths.images(experiment.profile, part)
    if not path.is_file():
        return NEW
    try:
        listed = disk.read_table(path)
        # The listed files are looked up first: a built data set would otherwise be built by the next line.
        present = _stamped(listed.drop(columns=["bytes", "time", "sha256"]))
        now = _stamped(_files(PARTS[part](experiment)))
    except (InputError, OSError) as error:
        return disk.short_hash(str(error))
    known = present.columns.drop(["bytes", "time"])
    if now[known].equals(listed[known]):
        touched = (now["bytes"] != listed["bytes"]) | (now["time"] != listed["time"])
        hashes = [disk.file_hash(path) for path in now.loc[touched, "path"]]
        if hashes == listed.loc[touched, "sha256"].tolist():
            return listed.attrs["state"]
    return disk.short_hash(now.to_csv())


def _files(samples: pd.DataFrame) -> pd.DataFrame:
    """One row for each file that belongs to an image."""
    return pd.DataFrame(_rows(samples), columns=["image", "label", "source", "split", "subject", "kind", "path"])


def _rows(samples: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    kinds = [kind for kind in FILES if kind in samples]
    about = samples[["image", "label", "source", "split", "subject"]].astype(str)
    for row, files in zip(about.itertuples(index=False), samples[kinds].itertuples(index=False), strict=True):
        for kind, paths_ in zip(kinds, files, strict=True):
            for path in [paths_] if isinstance(paths_, str) else paths_:
                if path:
                    yield (*row, kind, path)


def _stamped(files: pd.DataFrame) -> pd.DataFrame:
    stamps = [(stat.st_size, stat.st_mtime_ns) for stat in (Path(path).stat() for path in files["path"])]
    return files.assign(bytes=[size for size, _ in stamps], time=[time for _, time in stamps])
