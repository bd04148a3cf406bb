# Salience of trained detectors and of controls, on clean and on changed images.

# Jobs of detectors; with `--config shard=source`, for clusters, jobs of detectors and a source.
SHARD = config.get("shard", "detector")
if SHARD not in ("detector", "source"):
    raise InputError(f"--config shard={SHARD} arrived; detector or source fits")
BY_SOURCE = SHARD == "source"
UNMASKED = sorted(set(experiment.regimes) - set(MASKED))
COMPARED = sorted(set(plugins.names("regime")) - set(experiment.regimes))
PLAIN = replace(experiment, masker=None)
FIRST = "|".join(map(str, range(experiment.masker["runs"]))) if MASKED else ""
FURTHER = [key for key in experiment.trained if key.regime in MASKED and not experiment.has_masker(key)]
# Rule -> experiment, regimes, pattern of the runs, and the detectors that are planned. The first runs of some regimes
# have maskers.
SALIENCE = {
    "salience": (experiment, MASKED, FIRST, filter(experiment.has_masker, experiment.trained)),
    "salience_of_further_runs": (PLAIN, MASKED, rf"(?!({FIRST})/)\d+", FURTHER),
    "salience_without_masks": (PLAIN, UNMASKED, r"\d+", [key for key in experiment.trained if key.regime in UNMASKED]),
    "salience_of_controls": (PLAIN, COMPARED, r"\d+", experiment.controlled, experiment.studied),
}


for family_title, (family, of_family, numbers, *plans) in SALIENCE.items():
    for title, (runs, regimes) in jobs_of(family_title, of_family, *plans).items() if of_family else ():
        first = ModelKey("\0detector", of_family[0], 0)
        rule:
            name: title
            output:
                [
                    file.replace(f"/{paths.part(of_family[0])}/run-0/", f"/{{regime}}/run-{run}/")
                    for run in runs
                    for file in pattern(family.results(first, ["\0source"] if BY_SOURCE else None))
                ]
            input:
                listed("test"),
                lambda wildcards: shared(network_of(wildcards), "test"),
                lambda wildcards, runs=runs: inside(map(experiment.checkpoint, keys_of(wildcards, runs))),
                (
                    (lambda wildcards, runs=runs: inside(map(experiment.masker_file, keys_of(wildcards, runs))))
                    if family.masker
                    else []
                ),
            params:
                names=lambda wildcards, runs=runs: arguments_of(wildcards, runs),
                settings=settings.lines(family, explain.explain.reads),
                measured=tuple(family.measured(first)),
                code=lambda wildcards, methods=tuple(family.methods_of(first)): code(
                    "e2m.experiment.explain", **DATA, **MEASURED, detector=[network_of(wildcards)], method=methods
                ),
            wildcard_constraints:
                regime=either(regimes),
                run=numbers,
                source=either(experiment.sources),
            # Before the controls, which fewer pages read.
            priority: int(of_family is not COMPARED)
            resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
            shell: "e2m salience --profile={PROFILE:q} {params.names:q}"


if experiment.automatic:
    # Few runs on few images decide how many images all other jobs take.
    pilot = experiment.piloted
    of_one = pilot.results(ModelKey("\0detector", "\0regime", 0))

    rule pilot_salience:
        output: [file.replace("/run-0/", "/run-{run}/") for file in pattern(of_one)]
        input:
            inside([paths.images(experiment.profile, "test")]),
            lambda wildcards: inside(map(experiment.checkpoint, keys_of(wildcards, ["{run}"]))),
        params:
            names=lambda wildcards: arguments_of(wildcards, ["{run}"]),
            settings=settings.lines(pilot, explain.explain.reads),
            code=lambda wildcards: code(
                "e2m.experiment.explain", **DATA, **MEASURED, detector=[network_of(wildcards)], method=pilot.methods
            ),
        resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
        shell: "e2m pilot --profile={PROFILE:q} {params.names:q}"

    rule pilot:
        output: inside([paths.table(experiment.profile, "pilot")])
        input: results_of_pilot=inside(file for key in pilot.trained for file in pilot.results(key))
        params:
            settings=settings.lines(experiment, ["pilot", "runs", "sources", "in_set", "counterparts", "traditional", "guided", "measures"]),
            code=code("e2m.pages.pilot", **DATA, measure=plugins.names("measure")),
        shell: "e2m pilot --profile={PROFILE:q}"


rule explained:
    # Everything except pages: the work for a cluster.
    input: results(*experiment.trained)


rule controls:
    # Controls of a network: known maps, random weights, and the cascade.
    output: pattern(controls.results(replace(experiment, detectors=["\0detector"]), "\0detector"))
    input:
        listed("test"),
        lambda wildcards: shared(network_of(wildcards), "test"),
        lambda wildcards: inside(
            experiment.checkpoint(ModelKey(network_of(wildcards), regime, 0)) for regime in experiment.regimes
        ),
    params:
        names=arguments_of,
        settings=read_by(controls.explain_controls),
        code=lambda wildcards: code(
            "e2m.experiment.controls",
            **DATA,
            **MEASURED,
            detector=[network_of(wildcards)],
            method=[*experiment.methods, "oracle"],
        ),
    # Before other pages: the page of controls comes before those that read its tables.
    priority: 1
    resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
    shell: "e2m controls --profile={PROFILE:q} {params.names:q}"
