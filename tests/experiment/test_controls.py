"""The cascade of randomised layers."""

import numpy as np
import pytest
import torch

from e2m.detectors import load_detector
from e2m.experiment import controls
from e2m.networks.inputs import as_input
from e2m.salience.engine import explain


def test_layers_from_the_top():
    names = controls.weighted_layers(load_detector("demo_cnn").model)
    assert names[0] == ["classifier"]
    assert names[1:] == [[f"features.{block}.0", f"features.{block}.1"] for block in range(5, -1, -1)]


@pytest.mark.parametrize(
    ("layers", "expected"), [(1, [0, 1]), (3, [0, 1, 2, 3]), (54, [0, 1, 9, 16, 24, 31, 39, 46, 54])]
)
def test_the_first_step_is_the_head_and_the_last_is_everything(layers, expected):
    assert controls.steps(layers) == expected


def test_the_cascade(toy, photographs):
    trained, untrained = toy(seed=0), toy(seed=1)
    with torch.no_grad():
        for module in trained.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean += 0.1
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    same, head, whole = controls.cascade(trained, untrained, [0, 1, 3])
    batch = as_input(photographs, trained)
    features = [one.model.features(batch) for one in (trained, same, head, whole, untrained)]
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])
    assert torch.equal(features[3], features[4])
    assert not torch.equal(features[0], features[3])
    for name, value in untrained.model.state_dict().items():
        assert torch.equal(whole.model.state_dict()[name], value), name
        assert torch.equal(trained.model.state_dict()[name], before[name]), name
    # With the features untouched, only the weights of the sum are new.
    raw = torch.einsum("k,nkhw->nhw", untrained.model.classifier.weight[1], features[0]).detach().numpy()
    low, high = raw.min(axis=(1, 2), keepdims=True), raw.max(axis=(1, 2), keepdims=True)
    result = explain(head, photographs, "CAM", target=1)
    np.testing.assert_allclose(result.maps, (raw - low) / (high - low), atol=1e-4)
