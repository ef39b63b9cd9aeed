"""What a clone of the published commit would lack: uncommitted changes, commits on no branch, a remote that only this machine
knows."""

import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sslpairs.git import ask
from sslpairs.plan.records import Receipt
from sslpairs.words import counted

INPUTS = (
    *("config", "src", "workflow", "profiles", "Snakefile", "Makefile", "pyproject.toml", "requirements*.txt"),
    *("environment.yml", ".gitignore", ".dvcignore", ".dvc/.gitignore"),
)
"""Project files that a build reads; data.dvc and .dvc/config are staged with the results."""


def uncommitted(root: Path) -> list[str]:
    """Files of ``INPUTS`` that differ from the index or are not in it, relative to ``root``."""
    words = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored", "--", *INPUTS)
    prefix = ask(root, "rev-parse", "--show-prefix").strip()
    changed = []
    for entry in ask(root, *words).split("\0"):
        state, file = entry[:2], entry[3:].removeprefix(prefix)
        ignored = state == "!!" and file.startswith("config/") and file.endswith((".yaml", ".yml"))
        if entry and (ignored or (state != "!!" and state[1] != " ")):
            changed.append(file)
    # Files that git was told not to check (assume-unchanged, skip-worktree) usually hide a local change.
    hidden = [
        line[2:] for line in ask(root, "ls-files", "-v", "-z", "--", *INPUTS).split("\0") if line[:1] in ("h", "S")
    ]
    return changed + [file for file in hidden if (root / file).exists() and _differs(root, file)]


def _differs(root: Path, file: str) -> bool:
    entry = ask(root, "ls-files", "--stage", "-z", "--", file)
    return entry.split()[1] != ask(root, "hash-object", "--", file).strip()


def to_add(files: list[str]) -> str:
    """Arguments for ``git add``: the files, or their top-level folders and files if there are more than three."""
    if len(files) > 3:
        files = list(dict.fromkeys(file.partition("/")[0] for file in files))
    return shlex.join(files)


def unreachable(root: Path, receipts: Iterable[Receipt]) -> dict[str, tuple[int, bool]]:
    """Commits named by receipts that no branch or tag reaches: how many receipts, and whether the commit is here.
    Empty in a shallow clone, where this is unknown."""
    named = Counter(commit for receipt in receipts if (commit := (receipt.get("git") or {}).get("commit")))
    if not named or ask(root, "rev-parse", "--is-shallow-repository").strip() == "true":
        return {}
    answers = ask(root, "cat-file", "--batch-check", input="".join(f"{commit}^{{commit}}\n" for commit in named))
    present = [commit for commit, line in zip(named, answers.splitlines(), strict=True) if not line.endswith("missing")]
    loose = set(ask(root, "rev-list", *present, "--not", "--all").split()) if present else set()
    return {
        commit: (number, commit in present)
        for commit, number in named.items()
        if commit in loose or commit not in present
    }


def notes(root: Path, receipts: Iterable[Receipt], files: list[str]) -> list[str]:
    """Notes on uncommitted ``files`` and on commits that a clone would not have."""
    lines = []
    if files:
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        lines.append(
            f"a clone would not have the uncommitted changes of {', '.join(files[:5])}{more}: it would plan different runs or show "
            f"different tables. `git add {to_add(files)}` before you commit"
        )
    for commit, (number, present) in unreachable(root, receipts).items():
        lines.append(
            f"{counted(number, 'receipt names')} commit {commit[:12]}, which "
            + (
                f"no branch or tag reaches, so a clone does not have it; `git tag trained-{commit[:12]} {commit[:12]}` keeps it"
                if present
                else "is not in this repository: push it from where the runs were trained, then `git fetch --tags`"
            )
        )
    return lines
