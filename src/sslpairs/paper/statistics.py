"""Means over seeds, contrasts between methods with their intervals, and verdicts on claims."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sslpairs.errors import UserError
from sslpairs.plan.records import Term

LEVEL = 0.95
# Accuracies are multiples of 100 / (number of test images) points: anything smaller than this is rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Summary:
    """Values over seeds; ``mean`` and ``sd`` have the values' unit."""

    mean: float
    sd: float | None
    """Sample standard deviation (n - 1); None for fewer than two values."""
    n: int


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of cells, taken seed by seed. ``effect``, ``low``, ``high`` and ``sd`` are in points."""

    effect: float | None
    """Mean over the seeds; None if no seed is shared by all the cells."""
    low: float | None
    high: float | None
    """95 % Student-t interval of ``effect``; None for fewer than two seeds."""
    n: int
    sd: float | None
    """Sample standard deviation of the per-seed differences."""
    standardised: float | None
    """``effect / sd``: Cohen's d of paired samples; None without a spread."""


def summarise(values: Iterable[float]) -> Summary:
    """Mean and sample standard deviation. Raises ``ValueError`` if there is no value."""
    values = list(values)
    if not values:
        raise ValueError("nothing to summarise: no values")
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Summary(mean, None, len(values))
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return Summary(mean, sd if sd > ROUNDING else 0.0, len(values))


def contrast(terms: list[Term], values: Mapping[tuple[str, str], Mapping[int, float]]) -> Contrast:
    """The sum of ``weight * cell`` over ``terms``, for each seed that all cells have, and its 95 % interval.

    ``terms`` are ``{"row", "column", "weight"}``; ``values`` gives the accuracies of each (row, column) by seed.
    Two terms are a paired difference (the interval is that of the paired t-test), four a difference of gains.
    Raises ``UserError`` for a term whose cell is not in ``values``.
    """
    for term in terms:
        if (term["row"], term["column"]) not in values:
            raise UserError(f"it names the cell ({term['row']}, {term['column']}), which is not in the table")
    cells = [(values[term["row"], term["column"]], term["weight"]) for term in terms]
    seeds = sorted(set.intersection(*(set(cell) for cell, _ in cells)))
    if not seeds:
        return Contrast(None, None, None, 0, None, None)
    summary = summarise(math.fsum(weight * cell[seed] for cell, weight in cells) for seed in seeds)
    effect = summary.mean if abs(summary.mean) > ROUNDING else 0.0
    if summary.sd is None:
        return Contrast(effect, None, None, 1, None, None)

    from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats takes a second longer to import

    half = float(stdtrit(summary.n - 1, (1 + LEVEL) / 2)) * summary.sd / math.sqrt(summary.n)
    standardised = effect / summary.sd if summary.sd else None
    return Contrast(effect, effect - half, effect + half, summary.n, summary.sd, standardised)


def verdict(contrast: Contrast) -> Literal["holds", "not shown", "contradicted"]:
    """A claim holds if the whole interval lies above 0, and is contradicted if the whole interval lies below."""
    if contrast.low is not None and contrast.low > 0:
        return "holds"
    if contrast.high is not None and contrast.high < 0:
        return "contradicted"
    return "not shown"


def reason(contrast: Contrast) -> str:
    """The reason for the ``verdict``, in a few words."""
    if contrast.n == 0:
        return "no shared seed"
    if contrast.n == 1:
        return "one seed"
    if contrast.sd == 0:
        return f"no spread over {contrast.n} seeds: the interval is the point"
    where = {"holds": "lies above 0", "contradicted": "lies below 0", "not shown": "includes 0"}[verdict(contrast)]
    return f"95 % interval {where}"
