"""Which runs can join an ensemble, and their predictions, aligned by id and class name.

Runs that differ by their seed alone are one member. Members are trained runs, imported ones, and
other ensembles. One whose folds are other ones, or not known, is `mixed` and joins only if asked
for: its out-of-fold rows may have been trained on where another member's are validated, so that no
score of both together is honest.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.artifacts.hashing import bytes_hash
from pipeline.artifacts.predictions import blocks
from pipeline.competition import CompetitionData
from pipeline.ensemble.aligned import (
    FoldModels,
    is_mixed,
    mean_of,
    read_parts,
    validated_rows,
    wanted_ids,
)
from pipeline.ensemble.records import list_runs, read_record, record_path
from pipeline.errors import PodiumError
from pipeline.folds import Folds

__all__ = [
    "FOLD_RECORD",
    "PARTS",
    "Member",
    "copies",
    "list_runs",
    "load_members",
    "read_record",
    "record_path",
    "usable_runs",
    "validated_rows",
    "wanted_ids",
    "why_unusable",
]

PARTS = ("oof", "test", "local-test")
FOLD_RECORD = "fold.json"  # training writes it last
LOOKED_AT = 256  # rows by which arrays are told apart before they are compared


@dataclass(frozen=True, eq=False)
class Member:
    """One recipe's predictions, averaged over its seeds: arrays (n, c) by part, float32 or float16
    and perhaps mapped into memory. `mixed`: made on other folds, or on unknown ones. `timed`:
    whether `seconds` are known of all its runs; those that are not are counted as 0."""

    name: str
    runs: tuple[str, ...]
    probs: dict[str, np.ndarray]
    seconds: float
    warnings: tuple[str, ...] = ()
    mixed: bool = False
    models: FoldModels | None = None
    timed: bool = True

    def fold_models(self, part: str) -> list[np.ndarray] | None:
        """Return the probabilities (n, c) of a part, test or local-test, by each fold model; None
        where there are none (as of imports, ensembles and refits) or their plain mean is not the
        member's."""
        return None if self.models is None else self.models.load(part)


def usable_runs(
    data: CompetitionData, folds: Folds, mixed: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Return the finished runs (no ensembles) on these folds, or `mixed` on any, and why others are
    out, broken records included: what nobody asked for stops nothing."""
    usable, left = [], {}
    for name in list_runs(data):
        try:
            record = read_record(data, name)
        except PodiumError as error:
            left[name] = str(error)
            continue
        if "members" in record:
            continue
        reason = why_unusable(record, data, folds, mixed)
        if not reason and is_mixed(record, folds):
            reason = _unreadable(data, folds, name, record)
        if not reason and record.get("refit_of"):
            reason = f"a refit of {record['refit_of']}, which is in; RUNS= can name it instead"
        if not reason and _collapsed(record):
            reason = "a fold of it collapsed to one answer; RUNS= can name it all the same"
        if reason:
            left[name] = reason
        else:
            usable.append(name)
    return usable, left


def _unreadable(data: CompetitionData, folds: Folds, name: str, record: dict[str, Any]) -> str:
    """Return what a run on other folds lacks of the rows of these, or ''."""
    try:
        read_parts(data, folds, name, record)
    except PodiumError as error:
        return str(error)
    return ""


def _collapsed(record: dict[str, Any]) -> bool:
    """Whether training stopped a fold of a run because it answered every row alike."""
    stops = [fold.get("stopped") or {} for fold in record.get("folds", {}).values()]
    return any(stop.get("kind") == "collapsed" for stop in stops)


def why_unusable(
    record: dict[str, Any], data: CompetitionData, folds: Folds, mixed: bool = False
) -> str:
    """Return why a run cannot join, or ''; `mixed` allows other folds and unknown ones."""
    if record.get("limited"):
        return "a smoke run on a LIMIT of rows"
    if not mixed and record.get("folds_hash") != folds.hash:
        if "imported" in record:
            return _no_proof(record, folds)
        return f"trained on other folds ({record.get('folds_hash')}, now {folds.hash})"
    if record.get("data_hash") != data.hash:
        if "imported" in record:
            return "imported for other labels or ids: import it again"
        return "trained on other labels or ids"
    if not record.get("complete") and "study" in record:
        return (
            "a study's trial that is not trained on all folds (its best.yaml is a recipe; or raise "
            "the study's finalists)"
        )
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


def _no_proof(record: dict[str, Any], folds: Folds) -> str:
    """Say what an import without proof of these folds needs, whoever asks."""
    if record.get("folds_hash") is not None:
        return (
            f"imported on other folds ({record['folds_hash']}, now {folds.hash}): import it again"
        )
    if record.get("proven_folds") == "other":
        return "imported on other folds than the competition's: only make ensemble MIXED_FOLDS=1"
    return (
        "imported without the competition's folds: import it again with folds.csv and FRESH=1, or "
        "make ensemble MIXED_FOLDS=1"
    )


def load_members(
    data: CompetitionData, folds: Folds, names: list[str], mixed: bool = False
) -> list[Member]:
    """Load the runs `names` and average those that differ by their seed alone; a copy of another
    member is left out, with a warning. `mixed` allows other folds and unknown ones."""
    by_recipe: dict[tuple[str, str | None], dict[str, dict[str, Any]]] = {}
    for name in names:
        record = read_record(data, name)
        reason = why_unusable(record, data, folds, mixed)
        if not reason and record.get("mixed") and not mixed:
            reason = "made with MIXED_FOLDS=1, which it needs here, too"
        if reason:
            finish = ", or finish it" if reason.startswith("not finished") else ""
            raise PodiumError(f"RUNS: {name} cannot join: {reason}; leave it out{finish}")
        recipe = record.get("seedless_hash") or name
        by_recipe.setdefault((recipe, record["folds_hash"]), {})[name] = record
    return _without_copies([_member(data, folds, runs) for runs in by_recipe.values()])


def _member(data: CompetitionData, folds: Folds, runs: dict[str, dict[str, Any]]) -> Member:
    """Return the member that runs, by name, of one recipe on the same folds are."""
    parts = [read_parts(data, folds, name, record) for name, record in runs.items()]
    probs = parts[0]
    if len(parts) > 1:
        there = [part for part in probs if all(part in other for other in parts)]
        probs = {part: mean_of([other[part] for other in parts]) for part in there}
    records = runs.values()
    own = [
        (n, said) for n, r in runs.items() if "members" not in r for said in r.get("warnings", [])
    ]
    trained = not any("members" in r or "imported" in r for r in records)
    return Member(
        "+".join(runs),
        tuple(runs),
        probs,
        sum(float(record.get("seconds") or 0) for record in records),
        tuple(f"{name}: {said}" for name, said in own),
        any(is_mixed(record, folds) for record in records),
        FoldModels(data, tuple(runs.items()), wanted_ids(data, folds)) if trained else None,
        all(_timed(record) for record in records),
    )


def _timed(record: dict[str, Any]) -> bool:
    """Whether the seconds of a record are those that its training took."""
    known = "imported" not in record or bool(record.get("seconds"))
    return bool(record.get("seconds_known", known))


def _without_copies(members: list[Member]) -> list[Member]:
    """Return the members but for copies; who stands for a copy is warned of it."""
    found = copies(members)
    kept = []
    for member in members:
        if member.name in found:
            continue
        said = tuple(
            f"{copy} is a copy of {member.name}: counted once"
            for copy, original in found.items()
            if original == member.name
        )
        kept.append(replace(member, warnings=member.warnings + said) if said else member)
    return kept


def copies(members: list[Member]) -> dict[str, str]:
    """Return the members that predict the very same as another does, and the name of that one.

    Of those that are alike, the one that stands for all is of the competition's folds before any
    other, trained before imported, and then the first by name, whatever the order of the members.
    """
    order = sorted(members, key=lambda m: (m.mixed, m.models is None, -len(m.probs), m.name))
    found: dict[str, str] = {}
    looks: dict[str, list[Member]] = {}
    for member in order:
        alike = looks.setdefault(_look(member), [])
        original = next((other for other in alike if _same(member, other)), None)
        if original is None:
            alike.append(member)
        else:
            found[member.name] = original.name
    return found


def _compared(member: Member) -> list[np.ndarray]:
    return [member.probs[part] for part in ("oof", "test")]


def _look(member: Member) -> str:
    """Hash some rows of a member's predictions, spread over all."""
    rows = [
        values[np.unique(np.linspace(0, len(values) - 1, min(LOOKED_AT, len(values)), dtype=int))]
        for values in _compared(member)
    ]
    return bytes_hash(b"".join(np.asarray(values, np.float32).tobytes() for values in rows))


def _same(one: Member, other: Member) -> bool:
    """Whether two members predict the same, compared block by block."""
    return all(
        a.shape == b.shape and all(np.array_equal(a[i], b[i]) for i in blocks(*a.shape))
        for a, b in zip(_compared(one), _compared(other), strict=True)
    )
