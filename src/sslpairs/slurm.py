"""What Snakemake's Slurm executor (2.8) leaves to us: members of arrays, and jobs whose build was killed."""

import getpass
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

ARRAY = "--slurm-jobstep-array-execs"
PATIENCE = 60
"""Seconds until cancelled jobs are gone: Slurm gives them some to end by themselves."""


def become_own_member(arguments: list[str]) -> None:
    """In a member of an array: go on as the command that is this member's own, if it is another one.

    The executor starts every member with the command of the first one, whose finished outputs Snakemake would then remove, as of
    any job that it is about to run. So this must be called while the Snakefile is parsed, before that.
    """
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    found = [word for word in arguments if word.startswith(ARRAY)]
    if not found or task in (None, os.environ.get("SLURM_ARRAY_TASK_MIN")):
        return
    from snakemake_executor_plugin_slurm_jobstep import parse_array_execs

    place = arguments.index(found[0])
    members = parse_array_execs(found[0].partition("=")[2] or arguments[place + 1])
    command = zlib.decompress(bytes.fromhex(members[task])).decode()
    os.execv("/bin/sh", ["sh", "-c", command])  # noqa: S606 - what the executor itself would run


def cancel_orphans(root: Path, others: list[dict]) -> int:
    """Cancel jobs that this user has in the queue for this folder and that no build at work waits for; answers how many.

    Snakemake knows nothing of them when it starts again, and would submit each a second time; such a job would begin by removing
    what the other has made. ``others`` are the announcements of builds at work. Trainings go on from their last epoch.
    """
    made = {file for other in others for file in other["outputs"]}
    orphans = [job for job, comment in _queued(root) if not _output_of(comment) & made]
    if not orphans:
        return 0
    subprocess.run(["scancel", *orphans], capture_output=True)
    print(
        f"note: {len(orphans)} Slurm jobs of an earlier build in this folder, which is gone, were cancelled; their trainings go on from "
        "their last epoch",
        file=sys.stderr,
    )
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and {job for job, _ in _queued(root)} & set(orphans):
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
    """What a job makes, from the comment that the executor gave it; of an array, what its first member makes."""
    rule, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
    if rule == "evaluate":
        run, _, key = wildcards.rpartition("_")
        return {f"results/evals/{run}/{key}.json"}
    return {f"results/runs/{wildcards}/checkpoint.pt"}
