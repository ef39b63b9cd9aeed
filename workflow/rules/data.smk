"""Preparation of data sets that are missing."""


rule prepare_data:
    output:
        "data/{dataset}/dataset.json",
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=jobs.prepare,
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "prepared data set {wildcards.dataset}"
    shell:
        "sslpairs fetch {wildcards.dataset:q} --log {log:q}"
