"""Values as people write them: YAML in which text stays text."""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from e2m.types import InputError


class _Loader(yaml.SafeLoader):
    """A YAML loader that reads the plain values of YAML 1.2, and refuses what a profile never needs.

    PyYAML reads YAML 1.1, in which off is false, 010 is 8, 1:30 is 90, 2024-01-01 is a date, and 1e-3 is text. Of a
    repeated key, it silently takes the last. An anchor could stand for itself, and a tag for a value of any type.
    """

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event = self.peek_event()
        if event.anchor or getattr(event, "tag", None):
            raise ComposerError(None, None, "an anchor, an alias or a tag stands for a value", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = []
        for key, _ in node.value:
            if key.value in names:
                raise ConstructorError(None, None, f"a second key {' '.join(str(key.value).split())}", key.start_mark)
            names.append(key.value)
        return super().construct_mapping(node, deep)


_WHOLE = "0|[1-9][0-9]*"
for _kind, _pattern, _starts in (
    ("null", "|~|null|Null|NULL", ["", *"~nN"]),
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", f"[-+]?({_WHOLE})", [*"-+0123456789"]),
    ("float", rf"[-+]?(({_WHOLE})(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", [*"-+.0123456789"]),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", [*"-+."]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _starts)


def read(text: str | bytes) -> Any:
    """The value that YAML text holds.

    Raises:
        InputError: it is not YAML; the message begins with the line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"line {line}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("not a text file") from error
    except RecursionError as error:
        raise InputError("lists or mappings stand inside each other too often") from error
    except ValueError as error:  # such as a whole number of thousands of digits
        raise InputError(f"a value is not YAML ({error})") from error
