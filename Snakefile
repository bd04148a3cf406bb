# data -> train (detector x regime x run) -> salience -> measures -> model selection -> book
#
# `make book` runs it; `--config profile=NAME` chooses notebooks/params/NAME.yaml. The rules lie in workflow/rules/.
#
# A job depends on the results that it reads (input), and on the settings that it reads and the code that it runs (params).
# Settings and code are not listed here. A job declares its settings and can read no others (e2m.experiment.settings). Its
# code is the modules that it imports and the plug-ins that it looks up (e2m.experiment.dependencies).

import re
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from e2m import plugins
from e2m.experiment import controls, data, explain, frozen, settings, train
from e2m.experiment.dependencies import arguments, code, contents, files_of_notebook, parameters
from e2m.experiment.inputs import Inputs
from e2m.experiment.profile import ModelKey
from e2m.store import paths

PROFILE = config.get("profile", "demo")
experiment = Inputs.load(PROFILE)
RESULTS = f"results/{experiment.profile}"  # PROFILE may be the path of a file
# Regimes whose detectors have maskers.
MASKED = experiment.masker["regimes"] if experiment.masker else []
THREADS = experiment.threads or 2  # of one training
DATA = dict(dataset=[experiment.dataset])
MEASURED = dict(measure=list(experiment.measures))


def inside(files):
    """Results as paths relative to this file, as Snakemake needs them."""
    return [str(Path(file).relative_to(workflow.basedir)) for file in files]


def key_of(wildcards):
    return ModelKey(wildcards.detector, wildcards.regime, int(wildcards.run))


def listed(part):
    """The list of the images that a job reads, "train" or "test"."""
    return inside([paths.images(experiment.profile, part)])


def shared(detector, part):
    """The outputs of frozen blocks that a job of a detector reads, if the profile shares them."""
    return inside([paths.frozen(experiment.profile, detector, part)] if experiment.share_frozen else [])


def results(*keys):
    return inside(file for key in keys for file in experiment.results(key))


def read_by(job, but=()):
    """The settings that a job reads, as params."""
    return settings.lines(experiment, job.reads, but)


localrules: book, pages


# A run is a number: "0.masker" belongs to the masker of run 0.
wildcard_constraints: run=r"\d+"


rule book:
    input: "_build/html/index.html"
    default_target: True


include: "workflow/rules/train.smk"
include: "workflow/rules/salience.smk"
include: "workflow/rules/pages.smk"
include: "workflow/rules/studies.smk"
