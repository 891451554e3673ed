"""What an epoch or a fold is judged by: the competition's metric, and two that everyone knows."""

import contextlib

import numpy as np

from pipeline.artifacts.predictions import probabilities
from pipeline.decisions.rules import default_rule
from pipeline.errors import PodiumError
from pipeline.metrics import Metric, get_metric
from pipeline.training.job import FoldJob

# Beside the competition's metric, under names of their own in history.csv.
WELL_KNOWN = {"multiclass": ("accuracy", "f1_macro"), "multilabel": ("f1_micro", "subset_accuracy")}


ALIKE = 1e-3  # probabilities that differ by less are the same


class Scores:
    """Score logits of a job's rows, under the rules that need no fitting."""

    def __init__(self, job: FoldJob) -> None:
        self._labels = job.data.labels
        self.metric = job.data.metric
        names = WELL_KNOWN[self.metric.task]
        self._known = {name: get_metric(name, self.metric.task) for name in names}

    def of(self, rows: np.ndarray, logits: np.ndarray) -> float | None:
        """Return the competition's metric of labelled rows; None where it is not defined."""
        return score_logits(self.metric, self._labels[rows], logits)

    def line(self, part: str, rows: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """Return `part_score` and the well-known metrics of those of `rows` that have labels."""
        labelled = rows < len(self._labels)
        rows, logits = rows[labelled], logits[labelled]
        truth = self._labels[rows]
        scores = {f"{part}_score": score_logits(self.metric, truth, logits) if len(rows) else None}
        for name, metric in self._known.items():
            scores[f"{part}_{name}"] = score_logits(metric, truth, logits) if len(rows) else None
        return scores

    def one_answer(self, logits: np.ndarray) -> int:
        """Return 1 if all rows (n, c) are answered alike, else 0: by the same class or, of several
        labels, by the same probabilities; that nobody gets a rare label is no fault at first."""
        if not len(logits):
            return 0
        if self.metric.task == "multiclass":
            answers = logits.argmax(axis=1)
            return int(bool((answers == answers[0]).all()))
        spread = np.ptp(probabilities(logits, self.metric.task), axis=0)
        return int(bool((spread < ALIKE).all()))

    def shown(self, score: float | None) -> str:
        """Return a score for a progress bar."""
        return f"{self.metric.name} {'-' if score is None else f'{score:.4f}'}"


def score_logits(metric: Metric, labels: np.ndarray, logits: np.ndarray) -> float | None:
    """Return the metric under the rule that needs no fitting; None where it is not defined."""
    return score_probs(metric, labels, probabilities(logits, metric.task))


def score_probs(metric: Metric, labels: np.ndarray, probs: np.ndarray) -> float | None:
    """The same from probabilities."""
    answer = default_rule(metric).apply(probs)
    with contextlib.suppress(PodiumError):
        return float(metric.score(labels, answer))
    return None
