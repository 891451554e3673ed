"""Warnings where a class is answered more or less often on test rows than out of fold."""

import numpy as np
import pytest

from pipeline.ensemble.rates import answer_rates, rate_warnings


def answers(positives: int, rows: int) -> np.ndarray:
    """Return answers (rows, 3): `positives` rows of the first class, half of the second."""
    answer = np.zeros((rows, 3), np.int8)
    answer[:positives, 0] = 1
    answer[: rows // 2, 1] = 1
    return answer


def warnings_of(data, oof: np.ndarray, test: np.ndarray) -> list[str]:
    return rate_warnings(answer_rates(data, oof, test))


def apart(a: int, b: int, n: int, m: int) -> float:
    """Return how many binomial standard errors the rates a/n and b/m are apart."""
    rate = (a + b) / (n + m)
    return abs(a / n - b / m) / np.sqrt(rate * (1 - rate) * (1 / n + 1 / m))


def test_a_warning_beyond_three_standard_errors_only(make_tiny):
    """Check every number of positives against the formula: a warning exactly where it says so."""
    data = make_tiny(task="multilabel").data
    seen = set()
    for b in range(5, 60):
        warned = warnings_of(data, answers(60, 300), answers(b, 100))
        assert len(warned) == (apart(60, b, 300, 100) > 3)
        seen.add(len(warned))
    assert seen == {0, 1}


def test_the_warning_names_class_and_rates(make_tiny):
    """Check that class, both rates and the distance are said."""
    data = make_tiny(task="multilabel").data
    (warning,) = warnings_of(data, answers(30, 300), answers(50, 100))
    assert "cat" in warning and "10.0%" in warning and "50.0%" in warning
    assert f"{apart(30, 50, 300, 100):.1f} standard errors" in warning


def test_multiclass_answers_are_judged_by_class(make_tiny):
    """Check that class indices are counted per class, whichever of the two is larger."""
    data = make_tiny().data
    oof, test = np.repeat([0, 1, 2], [100, 100, 100]), np.repeat([0, 1, 2], [10, 45, 45])
    warned = warnings_of(data, oof, test)
    assert [warning.split(":")[0] for warning in warned] == ["class cat"]
    assert warnings_of(data, oof, np.repeat([0, 1, 2], [33, 33, 34])) == []


@pytest.mark.parametrize("value", [0, 1])
def test_a_class_that_never_varies_is_no_reason_to_warn(make_tiny, value):
    """Check that a rate of 0 or 1 on both sides neither warns nor divides by zero."""
    data = make_tiny(task="multilabel").data
    answer = np.full((50, 3), value, np.int8)
    with np.errstate(all="raise"):
        assert warnings_of(data, answer, answer[:20]) == []


def test_probabilities_have_no_rate(make_tiny):
    """Check that answers of a metric of probabilities are not judged."""
    data = make_tiny(task="multilabel").data
    assert warnings_of(data, np.zeros((50, 3)), np.ones((50, 3))) == []
