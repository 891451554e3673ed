"""What is answered wrongly: confusions, and precision, recall and F1 of every class."""

from typing import Any

import numpy as np

from pipeline.page.blocks import Block, Section, Words, matrix
from pipeline.report.gather import Scene, Subject
from pipeline.report.sections.shared import by_subject, grid, number, share

MOST_CLASSES = 30  # of a matrix; of more, the commonest confusions are listed
PAIRS = 40  # of those
LINES = (400, 60)  # of the table of classes: of the first that is shown, of each other


def confusion_section(scene: Scene) -> Section:
    """The confusion matrix of each run and ensemble that is shown."""
    title = "Confusions"
    single = scene.data.competition.task == "multiclass"
    blocks = by_subject(scene, _of_one_label if single else _of_several)
    if not blocks:
        why = "no run or ensemble has been decided"
        return Section("confusions", title, nothing=f"{why}: `make ensemble COMP={scene.comp}`")
    return Section("confusions", title, blocks)


def _of_one_label(subject: Subject) -> tuple[Block, ...]:
    found = subject.diagnostics
    classes = [str(name) for name in found["classes"]]
    counts = np.array(found.get("confusion") or np.zeros((0, 0)), int)
    if not counts.size:
        return ()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(classes) <= MOST_CLASSES:
        caption = "per cent of the rows of each class (line) that were answered as (column)"
        return (matrix(caption, "true", classes, shares.tolist(), counts.tolist()),)
    off = counts.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    pairs = [np.unravel_index(at, off.shape) for at in order]
    rows = [
        [classes[i], classes[j], f"{off[i, j]:,}", share(shares[i, j])]
        for i, j in pairs
        if off[i, j]
    ]
    caption = f"the commonest confusions of {len(classes):,} classes"
    headers = ["class", "answered as", "rows", "of the class"]
    return (grid(headers, rows, caption),) if rows else (Words("No row is answered wrongly."),)


def _of_several(subject: Subject) -> tuple[Block, ...]:
    """Of several labels: right and wrong of each, and what is there where one is superfluous."""
    classes = [str(name) for name in subject.diagnostics["classes"]]
    rows, total = [], len(subject.ids)
    for name, line in zip(classes, subject.diagnostics["per_class"], strict=True):
        false, missed = line["answered"] - line["right"], line["support"] - line["right"]
        cells = [line["right"], false, missed, total - line["right"] - false - missed]
        rows.append([name, *(f"{cell:,}" for cell in cells)])
    headers = ["label", "rightly there", "superfluous", "missing", "rightly not there"]
    table = grid(headers, rows, "rows by label, as it is and as it was answered", LINES[0])
    if len(classes) > MOST_CLASSES:
        return (table,)
    wrong = (subject.answer == 1) & (subject.labels == 0)
    counts = wrong.T.astype(int) @ (subject.labels == 1).astype(int)
    shares = counts / np.maximum(wrong.sum(axis=0)[:, None], 1)
    caption = (
        "where a label (line) is superfluous, per cent of rows that truly have another (column)"
    )
    return (table, matrix(caption, "superfluous", classes, shares.tolist(), counts.tolist()))


def classes_section(scene: Scene) -> Section:
    """Precision, recall, F1 and support of every class."""
    title, first = "Classes", scene.subjects[0].name if scene.subjects else ""

    def show(subject: Subject) -> tuple[Block, ...]:
        return (_class_table(subject, LINES[0] if subject.name == first else LINES[1]),)

    blocks = by_subject(scene, show)
    if not blocks:
        why = "no run or ensemble has been decided"
        return Section("classes", title, nothing=f"{why}: `make ensemble COMP={scene.comp}`")
    return Section("classes", title, blocks)


def _class_table(subject: Subject, most: int) -> Any:
    """The classes, weakest first, with the value that the rule has for each."""
    found, rule = subject.diagnostics, subject.decided.rule
    classes = [str(name) for name in found["classes"]]
    per_class = len(rule.values) == len(classes)
    value = "multiplier" if rule.kind == "multipliers" else "threshold"
    certain = found["reliability"].get("per_class", [])
    rows = []
    order = sorted(range(len(classes)), key=lambda at: (found["per_class"][at]["f1"], at))
    for at in order:
        line = found["per_class"][at]
        cells = [f"{line[key]:,}" for key in ("support", "answered")]
        shares = [number(line[key], 3) for key in ("precision", "recall", "f1")]
        own = [number(rule.values[at], 3)] if per_class else []
        error = [number(certain[at]["ece"], 3)] if len(certain) == len(classes) else []
        rows.append([classes[at], *cells, *shares, *own, *error])
    headers = ["class", "rows", "answered", "precision", "recall", "F1"]
    headers += [value] if per_class else []
    headers += ["calibration error"] if len(certain) == len(classes) else []
    return grid(headers, rows, f"weakest first; rule: {rule.describe()}", most)
