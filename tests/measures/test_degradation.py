"""Measure (e)."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from e2m.arrays.maps import upsample
from e2m.measures.degradation import REGIONS, degrade, degrade_many, perturbations, sharpness
from e2m.types import InputError

REFERENCE = np.load("tests/data/reference.npz")


def faces(side, count=2):
    """The reference faces, cut to a corner of this size."""
    return REFERENCE["images"][:count, 60 : 60 + side, 60 : 60 + side]


def truncated(channel, sigma):
    """A Gaussian filter of (H, W) 8-bit pixels whose result is cut to whole grey levels after each axis."""
    for axis in (0, 1):
        channel = gaussian_filter1d(channel.astype(float), sigma, axis).astype(np.uint8)
    return channel


def literal(image, map_, region, top):
    """The definition, one level and one channel at a time; lengths are pixels, and shorter below 224 px."""
    scale = min(1, len(image) / 224)
    smooth = truncated(map_ if region == "background" else 255 - map_, 5 * scale)
    sharp = np.around(smooth / (smooth.max() / top), 1)
    out = image.copy()
    for s in np.unique(sharp):
        sigma = 1 / top**3 * round(top - s, 1) ** 4 * scale
        if sigma > 0:
            for c in range(3):
                out[sharp == s, c] = truncated(image[..., c], sigma)[sharp == s]
    return out


@pytest.mark.parametrize("region", ["background", "salient"])
def test_published_algorithm(region):
    blurred = degrade(REFERENCE["images"], REFERENCE["maps7"], region)
    different = np.abs(blurred.astype(int) - REFERENCE[f"blurred_{region}"])
    # The reference is of a CPU with AVX-512. Without it the exp() of numpy, and so the last digit of the Gaussian's
    # weights, differs, and few pixels get the next step of blur.
    assert np.mean(different > 0) <= (0 if has_avx512() else 0.005)
    assert different.max() <= 2


def has_avx512():
    about = Path("/proc/cpuinfo")
    return about.is_file() and {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= {*about.read_text().split()}


def test_upsampling_is_the_published_one():
    assert (upsample(REFERENCE["maps7"], 224, 224) == REFERENCE["maps224"]).all()


@pytest.mark.parametrize("region", ["background", "salient"])
@pytest.mark.parametrize(("side", "top"), [(112, 10.0), (56, 3.3), (112, 20.0), (224, 10.0), (299, 10.0)])
def test_oracle(region, side, top):
    if side > 224:
        images = np.stack([Image.fromarray(image).resize((side, side)) for image in REFERENCE["images"][:2]])
    else:
        images = faces(side) if side < 224 else REFERENCE["images"][:2].copy()
    images[1] = images[1, ..., :1]  # a grey one takes a shorter way
    blurred = degrade(images, REFERENCE["maps7"][:2], region, top)
    for n, map_ in enumerate(upsample(REFERENCE["maps7"][:2], side, side)):
        assert (blurred[n] == literal(images[n], map_, region, top)).all()


@pytest.mark.parametrize(("side", "sigma"), [(112, 5), (224, 10), (299, 10)])
def test_a_step_worked_by_hand(side, sigma):
    # The left half is salient, so far from the edge its sharpness is 10 or 0.
    half, far = side // 2, side // 7
    map_ = np.zeros((1, side, side), np.uint8)
    map_[:, :, :half] = 255
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    blurred = np.stack([truncated(images[0, ..., c], sigma) for c in range(3)], axis=-1)
    background, salient = (degrade(images, map_, region)[0] for region in ("background", "salient"))
    assert (background[:, : half - far] == images[0, :, : half - far]).all()
    assert (salient[:, half + far :] == images[0, :, half + far :]).all()
    assert (background[:, half + far :] == blurred[:, half + far :]).all()
    assert (salient[:, : half - far] == blurred[:, : half - far]).all()
    assert np.abs(images[0] - blurred.astype(int)).mean() > 20


def test_reference_regions_have_exactly_the_blur_of_salient():
    maps = upsample(REFERENCE["maps7"], 56, 56)
    levels = {region: sharpness(maps, region) for region in REGIONS}
    budget = np.sort(levels["salient"].reshape(5, -1))
    for control in ("random", "centre"):
        assert (np.sort(levels[control].reshape(5, -1)) == budget).all()
        assert (levels[control] != levels["salient"]).mean() > 0.5
    centre = levels["centre"][0]
    assert centre[28, 28] == centre.min()
    assert centre[0, 0] == centre.max()
    assert (np.diff(centre[28, 28:].astype(int)) >= 0).all()


def test_random_blobs_are_smooth_and_belong_to_map_and_seed():
    maps = upsample(REFERENCE["maps7"], 112, 112)
    blobs = sharpness(maps, "random", seed=1).astype(int)
    neighbours = np.abs(np.diff(blobs, axis=2)).mean()
    strangers = np.abs(blobs - np.random.default_rng(0).permuted(blobs, axis=2)).mean()
    assert neighbours < strangers / 5
    assert (sharpness(maps[::-1], "random", seed=1)[::-1] == blobs).all()
    assert (sharpness(maps, "random", seed=2) != blobs).mean() > 0.5
    ranks = np.argsort(np.argsort(blobs.reshape(5, -1), axis=1), axis=1)
    assert np.abs(np.corrcoef(ranks)[np.triu_indices(5, 1)]).max() < 0.9


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from(REGIONS), st.floats(0.5, 12), st.sampled_from([(28, 28), (32, 24)]))
def test_alone_or_in_company(seed, region, top, shape):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, *shape, 3), np.uint8)
    maps = rng.random((3, shape[0] // 4, shape[1] // 4))
    before = images.copy()
    together = degrade(images, maps, region, top, seed)
    assert (degrade(images[::-1], maps[::-1], region, top, seed) == together[::-1]).all()
    assert (degrade(images[:1], maps[:1], region, top, seed) == together[:1]).all()
    shared = degrade_many(images, [(maps[::-1], "background"), (maps, region)], top, seed)
    assert (shared[1] == together).all()
    assert (images == before).all()
    assert (degrade(images, maps, region, 0, seed) == images).all()


def test_flat_images_lose_two_grey_levels_at_most():
    # Truncated after each axis: where the filter's weights sum to a little less than 1, a level is lost.
    images = np.full((1, 40, 40, 3), (0, 130, 255), np.uint8)
    maps = np.random.default_rng(0).random((1, 5, 5))
    for region in REGIONS:
        lost = images - degrade(images, maps, region).astype(int)
        assert lost.min() == 0
        assert lost.max() <= 2


def test_a_map_of_dark_specks_blurs_everything():
    map_ = np.zeros((1, 40, 40), np.uint8)
    map_[0, 3, 3] = 1  # smoothed away
    images = faces(40, 1)
    blurred = np.stack([truncated(images[0, ..., c], 10 * 40 / 224) for c in range(3)], axis=-1)
    assert (degrade(images, map_, "background")[0] == blurred).all()


def test_changes_equal_separate_calls():
    images = faces(56)[:2]
    maps = {"CAM": upsample(REFERENCE["maps7"][:2], 56, 56), "GradCAM": upsample(REFERENCE["maps7"][2:4], 56, 56)}
    results = list(perturbations(images, maps, (5.0, 10.0), seed=4))
    names = [(change.level, change.guide, change.region) for change in results]
    assert names == [(level, method, region) for level in ("5", "10") for method in maps for region in REGIONS]
    for change in results:
        expected = degrade(images, maps[change.guide], change.region, float(change.level), seed=4)
        assert (change.images == expected).all()


def test_changes_leave_images_with_dead_maps_alone():
    images, alive = faces(56)[:2], upsample(REFERENCE["maps7"][:2], 56, 56)
    half_dead = alive.copy()
    half_dead[0] = 7
    blurred = {
        change.guide: change.images
        for change in perturbations(images, {"CAM": alive, "GradCAM": half_dead}, (10.0,), ["salient"])
    }
    assert (blurred["GradCAM"][0] == images[0]).all()
    assert (blurred["GradCAM"][1] == blurred["CAM"][1]).all()
    assert (blurred["CAM"] != images).any(axis=(1, 2, 3)).all()


def test_dead_maps_cannot_guide():
    images = np.zeros((4, 28, 28, 3), np.uint8)
    maps = np.random.default_rng(0).random((4, 7, 7))
    maps[1], maps[2, 0, 0] = 0.5, np.nan
    with pytest.raises(InputError, match="2 of 4 maps are dead"):
        degrade(images, maps)


@pytest.mark.parametrize(
    ("images", "maps", "options", "message"),
    [
        ((2, 28, 28, 3), (2, 7, 7), {"region": "edges"}, "no region named 'edges'; choose from salient"),
        ((2, 28, 28, 3), (2, 7, 7), {"max_sigma": -1}, "max_sigma is -1"),
        ((2, 28, 28, 3), (2, 7, 7), {"max_sigma": np.nan}, "max_sigma is nan"),
        ((2, 28, 28, 3), (2, 7, 7), {"max_sigma": 1e6}, "max_sigma is 1000000.0"),
        ((2, 28, 28, 3), (1, 7, 7), {}, "one map for each image"),
        ((2, 28, 28, 3), (2, 7, 6), {}, "aspect ratio"),
        ((28, 28, 3), (2, 7, 7), {}, r"\(N, H, W, 3\)"),
        ((2, 28, 28, 3), (7, 7), {}, r"\(N, h, w\)"),
    ],
)
def test_input_that_does_not_fit(images, maps, options, message):
    with pytest.raises(InputError, match=message):
        degrade(np.zeros(images, np.uint8), np.random.default_rng(0).random(maps), **options)
    if "region" in options:
        with pytest.raises(InputError, match=message):
            list(perturbations(faces(56)[:1], {"CAM": upsample(REFERENCE["maps7"][:1], 56, 56)}, regions=("edges",)))
    if "max_sigma" in options:
        with pytest.raises(InputError, match=message):
            list(
                perturbations(faces(56)[:1], {"CAM": upsample(REFERENCE["maps7"][:1], 56, 56)}, (options["max_sigma"],))
            )
