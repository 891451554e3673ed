"""Stacking against scikit-learn, its two limits, and its indifference to order."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from pipeline.artifacts.predictions import log_values, probabilities
from pipeline.ensemble.blending import logistic, stacking
from pipeline.ensemble.blending.logistic import Model, best_fit
from pipeline.ensemble.blending.pools import arithmetic, geometric
from pipeline.ensemble.blending.scoring import log_loss_of
from pipeline.ensemble.blending.stacking import SCALES, Stacking, fit_stacking
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError

TASKS = ("multiclass", "multilabel")
ALONE = (0.0, 1.0, 0.0)  # scales: each class of each member by itself
FULL = (0.0, 0.0, 1.0)  # every pair of classes
UNPAIRED = (*SCALES[:2], 0.0)


def invented(
    task: str, n: int = 120, members: int = 3, classes: int = 4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, probabilities (members, n, c) of members of different skill, bias and
    temperature, and keys."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n) if task == "multiclass" else rng.integers(0, 2, (n, classes))
    signal = np.eye(classes)[y] if task == "multiclass" else y - 0.5
    stack = np.empty((members, n, classes), np.float32)
    for at in range(members):
        confusion = np.eye(classes) + (at + seed) % 2 * np.eye(classes)[::-1] * 0.6
        logits = (0.3 + 0.6 * at) * signal @ confusion + rng.normal(size=signal.shape)
        stack[at] = probabilities(logits * (3 - at) + 0.3 * np.arange(classes), task)
    y = y.astype(np.int64 if task == "multiclass" else np.int8)
    return y, stack, rng.integers(0, 2**63, n).astype(np.uint64)


def logs_of(stack: np.ndarray, task: str) -> np.ndarray:
    """Return float64 logs (c, members, n), so that fits are exact."""
    return log_values(stack.astype(np.float64), task).transpose(2, 0, 1).copy()


@pytest.mark.parametrize("penalty", [0.3, 3.0, 100.0])
def test_all_pairs_of_classes_against_scikit_learn(penalty):
    """Check the coefficients without a pull to the geometric mean: plain multinomial ridge."""
    y, stack, _ = invented("multiclass")
    logs = logs_of(stack, "multiclass")
    model = Model("multiclass", 3, 4, FULL, pulled=False)
    coef, intercept = model.unpack(model.fit(logs, y, penalty, accuracy=1e-14))
    features = np.column_stack([logs.reshape(12, -1).T, np.ones(len(y))])
    oracle = LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-10, max_iter=5000)
    expected = oracle.fit(features, y).coef_
    np.testing.assert_allclose(coef.reshape(12, 4).T, expected[:, :-1], atol=2e-4)
    np.testing.assert_allclose(intercept, expected[:, -1], atol=2e-4)


@pytest.mark.parametrize("penalty", [0.3, 3.0, 100.0])
def test_labels_against_scikit_learn(penalty):
    """Check that labels, fitted together, are one binary ridge each on their members' log-odds."""
    y, stack, _ = invented("multilabel")
    logs = logs_of(stack, "multilabel")
    model = Model("multilabel", 3, 4, ALONE, pulled=False)
    coef, intercept = model.unpack(model.fit(logs, y, penalty, accuracy=1e-14))
    for label in range(4):
        features = np.column_stack([logs[label].T, np.ones(len(y))])
        oracle = LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-10, max_iter=5000)
        expected = oracle.fit(features, y[:, label]).coef_[0]
        np.testing.assert_allclose([*coef[label], intercept[label]], expected, atol=2e-4)


@pytest.mark.parametrize(
    ("task", "scales"),
    [
        *(("multiclass", scales) for scales in (SCALES, UNPAIRED, ALONE, FULL)),
        *(("multilabel", scales) for scales in (UNPAIRED, ALONE)),
    ],
)
def test_the_gradient(task, scales, monkeypatch):
    """Check the gradient of every part against differences, away from the start."""
    y, stack, _ = invented(task, n=30)
    model, caught = Model(task, 3, 4, scales), {}

    def minimize(objective, start, **options):
        caught["objective"] = objective
        return type("Result", (), {"x": start})

    monkeypatch.setattr(logistic, "minimize", minimize)
    start = np.random.default_rng(0).normal(size=model.size) * 0.3
    model.fit(logs_of(stack, task), y, 2.0, start)
    value, slope = caught["objective"](start)
    assert np.isfinite(value) and slope.shape == (model.size,) and np.abs(slope).max() > 0.01
    objective = caught["objective"]
    assert check_grad(lambda v: objective(v)[0], lambda v: objective(v)[1], start) < 1e-5


def test_the_penalty_weighs_the_three_parts():
    """Check on the coefficients found that they minimise the loss plus the penalty as written in
    `fit_stacking`: with a, d and F by themselves, and no step in any of them better."""
    y, stack, _ = invented("multiclass", n=60)
    logs, penalty = logs_of(stack, "multiclass"), 5.0
    model = Model("multiclass", 3, 4, SCALES)
    found = model.fit(logs, y, penalty, accuracy=1e-14)
    a, d = found[:3] * SCALES[0], found[3:15].reshape(4, 3) * SCALES[1]
    b, f = found[15:19], found[19:].reshape(4, 3, 4) * SCALES[2]

    def total(a, d, b, f):
        logits = b + np.einsum("kmn->nk", logs) / 3 + np.einsum("m,kmn->nk", a, logs)
        logits = logits + np.einsum("km,kmn->nk", d, logs) + np.einsum("kmj,kmn->nj", f, logs)
        loss = -np.log(probabilities(logits, "multiclass").astype(float))[np.arange(len(y)), y]
        shrunk = (a**2).sum() + ((d / 0.3) ** 2).sum() + ((f / 0.1) ** 2).sum() + (b**2).sum()
        return loss.sum() + penalty / 2 * shrunk

    rng, lowest = np.random.default_rng(0), total(a, d, b, f)
    for _ in range(20):
        steps = [0.05 * rng.normal(size=part.shape) for part in (a, d, b, f)]
        assert total(*(p + s for p, s in zip((a, d, b, f), steps, strict=True))) > lowest
        for at, step in enumerate(steps):
            parts = [a, d, b, f]
            parts[at] = parts[at] + 0.3 * step
            assert total(*parts) > lowest - 1e-4


@pytest.mark.parametrize("task", TASKS)
def test_an_infinite_penalty_is_the_geometric_mean(task, monkeypatch):
    """Check the limit, of rows with zeros and ones too, and that small penalties are not it."""
    y, stack, keys = invented(task)
    stack[0, :4] = np.eye(4)
    expected = geometric(Stack.of(stack), np.full(3, 1 / 3), task)
    for penalties, alike in (((1e12,), True), ((1.0,), False)):
        monkeypatch.setattr(logistic, "PENALTIES", penalties)
        fitted = fit_stacking(y, Stack.of(stack), task, keys=keys)
        assert fitted.penalty == penalties[0]
        assert np.allclose(fitted.apply(Stack.of(stack)), expected, atol=1e-5) == alike


@pytest.mark.parametrize("task", TASKS)
def test_the_penalty_that_predicts_best_is_chosen(task):
    """Check the choice against fits from scratch on the same parts of the rows."""
    y, stack, _ = invented(task, n=90)
    part = np.arange(90) % 3
    model = Model(task, 3, 4, SCALES if task == "multiclass" else UNPAIRED)
    logs = logs_of(stack, task)
    values, penalty = best_fit(model, logs, y, part)
    losses = []
    for tried in logistic.PENALTIES:
        total = 0
        for out in range(3):
            fitted = model.fit(logs[:, :, part != out], y[part != out], tried, accuracy=1e-12)
            unseen = logs[:, :, part == out]
            total += model.loss(model.predict(fitted, unseen, unseen.mean(1)), y[part == out])[0]
        losses.append(total)
    first_rise = int(np.argmax(np.diff([*losses, np.inf]) >= 0))
    assert penalty == logistic.PENALTIES[first_rise] and 0 < first_rise < len(losses) - 1
    again = model.fit(logs, y, penalty, accuracy=1e-12)
    for one, other in zip(model.unpack(values), model.unpack(again), strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n", [150, 600])
def test_unseen_rows_gain(task, n):
    """Check that the log loss of unseen rows is well below that of the means, and scikit-learn's
    own stacking no better."""
    y, stack, keys = invented(task, n=n + 2000)
    seen, unseen = Stack.of(stack[:, :n]), Stack.of(stack[:, n:])
    fitted = fit_stacking(y[:n], seen, task, keys=keys[:n]).apply(unseen)
    loss = log_loss_of(task, y[n:], fitted)
    equal = np.full(3, 1 / 3)
    for pool in (arithmetic, geometric):
        assert loss < log_loss_of(task, y[n:], pool(unseen, equal, task)) - 0.02
    if task == "multiclass":
        features = log_values(stack, task).transpose(1, 0, 2).reshape(len(y), -1)
        other = LogisticRegression(max_iter=1000).fit(features[:n], y[:n])
        assert loss < log_loss_of(task, y[n:], other.predict_proba(features[n:])) + 0.005


def test_few_rows_explode_nothing():
    """Check finite answers where classes are absent, members certain, and rows as few as one."""
    y, stack, keys = invented("multiclass", n=40)
    sure = np.eye(4, dtype=np.float32)[y]
    for n in (1, 2, 5, 40):
        rows = Stack.of([sure[:n], stack[0, :n]])
        labels = np.where(y[:n] == 3, 0, y[:n])  # class 3 is absent
        fitted = fit_stacking(labels, rows, "multiclass", keys=keys[:n])
        got = fitted.apply(Stack.of([sure, stack[0]]))
        assert np.isfinite(got).all() and np.isfinite(fitted.coef).all()
        np.testing.assert_allclose(got.sum(1), 1, atol=1e-6)


ORDERS = st.permutations(range(3)), st.permutations(range(120)), st.permutations(range(4))


@given(*ORDERS, st.sampled_from(TASKS))
@settings(max_examples=10, deadline=None)
def test_orders_do_not_matter(members, rows, classes, task):
    """Check that permuted members, rows with their keys, and classes come out permuted."""
    members, rows, classes = list(members), list(rows), list(classes)
    y, stack, keys = invented(task)
    plain = fit_stacking(y, Stack.of(stack), task, keys=keys)
    turned = Stack.of(stack[members][:, rows][:, :, classes])
    labels = np.argsort(classes)[y[rows]] if y.ndim == 1 else y[rows][:, classes]
    again = fit_stacking(labels, turned, task, keys=keys[rows])
    assert again.penalty == plain.penalty
    expected = plain.apply(Stack.of(stack))[rows][:, classes]
    np.testing.assert_allclose(again.apply(turned), expected, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_copies_change_nothing(task):
    """Check that copies of a member share its coefficients, and the answers stay."""
    y, stack, keys = invented(task)
    plain = fit_stacking(y, Stack.of(stack), task, keys=keys)
    copied = Stack.of(stack[[0, 1, 1, 2, 1]])
    again = fit_stacking(y, copied, task, keys=keys)
    np.testing.assert_allclose(again.coef[[1, 2, 4]].sum(0), plain.coef[1], atol=1e-9)
    np.testing.assert_allclose(again.coef[[0, 3]], plain.coef[[0, 2]], atol=1e-9)
    np.testing.assert_allclose(again.apply(copied), plain.apply(Stack.of(stack)), atol=1e-5)


def test_groups_stay_together(monkeypatch):
    """Check that rows of one key are never divided between the parts a penalty is chosen on."""
    y, stack, keys = invented("multiclass")
    keys, caught = np.repeat(keys[:24], 5), {}
    monkeypatch.setattr(
        stacking,
        "best_fit",
        lambda m, logs, y, part: caught.update(p=part) or best_fit(m, logs, y, part),
    )
    fit_stacking(y, Stack.of(stack), "multiclass", keys=keys)
    in_order = np.sort(keys)  # rows are fitted in the order of their keys
    assert all(len(set(caught["p"][in_order == key])) == 1 for key in keys)
    assert np.bincount(caught["p"]).tolist() == [40, 40, 40]


@pytest.mark.parametrize("task", TASKS)
def test_larger_jobs_are_cut(task, monkeypatch):
    """Check that many rows are drawn by key, and many classes fitted without their pairs."""
    y, stack, keys = invented(task, n=400)
    whole = fit_stacking(y, Stack.of(stack), task, keys=keys)
    assert whole.coef.ndim == (3 if task == "multiclass" else 2)
    monkeypatch.setattr(stacking, "VALUES", 12 * 200)
    monkeypatch.setattr(stacking, "PAIRS", 1000)
    least = np.sort(stacking.draw_rows(keys, 200))
    part = fit_stacking(y, Stack.of(stack), task, keys=keys)
    same = fit_stacking(y[least], Stack.of(stack[:, least]), task, keys=keys[least])
    assert part.coef.shape == (3, 4) and len(least) == 200
    np.testing.assert_array_equal(part.coef, same.coef)
    worse = log_loss_of(task, y, part.apply(Stack.of(stack)))
    assert worse < log_loss_of(task, y, geometric(Stack.of(stack), np.full(3, 1 / 3), task))


@pytest.mark.parametrize("task", TASKS)
def test_json_keeps_every_bit(task):
    """Check that a stacker comes back from JSON the same, and that what is not one is refused."""
    y, stack, keys = invented(task)
    fitted = fit_stacking(y, Stack.of(stack), task, keys=keys)
    again = Stacking.from_json(json.loads(json.dumps(fitted.to_json())))
    assert (again.task, again.penalty) == (fitted.task, fitted.penalty)
    rows = Stack.of(stack)
    np.testing.assert_array_equal(again.apply(rows), fitted.apply(rows))
    good = fitted.to_json()
    bad = [{}, [], good | {"coef": [[1.0]]}, good | {"intercept": [[0.0]]}, good | {"task": "x"}]
    bad += [good | {"coef": "a"}, good | {"intercept": [float("nan")] * 4}]
    for content in bad:
        with pytest.raises(PodiumError, match="stacker") as caught:
            Stacking.from_json(content)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_probabilities_of_one_row_each(task):
    """Check float32 in [0, 1], a row by itself as among others, and the members' number."""
    y, stack, keys = invented(task)
    fitted = fit_stacking(y, Stack.of(stack), task, keys=keys)
    got = fitted.apply(Stack.of(stack))
    assert got.dtype == np.float32 and (got >= 0).all() and (got <= 1).all()
    alone = np.concatenate([fitted.apply(Stack.of(stack[:, [row]])) for row in range(9)])
    np.testing.assert_allclose(alone, got[:9], atol=1e-6)
    with pytest.raises(ValueError, match="fitted on"):
        fitted.apply(Stack.of(stack[:2]))
    with pytest.raises(PodiumError, match="got"):
        fit_stacking(y[1:], Stack.of(stack), task)
