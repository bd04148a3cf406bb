"""Detectors: one file each, named as the parameter value. A file holds ``build(pretrained) -> Detector``."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from e2m import plugins
from e2m.checks import brief
from e2m.networks import opaque
from e2m.networks.answers import check_answers
from e2m.networks.checkpoints import MASKER_FORMAT, load_weights, read_checkpoint, weights_hash
from e2m.networks.describe import described, plain
from e2m.networks.inputs import device_of
from e2m.networks.opaque import Opaque
from e2m.types import Detector, InputError


# A network that was made in inference mode could never be explained.
@torch.inference_mode(False)
def load_detector(
    name: str | nn.Module,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    pretrained: bool = False,
    device: str | None = None,
    masker: str | Path | None = None,
    **known: object,
) -> Detector:
    """A detector with weights, in evaluation mode.

    Args:
        name: a file of this folder ("resnet50"); "timm:NAME" for a timm network; "package.module:function", a function
            without arguments that returns an ``e2m.types.Detector`` or a network; the path of a file of TorchScript or
            ONNX; or a network, an ``nn.Module``. A network alone is described by ``e2m.networks.describe``, and stderr
            says what was found and what was taken for granted.
        checkpoint: file with weights, see ``e2m.networks.checkpoints.load_weights``; without it a named network has
            weights initialised from ``seed``.
        seed: of the initial weights.
        pretrained: start from ImageNet weights. Those of mobilenet_v2 are installed with E2M; torchvision and timm
            download others. demo_cnn has none.
        device: "cpu", "cuda", ...; by default a GPU where there is one, and for a network where it is.
        masker: file written by ``e2m.training.masker.fit`` for these weights; the salience method "masker" reads it.
        known: fields of ``Detector`` that replace what the detector says or what would be found: ``size=112``,
            ``mean=(0, 0, 0)``, ``synthetic=0``, ``layer="features"``, ... (``--with`` on the command line).

    Raises:
        InputError: unknown name or device, weights of another network, a masker of other weights, a file that is
            neither, or a network that cannot be described or does not answer as a detector must (``check_answers``).
    """
    check_known(known)
    known = {field: tuple(value) if isinstance(value, list) else value for field, value in known.items()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector = _build(name, pretrained, known)
    check_detector(detector)
    if checkpoint is not None:
        detector = load_weights(detector, checkpoint)
        check_detector(detector)
    if masker is not None:
        detector = replace(detector, masker=Path(masker))
        _check_masker(detector)
    if device is None:
        usual = "cuda" if torch.cuda.is_available() else "cpu"
        device = usual if isinstance(name, str) else device_of(detector.model)
    try:
        detector.model.to(device, memory_format=torch.channels_last).eval()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"no device {device!r} here ({brief(error)}); try cpu, cuda or null") from error
    check_answers(detector)
    return detector


def check_known(known: Mapping[str, object]) -> None:
    """Check that what is known of a detector are fields of it.

    Raises:
        InputError: an unknown name.
    """
    fields = [field.name for field in dataclass_fields(Detector) if field.name not in ("name", "model", "notes")]
    if odd := [name for name in known if name not in fields]:
        raise InputError(f"a detector has no {odd[0]!r}; choose from {', '.join(fields)}")
    if not isinstance(frozen := known.get("frozen", ()), list | tuple):
        raise InputError(f"frozen is {brief(repr(frozen))}; a list of modules fits, as in frozen=[features]")


def check_detector(detector: Detector) -> None:
    """Check that a detector's network has the modules that the detector names.

    Raises:
        InputError: a module is missing, or the head is not a linear layer.
    """
    modules = dict(detector.model.named_modules())
    if isinstance(detector.model, Opaque) and detector.layer:
        raise InputError(f'detector {detector.name!r}: its network shows its scores only; give layer=""')
    named = [(role, getattr(detector, role)) for role in ("layer", "head", "guided_layer")]
    for role, wanted in (*named, *(("frozen module", name) for name in detector.frozen)):
        if wanted is not None and wanted not in modules:
            last = ", ".join(list(modules)[-12:])
            raise InputError(f"detector {detector.name!r} has no {role} named {wanted!r}; its last modules are {last}")
    if detector.head is not None and not isinstance(modules[detector.head], nn.Linear):
        kind = type(modules[detector.head]).__name__
        raise InputError(f"detector {detector.name!r}: head {detector.head!r} is a {kind}; CAM needs a Linear layer")


def _check_masker(detector: Detector) -> None:
    state = read_checkpoint(detector.masker, MASKER_FORMAT, also=("classifier",))
    if state["detector"] != detector.name:
        raise InputError(f"{detector.masker}: a masker of {state['detector']!r}, but {detector.name!r} was asked for")
    if state["classifier"] != (actual := weights_hash(detector.model)):
        raise InputError(
            f"{detector.masker}: trained on weights {state['classifier']}, but this detector has {actual}; give the "
            "checkpoint that it was trained on, or the one that was trained alongside"
        )


def _build(name: str | nn.Module, pretrained: bool, known: dict) -> Detector:
    if isinstance(name, nn.Module):
        return from_network(name, **known)
    if not isinstance(name, str):
        raise InputError(f"a detector of type {type(name).__name__}; a name or an nn.Module fits")
    if name.startswith("timm:"):
        return from_network(_timm_network(name.removeprefix("timm:"), pretrained), name, **known)
    if Path(name).is_file():
        return from_network(_network_in(Path(name)), name, **known)
    made = _called(name) if ":" in name else plugins.load("detector", name).build(pretrained)
    if isinstance(made, nn.Module):
        return from_network(made, name, **known)
    if not isinstance(made.model, nn.Module):
        raise InputError(f"detector {name!r}: model is a {type(made.model).__name__}; an nn.Module fits")
    return replace(made, model=plain(made.model), name=name, **known)


def from_network(model: nn.Module, name: str = "", **known: object) -> Detector:
    """A detector made of a network as it is: see ``e2m.networks.describe``. stderr says what was found."""
    detector = described(model, name, **known)
    print(*(f"{detector.name}: {note}" for note in detector.notes), sep="\n", file=sys.stderr)
    return detector


def _timm_network(name: str, pretrained: bool) -> nn.Module:
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 8)
        raise InputError(f"timm has no network named {name!r}; similar names: {', '.join(close) or 'none'}")
    return timm.create_model(name, pretrained=pretrained, num_classes=2)


def _network_in(path: Path) -> nn.Module:
    network = opaque.read(path)
    if network is None:
        raise InputError(
            f"{path}: holds no network by itself; name the network, and give this file as its weights (checkpoint=, "
            "--weights)"
        )
    return network


def _called(name: str) -> Detector | nn.Module:
    """What a person's function returns."""
    module, function = name.split(":", 1)
    try:
        made = getattr(importlib.import_module(module), function)()
    except ImportError as error:
        raise InputError(
            f"detector {name!r}: cannot import {module!r} ({brief(error)}); is it on PYTHONPATH, or "
            f"{module.split('.')[0]}.py in the working folder, and named without .py?"
        ) from error
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # code of somebody's
        kind = "" if isinstance(error, AttributeError) else f"{type(error).__name__}: "
        raise InputError(f"detector {name!r}: {kind}{brief(error)}") from error
    if not isinstance(made, Detector | nn.Module):
        raise InputError(
            f"detector {name!r} returned {type(made).__name__}; return an e2m.types.Detector or an nn.Module"
        )
    return made
