# data -> train (detector x regime x run) -> salience -> measures -> model selection -> book
#
# `make book` runs it; `--config profile=NAME` chooses notebooks/params/NAME.yaml. The rules lie in workflow/rules/.
#
# No shell reads a name. Paths, and so wildcards, hold names as `paths.part` spells them; jobs get them back with
# `paths.name_of`; and commands quote everything that they are given: {params.names:q}.
#
# A job depends on the results that it reads (input), and on the settings that it reads and the code that it runs (params).
# Settings and code are not listed here. A job declares its settings and can read no others (e2m.experiment.settings). Its
# code is the modules that it imports and the plug-ins that it looks up (e2m.experiment.dependencies).

import json
import os
import re
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

from e2m import plugins
from e2m.experiment import controls, data, explain, frozen, settings, train
from e2m.experiment.dependencies import arguments, code, contents, files_of_notebook, parameters
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import ModelKey
from e2m.store import paths, times
from e2m.types import InputError

paths.check_folder(Path(workflow.basedir))
# Where jobs note how long they took, for the page "Reproduce this book".
TIMES = os.environ.setdefault(times.VARIABLE, str(Path(workflow.basedir, ".snakemake", "times.jsonl")))
# `make` gives any name by the environment. What --config gives, Snakemake reads as a number where it can, and hands to
# shells where it starts jobs.
PROFILE = config.get("profile", os.environ.get("E2M_PROFILE", "demo"))
if "profile" in config and not (isinstance(PROFILE, str) and re.fullmatch(r"[\w./-]+", PROFILE)):
    raise InputError(f"--config profile={PROFILE} arrived, which is not plain text; give it as E2M_PROFILE={PROFILE!r}")
experiment = Inputs.load(PROFILE)
# Regimes whose detectors have maskers.
MASKED = experiment.masker["regimes"] if experiment.masker else []
THREADS = experiment.threads or 2  # of one training
# Most runs of a job, which share its start, and the images that they read: see profiles/by_runs.yaml.
RUNS_OF_A_JOB = config.get("runs_per_job", 1)
if not (isinstance(RUNS_OF_A_JOB, int) and RUNS_OF_A_JOB > 0):
    raise InputError(f"--config runs_per_job={RUNS_OF_A_JOB} arrived; a whole number from 1 up fits")
DATA = dict(dataset=[experiment.dataset])
MEASURED = dict(measure=list(experiment.measures))


def inside(files):
    """Results as Snakemake needs them: relative to this file, or absolute where E2M_ROOT puts them elsewhere."""
    base = Path(workflow.basedir)
    return [str(file.relative_to(base) if file.is_relative_to(base) else file) for file in map(Path, files)]


def pattern(files):
    """Results of "\\0detector" and the like, which no file calls anything, with {detector} in their paths."""
    return [re.sub("%00([a-z]+)", r"{\1}", file) for file in inside(files)]


def either(names):
    """The constraint of a wildcard to names."""
    return "|".join(re.escape(paths.part(name)) for name in names)


def network_of(wildcards):
    return paths.name_of(wildcards.detector)


def keys_of(wildcards, runs):
    """The detectors of a job of these runs, which may be a wildcard."""
    regime, given = paths.name_of(wildcards.regime), dict(wildcards.items())
    return [ModelKey(network_of(wildcards), regime, int(run.format(**given))) for run in runs]


def jobs_of(rule, regimes, *plans):
    """Name of a rule -> the runs of one of its jobs, as in paths, and the regimes of which there is such a job.

    A job has the runs of one regime and plan whose numbers divided by RUNS_OF_A_JOB agree: more runs, or a plan of more
    regimes, leave the jobs of others as they are. The rule itself serves any run, alone.
    """
    shared = {}
    for plan in plans:
        pairs = sorted({(key.regime, key.run) for key in plan})
        for (regime, _), group in groupby(pairs, lambda pair: (pair[0], pair[1] // RUNS_OF_A_JOB)):
            runs = [str(run) for _, run in group]
            if len(runs) > 1:
                shared.setdefault(f"{rule}_{runs[0]}_to_{runs[-1]}", (runs, []))[1].append(regime)
    if shared:
        workflow.ruleorder(*shared, rule)
    return {**shared, rule: (["{run}"], regimes)}


def plugins_of(wildcards):
    """The plug-ins that a training looks up."""
    return {"detector": [network_of(wildcards)], "regime": [paths.name_of(wildcards.regime)]}


def arguments_of(wildcards, runs=()):
    """The arguments of commands that name what the wildcards stand for, and the runs of a job."""
    given = dict(wildcards.items())
    named = [f"--{name}={paths.name_of(value)}" for name, value in given.items() if name != "run"]
    return [*named, *(f"--run={run.format(**given)}" for run in runs)]


(RESULTS,) = inside([paths.results(experiment.profile)])
if "{" in RESULTS:
    raise InputError(f"E2M_ROOT: {paths.ROOT} has braces, which Snakemake reads as wildcards; name another folder")


def listed(part):
    """The list of the images that a job reads, "train" or "test", and what decides how many of the latter."""
    decided = [paths.table(experiment.profile, "pilot")] if part == "test" and experiment.automatic else []
    return inside([paths.images(experiment.profile, part), *decided])


def shared(detector, part):
    """The outputs of frozen blocks that a job of a detector reads, if the profile shares them."""
    return inside([paths.frozen(experiment.profile, detector, part)] if experiment.share_frozen else [])


def results(*keys):
    return inside(file for key in keys for file in experiment.results(key))


def read_by(job, but=()):
    """The settings that a job reads, as params."""
    return settings.lines(experiment, job.reads, but)


localrules: book, pages


# A run is a number: "0.masker" belongs to the masker of run 0, and "010" to no run.
wildcard_constraints: detector="[^/]+", regime="[^/]+", run="0|[1-9][0-9]*"


rule book:
    input: "_build/html/index.html"
    default_target: True


include: "workflow/rules/checksums.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/salience.smk"
include: "workflow/rules/pages.smk"
include: "workflow/rules/studies.smk"
