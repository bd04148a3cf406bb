"""What bfloat16 changes in every measure, beside the spread between runs: ``python -m studies.precision``.

The detectors of the profile are explained again with ``precision: bfloat16``: the first runs of the two compared
regimes, on the first images of each in-set source's draw, as many as the measures change. Their values are compared
with those that the profile has in float32.

Writes the table ``precision`` with ``e2m.store.studies``: one row for each measure, salience method, variant and
region, with the columns of ``compared``. Five minutes on one core, after `make book`.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from tqdm import tqdm

from e2m import plugins
from e2m.detectors import load_detector
from e2m.experiment import explain
from e2m.experiment.results import Experiment
from e2m.store import studies
from studies import again

ROW = ["measure", "salience", "variant", "region"]
"""The columns that name a row of the table; its values are means over sources and levels."""

ONE = [*ROW, "regime", "run", "run_other", "source", "level", "target", "image"]
"""The columns that name a value."""


def main(arguments: list[str] | None = None) -> None:
    options = again.options(__doc__, arguments)
    single = Experiment.load(options.profile)
    single = replace(single, regimes=list(single.roles.values()), sources=single.in_set)
    half = in_bfloat16(single, options.runs)
    about = {"command": "python -m studies.precision", "profile": single.profile, "data": single.data_hash()}
    about |= {"runs": half.runs, "images": half.images_per_source}
    print(studies.save("precision", compared(values(single), values(half), single.roles), options.folder, **about))


def in_bfloat16(experiment: Experiment, runs: int) -> Experiment:
    """The profile with few runs and images, explained in bfloat16; results lie beside those of the profile."""
    half = replace(
        again.numbered(experiment),
        profile=f"{experiment.profile}-bfloat16",
        precision="bfloat16",
        runs=min(runs, experiment.runs),
        images_per_source=experiment.fewest(experiment.sources),
        masker=None,
        share_frozen=False,  # the file of the profile serves; `Trunk` computes the same outputs
    )
    for key in tqdm(half.trained, "bfloat16", unit=" detectors"):
        if not all(path.is_file() for path in half.results(key)):
            detector = load_detector(key.detector, experiment.checkpoint(key), device=experiment.device)
            explain.explain(half, key, progress=False, detector=detector)
    return half


def values(experiment: Experiment) -> pd.DataFrame:
    """Tidy rows of all measures and of the score, which is not of one salience method."""
    names = [name for name in plugins.names("measure") if experiment.has_rows(name)]
    rows = pd.concat([*(experiment.rows(name) for name in names), experiment.scores()], ignore_index=True)
    # Measures of maps have neither levels nor regions, and only those that compare runs have a second run.
    rows = rows.reindex(columns=[*ONE, "value"])
    texts = [name for name in ONE if name not in ("run", "run_other")]
    rows[texts] = rows[texts].astype(object).fillna("").astype(str)
    # "clean" explains the class of the clean image: a second value beside that of the predicted class.
    rows = rows[rows["target"].isin(["", "predicted"])]
    return rows.assign(run_other=rows["run_other"].astype(float).fillna(-1).astype(int))


def compared(single: pd.DataFrame, half: pd.DataFrame, roles: dict[str, str]) -> pd.DataFrame:
    """The effect of bfloat16 on each measure.

    Args:
        single: ``values`` in float32, of all runs.
        half: ``values`` in bfloat16, of some of these runs and images.
        roles: the guided and the traditional regime.

    Returns:
        The columns of ``ROW``; ``images``, the number of values compared; ``mean`` in float32; ``change`` and
        ``largest``, mean and largest absolute change of one value; ``run_change``, the largest change of a run's mean;
        ``spread``, the standard deviation between the means of all runs of a regime, on the same images, as the root
        mean square of both regimes; ``share``, ``run_change / spread``; ``difference`` and ``difference_half``, guided
        minus traditional in float32 and in bfloat16, of the same runs.
    """
    both = single.merge(half, on=ONE, suffixes=("", "_half"), validate="one_to_one")
    shared = single[single["image"].isin(half["image"].unique())]
    spreads = {name: _spread(rows) for name, rows in shared.groupby(ROW)}
    return pd.DataFrame([_row(name, rows, spreads[name], roles) for name, rows in both.groupby(ROW, sort=False)])


def _row(name: tuple, rows: pd.DataFrame, spread: float, roles: dict[str, str]) -> dict:
    change = (rows["value_half"] - rows["value"]).abs()
    of_runs = rows.groupby(["regime", "run", "run_other"])[["value", "value_half"]].mean()
    run_change = (of_runs["value_half"] - of_runs["value"]).abs().max()
    of_regimes = of_runs.groupby("regime").mean()
    differences = of_regimes.loc[roles["guided"]] - of_regimes.loc[roles["traditional"]]
    return {
        **dict(zip(ROW, name, strict=True)),
        "images": int(change.notna().sum()),
        "mean": rows["value"].mean(),
        "change": change.mean(),
        "largest": change.max(),
        "run_change": run_change,
        "spread": spread,
        "share": run_change / spread,
        "difference": differences["value"],
        "difference_half": differences["value_half"],
    }


def _spread(rows: pd.DataFrame) -> float:
    """Standard deviation between the means of runs, or of pairs of runs, within a regime."""
    means = rows.groupby(["regime", "run", "run_other"])["value"].mean()
    return float(means.groupby("regime").var().mean() ** 0.5)


if __name__ == "__main__":
    main()
