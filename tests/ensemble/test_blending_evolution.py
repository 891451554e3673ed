"""The evolution strategy against grids of weights, and its indifference to order."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.predictions import probabilities
from pipeline.ensemble.blending import evolution, keyed
from pipeline.ensemble.blending.evolution import evolved_weights, normalised
from pipeline.ensemble.blending.scoring import log_loss_of, quick_score
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

ACCURACY = get_metric("accuracy", "multiclass")
AUC = get_metric("auc_macro", "multiclass")
F1 = get_metric("f1_macro", "multilabel")
METRICS = [
    ACCURACY,
    get_metric("f1_macro", "multiclass"),
    get_metric("log_loss", "multiclass"),
    F1,
    get_metric("auc_macro", "multilabel"),
]


def invented(
    task: str, n: int = 80, members: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, probabilities (members, n, 3) of members that know them more or less, keys."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n) if task == "multiclass" else rng.integers(0, 2, (n, 3))
    signal = np.eye(3)[y] if task == "multiclass" else 0.5 * (2 * y - 1)
    skills, noise = rng.uniform(0.3, 2, members), rng.normal(size=(members, n, 3))
    pairs = zip(skills, noise, strict=True)
    stack = np.stack([probabilities(skill * signal + one, task) for skill, one in pairs])
    y = y.astype(np.int64 if task == "multiclass" else np.int8)
    return y, stack, rng.integers(0, 2**63, n).astype(np.uint64)


def score_of(metric, y: np.ndarray, stack: np.ndarray, weights: np.ndarray) -> float:
    return quick_score(metric, y, np.tensordot(weights, stack.astype(np.float64), 1))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.task}")
@pytest.mark.parametrize("seed", range(3))
def test_the_search_comes_near_the_best_of_a_grid(metric, seed):
    """Check the weights against all those in steps of a twentieth: within a row or two of the
    best; never below equal weights or any start."""
    y, stack, keys = invented(metric.task, seed=seed)
    grid = [np.array(w) / 20 for w in product(range(21), repeat=3) if sum(w) == 20]
    scores = np.array([score_of(metric, y, stack, weights) for weights in grid])
    weights = evolved_weights(metric, y, Stack.of(stack), keys=keys)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    found = score_of(metric, y, stack, weights)
    assert found >= scores.max() - 0.013 and found > np.quantile(scores, 0.8)
    assert found >= score_of(metric, y, stack, np.full(3, 1 / 3)) - 1e-6
    best = grid[int(scores.argmax())]
    again = evolved_weights(metric, y, Stack.of(stack), keys=keys, start=best)
    assert score_of(metric, y, stack, again) >= scores.max() - 1e-6


def test_nothing_tried_is_the_better_of_start_and_equal_weights():
    """Check what is returned where the search may not search."""
    y, stack, _ = invented("multiclass")
    grid = [np.array(w) / 20 for w in product(range(21), repeat=3) if sum(w) == 20]
    scores = [score_of(ACCURACY, y, stack, weights) for weights in grid]
    good, bad = grid[int(np.argmax(scores))], grid[int(np.argmin(scores))]
    equal = np.full(3, 1 / 3)
    assert min(scores) < score_of(ACCURACY, y, stack, equal) < max(scores)
    for start, expected in ((good, good), (bad, equal)):
        got = evolved_weights(ACCURACY, y, Stack.of(stack), start=start, evaluations=0)
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_equal_scores_are_decided_by_log_loss():
    """Check that where every weight scores the same the log loss falls."""
    y, stack, keys = invented("multiclass", members=2)
    stack[:, :, :] = stack[:, :1].mean()
    stack[0, np.arange(len(y)), y], stack[1, np.arange(len(y)), y] = 0.9, 0.5
    weights = evolved_weights(ACCURACY, y, Stack.of(stack), keys=keys)
    assert weights[0] > 0.95
    pooled = np.tensordot(weights, stack, 1)
    assert log_loss_of("multiclass", y, pooled) < log_loss_of("multiclass", y, stack.mean(0))


ORDERS = st.permutations(range(4)), st.permutations(range(80)), st.permutations(range(3))


@given(*ORDERS, st.sampled_from(METRICS))
@settings(max_examples=15, deadline=None)
def test_orders_do_not_matter(members, rows, classes, metric):
    """Check that permuted members get the same weights, and rows and classes change nothing."""
    members, rows, classes = list(members), list(rows), list(classes)
    y, stack, keys = invented(metric.task, members=4)
    plain = evolved_weights(metric, y, Stack.of(stack), keys=keys, evaluations=100)
    turned = stack[members][:, rows][:, :, classes]
    labels = np.argsort(classes)[y[rows]] if y.ndim == 1 else y[rows][:, classes]
    again = evolved_weights(metric, labels, Stack.of(turned), keys=keys[rows], evaluations=100)
    np.testing.assert_allclose(again, plain[members], atol=1e-9)


@pytest.mark.parametrize("metric", [ACCURACY, F1], ids=["classes", "labels"])
def test_copies_share_what_one_member_gets(metric):
    """Check that copies change neither the blend nor, so, its score."""
    y, stack, keys = invented(metric.task)
    plain = evolved_weights(metric, y, Stack.of(stack), keys=keys)
    copied = Stack.of(stack[[0, 1, 2, 1, 1]])
    start = np.array([1 / 3, 1 / 9, 1 / 3, 1 / 9, 1 / 9])
    got = evolved_weights(metric, y, copied, keys=keys, start=start)
    np.testing.assert_allclose(got, [*(plain / [1, 3, 1]), plain[1] / 3, plain[1] / 3], atol=1e-9)
    one = evolved_weights(metric, y, Stack.of(stack[[0, 0]]), keys=keys)
    np.testing.assert_array_equal(one, [0.5, 0.5])


def test_seeds_and_the_global_generator(tmp_path, monkeypatch, capfd):
    """Check that a seed decides all, that numpy's own generator stays, and that nothing is printed
    or written."""
    monkeypatch.chdir(tmp_path)
    y, stack, keys = invented("multiclass", members=4)
    search = {"keys": keys, "evaluations": 60}
    np.random.seed(7)  # noqa: NPY002 - the generator that must not be touched
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second, other = (
        evolved_weights(get_metric("log_loss", "multiclass"), y, Stack.of(stack), seed=s, **search)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_many_rows_are_searched_on_a_part_of_them(monkeypatch):
    """Check that beyond the room for values rows are drawn by key, and the weights still fit."""
    y, stack, keys = invented("multiclass", n=2000)
    whole = evolved_weights(ACCURACY, y, Stack.of(stack), keys=keys)
    monkeypatch.setattr(evolution, "VALUES", 9 * 500)
    monkeypatch.setattr(evolution, "ROWS", 400)
    seen = []
    value = evolution._Problem.value
    monkeypatch.setattr(
        evolution._Problem, "value", lambda self, w: seen.append(len(self.y)) or value(self, w)
    )
    part = evolved_weights(ACCURACY, y, Stack.of(stack), keys=keys)
    assert set(seen) == {400}
    monkeypatch.setattr(keyed, "SORTED", 3 * 300)
    evolved_weights(AUC, y, Stack.of(stack), keys=keys, evaluations=20)
    assert seen[-1] == 300, "ranking metrics sort all rows at every step"
    lost = score_of(ACCURACY, y, stack, whole) - score_of(ACCURACY, y, stack, part)
    assert 0 <= lost + 0.005 < 0.02


def test_points_become_weights():
    """Check that negative numbers leave members out, and that nothing positive is equal weights."""
    np.testing.assert_allclose(normalised(np.array([2.0, -1, 1, 1])), [0.5, 0, 0.25, 0.25])
    np.testing.assert_allclose(normalised(np.array([-1.0, 0])), [0.5, 0.5])


def test_labels_that_do_not_fit_are_refused():
    """Check labels of another length and beyond the classes, and an undefined metric."""
    y, stack, _ = invented("multiclass")
    for labels in (y[:-1], y + 1):
        with pytest.raises(PodiumError, match="got"):
            evolved_weights(ACCURACY, labels, Stack.of(stack))
    nothing = np.zeros((80, 3), np.int8)
    weights = evolved_weights(
        get_metric("auc_macro", "multilabel"), nothing, Stack.of(stack), evaluations=30
    )
    assert weights.sum() == pytest.approx(1) and np.isfinite(weights).all()
