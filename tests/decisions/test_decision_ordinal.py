"""Cuts for ordered classes: brute force over all of them, a peer's search, and what is promised."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pipeline.decisions.ordinal import cut_classes, expected_class, fit_cuts
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

KAPPA = get_metric("qwk", "multiclass")
FEW = [0.0, 0.1, 0.25, 0.5, 1.0]


def ordered(seed, n=300, c=5):
    """Return unbalanced ordered labels, and probabilities that pull towards the middle."""
    rng = np.random.default_rng(seed)
    rates = rng.dirichlet(np.ones(c))
    y = rng.choice(c, n, p=rates)
    seen = 0.7 * y + 0.9 * rng.normal(size=n) + 0.4
    probs = rates * np.exp(-((np.arange(c) - seen[:, None]) ** 2) / 1.5) + 1e-9
    return y, probs / probs.sum(1, keepdims=True)


def best_of_all(y, means, c):
    """Return the highest kappa of all ways to cut the distinct expected classes."""
    distinct = np.unique(np.round(means, 9))
    group = np.searchsorted(distinct, np.round(means, 9))
    best = -np.inf
    for places in combinations_with_replacement(range(len(distinct) + 1), c - 1):
        answer = np.searchsorted(places, group, side="right")
        if not answer.min() == answer.max() == y.min() == y.max():
            best = max(best, KAPPA.score(y, answer))
    return best


@st.composite
def small(draw):
    """Draw labels and scores of few values: ties, duplicates, zero rows, absent classes."""
    c, n = draw(st.integers(2, 4)), draw(st.integers(2, 7))
    y = draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n))
    row = st.lists(st.sampled_from(FEW), min_size=c, max_size=c)
    return np.array(y), np.array(draw(st.lists(row, min_size=n, max_size=n)))


@given(small())
@settings(max_examples=100)
def test_no_cuts_are_better(problem):
    """Check against every vector of cuts that the fit is the global optimum."""
    y, probs = problem
    c = probs.shape[1]
    cuts = fit_cuts(y, probs)
    assert cuts.shape == (c - 1,)
    assert np.isfinite(cuts).all()
    assert (np.diff(cuts) >= 0).all()
    if y.min() == y.max():
        assert np.array_equal(cuts, np.arange(c - 1) + 0.5)
        return
    reached = KAPPA.score(y, cut_classes(probs, cuts))
    assert reached == pytest.approx(best_of_all(y, expected_class(probs), c), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_no_cuts_are_better_on_distinct_rows(seed):
    """Check the same on rows that are all different, and informative."""
    y, probs = ordered(seed, n=14, c=4)
    reached = KAPPA.score(y, cut_classes(probs, fit_cuts(y, probs)))
    assert reached == pytest.approx(best_of_all(y, expected_class(probs), 4), abs=1e-12)


def test_never_below_rounding_or_the_usual_search():
    """Check that rounding and Nelder-Mead, where most competitors stop, are never better."""
    gains = []
    for seed in range(8):
        y, probs = ordered(seed)
        means, rounding = expected_class(probs), np.arange(4) + 0.5

        def loss(cuts, y=y, means=means):
            return -KAPPA.score(y, np.searchsorted(np.sort(cuts), means, side="right"))

        search = minimize(loss, rounding, method="nelder-mead", options={"maxiter": 150})
        reached = KAPPA.score(y, cut_classes(probs, fit_cuts(y, probs)))
        assert reached >= KAPPA.score(y, cut_classes(probs, rounding)) - 1e-12
        gains.append(reached + search.fun)
    assert min(gains) >= -1e-12
    assert max(gains) > 1e-4


def test_cuts_lie_between_rows():
    """Check that a cut is midway between its neighbours, and half a class beyond them at an end."""
    means = np.array([1.0, 1.2, 1.6, 1.9])
    probs = np.column_stack([0 * means, 2 - means, means - 1, 0 * means])
    cuts = fit_cuts(np.array([1, 1, 2, 2]), probs)
    assert cuts == pytest.approx([0.5, 1.4, 2.4])
    assert cut_classes(probs, cuts).tolist() == [1, 1, 2, 2]


def test_a_class_starts_at_its_cut():
    """Check that the class is the number of cuts at or below the expected class."""
    probs = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1], [0, 0.125, 0.375]])
    assert expected_class(probs).tolist() == [0, 0.5, 1, 2, 1.75]
    assert cut_classes(probs, np.array([0.5, 1.75])).tolist() == [0, 1, 1, 2, 2]
    assert cut_classes(probs, np.array([1.0, 1.0])).tolist() == [0, 0, 2, 2, 2]
    assert cut_classes(probs, np.array([1.0, 1.0])).dtype == np.int64


def test_rows_of_zeros_are_uniform():
    """Check that a row without any probability has the middle class as its mean."""
    assert expected_class(np.zeros((2, 4))).tolist() == [1.5, 1.5]


def test_what_changes_nothing():
    """Check that permuted, doubled and float32 rows give the same cuts."""
    y, probs = ordered(1)
    probs = probs.astype(np.float32)
    cuts = fit_cuts(y, probs, n_classes=5)
    rows = np.random.default_rng(0).permutation(len(y))
    assert np.array_equal(fit_cuts(y[rows], probs[rows]), cuts)
    assert np.array_equal(fit_cuts(y, probs.astype(np.float64)), cuts)
    doubled = fit_cuts(np.tile(y, 2), np.tile(probs, (2, 1)))
    assert np.array_equal(cut_classes(probs, doubled), cut_classes(probs, cuts))


def test_proportional_rows_share_a_class():
    """Check that rows equal but for rounding are not parted, whatever their labels."""
    base = np.array([[0.3, 0.2, 0.7], [0.6, 0.1, 0.3]])
    probs = np.concatenate([base * factor for factor in (1, 1 / 3, 0.7, 0.3, 1 / 7)])
    y = np.random.default_rng(2).integers(0, 3, len(probs))
    answer = cut_classes(probs, fit_cuts(y, probs)).reshape(-1, 2)
    assert (answer == answer[0]).all()


def test_absent_classes():
    """Check that a class that no row has is no reason to fail, and that the optimum holds."""
    y, probs = ordered(3, n=12, c=4)
    y = np.where(y % 2, 1, 3)
    reached = KAPPA.score(y, cut_classes(probs, fit_cuts(y, probs)))
    assert reached == pytest.approx(best_of_all(y, expected_class(probs), 4), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_cuts([0, 2], np.eye(2)), "below 2"),
        (lambda: fit_cuts([0, 1], np.eye(2), n_classes=3), "2 columns"),
        (lambda: fit_cuts([0, 1, 1], np.eye(2)), "same rows"),
        (lambda: fit_cuts([0, 1], [[np.nan, 0], [0, 1]]), "nan"),
        (lambda: cut_classes(np.eye(3), [0.5]), "2 cuts"),
        (lambda: cut_classes(np.eye(3), [1.5, 0.5]), "decrease"),
        (lambda: cut_classes(np.eye(3), [0.5, np.inf]), "finite"),
    ],
)
def test_refusals(call, words):
    """Check that shapes that differ, NaN and cuts out of order are refused."""
    with pytest.raises(PodiumError, match=words):
        call()
