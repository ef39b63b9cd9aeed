"""A table plan and its evaluation files -> the table with its claims."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from sslpairs.config.protocols import PROTOCOLS, named
from sslpairs.errors import UserError
from sslpairs.paper.claims import Claim, Group, groups, judge
from sslpairs.paper.statistics import CONTRADICTED, HOLDS, Summary, summarise
from sslpairs.plan.answers import Answers
from sslpairs.plan.baselines import TITLES
from sslpairs.plan.evaluations import Evaluation
from sslpairs.plan.machines import mixture
from sslpairs.plan.paths import evaluation_file, receipt_file
from sslpairs.plan.records import PlannedTable, PlannedValue, Receipt, read_receipt, replicates, steps_of


@dataclass(frozen=True)
class Cell:
    """One metric of one method in one setting; accuracies in percent."""

    last: Summary
    """Summary of the last epoch over seeds."""
    best: float | None
    """Mean over seeds of each run's best epoch; None if the protocol has no epochs."""
    values: dict[int, float]
    """Values of the last epoch by seed."""
    runs: list[str]


@dataclass(frozen=True)
class Table:
    """A table plan with its numbers."""

    plan: PlannedTable
    cells: dict[tuple[str, str, str], Cell]
    """By (row id, column id, metric); combinations that were not planned are absent."""
    claims: list[Claim]
    groups: list[Group]
    """Pooled gains of its claims."""
    steps: str | None = None
    """By how many optimiser steps its rows were trained, where they differ."""
    machines: str | None = None
    """How the machines of its runs differ, if they do."""

    @property
    def over_seeds_alone(self) -> dict[str, tuple[int, int]]:
        """Metric -> how many of the tested claims have no answers to single images on record, of how many, where some have none."""
        found = {}
        for metric in dict.fromkeys(metric for claim in self.claims for metric in claim.judged):
            tested = [claim.judged[metric].contrast for claim in self.claims if claim.judged[metric].contrast.n > 1]
            if lacking := sum(one.images is None for one in tested):
                found[metric] = (lacking, len(tested))
        return found

    def shown_better(self, row: str, column: str, metric: str) -> bool:
        """Whether a claim shows that a cell is better than the other one of a pair."""
        for claim in self.claims:
            found, terms = claim.judged[metric].verdict if metric in claim.judged else "", claim.plan["terms"]
            if len(terms) == 2 and found in (HOLDS, CONTRADICTED):
                better = terms[0] if (found == HOLDS) == (terms[0]["weight"] > 0) else terms[1]
                if (better["row"], better["column"]) == (row, column):
                    return True
        return False

    def published(self, row: str, column: str, metric: str) -> list[PlannedValue]:
        """The values on record for a cell, at any setting."""
        key = (row, column, metric)
        return [entry for entry in self.plan["published"] if (entry["row"], entry["column"], entry["metric"]) == key]


def read_evaluation(name: str, root: Path, with_answers: bool = False) -> Evaluation:
    """An evaluation below ``root``. Raises ``UserError`` if it is missing or damaged."""
    path = evaluation_file(name)
    return Evaluation.read(root / path, root, with_answers) or _missing(path)


def receipt_of(run: str, root: Path) -> Receipt:
    """The receipt of a run below ``root``. Raises ``UserError`` if it is missing or damaged."""
    return read_receipt(run, root) or _missing(receipt_file(run))


def _missing(path: Path) -> NoReturn:
    raise UserError(f"{path} is missing: `make tables` creates it; if it was published, `git pull` fetches it")


Source = Callable[[str, str], str]
"""Maps evaluation and protocol to the evaluation whose file has it (``Build.source``)."""


def itself(evaluation: str, protocol: str) -> str:
    """The source if every evaluation is one file."""
    return evaluation


def build_table(plan: PlannedTable, root: Path, source: Source = itself) -> Table:
    """Read the evaluations that ``plan`` names below ``root/results/evals`` and test the plan's claims.

    Raises ``UserError`` for an evaluation that is missing, damaged, or without one of the table's metrics.
    """
    import pandas as pd

    runs = dict.fromkeys(replicate["run"] for replicate in replicates(plan))
    receipts = {run: receipt for run in runs if (receipt := read_receipt(run, root))}
    scores = pd.DataFrame(_scores(plan, root, source, receipts), columns=SCORES)
    cells, answers = {}, {}
    for place, group in scores.groupby(["row", "column", "metric"], sort=False):
        best = None if group.best.isna().any() else summarise(group.best).mean
        values = dict(zip(group.seed.tolist(), group.value.tolist(), strict=True))
        cells[place] = Cell(summarise(values.values()), best, values, group.run.tolist())
        answers[place] = {seed: one for seed, one in zip(group.seed, group.answers, strict=True) if one}
    machines = mixture(receipts.values())
    claims = judge(plan, {place: cell.values for place, cell in cells.items()}, answers)
    return Table(plan, cells, claims, groups(plan, claims, answers), _steps(plan, receipts), machines)


SCORES = ("row", "column", "metric", "seed", "run", "value", "best", "answers")


def _scores(
    plan: PlannedTable, root: Path, source: Source, receipts: dict[str, Receipt]
) -> Iterator[tuple[str, str, str, int, str, float, float | None, Answers | None]]:
    """``SCORES`` of each cell, metric and seed."""
    read = cache(lambda name: read_evaluation(name, root, with_answers=True))
    metrics = dict.fromkeys([*plan["metrics"], *(claim["metric"] for claim in plan["claims"])])
    for cell, metric in itertools.product([*plan["cells"], *plan["baselines"]["cells"]], metrics):
        protocol, quantity = named(metric)
        if cell["row"] in TITLES and PROTOCOLS[protocol].while_training:
            continue
        for replicate in cell["replicates"]:
            name = source(replicate["evaluation"], protocol)
            score = _score(read(name), metric, name)
            answers = _answers(read(name), metric, name, receipts.get(replicate["run"]))
            measured = score[quantity], score.get(f"best_{quantity}"), answers
            yield cell["row"], cell["column"], metric, replicate["seed"], replicate["run"], *measured


def _score(evaluation: Evaluation, metric: str, name: str) -> dict[str, float]:
    protocol, quantity = named(metric)
    score = evaluation.protocols.get(protocol, {})
    value = score.get(quantity)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(
            f"{evaluation_file(name)} has no '{metric}' (found {value!r}): delete the file and run `make tables` again"
        )
    return score


def _answers(evaluation: Evaluation, metric: str, name: str, receipt: Receipt | None) -> Answers | None:
    """Answers to single images, if they are on record along with what these images are."""
    protocol, quantity = named(metric)
    coded = evaluation.answers.get(protocol, {}).get(quantity)
    data = evaluation.content or (receipt["spec"]["dataset"] if receipt else None)
    return Answers(coded, data, evaluation_file(name)) if coded and data else None


def _steps(plan: PlannedTable, receipts: dict[str, Receipt]) -> str | None:
    """Rows by their number of optimiser steps, where those of a column differ."""
    labels = {one["id"]: one["label"] for one in (*plan["rows"], *plan["columns"])}
    texts = []
    for column in plan["columns"]:
        found: dict[int, dict[str, None]] = {}
        for cell in plan["cells"]:
            for one in cell["replicates"] if cell["column"] == column["id"] else ():
                if one["run"] in receipts and (steps := steps_of(receipts[one["run"]])):
                    found.setdefault(steps, {})[labels[cell["row"]]] = None
        if len(found) > 1:
            where = f"{labels[column['id']]}: " if len(plan["columns"]) > 1 else ""
            texts.append(where + "; ".join(f"{steps:,} ({', '.join(rows)})" for steps, rows in sorted(found.items())))
    return "Optimiser steps differ. " + ". ".join(texts) if texts else None
