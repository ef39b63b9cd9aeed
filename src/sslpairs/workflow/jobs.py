"""Possible jobs, their inputs and their environment."""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
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
    train_and_evaluate: str
    retrain: str
    restore: str
    evaluate: str
    baseline: str
    key: str
    """Key of the evaluations that are made with their training."""


def possible_jobs(build: Build, on_node: bool, cluster: bool = False) -> Jobs:
    """Return the constraints under which only missing files are jobs.

    On a cluster's node nothing is checked: the job is given, and thousands of jobs would each read thousands of receipts.
    """
    if on_node:
        return Jobs(*["[^/]+(/[^/]+)?"] * 7, key="none")
    key, together = ("none", []) if cluster else evaluated_with_training(build)
    later = set(build.to_evaluate) - {f"{run}/{key}" for run in together}
    no_baseline = f"(?!({'|'.join(TITLES)})-)"  # the evaluations of baselines are in the same folder
    return Jobs(
        any_of(build.to_prepare),
        any_of(set(build.to_train) - set(build.to_retrain) - set(together), build.plan.runs),
        f"{no_baseline}({any_of(together, build.plan.runs)})",
        any_of(build.to_retrain),
        any_of(build.to_restore),
        f"{no_baseline}({any_of(later, build.evaluations)})",
        any_of(build.to_measure),
        key,
    )


def evaluated_with_training(build: Build) -> tuple[str, list[str]]:
    """Return the most frequent key of the evaluations that the plan's tables lack, and the new runs of which it is the only one: on one
    machine their training's job makes it, too, since data, network and libraries are there."""
    trained, evaluations, _ = build.needs(build.plan.tables)
    new = {run for run in trained if run not in build.to_retrain and build.plan.runs[run]["gpus"] == 1}
    lacking = Counter(build.plan.evaluations[name]["run"] for name in build.to_evaluate)
    entries = [build.plan.evaluations[name] for name in evaluations]
    entries = [
        entry for entry in entries if entry["run"] in new and lacking[entry["run"]] == 1 and "dataset" not in entry
    ]
    if not entries:
        return "none", []
    key, _ = Counter(entry["key"] for entry in entries).most_common(1)[0]
    return key, [entry["run"] for entry in entries if entry["key"] == key]


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
    lacking = [name for name in build.plan.datasets_of([*build.plan.selected, table]) if name in build.plan.unprepared]
    if lacking and not engine.dry_run:
        stop(
            f"not prepared yet: {', '.join(lacking)}; run: sslpairs fetch {' '.join(lacking)}\n(`make tables` does that first; "
            "`sslpairs plan` shows what is downloaded, and what must be obtained by hand)"
        )
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
