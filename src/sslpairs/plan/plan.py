"""The plan of a build, as plain values."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sslpairs.plan.records import (
    Git,
    PlannedBaseline,
    PlannedDataset,
    PlannedEncoder,
    PlannedEvaluation,
    PlannedFigure,
    PlannedRun,
    PlannedTable,
    replicates,
    weights_of,
)

NOT_PREPARED = "not prepared: "
"""Beginning of what stands for the content hash of a data set that is unknown until it is prepared."""


@dataclass
class Plan:
    """Everything that a build may do, as plain JSON values, so that it can be frozen in a file."""

    settings: dict[str, Any]
    scale: dict[str, Any]
    datasets: dict[str, PlannedDataset]
    runs: dict[str, PlannedRun] = field(default_factory=dict)
    """By id."""
    evaluations: dict[str, PlannedEvaluation] = field(default_factory=dict)
    """By 'run id/key'."""
    baselines: dict[str, PlannedBaseline] = field(default_factory=dict)
    """By 'what it is/key'."""
    parts: dict[str, dict[str, str]] | None = None
    """Evaluations spread over several files -> protocol -> the evaluation that has it; null before a build has checked."""
    tables: dict[str, PlannedTable] = field(default_factory=dict)
    figures: dict[str, PlannedFigure] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)
    """The requested tables; a plan may contain others, so that they can be named as targets."""
    git: Git | None = None
    """Commit and dirty state, in case the jobs' machines have no git."""
    left_out: list[str] = field(default_factory=list)
    """Optional tables that were not requested; they are not planned, which saves time."""
    notes: list[str] = field(default_factory=list)
    """Possible mistakes, which are valid but rarely intended; one line each."""
    encoders: dict[str, PlannedEncoder] = field(default_factory=dict)
    """Encoders that guide runs, by the digest of their weights."""

    @property
    def unprepared(self) -> list[str]:
        """Data sets whose content is unknown: the ids of their runs are provisional, and nothing can be trained on them yet."""
        return [name for name, entry in self.datasets.items() if entry["content"].startswith(NOT_PREPARED)]

    def encoders_of(self, runs: Iterable[str]) -> list[str]:
        """Digests of the weights of the encoders that guide these runs."""
        return list(dict.fromkeys(digest for run in runs for digest in weights_of(self.runs[run]["spec"])))

    def datasets_of(self, tables: Iterable[str]) -> list[str]:
        """Data sets on which the tables' runs are trained and evaluated."""
        names: dict[str, None] = {}
        for replicate in (one for table in tables for one in replicates(self.tables[table])):
            names[self.runs[replicate["run"]]["dataset"]] = None
            if other := self.evaluations[replicate["evaluation"]].get("dataset"):
                names[other] = None
        return list(names)
