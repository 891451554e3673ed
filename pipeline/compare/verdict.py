"""Is the gain real? Interval, p-value, verdict, and how many rows it would take to tell."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.metrics import CustomMetric, Gain, Metric, paired_interval
from pipeline.metrics.bootstrap import has_sums
from pipeline.metrics.permutation import permutation_test

MOST = 5000  # resamples, and swaps
CELLS = 250_000_000  # numbers drawn or sorted for them, beyond which there are fewer
LEAST = 1000  # of a metric of sums
LEAST_SORTED = 500  # of one that needs all rows in order
CUSTOM = 300  # of a host's own metric, each of whose scores takes a call
LEVEL, ALPHA, Z = 0.95, 0.05, 1.96


@dataclass(frozen=True)
class Verdict:
    """By how much b is better than a, and whether that is more than luck: 'keep', 'worse' or
    'noise'. `n_swaps` were made, `all_swaps` if there are no others. `rows_needed` would tell a
    difference of this size; None where it is told already."""

    gain: Gain
    p: float
    n_swaps: int
    rows_needed: int | None
    all_swaps: bool = False

    @property
    def word(self) -> str:
        told = self.p < ALPHA
        if told and self.gain.low > 0 and self.gain.difference > 0:
            return "keep"
        return "worse" if told and self.gain.high < 0 and self.gain.difference < 0 else "noise"

    def to_json(self) -> dict[str, Any]:
        content = {**asdict(self.gain), "p": self.p, "n_swaps": self.n_swaps}
        content["all_swaps"] = self.all_swaps
        return content | {"verdict": self.word, "rows_needed": self.rows_needed}


def judge(
    metric: Metric, y: np.ndarray, a: np.ndarray, b: np.ndarray, groups: np.ndarray, seed: int
) -> Verdict:
    """Return what the answers b are worth beside a. `groups` (n,) names what is drawn and swapped
    as a whole; where rows are independent, it is their ids, so that their order does not matter."""
    n_draws = draws(metric, y, groups, len(y) * (a.shape[1] if a.ndim == 2 else 1))
    gain = paired_interval(metric, y, a, b, groups, n_draws, seed, LEVEL)
    swaps = permutation_test(metric, y, a, b, groups, n_draws, seed)
    judged = Verdict(gain, swaps.p, swaps.n_swaps, None, swaps.exact)
    if judged.word != "noise" or gain.difference == 0:
        return judged
    return replace(judged, rows_needed=rows_needed(len(y), gain))


def signed(value: float) -> str:
    """Four decimals with a sign; what rounds to 0 is not negative."""
    return f"{round(value, 4) + 0.0:+.4f}"


def rows_needed(n_rows: int, gain: Gain) -> int:
    """Return how many rows would leave 0 outside of the interval around this very difference; the
    standard error falls with their root."""
    return int(np.ceil(n_rows * (Z * gain.se / gain.difference) ** 2))


def draws(metric: Metric, y: np.ndarray, groups: np.ndarray, cells: int) -> int:
    """Return how many resamples, and swaps, are affordable: 5,000 where they are cheap. `cells` is
    how many numbers the answer has."""
    if isinstance(metric, CustomMetric):
        return CUSTOM
    if has_sums(metric):
        return int(np.clip(CELLS // len(np.unique(groups)), LEAST, MOST))
    return int(np.clip(CELLS // (4 * cells), LEAST_SORTED, MOST))
