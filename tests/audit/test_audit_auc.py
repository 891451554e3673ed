"""The AUC and its interval, against brute force, scikit-learn and the bootstrap."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.audit.auc import roc_area


def drawn(seed, m=60, n=90, shift=0.7, ties=False):
    rng = np.random.default_rng(seed)
    positive = np.arange(m + n) < m
    scores = rng.normal(size=m + n) + shift * positive
    return positive, np.round(scores) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_value_and_variance_are_those_over_all_pairs(seed, ties):
    """Check that midranks give the AUC of all pairs, ties one half, and DeLong's variance."""
    positive, scores = drawn(seed, ties=ties)
    x, y = scores[positive][:, None], scores[~positive][None]
    wins = (x > y) + 0.5 * (x == y)
    variance = wins.mean(1).var(ddof=1) / len(x) + wins.mean(0).var(ddof=1) / y.shape[1]
    found = roc_area(positive, scores)
    assert found.value == pytest.approx(wins.mean())
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    assert found.se == pytest.approx(np.sqrt(variance))
    assert found.low < found.value < found.high


def test_clusters_of_one_row_change_nothing():
    """Check that Obuchowski's variance is DeLong's where every row is a cluster."""
    positive, scores = drawn(0)
    alone = roc_area(positive, scores, np.arange(len(scores)).astype(str))
    assert alone == roc_area(positive, scores)


def test_variance_of_clusters_is_that_of_the_paper():
    """Check the clustered variance against the paper's sums, written out cluster by cluster."""
    positive, scores = drawn(1, ties=True)
    groups = np.random.default_rng(2).integers(0, 30, len(scores))
    x, y = scores[positive], scores[~positive]
    m, n = len(x), len(y)
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    theta = wins.mean()
    first, second, both = [], [], 0.0
    for g in np.unique(groups):
        own_x, own_y = groups[positive] == g, groups[~positive] == g
        a = wins.mean(1)[own_x].sum() - own_x.sum() * theta
        b = wins.mean(0)[own_y].sum() - own_y.sum() * theta
        first += [a] if own_x.any() else []
        second += [b] if own_y.any() else []
        both += a * b
    i10, i01, i = len(first), len(second), len(np.unique(groups))
    s10 = i10 / ((i10 - 1) * m) * np.square(first).sum()
    s01 = i01 / ((i01 - 1) * n) * np.square(second).sum()
    s11 = i / (i - 1) * both
    variance = s10 / m + s01 / n + 2 * s11 / (m * n)
    assert roc_area(positive, scores, groups).se == pytest.approx(np.sqrt(variance))


def test_standard_errors_are_those_of_the_bootstrap():
    """Check rows and clusters against resampling them, where clusters matter by more than half."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(60), 6)
    positive = rng.random(360) < np.repeat(rng.random(60), 6)
    scores = 0.5 * positive + np.repeat(rng.normal(size=60), 6) + 0.3 * rng.normal(size=360)
    found = []
    for _ in range(1500):
        rows = (rng.integers(0, 60, 60)[:, None] * 6 + np.arange(6)).ravel()
        found.append(roc_auc_score(positive[rows], scores[rows]))
    clustered = roc_area(positive, scores, group).se
    assert clustered == pytest.approx(np.std(found), rel=0.12)
    alone, positive = [], np.arange(360) % 3 == 0
    for _ in range(1500):
        rows = rng.integers(0, 360, 360)
        alone.append(roc_auc_score(positive[rows], scores[rows]))
    assert roc_area(positive, scores).se == pytest.approx(np.std(alone), rel=0.1)


def test_cross_validated_scores_have_a_wider_interval():
    """Check Nadeau and Bengio's factor: with five parts 2.25 of the variance."""
    alone, validated = roc_area(*drawn(0)), roc_area(*drawn(0), parts=5)
    assert validated.se == pytest.approx(1.5 * alone.se)
    assert validated.low < alone.low < alone.high < validated.high


def test_interval_holds_one_half_in_95_of_100():
    """Check that scores that tell nothing have an interval around one half as often as said."""
    areas = [roc_area(*drawn(seed, shift=0.0)) for seed in range(400)]
    held = np.mean([area.low <= 0.5 <= area.high for area in areas])
    assert 0.92 <= held <= 0.98  # 2.75 standard errors either way


def test_separated_kinds_have_an_interval_that_is_no_point():
    """Check that few rows without an overlap do not look certain, and many do."""
    few, many = (roc_area(np.arange(2 * k) < k, -np.arange(2.0 * k)) for k in (4, 400))
    assert (few.value, few.se, few.high) == (1.0, 0.0, 1.0)
    assert few.low == pytest.approx(0.025 ** (1 / 4))
    assert many.low > 0.99
    worst = roc_area(np.arange(8) < 4, np.arange(8.0))
    assert (worst.low, worst.high) == (0.0, pytest.approx(1 - few.low))


@pytest.mark.parametrize("which", ["all in one", "one of positives", "one positive row"])
def test_one_cluster_of_a_kind_says_nothing(which):
    """Check that a kind of one row or one cluster has no error that could be known."""
    positive, scores = drawn(0)
    groups = np.arange(len(scores))
    if which == "all in one":
        groups = np.zeros(len(scores), int)
    elif which == "one of positives":
        groups = np.where(positive, -1, groups)
    else:
        positive = np.arange(len(scores)) == 3
    found = roc_area(positive, scores, groups)
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    assert (found.se, found.low, found.high) == (np.inf, 0.0, 1.0)
    apart = roc_area(positive, positive * 1.0, groups)
    assert (apart.se, apart.low, apart.high) == (np.inf, 0.0, 1.0)


def test_what_has_no_auc_is_refused():
    """Check that one kind alone, and scores that are no numbers, are refused."""
    with pytest.raises(ValueError, match="both kinds"):
        roc_area(np.ones(3, bool), np.arange(3.0))
    with pytest.raises(ValueError, match="finite"):
        roc_area(np.array([True, False]), np.array([np.nan, 1.0]))
