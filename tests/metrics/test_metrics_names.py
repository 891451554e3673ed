"""Metric names, the way up, and what a metric refuses."""

import numpy as np
import pytest

from pipeline.errors import PodiumError
from pipeline.metrics import get_metric, metric_names
from pipeline.metrics.checks import check_pair

PROBS = np.array([[0.2, 0.8], [0.6, 0.4]])


def test_every_listed_name_is_a_metric_of_its_task():
    """Check that names resolve, and keep name, task and kind of answer."""
    for task in ("multiclass", "multilabel"):
        for name in metric_names(task):
            metric = get_metric(name, task)
            assert (metric.name, metric.task) == (name, task)
            ranked = name in ("log_loss", "auc_macro", "ap_macro")
            assert metric.needs == ("probs" if ranked else "labels")
            assert metric.sign == (-1 if name == "log_loss" else 1)


def test_any_positive_beta():
    """Check that beta is read from the name and equal betas share one name."""
    assert get_metric("f0.25_weighted", "multiclass").beta == 0.25
    assert get_metric("f1.0_macro", "multiclass") == get_metric("f1_macro", "multiclass")


@pytest.mark.parametrize(
    ("name", "task", "hint"),
    [
        ("acuracy", "multiclass", "accuracy"),
        ("accuracy", "multilabel", "subset_accuracy"),
        ("f1_samples", "multiclass", "f1_"),
        ("f1-macro", "multilabel", "f1_macro"),
        ("f0_macro", "multiclass", "f1_macro"),
        ("jaccard_samples", "multiclass", "jaccard_"),
        ("jacard_macro", "multilabel", "jaccard_macro"),
        ("mcc", "multilabel", "mcc_macro"),
        ("zzz", "multilabel", "known are"),
        (None, "multiclass", "known are"),
        ("accuracy", "regression", "multiclass, multilabel"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, task, hint):
    """Check that a wrong name, or one of the other task, names a remedy."""
    with pytest.raises(PodiumError, match=hint):
        get_metric(name, task)


@pytest.mark.parametrize(
    ("y", "answer", "words"),
    [
        ([0, 1, 1], [0, 1], "same rows"),
        ([0.0, 1.0], [0, 1], "integers"),
        ([[0], [1]], [0, 1], "shape"),
        ([], [], "integers"),
        ([-1, 0], [0, 1], "from 0"),
        ([0, 1], [0, -2], "answer must hold class indices from 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y, answer, words):
    """Check that a multi-class metric refuses wrong types, shapes and lengths."""
    with pytest.raises(PodiumError, match=words):
        get_metric("accuracy", "multiclass").score(y, answer)


@pytest.mark.parametrize(
    ("y", "answer", "words"),
    [
        ([[0, 2]], [[0, 1]], "only 0 and 1, got 2"),
        ([[0, 1]], [[0, 1, 1]], "2 columns"),
        ([0, 1], [0, 1], "shape"),
    ],
)
def test_indicators_that_do_not_fit_are_refused(y, answer, words):
    """Check that a multi-label metric refuses what is not a 0/1 matrix of its width."""
    with pytest.raises(PodiumError, match=words):
        get_metric("f1_micro", "multilabel").score(y, answer)


@pytest.mark.parametrize(
    ("y", "probs", "words"),
    [
        ([0, 1], [[0.5, np.nan], [0.5, 0.5]], "nan at row 0, column 1"),
        ([0, 1], [[0.5, 0.5], [1.5, 0.5]], "1.5 at row 1, column 0"),
        ([0, 1], [[0.5, 0.5], [-0.1, 0.5]], "-0.1"),
        ([0, 2], PROBS, "below 2"),
        ([0, 1, 1], PROBS, "same rows"),
        ([0, 0], [[0.5], [0.5]], "at least 2 columns"),
        ([0, 1], [0.5, 0.5], "shape"),
        ([0, 1], [["a", "b"], ["c", "d"]], "numbers"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(y, probs, words):
    """Check that NaN, values outside [0, 1] and other shapes are refused, with their place."""
    with pytest.raises(PodiumError, match=words):
        get_metric("log_loss", "multiclass").score(y, probs)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_probabilities_stay_as_they_are(dtype):
    """Check that narrow matrices are refused by the same rules, and neither copied nor widened."""
    probs = np.array([[0.25, 1.0], [0.0, -0.0]], dtype=dtype)
    y = np.array([[1, 0], [0, 1]], dtype=np.int8)
    labels, same = check_pair(y, probs, "multilabel", narrow=True)
    assert same is probs
    assert labels is y
    wide = check_pair(y, probs, "multilabel")[1]
    assert wide.dtype == np.float64
    assert np.array_equal(wide, probs)
    swapped = probs.astype(np.dtype(dtype).newbyteorder())
    assert check_pair(y, swapped, "multilabel", narrow=True)[1].dtype == np.float64
    for bad in (np.nan, 1.5, -0.5):
        probs[1, 0] = bad
        with pytest.raises(PodiumError, match=f"{bad} at row 1, column 0"):
            check_pair(y, probs, "multilabel", narrow=True)


def test_a_ranking_has_no_sums():
    """Check that asking a ranking metric for sums of rows is a bug with a reason."""
    metric = get_metric("auc_macro", "multiclass")
    with pytest.raises(TypeError, match="order of all rows"):
        metric.stats([0, 1], PROBS, 2)
    with pytest.raises(TypeError, match="order of all rows"):
        metric.from_sums(np.zeros(3))
