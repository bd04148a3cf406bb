"""Files of weights that are damaged, of another network, or of a program: refused, and the network stays as it was."""

import argparse
import io
import json
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors

from e2m import cli
from e2m.networks import masker
from e2m.networks.checkpoints import CHECKPOINT_FORMAT, MASKER_FORMAT, load_weights, weights_hash


class Runs:
    """Creates a file when it is unpickled."""

    def __init__(self, how="touch"):
        self.how = how

    def __reduce__(self):
        from pathlib import Path

        return (Path.touch, (Path("ran"),)) if self.how == "touch" else (eval, ("open('ran', 'w')",))


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def archive(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return file.getvalue()


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def script(module):
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    return file.getvalue()


class Reads(torch.nn.Module):
    """Reads a file of the machine into its answer."""

    def forward(self, images):
        return images.mean((2, 3))[:, :2] + torch.from_file("secret.bin", shared=False, size=2)


def ours(weights, **changed):
    """A checkpoint of E2M with entries exchanged; None leaves one out."""
    state = {"format": CHECKPOINT_FORMAT, "detector": "toy", "weights": weights} | changed
    return saved({name: value for name, value in state.items() if value is not None})


def but(weights, **changed):
    return saved({**weights, **{name.replace("__", "."): value for name, value in changed.items()}})


def inside_itself(weights):
    weights = {**weights}
    weights["more"] = [weights]
    return saved(weights)


def without(weights, name):
    return saved({key: value for key, value in weights.items() if key != name})


NOTHING = r"not a checkpoint \(\w+\); give weights of torch, safetensors, TorchScript or ONNX"
WHOLE = r"holds a whole object \(.*\), which could run any code.*torch\.save\(model\.state_dict\(\)"
BUILT = "it was built differently"

CASES = {
    "no bytes": (lambda w: b"", NOTHING),
    "words": (lambda w: b"words\n", NOTHING),
    "zeros": (lambda w: bytes(40), NOTHING),
    "a broken archive": (lambda w: b"PK\x03\x04 nothing", NOTHING),
    "an archive of a note": (lambda w: archive(("note.txt", "words")), NOTHING),
    "an empty archive": (lambda w: archive(), NOTHING),
    "half": (lambda w: saved(w)[: len(saved(w)) // 2], NOTHING),
    "old half": (lambda w: saved(w, _use_new_zipfile_serialization=False)[:400], NOTHING),
    "a picture": (lambda w: b"\x89PNG\r\n\x1a\n" + bytes(64), NOTHING),
    "an array": (lambda w: b"\x93NUMPY\x01\x00v\x00{'descr'" + bytes(64), NOTHING),
    "a bomb": (
        lambda w: archive(("a/data.pkl", pickle.dumps({})), ("a/data/0", bytes(80_000_000))),
        "unpacks to 76 MB from 0.1; torch.save does not compress",
    ),
    "a program in a pickle": (lambda w: pickle.dumps(Runs()), rf"{NOTHING}|{WHOLE}"),
    "a program": (lambda w: saved({"a": Runs()}), WHOLE),
    "an older program": (lambda w: saved({"a": Runs()}, _use_new_zipfile_serialization=False), WHOLE),
    "a program by eval": (lambda w: saved({"a": Runs("eval"), **w}), WHOLE),
    "a network": (lambda w: saved(torch.nn.Linear(2, 2)), WHOLE),
    "a network in a mapping": (lambda w: saved({"model": torch.nn.Linear(2, 2), "epoch": 2}), WHOLE),
    "an exported program": (
        lambda w: archive(("a/models/model.json", "{}")),
        r"exported program \(.pt2\), which is not",
    ),
    "a program that reads files": (lambda w: script(Reads()), "a program that reads or writes files"),
    "half of a program": (lambda w: archive(("a/code/b.py", "x"), ("a/data.pkl", "")), "TorchScript that cannot be re"),
    "safetensors of half": (
        lambda w: safetensors({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
        "safe",
    ),
    "safetensors without end": (lambda w: safetensors(b"{" * 50), "safetensors that cannot be read"),
    "safetensors of a claim": (lambda w: safetensors({}, length=1 << 60), NOTHING),
    "a number": (lambda w: saved(3), "holds a int, and no mapping of names to tensors"),
    "a tensor": (lambda w: saved(torch.ones(3)), "holds a Tensor, and no mapping of names to tensors"),
    "a list": (lambda w: saved(list(w.values())), "holds a list, and no mapping of names to tensors"),
    "settings": (lambda w: saved(argparse.Namespace(rate=1)), "holds a whole object|no mapping"),
    "another network": (lambda w: saved({"encoder.a": torch.ones(2)}), "holds 0 of the 10 weights of 'toy'"),
    "texts": (lambda w: saved(dict.fromkeys(w, "x")), "is of type str; a tensor fits"),
    "one missing": (lambda w: without(w, "features.3.bias"), r"holds 9 of the 10 .*'features\.3\.bias' is missing"),
    "one more": (lambda w: but(w, features__9__weight=torch.ones(1)), r"'features\.9\.weight' is no weight of 'toy'"),
    "another kernel": (lambda w: but(w, features__3__weight=torch.ones(8, 6, 5, 5)), rf"shape \(8, 6, 5, 5\).*{BUILT}"),
    "a scalar": (lambda w: but(w, features__3__bias=torch.tensor(1.0)), rf"shape \(\).*{BUILT}"),
    "complex numbers": (lambda w: but(w, features__3__bias=torch.ones(8, dtype=torch.complex64)), "complex numbers"),
    "a sparse tensor": (lambda w: but(w, features__3__bias=torch.ones(8).to_sparse()), "sparse or quantised"),
    "quantised": (
        lambda w: but(w, features__3__bias=torch.quantize_per_tensor(torch.ones(8), 0.1, 0, torch.qint8)),
        "sparse or quantised",
    ),
    "levels of quantised weights": (
        lambda w: saved({name: (100 * value).to(torch.int8) for name, value in w.items()}),
        "holds int8, such as the levels of quantised weights, but 'toy' needs floating point",
    ),
    "whole numbers in safetensors": (
        lambda w: save_safetensors({name: (100 * value).to(torch.int8) for name, value in w.items()}),
        "holds int8, such as the levels",
    ),
    "truth values": (lambda w: but(w, features__3__bias=torch.ones(8) > 0), "holds bool, .* needs floating point"),
    "shapes without values": (lambda w: but(w, features__3__bias=torch.ones(8, device="meta")), "no values, only a sh"),
    "a mapping inside itself": (inside_itself, "mappings or lists stand inside each other too often"),
    "arrays of NumPy": (lambda w: saved({name: value.numpy() for name, value in w.items()}), "a tensor fits"),
    "numbers for names": (lambda w: saved(dict(enumerate(w.values()))), "no mapping of names to tensors"),
    "without its directory": (lambda w: saved(w)[:-22], NOTHING),
    "1000 classes": (
        lambda w: but(w, classifier__weight=torch.ones(1000, 8), classifier__bias=torch.ones(1000)),
        r"'classifier\.weight' has shape \(1000, 8\), .*needs \(2, 8\): it tells 1000 classes",
    ),
    "no weights": (lambda w: ours(None), "has no weights; a file that E2M wrote has it"),
    "no detector": (lambda w: ours(w, detector=None), "has no detector; a file that E2M wrote has it"),
    "of another detector": (lambda w: ours(w, detector="resnet50"), "a checkpoint of 'resnet50', but 'toy' was asked"),
    "weights of ours in a list": (lambda w: ours(list(w)), "its weights are of type list; a mapping of names"),
    "weights of ours, one text": (lambda w: ours({**w, "classifier.bias": "x"}), "is of type str; a tensor fits"),
    "weights of ours by numbers": (lambda w: ours({**w, 3: torch.ones(1)}), "3 is no weight of 'toy'"),
    "weights of ours, reshaped": (lambda w: ours({**w, "classifier.bias": torch.ones(3)}), "has shape"),
    "frozen of ours, a number": (lambda w: ours(w, frozen=3), "frozen is 3; a list of modules of 'toy' fits"),
    "frozen of ours, a name": (lambda w: ours(w, frozen=["body"]), "frozen names 'body', which is no module of 'toy'"),
    "frozen of ours, a mapping": (lambda w: ours(w, frozen={"a": 1}), "frozen is {'a': 1}; a list of modules"),
}


@pytest.fixture
def weights(toy):
    return OrderedDict((name, value.clone()) for name, value in toy(seed=3).model.state_dict().items())


@pytest.mark.parametrize("name", CASES)
def test_each_file_of_weights_is_refused_in_one_line(toy, weights, tmp_path, monkeypatch, line_of, name):
    monkeypatch.chdir(tmp_path)
    make, words = CASES[name]
    (tmp_path / "a.pt").write_bytes(make(weights))
    detector = toy(seed=5)
    before = weights_hash(detector.model)
    line = line_of(load_weights, detector, tmp_path / "a.pt")
    assert line.startswith(f"{tmp_path / 'a.pt'}: ")
    assert re.search(words, line), line
    assert weights_hash(detector.model) == before
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["words", "a program", "another network", "no weights"])
def test_the_command_says_the_same(folder, refused, weights, name):
    make, words = CASES[name]
    (folder / "a.pt").write_bytes(make(weights))
    line = refused("check", "images", "--detector", "demo_cnn", "--weights", "a.pt", "--device", "cpu")
    assert line.startswith("stop: weights: a.pt: ")
    assert re.search(words.replace("10 weights of 'toy'", r"\d+ weights"), line)
    assert not (folder / "ran").exists()


def test_a_file_that_is_not_there(folder, refused):
    line = refused("check", "images", "--detector", "demo_cnn", "--weights", "absent.pt")
    assert line.startswith("e2m: --weights absent.pt: no such file; correct the path, or quote the pattern")


def test_a_file_whose_name_is_no_text_is_shown(folder, capsys):
    Path(os.fsdecode(b"\xff.pt")).write_bytes(b"words")
    arguments = ["check", "images", "--detector", "demo_cnn", "--device", "cpu", "--weights", os.fsdecode(b"\xff.pt")]
    assert cli.main(arguments) == 1
    out = capsys.readouterr().out
    assert r"demo_cnn, \udcff.pt" in out.splitlines()
    assert r"stop: weights: \udcff.pt: not a checkpoint" in out


def test_a_masker_is_named_by_text(folder, refused):
    asked = ("--detector", "demo_cnn", "--device", "cpu", "--with", "masker=3")
    assert refused("check", "images", *asked).startswith("stop: detector: 3: no checkpoint there; train one first")


# Finished trainings: the same file is refused by training and by explaining


LACKING = ["detector", "weights", "curves"]


@pytest.mark.parametrize("name", [*LACKING, "shape", "list"])
def test_training_refuses_what_salience_refuses(faces, toy, weights, tmp_path, line_of, name):
    from e2m.plugins import load
    from e2m.training.detector import fit
    from e2m.training.settings import Settings

    samples, settings = faces(n=2), Settings(epochs=1, batch_size=4)
    arguments = (samples, samples, load("regime", "cross_entropy").loss, tmp_path / "a.pt", settings)
    about = {"regime": "cross_entropy", "run": 0, "guided": False, "progress": False}
    fit(toy(), *arguments, **about)
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    if name in LACKING:
        del state[name]
    elif name == "list":
        state["weights"] = list(state["weights"])
    else:
        state["weights"]["classifier.bias"] = torch.ones(3)
    torch.save(state, tmp_path / "a.pt")
    line = line_of(fit, toy(), *arguments, **about)
    assert line.startswith(f"{tmp_path / 'a.pt'}: ")
    assert "train" in line or "tensors fits" in line or "built differently" in line or "tells 3 classes" in line
    if name != "curves":
        assert line_of(load_weights, toy(), tmp_path / "a.pt") == line


# Maskers


MASKERS = {
    "not a masker": ({"format": "x"}, "not a masker; give a file that `e2m run train_masker` wrote"),
    "no stages": ({"stages": None}, "has no stages; a file that E2M wrote has it"),
    "no settings": ({"settings": None}, "has no settings"),
    "no side": ({"side": None}, "a masker of an earlier version; train it again"),
    "settings without channels": ({"settings": {"binary": False, "hard": False}}, r"not what .* writes \(KeyError"),
    "settings of text": ({"settings": "x"}, "not what training a masker writes"),
    "stages of text": ({"stages": ["features"]}, "not what training a masker writes"),
    "weights of another": ({"weights": {"a": torch.ones(1)}}, "not what training a masker writes .RuntimeError"),
    "another detector": ({"detector": "resnet50"}, "a masker of 'resnet50', but the detector is 'toy'"),
    "another stage": ({"stages": {"body": (8, 8)}}, "reads 'body', which 'toy' does not have"),
}


@pytest.mark.parametrize("name", MASKERS)
def test_each_masker_is_refused_in_one_line(toy, tmp_path, line_of, name):
    changed, words = MASKERS[name]
    settings = {"binary": False, "hard": False, "channels": 4, "conditioned": False}
    whole = masker.Masker({"features": (8, 8)}, 8, 4)
    state = {"format": MASKER_FORMAT, "detector": "toy", "classifier": "", "stages": {"features": (8, 8)}, "side": 8}
    state |= {"settings": settings, "weights": whole.state_dict()}
    torch.save(state, tmp_path / "whole.pt")
    masker.load(replace(toy(), masker=tmp_path / "whole.pt"))
    torch.save({key: value for key, value in (state | changed).items() if value is not None}, tmp_path / "a.pt")
    line = line_of(masker.load, replace(toy(), masker=tmp_path / "a.pt"))
    assert re.search(words, line), line


def test_a_file_of_numpys_random_state_is_no_mapping(toy, tmp_path, line_of):
    (tmp_path / "a.pt").write_bytes(pickle.dumps(np.random.default_rng(0)))
    assert line_of(load_weights, toy(), tmp_path / "a.pt").startswith(f"{tmp_path / 'a.pt'}: ")
