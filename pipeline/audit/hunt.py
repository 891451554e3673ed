"""How well a trait predicts labels: gradient boosting over folds, against the majority answer.

The gain in accuracy is a mean of paired differences over rows; its standard error counts groups
(the sandwich of a mean over clusters), since rows of one photographer are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

from pipeline.audit.traits import Trait
from pipeline.folds import Folds

ROUNDS, LEAST_ROUNDS, TREES = 60, 25, 500  # boosting rounds, of which many classes get fewer
CERTAIN, VERY_CERTAIN = 3.0, 4.0  # standard errors of one test alone
SMALLEST_CLASS = 10  # rows of a class that a trait can be said to identify
_SCREENING_TREES = 20


@dataclass(frozen=True)
class Rows:
    """The training rows that are hunted through: `chosen` of all (n,), their folds, and how every
    row of the table is grouped (n,) int."""

    folds: Folds
    chosen: np.ndarray
    group: np.ndarray

    @property
    def validated(self) -> np.ndarray:
        """Which of the chosen rows are validated, positions."""
        return np.flatnonzero(self.folds.fold[self.chosen] >= 0)


@dataclass(frozen=True)
class Score:
    """What a trait says of labels, out of fold; `label` is '' where there are several classes.

    `removed`: the share of the majority answer's errors that are right. `best_class`: the one, not
    the majority, that is told best from the others, and the F1 of that.
    """

    label: str
    accuracy: float
    majority: float
    se: float
    clusters: int
    best_class: str
    best_f1: float
    best_rows: int

    @property
    def gain(self) -> float:
        return self.accuracy - self.majority

    @property
    def removed(self) -> float:
        return self.gain / (1 - self.majority) if self.majority < 1 else 0.0

    def beyond(self, errors: float, tests: int) -> bool:
        """Whether the gain is beyond so many standard errors of a normal, if `tests` are made
        (Bonferroni), by Student's t where clusters are few."""
        if self.gain <= 0 or self.clusters < 2:
            return False
        limit = stats.t.isf(stats.norm.sf(errors) / tests, self.clusters - 1)
        return bool(self.gain > limit * self.se)


def neighbours(
    order: np.ndarray, trained: np.ndarray, group: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return the nearest trained row before and after each row, of another group than its own.

    A row that is trained on must not see its group's labels, since a validated one will not.

    Parameters
    ----------
    order : (n,) float, NaN for rows without a place
    trained : (t,) rows
    group : (n,) int
    rows : (r,) rows to look from

    Returns
    -------
    (r, 2) int rows, -1 for none
    """
    placed = trained[~np.isnan(order[trained])]
    line = placed[np.argsort(order[placed], kind="stable")]
    if not len(line):
        return np.full((len(rows), 2), -1)
    padded = np.r_[-1, line, -1]  # place p of the line is p + 1 here
    new = np.r_[True, group[line][1:] != group[line][:-1]]
    start = np.maximum.accumulate(np.where(new, np.arange(len(line)), 0))
    end = np.r_[np.flatnonzero(new)[1:], len(line)][np.cumsum(new) - 1]  # one past the run
    keys, own = order[line], np.isin(rows, line)
    place = np.searchsorted(keys, order[rows], "left")  # how many of the line lie before
    before, after = place - 1, np.searchsorted(keys, order[rows], "right")
    before[own], after[own] = start[place[own]] - 1, end[place[own]]
    found = np.stack([padded[before + 1], padded[after + 1]], axis=1)
    found[np.isnan(order[rows])] = -1
    return found


def features(
    traits: Sequence[Trait], rows: Rows, trained: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Return the columns of traits for the chosen rows and their names, last the labels of
    neighbours among the `trained` rows of the table; `codes` (n, l): one column per label."""
    matrices, names = [one.matrix() for one in traits], [c.name for t in traits for c in t.train]
    for one in traits:
        if one.order is None:
            continue
        near = neighbours(one.order, trained, rows.group, rows.chosen)
        by = "time" if one.name == "leak-time" else "the table"
        for side, word in enumerate(("before", "after")):
            found = codes[near[:, side]].astype(float)  # (r, l)
            found[near[:, side] < 0] = np.nan
            matrices.append(found)
            names += [f"label of the row {word} in {by}"] * codes.shape[1]
    return np.concatenate(matrices, axis=1), names


def screened(traits: Sequence[Trait], rows: Rows, labels: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many labels that the trait seems to tell something of, of labels (n, l).

    A small forest that answers all labels at once is quick; what it promises is not reported.
    """
    if labels.shape[1] <= most:
        return np.arange(labels.shape[1])
    gain = np.zeros(labels.shape[1])
    for trained, train, valid in _parts(rows):
        table = np.nan_to_num(features(traits, rows, trained, labels)[0], nan=-1.0)
        table = np.clip(table, -3e38, 3e38)  # trees compute with 32 bits
        forest = ExtraTreesClassifier(_SCREENING_TREES, min_samples_leaf=3, random_state=0)
        y = labels[rows.chosen]
        answer = forest.fit(table[train], y[train]).predict(table[valid])
        common = y[train].mean(axis=0) > 0.5
        gain += ((answer == y[valid]) * 1.0 - (common == y[valid])).sum(axis=0)
    rare = np.minimum(labels[rows.chosen].mean(axis=0), 1 - labels[rows.chosen].mean(axis=0))
    removed = gain / np.maximum(rare * len(rows.chosen), 1)
    return np.sort(np.argsort(-removed, kind="stable")[:most])


def score_of(
    traits: Sequence[Trait], rows: Rows, y: np.ndarray, names: Sequence[str], label: str = ""
) -> Score | None:
    """Return how well traits predict classes y (n,) of `names`, None where nothing is validated.

    A class called '' is the rest of a table with very many; it is not named as the best one.
    """
    valid = rows.validated
    truth = y[rows.chosen][valid]
    probs = np.zeros((len(rows.chosen), len(names)))
    common = np.zeros(len(rows.chosen), int)
    for trained, train, part in _parts(rows):
        table, columns = features(traits, rows, trained, y[:, None])
        known = y[rows.chosen[train]]
        common[part] = np.bincount(known, minlength=len(names)).argmax()
        kinds = [i for i, name in enumerate(columns) if name.startswith("label of")]
        probs[part] = _fitted(table, known, train, part, kinds, len(names))
    if not len(valid):
        return None
    answer, common, probs = probs[valid].argmax(axis=1), common[valid], probs[valid]
    hit, base = answer == truth, common == truth
    group = rows.group[rows.chosen[valid]]
    se, clusters = clustered_error(hit * 1.0 - base, group)
    best = _best_class(truth, probs, names)
    return Score(label, float(hit.mean()), float(base.mean()), se, clusters, *best)


def _parts(rows: Rows):
    """Yield for each fold the rows of the table trained on, and the positions among the chosen
    rows that are trained on and validated."""
    for k in rows.folds.numbers:
        trained = rows.folds.train_rows(k)
        train = np.flatnonzero(np.isin(rows.chosen, trained))
        valid = np.flatnonzero(rows.folds.fold[rows.chosen] == k)
        if len(train) and len(valid):
            yield trained, train, valid


def _fitted(
    table: np.ndarray,
    known: np.ndarray,
    train: np.ndarray,
    valid: np.ndarray,
    kinds: list[int],
    classes: int,
) -> np.ndarray:
    """Return probabilities (v, classes) of the rows `valid` by boosting on the rows `train`."""
    probs = np.zeros((len(valid), classes))
    there = np.unique(known)
    if len(there) == 1:
        probs[:, there[0]] = 1.0
        return probs
    rounds = int(np.clip(TREES // (len(there) if len(there) > 2 else 1), LEAST_ROUNDS, ROUNDS))
    model = HistGradientBoostingClassifier(
        learning_rate=0.15,
        max_iter=rounds,
        max_leaf_nodes=15,
        min_samples_leaf=int(np.clip(len(train) // 200, 4, 20)),
        l2_regularization=1.0,
        early_stopping=False,
        categorical_features=kinds or None,
        random_state=0,
    )
    probs[:, there] = model.fit(table[train], known).predict_proba(table[valid])
    return probs


def clustered_error(values: np.ndarray, group: np.ndarray) -> tuple[float, int]:
    """Return the standard error of the mean of values (n,) whose groups are independent, and how
    many groups there are (the sandwich estimator, with g / (g - 1))."""
    codes = np.unique(group, return_inverse=True)[1].ravel()
    sums = np.bincount(codes, values - values.mean())
    if len(sums) < 2:
        return float("inf"), len(sums)
    spread = (sums**2).sum() * len(sums) / (len(sums) - 1)
    return float(np.sqrt(spread)) / len(values), len(sums)


def best_f1(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the F1 of the best threshold on scores (n,) for the rows that are positive (n,)."""
    order = np.argsort(-scores, kind="stable")
    last = np.r_[scores[order][1:] != scores[order][:-1], True]  # equal scores go together
    hits = np.cumsum(positive[order])[last]
    answered = np.flatnonzero(last) + 1
    return float((2 * hits / (answered + positive.sum())).max())


def _best_class(
    truth: np.ndarray, probs: np.ndarray, names: Sequence[str]
) -> tuple[str, float, int]:
    """Return the class that is told best from the others, the F1 and how many rows it has."""
    counts = np.bincount(truth, minlength=len(names))
    told = ("", 0.0, 0)
    for k in np.flatnonzero(counts >= SMALLEST_CLASS):
        if k != counts.argmax() and names[k]:
            found = best_f1(truth == k, probs[:, k])
            if found > told[1]:
                told = (names[k], found, int(counts[k]))
    return told
