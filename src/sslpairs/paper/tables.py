"""A table plan and its evaluation files -> the table, its claims, and their texts for people and for programs."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs import files
from sslpairs.errors import UserError
from sslpairs.paper.statistics import Contrast, Summary, contrast, reason, summarise, verdict
from sslpairs.plan.machines import mixture


@dataclass(frozen=True)
class Cell:
    """One method in one setting by one protocol; top-1 accuracies in percent."""

    last: Summary
    """Of the last epoch, over seeds."""
    best: float | None
    """Mean over seeds of each run's best epoch; None where the protocol has no epochs."""
    values: dict[int, float]
    """Last epoch by seed."""
    runs: list[str]


@dataclass(frozen=True)
class Claim:
    """A published claim and what the seeds say of it."""

    plan: dict[str, Any]
    contrast: Contrast
    verdict: str
    reason: str


@dataclass(frozen=True)
class Table:
    """A table plan with its numbers."""

    plan: dict[str, Any]
    cells: dict[tuple[str, str, str], Cell]
    """By (row id, column id, metric); combinations that were not planned are absent."""
    claims: list[Claim]
    machines: str | None = None
    """By what the machines of its runs differ, where they do."""

    def published(self, row: str, column: str, metric: str) -> list[dict[str, Any]]:
        """The values on record for a cell, at whatever setting."""
        key = (row, column, metric)
        return [entry for entry in self.plan["published"] if (entry["row"], entry["column"], entry["metric"]) == key]


def read_record(path: Path, root: Path) -> dict[str, Any]:
    """A receipt or evaluation below ``root``. Raises ``UserError`` if it is missing or damaged."""
    record = files.read_record(path, root)
    if record is None:
        raise UserError(
            f"{path.relative_to(root)} is missing: `make tables` makes it; where it was published, `git pull` brings it"
        )
    return record


def build_table(plan: dict[str, Any], root: Path) -> Table:
    """Read the evaluations that ``plan`` names below ``root/results/evals`` and test the plan's claims.

    Raises ``UserError`` for an evaluation that is missing, damaged, or without one of the table's protocols.
    """
    claimed = [claim["metric"] for claim in plan["claims"]]
    cells = {}
    for planned in plan["cells"]:
        paths = [root / "results" / "evals" / f"{one['evaluation']}.json" for one in planned["replicates"]]
        evaluations = [read_record(path, root) for path in paths]
        for metric in dict.fromkeys([*plan["metrics"], *claimed]):
            scores = [_score(one, metric, path) for one, path in zip(evaluations, paths, strict=True)]
            best = [score["best"] for score in scores if score.get("best") is not None]
            values = {one["seed"]: score["last"] for one, score in zip(planned["replicates"], scores, strict=True)}
            cells[planned["row"], planned["column"], metric] = Cell(
                last=summarise(values.values()),
                best=summarise(best).mean if len(best) == len(scores) else None,
                values=values,
                runs=[one["run"] for one in planned["replicates"]],
            )
    runs = dict.fromkeys(one["run"] for planned in plan["cells"] for one in planned["replicates"])
    receipts = [files.read_record(root / "results" / "runs" / run / "run.json", root) for run in runs]
    machines = mixture(filter(None, receipts))
    return Table(plan, cells, [_test(claim, cells) for claim in plan["claims"]], machines)


def _score(evaluation: dict[str, Any], metric: str, path: Path) -> dict[str, Any]:
    score = evaluation.get("protocols", {}).get(metric, {})
    last = score.get("last")
    if not isinstance(last, int | float) or not math.isfinite(last):
        raise UserError(
            f"{path.name} of run {path.parent.name} has no '{metric}' accuracy of the last epoch (found {last!r}): "
            "delete the file and run `make tables` again"
        )
    return score


def _test(claim: dict[str, Any], cells: dict[tuple[str, str, str], Cell]) -> Claim:
    values = {(row, column): cell.values for (row, column, metric), cell in cells.items() if metric == claim["metric"]}
    try:
        found = contrast(claim["terms"], values)
    except UserError as error:
        raise UserError(f"claim '{claim['id']}': {error}") from None
    return Claim(claim, found, verdict(found), reason(found))
