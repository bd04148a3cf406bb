# Notebooks as pages, and the book.

EVERY = dict(
    dataset=[experiment.dataset, "planted"],  # the page interventions shows "planted"
    detector=experiment.detectors,
    regime=sorted({*experiment.regimes, *experiment.controls, *experiment.study}),
    method=plugins.names("method"),
    measure=plugins.names("measure"),
)
SETTINGS = settings.lines(experiment, asdict(experiment), but=settings.UNSEEN)


def trained(regime):
    """Checkpoints of a regime; if the profile leaves it out, the checkpoint of run 0, which its page shows."""
    planned = [key for key in (*experiment.trained, *experiment.controlled) if key.regime == regime]
    return inside(map(experiment.checkpoint, planned or [ModelKey(experiment.detectors[0], regime, 0)]))


# A measure or regime has a page if a notebook has its name; other regimes are trained without a page.
MEASURES = [name for name in plugins.names("measure") if Path(f"notebooks/{name}.ipynb").is_file()]
SHOWN = [name for name in plugins.names("regime") if Path(f"notebooks/train_{name}.ipynb").is_file()]
TRAINED = results(*experiment.trained)
COMPARED = TRAINED + results(*(key for key in experiment.controlled if key.regime in experiment.comparators))
CONTROLS = inside(file for network in experiment.detectors for file in controls.results(experiment, network))

# Page -> the results that it reads. The code of a page names the tables of other pages and the studies that it reads.
PAGES = {
    "maps": TRAINED,
    "data": [],
    "regimes": TRAINED + results(*experiment.controlled),
    **{f"train_{regime}": trained(regime) for regime in SHOWN},
    "train_masker": trained("cyborg") + inside(map(experiment.masker_file, filter(experiment.has_masker, experiment.trained))),
    "controls": CONTROLS + TRAINED + results(*(key for key in experiment.controlled if (key.regime, key.run) == ("shuffled_labels", 0))),
    **dict.fromkeys(MEASURES, TRAINED),
    "stability": COMPARED,
    "detection": TRAINED,
    "model_selection": COMPARED,
    "explorer": COMPARED + shared(experiment.detectors[0], "test"),
    "first_page": COMPARED,
    "claims": TRAINED,
    "differences": TRAINED,
    "coverage": None,
    "interventions": results(*(key for key in (*experiment.trained, *experiment.controlled) if key.run == 0)),
    "networks": [],
    "adapt": [],
    "speed": None,
    "reliability": None,
}

# Plug-ins that a page without results looks up.
LOOKED_UP = {
    "networks": dict(**DATA, method=plugins.names("method")),
    "adapt": dict(dataset=[*DATA["dataset"], "folder"], method=plugins.names("method")),
}


def tables(page, call):
    """The tables that a page saves ("experiment.save") or reads ("experiment.table")."""
    return [f"{RESULTS}/tables/{name}.parquet" for name in arguments(f"notebooks/{page}.ipynb", call)]


def studies(page):
    """The dated tables of studies that a page, or a module that it imports, reads."""
    names = {name for file in files_of_notebook(f"notebooks/{page}.ipynb") for name in arguments(file, "studies.load")}
    return [str(path) for name in sorted(names) for path in Path("data/studies").glob(f"????-??-??-{name}.parquet")]


def drawn(page):
    """The figures that a page saves."""
    return arguments(f"notebooks/{page}.ipynb", "experiment.figure")


AWAITED = {table for page in PAGES for table in tables(page, "experiment.table")}

for page, read in PAGES.items():
    notebook = f"notebooks/{page}.ipynb"
    chosen = {"profile": PROFILE, **experiment.page}
    given = [name for name in parameters(notebook) if name in chosen]
    rule:
        name: f"page_{page}"
        output:
            notebook=f"book/executed/{page}.ipynb",
            tables=tables(page, "experiment.save"),
            figures=[f"book/executed/{name}" for name in drawn(page)],
        input:
            [] if read is None else listed("train") + listed("test") + read,
            tables(page, "experiment.table"),
            studies(page),
            notebook=notebook,
        params:
            given=tuple(text for name in given for text in ("-p", name, chosen[name])),
            settings=SETTINGS if "profile" in given else (),
            code=code(notebook=notebook, **LOOKED_UP.get(page, EVERY if read else DATA)),
            shown=tuple(f"{RESULTS}/figures/{name}" for name in drawn(page)),
        # Pages whose tables other pages read come first.
        priority: int(not AWAITED.isdisjoint(tables(page, "experiment.save")))
        shell:
            "e2m run {input.notebook:q} {params.given:q} -o {output.notebook:q}\n"
            "for figure in {params.shown:q}; do cp \"$figure\" book/executed/; done"


def written(folder, pattern):
    """Files of a folder, but for those that editors keep beside them: locks, which often are links to nowhere, and copies."""
    files = (path for path in Path(folder).glob(pattern) if path.is_file())
    return [path for path in files if path.name[0] not in ".#" and path.name[-1] != "~"]


# Further inputs of the book: its sources, and files outside its folder that its pages include.
SOURCES = ["_config.yml", *sorted(str(path) for path in written("book", "**/*") if not {"executed", "__pycache__"} & {*path.parts})]
INCLUDED = sorted(
    {path for page in written("book", "*.md") for path in re.findall(r"^```\{\w+\} \.\./(\S+)", page.read_text(), re.M)}
    | {path for page in written("notebooks", "*.ipynb") for path in re.findall(r"\"```\{\w+\} \.\./\.\./([\w./]+)", page.read_text())}
)

# The modules whose docstrings are the reference, and the command line.
MODULES = {name for page in written("book", "*.md") for name in re.findall(r"(?:automodule::|:module:) (e2m\S*)", page.read_text())}
DOCUMENTED = [next(file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()) for path in (Path(*name.split(".")) for name in sorted(MODULES))]


rule pages:
    output: "_build/html/index.html"
    input:
        expand("book/executed/{page}.ipynb", page=PAGES),
        [f"book/executed/{name}" for page in PAGES for name in drawn(page)],
        SOURCES,
        INCLUDED,
        # Read when jobs are planned: a profile without what pages compare is refused before any work.
        lambda wildcards: experiment.check_pages() or [],
    params:
        content=contents([*SOURCES, *INCLUDED, *DOCUMENTED]),
        code=code("e2m.pages.timeline"),
    shell:
        "python -m e2m.pages.timeline {TIMES:q} {PROFILE:q} book/executed\n"
        "jupyter-book build book --all -W -n --keep-going --quiet"
