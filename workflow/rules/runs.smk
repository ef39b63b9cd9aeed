"""Training, restoring and evaluation. Only what is missing is a job: finished work enters the graph as a file."""


rule pretrain:
    input:
        lambda wildcards: trained_from(build, wildcards.run),
    output:
        checkpoint="results/runs/{run}/checkpoint.pt",
        metrics="results/runs/{run}/metrics.csv",
        receipt="results/runs/{run}/run.json",
    log:
        "logs/runs/{run}.log",
    wildcard_constraints:
        run=any_of(set(build.to_train) - set(build.to_retrain), build.plan.runs),
    conda:
        "../../environment.yml"
    threads: build.plan.scale["threads"]
    resources:
        job_slots=1,
    message:
        "Training {wildcards.run}"
    shell:
        "sslpairs train {wildcards.run} --log {log}"


# A finished run whose checkpoint is needed, is gone, and was never published. Its receipt is no output: Snakemake removes
# outputs before a job and after a failure, and the receipt stands until the new weights are there.
rule retrain:
    input:
        lambda wildcards: trained_from(build, wildcards.run),
    output:
        "results/runs/{run}/checkpoint.pt",
    log:
        "logs/runs/{run}.log",
    wildcard_constraints:
        run=any_of(build.to_retrain),
    conda:
        "../../environment.yml"
    threads: build.plan.scale["threads"]
    resources:
        job_slots=1,
    message:
        "Training {wildcards.run} again: its checkpoint is gone"
    shell:
        "sslpairs train {wildcards.run} --log {log}"


rule restore_run:
    output:
        "results/runs/{run}/checkpoint.pt",
    log:
        "logs/restore/{run}.log",
    wildcard_constraints:
        run=any_of(build.to_restore),
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Restoring {wildcards.run}"
    shell:
        "sslpairs restore {wildcards.run} --log {log}"


rule evaluate:
    input:
        lambda wildcards: build.evaluation_inputs(wildcards.evaluation),
    output:
        "results/evals/{evaluation}.json",
    log:
        "logs/evals/{evaluation}.log",
    wildcard_constraints:
        evaluation=any_of(build.to_evaluate, build.plan.evaluations),
    conda:
        "../../environment.yml"
    threads: build.plan.scale["threads"]
    resources:
        job_slots=1,
    params:
        run=lambda wildcards: build.plan.evaluations[wildcards.evaluation]["run"],
        key=lambda wildcards: build.plan.evaluations[wildcards.evaluation]["key"],
    message:
        "Evaluating {wildcards.evaluation}"
    shell:
        "sslpairs evaluate {params.run} --key {params.key} --log {log}"
