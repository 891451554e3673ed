"""Calibration against scikit-learn, general optimisers, and the temperatures that were put in."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, logit, softmax
from sklearn.linear_model import LogisticRegression

from pipeline.decisions import calibration, scaling
from pipeline.decisions.calibration import KINDS, Calibration, fit_calibration
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

CHECKED = settings(max_examples=50, deadline=None, derandomize=True, database=None)
TASKS = ("multiclass", "multilabel")


def drawn(task, seed, n=300, c=4, scale=1.0, shift=0.0):
    """Return labels drawn from probabilities, and what is said instead: scale * logit + shift."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, c)) - (1.0 if task == "multilabel" else 0.0)
    if task == "multiclass":
        true = softmax(logits, axis=1)
        y = (true.cumsum(1) < rng.random((n, 1))).sum(1)
        return y, softmax(scale * logits + shift, axis=1).astype(np.float32)
    y = (rng.random((n, c)) < expit(logits)).astype(np.int8)
    return y, expit(scale * logits + shift).astype(np.float32)


def loss_of(task, y, probs):
    return get_metric("log_loss", task).score(y, probs.astype(np.float64))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_known_temperature_is_found(task, scale):
    """Check that many rows give back the temperature that their probabilities were drawn at."""
    y, probs = drawn(task, 0, n=20_000, scale=scale)
    fitted = fit_calibration("temperature", task, y, probs)
    assert fitted.temperature == pytest.approx(scale, rel=0.03)
    assert loss_of(task, y, fitted.apply(probs)) <= loss_of(task, y, probs)


def doubted_loss(task, y, probs):
    """Return the log loss with one more row of which nothing is known."""
    p, rows = np.clip(probs.astype(np.float64), 1e-15, 1 - 1e-15), len(y)
    unknown = -np.log(p).mean() if task == "multiclass" else -np.log(p * (1 - p)).mean() / 2
    return (rows * loss_of(task, y, probs) + unknown) / (rows + 1)


@pytest.mark.parametrize("task", TASKS)
def test_temperature_is_the_minimum(task):
    """Check that no temperature of a fine grid has a lower log loss, one unknown row included."""
    for seed in range(4):
        y, probs = drawn(task, seed, n=60, scale=3.0)
        fitted = fit_calibration("temperature", task, y, probs)
        lowest = min(
            doubted_loss(task, y, Calibration("temperature", task, (s,)).apply(probs))
            for s in np.geomspace(0.05, 20, 120)
        )
        assert doubted_loss(task, y, fitted.apply(probs)) <= lowest + 1e-7


@pytest.mark.parametrize("task", TASKS)
def test_rows_that_are_all_right_are_not_made_certain(task):
    """Check that a temperature fitted on few faultless rows leaves room for the first mistake."""
    y, _ = drawn(task, 0, n=45)
    truth = y if task == "multilabel" else np.eye(4)[y]
    for kind in ("temperature", "per-class"):
        fitted = fit_calibration(kind, task, y, 0.4 + 0.2 * truth)
        sure = np.where(truth == 1, fitted.apply(0.4 + 0.2 * truth), 0).max()
        assert 0.9 < sure < 0.999


def penalty(scale, shift, shared):
    off = ((scale - shared) / (scaling.SCALE_SPREAD * shared)) ** 2
    return 0.5 * (off + (shift / scaling.SHIFT_SPREAD) ** 2).sum()


def test_per_class_of_labels_is_the_penalised_minimum():
    """Check Platt's scale and shift of each label against a general optimiser, with weights."""
    y, probs = drawn("multilabel", 1, scale=2.0, shift=np.array([1.0, 0, -1, 0.5]))
    y[:, 3] = 0
    y[:2, 3] = 1
    rows = np.random.default_rng(1).uniform(0.5, 2, len(y))
    fitted = fit_calibration("per-class", "multilabel", y, probs, rows)
    shared = fit_calibration("temperature", "multilabel", y, probs, rows).scale[0]
    z, weights = logit(probs.astype(np.float64)), rows / rows.mean()
    for j in range(4):
        sign = 2 * y[:, j] - 1.0

        def loss(theta, sign=sign, j=j):
            logs = log_expit(sign * (theta[0] * z[:, j] + theta[1]))
            return -weights @ logs + penalty(*theta[:, None], shared)

        best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7})
        assert [fitted.scale[j], fitted.shift[j]] == pytest.approx(best.x, abs=1e-4)


def test_per_class_of_labels_is_platt_scaling_without_a_prior(monkeypatch):
    """Check against scikit-learn's unpenalised logistic regression on the log odds."""
    monkeypatch.setattr(scaling, "SCALE_SPREAD", 1e4)
    monkeypatch.setattr(scaling, "SHIFT_SPREAD", 1e4)
    y, probs = drawn("multilabel", 2, n=800, scale=1.6, shift=np.array([0.7, 0, -0.7, 0]))
    fitted = fit_calibration("per-class", "multilabel", y, probs)
    for j in range(4):
        z = logit(probs[:, [j]].astype(np.float64))
        oracle = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(z, y[:, j])
        assert fitted.scale[j] == pytest.approx(oracle.coef_[0, 0], abs=1e-4)
        assert fitted.shift[j] == pytest.approx(oracle.intercept_[0], abs=1e-4)


def test_per_class_of_classes_is_the_penalised_minimum():
    """Check vector scaling against a general optimiser of the same objective."""
    y, probs = drawn("multiclass", 3, scale=2.0, shift=np.array([1.0, 0, -1, 0]))
    fitted = fit_calibration("per-class", "multiclass", y, probs)
    shared = fit_calibration("temperature", "multiclass", y, probs).scale[0]
    logs = np.log(probs.astype(np.float64))

    def loss(theta):
        scale, shift = theta[:4], theta[4:]
        actual = log_softmax(scale * logs + shift, axis=1)[np.arange(len(y)), y]
        return -actual.sum() + penalty(scale, shift, shared)

    best = minimize(loss, np.r_[np.ones(4), np.zeros(4)], method="BFGS", options={"gtol": 1e-7})
    assert np.r_[fitted.scale, fitted.shift] == pytest.approx(best.x, abs=2e-3)
    assert loss(np.r_[fitted.scale, fitted.shift]) <= best.fun + 1e-5


@pytest.mark.parametrize("task", TASKS)
def test_per_class_mends_classes_apart(task):
    """Check a clear gain over one temperature, on other rows, where classes are off differently."""
    shift = np.array([1.5, 0, -1.5, 0.5])
    y, probs = drawn(task, 4, n=6000, shift=shift)
    one, each = (
        loss_of(
            task, y[3000:], fit_calibration(k, task, y[:3000], probs[:3000]).apply(probs[3000:])
        )
        for k in ("temperature", "per-class")
    )
    truth = loss_of(task, y[3000:], drawn(task, 4, n=6000)[1][3000:])
    assert each < one - 0.01
    assert each < truth + 0.01


@pytest.mark.parametrize("task", TASKS)
def test_two_positives_stay_sane(task):
    """Check that a class of two positives keeps about the temperature and shift of the others."""
    y, probs = drawn(task, 5, n=400)
    if task == "multilabel":
        y[:, 0] = 0
        y[np.argmax(probs[:, 0]), 0] = y[np.argmin(probs[:, 0]), 0] = 1
        probs[:, 0] *= 0.02
    else:
        y[y == 0] = 1
        y[:2] = 0
        probs[:, 0] *= 0.02
        probs /= probs.sum(1, keepdims=True)
    fitted = fit_calibration("per-class", task, y, probs)
    assert 0.3 < fitted.scale[0] < 3
    assert abs(fitted.shift[0]) < 1


@pytest.mark.parametrize("task", TASKS)
def test_probabilities_that_mislead_keep_a_positive_scale(task):
    """Check the lower bound where higher probabilities mean fewer positives, prior or not."""
    y, probs = drawn(task, 6, n=3000)
    probs = 1 - probs if task == "multilabel" else softmax(-np.log(probs), axis=1)
    assert fit_calibration("temperature", task, y, probs).temperature == pytest.approx(20)
    fitted = fit_calibration("per-class", task, y, probs)
    assert min(fitted.scale) == pytest.approx(0.05, abs=0.01)
    if task == "multilabel":  # beside a scale at its bound, the shift is still the best
        assert fitted.scale == (0.05,) * 4
        shift = np.array(fitted.shift)
        chance = expit(0.05 * logit(probs.astype(np.float64)) + shift)
        assert (chance - y).sum(0) + shift / scaling.SHIFT_SPREAD**2 == pytest.approx(0, abs=1e-2)


@CHECKED
@given(
    st.sampled_from(TASKS),
    st.sampled_from(KINDS),
    st.integers(0, 10_000),
    st.integers(2, 6),
    st.integers(1, 40),
)
def test_what_is_applied_are_probabilities(task, kind, seed, c, n):
    """Check shape, type, range, row sums and the order of rows, from few rows with 0 and 1."""
    rng = np.random.default_rng(seed)
    probs = rng.choice([0, 1e-9, 0.2, 0.5, 0.9, 1], (n, c))
    if task == "multiclass":
        probs += 1e-3 * rng.random((n, c))
        probs /= probs.sum(1, keepdims=True)
        y = rng.integers(0, c, n)
    else:
        y = rng.integers(0, 2, (n, c), dtype=np.int8)
    fitted = fit_calibration(kind, task, y, probs.astype(np.float32))
    assert Calibration.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    assert fitted.describe()
    out = fitted.apply(probs.astype(np.float32))
    assert out.shape == probs.shape
    assert out.dtype == np.float32
    assert ((out >= 0) & (out <= 1)).all()
    if task == "multiclass":
        assert out.sum(1, dtype=np.float64) == pytest.approx(np.ones(n), abs=1e-5)
        if kind == "temperature":
            assert (np.take_along_axis(out, probs.argmax(1)[:, None], 1)[:, 0] == out.max(1)).all()
    else:
        for j in range(c):
            assert (np.diff(out[np.argsort(probs[:, j]), j]) >= 0).all()


def test_none_changes_nothing_that_is_right():
    """Check bits under `none`, and that rows which do not sum to 1 then do."""
    y, probs = drawn("multiclass", 7)
    none = fit_calibration("none", "multiclass", y, probs)
    assert (none.apply(probs) == probs).all()
    odd = np.array([[0.2, 0.2], [0, 0], [0.5, 0.5]])
    assert none.apply(odd) == pytest.approx(np.full((3, 2), 0.5))
    labels = Calibration("none", "multilabel")
    assert (labels.apply(odd) == odd.astype(np.float32)).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["temperature", "per-class"])
def test_order_guesses_and_weights_change_nothing(task, kind, monkeypatch):
    """Check permuted rows and classes, a start from some rows, and weights against copies."""

    def numbers(fitted):
        return np.array([fitted.scale, fitted.shift or fitted.scale])

    y, probs = drawn(task, 8, n=800, scale=1.7, shift=np.array([0.5, 0, -0.5, 0]))
    plain = numbers(fit_calibration(kind, task, y, probs))
    rng = np.random.default_rng(0)
    rows, classes = rng.permutation(len(y)), rng.permutation(4)
    labels = np.argsort(classes)[y[rows]] if task == "multiclass" else y[rows][:, classes]
    moved = numbers(fit_calibration(kind, task, labels, probs[rows][:, classes]))
    assert moved == pytest.approx(plain if kind == "temperature" else plain[:, classes], abs=1e-3)
    monkeypatch.setattr(calibration, "SAMPLE", 50)
    assert numbers(fit_calibration(kind, task, y, probs)) == pytest.approx(plain, abs=1e-3)
    copies = np.repeat(rng.permutation(len(y))[:400], 2)  # 800 rows again, for the priors' sake
    weights = 5.0 * np.bincount(copies, minlength=len(y))
    weighted = numbers(fit_calibration(kind, task, y, probs, weights))
    repeated = numbers(fit_calibration(kind, task, y[copies], probs[copies]))
    assert weighted == pytest.approx(repeated, abs=1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "temperatur"}, "did you mean temperature"),
        ({"task": "both"}, "task must be one of"),
        ({"scale": [1.0, 2.0]}, "one scale"),
        ({"shift": [1.0]}, "one scale"),
        ({"scale": [0.0]}, "must lie in"),
        ({"scale": [float("nan")]}, "finite"),
        ({"scale": ["1"]}, "finite"),
        ({"scale": 1.0}, "lists"),
        ({"extra": 1}, "has the keys"),
        ({"kind": "per-class", "scale": [], "shift": []}, "per class"),
    ],
)
def test_json_that_no_fit_wrote_is_refused(content, message):
    """Check each thing that can be wrong with a calibration on disk."""
    whole = {"kind": "temperature", "task": "multilabel", "scale": [1.5], "shift": []}
    with pytest.raises(PodiumError, match=message):
        Calibration.from_json(whole | content)


def test_mistakes_are_refused():
    """Check labels, probabilities and weights that do not fit, and other columns than fitted."""
    y, probs = drawn("multilabel", 9)
    for kind in KINDS:
        with pytest.raises(PodiumError, match="same rows"):
            fit_calibration(kind, "multilabel", y[1:], probs)
        with pytest.raises(PodiumError, match="must lie in"):
            fit_calibration(kind, "multilabel", y, probs + 1)
        with pytest.raises(PodiumError, match="row_weights"):
            fit_calibration(kind, "multilabel", y, probs, -np.ones(len(y)))
    with pytest.raises(PodiumError, match="not a kind"):
        fit_calibration("platt", "multilabel", y, probs)
    fitted = fit_calibration("per-class", "multilabel", y, probs)
    with pytest.raises(PodiumError, match="4 columns"):
        fitted.apply(probs[:, :3])
    with pytest.raises(PodiumError, match="must lie in"):
        fitted.apply(probs * np.nan)
