"""Timings that are kept in bench.json, for as long as machine and versions are the same."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_object
from pipeline.bench.rows import spread
from pipeline.bench.timing import BATCHES, Key, Record
from pipeline.errors import PodiumError

REMEDY = "delete it, or FRESH=1, which measures anew"


@dataclass(frozen=True)
class Kept:
    """Timings by what they are of; `said` is why none were kept, if any were there."""

    networks: dict[Key, Record] = field(default_factory=dict)
    decoding: dict[str, Record] = field(default_factory=dict)
    said: str = ""


def load_kept(path: Path, machine: dict[str, Any], widest: float) -> Kept:
    """Return the timings that were measured on this very machine with these very versions, but for
    those whose spread is above `widest`."""
    if not path.exists():
        return Kept()
    content = read_object(path, ("machine", "networks", "decoding"), REMEDY)
    changed = _changed(content["machine"], machine)
    if changed:
        return Kept(said=f"measured anew, since bench.json is of another machine: {changed}")
    networks = {}
    for name, record in content["networks"].items():
        key, _, size = name.partition("@")
        if not size.isdigit() or not _is_whole(record):
            raise PodiumError(f"{path}: networks.{name} is no timing; {REMEDY}")
        if spread(record) <= widest:
            networks[key, int(size)] = record
    return Kept(networks, dict(content["decoding"]))


def to_json(kept: Kept) -> dict[str, Any]:
    """Return what bench.json holds of the timings."""
    networks = {f"{key}@{size}": record for (key, size), record in kept.networks.items()}
    return {"networks": networks, "decoding": kept.decoding}


def _is_whole(record: Any) -> bool:
    try:
        times = [record["batches"][str(batch)] for batch in BATCHES]
        whole = all(0 < time["low"] <= time["seconds"] <= time["high"] for time in times)
        return whole and record["parameters"] >= 0
    except (KeyError, TypeError):
        return False


def _changed(old: Any, new: dict[str, Any]) -> str:
    """Return the first things in which two machines differ, or ''."""
    if not isinstance(old, dict):
        return "it does not say which"
    flat = [{**m, **(m.get("versions") or {})} for m in (old, new)]
    keys = [key for key in flat[1] if key != "versions"]
    found = [f"{k} {flat[0].get(k)} -> {flat[1][k]}" for k in keys if flat[0].get(k) != flat[1][k]]
    return ", ".join(found[:2])
