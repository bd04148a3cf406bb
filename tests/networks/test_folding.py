"""Folding changes no answer, and leaves alone what somebody reads."""

import pytest
import torch
from torch import nn

from e2m import load_detector
from e2m.networks.folding import Folded, fold


def network(**options):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, **options), nn.ReLU(inplace=True)),
        nn.Conv2d(4, 5, 3, groups=1),
        nn.BatchNorm2d(5, **options),
        nn.AdaptiveAvgPool2d(1),
    )


def trained(model):
    """The model in evaluation mode, with statistics, scales and shifts of its own."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            with torch.no_grad():
                norm.weight.uniform_(0.5, 2)
                norm.bias.uniform_(-1, 1)
            if norm.track_running_stats:
                norm.running_mean.uniform_(-1, 1)
                norm.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture
def pixels():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_folded_convolutions_by_hand(pixels):
    """w g / sqrt(v + eps), and (b - m) g / sqrt(v + eps) + s; after the block, both modules are as they were."""
    model = trained(network())
    convolution, norm = model[1], model[2]
    hidden = torch.rand(2, 4, 9, 9)
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = convolution.weight * factor[:, None, None, None]
    bias = (convolution.bias - norm.running_mean) * factor + norm.bias
    before = convolution(hidden)
    with Folded(model), torch.no_grad():
        torch.testing.assert_close(convolution(hidden), torch.conv2d(hidden, weight, bias))
        assert norm(hidden) is hidden
    assert torch.equal(convolution(hidden), before)
    assert "forward" not in vars(convolution) | vars(norm)


def test_answers_and_gradients_stay(pixels):
    model = trained(network())
    pixels.requires_grad_()
    whole = model(pixels)
    (gradient,) = torch.autograd.grad(whole.square().sum(), pixels)
    with Folded(model):
        answer = model(pixels)
        torch.testing.assert_close(answer, whole)
        torch.testing.assert_close(torch.autograd.grad(answer.square().sum(), pixels)[0], gradient)


@pytest.mark.parametrize("why", ["a hook", "a name", "training", "no statistics"])
def test_what_is_read_or_depends_on_the_batch_is_not_folded(pixels, why):
    model = trained(network(track_running_stats=why != "no statistics"))
    seen = []
    if why == "training":
        model[2].train()
    context = Folded(model, but=["1"] if why == "a name" else ())
    if why == "a hook":  # of a method that listens to one pass
        model[1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with context:
        assert "forward" not in vars(model[1]) | vars(model[2])
        # The other pair is folded, unless its statistics are those of the batch.
        assert ("forward" in vars(model[0][0])) == (why != "no statistics")
        model(pixels)
    if why == "a hook":
        with torch.no_grad():
            torch.testing.assert_close(seen[0], model[1](model[0](pixels)))


@pytest.mark.parametrize(("name", "side"), [("mobilenet_v2", 112), ("demo_cnn", 112), ("resnet50", 64)])
def test_networks_answer_alike(one_thread, name, side):
    model = trained(load_detector(name).model)
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(pixels)
        with Folded(model):
            torch.testing.assert_close(model(pixels), whole, rtol=1e-4, atol=1e-5)


def test_a_folded_copy_leaves_the_network_alone(pixels):
    model = trained(network())
    copy = fold(model)
    assert "forward" in vars(copy[1])
    assert "forward" not in vars(model[1])
    torch.testing.assert_close(copy(pixels), model(pixels))
