"""Published checkpoints: files of their form, made from random weights, say what the releases' own path would say."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision import transforms

from e2m import InputError, explain, load_detector
from e2m.arrays.maps import min_max


class Wrapper(nn.Module):
    """The releases' Xception lies in a wrapper and calls its head last_linear."""

    def __init__(self, network):
        super().__init__()
        self.model = network
        self.model.last_linear = self.model.fc
        del self.model.fc
        self.model.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images):
        return self.model.last_linear(self.model.global_pool(self.model.forward_features(images)))


def built(name):
    """A network as the releases build it, with random weights."""
    if name == "xception":
        return Wrapper(timm.create_model("legacy_xception", num_classes=2))
    options = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    network = getattr(torchvision.models, name)(weights=None, **options)
    # Set by torchvision together with its pretrained weights, from which the releases start: see ``pixels_of``.
    network.transform_input = name == "inception_v3"
    head = "classifier" if name == "densenet121" else "fc"
    setattr(network, head, nn.Linear(getattr(network, head).in_features, 2))
    return network


def pixels_of(images, name):
    """Images as the releases prepare them: Xception's scaled to [-1, 1], all others' by ImageNet's mean and deviation.

    Inception turns the latter back into (x - 0.5) / 0.5 itself.
    """
    half = [0.5] * 3
    values = (half, half) if name == "xception" else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*values)])
    return torch.stack([prepare(image) for image in images])


LAYERS = {"resnet50": "layer4", "densenet121": "features", "inception_v3": "Mixed_7c", "xception": "model.conv4"}


def saved(path, network):
    torch.save({"epoch": 3, "state_dict": network.state_dict(), "optimizer": {"state": {}}}, path)
    return path


@pytest.mark.parametrize("name", LAYERS)
def test_scores_and_grad_cams_are_those_of_the_network_that_was_saved(one_thread, tmp_path, name):
    torch.manual_seed(0)
    network = built(name).eval()
    detector = load_detector(name, checkpoint=saved(tmp_path / "final_model.pth", network))
    images = np.random.default_rng(0).integers(0, 256, (2, detector.size, detector.size, 3), np.uint8)
    pixels, kept = pixels_of(images, name), {}
    # Grad-CAM, written out: the gradient of the logit, averaged over cells, weighs the features; then ReLU. DenseNet's
    # last ReLU works in place, so that its features are explained after it, in the releases as here.
    layer = network.get_submodule(LAYERS[name])
    hook = layer.register_forward_hook(lambda _module, _inputs, output: kept.update(features=output))
    logits = network(pixels)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), kept["features"])
    raw = torch.einsum("nc,nchw->nhw", gradient.mean((2, 3)), kept["features"]).relu().detach().numpy()
    result = explain(detector, images, "GradCAM", target="synthetic")
    np.testing.assert_allclose(result.logits, logits.detach().numpy(), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(result.maps, min_max(raw), atol=1e-5)
    assert not result.dead.all()


def test_a_checkpoint_of_another_network_is_named(tmp_path):
    path = saved(tmp_path / "final_model.pth", built("densenet121"))
    with pytest.raises(InputError, match=r"final_model.pth: holds 0 of the 320 weights of 'resnet50'.*another network"):
        load_detector("resnet50", checkpoint=path)
    path = saved(tmp_path / "final_model.pth", torchvision.models.resnet101(num_classes=2))
    with pytest.raises(InputError, match=r"'layer3.6.conv1.weight' is no weight of 'resnet50'; .*another network"):
        load_detector("resnet50", checkpoint=path)


def test_a_head_of_three_classes_is_named(tmp_path):
    path = saved(tmp_path / "final_model.pth", torchvision.models.resnet50(num_classes=3))
    with pytest.raises(InputError, match=r"'fc.weight' has shape \(3, 2048\).*it tells 3 classes; detectors tell"):
        load_detector("resnet50", checkpoint=path)


@pytest.mark.parametrize("name", LAYERS)
def test_the_checkpoint_of_any_other_network_is_refused_in_one_line(tmp_path, name):
    other = "densenet121" if name != "densenet121" else "inception_v3"
    path = saved(tmp_path / "final_model.pth", built(other))
    with pytest.raises(InputError, match="it belongs to another network") as refused:
        load_detector(name, checkpoint=path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
