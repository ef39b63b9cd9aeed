"""Stage published files for git."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.git import NoRepository, ask
from sslpairs.plan.build import Build
from sslpairs.plan.paths import evaluation_file, run_folder

MARK = "sslpairs publish\n"
"""Content of git's lock while publishing: identifies a lock left by a killed publish."""


@dataclass
class Published:
    """Result of ``publish``."""

    sent: int = 0
    """Objects that the remote did not have."""
    bytes: int = 0
    held: int = 0
    """Objects that the remote already had."""
    runs: list[str] = field(default_factory=list)
    """Runs whose checkpoint the remote now holds."""
    unfinished: int = 0
    """Runs without a receipt, which are left out."""
    problems: list[str] = field(default_factory=list)
    staged: int = 0
    """Files that are new or changed in git's index."""
    uncommitted: list[str] = field(default_factory=list)
    """Files of the configuration, code and rules that a clone of the next commit would not have."""
    notes: list[str] = field(default_factory=list)


def small_files(build: Build, runs: list[str], whole_data: bool) -> list[str]:
    """Receipts, metrics, pointers and evaluations of runs, the record of the data, and the remote's address; intact ones only."""
    files = [".dvc/config", *(["data.dvc"] if whole_data else [])]
    chosen = set(runs)
    for run in runs:
        folder = run_folder(run)
        files += [str(folder / name) for name in ("run.json", "metrics.csv", "checkpoint.pt.dvc")]
    files += [
        str(evaluation_file(name))
        for name in build.evaluated
        if name in build.plan.baselines or build.plan.evaluations[name]["run"] in chosen
    ]
    return [file for file in files if (build.root / file).exists() and file not in build.damage]


def stage(root: Path, files: list[str], done: Published) -> int:
    """Run ``git add`` in a copy of the index that then replaces it, under git's own lock: a publish that is killed leaves the index
    either unchanged or complete, and a lock that the next publish recognises as its own."""
    try:
        index = Path(ask(root, "rev-parse", "--path-format=absolute", "--git-path", "index").strip())
    except NoRepository as error:
        done.notes.append(f"{error}: nothing is staged; to share results by git, clone the repository or `git init`")
        return 0
    copy = index.with_name("index.sslpairs")
    with git_locked(index.with_name("index.lock"), copy.with_suffix(".mark")):
        for leftover in (copy, copy.with_name(f"{copy.name}.lock")):
            leftover.unlink(missing_ok=True)
        if index.exists():
            shutil.copyfile(index, copy)
        environment = {"GIT_INDEX_FILE": str(copy)}
        before = ask(root, "ls-files", "--stage", environment=environment)
        words = ("add", "--pathspec-from-file=-", "--pathspec-file-nul")
        ask(root, *words, input="\0".join(files), environment=environment)
        after = ask(root, "ls-files", "--stage", environment=environment)
        os.replace(copy, index)
    return len(set(after.splitlines()) - set(before.splitlines()))


@contextlib.contextmanager
def git_locked(lock: Path, mark: Path, patience: float = 20.0) -> Iterator[None]:
    """Hold git's index.lock. One left by a killed publish is taken over: no other publish runs, since this one holds its lock."""
    mark.write_text(MARK)
    until = time.monotonic() + patience
    while True:
        try:
            os.link(mark, lock)
            break
        except FileExistsError:
            with contextlib.suppress(OSError):
                if lock.read_text() == MARK:
                    lock.unlink()
                    continue
            if time.monotonic() > until:
                mark.unlink(missing_ok=True)
                raise UserError(
                    f"{lock}: git is running here, or was killed; if no git is running, remove that file, then run the same command again"
                ) from None
            time.sleep(0.2)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)
