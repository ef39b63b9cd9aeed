"""Which code and which libraries produced a result."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sslpairs.git import git_state

LIBRARIES = ("sslpairs", "torch", "torchvision", "lightly", "numpy")


def code_and_versions(root: Path, code: str, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """The keys git, code and versions of a receipt. ``code`` is a fingerprint; ``known`` is git's state from another machine, used if
    there is none here."""
    git = git_state(root)
    return {
        "git": known if known and git["commit"] is None else git,
        "code": code,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
