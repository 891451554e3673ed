"""What holds for every blend: probabilities, whatever the order, and no worse for a copy."""

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.predictions import probabilities
from pipeline.ensemble.blending.blend import LEVELS, Blend, fit_blend, methods
from pipeline.ensemble.blending.scoring import quick_score
from pipeline.ensemble.rows import Rows, row_keys
from pipeline.ensemble.stack import Stack
from pipeline.metrics import get_metric

METHODS = tuple(LEVELS)
FITTED = ("hill-climbing", "log-loss", "cma-es")  # a mean counts a copy twice
METRICS = {
    "multiclass": get_metric("accuracy", "multiclass"),
    "multilabel": get_metric("f1_macro", "multilabel"),
}
LOSSES = {task: get_metric("log_loss", task) for task in METRICS}


@cache
def members(task: str, n: int = 60, count: int = 3, seed: int = 0) -> Rows:
    """Return rows with members (count, n, 3) that know their labels, the first the best."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n) if task == "multiclass" else rng.integers(0, 2, (n, 3))
    signal = np.eye(3)[y] if task == "multiclass" else 2 * y - 1
    skills = np.linspace(1.5, 0.5, count)
    noise = rng.normal(size=(count, n, 3))
    stack = np.stack(
        [probabilities(s * signal + one, task) for s, one in zip(skills, noise, strict=True)]
    )
    labels = y.astype(np.int64 if task == "multiclass" else np.int8)
    keys = row_keys(np.arange(n).astype(str))
    return Rows(labels, Stack.of(stack), np.arange(n) % 3, keys)


def with_stack(rows: Rows, values: np.ndarray) -> Rows:
    return Rows(rows.labels, Stack.of(values), rows.part, rows.keys)


EACH = [pytest.param(m, t, id=f"{m}-{t}") for t in METRICS for m in METHODS]


@pytest.mark.parametrize(("method", "task"), EACH)
def test_a_row_does_not_depend_on_the_rows_beside_it(method, task):
    """Check that a test row is blended alone as it is among the others."""
    fitted = fit_blend(method, METRICS[task], members(task))
    unseen = members(task, n=9, seed=1).stack
    alone = np.concatenate([fitted.apply(unseen.take(np.array([i]))) for i in range(9)])
    np.testing.assert_allclose(fitted.apply(unseen), alone, atol=1e-7)


@pytest.mark.parametrize(("method", "task"), EACH)
def test_blends_are_probabilities(method, task):
    """Check values in [0, 1], float32, finite for members that say 0 and 1, rows of sum 1."""
    stack = members(task).stack.dense()
    stack[0, :5] = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    stack[1, :5] = np.eye(3, dtype=np.float32)[[1, 2, 0, 0, 1]]
    rows = with_stack(members(task), stack)
    fitted = fit_blend(method, METRICS[task], rows)
    unseen = members(task, n=9, seed=1).stack
    for one in (rows.stack, unseen, Stack.of(np.zeros(unseen.shape, np.float32))):
        blended = fitted.apply(one)
        assert blended.dtype == np.float32 and np.isfinite(blended).all()
        assert (blended >= 0).all() and (blended <= 1).all()
        if task == "multiclass":
            np.testing.assert_allclose(blended.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("method", "task"), EACH)
def test_weights_are_shares(method, task):
    """Check that weights are not negative and sum to 1, over the members of every class."""
    fitted = fit_blend(method, METRICS[task], members(task, count=4))
    assert (fitted.weights >= 0).all()
    np.testing.assert_allclose(fitted.weights.sum(axis=0), 1)
    if method == "stacking":
        assert fitted.shares is None, "its coefficients are no shares"
    else:
        assert fitted.shares.shape == (4,) and fitted.shares.sum() == pytest.approx(1)


@given(
    st.sampled_from(EACH).map(lambda param: param.values),
    st.permutations(range(4)),
    st.permutations(range(40)),
    st.permutations(range(3)),
)
@settings(max_examples=60)
def test_order_does_not_matter(which, order, at, columns):
    """Check that permuted members, rows and classes change nothing but the order of the blend."""
    (method, task), order, at, columns = which, list(order), list(at), list(columns)
    rows = members(task, n=40, count=4)
    plain = fit_blend(method, LOSSES[task], rows).apply(rows.stack)
    turned = rows.stack.dense()[order][:, at][:, :, columns]
    labels = rows.labels[at]
    # Class k stands in the column that holds it now.
    labels = np.argsort(columns)[labels] if labels.ndim == 1 else labels[:, columns]
    again = Rows(labels, Stack.of(turned), rows.part[at], rows.keys[at])
    blended = fit_blend(method, LOSSES[task], again).apply(again.stack)
    np.testing.assert_allclose(blended, plain[at][:, columns], atol=2e-5)


@given(
    st.sampled_from(FITTED), st.sampled_from(list(METRICS)), st.integers(0, 50), st.integers(0, 2)
)
@settings(max_examples=40)
def test_a_copy_never_lowers_the_score(method, task, seed, which):
    """Check that a member that is there twice leaves the in-sample score what it was."""
    rows = members(task, n=40, seed=seed)
    metric = (LOSSES if method == "log-loss" else METRICS)[task]
    stack = rows.stack.dense()
    twice = with_stack(rows, np.concatenate([stack, stack[which : which + 1]]))
    once, again = (
        quick_score(metric, r.labels, fit_blend(method, metric, r).apply(r.stack))
        for r in (rows, twice)
    )
    assert again >= once - 1e-7  # where weights are searched for, the solver stops short of that


@pytest.mark.parametrize(("method", "task"), EACH)
def test_copies_of_one_member_are_that_member(method, task):
    """Check that blending a member with itself blends as the member alone does."""
    rows = members(task, count=1)
    both = with_stack(rows, np.repeat(rows.stack.dense(), 3, axis=0))
    alone = fit_blend(method, METRICS[task], rows).apply(rows.stack)
    got = fit_blend(method, METRICS[task], both).apply(both.stack)
    np.testing.assert_allclose(got, alone, atol=2e-3 if method == "stacking" else 1e-5)


@pytest.mark.parametrize(("method", "task"), EACH)
def test_json_brings_a_blend_back(method, task):
    """Check that a blend written as JSON, its ranks fitted again, blends the same."""
    rows = members(task)
    fitted = fit_blend(method, METRICS[task], rows)
    content = json.loads(json.dumps(fitted.to_json()))
    back = Blend.from_json(method, task, content, fitted.ranks)
    unseen = members(task, n=9, seed=1).stack
    np.testing.assert_array_equal(back.apply(unseen), fitted.apply(unseen))


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_members_may_lie_on_disk(kind, tmp_path):
    """Check that memory-mapped float16 and float32 members blend as arrays in memory do."""
    rows = members("multiclass")
    stored = []
    for at in range(3):
        path = tmp_path / f"{at}.npy"
        np.save(path, rows.stack.member(at).astype(kind))
        stored.append(np.load(path, mmap_mode="r"))
    mapped, held = Stack.of(stored), Stack.of([np.array(one, np.float32) for one in stored])
    for method in methods(METRICS["multiclass"], 3):
        blends = [
            fit_blend(method, METRICS["multiclass"], Rows(rows.labels, s, rows.part, rows.keys))
            for s in (mapped, held)
        ]
        got, expected = (blend.apply(s) for blend, s in zip(blends, (mapped, held), strict=True))
        np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=method)
