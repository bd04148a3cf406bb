"""Maps as people have them: every way to write one map gives the same map, and what is no map is refused."""

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from e2m.arrays.map_files import COLOUR_SCALES, read_maps, read_raw, read_regions
from e2m.arrays.maps import dead, quantise, upsample
from e2m.measures.alignment import with_human
from e2m.types import InputError

SHARES = np.random.default_rng(0).random((24, 20)).astype(np.float32)
SHARES[0, 0], SHARES[-1, -1] = 0, 1
GREY = (SHARES * 255).astype(np.uint8)
SMOOTH = upsample(np.random.default_rng(1).random((1, 5, 5)), 40, 40)[0]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, values)
    else:
        (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path)
    return path


def opencv_jet(levels):
    return (255 * np.clip(1.5 - np.abs(levels[..., None] / 63.75 - [3, 2, 1]), 0, 1)).round().astype(np.uint8)


# Reading: one map written in many ways.

WRITTEN = {
    "shares.npy": (SHARES, "0 to 1"),
    "double.npy": (SHARES.astype(float), "0 to 1"),
    "half.npy": (SHARES.astype(np.float16), "0 to 1"),
    "density.npy": (SHARES / SHARES.sum(), "density (sums to 1)"),
    "faint.npy": (SHARES * 1e-3, "0 to 1"),
    "counts.npy": (SHARES * 37.5, "numbers above 1"),
    "whole.npy": ((SHARES * 1e6).astype(np.int64), "numbers above 1"),
    "channel.npy": (SHARES[None], "0 to 1"),
    "packed.npz": (SHARES, "0 to 1"),
    "eight.npy": (GREY, "8 bits"),
    "eight.png": (GREY, "8 bits"),
    "eight.tif": (GREY, "8 bits"),
    "sixteen.png": ((SHARES * 65535).astype(np.uint16), "16 bits"),
    "float.tif": (SHARES, "0 to 1"),
    "rgb.png": (np.repeat(GREY[..., None], 3, axis=2), "8 bits"),
    "opaque.png": (np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)]), "8 bits"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_one_map_in_any_scale(tmp_path, name):
    values, scale = WRITTEN[name]
    path = save(tmp_path / name, values)
    assert read_raw(path).scale == scale
    maps = read_maps([path])
    assert maps.dtype == np.float32
    assert (maps.min(), maps.max()) == (0, 1)
    np.testing.assert_allclose(maps[0], SHARES, atol=1 / 255)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("scale", [*COLOUR_SCALES, "jet (OpenCV)"])
def test_coloured_maps_are_read_back(tmp_path, scale, suffix):
    coloured = colormaps[scale](SMOOTH, bytes=True)[..., :3] if scale in COLOUR_SCALES else opencv_jet(SMOOTH)
    picture = Image.fromarray(np.ascontiguousarray(coloured))
    picture.save(tmp_path / f"map.{suffix}", **({"quality": 95, "subsampling": 0} if suffix == "jpg" else {}))
    raw = read_raw(tmp_path / f"map.{suffix}")
    assert raw.scale.startswith(f"colours of {scale[:3]}")
    assert np.abs(raw.values.astype(int) - SMOOTH).mean() < (0.5 if suffix == "png" else 4)


def test_a_map_laid_over_its_photograph_is_no_map(tmp_path, photographs):
    coloured = colormaps["jet"](upsample(SMOOTH[None], 112, 112)[0], bytes=True)[..., :3]
    for number, picture in enumerate((photographs[0], (photographs[0] // 2 + coloured // 2).astype(np.uint8))):
        with pytest.raises(InputError, match=r"no known scale.*save the map itself"):
            read_raw(save(tmp_path / f"{number}.png", picture))


def test_a_palette_is_read_by_its_colours(tmp_path):
    picture = Image.fromarray(SMOOTH).convert("P")
    picture.putpalette(colormaps["viridis"](np.arange(256), bytes=True)[:, :3].tobytes())
    raw = read_raw(save(tmp_path / "map.png", picture))
    assert raw.scale == "colours of viridis"
    assert np.abs(raw.values.astype(int) - SMOOTH).max() <= 2


@pytest.mark.parametrize("kind", ["uint8.png", "one_bit.png", "bool.npy", "uint8.npy", "float.npy", "full.png"])
def test_a_mask_of_0_and_1_reaches_1(tmp_path, kind):
    mask = SHARES > 0.8
    values = {"one_bit.png": Image.fromarray(mask), "bool.npy": mask, "float.npy": mask.astype(float)}
    values = values.get(kind, mask.astype(np.uint8) * (255 if kind == "full.png" else 1))
    path = save(tmp_path / kind, values)
    assert read_raw(path).scale == "mask (two values)"
    for how in ("minmax", "max", "none"):
        maps = read_maps([path], normalise=how)
        np.testing.assert_array_equal(maps[0] / (255 if maps.dtype == np.uint8 else 1), mask)
    np.testing.assert_array_equal(read_regions([path], mask.shape)[0], mask)


# Normalisation, worked by hand.

RAW = np.array([[1.0, 2.0], [3.0, 5.0]])


@pytest.mark.parametrize(
    ("how", "expected"), [("minmax", (RAW - 1) / 4), ("max", RAW / 5), ("sum", RAW / 11), ("none", None)]
)
def test_normalisation_by_hand(tmp_path, how, expected):
    path = save(tmp_path / "map.npy", RAW)
    if expected is None:
        with pytest.raises(InputError, match=r'values from 1 to 5.*normalise="minmax", "max" or "sum"'):
            read_maps([path], normalise=how)
    else:
        np.testing.assert_allclose(read_maps([path], normalise=how)[0], expected, rtol=1e-6)


def test_min_max_is_the_default(tmp_path):
    path = save(tmp_path / "map.npy", RAW)
    np.testing.assert_array_equal(read_maps([path]), read_maps([path], normalise="minmax"))


def test_none_returns_values_as_they_are(tmp_path):
    grey, real = noise(2, 7, 5), np.random.default_rng(0).random((2, 7, 5))
    greys = [save(tmp_path / f"{number}.png", values) for number, values in enumerate(grey)]
    reals = [save(tmp_path / f"{number}.npy", values) for number, values in enumerate(real)]
    np.testing.assert_array_equal(read_maps(greys, normalise="none"), grey)
    np.testing.assert_array_equal(read_maps(reals, normalise="none"), real.astype(np.float32))
    assert read_maps(greys, normalise="none").dtype == np.uint8
    assert read_maps(reals, normalise="none").dtype == np.float32
    as_bytes = save(tmp_path / "bytes.npy", grey[0])
    np.testing.assert_array_equal(read_maps([as_bytes], normalise="none"), grey[:1])
    sixteen = save(tmp_path / "sixteen.png", np.array([[0, 65535], [6553, 1]], np.uint16))
    np.testing.assert_allclose(read_maps([sixteen], normalise="none")[0], [[0, 1], [6553 / 65535, 1 / 65535]])


def test_signed_maps_are_reduced_as_chosen(tmp_path):
    path = save(tmp_path / "map.npy", np.array([[-4.0, 0.0], [1.0, 2.0]]))
    assert read_raw(path).scale == "signed"
    with pytest.raises(InputError, match=r'values from -4 to 2, a signed map; choose signed="absolute".*"positive"'):
        read_maps([path])
    np.testing.assert_array_equal(read_maps([path], signed="absolute")[0], [[1, 0], [0.25, 0.5]])
    np.testing.assert_array_equal(read_maps([path], signed="positive")[0], [[0, 0], [0.5, 1]])


@pytest.mark.parametrize(("how", "alive"), [("minmax", False), ("max", True), ("sum", True)])
def test_constant_maps_stay_dead(tmp_path, how, alive):
    maps = read_maps([save(tmp_path / "map.npy", np.full((4, 4), 0.3))], normalise=how)
    assert dead(maps).all()
    assert np.isfinite(maps).all() == alive
    assert np.isnan(read_maps([save(tmp_path / "zero.npy", np.zeros((4, 4)))], normalise=how)).all()


@pytest.mark.parametrize(("option", "value"), [("normalise", "z-score"), ("signed", "flip")])
def test_unknown_choices_are_listed(tmp_path, option, value):
    with pytest.raises(InputError, match=f"{option} is '{value}'; choose from .*"):
        read_maps([save(tmp_path / "map.npy", RAW)], **{option: value})


# Sizes.


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_maps_shrink_by_area_means(tmp_path, suffix):
    cells = np.array([[10, 200], [40, 80]], np.uint8)
    large = cells.repeat(3, axis=0).repeat(4, axis=1)
    values = large if suffix == ".png" else large / 255
    result = read_maps([save(tmp_path / f"map{suffix}", values)], shape=(2, 2), normalise="none")[0]
    np.testing.assert_allclose(result, cells if suffix == ".png" else cells / 255, atol=1e-6)


def test_maps_are_normalised_after_they_were_resized(tmp_path):
    """Area means lower the maximum, and the reduced map would count as fainter than it is."""
    large = np.zeros((14, 14))
    large[:3, :3] = 1
    maps = read_maps([save(tmp_path / "map.npy", large)], shape=(7, 7))
    assert maps.max() == 1
    np.testing.assert_allclose(maps[0, :2, :2], [[1, 0.5], [0.5, 0.25]])


def test_a_faint_mask_keeps_its_cells(tmp_path):
    mask = np.zeros((14, 14), np.uint8)
    mask[0, 0] = 1
    maps = read_maps([save(tmp_path / "map.png", mask)], shape=(7, 7))
    assert (maps[0] > 0).sum() == 1


def test_maps_grow_by_pils_bicubic_filter_and_stay_in_range(tmp_path):
    edge = np.zeros((4, 4))
    edge[:, 2:] = 1
    result = read_maps([save(tmp_path / "map.npy", edge)], shape=(9, 9), normalise="none")
    assert result.shape == (1, 9, 9)
    assert (result.min(), result.max()) == (0, 1)
    whole = quantise(edge)
    result = read_maps([save(tmp_path / "map.png", whole)], shape=(9, 9), normalise="none")
    np.testing.assert_array_equal(result, upsample(whole[None], 9, 9))


def test_regions_are_halves_of_their_maximum(tmp_path):
    region = np.zeros((8, 8), np.uint8)
    region[2:6, 2:6] = 1
    full, empty = np.full((8, 8), 255, np.uint8), np.zeros((8, 8), np.uint8)
    files = [save(tmp_path / f"{n}.png", values) for n, values in enumerate((region, region * 255, full, empty))]
    regions = read_regions(files, (16, 16))
    np.testing.assert_array_equal(regions[0], regions[1])
    np.testing.assert_array_equal(read_regions(files[:1], (8, 8))[0], region == 1)
    assert regions[2].all()
    assert not regions[3].any()


# Human maps: the scale in which people save them changes no agreement.


@pytest.mark.parametrize("name", ["density.npy", "faint.npy", "counts.npy", "shares.npy"])
def test_the_scale_of_human_maps_changes_no_agreement(tmp_path, name):
    people = read_maps([save(tmp_path / name, WRITTEN[name][0])])
    maps = np.random.default_rng(3).random((1, 24, 20))
    expected = with_human(maps, SHARES[None])
    for variant, values in with_human(maps, people).items():
        np.testing.assert_allclose(values, expected[variant], atol=2e-3)


# Maps beside others. Files that are no maps are in tests/bad_input.


def test_maps_are_of_one_shape_and_type(tmp_path):
    small = save(tmp_path / "small.npy", np.eye(7))
    large = save(tmp_path / "large.npy", np.eye(9))
    grey = save(tmp_path / "grey.png", noise(7, 7))
    with pytest.raises(InputError, match=r"large\.npy: a map of 9x9, but .*small\.npy has 7x7; give shape="):
        read_maps([small, large])
    with pytest.raises(InputError, match=r"grey\.png: a map of type uint8.*choose normalise"):
        read_maps([small, grey], normalise="none")
    assert read_maps([small, grey]).shape == (2, 7, 7)
    with pytest.raises(InputError, match="empty"):
        read_maps([])
