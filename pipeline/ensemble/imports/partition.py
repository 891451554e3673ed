"""Do imported predictions come from the competition's folds? Only the partition counts, not what
the folds are called."""

from pathlib import Path

import numpy as np

from pipeline.ensemble.aligned import validated_rows
from pipeline.errors import PodiumError
from pipeline.folds import Folds, read_given
from pipeline.folds.given import shown_id


def partition_differs(folds: Folds, ids: np.ndarray, fold: np.ndarray) -> str:
    """Say how folds (n,), numbers or names, of `ids` part the validated rows otherwise than the
    competition's do, by the first two rows; '' where they part them alike."""
    chosen = validated_rows(folds)
    at = {name: i for i, name in enumerate(ids.tolist())}
    names = folds.ids[chosen]
    theirs = fold[[at[name] for name in names.tolist()]].astype(np.str_)
    negative = np.char.startswith(theirs, "-")
    if negative.any():
        first = int(np.argmax(negative))
        return f"id {shown_id(names[first])} has fold {theirs[first][:20]}, but is validated here"
    ours = folds.fold[chosen]
    mate_here = _first_mates(ours)
    mate_there = _first_mates(theirs)
    here = theirs[mate_here] != theirs
    there = ours[mate_there] != ours
    if not (here | there).any():
        return ""
    row = int(np.argmax(here | there))
    mate, where = (mate_here, "here, not there") if here[row] else (mate_there, "there, not here")
    pair = f"{shown_id(names[mate[row]])} and {shown_id(names[row])}"
    return f"ids {pair} share a fold {where}"


def _first_mates(fold: np.ndarray) -> np.ndarray:
    """Return for each row the first row (n,) of its fold."""
    _, first, code = np.unique(fold, return_index=True, return_inverse=True)
    return first[code]


def fold_table(path: Path, id_column: str, folds: Folds) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and folds of a table of folds, which must have every validated row."""
    ids, fold, _ = read_given(path, id_column)
    there = set(ids.tolist())
    wanted = folds.ids[validated_rows(folds)].tolist()
    missing = [name for name in wanted if name not in there]
    if missing:
        raise PodiumError(
            f"{path}: {len(missing)} of {len(wanted)} rows that the folds validate are missing, "
            f"first id {shown_id(missing[0])}; give a row for each"
        )
    return ids, fold
