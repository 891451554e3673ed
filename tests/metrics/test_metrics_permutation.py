"""The permutation test against plain enumeration, the binomial test, and what must not matter."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.errors import PodiumError
from pipeline.metrics import bootstrap, custom_metric, get_metric, metric_names, permutation
from pipeline.metrics.permutation import Permutation, permutation_test


def enumerated(metric, y, a, b, groups) -> float:
    """Score every swap of whole groups, rows really exchanged, one by one."""
    names = np.unique(groups)
    found = abs(metric.score(y, b) - metric.score(y, a))
    extreme = []
    for swap in product([False, True], repeat=len(names)):
        swapped = np.isin(groups, names[np.array(swap)]).reshape(-1, *[1] * (a.ndim - 1))
        one, other = np.where(swapped, b, a), np.where(swapped, a, b)
        extreme.append(abs(metric.score(y, one) - metric.score(y, other)) >= found - 1e-10)
    return np.mean(extreme)


def pair(task: str, needs: str, n: int = 40, seed: int = 0):
    """Return labels, two answers of which the second is a little better, and 6 groups."""
    rng = np.random.default_rng(seed)
    groups = np.array(list("abcdef"))[np.arange(n) % 6]
    if task == "multilabel":
        y = (rng.random((n, 3)) < 0.4).astype(np.int8)
        a, b = (np.round(0.4 * k * y + 0.6 * rng.random((n, 3)), 1) for k in (0.6, 1))
        if needs == "labels":
            a, b = ((v > 0.4).astype(np.int8) for v in (a, b))
        return y, a, b, groups
    y = np.arange(n) % 4
    a, b = (0.7 * k * np.eye(4)[y] + rng.random((n, 4)) for k in (0.5, 1))
    if needs == "labels":
        return y, a.argmax(1), b.argmax(1), groups
    return y, a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True), groups


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_few_groups_are_enumerated(task):
    """Check, for every metric, that p is the share of all swaps of rows that are as extreme."""
    found = {}
    for name in metric_names(task):
        metric = get_metric(name, task)
        y, a, b, groups = pair(task, metric.needs)
        found[name] = expected = enumerated(metric, y, a, b, groups)
        assert permutation_test(metric, y, a, b, groups).p == pytest.approx(expected), name
    assert np.mean([p < 1 for p in found.values()]) > 0.8, "else the answers are too much alike"


@pytest.mark.parametrize("name", ["accuracy", "auc_macro"])
def test_random_swaps_estimate_the_enumerated_share(name, monkeypatch):
    """Check that swaps drawn at random come to the same p-value, for sums and for ranks."""
    metric = get_metric(name, "multiclass")
    y, a, b, groups = pair("multiclass", metric.needs, seed=3)
    expected = enumerated(metric, y, a, b, groups)
    monkeypatch.setattr(permutation, "EXACT", 0)
    got = permutation_test(metric, y, a, b, groups, n_permutations=4000).p
    assert got == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4000))
    again = permutation_test(metric, y, a, b, groups, n_permutations=4000, seed=1).p
    assert again != got and again == pytest.approx(got, abs=0.05)


@pytest.mark.parametrize(("fixed", "broken"), [(9, 3), (30, 12), (60, 40), (5, 5)])
def test_accuracy_row_by_row_is_the_sign_test(fixed, broken):
    """Check that for accuracy without groups p is McNemar's exact one."""
    y = np.zeros(300, np.int64)
    a, b = y.copy(), y.copy()
    a[:fixed], b[fixed : fixed + broken] = 1, 1
    metric = get_metric("accuracy", "multiclass")
    expected = binomtest(fixed, fixed + broken).pvalue
    got = permutation_test(metric, y, a, b, n_permutations=20000).p
    exact = fixed + broken <= permutation.EXACT
    assert got == pytest.approx(expected, abs=1e-12 if exact else 0.015)


def test_the_number_of_swaps():
    """Check that it is half of 2^g where all swaps of g groups that differ are tried, else what was
    asked for, and none where nothing differs."""
    y = np.zeros(60, np.int64)
    a = y.copy()
    metric = get_metric("accuracy", "multiclass")
    assert permutation_test(metric, y, a, y) == Permutation(1.0, 0, True)
    a[:4] = 1
    assert permutation_test(metric, y, a, y) == Permutation(1 / 8, 8, True)
    a[:30] = 1
    found = permutation_test(metric, y, a, y, n_permutations=70)
    assert (found.n_swaps, found.exact) == (70, False)
    assert found.p == permutation_test(metric, y, a, y, n_permutations=70).p


def test_groups_are_swapped_whole():
    """Check that 30 gains that all lie in two groups are two gains: p = 1/2."""
    y = np.zeros(60, np.int64)
    a, b = y.copy(), y.copy()
    a[:30] = 1
    groups = np.arange(60) // 15
    metric = get_metric("accuracy", "multiclass")
    assert permutation_test(metric, y, a, b, groups).p == 0.5
    assert permutation_test(metric, y, a, b).p < 0.001


@pytest.mark.parametrize("name", ["f1_macro", "log_loss", "ap_macro"])
def test_what_must_not_matter(name, monkeypatch):
    """Check that exchanging a and b, the order of grouped rows, the size of blocks and whether
    sums are sparse change nothing."""
    metric = get_metric(name, "multilabel")
    y, a, b, _ = pair("multilabel", metric.needs, n=60, seed=5)
    ids = np.array([f"row {i:03d}" for i in range(60)])
    p = permutation_test(metric, y, a, b, ids, 200).p
    assert 0 < p < 1
    assert permutation_test(metric, y, b, a, ids, 200).p == p
    rows = np.random.default_rng(0).permutation(60)
    assert permutation_test(metric, y[rows], a[rows], b[rows], ids[rows], 200).p == p
    monkeypatch.setattr(bootstrap, "CELLS", 500)
    assert permutation_test(metric, y, a, b, ids, 200).p == p


def test_the_smallest_p_is_not_zero():
    """Check that of B random swaps none as extreme gives 1 / (B + 1)."""
    y = np.zeros(400, np.int64)
    metric = get_metric("accuracy", "multiclass")
    assert permutation_test(metric, y, 1 - y, y, n_permutations=99).p == 1 / 100
    assert permutation_test(metric, y, y, y).p == 1


def test_a_metric_of_a_file(tmp_path):
    """Check that a host's own metric, of which only the score is known, is enumerated as well."""
    path = tmp_path / "cost.py"
    path.write_text(
        "greater_is_better = False\ndef score(y, answer):\n    return ((y - answer) ** 2).mean()\n"
    )
    metric = custom_metric(path, "multiclass")
    y, a, b, groups = pair("multiclass", "labels", seed=2)
    expected = enumerated(metric, y, a, b, groups)
    assert permutation_test(metric, y, a, b, groups).p == pytest.approx(expected)


def test_refusals():
    """Check that groups of another length, no permutations and other rows are refused."""
    metric = get_metric("accuracy", "multiclass")
    y = np.arange(20) % 2
    with pytest.raises(PodiumError, match="groups must have shape"):
        permutation_test(metric, y, y, y, np.zeros(3))
    with pytest.raises(PodiumError, match="n_permutations must be at least 1, got 0"):
        permutation_test(metric, y, y, y, n_permutations=0)
    with pytest.raises(PodiumError, match="same rows"):
        permutation_test(metric, y, y[:5], y)
