"""Which code and which libraries made a result."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sslpairs.plan.fingerprint import TRAINING_ROOMS, fingerprint

LIBRARIES = ("sslpairs", "torch", "torchvision", "lightly", "numpy")


def code_and_versions(root: Path, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """The keys git, code and versions of a receipt. ``known`` is what git said on another machine, where there is none here."""
    git = git_state(root)
    return {
        "git": known if known and git["commit"] is None else git,
        "code": fingerprint(*TRAINING_ROOMS),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_state(root: Path) -> dict[str, Any]:
    """Commit and whether tracked files differ from it; nulls where there is no git."""

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    dirty = ask("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if dirty is None else bool(dirty)}
