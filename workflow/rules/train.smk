# Lists of images, detectors trained on the images, and maskers of the detectors.


rule data:
    # Runs again if images, human maps, regions or labels have changed since they were listed.
    output: f"{RESULTS}/data/{{part}}.parquet"
    params:
        names=arguments_of,
        state=lambda wildcards: data.state(experiment, wildcards.part),
        settings=lambda wildcards: read_by(data.PARTS[wildcards.part]),
        code=code("e2m.experiment.data", **DATA),
    wildcard_constraints: part="|".join(data.PARTS)
    # Two threads, so that on two cores the jobs run one after the other: the first builds the data set for both.
    threads: 2
    shell: "e2m data --profile={PROFILE:q} {params.names:q} --state={params.state:q}"


rule frozen:
    output: f"{RESULTS}/frozen/{{detector}}/{{part}}.outputs"
    input: lambda wildcards: listed(wildcards.part)
    params:
        names=arguments_of,
        settings=lambda wildcards: read_by(frozen.PARTS[wildcards.part]),
        # Outputs for training images depend on no measure.
        code=lambda wildcards: code(
            "e2m.experiment.frozen",
            **DATA,
            **(MEASURED if wildcards.part == "test" else {}),
            detector=[network_of(wildcards)],
        ),
    wildcard_constraints: part="|".join(frozen.PARTS)
    resources: gpu=1, runtime=240
    shell: "e2m frozen --profile={PROFILE:q} {params.names:q}"


for title, (runs, regimes) in jobs_of(
    "train", plugins.names("regime"), experiment.trained, experiment.controlled, experiment.studied
).items():
    rule:
        name: title
        output: [f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{run}.pt" for run in runs]
        input: listed("train"), lambda wildcards: shared(network_of(wildcards), "train")
        params:
            names=lambda wildcards, runs=runs: arguments_of(wildcards, runs),
            settings=read_by(train.train),
            code=lambda wildcards: code("e2m.experiment.train", **DATA, **plugins_of(wildcards)),
        wildcard_constraints: regime=either(regimes)
        threads: THREADS
        # Trainings come first, because the rest waits for them.
        priority: 2
        resources: gpu=1, training=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
        shell: "e2m train --profile={PROFILE:q} {params.names:q}"


for title, (runs, regimes) in jobs_of(
    "train_masker", plugins.names("regime"), filter(experiment.has_masker, experiment.trained)
).items():
    rule:
        name: title
        output: [f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{run}.masker.pt" for run in runs]
        input:
            listed("train"),
            lambda wildcards, runs=runs: inside(map(experiment.checkpoint, keys_of(wildcards, runs))),
        params:
            names=lambda wildcards, runs=runs: arguments_of(wildcards, runs),
            # These settings decide which of these jobs exist, and change none of them.
            settings=read_by(train.train_masker, but=["masker.regimes", "masker.runs"]),
            code=lambda wildcards: code("e2m.experiment.train", **DATA, **plugins_of(wildcards)),
        wildcard_constraints: regime=either(regimes)
        priority: 1
        resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
        shell: "e2m train-masker --profile={PROFILE:q} {params.names:q}"
