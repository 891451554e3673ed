"""What everyone must beat: the one answer that is best for all rows, without looking at pixels."""

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.decisions import best_constant
from pipeline.folds import Folds
from pipeline.metrics import standard_error
from pipeline.submission.standings import Standing

NAME = "(majority answer)"


def majority(data: CompetitionData, folds: Folds) -> Standing:
    """Return the score of the constant answer: in-sample that of all validated rows on themselves,
    honest that of each fold answered by the constant of the rows it trains on."""
    metric, classes = data.metric, len(data.classes)
    validated = np.concatenate([folds.valid_rows(number) for number in folds.numbers])
    labels = data.labels[validated]

    def answer(rows: np.ndarray, count: int) -> np.ndarray:
        constant = best_constant(metric, data.labels[rows], classes)
        return np.broadcast_to(constant, (count, *np.shape(constant)))

    parts = []
    for number in folds.numbers:
        rows = folds.train_rows(number)
        parts.append(answer(rows, len(folds.valid_rows(number))))
    honest = np.concatenate(parts)
    groups = None if data.train.groups is None else data.train.groups[validated]
    return Standing(
        NAME,
        float(metric.score(labels, answer(validated, len(validated)))),
        float(metric.score(labels, honest)),
        standard_error(metric, labels, honest, groups),
        None,  # no training; so s/point is that of the runs among themselves
        "-",
        "one answer for all",
        None,
        "",
    )
