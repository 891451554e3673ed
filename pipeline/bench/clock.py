"""Time, measured fairly: what is compared takes turns, so that a busy minute is everybody's."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

ROUNDS, LEAST_ROUNDS = 9, 3
ROUND_SECONDS = 0.03  # of a call in a round; what is shorter is called several times
MOST_SECONDS = 20.0  # of a call in all rounds; what is longer has fewer


@dataclass(frozen=True)
class Time:
    """Seconds of a call: the median over rounds, and the middle half of them."""

    seconds: float
    low: float
    high: float
    rounds: int

    @property
    def spread(self) -> float:
        """The width of the middle half, as a share of the median."""
        return (self.high - self.low) / self.seconds


def take_turns(
    calls: Sequence[Callable[[], object]],
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Time]:
    """Time every call in rounds, each of which calls all in turn, every second one backwards; the
    first two times of each are not counted, since they warm up and tell how long a call takes."""
    repeats, wanted = [], []
    for call in calls:
        call()
        taken = _timed(call, 1, clock)
        repeats.append(max(1, int(ROUND_SECONDS / max(taken, 1e-7))))
        fitting = int(MOST_SECONDS / max(taken, 1e-7))
        wanted.append(int(np.clip(fitting, LEAST_ROUNDS, rounds)))
    found: list[list[float]] = [[] for _ in calls]
    for number in tqdm(range(rounds), "timing", unit="round", disable=None, leave=False):
        turns = [place for place in range(len(calls)) if number < wanted[place]]
        for place in turns if number % 2 == 0 else reversed(turns):
            found[place].append(_timed(calls[place], repeats[place], clock))
    return [_summed_up(seconds) for seconds in found]


def _timed(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(repeats):
        call()
    return (clock() - started) / repeats


def _summed_up(seconds: list[float]) -> Time:
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return Time(float(middle), float(low), float(high), len(seconds))
