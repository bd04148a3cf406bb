"""Look-up by name, for every kind of plug-in."""

import re
from types import ModuleType

import pytest

from e2m import plugins
from e2m.types import InputError


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_name_loads_and_an_unknown_one_is_answered_with_the_list(kind):
    names = plugins.names(kind)
    assert names == sorted(names) != []
    assert all(isinstance(plugins.load(kind, name), ModuleType) for name in names)
    with pytest.raises(InputError, match=re.escape(f"no {kind} named 'resnet5O'; choose from {', '.join(names)}")):
        plugins.load(kind, "resnet5O")


@pytest.mark.parametrize("name", ["", "os", "../types", "__init__", "demo.load"])
def test_only_plugins_are_loaded(name):
    with pytest.raises(InputError):
        plugins.load("dataset", name)


@pytest.mark.parametrize(
    ("kind", "needed"),
    [("dataset", ["load"]), ("detector", ["build"]), ("regime", ["LABEL", "COLOUR", "GUIDED", "loss"])],
)
def test_plugins_hold_what_their_kind_asks_for(kind, needed):
    for name in plugins.names(kind):
        module = plugins.load(kind, name)
        assert module.__doc__, name
        assert [entry for entry in needed if not hasattr(module, entry)] == [], name
