"""The claims of a table, judged under each of its metrics; and the gains of one strategy over several base methods, pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sslpairs.errors import UserError
from sslpairs.paper.statistics import (
    CONTRADICTED,
    HOLDS,
    NOT_ABOVE,
    Contrast,
    Part,
    Pooled,
    Tested,
    benjamini_hochberg,
    contrast,
    images_part,
    images_suffice,
    pool,
    seeds_needed,
    t_tests,
    verdict,
)
from sslpairs.plan.answers import Answers
from sslpairs.plan.baselines import UNTRAINED
from sslpairs.plan.records import PlannedClaim, PlannedTable, Term

Values = Mapping[tuple[str, str, str], Mapping[int, float]]
"""(row, column, metric) -> seed -> value."""
AllAnswers = Mapping[tuple[str, str, str], Mapping[int, Answers]]
"""The same for answers to single images, of the cells and seeds that have some on record."""


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
        if not self.tested.sd:
            return None
        return seeds_needed(self.contrast.effect, self.tested.sd, self.contrast.images or ())

    @property
    def lacks_images(self) -> bool:
        """Whether no number of seeds would do on these test images."""
        return bool(self.contrast.effect) and not images_suffice(self.contrast.effect, self.contrast.images or ())


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


def judge(plan: PlannedTable, values: Values, answers: AllAnswers) -> list[Claim]:
    """Test the claims of a table, over seeds and, where all cells of a claim have ``answers``, over test images.

    Raises ``UserError`` for a claim that names a cell which the table lacks, and for damaged answers.
    """
    if not plan["claims"]:
        return []
    metrics = list(dict.fromkeys([*plan["metrics"], *(claim["metric"] for claim in plan["claims"])]))
    tested = {
        metric: t_tests(
            [_contrast(c["terms"], metric, plan, values, answers, f"claim '{c['id']}': ") for c in plan["claims"]]
        )
        for metric in metrics
    }
    flat = [one for metric in metrics for one in tested[metric]]
    adjusted = iter(
        zip(benjamini_hochberg([t.p for t in flat]), benjamini_hochberg([t.p_none for t in flat]), strict=True)
    )
    judged = {metric: [_judgement(one, *next(adjusted)) for one in tested[metric]] for metric in metrics}
    low = {metric: _not_above(plan, metric, values, answers) for metric in metrics}
    return [
        Claim(claim, {metric: _in_view_of(low[metric], claim, judged[metric][number]) for metric in metrics})
        for number, claim in enumerate(plan["claims"])
    ]


def _not_above(plan: PlannedTable, metric: str, values: Values, answers: AllAnswers) -> set[tuple[str, str]]:
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
        gains.append(_contrast(terms, metric, plan, values, answers))
    tested = t_tests(gains)
    ps = benjamini_hochberg([gain.p for gain in tested])
    found = zip(places, tested, ps, strict=True)
    return {place for place, gain, p in found if verdict(gain.contrast.effect, p, None) != HOLDS}


def _in_view_of(low: set[tuple[str, str]], claim: PlannedClaim, one: Judgement) -> Judgement:
    """An improvement on a base method that is not above its untrained network is not one of a trained method."""
    beaten = {(term["row"], term["column"]) for term in claim["terms"]} & low
    return replace(one, verdict=NOT_ABOVE) if one.verdict == HOLDS and beaten else one


def over_images(terms: Sequence[Term], metric: str, answers: AllAnswers, seeds: int) -> tuple[Part, ...] | None:
    """What the choice of the test images adds to the variance of a sum of ``weight * cell``, over this many seeds.

    Answers to the same images are taken together, image by image. Different data sets are different samples: each adds a part of its
    own, which is that of its own terms. None if a cell lacks answers for one of the seeds, or if there is one seed or one image only.
    """
    import numpy as np

    cells = [(answers.get((term["row"], term["column"], metric), {}), term["weight"]) for term in terms]
    shared = sorted(set.intersection(*(set(cell) for cell, _ in cells)))
    if len(shared) != seeds or seeds < 2:
        return None
    sums: dict[tuple[str, int], np.ndarray] = {}
    for cell, weight in cells:
        right = [cell[seed].shares() for seed in shared]
        images = {(cell[seed].data, len(found)) for seed, found in zip(shared, right, strict=True)}
        if len(images) > 1 or min(len(found) for found in right) < 2:
            return None
        where = images.pop()
        sums[where] = sums.get(where, 0.0) + 100 * weight * np.stack(right)
    return tuple(images_part(differences) for differences in sums.values())


def _contrast(
    terms: Sequence[Term], metric: str, plan: PlannedTable, values: Values, answers: AllAnswers, where: str = ""
) -> Contrast:
    cells = {(row, column): by_seed for (row, column, other), by_seed in values.items() if other == metric}
    counts = {column["id"]: column.get("test_images") for column in plan["columns"]}
    images = [counts.get(term["column"]) for term in terms]
    try:
        found = contrast(terms, cells, min(images) if all(images) else None)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    return replace(found, images=over_images(terms, metric, answers, found.n))


def _judgement(tested: Tested, p: float | None, p_none: float | None) -> Judgement:
    return Judgement(tested, p, p_none, verdict(tested.contrast.effect, p, p_none))


def groups(plan: PlannedTable, claims: list[Claim], answers: AllAnswers) -> list[Group]:
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
            contrasts = [claim.judged[metric].contrast for claim in members]
            if pooled := pool(contrasts, _over_images_together(members, metric, answers)):
                found.append(Group(strategies, metric, pooled))
    return found


def _over_images_together(members: list[Claim], metric: str, answers: AllAnswers) -> tuple[Part, ...] | None:
    """What the test images add to the variance of the mean of the claims that ``pool`` takes together."""
    tested = [claim for claim in members if claim.judged[metric].contrast.n > 1]
    terms = [term | {"weight": term["weight"] / len(tested)} for claim in tested for term in claim.plan["terms"]]
    return over_images(terms, metric, answers, tested[0].judged[metric].contrast.n) if tested else None
