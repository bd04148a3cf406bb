"""The pages "The measures at a glance" and "Glossary" agree with the files of the measures."""

import re

import pytest

from e2m import plugins
from e2m.store.paths import CHECKOUT

PAGE = (CHECKOUT / "book" / "reading.md").read_text()


@pytest.mark.parametrize("name", plugins.names("measure"))
def test_the_table_agrees_with_the_measure(name):
    measure = plugins.load("measure", name)
    row = PAGE.split(f"* - **({measure.LETTER})**")[1].split("\n* - ")[0]
    assert measure.QUESTION in row
    assert measure.BLIND_SPOT in row
    has_page = (CHECKOUT / "notebooks" / f"{name}.ipynb").is_file()
    assert (f"executed/{name}.ipynb" in row) == has_page


def test_names_in_the_glossary_exist():
    glossary = (CHECKOUT / "book" / "glossary.md").read_text().split("## The paper's words in the code")[1]
    for module, name in re.findall(rf"`({'|'.join(plugins.names('measure'))})\.(\w+)`", glossary):
        assert hasattr(plugins.load("measure", module), name), f"{module}.{name}"
