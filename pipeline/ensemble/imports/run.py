"""`make import`: somebody else's predictions become a run like any other."""

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object, write_json
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions, logits_of
from pipeline.competition import CompetitionData
from pipeline.config.project import checked_name
from pipeline.decisions import default_rule
from pipeline.ensemble.aligned import validated_rows
from pipeline.ensemble.imports.files import Given, read_given_probs
from pipeline.ensemble.imports.joining import Joiner, Part
from pipeline.ensemble.imports.partition import fold_table, partition_differs
from pipeline.ensemble.members import PARTS
from pipeline.errors import PodiumError
from pipeline.folds import Folds

USAGE = "make import DATA=oof.csv,test.csv NAME=x"


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
    """What is imported where: paths of the files out of fold, of test rows, and of folds."""

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
    seconds: float = 0.0,
    fresh: bool = False,
) -> Imported:
    """Write predictions from `files`, paths joined by commas, as run `name`.

    `seconds` is what training took, if known. The same files again change nothing; where data or
    folds have changed since, they are imported again. Other files ask for `fresh`, and a run that
    was trained, or an ensemble, is never replaced.
    """
    asked = Import(data, folds, checked_name(name, "NAME"), _paths(data, files), seconds)
    folder = asked.folder
    path = folder.parent / ".locks" / f"{name}.run.lock"  # that of a training of the same name
    with lock(path, f"run {name}", wait=60):
        sources = asked.sources()
        old = _old_record(asked)
        if old is not None and not fresh:
            _refuse_other_files(asked, old, sources)
            changed = [key for key, now in asked.around().items() if old.get(key) != now]
            if not changed and all((folder / f"{part}.npz").exists() for part in old["parts"]):
                return Imported(name, folder, old, False)
        record, parts, meta = _joined(asked, sources)
        if folder.exists():
            with contextlib.suppress(FileNotFoundError):
                (folder / "run.json").unlink()  # first, so that no half of it counts as a run
            shutil.rmtree(folder)
        _write(asked, parts, meta)
        write_json(folder / "run.json", record)
    again = old is not None and not fresh
    return Imported(name, folder, record, True, "again: data, folds or metric changed" * again)


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


def _old_record(asked: Import) -> dict[str, Any] | None:
    """Return the record of an import of this name, None if there is nothing; refuse all else."""
    folder, shown = asked.folder, asked.data.project.shown(asked.folder)
    if (folder / "ensemble.json").exists():
        raise PodiumError(f"NAME: {shown} is an ensemble; choose another NAME=")
    if (folder / "run.json").exists():
        record = read_object(folder / "run.json", (), "delete its folder")
        if not record.get("imported"):
            raise PodiumError(f"NAME: {shown} is a run that was trained; choose another NAME=")
        whole = all(key in record for key in ("sources", "parts", "seconds", "oof_score"))
        return record if whole else {"sources": None, "parts": []}
    left = {f"{part}.npz" for part in PARTS}  # by a kill
    if folder.exists():
        odd = [p.name for p in folder.iterdir() if p.name not in left and p.suffix != ".tmp"]
        if odd:
            raise PodiumError(f"NAME: {shown} is no run, but holds {odd[0]}; choose another NAME=")
    return None


def _refuse_other_files(asked: Import, old: dict[str, Any], sources: list[dict[str, str]]) -> None:
    """Refuse where other files, or other seconds, were imported under the same name."""
    was = [source["sha256"] for source in old["sources"] or []]
    shown = asked.data.project.shown(asked.folder)
    for source, digest in zip(sources, was, strict=False):
        if source["sha256"] != digest:
            raise PodiumError(
                f"NAME: {shown} was imported from another {source['file']}; choose another NAME=, "
                "or FRESH=1 to replace it"
            )
    if len(was) != len(sources) or old["seconds"] != asked.seconds:
        what = f"{len(was)} files" if len(was) != len(sources) else f"SECONDS={old['seconds']:g}"
        raise PodiumError(
            f"NAME: {shown} was imported from {what}; choose another NAME=, or FRESH=1 replaces it"
        )


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
    known, warnings = _same_folds(asked, oof)
    if len(folds.test_rows) and "local-test" not in parts:
        warnings.append(
            f"no predictions of the {len(folds.test_rows)} rows of the local test split"
        )
    meta = {
        "competition": data.competition.name,
        "run": asked.name,
        "folds_hash": folds.hash if known else None,
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
        "folds": {},
        "seconds": asked.seconds,
        "warnings": warnings,
        "oof_score": _score(data, data.labels[validated_rows(folds)], parts["oof"]),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if "local-test" in parts:
        record["local_test_score"] = _score(data, data.labels[folds.test_rows], parts["local-test"])
    return record, parts, meta


def _same_folds(asked: Import, oof: Given) -> tuple[bool, list[str]]:
    """Return whether the files prove that they were made on the competition's folds, and warnings:
    by a column, by a table of folds, or by the hash that Podium left."""
    folds, differs, proofs = asked.folds, [], 0
    extra = asked.files[2 if asked.has_test else 1 :]
    tables = [(asked.files[0].name, oof.ids, oof.fold)] if oof.fold is not None else []
    tables += [(p.name, *fold_table(p, asked.data.competition.columns.id, folds)) for p in extra]
    for name, ids, fold in tables:
        said = partition_differs(folds, ids, fold)
        proofs += not said
        differs += [f"{name}: {said}"] if said else []
    if differs:
        return False, [f"made on other folds ({differs[0]})"]
    if not proofs and oof.folds_hash != folds.hash:
        return False, ["its folds are not known: no column `fold`, and no table of folds"]
    return True, []


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
