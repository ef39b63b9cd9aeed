"""What Snakemake's Slurm executor (2.8) leaves to us: cancelling the jobs of a killed build."""

import getpass
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.plan.paths import checkpoint_file, evaluation_file

PATIENCE = 60
"""Seconds to wait for cancelled jobs: Slurm gives them some time to end by themselves."""


def cancel_orphans(root: Path, at_work: Callable[[], list[dict]]) -> int:
    """Cancel this user's queued jobs for this folder that no active build waits for; returns how many.

    Snakemake does not know them after a restart and would submit each a second time; such a job would begin by removing the output
    of the first. ``at_work`` returns the announcements of active builds; it is called after the queue is read, since a build
    announces itself before it submits. Trainings resume from their last epoch.
    """
    queued = _queued(root)
    made = {file for other in at_work() for file in other["outputs"]}
    orphans = list(dict.fromkeys(job for job, comment in queued if not _output_of(comment) & made))
    if not orphans:
        return 0
    subprocess.run(["scancel", *orphans], capture_output=True)
    print(
        f"note: {len(orphans)} Slurm jobs of an earlier build in this folder, which has ended, were cancelled; their trainings resume "
        "from their last epoch",
        file=sys.stderr,
    )
    end = time.monotonic() + PATIENCE
    while left := {job for job, _ in _queued(root)} & set(orphans):
        if time.monotonic() > end:
            raise UserError(
                f"{len(left)} Slurm jobs of an earlier build in this folder have not ended: scancel {' '.join(sorted(left)[:5])}; then run "
                "the same command again"
            )
        time.sleep(1)
    return len(orphans)


def _queued(root: Path) -> list[tuple[str, str]]:
    """Ids and comments of this user's Slurm jobs that Snakemake submitted from this folder."""
    words = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%Z|%k"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    jobs = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    here = os.path.realpath(root)
    return [
        (job.split("_")[0], comment)
        for job, folder, comment in jobs
        if comment.startswith("rule_") and os.path.realpath(folder) == here
    ]


def _output_of(comment: str) -> set[str]:
    """Output files of a job, from the comment set by the executor."""
    rule, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
    if rule in ("evaluate", "baseline"):
        run, _, key = wildcards.rpartition("_")
        return {str(evaluation_file(f"{run}/{key}"))}
    return {str(checkpoint_file(wildcards))}
