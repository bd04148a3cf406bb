"""Grad-CAM maps beside the plain forward pass and beside the Grad-CAM of other packages."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from benchmarks import literal, peers
from benchmarks.images import random_images
from benchmarks.timing import compared, interleave
from e2m import explain, load_detector, plugins
from e2m.networks.inputs import as_input
from e2m.salience.engine import images_at_once
from e2m.types import Detector

IMAGES = {"demo_cnn": 256, "resnet50": 32, "densenet121": 16, "inception_v3": 16, "xception": 8}
ROUNDS = {"demo_cnn": 5, "resnet50": 5}
BATCH = 64
ONE_BY_ONE = 4  # images given to contestants that take one at a time

AT_MOST = {("resnet50", "forward pass"): 1.05, ("demo_cnn", "forward pass"): 1.15}
AT_LEAST = {("resnet50", "TorchCAM, batched"): 3.0, ("resnet50", "the release's loop"): 12.0}
_BEFORE = "reads the features before the network's last ReLU, TorchCAM behind it: other maps"
NOTES = {
    ("densenet121", "pytorch-grad-cam, batched"): _BEFORE,
    ("densenet121", "Captum, batched"): _BEFORE,
    "forward pass": "from 8-bit images to logits, without gradients, channels last, in the parts that ours takes",
    "forward pass, input ready": "the network alone, on an input that is normalised and in channels last already",
    "forward pass, batches whole": "as the first, but batches are not parted",
    "TorchCAM, batched": "TorchCAM goes back to the layer only: what it loses is the memory of the graph before it",
    "Captum, batched": "is told the class, for which the network runs once more",
    "the release's loop": "for each image builds the network, loads its weights, goes forward and all the way back",
    "the release's loop, network kept": "for each image loads the weights, goes forward and all the way back",
}


def rows(quick: bool = False) -> Iterator[dict]:
    """Random weights: the cost of a map does not depend on them."""
    for name, count in IMAGES.items():
        yield from _of_network(load_detector(name, seed=0), 2 if quick else count, 1 if quick else ROUNDS.get(name, 3))


def _of_network(detector: Detector, count: int, rounds: int) -> Iterator[dict]:
    images = random_images(count, detector.size)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pt"
        torch.save(detector.model.state_dict(), weights)
        run, share = _contestants(detector, images, weights)
        results = {name: function() for name, function in run.items()}
        seconds = interleave(run, rounds, warm=True)
    each = {name: taken / share[name] for name, taken in seconds.items()}
    ours = each.pop("ours")
    for name, theirs in each.items():
        forward = name.startswith("forward pass")
        yield compared(
            "maps",
            "Grad-CAM map",
            name,
            ours,
            theirs,
            "cost" if forward else "speed-up",
            (AT_MOST if forward else AT_LEAST).get((detector.name, name)),
            detector=detector.name,
            images=share[name],
            value=None if forward else difference(results["ours"], results[name]),
            unit="" if forward else "largest difference of maps in [0, 1]",
            note=NOTES.get((detector.name, name), NOTES.get(name, "")),
        )


def _contestants(
    detector: Detector, images: np.ndarray, weights: Path
) -> tuple[dict[str, Callable[[], np.ndarray]], dict[str, int]]:
    """The contestants, and the number of images of each. Others get a ready input; ours starts from bytes."""
    device = next(detector.model.parameters()).device
    # The usual state of a network: weights that need gradients, channels first.
    usual = copy.deepcopy(detector.model).to(memory_format=torch.contiguous_format)
    ready = as_input(images, detector, device)
    batch, few = ready.contiguous(), ready[:ONE_BY_ONE].contiguous()
    singly = images[:ONE_BY_ONE]

    def build() -> Detector:
        fresh = plugins.load("detector", detector.name).build()
        fresh.model.to(device)
        return fresh

    kept = build()

    def reloaded(image: np.ndarray) -> np.ndarray:
        kept.model.load_state_dict(torch.load(weights, weights_only=True))
        return literal.grad_cam(kept, image)

    run = {
        "ours": lambda: explain(detector, images, batch_size=BATCH).maps,
        "forward pass": lambda: forward(detector, images),
        "forward pass, input ready": lambda: forward(detector, ready),
        "forward pass, batches whole": lambda: forward(detector, images, BATCH),
        "TorchCAM, one by one": lambda: peers.torchcam_one_by_one(usual, detector, few),
        "TorchCAM, batched": lambda: peers.torchcam(usual, detector, batch),
        "pytorch-grad-cam, batched": lambda: peers.grad_cam(usual, detector, batch),
        "Captum, batched": lambda: peers.captum(usual, detector, batch),
        "the release's loop": lambda: np.stack([literal.release_map(build, weights, one) for one in singly]),
        "the release's loop, network kept": lambda: np.stack([reloaded(one) for one in singly]),
    }
    slow = ("TorchCAM, one by one", "the release's loop", "the release's loop, network kept")
    return run, {name: len(singly) if name in slow else len(images) for name in run}


@torch.inference_mode()
def forward(detector: Detector, images: np.ndarray | torch.Tensor, at_once: int | None = None) -> np.ndarray:
    """Logits of images (N, H, W, 3) uint8, or of the detector's input (N, 3, H, W).

    ``at_once`` images go through the network together; by default as many as the engine takes, which is fastest.
    """
    device = next(detector.model.parameters()).device
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
