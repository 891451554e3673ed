"""Answering or not against brute force over all thresholds, with scikit-learn as the oracle."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from pipeline.decisions import Point, answered, confidence, coverage_curve, curve_record
from pipeline.errors import PodiumError

CHECKED = settings(max_examples=80, deadline=None, derandomize=True, database=None)
FEW = [0.0, 0.2, 0.5, 0.5 + 2**-53, 0.9, 1.0]
ROWS = st.lists(st.tuples(st.sampled_from(FEW), st.booleans()), min_size=1, max_size=12)


def case(rows):
    conf, right = zip(*rows, strict=True)
    return np.array(conf), np.array(right, dtype=bool)


@CHECKED
@given(ROWS)
def test_every_threshold_is_exact(rows):
    """Check each point against accuracy_score of the rows at or above it, ties together."""
    conf, right = case(rows)
    curve = coverage_curve(conf, right)
    assert curve.confidence.tolist() == sorted(set(conf.tolist()))
    for level, coverage, accuracy in zip(
        curve.confidence, curve.coverage, curve.accuracy, strict=True
    ):
        chosen = conf >= level
        assert coverage == chosen.sum() / len(conf)
        assert accuracy == pytest.approx(accuracy_score(right[chosen], np.ones(chosen.sum(), bool)))


@CHECKED
@given(ROWS)
def test_coverage_falls_and_starts_at_everything(rows):
    """Check that coverage falls strictly from 1, and level 0 gives the plain accuracy."""
    conf, right = case(rows)
    curve = coverage_curve(conf, right)
    assert curve.coverage[0] == 1
    assert (np.diff(curve.coverage) < 0).all()
    assert (np.diff(curve.confidence) > 0).all()
    assert curve.accuracy[0] == pytest.approx(right.mean())
    (everything,) = curve.points([0])
    assert everything == Point(0.0, 1.0, pytest.approx(right.mean()))


@CHECKED
@given(ROWS)
def test_area_is_the_mean_risk_above_each_row(rows):
    """Check the area against its definition, row by row."""
    conf, right = case(rows)
    expected = np.mean([1 - right[conf >= own].mean() for own in conf])
    assert coverage_curve(conf, right).area == pytest.approx(expected, abs=1e-12)


def test_area_without_ties_is_geifmans_sum():
    """Check against the mean risk of the i most confident rows, i = 1 ... n."""
    rng = np.random.default_rng(0)
    conf, right = rng.permutation(200) / 200, rng.random(200) < 0.7
    wrong = ~right[np.argsort(-conf)]
    expected = np.mean(np.cumsum(wrong) / np.arange(1, 201))
    assert coverage_curve(conf, right).area == pytest.approx(expected)


def test_all_right_all_wrong_and_a_perfect_order():
    """Check the ends: area 0 and 1, and that confidence in the right order is worth an area."""
    conf = np.array([0.1, 0.4, 0.6, 0.9])
    assert coverage_curve(conf, np.ones(4, bool)).area == 0
    assert coverage_curve(conf, np.zeros(4, bool)).area == 1
    right = np.array([False, False, True, True])
    assert coverage_curve(conf, right).area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert coverage_curve(conf, ~right).area == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert coverage_curve(np.full(4, 0.5), right).area == 0.5


@CHECKED
@given(ROWS, st.lists(st.sampled_from([0, 0.1, 0.5, 0.7, 1.0, 1.5]), max_size=4))
def test_points_are_what_is_answered_at_a_level(rows, levels):
    """Check the table at any levels against `answered`, None where nothing is."""
    conf, right = case(rows)
    points = coverage_curve(conf, right).points(levels)
    assert [point.confidence for point in points] == levels
    for level, point in zip(levels, points, strict=True):
        chosen = answered(conf, level)
        assert point.coverage == chosen.mean()
        if chosen.any():
            assert point.accuracy == pytest.approx(right[chosen].mean())
        else:
            assert point.accuracy is None


def test_a_level_is_compared_in_float64():
    """Check that float32 confidences are not rounded up to a level of more digits."""
    conf = np.array([0.9, 0.5], dtype=np.float32)  # 0.9 in float32 is a little less
    assert answered(conf, 0.9).tolist() == [False, False]
    assert answered(conf, 0.5).tolist() == [True, True]
    assert answered(conf, 0.5 + 2**-53).tolist() == [True, False]
    curve = coverage_curve(conf, np.array([True, True]))
    assert curve.points([0.9])[0].coverage == 0


def test_the_record_survives_strict_json():
    """Check the record's keys, its None, and that JSON keeps every digit."""
    conf, right = np.array([0.3, 0.6, 0.6]), np.array([True, False, True])
    record = curve_record(coverage_curve(conf, right), (0, 0.5, 0.9))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["aurc"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert record["points"] == [
        {"confidence": 0.0, "coverage": 1.0, "accuracy": pytest.approx(2 / 3)},
        {"confidence": 0.5, "coverage": pytest.approx(2 / 3), "accuracy": 0.5},
        {"confidence": 0.9, "coverage": 0.0, "accuracy": None},
    ]
    usual = curve_record(coverage_curve(conf, right))["points"]
    assert [point["confidence"] for point in usual] == [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]


PROBS = np.array([[0.5, 0.3, 0.2], [0.1, 0.4, 0.5]])


@pytest.mark.parametrize(
    ("answer", "task", "expected"),
    [
        ([0, 1], "multiclass", [0.5, 0.4]),  # of the answered class, not the highest
        (PROBS, "multiclass", [0.5, 0.5]),
        ([[1, 0, 0], [0, 0, 1]], "multilabel", [0.5, 0.5]),
        ([[1, 1, 0], [0, 1, 0]], "multilabel", [0.3, 0.4]),
        (PROBS, "multilabel", [0.5, 0.5]),
        ([[0.9, 0.6, 0.1], [0.0, 0.0, 0.2]], "multilabel", [0.3, 0.5]),
        ([[0.5, 0.5, 0.4], [0.0, 0.5, 0.5]], "multilabel", [0.3, 0.4]),
        ([[0.1, 0.6, 0.1], [0.3, 0.3, 0.2]], "multiclass", [0.3, 0.1]),
    ],
)
def test_confidence_by_hand(answer, task, expected):
    """Check the answered class, the least certain label, and answers of probabilities."""
    got = confidence(PROBS, np.array(answer), task)
    assert got.dtype == np.float64
    assert got == pytest.approx(expected)


def test_confidence_of_a_network_is_exact():
    """Check that float32 probabilities come back as the same numbers in float64."""
    rng = np.random.default_rng(0)
    probs = rng.random((50, 4), dtype=np.float32)
    answer = rng.integers(0, 4, 50)
    assert confidence(probs, answer, "multiclass").tolist() == [
        float(row[j]) for row, j in zip(probs, answer, strict=True)
    ]
    flags = rng.integers(0, 2, (50, 4))
    assert confidence(probs, flags, "multilabel").tolist() == [
        min(float(p) if flag else 1 - float(p) for p, flag in zip(row, on, strict=True))
        for row, on in zip(probs, flags, strict=True)
    ]


@pytest.mark.parametrize(
    ("answer", "task", "words"),
    [
        ([0, 3], "multiclass", "below 3"),
        ([0], "multiclass", "same rows"),
        ([[1, 0], [0, 1]], "multilabel", "3 columns"),
        ([[0.5, np.nan, 0.5], [0, 0, 0]], "multilabel", "nan"),
        ([0, 1], "regression", "task must be one of"),
    ],
)
def test_answers_that_do_not_fit_are_refused(answer, task, words):
    """Check that other classes, rows and tasks are refused."""
    with pytest.raises(PodiumError, match=words):
        confidence(PROBS, np.array(answer), task)


@pytest.mark.parametrize(
    ("conf", "right", "words"),
    [
        ([], [], "rows"),
        ([0.5, 0.6], [True], "rows"),
        ([0.5], [1], "bool"),
        ([[0.5]], [[True]], "rows"),
        ([0.5, np.nan], [True, True], "finite numbers, got nan"),
    ],
)
def test_rows_that_do_not_fit_are_refused(conf, right, words):
    """Check that no rows, other lengths, numbers for bools and NaN are refused."""
    with pytest.raises(PodiumError, match=words):
        coverage_curve(np.array(conf), np.array(right))
