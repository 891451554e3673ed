"""What the members bring, and where the answer is wrong.

Members: how alike their errors are, what each alone scores, what is lost without it, and the score
of every subset. Answers: confusion matrix and precision, recall, F1 per class. All on out-of-fold
rows; the answers are cross-fitted.
"""

from itertools import combinations
from typing import Any

import numpy as np

from pipeline.decisions import as_labels, default_rule
from pipeline.decisions.reliability import (
    class_reliability,
    ece_noise,
    reliability,
    reliability_record,
)
from pipeline.ensemble.blending.scoring import quick_score
from pipeline.ensemble.chain import Candidate
from pipeline.ensemble.choice import Choice
from pipeline.ensemble.cross_fit import CrossFit, row_log_loss
from pipeline.ensemble.rows import PARTS, Rows
from pipeline.metrics import Metric, resample_scores
from pipeline.metrics.f_beta import f_beta

DIAGNOSTICS = "diagnostics.json"
MOST_FOR_NOISE = 1_000_000  # cells whose labels are simulated a hundred times
MOST_SUBSETS = 255  # all of eight members
RESAMPLES = 200


def diagnose(
    metric: Metric, rows: Rows, choice: Choice, answer: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return all of it, ready for JSON, for the cross-fitted `answer` to `rows`."""
    labels, seen = as_labels(answer, metric.task), ~rows.without
    n_classes = rows.stack.shape[2]
    matrix = None
    if metric.task == "multiclass":
        matrix = confusion(rows.labels, labels, n_classes).tolist()
    return {
        "members": member_table(metric, rows, choice.chosen, seed),
        "error_correlation": error_correlation(metric, rows).tolist(),
        "subsets": subset_scores(metric, rows),
        "confusion": matrix,
        "per_class": class_table(rows.labels, labels, n_classes),
        "reliability": calibration_table(rows.labels[seen], choice.probs[seen], metric.task),
    }


def calibration_table(y: np.ndarray, probs: np.ndarray, task: str) -> dict[str, Any]:
    """Return how confidence and accuracy agree, over all and per class, with the error that a
    calibrated model would show on as many rows. Of several classes, the confidence is that of the
    likeliest; of labels, each probability is one."""
    if task == "multiclass":
        first = probs.argmax(axis=1)
        sure, right = probs[np.arange(len(y)), first], first == y
    else:
        sure, right = probs.ravel(), y.ravel() == 1
    noise = ece_noise(sure) if len(sure) <= MOST_FOR_NOISE else None
    found = class_reliability(y, probs, task)
    columns = found.ece.tolist(), found.mean_prob.tolist(), found.rate.tolist()
    per_class = [
        {"ece": ece, "mean_prob": mean, "rate": rate}
        for ece, mean, rate in zip(*columns, strict=True)
    ]
    return reliability_record(reliability(sure, right), noise) | {"per_class": per_class}


def member_losses(metric: Metric, rows: Rows) -> np.ndarray:
    """Return each member's error (members, n) on every row: whether the class is wrong, the share
    of labels that are wrong, or the log loss where the metric is one of probabilities."""
    rule, found = default_rule(metric), np.empty(rows.stack.shape[:2])
    for at in range(len(rows.stack)):
        probs = rows.stack.member(at)
        if metric.needs == "probs":
            found[at] = row_log_loss(rows.labels, probs, metric.task)
            continue
        wrong = rule.apply(probs) != rows.labels
        found[at] = wrong if wrong.ndim == 1 else wrong.mean(axis=1)
    return found


def error_correlation(metric: Metric, rows: Rows) -> np.ndarray:
    """Return the correlation (members, members) of the members' errors over rows.

    Of two equally good members the less correlated pair gains more by a mean. A member whose error
    is the same on all rows correlates with none: 0.
    """
    losses = member_losses(metric, rows.seen)
    losses -= losses.mean(axis=1, keepdims=True)
    scale = np.sqrt((losses**2).sum(axis=1))
    products = losses @ losses.T
    found = np.divide(products, np.outer(scale, scale), out=np.zeros_like(products),
                      where=np.outer(scale, scale) > 0)  # fmt: skip
    np.fill_diagonal(found, 1.0)
    return found


def subset_scores(metric: Metric, rows: Rows, most: int = MOST_SUBSETS) -> list[dict[str, Any]]:
    """Return the score of the plain mean of subsets of members under the rule that needs no
    fitting, the best first: all subsets where they are at most `most`; else the single members and
    what adding the best one more each time gives. Nothing is fitted, so nothing is in-sample."""
    seen, members = rows.seen, len(rows.stack)
    sets: list[tuple[int, ...]] = []
    if 2**members - 1 <= most:
        sizes = range(1, members + 1)
        sets = [found for size in sizes for found in combinations(range(members), size)]
        scores = [_mean_score(metric, seen, found) for found in sets]
    else:
        sets, scores = _forward(metric, seen)
    order = np.argsort(-np.array(scores), kind="stable")
    return [{"members": list(sets[i]), "score": metric.sign * scores[i]} for i in order]


def _mean_score(metric: Metric, rows: Rows, members: tuple[int, ...]) -> float:
    stack = rows.stack.only(members)
    mean = stack.mix(np.full(len(members), 1 / len(members)))
    return quick_score(metric, rows.labels, np.clip(mean, 0, 1))


def _forward(metric: Metric, rows: Rows) -> tuple[list[tuple[int, ...]], list[float]]:
    members = range(len(rows.stack))
    sets = [(at,) for at in members]
    scores = [_mean_score(metric, rows, found) for found in sets]
    current = sets[int(np.argmax(scores))]
    while len(current) < len(rows.stack):
        wider = [tuple(sorted((*current, at))) for at in members if at not in current]
        found = [_mean_score(metric, rows, one) for one in wider]
        current = wider[int(np.argmax(found))]
        sets.append(current)
        scores.append(max(found))
    return sets, scores


def member_table(metric: Metric, rows: Rows, chosen: Candidate, seed: int) -> list[dict[str, Any]]:
    """Return for every member its score alone under the rule that needs no fitting; `loss`, what
    the cross-fitted score of `chosen` loses without it, with the standard error of that over paired
    resamples of groups."""
    rows = rows.with_parts(seed, PARTS)
    everyone = list(range(len(rows.stack)))
    alone = [metric.sign * _mean_score(metric, rows.seen, (at,)) for at in everyone]
    if len(everyone) == 1:
        return [{"score": alone[0], "loss": None, "loss_se": None}]
    fits = [rows, *(rows.only([o for o in everyone if o != at]) for at in everyone)]
    answers = [_cross_fitted(metric, one, chosen) for one in fits]
    drawn = resample_scores(metric, rows.labels, answers, rows.groups, RESAMPLES, seed)
    scores = metric.sign * np.array([metric.score(rows.labels, answer) for answer in answers])
    return [
        {
            "score": alone[at],
            "loss": float(scores[0] - scores[at + 1]),
            "loss_se": float(np.nanstd(drawn[0] - drawn[at + 1])),
        }
        for at in everyone
    ]


def _cross_fitted(metric: Metric, rows: Rows, chosen: Candidate) -> np.ndarray:
    blend = chosen.blend if len(rows.stack) > 1 else "mean"
    fits = CrossFit(metric, rows)
    fits.add(blend, [(chosen.calibration, chosen.rule)])
    return next(iter(fits.answers.values()))


def confusion(y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how often class i (row) was answered as j (column), (c, c) int64."""
    pairs = y.astype(np.int64) * n_classes + answer
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def class_table(y: np.ndarray, answer: np.ndarray, n_classes: int) -> list[dict[str, Any]]:
    """Return support, answered, right, precision, recall and F1 of every class; of class indices
    (n,) or 0/1 (n, c)."""
    if y.ndim == 1:
        hit = y == answer
        counts = [np.bincount(v, minlength=n_classes) for v in (y[hit], answer, y)]
    else:
        counts = [(y & answer).sum(0, np.int64), answer.sum(0, np.int64), y.sum(0, np.int64)]
    table = []
    for at in range(n_classes):
        right, answered, support = (int(values[at]) for values in counts)
        table.append(
            {
                "support": support,
                "answered": answered,
                "right": right,
                "precision": right / answered if answered else None,
                "recall": right / support if support else None,
                "f1": float(f_beta(right, answered, support)),
            }
        )
    return table
