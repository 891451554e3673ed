"""Simplex weights against SLSQP, a grid, and the conditions that only the optimum meets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pipeline.ensemble.blending import simplex
from pipeline.ensemble.blending.simplex import simplex_weights
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

CHECKED = settings(max_examples=60, deadline=None, derandomize=True, database=None)
TASKS = ("multiclass", "multilabel")


def invented(task, seed, members=3, n=120, c=4, zeros=False):
    """Return labels and members of different skill, some of whose cells may be exact 0 or 1."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(members, n, c)) + rng.normal(size=(n, c))
    skill = rng.uniform(0, 3, (members, 1, 1))
    if task == "multiclass":
        y = rng.integers(0, c, n)
        values = np.exp(skill * np.eye(c)[y] + noise)
        if zeros:
            values[rng.random(values.shape) < 0.3] = 0
            values[..., 0] += 1e-3
        return y, (values / values.sum(2, keepdims=True)).astype(np.float32)
    y = (rng.random((n, c)) < 0.3).astype(np.int8)
    probs = 1 / (1 + np.exp(-(skill * (2 * y - 1) + noise)))
    if zeros:
        probs[rng.random(probs.shape) < 0.1] = 0
        probs[rng.random(probs.shape) < 0.1] = 1
    return y, probs.astype(np.float32)


def likelihood(task, y, probs):
    """Return each member's clipped probability (members, cells) of what happened."""
    probs = probs.astype(np.float64)
    if task == "multiclass":
        return np.maximum(probs[:, np.arange(len(y)), y], 1e-15)
    return np.maximum(np.where(y == 1, probs, 1 - probs), 1e-15).reshape(len(probs), -1)


def gap(task, y, probs, weights, rows=None):
    """Return by how much, at most, the log loss exceeds the lowest that weights can reach."""
    cells = likelihood(task, y, probs)
    if rows is not None:
        rows = np.repeat(rows, cells.shape[1] // len(rows))
    return np.average(cells / (weights @ cells), axis=1, weights=rows).max() - 1


@CHECKED
@given(st.sampled_from(TASKS), st.integers(0, 10_000), st.integers(1, 9), st.booleans())
def test_no_weights_are_better(task, seed, members, zeros):
    """Check Lindsay's bound, which only the optimum brings to 0, and that weights are weights."""
    y, probs = invented(task, seed, members, n=60, zeros=zeros)
    weights = simplex_weights(y, Stack.of(probs), task)
    assert weights.shape == (members,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert gap(task, y, probs, weights) < 1e-8


@pytest.mark.parametrize("task", TASKS)
def test_as_good_as_slsqp_on_the_metric(task):
    """Check the metric's own log loss against scipy's constrained optimiser from five starts."""
    metric = get_metric("log_loss", task)
    for seed in range(5):
        y, probs = invented(task, seed, members=4)
        cells = likelihood(task, y, probs)
        lowest = min(
            minimize(
                lambda w, cells=cells: -np.log(w @ cells).mean(),
                start,
                bounds=[(0, 1)] * 4,
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
                options={"ftol": 1e-14, "maxiter": 500},
            ).fun
            for start in np.random.default_rng(seed).dirichlet(np.ones(4), 5)
        )
        weights = simplex_weights(y, Stack.of(probs), task)
        assert -np.log(weights @ cells).mean() <= lowest + 1e-9
        blended = np.tensordot(weights, probs.astype(np.float64), axes=1)
        assert metric.score(y, np.clip(blended, 0, 1)) == pytest.approx(lowest, abs=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("members", [2, 3])
def test_a_grid_finds_nothing_better(task, members):
    """Check the optimum against every point of a fine grid, and that the best point is near it."""
    y, probs = invented(task, 7, members)
    ticks = np.arange(101)
    grid = np.stack(np.meshgrid(*[ticks] * (members - 1)), -1).reshape(-1, members - 1)
    grid = np.column_stack([grid, 100 - grid.sum(1)])
    grid = grid[grid[:, -1] >= 0] / 100
    cells = likelihood(task, y, probs)
    losses = -np.log(grid @ cells).mean(1)
    weights = simplex_weights(y, Stack.of(probs), task)
    assert -np.log(weights @ cells).mean() <= losses.min() + 1e-12
    assert np.abs(weights - grid[losses.argmin()]).max() < 0.02


@pytest.mark.parametrize("task", TASKS)
def test_copies_share_their_weight(task):
    """Check that a copied member changes no loss, and that copies weigh the same."""
    y, probs = invented(task, 1, members=4)
    alone = simplex_weights(y, Stack.of(probs), task)
    best = int(alone.argmax())
    copied = simplex_weights(y, Stack.of([*probs, probs[best], probs[best]]), task)
    merged = copied[:4].copy()
    merged[best] += copied[4:].sum()
    assert merged == pytest.approx(alone, abs=1e-5)
    assert copied[[best, 4, 5]] == pytest.approx(np.full(3, alone[best] / 3), abs=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_the_order_does_not_matter(task):
    """Check that permuting members, rows and classes permutes the weights and nothing else."""
    y, probs = invented(task, 3, members=5, zeros=True)
    weights = simplex_weights(y, Stack.of(probs), task)
    rng = np.random.default_rng(0)
    members, rows, classes = rng.permutation(5), rng.permutation(len(y)), rng.permutation(4)
    moved = probs[members][:, rows][:, :, classes]
    labels = np.argsort(classes)[y[rows]] if task == "multiclass" else y[rows][:, classes]
    again = simplex_weights(labels, Stack.of(moved), task)
    assert again == pytest.approx(weights[members], abs=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_row_weights_count_like_copies_of_rows(task):
    """Check that a row of weight 3 counts as three rows, and one of weight 0 not at all."""
    y, probs = invented(task, 4, members=4)
    rows = np.random.default_rng(4).integers(0, 4, len(y))
    weights = simplex_weights(y, Stack.of(probs), task, rows * 0.7)
    assert gap(task, y, probs, weights, rows) < 1e-8
    repeated = np.repeat(np.arange(len(y)), rows)
    again = simplex_weights(y[repeated], Stack.of(probs[:, repeated]), task)
    assert weights == pytest.approx(again, abs=1e-7)


@pytest.mark.parametrize("task", TASKS)
def test_a_first_guess_on_some_rows_changes_nothing(task, monkeypatch):
    """Check that many rows, whose fit starts from a part of them, reach the same optimum."""
    y, probs = invented(task, 5, members=6, n=2000, zeros=True)
    plain = simplex_weights(y, Stack.of(probs), task)
    monkeypatch.setattr(simplex, "SAMPLE", 50)
    assert simplex_weights(y, Stack.of(probs), task) == pytest.approx(plain, abs=1e-6)
    rows = np.zeros(len(y))
    rows[1::40] = 1  # all but these weigh nothing, in the guess too
    weights = simplex_weights(y, Stack.of(probs), task, rows)
    assert gap(task, y, probs, weights, rows) < 1e-8


def test_thirty_members_take_few_passes(monkeypatch):
    """Check that thirty members, many nearly alike, need fewer than fifteen passes."""
    passes, evaluate = [], simplex._evaluate
    monkeypatch.setattr(simplex, "_evaluate", lambda *a: passes.append(1) or evaluate(*a))
    for task in TASKS:
        y, probs = invented(task, 6, members=30, n=3000)
        passes.clear()
        weights = simplex_weights(y, Stack.of(probs), task)
        assert len(passes) < 15
        assert gap(task, y, probs, weights) < 1e-8


def test_hopeless_rows_and_a_rescuer():
    """Check zeros of every member in a row, and one member whose only merit is a row of its own."""
    y = np.zeros(50, np.int64)
    good, rescuer = np.full((50, 2), [0.9, 0.1]), np.full((50, 2), [0.1, 0.9])
    good[0], good[1], rescuer[1] = [0, 1], [0, 1], [0, 1]
    probs = np.stack([good, rescuer]).astype(np.float32)
    weights = simplex_weights(y, Stack.of(probs), "multiclass")
    assert gap("multiclass", y, probs, weights) < 1e-8
    assert 0 < weights[1] < 0.1
    labels = simplex_weights(np.eye(2, dtype=np.int8)[y], Stack.of(probs), "multilabel")
    assert gap("multilabel", np.eye(2)[y], probs, labels) < 1e-8


def test_mistakes_are_refused():
    """Check labels and row weights that do not fit."""
    y, probs = invented("multiclass", 0)
    with pytest.raises(PodiumError, match="same rows"):
        simplex_weights(y[:-1], Stack.of(probs), "multiclass")
    with pytest.raises(PodiumError, match="below 4"):
        simplex_weights(y + 1, Stack.of(probs), "multiclass")
    for rows in (-np.ones(len(y)), np.zeros(len(y)), np.ones(3), np.full(len(y), np.nan)):
        with pytest.raises(PodiumError, match="row_weights"):
            simplex_weights(y, Stack.of(probs), "multiclass", rows)
