"""Settings of a job: what it declares it can read, and nothing else; and what it declares it does read."""

from dataclasses import dataclass, replace
from functools import cached_property

import pytest

from e2m.experiment.settings import UndeclaredSettingError, lines, reads


@dataclass(frozen=True)
class Experiment:
    profile: str
    runs: int
    seed: int
    training: dict
    masker: dict | None = None

    @property
    def doubled(self):
        return 2 * self.runs

    @cached_property
    def squared(self):
        return self.seed**2


ALL = Experiment("small", 3, 4, {"epochs": 2, "rates": {"first": 0.5}})


def test_what_is_declared_can_be_read_also_within_methods():
    @reads(Experiment, "runs", "seed")
    def job(experiment, one, two=0):
        return experiment.profile, experiment.runs, experiment.doubled, experiment.squared, one, two

    assert job.reads == ("runs", "seed")
    assert job(ALL, 5, two=6) == ("small", 3, 6, 16, 5, 6)


@pytest.mark.parametrize("name", ["runs", "training", "masker", "doubled"])
def test_what_is_not_declared_cannot(name):
    @reads(Experiment, "seed")
    def job(experiment):
        return getattr(experiment, name)

    with pytest.raises(
        UndeclaredSettingError, match=f"job reads the setting '{'runs' if name == 'doubled' else name}'"
    ):
        job(ALL)


def test_what_a_job_replaces_it_can_read_also_when_it_replaces_more():
    @reads(Experiment, "seed")
    def job(experiment):
        twice = replace(replace(experiment, runs=7), masker=None)
        assert (twice.seed, twice.runs, twice.masker, twice.doubled) == (4, 7, None, 14)
        return twice.training

    with pytest.raises(UndeclaredSettingError, match="training"):
        job(ALL)


def test_a_job_within_a_job_reads_what_both_declare():
    @reads(Experiment, "seed", "runs")
    def inner(experiment):
        return experiment.seed, experiment.runs

    @reads(Experiment, "seed")
    def outer(experiment):
        return inner(experiment)

    with pytest.raises(UndeclaredSettingError, match="inner reads the setting 'runs'"):
        outer(ALL)
    assert reads(Experiment, "seed", "runs", "training")(lambda experiment: inner(experiment))(ALL) == (4, 3)


def test_a_job_runs_no_method_of_a_class_that_it_does_not_name():
    class More(Experiment):
        def further(self):
            return self.seed

    @reads(Experiment, "seed")
    def job(experiment):
        assert isinstance(experiment, Experiment)
        return experiment.further()

    with pytest.raises(AttributeError, match="further"):
        job(More(**vars(ALL)))


def test_settings_as_lines():
    assert lines(ALL, ["runs", "training", "masker"]) == (
        "runs=3",
        "training.epochs=2",
        "training.rates.first=0.5",
        "masker=null",
    )
    assert lines(ALL, ["training"], but=["training.rates"]) == ("training.epochs=2",)
    assert lines(ALL, ["runs", "training"], but=["run", "training"]) == ("runs=3",)
    assert lines(replace(ALL, training={}), ["training"]) == ("training={}",)
