"""What a build may do, as plain values."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Plan:
    """Everything that a build may do. Plain JSON values throughout, so that it can be frozen in a file."""

    settings: dict[str, Any]
    scale: dict[str, Any]
    datasets: dict[str, dict[str, Any]]
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """run id -> label, dataset, backbone, seed, spec, gpus, guide (run id or null)."""
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    """'run id/key' -> run, key, protocols; dataset and content where it is not on the run's own data."""
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)
    """The tables that were asked for; a plan may hold others, so that they can be named as targets."""
    git: dict[str, Any] | None = None
    """Commit and dirtiness, where the jobs' machines may have no git."""
    left_out: list[str] = field(default_factory=list)
    """Optional tables that nobody asked for: not planned, so that they cost nothing."""
    notes: list[str] = field(default_factory=list)
    """What is no mistake for certain and seldom meant, a line each."""
