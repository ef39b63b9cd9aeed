"""Each rule of the statistics against SciPy, a formula written independently, or known values; and how often they are wrong together."""

import math

import numpy as np
import pytest
from scipy import special, stats

from sslpairs.errors import UserError
from sslpairs.paper.statistics import (
    CONTRADICTED,
    HOLDS,
    NO_EFFECT,
    UNDECIDED,
    Prior,
    benjamini_hochberg,
    contrast,
    holm,
    paired,
    pool,
    prior,
    seeds_needed,
    summarise,
    t_test,
    t_tests,
    verdict,
)

PAIR = [{"row": "a", "column": "c", "weight": 1}, {"row": "b", "column": "c", "weight": -1}]


def pair(a, b, images=None):
    return contrast(PAIR, {("a", "c"): dict(enumerate(a)), ("b", "c"): dict(enumerate(b))}, images)


def test_mean_and_sample_deviation_by_hand():
    summary = summarise([96.0, 97.0, 98.0])
    assert (summary.mean, summary.sd, summary.n) == (97.0, 1.0, 3)


def test_one_value_has_no_deviation():
    assert summarise([96.4]).sd is None
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_equal_values_have_a_deviation_of_exactly_zero():
    assert summarise([0.1 + 0.2, 0.3, 0.3]).sd == 0


def test_paired_difference_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.302653, half width 4.302653 / sqrt(3).
    found = t_test(pair([91, 93, 95], [90, 91, 92]))
    assert found.contrast.effect == pytest.approx(2)
    assert (found.sd, found.df) == (pytest.approx(1), 2)
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    assert found.low + found.high == pytest.approx(4)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_alone_a_contrast_has_the_paired_t_test_and_the_two_one_sided_tests_of_the_margin(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(95, 1, n), rng.normal(94, 1, n)
    (found,) = t_tests([pair(a, b)])
    reference = stats.ttest_rel(a, b)
    interval = reference.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, reference.pvalue))
    below = stats.ttest_1samp(a - b, 1, alternative="less").pvalue
    above = stats.ttest_1samp(a - b, -1, alternative="greater").pvalue
    assert found.p_none == pytest.approx(max(below, above))


def test_difference_of_gains_uses_the_seeds_that_all_cells_share():
    terms = [
        {"row": "with", "column": "small", "weight": 1},
        {"row": "without", "column": "small", "weight": -1},
        {"row": "with", "column": "large", "weight": -1},
        {"row": "without", "column": "large", "weight": 1},
    ]
    values = {
        ("with", "small"): {0: 90.0, 1: 91.0, 2: 95.0},
        ("without", "small"): {0: 88.0, 1: 88.0, 3: 10.0},
        ("with", "large"): {0: 95.0, 1: 96.0},
        ("without", "large"): {1: 95.0, 0: 94.0},
    }
    found = contrast(terms, values)
    assert found.n == 2
    assert found.effect == pytest.approx((2 - 1 + 3 - 1) / 2)


@pytest.mark.parametrize(("df0", "variance0"), [(4.0, 0.25), (8.0, 4.0)])
def test_the_prior_of_many_variances_is_the_one_that_they_were_drawn_from(df0, variance0):
    rng = np.random.default_rng(1)
    true = df0 * variance0 / rng.chisquare(df0, 4000)
    found = prior([paired(list(rng.normal(0, math.sqrt(v), 4))) for v in true])
    assert found.variance == pytest.approx(variance0, rel=0.1)
    assert found.df == pytest.approx(df0, rel=0.4)


def test_equal_variances_are_pooled_and_one_contrast_borrows_nothing():
    rng = np.random.default_rng(2)
    many = [paired(list(rng.normal(0, 0.6, 3))) for _ in range(600)]
    assert math.isinf(prior(many).df) or prior(many).df > 10
    assert all(found.df <= 1200 for found in t_tests(many)), "no more than all differences give together"
    assert prior(many[:1]) == Prior(0.0, 0.0)
    assert t_tests(many[:1])[0].df == 2


def test_the_moderated_spread_is_a_weighted_mean_with_degrees_of_freedom_that_add_up():
    found = t_test(paired([1.0, 2.0, 3.0]), Prior(4.0, 6.0), most_df=100)
    assert found.sd**2 == pytest.approx((6 * 4 + 2 * 1) / 8)
    assert found.df == 8
    error = found.sd / math.sqrt(3)
    assert found.p == pytest.approx(2 * stats.t.sf(2 / error, 8))
    assert t_test(paired([1.0, 2.0, 3.0]), Prior(4.0, 6.0), most_df=5).df == 5


def test_equal_differences_are_no_certainty():
    same = pair([97.8, 98.0, 97.4], [97.6, 97.8, 97.2])
    assert same.sd == 0
    assert (t_test(same).p, t_test(same).p_none) == (None, None), "without the number of images nothing is decided"
    rounded = t_test(pair([97.8, 98.0, 97.4], [97.6, 97.8, 97.2], images=500))
    assert rounded.sd == pytest.approx(0.2 / math.sqrt(6)), "what rounding two accuracies to 0.2 points gives"
    assert rounded.low < 0.2 < rounded.high
    assert pair([97.8], [97.6], images=500).grid == rounded.sd


def test_false_discoveries_are_adjusted_as_scipy_does():
    ps = [0.01, 0.2, 0.03, 0.9, 0.04, 0.0001]
    assert benjamini_hochberg(ps) == pytest.approx(list(stats.false_discovery_control(ps)))
    assert benjamini_hochberg([0.02, None, 0.5]) == [0.04, None, 0.5]
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_verdicts():
    assert verdict(0.5, 0.01, 0.3) == HOLDS
    assert verdict(-0.5, 0.01, 0.3) == CONTRADICTED
    assert verdict(0.1, 0.3, 0.01) == NO_EFFECT
    assert verdict(0.1, 0.3, 0.2) == UNDECIDED
    assert verdict(0.2, 0.01, 0.01) == HOLDS, "a small effect that is shown is an effect"
    assert verdict(None, None, None) == UNDECIDED


def test_one_seed_or_none_in_common_decides_nothing():
    found = t_test(pair([99], [90]))
    assert (found.contrast.effect, found.low, found.p, found.sd) == (9, None, None, None)
    none = contrast(PAIR, {("a", "c"): {0: 1.0}, ("b", "c"): {1: 1.0}})
    assert (none.effect, none.n, t_test(none).p) == (None, 0, None)


@pytest.mark.parametrize(("d", "seeds"), [(3.3, 3), (1.7, 5), (1.0, 10), (0.5, 34), (0.2, 199)])
def test_seeds_needed_are_those_of_the_tables_of_power(d, seeds):
    assert abs(seeds_needed(d, 1.0) - seeds) <= 1
    assert seeds_needed(-2 * d, 2.0) == seeds_needed(d, 1.0)


def test_an_effect_of_nothing_is_never_found():
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.01, 1.0) is None


def test_pooled_gains_are_a_t_test_over_seeds_and_random_effects_over_bases():
    rng = np.random.default_rng(5)
    gains = rng.normal([[3.0], [0.5], [1.0], [2.0]], 0.4, (4, 5))
    found = pool([paired(list(one)) for one in gains])
    by_seed = stats.ttest_1samp(gains.mean(0), 0)
    assert found.tested.p == pytest.approx(by_seed.pvalue)
    assert found.count == 4
    # Hartung and Knapp's interval, written anew.
    effects, variances = gains.mean(1), gains.var(1, ddof=1) / 5
    w = 1 / variances
    q = (w * (effects - (w * effects).sum() / w.sum()) ** 2).sum()
    between = max(0, (q - 3) / (w.sum() - (w**2).sum() / w.sum()))
    w = 1 / (variances + between)
    mean = (w * effects).sum() / w.sum()
    half = stats.t.ppf(0.975, 3) * math.sqrt((w * (effects - mean) ** 2).sum() / 3 / w.sum())
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert pool([paired([1.0, 2.0])]) is None
    assert pool([paired([1.0, 2.0]), paired([1.0, 2.0, 3.0])]) is None


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("spread", [0.6, 0.15])
def test_of_claims_without_an_effect_few_are_decided_and_of_a_point_more_than_before(n, spread):
    """Tables of five claims, accuracies over 500 images: 'now' errs less than a t-interval for each claim does, and sees more."""
    rng = np.random.default_rng(7)
    decided = {}
    for effect in (0.0, 1.0):
        counts = {"now": 0, "before": 0}
        for _ in range(300):
            a = rng.uniform(80, 95, (5, n))
            b = a + effect + spread * rng.standard_normal((5, n))
            differences = np.round(b / 0.2) * 0.2 - np.round(a / 0.2) * 0.2
            tests = t_tests([paired(list(one), 0.2 / math.sqrt(6)) for one in differences])
            ps = benjamini_hochberg([found.p for found in tests])
            counts["now"] += sum(verdict(t.contrast.effect, p, None) == HOLDS for t, p in zip(tests, ps, strict=True))
            bound = special.stdtrit(n - 1, 0.975) * differences.std(1, ddof=1) / math.sqrt(n)
            counts["before"] += int((differences.mean(1) - bound > 0).sum())
        decided[effect] = {key: count / 1500 for key, count in counts.items()}
    assert decided[0.0]["now"] < 0.015
    assert decided[0.0]["now"] <= decided[0.0]["before"]
    assert decided[1.0]["now"] >= decided[1.0]["before"]


def test_a_claim_on_a_cell_that_is_not_there():
    with pytest.raises(UserError, match=r"\(b, c\)"):
        contrast(PAIR, {("a", "c"): {0: 1.0}})
