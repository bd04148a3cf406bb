# Lists of images, detectors trained on the images, and maskers of the detectors.


rule data:
    # Runs again if images, human maps, regions or labels have changed since they were listed.
    output: f"{RESULTS}/data/{{part}}.parquet"
    params:
        state=lambda wildcards: data.state(experiment, wildcards.part),
        settings=lambda wildcards: read_by(data.PARTS[wildcards.part]),
        code=code("e2m.experiment.data", **DATA),
    wildcard_constraints: part="|".join(data.PARTS)
    # Two threads, so that on two cores the jobs run one after the other: the first builds the data set for both.
    threads: 2
    shell: "e2m data --profile {PROFILE} --part {wildcards.part} --state {params.state}"


rule frozen:
    output: f"{RESULTS}/frozen/{{detector}}/{{part}}.outputs"
    input: lambda wildcards: listed(wildcards.part)
    params:
        settings=lambda wildcards: read_by(frozen.PARTS[wildcards.part]),
        # Outputs for training images depend on no measure.
        code=lambda wildcards: code(
            "e2m.experiment.frozen",
            **DATA,
            **(MEASURED if wildcards.part == "test" else {}),
            detector=[wildcards.detector],
        ),
    wildcard_constraints: part="|".join(frozen.PARTS)
    resources: gpu=1, runtime=240
    shell: "e2m frozen --profile {PROFILE} --detector {wildcards.detector} --part {wildcards.part}"


rule train:
    output: f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.pt"
    input: listed("train"), lambda wildcards: shared(wildcards.detector, "train")
    params:
        settings=read_by(train.train),
        code=lambda wildcards: code(
            "e2m.experiment.train", **DATA, detector=[wildcards.detector], regime=[wildcards.regime]
        ),
    threads: THREADS
    # Trainings come first, because the rest waits for them; jobs of one detector run beside the training of the next.
    priority: 1
    resources: gpu=1, training=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
    shell:
        "e2m train --profile {PROFILE} --detector {wildcards.detector} --regime {wildcards.regime}"
        " --run {wildcards.run}"


rule train_masker:
    output: f"{RESULTS}/checkpoints/{{detector}}/{{regime}}/run-{{run}}.masker.pt"
    input:
        listed("train"),
        lambda wildcards: inside([experiment.checkpoint(key_of(wildcards))]),
    params:
        # These settings decide which of these jobs exist, and change none of them.
        settings=read_by(train.train_masker, but=["masker.regimes", "masker.runs"]),
        code=lambda wildcards: code(
            "e2m.experiment.train", **DATA, detector=[wildcards.detector], regime=[wildcards.regime]
        ),
    resources: gpu=1, mem_mb=lambda wildcards, attempt: 8000 * attempt, runtime=240
    shell:
        "e2m train-masker --profile {PROFILE} --detector {wildcards.detector} --regime {wildcards.regime}"
        " --run {wildcards.run}"
