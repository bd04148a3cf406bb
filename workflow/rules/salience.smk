# Salience of trained detectors and of controls, on clean and on changed images.

# One job a detector; with `--config shard=source`, for clusters, one job a detector and source.
BY_SOURCE = config.get("shard", "detector") == "source"
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
        first = ModelKey("{detector}", regimes[0], 0)
        rule:
            name: title
            output:
                [
                    file.replace(f"/{regimes[0]}/run-0/", "/{regime}/run-{run}/")
                    for file in inside(family.results(first, ["{source}"] if BY_SOURCE else None))
                ]
            input:
                listed("test"),
                lambda wildcards: shared(wildcards.detector, "test"),
                lambda wildcards: inside([experiment.checkpoint(key_of(wildcards))]),
                (lambda wildcards: inside([experiment.masker_file(key_of(wildcards))])) if family.masker else [],
            params:
                settings=settings.lines(family, explain.explain.reads),
                measured=family.measured(first),
                code=lambda wildcards, methods=tuple(family.methods_of(first)): code(
                    "e2m.experiment.explain", **DATA, **MEASURED, detector=[wildcards.detector], method=methods
                ),
                source="--source {source}" if BY_SOURCE else "",
            wildcard_constraints:
                regime="|".join(regimes),
                run=runs,
                source="|".join(map(re.escape, experiment.sources)),
            resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
            shell:
                "e2m salience --profile {PROFILE} --detector {wildcards.detector} --regime {wildcards.regime}"
                " --run {wildcards.run} {params.source}"


rule explained:
    # Everything except pages: the work for a cluster.
    input: results(*experiment.trained)


# Controls of every network: known maps, random weights, and the cascade.
for network in experiment.detectors:
    rule:
        name: f"controls_{network}"
        output: inside(controls.results(experiment, network))
        input:
            listed("test"),
            shared(network, "test"),
            inside(experiment.checkpoint(ModelKey(network, regime, 0)) for regime in experiment.regimes),
        params:
            settings=read_by(controls.explain_controls),
            code=code(
                "e2m.experiment.controls", **DATA, **MEASURED, detector=[network], method=[*experiment.methods, "oracle"]
            ),
            detector=network,
        resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=720
        shell: "e2m controls --profile {PROFILE} --detector {params.detector}"
