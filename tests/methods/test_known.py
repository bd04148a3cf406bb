"""Controls have answers known beforehand: every map, and what measures say of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from e2m.arrays.maps import min_max
from e2m.measures import noise, transformations
from e2m.measures.entropy import spatial_entropy
from e2m.measures.stability import stability
from e2m.methods import ForwardPass, known
from e2m.salience.engine import Explainer
from e2m.salience.respond import respond


def drawn(name, images, shape=(7, 7), regions=None, seed=0):
    """Maps of a control, (n, h, w) in [0, 1], beside a network whose layer has cells of this shape."""
    forward = ForwardPass(images, pixels=None, features=torch.empty(len(images), 1, *shape), regions=regions, seed=seed)
    return min_max(known.CONTROLS[name](forward))


def test_the_oracle_is_how_much_of_a_cell_the_region_covers():
    region = np.zeros((1, 8, 8), bool)
    region[0, :4, :4] = True  # one cell of four
    region[0, 4:, :2] = True  # half of the one below
    np.testing.assert_allclose(
        drawn("oracle", np.zeros((1, *region.shape[1:], 3), np.uint8), (2, 2), regions=region),
        [[[1, 0], [0.5, 0]]],
        atol=1e-6,
    )


def test_cells_need_not_divide_the_image():
    region = np.zeros((1, 5, 5), bool)
    region[0, 0, 0] = True
    # Half of the second row and column belongs to the first cell: 1 of 2.5 x 2.5 pixels, the others empty.
    np.testing.assert_allclose(
        drawn("oracle", np.zeros((1, *region.shape[1:], 3), np.uint8), (2, 2), regions=region),
        [[[1, 0], [0, 0]]],
        atol=1e-6,
    )


@pytest.mark.parametrize("region", [np.zeros((1, 8, 8), bool), np.ones((1, 8, 8), bool)])
def test_without_a_known_region_there_is_no_oracle(region):
    assert np.isnan(drawn("oracle", np.zeros((1, *region.shape[1:], 3), np.uint8), (2, 2), regions=region)).all()


def test_the_centre_is_in_the_middle_of_every_map(photographs):
    maps = drawn("centre", photographs)
    assert (maps == maps[0]).all()
    assert maps[0].argmax() == 24
    np.testing.assert_allclose(maps[0], maps[0].T, atol=1e-6)
    np.testing.assert_allclose(maps[0], maps[0, ::-1, ::-1], atol=1e-6)


def test_random_maps_belong_to_image_and_run(photographs):
    maps = drawn("random", photographs)
    np.testing.assert_array_equal(drawn("random", photographs[::-1][:2]), maps[::-1][:2])
    assert (drawn("random", photographs, seed=1) != maps).any(axis=(1, 2)).all()
    assert len(np.unique(maps, axis=0)) == len(maps)


def test_the_entropy_of_uniform_cells_is_known():
    images = np.random.default_rng(0).integers(0, 256, (300, 2, 2, 3), np.uint8)
    # E[x log x] / E[x] - log E[x] = log 2 - 1/2 nats below an even spread, for x uniform in [0, 1].
    expected = 1 - (np.log(2) - 0.5) / np.log(49)
    assert abs(spatial_entropy(drawn("random", images)).mean() - expected) < 0.01


def test_the_fixed_map_never_reads_the_image(photographs):
    maps = np.stack([drawn("fixed", photographs, seed=run) for run in range(2)])
    assert (maps == maps[0, 0]).all()


def test_edges_by_hand():
    image = np.zeros((1, 14, 14, 3), np.uint8)
    image[:, :, 7:] = 255  # an edge down the middle, between the third and the fourth of seven columns
    maps = drawn("edges", image)
    assert maps.shape == (1, 7, 7)
    np.testing.assert_allclose(maps[0], np.tile([0, 0, 0, 1, 0, 0, 0], (7, 1)), atol=0.51)
    assert (maps[0, :, [2, 3, 4]].argmax(axis=0) == 1).all()
    assert np.isnan(drawn("edges", np.full((1, 14, 14, 3), 90, np.uint8))).all()


# What measures say of them


@pytest.fixture(scope="module")
def answers(toy, photographs, regions):
    """Rows of known maps under a measure's perturbations: mean similarity by control and level."""

    def ask(perturbations):
        with Explainer(toy(), known.NAMES) as explainer:
            clean = explainer(photographs, regions=regions)
            about = pd.DataFrame({"image": [str(number) for number in range(len(photographs))]})
            rows = respond(explainer, photographs, clean, about, perturbations, regions)
        rows = rows[(rows["target"] == "predicted") & (rows["variant"] == "ssim")]
        return rows.pivot_table(index="salience", columns="level", values="value")

    return ask


def test_noise(answers):
    result = answers(lambda images, maps: noise.perturbations(images, maps, [0.1, 0.5]))
    np.testing.assert_allclose(result.loc[["fixed", "centre", "oracle"]], 1)
    assert result.loc["random"].max() < 0.3
    assert (result.loc["random"] < result.loc["edges"]).all()
    assert result.loc["edges", "0.5"] < result.loc["edges", "0.1"] < 1


WHOLE, SHIFTS = ["flip_left_right", "rotate_left"], ["shift_left", "shift_down_right"]


def moved(images, maps):
    return transformations.perturbations(images, maps, [*WHOLE, *SHIFTS])


def moved_without_telling(images, maps):
    return (replace(change, move=lambda region: region) for change in moved(images, maps))


def test_the_oracle_moves_along(answers, photographs, regions):
    result, still = answers(moved).loc["oracle"], answers(moved_without_telling).loc["oracle"]
    assert result[WHOLE].min() > 0.99
    assert (still < result).all()
    ceiling = transformations.interpolation_ceiling(drawn("oracle", photographs, (8, 8), regions=regions), 112)
    ceiling = ceiling[ceiling["variant"] == "whole"].groupby("transformation")["value"].mean()
    # Shares of cells are smoother than the points that the ceiling reads.
    assert (result[SHIFTS] > ceiling[SHIFTS] - 0.06).all()


def test_a_fixed_map_does_not_follow(answers):
    assert answers(moved).loc["fixed", WHOLE].max() < 0.6


def test_stability(photographs):
    between = {
        name: stability(np.stack([drawn(name, photographs, seed=run) for run in range(2)]))["value"]
        for name in known.NAMES
        if name != "oracle"
    }
    for name in ("centre", "fixed", "edges"):
        np.testing.assert_allclose(between[name], 1, err_msg=name)
    assert abs(between["random"].mean()) < 0.2
