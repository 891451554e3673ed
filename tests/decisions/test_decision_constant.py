"""The best constant answer against every class, every set of labels, and a numeric search."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from pipeline.decisions import best_constant, fill, prior_probs
from pipeline.errors import PodiumError
from pipeline.metrics import custom_metric, get_metric, metric_names

CHECKED = settings(max_examples=40, deadline=None, derandomize=True, database=None)
LABELS = {
    task: [n for n in metric_names(task) if get_metric(n, task).needs == "labels"]
    for task in ("multiclass", "multilabel")
}
SETS = ["f1_samples", "f2_samples", "f1_micro", "f0.5_micro", "subset_accuracy", "mcc_macro"]
SETS += ["jaccard_samples", "jaccard_micro", "jaccard_weighted"]
COST = """import numpy as np
greater_is_better = False
COSTS = np.array([[0, 9, 1, 1], [1, 0, 1, 1], [9, 9, 0, 1], [9, 9, 9, 0]])
def score(y, answer):
    return COSTS[y, answer].mean()
"""
JACCARD = """import numpy as np
def score(y, answer):
    both, either = (y & answer).sum(1), (y | answer).sum(1)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0).mean()
"""


def sets(c):
    return [np.array(bits, dtype=np.int8) for bits in product((0, 1), repeat=c)]


def every(constant, y):
    """Return an answer that gives every row the constant."""
    return np.array(np.broadcast_to(constant, (len(y), *np.shape(constant))))


def reached(metric, y, constant):
    """Return the score of a constant through scikit-learn, higher is better; -inf if undefined."""
    try:
        return metric.sign * metric.score(y, every(constant, y))
    except PodiumError:
        return -np.inf


def repeated(y, seed):
    """Return whole weights, zeros included, and the rows repeated that often."""
    weights = np.random.default_rng(seed).integers(0, 4, len(y))
    weights[0] = 1
    return weights, y[np.repeat(np.arange(len(y)), weights)]


def write(tmp_path, text, task):
    path = tmp_path / "cost.py"
    path.write_text(text)
    return custom_metric(path, task)


@pytest.mark.parametrize("name", [*LABELS["multiclass"], "f3_macro"])
def test_a_class_is_the_best_of_all(name):
    """Check against every class, and that the commonest is taken among equals."""
    metric = get_metric(name, "multiclass")
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 4, rng.integers(2, 12))
        y[:2] = [0, 3]
        values = np.array([reached(metric, y, j) for j in range(5)])
        best = best_constant(metric, y, 5)
        assert best.shape == ()
        assert best.dtype == np.int64
        assert values[best] == pytest.approx(values.max(), abs=1e-12)
        counts = np.bincount(y, minlength=5)
        equal = np.flatnonzero(values >= values.max() - 1e-12)
        assert best == max(equal, key=lambda j: (counts[j], -j))


@pytest.mark.parametrize("name", [*LABELS["multilabel"], "f0.25_samples", "f3_micro"])
def test_a_set_is_the_best_of_all(name):
    """Check against all 2^c sets of labels, rare and frequent classes."""
    metric = get_metric(name, "multilabel")
    for seed in range(8):
        rng = np.random.default_rng(seed)
        c = int(rng.integers(1, 6))
        y = (rng.random((9, c)) < rng.random(c) ** 2).astype(np.int8)
        best = best_constant(metric, y, c)
        assert best.shape == (c,)
        assert best.dtype == np.int8
        top = max(reached(metric, y, one) for one in sets(c))
        assert reached(metric, y, best) == pytest.approx(top, abs=1e-12)


@CHECKED
@given(
    arrays(np.int8, st.tuples(st.integers(1, 7), st.integers(1, 4)), elements=st.integers(0, 1)),
    st.sampled_from(SETS),
)
def test_a_set_of_any_small_matrix(y, name):
    """Check the exact searches on matrices that hypothesis makes awkward."""
    metric, c = get_metric(name, "multilabel"), y.shape[1]
    values = {tuple(one): reached(metric, y, one) for one in sets(c)}
    best = tuple(best_constant(metric, y, c))
    assert values[best] == pytest.approx(max(values.values()), abs=1e-12)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_weights_are_repeated_rows(task, tmp_path):
    """Check for every metric that weighing rows and repeating them give the same answer."""
    shape = (10, 4) if task == "multilabel" else 10
    text = JACCARD if task == "multilabel" else COST
    metrics = [get_metric(name, task) for name in metric_names(task)]
    for metric in [*metrics, write(tmp_path, text, task)]:
        for seed in range(4):
            y = np.random.default_rng(seed).integers(0, 2 if task == "multilabel" else 4, shape)
            weights, rows = repeated(y, seed)
            got, expected = best_constant(metric, y, 4, weights), best_constant(metric, rows, 4)
            assert got == pytest.approx(expected)


def test_micro_is_a_prefix_by_frequency():
    """Check on a case by hand: the second class pays for itself, the third does not."""
    y = np.zeros((10, 3), dtype=np.int8)
    y[:3, 0], y[:9, 1], y[:7, 2] = 1, 1, 1
    metric = get_metric("f1_micro", "multilabel")
    # 2 hits / (19 + answered): one 18/29, two 32/39, three 38/49
    assert best_constant(metric, y, 3).tolist() == [0, 1, 1]


def test_a_median_of_many_labels_is_searched():
    """Check that beyond 12 labels no single one betters samples Jaccard, and few stay exact."""
    metric = get_metric("jaccard_samples", "multilabel")
    rng = np.random.default_rng(0)
    y = (rng.random((30, 14)) < np.linspace(0.1, 0.7, 14)).astype(np.int8)
    best = best_constant(metric, y, 14)
    value = reached(metric, y, best)
    assert best.any()
    for flip in np.eye(14, dtype=np.int8):
        assert reached(metric, y, best ^ flip) <= value + 1e-12
    few = np.hstack([y[:, :4], np.zeros((30, 40), np.int8)])  # labels that occur are counted
    exact = best_constant(metric, few, 44)
    assert not exact[4:].any()
    top = max(reached(metric, y[:, :4], one) for one in sets(4))
    assert reached(metric, few, exact) == pytest.approx(top, abs=1e-12)


def test_ties_go_to_the_simplest():
    """Check that nothing is answered where nothing helps, and the commonest class by order."""
    nothing = np.zeros((4, 3), dtype=np.int8)
    for name in LABELS["multilabel"]:
        assert not best_constant(get_metric(name, "multilabel"), nothing, 3).any()
    y = np.array([2, 1, 2, 1, 0])
    for name in LABELS["multiclass"]:
        assert best_constant(get_metric(name, "multiclass"), y, 4) == 1
    one = np.array([3, 3])  # kappa is undefined for the right answer alone
    for name in LABELS["multiclass"]:
        assert best_constant(get_metric(name, "multiclass"), one, 5) == 3
    two = np.array([[1, 1], [1, 1], [0, 1], [0, 1]])
    assert best_constant(get_metric("subset_accuracy", "multilabel"), two, 2).tolist() == [0, 1]


def test_a_custom_cost_of_classes_is_the_best_of_all(tmp_path):
    """Check that the cheapest class is found although it is not the commonest."""
    metric = write(tmp_path, COST, "multiclass")
    y = np.array([0, 0, 0, 1, 2, 2, 3])
    values = [reached(metric, y, j) for j in range(4)]
    assert best_constant(metric, y, 4) == np.argmax(values) == 3


def test_rounding_is_no_reason_for_a_rarer_class(tmp_path):
    """Check that a class ahead by the rounding of a sum does not beat the commonest."""
    text = "def score(y, answer):\n    return [0.3, 0.1 + 0.2][answer[0]]\n"
    metric = write(tmp_path, text, "multiclass")
    assert 0.1 + 0.2 > 0.3
    assert best_constant(metric, np.array([0, 0, 1]), 2) == 0


def test_a_custom_score_of_sets_ends_at_a_local_optimum(tmp_path):
    """Check that no class can be added or dropped with a gain, and most optima are global."""
    metric = write(tmp_path, JACCARD, "multilabel")
    found = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y = (rng.random((12, 4)) < rng.random(4)).astype(np.int8)
        best = best_constant(metric, y, 4)
        value = reached(metric, y, best)
        for flip in np.eye(4, dtype=np.int8):
            assert reached(metric, y, best ^ flip) <= value + 1e-12
        found += value >= max(reached(metric, y, one) for one in sets(4)) - 1e-12
        starts = [np.argsort(np.argsort(-y.sum(0), kind="stable")) < k for k in range(5)]
        assert value >= max(reached(metric, y, start.astype(np.int8)) for start in starts)
    assert found >= 10


def test_the_search_adds_and_drops(tmp_path):
    """Check a set that is no prefix by frequency and no row's own, reached by single steps."""
    text = """def score(y, answer):
    return -abs(answer[0] - [1, 0, 1, 0, 1]).sum()
"""
    metric = write(tmp_path, text, "multilabel")
    y = np.array([[0, 1, 0, 1, 0], [0, 1, 0, 0, 0]])
    assert best_constant(metric, y, 5).tolist() == [1, 0, 1, 0, 1]


def test_a_custom_metric_that_nothing_defines(tmp_path):
    """Check that the commonest class or set answers where every score is undefined."""
    text = "def score(y, answer):\n    return float('nan')\n"
    metric = write(tmp_path, text, "multiclass")
    assert best_constant(metric, np.array([0, 2, 2, 1]), 3) == 2
    metric = write(tmp_path, text, "multilabel")
    y = np.array([[1, 0], [0, 1], [0, 1]])
    assert best_constant(metric, y, 2).tolist() == [0, 1]


def test_frequencies_minimise_the_multiclass_log_loss():
    """Check against a numeric search over the simplex."""
    y = np.array([0] * 5 + [1] * 3 + [2] * 2)
    metric = get_metric("log_loss", "multiclass")
    best = best_constant(metric, y, 3)

    def loss(z):
        probs = np.exp(z) / np.exp(z).sum()
        return metric.score(y, every(probs, y))

    found = minimize(loss, np.zeros(3), tol=1e-12)
    assert metric.score(y, every(best, y)) <= found.fun + 1e-12
    assert best == pytest.approx(np.exp(found.x) / np.exp(found.x).sum(), abs=1e-4)


def test_frequencies_minimise_the_multilabel_log_loss():
    """Check against a fine grid per class."""
    rng = np.random.default_rng(0)
    y = (rng.random((40, 3)) < [0.1, 0.5, 0.8]).astype(np.int8)
    metric = get_metric("log_loss", "multilabel")
    best = best_constant(metric, y, 3)
    value = metric.score(y, every(best, y))
    for j, p in product(range(3), np.arange(1, 100) / 100):
        moved = best.copy()
        moved[j] = p
        assert metric.score(y, every(moved, y)) >= value - 1e-12


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("name", ["auc_macro", "ap_macro"])
def test_rankings_do_not_see_a_constant(name, task):
    """Check that any constant scores what the frequencies do."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 20) if task == "multiclass" else rng.integers(0, 2, (20, 3))
    metric = get_metric(name, task)
    best = best_constant(metric, y, 3)
    assert best == pytest.approx(prior_probs(y, 3))
    for _ in range(5):
        assert reached(metric, y, rng.random(3)) == pytest.approx(reached(metric, y, best))


def test_no_probability_is_exactly_zero(tmp_path):
    """Check the smoothed frequencies by hand, for named metrics and a custom one."""
    y = np.array([0, 0, 0, 2])
    custom = write(tmp_path, 'needs = "probs"\ndef score(y, answer):\n    return 1.0', "multiclass")
    for metric in (get_metric("log_loss", "multiclass"), custom):
        assert best_constant(metric, y, 3) == pytest.approx(np.array([4, 1, 2]) / 7)
        assert best_constant(metric, y % 2 + np.array([0, 0, 1, 2]), 3) == pytest.approx(
            np.array([2, 1, 1]) / 4
        )
    matrix = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    best = best_constant(get_metric("log_loss", "multilabel"), matrix, 3)
    assert best == pytest.approx([5 / 6, 1 / 6, 1 / 4])
    assert best.dtype == np.float64


def test_priors_are_frequencies():
    """Check both tasks, a class that no row has, and the classes' number."""
    priors = prior_probs(np.array([0, 0, 2, 0]), 4)
    assert priors.tolist() == [0.75, 0, 0.25, 0]
    assert priors.dtype == np.float64
    assert prior_probs(np.array([[1, 0], [1, 1]], dtype=np.int8), 2).tolist() == [1, 0.5]
    with pytest.raises(PodiumError, match="below 2"):
        prior_probs(np.array([2]), 2)


@pytest.mark.parametrize(
    ("answer", "constant"),
    [
        (np.array([0, 1, 2]), np.array(7)),
        (np.array([[1, 0], [0, 1], [1, 1]], dtype=np.int8), np.array([0, 0], dtype=np.int8)),
        (np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], np.float32), np.array([0.7, 0.8])),
    ],
)
def test_fill_replaces_rows_in_a_copy(answer, constant):
    """Check rows, dtype, and that the answer given stays as it was."""
    before = answer.copy()
    filled = fill(answer, np.array([False, True, False]), constant)
    assert filled.dtype == answer.dtype
    assert np.array_equal(answer, before)
    assert np.array_equal(filled[[0, 2]], answer[[0, 2]])
    assert np.array_equal(filled[1], constant.astype(answer.dtype))
    assert np.array_equal(fill(answer, np.zeros(3, bool), constant), answer)


@pytest.mark.parametrize(
    ("without", "constant", "words"),
    [
        ([True, False], 1, "bool"),
        ([1, 0, 0], 1, "bool"),
        ([True, False, True], [1, 2], "must have shape"),
    ],
)
def test_fill_refuses_what_does_not_fit(without, constant, words):
    """Check that rows of numbers, other lengths and other forms are refused."""
    with pytest.raises(PodiumError, match=words):
        fill(np.array([0, 1, 2]), np.array(without), np.array(constant))


def test_fill_loses_no_digits():
    """Check that a probability is not cut to an integer in silence."""
    with pytest.raises(TypeError, match="cast"):
        fill(np.array([0, 1]), np.array([True, False]), np.array(0.5))


@pytest.mark.parametrize(
    ("weights", "words"),
    [([1.0], "shape"), ([-1.0, 1, 1], "negative"), ([0.0, 0, 0], "all 0"), ([np.nan, 1, 1], "fin")],
)
def test_bad_weights_are_refused(weights, words):
    """Check that weights are one per row, finite, not negative, and somewhere positive."""
    with pytest.raises(PodiumError, match=words):
        best_constant(get_metric("accuracy", "multiclass"), np.array([0, 1, 1]), 2, weights)
