"""Networks of other people: what cannot be explained is found when a network is checked, before any long work."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from e2m import explain, load_detector
from e2m.networks.answers import check_answers
from e2m.salience.engine import Explainer
from e2m.types import Detector, InputError

LAYERS = ("GradCAM", "GradCAMpp", "LayerCAM", "CAM")


class Network(nn.Module):
    """Two convolutions, pooling and a linear layer; ``before`` changes images, ``after`` makes the output."""

    def __init__(self, after=lambda z, f, self: z, before=lambda x: x, logits=2, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.body = nn.Conv2d(channels, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.spare, self.fc = nn.Conv2d(3, 8, 1), nn.Linear(8, logits)
        self.after, self.before = after, before

    def forward(self, images):
        features = self.body(self.stem(self.before(images)).relu())
        return self.after(self.fc(features.mean((2, 3))), features, self)


@dataclass
class Output:
    """What transformers return: an object with fields."""

    logits: torch.Tensor
    loss: object = None


class Pair(nn.Module):
    def forward(self, features):
        return features, features


class PairInside(Network):
    def __init__(self):
        super().__init__()
        self.pair = Pair()

    def forward(self, images):
        return self.fc(self.pair(self.body(self.stem(images)))[0].mean((2, 3)))


class TakesTwo(Network):
    def forward(self, images, masks):
        return super().forward(images * masks)


class TakesNone(Network):
    def forward(self):
        return None


class Stateful(Network):
    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) + self.calls


def fails(_):
    raise KeyError("a key of their code\nand a second line " + "x" * 5000)


def leaves(_):
    raise SystemExit(3)


def detector(model=None, **known):
    known = {"layer": "body", "head": "fc", "size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3} | known
    return Detector("mine", model or Network(), **known)


def on_meta():
    with torch.device("meta"):
        return Network()


def lazy():
    model = Network()
    model.fc = nn.LazyLinear(2)
    return model


def sparse(model):
    model.fc.weight = nn.Parameter(model.fc.weight.detach().to_sparse())
    return model


NO_LOGITS = "returns logits of shape"

CASES = {
    # input
    "other size": (
        lambda: detector(size=8, model=Network(before=lambda x: x.reshape(-1, 3, 32, 32))),
        "fails on images of 8 x",
    ),
    "fixed size": (
        lambda: detector(model=Network(before=lambda x: x + torch.zeros(3, 48, 48))),
        "fails on images of 32 x",
    ),
    "other channels": (lambda: detector(model=Network(channels=4)), "fails on images of 32 x 32 pixels .RuntimeError"),
    "one image at a time": (lambda: detector(model=Network(after=lambda z, f, s: z[:1])), r"\(1, 2\) for 3 images"),
    "one image or an error": (
        lambda: detector(model=Network(before=lambda x: x.view(1, 3, 32, 32))),
        "fails on images of 32 x 32 pixels",
    ),
    "two inputs": (lambda: detector(model=TakesTwo()), "fails on images of 32 x 32 pixels .TypeError"),
    "no input": (lambda: detector(model=TakesNone()), "fails on images of 32 x 32 pixels .TypeError"),
    "double weights inside": (lambda: detector(model=Network(before=lambda x: x.double())), "fails on .*RuntimeError"),
    "half weights inside": (lambda: detector(model=Network(before=lambda x: x.half())), "fails on .*RuntimeError"),
    "an error of their code": (
        lambda: detector(model=Network(before=fails)),
        r"fails on images .*\(KeyError: 'a key of",
    ),
    "a layer without weights yet": (lambda: detector(model=lazy(), head=None), "has weights without a shape; pass"),
    "weights that are nowhere": (
        lambda: detector(model=on_meta()),
        "no device|fails on|Cannot copy out of meta|cannot",
    ),
    # output
    "three classes": (lambda: detector(model=Network(logits=3)), rf"{NO_LOGITS} \(3, 3\) for 3 images; an image needs"),
    "1000 classes": (lambda: detector(model=Network(logits=1000)), rf"{NO_LOGITS} \(3, 1000\)"),
    "features": (lambda: detector(model=Network(after=lambda z, f, s: f)), NO_LOGITS),
    "nothing": (lambda: detector(model=Network(after=lambda z, f, s: None)), f"{NO_LOGITS} NoneType"),
    "text": (lambda: detector(model=Network(after=lambda z, f, s: "real")), f"{NO_LOGITS} str"),
    "an array": (lambda: detector(model=Network(after=lambda z, f, s: z.detach().numpy())), f"{NO_LOGITS} ndarray"),
    "class numbers": (lambda: detector(model=Network(after=lambda z, f, s: z.argmax(1))), NO_LOGITS),
    "truth values": (lambda: detector(model=Network(after=lambda z, f, s: z > 0)), NO_LOGITS),
    "complex numbers": (lambda: detector(model=Network(after=lambda z, f, s: z + 0j)), NO_LOGITS),
    "one number": (lambda: detector(model=Network(after=lambda z, f, s: z.mean())), NO_LOGITS),
    "an empty mapping": (lambda: detector(model=Network(after=lambda z, f, s: {})), NO_LOGITS),
    "itself": (lambda: detector(model=Network(after=lambda z, f, s: s)), NO_LOGITS),
    "two pairs": (
        lambda: detector(model=Network(after=lambda z, f, s: {"main": z, "second": -z})),
        "main, second could all be the logits: give the detector output=",
    ),
    "another name": (
        lambda: detector(model=Network(after=lambda z, f, s: {"main": z}), output="other"),
        "has no output 'other'; choose from main",
    ),
    # probabilities
    "one probability": (
        lambda: detector(model=Network(after=lambda z, f, s: z.sigmoid(), logits=1)),
        r"returns probabilities \(sigmoid inside\), and e2m takes logits: return what comes before it",
    ),
    "one probability a row": (
        lambda: detector(model=Network(after=lambda z, f, s: z.sigmoid().squeeze(1), logits=1)),
        r"probabilities \(sigmoid inside\)",
    ),
    "two probabilities": (
        lambda: detector(model=Network(after=lambda z, f, s: z.softmax(1))),
        r"probabilities \(softmax inside\)",
    ),
    "probabilities in a mapping": (
        lambda: detector(model=Network(after=lambda z, f, s: {"prob": z.softmax(1), "feat": f})),
        r"probabilities \(softmax inside\)",
    ),
    # the input
    "subtracts in place": (
        lambda: detector(model=Network(before=lambda x: x.sub_(0.5))),
        "writes on its input, so that",
    ),
    "divides the data in place": (
        lambda: detector(model=Network(before=lambda x: (x.data.div_(2), x)[1])),
        "writes on its input, so that a second pass would see other images; let its forward.. work on a copy",
    ),
    "writes in place, undescribed": (lambda: Network(before=lambda x: x.mul_(2)), "writes on its input, so that"),
    # the same image, another answer
    "functional dropout": (
        lambda: detector(model=Network(after=lambda z, f, s: s.fc(functional.dropout(f.mean((2, 3)), 0.5)))),
        "answers differently to the same image, by .*: dropout or random numbers are at work",
    ),
    "random numbers": (
        lambda: detector(model=Network(before=lambda x: x + torch.rand_like(x))),
        "answers differently to the same image, by .*: dropout or random numbers",
    ),
    "normalised over the batch": (
        lambda: detector(model=Network(after=lambda z, f, s: functional.batch_norm(z, None, None, training=True))),
        "fails on images|with other images beside an image: something is normalised over the batch",
    ),
    "centred over the batch": (
        lambda: detector(model=Network(after=lambda z, f, s: z - z.mean(0))),
        "with other images beside an image: something is normalised over the batch",
    ),
    "a counter": (lambda: detector(model=Stateful()), "answers differently to the same image"),
    # layers
    "no such layer": (lambda: detector(layer="absent"), "has no layer named 'absent'; its last modules are"),
    "unused layer": (lambda: detector(layer="spare"), "does not call its layer 'spare'; name one that takes part"),
    "unused guided layer": (lambda: detector(guided_layer="spare"), "does not call its guided layer 'spare'"),
    "no such call": (lambda: detector(call=1), "calls its layer 'body' 1 times; call=1 fits no call"),
    "flat layer": (lambda: detector(layer="fc"), r"layer 'fc' of 'mine.*' gives \(3, 2\); salience needs"),
    "layer of a pair": (lambda: detector(model=PairInside(), layer="pair"), "layer 'pair' of .* gives a tuple; name a"),
    "reshape that fails": (lambda: detector(reshape=fails), r"which its reshape= does not take \(KeyError"),
    "reshape to text": (lambda: detector(reshape=str), r"of which reshape= makes \(\); salience needs"),
    "reshape to rows": (lambda: detector(reshape=lambda t: t.flatten(1)), r"of which reshape= makes \(3, 512\)"),
    "head of another kind": (lambda: detector(head="body"), "head 'body' is a Conv2d; CAM needs a Linear layer"),
    "no such frozen module": (lambda: detector(frozen=("absent",)), "has no frozen module named 'absent'"),
    # the description
    "size": (lambda: detector(size=0), "size is 0; a number of pixels"),
    "size of text": (lambda: detector(size="32"), "size is 32; a number of pixels"),
    "two channels": (lambda: detector(mean=(0.5,) * 2, std=(0.5,) * 2), "one value each or three fit"),
    "deviation of 0": (lambda: detector(std=(0.0,) * 3), "numbers above 0 fit"),
    "deviation of NaN": (lambda: detector(std=(float("nan"),) * 3), "numbers above 0 fit"),
    "class 5": (lambda: detector(synthetic=5), "synthetic is 5; 0 or 1"),
    "call -1": (lambda: detector(call=-1), "call is -1; a whole number from 0"),
    "no network": (lambda: detector(model="resnet"), "model is a str; an nn.Module fits"),
    "a number": (lambda: 3, "returned int; return an e2m.types.Detector or an nn.Module"),
    "an error while building": (lambda: fails(None), r"detector 'mine:build': KeyError: 'a key of their code"),
    "an exit while building": (lambda: leaves(None), r"detector 'mine:build': SystemExit: 3"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_network_is_refused_in_one_line(folder, refused, monkeypatch, name):
    import sys
    import types

    build, words = CASES[name]
    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(build=build))
    line = refused("check", "images", "--detector", "mine:build", "--device", "cpu")
    assert line.startswith("stop: detector: ")
    assert re.search(words, line), line


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("resnet5O", "no detector named 'resnet5O'; choose from"),
        ("timm:resnet5O", "timm has no network named 'resnet5O'; similar names: resnet50"),
        ("absent_module:build", "cannot import 'absent_module'"),
        ("json:absent", "module 'json' has no attribute 'absent'"),
        ("json:decoder", "'module' object is not callable|returned module"),
        ("images", "no detector named 'images'"),
    ],
)
def test_each_name_of_a_detector_is_refused_in_one_line(folder, refused, spec, words):
    assert re.search(words, refused("check", "images", "--detector", spec, "--device", "cpu"))


# Networks that fit, in whatever way they are written


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)


PACKS = {
    "tuple": lambda z, f, s: (z, f),
    "list": lambda z, f, s: [f, z],
    "mapping": lambda z, f, s: {"cls": z, "feat": f},
    "object": lambda z, f, s: Output(z),
    "nested": lambda z, f, s: {"out": Output(z), "feat": f},
    "log probabilities": lambda z, f, s: z.log_softmax(1),
    "double precision": lambda z, f, s: z.double(),
}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("method", LAYERS[:2])
def test_any_output_that_holds_logits_fits(images, pack, method):
    known = {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    expected = explain(detector(), images, method)
    for packed in (detector(model=Network(PACKS[pack])), load_detector(Network(PACKS[pack]), **known)):
        check_answers(packed)
        result = explain(packed, images, method)
        np.testing.assert_allclose(result.scores, expected.scores, atol=1e-6)
        np.testing.assert_array_equal(result.predicted, expected.predicted)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("method", [*LAYERS, "IntegratedGradients", "occlusion"])
def test_the_callers_mode_changes_nothing(images, mode, method):
    expected = explain(detector(), images, method)
    known = detector()
    with mode():
        inside = explain(load_detector(Network(), size=32, mean=(0.5,) * 3, std=(0.5,) * 3), images, method)
        assert torch.is_grad_enabled() == (mode is torch.enable_grad)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
        with Explainer(known, (method,)) as explainer:
            opened = explainer(images)[method]
    for result in (inside, opened):
        np.testing.assert_allclose(result.maps, expected.maps, atol=1e-5)
        np.testing.assert_allclose(result.logits, expected.logits, atol=1e-5)


def test_a_network_made_in_inference_mode_is_copied(images):
    with torch.inference_mode():
        network = Network()
    result = explain(load_detector(network, size=32), images)
    np.testing.assert_allclose(result.maps, explain(load_detector(Network(), size=32), images).maps, atol=1e-5)
    assert network.fc.weight.is_inference()


@pytest.mark.parametrize("kind", ["half", "bfloat16", "double"])
def test_other_precisions_become_single_and_stay_as_they_were(images, kind):
    network = getattr(Network(), kind)()
    kinds = {weight.dtype for weight in network.parameters()}
    result = explain(load_detector(network, size=32), images)
    assert np.abs(result.logits - explain(load_detector(Network(), size=32), images).logits).max() < 0.02
    assert {weight.dtype for weight in network.parameters()} == kinds
    with pytest.raises(InputError, match="its network fails on"):  # not loaded, so not brought to single precision
        explain(Detector("mine", network, layer="body", size=32), images)


class Twice(Network):
    def forward(self, images):
        return super().forward(images) - super().forward(images.flip(3) * 0.5)


def test_a_layer_that_is_called_twice_is_explained_at_the_call_that_is_named(images):
    first, last = (explain(detector(model=Twice(), call=call), images) for call in (0, None))
    assert not np.allclose(first.maps, last.maps, equal_nan=True)
    np.testing.assert_array_equal(explain(detector(model=Twice(), call=1), images).maps, last.maps)


def state_of(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        [weight.requires_grad for weight in model.parameters()],
        [module.training for module in model.modules()],
        [len(getattr(module, kind)) for module in model.modules() for kind in kinds],
        [tensor.clone() for tensor in model.state_dict().values()],
        [sorted(module.__dict__) for module in model.modules()],
    )


def assert_same(one, other):
    assert one[:3] == other[:3]
    assert all(torch.equal(a, b) for a, b in zip(one[3], other[3], strict=True))
    assert one[4] == other[4]


class Fails(Network):
    """Fails at the nth call of one of its parts."""

    def __init__(self, part, call):
        super().__init__()
        self.left, inner = call, getattr(self, part)

        def count(*_):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("in the middle")

        inner.register_forward_pre_hook(count)


@pytest.mark.parametrize("part", ["stem", "body", "fc"])
@pytest.mark.parametrize(
    ("method", "call"),
    [*(("GradCAM", call) for call in range(3)), ("ScoreCAM", 3), ("IntegratedGradients", 3), ("occlusion", 3)],
)
def test_hooks_and_flags_are_restored_after_any_error(images, part, call, method):
    network = Fails(part, call).train()
    network.stem.eval()
    network.spare.weight.requires_grad_(False)
    before = state_of(network)
    with suppress(InputError):
        explain(detector(model=network), images, method)
    assert network.left < 0 or call == 2
    assert_same(state_of(network), before)


@pytest.mark.parametrize("call", range(0, 12, 2))
def test_describing_a_network_restores_them_too(call):
    network = Fails("body", call).train()
    before = state_of(network)
    with pytest.raises(InputError, match="in the middle") if call < 8 else suppress(InputError):
        load_detector(network, size=32)
    network.train()  # a loaded detector is in evaluation mode
    assert_same(state_of(network), before)


def test_errors_of_the_callers_own_code_restore_them_too(images):
    network = Network().train()
    before = state_of(network)

    def interrupted():
        with Explainer(detector(model=network)) as explainer:
            explainer(images)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_same(state_of(network), before)


def test_nothing_flows_through_a_network_that_cuts_its_graph(images):
    cut = Network(after=lambda z, f, s: z.detach())
    with pytest.raises(InputError, match=r"'mine': the salience method GradCAM fails on this network \(RuntimeError"):
        explain(detector(model=cut), images)
    assert not explain(detector(model=cut), images, "occlusion").dead.all()


@pytest.mark.parametrize("batches", [lambda images: images, lambda images: iter([images[:3], images[3:]])])
@pytest.mark.parametrize("shape", [(3, 32, 32), (5, 32, 32), (4, 8, 32)])
@pytest.mark.parametrize("method", ["oracle", "occlusion"])
def test_regions_belong_to_images(images, method, shape, batches):
    """One more than images, and each could belong to the image before."""
    with pytest.raises(InputError, match=r"[35] regions for 4 images|regions of shape .*; give one \(H, W\) an image"):
        explain(detector(), batches(images), method, regions=np.ones(shape, bool))


class Weightless(nn.Module):
    def forward(self, images):
        return torch.stack([images.mean((1, 2, 3)), -images.mean((1, 2, 3))], 1)


def test_a_network_without_weights_cannot_be_trained_or_masked(images, faces, tmp_path):
    from e2m.networks import masker
    from e2m.plugins import load
    from e2m.training.detector import fit
    from e2m.training.settings import Settings

    known = {"layer": "", "head": None, "size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    without = Detector("mine", Weightless(), **known)
    assert explain(without, images, "occlusion").scores.shape == (4,)
    with pytest.raises(InputError, match="'mine' has no module that returns square maps; a masker needs one"):
        masker.stages(without)
    samples, loss = faces(n=2), load("regime", "cross_entropy").loss
    about = {"regime": "cross_entropy", "run": 0, "guided": False, "progress": False}
    with pytest.raises(InputError, match="'mine' freezes all of its weights; leave some to train"):
        fit(without, samples, samples, loss, tmp_path / "a.pt", Settings(epochs=1, batch_size=4), **about)


@pytest.mark.parametrize("network", ["resnet50", None, 3])
def test_what_is_no_network_is_named(images, network):
    with pytest.raises(InputError, match=r"a network of type (str|NoneType|int); an nn.Module, or"):
        explain(network, images)


def test_answers_that_are_no_numbers_have_no_class(images):
    network = Network(after=lambda z, f, s: torch.where(torch.arange(len(z))[:, None] == 1, torch.nan, z))
    result = explain(detector(model=network), images)
    assert result.predicted[1] == result.target[1] == -1
    assert result.dead.tolist() == [False, True, False, False]
    assert np.isnan(result.scores[1])


def test_training_ends_where_validation_gives_no_numbers(faces, toy, tmp_path):
    """Class 0 of NaN would make the accuracy of a broken network the share of authentic images."""
    from e2m.plugins import load
    from e2m.training.detector import fit
    from e2m.training.settings import Settings

    samples, broken = faces(n=2), toy()
    network = broken.model
    forward = network.forward
    network.forward = lambda images: forward(images) if network.training else forward(images) * torch.nan
    about = {"regime": "cross_entropy", "run": 0, "guided": False, "progress": False}
    with pytest.raises(InputError, match="4 of 4 answers to validation images are no numbers"):
        fit(
            replace(broken, model=network),
            *(samples, samples),
            load("regime", "cross_entropy").loss,
            tmp_path / "a.pt",
            Settings(epochs=1, batch_size=4),
            **about,
        )
    assert not (tmp_path / "a.pt").exists()
