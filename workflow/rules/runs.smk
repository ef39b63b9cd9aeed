"""Training, restoring and evaluation. Only missing outputs are jobs: finished work is a plain file in the DAG."""


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
        run=jobs.train,
    conda:
        "../../environment.yml"
    threads: lambda wildcards: build.threads(wildcards.run)
    resources:
        **cluster.training,
        job_slots=1,
    params:
        launch=cluster.launch,
        device=cluster.device,
    message:
        "trained {wildcards.run}"
    shell:
        "{params.launch}sslpairs train {wildcards.run:q}{params.device} --log {log:q}"


# On one machine, the training of a new run also makes its evaluation.
rule pretrain_and_evaluate:
    input:
        lambda wildcards: trained_from(build, wildcards.run),
    output:
        checkpoint="results/runs/{run}/checkpoint.pt",
        metrics="results/runs/{run}/metrics.csv",
        receipt="results/runs/{run}/run.json",
        evaluation=f"results/evals/{{run}}/{jobs.key}.json",
    log:
        "logs/runs/{run}.log",
    wildcard_constraints:
        run=jobs.train_and_evaluate,
    conda:
        "../../environment.yml"
    threads: lambda wildcards: build.threads(wildcards.run)
    resources:
        job_slots=1,
    params:
        key=jobs.key,
    message:
        "trained and evaluated {wildcards.run}"
    shell:
        "sslpairs train {wildcards.run:q} --evaluate {params.key:q} --log {log:q}"


# A finished run whose checkpoint is needed, is missing, and was never published. Its receipt is not an output: Snakemake
# removes outputs before a job and after a failure, but the receipt is kept until the new weights are complete.
rule retrain:
    input:
        lambda wildcards: trained_from(build, wildcards.run),
    output:
        "results/runs/{run}/checkpoint.pt",
    log:
        "logs/runs/{run}.log",
    wildcard_constraints:
        run=jobs.retrain,
    conda:
        "../../environment.yml"
    threads: lambda wildcards: build.threads(wildcards.run)
    resources:
        **cluster.training,
        job_slots=1,
    params:
        launch=cluster.launch,
        device=cluster.device,
    message:
        "trained {wildcards.run} again: its checkpoint was missing"
    shell:
        "{params.launch}sslpairs train {wildcards.run:q}{params.device} --log {log:q}"


rule restore_run:
    output:
        "results/runs/{run}/checkpoint.pt",
    log:
        "logs/restore/{run}.log",
    wildcard_constraints:
        run=jobs.restore,
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "restored {wildcards.run}"
    shell:
        "sslpairs restore {wildcards.run:q} --log {log:q}"


rule evaluate:
    input:
        lambda wildcards: build.evaluation_inputs(wildcards.evaluation),
    output:
        "results/evals/{evaluation}.json",
    log:
        "logs/evals/{evaluation}.log",
    wildcard_constraints:
        evaluation=jobs.evaluate,
    conda:
        "../../environment.yml"
    threads: build.plan.scale["threads"]
    resources:
        **cluster.evaluation,
        job_slots=1,
    params:
        device=cluster.device,
        run=lambda wildcards: build.plan.evaluations[wildcards.evaluation]["run"],
        key=lambda wildcards: build.plan.evaluations[wildcards.evaluation]["key"],
    message:
        "evaluated {wildcards.evaluation}"
    shell:
        "sslpairs evaluate {params.run:q} --key {params.key:q}{params.device} --log {log:q}"


rule baseline:
    input:
        lambda wildcards: build.baseline_inputs(wildcards.evaluation),
    output:
        "results/evals/{evaluation}.json",
    log:
        "logs/evals/{evaluation}.log",
    wildcard_constraints:
        evaluation=jobs.baseline,
    conda:
        "../../environment.yml"
    threads: build.plan.scale["threads"]
    resources:
        **cluster.evaluation,
        job_slots=1,
    params:
        device=cluster.device,
    message:
        "measured {wildcards.evaluation}"
    shell:
        "sslpairs baseline {wildcards.evaluation:q}{params.device} --log {log:q}"
