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
    if expected != folds.hash:
        return _of_other_folds(data, wanted, folder, expected)
    may_lack = {"local-test"} if "imported" in record or "members" in record else set()
    probs = {}
    for part, ids in wanted.items():
        path = folder / f"{part}.npz"
        if part in may_lack and not path.exists():
            continue
        stored = _read(path, data, expected)
        _refuse_foreign(stored, ids, path)
        probs[part] = _ordered(stored, ids, data.classes, path)
    return probs


def _of_other_folds(
    data: CompetitionData, wanted: dict[str, np.ndarray], folder: Path, expected: str | None
) -> dict[str, np.ndarray]:
    """Return the parts of a run on other folds: what is validated here may lie in its local test
    split, and the other way round. It must have every row that is validated here."""
    path = folder / "oof.npz"
    pool = _read(path, data, expected)
    _refuse_foreign(pool, data.train.ids, path)
    apart = folder / "local-test.npz"
    if apart.exists():
        pool = _joined(pool, _read(apart, data, expected), data.classes)
    probs = {"oof": _ordered(pool, wanted["oof"], data.classes, path)}
    test = folder / "test.npz"
    stored = _read(test, data, expected)
    _refuse_foreign(stored, wanted["test"], test)
    probs["test"] = _ordered(stored, wanted["test"], data.classes, test)
    local = wanted.get("local-test")
    if local is not None and np.isin(local, pool.ids).all():
        probs["local-test"] = _ordered(pool, local, data.classes, path)
    return probs


def _joined(one: Predictions, other: Predictions, classes: Sequence[str]) -> Predictions:
    """Return the rows of both; they share none."""
    both = [values.probs[:, values.columns(classes)] for values in (one, other)]
    ids = np.concatenate([one.ids, other.ids])
    names = np.asarray(classes, np.str_)
    return Predictions(ids, names, one.logits, np.concatenate(both), one.meta)


def _read(path: Path, data: CompetitionData, folds_hash: str | None) -> Predictions:
    """Return the predictions of `path`, of the data that is there and of the folds expected."""
    stored = Predictions.mapped(path, REMEDY)
    for key, now in (("folds_hash", folds_hash), ("data_hash", data.hash)):
        if stored.meta.get(key) != now:
            raise PodiumError(
                f"{path}: its {key} is {stored.meta.get(key)}, now {now}; "
                "leave it out with RUNS=, or train it again"
            )
    return stored


def _refuse_foreign(stored: Predictions, ids: np.ndarray, path: Path) -> None:
    if np.array_equal(stored.ids, ids):
        return
    foreign = np.setdiff1d(stored.ids, ids)
    if len(foreign):
        raise PodiumError(
            f"{path}: id {str(foreign[0])!r} and {len(foreign) - 1} more are not rows of this "
            "competition's table and folds; leave the run out with RUNS=, or train it again"
        )


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
