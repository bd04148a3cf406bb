# The images, the detectors that are trained on them, and their maskers.


rule data:
    # Run again where images, human maps, regions or labels have changed since they were listed.
    output: f"{RESULTS}/data/{{part}}.parquet"
    params:
        state=lambda wildcards: data.state(experiment, wildcards.part),
        settings=lambda wildcards: read_by(data.PARTS[wildcards.part]),
        code=code("e2m.experiment.data", **DATA),
    wildcard_constraints: part="|".join(data.PARTS)
    # Two, so that on two cores the first builds the data set, where it has to be built, and the other finds it there.
    threads: 2
    shell: "e2m data --profile {PROFILE} --part {wildcards.part} --state {params.state}"


rule train:
    output: f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.pt"
    input: listed("train")
    params:
        settings=read_by(train.train),
        code=lambda wildcards: code(
            "e2m.experiment.train", **DATA, detector=[wildcards.detector], regime=[wildcards.regime]
        ),
    threads: THREADS
    # First, because the rest waits for them; what comes of one detector runs beside the training of the next.
    priority: 1
    resources: gpu=1, training=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
    shell:
        "e2m train --profile {PROFILE} --detector {wildcards.detector} --regime {wildcards.regime}"
        " --run {wildcards.run}"


rule train_masker:
    output: f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.masker.pt"
    input:
        listed("train"),
        lambda wildcards: inside([experiment.checkpoint(key(wildcards))]),
    params:
        # Which regimes have maskers decides which of these jobs there are, and changes none.
        settings=read_by(train.train_masker, but=["masker.regimes"]),
        code=lambda wildcards: code("e2m.experiment.train", **DATA, detector=[wildcards.detector]),
    resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
    shell:
        "e2m train-masker --profile {PROFILE} --detector {wildcards.detector} --regime {wildcards.regime}"
        " --run {wildcards.run}"
