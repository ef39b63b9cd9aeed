"""Front door: plan, freeze the plan, and include the rules.

The configuration is read only here, in the process that the user started. Jobs (also on a cluster, where they parse
this file again) read the frozen plan, so editing config/ does not affect a running build.
"""

from pathlib import Path

from sslpairs.errors import UserError, stop

try:
    from sslpairs.build_log import say_briefly
    from sslpairs.plan.build import Build
    from sslpairs.plan.frozen import thaw
    from sslpairs.workflow.announce import announce
    from sslpairs.workflow.builds import as_typed, check, check_folder, make_build
    from sslpairs.workflow.cluster import Cluster, freeze_build
    from sslpairs.workflow.constraints import any_of
    from sslpairs.workflow.snakemake import Engine, outputs
    from sslpairs.workflow.owed import owe, write_owed
    from sslpairs.workflow.weights import check_weights
    from sslpairs.workflow.jobs import (
        equip_jobs,
        figure_inputs,
        possible_jobs,
        share_warm_processes,
        table_inputs,
        trained_from,
    )
    from sslpairs.workflow.report import Opening
except UserError as error:  # a method or strategy without its counterpart
    stop(error)

root = Path.cwd()
engine = Engine(workflow)
on_node = engine.on_node

try:
    if "plan" in config:
        frozen = config["plan"]
        build = Build(thaw(Path(frozen)), root)
        cluster = Cluster(build, engine)
    else:
        check_folder(root, engine.snakefile)
        build = make_build(root, as_typed(config, engine.typed))
        check(build)
        cluster = Cluster(build, engine)
        frozen = freeze_build(build, cluster)
        engine.tell_jobs(f"plan={frozen}")
    jobs = possible_jobs(build, on_node, cluster=cluster.requests is not None)
except UserError as error:
    stop(error)

equip_jobs(frozen)

scale = build.plan.scale["name"]
asked_for = [] if on_node else build.plan.selected
if build.plan.settings["jobs"] != "all":
    engine.limit("job_slots", build.plan.settings["jobs"])


report: "workflow/report/workflow.rst"


config["opening"] = Opening(build)


rule all:
    default_target: True
    input:
        [file for table in asked_for for file in build.wanted(table)],
        build.provenance_file() if asked_for else [],


include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/paper.smk"


# `snakemake mixco` builds a paper, `snakemake gps-weak` one table.
for target, tables in build.targets().items():

    rule:
        name:
            target
        input:
            # A function, so that the thousands of files are only checked if the target is requested.
            lambda wildcards, tables=tables: [
                file for table in tables for file in build.wanted(table)
            ],


if not on_node:
    say_briefly(workflow, build)
    if not engine.dry_run:
        write_owed(build)


onsuccess:
    if not on_node:
        from sslpairs.paper.overview import write_results_and_overview

        try:
            write_results_and_overview(Build(build.plan, root))
        except UserError as error:
            stop(error)


onstart:
    try:
        cluster.start()
        made = outputs(engine.to_run())
        check_weights(build, made)
        announce(root, made)
        owe(root)
    except UserError as error:
        stop(error)
    if engine.on_one_machine:
        engine.keep_outputs_of_failed_jobs()
        share_warm_processes()
