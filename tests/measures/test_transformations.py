"""Measure (c)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from e2m.arrays.maps import upsample
from e2m.measures.transformations import TRANSFORMATIONS, interpolation_ceiling, perturbations
from e2m.types import InputError

SHIFTS = {
    "shift_left": (0, -1),
    "shift_right": (0, 1),
    "shift_up": (-1, 0),
    "shift_down": (1, 0),
    "shift_up_left": (-1, -1),
    "shift_up_right": (-1, 1),
    "shift_down_left": (1, -1),
    "shift_down_right": (1, 1),
}
EXACT = ["flip_left_right", "flip_top_bottom", "rotate_left", "rotate_right"]


def images_of(seed, side, count=2):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def test_the_papers_twelve():
    assert set(TRANSFORMATIONS) == {*SHIFTS, *EXACT}


def test_quarter_turns_and_flips_worked_by_hand():
    map_ = np.array([[[1, 2], [3, 4]]])
    moved = {name: TRANSFORMATIONS[name].apply(map_)[0].tolist() for name in EXACT}
    assert moved == {
        "flip_left_right": [[2, 1], [4, 3]],
        "flip_top_bottom": [[3, 4], [1, 2]],
        "rotate_left": [[2, 4], [1, 3]],  # counter-clockwise, +90 degrees
        "rotate_right": [[3, 1], [4, 2]],
    }


@pytest.mark.parametrize(("side", "pixels"), [(14, 1), (112, 8), (224, 16), (299, 16)])
def test_shifts_move_by_sixteen_pixels_less_below_224_and_repeat_the_border(side, pixels):
    images = images_of(0, side, 1)
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    for name, (down, right) in SHIFTS.items():
        top, left = pixels - down * pixels, pixels - right * pixels
        expected = padded[:, top : top + side, left : left + side]
        assert (TRANSFORMATIONS[name].apply(images) == expected).all(), name
        kept = (side - abs(down) * pixels) * (side - abs(right) * pixels)
        assert TRANSFORMATIONS[name].valid(side, side).sum() == kept


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), side=st.integers(14, 40))
def test_undoing_restores_what_is_valid(name, seed, side):
    transformation = TRANSFORMATIONS[name]
    images = images_of(seed, side)
    moved = transformation.apply(images)
    undone = transformation.undo(moved[..., 0])
    valid = transformation.valid(side, side)
    assert moved.flags.c_contiguous
    assert (moved.shape, moved.dtype) == (images.shape, images.dtype)
    assert (undone == images[..., 0])[:, valid].all()
    assert valid.all() == (name in EXACT)
    assert (transformation.apply(images[::-1]) == moved[::-1]).all()
    # what the shift has pushed out of the image plays no part
    lost = np.broadcast_to(~valid[None, :, :, None], images.shape)
    noise = np.where(lost, images_of(seed + 1, side), images)
    assert (transformation.undo(transformation.apply(noise)[..., 0]) == undone)[:, valid].all()


def test_sizes_that_a_shift_or_turn_does_not_fit():
    for name in SHIFTS:
        with pytest.raises(InputError, match="upsample maps to the image's size"):
            TRANSFORMATIONS[name].undo(np.zeros((1, 7, 7)))
    for name in ("rotate_left", "rotate_right"):
        with pytest.raises(InputError, match="20 x 30"):
            TRANSFORMATIONS[name].apply(np.zeros((1, 20, 30, 3)))
    with pytest.raises(InputError, match="shape"):
        TRANSFORMATIONS["shift_left"].apply(np.zeros((20, 20)))
    with pytest.raises(InputError, match="shape"):
        TRANSFORMATIONS["flip_left_right"].apply(np.zeros((20, 20)))


def test_changes_can_be_undone_where_they_are_valid():
    images = images_of(0, 28)
    results = list(perturbations(images, {}))
    assert [change.level for change in results] == list(TRANSFORMATIONS)
    for change in results:
        assert (change.undo(change.images[..., 0]) == images[..., 0])[:, change.valid].all()
        assert change.valid.all() == (change.level in EXACT)
        assert (change.guide, change.region) == ("", "")
    assert [change.level for change in perturbations(images, {}, ["rotate_left"])] == ["rotate_left"]
    with pytest.raises(InputError, match="no transformation named 'shear'; choose from flip_left_right"):
        list(perturbations(images, {}, ["shear"]))


def test_ceiling_lies_below_one_for_shifts_of_coarse_maps_only():
    maps = np.load("tests/data/reference.npz")["maps7"]
    results = interpolation_ceiling(maps, 112).set_index(["transformation", "variant", "image"])["value"]
    for name in EXACT:
        assert (results[name] == 1).all()
    for name in SHIFTS:
        assert results[name].between(0.5, 0.995).all()
    alone = interpolation_ceiling(maps[1:2], 112)["value"].to_numpy()
    assert (alone == results.xs(1, level="image").to_numpy()).all()
    # a detector with a cell a pixel follows every shift, but for the strip that has left the image
    fine = interpolation_ceiling(upsample(maps, 112, 112), 112)
    assert (fine.loc[fine["variant"] == "valid", "value"] > 1 - 1e-12).all()


def test_ceiling_by_its_definition():
    maps = np.load("tests/data/reference.npz")["maps7"][:1]
    surface = upsample(maps, 112, 112).astype(float)
    moved = np.concatenate([np.repeat(surface[:, :, :1], 8, axis=2), surface[:, :, :-8]], axis=2)
    centres = [[moved[0, y : y + 2, x : x + 2].mean() for x in range(7, 112, 16)] for y in range(7, 112, 16)]
    seen = upsample(np.rint([centres]).astype(np.uint8), 112, 112)
    undone = np.concatenate([seen[:, :, 8:], np.repeat(seen[:, :, -1:], 8, axis=2)], axis=2)
    expected = structural_similarity(surface[0], undone[0].astype(float), data_range=255)
    results = interpolation_ceiling(maps, 112).query("transformation == 'shift_right' and variant == 'whole'")
    assert results["value"].item() == pytest.approx(expected, abs=1e-9)


def test_ceiling_of_dead_maps_is_unknown():
    maps = np.random.default_rng(0).random((3, 7, 7))
    maps[1] = np.nan
    values = interpolation_ceiling(maps, 56)
    assert (values["value"].isna() == (values["image"] == 1)).all()
