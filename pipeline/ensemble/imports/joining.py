"""Imported rows joined to the competition's by id and class name, and their values checked."""

from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.predictions import blocks, stored_type
from pipeline.competition import CompetitionData
from pipeline.ensemble.aligned import validated_rows
from pipeline.ensemble.imports.files import Given
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.folds.given import shown_id

SUM = 1e-3  # how far a row may sum from 1: CSVs are rounded to some decimals
SLACK = 1e-6  # how far float32 may stray beyond 0 and 1, or a sum from 1


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part in the table's order: `ids` (n,), `probs` (n, c), float32 or float16."""

    ids: np.ndarray
    probs: np.ndarray


@dataclass(frozen=True)
class Joiner:
    """Where imported rows belong: a competition and its folds."""

    data: CompetitionData
    folds: Folds

    def of_training(self, given: Given) -> tuple[dict[str, Part], int]:
        """Return the parts of training rows, `oof` and, where the file has its rows, `local-test`;
        and how many rows were dropped, since no fold validates them."""
        train, folds = self.data.train, self.folds
        validated, local = train.ids[validated_rows(folds)], train.ids[folds.test_rows]
        at = {name: i for i, name in enumerate(given.ids.tolist())}
        if not any(name in at for name in validated.tolist()):
            self._refuse_swapped(given)
        absent = [one.id for one in self.data.absent if one.table == "train"]
        self._refuse_foreign(given, np.concatenate([train.ids, absent]), "training")
        parts = {"oof": self._part(given, at, validated, "rows that the folds validate")}
        there = sum(name in at for name in local.tolist())
        if there:
            parts["local-test"] = self._part(given, at, local, "rows of the local test split")
        return parts, len(at) - len(validated) - there

    def of_test(self, given: Given) -> Part:
        """Return the test part; ids may lack the prefix that test ids have within the pipeline."""
        wanted, prefix = self.data.test.ids, self.data.competition.test_prefix
        at = {name: i for i, name in enumerate(given.ids.tolist())}
        if prefix and not any(name in at for name in wanted.tolist()):
            ids = np.char.add(prefix, given.ids)
            given = Given(given.path, ids, given.classes, given.probs)
            at = {name: i for i, name in enumerate(ids.tolist())}
        known = set(self.data.train.ids.tolist())
        if at.keys() <= known and not any(name in at for name in wanted.tolist()):
            raise PodiumError(
                f"{given.path}: its ids are those of training rows, first "
                f"{shown_id(given.ids[0])}; is it the file out of fold? DATA=oof.csv,test.csv"
            )
        self._refuse_foreign(given, wanted, "test")
        return self._part(given, at, wanted, "test rows")

    def _refuse_swapped(self, given: Given) -> None:
        test, prefix = set(self.data.test.ids.tolist()), self.data.competition.test_prefix
        if any(name in test or prefix + name in test for name in given.ids.tolist()):
            raise PodiumError(
                f"{given.path}: its ids are test ids, first {shown_id(given.ids[0])}: the files "
                "are swapped; DATA=oof.csv,test.csv names the one of training rows first"
            )

    def _refuse_foreign(self, given: Given, known: np.ndarray, table: str) -> None:
        ids = set(known.tolist())
        foreign = [row for row, name in enumerate(given.ids.tolist()) if name not in ids]
        if foreign:
            raise PodiumError(
                f"{given.place(foreign[0])} is no {table} row of "
                f"{self.data.competition.name}, and {len(foreign) - 1} more; take such rows out"
            )

    def _part(self, given: Given, at: dict[str, int], wanted: np.ndarray, what: str) -> Part:
        missing = [name for name in wanted.tolist() if name not in at]
        if missing:
            raise PodiumError(
                f"{given.path}: {len(missing)} of {len(wanted)} {what} are missing, first id "
                f"{shown_id(missing[0])}; give a row for each"
            )
        rows = np.array([at[name] for name in wanted.tolist()], dtype=np.int64)
        columns = [given.classes.index(name) for name in self.data.classes]
        return Part(wanted, _values(given, rows, columns, self.data.competition.task))


def _values(given: Given, rows: np.ndarray, columns: list[int], task: str) -> np.ndarray:
    """Return the probabilities (n, c) of rows and columns; of one label per row, each sums to 1."""
    kind = stored_type(given.probs)
    values = np.empty((len(rows), len(columns)), kind)
    # Half-precision numbers cannot sum to 1 any better than they do.
    exact = SLACK if kind is np.float32 else SUM
    for here in blocks(*values.shape):
        chosen = rows[here]
        block = given.probs[chosen].astype(np.float64)[:, columns]
        bad = ~((block >= -SLACK) & (block <= 1 + SLACK))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            name = given.classes[columns[column]]
            raise PodiumError(
                f"{given.place(chosen[row])}, class {name!r} is {block[row, column]:g}, not a "
                "probability from 0 to 1; mend the value"
            )
        np.clip(block, 0, 1, out=block)
        if task == "multiclass":
            _normalise(block, exact, given, chosen)
        values[here] = block
    return values


def _normalise(block: np.ndarray, exact: float, given: Given, rows: np.ndarray) -> None:
    """Divide rows by their sums in place; a sum that rounding does not explain is refused."""
    sums = block.sum(axis=1)
    off = np.abs(sums - 1)
    if (off > SUM).any():
        row = int(np.argmax(off > SUM))
        raise PodiumError(
            f"{given.place(rows[row])}: its probabilities sum to {sums[row]:.6g}, not 1; give "
            "softmax probabilities, or divide each row by its sum"
        )
    mend = off > exact
    block[mend] /= sums[mend, None]
