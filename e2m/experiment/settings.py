"""Settings of a profile that a job reads: it declares them and can read no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache, wraps

NAME = "profile"
"""Every job may read the profile's name: it names the folder of results, and no value depends on it."""

UNSEEN = ("study", "threads")
"""Settings that change no page: the runs that `make study` adds, and the threads of a training."""


class UndeclaredSettingError(RuntimeError):
    """A job reads a setting that it does not declare, so that a change of it would not rerun the job."""


def reads(kind: type, *names: str) -> Callable[[Callable], Callable]:
    """Declare the settings that a job reads: a decorator for functions whose first argument is the experiment.

    The job receives an experiment of this kind, even if a subclass was passed, so that it runs only methods that its
    module imports. The experiment has the declared settings alone: reading another raises ``UndeclaredSettingError``.
    Settings that the job sets by ``dataclasses.replace`` can be read. The attribute ``reads`` of the function holds the
    names.
    """

    def declare(job: Callable) -> Callable:
        @wraps(job)
        def limited(experiment, *arguments, **options):
            return job(_limited(experiment, kind, names, f"{job.__module__}.{job.__name__}"), *arguments, **options)

        limited.reads = names
        return limited

    return declare


def lines(experiment, names: Sequence[str], but: Sequence[str] = ()) -> tuple[str, ...]:
    """Settings and their values as text, an entry a line: ``("training.epochs=15", "threads=1")``.

    A tuple, because Snakemake looks for wildcards in lists of text.

    Args:
        experiment: the experiment that has the settings.
        names: names of the settings.
        but: entries to leave out, with everything below them: "masker.regimes".
    """
    values = {name: getattr(experiment, name) for name in names}
    return tuple(
        f"{path}={text}" for path, text in _flat(values) if not any(f"{path}.".startswith(f"{entry}.") for entry in but)
    )


def _flat(values: dict, path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        value = asdict(value) if is_dataclass(value) else value
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", json.dumps(value, default=str, sort_keys=True)


def _limited(experiment, kind: type, names: Sequence[str], job: str):
    """The experiment with the settings of these names alone."""
    wanted = {field.name for field in fields(kind)} & {NAME, *names}
    return _view(kind, job)(**{name: value for name, value in vars(experiment).items() if name in wanted})


@cache
def _view(base: type, job: str) -> type:
    settings = {field.name: field for field in fields(base)}

    class View(base):
        def __init__(self, **values):
            vars(self).update(values)

        def __getattribute__(self, name):
            given = object.__getattribute__(self, "__dict__")
            # ``dataclasses.replace`` copies the fields listed here.
            if name == "__dataclass_fields__":
                return {name: field for name, field in settings.items() if name in given}
            if name in settings and name not in given:
                raise UndeclaredSettingError(
                    f"{job} reads the setting {name!r}, which its decorator `reads` does not name"
                )
            return object.__getattribute__(self, name)

    return View
