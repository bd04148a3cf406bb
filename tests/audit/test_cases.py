"""What must end well: networks, weights, images, maps and groups as people have them, each with its outcome.

`pytest -v tests/audit/test_cases.py` prints the table: what arrives, and what comes of it.
"""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from matplotlib import colormaps
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from e2m import explain, load_detector, pair_maps
from e2m.audit import work
from e2m.audit.audit import Audit
from e2m.audit.check import check, check_file, listing
from e2m.datasets import load_dataset
from e2m.salience.given import measured
from e2m.types import LABELS, InputError

WITH_WEIGHTS = "people_networks:with_weights"


def table(cases):
    """Parameters of a test whose names are lines of the table; the last item of a case is its outcome."""
    return [pytest.param(*case, id=f"{name} -> {case[-1]}") for name, case in cases.items()]


def serious(findings):
    """What stops or warns, as text; "works" if nothing does."""
    return "; ".join(str(finding) for finding in findings if finding.level != "note") or "works"


def check_outcome(said, expected):
    """A case of which nothing but a few words are expected may say more."""
    if expected.startswith("works") or expected.startswith("the same"):
        assert said == expected
    else:
        assert expected in said


def outcome(function):
    """What a function returns, or why it refuses."""
    try:
        return function()
    except InputError as error:
        return f"refused: {error}"


# Networks, with random weights

TRANSFORMER = {"img_size": 64, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
WINDOWS = {"img_size": 64, "window_size": 2, "embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
SMALL = "2x2 maps, too small: a finer layer is named"
NETWORKS = {
    "CNN (ResNet)": ("resnet10t", {}, 64, f"{SMALL}; CAM holds"),
    "CNN (EfficientNet)": ("test_efficientnet", {}, 64, f"{SMALL}; CAM holds"),
    "CNN with a hidden layer in the head (MobileNetV3)": ("mobilenetv3_small_050", {}, 64, f"{SMALL}; no CAM"),
    "maps of 4x4": ("resnet10t", {}, 112, "4x4 maps, too small: a finer layer is named; CAM holds"),
    "ConvNeXt": ("test_convnext", {}, 64, f"{SMALL}; no CAM"),
    "EdgeNeXt": ("edgenext_xx_small", {}, 64, f"{SMALL}; no CAM"),
    "MobileViT": ("mobilevit_xxs", {}, 64, f"{SMALL}; CAM holds"),
    "features of several scales (HRNet)": ("hrnet_w18_small", {}, 64, f"{SMALL}; CAM holds"),
    "ViT": ("vit_tiny_patch16_224", TRANSFORMER, 64, "8x8 maps; no CAM"),
    "DeiT": ("deit_tiny_distilled_patch16_224", TRANSFORMER, 64, "8x8 maps; no CAM"),
    "Swin": ("swin_tiny_patch4_window7_224", WINDOWS, 64, f"{SMALL}; CAM holds"),
}


@pytest.mark.parametrize(("name", "options", "side", "expected"), table(NETWORKS))
def test_network(one_thread, random, name, options, side, expected):
    images = random.integers(0, 256, (4, side, side, 3), dtype=np.uint8)

    def loaded(**known):
        torch.manual_seed(0)
        return load_detector(timm.create_model(name, num_classes=2, **options), size=side, **known)

    detector = loaded()
    result = explain(detector, images)
    assert np.isfinite(result.logits).all()
    height, width = result.maps.shape[1:]
    summary = f"{height}x{width} maps"
    findings = check(detector, images, np.array(LABELS * 2), "GradCAM")
    for text in (finding.text for finding in findings if "too small to compare" in finding.text):
        layer = text.split("layer='")[1].split("'")[0]
        assert min(explain(loaded(layer=layer), images).maps.shape[1:]) >= 7
        summary += ", too small: a finer layer is named"
    if detector.head:
        assert explain(detector, images, "CAM").maps.shape == result.maps.shape
    assert f"{summary}; {'CAM holds' if detector.head else 'no CAM'}" == expected


# What a network returns


class Network(nn.Module):
    def __init__(self, pack, logits=2):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc, self.pack = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, logits), pack

    def forward(self, images):
        return self.pack(self.fc(self.body(images).mean((2, 3))))


OUTPUTS = {
    "two logits": (lambda z: z, 2, "works"),
    "one logit": (lambda z: z, 1, "works"),
    "logits in a tuple": (lambda z: (z, z.repeat(1, 4)), 2, "works"),
    "logits in a dictionary": (lambda z: {"logits": z, "features": z.repeat(1, 4)}, 2, "works"),
    "logits in an object": (lambda z: SimpleNamespace(logits=z, loss=None), 2, "works"),
    "probabilities": (lambda z: z.softmax(1), 2, "refused: 'Network' returns probabilities (softmax inside)"),
    "NaN for every image": (lambda z: z * np.nan, 2, "answers are no numbers (NaN or infinite)"),
    "three classes": (lambda z: z, 3, "refused: 'Network' returns logits of shape"),
}


@pytest.mark.parametrize(("pack", "logits", "expected"), table(OUTPUTS))
def test_output(one_thread, random, pack, logits, expected):
    images = random.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    check_outcome(outcome(lambda: serious(check(load_detector(Network(pack, logits), size=32), images))), expected)


# Weights

WEIGHTS = {
    "a plain state_dict": (lambda model, path: torch.save(model.state_dict(), path), "works"),
    "a training's file, of DataParallel": (
        lambda model, path: torch.save({"epoch": 3, "model": nn.DataParallel(model).state_dict()}, path),
        "works",
    ),
    "half precision": (lambda model, path: torch.save(model.half().state_dict(), path), "works"),
    "safetensors": (lambda model, path: save_file(model.state_dict(), path), "works"),
    "TorchScript": (
        lambda model, path: torch.jit.save(torch.jit.trace(model, torch.zeros(1, 3, 32, 32)), path),
        "shows its scores only; use occlusion or RISE",
    ),
    "a whole pickled network": (lambda model, path: torch.save(model, path), "which could run any code"),
    "weights of another network": (
        lambda model, path: torch.save(nn.Linear(2, 2).state_dict(), path),
        "stop: weights: ",
    ),
}


@pytest.mark.parametrize(("write", "expected"), table(WEIGHTS))
def test_weights(pictures, networks, tmp_path, write, expected):
    import people_networks

    write(people_networks.with_weights().model, tmp_path / "a.weights")
    samples = load_dataset("folder", root=pictures)
    findings = check_file("people_networks:small", tmp_path / "a.weights", samples, device="cpu")
    check_outcome(serious(finding for finding in findings if finding.about in ("weights", "salience")), expected)


# Images: twenty each

NUMBERS = range(5)
VIDEOS = [f"{number:03}" for number in NUMBERS]


def files(*folders):
    """Names of twenty images, shared by folders evenly."""
    return {f"{folder}/{number:04}.png": None for folder in folders for number in range(20 // len(folders))}


def listed(header, row, name="list.csv", folders=("x", "y")):
    lines = [header, *(row.format(name=name, label=int(name[0] == "y")) for name in files(*folders))]
    return files(*folders) | {name: "\n".join(lines)}


def benchmark():
    """DeepfakeBench's JSON of two videos."""
    content = {}
    for label, video in (("FF-real", "original/000"), ("FF-DF", "manipulated/000_003")):
        frames = [f"faces/{video}/{number:04}.png" for number in range(10)]
        content[label] = {"test": {"c23": {video: {"label": label, "frames": frames, "masks": []}}}}
    return files("original/000", "manipulated/000_003") | {"list.json": json.dumps({"FF-DF": content})}


def classes(real, fake):
    return ", ".join(sorted([f"{real} authentic 10 of 10", f"{fake} synthetic 10 of 10"]))


CSV = {"csv": "list.csv"}
IMAGES = {
    "real, fake": (files("real", "fake"), {}, classes("real", "fake")),
    "original, manipulated": (files("original", "manipulated"), {}, classes("original", "manipulated")),
    "nature, ai": (files("nature", "ai"), {}, classes("nature", "ai")),
    "0_real, 1_fake": (files("0_real", "1_fake"), {}, classes("0_real", "1_fake")),
    "0, 1": (files("0", "1"), {}, classes("0", "1")),
    "class inside generator": (
        files(*(f"{generator}/{kind}" for generator in ("progan/cat", "biggan") for kind in ("0_real", "1_fake"))),
        {},
        "biggan-authentic authentic 5 of 5, biggan-synthetic synthetic 5 of 5, progan-authentic authentic 5 of 5, "
        "progan-synthetic synthetic 5 of 5",
    ),
    "generator inside class": (
        files("real/ffhq", "fake/stylegan2", "fake/sd15", "fake/progan"),
        {},
        "ffhq authentic 5 of 5, progan synthetic 5 of 5, sd15 synthetic 5 of 5, stylegan2 synthetic 5 of 5",
    ),
    "FaceForensics++, videos": (
        files(
            *(f"original_sequences/youtube/c23/frames/{video}" for video in VIDEOS),
            *(f"manipulated_sequences/Deepfakes/c23/frames/{video}_{video}" for video in VIDEOS),
        ),
        {},
        "Deepfakes synthetic 10 of 5, youtube authentic 10 of 5",
    ),
    "DeepfakeBench's JSON": (benchmark(), {"csv": "list.json"}, "FF-DF synthetic 10 of 1, FF-real authentic 10 of 1"),
    "Hugging Face's imagefolder": (listed("file_name,label", "{name},{label}", "metadata.csv"), {}, classes("x", "y")),
    "a list, columns of any name": (
        listed("file,target", "{name},{label}"),
        CSV | {"columns": {"path": "file", "label": "target"}},
        classes("x", "y"),
    ),
    "a list, semicolons": (listed("path;label", "{name};{label}"), CSV, classes("x", "y")),
    "a list, tabs": (listed("path\tlabel", "{name}\t{label}"), CSV, classes("x", "y")),
    "a list, the labels 0 and 1 swapped": (
        listed("path,label", "{name},{label}"),
        CSV | {"labels": {"0": "synthetic", "1": "authentic"}},
        "x synthetic 10 of 10, y authentic 10 of 10",
    ),
    "words of nobody else": (files("echt", "falsch"), {}, "refused: "),
    "one class": (files("real/a", "real/b"), {}, "a authentic 10 of 10, b authentic 10 of 10"),
}


@pytest.mark.parametrize(("content", "options", "expected"), table(IMAGES))
def test_images(networks, tmp_path, content, options, expected):
    root, pixel = tmp_path / "faces", tmp_path / "pixel.png"
    Image.new("L", (4, 4), 99).save(pixel)
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(pixel, root / name) if text is None else (root / name).write_text(text)
    options = {name: str(root / value) if name == "csv" else value for name, value in options.items()}

    def listed_images():
        audit = Audit.of(str(root), [{"name": "A", "network": WITH_WEIGHTS}], options=options, folder=tmp_path)
        rows = [line.split() for line in listing(audit.samples).splitlines()[2:] if "left out" not in line]
        return ", ".join("{} {} {} of {}".format(*row) for row in sorted(rows))

    check_outcome(outcome(listed_images), expected)


def test_four_thousand_frames_of_forty_videos_are_forty_subjects(networks, tmp_path):
    Image.new("L", (4, 4), 99).save(tmp_path / "pixel.png")
    for label, name in (("original", "{0:03}"), ("manipulated/Deepfakes", "{0:03}_{1:03}")):
        for number in range(20):
            folder = tmp_path / "faces" / label / name.format(40 * number, 40 * number + 7)
            folder.mkdir(parents=True)
            for frame in range(100):
                os.link(tmp_path / "pixel.png", folder / f"{frame:04}.png")
    audit = Audit.of(str(tmp_path / "faces"), [{"name": "A", "network": WITH_WEIGHTS}], images_per_source=2000)
    assert listing(audit.samples).split()[-8:] == [
        "Deepfakes",
        "synthetic",
        "2000",
        "20",
        "original",
        "authentic",
        "2000",
        "20",
    ]
    assert audit.resampling["clusters"].nunique() == 40


def test_an_image_of_100_megapixels_is_named_and_the_others_go_on(pictures, networks, tmp_path):
    for label in ("real", "fake"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for number in range(4):
            os.link(pictures / label / f"{number}.png", tmp_path / "faces" / label / f"{number}.png")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "faces" / "fake" / "large.png")
    said = serious(check_file(WITH_WEIGHTS, None, load_dataset("folder", root=tmp_path / "faces"), device="cpu"))
    assert "large.png: 10000x10000 pixels, 100 megapixels; images of up to " in said
    assert "stop" not in said


# Maps


def as_jet(path, cells):
    Image.fromarray(colormaps["jet"]((cells * 255).astype(np.uint8), bytes=True)[..., :3]).save(path)


def as_npy(change):
    return lambda path, cells: np.save(path.with_suffix(".npy"), change(cells))


def in_other_order(path, cells):
    """The last image's map is written first: the order in which a folder lists its files may follow."""
    np.save(path.with_suffix(".npy"), cells)


MAPS = {
    "shares": (as_npy(lambda cells: cells), {}, "the same entropy"),
    "densities, which add up to 1": (as_npy(lambda cells: cells / cells.sum()), {}, "the same entropy"),
    "counts": (as_npy(lambda cells: (cells * 4000).round()), {}, "the same entropy"),
    "pictures of 8 bits": (
        lambda path, cells: Image.fromarray((cells * 255).astype(np.uint8)).save(path),
        {},
        "the same entropy",
    ),
    "pictures in the colours of jet": (as_jet, {}, "the same entropy"),
    "signed": (as_npy(lambda cells: cells - 0.5), {}, "refused: "),
    "signed, of absolute values": (as_npy(lambda cells: -cells), {"signed": "absolute"}, "the same entropy"),
    "written in another order": (in_other_order, {}, "the same entropy"),
    "one missing in one run": (as_npy(lambda cells: cells), {}, "the same entropy, and 1 missing"),
}


@pytest.mark.parametrize(("write", "options", "expected"), table(MAPS))
def test_maps(pictures, tmp_path, write, options, expected):
    samples = load_dataset("folder", root=pictures)
    maps = np.random.default_rng(0).random((2, len(samples), 8, 8)).astype(np.float32)
    maps = np.stack([(one - one.min()) / (one.max() - one.min()) for one in maps.reshape(-1, 8, 8)]).reshape(maps.shape)
    for run, of_run in enumerate(maps):
        for image, cells in list(zip(samples["image"], of_run, strict=True))[:: -1 if write is in_other_order else 1]:
            path = tmp_path / str(run) / image
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, cells)
    if "missing" in expected:
        (tmp_path / "1" / samples["image"][3]).with_suffix(".npy").unlink()

    def entropies():
        given = pair_maps(samples, {run: tmp_path / run for run in "01"}, **options)
        rows = measured(given, "entropy").query("variant == 'spatial'").sort_values(["run", "image"])
        truth = {(run, image): _entropy(maps[run, n]) for run in (0, 1) for n, image in enumerate(samples["image"])}
        wanted = np.array([truth[run, image] for run, image in zip(rows["run"], rows["image"], strict=True)])
        known = rows["value"].notna().to_numpy()
        np.testing.assert_allclose(rows["value"][known], wanted[known], atol=0.01)
        return "the same entropy" + (f", and {(~known).sum()} missing" if (~known).any() else "")

    check_outcome(outcome(entropies), expected)


def _entropy(cells):
    shares = cells / cells.sum()
    return -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() / np.log2(cells.size)


# Groups. Audits of one run, of one class, of maps of different size and of names with markup are in test_audit.py.


def test_architectures_mixed_in_one_group_are_refused_with_the_path(pictures, trained, tmp_path):
    trained(tmp_path, "a", (1,)), trained(tmp_path, "b", (2,), channels=9)
    detectors = [{"name": "A", "network": "people_networks:small", "weights": [f"{tmp_path}/*.pt"]}]
    audit = Audit.of(str(pictures), detectors, folder=tmp_path / "out")
    with pytest.raises(InputError, match=r"group 'A': .*b_2\.pt: .*built differently"):
        work.check_weights(work.jobs(audit))


def test_three_labels_are_refused_with_how_to_name_them(pictures, networks, tmp_path):
    (tmp_path / "list.csv").write_text("path,label\nreal/0.png,real\nfake/0.png,fake\nfake/1.png,maybe")
    detectors = [{"name": "A", "network": WITH_WEIGHTS}]
    with pytest.raises(InputError, match=r"the label 'maybe'; choose from .*labels=\{'maybe': 'synthetic'\}"):
        Audit.of(str(pictures), detectors, options={"csv": str(tmp_path / "list.csv")})
