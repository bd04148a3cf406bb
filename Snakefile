# data -> train (detector x regime x run) -> salience -> measures -> model selection -> book
#
# `make book` runs it; `--config profile=NAME` chooses notebooks/params/NAME.yaml.

import re
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from e2m import plugins
from e2m.experiment.results import Experiment, ModelKey
from e2m.experiment import controls
from e2m.types import MASKER

PROFILE = config.get("profile", "demo")
experiment = Experiment.load(PROFILE)

# A measure has a page where it has a notebook of its name.
MEASURES = [name for name in plugins.names("measure") if Path(f"notebooks/{name}.ipynb").is_file()]
# A regime has a page where it has a notebook; the others are trained without one.
SHOWN = [name for name in plugins.names("regime") if Path(f"notebooks/train_{name}.ipynb").is_file()]
UNSHOWN = sorted(set(plugins.names("regime")) - set(SHOWN))
TRAINING = [f"train_{regime}" for regime in SHOWN]
PAGES = ["data", *TRAINING, "train_masker", "controls", *MEASURES, "model_selection", "claims", "coverage", "interventions", "masking", "speed"]
RESULTS = f"results/{PROFILE}"
THREADS = experiment.threads or 2  # of one training
# Every page says how far its intervals can be trusted, which this study tells.
COVERAGE = [str(path) for path in Path("data/studies").glob("????-??-??-coverage.parquet")]
MODULES = ("experiment/profile", "experiment/results", "pages/figures", "pages/tables", "arrays/images", "pages/notebook", "statistics/__init__", "store/disk", "pages/coverage")
LIBRARY = [*(f"e2m/{name}.py" for name in MODULES), *COVERAGE]
PROSE = glob_wildcards("book/{page,[^/]+}.md").page


def inside(paths):
    """Results are written as paths relative to this file, which is where Snakemake looks."""
    return [str(path.relative_to(workflow.basedir)) for path in paths]


def results(one):
    return inside(experiment.results(one))


def checkpoint(wildcards):
    return inside([experiment.checkpoint(ModelKey(wildcards.detector, wildcards.regime, int(wildcards.run)))])


def masker(wildcards):
    return inside([experiment.masker_file(ModelKey(wildcards.detector, wildcards.regime, int(wildcards.run)))])


localrules: book, pages


# Not "0.masker", which is the masker of run 0.
wildcard_constraints: run=r"\d+"


rule book:
    input: "_build/html/index.html"
    default_target: True


rule data:
    output: touch(f"{RESULTS}/data.done")
    input: "e2m/store/building.py", "e2m/datasets/__init__.py", f"e2m/datasets/{experiment.dataset}.py"
    params: options=experiment.dataset_options
    shell: "e2m data --profile {PROFILE}"


def trained(regime):
    """Checkpoints of a regime; of one that the profile leaves out, that of run 0, which its page shows."""
    planned = [one for one in (*experiment.trained, *experiment.controlled) if one.regime == regime]
    return inside(map(experiment.checkpoint, planned or [ModelKey(experiment.detectors[0], regime, 0)]))


rule train:
    output:
        checkpoint=f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.pt",
        notebook=f"{RESULTS}/notebooks/train_{{regime}}-{{detector}}-run-{{run}}.ipynb",
    input:
        rules.data.output,
        "e2m/experiment/train.py",
        [f"e2m/training/{name}.py" for name in ("detector", "images", "loop", "settings")],
        "e2m/regimes/__init__.py",
        "e2m/regimes/{regime}.py",
        "notebooks/train_{regime}.ipynb",
    params: training=experiment.training
    wildcard_constraints: regime="|".join(SHOWN)
    threads: THREADS
    # First, because the rest waits for them; what comes of one detector runs beside the training of the next.
    priority: 1
    resources: gpu=1, training=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
    shell:
        "e2m run notebooks/train_{wildcards.regime}.ipynb -p profile {PROFILE} -p detector {wildcards.detector}"
        " -p run {wildcards.run} -o {output.notebook}"


rule train_without_page:
    output: f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.pt"
    input:
        rules.data.output,
        "e2m/experiment/train.py",
        [f"e2m/training/{name}.py" for name in ("detector", "images", "loop", "settings")],
        "e2m/regimes/__init__.py",
        "e2m/regimes/{regime}.py",
    params: training=experiment.training
    wildcard_constraints: regime="|".join(UNSHOWN)
    threads: THREADS
    priority: 1
    resources: gpu=1, training=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
    shell:
        "e2m train --profile {PROFILE} --detector {wildcards.detector} --regime {wildcards.regime}"
        " --run {wildcards.run}"


rule train_masker:
    output:
        masker=f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.masker.pt",
        notebook=f"{RESULTS}/notebooks/train_masker-{{detector}}-{{regime}}-run-{{run}}.ipynb",
    input:
        checkpoint,
        "e2m/experiment/train.py",
        "e2m/networks/masker.py",
        [f"e2m/training/{name}.py" for name in ("masker", "images", "loop", "objectives", "settings")],
        "notebooks/train_masker.ipynb",
    params: masker=experiment.masker
    resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
    shell:
        "e2m run notebooks/train_masker.ipynb -p profile {PROFILE} -p detector {wildcards.detector}"
        " -p regime {wildcards.regime} -p run {wildcards.run} -o {output.notebook}"


# One job a detector; with `--config shard=source`, as clusters have it, one a detector and source.
BY_SOURCE = config.get("shard", "detector") == "source"


# Regimes whose detectors have maskers are explained with them.
MASKED = experiment.masker["regimes"] if experiment.masker else []
UNMASKED = sorted(set(plugins.names("regime")) - set(MASKED))
masked = replace(experiment, methods=[*experiment.methods, MASKER])
families = [("salience", masked, MASKED), ("salience_without_masks", experiment, UNMASKED)]

for title, family, regimes in families if MASKED else [("salience", experiment, UNMASKED)]:
    rule:
        name: title
        output: inside(family.results(ModelKey("{detector}", "{regime}", "{run}"), ["{source}"] if BY_SOURCE else None))
        input:
            checkpoint,
            masker if MASKER in family.methods else [],
            "e2m/experiment/train.py",
            "e2m/networks/masker.py",
            "e2m/salience/engine.py",
            "e2m/arrays/ssim.py",
            [f"e2m/measures/{name}.py" for name in experiment.measures],
        params:
            measures=experiment.measures,
            methods=family.methods,
            images=experiment.images_per_source,
            source="--source {source}" if BY_SOURCE else "",
        wildcard_constraints:
            regime="|".join(regimes),
            source="|".join(map(re.escape, experiment.sources)),
        resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
        shell:
            "e2m salience --profile {PROFILE} --detector {wildcards.detector} --regime {wildcards.regime}"
            " --run {wildcards.run} {params.source}"


rule explained:
    # Everything but pages: what a cluster is for.
    input: [results(one) for one in experiment.trained]


# Salience whose answer is known, beside every network.
for network in experiment.detectors:
    rule:
        name: f"controls_{network}"
        output: inside(controls.results(experiment, network))
        input:
            inside(experiment.checkpoint(ModelKey(network, regime, 0)) for regime in experiment.regimes),
            "e2m/experiment/controls.py",
            "e2m/pages/controls.py",
            "e2m/experiment/explain.py",
            "e2m/salience/engine.py",
            "e2m/arrays/ssim.py",
            [f"e2m/measures/{name}.py" for name in experiment.measures],
        params:
            measures=experiment.measures,
            methods=experiment.methods,
            images=experiment.images_per_source,
            detector=network,
        resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
        shell: "e2m controls --profile {PROFILE} --detector {params.detector}"


rule masker_page:
    output: "book/executed/train_masker.ipynb"
    input:
        inside(experiment.masker_file(one) for one in experiment.trained if one.regime in MASKED),
        LIBRARY,
        notebook="notebooks/train_masker.ipynb",
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -p detector {experiment.detectors[0]} -o {output}"


rule training_page:
    output: "book/executed/train_{regime}.ipynb"
    wildcard_constraints: regime="|".join(SHOWN)
    input:
        lambda wildcards: trained(wildcards.regime),
        LIBRARY,
        notebook="notebooks/train_{regime}.ipynb",
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -p detector {experiment.detectors[0]} -o {output}"


rule data_page:
    output: "book/executed/data.ipynb"
    input: rules.data.output, LIBRARY, notebook="notebooks/data.ipynb"
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output}"


rule controls_page:
    output:
        notebook="book/executed/controls.ipynb",
        table=f"{RESULTS}/tables/controls.parquet",
    input:
        [inside(controls.results(experiment, network)) for network in experiment.detectors],
        [results(one) for one in experiment.trained],
        [results(one) for one in experiment.controlled if one.regime == "shuffled_labels"],
        LIBRARY,
        "e2m/pages/controls.py",
        notebook="notebooks/controls.ipynb",
    params: profile=PROFILE
    # The pages of measures wait for it.
    priority: 1
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output.notebook}"


rule measure_page:
    output:
        notebook="book/executed/{measure}.ipynb",
        table=f"{RESULTS}/tables/{{measure}}.parquet",
    input:
        [results(one) for one in experiment.trained],
        LIBRARY,
        "e2m/pages/unseen.py",
        "e2m/measures/{measure}.py",
        # Their floors and ceilings are drawn.
        rules.controls_page.output.table,
        notebook="notebooks/{measure}.ipynb",
    params: profile=PROFILE
    wildcard_constraints: measure="|".join(MEASURES)
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output.notebook}"


rule model_selection:
    output:
        notebook="book/executed/model_selection.ipynb",
        picture="book/executed/summary.png",
        tables=expand(RESULTS + "/tables/{name}.parquet", name=["model_selection", "differences", "equal_accuracy"]),
    input:
        [results(one) for one in experiment.trained],
        LIBRARY,
        "e2m/pages/selection.py",
        notebook="notebooks/model_selection.ipynb",
    params: profile=PROFILE
    # The page of claims waits for it.
    priority: 1
    shell:
        "e2m run {input.notebook} -p profile {PROFILE} -o {output.notebook}"
        " && cp {RESULTS}/figures/summary.png {output.picture}"


rule claims:
    output:
        notebook="book/executed/claims.ipynb",
        table=f"{RESULTS}/tables/claims.parquet",
    input:
        rules.model_selection.output.tables,
        [results(one) for one in experiment.trained],
        LIBRARY,
        "e2m/pages/claims.py",
        notebook="notebooks/claims.ipynb",
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output.notebook}"


rule coverage:
    output: "book/executed/coverage.ipynb"
    input: LIBRARY, notebook="notebooks/coverage.ipynb"
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output}"


# What `make study` adds to `make book`: more regimes and runs, read by studies/guidance.py, and studies of their own.
repeated = ModelKey(experiment.detectors[0], experiment.traditional, 0)
elsewhere = replace(experiment, profile=f"{PROFILE}-again", masker=None, measures={})


rule study:
    input:
        [results(one) for one in (*experiment.trained, *experiment.studied)],
        inside(elsewhere.results(repeated, experiment.in_set)) if experiment.study else [],


rule masking_study:
    # The longest job of all: `make study` has it, and what it waits for, done first.
    output: touch(f"{RESULTS}/studies/masking.done")
    input:
        inside(experiment.masker_file(one) for one in experiment.trained if one.regime in MASKED),
        inside(experiment.checkpoint(one) for one in experiment.studied if one.regime == "shuffled_labels"),
        "studies/masking.py",
        "e2m/networks/masker.py",
        [f"e2m/training/{name}.py" for name in ("masker", "images", "loop", "objectives", "settings")],
        "e2m/measures/localisation.py",
    shell: "python -m studies.masking --profile {PROFILE} --workers {threads}"


rule coverage_study:
    output: touch(f"{RESULTS}/studies/coverage.done")
    input: "studies/coverage.py", "e2m/statistics/__init__.py"
    shell: "python -m studies.coverage --workers {threads}"


rule seed_repeated:
    # One detector trained again from nothing, in another place: its seed must decide everything.
    output: inside([elsewhere.checkpoint(repeated), *elsewhere.results(repeated, experiment.in_set)])
    input: results(repeated)
    params:
        profile=f"results/{elsewhere.profile}.yaml",
        one=f"--detector {repeated.detector} --regime {repeated.regime} --run {repeated.run}",
        sources=" ".join(f"--source {source}" for source in experiment.in_set),
    threads: THREADS
    priority: 1
    resources: gpu=1, training=1
    run:
        settings = {name: value for name, value in asdict(elsewhere).items() if name != "profile"}
        Path(params.profile).write_text(yaml.safe_dump(settings))
        shell(
            "e2m train --profile {params.profile} {params.one}"
            " && e2m salience --profile {params.profile} {params.one} {params.sources}"
        )


rule interventions:
    output: "book/executed/interventions.ipynb"
    input:
        [str(path) for name in ("guidance", "planted") for path in Path("data/studies").glob(f"????-??-??-{name}.parquet")],
        [results(one) for one in (*experiment.trained, *experiment.controlled) if one.run == 0],
        LIBRARY,
        "e2m/pages/interventions.py",
        "e2m/store/studies.py",
        notebook="notebooks/interventions.ipynb",
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output}"


rule masking:
    output: "book/executed/masking.ipynb"
    input:
        [str(path) for path in Path("data/studies").glob("????-??-??-masking*.parquet")],
        LIBRARY,
        "e2m/store/studies.py",
        notebook="notebooks/masking.ipynb",
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output}"


rule speed:
    output: "book/executed/speed.ipynb"
    input:
        [str(path) for path in Path("data/studies").glob("????-??-??-speed.parquet")],
        LIBRARY,
        "e2m/store/studies.py",
        notebook="notebooks/speed.ipynb",
    shell: "e2m run {input.notebook} -o {output}"


rule pages:
    output: "_build/html/index.html"
    input:
        expand("book/executed/{page}.ipynb", page=PAGES),
        rules.model_selection.output.picture,
        expand("book/{page}.md", page=PROSE),
        # Shown or read by pages.
        "_config.yml",
        "book/_toc.yml",
        "book/references.bib",
        "book/style/e2m.css",
        "book/style/e2m.js",
        "data/README.md",
        "e2m/regimes/__init__.py",
        "profiles/cluster/config.yaml",
        "profiles/cluster/status",
        "profiles/slurm/config.yaml",
        expand("notebooks/params/{profile}.yaml", profile=["smoke", "demo", "paper"]),
    shell: "jupyter-book build book --all -W -n --keep-going --quiet"
