"""Jaccard's index and the mean Matthews correlation: absent classes, constants, large counts."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from pipeline.metrics import get_metric
from pipeline.metrics.f_beta import f_beta
from pipeline.metrics.jaccard import jaccard
from pipeline.metrics.matthews import matthews

CHECKED = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SHAPES = st.shared(st.tuples(st.integers(1, 6), st.integers(2, 4)), key="shape")
MATRICES = SHAPES.flatmap(lambda shape: arrays(np.int8, shape, elements=st.integers(0, 1)))


@CHECKED
@given(MATRICES, MATRICES, st.sampled_from(["macro", "micro", "weighted", "samples"]))
def test_any_small_matrix_scores_as_in_scikit_learn(y, answer, average):
    """Check empty rows, empty classes and empty answers, from labels and from sums."""
    metric = get_metric(f"jaccard_{average}", "multilabel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no labels at all
        expected = sk.jaccard_score(y, answer, average=average, zero_division=0)
    assert metric.score(y, answer) == pytest.approx(expected, abs=1e-12)
    sums = metric.stats(y, answer, y.shape[1]).sum(0)
    assert metric.from_sums(sums) == pytest.approx(expected, abs=1e-12)


@CHECKED
@given(MATRICES, MATRICES)
def test_matthews_of_any_small_matrix(y, answer):
    """Check that the mean runs over all classes, and a constant one counts 0."""
    metric = get_metric("mcc_macro", "multilabel")
    each = []
    for truth, mine in zip(y.T, answer.T, strict=True):
        constant = np.ptp(truth) == 0 or np.ptp(mine) == 0
        each.append(0.0 if constant else np.corrcoef(truth, mine)[0, 1])
    assert metric.score(y, answer) == pytest.approx(np.mean(each), abs=1e-12)
    sums = metric.stats(y, answer, y.shape[1]).sum(0)
    assert metric.from_sums(sums) == pytest.approx(np.mean(each), abs=1e-12)


def test_absent_classes():
    """Check that macro leaves absent classes out of multi-class and counts 0 in multi-label."""
    y = np.array([0, 0, 2])
    metric = get_metric("jaccard_macro", "multiclass")
    assert metric.score(y, y) == 1.0
    assert metric.from_sums(metric.stats(y, y, 5).sum(0)) == 1.0
    matrix = np.array([[1, 0], [1, 0]], dtype=np.int8)
    assert get_metric("jaccard_macro", "multilabel").score(matrix, matrix) == 0.5


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_counts_of_classes_give_the_score(average):
    """Check scores of several counts at once against scikit-learn."""
    metric = get_metric(f"jaccard_{average}", "multiclass")
    rng = np.random.default_rng(0)
    y, answers = rng.integers(0, 3, 30), rng.integers(0, 4, (2, 30))
    sums = [metric.stats(y, answer, 4).sum(0) for answer in answers]
    scores = metric.from_counts(*np.split(np.array(sums), 3, axis=1))
    expected = [sk.jaccard_score(y, a, average=average, zero_division=0) for a in answers]
    assert scores == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_jaccard_is_a_function_of_f1(tp, more, missed):
    """Check J = F1 / (2 - F1), which makes their best thresholds per class the same."""
    f1 = f_beta(tp, tp + more, tp + missed)
    assert jaccard(tp, tp + more, tp + missed) == pytest.approx(f1 / (2 - f1), abs=1e-12)


def test_matthews_of_a_million_rows_and_of_weights():
    """Check that int64 counts do not overflow, and rounded weights make no correlation."""
    counts = [np.int64(value) for value in (300_000, 400_000, 500_000, 1_000_000)]
    assert matthews(*counts) == pytest.approx(matthews(*(float(value) for value in counts)))
    assert matthews(*counts) == pytest.approx(0.1 / np.sqrt(0.24 * 0.25), rel=1e-12)
    weights = np.full(10, 0.1)
    everything, n = weights.sum(), sum(weights)  # summed in other orders
    assert everything != n
    assert matthews(0.3, everything, 0.3, n) == 0


def test_one_label_is_scored():
    """Check a task of one label against scikit-learn on its column."""
    rng = np.random.default_rng(1)
    y, answer = rng.integers(0, 2, (2, 20, 1)).astype(np.int8)
    expected = sk.matthews_corrcoef(y[:, 0], answer[:, 0])
    assert get_metric("mcc_macro", "multilabel").score(y, answer) == pytest.approx(expected)
