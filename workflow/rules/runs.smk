"""Training and evaluation. Only what is missing is a job: finished work enters the graph as a file."""


rule pretrain:
    input:
        lambda wildcards: build.training_inputs(wildcards.run),
    output:
        checkpoint="results/runs/{run}/checkpoint.pt",
        metrics="results/runs/{run}/metrics.csv",
        receipt="results/runs/{run}/run.json",
    log:
        "logs/runs/{run}.log",
    wildcard_constraints:
        run=any_of(build.to_train, build.plan.runs),
    conda:
        "../../environment.yml"
    threads: build.plan.scale["threads"]
    resources:
        job_slots=1,
    message:
        "Training {wildcards.run}"
    shell:
        "sslpairs train {wildcards.run} --log {log} --force"


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
