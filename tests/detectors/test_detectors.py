"""Every detector builds, fits its description and is reproducible; every unfitting input gets an error message."""

import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import resize

from e2m import plugins
from e2m.detectors import load_detector
from e2m.networks.checkpoints import CHECKPOINT_FORMAT, load_weights, read_checkpoint
from e2m.networks.inputs import as_input, two_logits
from e2m.types import Detector, InputError

NAMES = plugins.names("detector")
MAP_SIDES = {"demo_cnn": 7, "resnet50": 7, "densenet121": 7, "inception_v3": 8, "xception": 10}


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_fits_its_description(named_detector, name):
    detector = named_detector(name)
    assert detector.name == name
    assert not any(module.training for module in detector.model.modules())
    shapes = {}
    hooks = [
        detector.model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.update({name: output.shape})
        )
        for name in {detector.layer, detector.guided_layer or detector.layer}
    ]
    images = np.zeros((2, detector.size, detector.size, 3), np.uint8)
    with torch.no_grad():
        logits = detector.model(as_input(images, detector))
    for hook in hooks:
        hook.remove()
    assert logits.shape == (2, 2)
    side = MAP_SIDES.get(name, shapes[detector.layer][-1])
    for shape in shapes.values():
        assert shape[2:] == (side, side)
        if detector.head:
            assert shape[1] == detector.model.get_submodule(detector.head).in_features


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_weights_and_nothing_else(named_detector, name):
    state = torch.get_rng_state()
    again, other = load_detector(name).model.state_dict(), load_detector(name, seed=1).model.state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    weights = named_detector(name).model.state_dict()
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    assert not all(torch.equal(weights[key], other[key]) for key in weights)


def test_as_input_normalises_each_channel(toy):
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[0, 0, 0] = 255, 51, 0
    batch = as_input(images, toy(mean=(0.5, 0.1, 0.2), std=(0.25, 0.5, 0.1)))
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([2.0, 0.2, -2.0]))
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_as_input_resizes_and_leaves_the_images_alone(toy, random):
    images = random.integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    before = images.copy()
    detector = toy(mean=(0, 0, 0), std=(1, 1, 1))
    small = np.stack([Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR) for image in images])
    expected = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(as_input(images, detector), expected, atol=1e-6, rtol=0)
    nearly = resize(torch.from_numpy(images).permute(0, 3, 1, 2), [32, 32], antialias=True).float() / 255
    torch.testing.assert_close(expected, nearly, atol=1.01 / 255, rtol=0)
    np.testing.assert_array_equal(images, before)
    # Not contiguous, and read-only.
    turned = np.broadcast_to(images[:, ::-1], images.shape)
    torch.testing.assert_close(as_input(turned, detector), as_input(turned.copy(), detector))


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2, 8, 8, 1), np.uint8),
        ((2, 8, 8, 4), np.uint8),
        ((8, 8, 3), np.uint8),
        ((2, 3, 8, 8), np.uint8),
        ((2, 8, 8, 3), float),
    ],
)
def test_as_input_refuses_all_but_stacks_of_rgb_images(toy, shape, kind):
    with pytest.raises(
        InputError, match=re.escape(f"images of shape {shape} and type {np.dtype(kind)}; give (N, H, W, 3)")
    ):
        as_input(np.zeros(shape, kind), toy())


def test_two_logits_are_authentic_and_synthetic(toy):
    pair = torch.tensor([[1.0, 4.0]])
    assert two_logits(toy(), pair).tolist() == [[1, 4]]
    assert two_logits(toy(synthetic=0), pair).tolist() == [[4, 1]]
    single = two_logits(toy(logits=1), torch.tensor([[3.0]]))
    assert single.tolist() == [[-1.5, 1.5]]
    torch.testing.assert_close(single.softmax(1)[0, 1], torch.tensor(3.0).sigmoid())
    assert two_logits(toy(synthetic=0, logits=1), torch.tensor([[3.0]])).tolist() == [[1.5, -1.5]]
    for shape in ((2, 3), (2, 2, 2), (0, 3)):
        with pytest.raises(InputError, match=re.escape(f"'toy' returns logits of shape {shape}")):
            two_logits(toy(), torch.zeros(shape))


# Networks from elsewhere


def test_timm_networks_are_detectors():
    detector = load_detector("timm:resnet18")
    assert (detector.name, detector.layer, detector.head, detector.size) == ("timm:resnet18", "layer4", "fc", 224)
    assert detector.model.get_submodule("fc").out_features == 2
    # A normalisation lies between the pooled features and the linear layer: no CAM.
    assert load_detector("timm:test_convnext").head is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet5O", r"timm has no network named 'resnet5O'; similar names: resnet50"),
        ("timm:nonsense", "no network named 'nonsense'; similar names: none"),
        ("resnet5O", r"no detector named 'resnet5O'; choose from .*demo_cnn"),
        (
            "absent_module:build",
            r"cannot import 'absent_module' \(.*absent_module'\); is it on PYTHONPATH",
        ),
        ("elsewhere:absent", "detector 'elsewhere:absent': module 'elsewhere' has no attribute 'absent'"),
        ("elsewhere:a_number", "returned int; return an e2m.types.Detector or an nn.Module"),
        ("elsewhere:a_module", "'elsewhere:a_module' takes no images of any usual size with one or three channels"),
        ("elsewhere:wrong_layer", "has no layer named 'features'; its last modules are , body, head"),
        ("elsewhere:wrong_head", "head 'body' is a Conv2d; CAM needs a Linear layer"),
    ],
)
def test_unknown_names_are_refused(elsewhere, name, words):
    with pytest.raises(InputError, match=words):
        load_detector(name)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A module of the user on the path."""
    (tmp_path / "elsewhere.py").write_text(
        """
from collections import OrderedDict
from torch import nn
from e2m.types import Detector

def network(logits):
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(OrderedDict(body=nn.Conv2d(3, 4, 3, 4), pool=pool, head=nn.Linear(4, logits)))

def single():
    return Detector("mine", network(1), layer="body", head="head", size=32)

def reversed_pair():
    return Detector("mine", network(2), layer="body", head="head", size=32, synthetic=0)

def a_number():
    return 3

def a_module():
    return nn.Linear(2, 2)

def wrong_layer():
    network = nn.Sequential(OrderedDict(body=nn.Conv2d(3, 4, 3), head=nn.Linear(4, 2)))
    return Detector("mine", network, layer="features", size=32)

def wrong_head():
    return Detector("mine", network(2), layer="body", head="body", size=32)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "elsewhere", raising=False)


@pytest.mark.parametrize(("function", "logits", "synthetic"), [("single", 1, 1), ("reversed_pair", 2, 0)])
def test_a_users_function_is_a_detector(elsewhere, function, logits, synthetic):
    detector = load_detector(f"elsewhere:{function}", seed=3)
    assert (detector.name, detector.synthetic) == (f"elsewhere:{function}", synthetic)
    assert isinstance(detector, Detector)
    assert detector.model(as_input(np.zeros((2, 32, 32, 3), np.uint8), detector)).shape == (2, logits)
    again = load_detector(f"elsewhere:{function}", seed=3)
    assert torch.equal(detector.model.head.weight, again.model.head.weight)


# Checkpoints


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint with changed content."""

    def write(**changed):
        weights = load_detector("demo_cnn", seed=7).model.state_dict()
        torch.save(
            {"format": CHECKPOINT_FORMAT, "detector": "demo_cnn", "weights": weights, **changed}, tmp_path / "a.pt"
        )
        return tmp_path / "a.pt"

    return write


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"no device 'gpu' here \(.*\); try cpu, cuda or null"):
        load_detector("demo_cnn", device="gpu")


def test_a_checkpoint_gives_its_weights(checkpoint):
    weights = load_detector("demo_cnn", checkpoint=checkpoint()).model.state_dict()
    expected = load_detector("demo_cnn", seed=7).model.state_dict()
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"detector": "resnet50"}, r"a\.pt: a checkpoint of 'resnet50', but 'demo_cnn' was asked for"),
        ({"weights": {"fc.weight": torch.zeros(2)}}, r"a\.pt: holds 0 of the 38 weights of 'demo_cnn'"),
        ({"format": "another", "weights": nn.Linear(1, 1)}, r"a\.pt: holds a whole object \(torch.*Linear\)"),
        ({"weights": None}, r"a\.pt: its weights are of type NoneType; a mapping of names to tensors fits"),
        ({"frozen": 3}, r"a\.pt: frozen is 3; a list of modules of 'demo_cnn' fits"),
        ({"frozen": None}, r"a\.pt: frozen is None; a list"),
        ({"frozen": "features"}, r"a\.pt: frozen is 'features'; a list"),
        ({"frozen": ["nosuch"]}, r"a\.pt: frozen names 'nosuch', which is no module of 'demo_cnn'"),
        ({"frozen": [["features"]]}, r"a\.pt: frozen names \['features'\], which is no module"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(checkpoint, changed, words):
    with pytest.raises(InputError, match=words):
        load_detector("demo_cnn", checkpoint=checkpoint(**changed))


@pytest.mark.parametrize("published", [False, True])
def test_weights_that_are_no_tensors_are_refused(checkpoint, published):
    numbers = dict.fromkeys(load_detector("demo_cnn").model.state_dict(), 1)
    content = {"format": "", "state_dict": numbers, "weights": None} if published else {"weights": numbers}
    with pytest.raises(InputError, match=r"a\.pt: 'features\.0\.0\.weight' is of type int; a tensor fits"):
        load_detector("demo_cnn", checkpoint=checkpoint(**content))


def test_published_weights_under_numbers_are_refused(checkpoint):
    with pytest.raises(InputError, match=r"a\.pt: holds 0 of the 38 weights"):
        load_detector("demo_cnn", checkpoint=checkpoint(format="", weights=None, state_dict={1: torch.zeros(1)}))


@pytest.mark.parametrize("name", ["detector", "weights"])
def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path, checkpoint, name):
    content = torch.load(checkpoint())
    torch.save({key: value for key, value in content.items() if key != name}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=rf"b\.pt: has no {name}"):
        load_detector("demo_cnn", checkpoint=tmp_path / "b.pt")


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, checkpoint, random):
    with pytest.raises(InputError, match=r"absent\.pt: no checkpoint there; train one first"):
        load_weights(load_detector("demo_cnn"), tmp_path / "absent.pt")
    whole = checkpoint().read_bytes()
    contents = [b"", b"some words\n", whole[: len(whole) // 2], *(b"\x80\x02" + random.bytes(40) for _ in range(50))]
    for content in contents:
        (tmp_path / "b.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"b\.pt: not a checkpoint"):
            read_checkpoint(tmp_path / "b.pt")
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b\.pt: not a checkpoint of E2M"):
        read_checkpoint(tmp_path / "b.pt")


def test_inception_sees_what_its_weights_were_trained_on(named_detector):
    """torchvision's pretrained network turns ImageNet's normalisation into (x - 0.5) / 0.5 before its first layer."""
    from torchvision.models import inception_v3

    images = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3), np.uint8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    network = inception_v3(weights=None, transform_input=True, init_weights=False, aux_logits=False)
    expected = network._transform_input((scaled - mean) / std)
    torch.testing.assert_close(as_input(images, named_detector("inception_v3")), expected, atol=1e-5, rtol=0)
