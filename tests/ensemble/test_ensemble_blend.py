"""Blending against plain formulas and brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import gmean

from pipeline.artifacts.predictions import probabilities
from pipeline.ensemble import blend
from pipeline.ensemble.blend import METHODS, empirical_cdf, fit_blend, hill_climb, quick_score
from pipeline.metrics import get_metric

ACCURACY = get_metric("accuracy", "multiclass")
LOG_LOSS = get_metric("log_loss", "multiclass")
F1 = get_metric("f1_macro", "multilabel")
SIMPLE = METHODS[:3]


def members(
    n: int = 60, count: int = 3, task: str = "multiclass", seed: int = 0, skill: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and a stack (count, n, 3) of members that know them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n) if task == "multiclass" else rng.integers(0, 2, (n, 3))
    signal = np.eye(3)[y] if task == "multiclass" else 2 * y - 1
    noise = rng.normal(size=(count, n, 3))
    stack = np.stack([probabilities(skill * signal + one, task) for one in noise])
    return y.astype(np.int64 if task == "multiclass" else np.int8), stack


def metric_of(task: str):
    return ACCURACY if task == "multiclass" else F1


def ranked(reference: np.ndarray, value: float) -> float:
    """Return the share of `reference` below `value` by definition, equal ones counting half."""

    def at(score: float) -> float:
        return (np.sum(reference < score) + 0.5 * np.sum(reference == score)) / len(reference)

    low, high = reference[reference <= value], reference[reference >= value]
    if not len(low) or not len(high):
        return at(high.min() if len(high) else low.max())
    a, b = low.max(), high.min()
    if a == b:
        return at(a)
    return at(a) + (at(b) - at(a)) * (value - a) / (b - a)


def test_mean_and_geometric_of_classes():
    """Check the arithmetic and the normalised geometric mean against numpy and scipy."""
    y, stack = members()
    np.testing.assert_allclose(
        fit_blend("mean", ACCURACY, y, stack).apply(stack), stack.mean(0), atol=1e-6
    )
    geometric = gmean(stack.astype(float), axis=0)
    geometric /= geometric.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        fit_blend("geometric", ACCURACY, y, stack).apply(stack), geometric, atol=1e-6
    )


def test_geometric_mean_of_labels_is_the_mean_of_log_odds():
    """Check that independent labels are blended by their odds, so that p and 1 - p agree."""
    y, stack = members(task="multilabel")
    fitted = fit_blend("geometric", F1, y, stack)
    expected = expit(logit(stack.astype(float)).mean(axis=0))
    np.testing.assert_allclose(fitted.apply(stack), expected, atol=1e-6)
    np.testing.assert_allclose(fitted.apply(1 - stack), 1 - expected, atol=1e-6)


def test_rank_mean_against_its_definition():
    """Check ranks of unseen rows against counting in the out-of-fold rows, class by class."""
    y, stack = members(n=25, task="multilabel")
    stack = np.round(stack, 1)  # ties
    _, unseen = members(n=15, task="multilabel", seed=1)
    got = fit_blend("rank", F1, y, stack).apply(unseen)
    for row, column in product(range(15), range(3)):
        each = [ranked(stack[m, :, column], unseen[m, row, column]) for m in range(3)]
        assert got[row, column] == pytest.approx(np.mean(each), abs=1e-6)


def test_rank_mean_of_classes_is_normalised():
    """Check that multi-class ranks, averaged over members, are divided by their row's sum."""
    y, stack = members(n=20)
    got = fit_blend("rank", ACCURACY, y, stack).apply(stack)
    ranks = np.mean([empirical_cdf(one, one) for one in stack], axis=0)
    np.testing.assert_allclose(got, ranks / ranks.sum(axis=1, keepdims=True), atol=1e-6)


VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), min_size=1, max_size=12)


@given(VALUES, st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_empirical_cdf_against_brute_force(reference, values):
    """Check the interpolated share of lower scores, with ties and beyond the ends."""
    column, wanted = np.array(reference), np.array(values)
    got = empirical_cdf(column[:, None], wanted[:, None])[:, 0]
    np.testing.assert_allclose(got, [ranked(column, value) for value in values], atol=1e-12)
    assert (np.diff(got[np.argsort(wanted, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("method", METHODS)
def test_a_row_does_not_depend_on_the_rows_beside_it(method, task):
    """Check that a test row is blended alone as it is among the others."""
    y, stack = members(task=task)
    _, unseen = members(n=9, task=task, seed=1)
    fitted = fit_blend(method, metric_of(task), y, stack)
    alone = np.concatenate([fitted.apply(unseen[:, [i]]) for i in range(9)])
    np.testing.assert_array_equal(fitted.apply(unseen), alone)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("method", METHODS)
def test_blends_are_probabilities(method, task):
    """Check values in [0, 1], float32, finite for members that say 0 and 1, rows of sum 1."""
    y, stack = members(task=task)
    stack[0, :5] = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    stack[1, :5] = np.eye(3, dtype=np.float32)[[1, 2, 0, 0, 1]]
    _, unseen = members(n=9, task=task, seed=1)
    for rows in (stack, unseen, np.zeros_like(unseen)):
        blended = fit_blend(method, metric_of(task), y, stack).apply(rows)
        assert blended.dtype == np.float32 and np.isfinite(blended).all()
        assert (blended >= 0).all() and (blended <= 1).all()
        if task == "multiclass":
            np.testing.assert_allclose(blended.sum(axis=1), 1, atol=1e-6)


@given(st.permutations(range(4)), st.permutations(range(12)), st.sampled_from(SIMPLE))
@settings(max_examples=40, deadline=None)
def test_order_of_members_and_rows_does_not_matter(order, rows, method):
    """Check that permuted members blend the same, and permuted rows come out permuted."""
    y, stack = members(n=12, count=4)
    order, rows = list(order), list(rows)
    plain = fit_blend(method, ACCURACY, y, stack).apply(stack)
    turned = stack[order][:, rows]
    again = fit_blend(method, ACCURACY, y[rows], turned).apply(turned)
    np.testing.assert_allclose(again, plain[rows], atol=1e-6)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("method", METHODS)
def test_copies_of_one_member_are_that_member(method, task):
    """Check that blending a member with itself answers as the member alone does."""
    y, stack = members(count=1, task=task)
    both = fit_blend(method, metric_of(task), y, np.repeat(stack, 3, axis=0))
    alone = fit_blend(method, metric_of(task), y, stack)
    got = both.apply(np.repeat(stack, 3, axis=0))
    np.testing.assert_allclose(got, alone.apply(stack), atol=1e-6)
    if method != "rank":
        np.testing.assert_allclose(got, stack[0], atol=1e-6)


def test_climbing_finds_a_known_optimum():
    """Check a case solved on paper: either of two members errs where the other knows."""
    y = np.array([0, 0, 1, 1])
    left = [[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.6, 0.4]]
    right = [[0.4, 0.6], [0.9, 0.1], [0.6, 0.4], [0.1, 0.9]]
    wrong = [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    stack = np.array([wrong, left, right])
    assert blend._climb(ACCURACY, y, stack).tolist() == [0, 0.5, 0.5]
    only_wrong_beside_it = blend._climb(ACCURACY, y, stack[:2])
    assert only_wrong_beside_it.tolist() == [0, 1]


@pytest.mark.parametrize("metric", [ACCURACY, LOG_LOSS, get_metric("f1_macro", "multiclass")])
@pytest.mark.parametrize("seed", range(4))
def test_climbing_is_never_below_the_best_member(metric, seed):
    """Check on the rows it climbs on: weights of sum 1, at least as good as any one member."""
    y, stack = members(n=40, seed=seed, skill=0.7)
    weights = blend._climb(metric, y, stack.astype(np.float64))
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    score = quick_score(metric, y, np.tensordot(weights, stack.astype(np.float64), 1))
    assert score >= max(quick_score(metric, y, member) for member in stack) - 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_climbing_comes_near_the_best_of_all_weights(seed):
    """Check the climb against every grid of weights in steps of a tenth (log loss is convex)."""
    y, stack = members(n=50, seed=seed, skill=1.5)
    stack = stack.astype(np.float64)
    grid = [w for w in product(range(11), repeat=3) if sum(w) == 10]
    scores = [quick_score(LOG_LOSS, y, np.tensordot(np.array(w) / 10, stack, 1)) for w in grid]
    weights = blend._climb(LOG_LOSS, y, stack)
    climbed = quick_score(LOG_LOSS, y, np.tensordot(weights, stack, 1))
    assert climbed >= max(scores) - 1e-3
    assert max(scores) - np.median(scores) > 0.01, "the grid must differ, or anything would pass"


def test_bagged_weights():
    """Check that bags give weights of sum 1, the same for the same seed, others for another."""
    y, stack = members(n=40, count=4)
    weights = [hill_climb(LOG_LOSS, y, stack, seed, bags=3) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
    for one in weights:
        assert one.sum() == pytest.approx(1) and (one >= 0).all()


def test_a_useless_member_gets_no_weight():
    """Check that climbing leaves out a member that is always wrong, as the mean cannot."""
    y, stack = members(n=80, count=2, skill=3)
    stack = np.concatenate([stack, np.eye(3, dtype=np.float32)[(y + 1) % 3][None]])
    assert hill_climb(LOG_LOSS, y, stack)[2] == 0


def test_a_bag_without_a_score_does_not_spoil_the_weights():
    """Check that resamples in which the metric is undefined are left out, and not made NaN."""
    rng = np.random.default_rng(0)
    y = np.zeros((12, 2), np.int8)
    y[3] = 1  # a third of all bags have no positive row, so no AUC
    weights = hill_climb(get_metric("auc_macro", "multilabel"), y, rng.uniform(size=(3, 12, 2)))
    assert np.isfinite(weights).all() and weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("accuracy", "multiclass"),
        ("log_loss", "multiclass"),
        ("qwk", "multiclass"),
        ("f1_samples", "multilabel"),
        ("auc_macro", "multilabel"),
    ],
)
def test_the_quick_score_is_the_metric(name, task):
    """Check the score that climbing uses against the metric itself, higher being better."""
    metric = get_metric(name, task)
    y, stack = members(task=task)
    answer = stack[0] if metric.needs == "probs" else None
    if answer is None:
        answer = stack[0].argmax(1) if task == "multiclass" else (stack[0] >= 0.5).astype(int)
    assert quick_score(metric, y, stack[0]) == pytest.approx(metric.sign * metric.score(y, answer))
