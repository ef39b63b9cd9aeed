"""Progress of running trainings, from their metrics, which are written line by line, and their locks."""

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sslpairs.locks import is_held
from sslpairs.plan.build import Build
from sslpairs.plan.paths import run_folder

SILENCE = 600.0
"""Seconds without a new epoch after which a training is considered ended, on file systems without locks."""


@dataclass(frozen=True)
class Running:
    """A running training."""

    epoch: int
    """Completed epochs."""
    epochs: int
    seconds_left: float | None
    """None before the first epoch is complete."""


def live_metrics(folder: Path) -> Path:
    """Return the file to which a training writes its metrics after every epoch.

    This is ``metrics.csv``, unless the folder has a receipt: the receipt contains a digest of the existing metrics, and both are kept
    until the new weights are complete.
    """
    return folder / (".metrics.csv.tmp" if (folder / "run.json").exists() else "metrics.csv")


def date_start(folder: Path, seconds: float) -> None:
    """Set the run's lock's time to ``seconds`` before its live metrics, which were just written. The difference between the two files is
    then the time of the epochs in the metrics, including those before an interruption. Metrics contain no times themselves."""
    with contextlib.suppress(OSError):
        start = live_metrics(folder).stat().st_mtime - seconds
        os.utime(folder / ".lock", (start, start))


def running(build: Build, runs: Iterable[str]) -> dict[str, Running]:
    """Return those of the runs that are being trained, on this machine or on another one that shares the folder."""
    states = {}
    for run in runs:
        folder = build.root / run_folder(run)
        # A lock and a receipt without live metrics mean that a process is restoring the run.
        if (folder / ".lock").exists() and (run not in build.receipts or live_metrics(folder).exists()):
            with contextlib.suppress(OSError):  # the training has just ended
                if state := _running(folder, build.plan.runs[run]["spec"]["epochs"]):
                    states[run] = state
    return states


def _running(folder: Path, epochs: int) -> Running | None:
    metrics, lock = live_metrics(folder), folder / ".lock"
    dated = lock.stat().st_mtime
    last = metrics.stat().st_mtime if metrics.exists() else dated
    if not _held(lock, max(dated, last)):
        return None
    lines = metrics.read_bytes().count(b"\n") if last > dated else 0
    epoch = min(max(0, lines - 1), epochs)  # the first line is the header
    if not epoch:
        return Running(0, epochs, None)
    per_epoch = (last - dated) / epoch
    return Running(epoch, epochs, max(0.0, (epochs - epoch) * per_epoch - (time.time() - last)))


def _held(lock: Path, last: float) -> bool:
    """Whether a process holds the lock; without locks, whether something was written recently."""
    with open(lock) as file:
        held = is_held(file)
    return time.time() - last < SILENCE if held is None else held
