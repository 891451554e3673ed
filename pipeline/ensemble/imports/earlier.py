"""What an earlier import of the same name left: is it the same, whole and up to date?"""

from pathlib import Path
from typing import Any

from pipeline.artifacts.files import file_hash, read_object
from pipeline.ensemble.members import PARTS
from pipeline.errors import PodiumError

WHOLE = ("sources", "parts", "seconds", "oof_score")  # keys of every import's record
# What a kill leaves of an import: its predictions, and what was decided on them.
LEFT = {*(f"{part}.npz" for part in PARTS), "chain.json", "answers.npz", "diagnostics.json"}
AROUND = {"data_hash": "data", "checked_on": "folds", "metric": "metric"}  # beside the files


def earlier_record(folder: Path, shown: str) -> dict[str, Any] | None:
    """Return the record of an import in `folder`, called `shown`; None if there is nothing, or what
    a killed import left; refuse all else."""
    if folder.exists() and not folder.is_dir():
        raise PodiumError(f"NAME: {shown} is a file; choose another NAME=")
    if (folder / "ensemble.json").exists():
        raise PodiumError(f"NAME: {shown} is an ensemble; choose another NAME=")
    if (folder / "run.json").exists():
        record = read_object(folder / "run.json", (), "delete its folder")
        if record.get("imported"):
            whole = all(key in record for key in WHOLE)
            return record if whole else {"sources": None, "parts": [], "seconds": 0.0}
        if "recipe" in record or "seedless_hash" in record:
            raise PodiumError(f"NAME: {shown} is a run that was trained; choose another NAME=")
        raise PodiumError(
            f"NAME: {shown}/run.json says neither what was imported nor what was trained; delete "
            "its folder, or choose another NAME="
        )
    if folder.exists():
        odd = [p.name for p in folder.iterdir() if p.name not in LEFT and p.suffix != ".tmp"]
        if odd:
            raise PodiumError(f"NAME: {shown} is no run, but holds {odd[0]}; choose another NAME=")
    return None


def refuse_other_files(
    shown: str, old: dict[str, Any], sources: list[dict[str, str]], seconds: float
) -> None:
    """Refuse where other files, or other seconds, were imported under the same name."""
    was = [source["sha256"] for source in old["sources"] or []]
    for source, digest in zip(sources, was, strict=False):
        if source["sha256"] != digest:
            raise PodiumError(
                f"NAME: {shown} was imported from another {source['file']}; choose another NAME=, "
                "or FRESH=1 to replace it"
            )
    if len(was) != len(sources):
        how = f"from {len(was)} files"
    elif old["seconds"] != seconds:
        how = f"with SECONDS={old['seconds']:g}" if old["seconds"] else "without SECONDS"
    else:
        return
    raise PodiumError(
        f"NAME: {shown} was imported {how}; choose another NAME=, or FRESH=1 to replace it"
    )


def changes(folder: Path, old: dict[str, Any], around: dict[str, Any]) -> list[str]:
    """Say what is no longer as an import left it: its files, or what it was checked against."""
    kept = old.get("outputs") or {}
    said = []
    for name in (f"{part}.npz" for part in old["parts"]):
        now = file_hash(folder / name)
        if not now:
            said.append(f"{name} was missing")
        elif name not in kept:
            said.append(f"{name} could not be checked")
        elif now != kept[name]:
            said.append(f"{name} had changed")
    other = [AROUND[key] for key, now in around.items() if old.get(key) != now]
    return [*said, *([f"{' and '.join(other)} changed"] if other else [])]
