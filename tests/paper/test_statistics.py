import math

import numpy as np
import pytest
from scipy import stats

from sslpairs.errors import UserError
from sslpairs.paper.statistics import Contrast, contrast, reason, summarise, verdict

PAIR = [{"row": "a", "column": "c", "weight": 1}, {"row": "b", "column": "c", "weight": -1}]


def pair(a, b):
    return contrast(PAIR, {("a", "c"): dict(enumerate(a)), ("b", "c"): dict(enumerate(b))})


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
    found = pair([91, 93, 95], [90, 91, 92])
    assert found.effect == pytest.approx(2)
    assert found.sd == pytest.approx(1)
    assert found.standardised == pytest.approx(2)
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    assert found.low + found.high == pytest.approx(4)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_interval_is_that_of_the_paired_t_test(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(95, 1, n), rng.normal(94, 1, n)
    found, reference = pair(a, b), stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))


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


def test_verdicts():
    def made(low, high):
        return Contrast((low + high) / 2, low, high, 3, 1.0, 1.0)

    assert verdict(made(0.1, 2)) == "holds"
    assert verdict(made(-2, -0.1)) == "contradicted"
    assert verdict(made(-0.1, 2)) == "not shown"
    assert verdict(made(0, 2)) == "not shown"
    assert reason(made(0, 2)) == "95 % interval includes 0"


def test_one_seed_shows_nothing():
    found = pair([99], [90])
    assert (found.effect, found.low, found.sd, found.standardised) == (9, None, None, None)
    assert (verdict(found), reason(found)) == ("not shown", "one seed")


def test_no_shared_seed_shows_nothing():
    found = contrast(PAIR, {("a", "c"): {0: 1.0}, ("b", "c"): {1: 1.0}})
    assert (found.effect, found.n) == (None, 0)
    assert (verdict(found), reason(found)) == ("not shown", "no shared seed")


def test_without_a_spread_the_interval_is_the_point():
    found = pair([96.3, 97.1], [96.1, 96.9])  # both 0.2, but not in floating point
    assert found.sd == 0
    assert found.standardised is None
    assert (found.low, found.high) == (found.effect, found.effect)
    assert verdict(found) == "holds"
    assert "the interval is the point" in reason(found)
    assert verdict(pair([96.3, 97.1], [96.3, 97.1])) == "not shown"
    assert verdict(pair([96.1, 96.9], [96.3, 97.1])) == "contradicted"


def test_a_claim_on_a_cell_that_is_not_there():
    with pytest.raises(UserError, match=r"\(b, c\)"):
        contrast(PAIR, {("a", "c"): {0: 1.0}})
