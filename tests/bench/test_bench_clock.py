"""Times by turns, on a clock that the test itself moves."""

import numpy as np
import pytest

from pipeline.bench.clock import MOST_SECONDS, ROUND_SECONDS, take_turns


class Clock:
    """A clock that stands still but for the calls."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, seconds):
        def work() -> None:
            self.calls.append(name)
            self.now += seconds(len(self.calls)) if callable(seconds) else seconds

        return work


def test_times_are_medians_of_rounds():
    """Check that calls of known lengths are timed as that, short ones through many calls."""
    clock = Clock()
    lengths = [1e-4, 0.02, 0.5]
    calls = [clock.call(str(k), length) for k, length in enumerate(lengths)]
    times = take_turns(calls, rounds=5, clock=clock)
    assert [time.seconds for time in times] == pytest.approx(lengths)
    assert [time.rounds for time in times] == [5, 5, 5]
    assert all(time.spread == pytest.approx(0, abs=1e-9) for time in times)
    assert clock.calls.count("0") == pytest.approx(2 + 5 * ROUND_SECONDS / 1e-4, abs=6)


def test_median_and_middle_half():
    """Check the three quartiles of five rounds that take 1 to 5 s, in any order."""
    clock = Clock()
    rounds = iter([1.0, 1.0, 4.0, 1.0, 5.0, 3.0, 2.0])  # the first two are not counted
    (time,) = take_turns([clock.call("a", lambda _: next(rounds))], rounds=5, clock=clock)
    assert (time.low, time.seconds, time.high) == (2.0, 3.0, 4.0)
    assert time.spread == pytest.approx(2 / 3)


def test_turns_are_taken_there_and_back():
    """Check that a round calls all, and the next one all in the other order."""
    clock = Clock()
    take_turns([clock.call(name, 1.0) for name in "abc"], rounds=4, clock=clock)
    assert "".join(clock.calls) == "aabbcc" + "abccba" * 2


def test_a_machine_that_slows_down_slows_all_alike():
    """Check that two equal calls get equal times while the machine gets slower all the time."""
    clock = Clock()
    slower = clock.call("a", lambda n: 1 + 0.01 * n), clock.call("b", lambda n: 1 + 0.01 * n)
    one, other = take_turns(slower, rounds=8, clock=clock)
    assert one.seconds == pytest.approx(other.seconds, rel=0.005)
    assert one.spread > 0.03


def test_long_calls_have_fewer_rounds_and_outliers_do_not_count():
    """Check that three rounds are the least, and that one slow round moves no median."""
    clock = Clock()
    (time,) = take_turns([clock.call("a", MOST_SECONDS)], rounds=9, clock=clock)
    assert time.rounds == 3
    clock = Clock()
    (time,) = take_turns([clock.call("a", lambda n: 9.0 if n == 6 else 1.0)], 9, clock)
    assert time.seconds == 1.0 and np.isclose(time.high, 1.0)
