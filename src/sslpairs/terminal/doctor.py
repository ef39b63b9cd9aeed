"""``sslpairs doctor``: check the machine, the libraries, the configuration, the data and every record."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from rich.markup import escape

from sslpairs.data.folders import verify
from sslpairs.errors import UserError
from sslpairs.files import sha256_file
from sslpairs.git import health
from sslpairs.plan import written
from sslpairs.plan.build import Build
from sslpairs.plan.machines import mixture
from sslpairs.plan.paths import ENDINGS, checkpoint_file
from sslpairs.plan.pointers import pointer_of, read_pointer
from sslpairs.terminal.screen import out
from sslpairs.words import counted

LIBRARIES = {"torch": "2.11", "torchvision": "0.26", "lightly": "1.6", "snakemake": "9.27", "dvc": "3.67"}
"""Versions that this project is made for."""
Say = Callable[[bool, str], None]
"""Called with whether a check passed, and its description."""


def examine(open_build: Callable[[], Build]) -> int:
    """Run all checks, print the results, and return the number of problems."""
    problems = 0

    def say(good: bool, text: str) -> None:
        nonlocal problems
        problems += not good
        out.print(("[green]ok  [/]" if good else "[red]BAD [/]") + " " + escape(text), soft_wrap=True)

    _machine(say)
    try:
        build = open_build()
        _configuration(build, say)
        _data(build, say)
        _records(build, say)
        if mixed := mixture(build.receipts[run] for run in _chosen_runs(build) if run in build.receipts):
            say(True, mixed)
    except UserError as error:
        say(False, str(error))
    return problems


def _machine(say: Say) -> None:
    say(sys.version_info >= (3, 11), f"Python {platform.python_version()} (needs 3.11 or newer)")
    for name, wanted in LIBRARIES.items():
        try:
            installed = version(name)
            say(installed.startswith(wanted), f"{name} {installed} (made for {wanted})")
        except Exception:
            say(False, f"{name} is missing: run `make setup`")
    say(*health(Path.cwd()))
    say(shutil.which("make") is not None, "make (the two commands)")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parent = next(folder for folder in (cache, *cache.parents) if folder.exists())
    say(
        os.access(parent, os.W_OK),
        f"{cache} (Snakemake keeps files there; else set HOME or XDG_CACHE_HOME to a folder of yours)",
    )
    free = shutil.disk_usage(".").free / 1e9
    say(free > 2, f"{free:,.0f} GB free here (a digits build needs 0.1)")
    try:
        import torch

        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        names = ", ".join(torch.cuda.get_device_name(number) for number in range(gpus))
        say(True, f"{counted(os.cpu_count() or 1, 'core')}; GPUs: {names or 'none'}")
    except Exception as error:
        say(False, f"torch cannot be imported ({error}): run `make setup` again")


def _configuration(build: Build, say: Say) -> None:
    plan = build.plan
    facts = f"{counted(len(plan.selected), 'table')}, {counted(len(_chosen_runs(build)), 'run')} at scale {plan.scale['name']}"
    if others := len(plan.left_out) + len(plan.tables) - len(plan.selected):
        facts += f" (not counted: {counted(others, 'table')} that papers and tables of config/config.yaml exclude)"
    say(True, f"configuration: {facts}")


def _chosen_runs(build: Build) -> list[str]:
    """Runs of the selected tables and their guides."""
    return build.with_guides(run for table in build.plan.selected for run in build.runs_of(table))


def _data(build: Build, say: Say) -> None:
    for name in build.plan.datasets:
        try:
            if name in build.plan.unprepared:
                say(
                    True,
                    f"data set {name}: not here yet; `sslpairs fetch {name}` gets it (`sslpairs fetch --list` says how)",
                )
            elif name in build.to_prepare:
                say(True, f"data set {name}: not prepared yet; a build prepares it")
            else:
                verify(name, build.root)
                say(True, f"data set {name}: intact")
        except UserError as error:
            say(False, str(error))


def _records(build: Build, say: Say) -> None:
    """Verify every record, checkpoint and pointer of the plan."""
    for line in build.damaged:
        say(False, line)
    present = [run for run in build.receipts if build.has_checkpoint(run)]
    digests = {run: sha256_file(build.root / checkpoint_file(run)) for run in present}
    broken = [run for run in present if digests[run] != build.receipts[run]["checkpoint"]["sha256"]]
    for run in broken:
        remedy = f"`sslpairs restore {run}`" if build.is_published(run) else f"`sslpairs train {run}` makes it again"
        say(False, f"{run}: checkpoint.pt is damaged or differs from the one named in run.json; {remedy}")
    for run in build.receipts:
        try:
            pointer = read_pointer(run, build.root)
        except UserError as error:
            say(False, str(error))
            continue
        if pointer and pointer != pointer_of(build.receipts[run]):
            say(False, f"{run}: its pointer is for a different checkpoint; `sslpairs publish` rewrites it")
    for kind in ENDINGS:
        for name in getattr(build.plan, kind):
            if written.state(build, kind, name) == written.OLD:
                stem = build.stem(kind, name)
                say(False, f"{stem}.*: out of date with the settings and results; the next build rewrites it")
    runs = _chosen_runs(build)
    evaluations = {name for table in build.plan.selected for name in build.evaluations_of(table)}
    say(
        True,
        f"{sum(run in build.receipts for run in runs)} of {counted(len(runs), 'run')} done, "
        f"{len(evaluations & build.evaluated)} of {counted(len(evaluations), 'evaluation')}; "
        f"{counted(len(present) - len(broken), 'checkpoint')} intact",
    )
