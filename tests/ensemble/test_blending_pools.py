"""Pools, quick scores and keyed choices against plain formulas and brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import gmean, pmean

from pipeline.artifacts.predictions import probabilities
from pipeline.decisions.rules import default_rule
from pipeline.ensemble import stack as stacks
from pipeline.ensemble.blending import pools
from pipeline.ensemble.blending.keyed import deal_parts, draw_rows, first_copies
from pipeline.ensemble.blending.pools import (
    arithmetic,
    best_power,
    fit_ranks,
    geometric,
    power_mean,
    rank,
)
from pipeline.ensemble.blending.scoring import log_loss_of, quick_score
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics import custom_metric, get_metric

TASKS = ("multiclass", "multilabel")
WEIGHTS = np.array([0.5, 0.2, 0.3])
EQUAL = np.full(3, 1 / 3)


def invented(
    task: str, n: int = 60, members: int = 3, seed: int = 0, skill: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities (members, n, 4) that know them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n) if task == "multiclass" else rng.integers(0, 2, (n, 4))
    signal = np.eye(4)[y] if task == "multiclass" else 2 * y - 1
    noise = rng.normal(size=(members, n, 4))
    stack = np.stack([probabilities(skill * signal + one, task) for one in noise])
    return y.astype(np.int64 if task == "multiclass" else np.int8), stack


def rowwise(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=1, keepdims=True)


def pools_of(task: str, weights: np.ndarray, fitted: np.ndarray) -> dict:
    """Return every pool as a function of an array (members, n, c)."""
    ranks = fit_ranks(Stack.of(fitted))
    return {
        "arithmetic": lambda values: arithmetic(Stack.of(values), weights, task),
        "geometric": lambda values: geometric(Stack.of(values), weights, task),
        "power": lambda values: power_mean(Stack.of(values), weights, 3.0, task),
        "square": lambda values: power_mean(Stack.of(values), weights, 2.0, task),
        "rank": lambda values: rank(Stack.of(values), ranks, task, weights),
    }


def test_pools_of_classes_against_scipy():
    """Check the arithmetic, geometric and power means of classes against numpy and scipy."""
    _, values = invented("multiclass")
    stack, exact = Stack.of(values), values.astype(np.float64)
    mean = np.tensordot(WEIGHTS, exact, 1)
    np.testing.assert_allclose(arithmetic(stack, WEIGHTS, "multiclass"), mean, atol=1e-6)
    expected = rowwise(gmean(exact, axis=0, weights=WEIGHTS[:, None, None]))
    np.testing.assert_allclose(geometric(stack, WEIGHTS, "multiclass"), expected, atol=1e-6)
    for power in (0.25, 0.5, 0.7, 2, 3.3, 8):
        expected = rowwise(pmean(exact, power, axis=0, weights=WEIGHTS[:, None, None]))
        got = power_mean(stack, WEIGHTS, power, "multiclass")
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_pools_of_labels():
    """Check that labels are pooled by their log-odds, and powers as two classes, yes and no."""
    _, values = invented("multilabel")
    stack, exact = Stack.of(values), values.astype(np.float64)
    expected = expit(np.tensordot(WEIGHTS, logit(exact), 1))
    np.testing.assert_allclose(geometric(stack, WEIGHTS, "multilabel"), expected, atol=1e-6)
    for power in (0.25, 3.3, 4):
        yes, no = (
            pmean(one, power, axis=0, weights=WEIGHTS[:, None, None]) for one in (exact, 1 - exact)
        )
        got = power_mean(stack, WEIGHTS, power, "multilabel")
        np.testing.assert_allclose(got, yes / (yes + no), atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_powers_join_the_geometric_and_the_arithmetic_mean(task):
    """Check power 1, the limit at 0, and that a power that is refused names itself."""
    stack = Stack.of(invented(task)[1])
    mean, middle = arithmetic(stack, WEIGHTS, task), geometric(stack, WEIGHTS, task)
    for near, expected in ((1.0, mean), (1 + 1e-9, mean), (0.0, middle), (1e-6, middle)):
        np.testing.assert_allclose(power_mean(stack, WEIGHTS, near, task), expected, atol=2e-6)
    assert np.abs(mean - middle).max() > 0.01
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(PodiumError, match=f"power .* got {bad}"):
            power_mean(stack, WEIGHTS, bad, task)


@pytest.mark.parametrize("task", TASKS)
def test_weights_per_class(task):
    """Check that each class is pooled by its own column of weights, before rows are normalised."""
    _, values = invented(task)
    weights = np.random.default_rng(1).dirichlet(np.ones(3), 4).T
    for name, pool in pools_of(task, weights, values).items():
        raw = np.empty(values.shape[1:])
        for column in range(4):
            one = pools_of("multilabel", weights[:, column], values[:, :, [column]])
            if task == "multilabel" or name in ("arithmetic", "rank"):
                raw[:, column] = one[name](values[:, :, [column]])[:, 0]
            elif name == "geometric":
                raw[:, column] = gmean(values[:, :, column], axis=0, weights=weights[:, [column]])
            else:
                power = 3.0 if name == "power" else 2.0
                scores = values[:, :, column].astype(np.float64)
                raw[:, column] = pmean(scores, power, axis=0, weights=weights[:, [column]])
        expected = rowwise(raw) if task == "multiclass" else raw
        np.testing.assert_allclose(pool(values), expected, atol=2e-6, err_msg=name)


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


def shares_below(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the interpolated share of `reference` (m, c) below each of `values` (n, c)."""
    found = np.empty(values.shape)
    for j, column in enumerate(reference.T):
        scores, counts = np.unique(column, return_counts=True)
        middles = (np.cumsum(counts) - counts / 2) / len(column)
        found[:, j] = np.interp(values[:, j], scores, middles)
    return found


VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), min_size=1, max_size=12)


@given(VALUES, st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_shares_below_against_brute_force(reference, values):
    """Check the interpolated share of lower scores, with ties and beyond the ends."""
    column, wanted = np.array(reference, np.float32), np.array(values, np.float32)
    ranks = fit_ranks(Stack.of([column[:, None]]))
    got = rank(Stack.of([wanted[:, None]]), ranks, "multilabel")[:, 0]
    np.testing.assert_allclose(got, [ranked(column, value) for value in wanted], atol=1e-6)
    assert (np.diff(got[np.argsort(wanted, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("task", TASKS)
def test_ranks_against_their_definition(task):
    """Check ranks of unseen rows against counting in the fitted rows, class by class."""
    _, fitted = invented(task, n=25)
    fitted = np.round(fitted, 1)  # ties
    _, unseen = invented(task, n=15, seed=1)
    got = rank(Stack.of(unseen), fit_ranks(Stack.of(fitted)), task, WEIGHTS)
    expected = np.empty((15, 4))
    for row, column in product(range(15), range(4)):
        each = [ranked(fitted[m, :, column], unseen[m, row, column]) for m in range(3)]
        expected[row, column] = WEIGHTS @ each
    expected = rowwise(expected) if task == "multiclass" else expected
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("shape", ["smooth", "steps", "mass"])
def test_thinned_ranks_stay_within_their_bound(shape):
    """Check at most 4,096 knots, and an error of at most 1/2047 between, at and beyond them."""
    rng = np.random.default_rng(0)
    scores = {
        "smooth": rng.beta(0.1, 0.3, 30_000),
        "steps": np.round(rng.random(60_000), 4),
        "mass": np.where(rng.random(30_000) < 0.4, 0.5, rng.random(30_000)),
    }[shape].astype(np.float32)[:, None]
    ranks = fit_ranks(Stack.of([scores]))
    assert len(np.unique(scores)) > pools.KNOTS >= len(ranks.scores[0][0])
    assert len(ranks.scores[0][0]) > pools.KNOTS // 4, "as exact as the room for knots allows"
    wanted = np.concatenate([scores, rng.random((5000, 1)), [[0.0], [0.5], [1.0]]])
    wanted = wanted.astype(np.float32)
    got = rank(Stack.of([wanted]), ranks, "multilabel")
    error = np.abs(got - shares_below(scores, wanted)).max()
    assert error <= 1 / 2047 + 1e-6
    np.testing.assert_allclose(rank(Stack.of([scores]), ranks, "multilabel").mean(), 0.5, atol=1e-4)


def test_few_scores_are_ranked_exactly():
    """Check that up to 4,096 different scores are all kept, whatever the rows."""
    rng = np.random.default_rng(0)
    scores = (rng.integers(0, 4096, (20_000, 2)) / 4096).astype(np.float32)
    wanted = rng.random((500, 2)).astype(np.float32)
    got = rank(Stack.of([wanted]), fit_ranks(Stack.of([scores])), "multilabel")
    np.testing.assert_allclose(got, shares_below(scores, wanted), atol=1e-6)
    with pytest.raises(ValueError, match="ranks of 1 members"):
        rank(Stack.of([wanted, wanted]), fit_ranks(Stack.of([scores])), "multilabel")


@pytest.mark.parametrize("task", TASKS)
def test_pools_are_probabilities_of_one_row_each(task, monkeypatch):
    """Check float32 in [0, 1], finite for members that say 0 and 1, rows of sum 1, a row blended
    alone as among others, and in blocks as at once."""
    _, values = invented(task)
    values[0, :5] = np.eye(4, dtype=np.float32)[[0, 1, 2, 0, 1]]
    values[1, :5] = np.eye(4, dtype=np.float32)[[1, 2, 0, 0, 1]]
    values[2, :5] = np.eye(4, dtype=np.float32)[[2, 2, 0, 0, 0]]
    for name, pool in pools_of(task, WEIGHTS, values).items():
        for rows in (values, np.zeros_like(values[:, :3])):
            pooled = pool(rows)
            assert pooled.dtype == np.float32 and np.isfinite(pooled).all(), name
            assert (pooled >= 0).all() and (pooled <= 1).all(), name
            if task == "multiclass":
                np.testing.assert_allclose(pooled.sum(axis=1), 1, atol=1e-6, err_msg=name)
        whole = pool(values)
        with monkeypatch.context() as small:
            small.setattr(stacks, "BLOCK", 40)
            np.testing.assert_array_equal(pool(values), whole, err_msg=name)
        alone = np.concatenate([pool(values[:, [row]]) for row in range(9)])
        np.testing.assert_array_equal(alone, whole[:9], err_msg=name)


@given(st.permutations(range(3)), st.permutations(range(12)), st.permutations(range(4)))
@settings(max_examples=15, deadline=None)
def test_orders_do_not_matter(members, rows, classes):
    """Check that permuted members pool the same, and permuted rows and classes come out so."""
    members, rows, classes = list(members), list(rows), list(classes)
    for task in TASKS:
        _, values = invented(task, n=12)
        turned = values[members][:, rows][:, :, classes]
        plain = pools_of(task, WEIGHTS, values)
        for name, pool in pools_of(task, WEIGHTS[members], turned).items():
            expected = plain[name](values)[rows][:, classes]
            np.testing.assert_allclose(pool(turned), expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("task", TASKS)
def test_copies_of_one_member_are_that_member(task):
    """Check that pooling a member with itself answers as it does, but for ranks, which differ."""
    _, values = invented(task, members=1)
    copies = np.repeat(values, 3, axis=0)
    for name, pool in pools_of(task, WEIGHTS, copies).items():
        expected = values[0]
        if name == "rank":
            expected = shares_below(values[0], values[0])
            expected = rowwise(expected) if task == "multiclass" else expected
        np.testing.assert_allclose(pool(copies), expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("name", "task"), [("accuracy", "multiclass"), ("log_loss", "multilabel")])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_power_is_the_best_of_all(name, task, seed):
    """Check the power against scoring every one of the grid."""
    metric = get_metric(name, task)
    y, values = invented(task, seed=seed, skill=2)
    stack, found = Stack.of(values), {}
    for power in (0, 0.25, 0.5, 1, 2, 4, 8):
        probs = power_mean(stack, EQUAL, power, task)
        loss = log_loss_of(task, y, probs)
        found[power] = round(quick_score(metric, y, probs), 7), -loss
    assert found[best_power(metric, y, stack)] == pytest.approx(max(found.values()), abs=1e-6)


def test_powers_that_score_the_same():
    """Check that ties go to the power closest to 1, and that an undefined metric is one."""
    y, values = invented("multiclass", members=1)
    assert best_power(get_metric("accuracy", "multiclass"), y, Stack.of(values)) == 1
    flat = np.full((2, 9, 2), 0.5, np.float32)
    auc = get_metric("auc_macro", "multilabel")
    assert best_power(auc, np.zeros((9, 2), np.int8), Stack.of(flat)) == 1


NAMES = [
    *((name, "multiclass") for name in ("accuracy", "balanced_accuracy", "f1_macro", "qwk", "mcc")),
    *((name, "multiclass") for name in ("f2_weighted", "log_loss", "auc_macro")),
    *((name, "multilabel") for name in ("f1_macro", "f2_micro", "f1_samples", "f1_weighted")),
    *((name, "multilabel") for name in ("subset_accuracy", "log_loss", "ap_macro")),
]


@pytest.mark.parametrize(("name", "task"), NAMES)
def test_the_quick_score_is_the_metric(name, task):
    """Check the score of a search against the metric itself: of rows, and of rows repeated."""
    metric = get_metric(name, task)
    y, values = invented(task)
    times = np.random.default_rng(2).integers(0, 3, len(y))
    again = np.repeat(np.arange(len(y)), times)
    for rows, weights in ((np.arange(len(y)), None), (again, times.astype(float))):
        answer = default_rule(metric).apply(values[0][rows])
        expected = metric.sign * metric.score(y[rows], answer)
        assert quick_score(metric, y, values[0], weights) == pytest.approx(expected, abs=1e-12)


def test_the_quick_score_of_a_metric_of_the_hosts_own(tmp_path):
    """Check a file's metric, which repeats rows, and -inf where a metric is undefined."""
    path = tmp_path / "cost.py"
    text = (
        "greater_is_better = False\ndef score(y, answer):\n    return float((y != answer).mean())"
    )
    path.write_text(text)
    metric = custom_metric(path, "multiclass")
    y, values = invented("multiclass")
    twice = np.arange(len(y)) % 3
    answer = values[0].argmax(1)
    assert quick_score(metric, y, values[0]) == pytest.approx(-(y != answer).mean())
    expected = -np.average(y != answer, weights=twice)
    assert quick_score(metric, y, values[0], twice) == pytest.approx(expected)
    auc = get_metric("auc_macro", "multilabel")
    assert quick_score(auc, np.zeros((5, 2), np.int8), np.full((5, 2), 0.5)) == -np.inf


@pytest.mark.parametrize("task", TASKS)
def test_the_log_loss_is_the_metric(task, monkeypatch):
    """Check the log loss by blocks, with certain mistakes and rows that do not sum to 1."""
    y, values = invented(task)
    values[0, :4], values[0, 4] = np.eye(4)[[0, 1, 2, 3]], 0.7
    expected = get_metric("log_loss", task).score(y, values[0])
    monkeypatch.setattr("pipeline.metrics.rows.BLOCK", 40)
    assert log_loss_of(task, y, values[0]) == pytest.approx(expected, rel=1e-9)
    once = np.arange(len(y)) < 7
    expected = get_metric("log_loss", task).score(y[:7], values[0, :7])
    assert log_loss_of(task, y, values[0], once.astype(float)) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(log_loss_of(task, y, values[0], np.zeros(len(y))))


def test_keys_decide_what_is_drawn():
    """Check that rows are drawn and dealt by key: whatever their order, groups together, parts of
    equal size, and other rows for another seed."""
    rng = np.random.default_rng(0)
    keys = np.repeat(rng.integers(0, 2**63, 40).astype(np.uint64), 5)
    order = rng.permutation(len(keys))
    drawn, turned = draw_rows(keys, 52), draw_rows(keys[order], 52)
    assert 45 <= len(drawn) <= 52 and set(keys[drawn]) == set(keys[order][turned])
    assert np.unique(keys[drawn], return_counts=True)[1].tolist() == [5] * (len(drawn) // 5)
    assert (np.diff(drawn) > 0).all() and set(keys[draw_rows(keys, 52, 1)]) != set(keys[drawn])
    assert len(draw_rows(keys[:5], 3)) == 3 and len(draw_rows(keys, 200)) == 200
    part = deal_parts(keys, 3)
    np.testing.assert_array_equal(deal_parts(keys[order], 3), part[order])
    assert all(len(set(part[keys == key])) == 1 for key in keys)
    assert sorted(np.bincount(part)) == [65, 65, 70]
    assert (deal_parts(keys, 3, 1) != part).any()


def test_copies_are_found_wherever_they_differ(monkeypatch):
    """Check that members are copies only if all of their rows are, and in which order."""
    monkeypatch.setattr("pipeline.ensemble.blending.keyed.LOOK", 10)
    _, values = invented("multiclass", members=2)
    late = values[0].copy()
    late[50, 0] += 1e-3
    stack = Stack.of([values[0], values[1], late, values[1].copy(), late.copy(), values[0]])
    assert first_copies(stack).tolist() == [0, 1, 2, 1, 2, 0]
