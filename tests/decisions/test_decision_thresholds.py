"""Thresholds against brute force on small cases with many ties, scored by scikit-learn."""

import tracemalloc
from fractions import Fraction
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, fbeta_score

from pipeline.decisions import cuts as module
from pipeline.decisions import (
    global_threshold,
    micro_f_beta,
    per_class_f_beta,
    per_class_thresholds,
)
from pipeline.decisions.cuts import Cuts
from pipeline.decisions.sweep import sweep
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

FEW = [0.0, 0.2, 0.25, 0.5, 0.5 + 2**-53, 0.9, 1.0]
AVERAGES = ("micro", "macro", "weighted", "samples")
GLOBAL = [f"f{beta}_{average}" for beta in ("1", "2", "0.5") for average in AVERAGES]
GLOBAL += ["subset_accuracy", "mcc_macro", *(f"jaccard_{average}" for average in AVERAGES)]
ROW_WISE = ("f1_samples", "f2_samples", "jaccard_samples", "subset_accuracy")
CHECKED = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def matrices(draw, max_rows=8, max_classes=3, values=FEW):
    """Draw labels and scores of a few distinct values."""
    shape = draw(st.integers(1, max_rows)), draw(st.integers(1, max_classes))
    y = draw(arrays(np.int8, shape, elements=st.integers(0, 1)))
    return y, draw(arrays(np.float64, shape, elements=st.sampled_from(values)))


def answers(scores):
    """Return every answer that a cut of these scores can give, predicting nothing first."""
    return [scores >= cut for cut in [2.0, *np.unique(scores)[::-1]]]


def f_of(y, answer, beta):
    """Return F-beta of whole arrays from its definition."""
    bottom = beta**2 * y.sum() + answer.sum()
    return (1 + beta**2) * (y * answer).sum() / bottom if bottom else 0.0


def parts(y, answer, beta):
    """Return micro-F-beta as an exact fraction, without its constant factor 1 + beta^2."""
    bottom = Fraction(beta) ** 2 * int(y.sum()) + int(answer.sum())
    return (int((y * answer).sum()), bottom) if bottom else (0, 1)


def labels(probs, thresholds):
    """Return the answer of thresholds."""
    return (probs >= thresholds).astype(np.int8)


@CHECKED
@given(matrices(), st.sampled_from([0.5, 1.0, 2.0]))
def test_per_class_is_the_best_of_all_cuts(case, beta):
    """Check that each class reaches the best F of all its cuts, nearest 0.5 among equals."""
    y, probs = case
    thresholds = per_class_f_beta(y, probs, beta)
    assert thresholds.shape == (y.shape[1],)
    for truth, scores, threshold in zip(y.T, probs.T, thresholds, strict=True):
        reached = fbeta_score(truth, scores >= threshold, beta=beta, zero_division=0)
        best = max(f_of(truth, answer, beta) for answer in answers(scores))
        assert reached == pytest.approx(best, abs=1e-12)
        distinct = np.unique(scores)
        for low, candidate in zip(distinct, (distinct[1:] + distinct[:-1]) / 2, strict=False):
            if candidate > low and f_of(truth, scores >= candidate, beta) >= best:
                assert abs(threshold - 0.5) <= abs(candidate - 0.5)


@CHECKED
@given(matrices(max_rows=6, values=[0.1, 0.4, 0.5, 0.8]), st.sampled_from([0.5, 1.0, 2.0]))
def test_micro_is_the_best_of_all_combinations(case, beta):
    """Check that the joint thresholds reach the best micro-F of all combinations of cuts."""
    y, probs = case
    columns = [answers(scores) for scores in probs.T]
    best = max(f_of(y, np.stack(chosen, axis=1), beta) for chosen in product(*columns))
    reached = f_of(y, labels(probs, micro_f_beta(y, probs, beta)), beta)
    assert reached == pytest.approx(best, abs=1e-12)


@CHECKED
@given(
    matrices(max_rows=6, values=[0.1, 0.4, 0.5, 0.8]),
    st.sampled_from([name for name in GLOBAL if name.startswith(("jac", "mcc", "f0.5"))]),
)
def test_named_metrics_reach_the_best_of_all_combinations(case, name):
    """Check that what falls apart over classes or counts is exact, scored as the metric does."""
    y, probs = case
    metric = get_metric(name, "multilabel")
    if metric.name.endswith("samples"):
        y, probs = y[:, :1], probs[:, :1]  # of one class the ascent is exact too
    columns = [answers(scores) for scores in probs.T]
    every = (np.stack(chosen, axis=1).astype(np.int8) for chosen in product(*columns))
    best = max(metric.score(y, answer) for answer in every)
    reached = metric.score(y, labels(probs, per_class_thresholds(metric, y, probs)))
    assert reached == pytest.approx(best, abs=1e-12)


@CHECKED
@given(matrices(max_rows=12, max_classes=4), st.sampled_from(["1", "2", "0.5", "0.1", "1.37"]))
def test_micro_rises_from_one_half_to_global_to_per_class(case, beta):
    """Check that no fit of micro-F is below a simpler one on its own rows, by any amount."""
    y, probs = case
    metric = get_metric(f"f{beta}_micro", "multilabel")
    steps = (0.5, global_threshold(metric, y, probs), per_class_thresholds(metric, y, probs))
    half, one, many = (Fraction(*parts(y, labels(probs, t), beta)) for t in steps)
    assert half <= one <= many


@CHECKED
@given(
    matrices(max_rows=5, max_classes=2, values=[0.2, 0.4, 0.6, 0.8]),
    st.sampled_from(["1", "2", "0.5", "1.7"]),
)
def test_equal_cuts_of_micro_are_those_nearest_one_half(case, beta):
    """Check that of all cuts that some best combination has, a class gets the nearest to 0.5."""
    y, probs = case
    cuts = [Cuts.of(scores).thresholds for scores in probs.T]
    values = {
        chosen: Fraction(*parts(y, labels(probs, np.array(chosen)), beta))
        for chosen in product(*cuts)
    }
    best = [chosen for chosen, value in values.items() if value == max(values.values())]
    for j, threshold in enumerate(micro_f_beta(y, probs, float(beta))):
        equal = sorted({chosen[j] for chosen in best}, reverse=True)
        assert threshold == min(equal, key=lambda t: abs(t - 0.5))


def test_an_edge_of_the_hull_is_looked_at_whole():
    """Check a class whose three cuts are equal at the best ratio: the inner one is at 0.55.

    Of the second class, none, three or six rows with one hit in three make it 2/6, 3/9 or 4/12.
    """
    y = np.array([[1, 1], [1, 0], [0, 0], [0, 1], [0, 0], [0, 0]], dtype=np.int8)
    probs = np.array([[0.9, 0.8]] * 2 + [[0.1, 0.8]] + [[0.1, 0.3]] * 3)
    assert micro_f_beta(y, probs) == pytest.approx([0.5, 0.55])


def test_pieces_of_a_matrix_give_one_threshold(monkeypatch):
    """Check that a sweep in pieces ends at the cut of a sweep at once, near and far from 0.5."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        probs = np.round(rng.random((12, 2)) ** rng.choice([0.2, 1, 5]), 1 + seed % 2)
        y = (rng.random(probs.shape) < probs).astype(np.int8)
        metric = get_metric("f1_micro" if seed % 3 else "jaccard_micro", "multilabel")
        found = set()
        for piece in (1, 3, 8, 100):
            monkeypatch.setattr(module, "PIECE", piece)
            found.add(sweep(metric, y, probs))
        assert len(found) == 1


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_micro_carries_its_certificate(beta):
    """Check on larger cases that no class alone can raise N - r D at the ratio r reached.

    By Dinkelbach's theorem that is so only at the maximum.
    """
    for seed in range(5):
        y, probs = simulated(seed, n=300, c=12, digits=6)
        ratio = f_of(y, labels(probs, micro_f_beta(y, probs, beta)), beta)
        excess = -ratio * beta**2 * y.sum()
        for truth, scores in zip(y.T, probs.T, strict=True):
            cuts = answers(scores)
            excess += max((1 + beta**2) * (truth * a).sum() - ratio * a.sum() for a in cuts)
        assert excess == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("name", GLOBAL)
def test_global_is_the_best_of_all_cuts(name):
    """Check that no single threshold scores higher, and that the fit knew its score."""
    metric = get_metric(name, "multilabel")
    rng = np.random.default_rng(0)
    for n, c in [(1, 1), (1, 3), (6, 1), (7, 3), (8, 4), (9, 2), (12, 3), (5, 6)]:
        y = (rng.random((n, c)) < rng.random(c)).astype(np.int8)
        probs = rng.choice(FEW, (n, c))
        threshold, promised = sweep(metric, y, probs)
        reached = metric.score(y, labels(probs, threshold))
        best = max(metric.score(y, answer.astype(np.int8)) for answer in answers(probs))
        assert reached == pytest.approx(best, abs=1e-12)
        assert promised == pytest.approx(reached, abs=1e-12)
        assert threshold == global_threshold(metric, y, probs)


@CHECKED
@given(matrices(), st.sampled_from(["f1_macro", "f1_micro", "jaccard_samples", "mcc_macro"]))
def test_global_on_any_small_matrix(case, name):
    """Check the sweep on matrices that hypothesis makes awkward."""
    y, probs = case
    metric = get_metric(name, "multilabel")
    reached = metric.score(y, labels(probs, global_threshold(metric, y, probs)))
    best = max(metric.score(y, answer.astype(np.int8)) for answer in answers(probs))
    assert reached == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", GLOBAL)
def test_per_class_is_never_below_global(name):
    """Check that thresholds per class score at least as high as the best global one."""
    metric = get_metric(name, "multilabel")
    for seed in range(6):
        y, probs = simulated(seed, n=60, c=4, digits=1 + seed % 3)
        one = metric.score(y, labels(probs, global_threshold(metric, y, probs)))
        many = metric.score(y, labels(probs, per_class_thresholds(metric, y, probs)))
        assert many >= one - 1e-12


@pytest.mark.parametrize("name", ROW_WISE)
def test_no_single_class_can_gain(name):
    """Check that the ascent ends where no other cut of one class alone scores higher."""
    metric = get_metric(name, "multilabel")
    for seed in range(4):
        y, probs = simulated(seed, n=25, c=3, digits=1)
        answer = labels(probs, per_class_thresholds(metric, y, probs))
        reached = metric.score(y, answer)
        for j in range(3):
            for column in answers(probs[:, j]):
                moved = answer.copy()
                moved[:, j] = column
                assert metric.score(y, moved) <= reached + 1e-12


@pytest.mark.parametrize("name", ["f1_micro", "f1_samples", "subset_accuracy"])
def test_classes_on_different_scales_need_their_own_thresholds(name):
    """Check that classes which no common threshold can part are all parted by their own."""
    y = np.array([[1, 1], [0, 0], [1, 0], [0, 1]], dtype=np.int8)
    probs = np.where(y == 1, [0.3, 0.9], [0.2, 0.7])
    metric = get_metric(name, "multilabel")
    assert metric.score(y, labels(probs, global_threshold(metric, y, probs))) < 1
    perfect = labels(probs, per_class_thresholds(metric, y, probs))
    assert np.array_equal(perfect, y)


def test_against_f1_score_on_a_grid():
    """Check that the exact optimum is never below scikit-learn on 99 thresholds."""
    y, probs = simulated(9, n=500, c=5, digits=6)
    thresholds = per_class_f_beta(y, probs)
    for truth, scores, threshold in zip(y.T, probs.T, thresholds, strict=True):
        grid = max(f1_score(truth, scores >= cut) for cut in np.arange(1, 100) / 100)
        assert f1_score(truth, scores >= threshold) >= grid


def test_a_class_without_positives_stays_near_one_half():
    """Check that nothing extreme is fitted where every cut is as good."""
    y, probs = np.zeros((4, 1), dtype=np.int8), np.array([[0.1], [0.4], [0.7], [0.9]])
    assert per_class_f_beta(y, probs) == pytest.approx([0.55])
    assert micro_f_beta(y, probs) == pytest.approx([0.55])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("name", GLOBAL)
def test_narrow_scores_give_the_thresholds_of_their_float64(name, dtype, tmp_path, monkeypatch):
    """Check that a network's output is cut like the same numbers in float64, however it lies."""
    metric = get_metric(name, "multilabel")
    y, probs = simulated(3, n=80, c=3, digits=6)
    narrow = probs.astype(dtype)
    np.save(tmp_path / "probs.npy", narrow)
    mapped = np.load(tmp_path / "probs.npy", mmap_mode="r")
    wide = narrow.astype(np.float64)
    expected = per_class_thresholds(metric, y, wide)
    one = global_threshold(metric, y, wide)
    for small, piece in ((10**6, 2**22), (0, 31)):
        monkeypatch.setattr(module, "SMALL", small)
        monkeypatch.setattr(module, "PIECE", piece)
        for same in (narrow, mapped, np.asfortranarray(narrow)):
            assert np.array_equal(per_class_thresholds(metric, y, same), expected)
            assert global_threshold(metric, y, same) == one


def test_a_matrix_of_float32_is_never_widened():
    """Check that the fits of 5 million scores allocate less than the scores in float64 would."""
    y, probs = simulated(0, n=100_000, c=50, digits=6)
    narrow = probs.astype(np.float32)
    del probs
    micro = get_metric("f1_micro", "multilabel")
    for fit in (per_class_f_beta, micro_f_beta, partial(global_threshold, micro)):
        tracemalloc.start()
        fit(y, narrow)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * narrow.size, fit


@pytest.mark.parametrize("fit", [per_class_f_beta, micro_f_beta])
@pytest.mark.parametrize(
    ("y", "probs", "words"),
    [
        ([[0, 1]], [[0.5, np.nan]], "nan"),
        ([[0, 1]], [[0.5, 1.1]], "1.1"),
        ([[0, 1]], [[0.5, -1e-9]], "-1e-09"),
        ([[0, 1]], [[0.5, 0.5, 0.5]], "3 columns"),
        ([[0, 1]], [[0.5, 0.5], [0.5, 0.5]], "same rows"),
        ([[0, 3]], [[0.5, 0.5]], "only 0 and 1"),
        ([0, 1], [[0.5, 0.5]], "shape"),
    ],
)
def test_refusals(fit, y, probs, words):
    """Check that NaN, values outside [0, 1] and shapes that differ are refused."""
    with pytest.raises(PodiumError, match=words):
        fit(y, probs)


def test_metrics_and_betas_without_thresholds_are_refused():
    """Check that a log loss has no threshold, and beta must be positive."""
    y, probs = simulated(0, n=5, c=2, digits=1)
    with pytest.raises(PodiumError, match="no thresholds"):
        global_threshold(get_metric("log_loss", "multilabel"), y, probs)
    with pytest.raises(PodiumError, match="beta"):
        per_class_f_beta(y, probs, 0.0)


def simulated(seed, n, c, digits):
    """Return labels and informative scores, rounded so that they tie."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, c)) < np.linspace(0.1, 0.6, c)).astype(np.int8)
    scores = 1 / (1 + np.exp(1 - 1.5 * y - rng.normal(size=y.shape)))
    return y, np.round(scores, digits)
