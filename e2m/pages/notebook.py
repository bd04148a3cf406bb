"""Run notebooks through papermill, and show the provenance of every page."""

from __future__ import annotations

import ast
import difflib
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from e2m.checks import misfits
from e2m.experiment.profile import Profile, claim
from e2m.store import paths
from e2m.store import provenance as sources
from e2m.types import InputError

NOTEBOOKS = paths.CHECKOUT / "notebooks"


class NotebookError(ValueError):
    """A cell of a notebook failed; the message names the notebook kept for inspection and the cell's error."""


def run(notebook: str | Path, parameters: Mapping[str, Any] | None = None, output: str | Path | None = None) -> Path:
    """Execute one notebook with parameters.

    ``{{ name }}`` in its Markdown becomes the parameter's value. The copy is called ``NAME.failed.ipynb`` while it runs
    and after a failed cell; only a finished run gets the output's name.

    A run with the parameters that `make book` gives the page of a profile saves its tables and figures among the
    profile's results, where the book reads them. With any other value, it is a trial: it saves beside its output, in a
    folder of the output's name, and still reads the profile's results.

    Args:
        notebook: a name ("noise") or the path of a template.
        parameters: values that replace those of the cell tagged "parameters".
        output: path of the executed notebook; ``results/notebooks/NAME.ipynb`` by default.

    Returns:
        The output's path.

    Raises:
        InputError: no such notebook, an unknown parameter (the known ones are listed), a value of another type, or an
            unknown profile.
        NotebookError: a cell failed, or the kernel died.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    template, parameters = _template(notebook), dict(parameters or {})
    known = papermill.inspect_notebook(str(template))
    defaults = {name: _literal(entry["default"]) for name, entry in known.items()}
    _check(template, parameters, defaults)
    output = Path(output).absolute() if output else paths.RESULTS / "notebooks" / template.name
    page = _page(template, defaults, defaults | parameters)
    saved = paths.RESULTS / page if page else output.with_suffix("")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f"{output.stem}.failed.ipynb")
    with tempfile.TemporaryDirectory(prefix="e2m-") as scratch:
        try:
            papermill.execute_notebook(
                _filled(template, defaults | parameters),
                str(unfinished),
                parameters,
                kernel_name="python3",
                cwd=str(paths.WORK),
                config=_private_kernel(scratch, {paths.SAVED: str(saved)}),
                progress_bar={"desc": template.stem, "mininterval": 1},
            )
        except papermill.PapermillExecutionError as error:
            text = f"{unfinished}: cell {error.exec_count} failed: {error.ename}: {error.evalue}"
            if error.ename == "ModuleNotFoundError":
                text += "; pages of the book need `pip install 'e2m[companion]'`"
            raise NotebookError(text) from error
        except DeadKernelError as error:
            raise NotebookError(f"{unfinished}: the kernel died, as it does when memory runs out") from error
    finished = nbformat.read(unfinished, as_version=4)
    for key, path in (("input_path", template), ("output_path", output)):
        base = paths.CHECKOUT if path.is_relative_to(paths.CHECKOUT) else paths.WORK
        finished.metadata["papermill"][key] = os.path.relpath(path, base)
    nbformat.write(finished, unfinished)
    unfinished.replace(output)
    return output


def _template(notebook: str | Path) -> Path:
    name = str(notebook)
    path = Path(name) if name.endswith(".ipynb") else NOTEBOOKS / f"{name}.ipynb"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in NOTEBOOKS.glob("*.ipynb")))
        raise InputError(f"{path}: no such notebook; choose from {known}, or give the path of one")
    return path


def _literal(text: str) -> Any:
    """The value of a default; text that is no literal, such as a call, stays text."""
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return text


def _check(template: Path, parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check names, and types: a value has the type of the notebook's own; a whole number fits a fraction."""
    for name, value in parameters.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(
                f"{template.name} has no parameter {name!r}; {hint}its parameters are {', '.join(defaults)}"
            )
        # Any text fits text, even none; a default of None has no type.
        hint = type(defaults[name])
        fits = hint is type(None) or (hint is str and isinstance(value, str))
        for line in () if fits else misfits(value, hint, name):
            raise InputError(f"{template.name}: parameter {line}")


def _page(template: Path, defaults: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The name of the profile whose page this is; "" for a trial."""
    if template.resolve().parent != NOTEBOOKS.resolve() or "profile" not in values:
        return ""
    profile = Profile.load(values["profile"])
    claim(values["profile"])
    page = {**defaults, "profile": values["profile"], **profile.page}
    return profile.profile if all(values[name] == page[name] for name in values) else ""


def _filled(template: Path, values: Mapping[str, Any]):
    import nbformat

    content = nbformat.read(template, as_version=4)
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{\{ (\w+) \}\}", lambda match: str(values.get(match[1], match[0])), cell.source)
    return content


def _private_kernel(scratch: str, variables: Mapping[str, str]):
    """Private sockets and a private IPython folder: kernels started side by side collide on shared ones.

    Args:
        scratch: a folder for both.
        variables: environment variables of the kernel.
    """
    from traitlets.config import Config

    startup = Path(scratch, "ipython", "profile_default", "startup")
    startup.mkdir(parents=True)
    (startup / "variables.py").write_text(f"__import__('os').environ.update({dict(variables)!r})\n")
    return Config(
        {
            "KernelManager": {"transport": "ipc", "ip": f"{scratch}/k"},
            "NotebookClient": {
                "extra_arguments": [f"--IPKernelApp.ipython_dir={scratch}/ipython"],
                # A kernel that ends by itself takes seconds to do so.
                "shutdown_kernel": "immediate",
            },
        }
    )


def provenance(**about: Any) -> Styler:
    """The provenance of a page: code, machine, packages, duration, and the entries that the notebook adds.

    Shown at the end of every page. It is not part of any table of results, so the bytes of those do not change.
    """
    entries = sources.entries(**about)
    table = pd.DataFrame({"this page": list(entries), "came from": list(entries.values())})
    # Wrapped for phones.
    return table.style.hide(axis="index").set_properties(**{"white-space": "normal"})
