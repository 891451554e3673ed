"""What speaks for and against the label of every row: out-of-fold probabilities of a run or
ensemble, and the answers of all runs on the same folds and labels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.artifacts.columns import left_out
from pipeline.competition import CompetitionData
from pipeline.ensemble.aligned import read_parts, validated_rows
from pipeline.ensemble.members import read_record, usable_runs, why_unusable
from pipeline.ensemble.newest import find_newest
from pipeline.errors import PodiumError
from pipeline.folds import Folds


@dataclass(frozen=True, eq=False)
class Evidence:
    """Labels and probabilities of the validated rows.

    `rows` (n,) are their places in the training table, `labels` (n,) class indices or (n, c) 0/1,
    `probs` (n, c) float64 those of `source`, which saw none of these rows' labels; of one label
    they sum to 1. `votes` (n, c) counts, of `runs`, those that answer a class: the likeliest, or
    of several labels each of at least 0.5.
    """

    source: str
    rows: np.ndarray
    labels: np.ndarray
    probs: np.ndarray
    votes: np.ndarray
    runs: tuple[str, ...]

    @cached_property
    def agreement(self) -> np.ndarray:
        """The share of runs that answer the given label, in the form of the labels."""
        if self.labels.ndim == 1:
            return self.votes[np.arange(len(self.labels)), self.labels] / len(self.runs)
        return np.where(self.labels, self.votes, len(self.runs) - self.votes) / len(self.runs)

    @cached_property
    def suggested(self) -> np.ndarray:
        """What stands there if the label is wrong, in the form of the labels: the likeliest other
        class; of several labels the other of 0 and 1."""
        if self.labels.ndim == 2:
            return 1 - self.labels
        others = self.probs.copy()
        others[np.arange(len(others)), self.labels] = -1
        return others.argmax(axis=1)


def gather(data: CompetitionData, folds: Folds, source: str = "") -> Evidence:
    """Read the probabilities of `source`, a run or ensemble, and the answers of all finished runs;
    the newest ensemble, else the best run, if it is empty."""
    runs, left = usable_runs(data, folds)
    name = source or find_newest(data, folds)[0] or _best_run(data, runs)
    if not name:
        why = "".join(f"; {line}" for line in left_out(left))
        comp = data.competition.name
        raise PodiumError(
            f"FROM: {comp} has no finished run on these folds and labels to judge labels by; make "
            f"train COMP={comp} ARCH=tf_efficientnet_lite0 RECIPE=frozen makes one in minutes{why}"
        )
    record = read_record(data, name, "FROM")
    reason = why_unusable(record, data, folds)
    if reason:
        raise PodiumError(f"FROM: {name} cannot judge labels: {reason}; name another run")
    rows = validated_rows(folds)
    probs = _oof(data, folds, name).astype(np.float64)
    if data.labels.ndim == 1:
        probs /= np.maximum(probs.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    voters = tuple(runs) or (name,)
    votes = sum(_answers(_oof(data, folds, run), data.labels.ndim) for run in voters)
    return Evidence(name, rows, data.labels[rows], probs, np.asarray(votes), voters)


def _oof(data: CompetitionData, folds: Folds, name: str) -> np.ndarray:
    return read_parts(data, folds, name, read_record(data, name, "FROM"))["oof"]


def _answers(probs: np.ndarray, dimensions: int) -> np.ndarray:
    """Return which classes (n, c) a run answers, as 0 and 1."""
    if dimensions == 2:
        return (probs >= 0.5).astype(np.int32)
    return np.eye(probs.shape[1], dtype=np.int32)[probs.argmax(axis=1)]


def _best_run(data: CompetitionData, runs: list[str]) -> str:
    """Return the run of the best out-of-fold score, '' without any; one without a score is last."""

    def worth(name: str) -> float:
        score = read_record(data, name).get("oof_score")
        return -np.inf if score is None else data.metric.sign * score

    return max(runs, key=worth, default="")
