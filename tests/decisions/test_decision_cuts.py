"""Cuts between scores, down to neighbouring floats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decisions import cuts as module
from pipeline.decisions.cuts import Cuts, Hits, Hull, by_class, packed, pieces, sorted_cells

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


@st.composite
def columns(draw, dtype):
    """Draw scores of a floating-point type, with ties, zeros of both signs and labels."""
    width = np.dtype(dtype).itemsize * 8
    values = st.floats(0, 1, width=width) | st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0])
    scores = draw(st.lists(values, min_size=1, max_size=14))
    y = draw(st.lists(st.integers(0, 1), min_size=len(scores), max_size=len(scores)))
    return np.array(scores, dtype=dtype), np.array(y, dtype=np.int8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@CHECKED
@given(data=st.data())
def test_packed_keys_give_the_same_cuts(dtype, data):
    """Check hits, counts and thresholds of the packed sort against `Cuts` and a comparison."""
    scores, y = data.draw(columns(dtype))
    keys = np.sort(packed(scores, y))
    hits, cuts = Hits.of(keys), Cuts.of(scores)
    assert keys.itemsize == scores.itemsize
    thresholds = hits.thresholds(np.arange(len(hits.counts)))
    assert np.array_equal(thresholds[::-1], cuts.thresholds)
    assert np.array_equal(hits.counts[::-1], cuts.counts)
    for count, hit, threshold in zip(hits.counts, hits.hits, thresholds, strict=True):
        positive = scores.astype(np.float64) >= threshold
        assert (positive.sum(), y[positive].sum()) == (count, hit)
    values = np.round(data.draw(st.integers(1, 9)) * hits.hits / (1 + hits.counts), 1)
    assert hits.best(values, 1e-12) == cuts.thresholds[cuts.best(values[::-1], 1e-12)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@CHECKED
@given(data=st.data())
def test_the_hull_holds_the_best_cut_of_every_price(dtype, data):
    """Check vertices against all chords of all pairs, and that no cut is above them at a price."""
    scores, y = data.draw(columns(dtype))
    keys = np.sort(packed(scores, y))
    cuts, hull = Hits.of(keys), Hull.of(keys)
    points = list(zip(cuts.counts.tolist(), cuts.hits.tolist(), strict=True))
    below = set()
    for x, h in points:
        for x1, h1 in points:
            for x2, h2 in points:
                if x1 < x < x2 and (h - h1) * (x2 - x1) <= (h2 - h1) * (x - x1):
                    below.add((x, h))
    kept = list(zip(hull.counts.tolist(), hull.hits.tolist(), strict=True))
    assert kept == [point for point in points if point not in below]
    for x, _, threshold in zip(hull.counts, hull.hits, hull.thresholds, strict=True):
        assert (scores.astype(np.float64) >= threshold).sum() == x


def test_the_hull_of_many_rows():
    """Check on noisy, separated, constant and convex curves that every price has its cut."""
    rng = np.random.default_rng(0)
    n = 5000
    noise = rng.random(n).astype(np.float32)
    labels = {
        "noisy": rng.random(n) < noise,
        "separated": noise > 0.7,
        "reversed": noise < 0.3,
        "alike": noise < 2,
        "convex": rng.random(n) < (1 - noise) ** 2,
    }
    for y in labels.values():
        keys = np.sort(packed(noise, y.astype(np.int8)))
        cuts, hull = Hits.of(keys), Hull.of(keys)
        assert len(hull.counts) < 200
        for price in np.arange(1, 40):
            best = (40 * cuts.hits - price * cuts.counts).max()
            assert (40 * hull.hits - price * hull.counts).max() == best


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_classes_are_gathered_in_blocks(order, dtype, monkeypatch):
    """Check every class's sorted keys, for blocks, threads, and both memory orders."""
    rng = np.random.default_rng(0)
    probs = np.asarray(np.round(rng.random((70, 75)), 2), dtype=dtype, order=order)
    y = np.asarray(rng.integers(0, 2, probs.shape), dtype=np.int8, order=order)
    expected = [np.sort(packed(p, t)) for p, t in zip(probs.T.copy(), y.T.copy(), strict=True)]
    monkeypatch.setattr(module, "ROWS", 16)
    for small in (0, 10**6):
        monkeypatch.setattr(module, "SMALL", small)
        got = by_class(np.copy, y, probs)
        assert len(got) == 75
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_matrix_is_looked_at_in_pieces(order, monkeypatch):
    """Check that pieces part no tie, and each inner cut of the matrix lies within one of them."""
    rng = np.random.default_rng(0)
    probs = np.asarray(rng.choice([0, 0.1, 0.5, 0.6, 0.9], (40, 6)), np.float32, order=order)
    y = np.asarray(rng.integers(0, 2, probs.shape), np.int8, order=order)
    for piece in (1, 7, 60, 1000):
        monkeypatch.setattr(module, "PIECE", piece)
        keys = sorted_cells(y, probs)
        assert np.array_equal(keys, np.sort(packed(probs.ravel(), y.ravel())))
        inner = []
        for start, stop in pieces(keys):
            part = Hits.of(keys[start:stop])
            inner += part.thresholds(np.arange(1, len(part.scores))).tolist()
        assert inner == Cuts.of(probs.ravel()).thresholds[-2:0:-1].tolist()
