"""Front door: plan, freeze the plan, and include the rules.

The configuration is read once, here, in the process that the user started. Jobs (also on a cluster, where they parse
this file again) read the frozen plan, so that editing config/ meanwhile changes nothing in a running build.
"""

import sys
from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.front import (
    announce,
    check,
    equip_jobs,
    make_build,
    share_warm_processes,
    stop,
    trained_from,
)
from sslpairs.plan.build import Build, any_of, freeze, thaw

root = Path.cwd()

try:
    if "plan" in config:
        frozen = config["plan"]
        build = Build(thaw(Path(frozen)), root)
    else:
        build = make_build(root, config)
        check(build)
        frozen = freeze(build.plan, root)
        settings = workflow.config_settings
        settings.config_args = [*(settings.config_args or []), f"plan={frozen}"]
    build.to_prepare
except UserError as error:
    stop(error)

equip_jobs(frozen)

scale = build.plan.scale["name"]
if build.plan.settings["jobs"] != "all":
    workflow.global_resources["job_slots"] = build.plan.settings["jobs"]


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        [file for table in build.plan.selected for file in build.wanted(table)],
        build.provenance_file(),


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


onstart:
    try:
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
