"""Weights per class against one fit a class, and temperatures per member against a grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax

from pipeline.ensemble.blending import per_class, tempering
from pipeline.ensemble.blending.per_class import per_class_weights
from pipeline.ensemble.blending.simplex import simplex_weights
from pipeline.ensemble.blending.tempering import member_temperatures, tempered
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

CHECKED = settings(max_examples=40, deadline=None, derandomize=True, database=None)
TASKS = ("multiclass", "multilabel")


def specialists(task, seed, members=3, n=400, c=5, spread=1.0):
    """Return labels and calibrated members (members, n, c), each good at other classes."""
    rng = np.random.default_rng(seed)
    skill = np.maximum(1.5 + spread * rng.normal(size=(members, 1, c)), 0.1)
    if task == "multiclass":
        y = rng.integers(0, c, n)
        hot = np.eye(c)[y]
    else:
        y = hot = (rng.random((n, c)) < 0.2).astype(np.int8)
    signs = skill * hot + rng.normal(size=(members, n, c))
    odds = skill * signs - skill**2 / 2 + (0 if task == "multiclass" else np.log(0.25))
    return y, (softmax(odds, axis=2) if task == "multiclass" else expit(odds)).astype(np.float32)


def truth_of(task, y, c):
    return (y[:, None] == np.arange(c)).astype(np.int8) if task == "multiclass" else y


@pytest.mark.parametrize("task", TASKS)
def test_a_class_is_a_simplex_fit_of_its_own(task):
    """Check that without shrinkage each column is the multi-label fit of that column alone."""
    y, probs = specialists(task, 0)
    found = per_class_weights(y, Stack.of(probs), task, prior=0)
    truth = truth_of(task, y, 5)
    for j in range(5):
        column = Stack.of(probs[:, :, [j]])
        assert found[:, j] == pytest.approx(
            simplex_weights(truth[:, [j]], column, "multilabel"), abs=1e-5
        )


@pytest.mark.parametrize("task", TASKS)
def test_shrinkage_is_by_the_rarer_label(task):
    """Check the exact mixture of own and shared weights, and shared ones without both labels."""
    y, probs = specialists(task, 1)
    if task == "multiclass":
        y[y == 4] = 0
    else:
        y[:, 4], y[:, 3] = 0, 1
    stack = Stack.of(probs)
    shared, own = simplex_weights(y, stack, task), per_class_weights(y, stack, task, prior=0)
    positives = truth_of(task, y, 5).sum(0)
    few = np.minimum(positives, len(y) - positives)
    share = few / (few + 70)
    expected = share * own + (1 - share) * shared[:, None]
    assert per_class_weights(y, stack, task, prior=70) == pytest.approx(expected, abs=1e-9)
    assert (own[:, 4] == shared).all()
    assert task == "multiclass" or (own[:, 3] == shared).all()


@CHECKED
@given(st.sampled_from(TASKS), st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 60))
def test_columns_are_weights(task, seed, members, n):
    """Check that columns lie on the simplex, for few rows and absent classes too."""
    y, probs = specialists(task, seed, members, n)
    weights = per_class_weights(y, Stack.of(probs), task)
    assert weights.shape == (members, 5)
    assert (weights >= 0).all()
    assert weights.sum(0) == pytest.approx(np.ones(5), abs=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_specialists_gain_and_equals_lose_little(task):
    """Check on rows not fitted on: specialists gain clearly, equals lose little.

    Without shrinkage, the loss where there is nothing to gain would be several times as large.
    """
    metric = get_metric("log_loss", task)

    def loss(spread, prior):
        total = 0
        for seed in range(4):
            y, probs = specialists(task, seed, n=4000, spread=spread)
            fitted, rest = Stack.of(probs[:, :300]), Stack.of(probs[:, 300:])
            if prior is None:
                weights = np.tile(simplex_weights(y[:300], fitted, task)[:, None], 5)
            else:
                weights = per_class_weights(y[:300], fitted, task, prior)
            blended = rest.mix(weights).astype(np.float64)
            blended /= blended.sum(1, keepdims=True) if task == "multiclass" else 1
            total += metric.score(y[300:], np.clip(blended, 0, 1)) / 4
        return total

    assert loss(1.0, per_class.PRIOR) < loss(1.0, None) - 0.005
    shared = loss(0.0, None)
    assert loss(0.0, per_class.PRIOR) - shared < 0.5 * (loss(0.0, 0) - shared)


@pytest.mark.parametrize("task", TASKS)
def test_narrow_blocks_are_joined(task, monkeypatch):
    """Check that how rows are dealt to blocks changes nothing."""
    y, probs = specialists(task, 2)
    plain = per_class_weights(y, Stack.of(probs), task)
    monkeypatch.setattr("pipeline.ensemble.stack.BLOCK", 3 * 5 * 7)
    monkeypatch.setattr(per_class, "WIDE", 30)
    assert per_class_weights(y, Stack.of(probs), task) == pytest.approx(plain, abs=1e-8)


@pytest.mark.parametrize("task", TASKS)
def test_temperatures_are_the_lowest_losses(task):
    """Check each member's temperature against scipy's search on the metric, and one row unknown."""
    metric = get_metric("log_loss", task)
    y, probs = specialists(task, 3, members=4)

    def doubted(answer: np.ndarray) -> float:
        p = np.clip(answer.astype(np.float64), 1e-15, 1 - 1e-15)
        unknown = -np.log(p).mean() if task == "multiclass" else -np.log(p * (1 - p)).mean() / 2
        return len(y) * metric.score(y, p) + unknown

    loud = np.stack([tempered(p, t, task) for p, t in zip(probs, (0.3, 1, 2, 4), strict=True)])
    found = member_temperatures(y, Stack.of(loud), task)
    for member, temperature in zip(loud, found, strict=True):
        best = minimize_scalar(
            lambda log, member=member: doubted(tempered(member, np.exp(log), task)),
            bounds=(np.log(0.05), np.log(20)),
            method="bounded",
            options={"xatol": 1e-7},
        )
        assert np.log(temperature) == pytest.approx(best.x, abs=2e-3)
    # What was made quieter is made louder by as much.
    plain = member_temperatures(y, Stack.of(probs), task)
    assert found[2:] * (2, 4) == pytest.approx(plain[2:], rel=0.01)


@pytest.mark.parametrize("task", TASKS)
def test_temperatures_of_answers_that_are_certain(task):
    """Check the ends: always wrong, rows that say nothing, and always right, which is made surer
    but not certain."""
    y, _ = specialists(task, 4, n=200)
    right = truth_of(task, y, 5).astype(np.float32)
    wrong = np.roll(right, 1, axis=1) if task == "multiclass" else 1 - right
    flat = np.full_like(right, 0.2 if task == "multiclass" else 0.5)
    found = member_temperatures(y, Stack.of([0.8 * right + 0.1, wrong, flat]), task)
    assert found[1:] == pytest.approx([20, 1], rel=1e-3)
    sure = tempered(0.8 * right + 0.1, found[0], task)[right == 1]
    assert sure.min() > 0.99 and sure.max() < 0.9999


@pytest.mark.parametrize("task", TASKS)
def test_temperatures_with_a_first_guess_and_row_weights(task, monkeypatch):
    """Check that a start from some rows changes nothing, nor weights against copies of rows."""
    y, probs = specialists(task, 5, n=900)
    plain = member_temperatures(y, Stack.of(probs), task)
    monkeypatch.setattr(tempering, "SAMPLE", 40)
    assert member_temperatures(y, Stack.of(probs), task) == pytest.approx(plain, rel=1e-6)
    rows = np.random.default_rng(0).integers(0, 3, len(y))
    rows[:450] = 0
    at = np.repeat(np.arange(len(y)), rows)
    weighted = member_temperatures(y, Stack.of(probs), task, rows.astype(float))
    repeated = member_temperatures(y[at], Stack.of(probs[:, at]), task)
    assert weighted == pytest.approx(repeated, rel=0.01)  # one row unknown of more, or of fewer


def test_tempered_is_what_it_says():
    """Check both tasks against their definitions, blocks against members, and exact zeros."""
    for task in TASKS:
        _, probs = specialists(task, 6)
        temperatures = np.array([0.5, 1, 3])
        block = tempered(probs, temperatures, task)
        for member, t, got in zip(probs.astype(np.float64), temperatures, block, strict=True):
            raised = np.clip(member, 1e-7, 1 - 1e-7) ** (1 / t)
            power = raised / raised.sum(1, keepdims=True)
            sigmoid = expit(logit(np.clip(member, 1e-7, 1 - 1e-7)) / t)
            assert got == pytest.approx(power if task == "multiclass" else sigmoid, abs=1e-6)
            assert (tempered(member, t, task) == got).all()
    certain = tempered(np.array([[0.0, 1.0]], np.float32), 1, "multilabel")
    assert certain == pytest.approx(np.array([[1e-7, 1 - 1e-7]]), rel=1e-3)
    with pytest.raises(PodiumError, match="temperature must lie"):
        tempered(certain, 0, "multilabel")
    with pytest.raises(PodiumError, match="temperature must lie"):
        tempered(certain, np.nan, "multilabel")
