"""Data sets that are not in place."""


rule prepare_data:
    output:
        "data/{dataset}/dataset.json",
    wildcard_constraints:
        dataset=any_of(build.to_prepare),
    log:
        "logs/data/{dataset}.log",
    message:
        "Preparing data set {wildcards.dataset}"
    shell:
        "{sslpairs} fetch {wildcards.dataset} --plan {frozen} --log {log}"
