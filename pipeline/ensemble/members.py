"""Which runs can join an ensemble, and their predictions, aligned by id and class name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError, nearest
from pipeline.folds import Folds

PARTS = ("oof", "test", "local-test")


FOLD_RECORD = "fold.json"  # training writes it last


@dataclass(frozen=True)
class Member:
    """One recipe's predictions, averaged over its seeds: arrays (n, c) by part."""

    name: str
    runs: tuple[str, ...]
    probs: dict[str, np.ndarray]
    seconds: float
    warnings: tuple[str, ...] = ()


def record_path(folder: Path) -> Path:
    """Return the record of a run or of an ensemble."""
    ensemble = folder / "ensemble.json"
    return ensemble if ensemble.exists() else folder / "run.json"


def list_runs(data: CompetitionData) -> list[str]:
    """Return the names of all runs and ensembles of a competition, sorted."""
    folder = data.project.runs(data.competition.name)
    if not folder.exists():
        return []
    found = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(path.name for path in found if record_path(path).exists())


def usable_runs(data: CompetitionData, folds: Folds) -> tuple[list[str], dict[str, str]]:
    """Return the finished runs (no ensembles) on these folds, and why others are out."""
    usable, left = [], {}
    for name in list_runs(data):
        record = read_record(data, name)
        if "members" in record:
            continue
        reason = why_unusable(record, data, folds)
        if not reason and record.get("refit_of"):
            reason = f"a refit of {record['refit_of']}, which is in; RUNS= can name it instead"
        if not reason and _collapsed(record):
            reason = "a fold of it collapsed to one answer; RUNS= can name it all the same"
        if reason:
            left[name] = reason
        else:
            usable.append(name)
    return usable, left


def _collapsed(record: dict[str, Any]) -> bool:
    """Whether training stopped a fold of a run because it answered every row alike."""
    stops = [fold.get("stopped") or {} for fold in record.get("folds", {}).values()]
    return any(stop.get("kind") == "collapsed" for stop in stops)


def read_record(data: CompetitionData, name: str, variable: str = "RUNS") -> dict[str, Any]:
    """Return the record of run or ensemble `name`, as `variable` asked for; refuse any other."""
    folder = data.project.run(data.competition.name, name)
    path = record_path(folder)
    if not path.exists():
        known = list_runs(data)
        hint = nearest(name, known) or f"; there are: {', '.join(known) or 'none yet, make train'}"
        raise PodiumError(f"{variable}: {data.project.shown(folder)} is not a run{hint}")
    keys = ("competition", "folds_hash", "data_hash")
    record = read_object(path, keys, "delete its folder, or FRESH=1 to train it anew")
    if record["competition"] != data.competition.name:
        raise PodiumError(
            f"{path}: not a record of a {data.competition.name} run; delete its folder"
        )
    return record


def why_unusable(record: dict[str, Any], data: CompetitionData, folds: Folds) -> str:
    """Return why a run cannot join, or ''."""
    if record.get("limited"):
        return "a smoke run on a LIMIT of rows"
    if record.get("folds_hash") != folds.hash:
        return f"trained on other folds ({record.get('folds_hash')}, now {folds.hash})"
    if record.get("data_hash") != data.hash:
        return "trained on other labels or ids"
    if not record.get("complete"):
        repeats = record.get("recipe", {}).get("training", {}).get("repeats", 1)
        jobs = range(repeats * len(folds.numbers)) if repeats > 1 else folds.numbers
        folder = data.project.run(data.competition.name, record["run"])
        joined = record.get("folds", {})
        there = [job for job in jobs if (folder / f"fold-{job}" / FOLD_RECORD).exists()]
        missing = [job for job in jobs if str(job) not in joined and job not in there]
        if not missing:
            return "not finished: its folds are not joined yet; make train it again"
        return f"not finished, missing folds: {', '.join(map(str, missing))}"
    return ""


def load_members(data: CompetitionData, folds: Folds, names: list[str]) -> list[Member]:
    """Load the runs `names` and average those that differ by their seed alone."""
    by_recipe: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    warnings: dict[str, list[str]] = {}
    for name in names:
        record = read_record(data, name)
        reason = why_unusable(record, data, folds)
        if reason:
            raise PodiumError(f"RUNS: {name} cannot join: {reason}; leave it out, or finish it")
        by_recipe.setdefault(record.get("seedless_hash") or name, []).append(name)
        seconds[name] = float(record.get("seconds", 0))
        warnings[name] = [] if "members" in record else record.get("warnings", [])
    members = []
    for runs in by_recipe.values():
        parts = [_aligned(data, folds, name) for name in runs]
        probs = {
            part: np.mean([p[part] for p in parts], axis=0, dtype=np.float64) for part in parts[0]
        }
        probs = {part: values.astype(np.float32) for part, values in probs.items()}
        total = sum(seconds[name] for name in runs)
        said = tuple(f"{name}: {text}" for name in runs for text in warnings[name])
        members.append(Member("+".join(runs), tuple(runs), probs, total, said))
    return members


def _aligned(data: CompetitionData, folds: Folds, name: str) -> dict[str, np.ndarray]:
    """Return a run's probabilities by part, in the order of the competition's tables."""
    folder = data.project.run(data.competition.name, name)
    wanted = wanted_ids(data, folds)
    probs = {}
    for part, ids in wanted.items():
        path = folder / f"{part}.npz"
        stored = Predictions.load(
            path, "make train (or ensemble) it again: finished folds are kept"
        )
        for key, now in (("folds_hash", folds.hash), ("data_hash", data.hash)):
            if stored.meta.get(key) != now:
                raise PodiumError(
                    f"{path}: its {key} is {stored.meta.get(key)}, now {now}; "
                    "leave it out with RUNS=, or train it again"
                )
        _refuse_foreign(stored, ids, path)
        stored = stored.with_classes(data.classes, str(path)).rows(ids, str(path))
        probs[part] = stored.probs
    return probs


def wanted_ids(data: CompetitionData, folds: Folds) -> dict[str, np.ndarray]:
    """Return the ids of each part that a finished run must have."""
    ids = {"oof": data.train.ids[validated_rows(folds)], "test": data.test.ids}
    if len(folds.test_rows):
        ids["local-test"] = data.train.ids[folds.test_rows]
    return ids


def validated_rows(folds: Folds) -> np.ndarray:
    """Return the training rows that some fold validates on, in the table's order."""
    return np.flatnonzero(folds.fold >= 0)


def _refuse_foreign(stored: Predictions, ids: np.ndarray, path: Path) -> None:
    foreign = np.setdiff1d(stored.ids, ids)
    if len(foreign):
        raise PodiumError(
            f"{path}: id {str(foreign[0])!r} and {len(foreign) - 1} more are not rows of this "
            "competition's table and folds; leave the run out with RUNS=, or train it again"
        )
