"""A run's predictions by part, in the order of the competition's tables and classes.

Where they are stored in this order, they stay on disk and are mapped into memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.predictions import Predictions, blocks, probabilities
from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError
from pipeline.folds import Folds

REMEDY = "make train (or ensemble, or import) it again: finished folds are kept"
IMPORT = "make import it again"
SAME = 1e-5  # a mean over fold models that differs by more is not that of the run


def validated_rows(folds: Folds) -> np.ndarray:
    """Return the training rows that some fold validates on, in the table's order."""
    return np.flatnonzero(folds.fold >= 0)


def wanted_ids(data: CompetitionData, folds: Folds) -> dict[str, np.ndarray]:
    """Return the ids of each part that a finished run must have."""
    ids = {"oof": data.train.ids[validated_rows(folds)], "test": data.test.ids}
    if len(folds.test_rows):
        ids["local-test"] = data.train.ids[folds.test_rows]
    return ids


def is_mixed(record: dict[str, Any], folds: Folds) -> bool:
    """Whether a run's predictions were made on other folds, or on unknown ones, or partly so."""
    return record.get("folds_hash") != folds.hash or bool(record.get("mixed"))


def read_parts(
    data: CompetitionData, folds: Folds, name: str, record: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Return a run's probabilities (n, c), float32 or float16, by part.

    What was imported, and an ensemble with such a member, may lack the local test split.
    """
    folder = data.project.run(data.competition.name, name)
    wanted, expected = wanted_ids(data, folds), record.get("folds_hash")
    source = Source(data, expected, "imported" in record)
    if expected != folds.hash:
        return _of_other_folds(source, wanted, folder)
    may_lack = {"local-test"} if "imported" in record or "members" in record else set()
    probs = {}
    for part, ids in wanted.items():
        path = folder / f"{part}.npz"
        if part in may_lack and not path.exists():
            continue
        stored = source.read(path)
        source.refuse_foreign(stored, ids, path)
        probs[part] = source.ordered(stored, ids, path)
    return probs


def _of_other_folds(
    source: "Source", wanted: dict[str, np.ndarray], folder: Path
) -> dict[str, np.ndarray]:
    """Return the parts of a run on other folds: what is validated here may lie in its local test
    split, and the other way round. It must have every row that is validated here."""
    path = folder / "oof.npz"
    pool = source.read(path)
    source.refuse_foreign(pool, source.data.train.ids, path)
    apart = folder / "local-test.npz"
    if apart.exists():
        pool = _joined(pool, source.read(apart), source.data.classes)
    probs = {"oof": source.ordered(pool, wanted["oof"], path)}
    test = folder / "test.npz"
    stored = source.read(test)
    source.refuse_foreign(stored, wanted["test"], test)
    probs["test"] = source.ordered(stored, wanted["test"], test)
    local = wanted.get("local-test")
    if local is not None and np.isin(local, pool.ids).all():
        probs["local-test"] = source.ordered(pool, local, path)
    return probs


def _joined(one: Predictions, other: Predictions, classes: Sequence[str]) -> Predictions:
    """Return the rows of both; they share none."""
    both = [values.probs[:, values.columns(classes)] for values in (one, other)]
    ids = np.concatenate([one.ids, other.ids])
    names = np.asarray(classes, np.str_)
    return Predictions(ids, names, one.logits, np.concatenate(both), one.meta)


@dataclass(frozen=True, eq=False)
class Source:
    """What a run's files must be of: the data that is there, and the folds of its record."""

    data: CompetitionData
    folds_hash: str | None
    imported: bool

    @property
    def again(self) -> str:
        return IMPORT if self.imported else "train it again"

    def read(self, path: Path) -> Predictions:
        """Return the predictions of `path`, of the data that is there and of the folds expected."""
        stored = Predictions.mapped(path, IMPORT if self.imported else REMEDY)
        for key, now in (("folds_hash", self.folds_hash), ("data_hash", self.data.hash)):
            if stored.meta.get(key) != now:
                raise PodiumError(
                    f"{path}: its {key} is {stored.meta.get(key)}, now {now}; "
                    f"leave it out with RUNS=, or {self.again}"
                )
        return stored

    def refuse_foreign(self, stored: Predictions, ids: np.ndarray, path: Path) -> None:
        """Refuse rows that are none of `ids`."""
        if np.array_equal(stored.ids, ids):
            return
        foreign = np.setdiff1d(stored.ids, ids)
        if len(foreign):
            raise PodiumError(
                f"{path}: id {str(foreign[0])!r} and {len(foreign) - 1} more are not rows of this "
                f"competition's table and folds; leave the run out with RUNS=, or {self.again}"
            )

    def ordered(self, stored: Predictions, ids: np.ndarray, path: Path) -> np.ndarray:
        """Return the probabilities of `ids`; of an import, a row that is missing asks for it."""
        if self.imported and not np.array_equal(stored.ids, ids):
            missing = np.setdiff1d(ids, stored.ids)
            if len(missing):
                raise PodiumError(
                    f"{path}: no prediction for {len(missing)} of {len(ids)} ids, first "
                    f"{str(missing[0])!r}; leave it out with RUNS=, or {self.again}"
                )
        return _ordered(stored, ids, self.data.classes, path)


def _ordered(
    stored: Predictions, ids: np.ndarray, classes: Sequence[str], path: Path
) -> np.ndarray:
    """Return the probabilities of `ids`: the mapped ones where these are all, in this order."""
    columns, rows = stored.columns(classes, str(path)), stored.positions(ids, str(path))
    probs = stored.probs if isinstance(rows, slice) else stored.probs[rows]
    return probs if isinstance(columns, slice) else probs[:, columns]


def mean_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean (n, c) float32 of arrays, computed in float64 block by block."""
    mean = np.empty(arrays[0].shape, np.float32)
    for here in blocks(*mean.shape):
        mean[here] = np.mean([values[here] for values in arrays], axis=0, dtype=np.float64)
    return mean


@dataclass(frozen=True, eq=False)
class FoldModels:
    """Where the fold models of one recipe's runs left what they predict for rows that none saw."""

    data: CompetitionData
    runs: tuple[tuple[str, dict[str, Any]], ...]  # names and records
    ids: dict[str, np.ndarray]  # of the rows of each part

    def load(self, part: str) -> list[np.ndarray] | None:
        """Return the probabilities (n, c) of a part, test or local-test, by each fold model,
        averaged over the runs, in the order of the folds (of all deals where folds are repeated),
        or None where there are none whose plain mean is the run's."""
        if part not in self.ids:
            return None
        found = [self._of_run(name, record, part) for name, record in self.runs]
        models = [one for one in found if one]
        if len(models) < len(found) or len({len(one) for one in models}) != 1:
            return None
        if len(models) == 1:
            return models[0]
        return [mean_of(same) for same in zip(*models, strict=True)]

    def _of_run(self, name: str, record: dict[str, Any], part: str) -> list[np.ndarray]:
        """Return one run's; [] where a file is missing, or they do not make up the run's own."""
        folder = self.data.project.run(self.data.competition.name, name)
        folds = list(record.get("folds", {}))
        if not all(fold.isdigit() for fold in folds):
            return []  # a refit
        paths = [folder / f"fold-{fold}" / f"{part}.npz" for fold in sorted(folds, key=int)]
        if not paths or not all(path.exists() for path in paths):
            return []
        of_logits = (record.get("views") or {}).get("average") == "logits"
        models = [self._read(path, of_logits, self.ids[part]) for path in paths]
        whole = self._read(folder / f"{part}.npz", False, self.ids[part])
        for here in blocks(*whole.shape):
            mean = np.mean([model[here] for model in models], axis=0, dtype=np.float64)
            if np.abs(mean - whole[here]).max() > SAME:
                return []
        return models

    def _read(self, path: Path, of_logits: bool, ids: np.ndarray) -> np.ndarray:
        """Return a file's probabilities of the rows `ids`, or those that its logits give."""
        stored = (Predictions.load if of_logits else Predictions.mapped)(path, REMEDY)
        probs = _ordered(stored, ids, self.data.classes, path)
        if not of_logits:
            return probs
        rows, columns = stored.positions(ids), stored.columns(self.data.classes)
        return probabilities(stored.logits[rows][:, columns], self.data.competition.task)
