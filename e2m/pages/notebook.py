"""Run notebooks through papermill, and show where a page comes from."""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
import string
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
from annotated_types import Ge

from e2m.checks import brief, misfits
from e2m.experiment import written
from e2m.experiment.dependencies import arguments
from e2m.experiment.profile import Method, Network, Profile, Regime, claim
from e2m.store import disk, paths, seals
from e2m.store import provenance as sources
from e2m.types import InputError

if TYPE_CHECKING:
    from e2m.pages.tables import Table

NOTEBOOKS = paths.CHECKOUT / "notebooks"

START = 600
"""Seconds that a kernel may take to start: on a machine that is busy, imports wait for minutes."""

NAMES = {"detector": Network, "method": Method, "regime": Regime}
"""Parameters of the book's notebooks that name plug-ins."""


class NotebookError(ValueError):
    """A cell of a notebook failed; the message names the notebook kept for inspection and the cell's error."""


def values(notebook: str | Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """Values of parameters as a person writes them in a command.

    Text is what it is where the notebook's own value is text: the profile ``010``. Other values are YAML: 3 is a
    number, [0.1, 0.5] a list, true a truth value.

    Raises:
        InputError: no such notebook, or a value that is not YAML.
    """
    template = _template(notebook)
    defaults = _defaults(template)
    return {name: text if isinstance(defaults.get(name), str) else _value(name, text) for name, text in texts.items()}


def run(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    trial: bool = False,
) -> Path:
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
        trial: whether the run is a trial even with the parameters of a page.

    Returns:
        The output's path.

    Raises:
        InputError: no such notebook, an unknown parameter (the known ones are listed), a value of another type, an
            unknown profile, or an output that would replace what no run wrote.
        NotebookError: a cell failed, or the kernel died.
    """
    import nbformat

    template, parameters = _template(notebook), dict(parameters or {})
    defaults = _defaults(template)
    _check(template, parameters, defaults)
    output = Path(output).absolute() if output else paths.RESULTS / "notebooks" / template.name
    unfinished = output.with_name(f"{output.stem}.failed.ipynb")
    for path in (output, unfinished):
        _check_replaceable(path, template)
    page = "" if trial else _page(template, defaults, defaults | parameters)
    saved = paths.results(page) if page else output.with_suffix("")
    output.parent.mkdir(parents=True, exist_ok=True)
    _execute(_filled(template, defaults | parameters), unfinished, parameters, saved, template.stem)
    finished = _for_the_book(nbformat.read(unfinished, as_version=4), template.stem)
    for key, path in (("input_path", template), ("output_path", output)):
        base = paths.CHECKOUT if path.is_relative_to(paths.CHECKOUT) else paths.WORK
        finished.metadata["papermill"][key] = os.path.relpath(path, base)
    drawn = {name: saved / "figures" / name for name in (arguments(template, "experiment.figure") if page else ())}
    figures = {name: disk.file_hash(path) for name, path in drawn.items() if path.is_file()}
    finished.metadata["e2m"] = {"figures": figures, "seal": seals.SEAL}
    content = nbformat.writes(finished) + "\n"
    paths.write_atomically(output, lambda file: file.write(content.encode()))
    unfinished.unlink()
    return output


def _execute(filled: Any, unfinished: Path, parameters: Mapping[str, Any], saved: Path, name: str) -> None:
    """Run the cells in a kernel of their own, which saves tables and figures in ``saved``."""
    import papermill

    with tempfile.TemporaryDirectory(prefix="e2m-", dir=_short()) as scratch:
        try:
            papermill.execute_notebook(
                filled,
                _as_it_is(unfinished),
                parameters,
                kernel_name="python3",
                cwd=str(paths.WORK),
                config=_private_kernel(scratch, {paths.SAVED: str(saved), "E2M_ROOT": str(paths.ROOT)}),
                progress_bar={"desc": name, "mininterval": 1},
                start_timeout=START,
            )
        except papermill.PapermillExecutionError as error:
            if error.ename == "KeyboardInterrupt":
                raise KeyboardInterrupt from error
            text = f"{unfinished}: cell {error.exec_count} failed: {error.ename}: {error.evalue}"
            if error.ename == "ModuleNotFoundError":
                text += "; pages of the book need `pip install 'e2m[companion]'`"
            raise NotebookError(text) from error
        # Of the client: the kernel died before, or while, it ran cells, or does not answer.
        except RuntimeError as error:
            text = f"{unfinished}: the kernel died or does not answer ({brief(error)}), as when memory runs out"
            raise NotebookError(text) from error


def _as_it_is(path: Path) -> str:
    """A path for papermill, which fills braces in paths with parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _template(notebook: str | Path) -> Path:
    name = str(notebook)
    path = Path(name) if name.endswith(".ipynb") else NOTEBOOKS / f"{name}.ipynb"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in NOTEBOOKS.glob("*.ipynb")))
        raise InputError(f"{path}: no such notebook; choose from {known}, or give the path of one")
    return path


def _check_replaceable(path: Path, template: Path) -> None:
    """Refuse to write over the template, a notebook that a person works on, or any other file."""
    if path.suffix != ".ipynb":
        raise InputError(f"{path}: the executed notebook is written there; give -o a name that ends in .ipynb")
    if not path.exists():
        return
    try:
        executed = "papermill" in json.loads(path.read_bytes())["metadata"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        executed = False
    if not executed or path.samefile(template):
        what = "the template" if path.samefile(template) else "a file that `e2m run` did not write"
        raise InputError(f"{path}: the executed notebook would replace {what}; give -o another name")


def _defaults(template: Path) -> dict[str, Any]:
    """The parameters of a notebook with its own values."""
    import nbformat
    import papermill

    try:
        known = papermill.inspect_notebook(_as_it_is(template))
    except (nbformat.ValidationError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise InputError(f"{template}: cannot be read as a notebook ({reason}); save it again with Jupyter") from error
    return {name: _literal(entry["default"]) for name, entry in known.items()}


def _value(name: str, text: str) -> Any:
    try:
        return written.read(text)
    except InputError as error:
        raise InputError(f"parameter {name}: {text!r} is not YAML ({error}); quote it, as in '\"[\"'") from error


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
        hint = _hint(template, name, defaults[name])
        fits = hint is type(None) or (hint is str and isinstance(value, str))
        for line in () if fits else misfits(value, hint, name):
            raise InputError(f"{template.name}: parameter {line}")


def _hint(template: Path, name: str, default: Any) -> Any:
    """What fits a parameter. Numbers of the book's notebooks are counts, indices, sizes and shares, never negative."""
    if not _of_the_book(template):
        return type(default)
    if type(default) in (int, float):
        return Annotated[type(default), Ge(0)]
    return NAMES.get(name, type(default))


def _of_the_book(template: Path) -> bool:
    return template.resolve().parent == NOTEBOOKS.resolve()


def _page(template: Path, defaults: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The name of the profile whose page this is; "" for a trial."""
    if not _of_the_book(template) or "profile" not in values:
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
            cell.source = re.sub(
                r"\{\{ (\w+) \}\}",
                lambda match: markdown(values[match[1]]) if match[1] in values else match[0],
                cell.source,
            )
    return content


def _short() -> str | None:
    """The folder for sockets, whose paths have at most 103 bytes: that of the system where TMPDIR is long."""
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > 80 else None


_MARKDOWN = re.compile(f"([{re.escape(string.punctuation)}])")


def markdown(text: object) -> str:
    """Text as Markdown that shows it as it is: no name becomes markup or HTML."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _for_the_book(executed, page: str):
    """Prepare an executed notebook for the book: figures are numbered, and code is folded.

    Every picture becomes a figure. Its description and caption are those that ``figures.show`` put into its output, or
    those of the cell, whose description also serves as caption. A notebook whose metadata say ``{"e2m": {"code":
    "open"}}`` shows its code, because it is about code.
    """
    if executed.metadata.get("e2m", {}).get("code") != "open":
        for cell in executed.cells:
            if cell.cell_type == "code":
                _fold(cell)
    executed.cells = [part for cell in executed.cells for part in _one_picture_each(cell)]
    pictures = [cell for cell in executed.cells if _drawn(cell)]
    for number, cell in enumerate(pictures, 1):
        _caption(cell, f"fig-{page}-{number}".replace("_", "-"))
    return executed


def _drawn(cell) -> list:
    """The outputs of a cell that are pictures."""
    return [out for out in cell.get("outputs", ()) if {"image/svg+xml", "image/png"} & set(out.get("data", ()))]


def _one_picture_each(cell) -> list:
    """A cell, and others behind it for its pictures, if it shows anything beside one: the book gives the caption of a
    cell to all that it shows."""
    pictures = _drawn(cell)
    if not pictures or len([out for out in cell.outputs if "data" in out]) == 1:
        return [cell]
    parts = []
    for number, picture in enumerate(pictures):
        part = deepcopy(cell)
        shown = [tag for tag in cell.metadata.get("tags", ()) if tag.endswith(("-output", "-cell"))]
        # The book leaves out a cell without code, and what it shows.
        part.update(id=f"{cell.id}-{number}", source="# A figure of the cell above.", outputs=[picture])
        part.metadata["tags"] = ["remove-input", *shown]
        parts.append(part)
    cell.outputs = [out for out in cell.outputs if out not in pictures]
    return [cell, *parts]


def _caption(cell, name: str) -> None:
    """Write the description, the caption and the name of a cell's picture where the book reads them."""
    (picture,) = _drawn(cell)
    said, given = picture.metadata.get("e2m", {}), cell.metadata.get("mystnb", {})
    shown = said.get("alt") or given.get("image", {}).get("alt", "")
    # Without ``figures.show``, IPython keeps what a figure finds beside its kind.
    found = [of.get("finding", "") for of in (said, *(picture.metadata.get(kind, {}) for kind in picture.data))]
    alt = " ".join(filter(None, [shown, *found]))
    figure = {"name": name, "caption": shown, **given.get("figure", {})}
    if "name" in said:
        figure["name"] = said["name"]
    if "caption" in said:
        figure["caption"] = markdown(said["caption"])
    cell.metadata["mystnb"] = {**given, "image": {**given.get("image", {}), "alt": alt}, "figure": figure}


def _fold(cell) -> None:
    tags = cell.metadata.setdefault("tags", [])
    if not any(tag.startswith(("hide-input", "hide-cell", "remove-input", "remove-cell")) for tag in tags):
        cell.metadata["tags"] = [*tags, "hide-input"]


def _private_kernel(scratch: str, variables: Mapping[str, str]):
    """Private sockets and a private IPython folder: kernels started side by side collide on shared ones.

    Kernels, settings of IPython and those of Matplotlib that a person keeps at home do not count.

    Args:
        scratch: a folder for both.
        variables: environment variables of the kernel.
    """
    from traitlets.config import Config

    first, known = str(Path(sys.prefix, "share", "jupyter")), os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    if first != known[0]:
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (first, *known)))
    startup = Path(scratch, "ipython", "profile_default", "startup")
    startup.mkdir(parents=True)
    (startup / "variables.py").write_text(f"__import__('os').environ.update({dict(variables)!a})\n")
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


def provenance(**about: Any) -> Table:
    """The provenance of a page: code, machine, packages, duration, and the entries that the notebook adds.

    Shown at the end of every page. It is not part of any table of results, so the bytes of those do not change.
    """
    # Drawing costs a second of start, which running a notebook does not need.
    from e2m.pages.tables import plain

    entries = sources.entries(**about)
    table = pd.DataFrame({"this page": list(entries), "came from": list(entries.values())})
    # Names of files and settings stay as they are.
    return plain(table, {"came from": str})
