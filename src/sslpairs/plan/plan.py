"""What a build may do, as plain values."""

from dataclasses import dataclass, field
from typing import Any

from sslpairs.plan.records import Git, PlannedDataset, PlannedEvaluation, PlannedFigure, PlannedRun, PlannedTable


@dataclass
class Plan:
    """Everything that a build may do. Plain JSON values throughout, so that it can be frozen in a file."""

    settings: dict[str, Any]
    scale: dict[str, Any]
    datasets: dict[str, PlannedDataset]
    runs: dict[str, PlannedRun] = field(default_factory=dict)
    """By id."""
    evaluations: dict[str, PlannedEvaluation] = field(default_factory=dict)
    """By 'run id/key'."""
    parts: dict[str, dict[str, str]] | None = None
    """Evaluations that are in several files -> protocol -> the evaluation that has it; null before a build has looked."""
    tables: dict[str, PlannedTable] = field(default_factory=dict)
    figures: dict[str, PlannedFigure] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)
    """The tables that were asked for; a plan may hold others, so that they can be named as targets."""
    git: Git | None = None
    """Commit and dirtiness, where the jobs' machines may have no git."""
    left_out: list[str] = field(default_factory=list)
    """Optional tables that nobody asked for: not planned, so that they cost nothing."""
    notes: list[str] = field(default_factory=list)
    """What is no mistake for certain and seldom meant, a line each."""
