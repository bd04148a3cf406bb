"""The five measures with five salience methods: ``python -m studies.methods``, part of `make study`.

The first detectors of both compared regimes are explained again on the in-set images, clean and changed as the profile
says. None is trained. Quantities that no map enters are left out: they are the same with every method.

Writes the table ``methods`` with ``e2m.store.studies``: one row for each salience method, quantity and network, with
the columns of ``table``. Three minutes on one core, after `make book`.
"""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from e2m import statistics
from e2m.detectors import load_detector
from e2m.experiment import explain
from e2m.experiment.inputs import replace
from e2m.experiment.results import Experiment
from e2m.pages import selection
from e2m.store import studies
from studies import again

METHODS = ("GradCAM", "GradCAMpp", "CAM", "LayerCAM", "XGradCAM")
"""The first is the published one."""

BY = ["salience", *selection.ABOUT, "detector"]
"""The columns that name a row of the table."""

OF_DIFFERENCE = ["difference", "low", "high", "runs", "images", "missing", "note", "kind", "status"]


def main(arguments: list[str] | None = None) -> None:
    options = again.options(__doc__, arguments)
    experiment = Experiment.load(options.profile)
    explained = with_methods(experiment, options.runs)
    about = {"command": "make study", "profile": experiment.profile, "data": experiment.data_hash()}
    about |= {"network": ", ".join(experiment.detectors), "runs": explained.runs, **experiment.roles}
    about |= {"weights": experiment.weights_hash(*map(experiment.checkpoint, explained.trained))}
    print(studies.save("methods", table(explained), options.folder, **about))


def with_methods(experiment: Experiment, runs: int) -> Experiment:
    """The first runs of both regimes, explained with ``METHODS``; results lie beside those of the profile."""
    other = replace(
        again.numbered(experiment),
        profile=f"{experiment.profile}-methods",
        regimes=list(experiment.roles.values()),
        runs=min(runs, experiment.runs),
        controls={},
        study={},
        methods=list(METHODS),
        masker=None,
        share_frozen=False,  # that file is the profile's; the same outputs are computed without it
    )
    for key in tqdm(other.trained, "methods", unit=" detectors"):
        detector = load_detector(key.detector, experiment.checkpoint(key), device=experiment.device)
        explain.explain(other, key, progress=False, detector=detector)
    return other


def table(experiment: Experiment) -> pd.DataFrame:
    """What each salience method says of both regimes.

    Returns:
        The columns of ``BY``; ``traditional`` and ``guided``, the means of the regimes; ``difference``, guided minus
        traditional, and further columns of ``statistics.compare``. Quantities without a better direction are left out.
    """
    rows = selection.selected(experiment, experiment.scores(), METHODS)
    rows = rows[(rows["salience"] != "") & (rows["better"] != "")]
    means = statistics.summarise(rows, [*BY, "regime"], **experiment.resampling)
    roles = {regime: role for role, regime in experiment.roles.items()}
    values = means.assign(role=means["regime"].map(roles)).pivot(index=BY, columns="role", values="mean")
    apart = statistics.compare(rows, BY, **experiment.pair, **experiment.resampling)
    both = apart.merge(values.reset_index(), on=BY, validate="one_to_one")
    return both[[*BY, *experiment.roles, *OF_DIFFERENCE]]


if __name__ == "__main__":
    main()
