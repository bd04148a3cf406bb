"""Measure (l): does salience lie where the image was changed?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from e2m.arrays.maps import checked, dead, upsample
from e2m.types import Headline, InputError

TITLE = "Localisation"
LETTER = "l"
QUESTION = "Does salience lie where the image was changed?"
BLIND_SPOT = (
    "Only images whose true region is known count; a detector can decide by traces elsewhere, and a map that covers "
    "the middle of every face covers changes that lie there without reading the image."
)
BETTER = {
    "le": "lower",
    "le_published": "lower",
    "om": "lower",
    "om_published": "lower",
    "f1": "higher",
    "f1a": "higher",
    "sm": "lower",
    "sm1": "lower",
    "sm2": "higher",
    "pxap": "higher",
    "pointing": "higher",
    "energy": "higher",
}
RANGE = {name: (0, 1) for name in BETTER if not name.startswith("sm")}
PAPER_EXACT = ()
LEVELS = np.append(np.arange(0, 1, 0.01), [1.0, 2.0])
"""Ends of the levels of salience that ``pixel_counts`` counts: those of published code, and 1 by itself."""
AXIS = "agreement with the true region"
HEADLINES = (Headline("energy in the true region", "energy", forest=False),)

SMALLEST_AREA = 0.05
"""Boxes smaller than this share of the image count as if they were this large in ``saliency_metric``."""


def with_region(
    maps: np.ndarray,
    regions: np.ndarray,
    correct: np.ndarray | None = None,
    probability: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every variant of the measure: its name -> (N,) values.

    The metrics of Phang, Park and Geras 2020 (arXiv 2010.09750): localisation error, the same for right decisions only,
    F1, saliency metric, pixel average precision; also the pointing game and the energy inside the region. "f1a" is the
    mean over the true boxes, "sm1" and "sm2" are the terms of the saliency metric, and "_published" marks the metrics
    of the published box (``predicted_boxes``). "pxap" is per image; ``pooled_pxap`` is the published one. Maps of
    another size than the regions are enlarged as 8-bit images (PIL bicubic).

    Stretching a map to [0, 1] changes F1, energy and pooled PxAP, and can change which component is heaviest. A
    masker's numbers are published for masks as they are.

    Args:
        maps: (N, h, w) float in [0, 1] or uint8.
        regions: (N, H, W) bool, the true regions at the images' size; empty where none is known.
        correct: (N,) bool, whether the image is classified correctly; without it there is no ``om``.
        probability: (N,) of the true class for the image cropped to the map's box, see ``crops``; without it there is
            no ``sm``, ``sm1`` and ``sm2``.

    Returns:
        The variants of ``BETTER``; NaN for dead maps, and for images without a true region.

    Raises:
        InputError: different numbers of maps and regions, or values outside [0, 1].
    """
    maps, regions = checked(maps), _regions(regions, len(maps))
    large = enlarged(maps, regions.shape[1:])
    boxes, predicted = true_boxes(regions), predicted_boxes(large)
    best, mean = (np.where(dead(large), np.nan, values) for values in f1(large, boxes))
    values = {
        "le": localisation_error(predicted, boxes),
        "le_published": localisation_error(predicted_boxes(large, published=True), boxes),
        "f1": best,
        "f1a": mean,
        "pxap": pxap(large, regions),
        "pointing": pointing_game(large, regions),
        "energy": energy(large, regions),
    }
    if correct is not None:
        values |= {f"om{kind}": official_metric(values[f"le{kind}"], correct) for kind in ("", "_published")}
    if probability is not None:
        known = regions.any(axis=(1, 2))
        terms = saliency_metric(predicted, regions.shape[1:], probability)
        area, decided = (np.where(known, term, np.nan) for term in terms)
        values |= {"sm": area - decided, "sm1": area, "sm2": decided}
    return {name: values[name] for name in BETTER if name in values}


def enlarged(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps at the images' size, 8-bit and PIL bicubic; maps of that size are returned.

    Args:
        maps: (N, h, w) float in [0, 1] or uint8. They are not stretched, because masks count as they are: stretch
            densities to [0, 1] first, or eight bits leave little of them.
        shape: (H, W) of the images.

    Returns:
        (N, H, W); dead maps stay dead: those that were enlarged are 0 everywhere.
    """
    maps = checked(maps)
    if maps.shape[1:] == tuple(shape):
        return maps
    large = upsample(maps, *shape)
    large[dead(maps)] = 0
    return large


def predicted_boxes(maps: np.ndarray, published: bool = False) -> np.ndarray:
    """The box around the heaviest component of each map above its mean, ``m > mean(m)``.

    Pixels are connected by their sides. Mass is the sum of salience.

    Args:
        maps: (N, H, W) float in [0, 1] or uint8.
        published: the box of published code: around the component of most pixels, and without its last row and column
            (an exclusive end is set to the last pixel), so that a component one pixel wide has an empty box.

    Returns:
        (N, 4) top, left, bottom, right, in pixels, the last two exclusive; NaN for dead maps.
    """
    maps = checked(maps)
    out = np.full((len(maps), 4), np.nan)
    for row, salience, is_dead in zip(out, maps, dead(maps), strict=True):
        if not is_dead:
            # Below the maximum, because rounding can raise the mean to it.
            level = min(salience.mean(dtype=np.float64), np.nextafter(float(salience.max()), 0))
            labels, _ = ndimage.label(salience > level)
            mass = np.bincount(labels.ravel(), weights=None if published else salience.ravel())
            mass[0] = -1  # the pixels below the mean
            down, across = ndimage.find_objects(labels)[mass.argmax() - 1]
            row[:] = down.start, across.start, down.stop - published, across.stop - published
    return out


def true_boxes(regions: np.ndarray) -> list[np.ndarray]:
    """The boxes around the connected parts of each true region.

    Args:
        regions: (N, H, W) bool.

    Returns:
        N arrays (K, 4) as ``predicted_boxes``; K is 0 where there is no region.
    """
    boxes = []
    for region in np.asarray(regions, bool):
        parts = ndimage.find_objects(ndimage.label(region)[0])
        corners = [(down.start, across.start, down.stop, across.stop) for down, across in parts]
        boxes.append(np.array(corners, float).reshape(-1, 4))
    return boxes


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with each of several (K, 4): (K,) in [0, 1]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(part[..., 2:] - part[..., :2]).prod(axis=-1) for part in (box, boxes)]
    return both / (areas[0] + areas[1] - both)


def localisation_error(predicted: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """LE: 1 where the map's box overlaps none of the true boxes by more than half (IoU > 0.5), else 0.

    Args:
        predicted: (N, 4), of ``predicted_boxes``.
        boxes: N arrays (K, 4) of true boxes.

    Returns:
        (N,), whose mean is the published share; NaN where there is no box to compare.
    """
    boxes = _boxes(boxes, len(predicted))
    missed = [
        np.nan if np.isnan(box).any() or not len(true) else not (overlap(box, true) > 0.5).any()
        for box, true in zip(predicted, boxes, strict=True)
    ]
    return np.array(missed, float)


def official_metric(error: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """OM: 1 where the box is wrong or the image is classified wrongly: (N,) of LE and (N,) bool -> (N,)."""
    return np.where(np.isnan(error), np.nan, np.maximum(error, ~np.asarray(correct, bool)))


def f1(maps: np.ndarray, boxes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """F1 of the soft map as a prediction of a true box: F1 of the box where it is largest, and F1a, the boxes' mean.

    With I the salience inside the box, precision is I / sum(m) and recall I / area of the box, so that
    ``F1 = 2 I / (sum(m) + area)``.

    Args:
        maps: (N, H, W) float in [0, 1] or uint8.
        boxes: N arrays (K, 4) of true boxes.

    Returns:
        Twice (N,) in [0, 1]; NaN where there is no box or the map holds a NaN. A constant map has a value.
    """
    maps, out = checked(maps), np.full((2, len(maps)), np.nan)
    full = 255 if maps.dtype == np.uint8 else 1
    for column, salience, true in zip(out.T, maps, _boxes(boxes, len(maps)), strict=True):
        if len(true):
            mass = [
                salience[top:bottom, left:right].sum(dtype=np.float64) for top, left, bottom, right in true.astype(int)
            ]
            areas = (true[:, 2:] - true[:, :2]).prod(axis=1)
            of_boxes = 2 * np.array(mass) / (salience.sum(dtype=np.float64) + full * areas)
            column[:] = of_boxes.max(), of_boxes.mean()
    return out[0], out[1]


def saliency_metric(
    predicted: np.ndarray, shape: tuple[int, int], probability: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The terms of SM, whose difference it is: SM1, ``ln(max(area, 0.05))``, and SM2, ``ln p``.

    SM is low if a small part of the image is enough for the decision.

    After Dabkowski and Gal 2017 (arXiv 1705.07857). The original detector gives p, not one trained with the masker.

    Args:
        predicted: (N, 4), of ``predicted_boxes``.
        shape: (H, W) of the images; the area is a share of it.
        probability: (N,) of the true class for the image cropped to its box.

    Returns:
        Twice (N,), neither above 0; NaN for dead maps.
    """
    area = (predicted[:, 2:] - predicted[:, :2]).prod(axis=1) / (shape[0] * shape[1])
    smallest = np.finfo(np.float32).tiny  # a probability that single precision rounds to 0
    inside = np.where(np.isnan(area), np.nan, np.maximum(probability, smallest))
    return np.log(np.maximum(area, SMALLEST_AREA)), np.log(inside)


def pxap(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Average precision of each map's pixels as predictions of the true region.

    Over all levels of the map, from the highest down, ``sum (R_l - R_{l-1}) P_l`` with precision P and recall R of the
    pixels at or above the level (Choe et al. 2020, arXiv 2007.04178).

    Args:
        maps: (N, H, W) float in [0, 1] or uint8.
        regions: (N, H, W) bool.

    Returns:
        (N,) in [0, 1]; NaN for dead maps and where there is no region.
    """
    return _of_each(_average_precision, maps, regions)


def pixel_counts(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Number of pixels of each level of salience (``LEVELS``, lowest first), outside and inside the true region.

    Args:
        maps: (N, H, W) float in [0, 1] or uint8.
        regions: (N, H, W) bool.

    Returns:
        (N, 2, 101) int; 0 everywhere where there is no region or the map holds a NaN. A constant map counts.
    """
    maps, regions, levels = checked(maps), _regions(regions, len(maps)), len(LEVELS) - 1
    known = np.isfinite(maps).all((1, 2)) & regions.any((1, 2))
    counts = np.zeros((len(known), 2, levels), int)
    for n in np.flatnonzero(known):
        values = maps[n] / 255 if maps.dtype == np.uint8 else maps[n]
        level = np.searchsorted(LEVELS, values.ravel(), side="right") - 1
        counts[n] = np.bincount(level + levels * regions[n].ravel(), minlength=2 * levels).reshape(2, levels)
    return counts


def pooled_pxap(counts: np.ndarray) -> np.ndarray:
    """PxAP as published: the pixels of all images pooled, so that one threshold serves them all.

    ``sum (R_l - R_{l-1}) P_l`` over ``LEVELS``, from the highest down, as in the code of Choe et al. 2020
    (arXiv 2007.04178), with levels 0.01 apart as Phang, Park and Geras call it.

    Args:
        counts: (..., 2, 101), sums of ``pixel_counts`` over images, which may be weighted.

    Returns:
        (...) in [0, 1]; NaN without pixels in a true region.
    """
    outside, hits = (counts[..., part, ::-1].cumsum(-1) for part in (0, 1))
    with np.errstate(invalid="ignore"):
        # Levels above the highest pixel have no precision, and add no recall.
        precision = np.nan_to_num(hits / (hits + outside))
        return (np.diff(hits, prepend=0) * precision).sum(-1) / hits[..., -1]


def pointing_game(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Whether the most salient pixel lies in the true region; of several equal ones, the share that does.

    Zhang et al. 2018 (Excitation Backprop, arXiv 1608.00507), without their margin of 15 pixels.

    Args:
        maps: (N, H, W) float in [0, 1] or uint8.
        regions: (N, H, W) bool.

    Returns:
        (N,) in [0, 1]; NaN for dead maps and where there is no region.
    """
    return _of_each(lambda salience, region: region[salience == salience.max()].mean(), maps, regions)


def energy(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Share of the map's salience inside the true region: (N, H, W) each -> (N,) in [0, 1].

    The energy-based pointing game of Wang et al. 2020 (Score-CAM, arXiv 1910.01279). NaN for dead maps and where there
    is no region.
    """
    return _of_each(_share_inside, maps, regions)


def crops(images: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Images cropped to one box each and enlarged to their original size (PIL bicubic), for ``saliency_metric``.

    Args:
        images: (N, H, W, 3) uint8.
        predicted: (N, 4), of ``predicted_boxes``; images without a box, or with an empty one, are returned whole.
    """
    out = images.copy()
    height, width = images.shape[1:3]
    for n, box in enumerate(predicted):
        if (box[2:] > box[:2]).all():
            top, left, bottom, right = box.astype(int)
            part = Image.fromarray(images[n, top:bottom, left:right])
            out[n] = part.resize((width, height), Image.Resampling.BICUBIC)
    return out


def _average_precision(salience: np.ndarray, region: np.ndarray) -> float:
    level = salience if salience.dtype == np.uint8 else np.unique(salience, return_inverse=True)[1]
    level = level.ravel()
    hits = np.bincount(level, weights=region.ravel())[::-1].cumsum()
    precision = hits / np.bincount(level)[::-1].cumsum()
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def _share_inside(salience: np.ndarray, region: np.ndarray) -> float:
    return salience.sum(where=region, dtype=np.float64) / salience.sum(dtype=np.float64)


def _of_each(value: Callable, maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    known = _known(maps, regions)
    return np.array([value(*pair) if fits else np.nan for *pair, fits in zip(maps, regions, known, strict=True)], float)


def _known(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(N,) bool: the map is alive, and there is a region."""
    return ~dead(checked(maps)) & _regions(regions, len(maps)).any(axis=(1, 2))


def _regions(regions: np.ndarray, maps: int) -> np.ndarray:
    regions = np.asarray(regions)
    if regions.dtype != bool or regions.ndim != 3 or len(regions) != maps:
        raise InputError(
            f"regions are {regions.dtype} of shape {regions.shape} for {maps} maps; "
            "give bool (N, H, W), one for each map"
        )
    return regions


def _boxes(boxes: Sequence[np.ndarray], maps: int) -> list[np.ndarray]:
    boxes = [np.asarray(of_image, float) for of_image in boxes]
    if len(boxes) != maps:
        raise InputError(f"true boxes of {len(boxes)} images for {maps} maps; give one array (K, 4) for each map")
    for of_image in boxes:
        fits = of_image.ndim == 2 and of_image.shape[1] == 4
        if not fits or (of_image[:, 2:] <= of_image[:, :2]).any() or (of_image < 0).any():
            raise InputError(
                f"true boxes {of_image.tolist()}; give (K, 4) of top, left, bottom, right in pixels, "
                "the last two exclusive"
            )
    return boxes
