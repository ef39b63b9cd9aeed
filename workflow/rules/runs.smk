"""Training and evaluation. Only what is missing is a job: finished work enters the graph as a file."""


rule pretrain:
    input:
        data=lambda wildcards: f"data/{build.plan.runs[wildcards.run]['dataset']}/dataset.json",
        guide=lambda wildcards: build.guide_files(wildcards.run),
    output:
        checkpoint="results/runs/{run}/checkpoint.pt",
        metrics="results/runs/{run}/metrics.csv",
        receipt="results/runs/{run}/run.json",
    wildcard_constraints:
        run=any_of(build.to_train, build.plan.runs),
    log:
        "logs/runs/{run}.log",
    threads: build.plan.scale["threads"]
    resources:
        job_slots=1,
    message:
        "Training {wildcards.run}"
    shell:
        "{sslpairs} train {wildcards.run} --plan {frozen} --log {log} --force"


rule evaluate:
    input:
        data=lambda wildcards: f"data/{build.plan.runs[wildcards.evaluation.split('/')[0]]['dataset']}/dataset.json",
        checkpoint=lambda wildcards: f"results/runs/{wildcards.evaluation.split('/')[0]}/checkpoint.pt",
        receipt=lambda wildcards: f"results/runs/{wildcards.evaluation.split('/')[0]}/run.json",
    output:
        "results/evals/{evaluation}.json",
    wildcard_constraints:
        evaluation=any_of(build.to_evaluate, build.plan.evaluations),
    log:
        "logs/evals/{evaluation}.log",
    params:
        run=lambda wildcards: wildcards.evaluation.split("/")[0],
        key=lambda wildcards: wildcards.evaluation.split("/")[1],
    threads: build.plan.scale["threads"]
    resources:
        job_slots=1,
    message:
        "Evaluating {wildcards.evaluation}"
    shell:
        "{sslpairs} evaluate {params.run} --key {params.key} --plan {frozen} --log {log}"
