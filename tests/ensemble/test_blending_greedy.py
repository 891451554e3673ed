"""Greedy selection against scoring every candidate of every round with `Metric.score`."""

import numpy as np
import pytest
from scipy.stats import chisquare, poisson

from pipeline.artifacts.predictions import probabilities
from pipeline.decisions.rules import default_rule
from pipeline.ensemble.blending import greedy, keyed, rivals
from pipeline.ensemble.blending.gains import strongest
from pipeline.ensemble.blending.greedy import bag_weights, greedy_weights
from pipeline.ensemble.blending.keyed import draw_rows, first_copies
from pipeline.ensemble.stack import Stack
from pipeline.metrics import Metric, Undefined, get_metric

ONE_CLASS = ("accuracy", "balanced_accuracy", "log_loss", "auc_macro", "ap_macro", "qwk", "mcc")
ONE_CLASS += ("f1_macro", "f1_micro", "f2_weighted")
LABELS = ("subset_accuracy", "log_loss", "auc_macro", "ap_macro")
LABELS += ("f1_macro", "f2_micro", "f0.5_weighted", "f1_samples")
CASES = [*(("multiclass", name) for name in ONE_CLASS), *(("multilabel", n) for n in LABELS)]
SUMMED = [case for case in CASES if case[1] not in ("log_loss", "auc_macro", "ap_macro")]
KINDS = ("plain", "coarse", "votes")


def members(
    task: str, n: int = 60, count: int = 4, classes: int = 3, seed: int = 0, kind: str = "plain"
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and members (count, n, classes) of different skill.

    `coarse` ones are multiples of 1/32, so that sums tie; `votes` are 0 or 1.
    """
    rng = np.random.default_rng(seed)
    shape = (n,) if task == "multiclass" else (n, classes)
    y = rng.integers(0, classes if task == "multiclass" else 2, shape)
    signal = np.eye(classes)[y] if task == "multiclass" else 2 * y - 1
    skill = rng.uniform(0.3, 1.5, (count, 1, 1))
    logits = skill * signal + rng.normal(size=(count, n, classes))
    stack = np.stack([probabilities(one, task) for one in logits])
    if kind != "plain":
        levels = 32 if kind == "coarse" else 1
        stack = np.round(stack * levels) / levels
        if task == "multiclass":
            top = stack.argmax(axis=2)[..., None]
            rest = 1 - stack.sum(axis=2, keepdims=True)
            np.put_along_axis(stack, top, np.take_along_axis(stack, top, 2) + rest, 2)
    return y.astype(np.int64 if task == "multiclass" else np.int8), stack.astype(np.float32)


def scored(metric: Metric, y: np.ndarray, mix: np.ndarray) -> float:
    """Return the score, higher is better, under the rule that needs no fitting."""
    try:
        return metric.sign * metric.score(y, default_rule(metric).apply(np.clip(mix, 0, 1)))
    except Undefined:
        return -np.inf


def climbed(
    metric: Metric, y: np.ndarray, stack: np.ndarray, times: np.ndarray, rounds: int
) -> np.ndarray:
    """Return the shares of one climb on rows repeated `times` (n,), by brute force."""
    log_loss, stack = get_metric("log_loss", metric.task), stack.astype(np.float64)
    own = [scored(log_loss, y, member) for member in stack]
    rows = np.repeat(np.arange(len(y)), times)
    y, stack = y[rows], stack[:, rows]
    total, counts = np.zeros(stack.shape[1:]), np.zeros(len(stack))
    best, best_loss, best_counts = -np.inf, -np.inf, counts.copy()
    for size in range(1, rounds + 1):
        scores = np.array([scored(metric, y, (total + member) / size) for member in stack])
        if scores.max() == -np.inf:
            break
        tied = np.flatnonzero(scores >= scores.max() - 1e-12)
        losses = np.array([scored(log_loss, y, (total + stack[i]) / size) for i in tied])
        tied = tied[losses >= losses.max() - 1e-12]
        chosen = max(tied, key=lambda i: own[i])
        total, loss = total + stack[chosen], losses.max()
        counts[chosen] += 1
        better = scores[chosen] > best + 1e-12
        if better or (scores[chosen] >= best - 1e-12 and loss > best_loss + 1e-12):
            best, best_loss, best_counts = max(best, scores[chosen]), loss, counts.copy()
    return best_counts / max(1, best_counts.sum())


def expected(
    metric: Metric, y: np.ndarray, stack: np.ndarray, bags: int, rounds: int
) -> np.ndarray:
    total = np.zeros(len(stack))
    for bag in range(max(1, bags)):
        times = np.ones(len(y), int) if bags < 2 else bag_weights(np.arange(len(y)), bag, 0)
        total += climbed(metric, y, stack, times, rounds)
    return total / total.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("task", "name"), CASES)
def test_every_candidate_is_scored_exactly(task, name, kind):
    """Check weights, with and without bags, against scikit-learn's score of every candidate."""
    metric = get_metric(name, task)
    for seed, (n, bags) in enumerate([(40, 0), (12, 2)]):
        y, stack = members(task, n, seed=seed, kind=kind)
        found = greedy_weights(metric, y, Stack.of(stack), bags=bags, rounds=6)
        np.testing.assert_allclose(found, expected(metric, y, stack, bags, 6), atol=1e-12)


@pytest.mark.parametrize(("task", "name"), [("multiclass", "accuracy"), ("multilabel", "f1_macro")])
def test_late_rounds_are_scored_exactly(task, name):
    """Check forty rounds, in which answers are settled for up to thirteen rounds at a time."""
    metric = get_metric(name, task)
    y, stack = members(task, 80, count=3, classes=4, kind="coarse")
    found = greedy_weights(metric, y, Stack.of(stack), bags=0, rounds=40)
    np.testing.assert_allclose(found, expected(metric, y, stack, 0, 40), atol=1e-12)


@pytest.mark.parametrize(("task", "name"), SUMMED)
def test_what_does_not_fit_into_memory_is_read_again(task, name, monkeypatch):
    """Check that keeping no values, float16 and chosen rows change nothing."""
    metric = get_metric(name, task)
    y, stack = members(task, 90, count=6, seed=5)
    stack = stack.astype(np.float16)
    rows = np.arange(1, 90, 2)
    whole = greedy_weights(metric, y[rows], Stack.of(stack[:, rows].astype(np.float32)), bags=3)
    monkeypatch.setattr(rivals, "KEPT", 0)
    found = greedy_weights(metric, y[rows], Stack.of(stack).take(rows), bags=3)
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("gap", [1.5, 1.0001])
def test_rows_that_do_not_sum_to_1(gap):
    """Check that log loss divides a mix by its row sums, as the metric does."""
    metric = get_metric("log_loss", "multiclass")
    y, stack = members("multiclass", 50)
    scale = np.random.default_rng(1).uniform(1 / gap, 1, (4, 50, 1)).astype(np.float32)
    scale[0] /= gap
    found = greedy_weights(metric, y, Stack.of(stack * scale), bags=0, rounds=10)
    np.testing.assert_allclose(found, expected(metric, y, stack * scale, 0, 10), atol=1e-12)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_order_does_not_matter(task, name):
    """Check that members, rows with their keys, and classes may be permuted."""
    metric, rng = get_metric(name, task), np.random.default_rng(3)
    y, stack = members(task, 70, count=5, classes=4, seed=2)
    keys = rng.integers(0, 2**63, 70).astype(np.uint64)
    options = {"bags": 3, "rounds": 8, "seed": 4}
    found = greedy_weights(metric, y, Stack.of(stack), keys=keys, **options)
    order = rng.permutation(5)
    mixed = greedy_weights(metric, y, Stack.of(stack[order]), keys=keys, **options)
    np.testing.assert_allclose(mixed, found[order], atol=1e-12)
    order = rng.permutation(70)
    rows = y[order], Stack.of(stack[:, order])
    mixed = greedy_weights(metric, *rows, keys=keys[order], **options)
    np.testing.assert_allclose(mixed, found, atol=1e-12)
    if name != "qwk":  # its classes have an order
        order = rng.permutation(4)
        renamed = np.argsort(order)[y] if task == "multiclass" else y[:, order]
        mixed = greedy_weights(metric, renamed, Stack.of(stack[:, :, order]), keys=keys, **options)
        np.testing.assert_allclose(mixed, found, atol=1e-12)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_copy_changes_nothing(task, name):
    """Check that copies of a member share its weight, so that the mix stays what it was."""
    metric = get_metric(name, task)
    y, stack = members(task, 40, seed=6)
    alone = greedy_weights(metric, y, Stack.of(stack), bags=3, rounds=8)
    copied = greedy_weights(metric, y, Stack.of(stack[[2, 0, 1, 2, 3, 2]]), bags=3, rounds=8)
    np.testing.assert_allclose(copied[[0, 3, 5]], alone[2] / 3, atol=1e-15)
    np.testing.assert_allclose(copied[[1, 2, 4]], alone[[0, 1, 3]], atol=1e-15)


def test_copies_are_told_by_every_row():
    """Check that members that differ in the last cell alone are not copies, and -0 is 0."""
    _, stack = members("multilabel", 500, count=3)
    stack[1] = stack[2] = stack[0]
    stack[1, -1, -1] += 0.01
    np.testing.assert_array_equal(first_copies(Stack.of(stack)), [0, 1, 0])


@pytest.mark.parametrize(("task", "name"), CASES)
def test_never_worse_than_the_best_member(task, name):
    """Check that one climb scores at least as high as any member, on the rows it saw."""
    metric = get_metric(name, task)
    for seed in range(3):
        y, stack = members(task, 50, seed=seed)
        weights = greedy_weights(metric, y, Stack.of(stack), bags=1, rounds=10)
        mixed = np.tensordot(weights, stack.astype(np.float64), axes=1)
        best = max(scored(metric, y, member.astype(np.float64)) for member in stack)
        assert scored(metric, y, mixed) >= best - 1e-9
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)


def test_ties_go_to_the_lower_log_loss():
    """Check that of two members that are always right, the surer one is taken, and stays alone."""
    y = np.array([0, 1, 0, 1])
    unsure, sure = (np.where(np.eye(2)[y] == 1, p, 1 - p) for p in (0.6, 0.9))
    stack = Stack.of(np.stack([unsure, sure]).astype(np.float32))
    found = greedy_weights(get_metric("accuracy", "multiclass"), y, stack)
    np.testing.assert_array_equal(found, [0, 1])


@pytest.mark.parametrize(("task", "name"), CASES)
def test_little_to_choose_from(task, name):
    """Check one member, copies alone, and a single row."""
    metric = get_metric(name, task)
    y, stack = members(task, 30)
    np.testing.assert_array_equal(greedy_weights(metric, y, Stack.of(stack[:1])), [1])
    same = greedy_weights(metric, y, Stack.of(stack[[0, 0, 0, 0]]))
    np.testing.assert_allclose(same, 0.25)
    single = greedy_weights(metric, y[:1], Stack.of(stack[:, :1]))
    assert single.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["auc_macro", "ap_macro"])
def test_without_a_score_all_weigh_the_same(name):
    """Check equal weights where no row has a label, and so no bag a score."""
    _, stack = members("multilabel", 20)
    y = np.zeros((20, 3), np.int8)
    found = greedy_weights(get_metric(name, "multilabel"), y, Stack.of(stack), rounds=2)
    np.testing.assert_array_equal(found, np.full(4, 0.25))


def test_bags_are_poisson_draws_by_key():
    """Check the distribution of draws, and that key, bag and seed alone decide on them."""
    keys = np.arange(100_000, dtype=np.uint64)
    times = bag_weights(keys, 0, 0)
    counts = np.bincount(np.minimum(times, 6), minlength=7)
    shares = np.append(poisson.pmf(np.arange(6), 1), poisson.sf(5, 1))
    assert chisquare(counts, shares * len(keys)).pvalue > 1e-3
    for bag, seed in ((1, 0), (0, 1)):
        other = bag_weights(keys, bag, seed)
        assert abs(np.corrcoef(times, other)[0, 1]) < 0.02
    np.testing.assert_array_equal(bag_weights(keys[::-7], 0, 0), times[::-7])
    assert len(set(bag_weights(np.full(9, 5, np.uint64), 3, 2))) == 1


def test_bags_of_many_rows_are_smaller():
    """Check the distribution of draws of a mean below 1."""
    times = bag_weights(np.arange(100_000, dtype=np.uint64), 2, 0, 0.25)
    counts = np.bincount(np.minimum(times, 3), minlength=4)
    shares = np.append(poisson.pmf(np.arange(3), 0.25), poisson.sf(2, 0.25))
    assert chisquare(counts, shares * len(times)).pvalue > 1e-3


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("name", ["auc_macro", "ap_macro"])
def test_a_ranking_is_climbed_on_some_rows(task, name, monkeypatch):
    """Check that many rows give the weights of those drawn, each bag of them smaller still."""
    metric = get_metric(name, task)
    y, stack = members(task, 90, seed=8)
    keys = np.random.default_rng(1).integers(0, 2**63, 90).astype(np.uint64)
    monkeypatch.setattr(keyed, "SORTED", 60 * 3)
    monkeypatch.setattr(greedy, "SORTED", 30 * 3)
    found = greedy_weights(metric, y, Stack.of(stack), keys=keys, bags=3, rounds=5)
    used = draw_rows(keys, 60)
    assert len(used) == 60
    total = np.zeros(4)
    for bag in range(3):
        times = bag_weights(keys[used], bag, 0, 0.5)
        assert times.sum() < 45
        total += climbed(metric, y[used], stack[:, used], times, 5)
    np.testing.assert_allclose(found, total / total.sum(), atol=1e-12)
    monkeypatch.undo()
    whole = greedy_weights(metric, y, Stack.of(stack), keys=keys, bags=3, rounds=5)
    assert np.abs(whole - found).max() > 1e-3


def test_the_strongest_rival_of_a_row():
    """Check runs of one member and row against a plain loop."""
    rng = np.random.default_rng(0)
    found = np.unique(rng.integers(0, 3 * 10 * 4, 60))  # member, row, class
    lead = rng.integers(0, 3, len(found)).astype(float)
    best: dict[int, int] = {}
    for at, run in enumerate(found // 4):
        if run not in best or lead[at] > lead[best[run]]:
            best[run] = at
    members_, rows = np.divmod(found // 4, 10)
    np.testing.assert_array_equal(strongest(members_, rows, lead), sorted(best.values()))
