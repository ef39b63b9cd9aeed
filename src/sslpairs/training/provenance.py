"""Which code and which libraries made a result."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sslpairs.git import git_state
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
