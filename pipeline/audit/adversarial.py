"""Adversarial validation: how well a classifier tells test rows from training rows, out of fold.

Test pictures of one photographer recognise each other, and nobody says whose they are. Where the
training rows have groups, whole groups of them are therefore drawn as if they were a test set, and
the classifier is tried on that: so much is no shift.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.audit.auc import Area, roc_area

PARTS, DRAWS = 5, 3
LEAST_GROUPS = 20  # to draw a test set from
COST = 0.001  # C of the regression: many features, few rows


@dataclass(frozen=True, eq=False)
class Told:
    """How well one kind of features tells test from training rows.

    `rows` (r,) of both tables; `probs` (r,): out of fold, that each is a test row; `drawn`: the
    largest AUC for training groups drawn as a test set, None without groups; `single`: the AUC of
    the best column alone; `differs`: in words.
    """

    by: str
    area: Area
    drawn: float | None
    rows: np.ndarray
    probs: np.ndarray
    single: float
    differs: str

    def beyond(self, limit: float) -> bool:
        """Whether the AUC is surely above a limit, and above that of groups that were drawn."""
        return self.area.low > max(limit, self.drawn or 0.0)


def boosting() -> Any:
    """Return a classifier for few columns of any scale."""
    return HistGradientBoostingClassifier(
        learning_rate=0.1,
        max_iter=60,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )


def regression() -> Any:
    """Return a classifier for many columns and few rows."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=COST, max_iter=1000))


def told_apart(
    by: str,
    model: Callable[[], Any],
    table: np.ndarray,
    rows: np.ndarray,
    known: int,
    cluster: np.ndarray,
    *,
    grouped: bool,
    single: float = 0.5,
    differs: str = "-",
) -> Told:
    """Return how well models tell test rows from training rows by their features.

    Parameters
    ----------
    model : makes a classifier that is not fitted yet
    table : (r, d) features of `rows` (r,); those below `known` are training rows
    cluster : (r,) int, rows that belong together
    grouped : whether the clusters of the training rows are groups that test rows have, too
    """
    test = rows >= known
    with threadpool_limits(1):
        probs = out_of_fold(model, table, test, cluster)
        drawn = None
        if grouped:
            own = ~test
            drawn = _drawn_groups(model, table[own], cluster[own], float(test.mean()))
    area = roc_area(test, probs, cluster, parts=PARTS)
    return Told(by, area, drawn, rows, probs, single, differs)


def out_of_fold(
    model: Callable[[], Any], table: np.ndarray, test: np.ndarray, cluster: np.ndarray
) -> np.ndarray:
    """Return the probability (r,) of being a test row, from a model that saw none of its cluster.

    Whole clusters are dealt at random, so that no picture is known by a copy of it.
    """
    codes = np.unique(cluster, return_inverse=True)[1].ravel()
    part = np.random.default_rng(0).permutation(codes.max() + 1)[codes] % PARTS
    probs = np.full(len(test), test.mean())
    for k in range(PARTS):
        fit, held = part != k, part == k
        if held.any() and len(np.unique(test[fit])) == 2:
            probs[held] = model().fit(table[fit], test[fit]).predict_proba(table[held])[:, 1]
    return probs


def _drawn_groups(
    model: Callable[[], Any], table: np.ndarray, cluster: np.ndarray, share: float
) -> float | None:
    """Return the largest AUC of a few test sets made of whole training groups, of which the model
    is not told which rows belong together; None where there are too few groups."""
    codes = np.unique(cluster, return_inverse=True)[1].ravel()
    sizes = np.bincount(codes)
    if len(sizes) < LEAST_GROUPS:
        return None
    found = []
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(sizes))
        taken = order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), share * len(codes)))]
        test = np.isin(codes, taken)
        apart = np.where(test, len(sizes) + np.arange(len(codes)), codes)
        if test.any() and not test.all():
            found.append(roc_area(test, out_of_fold(model, table, test, apart)).value)
    return max(found, default=None)
