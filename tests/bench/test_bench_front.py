"""The Pareto front, against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bench.front import pareto_front

# Few different values, so that ties are common.
POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), max_size=30)


def by_definition(points: list[tuple[int, int]]) -> list[bool]:
    def beaten(cost: int, score: int) -> bool:
        return any(c <= cost and s >= score and (c < cost or s > score) for c, s in points)

    return [not beaten(*point) for point in points]


@given(POINTS)
def test_front_is_whom_nobody_beats(points):
    """Check the front against every pair of points, ties in one or both included."""
    cost, score = np.array(points, float).reshape(-1, 2).T
    assert pareto_front(cost, score).tolist() == by_definition(points)


def test_what_is_no_number_is_refused():
    """Check that a NaN, or arrays that do not fit, are not taken for points."""
    with pytest.raises(ValueError, match="NaN"):
        pareto_front(np.array([1.0, np.nan]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        pareto_front(np.array([1.0, 2.0]), np.array([0.5]))
