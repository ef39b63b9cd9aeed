"""Front door: plan, freeze the plan, and include the rules.

The configuration is read once, here, in the process that the user started. Jobs (also on a cluster, where they parse
this file again) read the frozen plan, so that editing config/ meanwhile changes nothing in a running build.
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
    from sslpairs.workflow.jobs import (
        equip_jobs,
        figure_inputs,
        possible_jobs,
        share_warm_processes,
        table_inputs,
        trained_from,
    )
except UserError as error:  # a method or strategy without its other half
    stop(error)

root = Path.cwd()
# Whether this process is one job on a cluster: the build on the head node has looked at everything.
on_node = workflow.remote_exec

try:
    if "plan" in config:
        frozen = config["plan"]
        build = Build(thaw(Path(frozen)), root)
        cluster = Cluster(build, workflow)
    else:
        check_folder(root, workflow.main_snakefile)
        build = make_build(root, as_typed(config, workflow.config_settings.config_args))
        check(build)
        cluster = Cluster(build, workflow)
        frozen = freeze_build(build, cluster)
        settings = workflow.config_settings
        settings.config_args = [*(settings.config_args or []), f"plan={frozen}"]
    jobs = possible_jobs(build, on_node)
except UserError as error:
    stop(error)

equip_jobs(frozen)

scale = build.plan.scale["name"]
asked_for = [] if on_node else build.plan.selected
if build.plan.settings["jobs"] != "all":
    workflow.global_resources["job_slots"] = build.plan.settings["jobs"]


report: "workflow/report/workflow.rst"


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
            # A function, so that the thousands of files are only looked at when somebody asks for the target.
            lambda wildcards, tables=tables: [
                file for table in tables for file in build.wanted(table)
            ],


if not on_node:
    say_briefly(workflow, build)


onstart:
    try:
        cluster.start()
        announce(
            root,
            [
                str(file)
                for job in workflow.dag.needrun_jobs()
                for file in job.output
            ],
        )
    except UserError as error:
        stop(error)
    if workflow.local_exec:
        share_warm_processes()
