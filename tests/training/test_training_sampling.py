"""Tests of training.learning.sampling: weights of rows, and draws that keep to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.utils.class_weight import compute_sample_weight

from pipeline.training.learning.sampling import draw, row_weights

WEIGHTS = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.one_of(st.just(0.0), st.floats(0.01, 10))
).filter(np.any)


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=80))
def test_weights_of_classes_are_those_of_scikit_learn(found):
    """Check 1 / n_c against `balanced` sample weights, and that classes weigh the same."""
    labels = np.array(found)
    weights = row_weights(labels, 7)
    balanced = compute_sample_weight("balanced", labels)
    np.testing.assert_allclose(weights / weights.mean(), balanced / balanced.mean())
    sums = np.bincount(labels, weights)[np.unique(labels)]
    np.testing.assert_allclose(sums, 1)


@settings(deadline=None)
@given(hnp.arrays(np.int8, st.tuples(st.integers(1, 30), st.just(4)), elements=st.integers(0, 1)))
def test_weights_of_label_sets_are_those_of_the_rarest(labels):
    """Check against a loop over rows; rows without a label count as a class of their own."""
    expected = []
    for row in labels:
        sizes = [labels[:, k].sum() for k in np.flatnonzero(row)]
        expected.append(1 / min(sizes, default=(~labels.any(axis=1)).sum()))
    np.testing.assert_allclose(row_weights(labels, 4), expected)


def test_a_rare_label_in_common_company_becomes_frequent():
    """Check that a label of 2 rows in 100, always beside a common one, is drawn as often."""
    labels = np.zeros((100, 2), np.int8)
    labels[:98, 0], labels[:2, 1] = 1, 1
    drawn = draw(np.arange(100), row_weights(labels, 2), np.random.default_rng(0))
    assert 25 <= labels[drawn, 1].sum() <= 45 and 25 <= (~labels[drawn].any(axis=1)).sum() <= 45


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 2**32))
def test_rows_come_floor_or_ceil_of_their_share(weights, seed):
    """Check number, origin and counts of a draw; rows of weight 0 never come."""
    rows = np.arange(len(weights)) * 3 + 5
    drawn = draw(rows, weights, np.random.default_rng(seed))
    assert drawn.shape == rows.shape and drawn.dtype == rows.dtype
    counts = np.array([(drawn == row).sum() for row in rows])
    expected = len(rows) * weights / weights.sum()
    assert counts.sum() == len(rows)
    assert (np.abs(counts - expected) < 1 + 1e-9).all()
    assert not counts[weights == 0].any()


@pytest.mark.parametrize("offset", [0.0, np.nextafter(1, 0)])
def test_the_ends_of_the_steps_meet_rows(offset):
    """Check the smallest and largest offsets, which may meet a row of weight 0 or the very end."""

    class Fixed(np.random.Generator):
        def random(self, *_):
            return offset

    for n in range(2, 60):
        weights = np.r_[0.0, np.full(n - 1, 0.1)]
        drawn = draw(np.arange(n), weights, Fixed(np.random.PCG64(0)))
        assert len(drawn) == n and drawn.min() > 0


def test_shares_are_right_on_average():
    """Check mean counts over 4,000 draws against weights, within five standard errors."""
    weights = np.array([0.3, 0.3, 0.3, 1.1, 2.0, 0.05, 5.0])
    rng = np.random.default_rng(3)
    counts = np.mean(
        [np.bincount(draw(np.arange(7), weights, rng), minlength=7) for _ in range(4000)], axis=0
    )
    np.testing.assert_allclose(counts, 7 * weights / weights.sum(), atol=5 * 0.5 / 4000**0.5)


def test_classes_come_equally_often_in_every_draw():
    """Check that classes of 900, 90 and 10 rows are a third each, to one row."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [900, 90, 10]))
    weights = row_weights(labels, 3)
    for seed in range(20):
        drawn = draw(np.arange(1000), weights, np.random.default_rng(seed))
        assert set(np.bincount(labels[drawn])) <= {333, 334}


def test_equal_weights_are_a_shuffle():
    """Check that each row comes once, in another order than it lay."""
    rows = np.arange(200)
    drawn = draw(rows, np.ones(200), np.random.default_rng(0))
    assert sorted(drawn) == rows.tolist() and (drawn != rows).any()


def test_order_is_random():
    """Check that copies of a row and rows of a class do not lie together: neighbours are of one
    class a third of the time, within five standard errors."""
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    drawn = labels[draw(np.arange(1000), row_weights(labels, 3), np.random.default_rng(1))]
    same = (drawn[1:] == drawn[:-1]).mean()
    assert same == pytest.approx(1 / 3, abs=5 * (2 / 9 / 999) ** 0.5)


def test_which_rows_come_together_changes():
    """Check that rows i and i + 2 of 100, of which half come, do not always come together."""
    weights = np.r_[np.ones(100), 100.0]  # 101 draws: half for the first 100 rows
    rng, together = np.random.default_rng(0), []
    for _ in range(200):
        came = np.isin(np.arange(100), draw(np.arange(101), weights, rng))
        together.append((came[2:] == came[:-2]).mean())
    assert np.mean(together) == pytest.approx(0.5, abs=0.05)


def test_a_draw_is_a_pure_function():
    """Check that the same generator gives the same rows, another one others, and that arguments
    stay as they are."""
    rows, weights = np.arange(50), np.linspace(0.1, 3, 50)
    before = rows.copy(), weights.copy()
    first, again, other = (draw(rows, weights, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    for array, copy in zip((rows, weights), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert not len(draw(rows[:0], weights[:0], np.random.default_rng(0)))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf], [0.0, 0.0]])
def test_impossible_weights_are_a_bug(weights):
    """Check that weights of another number, below 0, not finite, or all 0 raise ValueError."""
    with pytest.raises(ValueError, match="2 rows"):
        draw(np.arange(2), np.array(weights), np.random.default_rng(0))
