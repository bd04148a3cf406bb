"""Localisation by hand, against slow literal versions, and on dead maps and empty regions."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from e2m.arrays.maps import quantise
from e2m.datasets import COLUMNS
from e2m.experiment.results import Experiment
from e2m.measures import localisation
from e2m.measures.localisation import (
    BETTER,
    crops,
    energy,
    enlarged,
    f1,
    localisation_error,
    official_metric,
    overlap,
    pixel_counts,
    pointing_game,
    pooled_pxap,
    predicted_boxes,
    pxap,
    saliency_metric,
    true_boxes,
    with_region,
)
from e2m.store import disk, paths
from e2m.types import LABELS, Explanation, InputError

SIDE, BILINEAR = 9, Image.Resampling.BILINEAR
STACKS = arrays(np.uint8, (3, SIDE, SIDE), elements=st.sampled_from([0, 1, 40, 200, 255]))
FLOATS = arrays(np.float64, (3, SIDE, SIDE), elements=st.floats(0, 1, width=16))
REGIONS = arrays(bool, (3, SIDE, SIDE))


def placed(*boxes, side=SIDE):
    """(1, side, side) bool, True inside each (top, left, bottom, right)."""
    region = np.zeros((1, side, side), bool)
    for top, left, bottom, right in boxes:
        region[0, top:bottom, left:right] = True
    return region


def smooth(n=6, side=24, seed=0):
    random = np.random.default_rng(seed)
    return np.stack(
        [np.asarray(Image.fromarray(random.random((4, 4))).resize((side, side), BILINEAR)) for _ in range(n)]
    )


# By hand


def test_the_box_of_the_component_of_most_mass():
    maps = np.zeros((1, 6, 6))
    maps[0, 0, 0:4] = 0.5  # mass 2.0 on four pixels
    maps[0, 3:5, 3:5] = 0.6  # mass 2.4 on four
    maps[0, 5, 5] = 1.0  # touches that by a corner only
    assert predicted_boxes(maps).tolist() == [[3, 3, 5, 5]]
    maps[0, 3, 3] = 0  # mass 1.8
    assert predicted_boxes(maps).tolist() == [[0, 0, 1, 4]]


def test_the_published_box_is_that_of_most_pixels_and_one_pixel_short():
    maps = np.zeros((1, 6, 6))
    maps[0, 0:2, 0:3] = 0.5  # mass 3.0 on six pixels
    maps[0, 3:5, 3:5] = 0.9  # mass 3.6 on four
    assert predicted_boxes(maps).tolist() == [[3, 3, 5, 5]]
    assert predicted_boxes(maps, published=True).tolist() == [[0, 0, 1, 2]]


def test_what_equals_the_mean_is_outside():
    maps = np.array([[[0.0, 0.5, 1.0]]])
    assert predicted_boxes(maps).tolist() == [[0, 2, 1, 3]]


def test_overlap():
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [4, 4, 6, 6], [0, 0, 4, 2]])
    assert overlap(np.array([0, 0, 4, 4]), boxes) == pytest.approx([1, 4 / 28, 0, 0.5])


def test_localisation_error_takes_the_best_box_and_more_than_half():
    predicted = np.array([[0, 0, 4, 4]] * 5, float)
    predicted[4] = np.nan
    boxes = [
        np.array([[8, 8, 9, 9], [0, 0, 4, 3]]),  # 12 / 16
        np.array([[0, 0, 4, 2]]),  # exactly half
        np.array([[8, 8, 9, 9]]),
        np.empty((0, 4)),
        np.array([[0, 0, 4, 4]]),
    ]
    errors = localisation_error(predicted, boxes)
    np.testing.assert_array_equal(errors, [0, 1, 1, np.nan, np.nan])
    np.testing.assert_array_equal(official_metric(errors, [True, True, False, True, True]), [0, 1, 1, np.nan, np.nan])
    assert official_metric(np.array([0.0]), [False]) == [1]


def test_f1():
    maps = np.zeros((1, 4, 4))
    maps[0, 0, :2], maps[0, 3, 3] = 1, 1
    # Inside the first box 2 of mass 3, its area is 4: precision 2/3, recall 1/2. Inside the second 1: 1/3 and 1/4.
    best, mean = f1(maps, [np.array([[0, 0, 2, 2], [2, 2, 4, 4]])])
    assert best == pytest.approx([2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2)])
    assert mean == pytest.approx([(4 / 7 + 2 / 7) / 2])


def test_f1_of_constant_maps():
    """The whole image as a mask, and nothing: baselines of the published study."""
    boxes = [np.array([[0, 0, 2, 2]])] * 3
    maps = np.stack([np.ones((4, 4)), np.zeros((4, 4)), np.full((4, 4), np.nan)])
    np.testing.assert_allclose(f1(maps, boxes)[0], [2 * 4 / (16 + 4), 0, np.nan])


def test_stretching_a_mask_changes_f1_and_pooled_pxap():
    mask, region = np.array([[[0.4, 0.5], [0.4, 0.4]], [[0.2, 0.3], [0.2, 0.2]]]), np.zeros((2, 2, 2), bool)
    region[:, 0, 1] = True
    stretched = (mask - mask.min((1, 2), keepdims=True)) / 0.1
    raw, whole = (f1(maps, true_boxes(region))[0] for maps in (mask, stretched))
    assert raw == pytest.approx([2 * 0.5 / 2.7, 2 * 0.3 / 1.9])
    assert whole == pytest.approx([1, 1])
    # Raw: one hit of one, then the hit of the second image comes after three pixels of the first.
    assert pooled_pxap(pixel_counts(mask, region).sum(0)) == pytest.approx(0.5 + 0.5 * 2 / 5)
    assert pooled_pxap(pixel_counts(stretched.round(), region).sum(0)) == 1
    assert pxap(mask, region).tolist() == pxap(stretched, region).tolist() == [1, 1]


def test_saliency_metric():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 1, 1], [np.nan] * 4])
    area, probability = saliency_metric(boxes, (10, 20), np.array([0.5, 1.0, 0.9]))
    np.testing.assert_allclose(area, [np.log(0.5), np.log(0.05), np.nan])
    np.testing.assert_allclose(probability, [np.log(0.5), 0, np.nan])
    assert np.isfinite(saliency_metric(boxes[:1], (10, 20), np.array([0.0]))).all()


def test_pxap():
    maps, regions = np.array([[[0.9, 0.6, 0.3, 0.3]]]), np.array([[[True, False, True, False]]])
    # One of one, then one of two without a new hit, then both of all four at the level they share.
    assert pxap(maps, regions) == pytest.approx([0.5 * 1 + 0.5 * 2 / 4])


def test_pooled_pxap_takes_one_level_for_all_images():
    maps, regions = np.array([[[1.0, 0.5]], [[0.4, 0.2]]]), np.array([[[True, False]], [[True, False]]])
    assert pxap(maps, regions) == pytest.approx([1, 1])
    assert pooled_pxap(pixel_counts(maps, regions).sum(0)) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert pooled_pxap(pixel_counts(maps, regions)) == pytest.approx([1, 1])
    assert np.isnan(pooled_pxap(pixel_counts(maps, ~regions & regions).sum(0)))


def test_pointing_and_energy():
    maps = np.array([[[0.1, 0.8, 0.1]], [[0.5, 0.25, 0.5]]])
    regions = np.array([[[False, True, False]], [[True, True, False]]])
    assert pointing_game(maps, regions).tolist() == [1, 0.5]
    assert energy(maps, regions) == pytest.approx([0.8, 0.6])


def test_boxes_of_a_region_with_several_parts():
    (boxes,) = true_boxes(placed((0, 0, 2, 3), (5, 5, 9, 6)))
    assert boxes.tolist() == [[0, 0, 2, 3], [5, 5, 9, 6]]


def test_a_map_that_is_the_region_is_perfect():
    region = placed((2, 3, 6, 8))
    result = with_region(region, region, correct=np.array([True]), probability=np.array([1.0]))
    area = 20 / SIDE**2
    expected = {"le": 0, "om": 0, "f1": 1, "f1a": 1, "sm": np.log(area), "sm1": np.log(area), "sm2": 0}
    expected |= {"pxap": 1, "pointing": 1, "energy": 1}
    # The published box lacks a row and a column: 12 of 20 pixels are more than half.
    expected |= {"le_published": 0, "om_published": 0}
    assert {name: value.item() for name, value in result.items()} == pytest.approx(expected)
    assert list(result) == list(BETTER)


def test_a_map_of_one_of_two_true_boxes_is_right():
    region = placed((0, 0, 3, 3), (5, 5, 9, 9))
    result = with_region(placed((0, 0, 3, 3)), region)
    assert (result["le"], result["f1"], result["pointing"], result["energy"]) == (0, 1, 1, 1)
    assert result["f1a"] == 0.5
    assert result["le_published"] == 1  # 4 of 9 pixels
    assert result["pxap"] == pytest.approx([9 / 25 + 16 / 25 * 25 / 81])


def test_crops_fill_the_image():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[:, 2:6, 2:6] = 200
    np.testing.assert_array_equal(crops(images, np.zeros((2, 4))), images)
    result = crops(images, np.array([[2, 2, 6, 6], [np.nan] * 4]))
    assert (result[0] == 200).all()
    np.testing.assert_array_equal(result[1], images[1])
    assert images[0, 0, 0, 0] == 0


# Against slow literal versions


def literal_box(salience, published=False):
    """Grow each component pixel by pixel."""
    above = {tuple(pixel) for pixel in np.argwhere(salience > salience.mean())}
    heaviest, most = None, -1
    while above:
        component, edge = set(), [above.pop()]
        while edge:
            pixel = edge.pop()
            component.add(pixel)
            for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                near = (pixel[0] + step[0], pixel[1] + step[1])
                if near in above:
                    above.remove(near)
                    edge.append(near)
        mass = len(component) if published else sum(salience[pixel] for pixel in component)
        if mass > most:
            heaviest, most = component, mass
    rows, columns = zip(*heaviest, strict=True)
    return min(rows), min(columns), max(rows) + (not published), max(columns) + (not published)


def cells(box):
    return {(row, column) for row in range(int(box[0]), int(box[2])) for column in range(int(box[1]), int(box[3]))}


def literal_f1(salience, boxes):
    scores = []
    for box in boxes:
        inside = sum(salience[pixel] for pixel in cells(box))
        precision, recall = inside / salience.sum(), inside / len(cells(box))
        scores.append(2 * precision * recall / (precision + recall) if inside else 0)
    return max(scores), sum(scores) / len(scores)


def literal_pxap(salience, region):
    total, before = 0, 0
    for level in sorted(set(salience.ravel()), reverse=True):
        hits = (region & (salience >= level)).sum()
        precision, recall = hits / (salience >= level).sum(), hits / region.sum()
        total += (recall - before) * precision
        before = recall
    return total


def literal_pooled(maps, regions):
    """Levels 0.01 apart, each pixel sorted into its level by itself; precision and recall from the top level down."""
    edges = [number * 0.01 for number in range(100)] + [1.0]
    level = np.array([max(n for n, edge in enumerate(edges) if value >= edge) for value in maps.ravel()])
    inside, total, before = regions.ravel(), 0.0, 0.0
    for lowest in range(100, -1, -1):
        if (level >= lowest).any():
            hits = (inside & (level >= lowest)).sum()
            recall = hits / inside.sum()
            total += (recall - before) * hits / (level >= lowest).sum()
            before = recall
    return total


@pytest.mark.parametrize("seed", range(4))
def test_pooled_pxap_against_a_literal_version(seed):
    maps, regions = smooth(seed=seed), smooth(seed=seed + 100) > 0.6
    value = pooled_pxap(pixel_counts(maps, regions).sum(0))
    assert value == pytest.approx(literal_pooled(maps, regions))
    assert value != pytest.approx(np.mean(pxap(maps, regions)), abs=1e-3)
    eight_bit = quantise(maps)
    assert pooled_pxap(pixel_counts(eight_bit, regions).sum(0)) == pytest.approx(
        literal_pooled(eight_bit / 255, regions)
    )


def test_levels_of_pixels():
    """Each level includes its lower end; 1 is a level of its own."""
    maps = np.array([[[0.0, 0.009], [0.01, 1.0]], [[0.5, 0.5], [0.5, 0.5]], [[0.0, 0.2], [0.4, 1.0]]])
    maps = np.concatenate([maps, np.full((1, 2, 2), np.nan)])
    regions = np.zeros((4, 2, 2), bool)
    regions[[0, 1, 3], 1] = True
    counts = pixel_counts(maps, regions)
    assert counts.shape == (4, 2, 101)
    assert [np.flatnonzero(part).tolist() for part in counts[0]] == [[0], [1, 100]]
    assert counts[0].sum(1).tolist() == [2, 2]
    assert [np.flatnonzero(part).tolist() for part in counts[1]] == [[50], [50]]
    assert pooled_pxap(counts[1]) == 0.5  # the region's share of the image
    assert (counts[2:] == 0).all()  # no region; no map


@pytest.mark.parametrize("seed", range(4))
def test_against_literal_versions(seed):
    maps, regions = smooth(seed=seed), smooth(seed=seed + 100) > 0.6
    boxes, predicted = true_boxes(regions), predicted_boxes(maps)
    published = predicted_boxes(maps, published=True)
    assert max(map(len, boxes)) > 1
    result = with_region(maps, regions)
    for n, (salience, region) in enumerate(zip(maps, regions, strict=True)):
        assert tuple(predicted[n]) == literal_box(salience)
        inside = cells(predicted[n])
        hit = any(len(inside & cells(box)) / len(inside | cells(box)) > 0.5 for box in boxes[n])
        assert result["le"][n] == (not hit)
        assert tuple(published[n]) == literal_box(salience, published=True)
        inside = cells(published[n])
        hit = any(len(inside & cells(box)) / len(inside | cells(box)) > 0.5 for box in boxes[n])
        assert result["le_published"][n] == (not hit)
        assert (result["f1"][n], result["f1a"][n]) == pytest.approx(literal_f1(salience, boxes[n]))
        assert result["pxap"][n] == pytest.approx(literal_pxap(salience, region))
        assert result["pointing"][n] == region.ravel()[salience.argmax()]
        assert result["energy"][n] == pytest.approx(salience[region].sum() / salience.sum())


@settings(max_examples=50)
@given(FLOATS, REGIONS)
def test_average_precision_with_ties(maps, regions):
    for salience, region, value in zip(maps, regions, pxap(maps, regions), strict=True):
        if np.isfinite(value):
            assert value == pytest.approx(literal_pxap(salience, region))


# Properties


@settings(max_examples=60)
@given(STACKS, REGIONS)
def test_ranges_order_and_missing(maps, regions):
    result, reverse = with_region(maps, regions), with_region(maps[::-1], regions[::-1])
    missing = (np.ptp(maps, axis=(1, 2)) == 0) | ~regions.any(axis=(1, 2))
    for name, values in result.items():
        np.testing.assert_array_equal(values, reverse[name][::-1], err_msg=name)
        assert np.isnan(values).tolist() == missing.tolist(), name
        assert ((values >= 0) & (values <= 1 + 1e-12))[~missing].all(), name


@settings(max_examples=60)
@given(STACKS)
def test_a_box_holds_the_heaviest_component(maps):
    for salience, box in zip(maps, predicted_boxes(maps), strict=True):
        if np.ptp(salience) == 0:
            assert np.isnan(box).all()
        else:
            top, left, bottom, right = box.astype(int)
            inside = salience[top:bottom, left:right] > salience.mean()
            assert inside.any(axis=0).all()
            assert inside.any(axis=1).all()


@settings(max_examples=30)
@given(STACKS, REGIONS, st.floats(0.2, 0.9), st.floats(0, 0.1))
def test_boxes_and_ranks_do_not_see_scale_and_offset(maps, regions, scale, offset):
    maps = maps / 255
    result, changed = with_region(maps, regions), with_region(maps * scale + offset, regions)
    for name in ("pxap", "pointing"):
        np.testing.assert_array_equal(result[name], changed[name], err_msg=name)


def test_eight_bit_maps_are_those_in_0_to_1():
    maps, regions = quantise(smooth()), smooth(seed=1) > 0.6
    for name, values in with_region(maps, regions).items():
        np.testing.assert_allclose(values, with_region(maps / 255, regions)[name], err_msg=name)


def test_small_maps_are_enlarged_as_8_bit_images():
    maps, regions = np.random.default_rng(0).random((3, 7, 7)), smooth(3) > 0.5
    large = np.stack(
        [np.asarray(Image.fromarray(map_).resize((24, 24), Image.Resampling.BICUBIC)) for map_ in quantise(maps)]
    )
    result, expected = with_region(maps, regions), with_region(large, regions)
    for name, values in expected.items():
        np.testing.assert_array_equal(result[name], values, err_msg=name)


# Nothing to say


def test_dead_maps_and_images_without_a_region_have_no_number():
    maps, regions = smooth(5), smooth(5, seed=1) > 0.6
    maps[0], maps[1, 0, 0], regions[2] = 0.5, np.nan, False
    small = np.random.default_rng(0).random((5, 7, 7))
    small[0], small[1, 0, 0] = 0.2, np.nan
    arguments = {"correct": np.full(5, True), "probability": np.full(5, 0.5)}
    for stack in (maps, small):
        for name, values in with_region(stack, regions, **arguments).items():
            assert np.isnan(values).tolist() == [True, True, True, False, False], name


def test_maps_that_vanish_in_eight_bits_are_dead():
    maps = np.full((1, 7, 7), 0.5)
    maps[0, 3, 3] += 1e-4
    assert (enlarged(maps, (24, 24)) == 127).all()
    assert all(np.isnan(values) for values in with_region(maps, placed((2, 2, 9, 9), side=24)).values())


def test_no_images():
    result = with_region(np.zeros((0, 7, 7)), np.zeros((0, 9, 9), bool))
    assert {name: values.shape for name, values in result.items()} == dict.fromkeys(result, (0,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"regions": np.zeros((3, 9, 9))}, r"regions are float64 of shape \(3, 9, 9\) for 3 maps; give bool"),
        ({"regions": np.zeros((2, 9, 9), bool)}, r"regions are bool of shape \(2, 9, 9\) for 3 maps"),
        ({"maps": np.full((3, 9, 9), 2.0)}, "maps hold values from 2.0 to 2.0"),
    ],
)
def test_input_that_does_not_fit(change, words):
    arguments = {"maps": smooth(3, side=9), "regions": smooth(3, side=9) > 0.5} | change
    with pytest.raises(InputError, match=words):
        with_region(**arguments)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([np.zeros((1, 4))] * 2, "true boxes of 2 images for 3 maps"),
        ([np.array([[3, 3, 3, 5]])] * 3, r"true boxes \[\[3.0, 3.0, 3.0, 5.0\]\]; give \(K, 4\)"),
        ([np.array([0, 0, 2, 2])] * 3, r"give \(K, 4\) of top, left, bottom, right"),
    ],
)
def test_boxes_that_do_not_fit(boxes, words):
    maps = smooth(3, side=9)
    with pytest.raises(InputError, match=words):
        f1(maps, boxes)
    with pytest.raises(InputError, match=words):
        localisation_error(predicted_boxes(maps), boxes)


def test_every_variant_says_which_way_is_better():
    given = {"correct": np.array([True, False]), "probability": np.array([0.5, 0.5])}
    assert list(with_region(smooth(2), smooth(2) > 0.5, **given)) == list(BETTER)
    assert localisation.LETTER == "l"


# Rows of a profile


@pytest.fixture
def written(roots):
    """A profile of one detector and two runs, whose maps lie on disk: three composites, one without a known region."""
    experiment = Experiment.load("demo", runs=2, sources=["orl", "swap"], methods=["CAM"])
    experiment = replace(experiment, detectors=["toy"], regimes=["cyborg"])
    random, rows = np.random.default_rng(0), []
    for source in experiment.sources:
        label = LABELS[source == "swap"]
        rows += [(f"{source}/{n}", "", label, source, "test", f"s{n}", "", "") for n in range(3)]
    samples = pd.DataFrame(rows, columns=[*COLUMNS, "region"])
    region = roots / "region.png"
    Image.fromarray(placed((20, 20, 60, 90), side=112)[0].astype(np.uint8) * 255).save(region)
    samples.loc[[3, 5], "region"] = str(region)
    experiment.__dict__["samples"] = samples
    for run, source in product(range(2), experiment.sources):
        maps, logits = random.random((3, 7, 7)).astype(np.float32), np.array([[0, 1], [1, 0], [0, 1]], np.float32)
        classes, of_source = logits.argmax(1), samples[samples["source"] == source]
        explanation = Explanation(maps, logits[:, 1], classes, classes, np.zeros(3, bool), logits)
        disk.write_maps(paths.maps("demo", "toy", "cyborg", run, "CAM", source), explanation, of_source, {})
    return experiment


def test_rows_of_a_profile(written):
    rows = written.rows("localisation")
    assert set(rows["source"]) == {"swap"}
    assert len(rows) == 2 * 3 * 9
    missing = rows.groupby("image")["value"].agg(lambda values: values.isna().mean())
    assert missing.to_dict() == {"swap/0": 0, "swap/1": 1, "swap/2": 0}
    maps = written.maps("toy", "cyborg", "CAM", "swap")["salience"].to_numpy()
    region = placed((20, 20, 60, 90), side=112)
    for run in range(2):
        values = rows.query("run == @run and image == 'swap/2'").set_index("variant")["value"]
        expected = with_region(maps[run, [2]], region, correct=np.array([True]))
        assert values.to_dict() == pytest.approx({name: value.item() for name, value in expected.items()})


def test_a_profile_without_regions(written):
    written.samples["region"] = ""
    with pytest.raises(InputError, match="localisation needs true regions, and no image of orl, swap"):
        written.rows("localisation")
