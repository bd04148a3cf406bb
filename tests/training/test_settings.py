"""Settings refuse what cannot train, by the name of the field."""

import pickle
from dataclasses import asdict, replace

import pytest

from e2m.training.settings import MaskerSettings, Settings
from e2m.types import InputError


def test_the_defaults_are_the_papers():
    settings = Settings()
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (50, 20, 0.005)
    assert (settings.momentum, settings.weight_decay, settings.schedule) == (0.9, 1e-6, "step")
    masker = MaskerSettings()
    assert (masker.epochs, masker.batch_size, masker.learning_rate, masker.weight_decay) == (60, 72, 1e-3, 1e-4)
    assert (masker.decay_every, masker.clip, masker.channels, masker.variation) == (20, 10.0, 64, 1e-3)
    assert (masker.flip, masker.crop_min_share, masker.zoo) == (True, 0.08, True)
    assert (masker.binary, masker.temperature, masker.hard) == (False, 0.1, True)
    assert settings.crop_min_share == 1


def test_values_are_kept_as_they_are_given():
    settings = Settings(learning_rate=1, noise=0, seed=7)
    assert asdict(settings) | {"learning_rate": 1, "noise": 0, "seed": 7} == asdict(settings)
    assert type(settings.learning_rate) is int
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"schedule": "cosine"}, "schedule: 'cosine' arrived; one of step, one_cycle fits"),
        ({"epochs": 0}, "epochs: 0 arrived; a whole number from 1 up fits"),
        ({"epochs": 2.5}, "epochs: 2.5 arrived; a whole number from 1 up fits"),
        ({"batch_size": 1}, "batch_size: 1 arrived; a whole number from 2 up fits"),
        ({"images_per_epoch": 1}, "images_per_epoch: 1 arrived; a whole number from 2 up, or null fits"),
        ({"noise": 1.5}, "noise: 1.5 arrived; a number from 0 to 1 fits"),
        ({"momentum": 1.0}, "momentum: 1.0 arrived; a number from 0 to below 1 fits"),
        ({"learning_rate": float("inf")}, "learning_rate: inf arrived; a number above 0 fits"),
        ({"seed": -1}, "seed: -1 arrived; a whole number from 0 up fits"),
    ],
)
def test_settings_that_cannot_train_are_refused(changed, words):
    for kind in (Settings, MaskerSettings):
        with pytest.raises(InputError) as refused:
            replace(kind(), **changed)
        assert str(refused.value) == words


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"infill": "gan"}, "infill: 'gan' arrived; one of zeros, mean, blur, noise fits"),
        ({"mask_in": False, "mask_out": False}, "neither mask_in nor mask_out"),
        ({"temperature": 0.0}, "temperature: 0.0 arrived; a number above 0 fits"),
        ({"crop_min_share": 0.0}, "crop_min_share: 0.0 arrived; a number above 0 up to 1 fits"),
        ({"size_in": float("nan")}, "size_in: nan arrived; a number from 0 up fits"),
        ({"stages": []}, r"stages: \[\] arrived; a list \(not empty\) of text fits"),
    ],
)
def test_maskers_that_cannot_train_are_refused(changed, words):
    with pytest.raises(InputError, match=words):
        MaskerSettings(**changed)


def test_every_problem_is_named():
    with pytest.raises(InputError) as refused:
        Settings(epochs=0, flip=1)
    assert str(refused.value).splitlines() == [
        "epochs: 0 arrived; a whole number from 1 up fits",
        "flip: 1 arrived; true or false fits",
    ]
