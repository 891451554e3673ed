"""How the runs learned: loss and scores of every epoch, by fold and on average."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.page.blocks import Charts, Folded, Section, Words
from pipeline.page.figures import FIRST, MUTED, SECOND, chart, legend, plain, svg
from pipeline.report.gather import Scene

RUNS = 6  # whose curves are drawn
FOLDS = 10  # of a run
NAMES = {"loss": "loss", "accuracy": "accuracy", "f1_macro": "macro F1", "f1_micro": "micro F1"}

History = dict[str, np.ndarray]  # a column (epochs,) each, NaN where a field is empty


def curves_section(scene: Scene) -> Section:
    """Curves of the best runs, training and validation."""
    title, drawn, without = "Learning curves", [], []
    for name in _runs(scene):
        histories = read_histories(scene.runs_folder / name)
        if not histories:
            without.append(name)
        elif len(drawn) < RUNS:
            drawn.append(Folded(name, (_charts(scene, name, histories, len(drawn)),), not drawn))
    if not drawn:
        why = "no run has a history.csv (imported runs, and fits without epochs, have none)"
        return Section("curves", title, nothing=f"{why}: `make train COMP={scene.comp}` writes it")
    said = [Words("Thin lines are folds, the thick one is their mean; the loss of training is that "
                  "with augmentation and mixing, so it may lie above.", muted=True)]  # fmt: skip
    if without:
        said.append(Words(f"without a history: {', '.join(map('`{}`'.format, without[:5]))}", True))
    left = len([name for name in _runs(scene) if name not in without]) - len(drawn)
    if left > 0:
        said.append(Words(f"The {left} other runs are left out.", muted=True))
    return Section("curves", title, (*said, *drawn))


def _runs(scene: Scene) -> list[str]:
    """Return the runs, best first, those without a score last; of studies, those with one alone."""
    scored, records = [one.name for one in scene.standings], scene.records
    others = [name for name in records if name not in scored and "study" not in records[name]]
    return [name for name in (*scored, *others) if "members" not in records.get(name, {})]


def read_histories(folder: Path) -> list[History]:
    """Return the histories of a run's folds; those that cannot be read are left out."""
    numbered = [path for path in folder.glob("fold-*") if path.name[5:].isdigit()]
    places = sorted(numbered, key=lambda path: int(path.name[5:]))
    found = (read_history(place / "history.csv") for place in places)
    return [history for history in found if history is not None]


def read_history(path: Path) -> History | None:
    """Return the columns of a history, None where there is none, or no whole table."""
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        headers, rows = lines[0], [line for line in lines[1:] if len(line) == len(lines[0])]
        values = [[float(field) if field else np.nan for field in line] for line in rows]
    except (OSError, ValueError, IndexError):
        return None
    if not values or "epoch" not in headers:
        return None
    return {name: np.array(column) for name, column in zip(headers, zip(*values, strict=True),
                                                           strict=True)}  # fmt: skip


def panels(histories: Sequence[History], metric: str) -> list[tuple[str, str]]:
    """Return what is drawn, (key, title): the loss, the metric, and what else is recorded of both
    training and validation; a column that repeats the metric's is not drawn twice."""
    first, found = histories[0], []
    for key in _keys(first):
        same = key not in ("loss", "score") and all(
            np.array_equal(one.get(f"valid_{key}", np.nan), one.get("valid_score", 0), True)
            for one in histories
        )
        if not same:
            found.append((key, metric if key == "score" else NAMES.get(key, key)))
    return found


def _keys(history: History) -> Iterator[str]:
    yield from (key[6:] for key in history if key.startswith("valid_"))


def _charts(scene: Scene, name: str, histories: list[History], place: int) -> Charts:
    metric = scene.data.metric.name
    found = []
    for key, title in panels(histories, metric):
        says = f"{title} of training and validation by epoch, {len(histories)} folds of {name}"
        found.append((title, _curve(histories, key, f"curve-{place}-{key}", says)))
    if "lr" in histories[0]:
        found.append(("learning rate", _rate(histories, f"curve-{place}-rate", name)))
    return Charts(tuple(found))


def _curve(histories: list[History], key: str, name: str, says: str) -> Markup:
    figure, axes = chart()
    for part, colour, style in (("valid", FIRST, "-"), ("train", SECOND, "--")):
        column = f"{part}_{key}"
        lines = [(one["epoch"], one[column]) for one in histories if column in one]
        if lines:
            _folds_and_mean(axes, lines, colour, style, {"valid": "validation"}.get(part, part))
    _epoch_axis(axes, np.concatenate([one["epoch"] for one in histories]))
    legend(axes, loc="best")
    return svg(figure, plain(name), says)


def _epoch_axis(axes: Axes, epochs: np.ndarray) -> None:
    """Label the axis of epochs with whole numbers, a single epoch's with that one."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if epochs.min() == epochs.max():
        axes.set_xticks([int(epochs.min())])


def _folds_and_mean(
    axes: Axes, lines: list[tuple[np.ndarray, np.ndarray]], colour: str, style: str, label: str
) -> None:
    """Draw thin lines of folds and the thick mean over those that reached an epoch. A single epoch
    is a point."""
    mark = "o" if max(len(x) for x, _ in lines) == 1 else ""
    for x, y in lines[:FOLDS]:
        axes.plot(x, y, style, marker=mark, ms=3, color=colour, lw=0.6, alpha=0.45)
    epochs = np.unique(np.concatenate([x for x, _ in lines]))
    table = np.full((len(lines), len(epochs)), np.nan)
    for row, (x, y) in enumerate(lines):
        table[row, np.searchsorted(epochs, x)] = y
    known = np.isfinite(table)
    total = np.where(known, table, 0).sum(0)
    mean = np.divide(total, known.sum(0), out=np.full(len(epochs), np.nan), where=known.any(0))
    axes.plot(epochs, mean, style, marker=mark, ms=5, color=colour, lw=2, label=label)


def _rate(histories: list[History], name: str, run: str) -> Markup:
    """The schedule as it was: the rate at the end of every epoch."""
    figure, axes = chart()
    one = max(histories, key=lambda history: len(history["epoch"]))
    mark = "o" if len(one["epoch"]) == 1 else ""
    axes.plot(one["epoch"], one["lr"], color=MUTED, lw=1.8, marker=mark)
    _epoch_axis(axes, one["epoch"])
    axes.set_ylim(bottom=0)
    return svg(figure, name, f"learning rate by epoch of {run}")
