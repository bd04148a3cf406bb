"""Grad-CAM maps beside the plain forward pass and beside the Grad-CAM of other packages."""

import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from benchmarks import literal, networks, peers
from benchmarks.images import random_images
from benchmarks.timing import apart, compared, interleave
from e2m import explain, plugins
from e2m.networks.inputs import as_input, device_of, has_bfloat16
from e2m.salience.engine import images_at_once
from e2m.types import Detector

NETWORKS = ("mobilenet_v2", "resnet50", "densenet121", "inception_v3", networks.VIT)
BATCH = 64
ONE_BY_ONE = 4  # images given to contestants that take one at a time

USUAL = "forward pass, batches whole"
HALF = "ours, bfloat16"
FORWARD = (HALF, USUAL, "forward pass", "forward pass, input ready")
AT_MOST = {("resnet50", USUAL): 0.85}
AT_LEAST = {("resnet50", "TorchCAM, batched"): 1.25}
_BEFORE = "reads the features before the network's last ReLU, TorchCAM behind it: other maps"
NOTES = {
    ("densenet121", "pytorch-grad-cam, batched"): _BEFORE,
    ("densenet121", "Captum, batched"): _BEFORE,
    USUAL: "as usually called: from 8-bit images to logits, without gradients, channels last, the batch whole",
    "forward pass": "the same in the parts that ours takes",
    "forward pass, input ready": "the network alone in these parts, on an input that is normalised already",
    "TorchCAM, batched": "TorchCAM goes back to the layer only: what it loses is the memory of the graph before it",
    "Captum, batched": "is told the class, for which the network runs once more",
    "the release's loop": "for each image builds the network, loads its weights, goes forward and all the way back",
    "the release's loop, file not in memory": "the same; the weights file leaves the system's memory before each image",
    "the release's loop, network kept": "for each image loads the weights, goes forward and all the way back",
}
SINGLY = ("TorchCAM, one by one", *(name for name in NOTES if "loop" in name))
"""Contestants that take one image at a time."""

TOGETHER = (FORWARD, ("TorchCAM, batched",), ("pytorch-grad-cam, batched",), ("Captum, batched",), SINGLY)
"""Contestants that share a process with ours; a job has a process of its own, too."""


def rows(quick: bool = False) -> Iterator[dict]:
    for network in NETWORKS:
        count, rounds = (2, 1) if quick else (networks.IMAGES[network], 3)
        for names in TOGETHER:
            yield from apart(_beside, network, names, count, rounds)


def _beside(network: str, names: Sequence[str], count: int, rounds: int) -> Iterator[dict]:
    """Our maps beside some contestants, those of which there are for the network."""
    detector = networks.load(network)
    images = random_images(count, detector.size)
    with tempfile.TemporaryDirectory() as folder:
        others = {} if names == FORWARD else _peers(detector, images, Path(folder) / "weights.pt")
        known = ours(detector, images) | others
        run = {name: known[name] for name in ("ours", *names) if name in known}
        results = {name: function() for name, function in run.items()}
        seconds = interleave(run, rounds, warm=True)
    share = {name: min(count, ONE_BY_ONE) if name in SINGLY else count for name in run}
    each = {name: taken / share[name] for name, taken in seconds.items()}
    map_seconds = each.pop("ours")
    about = {"detector": detector.name, "images": count}
    if HALF in each:
        yield from in_bfloat16(map_seconds, each.pop(HALF), each[USUAL], **about)
    for name, theirs in each.items():
        forward_pass = name in FORWARD
        yield compared(
            "maps",
            "Grad-CAM map",
            name,
            map_seconds,
            theirs,
            "cost" if forward_pass else "speed-up",
            (AT_MOST if forward_pass else AT_LEAST).get((detector.name, name)),
            value=None if forward_pass else difference(results["ours"], results[name]),
            unit="" if forward_pass else "largest difference of maps in [0, 1]",
            note=NOTES.get((detector.name, name), NOTES.get(name, "")),
            **about | {"images": share[name]},
        )


def ours(detector: Detector, images: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Maps from bytes, and forward passes without maps."""
    device = device_of(detector.model)
    ready = as_input(images, detector, device)
    half = {HALF: lambda: explain(detector, images, batch_size=BATCH, precision="bfloat16").maps}
    return {
        "ours": lambda: explain(detector, images, batch_size=BATCH).maps,
        **(half if has_bfloat16(device) else {}),
        USUAL: lambda: forward(detector, images, BATCH),
        "forward pass": lambda: forward(detector, images),
        "forward pass, input ready": lambda: forward(detector, ready),
    }


def in_bfloat16(ours: np.ndarray, half: np.ndarray, usual: np.ndarray, **about: object) -> Iterator[dict]:
    """Maps in bfloat16 beside maps and forward passes in float32, all (rounds,) seconds an image."""
    what = "Grad-CAM map in bfloat16"
    yield compared("bfloat16", what, "the same in float32", half, ours, **about)
    yield compared("bfloat16", what, "forward pass in float32", half, usual, "cost", **about)


def _peers(detector: Detector, images: np.ndarray, weights: Path) -> dict[str, Callable[[], np.ndarray]]:
    """Other packages, which get a ready input in the usual memory layout; none reads tokens unless it is told how.

    ``weights`` is written for those that load the weights.
    """
    if detector.reshape is not None:
        return {}
    torch.save(detector.model.state_dict(), weights)
    device = device_of(detector.model)
    # The usual state of a network: weights that need gradients, channels first.
    usual = copy.deepcopy(detector.model).to(memory_format=torch.contiguous_format)
    batch = as_input(images, detector, device).contiguous()
    few, singly = batch[:ONE_BY_ONE], images[:ONE_BY_ONE]

    def build() -> Detector:
        fresh = plugins.load("detector", detector.name).build()
        fresh.model.to(device)
        return fresh

    kept = build()

    def reloaded(image: np.ndarray) -> np.ndarray:
        kept.model.load_state_dict(torch.load(weights, weights_only=True))
        return literal.grad_cam(kept, image)

    def from_disk(image: np.ndarray) -> np.ndarray:
        forget(weights)
        return literal.release_map(build, weights, image)

    return {
        "TorchCAM, one by one": lambda: peers.torchcam_one_by_one(usual, detector, few),
        "TorchCAM, batched": lambda: peers.torchcam(usual, detector, batch),
        "pytorch-grad-cam, batched": lambda: peers.grad_cam(usual, detector, batch),
        "Captum, batched": lambda: peers.captum(usual, detector, batch),
        "the release's loop": lambda: np.stack([literal.release_map(build, weights, one) for one in singly]),
        "the release's loop, file not in memory": lambda: np.stack([from_disk(one) for one in singly]),
        "the release's loop, network kept": lambda: np.stack([reloaded(one) for one in singly]),
    }


def forget(path: Path) -> None:
    """Ask the system to drop a file from its memory, so that the next reader waits for the disk."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@torch.inference_mode()
def forward(detector: Detector, images: np.ndarray | torch.Tensor, at_once: int | None = None) -> np.ndarray:
    """Logits of images (N, H, W, 3) uint8, or of the detector's input (N, 3, H, W).

    ``at_once`` images go through the network together; by default as many as the engine takes, which is fastest.
    """
    device = device_of(detector.model)
    step = at_once or min(BATCH, images_at_once(detector, device))
    parts = (images[start : start + step] for start in range(0, len(images), step))
    ready = (part if torch.is_tensor(part) else as_input(part, detector, device) for part in parts)
    return torch.cat([detector.model(part).cpu() for part in ready]).numpy()


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of two stacks of maps after min-max normalisation, without dead maps.

    Theirs may be fewer, or larger than ours; then ours are enlarged bilinearly first.
    """
    ours = ours[: len(theirs)]
    if ours.shape[1:] != theirs.shape[1:]:
        ours = interpolate(torch.from_numpy(ours)[:, None], theirs.shape[1:], mode="bilinear")[:, 0].numpy()
    return float(np.nanmax(np.abs(peers.min_max(ours) - peers.min_max(theirs))))
