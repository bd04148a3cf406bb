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
CONTROLS = inside(file for network in experiment.detectors for file in controls.results(experiment, network))

# Page -> the results that it reads. The code of a page names the tables of other pages and the studies that it reads.
PAGES = {
    "data": [],
    "regimes": TRAINED + results(*experiment.controlled),
    **{f"train_{regime}": trained(regime) for regime in SHOWN},
    "train_masker": trained("cyborg") + inside(map(experiment.masker_file, filter(experiment.has_masker, experiment.trained))),
    "controls": CONTROLS + TRAINED + results(*(key for key in experiment.controlled if (key.regime, key.run) == ("shuffled_labels", 0))),
    **dict.fromkeys(MEASURES, TRAINED),
    "detection": TRAINED,
    "model_selection": TRAINED + results(*(key for key in experiment.controlled if key.regime in experiment.comparators)),
    "claims": TRAINED,
    "differences": TRAINED,
    "coverage": None,
    "interventions": results(*(key for key in (*experiment.trained, *experiment.controlled) if key.run == 0)),
    "masking": None,
    "networks": [],
    "adapt": [],
    "speed": None,
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
            given=" ".join(f"-p {name} {chosen[name]}" for name in given),
            settings=SETTINGS if "profile" in given else [],
            code=code(notebook=notebook, **LOOKED_UP.get(page, EVERY if read else DATA)),
            shown=" ".join(f"&& cp {RESULTS}/figures/{name} book/executed/" for name in drawn(page)),
        # Pages whose tables other pages read come first.
        priority: int(not AWAITED.isdisjoint(tables(page, "experiment.save")))
        shell: "e2m run {input.notebook} {params.given} -o {output.notebook} {params.shown}"


# Further inputs of the book: its sources, and files outside its folder that its pages include.
SOURCES = ["_config.yml", *sorted(str(path) for path in Path("book").rglob("*") if path.is_file() and "executed" not in path.parts)]
INCLUDED = sorted(
    {path for page in Path("book").glob("*.md") for path in re.findall(r"^```\{\w+\} \.\./(\S+)", page.read_text(), re.M)}
    | {path for page in Path("notebooks").glob("*.ipynb") for path in re.findall(r"\"```\{\w+\} \.\./\.\./([\w./]+)", page.read_text())}
)


rule pages:
    output: "_build/html/index.html"
    input:
        expand("book/executed/{page}.ipynb", page=PAGES),
        [f"book/executed/{name}" for page in PAGES for name in drawn(page)],
        SOURCES,
        INCLUDED,
        # Read when jobs are planned: a profile without what pages compare is refused before any work.
        lambda wildcards: experiment.check_pages() or [],
    params: contents([*SOURCES, *INCLUDED])
    shell: "jupyter-book build book --all -W -n --keep-going --quiet"
