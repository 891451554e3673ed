"""Balanced sampling: how likely each training row is drawn, and the draw of an epoch."""

import numpy as np


def row_weights(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return weights that make the classes equally frequent among rows drawn in proportion to them.

    Multi-class: 1 / n_c, n_c the rows of the row's class. Multi-label: the largest 1 / n_c of the
    row's labels, as LVIS' repeat factors are the largest of a picture's; by their mean a rare label
    that only ever comes with common ones would stay rare. Rows without any label count as a class
    of their own, or the network would hardly see what no label looks like.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, n_classes)
        Classes, or 0/1 per label.
    n_classes : int

    Returns
    -------
    ndarray of shape (n,), float64
        Above 0. Of multi-class rows they sum to the number of classes that have one.

    References
    ----------
    Gupta, Dollar and Girshick (2019), LVIS, appendix "Repeat factor sampling".
    """
    if labels.ndim == 1:
        return 1 / np.bincount(labels, minlength=n_classes)[labels]
    none = ~labels.any(axis=1)
    held = np.column_stack([labels.astype(bool), none])  # (n, n_classes + 1)
    return (held / np.maximum(held.sum(axis=0), 1)).max(axis=1)


def draw(rows: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many rows as there are, drawn with replacement by weights, in random order.

    The draw is systematic: one random offset and then equal steps along the cumulated weights, so
    that each row comes floor or ceil of its expected number of times. Independent draws would let
    the classes' shares differ from epoch to epoch, and leave out a third of all rows even where the
    weights are equal. Rows lie along the steps by weight, at random within equal ones: what has a
    weight of its own, a class for example, comes floor or ceil of its expected number of times,
    too, and which rows come together changes from draw to draw.

    Parameters
    ----------
    rows : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        From 0, not all 0; a row of weight 0 is never drawn.
    rng : Generator
        All that the draw depends on beside rows and weights.

    Returns
    -------
    ndarray of shape (n,), of the type of `rows`

    Raises
    ------
    ValueError
        Where the weights are not n finite numbers from 0, or all are 0.

    References
    ----------
    Madow (1949), systematic sampling.
    """
    n = len(rows)
    if (
        np.shape(weights) != (n,)
        or not np.isfinite(weights).all()
        or np.min(weights, initial=0) < 0
    ):
        raise ValueError(f"{n} rows need so many finite weights from 0, not {weights!r}")
    if not n:
        return rows.copy()
    order = rng.permutation(n)
    order = order[np.argsort(weights[order], kind="stable")]
    ends = np.cumsum(weights[order])
    if not ends[-1]:
        raise ValueError(f"the weights of all {n} rows are 0")
    steps = (rng.random() + np.arange(n)) * (ends[-1] / n)
    # The largest weights lie last, so that a step rounded up to the end meets none of weight 0.
    drawn = np.minimum(np.searchsorted(ends, steps, side="right"), n - 1)
    return rows[rng.permutation(order[drawn])]
