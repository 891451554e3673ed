"""Learning rates read off the smoothed losses of a range test."""

from dataclasses import dataclass

import numpy as np

PARTS = {"minimum/3": 3, "minimum/10": 10}
RULES = *PARTS, "steepest", "valley"
RULE = "minimum/3"  # the suggestion; docs/training.md has the measurements
LEAST_STEPS = 10  # of a curve that something is read off
LEAST_FALL = 0.01  # of the first loss; less counts as chance, as does what is no more than the
# wobble of the first tenth of the curve, where the rates are too low to change anything


@dataclass(frozen=True)
class Suggestions:
    """The rate by each of RULES, none where the loss did not fall; which of them is suggested, and
    why, in words."""

    by_rule: dict[str, float]
    rule: str | None
    reason: str

    @property
    def lr(self) -> float | None:
        """The suggested rate."""
        return None if self.rule is None else self.by_rule[self.rule]


def suggest(lrs: np.ndarray, losses: np.ndarray) -> Suggestions:
    """Return what the rates (n,), rising, and the smoothed losses (n,) at them suggest."""
    if len(lrs) < LEAST_STEPS:
        return Suggestions(
            {},
            None,
            f"no suggestion: the loss diverged after {len(lrs)} steps, at the lowest rates; look "
            "at the pictures (make preview) and the recipe's loss",
        )
    first, wobble = float(losses[0]), float(np.ptp(losses[: len(losses) // 10]))
    if first - float(losses.min()) <= max(LEAST_FALL * abs(first), wobble):
        return Suggestions(
            {},
            None,
            f"no suggestion: the loss, {first:.4g} at first, never fell by {100 * LEAST_FALL:g} %, "
            "or by no more than it wobbles at the lowest rates; "
            "average several seeds (SEED='0 1 2'), or raise training.batch_size",
        )
    lowest = float(lrs[losses.argmin()])
    rates = {rule: lowest / part for rule, part in PARTS.items()}
    rates |= {"steepest": steepest(lrs, losses), "valley": valley(lrs, losses)}
    turns = "from which on it rises" if lowest < lrs[-1] else "the highest that was tried"
    reason = (
        f"suggested: {rates[RULE]:.1e}, a third of the rate at which the loss is lowest "
        f"({lowest:.1e}, {turns}): fast, with room to spare"
    )
    return Suggestions(rates, RULE, reason)


def steepest(lrs: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate at which the loss falls fastest, per factor of the rate.

    Parameters
    ----------
    lrs : np.ndarray of shape (n,)
        Rising, above 0.
    losses : np.ndarray of shape (n,)
        Smoothed. What comes after their minimum does not count.

    Returns
    -------
    float
        One of `lrs`; the first of them where the minimum comes first.

    References
    ----------
    L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    """
    lowest = int(losses.argmin())
    if lowest == 0:
        return float(lrs[0])
    slopes = np.gradient(losses[: lowest + 1], np.log(lrs[: lowest + 1]))
    return float(lrs[slopes.argmin()])


def valley(lrs: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate in the middle of the longest valley, by the rule of that name in fastai.

    The longest falling subsequence of the losses, but for their first tenth, ends somewhere; the
    middle of as many steps before that as it is long is taken.

    Parameters
    ----------
    lrs : np.ndarray of shape (n,)
        Rising, above 0.
    losses : np.ndarray of shape (n,)
        Smoothed.

    Returns
    -------
    float
        One of `lrs`.

    References
    ----------
    fastai, `fastai/callback/schedule.py`: `valley`, and `Learner.lr_find`, which leaves out the
    first tenth.
    """
    skipped = len(losses) // 10
    kept = losses[skipped:]
    lengths = falling_lengths(kept)
    end = int(lengths.argmax())
    start = end - int(lengths[end]) if lengths[end] > 1 else end
    third = (end - start) / 3
    return float(lrs[skipped + max(0, start + int(third) + int(third / 2))])


def falling_lengths(values: np.ndarray) -> np.ndarray:
    """Return how long the longest strictly falling subsequence is that ends at each value, (n,)."""
    lengths = np.ones(len(values), np.int64)
    for i in range(1, len(values)):
        higher = lengths[:i][values[:i] > values[i]]
        lengths[i] += higher.max(initial=0)
    return lengths
