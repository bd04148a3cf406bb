"""The ``e2m`` command."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; errors for people are printed in one line, and the exit status is 1.

    So is an interruption, with the status 130 that shells know.
    """
    # numpy reads this when it starts, here and in kernels. Jobs run side by side, and matrix products are small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Names of files may hold bytes that are no text; they are shown as numbers, and end nothing.
    sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    from e2m.store.paths import check_folder

    try:
        check_folder(Path.cwd())
        _keep_folders()
        return options.act(options) or 0
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("e2m", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_yours(commands)
    _add_companion(commands)
    return parser


def _add_yours(commands: argparse._SubParsersAction) -> None:
    """The commands for detectors and images of yours."""
    check = commands.add_parser("check", help="what goes into a detector and what comes out, in seconds")
    _add_images(check)
    check.add_argument("--detector", required=True, metavar="SPEC", help="NAME, timm:NAME, module:function, or a file")
    check.add_argument(
        "--weights", action="append", default=[], metavar="FILE", help="file or pattern; may be repeated"
    )
    check.add_argument("--salience", default="GradCAM", help="salience method [GradCAM]")
    check.add_argument("--device", help="cpu, cuda, cuda:1, ... [a GPU if there is one]")
    check.set_defaults(act=_check)

    audit = commands.add_parser("audit", help="which of your detectors deserves trust, on a folder of images")
    _add_images(audit)
    audit.add_argument(
        "--detector",
        action=_Detector,
        required=True,
        dest="detectors",
        metavar="NAME=SPEC",
        help="a group: its name, and NAME, timm:NAME, module:function or a file; may be repeated",
    )
    audit.add_argument(
        "--weights",
        action=_Weights,
        nargs="+",
        metavar="FILE",
        help="checkpoints of the detector before it, one a run: files or patterns",
    )
    audit.add_argument(
        "--salience",
        nargs="+",
        default=["GradCAM"],
        metavar="METHOD",
        help="salience methods; the first decides [GradCAM]",
    )
    audit.add_argument("--human", metavar="DIR", help="folder of human salience maps, named like the images")
    audit.add_argument("--regions", metavar="DIR", help="folder of true regions, named like the images")
    audit.add_argument(
        "--images-per-source", type=_number, default=200, metavar="N", help="most images of a source [200]"
    )
    audit.add_argument(
        "--changed-per-source",
        type=_number,
        default=32,
        metavar="N",
        help="most images of a source that are changed: noise, moves, blur [32]",
    )
    audit.add_argument("--margin", type=float, default=0.05, help="differences of AUC that count as none [0.05]")
    audit.add_argument("--device", help="cpu, cuda, cuda:1, ... [a GPU if there is one]")
    audit.add_argument("--out", default="audit", metavar="DIR", help="folder of the report and all results [audit]")
    audit.add_argument("--book", default="", metavar="ADDRESS", help="address of the book, for links of the report")
    audit.add_argument("--dry-run", action="store_true", help="stop after the plan")
    audit.set_defaults(act=_audit)


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
    run.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
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

    frozen = commands.add_parser("frozen", help="outputs of frozen blocks, which trainings and explanations share")
    frozen.add_argument("--profile", default="demo")
    frozen.add_argument("--detector", help="network [the profile's first]")
    frozen.add_argument("--part", choices=("train", "test"), required=True)
    frozen.set_defaults(act=_frozen)

    train = commands.add_parser("train", help="train one detector, or resume its training")
    train.add_argument("--profile", default="demo")
    train.add_argument("--detector", help="network [the profile's first]")
    train.add_argument("--regime", required=True)
    train.add_argument("--run", type=_number, required=True)
    train.set_defaults(act=_train)

    masker = commands.add_parser("train-masker", help="train the masker of one trained detector")
    masker.add_argument("--profile", default="demo")
    masker.add_argument("--detector", help="network [the profile's first]")
    masker.add_argument("--regime", required=True)
    masker.add_argument("--run", type=_number, required=True)
    masker.set_defaults(act=_train_masker)

    salience = commands.add_parser("salience", help="salience of one trained detector on clean and perturbed images")
    salience.add_argument("--profile", default="demo")
    salience.add_argument("--detector", help="network [the profile's first]")
    salience.add_argument("--regime", required=True)
    salience.add_argument("--run", type=_number, required=True)
    salience.add_argument("--source", action="append", help="only this source; may be given again [all]")
    salience.set_defaults(act=_salience)

    controls = commands.add_parser("controls", help="salience maps with a known answer, for every measure")
    controls.add_argument("--profile", default="demo")
    controls.add_argument("--detector", help="network [the profile's first]")
    controls.set_defaults(act=_controls)

    for command in (frozen, train, masker, salience, controls):
        command.add_argument("--device", help="cpu, cuda, cuda:1, ... [the profile's; a GPU if there is one]")


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
        groups = [*(namespace.detectors or []), {"name": name, "network": spec, "weights": []}]
        namespace.detectors = groups


class _Weights(argparse.Action):
    """``--weights FILE ...`` belongs to the detector before it."""

    def __call__(self, parser, namespace, values, option_string=None):
        if not namespace.detectors:
            parser.error(f"{option_string} {values[0]}: no --detector comes before it")
        namespace.detectors[-1]["weights"] += values


def _audit(options: argparse.Namespace) -> None:
    from e2m.audit import command
    from e2m.audit.audit import Audit

    audit = Audit.of(
        options.images,
        options.detectors,
        methods=options.salience,
        options=_options(options) | ({"salience": options.human} if options.human else {}),
        regions=options.regions,
        images_per_source=options.images_per_source,
        changed_per_source=options.changed_per_source,
        device=options.device,
        margin=options.margin,
        folder=options.out,
    )
    page = command.audit(audit, options.dry_run, book=options.book)
    if page is not None:
        print(page)


def _check(options: argparse.Namespace) -> int:
    from e2m.audit import check
    from e2m.datasets import load_dataset

    files = check.files(options.weights) if options.weights else [None]
    samples = check.chosen(load_dataset("folder", root=options.images, **_options(options)))
    stopped = False
    for file in files:
        print(options.detector if file is None else f"{options.detector}, {file}")
        for finding in check.check_file(options.detector, file, samples, options.salience, device=options.device):
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
    print(train.train(experiment, _key(options, experiment))[1])


def _train_masker(options: argparse.Namespace) -> None:
    from e2m.experiment import train

    experiment = _experiment(options)
    print(train.train_masker(experiment, _key(options, experiment))[1])


def _salience(options: argparse.Namespace) -> None:
    from e2m.experiment import explain

    experiment = _experiment(options)
    key = _key(options, experiment)
    measured = None if options.source else experiment.measured(key)
    explain.explain(experiment, key, options.source, measured=measured)


def _controls(options: argparse.Namespace) -> None:
    from e2m.experiment import controls

    experiment = _experiment(options)
    controls.explain_controls(experiment, options.detector or experiment.detectors[0])


def _key(options: argparse.Namespace, experiment):
    from e2m.experiment.results import ModelKey

    return ModelKey(options.detector or experiment.detectors[0], options.regime, options.run)


def _experiment(options: argparse.Namespace):
    from e2m.experiment.profile import claim
    from e2m.experiment.results import Experiment

    experiment = Experiment.load(options.profile, **({"device": options.device} if options.device else {}))
    claim(options.profile)
    return experiment


if __name__ == "__main__":
    sys.exit(main())
