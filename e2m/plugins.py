"""Look-up of data sets, detectors, salience methods, regimes and measures: a file's name is the parameter's value.

A method's file may serve several names instead of its file name: it lists them in ``NAMES``. Plug-ins have names of
letters, digits, "_" and "-", and "_" does not come first; other files, such as those of editors, are none. The
environment variable ``E2M_PLUGINS`` names folders with plug-ins of yours, laid out as this package is:
``mine/methods/my_method.py``.
"""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
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

NEEDED = {
    "dataset": ("load",),
    "detector": ("build",),
    "method": ("Method",),
    "regime": ("LABEL", "COLOUR", "GUIDED", "loss"),
    "measure": ("TITLE", "LETTER", "QUESTION", "BLIND_SPOT", "BETTER", "PAPER_EXACT", "AXIS", "HEADLINES"),
}
"""What a file of each kind defines."""


def names(kind: str) -> list[str]:
    """Parameter values that name a plug-in of a kind (a key of ``KINDS``), sorted.

    A file that cannot be imported is listed by its file name; ``load`` says what is wrong with it.

    Raises:
        InputError: ``E2M_PLUGINS`` names a folder without plug-ins.
    """
    return sorted({name for file in _files(kind) for name in _served(kind, file)})


def load(kind: str, name: str) -> ModuleType:
    """The module that serves a name.

    Raises:
        InputError: no file serves the name, and the message lists the names that exist; several files serve it; or its
            file cannot be imported or lacks what its kind needs.
    """
    file = _file_of(kind, name)
    module = _imported(kind, file)
    _names_in(module, file)
    if missing := [entry for entry in NEEDED[kind] if not hasattr(module, entry)]:
        raise InputError(
            f"{file}: a {kind} defines {', '.join(NEEDED[kind])}, and this file lacks {', '.join(missing)}; "
            'add what is missing (the page "Add your own parts", book/extending.md, shows an example)'
        )
    return module


def module_of(kind: str, name: str) -> str:
    """The name of the module that serves a name; only files of methods are imported for it.

    Raises:
        InputError: no file serves the name, or several do.
    """
    return _module_name(kind, _file_of(kind, name))


def folders(kind: str) -> list[str]:
    """Folders with the plug-ins of a kind; detectors are listed without importing their package, which brings torch.

    Raises:
        InputError: ``E2M_PLUGINS`` names a folder that does not exist, or one without a folder for any kind.
    """
    package = f"e2m.{KINDS[kind]}"
    inside = sys.modules[package].__path__ if package in sys.modules else find_spec(package).submodule_search_locations
    named = filter(None, os.environ.get("E2M_PLUGINS", "").split(os.pathsep))
    # pathlib's expanduser fails for an unknown user; this one leaves the text, and the folder is then refused.
    roots = [Path(os.path.expanduser(root)) for root in named]  # noqa: PTH111
    for root in roots:
        if not any((root / folder).is_dir() for folder in KINDS.values()):
            problem = "holds no folder of plug-ins" if root.is_dir() else "is not a folder"
            raise InputError(
                f"E2M_PLUGINS: {root.absolute()} {problem}; "
                f"name a folder that holds at least one of {', '.join(KINDS.values())}"
            )
    listed = {}
    for folder in (*inside, *((root / KINDS[kind]).resolve() for root in roots)):
        listed.setdefault(Path(folder).resolve(), str(folder))
    return list(listed.values())


def _files(kind: str) -> list[Path]:
    files = (file for folder in folders(kind) for file in sorted(Path(folder).glob("*.py")))
    return [file for file in files if re.fullmatch(r"[^\W_][\w-]*", file.stem)]


def _file_of(kind: str, name: str) -> Path:
    served = {file: _served(kind, file) for file in _files(kind)}
    # Two files of one name are one module to Python, so that they clash even if their NAMES differ.
    stems = {file.stem for file, values in served.items() if name in values}
    files = [file for file, values in served.items() if name in values or file.stem in stems]
    if not files:
        known = sorted({value for values in served.values() for value in values})
        raise InputError(f"no {kind} named {name!r}; choose from {', '.join(known)}")
    if len(files) > 1:
        raise InputError(f"{kind} {name!r}: {' and '.join(map(str, files))} clash; rename all but one, or their NAMES")
    return files[0]


def _served(kind: str, file: Path) -> Sequence[str]:
    """The names that a file serves; its file name if it is broken, so that it harms no other file."""
    # Only salience methods share files; other kinds are listed without being imported.
    if kind != "method":
        return (file.stem,)
    try:
        return _names_in(_imported(kind, file), file)
    except InputError:
        return (file.stem,)


def _names_in(module: ModuleType, file: Path) -> Sequence[str]:
    values = getattr(module, "NAMES", (file.stem,))
    if not (isinstance(values, tuple | list) and values and all(isinstance(name, str) for name in values)):
        raise InputError(f'{file}: NAMES is {values!r}; give a tuple or list of text, such as ("{file.stem}",)')
    return values


def _module_name(kind: str, file: Path) -> str:
    return f"e2m.{KINDS[kind]}.{file.stem}"


def _imported(kind: str, file: Path) -> ModuleType:
    package = importlib.import_module(f"e2m.{KINDS[kind]}")
    inside, package.__path__ = package.__path__, folders(kind)
    try:
        module = importlib.import_module(_module_name(kind, file))
        if Path(module.__file__).resolve() != file.resolve():
            # Another file of this name comes first; this one is read for its NAMES alone.
            spec = spec_from_file_location(module.__name__, file)
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{file}: cannot be imported ({text}); correct or remove it") from error
    finally:
        package.__path__ = inside  # what E2M_PLUGINS names now need not be there later
    return module
