"""Look-up of data sets, detectors, regimes and measures: the file's name is the parameter's value."""

import importlib
import pkgutil
from types import ModuleType

from e2m.types import InputError

KINDS = {"dataset": "datasets", "detector": "detectors", "regime": "regimes", "measure": "measures"}


def names(kind: str) -> list[str]:
    """Names of the plug-ins of a kind ("dataset", "detector", "regime" or "measure"), sorted."""
    package = importlib.import_module(f"e2m.{KINDS[kind]}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(kind: str, name: str) -> ModuleType:
    """The module of one plug-in.

    Raises:
        InputError: no file of that name; the message lists the names that exist.
    """
    known = names(kind)
    if name not in known:
        raise InputError(f"no {kind} named {name!r}; choose from {', '.join(known)}")
    return importlib.import_module(f"e2m.{KINDS[kind]}.{name}")
