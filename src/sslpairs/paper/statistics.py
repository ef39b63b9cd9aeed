"""What seeds say of a claim: means, paired contrasts with their intervals, tests and verdicts. Each rule is one function, with its
source.

Effects and standard deviations are in points of accuracy. The distributions are those of ``scipy.special``; ``scipy.stats`` takes a
second to import.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sslpairs.errors import UserError
from sslpairs.plan.records import Term

if TYPE_CHECKING:
    import numpy as np

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
class Part:
    """Part of the variance of an effect, in squared points."""

    variance: float
    df: float
    """Degrees of freedom of its estimate."""


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
    images: tuple[Part, ...] | None = None
    """What the choice of the test images adds, one part a data set; None where it is not known."""

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
    se_seeds: float | None = None
    """Standard error of the effect over seeds."""
    se_images: float | None = None
    """What is to be added to it, as a root of squares, for the test images; None where it is not known."""


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


def images_part(differences: "np.ndarray") -> Part:
    """What the choice of the test images adds to the variance of a mean over seeds, from the differences ``[seeds, images]``, in points.

    Seeds and images are crossed random effects: by the analysis of variance, the variance of the mean is (MS_seeds + MS_images -
    MS_residual) / (seeds * images) (Searle, Casella and McCulloch 1992, chapter 4; Owen 2007, doi 10.1214/07-AOAS122, for why both count).
    MS_seeds / (seeds * images) is the variance of the seeds' means divided by their number, as it is without the images; this is the rest,
    at least 0. It does not shrink with more seeds. Its degrees of freedom are taken as images - 1: the residual takes some off, which
    is nothing beside the few of the seeds.
    """
    seeds, images = differences.shape
    by_image = differences.mean(0)
    centred = by_image - by_image.mean()
    rest = differences - differences.mean(1, keepdims=True) - centred
    ms_images = seeds * float((centred**2).sum()) / (images - 1)
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * (images - 1))
    return Part(max(0.0, ms_images - ms_rest) / (seeds * images), images - 1)


def total(parts: Sequence[Part]) -> Part:
    """The sum of independent parts of a variance, with the degrees of freedom that its estimate is worth (Satterthwaite 1946)."""
    parts = [part for part in parts if part.variance > 0]
    if len(parts) == 1:
        return parts[0]
    variance = math.fsum(part.variance for part in parts)
    uncertain = math.fsum(part.variance**2 / part.df for part in parts)
    return Part(variance, variance**2 / uncertain if uncertain else math.inf)


def t_test(contrast: Contrast, common: Prior = Prior(0.0, 0.0), most_df: float = math.inf) -> Tested:
    """A t-test and interval with the spread moderated by the table's (Smyth 2004, section 4: the posterior variance, and degrees of freedom
    that add up, at most those of all contrasts together), and two one-sided tests of the margin (Schuirmann 1987). Without a
    prior it is the paired t-test (Student 1908). Where it is known what the test images add, the error is that over both.
    Nothing is decided where seeds have no spread at all."""
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
    seeds, images = Part(variance / contrast.n, df), contrast.images
    both = total([seeds, *(images or ())])
    error, df = math.sqrt(both.variance), both.df
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * error
    p = 2 * float(stdtr(df, -abs(contrast.effect) / error))
    p_none = float(stdtr(df, (abs(contrast.effect) - MARGIN) / error))
    interval = (contrast.effect - half, contrast.effect + half)
    errors = (math.sqrt(seeds.variance), None if images is None else math.sqrt(math.fsum(x.variance for x in images)))
    return Tested(contrast, *interval, p, p_none, math.sqrt(variance), df, *errors)


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


def power(effect: float, error: Part) -> float:
    """The chance that a t-test finds an effect, given the variance of its estimate (noncentral t, Cohen 1988, section 2.2)."""
    from scipy.special import nctdtr, stdtrit

    bound = float(stdtrit(error.df, (1 + LEVEL) / 2))
    return 1 - float(nctdtr(error.df, abs(effect) / math.sqrt(error.variance), bound))


def images_suffice(effect: float, images: Sequence[Part]) -> bool:
    """Whether an effect would be found with a power of 80 % on these test images if only there were enough seeds."""
    error = total(images)
    return error.variance <= 0 or power(effect, error) >= POWER


def seeds_needed(effect: float, sd: float, images: Sequence[Part] = ()) -> int | None:
    """The fewest seeds with which a paired t-test finds this effect with a power of 80 %; None for more than 1,000, or if the test
    ``images``, whose part of the variance stays the same, are too few for any number of seeds."""

    def found(n: int) -> bool:
        return power(effect, total([Part(sd**2 / n, n - 1), *images])) >= POWER

    if not effect or sd <= 0 or not images_suffice(effect, images):
        return None
    low, high = 1, 2  # power rises with n; SciPy's noncentral t fails far above
    while not found(high):
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Pooled:
    """Several gains together: the same seeds, and other base methods."""

    tested: Tested
    """Of their mean, seed by seed: for these base methods, other seeds and, where answers are on record, other test images."""
    low: float | None
    high: float | None
    """95 % interval for other base methods, too."""
    count: int


def pool(contrasts: Sequence[Contrast], images: tuple[Part, ...] | None = None) -> Pooled | None:
    """The mean of gains, taken seed by seed, and its interval over base methods: random effects (DerSimonian and Laird 1986) with the
    variance and the t-distribution of Hartung and Knapp (2001). None for fewer than two gains of the same number of seeds.

    ``images`` is what the test images, which are the same for all gains, add to the variance of their mean. It is added to both: the
    second interval is then too wide rather than too narrow, as the part in which gains differ counts as theirs as well.
    """
    from scipy.special import stdtrit

    found = [one for one in contrasts if one.n > 1]
    if len(found) < 2 or len({one.n for one in found}) > 1:
        return None
    by_seed = [math.fsum(values) / len(found) for values in zip(*(one.differences for one in found), strict=True)]
    grid = max(one.grid for one in found) / math.sqrt(len(found))
    tested = t_test(replace(paired(by_seed, grid), images=images))
    effects, variances = [one.effect for one in found], [one.variance / one.n for one in found]
    if min(variances) <= 0:
        return Pooled(tested, None, None, len(found))
    count = len(found)
    weights = [1 / variance for variance in variances]
    fixed = math.fsum(w * e for w, e in zip(weights, effects, strict=True)) / math.fsum(weights)
    q = math.fsum(w * (e - fixed) ** 2 for w, e in zip(weights, effects, strict=True))
    scale = math.fsum(weights) - math.fsum(w * w for w in weights) / math.fsum(weights)
    between = max(0.0, (q - (count - 1)) / scale)
    weights = [1 / (variance + between) for variance in variances]
    mean = math.fsum(w * e for w, e in zip(weights, effects, strict=True)) / math.fsum(weights)
    spread = math.fsum(w * (e - mean) ** 2 for w, e in zip(weights, effects, strict=True)) / (count - 1)
    error = total([Part(spread / math.fsum(weights), count - 1), *(images or ())])
    half = float(stdtrit(error.df, (1 + LEVEL) / 2)) * math.sqrt(error.variance)
    return Pooled(tested, mean - half, mean + half, count)
