"""The records of runs and ensembles, found by the name of their folders."""

from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_object
from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError, nearest

SHOWN = 8  # names of runs in an error
SHORT = 40  # characters of a value in an error
# What a record holds under the keys that are read everywhere: any may be absent, or null.
KINDS = {"folds": dict, "versions": dict, "recipe": dict, "inputs": dict, "sources": list,
         "members": list, "arch": str, "created": str, "git_commit": str,
         "seconds": (int, float)}  # fmt: skip


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


def read_record(data: CompetitionData, name: str, variable: str = "RUNS") -> dict[str, Any]:
    """Return the record of run or ensemble `name`, as `variable` asked for; refuse any other."""
    folder = data.project.run(data.competition.name, name)
    path = record_path(folder)
    if not path.exists():
        hint = _nearest_run(name, list_runs(data))
        raise PodiumError(f"{variable}: {data.project.shown(folder)} is not a run{hint}")
    remedy = "delete its folder, then train or import it again"
    if path.name == "ensemble.json":
        remedy = f"make ensemble NAME={name} again"
    record = read_object(path, ("competition", "folds_hash", "data_hash"), remedy)
    if record["competition"] != data.competition.name:
        raise PodiumError(f"{path}: not a record of a {data.competition.name} run; {remedy}")
    odd = next((key for key in KINDS if not _is_kind(record, key)), None)
    if odd is not None:
        value = repr(record[odd])[:SHORT]
        raise PodiumError(f"{path}: {odd}: {value} is not what is written there; {remedy}")
    return record


def _is_kind(record: dict[str, Any], key: str) -> bool:
    """Whether a value is of its kind; that of `folds`, if any, a record for each."""
    value = record.get(key)
    if value is None or not isinstance(value, KINDS[key]):
        return value is None
    return key != "folds" or all(isinstance(fold, dict) for fold in value.values())


def _nearest_run(name: str, known: list[str]) -> str:
    """Return the hint at a run that is spelt almost so; case alone is the nearest of all."""
    alike = [run for run in known if run.casefold() == name.casefold()]
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    there = f"; there are: {', '.join(known[:SHOWN]) or 'none yet, make train'}{more}"
    return f" (did you mean {alike[0]}?)" if alike else nearest(name, known) or there
