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


@pytest.mark.parametrize("n", [4, 5, 6, 8])
@pytest.mark.parametrize("r", [0.3, 0.7, 0.95])
def test_the_interval_of_few_pairs(n, r):
    """Check that of few pairs, of which many correlate perfectly, it holds the true coefficient no
    less often than it says, for ranks a little more often."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((1000, n))
    b = r * a + np.sqrt(1 - r**2) * rng.standard_normal((1000, n))
    for found, true in ((pearson, r), (spearman, 6 / np.pi * np.arcsin(r / 2))):
        intervals = [found(*pair) for pair in zip(a, b, strict=True)]
        assert np.mean([one.low <= true <= one.high for one in intervals]) > 0.925


def test_a_perfect_correlation_has_a_width():
    """Check that it reaches to itself on one side, and on the other to what the next smaller rho
    that the ranks can have reaches to."""
    rising = np.arange(5.0)
    up, down = spearman(rising, rising), spearman(rising, -rising)
    after = spearman(rising, np.array([1.0, 0, 2, 3, 4]))
    assert after.value == pytest.approx(0.9)
    assert (up.value, up.low, up.high) == pytest.approx((1, after.low, 1))
    assert (down.value, down.low, down.high) == pytest.approx((-1, -1, -after.low))
    plain = pearson(rising, -rising)
    assert plain.low == -1 and -0.999 < plain.high < -0.95
