"""The ``e2m`` command."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; errors for people are printed in one line, and the exit status is 1.

    So is an interruption, with the status 130 that shells know.
    """
    start = time.time()
    # numpy reads this when it starts, here and in kernels. Jobs run side by side, and matrix products are small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Names of files may hold bytes that are no text; they are shown as numbers, and end nothing.
    sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    from e2m.store import times
    from e2m.store.paths import check_folder

    try:
        check_folder(Path.cwd())
        _keep_folders()
        status = options.act(options) or 0
        times.note({name: value for name, value in vars(options).items() if name != "act"}, start)
        return status
    except (ValueError, OSError) as error:
        print(f"e2m: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("e2m: interrupted; finished results are kept, and the same command goes on", file=sys.stderr)
        return 130


def _keep_folders() -> None:
    """Let kernels, which run in another folder, find modules of the working folder and the same plug-ins as here."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    paths = os.environ.get("PYTHONPATH", "")
    if folder not in paths.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, paths)))
    if roots := os.environ.get("E2M_PLUGINS"):
        # pathlib's expanduser fails for an unknown user; this one leaves the text, and the folder is then refused.
        expanded = (os.path.expanduser(root) for root in roots.split(os.pathsep) if root)  # noqa: PTH111
        os.environ["E2M_PLUGINS"] = os.pathsep.join(str(Path(root).absolute()) for root in expanded)


class _Parser(argparse.ArgumentParser):
    """Refuses an empty argument, such as a variable of the shell that has no value: it would count as none."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register("type", None, _filled)


def _filled(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' arrived; give a value, or leave it out")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("e2m", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command", parser_class=_Parser)
    _add_yours(commands)
    _add_companion(commands)
    return parser


def _add_yours(commands: argparse._SubParsersAction) -> None:
    """The commands for detectors and images of yours."""
    check = commands.add_parser("check", help="what goes into a detector and what comes out, in seconds")
    _add_images(check)
    check.add_argument("--detector", required=True, metavar="SPEC", help="NAME, timm:NAME, module:function, or a file")
    check.add_argument(
        "--weights", action="extend", nargs="+", default=[], metavar="FILE", help="checkpoints: files or patterns"
    )
    check.add_argument("--with", dest="known", action="extend", nargs="+", default=[], **_KNOWN)
    check.add_argument("--salience", default="GradCAM", help="salience method [GradCAM]")
    check.add_argument("--device", help="cpu, cuda, cuda:1, ... [a GPU if there is one]")
    check.set_defaults(act=_check)

    audit = commands.add_parser("audit", help="which of your detectors deserves trust, on a folder of images")
    _add_images(audit)
    _add_groups(audit)
    audit.add_argument("--human", metavar="DIR", help="folder of human salience maps, named like the images")
    audit.add_argument("--regions", metavar="DIR", help="folder of true regions, named like the images")
    numbers = {"type": _number, "metavar": "N"}
    audit.add_argument("--images-per-source", default=200, help="most images of a source [200]", **numbers)
    changed = "most images of a source that are changed: noise, moves, blur [32]"
    audit.add_argument("--changed-per-source", default=32, help=changed, **numbers)
    audit.add_argument("--margin", type=float, default=0.05, help="differences of AUC that count as none [0.05]")
    audit.add_argument("--device", help="cpu, cuda, cuda:1, ... [a GPU if there is one]")
    audit.add_argument("--out", default="audit", metavar="DIR", help="folder of the report and all results [audit]")
    audit.add_argument("--book", metavar="ADDRESS", help="address of the book, for links of the report")
    audit.add_argument("--dry-run", action="store_true", help="stop after the plan")
    audit.set_defaults(act=_audit)


def _add_groups(audit: argparse.ArgumentParser) -> None:
    """The arguments that say which detectors are compared."""
    audit.add_argument(
        "--detector",
        action=_Detector,
        required=True,
        dest="detectors",
        metavar="NAME=SPEC",
        help="a group: its name, and NAME, timm:NAME, module:function or a file; may be repeated",
    )
    weights = "checkpoints of the detector before it, one a run: files or patterns"
    audit.add_argument("--weights", action=_OfDetector, nargs="+", metavar="FILE", help=weights)
    audit.add_argument("--with", action=_OfDetector, dest="known", nargs="+", **_KNOWN)
    methods = "salience methods; the first decides [GradCAM]"
    audit.add_argument("--salience", nargs="+", default=["GradCAM"], metavar="METHOD", help=methods)


_KNOWN = {"metavar": "NAME=VALUE", "help": "what you know better of the detector: size=112 layer=features synthetic=0"}


def _add_images(command: argparse.ArgumentParser) -> None:
    """The arguments that say which images there are: see ``_options``."""
    command.add_argument("images", help="folder of images, in folders named after their label")
    command.add_argument("--csv", metavar="FILE", help="list of the images, with the columns path and label")
    command.add_argument("--columns", type=_mapping, metavar="path=NAME,...", help="what the list's columns are called")
    command.add_argument(
        "--labels",
        type=_mapping,
        metavar="WORD=LABEL,...",
        help="what words of folders and lists mean: 0=synthetic,1=authentic",
    )
    command.add_argument("--subjects", help="image, folder, or a regular expression that names a path's subject")


def _add_companion(commands: argparse._SubParsersAction) -> None:
    """The commands of the book: its notebooks, and the jobs of a profile."""
    run = commands.add_parser("run", help="execute one notebook with parameters")
    run.add_argument("notebook", help="name or path of a notebook: noise, notebooks/noise.ipynb")
    # A parameter may be an empty text.
    run.add_argument("-p", dest="parameters", nargs=2, action="append", type=str, default=[], metavar=("NAME", "VALUE"))
    run.add_argument("-o", dest="output", help="path of the executed notebook [results/notebooks/NAME.ipynb]")
    run.set_defaults(act=_run)

    verify = commands.add_parser("verify", help="compare a built book with what the stored results give")
    verify.add_argument("pages", nargs="*", metavar="PAGE", help="compute only these again: noise entropy [all]")
    verify.add_argument("--book", default="_build/html", metavar="DIR", help="folder of the book [_build/html]")
    verify.add_argument("--jobs", type=int, default=2, metavar="N", help="pages computed at once [2]")
    verify.set_defaults(act=_verify)

    data = commands.add_parser("data", help="make or check the images of a profile")
    data.add_argument("--profile", default="demo")
    data.add_argument("--part", choices=("train", "test"), help="list these images in results/PROFILE/data/")
    data.add_argument("--state", default="new", help="what the list calls their state; the workflow compares it [new]")
    data.set_defaults(act=_data)

    frozen = _job(commands, "frozen", _frozen, "outputs of frozen blocks, which trainings and explanations share")
    frozen.add_argument("--part", choices=("train", "test"), required=True)
    _job(commands, "controls", _controls, "salience maps with a known answer, for every measure")

    _of_runs(_job(commands, "train", _train, "train detectors, or resume their training"))
    _of_runs(_job(commands, "train-masker", _train_masker, "train the maskers of trained detectors"))
    salience = _job(commands, "salience", _salience, "salience of trained detectors on clean and perturbed images")
    _of_runs(salience)
    salience.add_argument("--source", action="append", help="only this source; may be given again [all]")

    pilot = commands.add_parser("pilot", help="how many images are enough, from few runs on few images")
    pilot.add_argument("--profile", default="demo")
    pilot.add_argument("--detector", help="with --regime and --run: explain the pilot's images with this one alone")
    pilot.add_argument("--regime")
    pilot.add_argument("--run", type=_number)
    pilot.add_argument("--device", help="cpu, cuda, cuda:1, ... [the profile's; a GPU if there is one]")
    pilot.set_defaults(act=_pilot)

    plan = commands.add_parser("plan", help="images, passes and hours of a profile here, and the intervals to expect")
    plan.add_argument("--profile", default="demo")
    plan.set_defaults(act=_plan)


def _job(commands: argparse._SubParsersAction, name: str, act: Callable, words: str) -> argparse.ArgumentParser:
    """The command of a job of a profile."""
    job = commands.add_parser(name, help=words)
    job.add_argument("--profile", default="demo")
    job.add_argument("--detector", help="network [the profile's first]")
    job.add_argument("--device", help="cpu, cuda, cuda:1, ... [the profile's; a GPU if there is one]")
    job.set_defaults(act=act)
    return job


def _of_runs(job: argparse.ArgumentParser) -> None:
    """The arguments that say which of the detectors it is, or which."""
    job.add_argument("--regime", required=True)
    job.add_argument("--run", type=_number, action="append", required=True, metavar="N", help="may be given again")


def _number(text: str) -> int:
    """A whole number; int() would read 010, 1_0 and digits of other scripts as well."""
    if not re.fullmatch("0|[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} arrived; a whole number such as 3 fits")
    return int(text)


def _mapping(text: str) -> dict[str, str]:
    """``path=file,label=target`` as a dictionary."""
    pairs = [[part.strip() for part in pair.partition("=")] for pair in text.split(",")]
    if not all(map(all, pairs)):
        raise argparse.ArgumentTypeError(f"{text!r} arrived; NAME=VALUE fits, or several with commas between them")
    return {name: value for name, _, value in pairs}


def _options(options: argparse.Namespace) -> dict[str, object]:
    """Options of the data set "folder"."""
    given = {name: getattr(options, name) for name in ("csv", "columns", "labels", "subjects")}
    return {name: value for name, value in given.items() if value is not None}


class _Detector(argparse.Action):
    """``--detector NAME=SPEC`` begins a group."""

    def __call__(self, parser, namespace, values, option_string=None):
        name, equals, spec = values.partition("=")
        if not (name and equals and spec):
            parser.error(f"{option_string} {values}: give NAME=SPEC, as in A=timm:convnext_atto")
        groups = [*(namespace.detectors or []), {"name": name, "network": spec, "weights": [], "known": []}]
        namespace.detectors = groups


class _OfDetector(argparse.Action):
    """``--weights FILE ...`` and ``--with NAME=VALUE ...`` belong to the detector before them."""

    def __call__(self, parser, namespace, values, option_string=None):
        if not namespace.detectors:
            parser.error(f"{option_string} {values[0]}: no --detector comes before it")
        namespace.detectors[-1][self.dest] += values


def _known(pairs: Sequence[str]) -> dict[str, object]:
    """Fields of a detector from text; a value of several is written as YAML: ``mean=[0.5, 0.5, 0.5]``."""
    import yaml

    from e2m.types import Detector, InputError

    texts = [field.name for field in fields(Detector) if field.type.startswith(("str", "Path"))]
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name and equals and text):
            raise InputError(f"--with {pair}: give NAME=VALUE, as in size=112, layer=features or mean=[0.5,0.5,0.5]")
        try:
            values[name] = text if name in texts else yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"--with {pair}: the value is no number and no list, such as [0.5, 0.5, 0.5]") from error
    return values


def _audit(options: argparse.Namespace) -> None:
    from e2m.audit import command
    from e2m.audit.audit import Audit

    audit = Audit.of(
        options.images,
        [{**one, "known": _known(one["known"])} for one in options.detectors],
        methods=options.salience,
        options=_options(options) | ({"salience": options.human} if options.human else {}),
        regions=options.regions,
        images_per_source=options.images_per_source,
        changed_per_source=options.changed_per_source,
        device=options.device,
        margin=options.margin,
        folder=options.out,
    )
    page = command.audit(audit, options.dry_run, book=options.book or "")
    if page is not None:
        print(page)


def _check(options: argparse.Namespace) -> int:
    from e2m.audit import check
    from e2m.datasets import load_dataset
    from e2m.detectors import check_known

    known = _known(options.known)
    check_known(known)
    files = dict.fromkeys(file for pattern in options.weights or () for file in check.files(pattern))
    samples = load_dataset("folder", root=options.images, **_options(options))
    print(check.listing(samples))
    for finding in check.of_images(samples):
        print(f"  {finding}")
    detector, few, stopped = options.detector, check.chosen(samples), False
    for file in files or [None]:
        print(detector if file is None else f"{detector}, {file}")
        for finding in check.check_file(detector, file, few, options.salience, device=options.device, **known):
            print(f"  {finding}")
            stopped |= finding.level == "stop"
    return int(stopped)


def _run(options: argparse.Namespace) -> None:
    from e2m.pages import notebook

    parameters = notebook.values(options.notebook, dict(options.parameters))
    print(notebook.run(options.notebook, parameters, options.output))


def _verify(options: argparse.Namespace) -> int:
    from e2m.pages import manifest

    count = 0
    for line in manifest.verify(Path(options.book), options.pages, options.jobs):
        print(line, flush=True)
        count += 1
    print(f"{options.book}: {count or 'no'} difference{'s' * (count != 1)}")
    return int(count > 0)


def _data(options: argparse.Namespace) -> None:
    from e2m.experiment import data
    from e2m.experiment.profile import claim
    from e2m.experiment.results import Experiment

    experiment = Experiment.load(options.profile)
    claim(options.profile)
    if options.part != "train":
        data.check(experiment)
    if options.part:
        print(data.write(experiment, options.part, options.state))


def _frozen(options: argparse.Namespace) -> None:
    from e2m.experiment import frozen

    experiment = _experiment(options)
    print(frozen.PARTS[options.part](experiment, options.detector or experiment.detectors[0]))


def _train(options: argparse.Namespace) -> None:
    from e2m.experiment import train

    experiment = _experiment(options)
    files = {key: experiment.checkpoint(key) for key in _keys(options, experiment)}
    for file in train.in_turn(lambda key: train.train(experiment, key)[1], files):
        print(file, flush=True)


def _train_masker(options: argparse.Namespace) -> None:
    from e2m.experiment import train

    experiment = _experiment(options)
    files = {key: experiment.masker_file(key) for key in _keys(options, experiment)}
    for file in train.in_turn(lambda key: train.train_masker(experiment, key)[1], files):
        print(file, flush=True)


def _salience(options: argparse.Namespace) -> None:
    from e2m.experiment import explain

    experiment = _experiment(options)
    keys = _keys(options, experiment)
    measured = None if options.source else experiment.measured(keys[0])
    explain.explain_runs(experiment, keys, options.source, measured=measured)


def _pilot(options: argparse.Namespace) -> None:
    from e2m.pages import pilot
    from e2m.types import InputError

    experiment = _experiment(options)
    if (options.regime is None) != (options.run is None):
        raise InputError("--regime or --run arrived alone; both fit, or neither")
    if options.regime is not None:
        options.run = [options.run]
        pilot.explain_one(experiment, *_keys(options, experiment))
    else:
        for key in pilot.missing(experiment):
            pilot.explain_one(experiment, key)
        table = pilot.write(experiment)
        print(table, *pilot.report(table), sep="\n")


def _plan(options: argparse.Namespace) -> None:
    from e2m.experiment.results import Experiment
    from e2m.pages import plan

    for line in plan.lines(Experiment.load(options.profile)):
        print(line, flush=True)


def _controls(options: argparse.Namespace) -> None:
    from e2m.experiment import controls

    experiment = _experiment(options)
    controls.explain_controls(experiment, options.detector or experiment.detectors[0])


def _keys(options: argparse.Namespace, experiment) -> list:
    from e2m.experiment.results import ModelKey

    detector = options.detector or experiment.detectors[0]
    return [ModelKey(detector, options.regime, run) for run in dict.fromkeys(options.run)]


def _experiment(options: argparse.Namespace):
    from e2m.experiment.profile import claim
    from e2m.experiment.results import Experiment

    experiment = Experiment.load(options.profile, **({"device": options.device} if options.device else {}))
    claim(options.profile)
    return experiment


if __name__ == "__main__":
    sys.exit(main())
