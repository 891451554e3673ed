"""Stratified folds and parts, for both tasks, with groups or without.

Multi-class tables without groups go to scikit-learn. All others go to `grouped.py`, where a row
without a group is a group of its own. For multi-label tables without groups that was measured
against iterative-stratification (n = 2 tables, seed 0; tests/folds/test_folds_stratify.py makes
them and keeps the comparison). On 3,000 rows x 20 labels, a third of the rows without any, its five
folds differ by 30 such rows, or by 29 rows in size where "no label" is made a label: here by 1 and
0. On 2,000 x 30 with a fifth positive its worst label count is 21 rows off: here 0.8.
"""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from pipeline.errors import PodiumError
from pipeline.folds.grouped import split_groups


def k_folds(labels: np.ndarray, groups: np.ndarray | None, n_folds: int, seed: int) -> np.ndarray:
    """Give every row a fold so that the folds have the same labels, as far as can be.

    Parameters
    ----------
    labels : (n,) int class index, or (n, c) 0/1 array
    groups : (n,) array of str or None; no group straddles two folds
    n_folds : int, at least 2
    seed : int

    Returns
    -------
    (n,) int64 fold, 0 to n_folds - 1. Without groups, class counts differ by at most one between
    folds, also for a class with fewer rows than folds.

    Raises
    ------
    PodiumError
        Where there are fewer rows, or groups, than folds.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}; a hold-out is split_parts")
    labels = _simplest(labels)
    _check_rows(labels, n_folds)
    # scikit-learn refuses where every class has fewer rows than folds.
    if groups is None and labels.ndim == 1 and np.bincount(labels).max() >= n_folds:
        return _stratified_k_fold(labels, n_folds, seed)
    return split_groups(labels, _units(labels, groups), np.full(n_folds, 1 / n_folds), seed)


def split_parts(
    labels: np.ndarray, groups: np.ndarray | None, fractions: tuple[float, ...], seed: int
) -> np.ndarray:
    """Give every row a part so that part i has `fractions[i]` of the rows and of every label.

    Parameters
    ----------
    labels : (n,) int class index, or (n, c) 0/1 array
    groups : (n,) array of str or None; no group straddles two parts
    fractions : positive floats of sum 1, for example (0.8, 0.1, 0.1)
    seed : int

    Returns
    -------
    (n,) int64 part index; no part is empty.

    Raises
    ------
    PodiumError
        Where there are fewer rows, or groups, than parts.
    """
    shares = np.asarray(fractions, float)
    if not (shares > 0).all() or not np.isclose(shares.sum(), 1):
        raise ValueError(f"fractions must be positive and of sum 1, got {fractions}")
    labels = _simplest(labels)
    _check_rows(labels, len(shares))
    if groups is None and labels.ndim == 1:
        parts = _stratified_shuffle(labels, shares, seed)
        if parts is not None:
            return parts
    return split_groups(labels, _units(labels, groups), shares, seed)


def _simplest(labels: np.ndarray) -> np.ndarray:
    """Read a multi-label table of one column (or none) as classes."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] < 2:
        return labels.any(axis=1).astype(np.int64)
    return labels


def _units(labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    return np.arange(len(labels)) if groups is None else groups


def _check_rows(labels: np.ndarray, n_parts: int) -> None:
    if len(labels) < n_parts:
        raise PodiumError(
            f"folds: every part needs at least one row, but {len(labels)} rows were given for "
            f"{n_parts} parts; ask for fewer (FOLDS=) or give more rows"
        )


def _stratified_k_fold(labels: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    fold = np.empty(len(labels), np.int64)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # The balance report says which classes have fewer rows than folds, by name.
        warnings.filterwarnings("ignore", message="The least populated class")
        for k, (_, valid) in enumerate(splitter.split(labels, labels)):
            fold[valid] = k
    return fold


def _stratified_shuffle(labels: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray | None:
    """Carve one part after the other; None where scikit-learn refuses so few rows of a class."""
    parts = np.zeros(len(labels), np.int64)
    sizes = np.rint(shares * len(labels)).astype(int)
    left = np.arange(len(labels))
    for part in range(len(shares) - 1, 0, -1):
        counts = np.unique(labels[left], return_counts=True)[1]
        smaller = min(sizes[part], len(left) - sizes[part])
        if counts.min() < 2 or smaller < len(counts):
            return None
        splitter = StratifiedShuffleSplit(1, test_size=int(sizes[part]), random_state=seed)
        keep, carved = next(splitter.split(left, labels[left]))
        parts[left[carved]] = part
        left = left[keep]
    return parts
