"""What may be a job, what it reads, and what it finds in its environment."""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sslpairs.errors import nearest, stop
from sslpairs.plan.build import Build
from sslpairs.plan.written import outdated
from sslpairs.workflow.constraints import any_of
from sslpairs.workflow.snakemake import Engine


@dataclass(frozen=True)
class Jobs:
    """Wildcard constraints: what may be a job of each rule."""

    prepare: str
    train: str
    retrain: str
    restore: str
    evaluate: str


def possible_jobs(build: Build, on_node: bool) -> Jobs:
    """Only what is missing may be a job.

    On a cluster's node nothing is looked at: the job is given, and thousands of jobs would read thousands of receipts each.
    """
    if on_node:
        return Jobs(*["[^/]+(/[^/]+)?"] * 5)
    return Jobs(
        any_of(build.to_prepare),
        any_of(set(build.to_train) - set(build.to_retrain), build.plan.runs),
        any_of(build.to_retrain),
        any_of(build.to_restore),
        any_of(build.to_evaluate, build.evaluations),
    )


def trained_from(build: Build, run: str) -> list[str]:
    """What a training reads. Where training is forbidden, the build ends here, before its first job."""
    if run not in build.plan.runs:
        stop(f"'{run}' is no run of this plan{nearest(run, list(build.plan.runs))}; `sslpairs plan --runs` lists them")
    if build.plan.settings["train"] == "never":
        stop(
            f"training is forbidden (train: never), and {run} would have to be trained: {build.to_train.get(run, 'new')}.\n`sslpairs "
            "plan --no-train` lists all such runs; pull receipts (`git pull`) or pointers, or build without train=never"
        )
    return build.training_inputs(run)


def table_inputs(build: Build, table: str, engine: Engine) -> list[str]:
    """What a table is made from; asked while Snakemake makes its graph, of the tables in it. Where the files on disk do not show the
    numbers of now, Snakemake is told to run the job whatever it makes of dates and checksums."""
    engine.run_anyway(outdated(build, "tables", table))
    return build.evaluation_files(table)


def figure_inputs(build: Build, figure: str, engine: Engine) -> list[str]:
    """The same of a figure."""
    engine.run_anyway(outdated(build, "figures", figure))
    return build.figure_inputs(figure)


def equip_jobs(frozen: Path) -> None:
    """Let the jobs of this process run the sslpairs that belongs to its Python, and read the frozen plan."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["SSLPAIRS_PLAN"] = str(frozen)


def share_warm_processes() -> None:
    """Let the jobs of this process, on this machine, share processes that have imported torch (``sslpairs.warm``)."""
    with contextlib.suppress(OSError):  # no room for temporary files: everything works without
        folder = tempfile.mkdtemp(prefix="sslpairs-", suffix=f"-{os.getpid()}")
        os.environ["SSLPAIRS_WARM"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
