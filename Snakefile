# data -> train (detector x regime x run) -> salience -> measures -> model selection -> book
#
# `make book` runs it; `--config profile=NAME` chooses notebooks/params/NAME.yaml.

from pathlib import Path

from e2m import plugins
from e2m.experiment import Experiment, Trained

PROFILE = config.get("profile", "demo")
experiment = Experiment.load(PROFILE)

# A measure has a page where it has a notebook of its name.
MEASURES = [name for name in plugins.names("measure") if Path(f"notebooks/{name}.ipynb").is_file()]
TRAINING = [f"train_{regime}" for regime in experiment.regimes]
PAGES = ["data", *TRAINING, *MEASURES, "model_selection"]
RESULTS = f"results/{PROFILE}"
LIBRARY = [f"e2m/{name}.py" for name in ("experiment", "figures", "images", "notebook", "statistics", "store")]
PROSE = glob_wildcards("book/{page,[^/]+}.md").page


def inside(paths):
    """Results are written as paths relative to this file, which is where Snakemake looks."""
    return [str(path.relative_to(workflow.basedir)) for path in paths]


def results(one):
    return inside(experiment.results(one))


def checkpoint(wildcards):
    return inside([experiment.checkpoint(Trained(wildcards.detector, wildcards.regime, int(wildcards.run)))])


rule book:
    input: "_build/html/index.html"
    default_target: True


rule data:
    output: touch(f"{RESULTS}/data.done")
    input: "e2m/datasets/__init__.py", f"e2m/datasets/{experiment.dataset}.py"
    params: options=experiment.dataset_options
    shell: "e2m data --profile {PROFILE}"


rule train:
    output:
        checkpoint=f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.pt",
        notebook=f"{RESULTS}/notebooks/train_{{regime}}-{{detector}}-run-{{run}}.ipynb",
    input:
        rules.data.output,
        "e2m/jobs.py",
        "e2m/training.py",
        "e2m/regimes/{regime}.py",
        "notebooks/train_{regime}.ipynb",
    params: training=experiment.training
    # Both cores: trainings run one after the other, because two at once take longer than one and then the other.
    threads: 2
    resources: gpu=1
    shell:
        "e2m run notebooks/train_{wildcards.regime}.ipynb -p profile {PROFILE} -p detector {wildcards.detector}"
        " -p run {wildcards.run} -o {output.notebook}"


# One rule an explained detector: which files it writes depends on methods, measures and sources of the profile.
for one in experiment.trained:
    rule:
        name: f"salience_{one.detector}_{one.regime}_{one.run}"
        output: results(one)
        input:
            inside([experiment.checkpoint(one)]),
            "e2m/jobs.py",
            "e2m/salience.py",
            "e2m/similarity.py",
            [f"e2m/measures/{name}.py" for name in experiment.measures],
        params:
            measures=experiment.measures,
            methods=experiment.methods,
            images=experiment.images_per_source,
            command=f"--detector {one.detector} --regime {one.regime} --run {one.run}",
        resources: gpu=1
        shell: "e2m salience --profile {PROFILE} {params.command}"


rule training_page:
    output: "book/executed/train_{regime}.ipynb"
    input:
        lambda wildcards: inside(experiment.checkpoint(one) for one in experiment.trained if one.regime == wildcards.regime),
        LIBRARY,
        notebook="notebooks/train_{regime}.ipynb",
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -p detector {experiment.detectors[0]} -o {output}"


rule data_page:
    output: "book/executed/data.ipynb"
    input: rules.data.output, LIBRARY, notebook="notebooks/data.ipynb"
    params: profile=PROFILE
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output}"


rule measure_page:
    output:
        notebook="book/executed/{measure}.ipynb",
        table=f"{RESULTS}/tables/{{measure}}.parquet",
    input:
        [results(one) for one in experiment.trained],
        LIBRARY,
        "e2m/unseen.py",
        "e2m/measures/{measure}.py",
        notebook="notebooks/{measure}.ipynb",
    params: profile=PROFILE
    wildcard_constraints: measure="|".join(MEASURES)
    shell: "e2m run {input.notebook} -p profile {PROFILE} -o {output.notebook}"


rule model_selection:
    output:
        notebook="book/executed/model_selection.ipynb",
        picture="book/executed/summary.png",
        table=f"{RESULTS}/tables/model_selection.parquet",
    input:
        [results(one) for one in experiment.trained],
        LIBRARY,
        "e2m/selection.py",
        notebook="notebooks/model_selection.ipynb",
    params: profile=PROFILE
    shell:
        "e2m run {input.notebook} -p profile {PROFILE} -o {output.notebook}"
        " && cp {RESULTS}/figures/summary.png {output.picture}"


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
        "e2m/regimes/cyborg.py",
        expand("notebooks/params/{profile}.yaml", profile=["smoke", "demo", "paper"]),
    shell: "jupyter-book build book --all -W -n --keep-going --quiet"
