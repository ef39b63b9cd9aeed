"""Tables, figures and the provenance page. Their records determine whether they are up to date (sslpairs.plan.written)."""


rule table:
    input:
        lambda wildcards: table_inputs(build, wildcards.table, engine),
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
        f"logs/tables/{scale}-{{table}}.log",
    wildcard_constraints:
        table=any_of(build.plan.tables),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        stem=f"results/tables/{scale}/{{table}}",
    message:
        f"wrote results/tables/{scale}/{{wildcards.table}}.md"
    shell:
        "sslpairs tables {wildcards.table:q} --stem {params.stem:q} --log {log:q}"


rule figure:
    input:
        lambda wildcards: figure_inputs(build, wildcards.figure, engine),
    output:
        multiext(f"results/figures/{scale}/{{figure}}", ".pdf", ".png"),
        report(
            f"results/figures/{scale}/{{figure}}.svg",
            category="Figures",
            labels={"figure": "{figure}"},
            caption="../report/figure.rst",
        ),
    log:
        f"logs/figures/{scale}-{{figure}}.log",
    wildcard_constraints:
        figure=any_of(build.plan.figures),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        stem=f"results/figures/{scale}/{{figure}}",
    message:
        f"wrote results/figures/{scale}/{{wildcards.figure}}.pdf"
    shell:
        "sslpairs figure {wildcards.figure:q} --stem {params.stem:q} --log {log:q}"


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
        "wrote the provenance page"
    shell:
        "sslpairs provenance {output:q} --log {log:q}"
