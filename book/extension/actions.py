"""The row of buttons on the first page: pages of the book, and the code and the PDF where there are any."""

from __future__ import annotations

import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PDF = Path(__file__).parents[2] / "_build" / "e2m.pdf"
"""Where `make pdf` writes the book."""


class Actions(SphinxDirective):
    """Links, shown as buttons; "Code" and "PDF" follow if the repository's address is set and the PDF was made."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """One container with one paragraph."""
        box = nodes.container(classes=["actions"])
        self.state.nested_parse(self.content, self.content_offset, box)
        address = self.config.html_theme_options.get("repository_url", "")
        for name, target in (("Code", address), ("PDF", PDF.name if PDF.is_file() else "")):
            if target:
                box[-1] += [nodes.Text(" "), nodes.reference("", name, refuri=target)]
        return [box]


def setup(app: Sphinx) -> dict:
    """Add the directive; carry the PDF along with the pages."""
    app.add_directive("actions", Actions)
    app.connect("build-finished", carry)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def carry(app: Sphinx, error: Exception | None) -> None:
    """Copy the PDF beside the first page, if there is one."""
    if error is None and app.builder.name == "html" and PDF.is_file():
        shutil.copy(PDF, Path(app.outdir, PDF.name))
