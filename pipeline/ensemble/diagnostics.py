"""What the members bring, and where the answer is wrong.

Members: how alike their errors are, what each alone scores, what is lost without it, and the score
of every subset. Answers: confusion matrix and precision, recall, F1 per class. All on out-of-fold
rows; the answers are cross-fitted.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.decisions import as_labels, best_constant, default_rule, fill
from pipeline.decisions.reliability import (
    class_reliability,
    ece_noise,
    reliability,
    reliability_record,
)
from pipeline.ensemble.blending.scoring import quick_score
from pipeline.ensemble.chain import Candidate
from pipeline.ensemble.choice import Choice
from pipeline.ensemble.cross_fit import CrossFit
from pipeline.ensemble.rows import Rows
from pipeline.metrics import Metric, resample_scores
from pipeline.metrics.class_counts import class_counts, confusion
from pipeline.metrics.f_beta import f_beta
from pipeline.metrics.rows import row_log_loss

DIAGNOSTICS = "diagnostics.json"
MOST_FOR_NOISE = 1_000_000  # cells whose labels are simulated a hundred times
MOST_SUBSETS = 255  # all of eight members
VALUES = 200_000_000  # of all members, in memory at once: 800 MB
RESAMPLES = 200


def diagnose(
    metric: Metric, rows: Rows, choice: Choice, answer: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return all of it, ready for JSON, for the cross-fitted `answer` to `rows`."""
    labels, seen = as_labels(answer, metric.task), ~rows.without
    n_classes = rows.stack.shape[2]
    matrix, shares = None, None
    if metric.task == "multiclass":
        counts = confusion(rows.labels, labels, n_classes)
        matrix = counts.tolist()
        shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).tolist()
    return {
        "members": member_table(metric, rows, choice, seed),
        "error_correlation": error_correlation(metric, rows).tolist(),
        "subsets": subset_scores(metric, rows),
        "confusion": matrix,
        "confusion_by_row": shares,
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
            found[at] = row_log_loss(metric.task, rows.labels, probs)
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
    few = 2 ** len(rows.stack) - 1 <= most and np.prod(rows.stack.shape) <= VALUES
    scores = _all_subsets(metric, rows) if few else _forward(metric, rows)
    order = sorted(scores, key=lambda subset: (-scores[subset], len(subset), subset))
    return [{"members": list(one), "score": metric.sign * scores[one]} for one in order]


def _all_subsets(metric: Metric, rows: Rows) -> dict[tuple[int, ...], float]:
    """Return the score of every subset; each sum is that of a smaller one and one member more."""
    scores: dict[tuple[int, ...], float] = {}
    sums: dict[tuple[int, ...], np.ndarray] = {}
    values = rows.stack.dense()
    for subset in _depth_first(len(values)):
        before = sums.get(subset[:-1])
        sums[subset] = values[subset[-1]] if before is None else before + values[subset[-1]]
        for one in [one for one in sums if len(one) >= len(subset) and one != subset]:
            del sums[one]  # done with: its supersets came before
        scores[subset] = _score(metric, rows, sums[subset], len(subset))
    return scores


def _depth_first(members: int, subset: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Yield every subset after its prefixes, so that few sums are held at a time."""
    for at in range(subset[-1] + 1 if subset else 0, members):
        yield (*subset, at)
        yield from _depth_first(members, (*subset, at))


def _forward(metric: Metric, rows: Rows) -> dict[tuple[int, ...], float]:
    """Return the scores of single members, and of the best one with one more each time."""
    members = len(rows.stack)
    scores = {(at,): _score(metric, rows, rows.stack.member(at), 1) for at in range(members)}
    current = max(scores, key=scores.__getitem__)
    total = rows.stack.member(current[0])
    while len(current) < members:
        wider = {
            at: _score(metric, rows, total + rows.stack.member(at), len(current) + 1)
            for at in range(members)
            if at not in current
        }
        best = max(wider, key=wider.__getitem__)
        current, total = tuple(sorted((*current, best))), total + rows.stack.member(best)
        scores[current] = wider[best]
    return scores


def _score(metric: Metric, rows: Rows, total: np.ndarray, members: int) -> float:
    """Return the score of a mean, higher is better, from its sum (n, c)."""
    probs = np.clip(total / members, 0, 1)
    if not rows.without.any():
        return quick_score(metric, rows.labels, probs)
    constant = best_constant(metric, rows.labels, probs.shape[1])
    answer = fill(default_rule(metric).apply(probs), rows.without, constant)
    return metric.sign * metric.score(rows.labels, answer)


def member_table(metric: Metric, rows: Rows, choice: Choice, seed: int) -> list[dict[str, Any]]:
    """Return for every member its score alone under the rule that needs no fitting; `loss`, what
    the cross-fitted score of the choice loses without it, and the standard error of that over
    paired resamples of groups."""
    everyone = range(len(rows.stack))
    alone = [metric.sign * _score(metric, rows, rows.stack.member(at), 1) for at in everyone]
    if len(everyone) == 1:
        return [{"score": alone[0], "loss": None, "loss_se": None}]
    parted = rows.with_parts(seed)
    fewer = [parted.only([other for other in everyone if other != at]) for at in everyone]
    without = tqdm(fewer, "without each member", disable=None, leave=False)
    answers = [choice.answer, *(_cross_fitted(metric, one, choice.chosen) for one in without)]
    drawn = resample_scores(metric, rows.labels, answers, rows.units, RESAMPLES, seed)
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
    fits, candidate = CrossFit(metric, rows), replace(chosen, blend=blend)
    fits.add([candidate])
    return fits.taken()[candidate]


def class_table(y: np.ndarray, answer: np.ndarray, n_classes: int) -> list[dict[str, Any]]:
    """Return support, answered, right, precision, recall and F1 of every class; of class indices
    (n,) or 0/1 (n, c)."""
    if y.ndim == 1:
        counts = class_counts(y, answer, n_classes)
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
