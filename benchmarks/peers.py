"""Other packages, called as in their documentation. Functions import them, because ``.venv`` lacks some."""

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from e2m.arrays.maps import upsample
from e2m.arrays.ssim import ssim
from e2m.measures.noise import salt_and_pepper
from e2m.types import Detector, Explanation


def torchcam(model: nn.Module, detector: Detector, batch: Tensor) -> np.ndarray:
    """TorchCAM's Grad-CAM of the predicted classes, for a batch or for a single image."""
    from torchcam.methods import GradCAM

    with GradCAM(model, detector.layer, input_shape=tuple(batch.shape[1:])) as extractor:
        logits = model(batch)
        return extractor(logits.argmax(1).tolist(), logits)[0].cpu().numpy()


def torchcam_one_by_one(model: nn.Module, detector: Detector, batch: Tensor) -> np.ndarray:
    return np.concatenate([torchcam(model, detector, image[None]) for image in batch])


def grad_cam(model: nn.Module, detector: Detector, batch: Tensor) -> np.ndarray:
    """pytorch-grad-cam's maps of the predicted classes, which it enlarges to the image's size."""
    from pytorch_grad_cam import GradCAM

    with GradCAM(model=model, target_layers=[model.get_submodule(detector.layer)]) as cam:
        return cam(input_tensor=batch, targets=None)


def captum(model: nn.Module, detector: Detector, batch: Tensor) -> np.ndarray:
    """Captum's maps, not normalised. It needs the classes as input."""
    from captum.attr import LayerGradCam

    with torch.no_grad():
        classes = model(batch).argmax(1)
    cam = LayerGradCam(model, model.get_submodule(detector.layer))
    return cam.attribute(batch, target=classes, relu_attributions=True)[:, 0].detach().cpu().numpy()


def quantus_entropy(model: nn.Module, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Quantus's spatial entropy of given maps (N, H, W), in nats; the network and its images are not used."""
    import quantus

    complexity = quantus.Complexity(abs=True, normalise=True, disable_warnings=True)
    return np.asarray(complexity(model, images, np.zeros(len(images), int), a_batch=maps[:, None]))


def quantus_noise(detector: Detector, images: np.ndarray, clean: Explanation, amount: float, seed: int) -> np.ndarray:
    """SSIM of the maps of noisy images with the clean ones by Quantus's sensitivity, explaining the clean class.

    Quantus runs its loop over images, noise and maps; noise, map size and similarity are set to ours.

    Args:
        detector: its network receives pixels and normalises them.
        images: (N, H, W, 3) uint8.
        clean: of these images.
        amount, seed: of the noise.
    """
    import quantus

    count, side = images.shape[:2]

    def noisy(arr: np.ndarray, **_) -> np.ndarray:
        pixels = arr.reshape(count, 3, side, side).transpose(0, 2, 3, 1).astype(np.uint8)
        return salt_and_pepper(pixels, amount, seed).transpose(0, 3, 1, 2).reshape(arr.shape).astype(np.float32)

    def explained(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_) -> np.ndarray:
        from captum.attr import LayerGradCam

        cam = LayerGradCam(model, model.network.get_submodule(detector.layer))
        raw = cam.attribute(torch.as_tensor(inputs), target=torch.as_tensor(targets), relu_attributions=True)
        return upsample(min_max(raw[:, 0].detach().numpy()), side, side)[:, None].astype(np.float32)

    def similar(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return ssim(a.reshape(count, side, side), b.reshape(count, side, side), data_range=255)

    sensitivity = quantus.AvgSensitivity(
        nr_samples=1,
        perturb_func=noisy,
        similarity_func=similar,
        norm_numerator=lambda a: a,
        norm_denominator=lambda a: np.ones(len(a)),
        normalise=False,
        disable_warnings=True,
    )
    maps = upsample(clean.maps, side, side)[:, None].astype(np.float32)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    given = {"a_batch": maps, "explain_func": explained, "batch_size": count}
    return np.asarray(sensitivity(Pixels(detector), pixels, clean.target, **given))


def quantus_flipping(detector: Detector, images: np.ndarray, clean: Explanation) -> np.ndarray:
    """Quantus's pixel flipping: (N, 3) probabilities of the explained class. In three steps, of a forward pass each, a
    third of the channel values is replaced by the image's mean, the most salient first.

    Args:
        detector: its network receives pixels and normalises them.
        images: (N, H, W, 3) uint8.
        clean: of these images.
    """
    import quantus

    side = images.shape[1]
    flipping = quantus.PixelFlipping(
        features_in_step=side * side, perturb_baseline="mean", abs=True, disable_warnings=True
    )
    maps = np.nan_to_num(upsample(clean.maps, side, side))[:, None].astype(np.float32)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    return np.asarray(flipping(Pixels(detector), pixels, clean.target, a_batch=maps, softmax=True))


class Pixels(nn.Module):
    """A detector's network that takes pixels from 0 to 255, (n, 3, H, W). Quantus refuses one that is not evaluated."""

    def __init__(self, detector: Detector):
        super().__init__()
        self.network = detector.model
        self.register_buffer("mean", torch.tensor(detector.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(detector.std).view(1, 3, 1, 1))
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network((pixels / 255 - self.mean) / self.std)


def skimage_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """scikit-image's similarity of 8-bit maps, pair by pair."""
    return np.array([structural_similarity(one, other) for one, other in zip(a, b, strict=True)])


def min_max(maps: np.ndarray) -> np.ndarray:
    """(n, h, w) maps stretched to [0, 1] each; constant ones become NaN."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (maps - low) / (high - low)


def versions() -> str:
    """The installed versions: "captum 0.9.0, ..."."""
    from importlib.metadata import version

    names = ("captum", "grad-cam", "quantus", "scikit-image", "torchcam")
    return ", ".join(f"{name} {version(name)}" for name in names)
