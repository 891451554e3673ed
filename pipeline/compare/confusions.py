"""What is mistaken for what, and which classes gained and lost most."""

from dataclasses import dataclass

import numpy as np

from pipeline.metrics import Metric
from pipeline.metrics.class_counts import class_counts, confusion
from pipeline.metrics.f_beta import f_beta
from pipeline.metrics.metric import ratio

MOST = 10


@dataclass(frozen=True)
class Confusion:
    """How often class `actual` is answered as `answered`, before and after."""

    actual: str
    answered: str
    before: int
    after: int


@dataclass(frozen=True)
class LabelErrors:
    """Of a label, how often it is answered wrongly and how often it is missed, (before, after)."""

    name: str
    wrong: tuple[int, int]
    missed: tuple[int, int]


@dataclass(frozen=True)
class ClassScore:
    """A class's score, before and after, and how many rows are of it."""

    name: str
    rows: int
    before: float
    after: float


def confusions(
    actual: np.ndarray, a: np.ndarray, b: np.ndarray, classes: tuple[str, ...]
) -> list[Confusion]:
    """Return the most frequent confusions of classes (n,), by the larger of both counts."""
    both = np.stack([confusion(actual, answer, len(classes)) for answer in (a, b)], axis=2)
    both[np.diag_indices(len(classes))] = 0
    pairs = np.argwhere(both.any(axis=2))
    table = both[tuple(pairs.T)]
    order = np.lexsort((*pairs.T[::-1], -table.sum(axis=1), -table.max(axis=1)))[:MOST]
    return [
        Confusion(*(classes[i] for i in pairs[at].tolist()), *table[at].tolist()) for at in order
    ]


def label_errors(
    actual: np.ndarray, a: np.ndarray, b: np.ndarray, classes: tuple[str, ...]
) -> list[LabelErrors]:
    """Return the labels (n, c) with most errors, by the larger of both sums."""
    wrong = np.stack([(answer > actual).sum(axis=0) for answer in (a, b)])  # (2, c)
    missed = np.stack([(answer < actual).sum(axis=0) for answer in (a, b)])
    total = wrong + missed
    order = np.argsort(-total.max(axis=0), kind="stable")[:MOST]
    return [
        LabelErrors(classes[i], tuple(wrong[:, i].tolist()), tuple(missed[:, i].tolist()))
        for i in order
        if total[:, i].any()
    ]


def class_scores(
    metric: Metric, actual: np.ndarray, a: np.ndarray, b: np.ndarray, classes: tuple[str, ...]
) -> tuple[str, list[ClassScore]]:
    """Return what classes are scored by (recall under balanced accuracy, F-beta with the beta of
    such a metric, else F1), and the classes whose score changed most."""
    n_classes, beta = len(classes), float(getattr(metric, "beta", 1.0))
    recall = metric.name == "balanced_accuracy"
    scores = []
    for answer in (a, b):
        tp, answered, rows = class_counts(actual, answer, n_classes)
        scores.append(ratio(tp, rows) if recall else f_beta(tp, answered, rows, beta))
    before, after = scores
    order = np.argsort(-np.abs(after - before), kind="stable")[:MOST]
    changed = [
        ClassScore(classes[i], int(rows[i]), float(before[i]), float(after[i]))
        for i in order
        if before[i] != after[i]
    ]
    return "recall" if recall else f"F{beta:g}", changed
