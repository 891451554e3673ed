"""Sets of highest expected score against brute force over all sets and all truths."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from pipeline.decisions import (
    f_maximiser,
    poisson_binomial,
    samples_f_sets,
    samples_jaccard_sets,
)
from pipeline.decisions.poisson_binomial import others
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

CHECKED = settings(max_examples=80, deadline=None, derandomize=True, database=None)
BETAS = [0.5, 1.0, 2.0]
AWKWARD = st.sampled_from([0.0, 1e-300, 1e-12, 0.2, 0.5, 0.5 + 2**-53, 0.9, 1 - 2**-53, 1.0])
PROB = st.one_of(AWKWARD, st.floats(0, 1))


def rows(max_classes=6):
    """Draw the probabilities (1, c) of one image."""
    shapes = st.integers(1, max_classes).map(lambda c: (1, c))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=PROB))


def all_sets(n_classes):
    """Return every set of labels (2^c, c)."""
    return np.array(list(product([0, 1], repeat=n_classes)), dtype=np.int8)


def chances(probs):
    """Return the probability (2^c,) of every set as the truth, labels being independent."""
    truths = all_sets(probs.size)
    return np.where(truths, probs, 1 - probs).prod(1)


def f_table(n_classes, beta):
    """Return F-beta of every answer (down) on every truth (across); 0 for two empty sets."""
    sets = all_sets(n_classes).astype(float)
    both = sets @ sets.T
    bottom = sets.sum(1)[:, None] + beta**2 * sets.sum(1)
    return np.divide((1 + beta**2) * both, bottom, out=np.zeros_like(both), where=bottom > 0)


def jaccard_table(n_classes):
    sets = all_sets(n_classes).astype(float)
    both = sets @ sets.T
    either = sets.sum(1)[:, None] + sets.sum(1) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def worth(answer, table, truth):
    """Return what an answer (c,) is worth in expectation, and what the best answer is worth."""
    values = table @ truth
    return values[np.flatnonzero((all_sets(len(answer)) == answer).all(1))[0]], values.max()


@CHECKED
@given(rows(), st.sampled_from(BETAS))
def test_no_set_has_a_higher_expected_f(probs, beta):
    """Check against all sets and all truths."""
    (answer,) = samples_f_sets(probs, beta)
    reached, best = worth(answer, f_table(probs.size, beta), chances(probs))
    assert answer.dtype == np.int8
    assert reached == pytest.approx(best, abs=2e-12)


@CHECKED
@given(rows())
def test_no_set_has_a_higher_expected_jaccard(probs):
    """Check against all sets and all truths."""
    (answer,) = samples_jaccard_sets(probs)
    reached, best = worth(answer, jaccard_table(probs.size), chances(probs))
    assert answer.dtype == np.int8
    assert reached == pytest.approx(best, abs=2e-12)


@CHECKED
@given(st.integers(1, 5), st.integers(0, 10**6), st.sampled_from(BETAS), st.booleans())
def test_the_general_maximiser_on_dependent_labels(n_classes, seed, beta, empty_counts):
    """Check any joint distribution against all sets, two empty sets being worth 1 or 0."""
    rng = np.random.default_rng(seed)
    sets, table = all_sets(n_classes), f_table(n_classes, beta)
    truth = rng.dirichlet(np.full(len(sets), 0.1), size=4)
    joint = np.zeros((4, n_classes, n_classes))
    for s in range(1, n_classes + 1):
        joint[:, :, s - 1] = truth[:, sets.sum(1) == s] @ sets[sets.sum(1) == s]
    empty = truth[:, 0] * empty_counts
    table[0, 0] = float(empty_counts)
    for answer, chance in zip(f_maximiser(joint, empty, beta), truth, strict=True):
        reached, best = worth(answer, table, chance)
        assert reached == pytest.approx(best, abs=2e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_the_fast_sets_are_those_of_the_general_maximiser(beta):
    """Check 40 labels, beyond brute force, over several blocks of rows."""
    rng = np.random.default_rng(0)
    probs = rng.beta(0.3, 2, (900, 40))
    joint = np.zeros((900, 40, 40))
    for j in range(40):
        joint[:, j] = probs[:, [j]] * poisson_binomial(np.delete(probs, j, 1))
    assert np.array_equal(samples_f_sets(probs, beta), f_maximiser(joint, np.zeros(900), beta))


def test_an_empty_answer_is_worth_nothing():
    """Check that the sets follow the metric: an unlikely label is still better than none."""
    metric = get_metric("f1_samples", "multilabel")
    none = np.zeros((1, 3), dtype=np.int8)
    assert metric.score(none, none) == 0
    for sets in (samples_f_sets, samples_jaccard_sets):
        assert sets(np.array([[0.01, 0.02, 0.0]])).tolist() == [[0, 1, 0]]
        assert sets(np.zeros((2, 3))).tolist() == [[0, 0, 0]] * 2


def test_sets_beat_every_threshold_where_the_model_is_true():
    """Check on drawn labels that the sets score above the best threshold fitted on them."""
    rng = np.random.default_rng(0)
    probs = rng.beta(0.4, 2, (20_000, 8))
    y = (rng.random(probs.shape) < probs).astype(np.int8)
    metric = get_metric("f1_samples", "multilabel")
    best = max(metric.score(y, (probs >= t).astype(np.int8)) for t in np.linspace(0.02, 0.6, 59))
    assert metric.score(y, samples_f_sets(probs)) > best + 0.01


def test_float32_and_the_order_of_rows():
    """Check that blocks, types and the order of the rows change nothing."""
    rng = np.random.default_rng(1)
    probs = rng.random((700, 50)).astype(np.float32)
    order = rng.permutation(700)
    for sets in (samples_f_sets, samples_jaccard_sets):
        answer = sets(probs)
        assert np.array_equal(answer, sets(probs.astype(np.float64)))
        assert np.array_equal(answer[order], sets(probs[order]))


def test_ties_go_to_the_first_class():
    """Check that of equal labels the first are answered."""
    probs = np.full((1, 4), 0.3)
    for sets in (samples_f_sets, samples_jaccard_sets):
        answer = sets(probs)[0]
        assert np.array_equal(answer, np.sort(answer)[::-1])
        assert 0 < answer.sum() <= 4


@CHECKED
@given(rows(5))
def test_the_number_of_labels_against_all_truths(probs):
    """Check the distribution of sizes, and of the others beside each label, by brute force."""
    n_classes, truth = probs.size, chances(probs)
    by_size = np.bincount(all_sets(n_classes).sum(1), truth, minlength=n_classes + 1)
    assert poisson_binomial(probs)[0] == pytest.approx(by_size, abs=1e-15)
    rest = others(probs.T.copy())[:, :, 0]
    for j in range(n_classes):
        if n_classes == 1:
            assert rest[:, j].tolist() == [1]
            continue
        without = poisson_binomial(np.delete(probs, j, 1))[0]
        assert rest[:, j] == pytest.approx(without[: len(rest)], abs=1e-14)
        assert without[len(rest) :].sum() < 1e-15


def test_the_number_of_labels_at_scale():
    """Check 300 labels against the binomial, and 60 against exact fractions, odd values too."""
    for p in (1e-9, 0.03, 0.5, 0.97):
        sizes = poisson_binomial(np.full((2, 300), p))
        assert sizes[1] == pytest.approx(binom.pmf(np.arange(301), 300, p), rel=1e-9, abs=1e-300)
        rest = others(np.full((300, 1), p))[:, 7, 0]
        expected = binom.pmf(np.arange(len(rest)), 299, p)
        assert rest == pytest.approx(expected, abs=1e-13)
    probs = np.random.default_rng(0).beta(0.2, 0.2, 60)
    exact = [Fraction(1)] + [Fraction(0)] * 60
    for p in probs:
        p = Fraction(float(p))
        exact = [(1 - p) * a + p * b for a, b in zip(exact, [0, *exact[:-1]], strict=True)]
    expected = np.array([float(value) for value in exact])
    assert poisson_binomial(probs[None])[0] == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_what_does_not_fit_is_refused():
    """Check NaN, values outside [0, 1] and a beta that is not positive."""
    with pytest.raises(PodiumError, match="nan"):
        poisson_binomial(np.array([[np.nan]]))
    with pytest.raises(PodiumError, match="beta"):
        samples_f_sets(np.array([[0.5]]), 0.0)
