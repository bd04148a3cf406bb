"""A check notices what makes numbers wrong, and says nothing of a detector that is in order."""

import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from e2m import cli
from e2m.audit.check import Finding, _best_threshold, check, check_file, chosen, files
from e2m.types import LABELS, Detector, InputError


@pytest.fixture(scope="module")
def pictures():
    """Forty images whose brightness tells the class, and their labels."""
    random = np.random.default_rng(0)
    images = random.integers(60, 120, (40, 32, 32, 3)) + 40 * (np.arange(40) % 2)[:, None, None, None]
    return images.astype(np.uint8), np.array([LABELS[number % 2] for number in range(40)])


class Bright(nn.Module):
    """Tells brightness: right for the pictures; ``changed`` changes the logits."""

    def __init__(self, changed=lambda logits: logits, sharpness=20.0, threshold=110 / 255):
        super().__init__()
        self.body = nn.Conv2d(3, 2, 4, 4)  # darkness and brightness
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.body.weight.copy_(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.01)
            self.body.weight += torch.tensor([-1, 1])[:, None, None, None] / 48
            self.body.bias.copy_(torch.tensor([1, 0]))
            self.fc.weight.copy_(torch.eye(2) * sharpness)
            self.fc.bias.copy_(torch.tensor([threshold - 1, -threshold]) * sharpness)
        self.changed = changed

    def forward(self, images):
        return self.changed(self.fc(self.body(images).mean((2, 3))))


def bright(**options):
    known = {"layer": "body", "head": "fc", "size": 32, "mean": (0, 0, 0), "std": (1, 1, 1)}
    known |= {
        name: options.pop(name) for name in ("synthetic", "mean", "std", "layer", "head", "size") if name in options
    }
    return Detector("bright", Bright(**options).eval(), **known)


def said(findings, level=None):
    return "\n".join(str(finding) for finding in findings if level in (None, finding.level))


def test_a_detector_in_order_has_notes_only(pictures):
    findings = check(bright(), *pictures)
    assert {finding.level for finding in findings} == {"note"}, said(findings)
    for words in ("32 x 32 pixels, 3 channels", "two logits", "accuracy 1.00, AUC 1.00 of 40", "maps of 8x8 cells"):
        assert words in said(findings)
    assert all("\n" not in str(finding) for finding in findings)
    assert str(Finding("stop", "input", "words")) == "stop: input: words"


def random_logits(logits):
    return logits + torch.rand_like(logits)


def batch_logits(logits):
    return logits - logits.mean(0)


CASES = {
    "swapped": ({"changed": lambda z: z.flip(1)}, "stop: labels: AUC 0.00 is far below .5: are the classes swapped?"),
    "synthetic=0 says the same": ({"synthetic": 0}, "Then give synthetic=1"),
    "softmax": ({"changed": lambda z: z.softmax(1)}, "stop: output: probabilities come out (softmax inside)"),
    "sigmoid": ({"changed": lambda z: z[:, 1:].sigmoid()}, "stop: output: probabilities come out (sigmoid inside)"),
    "unseen sigmoid": ({"changed": lambda z: z[:, 1:].sigmoid() * 1.0}, "warning: output: all answers lie in 0 to 1"),
    "unseen softmax": ({"changed": lambda z: z.softmax(1) * 1.0}, "stop: output: probabilities come out (they add up"),
    "single logit of the other class": ({"changed": lambda z: z[:, :1]}, "Then give synthetic=0"),
    "threshold": ({"threshold": 0.2}, "AUC 1.00; from a score of"),
    "one class": ({"threshold": 0.2}, "warning: labels: all 40 images are called synthetic"),
    "scale of mean and std": ({"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, "stop: input: from black to"),
    "random": ({"changed": random_logits}, "stop: output: the network answers differently twice"),
    "batch": ({"changed": batch_logits}, "something is normalised over the batch"),
    "constant": ({"changed": lambda z: z * 0 + 3}, "stop: output: the same answer to all 40 images"),
    "all NaN": ({"changed": lambda z: z * np.nan}, "stop: output: 40 of 40 answers are no numbers"),
    "some NaN": ({"changed": lambda z: torch.where(z[:, 1:] > 2, np.nan, z)}, "warning: output: "),
    "three classes": ({"changed": lambda z: z.repeat(1, 2)[:, :3]}, "stop: output: 'bright' returns logits of shape"),
    "small maps": ({"size": 16}, "stop: salience: maps of 4x4 cells are too small to compare: SSIM takes at least 7x7"),
    "head is not last": ({"changed": lambda z: z @ torch.eye(2) * 2}, "warning: head: 'fc' is not the last layer"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_noticed(pictures, case):
    options, words = CASES[case]
    findings = check(bright(**options), *pictures)
    assert words in said(findings), said(findings)


@pytest.mark.parametrize(("logits", "column", "synthetic"), [("one", 0, 0), ("one", 1, 1), ("two", None, 1)])
def test_the_right_class_is_left_alone(pictures, logits, column, synthetic):
    changed = (lambda z: z[:, [column]]) if logits == "one" else (lambda z: z)
    findings = check(bright(changed=changed, synthetic=synthetic), *pictures, salience="GradCAM")
    assert "AUC 1.00" in said(findings)
    assert not said(findings, "stop")


def test_a_weak_detector_is_no_swapped_one(pictures):
    """An AUC that chance explains is no finding."""
    images, labels = pictures
    shuffled = np.random.default_rng(1).permutation(labels)
    findings = check(bright(threshold=0.39), images, shuffled)
    assert "swapped" not in said(findings)
    assert "threshold" not in said(findings)


def test_labels_of_one_class_have_no_auc(pictures):
    images, labels = pictures
    findings = check(bright(), images[::2], labels[::2])
    assert "accuracy 1.00 of 20 images, all authentic: no AUC" in said(findings)
    assert "AUC" not in said(check(bright(), images))


def test_cam_that_would_be_wrong_stops(pictures):
    assert "stop: head: 'fc' is not the last layer" in said(
        check(bright(changed=lambda z: z * 2 + 1), *pictures, "CAM")
    )
    assert "CAM is refused" not in said(check(bright(), *pictures, "CAM"))
    assert "stop: head: no linear layer" in said(check(bright(head=None), *pictures, "CAM"))


def test_a_layer_that_is_called_twice_is_named(pictures):
    detector = bright()
    forward = detector.model.forward
    detector.model.forward = lambda images: forward(images) + 0.1 * forward(images.flip(3))
    assert "'body' is called 2 times in a forward pass; the last call is explained (call= chooses)" in said(
        check(detector, *pictures), "warning"
    )
    assert "the one of number 0, from 0, call is explained" in said(check(replace(detector, call=0), *pictures))


def test_dead_maps_are_counted(pictures):
    detector = bright()
    with torch.no_grad():
        detector.model.body.bias[:] = -9
    detector.model.body.register_forward_hook(lambda *about: about[2].relu())
    findings = check(detector, *pictures)
    assert "stop: salience: 40 of 40 maps are dead" in said(findings)


class Trained(nn.Module):
    """Batch normalisation whose statistics are those of the pictures, normalised by mean and deviation .5."""

    def __init__(self, images):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4, momentum=None), nn.Linear(4, 2)
        with torch.no_grad():
            self.train()(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
        self.eval()

    def forward(self, images):
        return self.fc(self.norm(self.conv(images)).mean((2, 3)))


def test_another_normalisation_than_in_training_shows(pictures):
    torch.manual_seed(0)
    model, half = Trained(pictures[0]), (0.5, 0.5, 0.5)
    right = Detector("trained", model, "norm", 32, mean=half, std=half)
    assert "what reaches" not in said(check(right, *pictures))
    wrong = replace(right, mean=(0, 0, 0), std=(0.05, 0.05, 0.05))
    assert "warning: input: what reaches 'norm' has 10 times the deviation" in said(check(wrong, *pictures))
    fresh = Detector("fresh", nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(3), rest=Bright())).eval(), "rest.body", 32)
    assert "the network looks untrained" in said(check(fresh, *pictures))


def test_a_network_that_normalises_twice_shows(pictures):
    from torchvision.transforms import Normalize

    class Inside(Bright):
        def __init__(self):
            super().__init__()
            self.normalise = nn.Module()
            self.normalise.mean, self.normalise.std = [0.5] * 3, [0.5] * 3

        def forward(self, images):
            return super().forward(Normalize(self.normalise.mean, self.normalise.std)(images))

    detector = Detector("inside", Inside().eval(), "body", 32)
    assert "warning: input: normalised twice" in said(check(detector, *pictures))
    assert "normalised twice" not in said(check(replace(detector, mean=(0,) * 3, std=(1,) * 3), *pictures))


def test_half_of_the_images_are_of_each_label_and_source(faces):
    samples = faces(n=20)
    samples["source"] = np.where(samples["label"] == LABELS[0], "a", np.where(samples.index % 4 == 1, "b", "c"))
    few = chosen(samples, 12)
    assert few["source"].value_counts().to_dict() == {"a": 6, "b": 3, "c": 3}
    assert chosen(samples).shape[0] == 40


def test_files_of_weights(tmp_path, monkeypatch):
    for name in ("a_2.pt", "a_1.pt", "b.pt"):
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    for pattern in (f"{tmp_path}/a_*.pt", "~/a_*.pt"):
        assert [file.name for file in files(pattern)] == ["a_1.pt", "a_2.pt"]
    assert files("~/b.pt") == [tmp_path / "b.pt"]
    with pytest.raises(InputError, match=r"c_\*\.pt: no such file; correct the path, or quote the pattern"):
        files(str(tmp_path / "c_*.pt"))


def test_an_accuracy_is_that_of_all_images_whatever_the_shares_of_the_classes():
    """Ninety images of one class and ten of the other: at the best threshold, two of the ninety are wrong."""
    synthetic = np.arange(100) >= 90
    margin = np.where(synthetic, -1.0, -3.0)
    margin[:2] = 1.0
    threshold, accuracy = _best_threshold(margin, synthetic)
    assert -3 < threshold < -1
    assert accuracy == 0.98


def test_what_cannot_be_loaded_or_read_is_a_finding(faces, tmp_path):
    samples = faces(n=3)
    assert said(check_file("resnet5O", None, samples)).startswith("stop: detector: no detector named 'resnet5O'")
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    findings = check_file("demo_cnn", tmp_path / "a.pt", samples)
    assert [finding.about for finding in findings] == ["weights"]
    assert "holds 0 of the 38 weights of 'demo_cnn'" in said(findings, "stop")
    Path(samples["path"][0]).write_bytes(b"")
    findings = check_file("demo_cnn", None, samples, device="cpu")
    assert f"warning: input: {samples['path'][0]}" in said(findings)
    assert "the network looks untrained" in said(findings)
    for path in samples["path"]:
        Path(path).write_bytes(b"")
    assert "stop: input: none of the 6 images can be read" in said(check_file("demo_cnn", None, samples))


def test_the_command(faces, tmp_path, monkeypatch, capsys):
    """A detector of the working folder, two files of weights, one of which is another network's."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    for row in faces(n=4).itertuples():
        folder = tmp_path / "images" / row.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / row.image).write_bytes(Path(row.path).read_bytes())
    (tmp_path / "images" / "notes.txt").touch()
    code = (
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3, 8, 1), nn.ReLU(), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))\n"
    )
    Path("detectors_of_mine.py").write_text(code)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    torch.save({"net": nn.DataParallel(network).state_dict()}, "run_1.pt")
    torch.save({"other": torch.ones(2)}, "run_2.pt")
    arguments = ["check", "images", "--detector", "detectors_of_mine:build", "--device", "cpu", "--weights"]
    assert cli.main([*arguments, "run_1.pt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines[: lines.index("detectors_of_mine:build, run_1.pt")]]
    assert ["synthetic", "synthetic", "4", "4"] in table
    assert table[-1] == ["left", "out:", "1", "files", "of", "type", ".txt"]
    assert "  note: weights: all 4 of the network, from 'net', without the prefix 'module.'" in lines
    assert cli.main([*arguments, "run_*.pt"]) == 1
    assert "  stop: weights: run_2.pt: holds 0 of the 4 weights" in capsys.readouterr().out
    assert cli.main([*arguments, "run_3.pt"]) == 1
    assert "e2m: --weights run_3.pt: no such file; correct the path, or quote the pattern" in capsys.readouterr().err
