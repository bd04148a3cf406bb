"""Run notebooks through papermill, and show the provenance of every page."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

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

    Args:
        notebook: a name ("noise") or the path of a template.
        parameters: values that replace those of the cell tagged "parameters".
        output: path of the executed notebook; ``results/notebooks/NAME.ipynb`` by default.

    Returns:
        The output's path.

    Raises:
        InputError: no such notebook, an unknown parameter (the known ones are listed), a value of another type.
        NotebookError: a cell failed, or the kernel died.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    template, parameters = _template(notebook), dict(parameters or {})
    known = papermill.inspect_notebook(str(template))
    _check(template, parameters, known)
    output = Path(output) if output else paths.RESULTS / "notebooks" / template.name
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f"{output.stem}.failed.ipynb")
    values = {name: entry["default"].strip("\"'") for name, entry in known.items()} | parameters
    with tempfile.TemporaryDirectory(prefix="e2m-") as scratch:
        try:
            papermill.execute_notebook(
                _filled(template, values),
                str(unfinished),
                parameters,
                kernel_name="python3",
                cwd=str(paths.CHECKOUT),
                config=_private_kernel(scratch),
                progress_bar={"desc": template.stem, "mininterval": 1},
            )
        except papermill.PapermillExecutionError as error:
            raise NotebookError(
                f"{unfinished}: cell {error.exec_count} failed: {error.ename}: {error.evalue}"
            ) from error
        except DeadKernelError as error:
            raise NotebookError(f"{unfinished}: the kernel died, as it does when memory runs out") from error
    finished = nbformat.read(unfinished, as_version=4)
    for key, path in (("input_path", template), ("output_path", output)):
        finished.metadata["papermill"][key] = os.path.relpath(path, paths.CHECKOUT)
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


def _check(template: Path, parameters: dict, known: dict) -> None:
    for name, value in parameters.items():
        if name not in known:
            close = difflib.get_close_matches(name, known)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(f"{template.name} has no parameter {name!r}; {hint}its parameters are {', '.join(known)}")
        wanted = known[name]["inferred_type_name"].split("[")[0]
        fits = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list}.get(wanted, object)
        if not isinstance(value, fits) or (isinstance(value, bool) and wanted in ("int", "float")):
            raise InputError(f"{template.name}: parameter {name} is {value!r}; give a value of type {wanted}")


def _filled(template: Path, values: Mapping[str, Any]):
    import nbformat

    content = nbformat.read(template, as_version=4)
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{\{ (\w+) \}\}", lambda match: str(values.get(match[1], match[0])), cell.source)
    return content


def _private_kernel(scratch: str):
    """Private sockets and a private IPython folder: kernels started side by side collide on shared ones."""
    from traitlets.config import Config

    Path(scratch, "ipython").mkdir()
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
