"""Which ensemble is meant where none is named: the one made last that can be used."""

from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.competition import CompetitionData
from pipeline.ensemble.members import why_unusable
from pipeline.ensemble.records import list_runs, read_record, record_path
from pipeline.errors import PodiumError
from pipeline.folds import Folds


def find_newest(data: CompetitionData, folds: Folds | None = None) -> tuple[str, dict[str, str]]:
    """Return the ensemble made last, of those with an honest score and, where `folds` are given, on
    these and the present labels; '' if there is none. And why newer or broken ones are not it."""
    made, left = {}, {}
    for name in list_runs(data):
        path = record_path(data.project.run(data.competition.name, name))
        if path.name != "ensemble.json":
            continue
        try:
            record = read_record(data, name)
            made[name] = _created(path, record)
        except PodiumError as error:
            left[name] = str(error)
            continue
        reason = why_unusable(record, data, folds) if folds else ""
        if reason:
            left[name] = f"{reason}; make ensemble NAME=another of runs on the present ones"
        elif record.get("honest") is None:
            left[name] = f"its folds are mixed, so it has no honest score; FROM={name} takes it"
    sound = [name for name in made if name not in left]
    newest = max(sound, key=lambda name: (made[name], name), default="")
    older = [name for name in left if newest and name in made and made[name] < made[newest]]
    return newest, {name: reason for name, reason in left.items() if name not in older}


def newest_ensemble(
    data: CompetitionData, folds: Folds | None = None
) -> tuple[str, dict[str, str]]:
    """Return what `find_newest` finds; refuse to go on without one."""
    newest, left = find_newest(data, folds)
    comp = data.competition.name
    if newest:
        return newest, left
    if left:
        broken = [name for name in left if not _readable(data, name)]  # is what to mend first
        name, *others = [*broken, *(name for name in left if name not in broken)]
        also = f" ({', '.join(others)}: neither)" if others else ""
        said = f"no ensemble of {comp} can be taken unasked{also}: {name}: {left[name]}"
        raise PodiumError(f"FROM: {said}")
    raise PodiumError(
        f"FROM: {comp} has no ensemble yet; make ensemble COMP={comp} first, or name a run with "
        "FROM="
    )


def _readable(data: CompetitionData, name: str) -> bool:
    try:
        return bool(read_record(data, name))
    except PodiumError:
        return False


def _created(path: Path, record: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(record["created"]).astimezone()
    except (KeyError, TypeError, ValueError):
        raise PodiumError(f"{path}: 'created' is not a time; make ensemble again") from None
