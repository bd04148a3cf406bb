"""The published code, written from its description: one image, one level, one resample at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from e2m.networks.inputs import as_input
from e2m.types import Detector


def release_map(build: Callable[[], Detector], weights: Path, image: np.ndarray) -> np.ndarray:
    """Grad-CAM as in the release: build the network, load its weights, one forward and one full backward pass.

    Args:
        build: returns the detector with fresh weights.
        weights: file of the network's state.
        image: (H, W, 3) uint8.

    Returns:
        (h, w), min-max normalised, of the predicted class; NaN for a constant map.
    """
    detector = build()
    detector.model.load_state_dict(torch.load(weights, weights_only=True))
    return grad_cam(detector, image)


def grad_cam(detector: Detector, image: np.ndarray) -> np.ndarray:
    """ReLU(sum_k w_k A_k), w_k the mean over cells of d logit / d A_k (Selvaraju et al. 2017); full backward pass."""
    model, kept = detector.model.eval(), []

    def keep(_module, _inputs, output):
        # The next operation may overwrite the features, as DenseNet's ReLU does; then these are read.
        output.retain_grad()
        kept.append(output)

    hook = model.get_submodule(detector.layer).register_forward_hook(keep)
    try:
        logits = model(as_input(image[None], detector, next(model.parameters()).device).contiguous())[0]
        logits[logits.argmax()].backward()
    finally:
        hook.remove()
        model.zero_grad()
    features = kept[0]
    weights = features.grad.mean(dim=(2, 3), keepdim=True)
    salience = (weights * features).sum(dim=1)[0].relu().detach().double().cpu().numpy()
    span = np.ptp(salience)
    return (salience - salience.min()) / span if span else np.full(salience.shape, np.nan)


def blurred(image: np.ndarray, map_: np.ndarray, region: str, max_sigma: float = 10.0) -> np.ndarray:
    """Map-guided blur: the whole image is filtered for every level of sharpness, and the level's pixels are taken.

    Args:
        image: (H, W, 3) uint8.
        map_: (H, W) uint8.
        region: "salient" or "background".
        max_sigma: M, in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    scale = min(1, len(image) / 224)
    smooth = gaussian_filter(map_ if region == "background" else 255 - map_, 5 * scale)
    sharp = np.around(smooth / (smooth.max() / max_sigma), 1)
    out = np.empty_like(image)
    for level in np.unique(sharp):
        sigma = 1 / max_sigma**3 * round(max_sigma - level, 1) ** 4 * scale
        copy = np.stack([gaussian_filter(channel, sigma) for channel in image.transpose(2, 0, 1)], axis=2)
        out[sharp == level] = copy[sharp == level]
    return out


def crossed_bootstrap(values: np.ndarray, resamples: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over runs and images, both drawn with replacement, a resample at a time.

    Args:
        values: (R, N).
        resamples: how many.
    """
    random = np.random.default_rng(0)
    runs, images = values.shape
    means = [
        values[np.ix_(random.integers(0, runs, runs), random.integers(0, images, images))].mean()
        for _ in range(resamples)
    ]
    return tuple(np.quantile(means, [0.025, 0.975]))
