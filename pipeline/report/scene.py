"""Open all that is there of a competition, as far as it can be opened."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.artifacts.findings import Audit
from pipeline.competition import CompetitionData
from pipeline.ensemble.members import read_record, why_unusable
from pipeline.errors import PodiumError
from pipeline.folds import Folds, load_shared
from pipeline.leaderboard.leaderboard import look
from pipeline.report.gather import (
    AUDIT,
    BOARD,
    FLOOR,
    FOLDS,
    LEDGER,
    RUNS,
    Scene,
    all_records,
    attempt,
    before_of,
    chosen,
    open_subject,
)
from pipeline.report.sections.shared import SHOWN
from pipeline.submission.floor import majority
from pipeline.submission.ledger import rows
from pipeline.submission.standings import standings


def scene_of(data: CompetitionData, source: str) -> Scene:
    """Return all that is known of a competition; `source` is the run or ensemble whose pictures are
    shown, the best if it is empty."""
    faults: dict[str, str] = {}
    comp = data.competition.name
    if source:
        read_record(data, source, "FROM")
    audit = _audit(data.project.audit(comp), faults)
    entries = attempt(LEDGER, faults, lambda: rows(data.project, comp)) or ()
    records = all_records(data, faults)
    folds = None
    if data.project.folds(comp).exists():
        folds = attempt(FOLDS, faults, lambda: load_shared(data))
    base = {"records": records, "audit": audit, "entries": entries, "faults": faults}
    if folds is None or not records:
        return Scene(data, folds, **base)
    stand = attempt(RUNS, faults, lambda: standings(data, folds))
    found, left = stand or ([], {})
    for name in left:
        faults.pop(name, None)
    broken = {n: why for n, why in left.items() if not _reason(records.get(n), data, folds)}
    if source and source not in [one.name for one in found]:
        why = left.get(source) or faults.get(RUNS, "it has no score")
        raise PodiumError(f"FROM: {source} cannot be shown: {why}; name another run or ensemble")
    return _with_subjects(Scene(data, folds, tuple(found), left, broken, **base), folds, source)


def _reason(record: dict[str, Any] | None, data: CompetitionData, folds: Folds) -> str:
    """Return why a run does not count by its record; '' where it would, or is not readable."""
    return "" if record is None else why_unusable(record, data, folds)


def _audit(path: Path, faults: dict[str, str]) -> Audit | None:
    return attempt(AUDIT, faults, lambda: Audit.load(path)) if path.exists() else None


def _with_subjects(scene: Scene, folds: Folds, source: str) -> Scene:
    """Open what is shown in full: the focus, the best, what it is held against, and more."""
    data, found, faults = scene.data, scene.standings, dict(scene.faults)
    board = attempt(BOARD, faults, lambda: look(data, folds, found, dict(scene.left_out)))
    if not found:
        return replace(scene, board=board, faults=faults)
    focus = source or found[0].name
    before = before_of(focus, found, scene.entries)
    names = [one.name for one in found if one.name in (focus, before)]
    picked = [one for one in chosen(found, focus, SHOWN) if one.name not in names]
    order = sorted((one for one in found if one.name in names), key=lambda one: one.name != focus)
    shown = [*order, *picked][:SHOWN]
    opened = (open_subject(data, folds, one, faults) for one in shown)
    subjects = {one.name: one for one in opened if one is not None}
    if source and source not in subjects:
        raise PodiumError(f"FROM: {source} cannot be shown: {faults[source]}")
    floor = attempt(FLOOR, faults, lambda: majority(data, folds))
    return replace(
        scene,
        majority=floor,
        subjects=tuple(subjects.values()),
        best=subjects.get(found[0].name),
        focus=subjects.get(focus),
        before=subjects.get(before),
        board=board,
        faults=faults,
    )
