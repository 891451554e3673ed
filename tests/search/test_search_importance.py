"""What matters: fANOVA on functions whose variances are known, correlations, levels, few trials."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_studies import flat, invent
from scipy import stats

from pipeline.search.correlation import correlations, holm, kruskal_wallis, spearman
from pipeline.search.importance import importances, rank
from pipeline.search.judged import FEWEST, judged

ADDITIVE = {
    "a.lr": {"log": [1e-6, 1.0]},
    "b.drop": {"uniform": [0.0, 0.5]},
    "c.kind": {"choices": ["x", "y", "z"]},
    "d.count": {"integer": [1, 9]},
}


def additive(config, units):
    """Variances 1/12, 1/48 and, of three choices worth 0, 0 and .5, 1/18: .519, .130, .346."""
    return units["a.lr"] + 0.5 * units["b.drop"] + 0.5 * (config["c.kind"] == "z")


def test_shares_of_the_variance_are_those_of_the_function():
    """Check that fANOVA finds the variances of an additive function, a learning rate's in its
    logarithm, and that what has no effect is within what luck reaches while the rest is not."""
    found = invent(90, additive, space=ADDITIVE)
    shares = {one.key: one for one in importances(found, judged(found))}
    expected = {"a.lr": 0.519, "b.drop": 0.130, "c.kind": 0.346, "d.count": 0.0}
    for key, share in expected.items():
        assert shares[key].share == pytest.approx(share, abs=0.1), key
        assert (shares[key].share > shares[key].luck) == (share > 0), key


def test_the_standard_error_shrinks_with_the_trials():
    """Check that the standard error tells few trials from many."""
    few, many = (invent(n, additive, space=ADDITIVE, noise=0.3) for n in (24, 70))
    errors = [
        np.mean([one.se for one in importances(found, judged(found))]) for found in (few, many)
    ]
    assert errors[1] < errors[0]


def test_a_condition_is_judged_where_it_holds():
    """Check that a parameter with a condition is judged on its own trials alone, and explains these
    where it decides them; one too few of them, and nothing is said."""

    def score(config, units):
        return config.get("optimizer.momentum", 0.2)

    found = invent(75, score)
    own = [trial for trial in found.trials if "optimizer.momentum" in trial.config]
    shares = {one.key: one for one in importances(found, judged(found))}
    assert shares["optimizer.momentum"].trials == len(own) >= FEWEST
    assert shares["optimizer.momentum"].share > 0.8
    assert shares["optimizer.name"].trials == 75
    fewer = invent(30, score)
    one = {one.key: one for one in importances(fewer, judged(fewer))}["optimizer.momentum"]
    assert one.trials < FEWEST and one.share is None


def test_the_same_study_always_says_the_same():
    """Check that importances are drawn from fixed seeds."""
    assert rank(invent(22, noise=0.1)).importances == rank(invent(22, noise=0.1)).importances


def test_parameters_are_ordered_by_importance():
    """Check that importances and correlations come in the same order, the largest share first."""
    known = rank(invent(30, additive, space=ADDITIVE))
    shares = [one.share for one in known.importances]
    assert shares == sorted(shares, reverse=True)
    assert known.keys == [one.key for one in known.correlations]
    assert known.keys[0] == "a.lr" and not known.note


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (invent(FEWEST - 1), "too few trials to tell what matters: 19; it takes 20"),
        (invent(0), "too few trials to tell what matters: 0; it takes 20"),
        (invent(25, flat), "all scores are the same"),
    ],
)
def test_what_cannot_be_told_is_said(found, words):
    """Check that few trials, or one score, give no shares but a reason."""
    known = rank(found)
    assert words in known.note
    assert all(one.share is None for one in known.importances)
    assert set(known.keys) == set(found.space.keys)


def test_the_level_is_the_highest_that_enough_reached():
    """Check that trials are compared at the top if half of them came there, else further below,
    where the scores are those of that level."""
    there = judged(invent(40, levels=3, reach=lambda n: 2 if n % 2 else 0))
    assert (there.level, len(there), there.chosen) == (2, 20, True)
    found = invent(60, levels=3, reach=lambda n: 2 if n < 21 else 0)
    there = judged(found)
    assert (there.level, len(there), there.chosen) == (0, 60, False)
    assert there.scores.tolist() == [-trial.losses[0] for trial in found.trials]


def test_scores_have_the_metrics_own_direction():
    """Check that with a metric that is better when it is lower, correlations are with the metric,
    not with the loss negated."""

    def loss(config, units):
        return -units["a.lr"]

    link = rank(invent(15, loss, space=ADDITIVE, sign=-1)).correlations
    assert {one.key: one.value for one in link}["a.lr"] == pytest.approx(1)


def test_spearman_is_the_correlation_of_ranks():
    """Check the value against ranks by NumPy, ties included."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 40).astype(float), rng.normal(size=40)
    ranks = [stats.rankdata(v) for v in (x, y)]
    assert spearman("x", x, y).value == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_the_interval_covers():
    """Check that the 95 % interval holds the true rank correlation of normal pairs about as often
    as it says."""
    rng, rho = np.random.default_rng(0), 0.6
    true = 6 / math.pi * math.asin(rho / 2)
    hits = 0
    for _ in range(300):
        x = rng.normal(size=30)
        y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=30)
        one = spearman("x", x, y)
        hits += one.low <= true <= one.high
    assert 0.91 <= hits / 300 <= 0.985


def test_epsilon_squared_is_the_adjusted_share_of_the_ranks_variance():
    """Check the effect of choices against the adjusted R squared of ranks on choices, its p-value
    where choices decide, and that it is 0 rather than less."""
    rng = np.random.default_rng(0)
    x, noise = rng.integers(0, 3, 50).astype(float), rng.normal(size=50)
    y = x % 2 + noise
    ranks = stats.rankdata(y)
    means = np.array([ranks[x == value].mean() for value in x])
    r2 = means.var() / ranks.var()
    one = kruskal_wallis("x", x, y)
    assert one.value == pytest.approx(1 - (1 - r2) * 49 / 47)
    assert kruskal_wallis("x", x, x + 0.01 * noise).p < 1e-6
    assert kruskal_wallis("x", np.tile([0.0, 1.0], 10), np.repeat(np.arange(10.0), 2)).value == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(values):
    """Check adjusted p-values against Holm's own procedure at several levels."""
    adjusted = holm([*values, None])
    assert adjusted[-1] is None
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for rank_, place in enumerate(np.argsort(values, kind="stable").tolist()):
            if values[place] * (len(values) - rank_) > alpha:
                break
            rejected.add(place)
        assert {n for n, p in enumerate(adjusted[:-1]) if p <= alpha} == rejected


def test_what_does_not_vary_has_no_correlation():
    """Check that few trials, one value and one score give none, not a NaN."""
    found = invent(3)
    assert all(one.value is None and one.p is None for one in correlations(found, judged(found)))
    assert spearman("x", np.ones(9), np.arange(9.0)).value is None
    assert kruskal_wallis("x", np.ones(9), np.arange(9.0)).value is None
