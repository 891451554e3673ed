"""`make import`: somebody else's predictions become a run like any other."""

import contextlib
import hashlib
import math
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import file_hash, write_json
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions, logits_of
from pipeline.competition import CompetitionData
from pipeline.config.project import checked_name
from pipeline.decisions import default_rule
from pipeline.ensemble.aligned import validated_rows
from pipeline.ensemble.imports.earlier import changes, earlier_record, refuse_other_files
from pipeline.ensemble.imports.files import Given, read_given_probs
from pipeline.ensemble.imports.joining import Joiner, Part
from pipeline.ensemble.imports.partition import fold_table, partition_differs
from pipeline.errors import PodiumError
from pipeline.folds import Folds

USAGE = "make import DATA=oof.csv,test.csv NAME=x"
RESERVED = ("compare", "audit.json", "missing-images.csv")  # what else lies beside the runs


@dataclass(frozen=True)
class Imported:
    """An imported run: its record, whether it was written now, and what to say of that."""

    name: str
    folder: Path
    record: dict[str, Any]
    made: bool
    said: str = ""


@dataclass(frozen=True)
class Import:
    """What is imported where: paths of the files out of fold, of test rows, and of folds.

    `seconds` is what training took, 0 where that is not known.
    """

    data: CompetitionData
    folds: Folds
    name: str
    files: tuple[Path, ...]
    seconds: float = 0.0

    @property
    def folder(self) -> Path:
        return self.data.project.run(self.data.competition.name, self.name)

    @property
    def has_test(self) -> bool:
        return len(self.data.test) > 0

    def sources(self) -> list[dict[str, str]]:
        """Return name and content's hash of each file."""
        return [{"file": path.name, "sha256": _sha256(path)} for path in self.files]

    def around(self) -> dict[str, Any]:
        """Return what decides the outcome beside the files."""
        return {
            "data_hash": self.data.hash,
            "checked_on": self.folds.hash,
            "metric": self.data.metric.identity,
        }


def import_run(
    data: CompetitionData,
    folds: Folds,
    files: str,
    name: str,
    *,
    seconds: float | None = None,
    fresh: bool = False,
) -> Imported:
    """Write predictions from `files`, paths joined by commas, as run `name`.

    `seconds` is what training took; None or 0: not known. The same files again change nothing;
    where data or folds have changed since, or what was written is damaged, they are imported again.
    Other files ask for `fresh`, and a run that was trained, or an ensemble, is never replaced.
    """
    known = _checked_seconds(seconds)
    asked = Import(data, folds, _free_name(name), _paths(data, files), known)
    folder, shown, found = asked.folder, data.project.shown(asked.folder), []
    path = folder.parent / ".locks" / f"{name}.run.lock"  # that of a training of the same name
    with lock(path, f"run {name}", wait=60):
        sources = asked.sources()
        old = earlier_record(folder, shown)
        if old is not None and not fresh:
            refuse_other_files(shown, old, sources, known)
            found = changes(folder, old, asked.around())
            if not found:
                return Imported(name, folder, old, False)
        record, parts, meta = _joined(asked, sources)
        if folder.exists():
            with contextlib.suppress(FileNotFoundError):
                (folder / "run.json").unlink()  # first, so that no half of it counts as a run
            shutil.rmtree(folder)
        _write(asked, parts, meta)
        record["outputs"] = {f"{part}.npz": file_hash(folder / f"{part}.npz") for part in parts}
        write_json(folder / "run.json", record)  # last: who has it has all of the files
    return Imported(name, folder, record, True, f"again: {', '.join(found)}" if found else "")


def _checked_seconds(seconds: float | None) -> float:
    """Return the seconds that training took, 0 where they are not known."""
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise PodiumError(
            f"SECONDS: must be a finite number from 0 up, got {seconds:g}; give the seconds that "
            "its training took, or leave it out"
        )
    return float(seconds or 0)


def _free_name(name: str) -> str:
    """Return `name` if a run may be called so; case does not count, as for some file systems."""
    if name.casefold() in RESERVED:
        raise PodiumError(f"NAME: {name} is taken by what lies beside the runs; choose another")
    return checked_name(name, "NAME")


def _paths(data: CompetitionData, files: str) -> tuple[Path, ...]:
    """Return the paths asked for; how many there must be depends on the competition."""
    names = [name.strip() for name in files.split(",") if name.strip()]
    paths = tuple(data.project.root / Path(name).expanduser() for name in names)
    least = 2 if len(data.test) else 1
    if not least <= len(paths) <= 3:
        what = "out of fold and of test rows" if least == 2 else "out of fold"
        raise PodiumError(
            f"DATA: names {len(paths)} files; the predictions {what} are needed, and a table of "
            f"their folds may follow: {USAGE}, or DATA=oof.csv,test.csv,folds.csv"
        )
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise PodiumError(f"{missing[0]}: no such file; {USAGE}")
    return paths


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _joined(
    asked: Import, sources: list[dict[str, str]]
) -> tuple[dict[str, Any], dict[str, Part], dict[str, Any]]:
    """Return record, parts and the meta of these, all checked."""
    data, folds = asked.data, asked.folds
    column, joiner = data.competition.columns.id, Joiner(data, folds)
    oof = read_given_probs(asked.files[0], column, data.classes)
    parts, dropped = joiner.of_training(oof)
    none = np.empty((0, len(data.classes)), np.float32)
    parts["test"] = Part(data.test.ids, none)
    if asked.has_test:
        parts["test"] = joiner.of_test(read_given_probs(asked.files[1], column, data.classes))
    proven, warnings = _proven_folds(asked, oof)
    if len(folds.test_rows) and "local-test" not in parts:
        warnings.append(
            f"no predictions of the {len(folds.test_rows)} rows of the local test split"
        )
    meta = {
        "competition": data.competition.name,
        "run": asked.name,
        "folds_hash": folds.hash if proven == "same" else None,
        "data_hash": data.hash,
        "imported": True,
    }
    record = {
        **meta,
        **asked.around(),
        "complete": True,
        "limited": False,
        "sources": sources,
        "parts": sorted(parts),
        "rows": {part: len(rows.ids) for part, rows in parts.items()},
        "dropped": dropped,
        "proven_folds": proven,
        "folds": {},
        "seconds": asked.seconds,
        "seconds_known": asked.seconds > 0,
        "warnings": warnings,
        "oof_score": _score(data, data.labels[validated_rows(folds)], parts["oof"]),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if "local-test" in parts:
        record["local_test_score"] = _score(data, data.labels[folds.test_rows], parts["local-test"])
    return record, parts, meta


def _proven_folds(asked: Import, oof: Given) -> tuple[str, list[str]]:
    """Return whether the files prove that they were made on the competition's folds, `same`, or on
    `other` ones, or leave them `unknown`, and warnings. Proof is a column, a table of folds, or the
    hash that Podium left."""
    folds, differs, proofs = asked.folds, [], 0
    extra = asked.files[2 if asked.has_test else 1 :]
    tables = [(asked.files[0].name, oof.ids, oof.fold)] if oof.fold is not None else []
    tables += [(p.name, *fold_table(p, asked.data.competition.columns.id, folds)) for p in extra]
    for name, ids, fold in tables:
        said = partition_differs(folds, ids, fold)
        proofs += not said
        differs += [f"{name}: {said}"] if said else []
    if differs:
        return "other", [f"made on other folds ({differs[0]})"]
    if not proofs and oof.folds_hash != folds.hash:
        return "unknown", ["its folds are not known: no column `fold`, and no table of folds"]
    return "same", []


def _score(data: CompetitionData, labels: np.ndarray, part: Part) -> float | None:
    """Return the metric under the rule that needs no fitting; None where it is not defined."""
    answer = default_rule(data.metric).apply(part.probs)
    with contextlib.suppress(PodiumError):
        return float(data.metric.score(labels, answer))
    return None


def _write(asked: Import, parts: dict[str, Part], meta: dict[str, Any]) -> None:
    task, classes = asked.data.competition.task, np.asarray(asked.data.classes, np.str_)
    for name, part in parts.items():
        logits = logits_of(part.probs, task)
        saved = Predictions(part.ids, classes, logits, part.probs, meta | {"part": name})
        saved.save(asked.folder / f"{name}.npz")
