"""Correlations against SciPy and against simulated pairs."""

import numpy as np
import pytest
from scipy import stats

from pipeline.leaderboard.correlation import pearson, spearman


@pytest.mark.parametrize("n", [4, 9, 60])
def test_against_scipy(n):
    """Check the coefficients, and Pearson's interval against SciPy's own by Fisher's z."""
    rng = np.random.default_rng(n)
    a = rng.normal(size=n)
    b = a + rng.normal(size=n)
    ours, theirs = pearson(a, b), stats.pearsonr(a, b)
    interval = theirs.confidence_interval(0.95)
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.statistic, *interval))
    assert spearman(a, b).value == pytest.approx(stats.spearmanr(a, b).statistic)
    assert ours.n == spearman(a, b).n == n


@pytest.mark.parametrize(
    ("found", "true"), [(pearson, 0.7), (spearman, 6 / np.pi * np.arcsin(0.35))]
)
def test_the_interval_holds_the_true_coefficient(found, true):
    """Check its coverage over 2,000 samples of 15 normal pairs whose coefficient is known."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2000, 15))
    b = 0.7 * a + np.sqrt(1 - 0.49) * rng.standard_normal((2000, 15))
    intervals = [found(*pair) for pair in zip(a, b, strict=True)]
    held = np.mean([one.low <= true <= one.high for one in intervals])
    assert held == pytest.approx(0.95, abs=0.02)


def test_nothing_is_said_of_few_or_constant_scores():
    """Check that three pairs, and scores that are all the same, have no coefficient."""
    few, many = np.array([1.0, 2.0, 4.0]), np.arange(5.0)
    for found in (pearson, spearman):
        assert found(few, few) is None and found(many, np.ones(5)) is None


def test_a_perfect_correlation_has_no_width():
    """Check that an infinite z is not computed with."""
    rising = np.arange(5.0)
    found = pearson(rising, -rising), spearman(rising, rising)
    assert [(one.low, one.high) for one in found] == [pytest.approx((v, v)) for v in (-1, 1)]
