"""Does the sample submission want names or probabilities? And the metric that goes with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.competition.sources import sample_id_column
from pipeline.init.tables import Table

METRICS = {
    ("multiclass", False): "accuracy",
    ("multiclass", True): "log_loss",
    ("multilabel", False): "f1_micro",
    ("multilabel", True): "auc_macro",
}


@dataclass(frozen=True)
class Form:
    """What a submission holds for a task and its classes, as far as a sample shows it.

    `id_column` is that of the tables; the sample's may have a name of its own.
    """

    task: str
    classes: Sequence[str]
    sample: Table | None
    id_column: str

    @property
    def metric(self) -> str:
        """The usual metric for what the sample holds."""
        return METRICS[self.task, self.probabilities]

    @property
    def probabilities(self) -> bool:
        """Whether the values are probabilities: a column per class with fractions, or one column
        of numbers that are no class names, for two classes."""
        if self.sample is None:
            return False
        values = self._values(self.sample)
        if len(values) > 1:
            return _fractions(self.sample.frame[values], self.task)
        if not values or len(self.classes) != 2 or self.task != "multiclass":
            return False
        texts = set(self.sample.frame[values[0]])
        # Labels of 0.0 and 1.0 may be asked for as 0 and 1.
        names = {*self.classes, *(name.removesuffix(".0") for name in self.classes)}
        return not texts <= names and all(map(_is_probability, texts))

    def describe(self) -> str:
        """Say in words what the submission holds."""
        if self.sample is None:
            return "no sample submission tells"
        values = self._values(self.sample)
        if self.probabilities:
            what = "a probability per class"
            if len(values) == 1:
                what = f"the probability of {self.classes[1]!r}"
        elif len(values) > 1:
            what = "0 or 1 per class"
        else:
            what = "class names"
            if set(self.classes) == {"0", "1"}:
                what += " (0 or 1; if it wants probabilities, metric: log_loss or auc_macro)"
        return f"{self.sample.name} holds {what}"

    def _values(self, sample: Table) -> list[str]:
        first = sample_id_column(sample.header, self.id_column)
        return [name for name in sample.header if name != first]


def _fractions(frame: pd.DataFrame, task: str) -> bool:
    whole = bool(frame.isin(["0", "1"]).all(axis=None))
    if not whole or task == "multilabel":
        return not whole
    # Zeros throughout are no answer of one class per row, but a place for numbers.
    return not bool((frame == "1").sum(axis=1).eq(1).all())


def _is_probability(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
