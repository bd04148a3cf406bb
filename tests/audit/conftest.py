"""Small audits: two networks of a few weights, some checkpoints, and a folder of images."""

import numpy as np
import pytest
from PIL import Image

NETWORK = '''
"""Networks of people."""

from collections import OrderedDict

import torch
from torch import nn

from e2m.types import Detector


def small(channels=8, stride=2):
    """A network of 32 px images; its maps have 8x8 cells, or 16x16 with a stride of 1."""
    features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(6, channels, 3, stride, padding=1))
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(OrderedDict(features=features, pool=pool, classifier=nn.Linear(channels, 2)))
    return Detector("small", model.eval(), layer="features", head="classifier", size=32, mean=(0, 0, 0), std=(1, 1, 1))


def fine():
    return small(stride=1)


def with_weights():
    torch.manual_seed(5)
    return small()
'''


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """A folder with the module ``people_networks``, found by every import of the session."""
    import sys

    folder = tmp_path_factory.mktemp("networks")
    (folder / "people_networks.py").write_text(NETWORK)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 12 authentic and 12 synthetic images of 32 px, which differ in brightness."""
    root = tmp_path_factory.mktemp("pictures")
    for label, bright in (("real", 0), ("fake", 90)):
        for number in range(12):
            path = root / label / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            coarse = np.random.default_rng([bright, number]).integers(0, 160, (4, 4, 3)) + bright
            image = Image.fromarray(coarse.astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
            image.save(path)
    return root


@pytest.fixture(scope="session")
def trained(networks, one_thread):
    """Writes checkpoints of the network ``small`` that tell bright images: ``trained(folder, "a", seeds)``."""
    import torch

    def write(folder, name, seeds, **changed):
        import people_networks

        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            torch.manual_seed(seed)
            model = people_networks.small(**changed).model
            with torch.no_grad():
                images = torch.rand(16, 3, 32, 32) * torch.tensor([0.6, 1.0]).repeat(8).view(16, 1, 1, 1)
                pooled = model.pool(model.features(images))
                apart = pooled[1::2].mean(0) - pooled[::2].mean(0)
                model.classifier.weight.copy_(torch.stack([-apart, apart]) * 30)
                middle = model.classifier.weight @ (pooled.mean(0))
                model.classifier.bias.copy_(-middle)
            torch.save(model.state_dict(), folder / f"{name}_{seed}.pt")
        return str(folder / f"{name}_*.pt")

    return write
