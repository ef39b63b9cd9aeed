"""Tables, figures and the provenance page: written under keyed names, then copied to stable ones for people."""


rule table:
    input:
        lambda wildcards: build.evaluation_files(wildcards.table),
    output:
        multiext(
            "results/tables/keyed/{table}.{key}",
            ".csv",
            ".claims.csv",
            ".md",
            ".tex",
            ".html",
        ),
    log:
        "logs/tables/{table}.{key}.log",
    wildcard_constraints:
        table=any_of(build.plan.tables),
        key="[0-9a-f]{12}",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        stem="results/tables/keyed/{table}.{key}",
    message:
        "Writing table {wildcards.table}"
    shell:
        "sslpairs tables {wildcards.table} --stem {params.stem} --log {log}"


rule figure:
    input:
        lambda wildcards: build.figure_inputs(wildcards.figure),
    output:
        multiext("results/figures/keyed/{figure}.{key}", ".pdf", ".png", ".svg"),
    log:
        "logs/figures/{figure}.{key}.log",
    wildcard_constraints:
        figure=any_of(build.plan.figures),
        key="[0-9a-f]{12}",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        stem="results/figures/keyed/{figure}.{key}",
    message:
        "Drawing figure {wildcards.figure}"
    shell:
        "sslpairs figure {wildcards.figure} --stem {params.stem} --log {log}"


rule provenance:
    input:
        build.provenance_inputs(),
    output:
        report(
            build.provenance_file(),
            category="Provenance",
            labels={"page": "where every number comes from"},
            caption="../report/provenance.rst",
        ),
    log:
        "logs/provenance.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Writing the provenance page"
    shell:
        "sslpairs provenance {output} --log {log}"


rule copy_table:
    input:
        lambda wildcards: build.keyed_table_files(wildcards.table),
    output:
        multiext(
            f"results/tables/{scale}/{{table}}", ".csv", ".claims.csv", ".md", ".tex"
        ),
        report(
            f"results/tables/{scale}/{{table}}.html",
            category="Tables",
            labels={"table": "{table}"},
            caption="../report/table.rst",
        ),
    log:
        f"logs/tables/copy-{scale}-{{table}}.log",
    wildcard_constraints:
        table=any_of(build.plan.tables),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        key=lambda wildcards: build.plan.tables[wildcards.table]["key"],
        scale=scale,
    message:
        f"Table ready: results/tables/{scale}/{{wildcards.table}}.md"
    shell:
        "for ending in csv claims.csv md tex html; do "
        "cp results/tables/keyed/{wildcards.table}.{params.key}.$ending "
        "results/tables/{params.scale}/{wildcards.table}.$ending; done 2> {log}"


rule copy_figure:
    input:
        lambda wildcards: build.keyed_figure_files(wildcards.figure),
    output:
        multiext(f"results/figures/{scale}/{{figure}}", ".pdf", ".png"),
        report(
            f"results/figures/{scale}/{{figure}}.svg",
            category="Figures",
            labels={"figure": "{figure}"},
            caption="../report/figure.rst",
        ),
    log:
        f"logs/figures/copy-{scale}-{{figure}}.log",
    wildcard_constraints:
        figure=any_of(build.plan.figures),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        key=lambda wildcards: build.plan.figures[wildcards.figure]["key"],
        scale=scale,
    message:
        f"Figure ready: results/figures/{scale}/{{wildcards.figure}}.pdf"
    shell:
        "for ending in pdf png svg; do "
        "cp results/figures/keyed/{wildcards.figure}.{params.key}.$ending "
        "results/figures/{params.scale}/{wildcards.figure}.$ending; done 2> {log}"
