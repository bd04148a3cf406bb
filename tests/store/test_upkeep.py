"""Figures of pages: one that is damaged, missing or another is named, and its page is made again."""

import json

import pytest

from e2m.store import disk, paths, seals, upkeep

FIGURES = {"summary.png": b"\x89PNG of the summary", "answer.png": b"\x89PNG of the answer", "dark.svg": b"<svg/>"}


@pytest.fixture
def executed(tmp_path):
    """The folder of a page with three figures, and of a page without any."""
    for name, content in FIGURES.items():
        (tmp_path / name).write_bytes(content)
    hashes = {name: disk.file_hash(tmp_path / name) for name in FIGURES}
    for page, figures in (("selection", hashes), ("plain", {})):
        notebook = {"cells": [], "metadata": {"e2m": {"figures": figures, "seal": seals.SEAL}}}
        text = json.dumps(notebook).encode()
        paths.write_atomically(tmp_path / f"{page}.ipynb", lambda file, text=text: file.write(text))
    return tmp_path


def swept(executed):
    return list(upkeep.sweep(executed / "results", executed, executed / "data"))


def test_whole_figures_stay(executed):
    before = {path: path.read_bytes() for path in executed.iterdir()}
    (executed / "of_somebody.png").write_bytes(b"a picture that no page names")
    assert swept(executed) == []
    assert before.items() <= {path: path.read_bytes() for path in executed.iterdir()}.items()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("how", ["one flipped bit", "half of it", "deleted", "another figure"])
def test_a_figure_that_is_not_what_its_page_drew_is_named_and_made_again(executed, name, how):
    content = FIGURES[name]
    other = next(one for one in FIGURES if one != name)
    if how == "deleted":
        (executed / name).unlink()
    else:
        changed = {"one flipped bit": bytes([content[0] ^ 1]) + content[1:], "half of it": content[: len(content) // 2]}
        (executed / name).write_bytes(changed.get(how, FIGURES[other]))
    (line,) = swept(executed)
    assert line == (
        f"{executed / 'selection.ipynb'}: its figure {name} is damaged, missing or another one; it is set aside as "
        "selection.ipynb.damaged and made again"
    )
    assert not (executed / "selection.ipynb").exists()
    assert (executed / "plain.ipynb").is_file()
    assert swept(executed) == []


def test_a_page_that_names_another_figure_is_damaged_itself(executed):
    """Hashes of figures cannot be exchanged with the figures: the seal of the page covers them."""
    page = executed / "selection.ipynb"
    page.write_bytes(page.read_bytes().replace(b"summary.png", b"summery.png"))
    (line,) = swept(executed)
    assert line.startswith(f"{page}: it is damaged: its content is not what was written")
