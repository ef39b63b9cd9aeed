"""Create a build from a folder and command-line settings."""

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
    """Return Snakemake's ``config`` with the original strings of ``--config``: Snakemake parses numbers differently (010, 1_000)."""
    return config | {key: value for key, _, value in (word.partition("=") for word in words or ()) if key in config}


def make_build(root: Path, overrides: dict[str, Any] | None = None) -> Build:
    """Read the configuration, plan it, and check what exists."""
    # Thousands of runs are hundreds of thousands of long-lived objects. Repeated garbage collection over them takes a fifth
    # of the time of planning, and of Snakemake's DAG afterwards.
    gc.set_threshold(100_000, 20, 20)
    check_own_code(root)
    config = read_config(root, overrides)
    plan = make_plan(config, contents(root, config.datasets))
    if changed := changed_sources(root, {name: config.datasets[name] for name in plan.datasets}):
        raise UserError(
            f"config/datasets.yaml: {changed[0]}: its source differs from the one recorded in data.dvc; `sslpairs fetch "
            f"{changed[0]}` prepares it (its runs then get new ids), or change it back"
        )
    return Build(plan, root)


def check_folder(root: Path, snakefile: str) -> None:
    """Raise ``UserError`` if Snakemake cannot work in this folder, or if it is not the project's folder."""
    project = Path(snakefile).parent
    if root != project and not (root / "config/config.yaml").exists():
        raise UserError(
            f"{root} is not the project's folder: run `snakemake` in {project}, or add --directory {project}"
        )
    if "{" in str(root) or "}" in str(root):
        raise UserError(f"{root}: Snakemake interprets braces in the path of a project as wildcards; rename the folder")
    for folder in (root, root / ".snakemake", root / ".snakemake/locks", root / "results"):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            user = folder.stat().st_uid  # a number: containers do not know the names of other users
            owner = f" (it belongs to user {user})" if user != os.getuid() else ""
            raise UserError(f"{folder}: not writable{owner}; build in your own clone, or change the permissions")


def check(build: Build) -> None:
    """Raise ``UserError`` for damaged records and needed checkpoints. Reset the times of files dated in the future, and warn if
    receipts could not name their commit."""
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
            f"clock: {len(ahead)} files were dated in the future, such as {os.path.relpath(ahead[0], build.root)}; their times were set "
            "to now, their content is unchanged: check the clock",
            file=sys.stderr,
        )


def no_commit(build: Build) -> str | None:
    """Return a note for builds whose receipts cannot name the commit because git refuses this folder."""
    refused = build.to_train and git_state(build.root).get("refused")
    return f"note: receipts of new runs will not name a commit: {refused}" if refused else None


def unknown_target(build: Build, name: str, what: str = "neither a paper nor a table") -> str | None:
    """Return the problem with an unknown target; None for a paper or a table of this plan."""
    known = build.targets()
    if name in known:
        return None
    if name in build.plan.left_out:
        return f"'{name}' is an optional table: select it with --set tables={name} (make: TABLES={name})"
    files = [file for table in build.plan.tables for file in build.outputs(table)] if "/" in name else []
    return f"'{name}' is {what}{nearest(name, files or list(known))} ({', '.join(known)})"
