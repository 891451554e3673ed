"""Every metric against scikit-learn: by score, by sums of rows, and under weights of rows."""

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.errors import PodiumError
from pipeline.metrics import get_metric, metric_names
from pipeline.metrics.class_counts import class_counts, confusion
from pipeline.metrics.rows import row_log_loss

N_CLASSES = 4
CASES = [(task, name) for task in ("multiclass", "multilabel") for name in metric_names(task)]
CASES += [("multiclass", "f3_macro"), ("multilabel", "f1.5_samples")]


def oracle(metric, y, answer, w=None):
    """Return what scikit-learn says, called the plainest way."""
    if hasattr(metric, "beta"):
        options = {"beta": metric.beta, "average": metric.average, "zero_division": 0}
        return sk.fbeta_score(y, answer, sample_weight=w, **options)
    if metric.name.startswith("jaccard"):
        options = {"average": metric.average, "zero_division": 0}
        return sk.jaccard_score(y, answer, sample_weight=w, **options)
    if metric.name == "mcc_macro":
        pairs = zip(y.T, answer.T, strict=True)
        return np.mean([sk.matthews_corrcoef(t, a, sample_weight=w) for t, a in pairs])
    if metric.name == "log_loss":
        clipped = np.clip(answer.astype(np.float64), 1e-15, 1 - 1e-15)
        if metric.task == "multiclass":
            clipped /= clipped.sum(1, keepdims=True)
            return sk.log_loss(y, clipped, sample_weight=w, labels=range(answer.shape[1]))
        w = None if w is None else np.repeat(w, y.shape[1])
        return sk.log_loss(y.ravel(), clipped.ravel(), sample_weight=w, labels=[0, 1])
    if metric.name in ("auc_macro", "ap_macro"):
        truth = y if metric.task == "multilabel" else np.eye(answer.shape[1], dtype=int)[y]
        score = sk.roc_auc_score if metric.name == "auc_macro" else sk.average_precision_score
        return score(truth, answer, average="macro", sample_weight=w)
    if metric.name == "qwk":
        labels = range(N_CLASSES)
        options = {"labels": labels, "weights": "quadratic", "sample_weight": w}
        return sk.cohen_kappa_score(y, answer, **options)
    named = {
        "accuracy": sk.accuracy_score,
        "subset_accuracy": sk.accuracy_score,
        "balanced_accuracy": sk.balanced_accuracy_score,
        "mcc": sk.matthews_corrcoef,
    }
    return named[metric.name](y, answer, sample_weight=w)


def case(task, needs, seed, n=40, levels=8, dtype=np.float64):
    """Return labels and an answer with many ties and, where probabilities, exact 0 and 1."""
    rng = np.random.default_rng(seed)
    probs = (rng.integers(0, levels + 1, (n, N_CLASSES)) / levels).astype(dtype)
    if task == "multiclass":
        y = rng.integers(0, N_CLASSES, n)
        y[:N_CLASSES] = np.arange(N_CLASSES)
        guess = np.where(rng.random(n) < 0.5, y, rng.integers(0, N_CLASSES, n))
    else:
        y = (rng.random((n, N_CLASSES)) < 0.4).astype(np.int8)
        y[:2] = [[0] * N_CLASSES, [1] * N_CLASSES]
        guess = np.where(rng.random(y.shape) < 0.7, y, 1 - y).astype(np.int8)
    return y, (probs if needs == "probs" else guess)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_score_is_scikit_learns(task, name):
    """Check that the score of a name is what scikit-learn returns for it."""
    metric = get_metric(name, task)
    for seed in range(3):
        y, answer = case(task, metric.needs, seed, dtype=np.float32)
        assert metric.score(y, answer) == pytest.approx(oracle(metric, y, answer), abs=1e-12)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_sums_equal_score_and_sample_weights(task, name):
    """Check that weighted sums of rows give scikit-learn's score with sample_weight."""
    metric = get_metric(name, task)
    for seed in range(3):
        y, answer = case(task, metric.needs, seed)
        weights = np.random.default_rng(seed).integers(1, 5, (3, len(y))).astype(float)
        weights[0] = 1
        got = metric.scorer(y, answer, N_CLASSES, np.arange(len(y)))(weights)
        expected = [oracle(metric, y, answer, w) for w in weights]
        assert got == pytest.approx(np.array(expected), abs=1e-12)
        assert got[0] == pytest.approx(metric.score(y, answer), abs=1e-12)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_weights_with_zeros_equal_repeated_rows(task, name):
    """Check that integer weights, zero included, score like rows repeated that often."""
    metric = get_metric(name, task)
    for seed in range(8):
        y, answer = case(task, metric.needs, seed, n=9)
        weights = np.random.default_rng(seed).integers(0, 3, len(y))
        got = metric.scorer(y, answer, N_CLASSES, np.arange(len(y)))(weights[None].astype(float))
        rows = np.repeat(np.arange(len(y)), weights)
        try:
            expected = metric.score(y[rows], answer[rows])
        except PodiumError:
            expected = np.nan
        assert got[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("task", "name"), [c for c in CASES if c[1] not in ("auc_macro", "ap_macro")]
)
def test_stats_are_additive_rows(task, name):
    """Check that stats are float64 rows whose plain sum gives the score, stacked sums too."""
    metric = get_metric(name, task)
    y, answer = case(task, metric.needs, 5)
    stats = metric.stats(y, answer, N_CLASSES)
    assert stats.dtype == np.float64
    assert len(stats) == len(y)
    stacked = np.stack([stats.sum(0), stats[:20].sum(0)])[None]
    scores = metric.from_sums(stacked)
    assert scores.shape == (1, 2)
    assert scores[0, 0] == pytest.approx(metric.score(y, answer), abs=1e-12)
    assert scores[0, 1] == pytest.approx(metric.score(y[:20], answer[:20]), abs=1e-12)


def test_macro_f_runs_over_present_classes_only_in_multiclass():
    """Check that an absent class is left out of multi-class and counts 0 in multi-label macro-F."""
    y, answer = np.array([0, 0, 2]), np.array([0, 0, 2])
    multiclass = get_metric("f1_macro", "multiclass")
    assert multiclass.score(y, answer) == 1.0
    assert multiclass.from_sums(multiclass.stats(y, answer, 5).sum(0)) == 1.0
    matrix = np.array([[1, 0], [1, 0]], dtype=np.int8)
    assert get_metric("f1_macro", "multilabel").score(matrix, matrix) == 0.5


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "samples"])
@pytest.mark.parametrize(("kind", "expected"), [("f1", 0.5), ("jaccard", 1 / 3)])
def test_one_column_scores_its_positives(average, kind, expected):
    """Check that a multi-label task of one class is not read as two classes."""
    y, answer = np.array([[1], [1], [0], [0]]), np.array([[1], [0], [1], [0]])
    metric = get_metric(f"{kind}_{average}", "multilabel")
    expected = 0.25 if average == "samples" else expected
    assert metric.score(y, answer) == pytest.approx(expected)
    assert metric.from_sums(metric.stats(y, answer, 1).sum(0)) == pytest.approx(expected)


def test_kappa_keeps_the_distance_over_unused_classes():
    """Check that classes 0 and 3 stay three apart though nobody used 1 and 2."""
    y, answer = np.array([0, 0, 3, 3, 4]), np.array([0, 3, 3, 4, 4])
    labels = range(5)
    expected = sk.cohen_kappa_score(y, answer, labels=labels, weights="quadratic")
    metric = get_metric("qwk", "multiclass")
    assert metric.score(y, answer) == pytest.approx(expected)
    assert metric.from_sums(metric.stats(y, answer, 5).sum(0)) == pytest.approx(expected)


def test_balanced_accuracy_ignores_classes_absent_from_labels():
    """Check that an answer outside the labels' classes costs its row and adds no class."""
    y, answer = np.array([0, 0, 1]), np.array([0, 2, 1])
    assert get_metric("balanced_accuracy", "multiclass").score(y, answer) == 0.75


def test_log_loss_clips_certain_mistakes():
    """Check that a certain mistake costs -log(1e-15), and rows are normalised first."""
    metric = get_metric("log_loss", "multiclass")
    assert metric.score([0], np.array([[0.0, 1.0]])) == pytest.approx(-np.log(1e-15), rel=1e-6)
    assert metric.score([0], np.array([[0.2, 0.2]])) == pytest.approx(np.log(2))
    binary = get_metric("log_loss", "multilabel")
    assert binary.score([[1]], np.array([[0.0]])) == pytest.approx(-np.log(1e-15), rel=1e-6)


@pytest.mark.parametrize("name", ["auc_macro", "ap_macro"])
def test_ranking_averages_over_defined_classes(name):
    """Check that a class without positives is left out, and that none left is an error."""
    metric = get_metric(name, "multilabel")
    y = np.array([[1, 0], [0, 0], [1, 0]], dtype=np.int8)
    probs = np.array([[0.9, 0.1], [0.5, 0.2], [0.4, 0.3]])
    column = sk.roc_auc_score if name == "auc_macro" else sk.average_precision_score
    assert metric.score(y, probs) == pytest.approx(column(y[:, 0], probs[:, 0]))
    with pytest.raises(PodiumError, match="undefined"):
        metric.score(0 * y, probs)
    assert np.isnan(metric.scorer(0 * y, probs, 2, np.arange(3))(np.ones((2, 3)))).all()


def test_auc_needs_negatives_and_ap_does_not():
    """Check that a class of positives alone has an average precision of 1 and no AUC."""
    y, probs = np.ones((3, 1), dtype=np.int8), np.array([[0.1], [0.2], [0.3]])
    assert get_metric("ap_macro", "multilabel").score(y, probs) == 1.0
    with pytest.raises(PodiumError, match="both positive and negative"):
        get_metric("auc_macro", "multilabel").score(y, probs)


def test_constant_answers():
    """Check that a constant answer gives MCC 0, and an undefined kappa is refused."""
    y = np.array([1, 1, 1])
    assert get_metric("mcc", "multiclass").score(y, y) == 0.0
    with pytest.raises(PodiumError, match="undefined"):
        get_metric("qwk", "multiclass").score(y, y)


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_confusion_is_scikit_learns(dtype):
    """Check the matrix with classes that nobody has or answers, and narrow integers."""
    rng = np.random.default_rng(0)
    y, answer = rng.integers(0, 20, 300).astype(dtype), rng.integers(3, 25, 300).astype(dtype)
    found = confusion(y, answer, 27)
    np.testing.assert_array_equal(found, sk.confusion_matrix(y, answer, labels=range(27)))
    assert found.dtype == np.int64


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_class_counts_are_scikit_learns(task, weighted):
    """Check right, answered and actual rows of every class against its confusion with the rest."""
    rng = np.random.default_rng(1)
    shape = (50,) if task == "multiclass" else (50, N_CLASSES)
    top = 3 if task == "multiclass" else 2  # the last class is never there
    y, answer = (rng.integers(0, top, shape).astype(np.int8) for _ in range(2))
    w = rng.random(50) if weighted else None
    hot = (np.eye(N_CLASSES, dtype=int)[each] if each.ndim == 1 else each for each in (y, answer))
    each = sk.multilabel_confusion_matrix(*hot, sample_weight=w)  # (c, 2, 2): actual, answered
    expected = each[:, 1, 1], each[:, :, 1].sum(1), each[:, 1].sum(1)
    for found, column in zip(class_counts(y, answer, N_CLASSES, w), expected, strict=True):
        np.testing.assert_allclose(found, column, atol=1e-12)
        assert found.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_log_loss_of_rows_is_that_of_each_row_alone(task, dtype, monkeypatch):
    """Check each row against scikit-learn, by blocks of three rows, certain mistakes included."""
    rng = np.random.default_rng(2)
    probs = rng.random((20, N_CLASSES)).astype(dtype)
    probs[0], probs[1] = [1, 0, 0, 0], [0, 1, 1, 0]
    y = rng.integers(0, 2, probs.shape) if task == "multilabel" else rng.integers(0, N_CLASSES, 20)
    metric = get_metric("log_loss", task)
    expected = [oracle(metric, y[i : i + 1], probs[i : i + 1]) for i in range(20)]
    monkeypatch.setattr("pipeline.metrics.rows.BLOCK", 3 * N_CLASSES)
    found = row_log_loss(task, y, probs)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.dtype == np.float64
