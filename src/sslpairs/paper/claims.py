"""The claims of a table, judged under each of its metrics; and the gains of one strategy over several base methods, pooled."""

from collections.abc import Mapping
from dataclasses import dataclass

from sslpairs.errors import UserError
from sslpairs.paper.statistics import (
    CONTRADICTED,
    HOLDS,
    Contrast,
    Pooled,
    Tested,
    benjamini_hochberg,
    contrast,
    pool,
    seeds_needed,
    t_tests,
    verdict,
)
from sslpairs.plan.records import PlannedClaim, PlannedTable

Values = Mapping[tuple[str, str, str], Mapping[int, float]]
"""(row, column, metric) -> seed -> value."""


@dataclass(frozen=True)
class Judgement:
    """A claim under one metric."""

    tested: Tested
    p: float | None
    """Of no effect, adjusted for all claims of the table under all its metrics."""
    p_none: float | None
    """Of an effect beyond the margin, adjusted likewise."""
    verdict: str

    @property
    def contrast(self) -> Contrast:
        """The effect, seed by seed."""
        return self.tested.contrast

    @property
    def needed(self) -> int | None:
        """Seeds with which such an effect would be found; None where no thousand would do, or nothing is known of its spread."""
        return seeds_needed(self.contrast.effect, self.tested.sd) if self.tested.sd else None


@dataclass(frozen=True)
class Claim:
    """A published claim and what the seeds say of it."""

    plan: PlannedClaim
    judged: dict[str, Judgement]
    """By metric."""

    @property
    def headline(self) -> Judgement:
        """Under the metric that the paper made it for."""
        return self.judged[self.plan["metric"]]

    @property
    def disputed(self) -> bool:
        """Whether it holds under one metric and is contradicted under another."""
        return {HOLDS, CONTRADICTED} <= {one.verdict for one in self.judged.values()}


@dataclass(frozen=True)
class Group:
    """The gains of the same strategies over several base methods, or settings, under one metric."""

    strategies: str
    """Their titles."""
    metric: str
    pooled: Pooled


def judge(plan: PlannedTable, values: Values) -> list[Claim]:
    """Test the claims of a table. Raises ``UserError`` for one that names a cell which the table lacks."""
    metrics = list(dict.fromkeys([*plan["metrics"], *(claim["metric"] for claim in plan["claims"])]))
    tested = {
        metric: t_tests([_contrast(claim, metric, plan, values) for claim in plan["claims"]]) for metric in metrics
    }
    flat = [one for metric in metrics for one in tested[metric]]
    adjusted = iter(
        zip(benjamini_hochberg([t.p for t in flat]), benjamini_hochberg([t.p_none for t in flat]), strict=True)
    )
    judged = {metric: [_judgement(one, *next(adjusted)) for one in tested[metric]] for metric in metrics}
    return [
        Claim(claim, {metric: judged[metric][number] for metric in metrics})
        for number, claim in enumerate(plan["claims"])
    ]


def _contrast(claim: PlannedClaim, metric: str, plan: PlannedTable, values: Values) -> Contrast:
    cells = {(row, column): found for (row, column, one), found in values.items() if one == metric}
    counts = {column["id"]: column.get("test_images") for column in plan["columns"]}
    images = [counts.get(term["column"]) for term in claim["terms"]]
    try:
        return contrast(claim["terms"], cells, min(images) if all(images) else None)
    except UserError as error:
        raise UserError(f"claim '{claim['id']}': {error}") from None


def _judgement(tested: Tested, p: float | None, p_none: float | None) -> Judgement:
    return Judgement(tested, p, p_none, verdict(tested.contrast.effect, p, p_none))


def groups(plan: PlannedTable, claims: list[Claim]) -> list[Group]:
    """Pooled gains of a table: of each set of strategies that at least two claims say improve their base methods."""
    rows = {row["id"]: row for row in plan["rows"]}
    gains: dict[str, list[Claim]] = {}
    for claim in claims:
        terms = claim.plan["terms"]
        if len(terms) == 2 and terms[0]["row"] in rows and terms[1]["row"] in rows:
            better, than = (rows[term["row"]] for term in terms)
            if better["base"] == than["base"] and better["strategies"] and not than["strategies"]:
                gains.setdefault(better["label"].partition(" + ")[2], []).append(claim)
    found = []
    for strategies, members in gains.items():
        for metric in plan["metrics"]:
            if pooled := pool([claim.judged[metric].contrast for claim in members]):
                found.append(Group(strategies, metric, pooled))
    return found
