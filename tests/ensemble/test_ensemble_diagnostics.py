"""What members bring and where answers are wrong, against plain recomputation."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from pipeline.ensemble import diagnostics
from pipeline.ensemble.chain import Candidate
from pipeline.ensemble.choice import Menu, choose
from pipeline.ensemble.cross_fit import CrossFit
from pipeline.ensemble.diagnostics import class_table, diagnose, error_correlation, subset_scores
from pipeline.ensemble.rows import Rows, row_keys
from pipeline.ensemble.stack import Stack
from pipeline.metrics import get_metric

ACCURACY = get_metric("accuracy", "multiclass")
MACRO = get_metric("f1_macro", "multilabel")


def rows_of(task: str, members: int = 4, n: int = 120) -> Rows:
    rng = np.random.default_rng(1)
    if task == "multiclass":
        y = rng.integers(0, 3, n)
        odds = np.eye(3)[y] * np.linspace(2, 0.5, members)[:, None, None]
        values = np.exp(odds + rng.normal(size=(members, n, 3)))
        stack = values / values.sum(axis=2, keepdims=True)
    else:
        y = (rng.random((n, 3)) < 0.4).astype(np.int8)
        stack = expit(2 * y - 1 + rng.normal(size=(members, n, 3)))
    keys = row_keys(np.arange(n).astype(str))
    return Rows(y, Stack.of(stack.astype(np.float32)), np.arange(n) % 4, keys)


@pytest.mark.parametrize(("task", "metric"), [("multiclass", ACCURACY), ("multilabel", MACRO)])
def test_errors_correlate_as_their_rows_do(task, metric):
    """Check correlations of errors against numpy's, and that of a member with its copy."""
    rows = rows_of(task)
    values = rows.stack.dense()
    if task == "multiclass":
        wrong = values.argmax(2) != rows.labels
    else:
        wrong = ((values >= 0.5) != rows.labels).mean(2)
    found = error_correlation(metric, rows)
    np.testing.assert_allclose(found, np.corrcoef(wrong), atol=1e-9)
    twice = Rows(rows.labels, Stack.of(values[[0, 0]]), rows.part, rows.keys)
    np.testing.assert_allclose(error_correlation(metric, twice), 1)


def test_a_member_that_is_always_right_correlates_with_none():
    """Check that an error without spread gives 0 and not a division by zero."""
    rows = rows_of("multiclass", members=2)
    perfect = np.eye(3, dtype=np.float32)[rows.labels]
    both = Rows(rows.labels, Stack.of([perfect, rows.stack.member(0)]), rows.part, rows.keys)
    np.testing.assert_array_equal(error_correlation(ACCURACY, both), np.eye(2))


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_every_subset_is_scored(task):
    """Check all subsets against scikit-learn, best first."""
    rows, metric = rows_of(task), ACCURACY if task == "multiclass" else MACRO
    values, expected = rows.stack.dense(), {}
    for size in range(1, 5):
        for subset in combinations(range(4), size):
            mean = values[list(subset)].mean(0, dtype=np.float64)
            if task == "multiclass":
                expected[subset] = accuracy_score(rows.labels, mean.argmax(1))
            else:
                expected[subset] = f1_score(rows.labels, mean >= 0.5, average="macro")
    found = {tuple(line["members"]): line["score"] for line in subset_scores(metric, rows)}
    assert found == pytest.approx(expected)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_of_many_members_the_best_is_added_each_time():
    """Check the forward path against the scores of all subsets."""
    rows = rows_of("multiclass")
    every = {tuple(line["members"]): line["score"] for line in subset_scores(ACCURACY, rows)}
    found = [tuple(line["members"]) for line in subset_scores(ACCURACY, rows, most=3)]
    path = sorted((one for one in found if len(one) > 1), key=len)
    assert len(found) == 4 + 3 and [len(one) for one in path] == [2, 3, 4]
    current = max(((at,) for at in range(4)), key=every.__getitem__)
    for wider in path:
        reached = [tuple(sorted((*current, at))) for at in range(4) if at not in current]
        assert wider in reached and every[wider] == max(every[one] for one in reached)
        current = wider


def test_what_is_lost_without_a_member():
    """Check each member's loss against a cross-fit of the others, by hand."""
    rows = rows_of("multiclass")
    choice = choose(ACCURACY, rows, 0, menu=Menu(("hill-climbing",), ("argmax",), ("none",)))
    table = diagnose(ACCURACY, rows, choice, choice.answer, 0)["members"]
    whole = accuracy_score(rows.labels, choice.answer)
    for at, line in enumerate(table):
        others = [other for other in range(4) if other != at]
        fits = CrossFit(ACCURACY, rows.only(others))
        fits.add([Candidate("hill-climbing", "argmax")])
        without = accuracy_score(rows.labels, next(iter(fits.taken().values())))
        assert line["loss"] == pytest.approx(whole - without)
        alone = rows.stack.member(at).argmax(1)
        assert line["score"] == pytest.approx(accuracy_score(rows.labels, alone))
        assert line["loss_se"] >= 0
    assert any(line["loss"] != 0 for line in table)


def test_confusions_and_classes():
    """Check counts, shares by row, precision, recall and F1 against scikit-learn."""
    rows = rows_of("multiclass")
    choice = choose(ACCURACY, rows, 0, menu=Menu(("mean",), ("argmax",)))
    found = diagnose(ACCURACY, rows, choice, choice.answer, 0)
    expected = confusion_matrix(rows.labels, choice.answer)
    np.testing.assert_array_equal(found["confusion"], expected)
    by_row = confusion_matrix(rows.labels, choice.answer, normalize="true")
    np.testing.assert_allclose(found["confusion_by_row"], by_row)
    assert found["reliability"]["ece"] >= 0 and len(found["reliability"]["per_class"]) == 3
    for task in ("multiclass", "multilabel"):
        rows = rows_of(task)
        probs = rows.stack.member(0)
        answer = probs.argmax(1) if task == "multiclass" else (probs >= 0.5).astype(np.int8)
        scores = precision_recall_fscore_support(rows.labels, answer)
        for at, line in enumerate(class_table(rows.labels, answer, 3)):
            got = line["precision"], line["recall"], line["f1"], line["support"]
            assert got == pytest.approx([values[at] for values in scores])


def test_a_class_that_is_never_answered_has_no_precision():
    """Check that what divides by zero is none, and its F1 0."""
    table = class_table(np.array([0, 1, 1]), np.array([0, 0, 0]), 3)
    assert table[1]["precision"] is None and table[1]["f1"] == 0
    assert table[2]["recall"] is None and table[2]["support"] == 0


def test_large_stacks_are_not_held_at_once(monkeypatch):
    """Check that beyond the limit of memory the forward path is taken, whatever the members."""
    monkeypatch.setattr(diagnostics, "VALUES", 10)
    assert len(subset_scores(ACCURACY, rows_of("multiclass"))) == 4 + 3
