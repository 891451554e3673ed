"""From probabilities of new pictures to answers, and to their table."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.competition.pictures import is_picture
from pipeline.decisions import Rule, answered, as_labels, confidence, fill
from pipeline.errors import PodiumError

DONT_KNOW = "don't know"
COLUMNS = ("image", "answer", "confidence", "note")


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to n pictures: `labels` (n,) or 0/1 (n, c), the confidence (n,) float64 in them,
    which of them are given (n,) bool, the probabilities (n, c), and by place what is wrong with the
    pictures that could not be seen."""

    labels: np.ndarray
    confidence: np.ndarray
    given: np.ndarray
    probs: np.ndarray
    notes: dict[int, str] = field(default_factory=dict)


def decide_answers(
    rule: Rule,
    constant: np.ndarray,
    task: str,
    probs: np.ndarray,
    notes: dict[int, str],
    level: float | None,
) -> Answers:
    """Answer probabilities (n, c) by a rule, and the rows that `notes` says something of, which
    could not be seen, by the `constant`, with confidence 0; below confidence `level` none is
    given."""
    broken = np.isin(np.arange(len(probs)), list(notes))
    answer = fill(rule.apply(probs), broken, constant)
    labels = as_labels(answer, task)
    sure = np.where(broken, 0.0, confidence(probs, labels, task))
    return Answers(labels, sure, answered(sure, level or 0.0), probs, notes)


def check_level(level: float | None, data: CompetitionData) -> None:
    """Refuse a confidence outside 0..1, and any where "don't know" may be a class."""
    if level is None:
        return
    check_share(level, "CONFIDENCE")
    said = {DONT_KNOW}
    if data.competition.task == "multilabel":
        said = {*DONT_KNOW.split(data.competition.columns.separator)}
    if DONT_KNOW in data.classes or said <= {*data.classes}:
        raise PodiumError(
            f'CONFIDENCE: {level}, but "{DONT_KNOW}" may be an answer of {data.competition.name} '
            "itself; leave CONFIDENCE out, and read the column confidence"
        )


def check_share(value: float, asked: str) -> None:
    """Refuse what is no share or probability; `asked` names the variable that said it."""
    if not 0 <= value <= 1:
        raise PodiumError(f"{asked}: {value:g} is not from 0 to 1; give a share such as 0.9")


def answers_table(
    names: Sequence[str], answers: Answers, classes: Sequence[str], separator: str
) -> str:
    """Return the CSV: a row per picture, its answer in words, the confidence, what is wrong with
    it, and the probability of every class, blank where no network saw it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    # A class may be called image or note; with the prefix no two columns have one name.
    writer.writerow([*COLUMNS, *(f"p_{name}" for name in classes)])
    words = in_words(answers.labels, classes, separator)
    for row, name in enumerate(names):
        said = words[row] if answers.given[row] else DONT_KNOW
        note, probs = answers.notes.get(row, ""), [""] * len(classes)
        if row not in answers.notes:
            probs = [f"{p:.6g}" for p in answers.probs[row].tolist()]
        # Nine digits tell apart what was compared: the float32 below 0.9 from 0.9.
        writer.writerow([name, said, f"{answers.confidence[row]:.9g}", note, *probs])
    return out.getvalue()


def in_words(labels: np.ndarray, classes: Sequence[str], separator: str) -> list[str]:
    """Return labels (n,) or 0/1 (n, c) as the names of their classes."""
    if labels.ndim == 1:
        return [classes[k] for k in labels.tolist()]
    return [separator.join(classes[k] for k in np.flatnonzero(row)) for row in labels]


def checked_out(path: Path) -> Path:
    """Return the path that OUT names, where nothing is lost by writing a table of answers."""
    if not path.parent.is_dir():
        raise PodiumError(f"OUT: {path.parent}: no such folder; make it, or name another")
    if path.is_dir() or is_picture(path.name):
        what = "a folder" if path.is_dir() else "a picture's name"
        raise PodiumError(f"OUT: {path}: {what}; name a file such as answers.csv")
    if not os.access(path.parent, os.W_OK):
        raise PodiumError(f"OUT: {path.parent}: not a folder you may write to; name another")
    if path.exists() and not (path.is_file() and _is_table(path)):
        raise PodiumError(
            f"OUT: {path}: there is a file that is not a table of answers, which would be lost; "
            "name another, or remove that one first"
        )
    return path


def _is_table(path: Path) -> bool:
    """Whether a file begins as tables of answers do."""
    start = ",".join(COLUMNS).encode()
    try:
        with path.open("rb") as handle:
            return handle.read(len(start)) == start
    except OSError:
        return False
