"""Queries to git, and why they can fail: there is no git, no repository, or git refuses the folder."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from sslpairs.errors import UserError

NO_REPOSITORY = re.compile(r"not a git repository \(or any")  # a broken `.git` is reported differently
UNTRUSTED = re.compile(r"dubious ownership|unsafe repository|safe\.directory")


class NoRepository(UserError):
    """There is no git on this machine, or the folder is not in a repository."""


def ask(root: Path, *words: str, environment: dict[str, str] | None = None, **options: Any) -> str:
    """Output of a git command. It takes no optional locks, since jobs run in parallel.

    ``NoRepository`` if there is no git or no repository; ``UserError`` with git's reason and the remedy if it fails or refuses.
    """
    own = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}  # the reasons are parsed below
    command = ["git", "-C", str(root), *words]
    try:
        options |= {"capture_output": True, "encoding": "utf-8", "errors": "surrogateescape"}
        done = subprocess.run(command, env=os.environ | own | (environment or {}), **options)
    except OSError:
        raise NoRepository("no git on this machine") from None
    if done.returncode == 0:
        return done.stdout
    reason = " ".join((done.stderr or done.stdout).split()).removeprefix("fatal: ")
    if NO_REPOSITORY.search(reason) and not (root / ".git").exists():
        raise NoRepository("no git repository here")
    if UNTRUSTED.search(reason):
        raise UserError(
            f"git refuses {root}, which belongs to another user; if you trust it: git config --global --add safe.directory "
            f"{_refused_folder(done.stderr) or root}"
        )
    raise UserError(f"git {words[0]}: {reason[:300]}; fix that and run the same command again")


def _refused_folder(text: str) -> str | None:
    """The folder named in git's own remedy; the repository may begin above the project."""
    match = re.search(r"--add safe\.directory (.+)", text)
    return match[1].strip() if match else None


def git_state(root: Path) -> dict[str, Any]:
    """Commit, and whether tracked files differ from it; None for both without git. ``refused`` gives git's reason if it refuses."""
    try:
        lines = ask(root, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines()
    except NoRepository:
        return {"commit": None, "dirty": None}
    except UserError as error:
        return {"commit": None, "dirty": None, "refused": str(error)}
    commit = next(line.split()[-1] for line in lines if line.startswith("# branch.oid "))
    return {
        "commit": None if commit == "(initial)" else commit,
        "dirty": not all(line.startswith("#") for line in lines),
    }


def commit_words(known: dict[str, Any]) -> str:
    """The commit of a receipt, and whether there were uncommitted changes, as text."""
    if known.get("refused"):
        return "no commit: git refused the folder"
    return (known["commit"] or "no commit") + (" with uncommitted changes" if known["dirty"] else "")


def health(root: Path) -> tuple[bool, str]:
    """For ``doctor``: whether receipts can name the commit, and a message."""
    try:
        ask(root, "status", "--porcelain")
    except NoRepository as error:
        missing = "no git on" in str(error)
        return not missing, f"{error}: receipts name no commit" + ("; install git" if missing else "")
    except UserError as error:
        return False, f"receipts would name no commit: {error}"
    return True, "git (receipts name the commit)"
