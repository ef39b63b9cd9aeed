"""What seeds say of a claim: means, paired contrasts with their intervals, tests and verdicts. Each rule is one function, with its
source.

Effects and standard deviations are in points of accuracy. The distributions are those of ``scipy.special``; ``scipy.stats`` takes a
second to import.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sslpairs.errors import UserError
from sslpairs.plan.records import Term

LEVEL = 0.95
MARGIN = 1.0
"""Points: an effect within this distance of 0 is called none."""
POWER = 0.8
MOST_SEEDS = 1000
ROUNDING = 1e-9
"""What is smaller than this is rounding."""
HOLDS, CONTRADICTED, NO_EFFECT, UNDECIDED = "holds", "contradicted", "no effect", "undecided"
NOT_ABOVE = "base not above the untrained network"


@dataclass(frozen=True)
class Summary:
    """Values over seeds; ``mean`` and ``sd`` have the values' unit."""

    mean: float
    sd: float | None
    """Sample standard deviation (n - 1); None for fewer than two values."""
    n: int


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of cells, taken seed by seed."""

    differences: tuple[float, ...]
    """One a seed that all the cells have."""
    effect: float | None
    """Their mean; None if no seed is shared."""
    sd: float | None
    """Their sample standard deviation; None for fewer than two."""
    grid: float = 0.0
    """Standard deviation that rounding to whole test images alone gives."""

    @property
    def n(self) -> int:
        """Seeds."""
        return len(self.differences)

    @property
    def variance(self) -> float:
        """Of one difference, not below what rounding gives: equal differences over three seeds do not mean that there is no spread."""
        return max(self.sd or 0.0, self.grid) ** 2


@dataclass(frozen=True)
class Prior:
    """A common variance of a table's contrasts, and how many degrees of freedom it is worth."""

    variance: float
    df: float


@dataclass(frozen=True)
class Tested:
    """A contrast, tested."""

    contrast: Contrast
    low: float | None
    high: float | None
    """95 % interval of the effect; None for fewer than two seeds."""
    p: float | None
    """Two-sided, of no effect."""
    p_none: float | None
    """Of an effect beyond the margin."""
    sd: float | None
    """Of one difference, as it was used."""
    df: float | None


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


def contrast(
    terms: Sequence[Term], values: Mapping[tuple[str, str], Mapping[int, float]], images: int | None = None
) -> Contrast:
    """The sum of ``weight * cell`` over ``terms``, for each seed that all cells have.

    ``values`` gives the accuracies of each (row, column) by seed. Two terms are a paired difference, four a difference of gains. An
    accuracy over ``images`` is a multiple of 100 / images, so that each rounds with a variance of a twelfth of its square.
    Raises ``UserError`` for a term whose cell is not in ``values``.
    """
    for term in terms:
        if (term["row"], term["column"]) not in values:
            raise UserError(f"it names the cell ({term['row']}, {term['column']}), which is not in the table")
    cells = [(values[term["row"], term["column"]], term["weight"]) for term in terms]
    seeds = sorted(set.intersection(*(set(cell) for cell, _ in cells)))
    grid = 100 / images * math.sqrt(sum(weight**2 for _, weight in cells) / 12) if images else 0.0
    return paired([math.fsum(weight * cell[seed] for cell, weight in cells) for seed in seeds], grid)


def paired(differences: Sequence[float], grid: float = 0.0) -> Contrast:
    """The contrast of differences, one a seed."""
    if not differences:
        return Contrast((), None, None, grid)
    found = summarise(differences)
    return Contrast(tuple(differences), found.mean if abs(found.mean) > ROUNDING else 0.0, found.sd, grid)


def prior(contrasts: Sequence[Contrast]) -> Prior:
    """What the spreads of a table's contrasts have in common, by the moments of log variances (Smyth 2004, doi 10.2202/1544-6115.1027,
    section 6.2). Of fewer than two contrasts with a spread, nothing."""
    from scipy.special import polygamma, psi

    found = [(one.variance, one.n - 1) for one in contrasts if one.n > 1 and one.variance > 0]
    if len(found) < 2:
        return Prior(0.0, 0.0)
    logs = [math.log(variance) - float(psi(df / 2)) + math.log(df / 2) for variance, df in found]
    mean = math.fsum(logs) / len(logs)
    spread = math.fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    spread -= math.fsum(float(polygamma(1, df / 2)) for _, df in found) / len(found)
    if spread <= 0:
        return Prior(math.exp(mean), math.inf)
    half = _trigamma_inverse(spread)
    return Prior(math.exp(mean + float(psi(half)) - math.log(half)), 2 * half)


def _trigamma_inverse(value: float) -> float:
    """The positive x of trigamma(x) = value, by Newton's steps on its reciprocal (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        found = float(polygamma(1, x))
        step = found * (1 - found / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x


def t_test(contrast: Contrast, common: Prior = Prior(0.0, 0.0), most_df: float = math.inf) -> Tested:
    """A t-test and interval with the spread moderated by the table's (Smyth 2004, section 4: the posterior variance, and degrees of freedom
    that add up, at most those of all contrasts together), and two one-sided tests of the margin (Schuirmann 1987). Without a
    prior it is the paired t-test (Student 1908). Nothing is decided where there is no spread at all."""
    from scipy.special import stdtr, stdtrit

    if contrast.n < 2:
        return Tested(contrast, None, None, None, None, None, None)
    own = contrast.n - 1
    if math.isinf(common.df):
        variance, df = common.variance, most_df
    else:
        variance = (common.df * common.variance + own * contrast.variance) / (common.df + own)
        df = min(common.df + own, max(most_df, own))
    if variance <= 0:
        return Tested(contrast, None, None, None, None, 0.0, df)
    error = math.sqrt(variance / contrast.n)
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * error
    p = 2 * float(stdtr(df, -abs(contrast.effect) / error))
    p_none = float(stdtr(df, (abs(contrast.effect) - MARGIN) / error))
    return Tested(contrast, contrast.effect - half, contrast.effect + half, p, p_none, math.sqrt(variance), df)


def t_tests(contrasts: Sequence[Contrast]) -> list[Tested]:
    """The contrasts of one table under one metric."""
    common, together = prior(contrasts), sum(max(one.n - 1, 0) for one in contrasts)
    return [t_test(one, common, together) for one in contrasts]


def benjamini_hochberg(ps: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values that bound the share of false discoveries (Benjamini and Hochberg 1995); None stays None."""
    ranked = sorted((p, index) for index, p in enumerate(ps) if p is not None)
    adjusted, least = list(ps), 1.0
    for rank in range(len(ranked), 0, -1):
        p, index = ranked[rank - 1]
        least = min(least, p * len(ranked) / rank)
        adjusted[index] = least
    return adjusted


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values that bound the chance of any false discovery (Holm 1979); None stays None."""
    ranked = sorted((p, index) for index, p in enumerate(ps) if p is not None)
    adjusted, most = list(ps), 0.0
    for rank, (p, index) in enumerate(ranked):
        most = max(most, min(1.0, p * (len(ranked) - rank)))
        adjusted[index] = most
    return adjusted


def verdict(effect: float | None, p: float | None, p_none: float | None) -> str:
    """By adjusted p-values: of no effect, and of one beyond the margin."""
    if p is not None and p < 1 - LEVEL:
        return HOLDS if effect > 0 else CONTRADICTED
    return NO_EFFECT if p_none is not None and p_none < 1 - LEVEL else UNDECIDED


def seeds_needed(effect: float, sd: float) -> int | None:
    """The fewest seeds with which a paired t-test finds this effect with a power of 80 % (noncentral t, Cohen 1988, section 2.2); None for
    more than 1,000."""
    from scipy.special import nctdtr, stdtrit

    def power(n: int) -> float:
        bound = float(stdtrit(n - 1, (1 + LEVEL) / 2))
        return 1 - float(nctdtr(n - 1, abs(effect) / sd * math.sqrt(n), bound))

    if not effect or sd <= 0:
        return None
    low, high = 1, 2  # power rises with n; SciPy's noncentral t fails far above
    while power(high) < POWER:
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


@dataclass(frozen=True)
class Pooled:
    """Several gains together: the same seeds, and other base methods."""

    tested: Tested
    """Of their mean, seed by seed: for these base methods and other seeds."""
    low: float | None
    high: float | None
    """95 % interval for other base methods, too."""
    count: int


def pool(contrasts: Sequence[Contrast]) -> Pooled | None:
    """The mean of gains, taken seed by seed, and its interval over base methods: random effects (DerSimonian and Laird 1986) with the
    variance and the t-distribution of Hartung and Knapp (2001). None for fewer than two gains of the same number of seeds."""
    from scipy.special import stdtrit

    found = [one for one in contrasts if one.n > 1]
    if len(found) < 2 or len({one.n for one in found}) > 1:
        return None
    by_seed = [math.fsum(values) / len(found) for values in zip(*(one.differences for one in found), strict=True)]
    grid = max(one.grid for one in found) / math.sqrt(len(found))
    effects, variances = [one.effect for one in found], [one.variance / one.n for one in found]
    if min(variances) <= 0:
        return Pooled(t_test(paired(by_seed, grid)), None, None, len(found))
    count = len(found)
    weights = [1 / variance for variance in variances]
    fixed = math.fsum(w * e for w, e in zip(weights, effects, strict=True)) / math.fsum(weights)
    q = math.fsum(w * (e - fixed) ** 2 for w, e in zip(weights, effects, strict=True))
    scale = math.fsum(weights) - math.fsum(w * w for w in weights) / math.fsum(weights)
    between = max(0.0, (q - (count - 1)) / scale)
    weights = [1 / (variance + between) for variance in variances]
    mean = math.fsum(w * e for w, e in zip(weights, effects, strict=True)) / math.fsum(weights)
    spread = math.fsum(w * (e - mean) ** 2 for w, e in zip(weights, effects, strict=True)) / (count - 1)
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * math.sqrt(spread / math.fsum(weights))
    return Pooled(t_test(paired(by_seed, grid)), mean - half, mean + half, count)
