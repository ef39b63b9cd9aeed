"""Possible jobs, their inputs and their environment."""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sslpairs.errors import nearest, stop
from sslpairs.plan.baselines import TITLES
from sslpairs.plan.build import Build
from sslpairs.plan.written import outdated
from sslpairs.workflow.constraints import any_of
from sslpairs.workflow.snakemake import Engine


@dataclass(frozen=True)
class Jobs:
    """Wildcard constraints: the possible jobs of each rule."""

    prepare: str
    train: str
    retrain: str
    restore: str
    evaluate: str
    baseline: str


def possible_jobs(build: Build, on_node: bool) -> Jobs:
    """Return the constraints under which only missing files are jobs.

    On a cluster's node nothing is checked: the job is given, and thousands of jobs would each read thousands of receipts.
    """
    if on_node:
        return Jobs(*["[^/]+(/[^/]+)?"] * 6)
    return Jobs(
        any_of(build.to_prepare),
        any_of(set(build.to_train) - set(build.to_retrain), build.plan.runs),
        any_of(build.to_retrain),
        any_of(build.to_restore),
        f"(?!({'|'.join(TITLES)})-)({any_of(build.to_evaluate, build.evaluations)})",  # baselines are in the same folder
        any_of(build.to_measure),
    )


def trained_from(build: Build, run: str) -> list[str]:
    """Return the inputs of a training. If training is forbidden, stop the build here, before its first job."""
    if run not in build.plan.runs:
        stop(
            f"'{run}' is not a run of this plan{nearest(run, list(build.plan.runs))}; `sslpairs plan --runs` lists them"
        )
    if build.plan.settings["train"] == "never":
        stop(
            f"training is forbidden (train: never), but {run} would have to be trained: {build.to_train.get(run, 'new')}.\n`sslpairs "
            "plan --no-train` lists all such runs; pull receipts or pointers (`git pull`), or build without train=never"
        )
    return build.training_inputs(run)


def table_inputs(build: Build, table: str, engine: Engine) -> list[str]:
    """Return the inputs of a table; called for each table while Snakemake builds its DAG. If the files on disk are out of date,
    Snakemake is forced to run the job, whatever times and checksums say."""
    engine.run_anyway(outdated(build, "tables", table))
    return build.evaluation_files(table)


def figure_inputs(build: Build, figure: str, engine: Engine) -> list[str]:
    """Return the inputs of a figure, like ``table_inputs``."""
    engine.run_anyway(outdated(build, "figures", figure))
    return build.figure_inputs(figure)


def equip_jobs(frozen: Path) -> None:
    """Make the jobs of this process run the sslpairs of its Python environment and read the frozen plan."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["SSLPAIRS_PLAN"] = str(frozen)


def share_warm_processes() -> None:
    """Let jobs of this process on this machine share processes that have imported torch (``sslpairs.fork_server``)."""
    with contextlib.suppress(OSError):  # no space for temporary files: optional
        folder = tempfile.mkdtemp(prefix="sslpairs-", suffix=f"-{os.getpid()}")
        os.environ["SSLPAIRS_WARM"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
