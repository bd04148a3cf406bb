"""Weights in the files that people have are found, named and fitted. What does not fit is in tests/bad_input."""

import argparse
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from e2m.networks.checkpoints import load_weights
from e2m.networks.inputs import two_logits
from e2m.types import InputError


def weights_of(detector):
    return {name: value.clone() for name, value in detector.model.state_dict().items()}


def prefixed(weights, prefix):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def assert_same(detector, weights):
    for name, value in detector.model.state_dict().items():
        torch.testing.assert_close(value, weights[name].to(value.dtype), msg=name)


class Settings:
    """Of somebody's training program."""

    def __init__(self):
        self.rate = 0.1


WAYS = {
    "plain": lambda w: w,
    "ordered": OrderedDict,
    "state_dict": lambda w: {"epoch": 3, "state_dict": w, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "model": lambda w: {"model": w, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.9)},
    "net_deep_inside": lambda w: {"trainer": {"parts": [{"any name": w}]}},
    "module": lambda w: {"net": prefixed(w, "module.")},
    "compiled": lambda w: {"model_state_dict": prefixed(w, "_orig_mod.")},
    "compiled_parallel": lambda w: prefixed(w, "module._orig_mod."),
    "lightning": lambda w: {"state_dict": {**prefixed(w, "detector.backbone."), "loss.weight": torch.ones(2)}},
    "half": lambda w: {name: value.half() if value.is_floating_point() else value for name, value in w.items()},
    "parameters": lambda w: {n: nn.Parameter(v) if v.is_floating_point() else v for n, v in w.items()},
    "no_counters": lambda w: {name: value for name, value in w.items() if "num_batches" not in name},
    "other_head": lambda w: {name.replace("classifier", "last_linear"): value for name, value in w.items()},
    "training_head": lambda w: {**w, "auxiliary.weight": torch.ones(5, 3)},
    "settings": lambda w: {"config": Settings(), "weights": w},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_weights_are_found_whatever_they_are_called(toy, tmp_path, way, zipped):
    saved = toy(seed=3)
    if way == "half":  # which keeps three digits
        saved.model.half().float()
    torch.save(WAYS[way](weights_of(saved)), tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    loaded = load_weights(toy(seed=0), tmp_path / "a.pt")
    assert_same(loaded, weights_of(saved))
    (note,) = loaded.notes
    assert note.startswith("weights: all 10 of the network")


@pytest.mark.parametrize("way", ["plain", "module"])
def test_safetensors(toy, tmp_path, way):
    saved = toy(seed=3)
    weights = weights_of(saved) if way == "plain" else prefixed(weights_of(saved), "module.")
    save_file(weights, tmp_path / "a.safetensors")
    assert_same(load_weights(toy(), tmp_path / "a.safetensors"), weights_of(saved))
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "b.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"b\.safetensors: safetensors that cannot be read"):
        load_weights(toy(), tmp_path / "b.safetensors")


def test_a_network_in_a_wrapper_takes_bare_weights(toy, tmp_path):
    from dataclasses import replace

    saved = toy(seed=3)
    torch.save(prefixed(weights_of(saved), "module."), tmp_path / "a.pt")
    wrapped = replace(toy(), model=nn.Sequential(OrderedDict(backbone=toy().model)), layer="backbone.features")
    loaded = load_weights(replace(wrapped, head="backbone.classifier"), tmp_path / "a.pt")
    assert_same(replace(loaded, model=loaded.model.backbone), weights_of(saved))
    assert "without the prefix 'module.', under the prefix 'backbone.'" in loaded.notes[0]


def test_what_was_done_is_said(toy, tmp_path):
    weights = {name.replace("classifier", "fc"): value for name, value in weights_of(toy(seed=3)).items()}
    content = {"state_dict": prefixed({**weights, "loss.centre": torch.ones(1)}, "module."), "epoch": 1}
    torch.save(content, tmp_path / "a.pt")
    assert load_weights(toy(), tmp_path / "a.pt").notes == (
        "weights: all 10 of the network, from 'state_dict', without the prefix 'module.', "
        "'fc' is read as 'classifier'; not read: loss",
    )


def test_a_second_set_of_weights_that_fits_is_named(toy, tmp_path):
    first, average = weights_of(toy(seed=3)), weights_of(toy(seed=4))
    torch.save({"state_dict": first, "state_dict_ema": average}, tmp_path / "a.pt")
    loaded = load_weights(toy(), tmp_path / "a.pt")
    assert_same(loaded, first)
    assert loaded.notes[0].endswith("from 'state_dict'; 'state_dict_ema' would fit as well")
    torch.save({**prefixed(first, "net."), **prefixed(average, "average.")}, tmp_path / "b.pt")
    loaded = load_weights(toy(), tmp_path / "b.pt")
    assert_same(loaded, first)
    assert loaded.notes[0].endswith("without the prefix 'net.'; those with the prefix 'average.' would fit as well")


def test_a_part_that_fits_is_taken_before_one_that_does_not(toy, tmp_path):
    other = {name: torch.ones(3) for name in weights_of(toy())}
    torch.save({"generator": other, "detector": weights_of(toy(seed=3))}, tmp_path / "a.pt")
    assert_same(load_weights(toy(), tmp_path / "a.pt"), weights_of(toy(seed=3)))


@pytest.mark.parametrize(("logits", "saved"), [(2, 1), (1, 2)])
def test_the_head_has_as_many_logits_as_the_weights(toy, tmp_path, logits, saved):
    trained = toy(seed=3, logits=saved)
    torch.save(trained.model.state_dict(), tmp_path / "a.pt")
    loaded = load_weights(toy(logits=logits), tmp_path / "a.pt")
    pixels = torch.rand(2, 3, 32, 32)
    assert loaded.model(pixels).shape == (2, saved)
    expected, actual = (two_logits(one, one.model(pixels)) for one in (trained, loaded))
    torch.testing.assert_close(actual, expected)
