"""Choices that depend on what rows and members hold, and never on where they stand."""

import numpy as np

from pipeline.artifacts.keys import STRIDE, mixed_keys
from pipeline.ensemble.blending.scoring import log_loss_of
from pipeline.ensemble.stack import Stack
from pipeline.metrics import Metric
from pipeline.metrics.ranking import Ranking

SORTED = 1 << 20  # probabilities sorted at every step of a search, in 20 ms
LOOK = 4096  # rows on which members must agree before all of their rows are compared
DIGITS = 12  # that decide an order, so that the order of a sum does not


def hashes(keys: np.ndarray, seed: int) -> np.ndarray:
    """Return a hash (n,) uint64 of keys and a seed."""
    return mixed_keys(keys.astype(np.uint64) + np.uint64(seed * STRIDE % 2**64))


def most_rows(metric: Metric, classes: int, most: int) -> int:
    """Return `most`, or fewer rows under a metric for which every step of a search sorts them."""
    return max(1, min(most, SORTED // classes)) if isinstance(metric, Ranking) else most


def draw_rows(keys: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """Return the positions of at most `most` rows, in order: those whose keys have the smallest
    hashes. Rows of one key come together, unless the first key alone has too many."""
    if len(keys) <= most:
        return np.arange(len(keys))
    values = hashes(keys, seed)
    order = np.argsort(values, kind="stable")
    whole = int(np.searchsorted(values[order], values[order[most]]))  # the key that would be cut
    return np.sort(order[: whole or most])


def deal_parts(keys: np.ndarray, parts: int, seed: int = 0) -> np.ndarray:
    """Return the part (n,) of every row, 0 to parts - 1: the distinct keys are dealt out in the
    order of their hashes, so that parts hold the same number of keys, give or take one."""
    distinct, place = np.unique(hashes(keys, seed), return_inverse=True)
    return (np.arange(len(distinct)) % parts)[place]


def first_copies(stack: Stack) -> np.ndarray:
    """Return for every member (members,) the first one that says exactly the same."""
    first = np.arange(len(stack))
    look = stack.take(np.arange(min(LOOK, stack.shape[1])))
    seen: dict[bytes, list[int]] = {}
    for at in range(len(stack)):
        alike = seen.setdefault(look.member(at).tobytes(), [])
        for other in alike:
            blocks = stack.only([other, at]).blocks()
            if all(np.array_equal(*block) for _, block in blocks):
                first[at] = other
                break
        else:
            alike.append(at)
    return first


def canonical_order(
    task: str, y: np.ndarray, stack: Stack, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the members, rows and classes in an order that does not depend on the one they have.

    Members by their log loss, rows by key (of one key: by what the best member gives the actual
    class, or at most gives a label), classes by the best member's mean. What is computed in this
    order is the same to the last bit however its input was ordered.
    """
    losses = [log_loss_of(task, y, stack.member(at)) for at in range(len(stack))]
    members = np.argsort(np.round(losses, DIGITS), kind="stable")
    best = stack.member(int(members[0]))
    told = best[np.arange(len(y)), y] if y.ndim == 1 else best.max(axis=1)
    means = np.round(best.mean(axis=0, dtype=np.float64), DIGITS)
    return members, np.lexsort((told, keys)), np.argsort(means, kind="stable")
