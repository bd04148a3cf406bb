# Salience of trained detectors and of controls, on clean and on changed images.

# One job a detector; with `--config shard=source`, for clusters, one job a detector and source.
SHARD = config.get("shard", "detector")
if SHARD not in ("detector", "source"):
    raise InputError(f"--config shard={SHARD} arrived; detector or source fits")
BY_SOURCE = SHARD == "source"
UNMASKED = sorted(set(experiment.regimes) - set(MASKED))
COMPARED = sorted(set(plugins.names("regime")) - set(experiment.regimes))
PLAIN = replace(experiment, masker=None)
FIRST = "|".join(map(str, range(experiment.masker["runs"]))) if MASKED else ""
# Rule -> experiment, regimes, and pattern of the runs. The first runs of some regimes have maskers.
SALIENCE = {
    "salience": (experiment, MASKED, FIRST),
    "salience_of_further_runs": (PLAIN, MASKED, rf"(?!({FIRST})/)\d+"),
    "salience_without_masks": (PLAIN, UNMASKED, r"\d+"),
    "salience_of_controls": (PLAIN, COMPARED, r"\d+"),
}


for title, (family, regimes, runs) in SALIENCE.items():
    if regimes:
        first = ModelKey("\0detector", regimes[0], 0)
        rule:
            name: title
            output:
                [
                    file.replace(f"/{paths.part(regimes[0])}/run-0/", "/{regime}/run-{run}/")
                    for file in pattern(family.results(first, ["\0source"] if BY_SOURCE else None))
                ]
            input:
                listed("test"),
                lambda wildcards: shared(network_of(wildcards), "test"),
                lambda wildcards: inside([experiment.checkpoint(key_of(wildcards))]),
                (lambda wildcards: inside([experiment.masker_file(key_of(wildcards))])) if family.masker else [],
            params:
                names=arguments_of,
                settings=settings.lines(family, explain.explain.reads),
                measured=tuple(family.measured(first)),
                code=lambda wildcards, methods=tuple(family.methods_of(first)): code(
                    "e2m.experiment.explain", **DATA, **MEASURED, detector=[network_of(wildcards)], method=methods
                ),
            wildcard_constraints:
                regime=either(regimes),
                run=runs,
                source=either(experiment.sources),
            resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
            shell: "e2m salience --profile={PROFILE:q} {params.names:q}"


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
    resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
    shell: "e2m controls --profile={PROFILE:q} {params.names:q}"
