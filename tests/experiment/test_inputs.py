"""Test images: a random draw that neither order nor other images change."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from e2m.datasets import load_dataset
from e2m.experiment import inputs
from e2m.experiment.inputs import draw
from e2m.experiment.results import Experiment


def named(*names, source="gan"):
    return pd.DataFrame({"image": names, "source": source})


def test_a_draw_orders_the_images_of_each_source_by_their_hash():
    samples = pd.concat([named(*"abcdef", source="one"), named(*"uvwxyz", source="two")], ignore_index=True)
    for names, drawn in zip(("abcdef", "uvwxyz"), np.split(draw(samples, seed=7).to_numpy(), 2), strict=True):
        by_hash = sorted(names, key=lambda name: hashlib.sha256(f"7 {name}".encode()).hexdigest())
        assert [by_hash.index(name) for name in names] == drawn.tolist()


def test_neither_order_nor_further_images_change_who_comes_first():
    names = [f"{number}.png" for number in range(200)]
    first = draw(named(*names)).set_axis(names)
    backwards = draw(named(*names[::-1])).set_axis(names[::-1])
    assert (backwards.sort_index() == first.sort_index()).all()
    half = draw(named(*names[::2])).set_axis(names[::2])
    assert (half.sort_values().index == first[names[::2]].sort_values().index).all()
    assert (draw(named(*names), seed=1) != draw(named(*names))).mean() > 0.9


def test_a_draw_is_no_prefix_of_the_list():
    numbers = draw(named(*map(str, range(2000))))
    chosen = np.flatnonzero(numbers < 1000)
    assert abs(chosen.mean() - 999.5) < 4 * 2000 / np.sqrt(12 * 1000)  # four standard errors of a uniform mean


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_samples_are_the_first_of_the_draw_in_the_order_of_the_data_set(count):
    experiment = Experiment.load("smoke", images_per_source=count)
    whole = load_dataset("demo", split="test", sources=experiment.sources)
    whole["draw"] = draw(whole)
    expected = whole[whole["draw"] < count].reset_index(drop=True)
    pd.testing.assert_frame_equal(experiment.samples, expected)
    assert (experiment.samples.groupby("source").size() == min(count, 120)).all()


def test_replaced_settings_read_images_again_only_where_these_change(monkeypatch):
    loads = []
    monkeypatch.setattr(inputs, "load_dataset", lambda *given, **of: loads.append(of) or load_dataset(*given, **of))
    experiment = Experiment.load("smoke")
    source, samples, content = experiment.in_set[0], experiment.samples, experiment.contents(experiment.in_set[0])
    other = inputs.replace(experiment, runs=1, methods=experiment.methods[:1])
    assert other.runs == 1
    pd.testing.assert_frame_equal(other.samples, samples)
    assert other.contents(source) == content
    assert len(loads) == 1
    alone = inputs.replace(other, sources=[source])
    pd.testing.assert_frame_equal(alone.samples, samples[samples["source"] == source].reset_index(drop=True))
    few = inputs.replace(experiment, images_per_source=2)
    assert (few.samples["draw"] < 2).all()
    assert few.contents(source) != content
    assert len(loads) == 3


def test_images_are_read_again_for_another_experiment(monkeypatch):
    loads = []
    monkeypatch.setattr(inputs, "load_dataset", lambda *given, **of: loads.append(of) or load_dataset(*given, **of))
    for _ in range(2):
        assert len(Experiment.load("smoke").samples)
    assert len(loads) == 2
