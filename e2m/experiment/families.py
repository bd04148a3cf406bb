"""Controls as experiments of their own: known maps, untrained networks, and the files of the cascade.

Known maps come from the salience methods of ``e2m.methods.known``, and have the regime name "known". Untrained networks
have the regime name "random_weights". The results of both lie beside those of trained detectors.
``e2m.experiment.controls`` writes them; whoever reads them needs no network, and this module imports none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from e2m import plugins
from e2m.experiment.inputs import Inputs, replace
from e2m.experiment.profile import ModelKey

KNOWN = "known"
"""The regime name of known maps in files, and the name of their salience in tables."""

RUNS = 2
"""Number of runs of each control that needs no training; measure (d) compares two runs."""


def known_family(experiment: Inputs) -> Inputs:
    """The experiment with the one regime "known", the salience methods that ask no network, and the in-set sources."""
    methods = list(plugins.load("method", "oracle").NAMES)
    return replace(experiment, regimes=[KNOWN], methods=methods, sources=experiment.in_set, runs=RUNS)


def untrained_family(experiment: Inputs) -> Inputs:
    """The experiment with the one regime "random_weights", on the in-set sources."""
    return replace(experiment, regimes=["random_weights"], sources=experiment.in_set, runs=RUNS)


def cascade_files(experiment: Inputs, detector: str) -> dict[Path, tuple[ModelKey, str]]:
    """Files of the cascade's rows, with detector and source: run 0 of every regime, on every in-set source."""
    keys = [ModelKey(detector, regime, 0) for regime in experiment.regimes]
    return {
        experiment.rows_file(key, "cascade", source): (key, source) for key, source in product(keys, experiment.in_set)
    }


def by_control(rows: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Tidy rows of known maps as tables show them: the regime is the control's name, the salience is "known".

    Scores that no map guided are left out: they belong to the trained detector.

    Args:
        rows: tidy rows of ``known_family``.
        methods: the controls in the order of the result.
    """
    rows = rows[rows["salience"] != ""]
    if not (rows["variant"] == "score").any():
        rows = rows.drop(columns="flipped", errors="ignore")  # without scores, no decision is known to have flipped
    order = rows["salience"].astype(str).map({name: index for index, name in enumerate(methods)})
    detectors = pd.factorize(rows["detector"])[0]
    rows = rows.iloc[np.lexsort((np.arange(len(rows)), order, detectors))]
    return rows.assign(regime=rows["salience"].astype(str), salience=KNOWN)
