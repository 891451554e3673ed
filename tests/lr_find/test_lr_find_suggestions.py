"""Smoothing of a range test's losses, and the rates that are read off them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.lr_find.smooth import CAP, Trailing, exponential, medians, smoothed
from pipeline.lr_find.suggest import (
    LEAST_STEPS,
    RULES,
    falling_lengths,
    steepest,
    suggest,
    valley,
)

LOSSES = st.integers(1, 9).flatmap(
    lambda n: arrays(np.float64, n, elements=st.integers(0, 6).map(float))
)


def bowl(lrs, lowest, width=1.0):
    """Return losses that fall from 2 towards `lowest` and rise again, in the rate's logarithm."""
    return 2 - np.exp(-((np.log10(lrs / lowest) / width) ** 2))


@settings(deadline=None)
@given(LOSSES)
def test_falling_lengths_are_those_of_all_subsequences(losses):
    """Check the longest falling subsequence that ends at each value against every subset."""
    n = len(losses)
    best = [1] * n
    for size in range(2, n + 1):
        for places in itertools.combinations(range(n), size):
            if (np.diff(losses[list(places)]) < 0).all():
                best[places[-1]] = max(best[places[-1]], size)
    assert falling_lengths(losses).tolist() == best


def fastai_valley(lrs, losses):
    """Return the rate that fastai's own code returns, written as it is there."""
    n, max_start, max_end, lds = len(losses), 0, 0, [1] * len(losses)
    for i in range(1, n):
        for j in range(0, i):
            if (losses[i] < losses[j]) and (lds[i] < lds[j] + 1):
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return lrs[max(0, max_start + int(sections) + int(sections / 2))]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(10, 60))
def test_valley_is_that_of_fastai(seed, n):
    """Check the rule against fastai's loops on noisy valleys; the first tenth does not count."""
    lrs, rng = np.geomspace(1e-6, 1, n), np.random.default_rng(seed)
    losses = bowl(lrs, 10 ** rng.uniform(-5, -1)) + 0.1 * rng.normal(size=n)
    skipped = n // 10
    assert valley(lrs, losses) == fastai_valley(lrs[skipped:], losses[skipped:])


@settings(deadline=None)
@given(st.floats(-5, -1), st.floats(0.4, 1.2))
def test_the_steepest_fall_is_that_of_the_formula(place, width):
    """Check the rule on a curve whose slope is known: steepest width / sqrt(2) decades before its
    minimum, to a step; what comes after the minimum, a cliff, does not count."""
    lrs = np.geomspace(1e-8, 1, 400)
    losses = bowl(lrs, 10**place, width)
    expected = place - width / np.sqrt(2)
    after = lrs > 10 ** (place + 0.5)
    losses[after] = 9 - 5 * lrs[after]
    assert np.log10(steepest(lrs, losses)) == pytest.approx(expected, abs=8 / 399)


def test_rates_of_a_training_whose_limit_is_known():
    """Check the suggestion on gradient descent of a quadratic, which diverges from 2 / curvature
    on: each rule lies below that, and the rates of brute force make one step best there."""
    curvature, low, high, steps = 50.0, 1e-4, 10.0, 100
    weight = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    lrs, losses = np.geomspace(low, high, steps), []
    for lr in lrs:
        optimizer.param_groups[0]["lr"] = float(lr)
        optimizer.zero_grad()
        loss = 0.5 * curvature * weight**2 + 1.0
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        if losses[-1] > 1e6:
            break
    lrs, losses = lrs[: len(losses)], np.array(losses)
    found = suggest(lrs, smoothed(losses))
    assert tuple(found.by_rule) == RULES
    assert all(lrs[0] <= lr < 2 / curvature for lr in found.by_rule.values())
    # the weight halves within ten steps at the suggested rate, and at a tenth of it does not
    assert (1 - found.lr * curvature) ** 10 < 0.5 < (1 - 0.1 * found.lr * curvature) ** 10


def test_the_suggestion_is_a_third_of_the_minimum():
    """Check rule, rate and words, and that a minimum at the last rate is said to be the last."""
    lrs = np.geomspace(1e-6, 1, 100)
    found = suggest(lrs, bowl(lrs, 1e-2))
    assert found.lr == found.by_rule["minimum/3"] == pytest.approx(1e-2 / 3, rel=0.08)
    assert found.by_rule["minimum/10"] == pytest.approx(1e-3, rel=0.08)
    assert "3.3e-03, a third" in found.reason and "rises" in found.reason
    assert "the highest that was tried" in suggest(lrs, bowl(lrs, 10)).reason


def test_nothing_is_suggested_where_nothing_falls():
    """Check that a flat curve, one that only rises, one that wobbles from the start and one that is
    too short suggest nothing."""
    lrs = np.geomspace(1e-6, 1, 100)
    wobble = 2 + 0.1 * np.cos(np.arange(100) * np.pi / 2).round(6)
    for losses in (
        np.full(100, 2.3),
        np.linspace(2, 5, 100),
        wobble,
        2.3 - 0.02 * (2 - bowl(lrs, 1e-2)),
    ):
        found = suggest(lrs, losses)
        assert (found.lr, found.rule, found.by_rule) == (None, None, {})
        assert "never fell by 1 %" in found.reason
    short = slice(0, LEAST_STEPS - 1)
    assert "diverged after 9 steps" in suggest(lrs[short], bowl(lrs, 1e-6)[short]).reason


@settings(deadline=None)
@given(arrays(np.float64, 30, elements=st.floats(0, 10)))
def test_the_exponential_mean_is_the_weighted_one(values):
    """Check the mean without bias against its weights, written out."""
    for i, found in enumerate(exponential(values)):
        weights = 0.8 ** np.arange(i, -1, -1)
        assert found == pytest.approx(np.average(values[: i + 1], weights=weights), abs=1e-9)


def test_smoothing_takes_single_faults_out_and_has_no_lag():
    """Check that one wild loss changes nothing, that a line stays a line, that a valley stays where
    it is, and that the height of a divergence does not matter."""
    lrs = np.geomspace(1e-6, 1, 101)
    line = np.linspace(3, 1, 101)
    wild = line.copy()
    wild[50] = 1e12
    assert np.abs(smoothed(wild) - smoothed(line)).max() < 0.02
    assert medians(line) == pytest.approx(line)
    lowest = smoothed(bowl(lrs, 1e-3)).argmin()
    assert abs(lowest - 50) <= 1
    high, higher = bowl(lrs, 1e-3), bowl(lrs, 1e-3)
    high[80:], higher[80:] = 2 * CAP * 2, 1e20
    assert smoothed(high).tolist() == smoothed(higher).tolist()
    assert len(smoothed(np.empty(0))) == 0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_the_trailing_mean_looks_back_only(losses):
    """Check the mean that decides when to stop against its definition over the losses so far."""
    trailing, seen = Trailing(), []
    for i, loss in enumerate(losses):
        seen.append(np.median(losses[max(0, i - 4) : i + 1]))
        expected = exponential(np.array(seen))[-1]
        assert trailing.push(loss) == pytest.approx(expected, abs=1e-9)
