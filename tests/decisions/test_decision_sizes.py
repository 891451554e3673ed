"""Numbers of labels per row: top k, limits, and a threshold under them, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.decisions import fit_sized, fit_top_k, limit_sizes, top_labels
from pipeline.errors import PodiumError
from pipeline.metrics import custom_metric, get_metric

NAMES = (
    *("f1_macro", "f2_micro", "f1_weighted", "f1_samples", "subset_accuracy"),
    *("jaccard_macro", "jaccard_samples", "mcc_macro"),
)
CHECKED = settings(max_examples=60, deadline=None, derandomize=True, database=None)
FEW = [0.0, 0.2, 0.5, 0.5 + 2**-53, 0.9, 1.0]


@st.composite
def matrices(draw):
    """Draw labels and scores with many ties."""
    shape = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    y = draw(arrays(np.int8, shape, elements=st.integers(0, 1)))
    return y, draw(arrays(np.float64, shape, elements=st.sampled_from(FEW)))


def limited(answer, scores, low, high):
    """Add or drop labels one by one until a row has as many as it must."""
    answer = answer.copy()
    for row, score in zip(answer, scores, strict=True):
        while row.sum() < low:
            row[max(np.flatnonzero(row == 0), key=lambda j: (score[j], -j))] = 1
        while row.sum() > high:
            row[min(np.flatnonzero(row == 1), key=lambda j: (score[j], -j))] = 0
    return answer


def simulated(n=300, c=6):
    rng = np.random.default_rng(3)
    y = (rng.random((n, c)) < [0.5, 0.3, 0.2, 0.1, 0.1, 0.05][:c]).astype(np.int8)
    y[y.sum(1) == 0, 0] = 1
    probs = 1 / (1 + np.exp(1.5 - 2 * y - rng.normal(size=y.shape)))
    return y, probs


@CHECKED
@given(matrices(), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.1, 0.5, 0.7]))
def test_limits_add_and_drop_by_the_order_of_scores(case, low, more, threshold):
    """Check against adding and dropping single labels, ties to the first class."""
    _, probs = case
    low, high = min(low, probs.shape[1]), max(1, low + more)
    thresholds = np.linspace(threshold, 0.9, probs.shape[1])
    answer = (probs >= thresholds).astype(np.int8)
    before = answer.copy()
    got = limit_sizes(answer, probs - thresholds, low, high)
    assert np.array_equal(got, limited(answer, probs - thresholds, low, high))
    assert np.array_equal(answer, before)
    assert got.dtype == np.int8


def test_limits_that_cannot_be_kept_are_refused():
    """Check that more labels than classes are an error, and no limits change nothing."""
    answer = np.array([[1, 0]], dtype=np.int8)
    with pytest.raises(PodiumError, match="2 classes, got 3"):
        limit_sizes(answer, answer, 3)
    assert limit_sizes(answer, answer) is answer
    assert limit_sizes(answer, answer, 2).tolist() == [[1, 1]]


@CHECKED
@given(matrices(), st.integers(1, 5))
def test_top_labels_are_the_k_highest(case, k):
    """Check numbers and order, ties to the first class, in float32 too."""
    _, probs = case
    k = min(k, probs.shape[1])
    got = top_labels(probs, k)
    assert np.array_equal(got, limited(np.zeros_like(got), probs, k, k))
    assert np.array_equal(got, top_labels((probs * 4).astype(np.float32), k))


@CHECKED
@given(matrices(), st.sampled_from(NAMES))
def test_top_k_is_the_best_of_all_k(case, name):
    """Check the number of labels against trying each with the metric itself."""
    y, probs = case
    metric = get_metric(name, "multilabel")
    values = [metric.score(y, top_labels(probs, k)) for k in range(1, y.shape[1] + 1)]
    k = fit_top_k(metric, y, probs)
    assert values[k - 1] == pytest.approx(max(values), abs=1e-12)
    assert max(values[: k - 1], default=-1) < max(values)


@CHECKED
@given(matrices(), st.sampled_from(NAMES))
def test_sized_is_the_best_threshold_under_its_limits(case, name):
    """Check against every cut under the limits seen, and the plain 0.5."""
    y, probs = case
    metric = get_metric(name, "multilabel")
    threshold, low, high = fit_sized(metric, y, probs)

    def score(t, low, high):
        answer = limited((probs >= t).astype(np.int8), probs, low, high)
        return metric.score(y, answer)

    few, many = int(y.sum(1).min()), max(1, int(y.sum(1).max()))
    best = max(score(t, few, many) for t in [2.0, *np.unique(probs)])
    plain = score(0.5, 0, y.shape[1])
    if high is None:
        assert (threshold, low) == (0.5, 0)
        assert plain > best
    else:
        assert (low, high) == (few, many)
        assert score(threshold, low, high) == pytest.approx(max(best, plain), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_sized_of_many_scores_is_close_to_the_best(name, monkeypatch):
    """Check quantile cuts, several blocks, against every fortieth score; never below plain 0.5."""
    monkeypatch.setattr("pipeline.decisions.sizes.BLOCK", 200)
    y, probs = simulated()
    metric = get_metric(name, "multilabel")
    threshold, low, high = fit_sized(metric, y, probs.astype(np.float32))
    probs = probs.astype(np.float32).astype(np.float64)

    def score(t):
        return metric.score(y, limit_sizes((probs >= t).astype(np.int8), probs, low, high))

    tried = max(score(t) for t in np.sort(probs.ravel())[::40])
    assert (low, high) == (1, y.sum(1).max())
    assert score(threshold) >= tried - 0.004
    assert score(threshold) >= metric.score(y, (probs >= 0.5).astype(np.int8))


def test_sized_falls_back_to_the_plain_default():
    """Check that limits which cost score on the fitted rows are not taken."""
    y = np.array([[1, 0], [0, 1]] + [[1, 0]] * 4, dtype=np.int8)
    probs = np.where(y == 1, 0.4, 0.3)
    probs[2:] = [0.2, 0.45]  # answering one label anyhow takes the wrong one
    probs[:2, 0] = [0.9, 0.1]
    probs[:2, 1] = [0.1, 0.9]
    metric = get_metric("f0.5_macro", "multilabel")
    plain = metric.score(y, (probs >= 0.5).astype(np.int8))
    forced = metric.score(y, top_labels(probs, 1))
    assert plain > forced
    assert fit_sized(metric, y, probs) == (0.5, 0, None)


def test_a_custom_metric_is_tried_whole(tmp_path):
    """Check that the host's own metric gets whole answers, few of them, and its best is taken."""
    path = tmp_path / "cost.py"
    path.write_text(
        "calls = []\ndef score(y, answer):\n    calls.append(answer)\n"
        "    return (y & answer).sum() / (y | answer).sum()\n"
    )
    metric = custom_metric(path, "multilabel")
    calls = metric.function.__globals__["calls"]
    y, probs = simulated()
    k = fit_top_k(metric, y, probs)
    most = y.sum(1).max()
    assert len(calls) == most
    assert all(answer.shape == y.shape for answer in calls)
    values = [metric.score(y, top_labels(probs, k)) for k in range(1, most + 1)]
    assert k == 1 + np.argmax(values)
    calls.clear()
    threshold, low, high = fit_sized(metric, y, probs)
    assert 50 < len(calls) <= 100
    answer = limit_sizes((probs >= threshold).astype(np.int8), probs, low, high)
    assert metric.score(y, answer) >= metric.score(y, (probs >= 0.5).astype(np.int8))


def test_rows_that_do_not_fit_are_refused():
    """Check that labels of other rows or classes are an error."""
    metric = get_metric("f1_macro", "multilabel")
    with pytest.raises(PodiumError, match="rows"):
        fit_top_k(metric, np.zeros((3, 2), int), np.zeros((2, 2)))
    with pytest.raises(PodiumError, match="columns"):
        fit_sized(metric, np.zeros((2, 3), int), np.zeros((2, 2)))
