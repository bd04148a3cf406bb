"""Weights as people have them: found in a file by what fits the network, whatever they are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor, nn

from e2m.checks import brief
from e2m.types import Detector, InputError

SMALL = 64 << 20
"""Bytes that an archive may always unpack to."""


class Inert:
    """Stands for an object of a class that is not loaded: it holds the object's data and runs none of its code."""

    def __init__(self, *args: object, **kwargs: object):
        self.args = args

    def __setstate__(self, state: object) -> None:
        self.state = state


@dataclass(frozen=True)
class Fit:
    """Weights in a file, under the network's names.

    Attributes:
        weights: name of the network -> tensor.
        said: where in the file they are, and how their names were changed; for people.
        others: parts of the file that fit as well.
    """

    weights: dict[str, object]
    said: str
    others: tuple[str, ...] = ()


def read(path: Path) -> object:
    """The content of a file of weights: safetensors, or what ``torch.save`` wrote.

    Only data are read. Objects of classes that torch does not list as data, such as the settings of a training
    program, become ``Inert``.

    Raises:
        InputError: objects that cannot be left out, or damaged safetensors. Other damaged files raise errors of torch.
    """
    check_archive(path)
    with path.open("rb") as file:
        start = file.read(9)
    # Eight bytes with the length of a header in JSON, and the header.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return _safetensors(path)
    stand_ins = {}
    while True:
        try:
            with torch.serialization.safe_globals([(kind, name) for name, kind in stand_ins.items()]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            unknown = re.search(r"GLOBAL (\S+)", str(error))
            name = unknown and unknown[1]
            if name is None and not stand_ins:
                raise
            if name is None or name in stand_ins:
                held = _whole(name or next(iter(stand_ins)))
                raise InputError(f"{path}: holds {held}; {_WAY_OUT}") from error
            stand_ins[name] = type(name.rpartition(".")[2], (Inert,), {"__module__": name})


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: safetensors that cannot be read ({brief(error)}); copy the file again") from error


def check_archive(path: Path) -> None:
    """Check that an archive does not grow when it is unpacked: torch compresses the code of a program alone.

    Raises:
        InputError: a file that would unpack to more than ``SMALL`` and to several times its own size.
    """
    if not is_zipfile(path):
        return
    packed = path.stat().st_size
    with ZipFile(path) as archive:
        whole = sum(member.file_size for member in archive.infolist())
    if whole > max(SMALL, 4 * packed):
        raise InputError(
            f"{path}: unpacks to {whole / 2**20:,.0f} MB from {packed / 2**20:,.1f}; torch.save does not compress: "
            "save it again with torch.save"
        )


def fitted(content: object, detector: Detector, path: Path) -> Fit:
    """The part of a file's content that fits the network best, under the network's names.

    Every mapping in the content is tried. Its names are matched with the network's after one prefix is removed and
    another added: those that let most names match.

    Raises:
        InputError: the content holds no mapping of names to tensors.
    """
    expected = detector.model.state_dict()
    try:
        parts = [(name, part) for name, part in _mappings(content) if any(isinstance(key, str) for key in part)]
    except RecursionError as error:
        raise InputError(f"{path}: mappings or lists stand inside each other too often; {_WAY_OUT}") from error
    if not parts:
        raise InputError(f"{path}: holds {_held(content)}, and no mapping of names to tensors; {_WAY_OUT}")
    matched = [(name, _renamed(part, expected)) for name, part in parts]
    name, best = max(matched, key=lambda part: (_count(part[1].weights, expected), len(part[1].weights)))
    most = _count(best.weights, expected)
    if not most and not any(isinstance(value, Tensor) for value in best.weights.values()) and _objects(content):
        raise InputError(f"{path}: holds {_held(content)}, and no mapping of names to tensors; {_WAY_OUT}")
    equal = [other for other, part in matched if other != name and _count(part.weights, expected) == most]
    others = (*(repr(other) if other else "the file itself" for other in equal), *best.others) if most else ()
    weights, moved = _paired(best.weights, expected)
    said = [f"from {name!r}" if name else "", best.said, f"{moved[0]!r} is read as {moved[1]!r}" if moved else ""]
    return Fit(weights, ", ".join(filter(None, said)), others)


_WAY_OUT = "in the program that wrote it: torch.save(model.state_dict(), 'weights.pt')"


def _mappings(content: object, name: str = "") -> Iterator[tuple[str, Mapping]]:
    """Every mapping in the content that may hold weights, with its name."""
    if isinstance(content, Mapping):
        yield name, content
        inner = content.items()
    elif isinstance(content, list | tuple):
        inner = enumerate(content)
    else:
        return
    for key, value in inner:
        yield from _mappings(value, f"{name}.{key}" if name else str(key))


def _objects(content: object) -> list[str]:
    """Names of the classes of objects that were not loaded."""
    if isinstance(content, Inert):
        return [type(content).__module__]
    inner = content.values() if isinstance(content, Mapping) else content if isinstance(content, list | tuple) else ()
    return [name for value in inner for name in _objects(value)]


def _held(content: object) -> str:
    objects = _objects(content)
    if objects:
        return _whole(objects[0])
    return f"a {type(content).__name__}"


def _whole(name: str) -> str:
    return f"a whole object ({name}), which could run any code when it is read"


def _count(weights: Mapping, expected: Mapping[str, Tensor]) -> int:
    """How many weights of the network a mapping holds in the right shape, and half as many in another shape."""
    present = [weights[name] for name in expected if name in weights]
    shapes = [expected[name].shape for name in expected if name in weights]
    return sum(1 + (isinstance(a, Tensor) and a.shape == shape) for a, shape in zip(present, shapes, strict=True))


def _renamed(part: Mapping, expected: Mapping[str, Tensor]) -> Fit:
    """A mapping under the network's names: those that let most of them match."""
    part = {name: value for name, value in part.items() if isinstance(name, str)}
    votes = Counter()
    for name in part:
        votes.update((name[: len(name) - len(end)], "") for end in _ends(name) if end in expected)
    for name in expected:
        votes.update(("", name[: len(name) - len(end)]) for end in _ends(name) if end in part)
    few, many = _only_ends(part), _only_ends(expected)
    votes.update((few[end], many[end]) for end in few.keys() & many.keys() if few[end] and many[end])
    # Of equally good ones, the shortest.
    ranked = sorted(votes, key=lambda pair: (-votes[pair], len(pair[0]) + len(pair[1]), pair))
    if not ranked or 2 * votes[ranked[0]] < len(expected):  # names agree by chance, such as "weight"
        return Fit(part, "")
    strip, add = ranked[0]
    # What lies outside the prefix is no part of this network: a loss, another network.
    inside = {f"{add}{name.removeprefix(strip)}": value for name, value in part.items() if name.startswith(strip)}
    said = [f"without the prefix {strip!r}" if strip else "", f"under the prefix {add!r}" if add else ""]
    equal = [pair[0] for pair in ranked if votes[pair] == votes[ranked[0]] and pair[1] == add]
    others = [f"those with the prefix {other!r}" for other in equal if not other.startswith(strip)]
    return Fit(inside, ", ".join(filter(None, said)), tuple(others))


def _ends(name: str) -> Iterator[str]:
    """ "a.b.c" -> "a.b.c", "b.c", "c"."""
    yield name
    while "." in name:
        name = name.split(".", 1)[1]
        yield name


def _only_ends(names: Mapping) -> dict[str, str]:
    """Ends of two or more parts that belong to one name only -> what stands before."""
    counts = Counter(end for name in names for end in _ends(name) if "." in end)
    return {end: name[: len(name) - len(end)] for name in names for end in _ends(name) if counts[end] == 1}


def _paired(weights: dict[str, object], expected: Mapping[str, Tensor]) -> tuple[dict, tuple[str, str] | None]:
    """The weights, one module of which may have another name than in the network: the only one that is left over.

    Counters of batches, which old files lack and no answer depends on, are the network's own.
    """
    missing = [name for name in expected if name not in weights]
    counters = [name for name in missing if name.endswith("num_batches_tracked")]
    missing = [name for name in missing if name not in counters]
    if not missing:
        return {**weights, **{name: expected[name] for name in counters}}, None
    new = {name.rpartition(".")[0] for name in missing}
    wanted = {name.rpartition(".")[2]: expected[name].shape for name in missing}
    modules = {}
    for name, value in weights.items():
        if name not in expected:
            module, _, last = name.rpartition(".")
            modules.setdefault(module, {})[last] = value
    like = [
        module
        for module, parts in modules.items()
        if {last: getattr(value, "shape", None) for last, value in parts.items()} == wanted
    ]
    if len(new) != 1 or len(like) != 1:
        return weights, None
    (new,), (old,) = new, like
    kept = {name: value for name, value in weights.items() if name.rpartition(".")[0] != old}
    renamed = {f"{new}.{last}": value for last, value in modules[old].items()}
    return {**kept, **renamed, **{name: expected[name] for name in counters}}, (old, new)


def with_head_of(model: nn.Module, weights: Mapping[str, object]) -> None:
    """Give a network as many logits as its weights have, one or two: its last linear layer is replaced."""
    for name, module in list(model.named_modules()):
        rows = weights.get(f"{name}.weight")
        fits = isinstance(module, nn.Linear) and isinstance(rows, Tensor) and rows.ndim == 2
        if fits and {len(rows), module.out_features} == {1, 2} and rows.shape[1] == module.in_features:
            head = nn.Linear(module.in_features, len(rows), bias=module.bias is not None).to(module.weight)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, head.train(module.training))
