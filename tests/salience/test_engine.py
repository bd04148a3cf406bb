"""Maps and scores against TorchCAM called one image at a time, against twins of the same network, and on networks that
give nothing to see."""

import numpy as np
import pandas as pd
import pytest
import torch
import torchcam.methods
from scipy.ndimage import gaussian_filter
from torch import nn

from e2m import plugins
from e2m.arrays import ssim
from e2m.arrays.maps import quantise, upsample
from e2m.networks import inputs, layers
from e2m.networks.inputs import as_input, has_bfloat16
from e2m.salience import engine
from e2m.salience.engine import Explainer, explain
from e2m.salience.respond import respond
from e2m.types import LABELS, Detector, Explanation, InputError, Perturbation

TORCHCAM = plugins.load("method", "GradCAM").NAMES
METHODS = [name for name in plugins.names("method") if name not in ("masker", "oracle")]
"""All that need nothing beside a network; a new method is tested by being there."""


@pytest.fixture(scope="module")
def pictures():
    """n images of random noise and of something as smooth as a photograph, in turn: ``pictures(4, 112)``."""

    def make(n, side):
        random = np.random.default_rng(side)
        rough = random.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
        smooth = gaussian_filter(random.random((n, side, side, 3)), (0, side / 12, side / 12, 0))
        smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
        return np.where(np.arange(n)[:, None, None, None] % 2, smooth, rough).astype(np.uint8)

    return make


def same(one: Explanation, other: Explanation, tolerance=1e-5):
    for name in ("predicted", "target", "dead"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("maps", "scores", "logits"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=tolerance, err_msg=name)


def one_at_a_time(detector, images, method, classes):
    """TorchCAM as its documentation uses it: (N, h, w), min-max normalised."""
    maps = []
    for image, number in zip(images, classes, strict=True):
        head = {"fc_layer": detector.head} if method == "CAM" else {}
        # CAM is that of the layer whose means the head reads: for Xception, the ReLU behind the convolution.
        layer = layers.pooled(detector) if method == "CAM" else detector.layer
        with getattr(torchcam.methods, method)(detector.model, layer, **head) as extractor:
            logits = detector.model(as_input(image[None], detector))
            raw = extractor(int(number), logits, normalized=False)[0][0].double().numpy()
        span = raw.max() - raw.min()
        maps.append((raw - raw.min()) / span if span else np.full(raw.shape, np.nan))
    return np.stack(maps)


@pytest.mark.parametrize("method", ["GradCAM", "CAM"])
@pytest.mark.parametrize("name", plugins.names("detector"))
def test_maps_are_those_of_torchcam(named_detector, pictures, name, method):
    detector = named_detector(name)
    images, classes = pictures(2, detector.size)[[0, 1, 0]], np.array([0, 1, 1])
    expected = one_at_a_time(detector, images, method, classes)
    result = explain(detector, images, method, classes)
    assert not result.dead.all()
    np.testing.assert_allclose(result.maps, expected, rtol=0, atol=1e-5)
    changed = int((quantise(result.maps) != quantise(expected)).sum())
    assert changed <= 0.01 * expected.size, f"{changed} grey levels differ"


@pytest.mark.parametrize("method", TORCHCAM)
def test_every_method_gives_normalised_maps(named_detector, pictures, method):
    n = 1 if method == "ISCAM" else 3  # 1,920 forward passes an image
    result = explain(named_detector("demo_cnn"), pictures(3, 112)[-n:], method)
    assert result.maps.shape == (n, 7, 7)
    assert result.maps.dtype == np.float32
    assert not result.dead.all()
    for salience, dead in zip(result.maps, result.dead, strict=True):
        np.testing.assert_array_equal([salience.min(), salience.max()], [np.nan, np.nan] if dead else [0, 1])


def test_scores_are_the_softmax_of_the_networks_logits(toy, pictures):
    detector, images = toy(), pictures(5, 32)
    with torch.no_grad():
        logits = detector.model(as_input(images, detector)).numpy().astype(float)
    result = explain(detector, images)
    np.testing.assert_allclose(result.logits, logits, atol=1e-6)
    np.testing.assert_allclose(result.scores, np.exp(logits[:, 1]) / np.exp(logits).sum(1), atol=1e-6)
    np.testing.assert_array_equal(result.predicted, logits.argmax(1))


@pytest.mark.parametrize("method", METHODS)
def test_maps_and_scores_do_not_depend_on_the_batches(toy, pictures, method):
    detector, images = toy(), pictures(7, 40)
    whole = explain(detector, images, method)
    for batch_size in (1, 3):
        same(explain(detector, images, method, batch_size=batch_size), whole)
    same(explain(detector, iter([images[:2], images[2:3], images[3:]]), method, batch_size=3), whole)
    same(explain(detector, images, method), whole, 0)


@pytest.mark.parametrize("method", ["CAM", "GradCAM"])
def test_parts_that_go_through_the_network_together_do_not_show(toy, pictures, monkeypatch, method):
    detector, images, targets = toy(), pictures(7, 32), np.array([0, 1, 1, 0, 1, 0, 0])
    with Explainer(detector, (method,)) as explainer:
        whole = explainer.several(images, ("predicted", targets, 1))
    sizes = []
    detector.model.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr(engine, "_AT_ONCE", {detector.model: 3})
    with Explainer(detector, (method,)) as explainer:
        parts = explainer.several(images, ("predicted", targets, 1))
        with pytest.raises(InputError, match="6 targets for 7 images"):
            explainer(images, targets[:6])
    assert sizes == [3, 3, 1]
    for key, result in parts.items():
        same(result, whole[key])


def test_so_many_images_go_together_that_no_output_is_a_large_block(toy):
    detector = toy()
    assert engine.images_at_once(detector, torch.device("cuda")) > 1e9
    one = torch.zeros(1, 3, 32, 32)
    largest = max(part(one).nbytes for part in (nn.Sequential(*detector.model.features[:1]), detector.model.features))
    assert engine.images_at_once(detector, torch.device("cpu")) == engine._BLOCK // largest
    assert not any(module._forward_hooks for module in detector.model.modules())


def test_bfloat16_is_off_by_default_and_changes_little(toy, pictures):
    detector, images = toy(), pictures(4, 32)
    if not has_bfloat16(torch.device("cpu")):
        pytest.skip("this processor has no bfloat16")
    single, half = explain(detector, images), explain(detector, images, precision="bfloat16")
    assert half.maps.dtype == half.logits.dtype == np.float32
    assert 1e-5 < np.nanmax(np.abs(single.maps - half.maps)) < 0.1
    assert 0 < np.abs(single.logits - half.logits).max() < 0.05
    same(explain(detector, images), single, 0)


@pytest.mark.parametrize("precision", ["bfloat16", "bf16", True])
def test_a_precision_that_the_device_lacks_is_refused(toy, pictures, monkeypatch, precision):
    monkeypatch.setattr(inputs, "has_bfloat16", lambda device: False)
    with pytest.raises(InputError, match=rf"precision: '?{precision}'? arrived.*float32") as refused:
        explain(toy(), pictures(1, 32), precision=precision)
    assert ("'cpu'" in str(refused.value)) == (precision == "bfloat16")


def test_a_gpu_that_only_emulates_bfloat16_has_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bfloat16(torch.device("cuda"))


def test_targets_follow_their_images_through_the_batches(toy, pictures):
    detector, images, targets = toy(), pictures(5, 32), [1, 0, 0, 1, 0]
    whole = explain(detector, images, target=targets)
    same(explain(detector, images, target=targets, batch_size=2), whole)
    same(explain(detector, iter([images[:1], images[1:]]), target=targets, batch_size=3), whole)


@pytest.mark.parametrize("method", ["CAM", "GradCAM"])
def test_the_scale_of_the_logits_does_not_show(toy, pictures, method):
    detector, faint, images = toy(), toy(), pictures(4, 32)
    with torch.no_grad():
        faint.model.classifier.weight.mul_(1e-9)
    result = [explain(one, images, method, "synthetic").maps for one in (detector, faint)]
    np.testing.assert_allclose(*result, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", [METHODS, METHODS[::-1]])
def test_methods_and_targets_share_a_pass_without_disturbing_each_other(toy, pictures, order):
    detector, images = toy(), pictures(4, 32)
    mixed = np.array([1, 0, 0, 1])
    with Explainer(detector, order) as explainer:
        for _ in range(2):
            result = explainer.several(images, ("predicted", mixed, "synthetic"))
    for (method, position), one in result.items():
        same(one, explain(detector, images, method, ("predicted", mixed, "synthetic")[position]), 1e-6)
    assert set(result) == {(method, position) for method in METHODS for position in range(3)}


def test_targets_name_the_class_that_is_explained(toy, pictures):
    detector, images = toy(), pictures(4, 32)
    labels = ["synthetic", "authentic", "authentic", "synthetic"]
    result = {name: explain(detector, images, target=name, labels=labels) for name in ("predicted", "label", *LABELS)}
    assert result["predicted"].target.tolist() == result["predicted"].predicted.tolist()
    assert result["label"].target.tolist() == [1, 0, 0, 1]
    assert [result[name].target.tolist() for name in LABELS] == [[0] * 4, [1] * 4]
    for other, name in ((0, "authentic"), (1, "synthetic"), ([1, 0, 0, 1], "label"), (torch.ones(4), "synthetic")):
        same(explain(detector, images, target=other), result[name], 0)
    assert not np.allclose(result["authentic"].maps, result["synthetic"].maps, equal_nan=True)
    mixed = np.where([[[True]], [[False]], [[False]], [[True]]], result["synthetic"].maps, result["authentic"].maps)
    np.testing.assert_allclose(result["label"].maps, mixed, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "SSCAM"}, "no method named 'SSCAM'; choose from CAM, GradCAM, "),
        ({"target": "fake"}, "no target named 'fake'; choose from predicted, label, authentic, synthetic"),
        ({"target": "label"}, "give labels= too"),
        ({"target": "label", "labels": ["real"] * 4}, r"labels \['real'\] are neither of"),
        ({"target": "label", "labels": ["synthetic"] * 3}, "3 targets for 4 images"),
        ({"target": [0, 1, 1]}, "3 targets for 4 images; give one an image"),
        ({"target": [0, 1, 1, 0, 1]}, "5 targets for 4 images"),
        ({"target": 2}, "0 authentic or 1 synthetic"),
        ({"target": [[0, 1, 1, 0]]}, r"one or \(N,\); got shape \(1, 4\)"),
        ({"batch_size": 0}, "batch_size is 0; give a whole number from 1 up"),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8)}, "no images to explain"),
        ({"images": np.zeros((4, 32, 32), np.uint8)}, r"give \(N, H, W, 3\) uint8"),
    ],
)
def test_what_does_not_fit_is_said_before_the_network_runs(toy, pictures, arguments, words):
    detector, calls = toy(), []
    detector.model.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(InputError, match=words):
        explain(detector, **{"images": pictures(4, 32), **arguments})
    assert calls == []


@pytest.mark.parametrize("targets", [[0, 1, 1], [0, 1, 1, 0, 1]])
def test_targets_of_an_iterable_are_counted_too(toy, pictures, targets):
    images = pictures(4, 32)
    with pytest.raises(InputError, match="targets for"):
        explain(toy(), iter([images[:2], images[2:]]), target=targets)


def test_an_explainer_takes_the_same_targets(toy, pictures):
    detector, images = toy(), pictures(4, 32)
    with Explainer(detector) as explainer:
        assert explainer(images, "synthetic")["GradCAM"].target.tolist() == [1] * 4
        with pytest.raises(InputError, match="no target named 'fake'"):
            explainer(images, "fake")
        with pytest.raises(InputError, match="2 targets for 4 images"):
            explainer(images, [0, 1])


def test_cam_needs_a_head_and_salience_a_convolution(toy, pictures):
    with pytest.raises(InputError, match="'toy' names no head; use GradCAM"):
        explain(toy(head=None), pictures(1, 32), "CAM")
    assert explain(toy(head=None), pictures(1, 32), "GradCAM").maps.shape == (1, 8, 8)
    with pytest.raises(InputError, match=r"layer 'classifier' of 'toy' gives \(1, 2\); salience needs"):
        explain(toy(layer="classifier"), pictures(1, 32))


def test_a_detector_made_by_hand_is_checked(toy):
    with pytest.raises(InputError, match="'toy' has no layer named 'absent'; its last modules are"):
        Explainer(toy(layer="absent"))
    with pytest.raises(InputError, match="head 'features' is a Sequential; CAM needs a Linear layer"):
        Explainer(toy(head="features"))


# Twins: networks that say the same in another form


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_logits_changes_nothing(toy, pictures, method):
    detector, twin, images = toy(), toy(synthetic=0), pictures(4, 32)
    with torch.no_grad():
        for tensor in twin.model.classifier.parameters():
            tensor.copy_(tensor.flip(0))
    for target in ("predicted", "synthetic", [0, 1, 1, 0]):
        same(explain(twin, images, method, target), explain(detector, images, method, target), 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_one_logit_counts_as_half_for_and_half_against(toy, pictures, method):
    single, pair, images = toy(logits=1), toy(), pictures(4, 32)
    with torch.no_grad():
        for name, tensor in single.model.classifier.named_parameters():
            getattr(pair.model.classifier, name).copy_(torch.cat([-tensor, tensor]) / 2)
        logits = single.model(as_input(images, single))[:, 0]
    pair.model.features.load_state_dict(single.model.features.state_dict())
    for target in LABELS:
        result = explain(single, images, method, target)
        np.testing.assert_allclose(result.scores, logits.sigmoid(), atol=1e-6)
        same(result, explain(pair, images, method, target))


# Dead maps


def test_a_network_of_nans_gives_dead_maps(toy, pictures):
    detector = toy()
    nn.init.constant_(detector.model.features[0].weight, float("nan"))
    for method in METHODS:
        result = explain(detector, pictures(3, 32), method)
        assert result.dead.all()
        assert np.isnan(result.maps).all()
        assert np.isnan(result.scores).all()


@pytest.mark.parametrize("method", ["CAM", "GradCAM"])
def test_a_map_of_a_score_that_is_no_number_is_dead(toy, pictures, method):
    detector = toy()
    nn.init.constant_(detector.model.classifier.bias, float("nan"))
    assert explain(detector, pictures(2, 32), method, "synthetic").dead.all()


@pytest.mark.parametrize("method", ["CAM", "GradCAM", "LayerCAM"])
@pytest.mark.parametrize("value", [0.0, float("inf")])
@pytest.mark.filterwarnings("error")
def test_constant_and_infinite_maps_are_dead(toy, pictures, method, value):
    detector = toy()
    nn.init.constant_(detector.model.classifier.weight, value)
    result = explain(detector, pictures(3, 32), method)
    assert result.dead.all()
    assert np.isnan(result.maps).all()
    assert np.isfinite(result.scores).all() == (value == 0)


@pytest.fixture
def blind(toy):
    """A detector to which a black image is as good as no image."""
    detector = toy(mean=(0, 0, 0))
    nn.init.zeros_(detector.model.features[3].bias)
    return detector


def test_one_dead_map_leaves_the_others_alone(blind, pictures):
    images = pictures(4, 32)
    images[2] = 0
    result = explain(blind, images, "CAM")
    assert result.dead.tolist() == [False, False, True, False]
    same(result[np.array([0, 1, 3])], explain(blind, images[[0, 1, 3]], "CAM"))


# The network afterwards


def state_of(model):
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        [weight.requires_grad for weight in model.parameters()],
        [module.training for module in model.modules()],
        [len(getattr(module, kind)) for module in model.modules() for kind in hooks],
    )


@pytest.mark.parametrize("failing", [None, "in the body", "in the layer", "before the network"])
def test_the_network_is_as_it_was(toy, pictures, failing):
    detector = toy(layer="classifier" if failing == "in the layer" else "features")
    detector.model.train()
    detector.model.features[1].eval()
    detector.model.features[0].weight.requires_grad_(False)
    before = state_of(detector.model)
    weights = {name: tensor.clone() for name, tensor in detector.model.state_dict().items()}
    images = np.zeros((1, 8, 8), np.uint8) if failing == "before the network" else pictures(2, 32)
    try:
        with Explainer(detector, METHODS) as explainer:
            assert not any(module.training for module in detector.model.modules())
            explainer(images)
            assert failing is None, "in the body"
    except (AssertionError, InputError):
        assert failing
    assert state_of(detector.model) == before
    assert all(torch.equal(tensor, weights[name]) for name, tensor in detector.model.state_dict().items())
    assert all(weight.grad is None for weight in detector.model.parameters())


# Before and after a change


ABOUT = pd.DataFrame({"image": list("abcdef"), "source": "orl"})


def responses(detector, images, change, methods=("CAM", "GradCAM"), seen=None):
    def perturbations(given, maps):
        if seen is not None:
            seen.update(images=given, maps=maps)
        yield from change if isinstance(change, list) else [change]

    with Explainer(detector, methods) as explainer:
        clean = explainer(images)
        return clean, respond(explainer, images, clean, ABOUT[: len(images)], perturbations)


def test_no_change_is_perfect_similarity(toy, pictures):
    images, seen = pictures(4, 32), {}
    valid = np.zeros((32, 32), bool)
    valid[8:24, 8:24] = True
    change = [Perturbation(images, "0.0"), Perturbation(images, "still", valid=valid)]
    clean, rows = responses(toy(), images, change, seen=seen)
    assert list(rows) == ["image", "source", "salience", "target", "variant", "region", "level", "value"]
    kinds = rows.groupby(["salience", "target", "variant", "level"]).size()
    ssims = [(method, target) for method in ("CAM", "GradCAM") for target in ("predicted", "clean")]
    expected = {(*one, "ssim", level) for one in ssims for level in ("0.0", "still")}
    expected |= {(*one, "ssim_valid", "still") for one in ssims}
    expected |= {("", "", variant, level) for variant in ("score", "score_sigmoid") for level in ("0.0", "still")}
    assert set(kinds.index) == expected
    assert set(kinds) == {4}
    assert rows["image"].tolist() == list("abcd") * (len(rows) // 4)
    values = rows.groupby("variant")["value"]
    dead = {method: result.dead for method, result in clean.items()}
    assert not any(map(np.any, dead.values()))
    assert (values.get_group("ssim") == 1).all()
    assert (values.get_group("ssim_valid") == 1).all()
    np.testing.assert_allclose(values.get_group("score"), np.tile(clean["CAM"].scores, 2), atol=1e-6)
    sigmoid = torch.from_numpy(clean["CAM"].logits[:, 1]).sigmoid()
    np.testing.assert_allclose(values.get_group("score_sigmoid"), np.tile(sigmoid, 2), atol=1e-6)
    # What a measure is given: the images, and their maps as 8-bit pictures of the images' size.
    assert seen["images"] is images
    assert {name: (maps.shape, maps.dtype.name) for name, maps in seen["maps"].items()} == dict.fromkeys(
        ("CAM", "GradCAM"), ((4, 32, 32), "uint8")
    )


@pytest.fixture
def undecided(toy, pictures):
    """A detector that takes about half of six images for synthetic, and the images."""
    detector, images = toy(), pictures(6, 32)
    logits = explain(detector, images).logits
    with torch.no_grad():
        detector.model.classifier.bias[1] -= float(np.median(logits[:, 1] - logits[:, 0]))
    return detector, images


@pytest.mark.parametrize("region", [None, (slice(4, 30), slice(0, 20)), (slice(None), slice(None))])
def test_similarity_is_taken_for_the_class_now_predicted_and_for_the_one_before(undecided, region):
    """Against the maps of both classes, explained on their own and compared over the whole stack."""
    detector, images = undecided
    order = [1, 0, 4, 3, 2, 5]
    changed, valid = images[order], None
    if region:
        valid = np.zeros((32, 32), bool)
        valid[region] = True
    clean, rows = responses(detector, images, Perturbation(changed, "exchanged", valid=valid), ("CAM",))
    classes = {"clean": clean["CAM"].predicted, "predicted": clean["CAM"].predicted[order]}
    assert 0 < (classes["clean"] != classes["predicted"]).sum() < 6
    maps = upsample(clean["CAM"].maps, 32, 32)
    for target, numbers in classes.items():
        others = upsample(explain(detector, changed, "CAM", numbers).maps, 32, 32)
        for variant, area in ({"ssim": None} if region is None else {"ssim": None, "ssim_valid": valid}).items():
            result = rows.loc[(rows["target"] == target) & (rows["variant"] == variant), "value"]
            np.testing.assert_allclose(result, ssim.ssim(maps, others, data_range=255, valid=area), atol=1e-3)


def test_a_guided_change_is_explained_by_its_own_method_only(toy, pictures):
    images = pictures(2, 32)
    _, rows = responses(toy(), images, Perturbation(images, "10", guide="CAM", region="salient"))
    assert set(rows["salience"]) == {"CAM"}
    assert set(rows["variant"]) == {"ssim", "score", "score_sigmoid"}
    assert set(rows["region"]) == {"salient"}
    assert set(rows["level"]) == {"10"}


class Mirrored(nn.Module):
    """Sees left as it sees right: symmetric filters of ones, no stride."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 3, padding=1, bias=False)
        self.head = nn.Linear(2, 2)
        weights = torch.arange(6.0).view(2, 3, 1, 1) - torch.tensor([1.0, 4.0]).view(2, 1, 1, 1)
        self.features.weight = nn.Parameter(weights.expand(2, 3, 3, 3).clone())

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


def test_a_flip_undone_is_perfect_for_a_network_that_flips_along(pictures):
    torch.manual_seed(0)
    detector, images = Detector("mirrored", Mirrored(), "features", 16, head="head"), pictures(4, 16)
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    _, undone = responses(detector, images, Perturbation(flipped, "flip", undo=lambda maps: maps[:, :, ::-1]), ("CAM",))
    _, left = responses(detector, images, Perturbation(flipped, "flip"), ("CAM",))
    ssim = [rows.loc[rows["variant"] == "ssim", "value"] for rows in (undone, left)]
    np.testing.assert_allclose(ssim[0], 1, atol=1e-3)  # a grey level may round either way
    assert (ssim[1] < 0.9).all()


def test_what_a_dead_map_guided_has_no_score(blind, pictures):
    images = pictures(4, 32)
    images[1] = 0
    _, rows = responses(blind, images, Perturbation(images, "10", guide="CAM", region="salient"), ("CAM", "GradCAM"))
    missing = rows.groupby("image")["value"].agg(lambda values: values.isna().mean())
    assert missing.tolist() == [0, 1, 0, 0]


def test_dead_maps_have_no_similarity(blind, pictures):
    images = pictures(4, 32)
    images[1] = 0
    changed = images.copy()
    changed[1], changed[2] = images[0], 0
    _, rows = responses(blind, images, Perturbation(changed, "black"), ("CAM",))
    missing = rows[rows["variant"] == "ssim"].groupby("image")["value"].agg(lambda values: values.isna().mean())
    assert missing.tolist() == [0, 1, 1, 0]
    assert rows.loc[rows["variant"] == "score", "value"].notna().all()


def test_a_measure_that_changes_nothing_is_refused(toy, pictures):
    images = pictures(2, 32)
    with Explainer(toy()) as explainer, pytest.raises(InputError, match="changed no image"):
        respond(explainer, images, explainer(images), pd.DataFrame({"image": ["a", "b"]}), lambda *_: iter(()))


def test_an_answer_that_is_no_number_names_no_class(toy, pictures):
    detector, images = toy(), pictures(3, 32)
    whole = explain(detector, images)
    nn.init.constant_(detector.model.classifier.bias, float("nan"))
    lost = explain(detector, images, "CAM")
    assert lost.predicted.tolist() == lost.target.tolist() == [-1, -1, -1]
    assert set(whole.predicted) <= {0, 1}
    with Explainer(detector, ["CAM"]) as explainer:
        clean = explainer(images)
        rows = respond(explainer, images, clean, ABOUT[:3], lambda images, maps: iter([Perturbation(images, "same")]))
    assert rows["value"].isna().all()
