"""Entropy, noise and similarity beside Quantus and scikit-image."""

from collections.abc import Iterator

import numpy as np

from benchmarks import peers
from benchmarks.images import random_images, random_maps
from benchmarks.timing import compared, interleave
from e2m import explain, load_detector
from e2m.arrays.maps import quantise, upsample
from e2m.arrays.ssim import ssim
from e2m.measures.degradation import degrade
from e2m.measures.entropy import spatial_entropy
from e2m.measures.noise import salt_and_pepper
from e2m.types import Detector, Explanation

ENTROPY_SPEED_UP = 100.0
AMOUNT, SEED = 0.1, 0


def rows(quick: bool = False) -> Iterator[dict]:
    few, rounds = (4, 1) if quick else (64, 3)
    yield _entropy(few, rounds)
    for name, count in (("mobilenet_v2", 4 if quick else 32), ("resnet50", 2 if quick else 6)):
        yield from _perturbed(load_detector(name, device="cpu"), count, rounds)
    for side, count in ((7, 32 * few), (224, few)):
        yield _similarity(side, count, rounds)


def _entropy(count: int, rounds: int) -> dict:
    """Quantus reports nats; we report a share of the largest entropy."""
    given, detector = random_maps(count, 224), load_detector("demo_cnn", device="cpu")
    images = np.zeros((count, 3, 224, 224), np.float32)  # Quantus needs them but does not use them
    contestants = {
        "ours": lambda: spatial_entropy(given),
        "theirs": lambda: peers.quantus_entropy(detector.model, images, given),
    }
    apart = np.abs(contestants["ours"]() - contestants["theirs"]() / np.log(224 * 224)).max()
    seconds = interleave(contestants, rounds, warm=True)
    return compared(
        "entropy",
        "spatial entropy of a 224x224 map",
        "quantus.Complexity",
        seconds["ours"] / count,
        seconds["theirs"] / count,
        target=ENTROPY_SPEED_UP,
        images=count,
        value=float(apart),
        unit="largest difference of entropies in [0, 1]",
    )


def _perturbed(detector: Detector, count: int, rounds: int) -> Iterator[dict]:
    """Noise beside Quantus's metric with the same result; blur beside the nearest one, which has another result."""
    images = random_images(count, detector.size)
    clean = explain(detector, images)
    contestants = {
        "noise": lambda: noise_response(detector, images, clean),
        "quantus noise": lambda: peers.quantus_noise(detector, images, clean, AMOUNT, SEED),
        "blur": lambda: blur_response(detector, images, clean),
        "quantus blur": lambda: peers.quantus_flipping(detector, images, clean),
    }
    apart = np.nanmax(np.abs(contestants["noise"]() - contestants["quantus noise"]()))
    seconds = {name: taken / count for name, taken in interleave(contestants, rounds).items()}
    about = {"detector": detector.name, "images": count}
    yield compared(
        "noise",
        "similarity of a noisy image's map with the clean one",
        "quantus.AvgSensitivity",
        seconds["noise"],
        seconds["quantus noise"],
        value=float(apart),
        unit="largest difference of SSIM",
        note="clean maps given; Quantus explains with Captum, and uses our noise, enlargement and SSIM",
        **about,
    )
    yield compared(
        "blur",
        "score of an image whose salient area is blurred",
        "quantus.PixelFlipping",
        seconds["blur"],
        seconds["quantus blur"],
        note="clean maps given; the nearest metric and not the same: replaces a third after another, in three passes",
        **about,
    )


def blur_response(detector: Detector, images: np.ndarray, clean: Explanation) -> np.ndarray:
    """(N,) scores of images whose salient area is blurred."""
    return explain(detector, degrade(images, clean.maps, "salient")).scores


def noise_response(detector: Detector, images: np.ndarray, clean: Explanation) -> np.ndarray:
    """(N,) SSIM of the maps of noisy images with the clean ones, of the clean class."""
    noisy = explain(detector, salt_and_pepper(images, AMOUNT, SEED), target=clean.target)
    side = images.shape[1]
    similar = ssim(upsample(clean.maps, side, side), upsample(noisy.maps, side, side), data_range=255)
    return np.where(clean.dead | noisy.dead, np.nan, similar)


def _similarity(side: int, count: int, rounds: int) -> dict:
    a, b = quantise(random_maps(count, side)), quantise(random_maps(count, side, seed=1))
    contestants = {"ours": lambda: ssim(a, b, data_range=255), "theirs": lambda: peers.skimage_ssim(a, b)}
    apart = np.abs(contestants["ours"]() - contestants["theirs"]()).max()
    seconds = interleave(contestants, rounds, warm=True)
    return compared(
        "similarity",
        f"SSIM of two {side}x{side} maps",
        "scikit-image",
        seconds["ours"] / count,
        seconds["theirs"] / count,
        images=count,
        value=float(apart),
        unit="largest difference of SSIM",
    )
