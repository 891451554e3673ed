"""Repeated folds: the rows of the shared folds dealt again with other seeds, in files beside them.

`folds/COMP.repeat-1.csv` has the form of `folds/COMP.csv`, and its JSON says of which folds it is
the repeat. Like these it is made once and never silently remade.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.hashing import text_hash
from pipeline.artifacts.locks import lock
from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError
from pipeline.folds.assignment import Folds, aligned
from pipeline.folds.balance import balance
from pipeline.folds.file import WAIT, load_folds, write_folds
from pipeline.folds.stratify import k_folds
from pipeline.folds.table import csv_text


@dataclass(frozen=True)
class Splits:
    """The shared folds and their repeats: job j validates fold j % K of repeat j // K, K folds."""

    repeats: tuple[Folds, ...]  # the shared folds are the first

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of all jobs."""
        per = self.repeats[0].numbers
        return [k + r * len(per) for r in range(len(self.repeats)) for k in per]

    def train_rows(self, j: int) -> np.ndarray:
        """Return the rows that job j trains on."""
        folds, k = self._at(j)
        return folds.train_rows(k)

    def valid_rows(self, j: int) -> np.ndarray:
        """Return the rows that job j validates."""
        folds, k = self._at(j)
        return folds.valid_rows(k)

    def _at(self, j: int) -> tuple[Folds, int]:
        repeat, k = divmod(j, len(self.repeats[0].numbers))
        return self.repeats[repeat], k


def draft_splits(data: CompetitionData, folds: Folds, repeats: int) -> Splits:
    """Return the folds with the repeats that are there, or would be made, writing nothing."""
    drafts = []
    for r in range(1, repeats):
        _refuse_hold_out(data, folds, repeats)
        path = repeat_path(data, r)
        made = _load(path, folds) if path.exists() else _draft(data, folds, r)
        drafts.append(aligned(made, folds.ids))
    return Splits((folds, *drafts))


def make_splits(data: CompetitionData, folds: Folds, repeats: int) -> tuple[Splits, list[Path]]:
    """Return the folds with their repeats, and the paths of those that were made now."""
    made = []
    for r in range(1, repeats):
        _refuse_hold_out(data, folds, repeats)
        path = repeat_path(data, r)
        with lock(path.with_suffix(".lock"), f"{path}", wait=WAIT):
            if not path.exists():
                write_folds(path, _draft(data, folds, r))
                made.append(path)
    return draft_splits(data, folds, repeats), made


def repeat_path(data: CompetitionData, r: int) -> Path:
    """Return where repeat r (1 or more) of the shared folds lies."""
    shared = data.project.folds(data.competition.name)
    return shared.with_name(f"{shared.stem}.repeat-{r}.csv")


def _draft(data: CompetitionData, folds: Folds, r: int) -> Folds:
    """Deal the rows that the folds validate anew; train-only rows and the test split stay."""
    order = np.argsort(folds.ids, kind="stable")
    ids, labels, fold = folds.ids[order], data.labels[order], folds.fold[order]
    group = None if folds.group is None else folds.group[order]
    dealt = np.flatnonzero(fold >= 0)
    rows = labels[dealt], None if group is None else group[dealt]
    seed = (int(folds.info.get("seed", 0)) + r) % 2**32
    fold[dealt] = k_folds(*rows, len(folds.numbers), seed)
    info = {
        "hash": text_hash(csv_text(ids, fold, group)),
        "scheme": f"repeat {r} of {folds.info['scheme']}",
        "repeat": r,
        "repeat_of": folds.hash,
        "seed": seed,
        "rows": len(ids),
        "balance": balance(fold, labels, data.classes, group),
    }
    return Folds(ids, fold, group, info["hash"], info)


def _load(path: Path, folds: Folds) -> Folds:
    """Load a repeat; one of other folds is refused."""
    # Before the ids are compared, whose remedy would be to make the shared folds anew.
    found = load_folds(path)
    of = found.info.get("repeat_of")
    if of != folds.hash:
        raise PodiumError(
            f"{path}: a repeat of other folds ({of}, now {folds.hash}); delete it and "
            f"{path.with_suffix('.json').name}, and the same command makes it anew"
        )
    return found


def _refuse_hold_out(data: CompetitionData, folds: Folds, repeats: int) -> None:
    if len(folds.numbers) < 2:
        shown = data.project.shown(data.project.folds(data.competition.name))
        raise PodiumError(
            f"training.repeats: {repeats} repeats need two folds or more, but {shown} is a "
            f"hold-out ({folds.info['scheme']}); set training.repeats=1, or make folds with "
            "FOLDS=5 FRESH=1"
        )
