"""How well traits predict labels: gradient boosting, cross-validated over folds.

Labels of neighbours in a table or in time are joined for each fold, from the rows it trains on.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

from pipeline.audit.rows import Hunt, Rows
from pipeline.audit.score import Score, score_answers
from pipeline.audit.traits import Trait

ROUNDS, LEAST_ROUNDS, TREES = 60, 25, 500  # boosting rounds, of which many classes get fewer
MOST_LABELS = 6  # that boosting is tried on, of several labels
_SCREENING_TREES = 20


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


def scores_of(traits: Sequence[Trait], hunt: Hunt) -> list[tuple[int, Score]]:
    """Return the column and score of every label that traits are tried on."""
    found = []
    for k in screened(traits, hunt.rows, hunt.labels, MOST_LABELS).tolist():
        told = score_of(traits, hunt.rows, hunt.labels[:, k], hunt.names[k], hunt.titles[k])
        if told is not None:
            found.append((k, told))
    return found


def score_of(
    traits: Sequence[Trait], rows: Rows, y: np.ndarray, names: Sequence[str], label: str = ""
) -> Score | None:
    """Return how well traits predict classes y (n,) of `names`, None where nothing is validated.

    A class called '' is the rest of a table with very many; it is not named as the best one.
    """
    valid = rows.validated
    truth = y[rows.chosen][valid]
    probs = np.zeros((len(rows.chosen), len(names)))
    common, parts = np.zeros(len(rows.chosen), int), 0
    for trained, train, part in _parts(rows):
        table, columns = features(traits, rows, trained, y[:, None])
        known = y[rows.chosen[train]]
        common[part] = np.bincount(known, minlength=len(names)).argmax()
        kinds = [i for i, name in enumerate(columns) if name.startswith("label of")]
        probs[part] = _fitted(table, known, train, part, kinds, len(names))
        parts += 1
    if not len(valid):
        return None
    group = rows.group[rows.chosen[valid]]
    return score_answers(label, truth, probs[valid], common[valid], names, group, parts)


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
