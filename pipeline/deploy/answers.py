"""From probabilities of new pictures to answers, and to their table."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.decisions import answered, as_labels, confidence, fill
from pipeline.ensemble.build import Decided
from pipeline.errors import PodiumError

DONT_KNOW = "don't know"
COLUMNS = ("image", "answer", "confidence", "note")


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to n pictures: `labels` (n,) or 0/1 (n, c), the confidence (n,) float64 in them,
    which of them are given (n,) bool, and the probabilities (n, c)."""

    labels: np.ndarray
    confidence: np.ndarray
    given: np.ndarray
    probs: np.ndarray


def decide_answers(
    decided: Decided, task: str, probs: np.ndarray, broken: np.ndarray, level: float | None
) -> Answers:
    """Answer probabilities (n, c) by the rule of a run or ensemble, and the rows `broken` (n,) by
    its constant, with confidence 0; below confidence `level` none is given."""
    answer = fill(decided.rule.apply(probs), broken, decided.constant)
    labels = as_labels(answer, task)
    sure = np.where(broken, 0.0, confidence(probs, labels, task))
    return Answers(labels, sure, answered(sure, level or 0.0), probs)


def check_level(level: float | None, data: CompetitionData) -> None:
    """Refuse a confidence outside 0..1, and any where "don't know" may be a class."""
    if level is None:
        return
    if not 0 <= level <= 1:
        raise PodiumError(f"CONFIDENCE: {level} is not a probability; give a number from 0 to 1")
    said = {DONT_KNOW}
    if data.competition.task == "multilabel":
        said = {*DONT_KNOW.split(data.competition.columns.separator)}
    if DONT_KNOW in data.classes or said <= {*data.classes}:
        raise PodiumError(
            f'CONFIDENCE: {level}, but "{DONT_KNOW}" may be an answer of {data.competition.name} '
            "itself; leave CONFIDENCE out, and read the column confidence"
        )


def answers_table(
    names: Sequence[str], answers: Answers, notes: dict[int, str], data: CompetitionData
) -> str:
    """Return the CSV: a row per picture, its answer in words, the confidence, what is wrong with it
    by place in `notes`, and the probability of every class, blank where no network saw it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    # A class may be called image or note; with the prefix no two columns have one name.
    writer.writerow([*COLUMNS, *(f"p_{name}" for name in data.classes)])
    words = _in_words(answers.labels, data)
    for row, name in enumerate(names):
        said = words[row] if answers.given[row] else DONT_KNOW
        probs = [""] * len(data.classes)
        if row not in notes:
            probs = [f"{p:.6g}" for p in answers.probs[row].tolist()]
        # Nine digits tell apart what was compared: the float32 below 0.9 from 0.9.
        writer.writerow([name, said, f"{answers.confidence[row]:.9g}", notes.get(row, ""), *probs])
    return out.getvalue()


def _in_words(labels: np.ndarray, data: CompetitionData) -> list[str]:
    if labels.ndim == 1:
        return [data.classes[k] for k in labels.tolist()]
    between = data.competition.columns.separator
    return [between.join(data.classes[k] for k in np.flatnonzero(row)) for row in labels]
