"""The code that a job depends on: the files that a module or a notebook imports, and plug-ins by name."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path

from e2m import _HOMES, plugins
from e2m.store import paths
from e2m.store.paths import CHECKOUT
from e2m.types import InputError

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages: the lock pins them, so that no job depends on their files."""

STANDARD = Path(sysconfig.get_path("stdlib"))


def code(*modules: str, notebook: str | Path | None = None, **names: Iterable[str]) -> tuple[str, ...]:
    """The code that a job runs, as text: a line a file, its path and the first digits of its SHA-256; and a line an
    installed package that these files import, its name and version.

    Contents are compared, not times: touching a file changes nothing, and restoring an old content does.

    Args:
        modules: modules that the job imports: "e2m.experiment.train".
        notebook: the notebook that the job executes.
        names: plug-ins that the job looks up, by kind: ``detector=["resnet50"], regime=["cyborg"]``.

    Raises:
        InputError: a module, notebook or plug-in without a file, or one that is not Python.
    """
    files = set().union(*map(files_of, modules))
    files |= files_of_notebook(notebook) if notebook else set()
    for kind, chosen in names.items():
        files |= set().union(*(files_of_plugin(kind, name) for name in chosen))
    # Installed as a wheel, its version stands for its files.
    return (*contents(files), *_installed(files), *([f"e2m=={version('e2m')}"] if paths.INSTALLED else []))


def contents(files: Iterable[str | Path]) -> tuple[str, ...]:
    """Files as text, one a line: the path and the first digits of the SHA-256."""
    return tuple(sorted(f"{os.path.relpath(file, CHECKOUT)} {_hash(Path(file))}" for file in files))


def files_of(module: str) -> set[Path]:
    """The files of a module and of all that it imports, directly or indirectly.

    Imports within functions count, imports for type checkers do not, and installed packages are left out. Plug-ins that
    are looked up by a name that is written out count too, ``plugins.load("method", "occlusion")`` or
    ``load_detector("resnet50")``, and so do the files that a module lists in ``FILES_READ``, such as weights beside it.

    Raises:
        InputError: no such module in the working folder or on PYTHONPATH.
    """
    if _spec(module) is None:
        hint = f"; name it {module.removesuffix('.py')!r}" if module.endswith(".py") else ""
        raise InputError(f"{module}: no such module in the working folder or on PYTHONPATH{hint}")
    return _closure({module})


def files_of_notebook(path: str | Path) -> set[Path]:
    """A notebook and the files of all that its cells import.

    Raises:
        InputError: it cannot be read, or a cell is not Python.
    """
    return {Path(path).resolve(), *_closure(_imports(Path(path), "__main__"))}


def files_of_plugin(kind: str, name: str) -> set[Path]:
    """The files of a plug-in and of all that it imports; none for a network of timm.

    Raises:
        InputError: no file serves the name.
    """
    return set().union(*(files_of(module) for module in _module_of_plugin(kind, name)))


def arguments(path: str | Path, call: str) -> list[str]:
    """The names that a module or a notebook passes to a function, in the order of the calls.

    Args:
        path: path of the file.
        call: the function as it is called, "experiment.table" or "studies.load"; its first argument is the name.

    Raises:
        InputError: one of the names is not a literal, so that the workflow cannot know it.
    """
    return list(_arguments(Path(path), call))


def parameters(notebook: str | Path) -> list[str]:
    """The names of a notebook's parameters, which are assigned in its cell with the tag "parameters"."""
    cells = [cell for cell in _cells(Path(notebook)) if "parameters" in cell["metadata"].get("tags", ())]
    nodes = [node for cell in cells for node in ast.parse("".join(cell["source"])).body]
    return [target.id for node in nodes if isinstance(node, ast.Assign) for target in node.targets]


@cache
def _arguments(path: Path, call: str) -> tuple[str, ...]:
    if call.encode() not in path.read_bytes():
        return ()
    owner, function = call.split(".")
    nodes = list(ast.walk(_parsed(path)))
    asked = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == function]
    asked = [node for node in asked if isinstance(node.value, ast.Name) and node.value.id == owner]
    given = {node.func: node.args[0] for node in nodes if isinstance(node, ast.Call) and node.args}
    literals = [getattr(given.get(node), "value", None) for node in asked]
    if not all(isinstance(name, str) for name in literals):
        raise InputError(f'{path}: {call} takes a name that is written out, as in {call}("noise"), for the workflow')
    return tuple(literals)


def _closure(modules: set[str]) -> set[Path]:
    """The files of modules and of all that they import; modules without a file here are left out."""
    files, beside, waiting = {}, set(), list(modules)
    while waiting:
        module = waiting.pop()
        if module not in files and (file := _file(module)):
            files[module] = file
            waiting += _imports(file, module)
            waiting += _looked_up(file)
            waiting += [module.rpartition(".")[0]] if "." in module else []
            beside |= {file.with_name(name) for name in _files_beside(file)}
    return {*files.values(), *beside}


@cache
def _imports(path: Path, module: str) -> frozenset[str]:
    """The modules that the statements of a file import, and imported names that may be modules."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imported = set()
    for node in _statements(_parsed(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            # After `import e2m`, any of its public names may be used.
            imported |= {*names, *(_HOMES.values() if "e2m" in names else ())}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
            imported |= {_HOMES[alias.name] for alias in node.names if base == "e2m" and alias.name in _HOMES}
    return frozenset(imported)


@cache
def _looked_up(path: Path) -> frozenset[str]:
    """The modules of plug-ins that a file looks up by a name that is written out."""
    modules = set()
    for node in ast.walk(_parsed(path)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(getattr(node.func, "value", None), "id", "")
        names = [getattr(argument, "value", None) for argument in node.args]
        if (
            (owner, function) == ("plugins", "load")
            and len(names) == 2
            and all(isinstance(name, str) for name in names)
        ):
            modules |= _module_of_plugin(*names)
        elif function == "load_detector" and names and isinstance(names[0], str):
            modules |= _module_of_plugin("detector", names[0])
    return frozenset(modules)


def _module_of_plugin(kind: str, name: str) -> set[str]:
    """The module of a plug-in; none for a network of timm."""
    if kind == "detector" and ":" in name:
        return set() if name.startswith("timm:") else {name.split(":")[0]}
    # Only files of methods serve several names, and are imported to see which.
    return {plugins.module_of(kind, name) if kind == "method" else f"e2m.{plugins.KINDS[kind]}.{name}"}


@cache
def _files_beside(path: Path) -> tuple[str, ...]:
    """What a module lists in ``FILES_READ``."""
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "FILES_READ" for target in node.targets):
            return tuple(ast.literal_eval(node.value))
    return ()


@cache
def _distributions() -> dict[str, list[str]]:
    """Top-level module -> the installed packages that it comes with."""
    return packages_distributions()


def _installed(files: Iterable[Path]) -> list[str]:
    """Installed packages that files import, one a line: name and version."""
    names = set().union(*(_top_level(file) for file in files if file.suffix in (".py", ".ipynb")))
    found = {package for name in names - {"e2m"} for package in _distributions().get(name, ())}
    return sorted(map(_pinned, found))


@cache
def _top_level(path: Path) -> frozenset[str]:
    """The top-level modules that the statements of a file import."""
    names = set()
    for node in _statements(_parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return frozenset(names)


@cache
def _pinned(package: str) -> str:
    return f"{package}=={version(package)}"


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements below a node, except those that only a type checker reads."""
    checked = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    for block in ("orelse",) if checked else ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, block, ()):
            yield child
            yield from _statements(child)


@cache
def _spec(module: str) -> ModuleSpec | None:
    """Where a module is, found without importing it; None if there is none."""
    package = module.rpartition(".")[0]
    folders = [str(CHECKOUT), *sys.path] if not package else _folders(package)
    return PathFinder.find_spec(module, folders) if folders else None


@cache
def _file(module: str) -> Path | None:
    """The source file of a module; None if it is installed or not a module."""
    spec = _spec(module)
    path = Path(spec.origin).resolve() if spec and spec.has_location else None
    return path if path and not INSTALLED & {*path.parts} and not path.is_relative_to(STANDARD) else None


def _folders(package: str) -> list[str]:
    """The folders of a package's modules; for plug-ins, those of ``E2M_PLUGINS`` too."""
    kinds = {f"e2m.{folder}": kind for kind, folder in plugins.KINDS.items()}
    if package in kinds:
        return plugins.folders(kinds[package])
    # A package without __init__.py has folders as well.
    spec = _spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


@cache
def _parsed(path: Path) -> ast.Module:
    try:
        if path.suffix != ".ipynb":
            return ast.parse(path.read_bytes())
        return ast.parse("\n".join("".join(cell["source"]) for cell in _cells(path)))
    except SyntaxError as error:
        raise InputError(f"{path}: not Python ({error})") from error


def _cells(notebook: Path) -> list[dict]:
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{notebook}: cannot be read as a notebook ({error})") from error
    return [cell for cell in cells if cell["cell_type"] == "code"]


@cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
