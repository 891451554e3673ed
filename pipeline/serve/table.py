"""The table of the page's answers as a CSV that a spreadsheet may open."""

from dataclasses import replace

import numpy as np

from pipeline.deploy.answers import answers_table
from pipeline.deploy.exported import Exported
from pipeline.page.text import printable
from pipeline.serve.engine import Answered
from pipeline.serve.uploads import shown_name

_FORMULA = ("=", "+", "-", "@", "\t")  # what a spreadsheet computes if a cell begins so


def safe_table(model: Exported, found: Answered) -> str:
    """Return the table of `make predict`, but with no answer where a picture cannot be used, and a
    ' before a name that a spreadsheet would compute: names come from whoever packed a zip."""
    answers, broken = found.answers, sorted(found.answers.notes)
    labels, given = answers.labels, answers.given.copy()
    if labels.ndim == 1:
        labels = np.eye(len(model.classes), dtype=int)[labels]
    labels, given[broken] = labels.copy(), True
    labels[broken] = 0  # no label at all is written as nothing
    names = [_safe(name) for name in found.names]
    told = replace(answers, labels=labels, given=given)
    return answers_table(names, told, model.classes, model.separator)


def _safe(name: str) -> str:
    clean = printable(shown_name(name))  # which has no carriage return, either
    return f"'{clean}" if clean.startswith(_FORMULA) else clean
