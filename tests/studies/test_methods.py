"""The study of salience methods: its rows beside those of the book's pages, and beside means taken by hand."""

from itertools import product

import numpy as np
import pytest

from e2m.measures.entropy import spatial_entropy
from e2m.measures.stability import stability
from e2m.pages import first_page, selection
from e2m.salience.engine import explain
from e2m.store import paths
from studies import methods
from tests.made import small_experiment

REGIMES = ("cross_entropy", "cyborg")
ENTROPY, STABILITY = "(a) spatial entropy ↓", "(d) SSIM between runs, as published ↑"


@pytest.fixture(scope="module")
def untrained(toy):
    """A detector of its own for each regime and run."""
    return {(regime, run): toy(seed=10 * number + run) for (number, regime), run in product(enumerate(REGIMES), (0, 1))}


@pytest.fixture(scope="module")
def made(tmp_path_factory, untrained):
    """Three runs, of which the study explains two; the experiments and the table."""
    folder = tmp_path_factory.mktemp("methods")
    few = {"images_per_source": 2}
    measures = {"noise": {"amounts": [0.1], "seed": 0} | few, "transformations": few}
    measures |= {"degradation": {"max_sigmas": [10.0], "seed": 0} | few}

    def load(name, path, **_):
        return untrained[path.parent.name, int(path.stem.removeprefix("run-"))]

    def draw(random):
        return random.integers(0, 256, (32, 32, 3), np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", folder / "results")
        patch.setattr(methods, "load_detector", load)
        experiment = small_experiment(folder, 4, draw, runs=3, resamples=50, measures=measures)
        explained = methods.with_methods(experiment, 2)
        yield experiment, explained, methods.table(explained)


def test_the_first_runs_are_explained_beside_the_results_of_the_profile(made):
    experiment, explained, table = made
    assert [(key.regime, key.run) for key in explained.trained] == [*product(REGIMES, (0, 1))]
    assert not paths.results(experiment.profile).exists()
    assert (table.loc[table["row"] == ENTROPY, "runs"] == 2).all()
    assert all(tuple(rows["salience"]) == methods.METHODS for _, rows in table.groupby("row"))


def test_quantities_and_differences_are_those_of_the_pages(made):
    _, explained, table = made
    for method in ("GradCAM", "LayerCAM"):
        differences = selection.differences(explained, method)
        shown = set(first_page.judged(differences, "cross_entropy", "fake")["row"])
        ours = table[table["salience"] == method].set_index("row")
        assert shown - set(ours.index) == {"AUC, fake ↑", "(c) change of accuracy, moved, as published ↑"}
        theirs = differences.set_index("row").loc[ours.index]
        for name in ("difference", "low", "high"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9)


def test_values_are_the_means_of_the_maps(made, untrained):
    _, explained, table = made
    images = explained.images(explained.samples["image"])
    values = table.set_index(["salience", "row"])
    for method, (role, regime) in product(methods.METHODS, explained.roles.items()):
        maps = np.stack([explain(untrained[regime, run], images, method).maps for run in (0, 1)])
        assert np.isfinite(maps).all()
        assert values.loc[(method, ENTROPY), role] == pytest.approx(spatial_entropy(maps.reshape(-1, 8, 8)).mean())
        assert values.loc[(method, STABILITY), role] == pytest.approx(stability(maps)["value"].mean())
    assert (table["difference"] - (table["guided"] - table["traditional"])).abs().max() < 1e-9


def test_behind_pooling_and_one_linear_layer_xgradcam_is_gradcam(made):
    *_, table = made
    by_method = table.pivot(index="row", columns="salience", values=["traditional", "guided"])
    apart = {
        method: max((by_method[role, method] - by_method[role, "GradCAM"]).abs().max() for role in made[0].roles)
        for method in methods.METHODS
    }
    assert apart["XGradCAM"] < 1e-4
    assert min(apart[method] for method in ("GradCAMpp", "CAM", "LayerCAM")) > 0.01
