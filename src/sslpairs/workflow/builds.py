"""From a folder and the words of a command line to a build."""

import gc
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sslpairs.config.reading import read_config
from sslpairs.data.record import changed_sources, contents
from sslpairs.errors import UserError, nearest
from sslpairs.files import date_now, dated_ahead
from sslpairs.git import git_state
from sslpairs.own import check_own_code
from sslpairs.plan.build import Build
from sslpairs.plan.paths import ENDINGS, checkpoint_file, evaluation_file, metrics_file, receipt_file
from sslpairs.plan.planner import make_plan


def as_typed(config: dict[str, Any], words: Iterable[str] | None) -> dict[str, Any]:
    """Snakemake's ``config`` with the words of ``--config`` as they were typed: it reads numbers in ways of its own (010, 1_000)."""
    return config | {key: value for key, _, value in (word.partition("=") for word in words or ()) if key in config}


def make_build(root: Path, overrides: dict[str, Any] | None = None) -> Build:
    """Read the configuration, plan it, and look at what exists."""
    # Thousands of runs are hundreds of thousands of objects that stay: looking for cycles among them again and again takes a
    # fifth of the time of a plan, and of Snakemake's graph after it.
    gc.set_threshold(100_000, 20, 20)
    check_own_code(root)
    config = read_config(root, overrides)
    plan = make_plan(config, contents(root, config.datasets))
    if changed := changed_sources(root, {name: config.datasets[name] for name in plan.datasets}):
        raise UserError(
            f"config/datasets.yaml: {changed[0]}: its source is not the one that data.dvc's content came from; `sslpairs fetch "
            f"{changed[0]}` prepares it (its runs are then new ones), or change it back"
        )
    return Build(plan, root)


def check_folder(root: Path, snakefile: str) -> None:
    """``UserError`` where Snakemake could not work in this folder, or would in another one than the project's."""
    project = Path(snakefile).parent
    if root != project and not (root / "config/config.yaml").exists():
        raise UserError(
            f"{root} is not the project's folder: run `snakemake` in {project}, or add --directory {project}"
        )
    if "{" in str(root) or "}" in str(root):
        raise UserError(f"{root}: Snakemake takes braces in the path of a project for its wildcards; rename the folder")
    for folder in (root, root / ".snakemake", root / ".snakemake/locks", root / "results"):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            user = folder.stat().st_uid  # a number: containers know no names of other users
            owner = f" (it belongs to user {user})" if user != os.getuid() else ""
            raise UserError(
                f"{folder}: cannot be written{owner}; build in a clone of your own, or change the permissions"
            )


def check(build: Build) -> None:
    """``UserError`` for damaged records and needed checkpoints; files that are dated in the future are dated as of now, and
    receipts that could not name their commit are told."""
    if lines := build.damaged:
        more = f"\n(and {len(lines) - 3} more: `sslpairs doctor`)" if len(lines) > 3 else ""
        raise UserError("\n".join(lines[:3]) + more)
    if note := no_commit(build):
        print(note, file=sys.stderr)
    plan = build.plan
    files = [f"data/{name}/dataset.json" for name in plan.datasets]
    for run in build.receipts:
        files += [receipt_file(run), metrics_file(run), checkpoint_file(run)]
    files += map(evaluation_file, build.evaluated)
    files += [f for kind in ENDINGS for name in getattr(plan, kind) for f in build.files_of(kind, name)]
    if ahead := dated_ahead(f"{build.root}/{file}" for file in files):
        date_now(ahead)
        print(
            f"clock: {len(ahead)} files were dated in the future, such as {os.path.relpath(ahead[0], build.root)}; they are dated as of "
            "now. Their content is what it was: see that the clock is right",
            file=sys.stderr,
        )


def no_commit(build: Build) -> str | None:
    """What to say before trainings whose receipts cannot name the commit, since git refuses this folder."""
    refused = build.to_train and git_state(build.root).get("refused")
    return f"note: the receipts of what is trained will name no commit: {refused}" if refused else None


def unknown_target(build: Build, name: str, what: str = "neither a paper nor a table") -> str | None:
    """What to say of a target that there is not; None for a paper or a table of this plan."""
    known = build.targets()
    if name in known:
        return None
    if name in build.plan.left_out:
        return f"'{name}' is an optional table: choose it with --set tables={name} (make: TABLES={name})"
    files = [file for table in build.plan.tables for file in build.outputs(table)] if "/" in name else []
    return f"'{name}' is {what}{nearest(name, files or list(known))} ({', '.join(known)})"
