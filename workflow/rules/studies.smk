# Additions of `make study` to `make book`: more regimes and runs, which studies/guidance.py reads, and further studies.

LEARNT = dict(**DATA, detector=experiment.detectors, regime=plugins.names("regime"))
# The last run: explained with a masker, as first runs are, the whole network runs, which changes last bits.
repeated = ModelKey(experiment.detectors[0], experiment.traditional, experiment.runs - 1)
elsewhere = replace(experiment, profile=f"{experiment.profile}-again", masker=None, measures={})
whole = settings.lines(experiment, asdict(experiment))


rule study:
    input:
        results(*experiment.trained, *experiment.controlled, *experiment.studied),
        inside(elsewhere.results(repeated, experiment.in_set)) if experiment.study else [],


# Detectors of each regime whose maskers are studied: more than have maskers in the book.
STUDIED_RUNS = min(5, experiment.runs)


rule masking_study:
    # The longest job of all: `make study` runs it first, with the jobs that it waits for.
    output: touch(f"{RESULTS}/studies/masking.done")
    input:
        inside(experiment.masker_file(key) for key in experiment.trained if key.regime in MASKED and key.run < STUDIED_RUNS),
        inside(experiment.checkpoint(key) for key in (*experiment.controlled, *experiment.studied) if key.regime == "shuffled_labels"),
        listed("test"),
    params:
        settings=whole,
        code=code("studies.masking", **LEARNT, method=plugins.names("method")),
        runs=STUDIED_RUNS,
    shell: "python -m studies.masking --profile={PROFILE:q} --runs={params.runs:q} --workers={threads:q}"


# Settings that the study of alpha reads.
SWEPT = [
    *train.train.reads,
    *("detectors", "sources", "in_set", "runs", "images_per_source", "image_size", "batch_size", "resamples"),
]


rule alpha_study:
    output: touch(f"{RESULTS}/studies/alpha.done")
    input:
        inside(experiment.checkpoint(key) for key in experiment.trained if key.run < 3),
        shared(experiment.detectors[0], "train"),
        listed("train"),
        listed("test"),
    params:
        settings=settings.lines(experiment, SWEPT),
        code=code("studies.alpha", **LEARNT | dict(regime=["cyborg"]), method=["CAM"], measure=["alignment", "entropy", "stability"]),
    shell: "python -m studies.alpha --profile={PROFILE:q}"


# Settings that the study of salience methods reads; it names its methods itself.
AGAIN = [
    *(name for name in explain.READ if name not in ("methods", "masker", "share_frozen")),
    *("detectors", "in_set", "traditional", "guided", "runs", "resamples"),
]


rule methods_study:
    output: touch(f"{RESULTS}/studies/methods.done")
    input:
        inside(experiment.checkpoint(key) for key in experiment.trained if key.run < 3),
        listed("test"),
    params:
        settings=settings.lines(experiment, AGAIN),
        code=code(
            "studies.methods",
            **DATA,
            detector=experiment.detectors,
            measure=plugins.names("measure"),
            method=["GradCAM", "GradCAMpp", "CAM", "LayerCAM", "XGradCAM"],
        ),
    shell: "python -m studies.methods --profile={PROFILE:q}"


rule coverage_study:
    output: touch(f"{RESULTS}/studies/coverage.done")
    params: code=code("studies.coverage")
    shell: "python -m studies.coverage --workers={threads:q}"


rule pilot_study:
    output: touch(f"{RESULTS}/studies/pilot.done")
    input: results(*experiment.trained), listed("test")
    params:
        # Other settings reach it by the results.
        settings=settings.lines(experiment, ["sources", "in_set", "counterparts", "traditional", "guided", "runs", "resamples"]),
        code=code("studies.pilot", **DATA, measure=plugins.names("measure")),
    shell: "python -m studies.pilot --profile={PROFILE:q} --workers={threads:q}"


rule seed_repeated:
    # One detector trained again from scratch, in another folder: its seed alone must determine the results.
    output: inside([elsewhere.checkpoint(repeated), *elsewhere.results(repeated, experiment.in_set)])
    input: results(repeated)
    params:
        settings=(*read_by(train.train), *settings.lines(elsewhere, explain.explain.reads)),
        code=code("e2m.experiment.frozen", "e2m.experiment.train", "e2m.experiment.explain", **LEARNT, method=experiment.methods),
        parts=tuple(frozen.PARTS) if experiment.share_frozen else (),
    threads: THREADS
    priority: 1
    resources: gpu=1, training=1
    run:
        content = {name: value for name, value in asdict(elsewhere).items() if name != "profile"}
        profile = paths.RESULTS / f"{elsewhere.profile}.yaml"
        # JSON is YAML in which no name is taken for a number.
        profile.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        network = ["--profile", profile, "--detector", repeated.detector]
        detector = [*network, "--regime", repeated.regime, "--run", repeated.run]
        for part in params.parts:
            shell("e2m frozen {network:q} --part {part:q}")
        shell("e2m train {detector:q}")
        sources = [f"--source={source}" for source in experiment.in_set]
        shell("e2m salience {detector:q} {sources:q}")
