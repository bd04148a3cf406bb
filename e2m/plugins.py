"""Look-up of data sets, detectors, salience methods, regimes and measures: a file's name is the parameter's value.

A file may serve several names instead of its file name: it lists them in ``NAMES``. The environment variable
``E2M_PLUGINS`` names folders with plug-ins of yours, laid out as this package is: ``mine/methods/my_method.py``.
"""

import importlib
import os
import pkgutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from e2m.types import InputError

KINDS = {
    "dataset": "datasets",
    "detector": "detectors",
    "method": "methods",
    "regime": "regimes",
    "measure": "measures",
}


def names(kind: str) -> list[str]:
    """Parameter values that name a plug-in of a kind (a key of ``KINDS``), sorted."""
    return sorted(_modules(kind))


def load(kind: str, name: str) -> ModuleType:
    """The module that serves a name.

    Raises:
        InputError: no file serves the name; the message lists the names that exist.
    """
    return _imported(kind, module_of(kind, name))


def module_of(kind: str, name: str) -> str:
    """The name of the module that serves a name.

    Raises:
        InputError: as ``load``.
    """
    modules = _modules(kind)
    if name not in modules:
        raise InputError(f"no {kind} named {name!r}; choose from {', '.join(sorted(modules))}")
    return modules[name]


def _modules(kind: str) -> dict[str, str]:
    """Parameter value -> module."""
    package = f"e2m.{KINDS[kind]}"
    files = [f"{package}.{module.name}" for module in pkgutil.iter_modules(folders(kind))]
    # Only salience methods share files; other kinds are listed without being imported.
    if kind != "method":
        return {file.rpartition(".")[2]: file for file in files}
    served = {file: getattr(_imported(kind, file), "NAMES", (file.rpartition(".")[2],)) for file in files}
    return {name: file for file, values in served.items() for name in values}


def folders(kind: str) -> list[str]:
    """Folders with the plug-ins of a kind; detectors are listed without importing their package, which brings torch."""
    package = f"e2m.{KINDS[kind]}"
    inside = sys.modules[package].__path__ if package in sys.modules else find_spec(package).submodule_search_locations
    roots = filter(None, os.environ.get("E2M_PLUGINS", "").split(os.pathsep))
    return list(dict.fromkeys([*inside, *(str(Path(root).resolve() / KINDS[kind]) for root in roots)]))


def _imported(kind: str, module: str) -> ModuleType:
    package = importlib.import_module(f"e2m.{KINDS[kind]}")
    package.__path__ = folders(kind)
    return importlib.import_module(module)
