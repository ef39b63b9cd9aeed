"""What Snakemake's Slurm executor (2.8) leaves to us: jobs whose build was killed."""

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
"""Seconds until cancelled jobs are gone: Slurm gives them some to end by themselves."""


def cancel_orphans(root: Path, at_work: Callable[[], list[dict]]) -> int:
    """Cancel jobs that this user has in the queue for this folder and that no build at work waits for; answers how many.

    Snakemake knows nothing of them when it starts again, and would submit each a second time; such a job would begin by removing
    what the other has made. ``at_work`` gives the announcements of builds at work; it is asked after the queue, since a build
    announces itself before it submits. Trainings go on from their last epoch.
    """
    queued = _queued(root)
    made = {file for other in at_work() for file in other["outputs"]}
    orphans = list(dict.fromkeys(job for job, comment in queued if not _output_of(comment) & made))
    if not orphans:
        return 0
    subprocess.run(["scancel", *orphans], capture_output=True)
    print(
        f"note: {len(orphans)} Slurm jobs of an earlier build in this folder, which is gone, were cancelled; their trainings go on from "
        "their last epoch",
        file=sys.stderr,
    )
    end = time.monotonic() + PATIENCE
    while left := {job for job, _ in _queued(root)} & set(orphans):
        if time.monotonic() > end:
            raise UserError(
                f"{len(left)} Slurm jobs of an earlier build in this folder do not end: scancel {' '.join(sorted(left)[:5])}; then run the "
                "same command again"
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
    found = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    here = os.path.realpath(root)
    return [
        (job.split("_")[0], comment)
        for job, folder, comment in found
        if comment.startswith("rule_") and os.path.realpath(folder) == here
    ]


def _output_of(comment: str) -> set[str]:
    """What a job makes, from the comment that the executor gave it."""
    rule, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
    if rule == "evaluate":
        run, _, key = wildcards.rpartition("_")
        return {str(evaluation_file(f"{run}/{key}"))}
    return {str(checkpoint_file(wildcards))}
