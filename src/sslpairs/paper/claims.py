"""The claims of a table, judged under each of its metrics; and the gains of one strategy over several base methods, pooled."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sslpairs.errors import UserError
from sslpairs.paper.statistics import (
    CONTRADICTED,
    HOLDS,
    NOT_ABOVE,
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
from sslpairs.plan.baselines import UNTRAINED
from sslpairs.plan.records import PlannedClaim, PlannedTable, Term

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
        metric: t_tests([_of_claim(claim, metric, plan, values) for claim in plan["claims"]]) for metric in metrics
    }
    flat = [one for metric in metrics for one in tested[metric]]
    adjusted = iter(
        zip(benjamini_hochberg([t.p for t in flat]), benjamini_hochberg([t.p_none for t in flat]), strict=True)
    )
    judged = {metric: [_judgement(one, *next(adjusted)) for one in tested[metric]] for metric in metrics}
    low = {metric: _not_above(plan, metric, values) for metric in metrics}
    return [
        Claim(claim, {metric: _in_view_of(low[metric], claim, judged[metric][number]) for metric in metrics})
        for number, claim in enumerate(plan["claims"])
    ]


def _not_above(plan: PlannedTable, metric: str, values: Values) -> set[tuple[str, str]]:
    """Base methods (row, column) that are not shown to be above the untrained network of the same seeds, with p adjusted for all of the
    table (Benjamini-Hochberg); none under a protocol that needs a training."""
    places = [
        (row["id"], column["id"])
        for row in plan["rows"]
        for column in plan["columns"]
        if not row["strategies"] and all((name, column["id"], metric) in values for name in (row["id"], UNTRAINED))
    ]
    gains = []
    for row, column in places:
        terms: list[Term] = [
            {"row": row, "column": column, "weight": 1},
            {"row": UNTRAINED, "column": column, "weight": -1},
        ]
        gains.append(_contrast(terms, metric, plan, values))
    tested = t_tests(gains)
    ps = benjamini_hochberg([gain.p for gain in tested])
    found = zip(places, tested, ps, strict=True)
    return {place for place, gain, p in found if verdict(gain.contrast.effect, p, None) != HOLDS}


def _in_view_of(low: set[tuple[str, str]], claim: PlannedClaim, one: Judgement) -> Judgement:
    """An improvement on a base method that is not above its untrained network is not one of a trained method."""
    beaten = {(term["row"], term["column"]) for term in claim["terms"]} & low
    return replace(one, verdict=NOT_ABOVE) if one.verdict == HOLDS and beaten else one


def _of_claim(claim: PlannedClaim, metric: str, plan: PlannedTable, values: Values) -> Contrast:
    try:
        return _contrast(claim["terms"], metric, plan, values)
    except UserError as error:
        raise UserError(f"claim '{claim['id']}': {error}") from None


def _contrast(terms: list[Term], metric: str, plan: PlannedTable, values: Values) -> Contrast:
    cells = {(row, column): by_seed for (row, column, other), by_seed in values.items() if other == metric}
    counts = {column["id"]: column.get("test_images") for column in plan["columns"]}
    images = [counts.get(term["column"]) for term in terms]
    return contrast(terms, cells, min(images) if all(images) else None)


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
