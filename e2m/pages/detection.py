"""How well detectors detect: TDR at a fixed FDR, error rates at two thresholds, and ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from scipy import special

from e2m import statistics
from e2m.experiment.results import Experiment
from e2m.statistics import detection

FDRS = (0.01, 0.05, 0.1)
"""False detection rates at which TDR is stated: ours; no public text at hand states CYBORG's."""

ERRORS = {
    "APCER": detection.apcer_interval,
    "BPCER": detection.bpcer_interval,
    "ACER": detection.acer_interval,
}

HALF, IN_SET = "0.5", "in-set equal error"
"""Names of the thresholds: P(synthetic) of one half, or of equal error rates on the in-set test images of each run."""

BY = ["detector", "regime"]


def at_fixed_fdr(experiment: Experiment, scores: pd.DataFrame, fdrs: Sequence[float] = FDRS) -> pd.DataFrame:
    """TDR at each FDR for every detector, regime and synthetic source: ``statistics.summarise_rates``.

    Args:
        experiment: the experiment that has the scores.
        scores: ``experiment.scores()``.
        fdrs: shares of authentic images that may be flagged.
    """
    rates = {f"TDR at FDR {fdr:g}": partial(detection.detection_rate_interval, fdr=fdr) for fdr in fdrs}
    return statistics.summarise_rates(scores, BY, experiment.against, rates, **experiment.resampling)


def errors(experiment: Experiment, scores: pd.DataFrame) -> pd.DataFrame:
    """APCER, BPCER and ACER of every detector, regime and synthetic source, at both thresholds (column ``threshold``).

    Intervals hold the thresholds fixed.
    """
    runs = [*BY, "run"]
    fixed = thresholds(experiment, scores).set_index(runs)["threshold"]
    of_run = fixed.reindex(pd.MultiIndex.from_frame(scores[runs])).to_numpy()
    flagged = pd.concat(
        scores.assign(value=np.where(scores["value"].isna(), np.nan, scores["value"] >= limit), threshold=name)
        for name, limit in ((HALF, 0.5), (IN_SET, of_run))
    )
    by = ["threshold", *BY]
    return statistics.summarise_rates(flagged, by, experiment.against, ERRORS, **experiment.resampling)


def thresholds(experiment: Experiment, scores: pd.DataFrame) -> pd.DataFrame:
    """The in-set threshold of every run: detector, regime, run, threshold."""
    in_set = scores[scores["source"].isin(experiment.in_set)]
    rows = []
    for key, group in in_set.groupby([*BY, "run"], sort=False):
        values = {label: group.loc[group["label"] == label, "value"] for label in ("authentic", "synthetic")}
        rows.append((*key, detection.equal_error_threshold(**values)))
    return pd.DataFrame(rows, columns=[*BY, "run", "threshold"])


def curves(experiment: Experiment, scores: pd.DataFrame, points: int = 101) -> pd.DataFrame:
    """ROC curves: the TDR of every run at ``points`` FDRs from 0 to 1, their mean, and its interval over runs.

    The interval is Student's t over runs, clipped to [0, 1], on these images and pointwise; NaN for one run.

    Returns:
        detector, regime, source, fdr, mean, low, high.
    """
    grid, rows = np.linspace(0, 1, points), []
    sources = list(dict.fromkeys(scores.loc[scores["label"] == "synthetic", "source"]))
    for (key, group), source in product(scores.groupby(BY, sort=False), sources):
        pair = experiment.against[source], source
        of_runs = np.array(
            [detection.detection_rate(*_of_sources(run, pair), grid, source) for _, run in group.groupby("run")]
        )
        mean, runs = of_runs.mean(axis=0), len(of_runs)
        reach = special.stdtrit(runs - 1, 0.975) * of_runs.std(axis=0, ddof=1) / runs**0.5 if runs > 1 else np.nan
        ends = {"low": np.clip(mean - reach, 0, 1), "high": np.clip(mean + reach, 0, 1)}
        about = dict(zip(BY, key, strict=True))
        rows.append(pd.DataFrame({**about, "source": source, "fdr": grid, "mean": mean, **ends}))
    return pd.concat(rows, ignore_index=True)


def _of_sources(rows: pd.DataFrame, sources: Sequence[str]) -> list[np.ndarray]:
    return [rows.loc[rows["source"] == source, "value"].to_numpy() for source in sources]
