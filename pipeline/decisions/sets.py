"""The set of labels that scores best in expectation, image by image, from calibrated probabilities.

A threshold answers every label alone. Samples F and samples Jaccard score the set of an image as a
whole, and what is best for one label depends on the others: beside one likely label a second,
doubtful one costs much, beside five it costs little. Where the labels of an image are independent
given its probabilities, the best set of k labels is the k most probable. For let one of two labels
be answered: only where exactly one of them is true does it matter which, the size of the truth is
then the same, and the more probable label is more often the true one. So c sets are compared, each
by its exact expectation.

An empty answer is worth 0, to an empty truth too: so scikit-learn scores it (`zero_division=0`).
For subset accuracy the best set is the most probable one, `p >= 0.5`: the rule 'threshold'.
"""

from collections.abc import Callable

import numpy as np

from pipeline.decisions.cuts import TIE
from pipeline.decisions.poisson_binomial import others
from pipeline.errors import PodiumError

BLOCK = 1 << 20  # float64 values in the largest array of a block of rows: 8 MB


def f_maximiser(joint: np.ndarray, empty: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return the sets of highest expected F-beta under any joint distribution of labels.

    Parameters
    ----------
    joint : ndarray of shape (n, c, c)
        At [i, j, s - 1]: the probability that row i has label j, and s labels in all.
    empty : ndarray of shape (n,)
        What the empty answer is worth: P(no label) where F of two empty sets is 1, and 0 where it
        is 0, as scikit-learn has it.
    beta : float, positive

    Returns
    -------
    ndarray of shape (n, c), int8
        Sets of 0 and 1. Among equals (within 1e-12) the fewest labels, then the first.

    References
    ----------
    Dembczynski, Waegeman, Cheng and Huellermeier, An exact algorithm for F-measure maximization,
    NIPS 2011; Waegeman and others, On the Bayes-optimality of F-measure maximizers, JMLR 15 (2014).
    """
    n_rows, n_classes, _ = joint.shape
    weights = _weights(n_classes, n_classes, beta)
    out = np.zeros((n_rows, n_classes), np.int8)
    size = max(1, BLOCK // n_classes**2)
    for start in range(0, n_rows, size):
        here = slice(start, start + size)
        gains = joint[here] @ weights  # (b, c, k): what label j adds to a set of k labels
        order = np.argsort(-gains, axis=1, kind="stable")
        by_rank = np.take_along_axis(gains, order, 1)
        values = np.diagonal(np.cumsum(by_rank, axis=1), axis1=1, axis2=2)  # (b, k)
        k = _best_size(np.column_stack([empty[here], values]))
        chosen = np.take_along_axis(order, np.maximum(k - 1, 0)[:, None, None], 2)[:, :, 0]
        np.put_along_axis(out[here], chosen, _first(k, n_classes), 1)
    return out


def samples_f_sets(probs: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return the sets of highest expected F-beta of each row, for independent labels.

    With the labels in order of probability, F of the first k is a sum over them and over the number
    s of labels in all, of P(label j and s labels) (1 + b^2) / (b^2 s + k). The joint probabilities
    are those of one label times the number of the others; cumulated over j they give all k at once,
    O(c^2) a row for any beta.

    Parameters
    ----------
    probs : ndarray of shape (n, c), in [0, 1]
    beta : float, positive

    Returns
    -------
    ndarray of shape (n, c), int8
        Empty only where no probability is above 0 (by more than 1e-12). Of equal probabilities the
        first class counts as the more probable, and of equal sizes the smaller one is taken.

    References
    ----------
    Dembczynski and others, NIPS 2011 (see `f_maximiser`); Ye, Chai, Lee and Chieu, Optimizing
    F-measures: a tale of two approaches, ICML 2012.
    """
    if not (np.isfinite(beta) and beta > 0):
        raise PodiumError(f"beta must be a positive number, got {beta}")

    def values(ordered: np.ndarray) -> np.ndarray:
        joint = others(ordered)  # (s, c, b)
        joint *= ordered
        np.cumsum(joint, axis=1, out=joint)
        return np.einsum("skb,sk->bk", joint, _weights(len(joint), len(ordered), beta))

    return _best_prefixes(probs, values, probs.shape[1] ** 2)


def samples_jaccard_sets(probs: np.ndarray) -> np.ndarray:
    """Return the sets of highest expected Jaccard index of each row, for independent labels.

    The union of an answered set of k labels and the truth is k plus the true labels outside it,
    which are independent of those inside. So the expectation is a product: the sum of the k highest
    probabilities times E[1 / (k + B)], where B counts the labels among the others.

    Parameters
    ----------
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    ndarray of shape (n, c), int8
        Empty only where no probability is above 0; ties as in `samples_f_sets`.

    References
    ----------
    Chierichetti, Kumar, Pandey and Vassilvitskii, Finding the Jaccard median, SODA 2010, for the
    case without independence, which is hard.
    """

    def values(ordered: np.ndarray) -> np.ndarray:
        n_classes, n_rows = ordered.shape
        out, rest = np.empty((n_rows, n_classes)), np.zeros((n_classes + 1, n_rows))
        inside = np.cumsum(ordered, axis=0)
        rest[0] = 1  # the number of labels outside: nothing is outside of all c
        for k in range(n_classes, 0, -1):
            outside = n_classes - k
            out[:, k - 1] = inside[k - 1] * (1 / (k + np.arange(outside + 1)) @ rest[: outside + 1])
            moved = rest[: outside + 1] * ordered[k - 1]
            rest[: outside + 1] -= moved
            rest[1 : outside + 2] += moved
        return out

    return _best_prefixes(probs, values, probs.shape[1] + 1)


def first_labels(order: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return sets (n, c) int8 of the first k (n,) labels of each row's `order` (n, c)."""
    out = np.zeros(order.shape, np.int8)
    np.put_along_axis(out, order, _first(k, order.shape[1]), 1)
    return out


def by_score(scores: np.ndarray) -> np.ndarray:
    """Return the classes (n, c) of each row from the highest score down, ties in class order."""
    return np.argsort(-scores, axis=1, kind="stable")


def _best_prefixes(
    probs: np.ndarray, values: Callable[[np.ndarray], np.ndarray], width: int
) -> np.ndarray:
    """Return the best of the sets of the k most probable labels; `values` says which that is.

    It takes ordered probabilities (c, b) float64 and returns the worth (b, c) of 1 ... c labels.
    """
    out = np.empty(probs.shape, np.int8)
    size = max(1, BLOCK // width)
    for start in range(0, len(probs), size):
        block = probs[start : start + size].astype(np.float64)
        order = by_score(block)
        ordered = np.ascontiguousarray(np.take_along_axis(block, order, 1).T)
        k = _best_size(np.column_stack([np.zeros(len(block)), values(ordered)]))
        out[start : start + size] = first_labels(order, k)
    return out


def _best_size(values: np.ndarray) -> np.ndarray:
    """Return the smallest size 0 ... c of highest value (n, c + 1), within 1e-12."""
    return np.argmax(values >= values.max(1, keepdims=True) - TIE, axis=1)


def _weights(n_sizes: int, n_classes: int, beta: float) -> np.ndarray:
    """Return (1 + b^2) / (b^2 s + k) for s = 1 ... n_sizes down and k = 1 ... c across."""
    s, k = np.ogrid[1 : n_sizes + 1, 1 : n_classes + 1]
    return (1 + beta**2) / (beta**2 * s + k)


def _first(k: np.ndarray, n_classes: int) -> np.ndarray:
    return (np.arange(n_classes) < k[:, None]).astype(np.int8)
