"""What the studies share that explain the first detectors of a finished profile again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from e2m.experiment.inputs import replace
from e2m.experiment.results import Experiment
from e2m.store import studies

RUNS = 3


def options(description: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line: profile, runs, folder."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="profile whose detectors and settings are used [demo]")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"detectors of each regime [{RUNS}]")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the table [data/studies]")
    chosen = parser.parse_args(arguments)
    if chosen.runs < 1:
        parser.error(f"--runs {chosen.runs} arrived; a whole number from 1 up fits")
    return chosen


def numbered(experiment: Experiment) -> Experiment:
    """The experiment on its in-set sources, with numbers in the place of those that the pilot decides.

    Every measure takes as many images as all in-set sources have for all measures. What a study explains thus has
    numbers of its own, and looks for no pilot under the study's name.

    Raises:
        InputError: the pilot decides, and the profile has no result of it.
    """
    in_set = replace(experiment, sources=experiment.in_set)
    if not experiment.automatic:
        return in_set
    few = {"images_per_source": in_set.fewest(in_set.sources)}
    return replace(in_set, **few, measures={name: settings | few for name, settings in in_set.measures.items()})
