"""Cuts between scores, down to neighbouring floats."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decisions.cuts import Cuts

TINY = 5e-324
UNIT = st.floats(0, 1)
AWKWARD = st.sampled_from([0.0, TINY, 2 * TINY, 0.5, 0.5 + 2**-53, 1 - 2**-53, 1.0, 1 / 3])
CHECKED = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@CHECKED
@given(st.lists(UNIT | AWKWARD, min_size=1, max_size=12))
def test_every_threshold_separates_exactly(values):
    """Check that each cut makes exactly its count of rows positive, and that all cuts are there."""
    scores = np.array(values)
    cuts = Cuts.of(scores)
    assert len(cuts.thresholds) == len(np.unique(scores)) + 1
    assert np.isfinite(cuts.thresholds).all()
    assert (np.diff(cuts.thresholds) <= 0).all()
    for count, threshold in zip(cuts.counts, cuts.thresholds, strict=True):
        assert (scores >= threshold).sum() == count
    assert cuts.counts[0] == 0
    assert cuts.counts[-1] == len(scores)


@CHECKED
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12))
def test_float32_scores_are_cut_in_float64(values):
    """Check that scores read from float32 are cut as exactly once they are float64."""
    scores = np.array(values, dtype=np.float32)
    cuts = Cuts.of(scores.astype(np.float64))
    for count, threshold in zip(cuts.counts, cuts.thresholds, strict=True):
        assert (scores.astype(np.float64) >= threshold).sum() == count


def test_a_midpoint_without_room_is_the_upper_score():
    """Check that neighbours in float64 are parted by the upper one."""
    low, high = 0.5, np.nextafter(0.5, 1)
    assert Cuts.of(np.array([low, high])).thresholds[1] == high
    assert Cuts.of(np.array([0.0, TINY])).thresholds[1] == TINY


def test_the_ends():
    """Check that nothing is predicted above the maximum, and everything from half the minimum."""
    assert Cuts.of(np.array([0.2, 0.6])).thresholds.tolist() == [0.8, 0.4, 0.1]
    assert Cuts.of(np.array([1.0])).thresholds.tolist() == [np.nextafter(1, 2), 0.5]


def test_equal_cuts_prefer_one_half():
    """Check that among cuts of the highest value the threshold closest to 0.5 is taken."""
    cuts = Cuts.of(np.array([0.1, 0.3, 0.45, 0.9]))
    assert cuts.thresholds[cuts.best(np.zeros(5))] == np.mean([0.3, 0.45])
    assert cuts.best(np.array([0.0, 0.0, 0.0, 0.0, 1.0])) == 4
    assert cuts.best(np.array([0.0, 1.0, 1 - 1e-15, 0.0, 0.0]), 1e-12) == 2
