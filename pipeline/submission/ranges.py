"""Which scores a metric can have: 74.05 for an accuracy is a percentage, and no score."""

import math

from pipeline.errors import PodiumError

FROM_MINUS_ONE = ("qwk", "mcc", "mcc_macro")


def score_range(metric: str) -> tuple[float, float]:
    """Return the ends of the scores of a metric by its name; those of a file can be any."""
    if not metric or metric.endswith(".py"):
        return -math.inf, math.inf
    if metric == "log_loss":
        return 0.0, math.inf
    return (-1.0, 1.0) if metric in FROM_MINUS_ONE else (0.0, 1.0)


def check_range(score: float, metric: str, what: str) -> float:
    """Return a score that the metric can have; `what` says whose value it is."""
    low, high = score_range(metric)
    if low <= score <= high:
        return score
    rule = f"from {low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
    part = score / 100
    fits = low <= part <= high and high < math.inf
    remedy = f"give {part:.6g}" if fits else "give the score as the competition's page shows it"
    raise PodiumError(f"{what} is {score:g}, but {metric} lies {rule}; {remedy}")
